//! Where the copy runs: its missing pages are put in place.
//!
//! Three threads, so that none waits for another: one hears of faults and asks, one takes the answers,
//! one takes all the rest. What is missing where is one value under one lock, which is held while a piece
//! is put in place: so no piece lands where the process has just put something else.

use std::collections::HashSet;
use std::io::{Read, Write};
use std::net::Shutdown;
use std::ops::Range;
use std::os::unix::net::UnixStream;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use sys::uffd::{Bell, Event, PAGE, Pager, Stopped};
use wire::image::ImageId;
use wire::image::paging::{DONE, HEAD, Piece, Request, sum, unpack};
use wire::limits::IMAGE_CHUNK_MAX;

use super::missing::Missing;
use crate::Error;

/// When a page is tried again that could not be filled because memory was changing: that is over soon, and
/// nobody says so.
const AGAIN: Duration = Duration::from_millis(1);

/// What came after the copy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Followed {
    /// Bytes that were put in place, beside pages of 0.
    pub bytes: u64,
    /// Pages that a thread waited for and that were asked for.
    pub faults: u64,
}

/// Puts the pages that an image left behind in place, until all have come or the process and its children
/// have ended. `stream` and `faults` are connections with a [`PageServer`](super::PageServer): of any
/// kind, since nothing is done with them but reading, writing and shutting down.
///
/// If not all can come, the process can never go on: `lose` is called, which ends it and its children, and
/// only then memory that never came is 0.
pub fn follow(
    pager: Pager,
    left: impl IntoIterator<Item = Range<u64>>,
    id: ImageId,
    stream: &UnixStream,
    faults: &UnixStream,
    lose: impl FnOnce(),
) -> Result<Followed, Error> {
    let missing = Missing::new(left);
    let space = Space { pager: Arc::new(pager), missing, waiting: Vec::new(), has_ended: false };
    let state = State { spaces: vec![space], ..State::default() };
    let follower = Follower { id, stream, faults, state: Mutex::new(state), bell: Bell::new()? };
    thread::scope(|scope| {
        scope.spawn(|| follower.run(Follower::hear));
        scope.spawn(|| follower.run(|follower| follower.take(follower.faults)));
        scope.spawn(|| {
            sys::thread::stand_back();
            follower.run(|follower| follower.take(follower.stream));
        });
    });
    let state = follower.state.into_inner().unwrap_or_else(PoisonError::into_inner);
    match state.failure {
        Some(error) => {
            lose();
            Err(error)
        }
        None => {
            // Whoever has the pages knows then that nobody needs them; he may have gone before.
            let _ = (&*faults).write_all(&DONE);
            let _ = faults.shutdown(Shutdown::Both);
            Ok(state.followed)
        }
    }
}

struct Follower<'a> {
    id: ImageId,
    stream: &'a UnixStream,
    faults: &'a UnixStream,
    state: Mutex<State>,
    /// Rung when there is another process to hear of, and at the end.
    bell: Bell,
}

#[derive(Default)]
struct State {
    /// The process, and children that it made while pages were missing.
    spaces: Vec<Space>,
    /// Addresses of pages that were asked for and have not come.
    asked: HashSet<u64>,
    /// What is to be asked for once the lock is free.
    to_ask: Vec<u64>,
    /// All that nobody asked for has come.
    is_streamed: bool,
    is_over: bool,
    failure: Option<Error>,
    followed: Followed,
}

/// The memory of one process.
struct Space {
    pager: Arc<Pager>,
    missing: Missing,
    /// Where threads wait for pages of 0, which could not be given them while memory changed.
    waiting: Vec<u64>,
    has_ended: bool,
}

/// Whether a piece is in place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Progress {
    Done,
    /// A process is changing its memory, as by a fork: it must be asked again where the rest belongs.
    Changing,
}

impl Follower<'_> {
    /// One of the threads, to its end. With the first that fails all end, and when all is over.
    fn run(&self, work: impl FnOnce(&Self) -> Result<(), Error>) {
        // One that panics must not leave the others waiting.
        let done = catch_unwind(AssertUnwindSafe(|| work(self))).unwrap_or(Err(Error::Panicked));
        let mut state = self.lock();
        match done {
            Err(error) if !state.is_over => state.failure = Some(error),
            // The stream has ended, and answers are still on their way.
            Ok(()) if !state.is_over => return,
            _ => {}
        }
        state.is_over = true;
        // Without its pager the kernel lets memory be as any other: what never came is 0.
        let is_well = state.failure.is_none();
        if is_well {
            state.spaces.clear();
        }
        drop(state);
        self.bell.ring();
        // A connection that is closed already is what is wanted.
        let _ = self.stream.shutdown(Shutdown::Both);
        let _ = self.faults.shutdown(if is_well { Shutdown::Read } else { Shutdown::Both });
    }

    /// Asks for what is waited for.
    fn hear(&self) -> Result<(), Error> {
        loop {
            let (pagers, timeout): (Vec<Arc<Pager>>, _) = {
                let state = self.lock();
                if state.is_over {
                    return Ok(());
                }
                let is_waiting = state.spaces.iter().any(|space| !space.waiting.is_empty());
                let pagers = state.spaces.iter().map(|space| Arc::clone(&space.pager)).collect();
                (pagers, is_waiting.then_some(AGAIN))
            };
            Pager::wait(&pagers, &self.bell, timeout)?;
            self.bell.hear();
            {
                let mut state = self.lock();
                (0..state.spaces.len()).try_for_each(|index| state.read_events(index))?;
            }
            self.ask()?;
        }
    }

    /// Puts the pieces of a connection in place, until its end.
    fn take(&self, mut from: &UnixStream) -> Result<(), Error> {
        let (mut bytes, mut packed) = (vec![0; IMAGE_CHUNK_MAX], Vec::new());
        loop {
            let mut head = [0; HEAD];
            from.read_exact(&mut head).map_err(Error::Pages)?;
            match Piece::decode(&head).ok_or(Error::PageHead)? {
                Piece::End => {
                    let mut state = self.lock();
                    state.is_streamed = true;
                    state.settle();
                    return Ok(());
                }
                Piece::Zero { address, len } => self.put(address, u64::from(len), None)?,
                Piece::Bytes { address, len, sum: told } => {
                    let bytes = &mut bytes[..len as usize];
                    from.read_exact(bytes).map_err(Error::Pages)?;
                    self.put_checked(address, bytes, told)?;
                }
                Piece::Packed { address, len, packed: count, sum: told } => {
                    let bytes = &mut bytes[..len as usize];
                    packed.resize(count as usize, 0);
                    from.read_exact(&mut packed).map_err(Error::Pages)?;
                    if !unpack(&packed, bytes) {
                        return Err(Error::PageSum { address });
                    }
                    self.put_checked(address, bytes, told)?;
                }
            }
            if self.lock().is_over {
                return Ok(());
            }
        }
    }

    /// Puts one piece in place, if its bytes are those that were sent.
    fn put_checked(&self, address: u64, bytes: &[u8], told: u64) -> Result<(), Error> {
        if sum(self.id, address, bytes) != told {
            return Err(Error::PageSum { address });
        }
        self.put(address, bytes.len() as u64, Some(bytes))
    }

    /// Puts one piece in place, in all processes that miss it; without bytes it is 0.
    fn put(&self, address: u64, len: u64, bytes: Option<&[u8]>) -> Result<(), Error> {
        let source = address..address.saturating_add(len);
        let mut progress = Progress::Changing;
        while progress == Progress::Changing {
            self.change(|state| {
                progress = state.fill(&source, bytes)?;
                Ok(())
            })?;
            if progress == Progress::Changing {
                thread::yield_now();
            }
        }
        Ok(())
    }

    /// Changes what is known. What that shows to be waited for is soon asked for.
    fn change(&self, what: impl FnOnce(&mut State) -> Result<(), Error>) -> Result<(), Error> {
        let mut state = self.lock();
        let before = state.spaces.len();
        let done = what(&mut state);
        let is_other = state.is_over || state.spaces.len() != before || !state.to_ask.is_empty();
        drop(state);
        if is_other {
            self.bell.ring();
        }
        done
    }

    /// Asks for what is to be asked for. By nobody but the one who hears: who takes answers must never wait
    /// for whoever sends them to take a request.
    fn ask(&self) -> Result<(), Error> {
        let asked = std::mem::take(&mut self.lock().to_ask);
        for address in asked {
            let request = Request { address, len: PAGE as u32 };
            let mut to = self.faults;
            to.write_all(&request.encode()).map_err(Error::Pages)?;
        }
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Takes note of what has happened in one process.
    fn read_events(&mut self, index: usize) -> Result<(), Error> {
        let Some(space) = self.spaces.get_mut(index) else { return Ok(()) };
        let mut events = Vec::new();
        space.pager.events(&mut events)?;
        let mut waiting = std::mem::take(&mut space.waiting);
        let mut born = Vec::new();
        for event in events {
            match event {
                Event::Fault { at } => waiting.push(at),
                Event::Forked(pager) => {
                    let (pager, missing) = (Arc::new(pager), space.missing.clone());
                    born.push(Space { pager, missing, waiting: Vec::new(), has_ended: false });
                }
                Event::Dropped { start, end } => space.missing.dropped(&(start..end)),
                Event::Unmapped { start, end } => space.missing.unmapped(&(start..end)),
                Event::Moved { from, to, len } => space.missing.moved(from, to, len),
            }
        }
        // The kernel tells of faults before it tells of what had changed by then.
        for at in waiting {
            match space.missing.source_of(at) {
                Some(source) if !self.is_streamed || self.asked.contains(&source) => {
                    if self.asked.insert(source) {
                        self.to_ask.push(source);
                        self.followed.faults += 1;
                    }
                }
                // Never there, or dropped; or there by now, which wakes who waited.
                Some(_) | None => {
                    let filled = space.pager.fill_zero(at, PAGE)?;
                    if filled.stopped == Some(Stopped::Changing) {
                        space.waiting.push(at);
                    }
                }
            }
        }
        self.spaces.extend(born);
        Ok(())
    }

    /// Puts a piece in place in all processes that miss some of it.
    fn fill(&mut self, source: &Range<u64>, bytes: Option<&[u8]>) -> Result<Progress, Error> {
        // A child that is heard of on the way is one more.
        let mut index = 0;
        while index < self.spaces.len() {
            if self.fill_one(index, source, bytes)? == Progress::Changing {
                self.read_events(index)?;
                return Ok(Progress::Changing);
            }
            index += 1;
        }
        if !self.asked.is_empty() {
            self.asked.retain(|page| !source.contains(page));
        }
        self.spaces.retain(|space| !space.has_ended);
        self.settle();
        Ok(Progress::Done)
    }

    /// It is over when nobody is left, or when the stream has ended and all answers are there: a page that
    /// was asked for may have come by no other way.
    fn settle(&mut self) {
        self.is_over |= self.spaces.is_empty() || (self.is_streamed && self.asked.is_empty());
    }

    fn fill_one(
        &mut self,
        index: usize,
        source: &Range<u64>,
        bytes: Option<&[u8]>,
    ) -> Result<Progress, Error> {
        let Space { pager, missing, has_ended, .. } = &mut self.spaces[index];
        let mut most = usize::MAX;
        while let Some(part) = missing.arriving(source).first().filter(|_| !*has_ended) {
            let len = ((part.source.end - part.source.start) as usize).min(most);
            let offset = (part.source.start - source.start) as usize;
            let filled = match bytes {
                Some(bytes) => pager.fill(part.at, &bytes[offset..offset + len])?,
                None => pager.fill_zero(part.at, len)?,
            };
            let end = part.source.start + filled.done as u64;
            missing.settled(&(part.source.start..end));
            if bytes.is_some() {
                self.followed.bytes += filled.done as u64;
            }
            match filled.stopped {
                None => {}
                Some(Stopped::Changing) => return Ok(Progress::Changing),
                // All must lie in one mapping; the process may have divided it, as `mprotect` does.
                Some(Stopped::Elsewhere) if len > PAGE => most = PAGE,
                // It was unmapped, and that is not told yet.
                Some(Stopped::Elsewhere) => missing.settled(&(end..end + PAGE as u64)),
                Some(Stopped::Ended) => *has_ended = true,
            }
        }
        Ok(Progress::Done)
    }
}
