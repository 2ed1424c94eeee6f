//! A process that stands still until another one has it go on, maybe with other memory: as it was, elsewhere as a
//! copy, or as what such a copy came to.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

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

/// Waits for a child's end.
pub fn reap(child: Pid) {
    loop {
        // SAFETY: the kernel writes nothing where the status is not asked for.
        let found = unsafe { libc::waitpid(child.0, std::ptr::null_mut(), 0) };
        if found >= 0 || io::Error::last_os_error().raw_os_error() != Some(libc::EINTR) {
            return;
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
    match i32::try_from(result) {
        Ok(AWAY) => Stood::Away(Pid(i32::try_from(made).unwrap_or(-1))),
        Ok(BACK) => Stood::Back,
        Ok(1) => Stood::Told,
        _ => Stood::Alone,
    }
}
