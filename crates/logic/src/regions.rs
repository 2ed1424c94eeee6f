//! The home side of shared memory: every region that lives on this node.
//!
//! ```text
//!   REQUEST --> session (asked before?) --> page, lock, transaction, watch --> ANSWER
//!                                                │ a commit
//!                                                ▼
//!                                      Keep(batch) --> vault --> Kept(sequence)
//! ```
//!
//! A commit is in force as soon as it is decided, so that what follows sees it at once. In a durable
//! region no answer leaves before all that it tells is kept: each waits for the sequence of the latest
//! commit that it has seen.
//!
//! Elsewhere: the client's side (`copy`, `mapped`), pages that are memory (`coherent`), bytes (`wire::region`), where pages outlive the node (crate
//! `vault`).

pub mod coherent;
pub mod mapped;
pub mod snapshots;

use bytes::Bytes;
use wire::Message;
use wire::name::Name;
use wire::region::{Answer, Attach, Create, Drop, PageNo, RegionId, SessionId, Version};
use wire::region::{Ask, Refusal};

use crate::LinkId;

#[derive(Debug)]
pub enum Event {
    /// On a client's control connection.
    Create {
        link: LinkId,
        channel: u64,
        owner: Owner,
        create: Create,
        id: RegionId,
    },
    Drop {
        link: LinkId,
        channel: u64,
        owner: Owner,
        drop: Drop,
    },
    RegionsAsk {
        link: LinkId,
        channel: u64,
        owner: Owner,
    },
    /// On a connection of purpose Memory, its first message.
    Attach {
        link: LinkId,
        owner: Owner,
        attach: Attach,
    },
    /// A peer of a protocol without sessions (`netmem`): one that lives and dies with its
    /// connection, and needs no lease.
    AttachBare {
        link: LinkId,
        region: Name,
    },
    Request {
        link: LinkId,
        channel: u64,
        ask: Ask,
        bytes: Bytes,
    },
    /// Bytes came from this link.
    Heard {
        link: LinkId,
    },
    Closed {
        link: LinkId,
    },
    /// A vault has made a region, or could not.
    Made {
        id: RegionId,
        result: Result<Epoch, Refusal>,
    },
    /// A vault has a region of this name and opened it here, or has none.
    Opened {
        name: Name,
        result: Result<Box<Opened>, Refusal>,
    },
    /// All commits of a region up to this one outlive the node.
    Kept {
        id: RegionId,
        sequence: u64,
    },
    /// A vault lost a region, or this node's right to it: nothing that waits for it can be answered.
    Lost {
        id: RegionId,
        reason: String,
    },
    Tick,
}

#[derive(Debug)]
pub enum Effect {
    Send {
        link: LinkId,
        channel: u64,
        message: Message,
    },
    /// After what is queued has been sent.
    Close {
        link: LinkId,
    },
    /// Make a region in a vault; `Made` follows.
    Make {
        id: RegionId,
        owner: Name,
        create: Create,
    },
    /// Look in the vaults for a region; `Opened` follows.
    Open {
        name: Name,
    },
    /// Forget it, in the vault too.
    Remove {
        id: RegionId,
    },
    /// Keep a commit, after those before it; `Kept` or `Lost` follows.
    Keep(Batch),
}

/// For whom something is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    pub name: Name,
    pub is_admin: bool,
}

/// Since when a region is open, and until when it may be used without hearing from its vault again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Epoch {
    /// Higher than whenever it was open before.
    pub number: u64,
}

/// A region as its vault gives it back.
#[derive(Clone, Debug)]
pub struct Opened {
    pub id: RegionId,
    pub owner: Name,
    pub create: Create,
    pub epoch: Epoch,
    /// Of the latest commit.
    pub sequence: u64,
    pub pages: u64,
    pub written: Vec<Written>,
    pub outcomes: Vec<Outcome>,
}

/// One commit, all of it or nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    pub region: RegionId,
    /// One higher than the commit before.
    pub sequence: u64,
    /// The region has so many pages now, if it grew.
    pub grown: Option<u64>,
    pub written: Vec<Written>,
    /// What became of the request, so that it is not carried out again after a restart.
    pub outcome: Option<Outcome>,
    /// Outcomes that nobody will ask for any more: of this session, up to this request.
    pub forgotten: Vec<(SessionId, u64)>,
}

/// All bytes of a page, and its version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    pub page: PageNo,
    pub version: Version,
    pub bytes: Bytes,
}

/// What became of a request that changed something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    pub session: SessionId,
    pub owner: Name,
    pub request: u64,
    pub answer: Answer,
}
