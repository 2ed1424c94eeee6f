//! One task's way: defining a program, credits, running, streams, cancelling, taking back.
//!
//! `channel` in the header names the task on its link; the client chooses it and never uses it
//! again. A task is a pair of byte streams and a status: an input and an output that are small
//! travel in `Run` and `Done` themselves, large ones as `PAYLOAD` frames of a bulk connection,
//! and streams as `DATA`/`END`.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::name::{Hash, TaskName};
use crate::units::Span;

/// Gives a program a number, for the rest of the link. Not answered: a program that cannot be used
/// is refused at its first task.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Define {
    pub number: u32,
    pub program: Program,
    /// Memory that a worker of this program may use, in bytes; 0 is no limit.
    pub memory: u64,
}

/// What can run.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Program {
    /// A compute core: a shared library with the three symbols of its API v1.
    Core {
        library: Hash,
        /// For people, in messages and lists. Never a path.
        name: String,
    },
}

impl Program {
    pub fn name(&self) -> &str {
        let Self::Core { name, .. } = self;
        name
    }
}

/// How many tasks the client may have sent on this link, counted from its beginning. It only grows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Credit {
    pub limit: u64,
}

/// A task, sent on a credit. The inline input follows the head.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Run {
    pub head: RunHead,
    pub inline: Bytes,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunHead {
    pub program: u32,
    /// 1 for the first attempt. The task may ask for it (`FARCALL_ATTEMPT`).
    pub attempt: u32,
    /// How long it may run once started; 0 is no limit.
    pub deadline: Span,
    pub input: Input,
    /// What it is called, for those who ask why.
    pub name: TaskName,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Input {
    /// In this message.
    Inline,
    /// So many bytes over a bulk connection.
    Bulk(u64),
    /// `DATA` frames until `END`.
    Stream,
}

/// How a task ended. The inline output follows the head.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Done {
    pub head: DoneHead,
    pub inline: Bytes,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DoneHead {
    pub status: Status,
    /// Time in the worker.
    pub ran: Span,
    pub output: Output,
    pub times: Times,
}

/// Where a task's time went before it ran, by the node's clock. A worker fills in `began` alone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Times {
    /// From its `RUN` until all of its input was here.
    pub transfer: Span,
    /// From then until it began.
    pub waited: Span,
    /// When it began: by CLOCK_MONOTONIC of a worker, since its own start of a node.
    pub began: Span,
    /// The worker that had it: no two attempts of one worker overlap.
    pub worker: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Output {
    Inline,
    /// So many bytes over a bulk connection.
    Bulk(u64),
    /// All of it was sent as `DATA` frames, closed by `END`.
    Stream,
}

/// Why a task ended. The node knows; it never guesses.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Status {
    /// The program ran and said so: 0 is success, the rest its own.
    Finished {
        code: i32,
    },
    /// A signal killed the worker while it ran this task.
    Crashed {
        signal: i32,
        stderr: String,
    },
    /// The program called `exit` inside the task.
    Exited {
        code: i32,
        stderr: String,
    },
    /// It used more memory than it was allowed.
    OutOfMemory {
        peak: u64,
        limit: u64,
    },
    /// It ran longer than it was allowed.
    TimeLimit {
        limit: Span,
    },
    Cancelled,
    /// The program could not be made ready, or may not run here. A retry elsewhere cannot help.
    Refused {
        reason: String,
    },
    /// The program broke its contract (a result of some length at NULL, for one).
    Broken {
        reason: String,
    },
    /// The node lost the worker through no fault of the task. A retry can help.
    WorkerLost {
        reason: String,
    },
}

impl Status {
    pub fn is_success(&self) -> bool {
        matches!(self, Self::Finished { code: 0 })
    }
}

/// Asks for unstarted tasks back, at most so many, those that would start last first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TakeBack {
    pub count: u32,
}

/// The tasks that are given back, never started; perhaps none.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Returned {
    pub channels: Vec<u64>,
}

/// So many more bytes of a stream may be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Window {
    pub bytes: u64,
}

/// One piece of a payload on a bulk connection: total length, where the piece belongs, the bytes.
///
/// ```text
/// total u64 LE | offset u64 LE | bytes
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PayloadHead {
    pub total: u64,
    pub offset: u64,
}

/// Bytes of a `PayloadHead`.
pub const PAYLOAD_HEAD: usize = 16;

impl PayloadHead {
    pub fn to_bytes(self) -> [u8; PAYLOAD_HEAD] {
        let mut bytes = [0; PAYLOAD_HEAD];
        bytes[..8].copy_from_slice(&self.total.to_le_bytes());
        bytes[8..].copy_from_slice(&self.offset.to_le_bytes());
        bytes
    }

    /// The head at the start of `input`, once all of it is there.
    pub fn peek(input: &[u8]) -> Option<Self> {
        let (total, rest) = input.split_first_chunk()?;
        let offset = rest.first_chunk()?;
        Some(Self { total: u64::from_le_bytes(*total), offset: u64::from_le_bytes(*offset) })
    }
}
