//! The number of a process, so that it is not mistaken for another number.

use std::fmt;

/// A process as the kernel numbers it in our pid namespace. Numbers are used again once a process
/// was waited for; who needs certainty holds a pidfd.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Pid(pub i32);

impl Pid {
    /// The calling process.
    pub fn own() -> Self {
        Self(nix::unistd::getpid().as_raw())
    }

    /// Who started (or adopted) the calling process; 0 if that is outside our pid namespace.
    pub fn parent() -> Self {
        Self(nix::unistd::getppid().as_raw())
    }
}

impl fmt::Display for Pid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
