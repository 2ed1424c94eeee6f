//! Calls that a thread was in when it was stopped, told so that another kernel can make them.
//!
//! A thread that is stopped in a call has it interrupted, and the kernel makes it again once the thread goes on.
//! Another kernel cannot know that, so the registers of the image are those of just before the call. Times that
//! the call gives as spans begin anew then; those that it gives as moments do not.
//!
//! One kind is special: a sleep, `poll` or wait for a futex with a time limit that was interrupted *before* is from
//! then on `restart_syscall`, and only the old kernel knows which of the four it is. Its arguments are still in
//! the registers, and the number mostly stands in the code, as the operand of the instruction that loaded it. Where
//! both agree, the call is made again. Where they do not, it ends as a signal would have ended it (EINTR), which
//! all four may do.

use sys::ptrace::Registers;

/// `mov eax, imm32`.
const LOAD_NUMBER: u8 = 0xb8;

/// Bytes before the `syscall` in which its number is looked for.
const CODE: usize = 48;

/// What a call returns that a signal has ended.
const EINTR: u64 = (-(libc::EINTR as i64)).cast_unsigned();

/// Numbers of the calls that can be `restart_syscall`.
const POLL: u64 = 7;
const NANOSLEEP: u64 = 35;
const FUTEX: u64 = 202;
const CLOCK_NANOSLEEP: u64 = 230;
const RESTART_SYSCALL: u64 = 219;

/// The registers with which a thread goes on elsewhere. `read` fills bytes from an address of the process, or
/// says that it cannot.
pub(super) fn registers(found: Registers, read: impl Fn(u64, &mut [u8]) -> bool) -> Registers {
    match found.interrupted_call() {
        None => found,
        Some(RESTART_SYSCALL) => match restarted(&found, read) {
            Some(number) => found.with_call_again(number),
            None => found.with_result(EINTR),
        },
        Some(number) => found.with_call_again(number),
    }
}

/// Which call a `restart_syscall` is, if that is certain.
fn restarted(found: &Registers, read: impl Fn(u64, &mut [u8]) -> bool) -> Option<u64> {
    let mut code = [0; CODE];
    let syscall = found.rip.wrapping_sub(2);
    if !read(syscall.wrapping_sub(CODE as u64), &mut code) {
        return None;
    }
    // The last one before the call is the one that counts.
    let number = (0..=CODE - 5).rev().find_map(|at| {
        let operand = code[at + 1..at + 5].first_chunk()?;
        let number = u64::from(u32::from_le_bytes(*operand));
        let is_known = [POLL, NANOSLEEP, FUTEX, CLOCK_NANOSLEEP].contains(&number);
        (code[at] == LOAD_NUMBER && is_known).then_some(number)
    })?;
    fits(number, found, read).then_some(number)
}

/// Whether the arguments are such as this call has.
fn fits(number: u64, found: &Registers, read: impl Fn(u64, &mut [u8]) -> bool) -> bool {
    let is_span = |at: u64| {
        let mut span = [0; 16];
        let nanoseconds =
            |span: &[u8; 16]| span[8..].first_chunk().map(|it| u64::from_le_bytes(*it));
        at != 0 && read(at, &mut span) && nanoseconds(&span).is_some_and(|it| it < 1_000_000_000)
    };
    match number {
        // poll(list, count, milliseconds)
        POLL => found.rsi == 0 || (found.rsi < 1 << 20 && read(found.rdi, &mut [0; 8])),
        // nanosleep(span, left)
        NANOSLEEP => is_span(found.rdi),
        // futex(word, operation, value, span, …): WAIT (0) or WAIT_BITSET (9), private or of the real clock
        FUTEX => {
            let operation = found.rsi & !(128 | 256);
            [0, 9].contains(&operation) && is_span(found.r10) && read(found.rdi, &mut [0; 4])
        }
        // clock_nanosleep(clock, 0, span, left)
        CLOCK_NANOSLEEP => found.rsi & 0xffff_ffff == 0 && is_span(found.rdx),
        _ => false,
    }
}

#[cfg(test)]
mod tests;
