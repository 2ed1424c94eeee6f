//! A region as memory: what every such memory has, whoever answers its faults.
//!
//! ```text
//!   the program's threads ── touch ──▶ FaultMemory ◀── install, take away ── "farcall-faults"
//!            └── lost? ──▶ Fate ◀── why, before the memory goes ──────────────────┘
//! ```
//!
//! Elsewhere: who answers the faults (`mapping::fill`, `shared::faults`), the kernel's part (`sys::uffd`).

use std::io;
use std::os::fd::AsFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, OnceLock};
use std::thread::JoinHandle;
use std::time::Duration;

use sys::spin::Spin;
use sys::uffd::{Bell, FaultMemory, Ready, SocketWanted};
use wire::name::Name;
use wire::region::{Admission, Attach, SessionId};
use wire::units::{Span, Time};

use crate::error::Error;
use crate::line::{Line, Target, now};
use crate::region::Region;

/// Between two attempts to reach the node again.
const REDIAL: Span = Span::from_millis(50);

/// How long the node may take to let the session in again, each time.
const REDIAL_PATIENCE: Duration = Duration::from_secs(1);

/// Memory, and the thread that answers its faults. Dropped, it waits for that thread to end.
#[derive(Debug)]
pub(crate) struct View {
    pub(crate) region: Region,
    pub(crate) memory: Arc<FaultMemory>,
    fate: Arc<Fate>,
    thread: Option<JoinHandle<()>>,
}

/// What the program and the thread that answers faults tell each other, without any lock.
#[derive(Debug)]
pub(crate) struct Fate {
    pub(crate) bell: Bell,
    lost: OnceLock<String>,
}

impl Fate {
    pub(crate) fn new() -> Result<Arc<Self>, Error> {
        let bell = Bell::new().map_err(|source| Error::Faults { source })?;
        Ok(Arc::new(Self { bell, lost: OnceLock::new() }))
    }
}

impl View {
    /// Starts the thread. `serve` answers faults until the bell rings; an error of it says why the memory
    /// is lost.
    pub(crate) fn start(
        region: Region,
        memory: Arc<FaultMemory>,
        fate: Arc<Fate>,
        serve: impl FnOnce() -> Result<(), String> + Send + 'static,
    ) -> Result<Self, Error> {
        let (served, told) = (memory.clone(), fate.clone());
        let thread = sys::thread::spawn("farcall-faults", move || answer(&served, &told, serve))
            .map_err(|source| Error::Kernel { action: "start a thread", source })?;
        Ok(Self { region, memory, fate, thread: Some(thread) })
    }

    pub(crate) fn read(&self, offset: usize, target: &mut [u8]) -> Result<(), Error> {
        self.must_be_here()?;
        self.memory.copy_out(offset, target).map_err(|_| self.outside(offset, target.len()))
    }

    pub(crate) fn write(&self, offset: usize, source: &[u8]) -> Result<(), Error> {
        self.must_be_here()?;
        self.memory.copy_in(offset, source).map_err(|_| self.outside(offset, source.len()))
    }

    /// Why the memory was taken away, if it was.
    pub(crate) fn lost(&self) -> Option<&str> {
        self.fate.lost.get().map(String::as_str)
    }

    pub(crate) fn must_be_here(&self) -> Result<(), Error> {
        match self.lost() {
            None => Ok(()),
            Some(why) => {
                let (region, why) = (self.region.name().to_owned(), why.to_owned());
                Err(Error::MappingLost { region, why })
            }
        }
    }

    fn outside(&self, offset: usize, length: usize) -> Error {
        let (region, max) = (self.region.name().to_owned(), self.memory.len() as u64);
        Error::WrongLength { region, offset: offset as u64, length: length as u64, max }
    }

    /// Lets the thread end, and waits for it.
    pub(crate) fn end(&mut self) {
        if let Some(thread) = self.thread.take() {
            self.fate.bell.ring();
            // It does not panic: what it runs is caught.
            let _ = thread.join();
        }
    }
}

impl Drop for View {
    fn drop(&mut self) {
        self.end();
    }
}

/// The thread's whole life. However it ends, no thread of the program goes on waiting for it.
fn answer(memory: &FaultMemory, fate: &Fate, serve: impl FnOnce() -> Result<(), String>) {
    let ended = catch_unwind(AssertUnwindSafe(serve)).unwrap_or_else(|_| {
        Err("the thread that answers its page faults failed; it printed why".to_owned())
    });
    if let Err(why) = ended {
        // First, so that whoever asks before a touch is told instead of ended.
        let _ = fate.lost.set(why);
        withdraw(memory);
    }
}

/// Whoever touches memory that is absent and that nobody fills would wait for ever; and others may have
/// what is here by now. A kernel that cannot take it away leaves one way to end both.
fn withdraw(memory: &FaultMemory) {
    if let Err(error) = memory.withdraw() {
        eprintln!(
            "farcall: memory that is lost cannot be taken away, so this process ends: {error}"
        );
        std::process::abort();
    }
}

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

/// The session of one memory, on a line of its own while there is one.
pub(crate) struct Session {
    pub(crate) place: Place,
    pub(crate) id: SessionId,
    pub(crate) line: Option<Line>,
    redial_at: Time,
    spin: Spin,
}

impl Session {
    /// A new one.
    pub(crate) fn open(place: Place, patience: Duration) -> Result<(Self, Admission), Error> {
        let id = SessionId(transport::random_u64());
        let (line, admission) = attach(&place, id, patience)?;
        Ok((
            Self { place, id, line: Some(line), redial_at: Time(0), spin: Spin::default() },
            admission,
        ))
    }

    /// Waits for faults, for the bell, for the line, and for the moment to dial anew; at most until then.
    pub(crate) fn wait(
        &mut self,
        memory: &FaultMemory,
        bell: &Bell,
        until: Time,
    ) -> io::Result<Ready> {
        let (until, socket) = match &self.line {
            Some(line) => (until.min(line.poll_timeout()), Some(line.socket())),
            None => (until.min(self.redial_at), None),
        };
        let wanted = match &self.line {
            Some(line) if line.is_blocked() => SocketWanted::ReadWrite,
            Some(_) | None => SocketWanted::Read,
        };
        let socket = socket.as_ref().map(|socket| (socket.as_fd(), wanted));
        let ready = self.spin.wait(Some(until.since(now()).into()), |timeout| {
            // It always has a time.
            let ready = memory.wait(bell, socket, timeout.unwrap_or_default())?;
            Ok((ready != Ready::default()).then_some(ready))
        });
        Ok(ready?.unwrap_or_default())
    }

    /// The line is lost. It is dialled anew at once.
    pub(crate) fn away(&mut self) {
        self.line = None;
        self.redial_at = now();
    }

    /// Whether it is time to dial anew.
    pub(crate) fn is_due(&self) -> bool {
        self.line.is_none() && now() >= self.redial_at
    }

    /// Comes back, in at most so long; `false`: not yet. An error is for good: the node is another life
    /// of it, or the region is, and nothing that is here is of it.
    pub(crate) fn redial(&mut self, left: Span) -> Result<bool, Error> {
        let patience = REDIAL_PATIENCE.min(Duration::from(left).max(Duration::from_millis(1)));
        match attach(&self.place, self.id, patience) {
            Ok((line, admission)) if admission.resumed => {
                self.line = Some(line);
                Ok(true)
            }
            Ok((line, _)) => {
                let (region, node) = (self.place.region.to_string(), line.node().to_owned());
                Err(Error::Ended { region, node })
            }
            Err(error) if error.is_away() => {
                self.redial_at = now() + REDIAL;
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }
}

/// A line of its own, with this session open on it.
fn attach(
    place: &Place,
    session: SessionId,
    patience: Duration,
) -> Result<(Line, Admission), Error> {
    let until = now() + Span::from(patience);
    let (mut line, _) = Line::dial(&place.target, &place.me, patience)?;
    let region = place.region.clone();
    let left = until.since(now()).into();
    let attached = line.attach(Attach { region, session }, left)?;
    let refused = |refusal| Error::refused(place.region.as_str(), line.node(), refusal);
    let admission = attached.map_err(refused)?;
    Ok((line, admission))
}

#[cfg(test)]
mod tests;
