//! What a node is doing, for `farcall status`.

use serde::{Deserialize, Serialize};

use crate::member::Member;
use crate::name::Name;
use crate::units::Span;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    pub node: Name,
    pub agent: String,
    pub up: Span,
    pub slots: u32,
    /// Processes that moved here; each takes one of the slots.
    pub visitors: u32,
    pub users: Vec<User>,
    pub workers: Vec<Worker>,
    pub blobs: u64,
    pub blob_bytes: u64,
    pub members: Vec<Member>,
}

/// One client's link.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct User {
    pub name: Name,
    pub running: u32,
    pub waiting: u32,
    pub done: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Worker {
    pub pid: u32,
    pub program: String,
    pub user: Name,
    /// Tasks that it has, the running one included.
    pub tasks: u32,
    pub done: u64,
}
