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
    /// The latest commit that is in it.
    sequence: u64,
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

    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// Begins one after the commit `sequence`, or finds the one that was begun under this number.
    /// Returns the commit that it is after.
    pub fn begin(
        &mut self,
        session: SessionId,
        number: u64,
        (first, count): (PageNo, u64),
        sequence: u64,
    ) -> Result<u64, Refusal> {
        let mut of_session = self.all.iter().filter(|snapshot| snapshot.session == session);
        if let Some(found) = of_session.clone().find(|snapshot| snapshot.number == number) {
            return Ok(found.sequence);
        }
        let max = match of_session.by_ref().count() {
            SNAPSHOTS_OF_SESSION_MAX.. => SNAPSHOTS_OF_SESSION_MAX,
            _ if self.all.len() >= SNAPSHOTS_MAX => SNAPSHOTS_MAX,
            _ => {
                let kept = HashMap::new();
                let snapshot = Snapshot { session, number, first, count, sequence, kept, held: 0 };
                self.all.push(snapshot);
                return Ok(sequence);
            }
        };
        let max = max as u64;
        Err(Refusal::OutOfBounds { what: Bound::Snapshots, value: max + 1, max })
    }

    /// A page is about to be written over; now it is so.
    pub fn replacing(&mut self, page: PageNo, version: Version, bytes: &Bytes) {
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

    /// Where a page of a snapshot is, and the commit that the snapshot is after.
    pub fn read(
        &self,
        session: SessionId,
        number: u64,
        page: PageNo,
    ) -> Result<(Found, u64), Refusal> {
        let snapshot = self
            .all
            .iter()
            .find(|snapshot| snapshot.session == session && snapshot.number == number)
            .ok_or(Refusal::NoSuchNumber { number })?;
        if !snapshot.covers(page) {
            let pages = snapshot.first.0.saturating_add(snapshot.count);
            return Err(Refusal::NoSuchPage { page, pages });
        }
        let found = match snapshot.kept.get(&page) {
            Some((version, bytes)) => Found::Kept(*version, bytes.clone()),
            None => Found::Current,
        };
        Ok((found, snapshot.sequence))
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
