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
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread::JoinHandle;
use std::time::Duration;

use logic::regions::mapped::{Broken, Mapped, Traffic};
use sys::uffd::{Bell, FaultMemory, PAGE};
use wire::limits::COHERENT_PAGE;
use wire::name::Name;
use wire::region::{Admission, Attach, SessionId, Style};

use crate::error::Error;
use crate::line::{Line, Target, now};
use crate::meeting::{Barrier, Mutex};
use crate::region::Region;

const _: () = assert!(PAGE == COHERENT_PAGE as usize);

/// How long the node may take to let a mapping in.
const PATIENCE: Duration = Duration::from_secs(10);

/// Where a region is, and who wants to map it.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    pub(crate) target: Target,
    pub(crate) me: Name,
    pub(crate) region: Name,
}

impl Place {
    pub(crate) fn of(region: &Region) -> Self {
        let (target, me) = (region.target(), region.owner.me().clone());
        Self { target, me, region: region.owner.name.clone() }
    }
}

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
    region: Region,
    memory: Arc<FaultMemory>,
    state: Arc<State>,
    thread: Option<JoinHandle<()>>,
}

/// What the fault thread tells, without any lock.
#[derive(Debug)]
struct State {
    bell: Bell,
    faults: AtomicU64,
    fetched: AtomicU64,
    upgraded: AtomicU64,
    recalled: AtomicU64,
    ended: OnceLock<Ended>,
}

/// How the mapping ended.
#[derive(Clone, Debug)]
enum Ended {
    Closed,
    Lost(String),
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
        let place = Place::of(&region);
        let session = SessionId(transport::random_u64());
        let asked = now();
        let (line, admission) = attach(&place, session, PATIENCE)?;
        let Admission { about, lease, .. } = admission;
        let name = place.region.to_string();
        if about.style != Style::Coherent {
            return Err(Error::WrongStyle { region: name, is_coherent: false });
        }
        let length = about.pages.checked_mul(u64::from(COHERENT_PAGE));
        let length = length.and_then(|length| usize::try_from(length).ok());
        let Some(length) = length.and_then(NonZeroUsize::new) else {
            return Err(Error::NotMappable { region: name, page_size: about.page_size });
        };
        let memory = FaultMemory::reserve(length, at).map_err(|source| Error::Faults { source })?;
        let memory = Arc::new(memory);
        let state = Arc::new(State {
            bell: Bell::new().map_err(|source| Error::Faults { source })?,
            faults: AtomicU64::new(0),
            fetched: AtomicU64::new(0),
            upgraded: AtomicU64::new(0),
            recalled: AtomicU64::new(0),
            ended: OnceLock::new(),
        });
        let server = faults::Server {
            memory: memory.clone(),
            state: state.clone(),
            place,
            session,
            line: Some(line),
            copy: Mapped::new(asked, lease, 1),
            redial_at: asked,
        };
        let thread = std::thread::Builder::new()
            .name("farcall-faults".to_owned())
            .spawn(move || server.run())
            .map_err(|source| Error::Kernel { action: "start a thread", source })?;
        Ok(Self { region, memory, state, thread: Some(thread) })
    }

    /// The region.
    pub fn region(&self) -> &Region {
        &self.region
    }

    /// The mutex of this number, below the number of pages: held by one thread of all processes. It
    /// has nothing to do with the page of that number.
    pub fn mutex(&self, number: u64) -> Mutex {
        self.region.mutex(number)
    }

    /// The barrier of this number (any number), at which so many threads of all processes meet.
    pub fn barrier(&self, number: u64, parties: u32) -> Barrier {
        self.region.barrier(number, parties)
    }

    /// Bytes of the memory: as many pages as the region had when it was mapped.
    #[expect(clippy::len_without_is_empty, reason = "a region has at least one page")]
    pub fn len(&self) -> usize {
        self.memory.len()
    }

    /// Where the memory begins. Others write it at any time, so use it as memory that threads share:
    /// by atomics and volatile accesses, or plainly under a lock that all of them take. Valid while
    /// `self` lives; a touch after the mapping was [lost](Shared::lost) ends the process by SIGSEGV.
    pub fn as_ptr(&self) -> *mut u8 {
        self.memory.as_ptr()
    }

    /// The word at this offset, a multiple of 8: an atomic among all processes that map the region.
    /// Panics where there is none.
    pub fn atomic(&self, offset: usize) -> &AtomicU64 {
        self.memory.atomic(offset).unwrap_or_else(|error| panic!("{error}"))
    }

    /// Copies bytes out, from this offset. Others may write meanwhile: take a lock, or live with a
    /// mixture.
    pub fn read(&self, offset: usize, target: &mut [u8]) -> Result<(), Error> {
        self.memory.copy_out(offset, target).map_err(|_| self.outside(offset, target.len()))
    }

    /// Copies bytes in, at this offset.
    pub fn write(&self, offset: usize, source: &[u8]) -> Result<(), Error> {
        self.memory.copy_in(offset, source).map_err(|_| self.outside(offset, source.len()))
    }

    fn outside(&self, offset: usize, length: usize) -> Error {
        let (region, max) = (self.region.name().to_owned(), self.len() as u64);
        Error::WrongLength { region, offset: offset as u64, length: length as u64, max }
    }

    /// Whether system calls can be given pointers to pages that are not here: not where this process
    /// has no right to the full userfaultfd.
    pub fn serves_kernel(&self) -> bool {
        self.memory.serves_kernel()
    }

    /// What went over the wire for this mapping so far.
    pub fn traffic(&self) -> Traffic {
        Traffic {
            faults: self.state.faults.load(Ordering::Relaxed),
            fetched: self.state.fetched.load(Ordering::Relaxed),
            upgraded: self.state.upgraded.load(Ordering::Relaxed),
            recalled: self.state.recalled.load(Ordering::Relaxed),
        }
    }

    /// Why the memory was taken away, if it was: the region's node was not heard of for as long as its
    /// lease, or refused a page.
    pub fn lost(&self) -> Option<&str> {
        match self.state.ended.get() {
            Some(Ended::Lost(why)) => Some(why),
            Some(Ended::Closed) | None => None,
        }
    }

    /// Gives everything back and waits until it has arrived, at most for the region's lease. An error
    /// means that what was written last may be lost.
    pub fn close(mut self) -> Result<(), Error> {
        self.end();
        match self.state.ended.get() {
            Some(Ended::Lost(why)) => {
                let (region, why) = (self.region.name().to_owned(), why.clone());
                Err(Error::MappingLost { region, why })
            }
            Some(Ended::Closed) | None => Ok(()),
        }
    }

    fn end(&mut self) {
        if let Some(thread) = self.thread.take() {
            self.state.bell.ring();
            // It panics only by a bug of ours, whose message was printed.
            let _ = thread.join();
        }
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.end();
    }
}

impl State {
    fn tell(&self, traffic: Traffic) {
        self.faults.store(traffic.faults, Ordering::Relaxed);
        self.fetched.store(traffic.fetched, Ordering::Relaxed);
        self.upgraded.store(traffic.upgraded, Ordering::Relaxed);
        self.recalled.store(traffic.recalled, Ordering::Relaxed);
    }
}

impl From<Broken> for Ended {
    fn from(why: Broken) -> Self {
        Self::Lost(why.to_string())
    }
}

/// A line of its own, with this session open on it.
pub(crate) fn attach(
    place: &Place,
    session: SessionId,
    patience: Duration,
) -> Result<(Line, Admission), Error> {
    let (mut line, _) = Line::dial(&place.target, &place.me, patience)?;
    let region = place.region.clone();
    let attached = line.attach(Attach { region, session }, patience)?;
    let refused = |refusal| Error::refused(place.region.as_str(), line.node(), refusal);
    let admission = attached.map_err(refused)?;
    Ok((line, admission))
}
