//! What belongs to a process as a whole.
//!
//! Numbers that the kernel defines (resources, clocks, flags of signal actions) are kept as the kernel
//! of the image's architecture numbers them.

use serde::{Deserialize, Serialize};

use super::host::BuildId;
use super::memory::FileIdentity;
use super::text::Text;
use crate::name::Hash;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Process {
    pub pid: i32,
    pub executable: Executable,
    /// For people; cut short if they are many. What the program itself reads lies in its memory.
    pub arguments: Vec<Text>,
    pub directory: Text,
    pub root: Text,
    pub umask: u32,
    pub limits: Vec<ResourceLimit>,
    pub marks: MemoryMarks,
    pub auxiliary: Vec<Auxiliary>,
    pub attributes: Attributes,
    /// Real, virtual and profiling: `setitimer`.
    pub interval_timers: [Timer; 3],
    pub timers: Vec<PosixTimer>,
    /// Those that are not the default, in the order of their signals.
    pub actions: Vec<SignalAction>,
    /// Pending for the process, not for one thread.
    pub pending: Vec<SignalInfo>,
    /// For people, and to say what a destination cannot give.
    pub credentials: Credentials,
    pub session: Session,
    pub clocks: Clocks,
    /// The signal that has stopped it, as a job is: it wakes stopped, and SIGCONT lets it go on. 0: it runs.
    pub stopped: u8,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Executable {
    pub path: Text,
    pub identity: FileIdentity,
    pub build_id: Option<BuildId>,
    /// Of the whole file, where somebody has computed it.
    pub hash: Option<Hash>,
}

/// `u64::MAX` is no limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResourceLimit {
    pub resource: u32,
    pub soft: u64,
    pub hard: u64,
}

/// Where the kernel believes the parts of a program to be: `prctl(PR_SET_MM_MAP)`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemoryMarks {
    pub code_start: u64,
    pub code_end: u64,
    pub data_start: u64,
    pub data_end: u64,
    pub break_start: u64,
    pub break_now: u64,
    pub stack_start: u64,
    pub arguments_start: u64,
    pub arguments_end: u64,
    pub environment_start: u64,
    pub environment_end: u64,
}

/// One entry of the auxiliary vector.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Auxiliary {
    pub key: u64,
    pub value: u64,
}

/// What `prctl` and `personality` have set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attributes {
    pub dumpable: u32,
    pub no_new_privileges: bool,
    pub child_subreaper: bool,
    /// 0 for none.
    pub parent_death_signal: u32,
    pub huge_pages_disabled: bool,
    pub personality: u32,
}

/// Nanoseconds; a `left` of 0 is a timer that does not run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Timer {
    pub interval: u64,
    pub left: u64,
}

/// A timer of `timer_create`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PosixTimer {
    pub id: i32,
    pub clock: i32,
    pub timer: Timer,
    pub overrun: u32,
    /// How it tells: `sigev_notify` with its signal, value, and the thread that is told.
    pub notify: i32,
    pub signal: u32,
    pub value: u64,
    pub thread: i32,
}

/// What a process does at a signal, as `rt_sigaction` knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignalAction {
    /// 1 to 64.
    pub signal: u8,
    pub handler: u64,
    pub flags: u64,
    pub restorer: u64,
    pub mask: u64,
}

/// A signal that waits: the kernel's `siginfo_t`, 128 bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignalInfo(pub Vec<u8>);

/// Numbers of users and groups: real, effective, saved, and of the file system.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Credentials {
    pub users: [u32; 4],
    pub groups: [u32; 4],
    pub further_groups: Vec<u32>,
    pub capabilities: u64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Session {
    pub session: i32,
    pub group: i32,
    pub leads_session: bool,
    pub leads_group: bool,
    /// The device number of the terminal that controls the session.
    pub terminal: Option<u64>,
    pub foreground: bool,
}

/// What the clocks said when the image was taken, in nanoseconds: a destination with time namespaces
/// lets them go on from here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Clocks {
    pub real: u64,
    pub monotonic: u64,
    pub boot: u64,
}
