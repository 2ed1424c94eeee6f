//! Blobs: immutable bytes named by their hash. Asked for before they are sent, so sent once.

use serde::{Deserialize, Serialize};

use crate::name::Hash;

/// Have you got it? Answered truthfully only for blobs that this certificate may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Have {
    pub hash: Hash,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Known {
    pub hash: Hash,
    pub here: bool,
}

/// A blob follows: inline after this head when small, otherwise as a payload of the same channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Put {
    pub hash: Hash,
    pub length: u64,
}

/// The answer to `Put`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stored {
    pub hash: Hash,
    /// Why it is not stored.
    pub refused: Option<String>,
}
