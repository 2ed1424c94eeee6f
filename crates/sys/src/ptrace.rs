//! Other processes, stopped and steered.
//!
//! ```text
//!   Tracee::seize ──▶ Tracee (all threads stopped) ── resume ──▶ Running (watched)
//!                       │  ▲  │                   ◀── interrupt ──┘
//!        threads_mut ───┘  │  └── detach: it goes on as if nothing had happened
//!          Stopped ──▶ Remote: system calls run in it, and nothing of them stays
//! ```
//!
//! A `Husk` is a traced process without a past, to be filled and woken.
//!
//! The kernel takes orders about a traced thread from one thread only, the one that seized it, so nothing
//! here can be sent to another. When that thread ends, the kernel lets go of all it has traced. Threads
//! that end meanwhile are normal: what is asked about them fails with `Error::is_gone`.
//!
//! A call that was interrupted by stopping (`Registers::interrupted_call`) is made again by the kernel
//! once its thread goes on, a sleep with what is left of its time.
//!
//! Elsewhere: memory (`process_memory`), what lies where in it (`maps`).

use std::time::Duration;

use crate::{Error, Pid};

mod husk;
mod hold;
mod remote;
mod seized;
mod refusal;
mod thread;
mod stops;
mod calls;
mod state;
mod x86_64;

pub use hold::Hold;
pub use husk::{Husk, Program, Session, Start, wait_for_child};
pub use remote::{Call, Inherited, REMOTE_LEN, Remote, Replacement};
pub use state::{Pending, RobustList, Rseq, SignalInfo, SignalMask};
pub use thread::Stopped;
pub use x86_64::{NO_CALL, Registers};

use seized::Seized;

/// A process all of whose threads are stopped, until this is dropped: then it goes on.
#[derive(Debug)]
pub struct Tracee {
    seized: Seized,
    threads: Vec<Stopped>,
}

/// A traced process that runs. Its signals reach it only through `watch`.
#[derive(Debug)]
pub struct Running {
    seized: Seized,
}

impl Tracee {
    /// Stops all threads of a process, also those that it starts meanwhile. Fails, and lets it go on, if
    /// one does not stop within `patience`: one that waits in `vfork` or for a dead disk.
    pub fn seize(pid: Pid, patience: Duration) -> Result<Self, Error> {
        Self::stopped(Seized::seize(pid, patience)?)
    }

    fn stopped(seized: Seized) -> Result<Self, Error> {
        let threads = seized.stopped().map(Stopped::new).collect();
        Ok(Self { seized, threads })
    }

    pub fn pid(&self) -> Pid {
        self.seized.pid()
    }

    /// The main thread first, if it has not ended.
    pub fn threads(&self) -> &[Stopped] {
        &self.threads
    }

    pub fn threads_mut(&mut self) -> &mut [Stopped] {
        &mut self.threads
    }

    /// Takes over a thread that one of this process has started by a remote call.
    pub fn adopt(&mut self, thread: Stopped) {
        self.seized.adopt(thread.task);
        self.threads.push(thread);
    }

    /// A process that another one has started by a remote call.
    pub fn born(thread: Stopped) -> Self {
        let mut seized = Seized::nobody(thread.task.pid);
        seized.adopt(thread.task);
        Self { seized, threads: vec![thread] }
    }

    /// Lets it go on, untraced.
    pub fn detach(mut self) -> Result<(), Error> {
        self.seized.detach()
    }

    /// Ends it as SIGKILL does. Only when this returns are its memory and descriptors free.
    pub fn kill(mut self) -> Result<(), Error> {
        let pid = self.pid();
        calls::signal_process(pid, libc::SIGKILL).map_err(Error::process("kill", pid))?;
        self.seized.bury()
    }

    /// The same for one that nobody waits for: if this process is its parent, having adopted it, nothing of
    /// it stays.
    pub fn kill_orphan(self) -> Result<(), Error> {
        let pid = self.pid();
        self.kill()?;
        calls::reap(pid);
        Ok(())
    }

    /// Lets it go on, and stays its tracer.
    pub fn resume(mut self) -> Result<Running, Error> {
        self.seized.resume()?;
        Ok(Running { seized: self.seized })
    }
}

impl Running {
    pub fn pid(&self) -> Pid {
        self.seized.pid()
    }

    /// Hands on the signals that have come for it, without waiting. To be called often: who waits for a
    /// signal waits for this.
    pub fn watch(&mut self) -> Result<(), Error> {
        self.seized.watch()
    }

    /// Stops it again.
    pub fn interrupt(mut self, patience: Duration) -> Result<Tracee, Error> {
        self.seized.stop(patience)?;
        Tracee::stopped(self.seized)
    }

    /// Lets it go on, untraced.
    pub fn detach(mut self) -> Result<(), Error> {
        self.seized.detach()
    }
}

#[cfg(test)]
mod tests;
