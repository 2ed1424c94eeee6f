//! What ended an attempt, in words with numbers, and what to do about it.

use client::TaskName;

use crate::codes::{self, Code};
use crate::core::failures::signal_name;
use crate::record::files::Cause;
use crate::values::{fine, spell_size};

/// One line. The program's own words are told apart (`said`).
pub(super) fn words(cause: &Cause) -> String {
    match cause {
        Cause::ExitCode { code, .. } => format!("its program returned {code}"),
        Cause::Signal { signal, .. } => {
            format!("signal {signal}{} ended its worker", signal_name(*signal))
        }
        Cause::Exited { code, .. } => format!("its program called exit({code})"),
        Cause::OutOfMemory { peak, limit } => {
            let (peak, limit) = (spell_size(*peak), spell_size(*limit));
            format!("out of memory: {peak} at its peak, and {limit} allowed")
        }
        Cause::TimeLimit { limit_ms } => {
            let limit = fine(std::time::Duration::from_millis(*limit_ms));
            format!("it ran longer than its limit of {limit}")
        }
        Cause::NodeLost => "its node was lost".to_owned(),
        Cause::WorkerLost { reason } => format!("its worker was lost: {reason}"),
        Cause::NoNode => "no node was there for 30 seconds".to_owned(),
        Cause::Cancelled => "it was cancelled".to_owned(),
        Cause::Refused { reason } => format!("refused: {reason}"),
        Cause::Broken { reason } => format!("its program broke its contract: {reason}"),
        Cause::Other { text } => text.clone(),
    }
}

/// What the program itself said last.
pub(super) fn said(cause: &Cause) -> &str {
    match cause {
        Cause::Signal { stderr, .. } | Cause::Exited { stderr, .. } => stderr,
        Cause::ExitCode { said, .. } => said,
        Cause::OutOfMemory { .. }
        | Cause::TimeLimit { .. }
        | Cause::NodeLost
        | Cause::WorkerLost { .. }
        | Cause::NoNode
        | Cause::Cancelled
        | Cause::Refused { .. }
        | Cause::Broken { .. }
        | Cause::Other { .. } => "",
    }
}

/// The entry of the catalogue that tells more.
pub(super) fn code(cause: &Cause) -> Code {
    match cause {
        Cause::ExitCode { .. } => &codes::T0101,
        Cause::Signal { .. } => &codes::T0102,
        Cause::Exited { .. } => &codes::T0103,
        Cause::OutOfMemory { .. } => &codes::T0104,
        Cause::TimeLimit { .. } => &codes::T0105,
        Cause::WorkerLost { .. } => &codes::T0106,
        Cause::NodeLost => &codes::T0107,
        Cause::NoNode => &codes::T0108,
        Cause::Cancelled => &codes::T0109,
        Cause::Refused { .. } => &codes::T0110,
        Cause::Broken { .. } => &codes::T0111,
        Cause::Other { .. } => &codes::T0100,
    }
}

pub(super) fn next_step(cause: &Cause, task: TaskName) -> String {
    let job = task.job;
    let again = format!("`farcall retry {job} --failed`");
    match cause {
        Cause::OutOfMemory { peak, .. } => {
            let twice = peak.saturating_mul(2);
            let more = twice.checked_next_power_of_two().unwrap_or(twice).div_ceil(1 << 20);
            format!("allow more memory: `farcall retry {job} --failed --memory {more}M`")
        }
        Cause::TimeLimit { limit_ms } => {
            let more = limit_ms.saturating_mul(4).div_ceil(1000).max(1);
            format!("allow more time: `farcall retry {job} --failed --deadline {more}s`")
        }
        Cause::NodeLost | Cause::WorkerLost { .. } | Cause::Cancelled => again,
        Cause::NoNode => format!("start a node, then {again}"),
        Cause::Refused { .. } | Cause::Broken { .. } => {
            format!("mend the core as the reason says, then {again}")
        }
        Cause::ExitCode { .. }
        | Cause::Signal { .. }
        | Cause::Exited { .. }
        | Cause::Other { .. } => {
            format!("`farcall logs {task}` shows what it wrote; once it is mended, {again}")
        }
    }
}
