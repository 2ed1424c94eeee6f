//! The calls on a pidfd: a descriptor that names one process for sure, whatever becomes of its
//! number.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::{Error, Pid};

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    Code(i32),
    Signal { signal: i32, core_dumped: bool },
}

/// A pidfd of a process that exists now; `None` if none does.
pub(crate) fn open(pid: Pid) -> io::Result<Option<OwnedFd>> {
    // SAFETY: takes two numbers and returns one; no memory is involved.
    let number = unsafe { libc::syscall(libc::SYS_pidfd_open, pid.0, 0) };
    if number < 0 {
        let error = io::Error::last_os_error();
        return if error.raw_os_error() == Some(libc::ESRCH) { Ok(None) } else { Err(error) };
    }
    // SAFETY: the kernel just made this descriptor; nobody else knows its number.
    Ok(Some(unsafe { OwnedFd::from_raw_fd(number as i32) }))
}

/// The descriptor with this number of another process, as one of ours. The caller may trace it.
pub fn take_descriptor(of: Pid, number: i32) -> Result<OwnedFd, Error> {
    let refused = |source| Error::Process { action: "hand over a descriptor of", pid: of, source };
    let gone = || refused(io::Error::from_raw_os_error(libc::ESRCH));
    let pidfd = open(of).map_err(refused)?.ok_or_else(gone)?;
    // SAFETY: takes three numbers and returns one; no memory is involved.
    let taken = unsafe { libc::syscall(libc::SYS_pidfd_getfd, pidfd.as_raw_fd(), number, 0) };
    if taken < 0 {
        return Err(refused(io::Error::last_os_error()));
    }
    // SAFETY: the kernel just made this descriptor; nobody else knows its number.
    Ok(unsafe { OwnedFd::from_raw_fd(taken as i32) })
}

/// Sends a signal; to a process that has ended this is no error.
pub(crate) fn signal(pidfd: &impl AsFd, signal: i32) -> io::Result<()> {
    let pidfd = pidfd.as_fd().as_raw_fd();
    let info = std::ptr::null::<libc::siginfo_t>();
    // SAFETY: the null pointer has the kernel fill in the usual information by itself. The signal
    // goes to another process, whose memory is not ours.
    let result = unsafe { libc::syscall(libc::SYS_pidfd_send_signal, pidfd, signal, info, 0) };
    let error = io::Error::last_os_error();
    match error.raw_os_error() {
        _ if result == 0 => Ok(()),
        Some(libc::ESRCH) => Ok(()),
        _ => Err(error),
    }
}

/// How a child of ours ended; `None` if it did not and `flags` say not to wait.
pub(crate) fn wait(pidfd: &impl AsFd, flags: i32) -> io::Result<Option<Exit>> {
    // SAFETY: zero is a value of all its fields, which are integers (and unions of them).
    let mut info = unsafe { MaybeUninit::<libc::siginfo_t>::zeroed().assume_init() };
    let id = pidfd.as_fd().as_raw_fd() as libc::id_t;
    loop {
        // SAFETY: the kernel writes one `siginfo_t` to `info`, ours alone during the call.
        let result =
            unsafe { libc::waitid(libc::P_PIDFD, id, &raw mut info, flags | libc::WEXITED) };
        if result == 0 {
            break;
        }
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
    }
    // SAFETY: `waitid` fills in the fields of SIGCHLD; where it had nothing to tell, they are zero.
    let pid = unsafe { info.si_pid() };
    // SAFETY: as above.
    let status = unsafe { info.si_status() };
    let core_dumped = info.si_code == libc::CLD_DUMPED;
    Ok(match info.si_code {
        _ if pid == 0 => None,
        libc::CLD_EXITED => Some(Exit::Code(status)),
        // WEXITED reports nothing but ends: what was not an exit was a signal.
        _ => Some(Exit::Signal { signal: status, core_dumped }),
    })
}

/// Waits until a process has ended, or for so many milliseconds; says whether it has.
pub(super) fn wait_for_end(pidfd: &impl AsFd, milliseconds: u16) -> bool {
    let mut polled = [PollFd::new(pidfd.as_fd(), PollFlags::POLLIN)];
    poll(&mut polled, PollTimeout::from(milliseconds)).is_ok_and(|ended| ended > 0)
}
