//! Bytes that must not leave: they are looked for in all that would be put into an image, and zeroed there.
//!
//! That is more than what the process has written: a file that is sent whole, since it is not trusted to be where
//! the copy wakes, may have them, too. A private mapping of one gets pages of its own then; the file stays as it is.

use std::ops::Range;

use sys::pagemap::Pagemap;
use sys::{Pid, process_memory};
use wire::image::memory::{MappingKind, Sharing};

use super::pages::{Selected, is_not_forked};
use super::search::Search;
use crate::{Description, Error};

/// Bytes that are looked at together: they stay in the processor's cache.
const CHUNK: usize = 1 << 17;

/// In the memory of a process that stands still and is described so, or only near these ranges, which are in their
/// order: a secret may begin before one, and go on behind it. It must not be one whose memory others go on using.
pub(super) fn wipe(
    pid: Pid,
    description: &Description,
    secrets: &[&[u8]],
    within: Option<&[Range<u64>]>,
) -> Result<u64, Error> {
    let mut search = Search::new(secrets);
    Ok(cover(pid, places(pid, description, &search, within, false)?, &mut search, &[0])?.len()
        as u64)
}

/// The same everywhere with these bytes again and again in the place of zeros; returns where. Not in what a fork
/// does not copy: of that the process has nothing.
pub(super) fn hide(
    pid: Pid,
    description: &Description,
    secrets: &[&[u8]],
    beneath: &[u8],
) -> Result<Vec<Range<u64>>, Error> {
    let mut search = Search::new(secrets);
    cover(pid, places(pid, description, &search, None, true)?, &mut search, beneath)
}

/// Where it is looked.
struct Place {
    range: Range<u64>,
    /// What others have, too, they would lose: it is looked at, and is not to go.
    is_shared: bool,
}

fn places(
    pid: Pid,
    description: &Description,
    search: &Search<'_>,
    within: Option<&[Range<u64>]>,
    is_fork: bool,
) -> Result<Vec<Place>, Error> {
    let mut places = Vec::new();
    if search.is_for_nothing() {
        return Ok(places);
    }
    let pagemap = Pagemap::open(pid)?;
    let page = u64::from(description.host.page_size);
    for mapping in &description.mappings {
        let is_kernels = matches!(mapping.kind, MappingKind::Special { .. });
        if is_kernels || is_fork && is_not_forked(mapping) {
            continue;
        }
        let is_shared = mapping.sharing == Sharing::Shared;
        for range in Selected::of(pid, &pagemap, mapping, page)?.bytes {
            let ranges = match within {
                // What others write nobody has watched.
                Some(near) if !is_shared => common(&range, near, search.longest() as u64),
                _ => vec![range],
            };
            places.extend(ranges.into_iter().map(|range| Place { range, is_shared }));
        }
    }
    Ok(places)
}

fn cover(
    pid: Pid,
    places: Vec<Place>,
    search: &mut Search<'_>,
    beneath: &[u8],
) -> Result<Vec<Range<u64>>, Error> {
    let mut hidden = Vec::new();
    for place in &places {
        for at in place.range.clone().step_by(CHUNK) {
            let len = (place.range.end - at).min(CHUNK as u64) as usize;
            process_memory::read(pid, at, search.room(at, len))?;
            for found in search.found() {
                let first = places.partition_point(|place| place.range.end <= found.start);
                let mut touched = places[first..].iter();
                let mut touched = touched.by_ref().take_while(|it| it.range.start < found.end);
                if touched.any(|place| place.is_shared) {
                    return Err(Error::SharedSecret { address: found.start });
                }
                let len = (found.end - found.start) as usize;
                let cover: Vec<u8> = beneath.iter().copied().cycle().take(len).collect();
                process_memory::write(pid, found.start, &cover)?;
                hidden.push(found);
            }
        }
    }
    hidden.sort_unstable_by_key(|range| range.start);
    Ok(hidden)
}

/// What a range has in common with others, each of them a little larger than it is.
fn common(range: &Range<u64>, others: &[Range<u64>], larger: u64) -> Vec<Range<u64>> {
    let mut found: Vec<Range<u64>> = Vec::new();
    let begin = others.partition_point(|other| other.end.saturating_add(larger) <= range.start);
    for other in &others[begin..] {
        let start = other.start.saturating_sub(larger).max(range.start);
        let end = other.end.saturating_add(larger).min(range.end);
        if start >= range.end {
            break;
        }
        match found.last_mut() {
            Some(last) if last.end >= start => last.end = last.end.max(end),
            _ if start < end => found.push(start..end),
            _ => {}
        }
    }
    found
}
