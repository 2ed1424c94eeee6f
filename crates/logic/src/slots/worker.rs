//! One worker as `slots` sees it: a queue of tasks that a process works through in order.

use std::collections::VecDeque;

use wire::name::TaskName;
use wire::task::Status;
use wire::units::{Span, Time};

use super::{MEASURE, PEEK, Task};
use crate::{LinkId, WorkerId};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Life {
    Starting,
    Ready,
    /// Told to end in order; its exit is still to come.
    Dismissed,
    /// Killed; its exit is still to come.
    Doomed,
}

#[derive(Debug)]
pub(super) struct Worker {
    pub(super) class: usize,
    pub(super) life: Life,
    /// The first is running, or about to.
    pub(super) tasks: VecDeque<Task>,
    /// Results seen: the sequence number of `tasks[0]`.
    pub(super) finished: u64,
    pub(super) heard: Time,
    /// When the first task began, as far as is known.
    pub(super) front_since: Time,
    /// When its memory is to be measured next.
    pub(super) measure: Time,
    /// Once it is doomed: when to kill it again; 0 before the first look.
    pub(super) kill_again: Time,
    /// The task that it is killed for, by its sequence number, and what to say of it.
    pub(super) doom: Option<(u64, Status)>,
    /// When its last task ended.
    last_end: Time,
    /// Its last task, and whose it was.
    pub(super) last: Option<Writer>,
}

/// Who writes to a worker's standard error: a task of a user's.
#[derive(Clone, Copy, Debug)]
pub(super) struct Writer {
    pub(super) user: u64,
    pub(super) link: LinkId,
    pub(super) name: TaskName,
    pub(super) attempt: u32,
}

impl Writer {
    pub(super) fn of(task: &Task) -> Self {
        let Task { user, link, name, attempt, .. } = *task;
        Self { user, link, name, attempt }
    }
}

impl Worker {
    pub(super) fn new(class: usize, now: Time) -> Self {
        Self {
            class,
            life: Life::Starting,
            tasks: VecDeque::new(),
            finished: 0,
            heard: now,
            front_since: now,
            measure: now + MEASURE,
            kill_again: Time(0),
            doom: None,
            last_end: Time(0),
            last: None,
        }
    }

    pub(super) fn is_idle(&self) -> bool {
        self.life == Life::Ready && self.tasks.is_empty()
    }

    /// A task of it has ended: when it began, as far as the worker can be believed. It did so after
    /// it had come and after the one before it.
    pub(super) fn note_end(
        &mut self,
        at: WorkerId,
        task: &mut Task,
        now: Time,
        began: Time,
        ran: Span,
    ) {
        let earliest = task.arrived.max(self.last_end).min(now);
        let began = began.clamp(earliest, now);
        self.last_end = (began + ran).min(now);
        self.last = Some(Writer::of(task));
        task.times.waited = began.since(task.arrived);
        task.times.began = Span(began.0);
        task.times.worker = at.0;
    }

    /// The sequence number of the next task.
    pub(super) fn next(&self) -> u64 {
        self.finished + self.tasks.len() as u64
    }

    /// When to look at its progress page: results may be held back, or a deadline has passed.
    pub(super) fn watch(&self) -> Time {
        let held_back = if self.tasks.len() > 1 { self.heard + PEEK } else { Time::NEVER };
        match self.tasks.front() {
            Some(front) if front.deadline > Span(0) => {
                held_back.min(self.front_since + front.deadline)
            }
            Some(_) | None => held_back,
        }
    }
}
