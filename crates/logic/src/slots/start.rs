//! Workers that cannot be started, and programs that cannot be used.
//!
//! A host that has no process or no memory to spare now may have one soon, so the start is tried
//! again after a pause that doubles; what is wrong with the program itself will not change.

use wire::task::Status;
use wire::units::{Span, Time};

use super::{Known, Slots, Wait, bound};
use crate::{Payload, WorkerId};

/// Starts in a row that may fail, before the waiting tasks are refused.
const STARTS_MAX: u32 = 6;
/// The first pause.
const PAUSE: Span = Span::from_millis(50);

impl Slots {
    /// There is no process: the host had something too little of. It is tried again a few times.
    pub fn not_started(&mut self, now: Time, worker: WorkerId, reason: &str) {
        let at = worker.0 as usize;
        if !self.workers.contains(at) {
            return;
        }
        self.alive -= usize::from(self.takes_slot(&self.workers[at]));
        let removed = self.workers.remove(at);
        let class = removed.class;
        self.resume(class);
        let known = &mut self.classes[class];
        known.workers.retain(|&other| other != at);
        if let Wait::Loaded(_) = known.wait {
            // No task waits for it that could try again, but somebody who wants to know.
            self.refuse(class, &format!("no worker could be started: {reason}"));
            return self.retire_class(class);
        }
        known.unstarted += 1;
        let tries = known.unstarted;
        known.start_after = now + Span(PAUSE.0 << (tries - 1).min(STARTS_MAX));
        self.paused.insert((known.start_after, class));
        // Others of it run: they do its tasks, and the next pause is as long as the first.
        if tries >= STARTS_MAX && !known.workers.is_empty() {
            known.unstarted = 0;
        } else if tries >= STARTS_MAX {
            known.unstarted = 0;
            self.refuse(class, &format!("no worker could be started in {tries} tries: {reason}"));
        }
        self.house(class);
        self.retire_class(class);
    }

    /// When a class that waits for a start gets its next try.
    pub(super) fn start_due(&self) -> Time {
        self.paused.first().map_or(Time::NEVER, |&(at, _)| at)
    }

    /// Time has passed: what has waited long enough may be started.
    pub(super) fn end_pauses(&mut self, now: Time) {
        while let Some(&(at, class)) = self.paused.first()
            && at <= now
        {
            self.resume(class);
            self.house(class);
        }
    }

    /// The class waits for nothing any more.
    pub(super) fn resume(&mut self, class: usize) {
        let after = std::mem::replace(&mut self.classes[class].start_after, Time(0));
        self.paused.remove(&(after, class));
    }

    /// A program cannot be used: all its waiting tasks fail with the reason.
    pub(super) fn refuse(&mut self, class: usize, reason: &str) {
        self.give_up(class, &Status::Refused { reason: reason.to_owned() });
    }

    pub(super) fn give_up(&mut self, class: usize, status: &Status) {
        self.classes[class].stillborn = 0;
        self.loaded(class, Err(bound::why_not_loaded(status)));
        for (_, lane) in self.classes[class].hungry.clone() {
            let queue = std::mem::take(&mut self.lanes[lane].queue);
            self.took(lane, queue.len());
            for task in queue {
                self.end(task, status.clone(), Span(0), Payload::empty());
            }
        }
    }
}

impl Known {
    /// It does not wait for its next try.
    pub(super) fn may_start(&self) -> bool {
        self.start_after == Time(0)
    }
}
