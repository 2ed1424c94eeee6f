//! The files of a job's record, and what stands in them.
//!
//! | file | what |
//! |---|---|
//! | `order.json` | what the job was told to do |
//! | `job.json` | how far it is; written anew every second or two, and at the end |
//! | `attempts` | the times of each attempt, 64 bytes each (`wire::record`) |
//! | `failures` | a line of JSON for each attempt that failed |
//! | `logs` | what tasks wrote: a line of JSON that says how many bytes follow, then these |
//! | `inputs/N` | inputs of failed tasks that cannot be had again |
//! | `lock` | locked while the job runs |

use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};

use client::Why;
use serde::{Deserialize, Serialize};

/// The shape of all this. Another number is another program's.
pub(crate) const FORMAT: u32 = 1;

pub(crate) const ORDER: &str = "order.json";
pub(crate) const JOB: &str = "job.json";
pub(crate) const ATTEMPTS: &str = "attempts";
pub(crate) const FAILURES: &str = "failures";
pub(crate) const LOGS: &str = "logs";
pub(crate) const INPUTS: &str = "inputs";
pub(crate) const LOCK: &str = "lock";

/// `job.json`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Job {
    pub(crate) format: u32,
    pub(crate) id: String,
    pub(crate) name: String,
    /// Milliseconds since 1970.
    pub(crate) started: u64,
    pub(crate) took_ms: u64,
    pub(crate) total: Option<u64>,
    pub(crate) done: u64,
    pub(crate) failed: u64,
    pub(crate) retried: u64,
    /// It came to its end, whatever became of its tasks.
    pub(crate) ended: bool,
    /// Where its nodes are, or were, reached.
    pub(crate) reach: Vec<String>,
    /// Names of nodes; attempts name them by their place here.
    pub(crate) nodes: Vec<String>,
    /// What is missing from this record, and why.
    pub(crate) gaps: Vec<String>,
}

/// A line of `failures`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Failed {
    pub(crate) task: u64,
    pub(crate) attempt: u32,
    /// There was another attempt.
    pub(crate) again: bool,
    pub(crate) node: Option<String>,
    pub(crate) worker: u32,
    pub(crate) cause: Cause,
}

/// Why an attempt failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub(crate) enum Cause {
    ExitCode { code: i32, said: String },
    Signal { signal: i32, stderr: String },
    Exited { code: i32, stderr: String },
    OutOfMemory { peak: u64, limit: u64 },
    TimeLimit { limit_ms: u64 },
    NodeLost,
    WorkerLost { reason: String },
    NoNode,
    Cancelled,
    Refused { reason: String },
    Broken { reason: String },
    Other { text: String },
}

/// Bytes of a failed task's answer that are kept.
const SAID_MAX: usize = 1024;

impl From<&Why> for Cause {
    fn from(why: &Why) -> Self {
        match why.clone() {
            Why::ExitCode { code, output } => {
                let said = &output[..output.len().min(SAID_MAX)];
                Self::ExitCode { code, said: String::from_utf8_lossy(said).into_owned() }
            }
            Why::Signal { signal, stderr } => Self::Signal { signal, stderr },
            Why::Exited { code, stderr } => Self::Exited { code, stderr },
            Why::OutOfMemory { peak, limit } => Self::OutOfMemory { peak, limit },
            Why::TimeLimit { limit } => Self::TimeLimit { limit_ms: limit.as_millis() as u64 },
            Why::NodeLost => Self::NodeLost,
            Why::WorkerLost { reason } => Self::WorkerLost { reason },
            Why::NoNode => Self::NoNode,
            Why::Cancelled => Self::Cancelled,
            Why::Refused { reason } => Self::Refused { reason },
            Why::Broken { reason } => Self::Broken { reason },
            other => Self::Other { text: other.to_string() },
        }
    }
}

/// The head of a piece of `logs`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Piece {
    pub(crate) task: u64,
    pub(crate) attempt: u32,
    pub(crate) node: Option<String>,
    /// Bytes left out before these.
    pub(crate) skipped: u64,
    /// Bytes that follow the line; then a newline.
    pub(crate) bytes: u64,
}

/// Where the records of all jobs are.
pub(crate) fn folder() -> PathBuf {
    crate::config::state_folder().join("jobs")
}

/// Where the record of one job is.
pub(crate) fn of(id: client::JobId) -> PathBuf {
    // A name of letters and digits: it stays in the folder.
    folder().join(id.to_string())
}

/// Whether a process writes this record just now.
pub(crate) fn is_running(record: &Path) -> bool {
    let lock = File::open(record.join(LOCK));
    lock.is_ok_and(|lock| matches!(lock.try_lock_shared(), Err(TryLockError::WouldBlock)))
}

/// Keeps a record from being removed as long as this lives. `None`: its job runs, which does as well.
pub(crate) fn hold(record: &Path) -> Option<File> {
    let lock = File::open(record.join(LOCK)).ok()?;
    lock.try_lock_shared().ok().map(|()| lock)
}

/// As long as this lives, nobody else begins to use the record. `None`: somebody does already.
pub(crate) fn lock_alone(record: &Path) -> Option<File> {
    let lock = File::options().read(true).write(true).open(record.join(LOCK)).ok()?;
    lock.try_lock().ok().map(|()| lock)
}
