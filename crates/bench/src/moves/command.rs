//! `farcall move` of a small process: from the command's start until it runs over there, against a command that
//! does nothing.

use super::{Moves, commanded};
use crate::turns::Measurement;

pub(super) fn measurements(moves: Moves<'_>) -> Vec<Measurement<'_>> {
    vec![moves.all(&["command.start", "command.moved"], |moves| {
        let start = commanded::nothing(moves)?;
        Ok(vec![start, commanded::command(moves, &["heap", "1", "small"])?.after])
    })]
}
