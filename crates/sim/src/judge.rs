//! Watches a run, and says which promise was broken.
//!
//! The judge knows everything at once: what each task was meant to do, each time it began
//! anywhere, and what went wrong where. So it can tell a true reason from an excuse.

use std::collections::BTreeSet;

use bytes::{BufMut, Bytes, BytesMut};
use logic::Payload;
use logic::dispatch::{End, Outcome, Terms};
use wire::limits::POISON_KILLS;
use wire::name::Name;
use wire::task::Status;
use wire::units::{Span, Time};

use crate::plan::{Deed, Make};

/// A task as it was meant.
#[derive(Debug)]
pub(crate) struct Spec {
    pub(crate) client: usize,
    pub(crate) deed: Deed,
    pub(crate) make: Make,
    pub(crate) time: Span,
    pub(crate) bulk: bool,
    pub(crate) terms: Terms,
}

#[derive(Debug)]
struct Record {
    spec: Spec,
    cancelled: bool,
    ended: bool,
    /// Its client died: nobody waits for it.
    orphan: bool,
    /// The attempts that began, anywhere.
    begun: Vec<u32>,
    /// Workers that it killed itself.
    kills: u32,
}

/// What went wrong, as far as it excuses how tasks end.
#[derive(Debug, Default)]
pub(crate) struct Excuses {
    /// Nodes that a fault has touched.
    pub(crate) hurt: BTreeSet<Name>,
    /// A node was hurt or left, so that there may have been none.
    pub(crate) nodes_went: bool,
    /// Something was slow or stood still, so that a deadline may have passed.
    pub(crate) slowed: bool,
    pub(crate) workers_killed: bool,
    /// Any worker died, whatever of: another task at it may have been lost.
    pub(crate) workers_died: bool,
    /// Disks were full or workers died while loading.
    pub(crate) unloadable: bool,
}

#[derive(Debug, Default)]
pub(crate) struct Judge {
    records: Vec<Record>,
    pub(crate) excuses: Excuses,
    open: usize,
    violation: Option<String>,
}

/// How a status is called in the log.
pub(crate) fn how(end: &End) -> &'static str {
    match end {
        End::NodeLost => "NodeLost",
        End::NoNode => "NoNode",
        End::Status { status, .. } => match status {
            Status::Finished { .. } => "Finished",
            Status::Crashed { .. } => "Crashed",
            Status::Exited { .. } => "Exited",
            Status::OutOfMemory { .. } => "OutOfMemory",
            Status::TimeLimit { .. } => "TimeLimit",
            Status::Cancelled => "Cancelled",
            Status::Refused { .. } => "Refused",
            Status::Broken { .. } => "Broken",
            Status::WorkerLost { .. } => "WorkerLost",
        },
    }
}

/// What a task is given: its number, then filling.
pub(crate) fn input_of(task: u32) -> Bytes {
    let mut input = BytesMut::new();
    input.put_u32_le(task);
    input.put_bytes(0xf1, (task % 40) as usize);
    input.freeze()
}

pub(crate) fn task_of(input: &[u8]) -> Option<u32> {
    Some(u32::from_le_bytes(*input.first_chunk()?))
}

/// What an attempt gives back: its input and its own number.
pub(crate) fn output_of(input: &[u8], attempt: u32) -> Bytes {
    let mut output = BytesMut::from(input);
    output.put_u32_le(attempt);
    output.freeze()
}

impl Judge {
    pub(crate) fn fail(&mut self, what: String) {
        self.violation.get_or_insert(what);
    }

    pub(crate) fn violation(&self) -> Option<&String> {
        self.violation.as_ref()
    }

    /// Tasks that somebody still waits for.
    pub(crate) fn open(&self) -> usize {
        self.open
    }

    /// Some of those, for people.
    pub(crate) fn waiting(&self) -> Vec<(usize, &Spec)> {
        let open = self.records.iter().enumerate().filter(|(_, r)| !r.ended && !r.orphan);
        open.map(|(at, record)| (at, &record.spec)).take(5).collect()
    }

    pub(crate) fn submitted(&mut self, spec: Spec) -> u32 {
        self.open += 1;
        self.records.push(Record {
            spec,
            cancelled: false,
            ended: false,
            orphan: false,
            begun: Vec::new(),
            kills: 0,
        });
        self.records.len() as u32 - 1
    }

    pub(crate) fn spec(&self, task: u32) -> Option<&Spec> {
        self.records.get(task as usize).map(|record| &record.spec)
    }

    pub(crate) fn cancelled(&mut self, task: u32) {
        self.records[task as usize].cancelled = true;
    }

    pub(crate) fn client_died(&mut self, client: usize) {
        for record in &mut self.records {
            if record.spec.client == client && !record.ended && !record.orphan {
                record.orphan = true;
                self.open -= 1;
            }
        }
    }

    /// A worker begins an attempt.
    pub(crate) fn begun(&mut self, task: u32, attempt: u32) {
        let Some(record) = self.records.get_mut(task as usize) else {
            return self.fail(format!("a worker was given task {task}, which nobody submitted"));
        };
        let retries = record.spec.terms.retries;
        // A node that is cut off may begin an old attempt late, but none twice.
        let again = record.begun.contains(&attempt);
        record.begun.push(attempt);
        if again || attempt == 0 || attempt > retries + 1 {
            let all = &record.begun;
            let what = format!("task {task} with {retries} retries began as attempts {all:?}");
            self.fail(what);
        }
    }

    /// It does what it was meant to, and its worker dies of it.
    pub(crate) fn killed_its_worker(&mut self, task: u32) {
        self.records[task as usize].kills += 1;
    }

    pub(crate) fn ended(&mut self, now: Time, client: usize, task: u32, outcome: &Outcome) {
        let Some(record) = self.records.get_mut(task as usize) else {
            return self.fail(format!("task {task} ended, which nobody submitted"));
        };
        if record.ended || record.spec.client != client {
            return self.fail(format!("task {task} ended twice, or at somebody else's"));
        }
        record.ended = true;
        self.open -= 1;
        let record = &self.records[task as usize];
        if let Err(why) = self.judge(task, record, outcome) {
            let end = &outcome.end;
            let now = now.0 as f64 / 1e6;
            self.fail(format!("task {task} at {now} ms: {why}: {end:?} of {record:?}"));
        }
    }

    fn judge(&self, task: u32, record: &Record, outcome: &Outcome) -> Result<(), &'static str> {
        let ensure = |holds: bool, why| if holds { Ok(()) } else { Err(why) };
        let Record { spec, cancelled, begun, .. } = record;
        let excuses = &self.excuses;
        let (status, output) = match &outcome.end {
            End::NodeLost => {
                let hurt =
                    outcome.node.as_ref().is_some_and(|node| excuses.hurt.contains(node.as_ref()));
                return ensure(hurt, "its node was not lost");
            }
            End::NoNode => return ensure(excuses.nodes_went, "there was a node"),
            End::Status { status, output } => (status, output),
        };
        match status {
            Status::Finished { code } => {
                let deed = spec.deed;
                let may = match deed {
                    Deed::Work | Deed::CrashOnce => *code == 0,
                    Deed::Fail => *code == 7,
                    Deed::Crash | Deed::Exit | Deed::Hang | Deed::Leak => false,
                };
                ensure(may, "it cannot have ended so")?;
                ensure(begun.contains(&outcome.attempt), "that attempt never began")?;
                let Payload::Inline(bytes) = output else { return Err("its output is not here") };
                let want = output_of(&input_of(task), outcome.attempt);
                ensure(*bytes == want, "another task's or attempt's output")
            }
            Status::Crashed { .. } => {
                ensure(!begun.is_empty(), "it never began")?;
                self.judge_poison(record)?;
                let did = matches!(spec.deed, Deed::Crash | Deed::CrashOnce);
                ensure(did || excuses.workers_killed, "nothing crashed it")
            }
            Status::Exited { .. } => {
                self.judge_poison(record)?;
                ensure(spec.deed == Deed::Exit, "it did not exit")
            }
            Status::OutOfMemory { .. } => ensure(spec.deed == Deed::Leak, "it took no memory"),
            Status::TimeLimit { limit } => {
                ensure(spec.terms.deadline == *limit, "another task's limit")?;
                let slow = spec.deed == Deed::Hang || spec.time >= *limit || excuses.slowed;
                ensure(limit.0 > 0 && slow, "it was in time")
            }
            Status::Cancelled => ensure(*cancelled, "nobody cancelled it"),
            Status::Refused { .. } => {
                ensure(spec.make == Make::Bad || excuses.unloadable, "its program is good")
            }
            Status::Broken { .. } => Err("no program here breaks its contract"),
            Status::WorkerLost { .. } => ensure(excuses.workers_died, "no worker died"),
        }
    }

    /// Where nothing else goes wrong, a client hears of each worker that its task killed.
    fn judge_poison(&self, record: &Record) -> Result<(), &'static str> {
        let heard = self.excuses.hurt.is_empty() && !self.excuses.workers_killed;
        let too_often = heard && record.kills > POISON_KILLS;
        if too_often { Err("it killed more than three workers") } else { Ok(()) }
    }

    /// How many tasks of a client have ended.
    pub(crate) fn done_by(&self, client: usize) -> u64 {
        self.records.iter().filter(|r| r.spec.client == client && r.ended).count() as u64
    }
}
