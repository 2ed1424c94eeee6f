//! A story of one task: a sentence, where its time went, and one next step; for people or as JSON.

use std::fmt::Write;
use std::time::Duration;

use client::{AttemptReport, TaskName};
use serde_json::{Value, json};
use wire::record::Attempt;

use super::cause;
use crate::record::files::Cause;
use crate::terminal::{tame, tame_line};
use crate::values::fine;

/// Last lines of a program's own words that are shown.
const LINES: usize = 8;

pub(super) struct Story {
    task: TaskName,
    /// In a word.
    state: &'static str,
    /// In a sentence.
    verdict: String,
    pub(super) input: Option<String>,
    pub(super) details: Vec<String>,
    pub(super) cause: Option<Cause>,
    pub(super) earlier: Vec<String>,
    pub(super) times: Option<Times>,
    /// How long the tasks of its job ran, the middle one of them.
    pub(super) median: Option<Duration>,
    pub(super) next: Option<String>,
}

/// Where the time of an attempt went.
pub(super) struct Times {
    /// In the client's queue; a node does not know.
    queued: Option<Duration>,
    transfer: Duration,
    waited: Duration,
    ran: Duration,
    /// On the network, apart from a large input.
    travel: Option<Duration>,
}

impl From<&Attempt> for Times {
    fn from(attempt: &Attempt) -> Self {
        let [queued, transfer, waited, ran, away] =
            [attempt.queued, attempt.transfer, attempt.waited, attempt.ran, attempt.away]
                .map(Duration::from);
        let there = transfer.saturating_add(waited).saturating_add(ran);
        let travel = Some(away.saturating_sub(there));
        Self { queued: Some(queued), transfer, waited, ran, travel }
    }
}

impl Times {
    pub(super) fn at_node(ended: &AttemptReport) -> Self {
        let AttemptReport { transfer, waited, ran, .. } = *ended;
        Self { queued: None, transfer, waited, ran, travel: None }
    }

    /// In the order in which they went by.
    fn rows(&self) -> Vec<(&'static str, &'static str, Duration)> {
        let queued = self.queued.map(|span| ("in its client's queue", "queued", span));
        let travel = self.travel.map(|span| ("itself and its result travelled", "travel", span));
        let there = [
            ("its input travelled", "transfer", self.transfer),
            ("at the node, for a worker", "waited", self.waited),
            ("in its program", "ran", self.ran),
        ];
        queued.into_iter().chain(there).chain(travel).collect()
    }

    fn total(&self) -> Duration {
        self.rows().iter().fold(Duration::ZERO, |sum, (.., span)| sum.saturating_add(*span))
    }

    /// What took most of it, and its share of a hundred.
    fn slow_because(&self) -> (&'static str, u64) {
        let queue = self.queued.unwrap_or_default().saturating_add(self.waited);
        let transfer = self.transfer.saturating_add(self.travel.unwrap_or_default());
        let all = [("queue", queue), ("transfer", transfer), ("compute", self.ran)];
        let most = all.into_iter().max_by_key(|(_, span)| *span).unwrap_or(("compute", self.ran));
        (most.0, share(most.1, self.total()))
    }
}

fn share(part: Duration, whole: Duration) -> u64 {
    let hundredths = part.as_nanos() * 100 + whole.as_nanos() / 2;
    u64::try_from(hundredths / whole.as_nanos().max(1)).unwrap_or(100).min(100)
}

impl Story {
    pub(super) fn new(task: TaskName, state: &'static str, verdict: String) -> Self {
        Self {
            task,
            state,
            verdict,
            input: None,
            details: Vec::new(),
            cause: None,
            earlier: Vec::new(),
            times: None,
            median: None,
            next: None,
        }
    }

    pub(super) fn in_words(&self) -> String {
        let input = self.input.as_ref().map_or(String::new(), |input| format!(" ({input})"));
        let mut text =
            format!("{}{}: {}\n", self.task, tame_line(&input), tame_line(&self.verdict));
        for detail in &self.details {
            let _ = writeln!(text, "  {}", tame_line(detail));
        }
        let said = tame(self.cause.as_ref().map_or("", |cause| cause::said(cause)).trim_end());
        for line in said.lines().skip(said.lines().count().saturating_sub(LINES)) {
            let _ = writeln!(text, "  | {line}");
        }
        if !self.earlier.is_empty() {
            text += "\nbefore that:\n";
        }
        for line in &self.earlier {
            let _ = writeln!(text, "  {}", tame_line(line));
        }
        if let Some(times) = &self.times {
            text += "\nits time went by:\n";
            let total = times.total();
            for (label, _, span) in times.rows() {
                let _ =
                    writeln!(text, "  {label:32} {:>10} {:>4} %", fine(span), share(span, total));
            }
            let _ = writeln!(text, "  {:32} {:>10}", "together", fine(total));
            let (cause, share) = times.slow_because();
            let _ = writeln!(text, "slow because of: {cause} ({share} %)");
            if let Some(median) = self.median {
                let _ = writeln!(text, "{}", beside(times.ran, median));
            }
        }
        if let Some(next) = &self.next {
            let _ = writeln!(text, "\nnext: {}", tame_line(next));
        }
        if let Some(cause) = &self.cause {
            let _ = writeln!(text, "more: farcall explain {}", cause::code(cause).code);
        }
        text
    }

    pub(super) fn in_json(&self) -> Value {
        let millis = |span: Duration| (span.as_secs_f64() * 1e6).round() / 1e3;
        let times = self.times.as_ref().map(|times| {
            let rows = times.rows().into_iter();
            let rows = rows.map(|(_, name, span)| (format!("{name}_ms"), json!(millis(span))));
            let total = ("total_ms".to_owned(), json!(millis(times.total())));
            Value::Object(rows.chain([total]).collect())
        });
        json!({
            "task": self.task.to_string(),
            "state": self.state,
            "verdict": self.verdict,
            "input": self.input,
            "details": self.details,
            "cause": self.cause,
            "code": self.cause.as_ref().map(|cause| cause::code(cause).code),
            "earlier": self.earlier,
            "times": times,
            "slow_because": self.times.as_ref().map(|times| times.slow_because().0),
            "median_ran_ms": self.median.map(millis),
            "next": self.next,
        })
    }
}

/// How a time stands to the middle one.
fn beside(ran: Duration, median: Duration) -> String {
    let middle = fine(median);
    let times = ran.as_secs_f64() / median.as_secs_f64().max(1e-9);
    let how = match times {
        times if times >= 1.5 => format!("{times:.1} times as long"),
        times if times <= 0.67 => "less".to_owned(),
        _ => "about as long".to_owned(),
    };
    format!("half of the tasks of its job ran {middle} or less; this one ran {how}")
}

#[cfg(test)]
mod tests;
