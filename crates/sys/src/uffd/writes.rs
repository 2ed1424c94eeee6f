//! Has the kernel remember which pages of a process are written.
//!
//! Everybody may have that, of the own process and of those that one may trace. Nobody waits for it: the
//! kernel lets a write to a protected page through at once, its own writes too, and unprotects the page. What
//! is protected, and so was not written, `pagemap` tells.

use std::io;
use std::ops::Range;
use std::os::fd::OwnedFd;

use super::kernel::{
    self, Api, FEATURES_OF_WRITES, Protect, REGISTER_WP, Register, UFFD_API, UFFDIO_API,
    UFFDIO_REGISTER, UFFDIO_UNREGISTER, UFFDIO_WRITEPROTECT,
};
use crate::Error;

/// Dropped, nothing of it stays in the process.
#[derive(Debug)]
pub(crate) struct Writes {
    faults: OwnedFd,
}

impl Writes {
    /// Of the own process.
    pub(crate) fn own() -> Result<Self, Error> {
        let made = kernel::open_for_threads().map_err(|source| refused(source, None))?;
        Self::begin(made)
    }

    /// Of another one, in which nothing of it is to be seen afterwards.
    #[cfg(target_arch = "x86_64")]
    pub(crate) fn make_in(remote: &mut crate::ptrace::Remote<'_>) -> Result<Self, Error> {
        let pid = remote.pid();
        let flags = (libc::O_CLOEXEC | libc::O_NONBLOCK | kernel::UFFD_USER_MODE_ONLY) as u64;
        let args = [flags, 0, 0, 0, 0, 0];
        let make = crate::ptrace::Call { number: libc::SYS_userfaultfd, args };
        let made = super::pager::make_descriptor(remote, make)?;
        Self::begin(made.map_err(|source| refused(source, Some(pid)))?)
    }

    fn begin(faults: OwnedFd) -> Result<Self, Error> {
        let mut api = Api { api: UFFD_API, features: FEATURES_OF_WRITES, ioctls: 0 };
        kernel::call(&faults, UFFDIO_API, &mut api).map_err(|source| refused(source, None))?;
        Ok(Self { faults })
    }

    /// Has it remember the writes to a range, all of which is mapped. Where it does already, nothing changes.
    pub(crate) fn register(&self, range: &Range<u64>) -> io::Result<()> {
        let mut register = Register { range: of(range), mode: REGISTER_WP, ioctls: 0 };
        kernel::call(&self.faults, UFFDIO_REGISTER, &mut register)
    }

    /// Undoes that.
    pub(crate) fn unregister(&self, range: &Range<u64>) -> io::Result<()> {
        kernel::call(&self.faults, UFFDIO_UNREGISTER, &mut of(range))
    }

    /// As if all of a range had been written.
    pub(crate) fn unprotect(&self, range: &Range<u64>) -> io::Result<()> {
        let mut protect = Protect { range: of(range), mode: 0 };
        kernel::call(&self.faults, UFFDIO_WRITEPROTECT, &mut protect)
    }
}

fn of(range: &Range<u64>) -> kernel::Range {
    kernel::Range { start: range.start, len: range.end - range.start }
}

/// Where the kernel has no such thing, or a sandbox forbids it, that is what is said.
fn refused(source: io::Error, pid: Option<crate::Pid>) -> Error {
    let lacking = [libc::ENOSYS, libc::EINVAL, libc::EPERM];
    match (source.raw_os_error(), pid) {
        (Some(code), _) if lacking.contains(&code) => Error::NoTracking { source },
        (_, None) => Error::kernel("remember which pages are written")(source),
        (_, Some(pid)) => Error::process("remember which pages are written by", pid)(source),
    }
}
