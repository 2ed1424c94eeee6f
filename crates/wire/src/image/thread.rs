//! What belongs to one thread.

use serde::{Deserialize, Serialize};

use super::host::Architecture;
use super::process::SignalInfo;
use super::text::Text;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Thread {
    pub tid: i32,
    pub name: Text,
    pub registers: Registers,
    pub signal_mask: u64,
    pub pending: Vec<SignalInfo>,
    pub alternate_stack: AlternateStack,
    pub rseq: Option<Rseq>,
    pub robust_list: Option<RobustList>,
    /// Where the kernel clears the thread's number when it ends; 0 for nowhere.
    pub clear_tid: u64,
    /// Nanoseconds by which the kernel may wake it late, to wake it with others; 0 where that is not for it to say.
    pub timer_slack: u64,
    /// How far it stands back behind others, or before them where it is negative.
    pub nice: i8,
    /// The thread that called `telefork`, if one did: it learns which copy it is.
    pub caller: Option<Caller>,
}

/// Registers as the kernel's `ptrace` gives and takes them. Only who knows the architecture looks
/// inside.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Registers {
    pub architecture: Architecture,
    /// `NT_PRSTATUS`.
    pub general: Vec<u8>,
    /// `NT_X86_XSTATE`, or `NT_PRFPREG` and what follows it.
    pub extended: Vec<u8>,
}

/// As `sigaltstack` knows it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AlternateStack {
    pub pointer: u64,
    pub flags: u32,
    pub size: u64,
}

/// A registered restartable sequence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rseq {
    pub pointer: u64,
    pub size: u32,
    pub signature: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RobustList {
    pub head: u64,
    pub length: u64,
}

/// Where the instance number goes when a copy wakes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Caller {
    /// Its offset in `Registers::general`, in bytes.
    pub register: u32,
}
