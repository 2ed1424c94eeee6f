//! What a traced thread was stopped by, and waiting for that.

use std::io;
use std::thread;
use std::time::{Duration, Instant};

use super::calls::{self, Wanted};
use crate::{Pid, proc};

/// A thread and the process that it is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Task {
    pub(super) pid: Pid,
    pub(super) tid: Pid,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stop {
    /// By `interrupt`, as a newborn, or with its process: then this is the signal that stopped that.
    Trap { job: Option<i32> },
    /// A signal is about to be delivered.
    Signal(i32),
    /// A system call begins or ends.
    Call,
    /// It has started a thread, or a process that shares something.
    Clone,
    /// It has started a process.
    Fork,
    /// It has become another program.
    Exec,
    /// It has ended, and is nobody's to wait for.
    Gone,
}

/// `PTRACE_EVENT_STOP`, which libc knows only for some targets.
const EVENT_STOP: i32 = 128;

/// Polls before the waiting thread begins to sleep: a stop mostly follows within microseconds.
const EAGER_POLLS: u32 = 200;

const SLEEP_MIN: Duration = Duration::from_micros(20);
const SLEEP_MAX: Duration = Duration::from_millis(2);

/// Waiting for stops, which gets slower and ends.
#[derive(Debug)]
pub(super) struct Patience {
    until: Instant,
    polls: u32,
    sleep: Duration,
}

impl Patience {
    pub(super) fn of(span: Duration) -> Self {
        Self { until: Instant::now() + span, polls: 0, sleep: SLEEP_MIN }
    }

    /// Something has happened: more will soon.
    pub(super) fn renew(&mut self) {
        self.polls = 0;
        self.sleep = SLEEP_MIN;
    }

    /// Lets others run for a moment.
    pub(super) fn pause(&mut self) {
        self.polls += 1;
        if self.polls < EAGER_POLLS {
            thread::yield_now();
        } else {
            thread::sleep(self.sleep);
            self.sleep = (self.sleep * 2).min(SLEEP_MAX);
        }
    }

    /// Whether it has been waited for longer than what is quick takes.
    pub(super) fn is_long(&self) -> bool {
        self.polls >= EAGER_POLLS
    }

    pub(super) fn is_over(&self) -> bool {
        Instant::now() >= self.until
    }

    /// Waits for the next stop of one thread; `None` where there is none in time.
    pub(super) fn wait(&mut self, task: Task) -> io::Result<Option<Stop>> {
        self.renew();
        loop {
            if let Some(stop) = poll(task)? {
                return Ok(Some(stop));
            }
            if self.is_over() {
                return Ok(None);
            }
            self.pause();
        }
    }
}

/// The stop of a thread that nobody has seen yet.
pub(super) fn poll(task: Task) -> io::Result<Option<Stop>> {
    let Task { pid, tid } = task;
    match calls::wait(tid, Wanted::Stop) {
        Ok(Some(status)) => return Ok(Some(decode(status))),
        Ok(None) => {}
        // One that has ended cannot stop any more, which is told as if it had never been.
        Err(error) if error.raw_os_error() == Some(libc::ECHILD) => {}
        Err(error) => return Err(error),
    }
    match calls::wait(tid, Wanted::End) {
        Ok(None) => Ok(None),
        Ok(Some(_)) => {
            // How a child of ours ended is for whoever started it.
            let is_ours = proc::kinship(pid).is_ok_and(|kin| kin.parent == Pid::own());
            if tid != pid || !is_ours {
                calls::reap(tid);
            }
            Ok(Some(Stop::Gone))
        }
        Err(error) if error.raw_os_error() == Some(libc::ECHILD) => Ok(Some(Stop::Gone)),
        Err(error) => Err(error),
    }
}

/// The signal is in the low byte, the event above it.
fn decode(status: i32) -> Stop {
    let signal = status & 0xff;
    match status >> 8 {
        EVENT_STOP if signal == libc::SIGTRAP => Stop::Trap { job: None },
        EVENT_STOP => Stop::Trap { job: Some(signal) },
        libc::PTRACE_EVENT_CLONE => Stop::Clone,
        libc::PTRACE_EVENT_FORK | libc::PTRACE_EVENT_VFORK => Stop::Fork,
        libc::PTRACE_EVENT_EXEC => Stop::Exec,
        _ if signal == libc::SIGTRAP | 0x80 => Stop::Call,
        _ => Stop::Signal(signal),
    }
}
