//! The entries of a journal: what happened to tasks, until somebody has read it.
//!
//! Elsewhere: who writes them (`driver`), who reads them (`journal`, `trace`).

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use logic::dispatch::Outcome;
use wire::job::Log;
use wire::name::{Name, TaskName};
use wire::units::{Span, Time};

use crate::outcome::{self, Why};

/// Entries that wait to be read: more than a map has tasks under way.
const ENTRIES_MAX: usize = 128 * 1024;
/// Bytes of standard error that wait to be read.
const TEXT_MAX: usize = 16 << 20;

/// One thing that happened.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Entry {
    /// An attempt ended.
    Ended(Ended),
    /// A task wrote to its standard error.
    Wrote(Wrote),
    /// So many entries are missing here: nobody read the journal for too long.
    Lost(u64),
}

/// The end of one attempt at a task.
#[derive(Clone, Debug)]
pub struct Ended {
    /// The task, as `JOB.TASK`.
    pub task: TaskName,
    /// 1 is the first.
    pub attempt: u32,
    /// The node that had it, if any did.
    pub node: Option<Arc<Name>>,
    /// The worker there: it ran nothing else at the same time.
    pub worker: u32,
    /// Why it failed, if it did.
    pub failure: Option<Why>,
    /// There will be another attempt.
    pub again: bool,
    /// Where its time went.
    pub times: Times,
}

/// Where the time of an attempt went, in the order in which it did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Times {
    /// When its result was here, since the journal was begun.
    pub ended: Duration,
    /// Here, until it was sent.
    pub queued: Duration,
    /// At the node, until all of a large input was there.
    pub transfer: Duration,
    /// From then until a worker began.
    pub waited: Duration,
    /// In the worker.
    pub ran: Duration,
    /// From the moment it was sent until its result was here; `transfer`, `waited` and `ran` are part
    /// of it.
    pub away: Duration,
    /// When it began, by the node's clock.
    pub began: Duration,
}

impl Times {
    /// What is left of the time away: the task and its result on the network.
    pub fn travel(&self) -> Duration {
        self.away.saturating_sub(self.transfer + self.waited + self.ran)
    }

    /// All of it, from submission to result.
    pub fn total(&self) -> Duration {
        self.queued + self.away
    }
}

/// A piece of a task's standard error.
#[derive(Clone, Debug)]
pub struct Wrote {
    /// The task that the worker was at when the node read this: at the border between two short
    /// tasks it may be the later one's name.
    pub task: TaskName,
    /// Which attempt.
    pub attempt: u32,
    /// The node.
    pub node: Option<Arc<Name>>,
    /// Bytes that were left out before these, because the task wrote too many.
    pub skipped: u64,
    /// What it wrote.
    pub bytes: Bytes,
}

/// The entries that nobody has read yet.
#[derive(Debug)]
pub(crate) struct Pages {
    /// Whose they are: the number of a journal.
    reader: u64,
    since: Time,
    entries: VecDeque<Entry>,
    text: usize,
    lost: u64,
}

impl Pages {
    pub(crate) fn new(now: Time, reader: u64) -> Self {
        Self { reader, since: now, entries: VecDeque::new(), text: 0, lost: 0 }
    }

    pub(crate) fn reader(&self) -> u64 {
        self.reader
    }

    pub(crate) fn take(&mut self) -> Vec<Entry> {
        self.text = 0;
        let lost = std::mem::take(&mut self.lost);
        let lost = (lost > 0).then_some(Entry::Lost(lost));
        self.entries.drain(..).chain(lost).collect()
    }

    pub(crate) fn ended(&mut self, now: Time, outcome: &Outcome, again: bool) {
        if self.entries.len() >= ENTRIES_MAX {
            self.lost += 1;
            return;
        }
        let span = |span: Span| Duration::from(span);
        let spent = outcome.spent;
        let times = Times {
            ended: span(now.since(self.since)),
            queued: span(spent.queued),
            transfer: span(spent.times.transfer),
            waited: span(spent.times.waited),
            ran: span(outcome.ran),
            away: span(spent.away),
            began: span(spent.times.began),
        };
        self.entries.push_back(Entry::Ended(Ended {
            task: outcome.name,
            attempt: outcome.attempt,
            node: outcome.node.clone(),
            worker: spent.times.worker,
            failure: outcome::failure(&outcome.end),
            again,
            times,
        }));
    }

    pub(crate) fn wrote(&mut self, log: Log, node: Option<Arc<Name>>, bytes: Bytes) {
        if self.entries.len() >= ENTRIES_MAX || self.text + bytes.len() > TEXT_MAX {
            self.lost += 1;
            return;
        }
        self.text += bytes.len();
        let Log { name, attempt, skipped } = log;
        self.entries.push_back(Entry::Wrote(Wrote { task: name, attempt, node, skipped, bytes }));
    }
}
