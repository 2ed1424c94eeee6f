//! What a node's slots have done since its start: numbers that only grow.

use wire::task::Status;
use wire::units::Span;

use super::{Slots, Task};

/// How a task ended, without its particulars.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    Succeeded,
    /// It returned a code other than 0.
    Failed,
    Crashed,
    Exited,
    OutOfMemory,
    TimeLimit,
    Cancelled,
    Refused,
    Broken,
    WorkerLost,
}

impl Ending {
    pub const ALL: [Self; 10] = [
        Self::Succeeded,
        Self::Failed,
        Self::Crashed,
        Self::Exited,
        Self::OutOfMemory,
        Self::TimeLimit,
        Self::Cancelled,
        Self::Refused,
        Self::Broken,
        Self::WorkerLost,
    ];

    fn of(status: &Status) -> Self {
        match status {
            Status::Finished { code: 0 } => Self::Succeeded,
            Status::Finished { .. } => Self::Failed,
            Status::Crashed { .. } => Self::Crashed,
            Status::Exited { .. } => Self::Exited,
            Status::OutOfMemory { .. } => Self::OutOfMemory,
            Status::TimeLimit { .. } => Self::TimeLimit,
            Status::Cancelled => Self::Cancelled,
            Status::Refused { .. } => Self::Refused,
            Status::Broken { .. } => Self::Broken,
            Status::WorkerLost { .. } => Self::WorkerLost,
        }
    }

    /// In lists and metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Crashed => "crashed",
            Self::Exited => "exited",
            Self::OutOfMemory => "out_of_memory",
            Self::TimeLimit => "time_limit",
            Self::Cancelled => "cancelled",
            Self::Refused => "refused",
            Self::Broken => "broken",
            Self::WorkerLost => "worker_lost",
        }
    }
}

/// Every task that was accepted has ended, was given back or dropped, or is still here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Tasks taken, with their inputs.
    pub accepted: u64,
    ended: [u64; Ending::ALL.len()],
    /// Tasks given back to their clients, never started.
    pub returned: u64,
    /// Tasks whose client has gone.
    pub dropped: u64,
    /// Credits given out.
    pub credits: u64,
    pub workers_started: u64,
    /// Time of ended tasks in their workers, together.
    pub ran: Span,
}

impl Counters {
    pub fn ended(&self, ending: Ending) -> u64 {
        self.ended[ending as usize]
    }

    /// Tasks that are not here any more.
    pub fn gone(&self) -> u64 {
        self.ended.iter().sum::<u64>() + self.returned + self.dropped
    }

    pub(super) fn end(&mut self, status: &Status, ran: Span) {
        self.ended[Ending::of(status) as usize] += 1;
        self.ran = Span(self.ran.0.saturating_add(ran.0));
    }
}

impl Slots {
    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// Tasks that run now, and those that wait for a worker.
    pub fn running_and_waiting(&self) -> (u32, u32) {
        let fronts = self.workers.iter().filter_map(|(_, worker)| worker.tasks.front());
        // A task of a client that has gone is nobody's any more, though its worker has not ended.
        let is_known = |task: &&Task| {
            let user = self.users.get(task.link.0 as usize).and_then(Option::as_ref);
            user.is_some_and(|user| user.id == task.user)
        };
        let running = fronts.filter(is_known).count() as u32;
        (running, self.tasks.saturating_sub(running))
    }
}
