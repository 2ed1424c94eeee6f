//! The calls of `ptrace` and its kin, each once, with their pointers.
//!
//! All are about a thread that the calling thread traces; of any other thread the kernel says ESRCH, and
//! so it does of one that is not stopped.

use std::io;
use std::mem::{MaybeUninit, size_of};
use std::ptr;

use super::state::{RobustList, Rseq, SignalInfo, SignalMask};
use super::x86_64::{EXTENDED_STATE_NOTE, Registers};
use crate::Pid;

/// All that is asked of the kernel about a traced thread: to be told of threads and processes that it
/// starts and of programs that it becomes, and to tell stops at system calls from signals.
const OPTIONS: libc::c_int = libc::PTRACE_O_TRACECLONE
    | libc::PTRACE_O_TRACEFORK
    | libc::PTRACE_O_TRACEVFORK
    | libc::PTRACE_O_TRACEEXEC
    | libc::PTRACE_O_TRACESYSGOOD;

/// The most bytes of extended state that are believed; tiles (AMX) make it 11 KiB.
const EXTENDED_STATE_MAX: usize = 1 << 18;

/// Pending signals that are read at once.
const SIGNALS_READ: usize = 32;

/// Bytes of a mask in the kernel.
const MASK_BYTES: usize = size_of::<u64>();

/// What goes on and how.
#[derive(Debug, Clone, Copy)]
pub(super) enum Resume {
    Run,
    /// Until the next system call begins or ends.
    ToCall,
    /// It stays stopped as its process is, yet can be interrupted and awoken.
    Listen,
    Untraced,
}

pub(super) fn seize(tid: Pid) -> io::Result<()> {
    plain(libc::PTRACE_SEIZE, tid, OPTIONS as usize)
}

/// The same; and the kernel kills it if the tracing thread ends.
pub(super) fn seize_for_life(tid: Pid) -> io::Result<()> {
    plain(libc::PTRACE_SEIZE, tid, (OPTIONS | libc::PTRACE_O_EXITKILL) as usize)
}

/// The same orders, and one more: should the calling thread end, the other is killed.
pub(super) fn kill_with_tracer(tid: Pid) -> io::Result<()> {
    plain(libc::PTRACE_SETOPTIONS, tid, (OPTIONS | libc::PTRACE_O_EXITKILL) as usize)
}

/// The same orders, and no more than that.
pub(super) fn trace_only(tid: Pid) -> io::Result<()> {
    plain(libc::PTRACE_SETOPTIONS, tid, OPTIONS as usize)
}

pub(super) fn interrupt(tid: Pid) -> io::Result<()> {
    plain(libc::PTRACE_INTERRUPT, tid, 0)
}

/// Goes on, with this signal delivered if it is stopped for one.
pub(super) fn resume(tid: Pid, how: Resume, signal: i32) -> io::Result<()> {
    let request = match how {
        Resume::Run => libc::PTRACE_CONT,
        Resume::ToCall => libc::PTRACE_SYSCALL,
        Resume::Listen => libc::PTRACE_LISTEN,
        Resume::Untraced => libc::PTRACE_DETACH,
    };
    plain(request, tid, signal as usize)
}

pub(super) fn registers(tid: Pid) -> io::Result<Registers> {
    let mut registers = Registers::default();
    // SAFETY: the kernel writes one `user_regs_struct` to `registers`, which has its layout and size and is
    // ours for the call.
    let result = unsafe {
        libc::ptrace(libc::PTRACE_GETREGS, tid.0, ptr::null_mut::<u8>(), &raw mut registers)
    };
    done(result).map(|_| registers)
}

pub(super) fn set_registers(tid: Pid, registers: &Registers) -> io::Result<()> {
    // SAFETY: the kernel reads one `user_regs_struct` from `registers`, which has its layout and size.
    let result = unsafe {
        libc::ptrace(libc::PTRACE_SETREGS, tid.0, ptr::null_mut::<u8>(), ptr::from_ref(registers))
    };
    done(result).map(|_| ())
}

pub(super) fn extended_state(tid: Pid) -> io::Result<Vec<u8>> {
    let mut len = 1 << 14;
    loop {
        let mut bytes = vec![0_u8; len];
        let mut vector = libc::iovec { iov_base: bytes.as_mut_ptr().cast(), iov_len: bytes.len() };
        // SAFETY: the kernel writes at most `iov_len` bytes to `bytes`, which has as many and is ours, and
        // then how many to `vector`.
        let result = unsafe {
            libc::ptrace(libc::PTRACE_GETREGSET, tid.0, EXTENDED_STATE_NOTE, &raw mut vector)
        };
        done(result)?;
        // One that fills all may have been cut off.
        if vector.iov_len < len || len >= EXTENDED_STATE_MAX {
            bytes.truncate(vector.iov_len);
            return Ok(bytes);
        }
        len *= 4;
    }
}

pub(super) fn set_extended_state(tid: Pid, bytes: &[u8]) -> io::Result<()> {
    let base = bytes.as_ptr().cast_mut().cast();
    let mut vector = libc::iovec { iov_base: base, iov_len: bytes.len() };
    // SAFETY: the kernel only reads `bytes`, `iov_len` of them, and checks what they say.
    let result = unsafe {
        libc::ptrace(libc::PTRACE_SETREGSET, tid.0, EXTENDED_STATE_NOTE, &raw mut vector)
    };
    done(result).map(|_| ())
}

pub(super) fn signal_mask(tid: Pid) -> io::Result<SignalMask> {
    let mut mask = 0_u64;
    // SAFETY: the kernel writes `MASK_BYTES` bytes, which is what `mask` has.
    let result = unsafe { libc::ptrace(libc::PTRACE_GETSIGMASK, tid.0, MASK_BYTES, &raw mut mask) };
    done(result).map(|_| SignalMask(mask))
}

pub(super) fn set_signal_mask(tid: Pid, mask: SignalMask) -> io::Result<()> {
    // SAFETY: the kernel reads `MASK_BYTES` bytes, which is what `mask` has.
    let result =
        unsafe { libc::ptrace(libc::PTRACE_SETSIGMASK, tid.0, MASK_BYTES, &raw const mask.0) };
    done(result).map(|_| ())
}

pub(super) fn rseq(tid: Pid) -> io::Result<Option<Rseq>> {
    let mut found = MaybeUninit::<libc::ptrace_rseq_configuration>::zeroed();
    let len = size_of::<libc::ptrace_rseq_configuration>();
    // SAFETY: the kernel writes at most `len` bytes, which is what `found` has.
    let result = unsafe {
        libc::ptrace(libc::PTRACE_GET_RSEQ_CONFIGURATION, tid.0, len, found.as_mut_ptr())
    };
    match done(result) {
        Ok(_) => {}
        // A kernel without restartable sequences, or too old to tell (before 5.13).
        Err(error) if error.raw_os_error() == Some(libc::EIO) => return Ok(None),
        Err(error) => return Err(error),
    }
    // SAFETY: it is of integers only, and was zeros before the kernel wrote to it.
    let found = unsafe { found.assume_init() };
    let rseq =
        Rseq { at: found.rseq_abi_pointer, len: found.rseq_abi_size, signature: found.signature };
    Ok((rseq.at != 0).then_some(rseq))
}

pub(super) fn robust_list(tid: Pid) -> io::Result<RobustList> {
    let mut found = RobustList { head: 0, len: 0 };
    // SAFETY: the kernel writes one pointer and one size, each to a `u64` of `found`, which is ours.
    let result = unsafe {
        libc::syscall(libc::SYS_get_robust_list, tid.0, &raw mut found.head, &raw mut found.len)
    };
    done(result).map(|_| found)
}

/// Signals that wait for a thread (`flags` 0) or for any of its process (`PTRACE_PEEKSIGINFO_SHARED`).
pub(super) fn pending(tid: Pid, flags: u32) -> io::Result<Vec<SignalInfo>> {
    #[repr(C)]
    struct Peek {
        offset: u64,
        flags: u32,
        count: i32,
    }
    let mut found = Vec::new();
    loop {
        let mut some = [SignalInfo::EMPTY; SIGNALS_READ];
        let peek = Peek { offset: found.len() as u64, flags, count: SIGNALS_READ as i32 };
        // SAFETY: the kernel reads `peek`, which has its layout, and writes at most `count` of its
        // `siginfo_t`, of 128 bytes each, to `some`, which has room for as many.
        let result = unsafe {
            libc::ptrace(libc::PTRACE_PEEKSIGINFO, tid.0, &raw const peek, some.as_mut_ptr())
        };
        let count = done(result)? as usize;
        found.extend_from_slice(&some[..count]);
        // The kernel bounds how many can wait (RLIMIT_SIGPENDING).
        if count == 0 {
            return Ok(found);
        }
    }
}

/// What a thread that is stopped for a signal is stopped for.
pub(super) fn signal_info(tid: Pid) -> io::Result<SignalInfo> {
    let mut info = SignalInfo::EMPTY;
    // SAFETY: the kernel writes one `siginfo_t`, of 128 bytes, which is what `info` has.
    let result = unsafe {
        libc::ptrace(libc::PTRACE_GETSIGINFO, tid.0, ptr::null_mut::<u8>(), &raw mut info)
    };
    done(result).map(|_| info)
}

/// Who was just started by a thread that is stopped for having started somebody.
pub(super) fn newborn(tid: Pid) -> io::Result<Pid> {
    let mut message: libc::c_ulong = 0;
    // SAFETY: the kernel writes one `unsigned long`, which is what `message` is.
    let result = unsafe {
        libc::ptrace(libc::PTRACE_GETEVENTMSG, tid.0, ptr::null_mut::<u8>(), &raw mut message)
    };
    done(result).map(|_| Pid(message as i32))
}

/// A signal for all of a process.
pub(super) fn signal_process(pid: Pid, signal: i32) -> io::Result<()> {
    // SAFETY: it takes no pointer.
    done(unsafe { libc::kill(pid.0, signal) }.into()).map(|_| ())
}

/// What is waited for.
#[derive(Debug, Clone, Copy)]
pub(super) enum Wanted {
    /// It is taken: the next one is another.
    Stop,
    /// It is only looked at.
    End,
}

/// The status of a stop or of an end; `None` while there is none.
pub(super) fn wait(tid: Pid, wanted: Wanted) -> io::Result<Option<i32>> {
    let which = match wanted {
        Wanted::Stop => libc::WSTOPPED,
        Wanted::End => libc::WEXITED | libc::WNOWAIT,
    };
    let mut info = MaybeUninit::<libc::siginfo_t>::zeroed();
    let flags = which | libc::WNOHANG | libc::__WALL;
    // SAFETY: the kernel writes one `siginfo_t` to `info`, or nothing.
    let result =
        unsafe { libc::waitid(libc::P_PID, tid.0 as libc::id_t, info.as_mut_ptr(), flags) };
    done(result.into())?;
    // SAFETY: it is of integers and pointers that nobody follows, and was zeros before.
    let info = unsafe { info.assume_init() };
    // SAFETY: of a child that changed this field is set, and else it is zero.
    let who = unsafe { info.si_pid() };
    // Stops of traced threads are told whether they are asked for or not.
    let is_end = [libc::CLD_EXITED, libc::CLD_KILLED, libc::CLD_DUMPED].contains(&info.si_code);
    if who == 0 || is_end != matches!(wanted, Wanted::End) {
        return Ok(None);
    }
    // SAFETY: as above.
    Ok(Some(unsafe { info.si_status() }))
}

/// Lets the kernel forget a thread that has ended.
pub(super) fn reap(tid: Pid) {
    let status = ptr::null_mut();
    // SAFETY: the kernel writes nothing where the status is not asked for.
    unsafe { libc::waitpid(tid.0, status, libc::WNOHANG | libc::__WALL) };
}

/// The calling thread.
pub(super) fn own_thread() -> Pid {
    Pid(nix::unistd::gettid().as_raw())
}

fn plain(request: libc::c_uint, tid: Pid, data: usize) -> io::Result<()> {
    // SAFETY: the requests above that have no pointer change only the other thread; the kernel checks that
    // the caller may trace it.
    let result = unsafe { libc::ptrace(request, tid.0, ptr::null_mut::<u8>(), data) };
    done(result).map(|_| ())
}

fn done(result: libc::c_long) -> io::Result<libc::c_long> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}
