//! The first process of a pid namespace, which the kernel ends everything else with.
//!
//! It cannot run foreign code itself: signals that would end another process do not end it, so its
//! end would tell lies. It starts the one that does, inherits the orphans, tells how the one ended,
//! and ends.

use std::io;

use super::pidfd::Exit;
use crate::{Error, proc};

/// Splits the calling process, which has one thread, in two. The new one returns from here. The
/// old one stays: it waits for its children's ends, hands the new one's end to `tell`, and exits.
pub fn stay_behind(tell: impl FnOnce(Exit)) -> Result<(), Error> {
    let found = proc::own_threads()?;
    assert!(found == 1, "a process of {found} threads cannot be split");
    // SAFETY: the process has one thread, so no lock is held by one that the copy lacks.
    match unsafe { libc::fork() } {
        -1 => Err(Error::kernel("make a process")(io::Error::last_os_error())),
        0 => Ok(()),
        child => {
            tell(wait_for(child));
            // SAFETY: ends this process without running what the other one will run at its end.
            unsafe { libc::_exit(0) }
        }
    }
}

/// Reaps whoever ends, until it is this one.
fn wait_for(child: i32) -> Exit {
    // SAFETY: closes this process's own copies of what the other one uses; nothing here looks at
    // a descriptor again.
    unsafe { libc::syscall(libc::SYS_close_range, 0, libc::c_uint::MAX, 0) };
    loop {
        let mut status = 0;
        // SAFETY: the kernel writes one number, which is ours.
        let ended = unsafe { libc::waitpid(-1, &raw mut status, libc::__WALL) };
        if ended == child && libc::WIFEXITED(status) {
            return Exit::Code(libc::WEXITSTATUS(status));
        }
        if ended == child && libc::WIFSIGNALED(status) {
            let core_dumped = libc::WCOREDUMP(status);
            return Exit::Signal { signal: libc::WTERMSIG(status), core_dumped };
        }
        if ended < 0 && io::Error::last_os_error().kind() != io::ErrorKind::Interrupted {
            // No child is left, and its end was not seen: the kernel does not do that.
            return Exit::Code(127);
        }
    }
}
