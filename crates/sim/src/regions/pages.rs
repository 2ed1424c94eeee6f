//! What lies on which page, and what a page's bytes mean.
//!
//! ```text
//!   page   0            8            16                     64
//!          | number     | tag        | scribbles, 8 each    |
//! ```
//!
//! The tag is another one for each commit, so that bytes show who wrote them.

use std::ops::Range;

pub(crate) const PAGE: usize = 64;
/// Accounts: numbers that always sum up to nothing.
pub(crate) const BANK: Range<u64> = 0..4;
/// A ring: each page's number says how much further than the next page its successor is.
pub(crate) const RING: Range<u64> = 4..9;
/// Counted by compare-and-set.
pub(crate) const COUNTERS: Range<u64> = 9..11;
/// Counted under a lock.
pub(crate) const LOCKED: Range<u64> = 11..13;
/// A line: its first page counts what was put in and what was taken out; the others are places.
pub(crate) const LINE: Range<u64> = 13..17;
pub(crate) const PAGES: u64 = 17;

pub(crate) fn number(bytes: &[u8]) -> u64 {
    bytes.first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes))
}

/// Number and tag, as they lie on a page.
pub(crate) fn words(number: u64, tag: u64) -> Vec<u8> {
    [number.to_le_bytes(), tag.to_le_bytes()].concat()
}

/// Who follows on this page of the ring.
pub(crate) fn successor(page: u64, bytes: &[u8]) -> u64 {
    let length = RING.end - RING.start;
    RING.start + (page - RING.start + 1 + number(bytes)) % length
}

/// The number that makes `next` follow on `page`.
pub(crate) fn pointing(page: u64, next: u64) -> u64 {
    let length = RING.end - RING.start;
    (next + 2 * length - page - 1) % length
}
