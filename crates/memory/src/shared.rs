//! Memory that several processes on several hosts read and write: a coherent region, mapped.
//!
//! ```text
//!   your threads: load, store, atomics ──▶ pages that are here
//!        │ a page that is not: the thread stops
//!        ▼
//!   "farcall-faults": one thread, its own connection ◀── TLS ──▶ the region's node
//! ```
//!
//! Every page of 4096 bytes has one writer or any number of readers at a time, whoever they are, so
//! what a program sees is what threads of one process would see: a store is visible to whoever loads
//! later, atomics are atomic. A page moves when somebody touches it who does not have it: that takes
//! as long as two or three messages, some ten thousand times as long as a touch of what is here.
//!
//! So it is good for *coarse* sharing: each process works on pages of its own for milliseconds, and
//! exchanges borders, results, a work list. It is bad for two threads that write one page in turns,
//! also where they write different words of it ("false sharing"): put such words 4096 bytes apart.
//! [`Shared::traffic`] counts here, `farcall mem hot` names the pages that go to and fro.
//!
//! When things break: a process that is killed, or cut off for longer than the region's lease, loses
//! its pages. The others find them as it last gave them away: what it wrote since is lost, what others
//! wrote is not. The process that was cut off must not go on with pages that are others' by now, so its
//! memory is taken away: a thread that touches it then gets SIGSEGV. (One that was *stopped* for so
//! long may still see old bytes for the moment until its fault thread runs; what it writes in it goes
//! nowhere.)
//!
//! Elsewhere: what is decided (`logic::regions::mapped`), who has which page (`logic::regions::coherent`),
//! the kernel's part (`sys::uffd`).

mod faults;

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use logic::regions::mapped::{Mapped, Traffic};
use sys::uffd::{FaultMemory, PAGE};
use wire::limits::COHERENT_PAGE;
use wire::region::{Admission, Style};

use crate::error::Error;
use crate::line::now;
use crate::meeting::{Barrier, Mutex};
use crate::region::Region;
use crate::view::{Fate, Place, Session, View};

const _: () = assert!(PAGE == COHERENT_PAGE as usize);

/// How long the node may take to let a mapping in.
const PATIENCE: Duration = Duration::from_secs(10);

/// A coherent region as memory. Dropped, it gives everything back to the region's node.
///
/// The safe ways to touch it are [`Shared::atomic`], [`Shared::read`] and [`Shared::write`];
/// [`Shared::as_ptr`] is for everything else.
///
/// ```no_run
/// # fn example(region: farcall_memory::Region) -> Result<(), farcall_memory::Error> {
/// use std::sync::atomic::Ordering;
///
/// let shared = region.map_coherent()?;                   // in each of four processes
/// shared.atomic(0).fetch_add(1, Ordering::SeqCst);       // one number for all of them
/// let held = shared.mutex(7).lock()?;                    // alone among all of them
/// shared.write(4096, b"in words of mine")?;
/// held.unlock()?;
/// shared.barrier(1, 4).wait()?;                          // until all four are here
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Shared {
    view: View,
    counted: Arc<Counted>,
}

/// What the fault thread has counted, to be read without any lock.
#[derive(Debug, Default)]
struct Counted {
    faults: AtomicU64,
    fetched: AtomicU64,
    upgraded: AtomicU64,
    recalled: AtomicU64,
}

impl Region {
    /// Maps a coherent region: memory that every process which maps it reads and writes. Addresses
    /// differ between processes; offsets are the same everywhere.
    ///
    /// It needs the kernel's userfaultfd; [`Error::Faults`] says how to allow it. Where the process has
    /// only the right to serve its own threads ([`Shared::serves_kernel`]), a system call that is given
    /// a pointer into this memory may fail with EFAULT: copy such bytes out first.
    pub fn map_coherent(&self) -> Result<Shared, Error> {
        Shared::open(self.clone(), None)
    }

    /// The same at an address that is free in this process, so that pointers into the memory mean the
    /// same in each process that maps it there.
    pub fn map_coherent_at(&self, address: usize) -> Result<Shared, Error> {
        Shared::open(self.clone(), Some(address))
    }
}

impl Shared {
    fn open(region: Region, at: Option<usize>) -> Result<Self, Error> {
        let asked = now();
        let (session, admission) = Session::open(Place::of(&region), PATIENCE)?;
        let Admission { about, lease, .. } = admission;
        let name = session.place.region.to_string();
        if about.style != Style::Coherent {
            return Err(Error::WrongStyle { region: name, is_coherent: false });
        }
        let length = about.pages.checked_mul(u64::from(COHERENT_PAGE));
        let length = length.and_then(|length| usize::try_from(length).ok());
        let Some(length) = length.and_then(NonZeroUsize::new) else {
            return Err(Error::NotMappable { region: name, page_size: about.page_size });
        };
        let memory = FaultMemory::reserve(length, at).map_err(|source| Error::Faults { source })?;
        let (memory, fate) = (Arc::new(memory), Fate::new()?);
        let counted = Arc::new(Counted::default());
        let server = faults::Server {
            memory: memory.clone(),
            fate: fate.clone(),
            counted: counted.clone(),
            session,
            copy: Mapped::new(asked, lease, 1),
        };
        let view = View::start(region, memory, fate, move || server.run())?;
        Ok(Self { view, counted })
    }

    /// The region.
    pub fn region(&self) -> &Region {
        &self.view.region
    }

    /// The mutex of this number, below the number of pages: held by one thread of all processes. It
    /// has nothing to do with the page of that number.
    pub fn mutex(&self, number: u64) -> Mutex {
        self.view.region.mutex(number)
    }

    /// The barrier of this number (any number), at which so many threads of all processes meet.
    pub fn barrier(&self, number: u64, parties: u32) -> Barrier {
        self.view.region.barrier(number, parties)
    }

    /// Bytes of the memory: as many pages as the region had when it was mapped.
    #[expect(clippy::len_without_is_empty, reason = "a region has at least one page")]
    pub fn len(&self) -> usize {
        self.view.memory.len()
    }

    /// Where the memory begins. Others write it at any time, so use it as memory that threads share:
    /// by atomics and volatile accesses, or plainly under a lock that all of them take. Valid while
    /// `self` lives; a touch after the mapping was [lost](Shared::lost) ends the process by SIGSEGV.
    pub fn as_ptr(&self) -> *mut u8 {
        self.view.memory.as_ptr()
    }

    /// The word at this offset, a multiple of 8: an atomic among all processes that map the region.
    /// Panics where there is none.
    pub fn atomic(&self, offset: usize) -> &AtomicU64 {
        self.view.memory.atomic(offset).unwrap_or_else(|error| panic!("{error}"))
    }

    /// Copies bytes out, from this offset. Others may write meanwhile: take a lock, or live with a
    /// mixture. An error where the memory was [lost](Shared::lost) before; if it is lost meanwhile, the
    /// thread gets SIGSEGV.
    pub fn read(&self, offset: usize, target: &mut [u8]) -> Result<(), Error> {
        self.view.read(offset, target)
    }

    /// Copies bytes in, at this offset. What is lost is as in [`Shared::read`].
    pub fn write(&self, offset: usize, source: &[u8]) -> Result<(), Error> {
        self.view.write(offset, source)
    }

    /// Whether system calls can be given pointers to pages that are not here: not where this process
    /// has no right to the full userfaultfd.
    pub fn serves_kernel(&self) -> bool {
        self.view.memory.serves_kernel()
    }

    /// What went over the wire for this mapping so far.
    pub fn traffic(&self) -> Traffic {
        Traffic {
            faults: self.counted.faults.load(Ordering::Relaxed),
            fetched: self.counted.fetched.load(Ordering::Relaxed),
            upgraded: self.counted.upgraded.load(Ordering::Relaxed),
            recalled: self.counted.recalled.load(Ordering::Relaxed),
        }
    }

    /// Why the memory was taken away, if it was: the region's node was not heard of for as long as its
    /// lease, or refused a page.
    pub fn lost(&self) -> Option<&str> {
        self.view.lost()
    }

    /// Gives everything back and waits until it has arrived, at most for the region's lease. An error
    /// means that what was written last may be lost.
    pub fn close(mut self) -> Result<(), Error> {
        self.view.end();
        self.view.must_be_here()
    }
}

impl Counted {
    fn tell(&self, traffic: Traffic) {
        self.faults.store(traffic.faults, Ordering::Relaxed);
        self.fetched.store(traffic.fetched, Ordering::Relaxed);
        self.upgraded.store(traffic.upgraded, Ordering::Relaxed);
        self.recalled.store(traffic.recalled, Ordering::Relaxed);
    }
}
