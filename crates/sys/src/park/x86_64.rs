//! The call in which a copy waits, and where its result is.

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
