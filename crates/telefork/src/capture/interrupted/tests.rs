//! What a thread looks like that waits for the second time, and code and memory around it.

use super::*;

/// An address where a valid span lies; nothing else can be read.
const SPAN: u64 = 0x5000;
const CODE_END: u64 = 0x9000;

/// Code that ends just before the `syscall`, and arguments.
#[track_caller]
fn check(code: &[u8], arguments: [u64; 4], want: u64) {
    let [rdi, rsi, rdx, r10] = arguments;
    let found = Registers {
        rip: CODE_END + 2,
        orig_rax: RESTART_SYSCALL,
        rax: (-516_i64).cast_unsigned(),
        rdi,
        rsi,
        rdx,
        r10,
        ..Registers::default()
    };
    let read = |at: u64, into: &mut [u8]| {
        into.fill(0x90);
        match at {
            SPAN => into.fill(0),
            _ if at + into.len() as u64 == CODE_END => {
                let from = into.len() - code.len();
                into[from..].copy_from_slice(code);
            }
            _ => return false,
        }
        true
    };
    let told = registers(found, read);
    assert_eq!(told.rax, want);
    assert_eq!(told.interrupted_call(), None);
    let rip = if want == EINTR { CODE_END + 2 } else { CODE_END };
    assert_eq!(told.rip, rip);
}

/// `mov eax, number`, and some code behind it.
fn load(number: u8) -> Vec<u8> {
    vec![LOAD_NUMBER, number, 0, 0, 0, 0x45, 0x31, 0xc0]
}

#[test]
fn a_wait_whose_code_and_arguments_agree_is_recognised() {
    check(&load(7), [0, 0, 1000, 0], POLL);
    check(&load(35), [SPAN, 0, 0, 0], NANOSLEEP);
    check(&load(230), [1, 0, SPAN, 0], CLOCK_NANOSLEEP);
    check(&load(202), [SPAN, 128, 0, SPAN], FUTEX);
    check(&load(202), [SPAN, 9 | 256, 0, SPAN], FUTEX);
}

#[test]
fn the_nearest_number_counts() {
    check(&[load(35), load(230)].concat(), [1, 0, SPAN, 0], CLOCK_NANOSLEEP);
}

#[test]
fn a_wait_that_is_not_certain_ends_as_by_a_signal() {
    check(&[0x90; 8], [SPAN, 0, 0, 0], EINTR);
    check(&load(35), [0x6000, 0, 0, 0], EINTR);
    check(&load(230), [1, 1, SPAN, 0], EINTR);
    check(&load(202), [SPAN, 1, 0, SPAN], EINTR);
    check(&load(202), [SPAN, 128, 0, 0], EINTR);
    check(&load(7), [0x6000, 2, 0, 0], EINTR);
    // A call that is never gone on with so.
    check(&load(0), [0, 0, 0, 0], EINTR);
}
