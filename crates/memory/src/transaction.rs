//! Several pages at once, or not at all.

use std::collections::BTreeMap;

use bytes::Bytes;
use wire::region::{Answer, PageNo, Request, Version, Write};
use wire::units::Span;

use crate::driver::Interest;
use crate::error::Error;
use crate::line::now;
use crate::region::Region;

/// How often a transaction is tried.
const ATTEMPTS_MAX: u32 = 1000;
/// Conflicts after which others are given time; before, trying again at once is quicker.
const AT_ONCE: u32 = 4;
const PAUSE: Span = Span::from_micros(20);
/// Bytes between two writes that are sent along, for one write costs less than two.
const GAP_MAX: usize = 64;
const PAUSE_MAX: Span = Span::from_millis(5);

/// What a transaction reads and writes; see [`Region::transact`].
pub struct Transaction<'a> {
    region: &'a Region,
    pages: BTreeMap<PageNo, Touched>,
    /// The closure's error is one of ours, and no decision of its own.
    has_failed: bool,
}

#[derive(Default)]
struct Touched {
    /// As it was read.
    read: Option<(Version, Bytes)>,
    /// As it is with what was written since, if it was read.
    written: Option<Vec<u8>>,
    /// What was written, by offset; no two of them touch.
    pieces: BTreeMap<usize, Vec<u8>>,
}

impl Region {
    /// Runs `work`, then commits what it wrote, if nothing that it read has changed: all of it or
    /// nothing. After a conflict `work` is run again, with the newer bytes, which the conflict brought;
    /// so it must have no effect but on `tx`. Transactions are serializable.
    ///
    /// Pages that are in the cache are read from there, which the commit verifies: a transaction on pages
    /// that this client was the last to use takes one round trip. What `work` sees may therefore be of
    /// different moments; when it was, nothing comes of it. Its error is returned only if what it saw
    /// was true at one moment; a panic leaves nothing behind.
    ///
    /// ```no_run
    /// # fn example(region: farcall_memory::Region) -> Result<(), farcall_memory::Error> {
    /// let left = region.transact(|tx| {
    ///     let amount = tx.read(0)?[0];
    ///     if amount == 0 {
    ///         return Ok(0);
    ///     }
    ///     tx.write(0, 0, &[amount - 1])?;
    ///     Ok(amount - 1)
    /// })?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn transact<T, E: From<Error>>(
        &self,
        mut work: impl FnMut(&mut Transaction<'_>) -> Result<T, E>,
    ) -> Result<T, E> {
        let mut random = 0;
        for attempt in 0..ATTEMPTS_MAX {
            if attempt >= AT_ONCE {
                self.give_way(attempt - AT_ONCE, &mut random);
            }
            let mut tx = Transaction { region: self, pages: BTreeMap::new(), has_failed: false };
            let result = work(&mut tx);
            if result.is_err() {
                if tx.has_failed {
                    return result;
                }
                // Nothing is written; but was it decided on what is true?
                tx.pages.values_mut().for_each(|touched| touched.pieces.clear());
            }
            if tx.commit()?.is_some() {
                return result;
            }
        }
        Err(Error::Overtaken { region: self.name().to_owned(), attempts: ATTEMPTS_MAX }.into())
    }

    /// Lets others go first, for a while that doubles and is drawn. For those who run transactions
    /// step by step, as the C interface does; `random` is 0 at first.
    #[doc(hidden)]
    pub fn give_way(&self, round: u32, random: &mut u64) {
        if *random == 0 {
            *random = transport::random_u64() | 1;
        }
        *random ^= *random << 13;
        *random ^= *random >> 7;
        *random ^= *random << 17;
        let most = (PAUSE.0 << round.min(16)).min(PAUSE_MAX.0);
        let until = now() + Span(most / 2 + *random % (most / 2));
        let owner = &self.owner;
        drop(owner.wait(owner.state(), Interest::Nothing, until, |_| None::<()>));
    }
}

impl Transaction<'_> {
    /// The bytes of a page, with what this transaction wrote into it.
    pub fn read(&mut self, page: u64) -> Result<Bytes, Error> {
        let page = PageNo(page);
        let missing = self.pages.get(&page).is_none_or(|touched| touched.read.is_none());
        if missing {
            self.fetch(&[page])?;
        }
        Ok(self.seen(page))
    }

    /// The same of several pages; those that are not in the cache are read in one round trip.
    pub fn read_many(&mut self, pages: &[u64]) -> Result<Vec<Bytes>, Error> {
        let pages: Vec<PageNo> = pages.iter().copied().map(PageNo).collect();
        let unread = |page: &&PageNo| self.pages.get(page).is_none_or(|page| page.read.is_none());
        let missing: Vec<PageNo> = pages.iter().filter(unread).copied().collect();
        self.fetch(&missing)?;
        Ok(pages.into_iter().map(|page| self.seen(page)).collect())
    }

    /// The version of a page that this transaction has read, on which it commits.
    pub fn version(&self, page: u64) -> Option<Version> {
        let (version, _) = self.pages.get(&PageNo(page))?.read.as_ref()?;
        Some(*version)
    }

    fn seen(&self, page: PageNo) -> Bytes {
        match self.pages.get(&page) {
            Some(Touched { written: Some(bytes), .. }) => Bytes::copy_from_slice(bytes),
            Some(Touched { read: Some((_, bytes)), .. }) => bytes.clone(),
            Some(Touched { read: None, written: None, .. }) | None => Bytes::new(),
        }
    }

    /// Makes sure that these pages were read.
    fn fetch(&mut self, pages: &[PageNo]) -> Result<(), Error> {
        let mut absent = Vec::new();
        {
            let mut state = self.region.owner.state();
            for &page in pages {
                match state.session.known(page) {
                    Some(known) => self.note(page, known),
                    None => absent.push(page.0),
                }
            }
        }
        if absent.is_empty() {
            return Ok(());
        }
        let snapshots = self.region.read_many(&absent);
        let snapshots = snapshots.inspect_err(|_| self.has_failed = true)?;
        for (page, snapshot) in absent.into_iter().zip(snapshots) {
            self.note(PageNo(page), (snapshot.version, snapshot.bytes));
        }
        Ok(())
    }

    fn note(&mut self, page: PageNo, read: (Version, Bytes)) {
        let touched = self.pages.entry(page).or_default();
        touched.read = Some(read);
        // It was written before it was read: what was written comes on top.
        for (offset, bytes) in std::mem::take(&mut touched.pieces) {
            touched.put(offset, &bytes);
        }
    }

    /// Writes bytes into a page from an offset on, when the transaction commits.
    pub fn write(&mut self, page: u64, offset: u32, bytes: &[u8]) -> Result<(), Error> {
        let max = self.region.page_size();
        if offset as usize + bytes.len() > max {
            self.has_failed = true;
            return Err(Error::WrongLength {
                region: self.region.name().to_owned(),
                offset: offset.into(),
                length: bytes.len() as u64,
                max: max as u64,
            });
        }
        self.pages.entry(PageNo(page)).or_default().put(offset as usize, bytes);
        Ok(())
    }

    /// The versions of what was written, or none: it has to be tried again.
    fn commit(self) -> Result<Option<Vec<Version>>, Error> {
        let read = |(page, touched): (&PageNo, &Touched)| {
            touched.read.as_ref().map(|(version, _)| (*page, *version))
        };
        let reads: Vec<(PageNo, Version)> = self.pages.iter().filter_map(read).collect();
        let (mut writes, mut bytes) = (Vec::new(), Vec::new());
        for (page, touched) in &self.pages {
            for (offset, piece) in touched.joined() {
                let (offset, length) = (offset as u32, piece.len() as u32);
                writes.push(Write { page: *page, offset, length });
                bytes.extend_from_slice(piece);
            }
        }
        if reads.is_empty() && writes.is_empty() {
            return Ok(Some(Vec::new()));
        }
        let owner = &self.region.owner;
        match owner.ask(Request::Transact { reads, writes }, Bytes::from(bytes))? {
            (Answer::Transacted { versions }, _) => Ok(Some(versions)),
            (Answer::Conflict { .. }, _) => Ok(None),
            (answer, _) => Err(owner.unexpected(&answer)),
        }
    }
}

impl Touched {
    fn put(&mut self, offset: usize, bytes: &[u8]) {
        if let Some((_, before)) = &self.read {
            let written = self.written.get_or_insert_with(|| before.to_vec());
            if let Some(place) = written.get_mut(offset..offset + bytes.len()) {
                place.copy_from_slice(bytes);
            }
        }
        // The piece before, if it reaches so far, takes it in, and those that it reaches then.
        let before = self.pieces.range(..=offset).next_back();
        let before = before.filter(|(start, piece)| *start + piece.len() >= offset);
        let start = before.map_or(offset, |(start, _)| *start);
        let mut piece = self.pieces.remove(&start).unwrap_or_default();
        let (from, to) = (offset - start, offset - start + bytes.len());
        piece.resize(piece.len().max(to), 0);
        piece[from..to].copy_from_slice(bytes);
        while let Some(next) = self.pieces.range(start..=start + piece.len()).next() {
            let next = *next.0;
            let other = self.pieces.remove(&next).unwrap_or_default();
            piece.extend(other.get(start + piece.len() - next..).unwrap_or_default());
        }
        self.pieces.insert(start, piece);
    }

    /// The pieces, those joined that are next to each other, with what was read in between.
    fn joined(&self) -> Vec<(usize, &[u8])> {
        let pieces = self.pieces.iter().map(|(start, piece)| (*start, &piece[..]));
        let Some(written) = &self.written else { return pieces.collect() };
        let mut joined: Vec<(usize, &[u8])> = Vec::new();
        for (start, piece) in pieces {
            let end = start + piece.len();
            match joined.last_mut() {
                Some((first, before)) if start <= *first + before.len() + GAP_MAX => {
                    *before = &written[*first..end];
                }
                Some(_) | None => joined.push((start, piece)),
            }
        }
        joined
    }
}

#[cfg(test)]
mod tests;
