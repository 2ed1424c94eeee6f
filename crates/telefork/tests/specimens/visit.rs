//! What is done to a specimen between its two files: how it is stopped, looked at, and let go.

use std::fs;
use std::thread;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use sys::Pid;
use sys::ptrace::Tracee;

use crate::run::{PATIENCE, Run, until};

/// How often it is disturbed in one run: at other places in its loop, and out of calls made again before.
const ROUNDS: u32 = 5;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Visit {
    /// By SIGSTOP and SIGCONT.
    Stopped,
    /// By a tracer that goes again.
    Traced,
}

impl Visit {
    pub(crate) const ALL: [Self; 2] = [Self::Stopped, Self::Traced];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Stopped => "stopped",
            Self::Traced => "traced",
        }
    }
}

pub(crate) fn pay(visit: Visit, run: &Run) {
    for _ in 0..ROUNDS {
        match visit {
            Visit::Stopped => stop_and_continue(run.pid),
            Visit::Traced => trace_and_detach(run.pid),
        }
        let_work();
    }
}

/// Gives it, or those who wait for it, time to come to another place. No outcome depends on how much.
fn let_work() {
    thread::park_timeout(Duration::from_millis(3));
}

fn stop_and_continue(pid: Pid) {
    let signal = |signal| kill(nix::unistd::Pid::from_raw(pid.0), signal);
    signal(Signal::SIGSTOP).unwrap();
    until("it stops, or has ended", || matches!(state(pid), 'T' | 'Z'));
    let_work();
    signal(Signal::SIGCONT).unwrap();
}

/// `Z` also of one that is gone.
fn state(pid: Pid) -> char {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").map_or('Z', |(_, rest)| rest.chars().next().unwrap())
}

fn trace_and_detach(pid: Pid) {
    match Tracee::seize(pid, PATIENCE) {
        Ok(tracee) => {
            assert!(!tracee.threads().is_empty());
            let_work();
            tracee.detach().unwrap();
        }
        // One that comes to its own end has come to it.
        Err(error) => assert!(error.is_gone() || state(pid) == 'Z', "{error}"),
    }
}
