//! What the author of a compute core writes: [`ComputeCore`], and [`Failure`] for its errors.

use std::error::Error;
use std::num::NonZeroI32;

/// A program that Farcall ships to other hosts and runs there, once per job.
///
/// One value serves many jobs, one after the other. Jobs run at the same time in several
/// processes, each with its own value. `Send` is asked for because a process may end, and drop
/// the value, on another thread than the one that made it.
pub trait ComputeCore: Send + Sized + 'static {
    /// Makes the core ready for its first job, and again after a job that panicked.
    fn new() -> Result<Self, Failure>;

    /// Runs one job. `input` may be used as scratch space; it starts at a multiple of 16 bytes.
    fn run(&mut self, input: &mut [u8]) -> Result<Vec<u8>, Failure>;
}

/// Why a job failed: an exit code other than 0, a message for the job's log, and an output if
/// there is one in spite of the failure.
///
/// Every `std::error::Error` becomes one through `?`, with exit code 1 and its message. As with
/// all types that do so, `Failure` is therefore not an `Error` itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// Reaches the caller as the exit code of the job.
    pub code: NonZeroI32,
    /// Written to standard error, if not empty.
    pub message: String,
    /// Reaches the caller together with the code.
    pub output: Vec<u8>,
}

impl Failure {
    /// A failure with this exit code and nothing else.
    ///
    /// # Panics
    /// If `code` is 0, which means success.
    pub const fn code(code: i32) -> Self {
        match NonZeroI32::new(code) {
            Some(code) => Self { code, message: String::new(), output: Vec::new() },
            None => panic!("exit code 0 means success, it cannot be a failure's"),
        }
    }

    /// A failure with exit code 1 and a message for the job's log.
    pub fn message(message: impl Into<String>) -> Self {
        Self { message: message.into(), ..Self::code(1) }
    }
}

impl<E: Error> From<E> for Failure {
    fn from(error: E) -> Self {
        let mut message = error.to_string();
        let mut cause = error.source();
        while let Some(error) = cause {
            message.push_str(": ");
            message.push_str(&error.to_string());
            cause = error.source();
        }
        Self::message(message)
    }
}
