//! Pages as they were: what a commit writes over is kept for whoever reads an older state.
//!
//! A snapshot costs nothing when it begins. Each commit shows what it is about to replace, and a
//! snapshot that has not seen the page change yet keeps the old bytes: a second owner of them, no
//! copy. Reading takes from what is kept, and else from the region, where nothing has changed.
//!
//! Elsewhere: the regions (`regions`), how a snapshot becomes memory (`memory::mapped`).

use std::collections::HashMap;

use bytes::Bytes;
use wire::limits::{SNAPSHOTS_HELD_MAX, SNAPSHOTS_MAX, SNAPSHOTS_OF_SESSION_MAX};
use wire::region::{Bound, PageNo, Refusal, SessionId, Version};

/// The snapshots of one region.
#[derive(Debug, Default)]
pub struct Snapshots {
    all: Vec<Snapshot>,
    held: u64,
}

#[derive(Debug)]
struct Snapshot {
    session: SessionId,
    number: u64,
    first: PageNo,
    count: u64,
    kept: HashMap<PageNo, (Version, Bytes)>,
    held: u64,
}

/// Where a page of a snapshot is.
#[derive(Debug, PartialEq, Eq)]
pub enum Found {
    /// It was written since: this is what it was.
    Kept(Version, Bytes),
    /// As it is in the region.
    Current,
}

impl Snapshots {
    /// Bytes that are kept for snapshots alone.
    pub fn held(&self) -> u64 {
        self.held
    }

    /// Begun again under the same number, it goes on as it is.
    pub fn begin(
        &mut self,
        session: SessionId,
        number: u64,
        first: PageNo,
        count: u64,
    ) -> Result<(), Refusal> {
        let of_session = self.all.iter().filter(|snapshot| snapshot.session == session);
        if of_session.clone().any(|snapshot| snapshot.number == number) {
            return Ok(());
        }
        let max = match of_session.count() {
            SNAPSHOTS_OF_SESSION_MAX.. => SNAPSHOTS_OF_SESSION_MAX,
            _ if self.all.len() >= SNAPSHOTS_MAX => SNAPSHOTS_MAX,
            _ => {
                let kept = HashMap::new();
                self.all.push(Snapshot { session, number, first, count, kept, held: 0 });
                return Ok(());
            }
        };
        let max = max as u64;
        Err(Refusal::OutOfBounds { what: Bound::Snapshots, value: max + 1, max })
    }

    /// A page is about to be written over; now it is so.
    pub fn replacing(&mut self, page: PageNo, version: Version, bytes: &Bytes) {
        if self.all.is_empty() {
            return;
        }
        for snapshot in &mut self.all {
            if snapshot.covers(page) && !snapshot.kept.contains_key(&page) {
                snapshot.kept.insert(page, (version, bytes.clone()));
                let length = bytes.len() as u64;
                snapshot.held += length;
                self.held += length;
            }
        }
        while self.held > SNAPSHOTS_HELD_MAX {
            let Some(most) = (0..self.all.len()).max_by_key(|at| self.all[*at].held) else {
                return;
            };
            self.held -= self.all.swap_remove(most).held;
        }
    }

    pub fn read(&self, session: SessionId, number: u64, page: PageNo) -> Result<Found, Refusal> {
        let snapshot = self
            .all
            .iter()
            .find(|snapshot| snapshot.session == session && snapshot.number == number)
            .ok_or(Refusal::NoSuchNumber { number })?;
        if !snapshot.covers(page) {
            let pages = snapshot.first.0.saturating_add(snapshot.count);
            return Err(Refusal::NoSuchPage { page, pages });
        }
        Ok(match snapshot.kept.get(&page) {
            Some((version, bytes)) => Found::Kept(*version, bytes.clone()),
            None => Found::Current,
        })
    }

    /// Whether there was one.
    pub fn end(&mut self, session: SessionId, number: u64) -> bool {
        let before = self.all.len();
        self.all.retain(|snapshot| snapshot.session != session || snapshot.number != number);
        self.held = self.all.iter().map(|snapshot| snapshot.held).sum();
        self.all.len() < before
    }

    /// A session is over.
    pub fn lost(&mut self, session: SessionId) {
        self.all.retain(|snapshot| snapshot.session != session);
        self.held = self.all.iter().map(|snapshot| snapshot.held).sum();
    }
}

impl Snapshot {
    fn covers(&self, page: PageNo) -> bool {
        page >= self.first && page.0 - self.first.0 < self.count
    }
}

#[cfg(test)]
mod tests;
