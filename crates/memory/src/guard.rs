//! Locks: a page alone, for as long as a guard lives.

use std::ops::Deref;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use wire::region::{Answer, Commit, PageNo, Request, Token, Version};
use wire::units::{Span, Time};

use crate::error::Error;
use crate::line::now;
use crate::page::{Page, committed};
use crate::region::Region;

/// For how long after its time a lock is waited for: the home counts the time itself, and its answer is
/// under way then.
const GRACE: Span = Span::from_secs(1);

/// The lock of a page, with its bytes. Whoever drops it rolls back: the page is as it was.
///
/// Locks are granted in the order of asking. One is held under a lease, which the client renews by
/// itself; a holder that is killed, stopped or cut off loses it when the lease is over (3 s), and what it
/// sends afterwards is refused by its token.
///
/// ```no_run
/// # fn example(region: farcall_memory::Region) -> Result<(), farcall_memory::Error> {
/// let mut guard = region.page(0).lock()?;
/// guard.bytes_mut()[0] += 1;
/// guard.commit()?; // only the bytes that differ are sent
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Guard {
    region: Region,
    page: PageNo,
    token: Token,
    version: Version,
    before: Bytes,
    bytes: Option<BytesMut>,
    is_over: bool,
}

impl Page {
    /// Waits for the page's lock, however long.
    pub fn lock(&self) -> Result<Guard, Error> {
        let guard = self.lock_within(None)?;
        // Without a time it is waited for until there is one.
        guard.ok_or_else(|| self.region.owner.unexpected(&Answer::Busy))
    }

    /// The page's lock, if nobody has it.
    pub fn try_lock(&self) -> Result<Option<Guard>, Error> {
        self.lock_within(Some(Span(0)))
    }

    /// Waits for the page's lock, at most so long (a second more where the node is slow to answer).
    /// [`Error::Away`] if the node was not there when the time was over.
    pub fn lock_for(&self, wait: Duration) -> Result<Option<Guard>, Error> {
        self.lock_within(Some(wait.into()))
    }

    pub(crate) fn lock_within(&self, wait: Option<Span>) -> Result<Option<Guard>, Error> {
        let (owner, page) = (&self.region.owner, self.number);
        let until = wait.map_or(Time::NEVER, |wait| now() + wait);
        let (mut state, token, version, bytes) = loop {
            let mut state = owner.room(owner.state());
            let at = now();
            let known = state.session.known_version(page);
            let wait = wait.map(|_| until.since(at));
            let number = state.session.ask(at, Request::Lock { page, known, wait }, Bytes::new());
            state = owner.send(state);
            let outcome;
            (state, outcome) = owner.outcome_by(state, number, until + GRACE);
            let Some(outcome) = outcome else {
                let is_up = state.session.is_up();
                drop(state);
                return if is_up { Ok(None) } else { Err(owner.away()) };
            };
            match owner.answered(&state, outcome)? {
                (Answer::Locked { token, version }, bytes) => {
                    break (state, token, version, bytes);
                }
                // The home says so before the time is over to those who were silent for a lease: they
                // have lost their place.
                (Answer::Busy, _) if now() < until => {}
                (Answer::Busy, _) => return Ok(None),
                (answer, _) => {
                    drop(state);
                    return Err(owner.unexpected(&answer));
                }
            }
        };
        owner.rouse_for_session(&mut state);
        let known = state.session.known(page).filter(|known| known.0 == version);
        drop(state);
        let region = self.region.clone();
        let mut guard =
            Guard { region, page, token, version, before: bytes, bytes: None, is_over: false };
        if guard.before.is_empty() && !self.region.is_coherent() {
            // Nobody else can change it while it is locked.
            guard.before = match known {
                Some((_, bytes)) => bytes,
                None => self.read()?.bytes,
            };
        }
        Ok(Some(guard))
    }
}

impl Guard {
    /// The page that is locked.
    pub fn page(&self) -> u64 {
        self.page.0
    }

    /// Rises with every grant of a lock in this region. Whoever keeps the highest that it has seen can
    /// tell late words of a lost holder from those of the present one.
    pub fn token(&self) -> Token {
        self.token
    }

    /// The version that the page has.
    pub fn version(&self) -> Version {
        self.version
    }

    /// The bytes, to be changed; `commit` makes them the page's.
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        self.bytes.get_or_insert_with(|| BytesMut::from(&self.before[..]))
    }

    /// The lock is still held, as far as is known here without asking.
    pub fn is_held(&self) -> bool {
        self.region.owner.state().session.holds(now(), self.page, self.token)
    }

    /// Writes what was changed and gives the lock back, in one round trip. The new version, or the old
    /// one if nothing was changed. [`Error::LostLock`] if the lock was lost: nothing is changed then.
    pub fn commit(mut self) -> Result<Version, Error> {
        let changed = self.bytes.take().map(BytesMut::freeze);
        let difference = changed.and_then(|bytes| difference(&self.before, &bytes));
        self.is_over = true;
        let owner = &self.region.owner;
        let (page, token) = (self.page, self.token);
        let mut state = owner.state();
        if !state.session.holds(now(), page, token) {
            // By our own clock it is over; the home may not have noticed.
            state.session.unlock(now(), page, token);
            let node = state.node.to_string();
            drop(owner.send(state));
            return Err(Error::LostLock { region: owner.name.to_string(), node, page: page.0 });
        }
        drop(state);
        let (commit, bytes) = match difference {
            Some((offset, bytes)) => (Commit::Bytes { offset }, bytes),
            None => (Commit::Nothing, Bytes::new()),
        };
        match owner.ask(Request::Unlock { page, token, commit }, bytes)? {
            (Answer::Released, _) => Ok(self.version),
            (answer, _) => committed(owner, page, answer),
        }
    }

    /// Gives the lock back, the page as it was, and waits until the node has it.
    pub fn rollback(mut self) -> Result<(), Error> {
        self.bytes = None;
        self.commit().map(|_| ())
    }
}

impl Deref for Guard {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        match &self.bytes {
            Some(bytes) => bytes,
            None => &self.before,
        }
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        if !self.is_over {
            let owner = &self.region.owner;
            let mut state = owner.state();
            state.session.unlock(now(), self.page, self.token);
            // It leaves at once: others wait for the lock.
            drop(owner.send(state));
        }
    }
}

/// From the first byte that differs to the last.
fn difference(before: &Bytes, after: &Bytes) -> Option<(u32, Bytes)> {
    let pairs = || before.iter().zip(after.iter());
    let first = pairs().position(|(old, new)| old != new)?;
    let last = pairs().rposition(|(old, new)| old != new)?;
    Some((first as u32, after.slice(first..=last)))
}
