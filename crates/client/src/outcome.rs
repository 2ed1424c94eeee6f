//! What comes of a task: an output, or a failure that says why.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use logic::Payload;
use logic::dispatch::{End, Outcome};
use wire::name::{Name, TaskName};
use wire::task::Status;

/// What a task returned. Derefs to its bytes.
#[derive(Clone, Debug)]
pub struct Output {
    bytes: Bytes,
    node: Option<Arc<Name>>,
    /// Where it ran, if that was no node of a cluster.
    worker: Option<Arc<str>>,
    attempt: u32,
    ran: Duration,
}

impl Output {
    /// Of a worker of protocol v1; `ran` is what passed between question and answer.
    pub(crate) fn of_worker(bytes: Bytes, worker: Arc<str>, attempt: u32, ran: Duration) -> Self {
        Self { bytes, node: None, worker: Some(worker), attempt, ran }
    }

    /// The bytes, without a copy.
    pub fn into_bytes(self) -> Bytes {
        self.bytes
    }

    /// The node that it ran on.
    pub fn node(&self) -> &str {
        let worker = || self.worker.as_deref().unwrap_or_default();
        self.node.as_ref().map_or_else(worker, |name| name.as_str())
    }

    /// Which attempt succeeded; 1 is the first.
    pub fn attempt(&self) -> u32 {
        self.attempt
    }

    /// Time in the worker.
    pub fn ran(&self) -> Duration {
        self.ran
    }
}

impl Deref for Output {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        &self.bytes
    }
}

impl AsRef<[u8]> for Output {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

/// A task that did not succeed.
#[derive(Clone, Debug)]
pub struct Failure {
    /// The reason, as the node saw it; never a guess.
    pub why: Why,
    /// The node that it ran on last.
    pub node: Option<String>,
    /// The last attempt; 1 is the first.
    pub attempt: u32,
    /// Time in the worker.
    pub ran: Duration,
    /// The task's name, as `JOB.TASK`: what `farcall why` asks for. Jobs of a [`Crew`](crate::Crew) have
    /// none.
    pub task: Option<TaskName>,
}

/// Why a task failed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Why {
    /// The program returned a code other than 0, with this output.
    ExitCode {
        /// The code.
        code: i32,
        /// What it returned all the same.
        output: Bytes,
    },
    /// A signal ended it.
    Signal {
        /// The signal's number.
        signal: i32,
        /// The last lines of its standard error.
        stderr: String,
    },
    /// It ended its process by itself.
    Exited {
        /// The exit status.
        code: i32,
        /// The last lines of its standard error.
        stderr: String,
    },
    /// It used more memory than it was allowed.
    OutOfMemory {
        /// Bytes at its peak.
        peak: u64,
        /// Bytes allowed.
        limit: u64,
    },
    /// It ran longer than it was allowed.
    TimeLimit {
        /// Time allowed.
        limit: Duration,
    },
    /// Its node was lost, and it could not be tried again.
    NodeLost,
    /// Its worker was lost through no fault of its own, and it could not be tried again.
    WorkerLost {
        /// What happened.
        reason: String,
    },
    /// No node was there for 30 seconds.
    NoNode,
    /// The caller cancelled it.
    Cancelled,
    /// The program cannot be used.
    Refused {
        /// Why not.
        reason: String,
    },
    /// A worker of protocol v1 could not run it.
    Reported {
        /// In its own words.
        reason: String,
    },
    /// The program broke the contract of a compute core.
    Broken {
        /// How.
        reason: String,
    },
    /// This process is a copy of the one that asked, which has the answer.
    Copied,
    /// This process is a copy, and could not link to the cluster by itself.
    Unlinked {
        /// Why not; next step.
        reason: String,
    },
}

impl Why {
    /// One or two words, the same for all failures of a kind: to group by.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::ExitCode { .. } => "exit code",
            Self::Signal { .. } => "signal",
            Self::Exited { .. } => "exited",
            Self::OutOfMemory { .. } => "out of memory",
            Self::TimeLimit { .. } => "time limit",
            Self::NodeLost => "node lost",
            Self::WorkerLost { .. } => "worker lost",
            Self::NoNode => "no node",
            Self::Cancelled => "cancelled",
            Self::Refused { .. } => "refused",
            Self::Reported { .. } => "worker's error",
            Self::Broken { .. } => "broken contract",
            Self::Copied => "copied",
            Self::Unlinked { .. } => "unlinked",
        }
    }
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ExitCode { code, .. } => write!(f, "it returned {code}"),
            Self::Signal { signal, stderr } => {
                write!(f, "signal {signal} ended it{}", Lines(stderr))
            }
            Self::Exited { code, stderr } => {
                write!(f, "it called exit({code}){}", Lines(stderr))
            }
            Self::OutOfMemory { peak, limit } => {
                write!(f, "out of memory: it used {peak} of {limit} bytes")
            }
            Self::TimeLimit { limit } => write!(f, "it ran longer than {limit:?}"),
            Self::NodeLost => f.write_str("its node was lost"),
            Self::WorkerLost { reason } => write!(f, "its worker was lost: {reason}"),
            Self::NoNode => f.write_str("no node was there for 30 seconds"),
            Self::Cancelled => f.write_str("it was cancelled"),
            Self::Refused { reason } => write!(f, "refused: {reason}"),
            Self::Reported { reason } => f.write_str(reason),
            Self::Broken { reason } => write!(f, "it broke its contract: {reason}"),
            Self::Copied => f.write_str(COPIED),
            Self::Unlinked { reason } => write!(f, "{UNLINKED}: {reason}"),
        }
    }
}

/// What is said in a copy of whatever its original had under way.
pub(crate) const COPIED: &str =
    "this process is a copy of the one that asked, and the answer is that one's; ask again";
/// What is said in a copy of its clusters, before the reason.
pub(crate) const UNLINKED: &str = "this copy of a client cannot link to the cluster by itself";

impl Failure {
    pub(crate) fn of_copy(why: Why) -> Self {
        Self { why, node: None, attempt: 1, ran: Duration::ZERO, task: None }
    }
}

/// The last lines of a program's standard error, if there are any.
struct Lines<'a>(&'a str);

impl fmt::Display for Lines<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.trim_end() {
            "" => Ok(()),
            text => write!(f, "; its last words: {text}"),
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the task failed")?;
        if let Some(node) = &self.node {
            write!(f, " on {node}")?;
        }
        if self.attempt > 1 {
            write!(f, " at attempt {}", self.attempt)?;
        }
        write!(f, ": {}", self.why)
    }
}

impl std::error::Error for Failure {}

/// Puts an outcome in the caller's terms. `bytes` is the output's, wherever it lay.
pub(crate) fn settle(outcome: Outcome) -> Result<Output, Box<Failure>> {
    let Outcome { end, attempt, node, ran, name: task, spent: _ } = outcome;
    let ran = Duration::from(ran);
    let why = match end {
        End::Status { status: Status::Finished { code: 0 }, output: Payload::Inline(bytes) } => {
            return Ok(Output { bytes, node, worker: None, attempt, ran });
        }
        End::Status { status, output } => why(status, output),
        End::NodeLost => Why::NodeLost,
        End::NoNode => Why::NoNode,
    };
    Err(Box::new(Failure {
        why,
        node: node.map(|name| name.to_string()),
        attempt,
        ran,
        task: Some(task),
    }))
}

/// Why an attempt failed, if it did.
pub(crate) fn failure(end: &End) -> Option<Why> {
    match end {
        End::Status { status, .. } if status.is_success() => None,
        End::Status { status, output } => Some(why(status.clone(), output.clone())),
        End::NodeLost => Some(Why::NodeLost),
        End::NoNode => Some(Why::NoNode),
    }
}

fn why(status: Status, output: Payload) -> Why {
    match status {
        Status::Finished { code } => match output {
            Payload::Inline(output) => Why::ExitCode { code, output },
            Payload::Buffer { .. } | Payload::Stream => {
                unreachable!("a client has no shared buffers")
            }
        },
        Status::Crashed { signal, stderr } => Why::Signal { signal, stderr },
        Status::Exited { code, stderr } => Why::Exited { code, stderr },
        Status::OutOfMemory { peak, limit } => Why::OutOfMemory { peak, limit },
        Status::TimeLimit { limit } => Why::TimeLimit { limit: limit.into() },
        Status::Cancelled => Why::Cancelled,
        Status::Refused { reason } => Why::Refused { reason },
        Status::Broken { reason } => Why::Broken { reason },
        Status::WorkerLost { reason } => Why::WorkerLost { reason },
    }
}
