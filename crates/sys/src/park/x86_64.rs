//! The call in which a copy waits, and where its result is.

use std::arch::asm;
use std::ptr;

use crate::Pid;

/// Where the result of a system call is among the general registers, in bytes: `rax`.
pub const RESULT_OFFSET: u32 = 80;

/// Waits in `pause` for ever; the result is what somebody loads into the register.
pub(super) fn wait_to_be_woken(parent: Pid) -> i32 {
    let (death, kill) = (libc::PR_SET_PDEATHSIG as usize, libc::SIGKILL as usize);
    // SAFETY: it takes no pointer.
    unsafe { call(libc::SYS_prctl, [death, kill, 0, 0]) };
    // SAFETY: as above.
    if unsafe { call(libc::SYS_getppid, [0; 4]) } != parent.0 as isize {
        // SAFETY: as above; nothing of this process is needed any more.
        unsafe { call(libc::SYS_exit_group, [0; 4]) };
    }
    // SAFETY: as above. Whoever loads the registers elsewhere has loaded the memory, too.
    unsafe { call(libc::SYS_pause, [0; 4]) as i32 }
}

/// What `stand` returns in a copy that was woken with it, and in whoever goes on with what a copy came to.
pub(super) const AWAY: i32 = 0x0a3a_0001;
pub(super) const BACK: i32 = 0x0a3a_0002;

/// Waits for a byte of a descriptor: what the read returned, or one of the above. In a copy that has woken,
/// also the number of a process that is as the copy was at that moment: it is made before anything is written to
/// memory, and writes nothing itself. It ends with the copy, which need not wait for it.
///
/// It is in one place only, so that whoever waits in it anywhere goes on at one instruction.
#[inline(never)]
pub(super) fn stand(on: i32, byte: &mut u8) -> (isize, isize) {
    let (result, made): (isize, isize);
    // SAFETY: the read writes to one byte, which is ours. The new process has a copy of all memory, and makes
    // calls without pointers for ever. All registers that calls and functions may change are named; whoever has
    // this one go on elsewhere, or with other memory, answers for the memory.
    unsafe {
        asm!(
            "syscall",
            "cmp eax, {away}",
            "jne 2f",
            "mov eax, {clone}",
            "xor edi, edi",
            "xor esi, esi",
            "xor edx, edx",
            "xor r10d, r10d",
            "xor r8d, r8d",
            "syscall",
            "test rax, rax",
            "jnz 3f",
            // The new process: it ends with its parent, may be looked at, and waits.
            "mov eax, {prctl}",
            "mov edi, {death}",
            "mov esi, {kill}",
            "syscall",
            "mov eax, {prctl}",
            "mov edi, {tracer}",
            "mov rsi, -1",
            "xor edx, edx",
            "syscall",
            "4:",
            "mov eax, {pause}",
            "syscall",
            "jmp 4b",
            "3:",
            "mov rdi, rax",
            "mov eax, {away}",
            "2:",
            away = const AWAY,
            clone = const libc::SYS_clone,
            prctl = const libc::SYS_prctl,
            death = const libc::PR_SET_PDEATHSIG,
            kill = const libc::SIGKILL,
            tracer = const PR_SET_PTRACER,
            pause = const libc::SYS_pause,
            inlateout("rax") libc::SYS_read as isize => result,
            inlateout("rdi") on as isize => made,
            in("rsi") ptr::from_mut(byte),
            in("rdx") 1_usize,
            clobber_abi("C"),
        );
    }
    (result, made)
}

/// From linux/prctl.h.
pub(super) const PR_SET_PTRACER: i32 = 0x5961_6d61;

/// Blocks these signals, and no others, in the calling thread; returns those blocked before.
pub(super) fn block_signals(mask: u64) -> u64 {
    let mut before = 0_u64;
    let (new, old) = ((&raw const mask).expose_provenance(), (&raw mut before).expose_provenance());
    // SAFETY: the kernel reads one mask and writes another, both ours alone during the call. Which signals
    // wait changes no memory of Rust's.
    unsafe {
        call(libc::SYS_rt_sigprocmask, [libc::SIG_SETMASK as usize, new, old, size_of::<u64>()])
    };
    before
}

/// A system call without libc around it.
///
/// # Safety
///
/// As the call itself.
unsafe fn call(number: i64, args: [usize; 4]) -> isize {
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
