//! Regions: named arrays of versioned pages that programs share.
//!
//! ```text
//! client, on its control connection          node
//!   REGION_CREATE        ->
//!                        <-  REGION_CREATED
//!   REGIONS_ASK          ->
//!                        <-  REGIONS                      what regions are here
//!   REGION_DROP          ->
//!                        <-  REGION_DROPPED
//!
//! client, on a connection of purpose Memory: one region, one session
//!   ATTACH               ->
//!                        <-  ATTACHED
//!   REQUEST n            ->                               many may be under way; n rises
//!                        <-  ANSWER n                      in whatever order they are done
//!                        <-  CHANGED n                     to the watch that REQUEST n began
//!                        <-  RECALL                        of a coherent page
//! ```
//!
//! A *session* is one opened region of one client. It outlives its connection for as long as a lease:
//! who comes back with the same number finds its locks held, and is told what became of requests
//! whose answers were lost. A request keeps its number when it is sent again, and is carried out once.
//!
//! Elsewhere: what the requests mean (`logic::regions`), the seed's protocol (`netmem`).

use serde::{Deserialize, Serialize};

use crate::name::Name;
use crate::units::Span;

/// Names a region for good: one that is made anew under an old name has another.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct RegionId(pub u64);

/// Names a session. Drawn by its client, unguessable.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct SessionId(pub u64);

/// A page of a region, from 0.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct PageNo(pub u64);

/// The version of a page: 1 where nothing was ever written, and each commit has a higher one. 0 is
/// nobody's.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct Version(pub u64);

/// What a lock was granted with. It rises with every grant of its region, also over starts of the
/// node, so whoever holds an older one is known to have lost its lock.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct Token(pub u64);

/// What is left of a region's commits when its node dies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Durability {
    /// Nothing: the region ends with its node.
    #[default]
    None,
    /// All but those of the last moments.
    Async,
    /// Each is on the disk before it is answered.
    Sync,
    /// Each is in etcd before it is answered; another node takes over.
    Replicated,
}

/// Who may use a region.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Audience {
    /// Every client of the cluster.
    #[default]
    Cluster,
    /// Its owner, and admins.
    Owner,
}

/// How pages are used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Style {
    /// By requests: reads, updates, locks, transactions.
    #[default]
    Transactional,
    /// Through memory that several processes map: each page has one writer or many readers.
    Coherent,
}

/// What a region is, from its making.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Create {
    pub name: Name,
    /// Bytes of a page: from `PAGE_SIZE_MIN` to `PAGE_SIZE_MAX`, a power of two.
    pub page_size: u32,
    pub pages: u64,
    pub durability: Durability,
    pub style: Style,
    pub audience: Audience,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Created {
    pub result: Result<About, Refusal>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Drop {
    pub name: Name,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dropped {
    pub result: Result<(), Refusal>,
}

/// The regions of a node that the asker may use, by name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Regions {
    pub regions: Vec<About>,
    /// Regions that did not fit.
    pub more: u32,
}

/// A region as its node sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct About {
    pub id: RegionId,
    pub name: Name,
    pub owner: Name,
    pub page_size: u32,
    pub pages: u64,
    pub durability: Durability,
    pub style: Style,
    pub audience: Audience,
    /// Pages that were ever written: only they take memory.
    pub written: u64,
    /// Commits so far: the number of the latest.
    pub sequence: u64,
    pub sessions: u32,
    pub watches: u32,
    /// Locks that are held, and requests that wait for one.
    pub locks: u32,
    pub waiting: u32,
    /// Coherent pages that went from one session to another.
    pub moves: u64,
}

/// Opens a session, or comes back to one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attach {
    pub region: Name,
    pub session: SessionId,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attached {
    pub result: Result<Admission, Refusal>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Admission {
    pub about: About,
    /// The session was here: its requests that were carried out are known, and its locks held unless
    /// the region was opened anew since.
    pub resumed: bool,
    /// Rises each time the region is opened by a node: locks of earlier times are lost.
    pub epoch: u64,
    /// A session that is not heard of for so long loses its locks.
    pub lease: Span,
}

/// One request of a session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ask {
    /// Every request with a lower number was answered: what became of them need not be kept.
    pub answered: u64,
    pub request: Request,
}

/// What is asked of a region. `+ bytes`: the rest of the frame.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Request {
    /// The last committed bytes, without waiting for any lock. `Unchanged`, `Page`.
    Read { page: PageNo, known: Version },
    /// The page alone, in the order of asking; `Locked`, or `Busy` after `wait` (none: however
    /// long). `Locked` has the bytes unless their version is `known`. In a coherent region: a lock
    /// of that number, without any bytes.
    Lock { page: PageNo, known: Version, wait: Option<Span> },
    /// Gives a lock back. `Committed` with bytes, `Released` without.
    Unlock { page: PageNo, token: Token, commit: Commit },
    /// `+ bytes`: Writes them from `offset` on, when nobody has the lock. `Committed`; `Conflict`
    /// where the version is not `if_version`. The new version is at least `at_least` (0: any).
    Update { page: PageNo, offset: u32, if_version: Option<Version>, at_least: Version },
    /// `+ bytes` of all writes, one after the other: all of them at once, if every page that was read
    /// still has its version. `Transacted` or `Conflict`.
    Transact { reads: Vec<(PageNo, Version)>, writes: Vec<Write> },
    /// To be told of commits to these pages, those that grow there too, from the commit after `from`
    /// on (none: from now on). `Watching`, then `CHANGED` under this request's number until `Unwatch`.
    Watch { first: PageNo, count: u64, from: Option<u64> },
    /// `Done`.
    Unwatch { watch: u64 },
    /// The latest `CHANGED` of a watch was read: the next may be sent. No answer.
    Seen { watch: u64 },
    /// To so many pages altogether; never fewer. `Grown`.
    Grow { pages: u64 },
    /// `Stat`.
    Stat,
    /// The pages with most traffic. `Hot`.
    Hot { count: u32 },
    /// Waits until so many have arrived at the barrier. `Arrived`.
    Arrive { barrier: u64, parties: u32 },
    /// Ends the waiting of a `Lock` or an `Arrive`, which is answered `Busy` if it still waited.
    /// `Done`.
    Withdraw { request: u64 },
    /// The session is there. `Done`.
    Renew,
    /// A coherent page. `has`: the version of the copy that is here, 0 for none. `Granted`.
    Fetch { page: PageNo, access: Access, has: Version },
    /// `+ bytes`, if they may have changed: Gives back a coherent page, or what is more than `kept` of
    /// it. `version`: of the copy; if there is none, the one that was recalled. No answer.
    Yielded { page: PageNo, kept: Access, version: Version },
    /// The session is over: its locks are free. `Done`.
    Detach,
    /// To be able to read these pages as they are now, whatever is committed from now on.
    /// `Snapshot`; it has this request's number.
    BeginSnapshot { first: PageNo, count: u64 },
    /// A page as it was when the snapshot began. `Page`.
    ReadSnapshot { snapshot: u64, page: PageNo },
    /// `Done`.
    EndSnapshot { snapshot: u64 },
}

/// What to do with the bytes of a page whose lock is given back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Commit {
    /// They are as they were.
    Nothing,
    /// `+ bytes`: These take the place of those from `offset` on.
    Bytes { offset: u32 },
    /// They are as they were, and nobody waits for the answer: it comes along with the next.
    Unawaited,
}

/// One write of a transaction: so many bytes of the request's, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Write {
    pub page: PageNo,
    pub offset: u32,
    pub length: u32,
}

/// What a session may do with a coherent page.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Access {
    Nothing,
    Read,
    Write,
}

/// What becomes of a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Answer {
    Unchanged {
        version: Version,
    },
    /// `+ bytes`
    Page {
        version: Version,
    },
    /// `+ bytes`, unless the version is the one that was known
    Locked {
        token: Token,
        version: Version,
    },
    Busy,
    Committed {
        version: Version,
    },
    Released,
    /// The new version of each page that was written, in the order of the first writes.
    Transacted {
        versions: Vec<Version>,
    },
    /// `+ bytes` of the pages, as many of the first as fit: Nothing was written, since these have other
    /// versions than those that were named.
    Conflict {
        pages: Vec<(PageNo, Version)>,
    },
    Watching {
        sequence: u64,
    },
    Grown {
        pages: u64,
    },
    Stat(Box<About>),
    Hot(Vec<HotPage>),
    Arrived {
        round: u64,
    },
    Done,
    /// `+ bytes`, unless those of the copy that is there are right. To read: of this version. To write:
    /// what is written has this version, and the bytes are of the one before. `hold`: the page stays
    /// at least so long, whatever is recalled.
    Granted {
        access: Access,
        version: Version,
        hold: Span,
    },
    Refused(Refusal),
    /// All commits up to this one are in the snapshot.
    Snapshot {
        sequence: u64,
    },
}

/// A page with traffic.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HotPage {
    pub page: PageNo,
    /// Commits; for a coherent page, how often it went from one session to another.
    pub traffic: u64,
    /// Requests that wait for it.
    pub waiting: u32,
    /// Who has its lock, or its bytes: who they are, as far as certificates say, and their session.
    pub holders: Vec<(Name, SessionId)>,
}

/// Tells a watch what was committed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Changed {
    /// Of the latest commit that is told here.
    pub sequence: u64,
    pub what: Changes,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Changes {
    /// Each page once, with its latest version.
    Pages(Vec<(PageNo, Version)>),
    /// More than could be kept: whatever is known of the watched pages may be old.
    Resync,
}

/// Asks a session for a coherent page.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recall {
    pub page: PageNo,
    /// What it may keep.
    pub keep: Access,
    /// The copy that is meant: a session may have got another since.
    pub version: Version,
}

/// Why a request cannot be carried out. Nothing was changed by it, and the connection stays usable.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Refusal {
    NoSuchRegion,
    /// There is one of this name.
    Exists,
    /// It is its owner's alone.
    NotYours,
    NoSuchPage {
        page: PageNo,
        pages: u64,
    },
    /// Bytes from `offset` on go beyond the page, or are not as many as were announced.
    WrongLength {
        offset: u64,
        length: u64,
        max: u64,
    },
    /// The lock was lost, or never held.
    StaleToken {
        page: PageNo,
    },
    /// The page never had so high a version.
    VersionAhead {
        page: PageNo,
        version: Version,
    },
    /// That is not done in a region of this style.
    WrongStyle {
        style: Style,
    },
    /// A number is out of the bounds that `wire::limits` sets.
    OutOfBounds {
        what: Bound,
        value: u64,
        max: u64,
    },
    /// Nothing of that number is here: a watch, a request.
    NoSuchNumber {
        number: u64,
    },
    /// The barrier was begun for another number of parties.
    OtherParties {
        parties: u32,
    },
    /// Where the region is kept, or should be, fails; in words.
    Unkept {
        reason: String,
    },
    /// This node cannot keep regions of this durability, or not at present; in words.
    NoVault {
        reason: String,
    },
    /// Faults are about pages of `COHERENT_PAGE` bytes: a coherent region has no other.
    NotMappable {
        page_size: u32,
    },
}

/// What may be out of bounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Bound {
    PageSize,
    Pages,
    Regions,
    Sessions,
    Requests,
    Watches,
    TransactionPages,
    TransactionBytes,
    Version,
    Barriers,
    Memory,
    Locks,
    Waiting,
    Parties,
    Snapshots,
}
