//! Decides when a client that runs one small task after the other stays where it is for a while.
//!
//! A scheduler wakes a process on an idle core, if there is one that has not gone to sleep yet. So a
//! client flees from a node that has come near (see `near`): each is woken on the core that the other
//! has just left, and every wake-up crosses cores. If the client stays on its core, the node catches
//! up. It stays only while it waits, so no code of the caller's ever runs confined, and only as long
//! as that helps.
//!
//! ```text
//! Free --slow lone tasks--> staying --STAY tasks--> did it help? --yes--> staying
//!   ^                          |                         no: Free, and the next attempt later
//!   +------- crowd ------------+
//! ```
//!
//! Elsewhere: how a thread stays (`sys::cpu`), who asks (`client`'s driver and its controller).

use wire::units::{Span, Time};

/// Lone tasks in a row by which the time of one is judged.
const STREAK: u32 = 16;
/// A lone task that takes longer may have crossed cores.
const SLOW: Span = Span::from_micros(40);
/// One that takes longer has something else to do than to cross cores.
const LONG: Span = Span::from_micros(250);
/// Tasks after which it is judged whether staying helps: the node looks where the client is every 64.
const STAY: u32 = 192;
/// The first pause after a stay that did not help; it doubles.
const PAUSE: Span = Span::from_millis(4);
const PAUSE_MAX: Span = Span::from_secs(10);

/// One client's wait for its lone tasks.
#[derive(Debug, Default)]
pub struct Gather {
    streak: u32,
    /// Smoothed time of a lone task.
    usual: Span,
    /// Tasks left to stay for before it is judged, and the time of one before it stayed.
    staying: u32,
    before: Span,
    pause: Span,
    not_before: Time,
}

impl Gather {
    /// Whether the client should stay on its core while it waits.
    pub fn stays(&self) -> bool {
        self.staying > 0
    }

    /// A task was submitted when there was no other, and its result has come.
    pub fn lone(&mut self, now: Time, took: Span) {
        if took > LONG {
            // Noise, or the end of the streak: what follows will tell.
            self.streak = self.streak.saturating_sub(STREAK / 4);
            return;
        }
        self.usual = match self.streak {
            0 => took,
            _ => Span((self.usual.0 * 7 + took.0) / 8),
        };
        self.streak = self.streak.saturating_add(1);
        if self.staying > 0 {
            self.staying -= 1;
            if self.staying == 0 {
                self.judge(now);
            }
        } else if self.streak >= STREAK && self.usual > SLOW && now >= self.not_before {
            self.staying = STAY;
            self.before = self.usual;
        }
    }

    /// More than one task is under way.
    pub fn crowd(&mut self) {
        self.streak = 0;
        self.staying = 0;
    }

    fn judge(&mut self, now: Time) {
        let helps = self.usual.0 * 4 < self.before.0 * 3;
        if helps {
            self.staying = STAY;
            self.pause = Span(0);
        } else {
            self.pause = Span((self.pause.0 * 2).clamp(PAUSE.0, PAUSE_MAX.0));
            self.not_before = now + self.pause;
        }
    }
}

#[cfg(test)]
mod tests;
