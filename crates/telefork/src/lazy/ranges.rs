//! A set of addresses, as ranges.

use std::collections::BTreeMap;
use std::ops::Range;

/// Addresses, kept as the fewest ranges that hold them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Ranges(BTreeMap<u64, u64>);

impl Ranges {
    pub(super) fn insert(&mut self, range: Range<u64>) {
        if range.is_empty() {
            return;
        }
        let (mut start, mut end) = (range.start, range.end);
        // Those that overlap or touch become one with it.
        while let Some((&other, &other_end)) = self.0.range(..=end).next_back() {
            if other_end < start {
                break;
            }
            self.0.remove(&other);
            start = start.min(other);
            end = end.max(other_end);
        }
        self.0.insert(start, end);
    }

    pub(super) fn contains(&self, at: u64) -> bool {
        self.0.range(..=at).next_back().is_some_and(|(_, &end)| at < end)
    }

    /// The parts of a range that are in the set, in their order.
    pub(super) fn within(&self, range: &Range<u64>) -> Vec<Range<u64>> {
        let before = self.0.range(..range.start).next_back();
        let from = before.into_iter().chain(self.0.range(range.start..range.end));
        from.map(|(&start, &end)| start.max(range.start)..end.min(range.end))
            .filter(|part| !part.is_empty())
            .collect()
    }

    /// Removes a range, and returns what of it was there.
    pub(super) fn take(&mut self, range: &Range<u64>) -> Vec<Range<u64>> {
        let taken = self.within(range);
        for part in &taken {
            let Some((&start, &end)) = self.0.range(..=part.start).next_back() else { continue };
            self.0.remove(&start);
            if start < part.start {
                self.0.insert(start, part.start);
            }
            if part.end < end {
                self.0.insert(part.end, end);
            }
        }
        taken
    }

    /// The lowest range from an address on.
    pub(super) fn next(&self, from: u64) -> Option<Range<u64>> {
        let around = self.0.range(..=from).next_back().filter(|(_, end)| from < **end);
        let next = around.or_else(|| self.0.range(from..).next());
        next.map(|(&start, &end)| start.max(from)..end)
    }
}

impl FromIterator<Range<u64>> for Ranges {
    fn from_iter<I: IntoIterator<Item = Range<u64>>>(ranges: I) -> Self {
        let mut all = Self::default();
        ranges.into_iter().for_each(|range| all.insert(range));
        all
    }
}

#[cfg(test)]
mod tests;
