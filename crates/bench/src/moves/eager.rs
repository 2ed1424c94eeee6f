//! A process that moves whole, against a copy of as many bytes.

use telefork::restore::Memory;

use super::journey::{Over, travel_still};
use super::{Moves, copy};
use crate::turns::Measurement;

/// MiB of the process.
const SIZE: u64 = 1024;

pub(super) fn measurements(moves: Moves<'_>) -> Vec<Measurement<'_>> {
    let moved = |moves: &Moves<'_>, pages| {
        travel_still(moves, &["heap", "1024", pages], SIZE, Memory::Whole, Over::Unix)
    };
    vec![
        moves.each(&["eager.raw.unix"], |moves| copy::raw(moves.program, SIZE)),
        moves.each(&["eager.unix"], move |moves| moved(moves, "huge")),
        moves.each(&["eager.unix.pages"], move |moves| moved(moves, "small")),
    ]
}
