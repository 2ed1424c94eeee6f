//! The call in which a copy waits, and where its result is.

use std::arch::asm;
use std::ptr;

/// Where the result of a system call is among the general registers, in bytes: `rax`.
pub const RESULT_OFFSET: u32 = 80;

/// What `/proc/PID/syscall` begins with for one that waits here.
pub(super) const PAUSED: &str = "34 ";

const _: () = assert!(libc::SYS_pause == 34);

/// The wide registers that this processor has.
#[derive(Debug, Clone, Copy)]
pub(super) enum Wide {
    Sse,
    Avx,
    Avx512,
}

impl Wide {
    pub(super) fn here() -> Self {
        match () {
            () if is_x86_feature_detected!("avx512f") => Self::Avx512,
            () if is_x86_feature_detected!("avx") => Self::Avx,
            () => Self::Sse,
        }
    }
}

/// Waits in `pause` for ever; the result is what somebody loads into the register.
///
/// Wide registers are empty then: whatever was copied last may lie in them, a key as well, and nobody expects
/// anything in them behind a call.
pub(super) fn wait_to_be_woken(wide: Wide) -> i32 {
    macro_rules! pause_after {
        ($($instruction:literal),*) => {{
            let result: i64;
            // SAFETY: all registers that it changes are said to be; the call takes no pointer. Whoever loads
            // the registers elsewhere has loaded the memory, too. The instructions are this processor's:
            // `wide` says so.
            unsafe {
                asm!(
                    $($instruction,)*
                    "syscall",
                    inlateout("rax") libc::SYS_pause => result,
                    clobber_abi("C"),
                );
            }
            result as i32
        }};
    }
    match wide {
        Wide::Sse => pause_after!(
            "xorps xmm0, xmm0",
            "xorps xmm1, xmm1",
            "xorps xmm2, xmm2",
            "xorps xmm3, xmm3",
            "xorps xmm4, xmm4",
            "xorps xmm5, xmm5",
            "xorps xmm6, xmm6",
            "xorps xmm7, xmm7",
            "xorps xmm8, xmm8",
            "xorps xmm9, xmm9",
            "xorps xmm10, xmm10",
            "xorps xmm11, xmm11",
            "xorps xmm12, xmm12",
            "xorps xmm13, xmm13",
            "xorps xmm14, xmm14",
            "xorps xmm15, xmm15"
        ),
        Wide::Avx => pause_after!("vzeroall"),
        Wide::Avx512 => pause_after!(
            "vzeroall",
            "vpxord zmm16, zmm16, zmm16",
            "vpxord zmm17, zmm17, zmm17",
            "vpxord zmm18, zmm18, zmm18",
            "vpxord zmm19, zmm19, zmm19",
            "vpxord zmm20, zmm20, zmm20",
            "vpxord zmm21, zmm21, zmm21",
            "vpxord zmm22, zmm22, zmm22",
            "vpxord zmm23, zmm23, zmm23",
            "vpxord zmm24, zmm24, zmm24",
            "vpxord zmm25, zmm25, zmm25",
            "vpxord zmm26, zmm26, zmm26",
            "vpxord zmm27, zmm27, zmm27",
            "vpxord zmm28, zmm28, zmm28",
            "vpxord zmm29, zmm29, zmm29",
            "vpxord zmm30, zmm30, zmm30",
            "vpxord zmm31, zmm31, zmm31"
        ),
    }
}

/// What `stand` returns in a copy that was woken with it, and in whoever goes on with what a copy came to.
pub(super) const AWAY: i32 = 0x0a3a_0001;
pub(super) const BACK: i32 = 0x0a3a_0002;

/// Waits for a byte of a descriptor: what the read returned, or one of the above. In a copy that has woken,
/// also the number of a process that is as the copy was at that moment: it is made before anything is written to
/// memory, and writes nothing itself. It ends with the copy, which need not wait for it. Below 0, the number is why
/// the kernel made none.
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
            "mov eax, {own}",
            "syscall",
            "mov r12, rax",
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
            // It may have ended before.
            "mov eax, {parent}",
            "syscall",
            "cmp rax, r12",
            "je 5f",
            "mov eax, {exit}",
            "xor edi, edi",
            "syscall",
            "5:",
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
            own = const libc::SYS_getpid,
            clone = const libc::SYS_clone,
            parent = const libc::SYS_getppid,
            exit = const libc::SYS_exit_group,
            prctl = const libc::SYS_prctl,
            death = const libc::PR_SET_PDEATHSIG,
            kill = const libc::SIGKILL,
            tracer = const libc::PR_SET_PTRACER,
            pause = const libc::SYS_pause,
            inlateout("rax") libc::SYS_read as isize => result,
            inlateout("rdi") on as isize => made,
            in("rsi") ptr::from_mut(byte),
            in("rdx") 1_usize,
            out("r12") _,
            clobber_abi("C"),
        );
    }
    (result, made)
}
