//! A copy of the calling process that stands still in one bare system call, to be captured there.
//!
//! ```text
//!   caller ── clone(VM) ──▶ guardian ── fork ──▶ copy        the caller sleeps until the copy is made:
//!      │                       │                  │          the guardian is on its stack
//!      │  ◀── the stack ───────┘ waits for it     │ pause
//!      └─ goes on              ╳ ends when it has ended
//! ```
//!
//! The copy is the guardian's child, and nobody is told when the guardian ends: the program that asked for a
//! copy has no child that it did not start itself, its handler of SIGCHLD does not run, and its `wait` finds
//! nothing. `fork` is libc's, which gives the copy its locks free, whatever other threads held.
//!
//! Where the copy's registers are loaded, its call has a result: the number that whoever woke it has put
//! there. No function of libc's is in between that could lose it.

use std::ffi::c_void;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, FromRawFd, OwnedFd};
use std::sync::atomic::{AtomicI32, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use crate::beside::{self, COPY, GO_ON, Rseq, WAIT, block_signals, call};
use crate::process::pidfd;
use crate::{Error, Pid};

mod journey;
mod x86_64;

pub use journey::{
    AWAY, BACK, SignalsBlocked, Split, Stood, Watch, allow_tracer, reap, split, stand, was_watch,
};
pub use x86_64::RESULT_OFFSET;
use x86_64::Wide;

/// How long a copy may take until it stands: some ten calls, on a machine with other things to do.
const PATIENCE: Duration = Duration::from_secs(60);

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
    guardian: OwnedFd,
    /// The kernel writes there when the guardian has ended.
    _order: Box<Order>,
}

/// What guardian and caller tell each other.
#[derive(Debug)]
struct Order {
    parent: Pid,
    word: AtomicU32,
    guardian: AtomicI32,
    copy: AtomicI32,
    pidfd: AtomicI32,
    errno: AtomicI32,
}

/// Makes a copy of this process, as `fork` does, that waits to be captured. Of its threads only the
/// calling one is in the copy. It ends with that thread here.
pub fn park() -> Result<Parked, Error> {
    let number = || AtomicI32::new(-1);
    let order = Box::new(Order {
        parent: Pid::own(),
        word: AtomicU32::new(WAIT),
        guardian: number(),
        copy: number(),
        pidfd: number(),
        errno: AtomicI32::new(libc::ESRCH),
    });
    // What a process that is made beside another does not take from it.
    let rseq = Rseq::of_this_thread();
    let (stack, wide) = (signal_stack(), Wide::here());
    let mut guardian = -1;
    let mask = block_signals(u64::MAX);
    // SAFETY: signals are blocked; `guard` returns only in the copy, and where it gives the stack back it does
    // not use it any more. The order stays in its place until the guardian has ended.
    let made = unsafe {
        beside::start_on_this_stack(
            beside::FLAGS,
            &raw mut guardian,
            &raw const order.word,
            guard,
            (&raw const *order).cast(),
        )
    };
    if made == COPY {
        if let Some(rseq) = rseq {
            rseq.register();
        }
        let value = stand_still(&order, &stack, wide);
        block_signals(mask);
        return Ok(Parked::Woken(value));
    }
    block_signals(mask);
    let refused = Error::kernel("make a copy of this process");
    if made < 0 {
        return Err(refused(io::Error::from_raw_os_error(-made as i32)));
    }
    // SAFETY: the kernel made this descriptor for this call and nobody else knows its number.
    let guardian = unsafe { OwnedFd::from_raw_fd(guardian) };
    if order.word.load(Ordering::Acquire) != GO_ON {
        let _ = pidfd::wait(&guardian, libc::__WALL);
        let errno = order.errno.load(Ordering::Acquire);
        return Err(refused(io::Error::from_raw_os_error(errno)));
    }
    // SAFETY: the guardian made this descriptor, in the table that we share, for us alone.
    let pidfd = unsafe { OwnedFd::from_raw_fd(order.pidfd.load(Ordering::Acquire)) };
    let pid = Pid(order.copy.load(Ordering::Acquire));
    let twin = Twin { pid, pidfd, guardian, _order: order };
    twin.wait_until_parked(PATIENCE)?;
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

/// The guardian's life. Only the copy returns.
extern "C" fn guard(order: *const c_void) {
    // SAFETY: `park` passes this very type, and keeps it until this process has ended.
    let order = unsafe { &*order.cast::<Order>() };
    if !beside::die_with(order.parent) {
        beside::exit();
    }
    // SAFETY: it takes no pointer.
    let own = unsafe { call(libc::SYS_getpid, [0; 4]) };
    order.guardian.store(own as i32, Ordering::Release);
    // SAFETY: the copy makes bare system calls until it is woken in another process. What it does there is
    // up to who called: of the locks that other threads held here only libc's own are free.
    let made = unsafe { libc::fork() };
    if made == 0 {
        return;
    }
    if made < 0 {
        let errno = io::Error::last_os_error().raw_os_error().unwrap_or(libc::EAGAIN);
        order.errno.store(errno, Ordering::Release);
        beside::exit();
    }
    // Nobody but this process can take its end, so the number is its own.
    // SAFETY: it takes no pointer.
    let pidfd = unsafe { call(libc::SYS_pidfd_open, [made as usize, 0, 0, 0]) };
    if pidfd < 0 {
        order.errno.store(-pidfd as i32, Ordering::Release);
        // SAFETY: it takes no pointer.
        unsafe { call(libc::SYS_kill, [made as usize, libc::SIGKILL as usize, 0, 0]) };
        // SAFETY: it takes pointers, and is told of none.
        unsafe { call(libc::SYS_wait4, [made as usize, 0, libc::__WALL as usize, 0]) };
        beside::exit();
    }
    order.pidfd.store(pidfd as i32, Ordering::Release);
    order.copy.store(made, Ordering::Release);
    // SAFETY: the caller waits for this word, on whose stack this is.
    unsafe { beside::give_back_and_wait_for(made, &raw const order.word) }
}

/// What the copy does until it is woken elsewhere.
fn stand_still(order: &Order, stack: &libc::stack_t, wide: Wide) -> i32 {
    if !beside::die_with(Pid(order.guardian.load(Ordering::Acquire))) {
        beside::exit();
    }
    let parent = order.parent.0 as usize;
    // SAFETY: it takes no pointer. Where the host lets nobody trace but ancestors, those that the caller has
    // for it may, too.
    unsafe { call(libc::SYS_prctl, [libc::PR_SET_PTRACER as usize, parent, 0, 0]) };
    let at = (&raw const *stack).expose_provenance();
    // SAFETY: the kernel reads one `stack_t`: a stack that was this thread's before.
    unsafe { call(libc::SYS_sigaltstack, [at, 0, 0, 0]) };
    x86_64::wait_to_be_woken(wide)
}

/// The stack on which signals of this thread are handled.
fn signal_stack() -> libc::stack_t {
    // SAFETY: zero is a value of all its fields: a null pointer and numbers.
    let mut stack = unsafe { MaybeUninit::<libc::stack_t>::zeroed().assume_init() };
    // SAFETY: the kernel writes one `stack_t`, which is ours.
    unsafe { libc::sigaltstack(std::ptr::null(), &raw mut stack) };
    // Said of who runs on it now.
    stack.ss_flags &= !libc::SS_ONSTACK;
    stack
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

    fn wait_until_parked(&self, patience: Duration) -> Result<(), Error> {
        let until = Instant::now() + patience;
        while !self.is_parked()? {
            if Instant::now() >= until {
                let source = io::ErrorKind::TimedOut.into();
                let action = "wait for the standstill of";
                return Err(Error::Process { action, pid: self.pid, source });
            }
            std::thread::yield_now();
        }
        Ok(())
    }

    /// It is in the call where it is to be woken: before, it sleeps here and there, too.
    fn is_parked(&self) -> Result<bool, Error> {
        let path = format!("/proc/{}/syscall", self.pid);
        let text = std::fs::read_to_string(&path).map_err(Error::file("read", &path))?;
        Ok(text.starts_with(x86_64::PAUSED))
    }
}

impl Drop for Twin {
    fn drop(&mut self) {
        // It ends with this process at the latest.
        let _ = pidfd::signal(&self.pidfd, libc::SIGKILL);
        let _ = pidfd::wait(&self.guardian, libc::__WALL);
    }
}

#[cfg(test)]
mod tests;
