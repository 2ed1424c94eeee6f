//! A copy of the calling process that stands still in one bare system call, to be captured there.
//!
//! Where the copy's registers are loaded, its call has a result: the number that whoever woke it has put
//! there. No function of libc's is in between that could lose it, and no signal stops anybody: the parent
//! of a stopped child would hear of it.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use crate::process::pidfd;
use crate::{Error, Pid};

mod x86_64;

pub use x86_64::RESULT_OFFSET;

/// Who comes back from `park`.
#[derive(Debug)]
pub enum Parked {
    /// The one who called, with its copy.
    Parent(Twin),
    /// A copy of the copy, woken somewhere with this number.
    Woken(i32),
}

/// The copy. It is killed when this is dropped, and nothing of it is left.
#[derive(Debug)]
pub struct Twin {
    pid: Pid,
    pidfd: OwnedFd,
}

/// Makes a copy of this process, as `fork` does, that waits to be captured. Of its threads only the
/// calling one is in the copy. It ends with that thread here.
pub fn park() -> Result<Parked, Error> {
    let parent = Pid::own();
    let mask = x86_64::block_signals(u64::MAX);
    // SAFETY: the copy makes bare system calls until it is woken in another process. What it does there is
    // up to who called: of the locks that other threads held here only libc's own are free.
    let made = unsafe { libc::fork() };
    let error = io::Error::last_os_error();
    if made == 0 {
        let value = x86_64::wait_to_be_woken(parent);
        x86_64::block_signals(mask);
        return Ok(Parked::Woken(value));
    }
    x86_64::block_signals(mask);
    if made < 0 {
        return Err(Error::kernel("make a copy of this process")(error));
    }
    let pid = Pid(made);
    let gone = || io::Error::from_raw_os_error(libc::ESRCH);
    let pidfd = pidfd::open(pid).and_then(|found| found.ok_or_else(gone));
    let twin = Twin { pid, pidfd: pidfd.map_err(Error::process("open", pid))? };
    // It does not sleep in anything else.
    while !twin.is_asleep()? {
        std::thread::yield_now();
    }
    Ok(Parked::Parent(twin))
}

/// Puts the standard input aside, under a number that programs started from here do not get: 0 is empty from now
/// on.
pub fn take_input() -> io::Result<OwnedFd> {
    let input = io::stdin().as_fd().try_clone_to_owned()?;
    let nothing = std::fs::File::open("/dev/null")?;
    nix::unistd::dup2_stdin(&nothing)?;
    Ok(input)
}

/// Ends this process at once: nothing runs that a program does at its end, which is for the one that this is
/// a copy of to do.
pub fn end(code: i32) -> ! {
    // SAFETY: nothing of this process is needed any more.
    unsafe { libc::_exit(code) }
}

impl Twin {
    pub fn pid(&self) -> Pid {
        self.pid
    }

    fn is_asleep(&self) -> Result<bool, Error> {
        let path = format!("/proc/{}/stat", self.pid);
        let text = std::fs::read(&path).map_err(Error::file("read", &path))?;
        // Behind the name, which can hold anything: the state.
        let end = text.iter().rposition(|byte| *byte == b')');
        let state = end.and_then(|end| text.get(end + 2)).copied();
        match state {
            Some(b'S') => Ok(true),
            Some(b'Z' | b'X') | None => Err(Error::process("make a copy of", self.pid)(
                io::Error::from_raw_os_error(libc::ESRCH),
            )),
            Some(_) => Ok(false),
        }
    }
}

impl Drop for Twin {
    fn drop(&mut self) {
        // It ends with this process at the latest.
        let _ = pidfd::signal(&self.pidfd, libc::SIGKILL);
        let _ = pidfd::wait(&self.pidfd, 0);
    }
}
