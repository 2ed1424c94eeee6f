//! What is said of failures at the end: each reason once, with the inputs that met it.
//!
//! ```text
//! error[T0102]: 3 tasks failed: signal 11 (segmentation fault) (lines 4, 9, 12)
//!   | its last lines of standard error, once
//!   more: farcall explain T0102
//! ```

use std::collections::BTreeMap;
use std::fmt::Write as _;

use client::{Failure, Why};

use crate::codes::{self, Code};
use crate::errors;
use crate::terminal::{tame, tame_line};
use crate::values::{count, spell, spell_size};

/// Inputs that are named; the rest are counted.
const NAMED: usize = 8;
/// Lines of standard error that are shown.
const LINES: usize = 8;

#[derive(Default)]
pub(crate) struct Failures {
    by_reason: BTreeMap<String, Group>,
}

struct Group {
    code: Code,
    count: u64,
    /// The first ones by position, with their names.
    named: BTreeMap<u64, String>,
    /// Of the first that had any.
    stderr: String,
    /// The most memory that one of them had, where that is what it failed for.
    peak: u64,
}

impl Failures {
    pub(crate) fn add(&mut self, index: u64, name: &str, failure: &Failure) {
        let group = self.by_reason.entry(reason(&failure.why));
        let group = group.or_insert_with(|| Group {
            code: codes::of_failure(&failure.why),
            count: 0,
            named: BTreeMap::new(),
            stderr: String::new(),
            peak: 0,
        });
        group.count += 1;
        group.named.insert(index, name.to_owned());
        if group.named.len() > NAMED {
            group.named.pop_last();
        }
        if let Why::OutOfMemory { peak, .. } = failure.why {
            group.peak = group.peak.max(peak);
        }
        if group.stderr.is_empty()
            && let Why::Signal { stderr, .. } | Why::Exited { stderr, .. } = &failure.why
        {
            group.stderr = stderr.clone();
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.by_reason.is_empty()
    }

    /// Prints them on standard error, the most frequent first.
    pub(crate) fn report(&self, noun: &str) {
        let mut groups: Vec<_> = self.by_reason.iter().collect();
        groups.sort_by_key(|(_, group)| std::cmp::Reverse(group.count));
        for (reason, group) in groups {
            eprint!("{}", group.describe(reason, noun));
        }
        let codes: BTreeMap<&str, Code> =
            self.by_reason.values().map(|group| (group.code.code, group.code)).collect();
        if !codes.is_empty() {
            eprint!("{}", errors::more(codes.into_values()));
        }
    }
}

impl Group {
    fn describe(&self, reason: &str, noun: &str) -> String {
        let names: Vec<String> = self.named.values().map(|name| tame_line(name)).collect();
        let plural = if self.count == 1 { "" } else { "s" };
        let more = match self.count - self.named.len() as u64 {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        let tasks = count(self.count, "task");
        let peak = match self.peak {
            0 => String::new(),
            peak => format!(", peak {}", spell_size(peak)),
        };
        let mut text = format!(
            "error[{}]: {tasks} failed: {}{peak} ({noun}{plural} {}{more})
",
            self.code.code,
            tame_line(reason),
            names.join(", ")
        );
        let stderr = tame(self.stderr.trim_end());
        let skipped = stderr.lines().count().saturating_sub(LINES);
        for line in stderr.lines().skip(skipped) {
            let _ = writeln!(text, "  | {line}");
        }
        text
    }
}

/// The same for all failures that have one cause: no numbers that differ from task to task.
fn reason(why: &Why) -> String {
    match why {
        Why::ExitCode { code, .. } => format!("exit code {code}"),
        Why::Signal { signal, .. } => format!("signal {signal}{}", signal_name(*signal)),
        Why::Exited { code, .. } => format!("it called exit({code})"),
        Why::OutOfMemory { limit, .. } => format!("out of memory, limit {}", spell_size(*limit)),
        Why::TimeLimit { limit } => format!("time limit of {}", spell(*limit)),
        other => other.to_string(),
    }
}

pub(crate) fn signal_name(signal: i32) -> String {
    codes::signals::of(signal).map_or_else(String::new, |signal| format!(" ({})", signal.short))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_of_one_reason_are_told_once() {
        let mut failures = Failures::default();
        let why = Why::Signal { signal: 11, stderr: "oh\u{1b}[2J\nno\n".to_owned() };
        for line in [11_u64, 3, 8] {
            let failure = Failure {
                why: why.clone(),
                node: None,
                attempt: 1,
                ran: std::time::Duration::ZERO,
                task: None,
            };
            failures.add(line, &(line + 1).to_string(), &failure);
        }
        let (reason, group) = failures.by_reason.first_key_value().unwrap();
        assert_eq!(
            group.describe(reason, "line"),
            "error[T0102]: 3 tasks failed: signal 11 (segmentation fault) (lines 4, 9, 12)\n  | oh·[2J\n  | no\n"
        );
    }

    #[test]
    fn many_inputs_are_counted_not_named() {
        let mut failures = Failures::default();
        for line in (0..1000_u64).rev() {
            let why = Why::ExitCode { code: 7, output: Default::default() };
            let ran = std::time::Duration::ZERO;
            let failure = Failure { why, node: None, attempt: 1, ran, task: None };
            failures.add(line, &(line + 1).to_string(), &failure);
        }
        let (reason, group) = failures.by_reason.first_key_value().unwrap();
        assert_eq!(
            group.describe(reason, "line"),
            "error[T0101]: 1000 tasks failed: exit code 7 (lines 1, 2, 3, 4, 5, 6, 7, 8 and 992 more)\n"
        );
    }
}
