//! A client's jobs: what their tasks are called, how far they are, and when nodes are told.
//!
//! A task costs a few additions here. What is told is derived once in a while, and only if something
//! has changed.

use std::sync::Arc;

use slab::Slab;
use wire::Message;
use wire::job::{Job, Wait};
use wire::limits::{ATTEMPTS_MAX, JOB_NODES_MAX, JOB_PERIOD};
use wire::name::{JobId, Name, TaskName};
use wire::task::Times;
use wire::units::{Span, Time};

use super::nodes::Stage;
use super::{Dispatch, Effect, End, Outcome, Place, TaskId};
use crate::LinkId;

/// How soon after its first task a job is told of: most are over by then.
const FIRST_WORD: Span = Span::from_millis(200);
/// Queued tasks that are looked at for the first one of a job.
const LOOK_MAX: usize = 1024;

/// A job of this client: its place in the table. Reused once it is closed and its tasks have ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct JobKey(pub u32);

/// Where the time of an attempt went.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Spent {
    /// Here, until it was sent.
    pub queued: Span,
    /// From then until its result was here.
    pub away: Span,
    /// At the node.
    pub times: Times,
}

#[derive(Debug)]
struct Entry {
    id: JobId,
    name: String,
    /// Tasks so far: the number of the latest.
    tasks: u64,
    queued: u64,
    running: u64,
    done: u64,
    failed: u64,
    retried: u64,
    closed: bool,
    changed: bool,
}

/// What happens to a task, as far as counts go.
#[derive(Clone, Copy, Debug)]
pub(super) enum Passage {
    Sent,
    /// Given back by a node, or to be tried again.
    Requeued,
    Retried,
}

#[derive(Debug)]
pub(super) struct Jobs {
    table: Slab<Entry>,
    /// When nodes are told next; never, while nothing has changed.
    pub(super) due: Time,
    /// And not before.
    not_before: Time,
}

impl Jobs {
    pub(super) fn new() -> Self {
        Self { table: Slab::new(), due: Time::NEVER, not_before: Time(0) }
    }

    fn entry(&mut self, now: Time, job: JobKey) -> &mut Entry {
        if self.due == Time::NEVER {
            self.due = (now + FIRST_WORD).max(self.not_before);
        }
        let entry = &mut self.table[job.0 as usize];
        entry.changed = true;
        entry
    }

    /// A task is new: its name.
    pub(super) fn submitted(&mut self, now: Time, job: JobKey) -> u64 {
        let entry = self.entry(now, job);
        entry.tasks += 1;
        entry.queued += 1;
        entry.tasks
    }

    pub(super) fn step(&mut self, now: Time, job: JobKey, step: Passage) {
        let entry = self.entry(now, job);
        match step {
            Passage::Sent => {
                entry.queued -= 1;
                entry.running += 1;
            }
            Passage::Requeued => {
                entry.running -= 1;
                entry.queued += 1;
            }
            Passage::Retried => entry.retried += 1,
        }
    }

    pub(super) fn name(&self, job: JobKey, task: u64) -> TaskName {
        TaskName { job: self.table[job.0 as usize].id, task }
    }

    fn has_tasks(&self, job: JobKey) -> bool {
        let entry = &self.table[job.0 as usize];
        entry.queued + entry.running > 0
    }

    /// News of nodes: all of them are told of what is under way.
    pub(super) fn tell_all(&mut self, now: Time) {
        let JobKey(mut any) = JobKey(u32::MAX);
        for (at, entry) in self.table.iter_mut().filter(|(_, entry)| entry.tasks > 0) {
            entry.changed = true;
            any = at as u32;
        }
        if any != u32::MAX {
            self.entry(now, JobKey(any));
        }
    }
}

impl Dispatch {
    /// Begins a job. Its number is the driver's, who can draw one.
    pub fn open_job(&mut self, id: JobId, name: String) -> JobKey {
        JobKey(self.jobs.table.insert(Entry {
            id,
            name,
            tasks: 0,
            queued: 0,
            running: 0,
            done: 0,
            failed: 0,
            retried: 0,
            closed: false,
            changed: false,
        }) as u32)
    }

    /// No more tasks will come. Nodes are told at once: it may be the last that they hear.
    pub fn close_job(&mut self, now: Time, job: JobKey) {
        let entry = &mut self.jobs.table[job.0 as usize];
        entry.closed = true;
        if entry.tasks > 0 {
            self.tell(job);
        }
        if !self.jobs.has_tasks(job) {
            self.jobs.table.remove(job.0 as usize);
        } else {
            self.jobs.entry(now, job);
        }
    }

    /// The name of a task that has not ended.
    pub fn name_of(&self, id: TaskId) -> Option<TaskName> {
        let task = self.tasks.get(id.0 as usize)?;
        Some(self.jobs.name(task.job, task.number))
    }

    pub(super) fn job_ended(&mut self, job: JobKey, was_queued: bool, success: bool) {
        let entry = self.jobs.entry(self.now, job);
        if was_queued {
            entry.queued -= 1;
        } else {
            entry.running -= 1;
        }
        if success {
            entry.done += 1;
        } else {
            entry.failed += 1;
        }
        if entry.closed && !self.jobs.has_tasks(job) {
            self.tell(job);
            self.jobs.table.remove(job.0 as usize);
        }
    }

    pub(super) fn may_retry(&self, id: TaskId) -> bool {
        let task = &self.tasks[id.0 as usize];
        let attempt = u32::from(task.attempt);
        !task.cancelled && attempt <= task.retries && attempt < ATTEMPTS_MAX
    }

    /// Queues another attempt, first in line.
    pub(super) fn retry(&mut self, id: TaskId, end: End, node: Arc<Name>, ran: Span, times: Times) {
        let outcome = self.outcome(id, end, Some(node), ran, times);
        self.effects.push_back(Effect::Retried { outcome });
        let task = &mut self.tasks[id.0 as usize];
        task.attempt += 1;
        self.jobs.step(self.now, task.job, Passage::Retried);
        self.requeue(id);
        self.tasks[id.0 as usize].queued = Span(0);
    }

    /// How an attempt ended, and where its time went.
    pub(super) fn outcome(
        &self,
        id: TaskId,
        end: End,
        node: Option<Arc<Name>>,
        ran: Span,
        times: Times,
    ) -> Outcome {
        let task = &self.tasks[id.0 as usize];
        let here = self.now.since(task.since);
        let (queued, away) = match task.place {
            Place::Queued => (Span(task.queued.0 + here.0), Span(0)),
            Place::At(..) => (task.queued, here),
        };
        let name = self.jobs.name(task.job, task.number);
        let spent = Spent { queued, away, times };
        Outcome { end, attempt: task.attempt.into(), node, ran, name, spent }
    }

    /// Tells nodes of the jobs that have changed.
    pub(super) fn tell_jobs(&mut self, now: Time) {
        if now < self.jobs.due {
            return;
        }
        self.jobs.due = Time::NEVER;
        self.jobs.not_before = now + JOB_PERIOD;
        let changed = self.jobs.table.iter().filter(|(_, entry)| entry.changed);
        let changed: Vec<JobKey> = changed.map(|(at, _)| JobKey(at as u32)).collect();
        for job in changed {
            self.tell(job);
            self.jobs.table[job.0 as usize].changed = false;
        }
    }

    fn tell(&mut self, job: JobKey) {
        let nodes = self.nodes.iter().enumerate().filter(|(_, node)| node.is_some());
        let links: Vec<usize> = nodes.map(|(at, _)| at).take(JOB_NODES_MAX).collect();
        let message = Message::Job(self.word(job));
        for at in links {
            let (link, message) = (LinkId(at as u32), message.clone());
            self.effects.push_back(Effect::Send { link, channel: 0, message });
        }
    }

    /// How far a job is.
    fn word(&self, job: JobKey) -> Job {
        let entry = &self.jobs.table[job.0 as usize];
        let mut waiting = self.programs.iter().flat_map(|queue| queue.tasks.iter().take(LOOK_MAX));
        let is_of = |id: &&TaskId| self.tasks[id.0 as usize].job == job;
        let next = if entry.queued > 0 { waiting.find(is_of) } else { None };
        let next = next.map_or(0, |id| self.tasks[id.0 as usize].number);
        let wait = if entry.queued == 0 { Wait::Nothing } else { self.wait() };
        Job {
            id: entry.id,
            name: entry.name.clone(),
            queued: entry.queued,
            next,
            running: entry.running,
            done: entry.done,
            failed: entry.failed,
            retried: entry.retried,
            wait,
            closed: entry.closed,
        }
    }

    /// What the queued tasks wait for.
    fn wait(&self) -> Wait {
        if self.up == 0 {
            return Wait::Nodes;
        }
        let hungry = |program: usize| !self.programs[program].tasks.is_empty();
        let is_ready = |program: usize| {
            let mut nodes = self.nodes.iter().flatten();
            nodes.any(|node| matches!(node.stage(program), Stage::Ready(_)))
        };
        let ready = (0..self.programs.len()).any(|program| hungry(program) && is_ready(program));
        if ready { Wait::Credits } else { Wait::Program }
    }
}
