//! Ranges of addresses: one without others or with them, and the runs of pages that it is in an image.

use std::ops::Range;

use wire::image::memory::Run;

/// A range without others, which are in their order: those cannot be read.
pub(super) fn without(range: Range<u64>, others: &[Range<u64>]) -> Vec<Range<u64>> {
    let mut found = Vec::new();
    let mut at = range.start;
    for other in others.iter().filter(|it| it.start < range.end && range.start < it.end) {
        if at < other.start {
            found.push(at..other.start);
        }
        at = at.max(other.end);
    }
    if at < range.end {
        found.push(at..range.end);
    }
    found
}

/// What a range has in common with others, which are in their order.
pub(super) fn common(range: &Range<u64>, others: &[Range<u64>]) -> Vec<Range<u64>> {
    let begin = others.partition_point(|other| other.end <= range.start);
    let near = others[begin..].iter().take_while(|other| other.start < range.end);
    near.map(|other| other.start.max(range.start)..other.end.min(range.end)).collect()
}

/// A range of addresses in runs, each as long as one can be.
pub(super) fn runs(range: Range<u64>, page: u64) -> Vec<Run> {
    let (mut at, end) = (range.start / page, range.end / page);
    let mut found = Vec::new();
    while at < end {
        let count = u32::try_from(end - at).unwrap_or(u32::MAX);
        found.push(Run { page: at, count });
        at += u64::from(count);
    }
    found
}

/// In their order, and each address once.
pub(crate) fn merged(mut ranges: Vec<Range<u64>>) -> Vec<Range<u64>> {
    ranges.sort_unstable_by_key(|range| range.start);
    let mut found: Vec<Range<u64>> = Vec::with_capacity(ranges.len());
    for range in ranges {
        match found.last_mut() {
            Some(last) if range.start <= last.end => last.end = last.end.max(range.end),
            _ => found.push(range),
        }
    }
    found
}
