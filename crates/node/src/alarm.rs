//! How the loop is woken when something is due.
//!
//! A wait with a time makes the kernel set a timer and take it back in each turn: half a microsecond on a
//! virtual machine, of a request that takes ten. So the loop waits without a time, and a timer that stands
//! in its queue wakes it. It is set only when something is due earlier than it rings: what is due moves on
//! with each message, so it mostly rings early, and rarely.

use std::os::fd::{AsFd, AsRawFd};
use std::time::Duration;

use mio::unix::SourceFd;
use mio::{Interest, Registry};
use sys::clock;
use wire::units::Time;

use crate::Error;
use crate::source::Source;

pub(crate) struct Alarm {
    timer: clock::Alarm,
    /// When it rings: no later than something is due.
    at: Time,
}

impl Alarm {
    pub(crate) fn new(registry: &Registry) -> Result<Self, Error> {
        let make = |source| Error::Sys { action: "make a timer", source };
        let timer = clock::Alarm::new().map_err(make)?;
        let watch = |source| Error::Kernel { action: "watch a timer", source };
        registry
            .register(
                &mut SourceFd(&timer.as_fd().as_raw_fd()),
                Source::Alarm.token(),
                Interest::READABLE,
            )
            .map_err(watch)?;
        Ok(Self { timer, at: Time::NEVER })
    }

    /// How long the loop may wait, if this is when something is due: without a time, once the timer
    /// rings by then.
    pub(crate) fn wait(&mut self, now: Time, due: Time) -> Option<Duration> {
        if due >= self.at {
            return None;
        }
        if due > now && self.timer.set(due.0).is_ok() {
            self.at = due;
            return None;
        }
        Some(due.since(now).into())
    }

    /// It has rung.
    pub(crate) fn rang(&mut self) {
        self.at = Time::NEVER;
    }
}
