//! A region as it was at one moment, as memory: each page is fetched when it is touched first.
//!
//! The region's home begins a snapshot, which costs nothing there, and keeps what later commits write
//! over for as long as the mapping lives. So all pages are of one moment, however late they are touched.
//! What is written to the mapping stays in this process.
//!
//! Elsewhere: the snapshot (`logic::regions::snapshots`), memory that others see too (`shared`).

mod fill;

use std::num::NonZeroUsize;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use sys::uffd::{FaultMemory, PAGE};
use wire::Message;
use wire::region::{Answer, Ask, PageNo, Request};
use wire::units::Span;

use crate::error::Error;
use crate::line::now;
use crate::region::Region;
use crate::view::{Fate, Place, Session, View};

/// How long the node may take to begin a snapshot.
const PATIENCE: Duration = Duration::from_secs(10);

/// The request that begins the snapshot, and names it.
const SNAPSHOT: u64 = 1;

/// Pages of a region as they were together at one moment.
///
/// ```no_run
/// # fn example(region: farcall_memory::Region) -> Result<(), farcall_memory::Error> {
/// let mapping = region.map(0..1000)?;
/// let mut head = [0; 16];
/// mapping.read(4096, &mut head)?;        // page 1 is fetched now, as it was when `map` returned
/// # Ok(())
/// # }
/// ```
///
/// If the region's node stays away, forgets the snapshot, or had to end it (it keeps at most 1 GiB of
/// overwritten pages for all snapshots of a region), no further page can be had: a thread that touches
/// the mapping then gets SIGSEGV. [`Mapping::lost`] says why.
#[derive(Debug)]
pub struct Mapping {
    view: View,
    sequence: u64,
}

impl Region {
    /// These pages as they are now, as memory that is filled when it is touched. The region's pages
    /// must be whole pages of memory: 4096 bytes or more.
    pub fn map(&self, pages: Range<u64>) -> Result<Mapping, Error> {
        Mapping::open(self.clone(), pages)
    }
}

impl Mapping {
    fn open(region: Region, pages: Range<u64>) -> Result<Self, Error> {
        let (name, page_size) = (region.name().to_owned(), region.page_size());
        if !page_size.is_multiple_of(PAGE) {
            return Err(Error::NotMappable { region: name, page_size: page_size as u32 });
        }
        let (first, count) = (pages.start, pages.end.saturating_sub(pages.start));
        let length = usize::try_from(count).ok().and_then(|count| count.checked_mul(page_size));
        let Some(length) = length.and_then(NonZeroUsize::new) else {
            let pages = region.pages();
            return Err(Error::NoSuchPage { region: name, page: first, pages });
        };

        // 1. The moment.
        let (mut session, _) = Session::open(Place::of(&region), PATIENCE)?;
        let Some(line) = &mut session.line else { unreachable!("it was just opened") };
        let request = Request::BeginSnapshot { first: PageNo(first), count };
        line.put(SNAPSHOT, &Message::Request(Ask { answered: 0, request }, Bytes::new()));
        let sequence = match line.next(now() + Span::from(PATIENCE))? {
            Some((SNAPSHOT, Message::Answer(Answer::Snapshot { sequence }, _))) => sequence,
            Some((_, Message::Answer(Answer::Refused(refusal), _))) => {
                return Err(Error::refused(&name, line.node(), refusal));
            }
            Some(_) => {
                let (node, what) = (line.node().to_owned(), "no answer to a snapshot");
                return Err(Error::Protocol { node, what: what.to_owned() });
            }
            None => {
                let (node, seconds) = (line.node().to_owned(), PATIENCE.as_secs());
                return Err(Error::Silent { node, seconds });
            }
        };

        // 2. The memory, and who fills it.
        let memory =
            FaultMemory::reserve(length, None).map_err(|source| Error::Faults { source })?;
        let (memory, fate) = (Arc::new(memory), Fate::new()?);
        let filler = fill::Filler::new(&memory, &fate, session, (first, page_size));
        let view = View::start(region, memory, fate, move || filler.run())?;
        Ok(Self { view, sequence })
    }

    /// The number of the latest commit that is in it.
    pub fn sequence(&self) -> u64 {
        self.sequence
    }

    /// Bytes of the memory.
    #[expect(clippy::len_without_is_empty, reason = "a mapping has at least one page")]
    pub fn len(&self) -> usize {
        self.view.memory.len()
    }

    /// Where the memory begins. Valid while `self` lives.
    pub fn as_ptr(&self) -> *mut u8 {
        self.view.memory.as_ptr()
    }

    /// Copies bytes out, from this offset. An error where the mapping was [lost](Mapping::lost) before; if
    /// it is lost meanwhile, the thread gets SIGSEGV.
    pub fn read(&self, offset: usize, target: &mut [u8]) -> Result<(), Error> {
        self.view.read(offset, target)
    }

    /// Writes bytes at this offset, for this process alone. What is lost is as in [`Mapping::read`].
    pub fn write(&self, offset: usize, source: &[u8]) -> Result<(), Error> {
        self.view.write(offset, source)
    }

    /// Whether system calls can be given pointers to pages that were not touched yet: not where this
    /// process has no right to the full userfaultfd; they fail with EFAULT there.
    pub fn serves_kernel(&self) -> bool {
        self.view.memory.serves_kernel()
    }

    /// Why no further page can be had, if so.
    pub fn lost(&self) -> Option<&str> {
        self.view.lost()
    }
}
