//! Something runs as another process, with the memory, the descriptors and the stack of the thread that asks
//! for it, which sleeps meanwhile.
//!
//! Whoever traces a process is told of each of its stops by SIGCHLD, and a `wait` for any child takes them
//! away. So that no handler and no `wait` of the program that we are in meets what it did not start, what
//! traces is not that program, for the kernel; and the end of this process itself is told to nobody.
//!
//! What runs so is the calling thread in all but its number: locks, thread-locals and channels work as ever.
//! Threads that it starts would end with it: it is to start none.

use std::any::Any;
use std::cell::UnsafeCell;
use std::ffi::c_void;
use std::io;
use std::os::fd::{FromRawFd, OwnedFd};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::AtomicU32;

use crate::process::pidfd;
use crate::{Error, Pid};

mod x86_64;

pub(crate) use x86_64::{
    COPY, GO_ON, WAIT, block_signals, call, give_back_and_wait_for, start_on_this_stack,
};

/// All but signal handlers is the caller's own; and nobody is told of its end.
pub(crate) const FLAGS: usize = (libc::CLONE_VM
    | libc::CLONE_FS
    | libc::CLONE_FILES
    | libc::CLONE_PIDFD
    | libc::CLONE_CHILD_CLEARTID) as usize;

struct Order<F, T> {
    run: UnsafeCell<Option<F>>,
    done: UnsafeCell<Option<Result<T, Box<dyn Any + Send>>>>,
    parent: Pid,
    rseq: Option<Rseq>,
    word: AtomicU32,
}

/// Runs this as another process, and waits for its end. Signals of the calling thread wait, too.
pub fn run<T>(run: impl FnOnce() -> T) -> Result<T, Error> {
    let order = Order {
        run: UnsafeCell::new(Some(run)),
        done: UnsafeCell::new(None),
        parent: Pid::own(),
        rseq: Rseq::of_this_thread(),
        word: AtomicU32::new(WAIT),
    };
    let first = first_of(&order);
    let mut number = -1;
    let mask = block_signals(u64::MAX);
    // SAFETY: signals are blocked; `first` does not return, and its process is off the stack only when it has
    // ended, which is when the kernel changes the word. All that it uses outlives that: see the wait below.
    let made = unsafe {
        start_on_this_stack(
            FLAGS,
            &raw mut number,
            &raw const order.word,
            first,
            (&raw const order).cast(),
        )
    };
    block_signals(mask);
    if made < 0 {
        let source = io::Error::from_raw_os_error(-made as i32);
        return Err(Error::Kernel { action: "start a process beside this one", source });
    }
    // SAFETY: the kernel made this descriptor for this call and nobody else knows its number.
    let process = unsafe { OwnedFd::from_raw_fd(number) };
    // It has left our memory. Whoever waits for really all children may have taken its end.
    let _ = pidfd::wait(&process, libc::__WALL);
    match order.done.into_inner() {
        Some(Ok(result)) => Ok(result),
        Some(Err(panic)) => resume_unwind(panic),
        None => {
            let source = io::Error::other("somebody has killed it");
            Err(Error::Kernel { action: "let a process run beside this one", source })
        }
    }
}

/// The first function of a process that obeys this order.
fn first_of<F: FnOnce() -> T, T>(_: &Order<F, T>) -> extern "C" fn(*const c_void) {
    extern "C" fn first<F: FnOnce() -> T, T>(order: *const c_void) {
        // SAFETY: `run` passes this very type, and does not touch it while this process lives.
        let order = unsafe { &*order.cast::<Order<F, T>>() };
        if die_with(order.parent) {
            if let Some(rseq) = &order.rseq {
                rseq.register();
            }
            // SAFETY: nobody else uses the cell: its owner sleeps.
            let run = unsafe { (*order.run.get()).take() };
            let done = run.map(|run| catch_unwind(AssertUnwindSafe(run)));
            // SAFETY: as above.
            unsafe { *order.done.get() = done };
        }
        exit();
    }
    first::<F, T>
}

/// Has this process end with the thread that started it; says whether that is still there.
pub(crate) fn die_with(parent: Pid) -> bool {
    let (death, kill) = (libc::PR_SET_PDEATHSIG as usize, libc::SIGKILL as usize);
    // SAFETY: it takes no pointer.
    unsafe { call(libc::SYS_prctl, [death, kill, 0, 0]) };
    // SAFETY: as above.
    unsafe { call(libc::SYS_getppid, [0; 4]) == parent.0 as isize }
}

/// Ends this process, and runs nothing more of it.
pub(crate) fn exit() -> ! {
    loop {
        // SAFETY: it takes no pointer, and does not return.
        unsafe { call(libc::SYS_exit_group, [0; 4]) };
    }
}

/// Where libc has the kernel tell a thread which processor it is on. A process that is made beside another
/// has no such place until it asks for one.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rseq {
    pub(crate) at: usize,
    len: usize,
}

impl Rseq {
    /// The least that the kernel knows of, and what libc gives it at least.
    const LEN: usize = 32;
    /// `AT_RSEQ_FEATURE_SIZE`
    const FEATURES: libc::c_ulong = 27;
    /// What libc lays before its handlers (`RSEQ_SIG`).
    const SIGNATURE: usize = 0x5305_3053;

    /// `None`: this libc does not use it, or was told not to.
    pub(crate) fn of_this_thread() -> Option<Self> {
        // SAFETY: takes a name and returns an address.
        let offset = unsafe { libc::dlsym(libc::RTLD_DEFAULT, c"__rseq_offset".as_ptr()) };
        // SAFETY: as above.
        let size = unsafe { libc::dlsym(libc::RTLD_DEFAULT, c"__rseq_size".as_ptr()) };
        if offset.is_null() || size.is_null() {
            return None;
        }
        // SAFETY: under these names libc has a constant of these types (<sys/rseq.h>).
        let offset = unsafe { *offset.cast::<isize>() };
        // SAFETY: as above.
        let size = unsafe { *size.cast::<u32>() };
        // SAFETY: it takes a number.
        let features = unsafe { libc::getauxval(Self::FEATURES) } as usize;
        let thread: usize;
        // SAFETY: on this architecture the first word of a thread's own memory is its address.
        unsafe { std::arch::asm!("mov {}, fs:[0]", out(reg) thread, options(nostack, readonly)) };
        let len = features.next_multiple_of(Self::LEN).max(Self::LEN);
        (size > 0).then(|| Self { at: thread.wrapping_add_signed(offset), len })
    }

    /// Where the calling process has none yet.
    pub(crate) fn register(&self) {
        // SAFETY: libc keeps this memory for the kernel to write there; the thread whose it is sleeps, or is
        // this one.
        unsafe { call(libc::SYS_rseq, [self.at, self.len, 0, Self::SIGNATURE]) };
    }
}

#[cfg(test)]
mod tests;
