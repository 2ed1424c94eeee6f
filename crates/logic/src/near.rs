//! Decides when a node moves to where its client is.
//!
//! Between cores that sleep, a wake-up costs more than a small task: on a virtual machine 20 to 40 µs
//! against 1. The scheduler leaves processes apart that once ran apart, so a client who runs one small
//! task after the other pays four such wake-ups each time. When tasks come one by one and are short,
//! the node and the worker go to the core that the client's packets arrive at, and wake each other
//! for little; as soon as there is more to do than one task, or a task is long, or somebody else
//! needs that core, they spread again.
//!
//! ```text
//! Far --STREAK short lone tasks--> Near --crowd, late answer, quiet--> Far (a while longer each time
//!                                                                           an answer was late)
//! ```
//!
//! Elsewhere: which core that is, and the moving itself (`node`'s driver).

use std::collections::VecDeque;

use wire::units::{Span, Time};

use crate::{LinkId, WorkerId};

/// Lone short tasks in a row before the node moves.
const STREAK: u32 = 16;
/// A lone task that takes no longer from dispatch to result is short.
const SHORT: Span = Span::from_micros(250);
/// A task that takes longer is not short after all, or its core is wanted by somebody else.
const LATE: Span = Span::from_millis(1);
/// After so many tasks the client's core is looked at again.
const LOOK: u32 = 64;
/// Without a task for so long, the node spreads.
const QUIET: Span = Span::from_millis(5);
/// The first pause after the second late answer among `LOOK`; it doubles. One alone is noise.
const PAUSE: Span = Span::from_millis(100);
const PAUSE_MAX: Span = Span::from_secs(60);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// The node's loop and this worker go to the core where this link's packets arrive.
    Follow { link: LinkId, worker: WorkerId },
    /// Everybody may run anywhere again.
    Spread,
}

/// After each call drain `poll_effect`, then sleep until `poll_timeout`.
#[derive(Debug, Default)]
pub struct Near {
    near: bool,
    streak: u32,
    /// Whose the last lone task was.
    last: Option<(LinkId, WorkerId)>,
    /// When it began, while it runs.
    running: Option<Time>,
    /// When it was done.
    quiet_since: Time,
    /// Tasks since an answer was late.
    since_late: u32,
    pause: Span,
    not_before: Time,
    effects: VecDeque<Effect>,
}

impl Near {
    /// A task was given to a worker, and there is no other in the node.
    pub fn lone(&mut self, now: Time, link: LinkId, worker: WorkerId) {
        if self.last.replace((link, worker)) != Some((link, worker)) {
            self.spread();
        }
        self.running = Some(now);
        self.since_late = self.since_late.saturating_add(1);
        self.streak += 1;
        let due = if self.near { self.streak.is_multiple_of(LOOK) } else { self.streak >= STREAK };
        if due && now >= self.not_before {
            self.near = true;
            self.effects.push_back(Effect::Follow { link, worker });
        }
    }

    /// The node has nothing to do.
    pub fn idle(&mut self, now: Time) {
        let Some(since) = self.running.take() else { return };
        self.quiet_since = now;
        if !self.near && now.since(since) > SHORT {
            self.streak = 0;
        }
    }

    /// The node has more to do than one task.
    pub fn crowd(&mut self) {
        self.running = None;
        self.spread();
    }

    pub fn tick(&mut self, now: Time) {
        if now < self.poll_timeout() {
            return;
        }
        match self.running {
            Some(_) => self.late(now),
            None => self.spread(),
        }
    }

    pub fn poll_timeout(&self) -> Time {
        match self.running {
            Some(since) if self.near => since + LATE,
            None if self.near => self.quiet_since + QUIET,
            Some(_) | None => Time::NEVER,
        }
    }

    pub fn poll_effect(&mut self) -> Option<Effect> {
        self.effects.pop_front()
    }

    /// The task is long, or its core is wanted by somebody else.
    fn late(&mut self, now: Time) {
        if self.since_late <= LOOK {
            self.pause = Span((self.pause.0 * 2).clamp(PAUSE.0, PAUSE_MAX.0));
            self.not_before = now + self.pause;
        } else {
            self.pause = Span(0);
        }
        self.since_late = 0;
        self.spread();
    }

    fn spread(&mut self) {
        self.streak = 0;
        if std::mem::take(&mut self.near) {
            self.effects.push_back(Effect::Spread);
        }
    }
}

#[cfg(test)]
mod tests;
