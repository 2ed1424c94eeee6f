//! A command that works behind itself: what is to be whole stays whole, even if the command is killed.
//!
//! ```text
//!   the process in front    was started by the user: signals meet it, and it ends as the one behind does
//!        │ forks            killed, it has the kernel kill the one behind ...
//!        ▼
//!   the process behind      ... but not while that is `Finishing`: then it ends itself right afterwards
//! ```
//!
//! The one behind is in a process group of its own, and has a name of its own: `kill -9 %1` in a shell and
//! `killall -9` mean the command, and must not meet the one that has to finish.

use std::cell::Cell;
use std::marker::PhantomData;

use nix::sys::prctl;
use nix::sys::signal::{self, SaFlags, SigAction, SigHandler, SigSet, SigmaskHow, Signal};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{self, ForkResult};

use crate::{Error, Pid, proc};

/// Under which name `ps` and `top` show the process behind.
const NAME: &std::ffi::CStr = c"tracer";

/// Signals that are handed on; all others end the command as they do any.
const HANDED_ON: [Signal; 3] = [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP];

thread_local! {
    /// The process in front of this thread's, if there is one.
    static FRONT: Cell<Option<Pid>> = const { Cell::new(None) };
    static DEPTH: Cell<u32> = const { Cell::new(0) };
}

/// Splits the calling process, which has one thread, in two. The new one returns from here and does the work;
/// the old one stays in front, and ends as the new one does.
pub fn work_behind() -> Result<(), Error> {
    let found = proc::own_threads()?;
    assert!(found == 1, "a process of {found} threads cannot be split");
    let mut awaited = SigSet::from_iter(HANDED_ON);
    awaited.add(Signal::SIGCHLD);
    // Whoever ignores this one would not be told of the end of the one behind.
    act(Signal::SIGCHLD, SigHandler::SigDfl)?;
    // Waited for, it would be heard though it is to be ignored.
    match act(Signal::SIGTSTP, SigHandler::SigDfl)? {
        SigHandler::SigIgn => drop(act(Signal::SIGTSTP, SigHandler::SigIgn)?),
        _ => awaited.add(Signal::SIGTSTP),
    }
    let before =
        awaited.thread_swap_mask(SigmaskHow::SIG_BLOCK).map_err(Error::kernel("block signals"))?;
    let front = Pid::own();
    // SAFETY: the process has one thread, so no lock is held by one that the copy lacks.
    match unsafe { unistd::fork() }.map_err(Error::kernel("make a process"))? {
        ForkResult::Child => {
            FRONT.set(Some(front));
            die_with(front)?;
            begin(&before)
        }
        ForkResult::Parent { child } => stay_in_front(child, &awaited),
    }
}

fn begin(mask: &SigSet) -> Result<(), Error> {
    let own = unistd::Pid::from_raw(0);
    unistd::setpgid(own, own).map_err(Error::kernel("make a process group"))?;
    prctl::set_name(NAME).map_err(Error::kernel("give a process its name"))?;
    // It is in the background of its terminal, and may write there all the same.
    act(Signal::SIGTTOU, SigHandler::SigIgn)?;
    mask.thread_set_mask().map_err(Error::kernel("unblock signals"))
}

/// What becomes of a signal; returns what did.
fn act(signal: Signal, handler: SigHandler) -> Result<SigHandler, Error> {
    let action = SigAction::new(handler, SaFlags::empty(), SigSet::empty());
    // SAFETY: none of ours is a handler that runs.
    let before = unsafe { signal::sigaction(signal, &action) };
    Ok(before.map_err(Error::kernel("say what becomes of a signal"))?.handler())
}

/// Has the kernel kill this process with the one in front, or does it if that is gone already.
fn die_with(front: Pid) -> Result<(), Error> {
    prctl::set_pdeathsig(Signal::SIGKILL).map_err(Error::kernel("end with the command"))?;
    if unistd::getppid().as_raw() != front.0 {
        let _ = signal::raise(Signal::SIGKILL);
    }
    Ok(())
}

/// While there is one of these, the end of the process in front does not end this one. That is made up for when
/// the last one is dropped.
///
/// It says nothing on threads other than the one that `work_behind` returned to.
#[derive(Debug)]
pub struct Finishing {
    stays: PhantomData<*const ()>,
}

impl Finishing {
    pub fn begin() -> Self {
        let depth = DEPTH.replace(DEPTH.get() + 1);
        if depth == 0 && FRONT.get().is_some() {
            // If that was killed before, this call does not return.
            let _ = prctl::set_pdeathsig(None);
        }
        Self { stays: PhantomData }
    }
}

impl Drop for Finishing {
    fn drop(&mut self) {
        DEPTH.set(DEPTH.get() - 1);
        if let (0, Some(front)) = (DEPTH.get(), FRONT.get()) {
            // The kernel knows this signal, and so does not refuse.
            let _ = die_with(front);
        }
    }
}

fn stay_in_front(behind: unistd::Pid, awaited: &SigSet) -> ! {
    let mut by_terminal = false;
    loop {
        match told_of(behind) {
            WaitStatus::Exited(_, code) => end(code),
            WaitStatus::Signaled(_, signal, _) => end_by(signal),
            WaitStatus::Stopped(..) => {
                // Whoever waits for the command sees it stopped, and lets it go on. Where the terminal asks and
                // nobody would (`ssh -t` without a shell), the kernel does not stop it.
                if std::mem::take(&mut by_terminal) {
                    let stop = SigSet::from(Signal::SIGTSTP);
                    let _ = signal::raise(Signal::SIGTSTP);
                    let _ = stop.thread_unblock();
                    let _ = stop.thread_block();
                } else {
                    let _ = signal::raise(Signal::SIGSTOP);
                }
                let _ = signal::kill(behind, Signal::SIGCONT);
                continue;
            }
            _ => {}
        }
        match awaited.wait() {
            // The terminal stops what is in front; the rest follows from the end of that stop.
            Ok(Signal::SIGTSTP) => {
                by_terminal = true;
                let _ = signal::kill(behind, Signal::SIGSTOP);
            }
            Ok(one) if HANDED_ON.contains(&one) => drop(signal::kill(behind, one)),
            _ => {}
        }
    }
}

/// What has become of it since it was asked last.
fn told_of(behind: unistd::Pid) -> WaitStatus {
    let flags = WaitPidFlag::WNOHANG | WaitPidFlag::WUNTRACED;
    // Were there no such child, nothing would be left to wait for.
    waitpid(behind, Some(flags)).unwrap_or(WaitStatus::Exited(behind, 1))
}

fn end_by(signal: Signal) -> ! {
    // What is to be seen of it in a file was written by the other one.
    let _ = prctl::set_dumpable(false);
    // Of SIGKILL it cannot be said.
    let _ = act(signal, SigHandler::SigDfl);
    let _ = SigSet::from(signal).thread_unblock();
    let _ = signal::raise(signal);
    end(128 + signal as i32)
}

fn end(code: i32) -> ! {
    // SAFETY: ends this process without running what the other one has run at its end.
    unsafe { libc::_exit(code) }
}
