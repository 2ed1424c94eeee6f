//! Where the pages of an image may go: each lies in a mapping, or the image is refused.

use std::collections::BTreeMap;
use std::ops::Range;

use wire::image::memory::Run;

use super::nouns::PAGE;
use crate::Refusal;

/// What becomes of pages in some range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Into memory that is all 0.
    Empty,
    /// Into memory that shows a file until it is written.
    OverFile,
    /// They are kept aside: the kernel's code, which is patched.
    Kept,
    /// Nowhere: the kernel has its own there.
    Nowhere,
    /// There can be none.
    Forbidden,
}

/// Pages that an image has named, each once.
#[derive(Debug, Default)]
pub(super) struct Named(BTreeMap<u64, u64>);

impl Named {
    pub(super) fn add(&mut self, runs: &[Run]) -> Result<(), Refusal> {
        for run in runs.iter().filter(|run| run.count > 0) {
            let twice = Refusal::Twice { page: run.page };
            let Some(end) = run.page.checked_add(u64::from(run.count)) else { return Err(twice) };
            let before = self.0.range(..end).next_back();
            if before.is_some_and(|(_, known)| *known > run.page) {
                return Err(twice);
            }
            self.0.insert(run.page, end);
        }
        Ok(())
    }
}

/// All ranges that pages can be in, by address.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Places(Vec<(Range<u64>, Place)>);

impl Places {
    /// The next one, behind all others.
    pub(super) fn add(&mut self, range: Range<u64>, place: Place) {
        self.0.push((range, place));
    }

    /// The pieces of a run of pages that may come later: all of it must be memory of its own.
    pub fn empty(&self, run: Run) -> Result<Vec<Range<u64>>, Refusal> {
        let pieces = self.pieces(run)?.into_iter();
        pieces
            .map(|(range, place)| match place {
                Place::Empty => Ok(range),
                _ => Err(Refusal::Page { page: range.start / PAGE }),
            })
            .collect()
    }

    /// The pieces of a run of pages, each within one place.
    pub fn pieces(&self, run: Run) -> Result<Vec<(Range<u64>, Place)>, Refusal> {
        let page_at = |at: u64| Refusal::Page { page: at / PAGE };
        let start = run.page.checked_mul(PAGE).ok_or(Refusal::Page { page: run.page })?;
        let length = u64::from(run.count) * PAGE;
        let end = start.checked_add(length).ok_or(Refusal::Page { page: run.page })?;
        let mut pieces = Vec::new();
        let mut at = start;
        let mut index = self.0.partition_point(|(range, _)| range.end <= start);
        while at < end {
            let Some((range, place)) = self.0.get(index).filter(|(range, _)| range.start <= at)
            else {
                return Err(page_at(at));
            };
            if *place == Place::Forbidden {
                return Err(page_at(at));
            }
            let stop = range.end.min(end);
            pieces.push((at..stop, *place));
            at = stop;
            index += 1;
        }
        Ok(pieces)
    }
}

#[cfg(test)]
mod tests;
