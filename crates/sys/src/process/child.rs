//! A started process: how it ended, and how to end it.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};

use super::pidfd::{self, Exit};
use super::tree;
use crate::{Error, Pid};

/// A process that we started. Its pidfd becomes readable when it ends, so a loop can wait for it.
///
/// Dropping it neither kills nor waits: the process then stays until we end.
#[derive(Debug)]
pub struct Child {
    pid: Pid,
    pidfd: OwnedFd,
    /// Once known, the process was waited for and its number may be another's.
    exit: Option<Exit>,
}

impl Child {
    pub(super) fn new(pid: Pid, pidfd: OwnedFd) -> Self {
        Self { pid, pidfd, exit: None }
    }

    pub fn pid(&self) -> Pid {
        self.pid
    }

    /// Kills it and its process group, at once and without a chance to refuse. Nothing to do when
    /// it was waited for already.
    pub fn kill(&self) -> Result<(), Error> {
        if self.exit.is_some() {
            return Ok(());
        }
        pidfd::signal(&self.pidfd, libc::SIGKILL).map_err(Error::process("kill", self.pid))?;
        self.kill_group()
    }

    /// Kills it, its process group and its descendants in any session. Takes up to a second when
    /// these resist; see [`super::kill_tree`].
    pub fn kill_tree(&self) -> Result<(), Error> {
        if self.exit.is_some() {
            return Ok(());
        }
        let descendants = tree::kill_tree(self.pid);
        self.kill()?;
        descendants
    }

    /// How it ended, if it did. What is left of its process group is killed then: afterwards the
    /// group's number would not surely be its own.
    pub fn try_wait(&mut self) -> Result<Option<Exit>, Error> {
        self.reap(libc::WNOHANG)
    }

    /// Waits until it ends.
    pub fn wait(&mut self) -> Result<Exit, Error> {
        loop {
            if let Some(exit) = self.reap(0)? {
                return Ok(exit);
            }
        }
    }

    fn reap(&mut self, flags: i32) -> Result<Option<Exit>, Error> {
        if self.exit.is_some() {
            return Ok(self.exit);
        }
        // First only a look: until it is reaped, its number is not given to another.
        if self.wait_id(flags | libc::WNOWAIT)?.is_none() {
            return Ok(None);
        }
        self.kill_group()?;
        self.exit = self.wait_id(flags)?;
        Ok(self.exit)
    }

    /// The number of the group is the leader's, and surely so while the leader is not reaped.
    fn kill_group(&self) -> Result<(), Error> {
        // SAFETY: a signal to other processes touches no memory of ours. The group is not our own,
        // since the child left it before it became a program.
        let result = unsafe { libc::killpg(self.pid.0, libc::SIGKILL) };
        let error = io::Error::last_os_error();
        match error.raw_os_error() {
            _ if result == 0 => Ok(()),
            // EPERM: all that is left of it runs as a user whom we may not signal. A walk over the
            // descendants says so; here it must not keep us from reaping the leader.
            Some(libc::ESRCH | libc::EPERM) => Ok(()),
            _ => Err(Error::process("kill the group of", self.pid)(error)),
        }
    }

    fn wait_id(&self, flags: i32) -> Result<Option<Exit>, Error> {
        pidfd::wait(&self.pidfd, flags).map_err(Error::process("wait for", self.pid))
    }
}

impl AsFd for Child {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }
}

impl AsRawFd for Child {
    fn as_raw_fd(&self) -> RawFd {
        self.pidfd.as_raw_fd()
    }
}
