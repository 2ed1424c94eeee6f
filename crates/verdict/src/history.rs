//! What clients did, and what they saw.

use serde::{Deserialize, Serialize};

/// All that happened to one region.
#[derive(Clone, Debug, Default)]
pub struct History {
    pub page_size: usize,
    pub ops: Vec<Op>,
}

/// One operation of one client.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Op {
    /// For people: an operation may overlap with others of the same client.
    pub who: u64,
    pub begin: u64,
    /// When its outcome was known. None: nobody knows whether it took effect, or when.
    pub end: Option<u64>,
    pub act: Act,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Act {
    /// Pages as they were at one moment. A refused compare-and-set and a conflict are such, too.
    Read { pages: Vec<Fact> },
    /// Pages as they were at some moment before the end: from a cache, or told by a watch.
    Seen { pages: Vec<Fact> },
    /// An update, a compare-and-set, the commit of a guard or a transaction: at one moment the pages
    /// that were read had these versions, and the writes took place.
    Commit {
        reads: Vec<Fact>,
        writes: Vec<Put>,
        /// The new versions of the pages written, once each; empty if the outcome is unknown.
        versions: Vec<(u64, u64)>,
        /// Of the lock that it was done under.
        token: Option<u64>,
    },
    /// A lock was granted, and this was the page then. `queued`: when the request was known to wait
    /// in line, in any clock that all grants share.
    Grant { page: Fact, token: u64, queued: Option<u64> },
    /// A lock was given back, and had not been lost: with or without a commit.
    Release { page: u64, token: u64 },
}

/// A page was seen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fact {
    pub page: u64,
    pub version: u64,
    /// Unless only the version was told.
    pub bytes: Option<Vec<u8>>,
}

/// Bytes that were to take the place of others. They should occur in no other write, or less can be
/// told apart.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Put {
    pub page: u64,
    pub offset: usize,
    pub bytes: Vec<u8>,
}

impl Fact {
    pub fn new(page: u64, version: u64, bytes: &[u8]) -> Self {
        Self { page, version, bytes: Some(bytes.to_vec()) }
    }

    /// The version alone.
    pub fn bare(page: u64, version: u64) -> Self {
        Self { page, version, bytes: None }
    }
}

impl Put {
    pub fn new(page: u64, offset: usize, bytes: &[u8]) -> Self {
        Self { page, offset, bytes: bytes.to_vec() }
    }

    /// Writes into the page; nothing that goes beyond it.
    pub(crate) fn apply(&self, page: &mut [u8]) {
        let room = page.get_mut(self.offset..).unwrap_or_default();
        let length = room.len().min(self.bytes.len());
        room[..length].copy_from_slice(&self.bytes[..length]);
    }
}
