//! One page: reading it, and writing it in one step.

use std::time::Duration;

use bytes::Bytes;
use logic::regions::copy::{Outcome, Reading};
use wire::region::{Answer, PageNo, Request, Version};
use wire::units::{Span, Time};

use crate::driver::{Interest, Shared};
use crate::error::Error;
use crate::line::now;
use crate::pending::Pending;
use crate::region::Region;

/// One page of a region.
///
/// Its bytes change only by commits, and each commit gives it a higher version. Reading never waits for
/// a lock: it gets the last committed bytes together with their version.
#[derive(Clone, Debug)]
pub struct Page {
    pub(crate) region: Region,
    pub(crate) number: PageNo,
}

/// The bytes of a page at one version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// 1 where nothing was ever written, and higher with each commit.
    pub version: Version,
    /// The whole page; cheap to clone.
    pub bytes: Bytes,
}

/// How new a page has to be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Read {
    /// As it is when it is read: one round trip, in which the bytes travel only if they have changed.
    #[default]
    Latest,
    /// As it was at some moment no longer ago than that. Without any round trip if such bytes are here;
    /// pages that are read so again and again are watched, and kept that fresh in the background.
    Cached {
        /// How long ago that may be.
        max_age: Duration,
    },
}

impl Region {
    /// A page, from 0. That it exists is found out by whoever uses it.
    pub fn page(&self, number: u64) -> Page {
        Page { region: self.clone(), number: PageNo(number) }
    }

    /// Reads several pages, each as it is: one write, one round trip.
    pub fn read_many(&self, pages: &[u64]) -> Result<Vec<Snapshot>, Error> {
        let begin = |page: &u64| self.page(*page).begin_read();
        let pending: Vec<Pending<Snapshot>> = pages.iter().map(begin).collect();
        pending.into_iter().map(Pending::wait).collect()
    }

    /// Writes into several pages, each in a commit of its own: one write, one round trip. (All at once or
    /// none is what [`Region::transact`] does.)
    pub fn update_many(&self, writes: &[(u64, u32, &[u8])]) -> Result<Vec<Version>, Error> {
        let begin = |(page, offset, bytes): &(u64, u32, &[u8])| {
            self.page(*page).begin_update(*offset, bytes)
        };
        let pending: Vec<Pending<Version>> = writes.iter().map(begin).collect();
        pending.into_iter().map(Pending::wait).collect()
    }
}

impl Page {
    /// Its number.
    pub fn number(&self) -> u64 {
        self.number.0
    }

    /// Reads it as it is: one round trip. Threads that read the same page at the same time share one.
    pub fn read(&self) -> Result<Snapshot, Error> {
        let began = now();
        self.read_since(began, began)
    }

    /// Reads it no older than that.
    ///
    /// ```no_run
    /// # use farcall_memory::{Error, Page, Read};
    /// # use std::time::Duration;
    /// # fn example(page: &Page) -> Result<(), Error> {
    /// let read = Read::Cached { max_age: Duration::from_millis(50) };
    /// while page.read_as(read)?.bytes[0] == 0 { /* 100 ns a turn, not a round trip */ }
    /// # Ok(())
    /// # }
    /// ```
    pub fn read_as(&self, read: Read) -> Result<Snapshot, Error> {
        let Read::Cached { max_age } = read else { return self.read() };
        let max_age = Span::from(max_age);
        let owner = &self.region.owner;
        let at = now();
        let mut state = owner.state();
        if let Some((version, bytes)) = state.session.cached(at, self.number, max_age) {
            return Ok(Snapshot { version, bytes });
        }
        state.session.keep_fresh(at, self.number, max_age);
        owner.rouse_for_session(&mut state);
        drop(state);
        self.read_since(at, Time(at.0.saturating_sub(max_age.0).max(1)))
    }

    fn read_since(&self, began: Time, since: Time) -> Result<Snapshot, Error> {
        let owner = &self.region.owner;
        let mut state = owner.room(owner.state());
        let mut at = began;
        loop {
            match state.session.read(at, self.number, since) {
                Reading::There(version, bytes) => return Ok(Snapshot { version, bytes }),
                Reading::Asked(number) => {
                    state = owner.send(state);
                    let outcome;
                    (state, outcome) = owner.outcome(state, number);
                    match owner.answered(&state, outcome)? {
                        (Answer::Page { version }, bytes) => {
                            return Ok(Snapshot { version, bytes });
                        }
                        (Answer::Unchanged { version }, _) => {
                            let known = state.session.known(self.number);
                            if let Some((found, bytes)) = known.filter(|known| known.0 >= version) {
                                return Ok(Snapshot { version: found, bytes });
                            }
                            // Others have pushed it out meanwhile: once more, with the bytes.
                        }
                        (answer, _) => {
                            drop(state);
                            return Err(owner.unexpected(&answer));
                        }
                    }
                }
                Reading::Joined(number) => {
                    let interest = Interest::Request(number);
                    let settled = |state: &mut crate::driver::State| {
                        state.session.is_settled(number).then_some(())
                    };
                    state = owner.wait(state, interest, Time::NEVER, settled).0;
                }
            }
            at = now();
        }
    }

    /// Writes bytes from an offset on: one round trip. Waits while somebody else has the lock. Returns the
    /// new version.
    pub fn update(&self, offset: u32, bytes: &[u8]) -> Result<Version, Error> {
        self.write(None, offset, bytes)
    }

    /// The same, if the page still has this version; else [`Error::Conflict`], and nothing is changed.
    pub fn compare_and_update(
        &self,
        version: Version,
        offset: u32,
        bytes: &[u8],
    ) -> Result<Version, Error> {
        self.write(Some(version), offset, bytes)
    }

    fn write(
        &self,
        if_version: Option<Version>,
        offset: u32,
        bytes: &[u8],
    ) -> Result<Version, Error> {
        let owner = &self.region.owner;
        let request =
            Request::Update { page: self.number, offset, if_version, at_least: Version(0) };
        let (answer, _) = owner.ask(request, Bytes::copy_from_slice(bytes))?;
        committed(owner, self.number, answer)
    }

    /// Begins to read, and does not wait: any number of reads may be under way. They leave together
    /// when the first of them is waited for, or soon.
    pub fn begin_read(&self) -> Pending<Snapshot> {
        let owner = &self.region.owner;
        let mut state = owner.room(owner.state());
        let known = state.session.known_version(self.number);
        let at = now();
        let request = Request::Read { page: self.number, known };
        let number = state.session.ask(at, request, Bytes::new());
        drop(owner.send_soon(state, at));
        Pending::new(self.region.clone(), self.number, number, read_outcome)
    }

    /// Begins to write, and does not wait.
    pub fn begin_update(&self, offset: u32, bytes: &[u8]) -> Pending<Version> {
        let owner = &self.region.owner;
        let mut state = owner.room(owner.state());
        let at = now();
        let page = self.number;
        let request = Request::Update { page, offset, if_version: None, at_least: Version(0) };
        let number = state.session.ask(at, request, Bytes::copy_from_slice(bytes));
        drop(owner.send_soon(state, at));
        Pending::new(self.region.clone(), page, number, write_outcome)
    }
}

fn read_outcome(region: &Region, page: PageNo, outcome: Outcome) -> Result<Snapshot, Error> {
    let owner = &region.owner;
    let mut state = owner.state();
    match owner.answered(&state, outcome)? {
        (Answer::Page { version }, bytes) => Ok(Snapshot { version, bytes }),
        (Answer::Unchanged { version }, _) => {
            let known = state.session.known(page).filter(|known| known.0 >= version);
            drop(state);
            match known {
                Some((version, bytes)) => Ok(Snapshot { version, bytes }),
                None => region.page(page.0).read(),
            }
        }
        (answer, _) => {
            drop(state);
            Err(owner.unexpected(&answer))
        }
    }
}

fn write_outcome(region: &Region, page: PageNo, outcome: Outcome) -> Result<Version, Error> {
    let owner = &region.owner;
    let state = owner.state();
    let (answer, _) = owner.answered(&state, outcome)?;
    drop(state);
    committed(owner, page, answer)
}

/// The version that a write made.
pub(crate) fn committed(owner: &Shared, page: PageNo, answer: Answer) -> Result<Version, Error> {
    match answer {
        Answer::Committed { version } => Ok(version),
        Answer::Conflict { pages } => {
            let version = pages.first().map_or(0, |(_, version)| version.0);
            Err(Error::Conflict { region: owner.name.to_string(), page: page.0, version })
        }
        answer => Err(owner.unexpected(&answer)),
    }
}
