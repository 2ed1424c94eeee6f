//! One worker as `slots` sees it: a queue of tasks that a process works through in order.

use std::collections::VecDeque;

use wire::task::Status;
use wire::units::{Span, Time};

use super::memory::MEASURE;
use super::{PEEK, Task};

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
    /// The task that it is killed for, by its sequence number, and what to say of it.
    pub(super) doom: Option<(u64, Status)>,
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
            doom: None,
        }
    }

    pub(super) fn is_idle(&self) -> bool {
        self.life == Life::Ready && self.tasks.is_empty()
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
