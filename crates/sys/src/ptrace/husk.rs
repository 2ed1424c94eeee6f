//! A process that is to become a copy of another: started, and stopped before its first instruction.
//!
//! It is started as a program, so that the host calls it by that program's name; nothing of the program
//! ever runs. Its first steps are made in our memory, so that its cost does not grow with that; unlike in
//! `Spawn` our thread does not sleep meanwhile: it seizes the newborn, and only then lets it become the
//! program. The kernel kills it if our thread ends before it is awake.

use std::ffi::{c_int, c_void};
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::ptr;
use std::sync::atomic::{AtomicI32, AtomicU32, Ordering};
use std::time::Duration;

use super::Tracee;
use super::calls::{self, Resume};
use super::stops::{Patience, Stop, Task};
use super::thread::Stopped;
use super::x86_64::{CloneArguments, PROGRAM, clone_onto, raw_call};
use crate::process::pidfd;
use crate::{Error, Pid, files, process::Exit};

/// What a husk is started as, and with.
#[derive(Debug)]
pub struct Start<'a> {
    pub program: Program<'a>,
    /// What it has open beside 0, 1 and 2, which are ours: see `Husk::numbers`.
    pub descriptors: &'a [OwnedFd],
    /// The numbers of those lie above this one.
    pub above: RawFd,
    /// Its number, where the kernel gives that; `None` for any.
    pub pid: Option<Pid>,
    pub session: Session,
}

/// What a husk is for the host: `ps` and `/proc/PID/exe` say so.
#[derive(Debug)]
pub enum Program<'a> {
    /// An executable of ELF.
    File(&'a OwnedFd),
    /// One of a few bytes, in memory.
    Own,
}

/// The session that a husk begins in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Session {
    Callers,
    /// The caller's, in a process group of its own.
    Group,
    Own,
}

/// A process without a past. Dropped before it is awake, it is killed, and nothing of it is left.
#[derive(Debug)]
pub struct Husk {
    /// `None` once it is awake.
    tracee: Option<Tracee>,
    pidfd: OwnedFd,
    numbers: Vec<RawFd>,
    pid: Pid,
}

/// The child runs one shallow function on it.
const STACK_BYTES: usize = 16 * 1024;

impl Husk {
    /// Starts it. Waits at most for `patience`.
    pub fn start(start: Start<'_>, patience: Duration) -> Result<Self, Error> {
        let own;
        let program = match start.program {
            Program::File(file) => file,
            Program::Own => {
                own = own_program()?;
                &own
            }
        };
        let sources: Vec<RawFd> = start.descriptors.iter().map(AsRawFd::as_raw_fd).collect();
        let highest = sources.iter().copied().chain([program.as_raw_fd(), start.above, 2]).max();
        let first = highest.unwrap_or(2) + 1;
        let order = Order {
            program: program.as_raw_fd(),
            sources: &sources,
            first,
            session: start.session,
            parent: Pid::own(),
            may_go: AtomicU32::new(0),
            errno: AtomicI32::new(0),
        };
        let mut stack: Vec<u128> = Vec::with_capacity(STACK_BYTES / size_of::<u128>());
        let (pid, pidfd) = make(&order, &mut stack, start.pid)?;
        let started = begin(pid, &order, patience);
        let numbers = (first..).take(sources.len()).collect();
        match started {
            Ok(thread) => {
                drop(stack);
                Ok(Self { tracee: Some(Tracee::born(thread)), pidfd, numbers, pid })
            }
            Err(error) => {
                // It may still use our memory: it is over before that is given back.
                let _ = pidfd::signal(&pidfd, libc::SIGKILL);
                let _ = pidfd::wait(&pidfd, 0);
                drop(stack);
                match order.errno.load(Ordering::Acquire) {
                    0 => Err(error),
                    errno => {
                        let source = io::Error::from_raw_os_error(errno);
                        Err(Error::Kernel { action: "start a process to be filled", source })
                    }
                }
            }
        }
    }

    /// A process that a call of another husk has forked, as a child of this process: it is one, too.
    pub fn forked(from: &Self, thread: Stopped) -> Result<Self, Error> {
        let pid = thread.pid();
        let tracee = Tracee::born(thread);
        let opened = pidfd::open(pid)
            .and_then(|found| found.ok_or_else(|| io::Error::from_raw_os_error(libc::ESRCH)));
        match opened {
            Ok(pidfd) => {
                Ok(Self { tracee: Some(tracee), pidfd, numbers: from.numbers.clone(), pid })
            }
            Err(source) => {
                tracee.kill_orphan()?;
                Err(Error::Process { action: "keep a descriptor of", pid, source })
            }
        }
    }

    pub fn pid(&self) -> Pid {
        self.pid
    }

    /// By which numbers it has the descriptors that it was started with, in their order.
    pub fn numbers(&self) -> &[RawFd] {
        &self.numbers
    }

    pub fn tracee(&mut self) -> &mut Tracee {
        match &mut self.tracee {
            Some(tracee) => tracee,
            None => unreachable!("only `wake` takes it, with all else"),
        }
    }

    /// Lets all its threads go, with what they have been given. From now on it is an ordinary child of
    /// this process; its pidfd comes back.
    pub fn wake(mut self) -> Result<OwnedFd, Error> {
        let pidfd = self.pidfd.try_clone().map_err(Error::kernel("keep a descriptor of"))?;
        let detached = self.tracee.take().map_or(Ok(()), Tracee::detach);
        if detached.is_err() {
            self.end();
        }
        detached.map(|()| pidfd)
    }

    fn end(&mut self) {
        // Nothing more can be done about a process that cannot even be killed.
        let _ = pidfd::signal(&self.pidfd, libc::SIGKILL);
        drop(self.tracee.take());
        let _ = pidfd::wait(&self.pidfd, 0);
    }
}

impl Drop for Husk {
    fn drop(&mut self) {
        if self.tracee.is_some() {
            self.end();
        }
    }
}

/// Waits for the end of a child of ours by its number, which is its own until then.
pub fn wait_for_child(pid: Pid) -> Result<Exit, Error> {
    let pidfd = pidfd::open(pid)
        .and_then(|found| found.ok_or_else(|| io::Error::from_raw_os_error(libc::ESRCH)))
        .map_err(Error::process("wait for", pid))?;
    loop {
        let waited = pidfd::wait(&pidfd, 0).map_err(Error::process("wait for", pid))?;
        if let Some(exit) = waited {
            return Ok(exit);
        }
    }
}

/// What the child is to do; in memory that both share.
struct Order<'a> {
    program: RawFd,
    sources: &'a [RawFd],
    /// The number of the first of them over there; the others follow.
    first: RawFd,
    session: Session,
    parent: Pid,
    /// Turns 1 once it is traced.
    may_go: AtomicU32,
    errno: AtomicI32,
}

/// Makes the process. It waits until it may go.
fn make(
    order: &Order<'_>,
    stack: &mut Vec<u128>,
    pid: Option<Pid>,
) -> Result<(Pid, OwnedFd), Error> {
    let base = stack.spare_capacity_mut().as_mut_ptr();
    let mut pidfd: c_int = -1;
    let wanted = pid.map_or(0, |pid| pid.0);
    let arguments = CloneArguments {
        flags: (libc::CLONE_VM | libc::CLONE_PIDFD) as u64,
        pidfd: (&raw mut pidfd).expose_provenance() as u64,
        exit_signal: libc::SIGCHLD as u64,
        stack: base.expose_provenance() as u64,
        stack_size: STACK_BYTES as u64,
        set_tid: if pid.is_some() { (&raw const wanted).expose_provenance() as u64 } else { 0 },
        set_tid_size: u64::from(pid.is_some()),
        ..CloneArguments::default()
    };
    // A handler of ours must not run in the child, where it would act on our memory in our name.
    let mask = block_signals(u64::MAX);
    // SAFETY: the child runs `child_main` on `stack`, which is ours and used by nobody else, and reads
    // `order`; the caller keeps both until the child has left our memory or is dead. It makes nothing but
    // bare system calls: not even the error number of libc's, which is this thread's, is touched.
    let made = unsafe { clone_onto(&arguments, child_main, ptr::from_ref(order).cast()) };
    block_signals(mask);
    if made < 0 {
        let source = io::Error::from_raw_os_error(-made as i32);
        return Err(Error::Kernel { action: "make a process to be filled", source });
    }
    // SAFETY: the kernel made this descriptor for this call and nobody else knows its number.
    let pidfd = unsafe { OwnedFd::from_raw_fd(pidfd) };
    Ok((Pid(made as i32), pidfd))
}

/// Traces the newborn, lets it become the program, and stops it there.
fn begin(pid: Pid, order: &Order<'_>, patience: Duration) -> Result<Stopped, Error> {
    let task = Task { pid, tid: pid };
    let refused = |action| move |source| Error::Thread { action, pid, tid: pid, source };
    calls::seize_for_life(pid).map_err(refused("trace"))?;
    order.may_go.store(1, Ordering::Release);
    let word = order.may_go.as_ptr().expose_provenance();
    // SAFETY: it wakes who waits at an address of our own and touches nothing.
    unsafe { raw_call(libc::SYS_futex, [word, libc::FUTEX_WAKE as usize, 1, 0, 0, 0]) };
    let mut patience = Patience::of(patience);
    let mut is_program = false;
    loop {
        match patience.wait(task).map_err(refused("wait for"))? {
            // This is in the middle of a system call: it is to stop once more, behind that.
            Some(Stop::Exec) => {
                is_program = true;
                calls::interrupt(pid).map_err(refused("stop"))?;
                calls::resume(pid, Resume::Run, 0).map_err(refused("let go on"))?;
            }
            Some(Stop::Trap { .. }) if is_program => return Ok(Stopped::new(task)),
            Some(Stop::Gone) => {
                let why = crate::Untraceable::Gone;
                return Err(Error::Untraceable { pid, tid: pid, why });
            }
            // All signals but SIGSTOP are blocked, and that one is nobody's business here.
            Some(_) => calls::resume(pid, Resume::Run, 0).map_err(refused("let go on"))?,
            None => return Err(Error::Unstoppable { pid, tid: pid }),
        }
    }
}

/// The first function of the child.
extern "C" fn child_main(order: *const c_void) -> ! {
    // SAFETY: `make` passes an `Order` that its caller keeps until this process has left the memory.
    // Only atomics in it are written.
    let order = unsafe { &*order.cast::<Order<'_>>() };
    let errno = become_program(order);
    order.errno.store(errno, Ordering::Release);
    loop {
        call(libc::SYS_exit_group, [127, 0, 0, 0, 0, 0]);
    }
}

/// A bare system call of the child, which has no memory of its own to lose: its result.
fn call(number: i64, args: [usize; 6]) -> isize {
    // SAFETY: the callers below pass addresses of what lives in `Order`, in static memory or on the child's
    // stack, and numbers of descriptors in the child's own table, in which no Rust value owns any.
    unsafe { raw_call(number, args) }
}

/// Turns this process into the program, or returns why not.
fn become_program(order: &Order<'_>) -> i32 {
    let word = order.may_go.as_ptr().expose_provenance();
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    let at = (&raw mut limit).expose_provenance();
    // 1. The parent's end is ours.
    call(libc::SYS_prctl, [libc::PR_SET_PDEATHSIG as usize, libc::SIGKILL as usize, 0, 0, 0, 0]);
    if call(libc::SYS_getppid, [0; 6]) != order.parent.0 as isize {
        return libc::ESRCH;
    }
    while order.may_go.load(Ordering::Acquire) == 0 {
        call(libc::SYS_futex, [word, libc::FUTEX_WAIT as usize, 0, 0, 0, 0]);
    }
    match order.session {
        Session::Callers => 0,
        Session::Group => call(libc::SYS_setpgid, [0; 6]),
        Session::Own => call(libc::SYS_setsid, [0; 6]),
    };
    // 2. Descriptors, to numbers that are above all sources. The copy has limits of its own.
    call(libc::SYS_prlimit64, [0, libc::RLIMIT_NOFILE as usize, 0, at, 0, 0]);
    limit.rlim_cur = limit.rlim_max;
    call(libc::SYS_prlimit64, [0, libc::RLIMIT_NOFILE as usize, at, 0, 0, 0]);
    let mut to = order.first as usize;
    for &from in order.sources {
        let result = call(libc::SYS_dup3, [from as usize, to, 0, 0, 0, 0]);
        if result < 0 {
            return -result as i32;
        }
        to += 1;
    }
    let result =
        call(libc::SYS_dup3, [order.program as usize, to, libc::O_CLOEXEC as usize, 0, 0, 0]);
    if result < 0 {
        return -result as i32;
    }
    if call(libc::SYS_close_range, [3, order.first as usize - 1, 0, 0, 0, 0]) < 0 {
        // A kernel before 5.9.
        (3..order.first as usize).for_each(|number| {
            call(libc::SYS_close, [number, 0, 0, 0, 0, 0]);
        });
        (to + 1..limit.rlim_cur.min(1 << 16) as usize).for_each(|number| {
            call(libc::SYS_close, [number, 0, 0, 0, 0, 0]);
        });
    } else {
        call(libc::SYS_close_range, [to + 1, u32::MAX as usize, 0, 0, 0, 0]);
    }
    // 3. The program, without arguments: those of the copy lie in its memory.
    let name = c"".as_ptr().expose_provenance();
    let none = [0_usize];
    let list = none.as_ptr().expose_provenance();
    let flags = libc::AT_EMPTY_PATH as usize;
    -call(libc::SYS_execveat, [to, name, list, list, flags, 0]) as i32
}

/// A file in memory with the least program that there can be.
fn own_program() -> Result<OwnedFd, Error> {
    files::executable_in_memory("farcall", &PROGRAM)
}

/// Blocks these signals, and no others, in the calling thread; returns those blocked before.
fn block_signals(mask: u64) -> u64 {
    let mut before = 0_u64;
    let (new, old) = ((&raw const mask).expose_provenance(), (&raw mut before).expose_provenance());
    let set = libc::SIG_SETMASK as usize;
    // SAFETY: the kernel reads one mask and writes another, both ours alone during the call. Which signals
    // wait changes no memory of Rust's.
    unsafe { raw_call(libc::SYS_rt_sigprocmask, [set, new, old, size_of::<u64>(), 0, 0]) };
    before
}
