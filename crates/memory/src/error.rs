//! Why shared memory cannot be used: one enum, each variant named for what happened, each message
//! with the region, the node and the next step.

use std::io;

use logic::link::Down;
use wire::region::{Bound, Refusal, Style};

/// Why an operation on a region failed. Unless [`Error::may_be_committed`] says otherwise, nothing was
/// changed by it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    // The caller.
    /// No node has a region of this name.
    #[error(
        "no node has a region `{region}`; make it with `farcall mem create {region} --pages N`"
    )]
    NoSuchRegion {
        /// The region.
        region: String,
    },
    /// Two nodes have a region of this name.
    #[error(
        "region `{region}` is on the nodes {nodes}; say which one is meant, as in `{region}@NODE`"
    )]
    Ambiguous {
        /// The region.
        region: String,
        /// The nodes, with commas between them.
        nodes: String,
    },
    /// A text is no name of a region.
    #[error("a region is named NAME or NAME@NODE")]
    Name {
        /// What is wrong with it.
        source: wire::name::NameError,
    },
    /// There is a region of this name.
    #[error("node {node} has a region `{region}` already; open it, or drop it first")]
    Exists {
        /// The region.
        region: String,
        /// Its node.
        node: String,
    },
    /// It is its owner's alone.
    #[error(
        "region `{region}` on node {node} is its owner's alone; \
         use the owner's credentials, or those of an admin"
    )]
    NotYours {
        /// The region.
        region: String,
        /// Its node.
        node: String,
    },
    /// The page is out of range.
    #[error(
        "region `{region}` has {pages} pages, so no page {page}; it can be made larger (`grow`)"
    )]
    NoSuchPage {
        /// The region.
        region: String,
        /// The page.
        page: u64,
        /// How many there are.
        pages: u64,
    },
    /// Bytes that go beyond the page.
    #[error(
        "{length} bytes from offset {offset} on do not fit in a page of region `{region}`, \
         which has {max}"
    )]
    WrongLength {
        /// The region.
        region: String,
        /// Where they were to begin.
        offset: u64,
        /// How many.
        length: u64,
        /// Bytes of a page.
        max: u64,
    },
    /// The page never had so high a version.
    #[error(
        "page {page} of region `{region}` never had version {version}; it may be of a region that \
         was here before: read the page anew"
    )]
    VersionAhead {
        /// The region.
        region: String,
        /// The page.
        page: u64,
        /// The version.
        version: u64,
    },
    /// That is not done in a region of this style.
    #[error("region `{region}` is {}", if *is_coherent {
        "coherent: its pages are used through memory (`map_coherent`), not by requests"
    } else {
        "not coherent: make one with `--coherent` to map it"
    })]
    WrongStyle {
        /// The region.
        region: String,
        /// It is coherent, and something else was asked for.
        is_coherent: bool,
    },
    /// A number is larger than Farcall allows.
    #[error("{what}: {value} is more than the {max} that node {node} takes for region `{region}`")]
    OutOfBounds {
        /// The region.
        region: String,
        /// Its node.
        node: String,
        /// What is too large.
        what: &'static str,
        /// How much it is.
        value: u64,
        /// How much it may be.
        max: u64,
    },
    /// The barrier was begun for another number of parties.
    #[error(
        "barrier {barrier} of region `{region}` waits for {parties} parties; \
         all of them must name the same number"
    )]
    OtherParties {
        /// The region.
        region: String,
        /// The barrier.
        barrier: u64,
        /// For how many it was begun.
        parties: u32,
    },
    /// A value is too large for where it should go.
    #[error("{what} of {length} bytes does not fit in region `{region}`: at most {max}")]
    TooLarge {
        /// The region.
        region: String,
        /// What is too large.
        what: &'static str,
        /// Its bytes.
        length: u64,
        /// How many there may be.
        max: u64,
    },
    /// Pages hold something else than what they are used as.
    #[error(
        "page {page} of region `{region}` holds no {what}: use other pages, or have them zeroed first"
    )]
    Layout {
        /// The region.
        region: String,
        /// The page.
        page: u64,
        /// What was expected.
        what: &'static str,
    },

    // Others who use the region.
    /// The page has another version than the caller's.
    #[error(
        "page {page} of region `{region}` has version {version} by now; \
         read it again and decide anew, or use `transact`, which does"
    )]
    Conflict {
        /// The region.
        region: String,
        /// The first page that differs.
        page: u64,
        /// Its version.
        version: u64,
    },
    /// Others were quicker again and again.
    #[error(
        "a transaction on region `{region}` was overtaken {attempts} times; \
         make it shorter, or lock the page that everybody wants"
    )]
    Overtaken {
        /// The region.
        region: String,
        /// How often it was tried.
        attempts: u32,
    },
    /// The lock is somebody else's by now, or nobody's.
    #[error(
        "the lock of page {page} of region `{region}` on node {node} is lost: its holder was not \
         heard of for longer than its lease; the page is as it was, lock it again"
    )]
    LostLock {
        /// The region.
        region: String,
        /// Its node.
        node: String,
        /// The page.
        page: u64,
    },
    /// Nothing more fits.
    #[error("the {what} in region `{region}` is full; take something out, or give it more pages")]
    Full {
        /// The region.
        region: String,
        /// What it is.
        what: &'static str,
    },

    // The node, and the way to it.
    /// The connection is lost, and did not come back in time. What was asked was not carried out.
    #[error(
        "region `{region}`: node {node} is away ({why}); try again when it is back, \
         `farcall status` shows it"
    )]
    Away {
        /// The region.
        region: String,
        /// Its node.
        node: String,
        /// What is the matter.
        why: String,
    },
    /// The connection was lost while something was under way that changes the region.
    #[error(
        "region `{region}`: node {node} was lost at a moment when it may have carried out what was \
         asked ({why}); read the pages to know"
    )]
    Unknown {
        /// The region.
        region: String,
        /// Its node.
        node: String,
        /// What is the matter.
        why: String,
    },
    /// The region that was opened is no more.
    #[error(
        "region `{region}` on node {node} is gone: it was dropped, or its node started anew and \
         nothing was kept (durability none); make it again and open it"
    )]
    Ended {
        /// The region.
        region: String,
        /// Its node.
        node: String,
    },
    /// Where the region is kept fails.
    #[error("region `{region}` on node {node} cannot be kept: {reason}")]
    Unkept {
        /// The region.
        region: String,
        /// Its node.
        node: String,
        /// The node's own words.
        reason: String,
    },
    /// A node cannot keep regions of this durability.
    #[error("node {node} cannot keep region `{region}`: {reason}")]
    NoVault {
        /// The region.
        region: String,
        /// The node.
        node: String,
        /// Its own words.
        reason: String,
    },
    /// A node cannot be reached.
    #[error("no way to node {node}")]
    Unreachable {
        /// The node, or its address.
        node: String,
        /// What the transport said.
        source: Box<transport::Error>,
    },
    /// The connection to a node broke.
    #[error("the connection to node {node} broke")]
    Broken {
        /// The node.
        node: String,
        /// What the transport said.
        source: Box<transport::Error>,
    },
    /// A node ended the conversation.
    #[error("node {node} is not spoken with any more")]
    Down {
        /// The node.
        node: String,
        /// Why.
        source: Down,
    },
    /// A node did not answer in time.
    #[error("node {node} did not answer for {seconds} s; `farcall status` shows what it does")]
    Silent {
        /// The node.
        node: String,
        /// How long it was waited for.
        seconds: u64,
    },
    /// A node said something that is no answer to what was asked.
    #[error("node {node} broke the protocol: {what}; is it of another version?")]
    Protocol {
        /// The node.
        node: String,
        /// What it did.
        what: String,
    },
    /// The cluster cannot be asked.
    #[error("region `{region}` cannot be looked for: {reason}")]
    Unfound {
        /// The region.
        region: String,
        /// What is the matter.
        reason: String,
    },
    /// A node was named that is not up.
    #[error("no node of the name {node} is up; see which are with `farcall status`")]
    NoNode {
        /// What was asked for.
        node: String,
    },
    /// This process may not answer page faults, so no region can be mapped.
    #[error(
        "memory cannot be mapped, since the kernel does not let this process answer page faults; allow \
         it with `chmod 666 /dev/userfaultfd` (or a udev rule), or `sysctl \
         vm.unprivileged_userfaultfd=1`, or give the process CAP_SYS_PTRACE"
    )]
    Faults {
        /// What the kernel refused.
        source: sys::Error,
    },
    /// A region whose pages are not whole pages of memory.
    #[error(
        "region `{region}` has pages of {page_size} bytes: memory is mapped in pages of 4096 \
         (coherent regions) or of a multiple (others); make one with `--page-size 4096`"
    )]
    NotMappable {
        /// The region.
        region: String,
        /// Bytes of its pages.
        page_size: u32,
    },
    /// A mapping ended before everything was given back.
    #[error(
        "region `{region}` was mapped and is lost: {why}; what was written last may be lost with it"
    )]
    MappingLost {
        /// The region.
        region: String,
        /// Why.
        why: String,
    },
    /// The kernel refused something that every region needs.
    #[error("cannot {action}")]
    Kernel {
        /// What was tried.
        action: &'static str,
        /// What the kernel said.
        source: io::Error,
    },
}

impl Error {
    /// Another commit came first: reading again and deciding anew is the way on.
    pub fn is_conflict(&self) -> bool {
        matches!(self, Self::Conflict { .. } | Self::Overtaken { .. })
    }

    /// The lock that this needed is lost; the page is as it was.
    pub fn is_lost_lock(&self) -> bool {
        matches!(self, Self::LostLock { .. })
    }

    /// It is not known whether what was asked was carried out.
    pub fn may_be_committed(&self) -> bool {
        matches!(self, Self::Unknown { .. })
    }

    /// The node is away, or not to be reached: the same may work again later.
    pub fn is_away(&self) -> bool {
        matches!(
            self,
            Self::Away { .. }
                | Self::Unreachable { .. }
                | Self::Broken { .. }
                | Self::Down { .. }
                | Self::Silent { .. }
        )
    }

    /// There is no such region, or none any more.
    pub fn is_gone(&self) -> bool {
        matches!(self, Self::NoSuchRegion { .. } | Self::Ended { .. })
    }

    /// Nothing more fits.
    pub fn is_full(&self) -> bool {
        matches!(self, Self::Full { .. })
    }

    /// What a node's refusal means for this region.
    pub fn refused(region: &str, node: &str, refusal: Refusal) -> Self {
        let (region, node) = (region.to_owned(), node.to_owned());
        match refusal {
            Refusal::NoSuchRegion => Self::NoSuchRegion { region },
            Refusal::Exists => Self::Exists { region, node },
            Refusal::NotYours => Self::NotYours { region, node },
            Refusal::NoSuchPage { page, pages } => Self::NoSuchPage { region, page: page.0, pages },
            Refusal::WrongLength { offset, length, max } => {
                Self::WrongLength { region, offset, length, max }
            }
            Refusal::StaleToken { page } => Self::LostLock { region, node, page: page.0 },
            Refusal::VersionAhead { page, version } => {
                Self::VersionAhead { region, page: page.0, version: version.0 }
            }
            Refusal::WrongStyle { style } => {
                Self::WrongStyle { region, is_coherent: style == Style::Coherent }
            }
            Refusal::OutOfBounds { what, value, max } => {
                Self::OutOfBounds { region, node, what: bound(what), value, max }
            }
            Refusal::NoSuchNumber { number } => {
                let what = format!("it knows no watch or request {number}");
                Self::Protocol { node, what }
            }
            Refusal::OtherParties { parties } => Self::OtherParties { region, barrier: 0, parties },
            Refusal::Unkept { reason } => Self::Unkept { region, node, reason },
            Refusal::NoVault { reason } => Self::NoVault { region, node, reason },
            Refusal::NotMappable { page_size } => Self::NotMappable { region, page_size },
        }
    }
}

fn bound(what: Bound) -> &'static str {
    match what {
        Bound::PageSize => "bytes of a page (a power of two)",
        Bound::Pages => "pages",
        Bound::Regions => "regions of the node",
        Bound::Sessions => "sessions of the region",
        Bound::Requests => "requests under way",
        Bound::Watches => "watches",
        Bound::TransactionPages => "pages of a transaction",
        Bound::TransactionBytes => "bytes of a transaction",
        Bound::Version => "the version asked for",
        Bound::Barriers => "barriers that somebody waits at",
        Bound::Locks => "locks of the region that are held",
        Bound::Waiting => "requests that wait for locks of the region",
        Bound::Parties => "parties of a barrier",
        Bound::Memory => "bytes of all regions of the node",
        Bound::Snapshots => "snapshots",
    }
}

/// An error and its causes, in one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}
