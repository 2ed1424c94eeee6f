//! Starts a program in a session of its own, with exactly what it is given.
//!
//! The child shares our memory and our thread waits until it is another program, as `vfork` does:
//! its cost does not grow with the daemon's memory. `std::process::Command` does that too, but not
//! with steps of ours in between.

use std::ffi::{CStr, CString, OsStr, OsString, c_char, c_int, c_void};
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::ptr;
use std::sync::atomic::{AtomicI32, AtomicUsize, Ordering};

use nix::sys::prctl;
use nix::sys::signal::Signal;

use super::child::Child;
use crate::namespace::Namespaces;
use crate::{Error, Pid, files};

/// A program to be started. The child gets a session of its own, dies with the *thread* that
/// started it (so start from one that lives as long as the daemon), adopts its orphaned descendants,
/// and has default signal handling. Input and output are `/dev/null` unless `descriptors` say else.
#[derive(Debug)]
pub struct Spawn {
    /// Opened as it is, without a search; also the program's `argv[0]`.
    pub program: PathBuf,
    /// What follows `argv[0]`.
    pub args: Vec<OsString>,
    /// The whole environment.
    pub env: Vec<(OsString, OsString)>,
    /// What the child has open, and by which number. Nothing else stays open but 0, 1 and 2.
    pub descriptors: Vec<(OwnedFd, RawFd)>,
    pub stderr: Stderr,
    /// New namespaces to be born into; in that of pids it is the first process.
    pub namespaces: Option<Namespaces>,
    /// Control groups to be born into, by their entrances.
    pub groups: Vec<OwnedFd>,
}

/// Where a child's error output goes.
#[derive(Debug)]
pub enum Stderr {
    /// To our own.
    Inherit,
    /// Nowhere.
    Null,
    To(OwnedFd),
}

/// Highest number that a child's descriptor can be asked for.
const NUMBER_MAX: RawFd = 255;
/// The child runs one shallow function and libc's thinnest wrappers on it.
const STACK_BYTES: usize = 64 * 1024;
const SIGNAL_MAX: c_int = 64;

impl Spawn {
    /// A program without arguments, environment and descriptors.
    pub fn new(program: impl Into<PathBuf>) -> Self {
        Self {
            program: program.into(),
            args: Vec::new(),
            env: Vec::new(),
            descriptors: Vec::new(),
            stderr: Stderr::Null,
            namespaces: None,
            groups: Vec::new(),
        }
    }

    /// Starts it. When this returns, the program runs, or an error tells which step failed.
    pub fn start(mut self) -> Result<Child, Error> {
        let program = self.program.clone();
        let path = c_string(self.program.as_os_str())?;
        let mut args = vec![path.clone()];
        for arg in &self.args {
            args.push(c_string(arg)?);
        }
        let mut env = Vec::with_capacity(self.env.len());
        for (name, value) in &self.env {
            env.push(c_string(&[name.as_os_str(), value].join(OsStr::new("=")))?);
        }
        let namespaces = self.namespaces;
        let groups: Vec<RawFd> = self.groups.iter().map(AsRawFd::as_raw_fd).collect();
        let descriptors = self.descriptors()?;
        let (uid, gid) = (nix::unistd::geteuid(), nix::unistd::getegid());
        let maps = [(c"/proc/self/setgroups", c"deny".to_owned())].into_iter().chain([
            (c"/proc/self/uid_map", c_string(OsStr::new(&format!("0 {uid} 1")))?),
            (c"/proc/self/gid_map", c_string(OsStr::new(&format!("0 {gid} 1")))?),
        ]);
        let maps: Vec<_> = maps.filter(|_| namespaces == Some(Namespaces::ByUser)).collect();
        let order = Order {
            program: path.as_ptr(),
            args: &null_terminated(&args),
            env: &null_terminated(&env),
            moves: &descriptors.iter().map(|(fd, to)| (fd.as_raw_fd(), *to)).collect::<Vec<_>>(),
            flags: namespaces.map_or(0, Namespaces::flags),
            groups: &groups,
            maps: &maps,
            // Whoever is the first of its namespace has no parent there.
            parent: if namespaces.is_some() { Pid(0) } else { Pid::own() },
            step: AtomicUsize::new(0),
            errno: AtomicI32::new(0),
        };
        let mut child = clone(&order).map_err(Error::kernel("make a process"))?;
        match order.errno.load(Ordering::Acquire) {
            0 => Ok(child),
            errno => {
                child.wait()?;
                let step = STEPS[order.step.load(Ordering::Acquire)];
                Err(Error::Spawn { program, step, source: io::Error::from_raw_os_error(errno) })
            }
        }
    }

    /// All descriptors of the child, 0, 1 and 2 among them, each first moved above all numbers
    /// asked for, so that no move overwrites the source of another.
    fn descriptors(&mut self) -> Result<Vec<(OwnedFd, RawFd)>, Error> {
        let mut wanted = std::mem::take(&mut self.descriptors);
        match std::mem::replace(&mut self.stderr, Stderr::Null) {
            Stderr::Inherit => {
                wanted.push((files::duplicate_above(&io::stderr(), NUMBER_MAX + 1)?, 2));
            }
            Stderr::Null => (),
            Stderr::To(descriptor) => wanted.push((descriptor, 2)),
        }
        for (index, (_, number)) in wanted.iter().enumerate() {
            assert!((0..=NUMBER_MAX).contains(number), "descriptor number {number} for a child");
            let is_new = wanted[..index].iter().all(|(_, other)| other != number);
            assert!(is_new, "two descriptors for number {number} of a child");
        }
        for number in 0..=2 {
            if wanted.iter().all(|(_, other)| *other != number) {
                wanted.push((files::null()?.into(), number));
            }
        }
        let highest = wanted.iter().map(|(_, number)| *number).max().unwrap_or(2);
        for (descriptor, _) in &mut wanted {
            if descriptor.as_raw_fd() <= highest {
                *descriptor = files::duplicate_above(descriptor, highest + 1)?;
            }
        }
        Ok(wanted)
    }
}

fn c_string(text: &OsStr) -> Result<CString, Error> {
    CString::new(text.as_bytes()).map_err(|_| Error::CallerName {
        text: text.to_string_lossy().into_owned(),
        why: "it holds a NUL",
    })
}

/// Pointers as `execve` wants them; valid while `strings` live.
fn null_terminated(strings: &[CString]) -> Vec<*const c_char> {
    strings.iter().map(|text| text.as_ptr()).chain([ptr::null()]).collect()
}

/// What the child is to do, and where it writes what failed. In memory that both share.
struct Order<'a> {
    program: *const c_char,
    args: &'a [*const c_char],
    env: &'a [*const c_char],
    moves: &'a [(RawFd, RawFd)],
    /// Namespaces.
    flags: c_int,
    groups: &'a [RawFd],
    /// Files and what to write to them, to be someone in a new user namespace.
    maps: &'a [(&'static CStr, CString)],
    parent: Pid,
    step: AtomicUsize,
    errno: AtomicI32,
}

/// What the child does, by the index it notes before each.
const STEPS: [&str; 8] = [
    "entering its control groups",
    "mapping its user",
    "leaving the session",
    "arranging to die with the parent",
    "adopting orphans",
    "closing descriptors",
    "placing descriptors",
    "executing it",
];

/// Makes a process that carries out `order` in our memory while the calling thread waits.
fn clone(order: &Order<'_>) -> io::Result<Child> {
    // u128 for the alignment that the stack must have.
    let mut stack: Vec<u128> = Vec::with_capacity(STACK_BYTES / size_of::<u128>());
    let top = stack.spare_capacity_mut().as_mut_ptr_range().end;
    let flags =
        libc::CLONE_VM | libc::CLONE_VFORK | libc::CLONE_PIDFD | libc::SIGCHLD | order.flags;
    let mut pidfd: c_int = -1;
    // A handler of ours must not run in the child, where it would act on our memory in our name.
    let mask = set_signal_mask(u64::MAX);
    // SAFETY: the child runs `child_main` on `stack`, which is ours and used by nobody else, and
    // reads `order`. Both outlive it there: CLONE_VFORK holds this thread until the child has
    // left our memory, by exec or exit. The other threads go on; the child takes no lock, allocates
    // nothing and writes nothing but `order`'s atomics, its stack and this waiting thread's errno.
    // With CLONE_PIDFD the kernel writes a descriptor to `pidfd`.
    let pid = unsafe {
        libc::clone(
            child_main,
            top.cast(),
            flags,
            ptr::from_ref(order).cast_mut().cast::<c_void>(),
            &raw mut pidfd,
        )
    };
    let error = io::Error::last_os_error();
    set_signal_mask(mask);
    drop(stack);
    if pid < 0 {
        return Err(error);
    }
    // SAFETY: the kernel made this descriptor for this call and nobody else knows its number.
    let pidfd = unsafe { OwnedFd::from_raw_fd(pidfd) };
    Ok(Child::new(Pid(pid), pidfd))
}

/// The first function of the child; its return value is the exit code.
extern "C" fn child_main(order: *mut c_void) -> c_int {
    // SAFETY: `clone` passes an `Order` that it borrows until this process has left the memory.
    // Only atomics in it are written, and the one who reads them waits.
    let order = unsafe { &*order.cast::<Order>() };
    let errno = become_program(order);
    order.errno.store(errno, Ordering::Release);
    127
}

/// Turns this process into the program, or returns why not. Nothing here may allocate or lock: the
/// memory is the parent's, and another of its threads may hold the lock for good.
fn become_program(order: &Order) -> i32 {
    // Each phase notes its number first, then does its calls.
    let begin = |step: usize| order.step.store(step, Ordering::Release);

    begin(0);
    for &group in order.groups {
        if let Err(errno) = write_all(group, b"0") {
            return errno;
        }
    }

    begin(1);
    for (file, text) in order.maps {
        if let Err(errno) = write_file(file, text.as_bytes()) {
            return errno;
        }
    }

    begin(2);
    if let Err(errno) = nix::unistd::setsid() {
        return errno as i32;
    }

    begin(3);
    if let Err(errno) = prctl::set_pdeathsig(Signal::SIGKILL) {
        return errno as i32;
    }
    // The parent may have ended before the line above: then nobody would kill us.
    if Pid::parent() != order.parent {
        return libc::ESRCH;
    }

    begin(4);
    if let Err(errno) = prctl::set_child_subreaper(true) {
        return errno as i32;
    }

    begin(5);
    if let Err(errno) = close_all_at_exec() {
        return errno;
    }

    begin(6);
    for &(from, to) in order.moves {
        // SAFETY: the table of descriptors is this process's own copy, in which nothing is owned
        // by a Rust value. The copy made stays open at exec, unlike its source.
        if unsafe { libc::dup2(from, to) } < 0 {
            return last_errno();
        }
    }

    begin(7);
    default_signals();
    // SAFETY: program, arguments and environment are NUL-terminated strings in null-terminated
    // lists that the waiting parent keeps.
    unsafe { libc::execve(order.program, order.args.as_ptr(), order.env.as_ptr()) };
    last_errno()
}

/// One write, as the kernel's own files take it.
fn write_all(descriptor: RawFd, text: &[u8]) -> Result<(), i32> {
    // SAFETY: the kernel reads `text`, which lives through the call.
    let written = unsafe { libc::write(descriptor, text.as_ptr().cast(), text.len()) };
    if written < 0 { Err(last_errno()) } else { Ok(()) }
}

fn write_file(path: &CStr, text: &[u8]) -> Result<(), i32> {
    // SAFETY: the path is NUL-terminated and static. The descriptor ends with this process's table,
    // if not before: it is closed at exec.
    let opened = unsafe { libc::open(path.as_ptr(), libc::O_WRONLY | libc::O_CLOEXEC) };
    if opened < 0 {
        return Err(last_errno());
    }
    write_all(opened, text)
}

/// Tries whether the host lets us start programs in such namespaces.
pub fn try_namespaces(namespaces: Namespaces) -> Result<(), Error> {
    try_flags(namespaces.flags()).map_err(Error::kernel("make namespaces"))
}

/// Tries whether a process may have a user namespace of its own.
pub fn try_user_namespace() -> Result<(), Error> {
    try_flags(libc::CLONE_NEWUSER).map_err(Error::kernel("make a user namespace"))
}

/// Makes a process with these flags that ends at once.
fn try_flags(flags: c_int) -> io::Result<()> {
    extern "C" fn end(_: *mut c_void) -> c_int {
        0
    }
    let mut stack: Vec<u128> = Vec::with_capacity(STACK_BYTES / size_of::<u128>());
    let top = stack.spare_capacity_mut().as_mut_ptr_range().end;
    let flags = libc::CLONE_VM | libc::CLONE_VFORK | libc::SIGCHLD | flags;
    let mask = set_signal_mask(u64::MAX);
    // SAFETY: the child runs `end` on `stack`, which is ours alone, and leaves our memory at once,
    // for which CLONE_VFORK holds this thread. It touches nothing.
    let pid = unsafe { libc::clone(end, top.cast(), flags, ptr::null_mut()) };
    let error = io::Error::last_os_error();
    set_signal_mask(mask);
    drop(stack);
    if pid < 0 {
        return Err(error);
    }
    // SAFETY: waits for the child just made, by its number, which is its own until then.
    unsafe { libc::waitpid(pid, ptr::null_mut(), 0) };
    Ok(())
}

/// Has exec close every descriptor, whoever forgot to ask for it.
fn close_all_at_exec() -> Result<(), i32> {
    // By number, since libcs got a wrapper late; known from Linux 5.11 on.
    let (first, last, flags) = (0, libc::c_uint::MAX, libc::CLOSE_RANGE_CLOEXEC);
    // SAFETY: only flags of descriptors in this process's own table change.
    if unsafe { libc::syscall(libc::SYS_close_range, first, last, flags) } == 0 {
        return Ok(());
    }
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the kernel writes one `rlimit`, which is ours.
    if unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) } != 0 {
        return Err(last_errno());
    }
    for number in 0..RawFd::try_from(limit.rlim_cur).unwrap_or(RawFd::MAX) {
        // SAFETY: as above; numbers without a descriptor are an error that does not matter.
        unsafe { libc::fcntl(number, libc::F_SETFD, libc::FD_CLOEXEC) };
    }
    Ok(())
}

/// Handlers end with exec by themselves, but ignored signals (Rust ignores SIGPIPE) and the mask
/// would be inherited. Handlers have to go before the mask, or one could run here.
///
/// By number, since glibc refuses to touch the two signals (32, 33) that it uses itself; a parent
/// can have left those blocked as well.
fn default_signals() {
    // The kernel's `sigaction`, not libc's: SIG_DFL, no flags, no mask, on every architecture.
    let default = [0_u64; 4];
    let none = ptr::null_mut::<c_void>();
    for number in 1..=SIGNAL_MAX {
        // SAFETY: the kernel reads one `sigaction` of at most 32 bytes from `default`. SIG_DFL runs
        // no code of this program, and the table of handlers is this process's own (there is no
        // CLONE_SIGHAND). SIGKILL and SIGSTOP refuse, as they should.
        unsafe {
            libc::syscall(libc::SYS_rt_sigaction, number, default.as_ptr(), none, MASK_BYTES)
        };
    }
    set_signal_mask(0);
}

fn last_errno() -> i32 {
    nix::errno::Errno::last_raw()
}

/// The kernel's mask has one bit for each of 64 signals.
const MASK_BYTES: usize = size_of::<u64>();

/// Blocks these signals, and no others, in the calling thread; returns those blocked before.
fn set_signal_mask(blocked: u64) -> u64 {
    let mut before = 0_u64;
    // SAFETY: the kernel reads one mask and writes another, both ours alone during the call. Which
    // signals wait changes no memory of Rust's.
    unsafe {
        libc::syscall(
            libc::SYS_rt_sigprocmask,
            libc::SIG_SETMASK,
            &raw const blocked,
            &raw mut before,
            MASK_BYTES,
        )
    };
    before
}
