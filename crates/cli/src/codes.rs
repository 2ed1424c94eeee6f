//! The catalogue of everything that can go wrong: `farcall explain` prints it, errors name it.
//!
//! A code is a constant of the catalogue, not a text: an error cannot be given one that is not
//! explained. The first letter and digits say whose fault it is: E01 a command's own input, E02 the
//! cluster and its nodes, E03 credentials, E04 files, E05 jobs and their records, E06 shared
//! memory, E07 processes that move, E09 the rest; T01 how a task ended.
//!
//! Elsewhere: the entries themselves (`catalogue`), what signals mean (`signals`).

mod catalogue;
pub(crate) mod signals;

use client::Why;

pub(crate) use catalogue::*;

/// What there is to say of one code.
#[derive(Debug, PartialEq, Eq, serde::Serialize)]
pub(crate) struct Entry {
    pub(crate) code: &'static str,
    pub(crate) title: &'static str,
    /// What the code says has happened.
    pub(crate) means: &'static str,
    /// Why that usually is so.
    pub(crate) cause: &'static str,
    /// What to do about it.
    pub(crate) remedy: &'static str,
    /// A command that helps, or shows more.
    pub(crate) example: &'static str,
}

pub(crate) type Code = &'static Entry;

/// The entry of a code, however it is written.
pub(crate) fn find(text: &str) -> Option<Code> {
    ALL.iter().copied().find(|entry| entry.code.eq_ignore_ascii_case(text.trim()))
}

/// Codes that may have been meant: those that one keystroke, or two, make of it, the nearest first.
pub(crate) fn near(text: &str) -> Vec<&'static str> {
    let text = text.trim().to_ascii_uppercase();
    let mut near: Vec<_> =
        ALL.iter().map(|entry| (distance(&text, entry.code), entry.code)).collect();
    near.sort_unstable();
    near.into_iter().take_while(|&(far, _)| far <= 2).take(4).map(|(_, code)| code).collect()
}

/// Keystrokes between two words (Levenshtein). Words of other lengths than a code's are far anyway.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().take(16).collect(), b.chars().collect());
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.iter().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, to) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(from != to);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

/// How a task failed.
pub(crate) fn of_failure(why: &Why) -> Code {
    match why {
        Why::ExitCode { .. } => &T0101,
        Why::Signal { .. } => &T0102,
        Why::Exited { .. } => &T0103,
        Why::OutOfMemory { .. } => &T0104,
        Why::TimeLimit { .. } => &T0105,
        Why::WorkerLost { .. } => &T0106,
        Why::NodeLost => &T0107,
        Why::NoNode => &T0108,
        Why::Cancelled => &T0109,
        Why::Refused { .. } => &T0110,
        Why::Broken { .. } => &T0111,
        Why::Reported { .. } => &T0112,
        // The library may learn of new ones before this catalogue does.
        _ => &T0100,
    }
}

#[cfg(test)]
mod tests;
