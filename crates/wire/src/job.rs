//! Jobs: what their tasks are called, what clients say of them, and what nodes answer when asked.
//!
//! ```text
//! client                                    node
//!   JOB                  ->                               how far it is: when that changed, and at
//!                                                         most once a second
//!                        <-  LOG                          what a task wrote to its standard error
//!   WHY_ASK              ->
//!                        <-  WHY                          what the node knows of one task
//!   JOBS_ASK             ->
//!                        <-  JOBS                         what clients have said of their jobs
//! ```
//!
//! Elsewhere: a task's own way (`task`).

use serde::{Deserialize, Serialize};

use crate::name::{JobId, Name, TaskName};
use crate::task::{Status, Times};
use crate::units::Span;

/// How far a job is, in its client's words.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Job {
    pub id: JobId,
    /// For people. At most `PROGRAM_NAME_MAX` bytes.
    pub name: String,
    /// Tasks that wait at the client.
    pub queued: u64,
    /// The first of these, by its number; 0 where none waits.
    pub next: u64,
    /// Tasks that are at nodes.
    pub running: u64,
    pub done: u64,
    pub failed: u64,
    /// Attempts that were not the last of their task.
    pub retried: u64,
    pub wait: Wait,
    /// No more tasks will come.
    pub closed: bool,
}

/// What the tasks that wait at a client wait for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Wait {
    Nothing,
    /// No node is up.
    Nodes,
    /// Nodes are up, and have all the tasks that they take for now.
    Credits,
    /// The program is being sent.
    Program,
}

/// A job as a node heard of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Heard {
    pub job: Job,
    pub owner: Name,
    /// Its client still has a link to this node.
    pub attached: bool,
    /// How long ago the client said so.
    pub ago: Span,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Jobs {
    /// The latest first.
    pub jobs: Vec<Heard>,
    /// Jobs that did not fit.
    pub more: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WhyAsk {
    pub name: TaskName,
}

/// What a node knows of a task.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Why {
    pub name: TaskName,
    pub now: Now,
    /// Attempts that ended here, the latest first; not all, if it was long ago.
    pub ended: Vec<Ended>,
    /// What its client said of its job.
    pub job: Option<Heard>,
}

/// Where a task is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Now {
    /// Not here.
    Absent,
    /// Its input is on the way.
    Arriving { since: Span },
    /// It waits for a slot. `before`: tasks of the same client and program that go first.
    Waiting { since: Span, before: u32, hold: Hold },
    /// A worker has it, and `before` tasks that go first; 0 is running.
    Working {
        since: Span,
        before: u32,
        ran: Span,
        worker: u32,
        pid: u32,
        memory: u64,
        attempt: u32,
    },
}

/// Why a task has no slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Hold {
    /// So many workers are loading its program.
    Loading { workers: u32 },
    /// All slots have tasks: so many of the same owner, so many of others.
    Busy { slots: u32, own: u32, others: u32 },
}

/// One attempt that ended at a node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ended {
    pub attempt: u32,
    pub status: Status,
    pub ran: Span,
    pub times: Times,
    pub ago: Span,
}

/// What a task wrote to its standard error; the bytes follow the head.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Log {
    pub name: TaskName,
    pub attempt: u32,
    /// Bytes that were left out before these, since there were too many.
    pub skipped: u64,
}
