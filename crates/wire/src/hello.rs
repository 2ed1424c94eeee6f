//! How a connection begins: the version exchange, then who is there and what the connection is for.
//!
//! ```text
//! dialler                                   listener
//!   VERSION 2            ->
//!   HELLO                ->
//!                        <-  VERSION accepted
//!                        <-  WELCOME            (or GOODBYE with the reason)
//! ```
//!
//! The dialler sends both of its frames at once: a connection costs one round trip after TLS.

use serde::{Deserialize, Serialize};

use crate::blob::Permit;
use crate::name::{Hash, Name};
use crate::visit::Entry;

/// The version of this protocol. Version 1 is the worker socket protocol of 2019.
pub const VERSION: u32 = 2;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// The program and its version, for people: `farcall 0.1.0`.
    pub agent: String,
    /// What the dialler calls itself. Trust comes from the certificate, not from here.
    pub name: Name,
    pub purpose: Purpose,
}

/// What a connection is for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Purpose {
    /// The control connection of a client's link.
    Client,
    /// The control connection of a link between nodes; the dialler's own listening addresses.
    Node { member: crate::member::Member },
    /// One more connection of a link that is up, for payloads.
    Bulk { link: u64 },
    /// A stranger with a token.
    Join,
    /// A node that fetches one blob from another; the connection carries that and nothing else.
    Fetch { hash: Hash, permit: Permit },
    /// A client's connection for one region; `ATTACH` says which.
    Memory,
    /// A client's connection for one process that moves here; behind the greeting it is the pad's.
    Visit { entry: Entry },
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Welcome {
    pub agent: String,
    pub node: Name,
    /// Names the link when a bulk connection is added to it. Unguessable.
    pub link: u64,
    pub slots: u32,
}

/// Why a link ends; the last words of either side.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Goodbye {
    /// Nothing is wrong: the speaker leaves. A node that says so takes no more tasks, and closes
    /// when those it has are done.
    Leaving,
    Version {
        speaks: u32,
    },
    /// The certificate does not allow what was asked.
    Forbidden {
        reason: String,
    },
    /// The other side broke the protocol.
    Protocol {
        reason: String,
    },
    Full {
        reason: String,
    },
    /// What was asked for is not here, and nothing of it runs.
    Absent {
        reason: String,
    },
    /// What was asked for ran here, and is no more.
    Over {
        reason: String,
    },
}
