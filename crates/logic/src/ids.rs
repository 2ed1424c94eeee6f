//! Names of things that drivers hold and machines only speak of.

use bytes::Bytes;

/// A link of this process: an index in its driver's table, reused after the link is down.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LinkId(pub u32);

/// A worker of this node: given by `slots`, reused after the worker is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WorkerId(pub u32);

/// A process that moved to this node, or is on its way: counted from its start, never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct VisitId(pub u32);

/// A shared buffer of this node's driver.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BufferId(pub u32);

/// The bytes of an input or an output, wherever they lie. Machines pass them on unseen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Payload {
    Inline(Bytes),
    Buffer {
        buffer: BufferId,
        length: u64,
    },
    /// It comes, or goes, piece by piece.
    Stream,
}

impl Payload {
    pub fn empty() -> Self {
        Self::Inline(Bytes::new())
    }
}

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    Code(i32),
    Signal(i32),
    /// The kernel killed it for having more memory than it was allowed. In bytes.
    OutOfMemory {
        peak: u64,
        limit: u64,
    },
    /// The kernel killed it since others, too, had more memory than there was: all of them together
    /// may have `limit`, and it had `peak` itself. In bytes.
    HostOutOfMemory {
        peak: u64,
        limit: u64,
    },
}
