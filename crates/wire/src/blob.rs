//! Blobs: immutable bytes named by their hash. Asked for before they are sent, so sent once.
//!
//! A large one that several nodes need leaves its client once and then goes from node to node:
//!
//! ```text
//! client         node a             node b
//!   LEND b   ->                                    b may fetch it from you
//!            <-  LENT permit
//!   FETCH a, permit        ->                      fetch it from a
//!                          <-  HELLO (Fetch)       b to a, with b's certificate and the permit
//!                PAYLOAD ...  ->
//!            <-                FETCHED
//! ```

use serde::{Deserialize, Serialize};

use crate::name::{Hash, Name};

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

/// The right of one node to fetch one blob from another, once and soon. Cannot be guessed.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Permit(pub [u8; 16]);

impl std::fmt::Debug for Permit {
    /// A secret is not for logs.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Permit")
    }
}

/// The node `to` may fetch this blob, as far as the speaker may use it himself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lend {
    pub hash: Hash,
    pub to: Name,
}

/// The answer to `Lend`; without a permit the blob is not here for this certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lent {
    pub hash: Hash,
    pub permit: Option<Permit>,
}

/// Get this blob from another node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fetch {
    pub hash: Hash,
    pub length: u64,
    pub from: Name,
    pub permit: Permit,
}

/// The answer to `Fetch`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fetched {
    pub hash: Hash,
    /// Why it did not come from there; the client may still send it.
    pub failed: Option<String>,
}
