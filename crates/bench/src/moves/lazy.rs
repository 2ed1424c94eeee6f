//! Processes that go ahead of their memory: how long that takes is not to grow with them.

use telefork::restore::Memory;

use super::Moves;
use super::journey::{Over, travel_still};
use crate::turns::Measurement;

/// MiB of the two.
const SMALL: u64 = 64;
const LARGE: u64 = 4096;

pub(super) fn measurements(moves: Moves<'_>) -> Vec<Measurement<'_>> {
    let ahead = |moves: &Moves<'_>, mib: u64| {
        let size = mib.to_string();
        travel_still(moves, &["heap", &size, "huge"], mib, Memory::Following, Over::Tcp)
    };
    vec![
        moves.each(&["lazy.small"], move |moves| ahead(moves, SMALL)),
        moves.each(&["lazy.large"], move |moves| ahead(moves, LARGE)),
    ]
}
