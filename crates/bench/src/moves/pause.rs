//! How long a process stands still that is copied, against a plain fork of its own.

use telefork::capture::Frozen;

use super::subject::Subject;
use super::{Moves, PATIENCE};
use crate::error::Error;
use crate::ours::ours;
use crate::turns::Measurement;

/// MiB of the process.
const SIZE: u64 = 1024;

pub(super) fn measurements(moves: Moves<'_>) -> Vec<Measurement<'_>> {
    vec![
        moves.all(&["pause.fork", "pause.twin"], |moves| paused(moves, "small")),
        moves.all(&["pause.fork.huge", "pause.twin.huge"], |moves| paused(moves, "huge")),
    ]
}

/// Microseconds of a plain fork of a process, and for which it stood still when it was copied.
fn paused(moves: &Moves<'_>, pages: &str) -> Result<Vec<f64>, Error> {
    moves.program.warm(2 * SIZE)?;
    let mut subject = moves.program.start(&["heap", "1024", pages])?;
    subject.ask(Subject::FORK)?;
    let [forked, _] = subject.said("fork")?;
    subject.ask(Subject::STILL)?;
    let [_] = subject.said("still")?;
    let failed = |error: telefork::Error| ours("copy a process")(error);
    let mut frozen = Frozen::freeze(subject.pid(), PATIENCE).map_err(failed)?;
    let description = frozen.describe().map_err(failed)?;
    let twin = frozen.twin(&description).map_err(failed)?;
    subject.ask(Subject::STILL)?;
    let [still] = subject.said("still")?;
    twin.end().map_err(failed)?;
    Ok(vec![forked as f64 / 1e3, still as f64 / 1e3])
}
