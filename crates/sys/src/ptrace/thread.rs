//! One stopped thread: what it has in registers and in the kernel.

use std::fs;
use std::io;
use std::marker::PhantomData;

use super::calls;
use super::state::{Pending, RobustList, Rseq, SignalMask};
use super::stops::Task;
use super::x86_64::Registers;
use crate::{Error, Pid};

/// A thread that stands still. The kernel takes orders about it only from the thread that stopped it, so
/// this stays there.
#[derive(Debug)]
pub struct Stopped {
    pub(super) task: Task,
    stays: PhantomData<*const ()>,
}

impl Stopped {
    pub(super) fn new(task: Task) -> Self {
        Self { task, stays: PhantomData }
    }

    pub fn pid(&self) -> Pid {
        self.task.pid
    }

    /// The thread's own number.
    pub fn tid(&self) -> Pid {
        self.task.tid
    }

    /// Has the kernel kill it should the tracing thread end. What it starts from now on is killed too.
    pub fn kill_with_tracer(&mut self) -> Result<(), Error> {
        calls::kill_with_tracer(self.tid()).map_err(self.refused("guard"))
    }

    pub fn registers(&self) -> Result<Registers, Error> {
        calls::registers(self.tid()).map_err(self.refused("read the registers of"))
    }

    pub fn set_registers(&mut self, registers: &Registers) -> Result<(), Error> {
        calls::set_registers(self.tid(), registers).map_err(self.refused("set the registers of"))
    }

    /// Floating point and vector registers, in the form of the processor (`XSAVE`).
    pub fn extended_state(&self) -> Result<Vec<u8>, Error> {
        calls::extended_state(self.tid()).map_err(self.refused("read the vector registers of"))
    }

    /// The other direction. The kernel refuses what this processor has not.
    pub fn set_extended_state(&mut self, bytes: &[u8]) -> Result<(), Error> {
        calls::set_extended_state(self.tid(), bytes)
            .map_err(self.refused("set the vector registers of"))
    }

    /// The mask that the program has set. A call that waits with another one (`ppoll`, `sigsuspend`)
    /// sets it again when it is made again.
    pub fn signal_mask(&self) -> Result<SignalMask, Error> {
        calls::signal_mask(self.tid()).map_err(self.refused("read the signal mask of"))
    }

    pub fn set_signal_mask(&mut self, mask: SignalMask) -> Result<(), Error> {
        calls::set_signal_mask(self.tid(), mask).map_err(self.refused("set the signal mask of"))
    }

    /// `None` where it has not registered, or the kernel does not tell (before 5.13).
    pub fn rseq(&self) -> Result<Option<Rseq>, Error> {
        calls::rseq(self.tid()).map_err(self.refused("read the rseq registration of"))
    }

    pub fn robust_list(&self) -> Result<RobustList, Error> {
        calls::robust_list(self.tid()).map_err(self.refused("read the robust list of"))
    }

    /// Those that nobody has taken yet.
    pub fn pending(&self) -> Result<Pending, Error> {
        let of = |flags| {
            calls::pending(self.tid(), flags).map_err(self.refused("read the signals waiting for"))
        };
        Ok(Pending { thread: of(0)?, process: of(libc::PTRACE_PEEKSIGINFO_SHARED)? })
    }

    /// At most 15 bytes, whichever the program chose.
    pub fn name(&self) -> Result<Vec<u8>, Error> {
        let path = format!("/proc/{}/task/{}/comm", self.pid(), self.tid());
        let mut name = fs::read(&path).map_err(Error::file("read", &path))?;
        name.pop_if(|last| *last == b'\n');
        Ok(name)
    }

    pub(super) fn refused(&self, action: &'static str) -> impl FnOnce(io::Error) -> Error {
        let Task { pid, tid } = self.task;
        move |source| Error::Thread { action, pid, tid, source }
    }
}
