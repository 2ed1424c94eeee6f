//! Bytes that must not leave: they are looked for wherever a process can have written, and zeroed there.

use std::ops::Range;

use memchr::memmem::Finder;
use sys::maps::Sharing;
use sys::pagemap::Pagemap;
use sys::{Pid, maps, process_memory};

use super::mappings::shared_memory;
use super::pages;
use crate::Error;

/// Bytes that are looked at together: they stay in the processor's cache.
const CHUNK: usize = 1 << 17;

/// In the memory of a process that stands still, or only near these ranges, which are in their order: a secret
/// may begin before one, and go on behind it. It must not be one whose memory others go on using.
pub(super) fn wipe(
    pid: Pid,
    secrets: &[&[u8]],
    within: Option<&[Range<u64>]>,
) -> Result<u64, Error> {
    Ok(hide(pid, secrets, &[0], within)?.len() as u64)
}

/// The same with these bytes again and again in the place of zeros; returns where.
pub(super) fn hide(
    pid: Pid,
    secrets: &[&[u8]],
    beneath: &[u8],
    within: Option<&[Range<u64>]>,
) -> Result<Vec<Range<u64>>, Error> {
    let finders: Vec<Finder<'_>> = secrets.iter().map(Finder::new).collect();
    // What lies across the border of two chunks is found in the second one.
    let overlap = secrets.iter().map(|secret| secret.len()).max().unwrap_or(0) as u64;
    if finders.iter().all(|finder| finder.needle().is_empty()) {
        return Ok(Vec::new());
    }
    let pagemap = Pagemap::open(pid)?;
    let mut chunk = Vec::with_capacity(CHUNK);
    let mut hidden = Vec::new();
    for mapping in maps::mappings(pid)? {
        if mapping.is_kernels() {
            continue;
        }
        // What others have, too, they would lose: it is looked at, and is not to go.
        let is_shared = mapping.sharing == Sharing::Shared;
        let ranges = match is_shared {
            false => {
                let own = pagemap.look(mapping.range)?.own;
                match within {
                    Some(near) => own.iter().flat_map(|range| common(range, near)).collect(),
                    None => own,
                }
            }
            true if shared_memory(&mapping).is_some() => pages::shared(pid, mapping.range)?,
            true => continue,
        };
        for written in ranges {
            let mut at = written.start;
            loop {
                let len = (written.end - at).min(CHUNK as u64);
                chunk.resize(len as usize, 0);
                process_memory::read(pid, at, &mut chunk)?;
                for finder in &finders {
                    for found in finder.find_iter(&chunk) {
                        if is_shared {
                            return Err(Error::SharedSecret { address: at + found as u64 });
                        }
                        let (start, len) = (at + found as u64, finder.needle().len());
                        let cover: Vec<u8> = beneath.iter().copied().cycle().take(len).collect();
                        process_memory::write(pid, start, &cover)?;
                        hidden.push(start..start + len as u64);
                    }
                }
                if at + len == written.end {
                    break;
                }
                at += len - overlap;
            }
        }
    }
    hidden.sort_unstable_by_key(|range| range.start);
    Ok(hidden)
}

/// What a range has in common with others, each of them a little larger than it is.
fn common(range: &Range<u64>, others: &[Range<u64>]) -> Vec<Range<u64>> {
    let mut found: Vec<Range<u64>> = Vec::new();
    let begin = others.partition_point(|other| other.end.saturating_add(NEAR) <= range.start);
    for other in &others[begin..] {
        let start = other.start.saturating_sub(NEAR).max(range.start);
        let end = other.end.saturating_add(NEAR).min(range.end);
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

/// No secret is larger.
const NEAR: u64 = 16 << 10;
