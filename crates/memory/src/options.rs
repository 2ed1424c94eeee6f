//! What a region is made as, and what its node says of it.

use wire::limits::PAGE_SIZE_MIN;
use wire::name::Name;
use wire::region::{About, Audience, Create, Durability, Style};

/// What a new region is to be.
///
/// ```
/// use farcall_memory::{Durability, RegionOptions};
///
/// // A thousand pages of 4 KiB that outlive their node, on a node that is named.
/// let options = RegionOptions::new(1000).durability(Durability::Sync).on("alpha");
/// assert_eq!(options.pages, 1000);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub struct RegionOptions {
    /// How many pages; they can be made more later.
    pub pages: u64,
    /// Bytes of each: a power of two from 64 to 1 MiB.
    pub page_size: u32,
    /// What is left of it when its node dies.
    pub durability: Durability,
    /// It is for `map_coherent`, not for requests.
    pub is_coherent: bool,
    /// It is its owner's alone.
    pub is_private: bool,
    /// The node that it is made on; the first that is up if none is named.
    pub node: Option<String>,
}

impl RegionOptions {
    /// So many pages of 4096 bytes, for everybody in the cluster, gone with their node.
    pub fn new(pages: u64) -> Self {
        Self {
            pages,
            page_size: 4096,
            durability: Durability::None,
            is_coherent: false,
            is_private: false,
            node: None,
        }
    }

    /// Pages of so many bytes: a power of two from 64 to 1 MiB.
    pub fn page_size(mut self, bytes: u32) -> Self {
        self.page_size = bytes;
        self
    }

    /// The smallest page that has room for so many bytes.
    pub fn page_size_for(self, bytes: usize) -> Self {
        let size = u32::try_from(bytes.next_power_of_two()).unwrap_or(u32::MAX);
        self.page_size(size.max(PAGE_SIZE_MIN))
    }

    /// What is left of it when its node dies.
    pub fn durability(mut self, durability: Durability) -> Self {
        self.durability = durability;
        self
    }

    /// For `map_coherent`: several processes use the pages as their memory.
    pub fn coherent(mut self) -> Self {
        self.is_coherent = true;
        self
    }

    /// For its owner alone, and admins.
    pub fn private(mut self) -> Self {
        self.is_private = true;
        self
    }

    /// On the node of this name.
    pub fn on(mut self, node: impl Into<String>) -> Self {
        self.node = Some(node.into());
        self
    }

    /// As the wire says it.
    pub fn create(&self, name: Name) -> Create {
        Create {
            name,
            page_size: self.page_size,
            pages: self.pages,
            durability: self.durability,
            style: if self.is_coherent { Style::Coherent } else { Style::Transactional },
            audience: if self.is_private { Audience::Owner } else { Audience::Cluster },
        }
    }
}

/// A region as its node describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegionReport {
    /// Its name.
    pub name: String,
    /// Whose it is.
    pub owner: String,
    /// Where it lives.
    pub node: String,
    /// Bytes of a page.
    pub page_size: u32,
    /// How many pages there are.
    pub pages: u64,
    /// What is left of it when its node dies.
    pub durability: Durability,
    /// It is for `map_coherent`.
    pub is_coherent: bool,
    /// It is its owner's alone.
    pub is_private: bool,
    /// Pages that were ever written: only they take memory.
    pub written: u64,
    /// Commits so far.
    pub commits: u64,
    /// Opened regions of clients.
    pub sessions: u32,
    /// Watches.
    pub watches: u32,
    /// Locks that are held.
    pub locks: u32,
    /// Requests that wait for one.
    pub waiting: u32,
    /// How often a coherent page went from one session to another.
    pub moves: u64,
}

impl RegionReport {
    /// What a node of this name says.
    pub fn new(node: &str, about: About) -> Self {
        Self {
            name: about.name.to_string(),
            owner: about.owner.to_string(),
            node: node.to_owned(),
            page_size: about.page_size,
            pages: about.pages,
            durability: about.durability,
            is_coherent: about.style == Style::Coherent,
            is_private: about.audience == Audience::Owner,
            written: about.written,
            commits: about.sequence,
            sessions: about.sessions,
            watches: about.watches,
            locks: about.locks,
            waiting: about.waiting,
            moves: about.moves,
        }
    }
}
