//! What a thread has in the kernel, beside its registers.

/// Signals that a thread does not take now: bit 0 is signal 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SignalMask(pub u64);

impl SignalMask {
    pub(super) const ALL: Self = Self(u64::MAX);

    /// The same but for one signal.
    pub(super) fn without(self, signal: i32) -> Self {
        Self(self.0 & !bit(signal))
    }

    pub fn contains(self, signal: i32) -> bool {
        self.0 & bit(signal) != 0
    }
}

fn bit(signal: i32) -> u64 {
    u32::try_from(signal - 1).ok().and_then(|at| 1_u64.checked_shl(at)).unwrap_or(0)
}

/// A signal that waits, as the kernel keeps it (`siginfo_t`): queued again, it is the same.
#[repr(C, align(8))]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SignalInfo(pub [u8; 128]);

impl SignalInfo {
    pub(super) const EMPTY: Self = Self([0; 128]);

    pub fn signal(&self) -> i32 {
        self.field(0)
    }

    /// Where it comes from (`si_code`).
    pub fn code(&self) -> i32 {
        self.field(8)
    }

    fn field(&self, at: usize) -> i32 {
        let mut bytes = [0; 4];
        bytes.copy_from_slice(&self.0[at..at + 4]);
        i32::from_ne_bytes(bytes)
    }
}

/// Signals that wait.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Pending {
    /// For this thread.
    pub thread: Vec<SignalInfo>,
    /// For any thread of the process.
    pub process: Vec<SignalInfo>,
}

/// Where a thread has registered for restartable sequences.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rseq {
    pub at: u64,
    pub len: u32,
    pub signature: u32,
}

/// The locks that are given back if a thread dies (`set_robust_list`); 0 where it has none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RobustList {
    pub head: u64,
    pub len: u64,
}
