//! An opened region.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use wire::name::Name;
use wire::region::{Answer, Durability, HotPage, Request, Style};

use crate::driver::{Guide, Owner};
use crate::error::Error;
use crate::line::Target;
use crate::options::RegionReport;

/// A named array of versioned pages that programs on several hosts share.
///
/// Cheap to clone, and used by any number of threads: clones share one connection, one cache, and one
/// session with the region's home. When the last of them is dropped (and the last page, guard, watch
/// and value made from them), the session is over and its locks are free.
///
/// ```no_run
/// # fn example(region: farcall_memory::Region) -> Result<(), farcall_memory::Error> {
/// let page = region.page(7);
/// let before = page.read()?;                              // version and bytes, one round trip
/// page.compare_and_update(before.version, 0, b"hello")?;  // or Error::Conflict
/// region.transact(|tx| {                                  // all or nothing, again after a conflict
///     let from = tx.read(1)?[0];
///     tx.write(1, 0, &[from - 1])?;
///     let to = tx.read(2)?[0];
///     tx.write(2, 0, &[to + 1])
/// })?;
/// # Ok(())
/// # }
/// ```
///
/// When the connection is lost it is made again, and each request carried out once. Only a client that
/// was away for very long, or whose node forgot it, gets [`Error::Unknown`].
#[derive(Clone)]
pub struct Region {
    pub(crate) owner: Arc<Owner>,
}

impl Region {
    /// Opens a region by itself; `Cluster::memory` does it for those who have a cluster. `me` is what
    /// the client calls itself.
    pub fn open(guide: Arc<dyn Guide>, me: Name, name: Name) -> Result<Self, Error> {
        Ok(Self { owner: Owner::open(guide, me, name)? })
    }

    /// What it is called.
    pub fn name(&self) -> &str {
        self.owner.name.as_str()
    }

    /// The node that it lives on now.
    pub fn node(&self) -> String {
        self.owner.state().node.to_string()
    }

    /// How many pages it has, as far as this client has heard.
    pub fn pages(&self) -> u64 {
        self.owner.state().session.pages()
    }

    /// Bytes of a page.
    pub fn page_size(&self) -> usize {
        self.owner.about.page_size as usize
    }

    /// What is left of it when its node dies.
    pub fn durability(&self) -> Durability {
        self.owner.about.durability
    }

    /// It is used through memory (`map_coherent`), not by requests.
    pub fn is_coherent(&self) -> bool {
        self.owner.about.style == Style::Coherent
    }

    /// What is asked fails with [`Error::Away`] when the node has been away for so long: 20 s unless
    /// told otherwise.
    pub fn set_patience(&self, patience: Duration) {
        self.owner.state().session.set_patience(patience.into());
    }

    /// How to reach its home at this moment, for connections of their own kind.
    pub fn target(&self) -> Target {
        self.owner.target()
    }

    /// What the node says of it now.
    pub fn stat(&self) -> Result<RegionReport, Error> {
        match self.owner.ask(Request::Stat, Bytes::new())? {
            (Answer::Stat(about), _) => Ok(RegionReport::new(&self.node(), *about)),
            (answer, _) => Err(self.owner.unexpected(&answer)),
        }
    }

    /// The pages with most traffic, at most so many.
    pub fn hot(&self, count: u32) -> Result<Vec<HotPage>, Error> {
        match self.owner.ask(Request::Hot { count }, Bytes::new())? {
            (Answer::Hot(pages), _) => Ok(pages),
            (answer, _) => Err(self.owner.unexpected(&answer)),
        }
    }

    /// Makes it at least so many pages long; how many it has then. New pages are zero.
    pub fn grow(&self, pages: u64) -> Result<u64, Error> {
        match self.owner.ask(Request::Grow { pages }, Bytes::new())? {
            (Answer::Grown { pages }, _) => Ok(pages),
            (answer, _) => Err(self.owner.unexpected(&answer)),
        }
    }
}

impl fmt::Debug for Region {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Region").field("name", &self.name()).finish_non_exhaustive()
    }
}
