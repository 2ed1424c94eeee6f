//! Values of one page: plain data, and a number that everybody adds to.

use std::fmt;
use std::marker::PhantomData;

use bytemuck::Pod;
use bytes::Bytes;
use wire::region::{Answer, PageNo, Request, Version};

use crate::error::Error;
use crate::page::Page;
use crate::region::Region;

/// Conflicts after which a counter queues for the lock instead: then its turn comes.
const OVERTAKEN_MAX: u32 = 8;

/// A value of plain data at the front of a page, as it lies in memory: `size_of::<T>()` bytes from offset
/// 0, in the byte order of the hosts that use it. A page that was never written holds zeros.
///
/// ```no_run
/// #[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
/// #[repr(C)]
/// struct Best {
///     score: f64,
///     generation: u64,
/// }
/// # fn example(region: farcall_memory::Region) -> Result<(), farcall_memory::Error> {
/// let best = region.cell::<Best>(3)?;
/// best.update(|best| {
///     best.score += 0.5;
///     best.generation += 1;
/// })?;
/// # Ok(())
/// # }
/// ```
pub struct Cell<T> {
    page: Page,
    of: PhantomData<fn(T) -> T>,
}

impl Region {
    /// A value of plain data on this page; it must fit.
    pub fn cell<T: Pod>(&self, page: u64) -> Result<Cell<T>, Error> {
        fits(self, "a value", size_of::<T>())?;
        Ok(Cell { page: self.page(page), of: PhantomData })
    }

    /// A number on this page.
    pub fn counter(&self, page: u64) -> Counter {
        Counter { page: self.page(page) }
    }
}

/// Checks that so many bytes fit in a page.
pub(crate) fn fits(region: &Region, what: &'static str, length: usize) -> Result<(), Error> {
    let max = region.page_size();
    if length <= max {
        return Ok(());
    }
    let (length, max) = (length as u64, max as u64);
    Err(Error::TooLarge { region: region.name().to_owned(), what, length, max })
}

impl<T: Pod> Cell<T> {
    /// The value, in one round trip.
    pub fn get(&self) -> Result<T, Error> {
        Ok(Self::value(&self.page.read()?.bytes))
    }

    /// The value with its version.
    pub fn read(&self) -> Result<(T, Version), Error> {
        let snapshot = self.page.read()?;
        Ok((Self::value(&snapshot.bytes), snapshot.version))
    }

    /// Writes it, whatever it was.
    pub fn set(&self, value: T) -> Result<Version, Error> {
        self.page.update(0, bytemuck::bytes_of(&value))
    }

    /// Writes it, if it still has this version; else [`Error::Conflict`].
    pub fn compare_and_set(&self, version: Version, value: T) -> Result<Version, Error> {
        self.page.compare_and_update(version, 0, bytemuck::bytes_of(&value))
    }

    /// Changes it, with nobody in between; `change` may be run several times. Returns the new value.
    pub fn update(&self, mut change: impl FnMut(&mut T)) -> Result<T, Error> {
        let page = self.page.number();
        self.page.region.transact(|tx| {
            let mut value = Self::value(&tx.read(page)?);
            change(&mut value);
            tx.write(page, 0, bytemuck::bytes_of(&value))?;
            Ok(value)
        })
    }

    /// The page that it lies on.
    pub fn page(&self) -> &Page {
        &self.page
    }

    fn value(bytes: &Bytes) -> T {
        bytemuck::pod_read_unaligned(&bytes[..size_of::<T>()])
    }
}

impl<T> Clone for Cell<T> {
    fn clone(&self) -> Self {
        Self { page: self.page.clone(), of: PhantomData }
    }
}

impl<T> fmt::Debug for Cell<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Cell").field(&self.page).finish()
    }
}

/// A number that any number of processes add to: `i64`, little-endian, in the first 8 bytes of a page.
///
/// Adding to a counter that nobody else has touched takes one round trip. Where many add at the same time
/// and one is overtaken again and again, it queues for the page's lock, so its turn comes.
#[derive(Clone, Debug)]
pub struct Counter {
    page: Page,
}

impl Counter {
    /// What it is now.
    pub fn get(&self) -> Result<i64, Error> {
        Ok(number(&self.page.read()?.bytes))
    }

    /// Adds, and returns what it is then. It wraps around at the ends.
    pub fn add(&self, delta: i64) -> Result<i64, Error> {
        let owner = &self.page.region.owner;
        let page = self.page.number;
        for _ in 0..OVERTAKEN_MAX {
            let known = owner.state().session.known(page);
            let (version, bytes) = match known {
                Some(known) => known,
                None => {
                    let snapshot = self.page.read()?;
                    (snapshot.version, snapshot.bytes)
                }
            };
            let sum = number(&bytes).wrapping_add(delta);
            let (if_version, at_least) = (Some(version), Version(0));
            let request = Request::Update { page, offset: 0, if_version, at_least };
            match owner.ask(request, Bytes::copy_from_slice(&sum.to_le_bytes()))? {
                (Answer::Committed { .. }, _) => return Ok(sum),
                // It brought the bytes of now.
                (Answer::Conflict { .. }, _) => {}
                (answer, _) => return Err(owner.unexpected(&answer)),
            }
        }
        let mut guard = self.page.lock()?;
        let sum = number(&guard).wrapping_add(delta);
        guard.bytes_mut()[..8].copy_from_slice(&sum.to_le_bytes());
        guard.commit()?;
        Ok(sum)
    }

    /// Makes it this number, whatever it was.
    pub fn set(&self, value: i64) -> Result<(), Error> {
        self.page.update(0, &value.to_le_bytes()).map(|_| ())
    }

    /// The page that it lies on.
    pub fn page(&self) -> &Page {
        &self.page
    }
}

/// The number at the front of a page; pages have at least 64 bytes.
fn number(bytes: &[u8]) -> i64 {
    bytes.first_chunk().map_or(0, |bytes| i64::from_le_bytes(*bytes))
}

/// Numbers of pages that are next to each other.
pub(crate) fn page_at(first: PageNo, at: u64) -> u64 {
    first.0.saturating_add(at)
}
