//! A small process.

use telefork::restore::Memory;

use super::Moves;
use super::journey::{Over, travel_still};
use crate::turns::Measurement;

pub(super) fn measurements(moves: Moves<'_>) -> Vec<Measurement<'_>> {
    vec![moves.each(&["small.moved"], |moves| {
        travel_still(moves, &["heap", "1", "small"], 1, Memory::Whole, Over::Unix)
    })]
}
