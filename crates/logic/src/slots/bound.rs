//! Workers that are bound to one user's one program, where state matters from task to task.
//!
//! ```text
//!  bind --> Start .. loads .. --> Bound(Ok) --> tasks, idle, tasks ..    one and the same worker
//!               \--> Bound(Err)                  \--> dies: anew, for the next task
//!  unbind --> Dismiss .. its destructors run .. --> Unbound
//! ```
//!
//! It is started at once and not with the first task, since the user waits to hear whether it could
//! be. While it is idle it stays, whoever waits for a slot: what it knows would be lost. So it has
//! no slot then, and waits for a free one when there is work again; nor while it loads, or users who
//! send programs that load for long would keep everybody else out. A bound on how many there are
//! takes the place of slots. To be rid of it is to let it end in order; one that does not is killed.

use wire::limits::BOUND_MAX;
use wire::task::{Program, Status};
use wire::units::{Span, Time};

use super::user::User;
use super::worker::{Life, Worker};
use super::{Bound, Class, Effect, LOADING, Slots, Wait};
use crate::{Exit, LinkId, WorkerId};

/// Why no worker is bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotBound {
    #[error("this node keeps {BOUND_MAX} workers for others already; try again later")]
    TooMany,
    #[error("it has another program already")]
    Busy,
}

impl Slots {
    /// Starts the one worker of a user, who can have no other program; its tasks are those of program 0.
    /// `Bound` follows. `limit`: how long the program may take to load, at most; 0 is no limit.
    pub fn bind(
        &mut self,
        now: Time,
        link: LinkId,
        bound: Bound,
        program: Program,
        memory: u64,
        limit: Span,
    ) -> Result<(), NotBound> {
        let Some(Some(user)) = self.users.get(link.0 as usize) else { return Ok(()) };
        if !user.lanes.is_empty() {
            return Err(NotBound::Busy);
        }
        let is_bound = |(_, worker): &(usize, &Worker)| {
            worker.life != Life::Doomed && self.classes[worker.class].class.bound.is_some()
        };
        if self.workers.iter().filter(is_bound).count() >= BOUND_MAX {
            return Err(NotBound::TooMany);
        }
        let owner = user.owner.clone();
        let class = Class { owner, program, memory, stream: false, bound: Some(bound) };
        let lane = self.open_lane(link, class.clone());
        if let Some(Some(user)) = self.users.get_mut(link.0 as usize) {
            user.lanes.push(lane);
        }
        let at = self.lanes[lane].class;
        let worker = self.workers.insert(Worker::new(at, now));
        self.counters.workers_started += 1;
        let known = &mut self.classes[at];
        known.workers.push(worker);
        known.wait = Wait::Loaded(link);
        known.loading = if limit.0 > 0 { limit.min(LOADING) } else { LOADING };
        self.effects.push_back(Effect::Start { worker: WorkerId(worker as u32), class });
        Ok(())
    }

    /// Lets the bound worker of a user without tasks go. `Unbound` follows.
    pub fn unbind(&mut self, now: Time, link: LinkId) {
        let Some(Some(user)) = self.users.get_mut(link.0 as usize) else { return };
        assert!(user.active == 0, "tasks are left without their worker");
        let Some(lane) = user.lanes.pop() else { return };
        // It stands for what tasks will cost, and there will be none.
        user.recent = None;
        let class = self.lanes.remove(lane).class;
        self.classes[class].lanes -= 1;
        self.classes[class].wait = Wait::Gone(link);
        self.dismiss_bound(now, class);
        self.retire_class(class);
    }

    /// Lets a bound class's worker end in order, as far as it is in a state to do so.
    pub(super) fn dismiss_bound(&mut self, now: Time, class: usize) {
        if self.classes[class].class.bound.is_none() {
            return;
        }
        for at in self.classes[class].workers.clone() {
            let worker = &mut self.workers[at];
            match worker.life {
                Life::Ready => {
                    worker.life = Life::Dismissed;
                    worker.heard = now;
                    self.effects.push_back(Effect::Dismiss { worker: WorkerId(at as u32) });
                }
                Life::Starting => self.kill(at, None),
                Life::Dismissed | Life::Doomed => {}
            }
        }
    }

    /// Tells who waits for it what became of a bound worker's loading.
    pub(super) fn loaded(&mut self, class: usize, result: Result<(), String>) {
        let known = &mut self.classes[class];
        if let (Wait::Loaded(link), Some(bound)) = (known.wait, known.class.bound) {
            known.wait = Wait::Nothing;
            self.effects.push_back(Effect::Bound { link, bound, result });
        }
    }

    /// Whether a user has a bound worker: he has no other program then.
    pub(super) fn is_bound(&self, user: &User) -> bool {
        user.lanes.first().is_some_and(|&lane| {
            let class = self.lanes[lane].class;
            self.classes[class].class.bound.is_some()
        })
    }

    /// Whether a worker has one of the node's slots.
    pub(super) fn takes_slot(&self, worker: &Worker) -> bool {
        match worker.life {
            Life::Starting => self.classes[worker.class].class.bound.is_none(),
            Life::Ready => {
                !worker.tasks.is_empty() || self.classes[worker.class].class.bound.is_none()
            }
            Life::Dismissed | Life::Doomed => false,
        }
    }
}

/// What is said of a program whose worker died before it was ready.
pub(super) fn died_loading(exit: Exit, stderr: &str) -> String {
    let how = match exit {
        Exit::Signal(signal) => format!("it crashed while it was loaded: signal {signal}"),
        Exit::Code(code) => format!("it ended its process while it was loaded: code {code}"),
        Exit::OutOfMemory { peak, limit } => out_of_memory(peak, limit),
        Exit::HostOutOfMemory { peak, limit } => super::memory::want_on_host(peak, limit),
    };
    match stderr.trim_end() {
        "" => how,
        words => format!("{how}; its last words: {words}"),
    }
}

/// What is said of a program that is given up with this status.
pub(super) fn why_not_loaded(status: &Status) -> String {
    match status {
        Status::Refused { reason } => reason.clone(),
        Status::OutOfMemory { peak, limit } => out_of_memory(*peak, *limit),
        other => format!("{other:?}"),
    }
}

fn out_of_memory(peak: u64, limit: u64) -> String {
    format!("it ran out of memory while it was loaded: peak {peak} bytes, limit {limit} bytes")
}
