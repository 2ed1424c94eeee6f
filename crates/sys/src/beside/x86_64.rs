//! The instructions by which two processes share one stack without being on it at once.

use std::arch::asm;
use std::ffi::c_void;
use std::sync::atomic::AtomicU32;

/// What the word says while the caller is to wait. The kernel makes it 0 when the new process has ended.
pub(crate) const WAIT: u32 = 1;

/// What it says when the caller has its stack back, though the new process lives.
pub(crate) const GO_ON: u32 = 2;

/// Who returns: a copy that was forked while the stack was the new process's. No kernel returns this.
pub(crate) const COPY: isize = isize::MIN;

/// Starts a process on the stack of the caller, which waits, and touches no memory, until `word` is not
/// `WAIT` any more. Returns what `clone` did; or `COPY`.
///
/// # Safety
///
/// All signals of the calling thread are blocked. `first` returns only in a copy with a memory of its own,
/// and the new process is off the stack when `word` changes. `word`, where the kernel writes when the new
/// process ends, stays until then; so does what `order` needs. `pidfd` can be written.
pub(crate) unsafe fn start_on_this_stack(
    flags: usize,
    pidfd: *mut i32,
    word: *const AtomicU32,
    first: extern "C" fn(*const c_void),
    order: *const c_void,
) -> isize {
    let result: isize;
    // SAFETY: the parent runs nothing between `clone` and the change of the word but instructions here, which
    // use no stack; the child's frames lie below this one, as those of any function that is called here. What
    // the calls change is named. For the rest the caller answers.
    unsafe {
        asm!(
            "syscall",
            "test rax, rax",
            "jz 3f",
            "js 5f",
            "mov r12, rax",
            // The parent.
            "2:",
            "cmp dword ptr [r13], {wait}",
            "jne 4f",
            "mov eax, {futex}",
            "mov rdi, r13",
            "mov esi, {futex_wait}",
            "mov edx, {wait}",
            "xor r10d, r10d",
            "syscall",
            "jmp 2b",
            // The new process.
            "3:",
            "mov rdi, r14",
            "call r15",
            // The copy.
            "mov r12, {copy}",
            "4:",
            "mov rax, r12",
            "5:",
            wait = const WAIT,
            futex = const libc::SYS_futex,
            futex_wait = const libc::FUTEX_WAIT,
            copy = const COPY,
            inlateout("rax") libc::SYS_clone as isize => result,
            in("rdi") flags, in("rsi") 0, in("rdx") pidfd, in("r10") word, in("r8") 0,
            out("r12") _,
            in("r13") word, in("r14") order, in("r15") first,
            clobber_abi("C"),
        );
    }
    result
}

/// Gives the stack back, waits for the end of a child, and ends: the last that the new process does.
///
/// # Safety
///
/// `word` is the one that the caller waits for.
pub(crate) unsafe fn give_back_and_wait_for(child: i32, word: *const AtomicU32) -> ! {
    // SAFETY: from the first instruction on, no stack is used; the word stays until this process has ended.
    unsafe {
        asm!(
            "mov dword ptr [r13], {go_on}",
            "mov eax, {futex}",
            "mov rdi, r13",
            "mov esi, {futex_wake}",
            "mov edx, 1",
            "syscall",
            "2:",
            "mov eax, {wait4}",
            "movsxd rdi, r12d",
            "xor esi, esi",
            "mov edx, {all}",
            "xor r10d, r10d",
            "syscall",
            "cmp rax, -{interrupted}",
            "je 2b",
            "3:",
            "mov eax, {exit}",
            "xor edi, edi",
            "syscall",
            "jmp 3b",
            go_on = const GO_ON,
            futex = const libc::SYS_futex,
            futex_wake = const libc::FUTEX_WAKE,
            wait4 = const libc::SYS_wait4,
            all = const libc::__WALL,
            interrupted = const libc::EINTR,
            exit = const libc::SYS_exit_group,
            in("r12") child, in("r13") word,
            options(noreturn),
        );
    }
}

/// A system call without libc around it.
///
/// # Safety
///
/// As the call itself.
pub(crate) unsafe fn call(number: i64, args: [usize; 4]) -> isize {
    let result: isize;
    // SAFETY: the instruction changes rax, rcx and r11, which are named, and whatever memory the call
    // writes, for which the caller answers.
    unsafe {
        asm!(
            "syscall",
            inlateout("rax") number as isize => result,
            in("rdi") args[0], in("rsi") args[1], in("rdx") args[2], in("r10") args[3],
            lateout("rcx") _, lateout("r11") _,
            options(nostack),
        );
    }
    result
}

/// Blocks these signals, and no others, in the calling thread; returns those blocked before.
pub(crate) fn block_signals(mask: u64) -> u64 {
    let mut before = 0_u64;
    let (new, old) = ((&raw const mask).expose_provenance(), (&raw mut before).expose_provenance());
    // SAFETY: the kernel reads one mask and writes another, both ours alone during the call. Which signals
    // wait changes no memory of Rust's.
    unsafe {
        call(libc::SYS_rt_sigprocmask, [libc::SIG_SETMASK as usize, new, old, size_of::<u64>()])
    };
    before
}
