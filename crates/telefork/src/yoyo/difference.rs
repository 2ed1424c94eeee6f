//! What is to be mapped, unmapped and permitted otherwise, so that one list of mappings is the other: pure.

use std::ops::Range;

use wire::image::memory::{Mapping, MappingKind, Permissions, Sharing};

/// Steps, none of which concerns an address of another.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Difference {
    pub(super) map: Vec<(Range<u64>, u64)>,
    pub(super) protect: Vec<(Range<u64>, u64)>,
    pub(super) unmap: Vec<Range<u64>>,
}

/// One part of the address space, as it is on one side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Part {
    protection: u64,
    sharing: Sharing,
    /// The kernel's own.
    is_special: bool,
}

/// From what is mapped here to what is mapped there, but for one part of all addresses. Both lists are in their order.
pub(super) fn difference(
    here: &[Mapping],
    there: &[Mapping],
    but: &Range<u64>,
) -> Result<Difference, &'static str> {
    let mut cuts: Vec<u64> =
        here.iter().chain(there).flat_map(|mapping| [mapping.start, mapping.end]).collect();
    cuts.extend([but.start, but.end]);
    cuts.sort_unstable();
    cuts.dedup();
    let mut found = Difference::default();
    let (mut at_here, mut at_there) = (0, 0);
    for cut in cuts.windows(2) {
        let range = cut[0]..cut[1];
        let [was, is] = [part(here, &mut at_here, &range), part(there, &mut at_there, &range)];
        if (but.start <= range.start && range.end <= but.end) || was == is {
            continue;
        }
        if [was, is].iter().flatten().any(|part| part.is_special) {
            // Kernels have their own where they like.
            if was.is_some_and(|part| !part.is_special) {
                return Err("the kernel's own memory lies in the place of its memory");
            }
            continue;
        }
        if [was, is].iter().flatten().any(|part| part.sharing == Sharing::Shared) {
            return Err("it has mapped, unmapped or changed memory that others share");
        }
        match (was, is) {
            (_, None) => push(&mut found.unmap, range),
            (None, Some(is)) => push_with(&mut found.map, range, is.protection),
            (Some(_), Some(is)) => push_with(&mut found.protect, range, is.protection),
        }
    }
    Ok(found)
}

/// What a range is, which lies within one mapping or between two. Ranges are asked for in their order.
fn part(list: &[Mapping], at: &mut usize, range: &Range<u64>) -> Option<Part> {
    while list.get(*at).is_some_and(|mapping| mapping.end <= range.start) {
        *at += 1;
    }
    let mapping = list.get(*at).filter(|mapping| mapping.start <= range.start)?;
    Some(Part {
        protection: protection(mapping.permissions),
        sharing: mapping.sharing,
        is_special: matches!(mapping.kind, MappingKind::Special { .. }),
    })
}

fn push(list: &mut Vec<Range<u64>>, range: Range<u64>) {
    match list.last_mut() {
        Some(last) if last.end == range.start => last.end = range.end,
        _ => list.push(range),
    }
}

fn push_with(list: &mut Vec<(Range<u64>, u64)>, range: Range<u64>, protection: u64) {
    match list.last_mut() {
        Some((last, with)) if last.end == range.start && *with == protection => {
            last.end = range.end;
        }
        _ => list.push((range, protection)),
    }
}

/// As `mmap` takes it.
fn protection(permissions: Permissions) -> u64 {
    let flag = |is_set, flag: i32| if is_set { flag as u64 } else { 0 };
    flag(permissions.read, libc::PROT_READ)
        | flag(permissions.write, libc::PROT_WRITE)
        | flag(permissions.execute, libc::PROT_EXEC)
}

#[cfg(test)]
mod tests;
