//! The faults of another process.
//!
//! Its memory stays its own: it may unmap, move and drop pages, and fork, while pages are still to
//! come. The kernel tells of that as of faults, in one order, and the process waits until it was read; what
//! is filled before then is refused, so nobody fills a place that has become another.

use std::borrow::Borrow;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::unistd;

use super::kernel::{
    self, COPY_QUIETLY, Copy, EVENT_FORK, EVENT_PAGEFAULT, EVENT_REMAP, EVENT_REMOVE, EVENT_UNMAP,
    MESSAGE, REGISTER_MISSING, Range, Register, UFFDIO_COPY, UFFDIO_REGISTER, UFFDIO_UNREGISTER,
    UFFDIO_WAKE, UFFDIO_ZEROPAGE, Zero,
};
use super::right::{MAKE_OF_DEVICE, Right};
use super::{Bell, PAGE};
use crate::ptrace::{Call, Remote};
use crate::{Error, process};

/// Messages that are read at once.
const EVENTS_READ: usize = 64;

/// Fills the memory of another process as that touches it.
#[derive(Debug)]
pub struct Pager {
    faults: OwnedFd,
}

/// What happened in the process. Addresses are its own, of whole pages.
#[derive(Debug)]
pub enum Event {
    /// One of its threads waits for the page at this address.
    Fault {
        at: u64,
    },
    /// It has a child, which has the same pages, and lacks the same.
    Forked(Pager),
    /// It has dropped what was there, or would have come: these pages are 0 from now on.
    Dropped {
        start: u64,
        end: u64,
    },
    Unmapped {
        start: u64,
        end: u64,
    },
    Moved {
        from: u64,
        to: u64,
        len: u64,
    },
}

/// How far something was filled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Filled {
    /// Bytes from the beginning that are there now, whoever put them there.
    pub done: usize,
    /// Why no more.
    pub stopped: Option<Stopped>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stopped {
    /// The process is changing its memory: there are events to be read first.
    Changing,
    /// The next page is none that the process misses: unmapped, or never registered.
    Elsewhere,
    /// The process has ended, or become another program.
    Ended,
}

impl Pager {
    /// Makes one in a process. Both it and this process need CAP_SYS_PTRACE: it to have the kernel wait
    /// for pages, too, this one to be told of forks.
    pub fn make_in(remote: &mut Remote<'_>) -> Result<Self, Error> {
        Self::make_by(remote, &Right::keep(false)?, None)
    }

    /// The same by a right that was kept. `device`: the number of the right's device in the process, which then
    /// needs none of its own.
    pub fn make_by(
        remote: &mut Remote<'_>,
        right: &Right,
        device: Option<u64>,
    ) -> Result<Self, Error> {
        let flags = (libc::O_CLOEXEC | libc::O_NONBLOCK) as u64;
        let make = match device {
            None => Call { number: libc::SYS_userfaultfd, args: [flags, 0, 0, 0, 0, 0] },
            Some(device) => {
                let args = [device, MAKE_OF_DEVICE, flags, 0, 0, 0];
                Call { number: libc::SYS_ioctl, args }
            }
        };
        let action = "make it tell its page faults:";
        let made = make_descriptor(remote, make)?;
        let pager = Self { faults: made.map_err(Error::process(action, remote.pid()))? };
        right.ask(&pager.faults)?;
        Ok(pager)
    }

    /// From now on pages of this range that are not there are waited for.
    pub fn register(&self, start: u64, len: u64) -> Result<(), Error> {
        let range = Range { start, len };
        let mut register = Register { range, mode: REGISTER_MISSING, ioctls: 0 };
        self.ioctl(UFFDIO_REGISTER, &mut register, "register memory for its faults")
    }

    /// From now on pages of this range that are not there are 0; who waits for one goes on.
    pub fn unregister(&self, start: u64, len: u64) -> Result<(), Error> {
        let mut range = Range { start, len };
        self.ioctl(UFFDIO_UNREGISTER, &mut range, "let memory be as any other")
    }

    /// Waits until something has happened in one of these processes, or the bell is rung, or for so long.
    pub fn wait<P: Borrow<Self>>(
        pagers: &[P],
        bell: &Bell,
        timeout: Option<Duration>,
    ) -> Result<(), Error> {
        let timeout = timeout.and_then(|timeout| PollTimeout::try_from(timeout).ok());
        let all = pagers.iter().map(|pager| pager.borrow().as_fd()).chain([bell.0.as_fd()]);
        let mut polled: Vec<_> = all.map(|fd| PollFd::new(fd, PollFlags::POLLIN)).collect();
        match poll(&mut polled, timeout.unwrap_or(PollTimeout::NONE)) {
            Ok(_) | Err(Errno::EINTR) => Ok(()),
            Err(error) => Err(Error::kernel("wait for page faults")(error)),
        }
    }

    /// Appends what has happened, without waiting. A fault may be over by now.
    pub fn events(&self, into: &mut Vec<Event>) -> Result<(), Error> {
        let mut bytes = [0; EVENTS_READ * MESSAGE];
        let read = match unistd::read(&self.faults, &mut bytes) {
            Ok(read) => read,
            Err(Errno::EAGAIN | Errno::EINTR) => return Ok(()),
            Err(error) => return Err(Error::kernel("read page faults")(error)),
        };
        for message in bytes[..read].chunks_exact(MESSAGE) {
            let word = |at: usize| {
                let mut word = [0; 8];
                word.copy_from_slice(&message[at..at + 8]);
                u64::from_ne_bytes(word)
            };
            let pages = |at: u64| at & !(PAGE as u64 - 1);
            match message[0] {
                EVENT_PAGEFAULT => into.push(Event::Fault { at: pages(word(16)) }),
                EVENT_FORK => {
                    let mut number = [0; 4];
                    number.copy_from_slice(&message[8..12]);
                    let faults = kernel::descriptor(i32::from_ne_bytes(number))
                        .map_err(Error::kernel("take over the faults of a child"))?;
                    into.push(Event::Forked(Self { faults }));
                }
                EVENT_REMAP => {
                    into.push(Event::Moved { from: word(8), to: word(16), len: word(24) })
                }
                EVENT_REMOVE => into.push(Event::Dropped { start: word(8), end: word(16) }),
                EVENT_UNMAP => into.push(Event::Unmapped { start: word(8), end: word(16) }),
                // No other was asked for.
                _ => {}
            }
        }
        Ok(())
    }

    /// Puts pages in place and wakes who waits for them. One that is there already stays as it is.
    pub fn fill(&self, at: u64, bytes: &[u8]) -> Result<Filled, Error> {
        let address = bytes.as_ptr().addr() as u64;
        self.fill_with(at, bytes.len(), |done, len| {
            let src = address + done as u64;
            let mut copy = Copy { dst: at + done as u64, src, len, mode: COPY_QUIETLY, copy: 0 };
            let result = self.ioctl(UFFDIO_COPY, &mut copy, "fill a page");
            (result, copy.copy)
        })
    }

    /// The same with pages of 0.
    pub fn fill_zero(&self, at: u64, len: usize) -> Result<Filled, Error> {
        self.fill_with(at, len, |done, len| {
            let range = Range { start: at + done as u64, len };
            let mut zero = Zero { range, mode: COPY_QUIETLY, zeroed: 0 };
            let result = self.ioctl(UFFDIO_ZEROPAGE, &mut zero, "fill a page");
            (result, zero.zeroed)
        })
    }

    /// Each step fills from a number of bytes on, and says how many it has filled. Waiters are woken
    /// once, at the end: also those for pages that were there, who may have come just before.
    fn fill_with(
        &self,
        at: u64,
        len: usize,
        mut step: impl FnMut(usize, u64) -> (Result<(), Error>, i64),
    ) -> Result<Filled, Error> {
        let mut filled = Filled { done: 0, stopped: None };
        while filled.done < len {
            let (result, some) = step(filled.done, (len - filled.done) as u64);
            let Err(error) = result else {
                filled.done = len;
                break;
            };
            if some > 0 {
                filled.done += some as usize;
                continue;
            }
            match super::code(&error) {
                Some(libc::EEXIST) => filled.done += PAGE,
                Some(libc::EAGAIN) => filled.stopped = Some(Stopped::Changing),
                Some(libc::ENOENT | libc::EINVAL) => filled.stopped = Some(Stopped::Elsewhere),
                Some(libc::ESRCH) => filled.stopped = Some(Stopped::Ended),
                _ => return Err(error),
            }
            if filled.stopped.is_some() {
                break;
            }
        }
        if filled.done > 0 {
            self.wake(at, filled.done)?;
        }
        Ok(filled)
    }

    fn wake(&self, at: u64, len: usize) -> Result<(), Error> {
        let mut range = Range { start: at, len: len as u64 };
        match self.ioctl(UFFDIO_WAKE, &mut range, "wake who waits for a page") {
            Err(error) if super::code(&error) == Some(libc::ESRCH) => Ok(()),
            result => result,
        }
    }

    fn ioctl<T: kernel::Argument>(
        &self,
        request: u64,
        argument: &mut T,
        action: &'static str,
    ) -> Result<(), Error> {
        kernel::call(&self.faults, request, argument).map_err(Error::kernel(action))
    }
}

impl AsFd for Pager {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.faults.as_fd()
    }
}

/// Has a process make a descriptor for faults, and takes it out of there. The inner error is the kernel's
/// refusal to make one.
pub(super) fn make_descriptor(
    remote: &mut Remote<'_>,
    make: Call,
) -> Result<io::Result<OwnedFd>, Error> {
    let pid = remote.pid();
    let mut call = |call| -> Result<io::Result<u64>, Error> {
        Ok(remote.run(&[call])?.into_iter().next().unwrap_or(Ok(0)))
    };
    let number = match call(make)? {
        Ok(number) => number,
        Err(refused) => return Ok(Err(refused)),
    };
    let taken = process::take_descriptor(pid, number as i32);
    call(Call { number: libc::SYS_close, args: [number, 0, 0, 0, 0, 0] })?
        .map_err(Error::process("take a descriptor out of", pid))?;
    taken.map(Ok)
}

#[cfg(test)]
mod tests;
