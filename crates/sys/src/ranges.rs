//! Lists of ranges, by address, that neither overlap nor touch.

use std::ops::Range;

/// Appends a range, which lies behind those that are there.
pub(crate) fn push(found: &mut Vec<Range<u64>>, range: Range<u64>) {
    match found.last_mut() {
        Some(last) if last.end == range.start => last.end = range.end,
        _ => found.push(range),
    }
}

/// What is in `of` and not in `without`.
pub(crate) fn subtract(of: &[Range<u64>], without: &[Range<u64>]) -> Vec<Range<u64>> {
    let mut found = Vec::new();
    let mut others = without.iter().peekable();
    for range in of {
        let mut at = range.start;
        while let Some(other) = others.peek().filter(|other| other.start < range.end) {
            if at < other.start {
                push(&mut found, at..other.start);
            }
            at = at.max(other.end);
            // It may reach into the next range.
            if other.end > range.end {
                break;
            }
            others.next();
        }
        if at < range.end {
            push(&mut found, at..range.end);
        }
    }
    found
}

/// What is in either; they may overlap.
pub fn union(one: &[Range<u64>], other: &[Range<u64>]) -> Vec<Range<u64>> {
    let mut found: Vec<Range<u64>> = Vec::new();
    let (mut one, mut other) = (one.iter().peekable(), other.iter().peekable());
    loop {
        let next = match (one.peek(), other.peek()) {
            (Some(a), Some(b)) if a.start <= b.start => one.next(),
            (Some(_), None) => one.next(),
            _ => other.next(),
        };
        let Some(next) = next else { return found };
        match found.last_mut() {
            Some(last) if last.end >= next.start => last.end = last.end.max(next.end),
            _ => found.push(next.clone()),
        }
    }
}

/// A range in pieces, each with whether it is in the list.
pub(crate) fn parts(range: Range<u64>, of: &[Range<u64>]) -> Vec<(Range<u64>, bool)> {
    let mut found = Vec::new();
    let mut at = range.start;
    let first = of.partition_point(|other| other.end <= range.start);
    for other in of[first..].iter().take_while(|other| other.start < range.end) {
        if at < other.start {
            found.push((at..other.start, false));
        }
        let end = other.end.min(range.end);
        found.push((at.max(other.start)..end, true));
        at = end;
    }
    if at < range.end {
        found.push((at..range.end, false));
    }
    found
}

#[cfg(test)]
mod tests;
