//! Keys and values of bytes, in pages that are buckets.

use std::ops::Range;

use bytes::{BufMut, Bytes};
use wire::region::PageNo;

use crate::error::Error;
use crate::region::Region;
use crate::transaction::Transaction;
use crate::values::page_at;

/// Buckets that a key may be in: its own, and those after it.
const PROBES: u64 = 8;
/// Bytes of a bucket before its entries.
const HEAD: usize = 8;
/// Bytes of an entry beside its key and its value.
const ENTRY: usize = 8;

/// A map from bytes to bytes in a range of pages, for any number of processes. Each operation is one
/// transaction: exact, whoever else does what.
///
/// Every page of the range is a bucket; pages that were never written are empty ones, so a fresh range
/// needs no preparation. All numbers are little-endian:
///
/// | offset | bytes | |
/// |---|---|---|
/// | 0 | 4 | bytes of entries that follow |
/// | 4 | 1 | 1: an entry of this bucket's did once go to a later one |
/// | 5 | 3 | 0 |
/// | 8 | | entries: length of the key (4), length of the value (4), key, value |
///
/// A key's bucket is the 64-bit FNV-1a hash of its bytes, modulo the number of pages; where that is full
/// it goes to one of the seven after it (the first follows the last). What goes nowhere is refused with
/// [`Error::Full`].
///
/// ```no_run
/// # fn example(region: farcall_memory::Region) -> Result<(), farcall_memory::Error> {
/// let ages = region.map_of(0..64)?;
/// ages.insert(b"ada", b"36")?;
/// assert_eq!(ages.get(b"ada")?.as_deref(), Some(&b"36"[..]));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Map {
    region: Region,
    first: PageNo,
    count: u64,
}

impl Region {
    /// A map in these pages.
    pub fn map_of(&self, pages: Range<u64>) -> Result<Map, Error> {
        let count = pages.end.saturating_sub(pages.start);
        if count == 0 {
            return Err(Error::NoSuchPage {
                region: self.name().to_owned(),
                page: pages.start,
                pages: pages.start,
            });
        }
        Ok(Map { region: self.clone(), first: PageNo(pages.start), count })
    }
}

/// Where an entry lies in a bucket.
struct Found {
    start: usize,
    value: Range<usize>,
}

impl Map {
    /// The value of a key.
    pub fn get(&self, key: &[u8]) -> Result<Option<Bytes>, Error> {
        self.region.transact(|tx| {
            Ok(self.find(tx, key)?.map(|(_, bytes, found)| bytes.slice(found.value)))
        })
    }

    /// Gives a key a value; the one that it had.
    pub fn insert(&self, key: &[u8], value: &[u8]) -> Result<Option<Bytes>, Error> {
        self.region.transact(|tx| {
            let mut before = None;
            if let Some((page, bytes, found)) = self.find(tx, key)? {
                before = Some(bytes.slice(found.value.clone()));
                self.cut(tx, page, &bytes, &found)?;
            }
            self.place(tx, key, value)?;
            Ok(before)
        })
    }

    /// Takes a key out; its value.
    pub fn remove(&self, key: &[u8]) -> Result<Option<Bytes>, Error> {
        self.region.transact(|tx| {
            let Some((page, bytes, found)) = self.find(tx, key)? else { return Ok(None) };
            self.cut(tx, page, &bytes, &found)?;
            Ok(Some(bytes.slice(found.value)))
        })
    }

    /// Changes the value of a key, with nobody in between: `change` is given what it is and returns what
    /// it is to be (`None`: nothing). It may be run several times.
    pub fn update(
        &self,
        key: &[u8],
        mut change: impl FnMut(Option<&[u8]>) -> Option<Vec<u8>>,
    ) -> Result<(), Error> {
        loop {
            let before = self.get(key)?;
            let after = change(before.as_deref());
            if self.swap(key, before.as_deref(), after.as_deref())? {
                return Ok(());
            }
        }
    }

    /// Gives a key another value if it still has this one (`None`: none). Whether it did.
    pub fn swap(
        &self,
        key: &[u8],
        before: Option<&[u8]>,
        after: Option<&[u8]>,
    ) -> Result<bool, Error> {
        self.region.transact(|tx| {
            let found = self.find(tx, key)?;
            let value = found.as_ref().map(|(_, bytes, found)| &bytes[found.value.clone()]);
            if value != before {
                return Ok(false);
            }
            if let Some((page, bytes, found)) = found {
                self.cut(tx, page, &bytes, &found)?;
            }
            match after {
                Some(value) => self.place(tx, key, value).map(|()| true),
                None => Ok(true),
            }
        })
    }

    /// All entries, in no order. Each bucket is read at one moment, not all of them.
    pub fn entries(&self) -> Result<Vec<(Bytes, Bytes)>, Error> {
        let pages: Vec<u64> = (0..self.count).map(|at| page_at(self.first, at)).collect();
        let mut entries = Vec::new();
        for pages in pages.chunks(256) {
            for (page, snapshot) in pages.iter().zip(self.region.read_many(pages)?) {
                let bytes = snapshot.bytes;
                let end = HEAD + self.used(*page, &bytes)?;
                let mut at = HEAD;
                while at < end {
                    let (key, value) = self.entry(*page, &bytes, at, end)?;
                    at = value.end;
                    entries.push((bytes.slice(key), bytes.slice(value)));
                }
            }
        }
        Ok(entries)
    }

    /// Adds an entry of a key that has none.
    fn place(&self, tx: &mut Transaction<'_>, key: &[u8], value: &[u8]) -> Result<(), Error> {
        let size = self.region.page_size();
        let needed = ENTRY + key.len() + value.len();
        let region = || self.region.name().to_owned();
        if HEAD + needed > size {
            let length = (key.len() + value.len()) as u64;
            let (what, max) = ("a key with its value", (size - HEAD - ENTRY) as u64);
            return Err(Error::TooLarge { region: region(), what, length, max });
        }
        for page in self.buckets(key) {
            let bytes = tx.read(page)?;
            let used = self.used(page, &bytes)?;
            if HEAD + used + needed <= size {
                let mut entry = Vec::with_capacity(needed);
                entry.put_u32_le(key.len() as u32);
                entry.put_u32_le(value.len() as u32);
                entry.put_slice(key);
                entry.put_slice(value);
                tx.write(page, (HEAD + used) as u32, &entry)?;
                return tx.write(page, 0, &((used + needed) as u32).to_le_bytes());
            }
            if bytes[4] == 0 {
                tx.write(page, 4, &[1])?;
            }
        }
        Err(Error::Full { region: region(), what: "map" })
    }

    fn buckets(&self, key: &[u8]) -> impl Iterator<Item = u64> {
        let (first, count, hash) = (self.first, self.count, fnv_1a(key));
        (0..PROBES.min(count)).map(move |probe| page_at(first, (hash % count + probe) % count))
    }

    fn used(&self, page: u64, bytes: &[u8]) -> Result<usize, Error> {
        let used = length(bytes, 0) as usize;
        if HEAD + used > bytes.len() { Err(self.wrong(page)) } else { Ok(used) }
    }

    fn wrong(&self, page: u64) -> Error {
        Error::Layout { region: self.region.name().to_owned(), page, what: "bucket of a map" }
    }

    /// The key and the value of the entry that begins at `at`.
    fn entry(
        &self,
        page: u64,
        bytes: &[u8],
        at: usize,
        end: usize,
    ) -> Result<(Range<usize>, Range<usize>), Error> {
        if at + ENTRY > end {
            return Err(self.wrong(page));
        }
        let key_end = at + ENTRY + length(bytes, at) as usize;
        let value_end = key_end + length(bytes, at + 4) as usize;
        if value_end > end {
            return Err(self.wrong(page));
        }
        Ok((at + ENTRY..key_end, key_end..value_end))
    }

    fn find(
        &self,
        tx: &mut Transaction<'_>,
        wanted: &[u8],
    ) -> Result<Option<(u64, Bytes, Found)>, Error> {
        for page in self.buckets(wanted) {
            let bytes = tx.read(page)?;
            let end = HEAD + self.used(page, &bytes)?;
            let mut at = HEAD;
            while at < end {
                let (key, value) = self.entry(page, &bytes, at, end)?;
                let (start, next) = (at, value.end);
                if bytes[key] == *wanted {
                    return Ok(Some((page, bytes, Found { start, value })));
                }
                at = next;
            }
            if bytes[4] == 0 {
                break;
            }
        }
        Ok(None)
    }

    fn cut(
        &self,
        tx: &mut Transaction<'_>,
        page: u64,
        bytes: &Bytes,
        found: &Found,
    ) -> Result<(), Error> {
        let used = self.used(page, bytes)?;
        let after = &bytes[found.value.end..HEAD + used];
        if !after.is_empty() {
            tx.write(page, found.start as u32, after)?;
        }
        let cut = found.value.end - found.start;
        tx.write(page, 0, &((used - cut) as u32).to_le_bytes())
    }
}

fn length(bytes: &[u8], at: usize) -> u32 {
    let bytes = bytes.get(at..).and_then(<[u8]>::first_chunk);
    bytes.map_or(0, |bytes| u32::from_le_bytes(*bytes))
}

fn fnv_1a(bytes: &[u8]) -> u64 {
    let step = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3);
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, step)
}
