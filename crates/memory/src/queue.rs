//! Items of bytes, first in, first out.

use std::ops::Range;
use std::time::Duration;

use bytes::Bytes;
use wire::region::PageNo;
use wire::units::{Span, Time};

use crate::error::Error;
use crate::line::now;
use crate::region::Region;
use crate::transaction::Transaction;
use crate::values::page_at;

/// Bytes of a slot before its item.
const HEAD: usize = 4;
/// For how long after its time a queue waits to be told of what is put in.
const GRACE: Span = Span::from_secs(1);

/// A bounded queue in a range of pages, for any number of processes that put in and take out. Each
/// operation is one transaction: no item is taken twice, and none is lost.
///
/// The first page counts, each of the others holds one item; pages that were never written are an empty
/// queue. All numbers are little-endian:
///
/// | page | offset | bytes | |
/// |---|---|---|---|
/// | first | 0 | 8 | items that were ever taken out |
/// | first | 8 | 8 | items that were ever put in |
/// | first + 1 + (number of the item, from 0) modulo (pages - 1) | 0 | 4 | length of the item |
/// | | 4 | | the item |
///
/// ```no_run
/// # fn example(region: farcall_memory::Region) -> Result<(), farcall_memory::Error> {
/// let work = region.queue(0..101)?; // room for 100 items
/// work.push(b"slice 1")?;
/// while let Some(item) = work.pop_within(std::time::Duration::from_secs(1))? {
///     println!("{item:?}");
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Queue {
    region: Region,
    first: PageNo,
    room: u64,
}

impl Region {
    /// A queue in these pages, at least two: room for one item less than there are pages.
    pub fn queue(&self, pages: Range<u64>) -> Result<Queue, Error> {
        let count = pages.end.saturating_sub(pages.start);
        if count < 2 {
            return Err(Error::NoSuchPage {
                region: self.name().to_owned(),
                page: pages.start.saturating_add(1),
                pages: pages.end,
            });
        }
        Ok(Queue { region: self.clone(), first: PageNo(pages.start), room: count - 1 })
    }
}

impl Queue {
    /// How many items have room.
    pub fn capacity(&self) -> u64 {
        self.room
    }

    /// How many items are in it.
    pub fn len(&self) -> Result<u64, Error> {
        let (taken, put) = counts(&self.region.page(self.first.0).read()?.bytes);
        Ok(put.saturating_sub(taken))
    }

    /// There is nothing in it.
    pub fn is_empty(&self) -> Result<bool, Error> {
        self.len().map(|len| len == 0)
    }

    /// Puts an item in; [`Error::Full`] if there is no room.
    pub fn push(&self, item: &[u8]) -> Result<(), Error> {
        if self.try_push(item)? {
            return Ok(());
        }
        Err(Error::Full { region: self.region.name().to_owned(), what: "queue" })
    }

    /// Puts an item in, waiting for room at most so long. Whether there was any.
    pub fn push_within(&self, item: &[u8], timeout: Duration) -> Result<bool, Error> {
        self.wait(timeout, || Ok(self.try_push(item)?.then_some(()))).map(|done| done.is_some())
    }

    fn try_push(&self, item: &[u8]) -> Result<bool, Error> {
        let max = self.region.page_size() - HEAD;
        if item.len() > max {
            let (length, max) = (item.len() as u64, max as u64);
            let region = self.region.name().to_owned();
            return Err(Error::TooLarge { region, what: "an item", length, max });
        }
        self.region.transact(|tx| {
            let (taken, put) = self.counts(tx)?;
            if put - taken >= self.room {
                return Ok(false);
            }
            let slot = self.slot(put);
            tx.write(slot, 0, &(item.len() as u32).to_le_bytes())?;
            tx.write(slot, HEAD as u32, item)?;
            tx.write(self.first.0, 8, &(put + 1).to_le_bytes())?;
            Ok(true)
        })
    }

    /// Takes the oldest item out, if there is any.
    pub fn pop(&self) -> Result<Option<Bytes>, Error> {
        self.region.transact(|tx| {
            let (taken, put) = self.counts(tx)?;
            if taken == put {
                return Ok(None);
            }
            let slot = self.slot(taken);
            let bytes = tx.read(slot)?;
            let length = bytes.first_chunk().map_or(0, |head| u32::from_le_bytes(*head)) as usize;
            if HEAD + length > bytes.len() {
                return Err(self.wrong(slot));
            }
            tx.write(self.first.0, 0, &(taken + 1).to_le_bytes())?;
            Ok(Some(bytes.slice(HEAD..HEAD + length)))
        })
    }

    /// Takes the oldest item out, waiting for one at most so long. [`Error::Away`] if the node was not
    /// there when the time was over.
    pub fn pop_within(&self, timeout: Duration) -> Result<Option<Bytes>, Error> {
        self.wait(timeout, || self.pop())
    }

    /// Tries until it goes, each time that the counts have changed.
    fn wait<T>(
        &self,
        timeout: Duration,
        mut attempt: impl FnMut() -> Result<Option<T>, Error>,
    ) -> Result<Option<T>, Error> {
        let until: Time = now() + Span::from(timeout);
        let mut watch = None;
        loop {
            // What was begun is waited for, for its outcome matters; nothing is begun while the node is away.
            self.region.owner.up_by(until)?;
            if let Some(found) = attempt()? {
                return Ok(Some(found));
            }
            let left = until.since(now());
            if left == Span(0) {
                return Ok(None);
            }
            match &watch {
                // Watched before it is tried again, so nothing is missed.
                None => {
                    let counts = self.first.0..self.first.0 + 1;
                    watch = Some(self.region.watch_by(counts, until + GRACE)?);
                }
                Some(watch) => {
                    watch.next_within(left.into()).transpose()?;
                }
            }
        }
    }

    fn counts(&self, tx: &mut Transaction<'_>) -> Result<(u64, u64), Error> {
        let (taken, put) = counts(&tx.read(self.first.0)?);
        if put < taken || put - taken > self.room {
            return Err(self.wrong(self.first.0));
        }
        Ok((taken, put))
    }

    fn slot(&self, item: u64) -> u64 {
        page_at(self.first, 1 + item % self.room)
    }

    fn wrong(&self, page: u64) -> Error {
        Error::Layout { region: self.region.name().to_owned(), page, what: "queue" }
    }
}

/// Items taken out, and items put in.
fn counts(bytes: &[u8]) -> (u64, u64) {
    let word = |at: usize| {
        let bytes = bytes.get(at..).and_then(<[u8]>::first_chunk);
        bytes.map_or(0, |bytes| u64::from_le_bytes(*bytes))
    };
    (word(0), word(8))
}
