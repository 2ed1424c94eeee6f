//! A process that moves whole, as the command does it, against a copy of as many bytes over TLS with the same suite.

use super::{Moves, commanded};
use crate::error::Error;
use crate::raw::{Pair, Sizes, Transport};
use crate::turns::Measurement;

/// MiB of the process.
const SIZE: usize = 1024;

pub(super) fn measurements(moves: Moves<'_>) -> Vec<Measurement<'_>> {
    let moved = |moves: &Moves<'_>, pages| {
        moves.program.warm(2 * SIZE as u64 + 256)?;
        Ok(commanded::command(moves, &["heap", "1024", pages])?.still)
    };
    vec![
        moves.each(&["tls.raw"], raw),
        moves.each(&["tls.move"], move |moves| moved(moves, "huge")),
        moves.each(&["tls.move.pages"], move |moves| moved(moves, "small")),
    ]
}

/// Microseconds of a copy over one connection, into memory that has been touched.
fn raw(moves: &Moves<'_>) -> Result<f64, Error> {
    let sizes = Sizes { ask: SIZE << 20, answer: 64 };
    let mut pair = Pair::keeping(moves.setting, Transport::Tls, sizes)?;
    // The first warms what the second is measured with.
    let times = pair.ask_each(sizes, 2)?;
    Ok(times[1] as f64 / 1e3)
}
