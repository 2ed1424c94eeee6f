//! Between a node and one of its workers, over pipes: the node's side of one task at a time.
//!
//! ```text
//! node                                      worker
//!   SETUP (program's file beside it)   ->
//!                                      <-   READY
//!   RUN RUN RUN …                      ->
//!                                      <-   DONE DONE DONE …     in the order of RUN
//! ```
//!
//! `RUN` and `DONE` are those of `task`; `channel` counts the worker's tasks from 0. Descriptors
//! travel on a Unix socket, in the order of the frames that announce them.
//!
//! Beside the pipes both sides share a *progress page*: the worker writes there how many tasks it
//! has started and since when, and the results it has not sent yet. So the node knows which task a
//! dead worker was at, and loses no result that was ready.

use serde::{Deserialize, Serialize};

use crate::task::Program;
use crate::units::Span;

/// The first message to a new worker.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Setup {
    pub program: Program,
    pub jail: Jail,
    /// The worker's own folder, the only one that it may write to.
    pub scratch: String,
    /// Memory that it may use, in bytes; 0 is no limit.
    pub memory: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Jail {
    None,
    /// `account`: the uid and gid to become, where the daemon is root.
    User {
        account: Option<u32>,
    },
    /// The process was started in namespaces of its own.
    Strict {
        account: Option<u32>,
    },
}

/// The worker's answer to `Setup`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Ready {
    Yes {
        /// What the jail could not do on this host, one line each.
        gaps: Vec<String>,
    },
    /// Why the program cannot be used.
    No { reason: String },
}

/// What happens to a shared buffer. Buffers hold payloads that are too large for a message: in a
/// `RUN` whose input is `Bulk` and a `DONE` whose output is `Bulk`, the inline bytes are the
/// buffer's number, u32 LE.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Buffer {
    /// Its descriptor comes on the Unix socket; from now on the number names it.
    Take { number: u32 },
    /// The result that the worker asked about with `Need` fits in this one.
    Lend { number: u32 },
    /// It will not be named again.
    Forget { number: u32 },
}

/// The worker's result of so many bytes needs a buffer to lie in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Need {
    pub bytes: u64,
}

/// Where things are in the progress page, in bytes.
pub mod progress {
    /// u64: tasks started so far.
    pub const STARTED: usize = 0;
    /// u64: when the last one was started, in nanoseconds of CLOCK_MONOTONIC; 0 between tasks.
    pub const SINCE: usize = 8;
    /// u64: bytes of results that lie at `RESULTS` and are not sent yet.
    pub const UNSENT: usize = 16;
    /// u64: rises whenever what lies at `RESULTS` was sent and its place is used anew. A reader
    /// that finds another number after copying than before has copied a mixture.
    pub const TURN: usize = 24;
    /// u64: how the worker ended, said by the first process of its pid namespace; 0 if that did
    /// not say. See `END_CODE` and `END_SIGNAL`.
    pub const END: usize = 32;
    /// With the exit code below it.
    pub const END_CODE: u64 = 1 << 32;
    /// With the signal below it.
    pub const END_SIGNAL: u64 = 2 << 32;
    /// Frames, as they will be sent.
    pub const RESULTS: usize = 64;
    /// Bytes of the whole page.
    pub const SIZE: usize = 64 * 1024;
}

/// How long a worker may hold back a finished result for the sake of a fuller batch.
pub const HOLD_BACK: Span = Span::from_micros(50);
