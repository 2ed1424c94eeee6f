//! The call in which a copy waits, and where its result is.

use std::arch::asm;
use std::ptr;

use crate::beside::call;

/// Where the result of a system call is among the general registers, in bytes: `rax`.
pub const RESULT_OFFSET: u32 = 80;

/// What `/proc/PID/syscall` begins with for one that waits here.
pub(super) const PAUSED: &str = "34 ";

const _: () = assert!(libc::SYS_pause == 34);

/// Waits in `pause` for ever; the result is what somebody loads into the register.
pub(super) fn wait_to_be_woken() -> i32 {
    // SAFETY: it takes no pointer. Whoever loads the registers elsewhere has loaded the memory, too.
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
            tracer = const libc::PR_SET_PTRACER,
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
