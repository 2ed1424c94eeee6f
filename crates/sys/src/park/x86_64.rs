//! The call in which a copy waits, and where its result is.

use std::arch::asm;

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
