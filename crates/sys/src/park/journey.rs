//! A process that stands still until another one has it go on, maybe with other memory: as it was, elsewhere as a
//! copy, or as what such a copy came to.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::time::Duration;

use super::x86_64;
use crate::beside::block_signals;
use crate::{Error, Pid};

/// What a copy is woken with.
pub const AWAY: i32 = x86_64::AWAY;
/// What whoever is given the memory of a copy goes on with.
pub const BACK: i32 = x86_64::BACK;

/// Who comes back from `split`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Split {
    Parent(Pid),
    /// The new process. It ends with its parent's calling thread.
    Child,
}

/// Who comes back from `stand`, and where.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stood {
    /// Who stood: a byte came.
    Told,
    /// Who stood: nobody is there to send one.
    Alone,
    /// A copy, elsewhere, with a process that has its memory as it was when it woke.
    Away(Pid),
    /// A copy, elsewhere, for which the kernel made no such process: the number of its error.
    Unmade(i32),
    /// Who stood, with the memory of a copy that stood.
    Back,
}

/// `fork`.
pub fn split() -> Result<Split, Error> {
    let parent = Pid::own();
    // SAFETY: only libc's own locks are known to be free in the child; what else it does is up to who called,
    // as with `park`.
    let made = unsafe { libc::fork() };
    match made {
        0 => {
            // SAFETY: it takes no pointer.
            unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) };
            // SAFETY: as above.
            if unsafe { libc::getppid() } != parent.0 {
                super::end(1);
            }
            Ok(Split::Child)
        }
        made if made > 0 => Ok(Split::Parent(Pid(made))),
        _ => Err(Error::kernel("make a copy of this process")(io::Error::last_os_error())),
    }
}

/// Has this process be traced by that one, or by none but those that may anyway, where the kernel asks for more than
/// that both have one user (Yama).
pub fn allow_tracer(tracer: Option<Pid>) {
    let number = tracer.map_or(0, |pid| pid.0) as libc::c_ulong;
    // SAFETY: it takes no pointer. Without Yama it is an error, and nothing is to be allowed.
    unsafe { libc::prctl(libc::PR_SET_PTRACER, number, 0, 0, 0) };
}

/// Waits for a child's end; the signal that was it, if one was.
pub fn reap(child: Pid) -> Option<i32> {
    loop {
        let mut status = 0;
        // SAFETY: the kernel writes one number, which is ours.
        let found = unsafe { libc::waitpid(child.0, &raw mut status, 0) };
        if found >= 0 {
            return libc::WIFSIGNALED(status).then(|| libc::WTERMSIG(status));
        }
        if io::Error::last_os_error().raw_os_error() != Some(libc::EINTR) {
            return None;
        }
    }
}

/// While it lives no signal reaches the calling thread that can be blocked.
#[derive(Debug)]
pub struct SignalsBlocked(u64);

impl SignalsBlocked {
    #[expect(clippy::new_without_default, reason = "it does something")]
    pub fn new() -> Self {
        Self(block_signals(u64::MAX))
    }
}

impl Drop for SignalsBlocked {
    fn drop(&mut self) {
        block_signals(self.0);
    }
}

/// Stands still until a byte comes here, or another process has it go on. Signals wait meanwhile.
pub fn stand(here: BorrowedFd<'_>) -> Stood {
    let mut byte = 0;
    let blocked = SignalsBlocked::new();
    let (result, made) = x86_64::stand(here.as_raw_fd(), &mut byte);
    drop(blocked);
    stood(result, made)
}

/// What the call's two results mean.
fn stood(result: isize, made: isize) -> Stood {
    match (i32::try_from(result), i32::try_from(made)) {
        (Ok(AWAY), Ok(made)) if made > 0 => Stood::Away(Pid(made)),
        (Ok(AWAY), made) => Stood::Unmade(made.map_or(libc::EAGAIN, i32::wrapping_neg)),
        (Ok(BACK), _) => Stood::Back,
        (Ok(1), _) => Stood::Told,
        _ => Stood::Alone,
    }
}

/// Ends this process, if a time passes. That is set anew, or not at all any more, as often as is wished.
#[derive(Debug)]
pub struct Watch(());

impl Watch {
    /// For a process that has just been made, alone with its memory: whoever else held a lock in the one that it is
    /// a copy of never gives it back here. No other signal reaches the calling thread any more.
    #[expect(clippy::new_without_default, reason = "it does something")]
    pub fn new() -> Self {
        // SAFETY: the default is no function; whose handler it was runs in the other process.
        unsafe { libc::signal(libc::SIGALRM, libc::SIG_DFL) };
        block_signals(!(1 << (libc::SIGALRM - 1)));
        Self(())
    }

    /// From now on so long.
    pub fn set(&self, patience: Duration) {
        // To the kernel 0 is never.
        alarm(patience.max(Duration::from_micros(1)));
    }

    /// Not any more.
    pub fn stop(&self) {
        alarm(Duration::ZERO);
    }
}

fn alarm(after: Duration) {
    let none = libc::timeval { tv_sec: 0, tv_usec: 0 };
    let seconds = libc::time_t::try_from(after.as_secs()).unwrap_or(libc::time_t::MAX);
    let value =
        libc::timeval { tv_sec: seconds, tv_usec: libc::suseconds_t::from(after.subsec_micros()) };
    let timer = libc::itimerval { it_interval: none, it_value: value };
    // SAFETY: the kernel reads one `itimerval`, which is ours, and is given no place to write.
    unsafe { libc::setitimer(libc::ITIMER_REAL, &raw const timer, std::ptr::null_mut()) };
}

/// Whether it was a [`Watch`] that ended a process.
pub fn was_watch(end: Option<i32>) -> bool {
    end == Some(libc::SIGALRM)
}

#[cfg(test)]
mod tests;
