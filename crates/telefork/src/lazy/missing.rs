//! Which pages of one process are still to come, and where they belong.
//!
//! Pages are asked for by the address that they had when the process was captured. The process may move
//! and drop them meanwhile, so where they belong is kept apart.

use std::collections::BTreeMap;
use std::ops::Range;

use super::ranges::Ranges;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Missing {
    /// Where memory is now: by its beginning, its end and the address that it had.
    places: BTreeMap<u64, Place>,
    /// Where each piece of it is now, by the address that its beginning had.
    by_source: BTreeMap<u64, u64>,
    /// The pages to come, by the addresses that they had.
    absent: Ranges,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Place {
    end: u64,
    source: u64,
}

/// Bytes that belong somewhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Part {
    pub(super) source: Range<u64>,
    /// Where the first of them belongs.
    pub(super) at: u64,
}

impl Missing {
    pub(super) fn new(left: impl IntoIterator<Item = Range<u64>>) -> Self {
        let mut missing = Self::default();
        for range in left {
            missing.put(range.clone(), range.start);
            missing.absent.insert(range);
        }
        missing
    }

    /// The address that the page at an address had, if it is still to come.
    pub(super) fn source_of(&self, at: u64) -> Option<u64> {
        let (&start, place) = self.places.range(..=at).next_back()?;
        let source = place.source + (at - start);
        (at < place.end && self.absent.contains(source)).then_some(source)
    }

    /// Where those pages of a range belong that are still to come.
    pub(super) fn arriving(&self, source: &Range<u64>) -> Vec<Part> {
        let mut parts = Vec::new();
        for absent in self.absent.within(source) {
            let before = self.by_source.range(..absent.start).next_back();
            let from = before.into_iter().chain(self.by_source.range(absent.clone()));
            for (&first, &at) in from {
                let end = first + (self.places[&at].end - at);
                let part = absent.start.max(first)..absent.end.min(end);
                if !part.is_empty() {
                    parts.push(Part { at: at + (part.start - first), source: part });
                }
            }
        }
        parts
    }

    /// These are not to come any more.
    pub(super) fn settled(&mut self, source: &Range<u64>) {
        self.absent.take(source);
    }

    /// The process has dropped what was here.
    pub(super) fn dropped(&mut self, range: &Range<u64>) {
        for (part, source) in self.within(range) {
            self.absent.take(&(source..source + (part.end - part.start)));
        }
    }

    pub(super) fn unmapped(&mut self, range: &Range<u64>) {
        self.dropped(range);
        self.cut(range);
    }

    pub(super) fn moved(&mut self, from: u64, to: u64, len: u64) {
        let parts = self.within(&(from..from.saturating_add(len)));
        self.cut(&(from..from.saturating_add(len)));
        for (part, source) in parts {
            let start = to + (part.start - from);
            self.put(start..start + (part.end - part.start), source);
        }
    }

    /// What of a range is kept track of, with the address that it had.
    fn within(&self, range: &Range<u64>) -> Vec<(Range<u64>, u64)> {
        let before = self.places.range(..range.start).next_back();
        let from = before.into_iter().chain(self.places.range(range.start..range.end));
        from.map(|(&start, place)| {
            let part = start.max(range.start)..place.end.min(range.end);
            (part.clone(), place.source + part.start.saturating_sub(start))
        })
        .filter(|(part, _)| !part.is_empty())
        .collect()
    }

    fn put(&mut self, range: Range<u64>, source: u64) {
        self.by_source.insert(source, range.start);
        self.places.insert(range.start, Place { end: range.end, source });
    }

    fn cut(&mut self, range: &Range<u64>) {
        for (part, _) in self.within(range) {
            let Some((&start, &place)) = self.places.range(..=part.start).next_back() else {
                continue;
            };
            self.places.remove(&start);
            self.by_source.remove(&place.source);
            if start < part.start {
                self.put(start..part.start, place.source);
            }
            if part.end < place.end {
                self.put(part.end..place.end, place.source + (part.end - start));
            }
        }
    }
}

#[cfg(test)]
mod tests;
