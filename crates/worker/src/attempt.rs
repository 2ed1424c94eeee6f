//! Tells a task its attempt number, in the environment variable `FARCALL_ATTEMPT`.
//!
//! The variable is put into the environment once and its digits are overwritten in place: a core
//! may have started threads that read the environment, and nothing they hold ever moves.

use std::sync::atomic::{AtomicU8, Ordering};

const NAME: &[u8] = b"FARCALL_ATTEMPT=";
const DIGITS: usize = 10;

/// `NAME`, at most so many digits, a NUL.
static TEXT: [AtomicU8; NAME.len() + DIGITS + 1] =
    [const { AtomicU8::new(0) }; NAME.len() + DIGITS + 1];

pub(crate) struct Attempt(u32);

impl Attempt {
    /// Puts the variable into the environment of this process.
    pub(crate) fn in_environment() -> Self {
        for (place, byte) in TEXT.iter().zip(NAME) {
            place.store(*byte, Ordering::Relaxed);
        }
        let this = Self(0);
        this.write();
        // SAFETY: the string is static, NUL-terminated (the last byte is never written), and
        // mutable through its atomics, so libc may keep the pointer for ever.
        unsafe { libc::putenv(TEXT.as_ptr().cast_mut().cast()) };
        this
    }

    pub(crate) fn set(&mut self, attempt: u32) {
        if self.0 != attempt {
            self.0 = attempt;
            self.write();
        }
    }

    /// Writes the digits and a NUL after them.
    fn write(&self) {
        let digits = self.0.to_string();
        let bytes = digits.bytes().chain([0]);
        for (place, byte) in TEXT[NAME.len()..].iter().zip(bytes) {
            place.store(byte, Ordering::Relaxed);
        }
    }
}
