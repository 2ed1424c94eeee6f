//! Makes the memory of a process: the first half of what a plan says.
//!
//! ```text
//!   begin   the husk is emptied; the kernel's own memory goes to its place, and all mappings are made
//!   pages   bytes go from the image into its memory
//! ```

use std::io::Read;
use std::ops::Range;

use sys::maps::Mapping;
use sys::ptrace::{REMOTE_LEN, Remote};
use sys::{Pid, process_memory};
use wire::image::memory::{Place as Elsewhere, Run, Sharing};
use wire::image::{Reader, Section};

use super::Memory;
use super::batch::{Argument, Batch};
use super::large::Large;
use super::nouns::{AT_THE_END, Map, Source};
use super::pages::{Named, Place};
use super::plan::Plan;
use super::vdso::Vdso;
use super::x86_64::ADDRESSES_END;
use crate::{Error, Refusal};

/// Bytes that are on their way at once: they stay in the processor's cache.
pub(super) const BUFFER: usize = 1 << 20;

/// What a husk is before it has any memory of its process.
#[derive(Debug)]
pub(super) struct Ground<'a> {
    /// Where calls have what they need, and the kernel's own is put aside.
    pub(super) room: u64,
    /// What it has mapped as the program that it was started as.
    pub(super) found: &'a [Mapping],
    /// Those of the files behind mappings come first.
    pub(super) numbers: &'a [i32],
}

/// Makes all memory of a husk. Returns what of it is still to come.
pub(super) fn make<R: Read>(
    remote: &mut Remote<'_>,
    plan: &Plan,
    ground: &Ground<'_>,
    memory: Memory,
    next: Option<Section>,
    from: &mut Reader<R>,
) -> Result<Vec<Range<u64>>, Error> {
    let room = ground.room;
    empty(remote, plan, room, ground.found)?;
    let mut batch = Batch::default();
    for map in &plan.maps {
        put_map(&mut batch, map, &map.range, |file| ground.numbers[file]);
        if batch.is_full() {
            batch.run(remote)?;
        }
    }
    batch.run(remote)?;
    let arrived = pages(remote, plan, memory, next, from)?;
    guard(remote, &arrived.guards)?;
    if let Vdso::Patched { specials, old } = &plan.vdso {
        let code = specials.iter().find(|special| special.name.0 == b"[vdso]");
        let here = room + REMOTE_LEN + code.map_or(0, |special| special.offset);
        process_memory::write(remote.pid(), old.range.start, &old.patched(arrived.kept, here)?)?;
    }
    Ok(arrived.left)
}

/// Takes away all that the husk has in memory but the kernel's own, which goes to its place.
fn empty(remote: &mut Remote<'_>, plan: &Plan, room: u64, found: &[Mapping]) -> Result<(), Error> {
    let mut batch = Batch::default();
    let flags = (libc::MREMAP_MAYMOVE | libc::MREMAP_FIXED) as u64;
    let staging = room + REMOTE_LEN;
    for (special, mapping) in super::here::specials_of(found) {
        let args =
            [mapping.range.start, special.length, special.length, flags, staging + special.offset];
        batch.must("move the kernel's memory of", libc::SYS_mremap, &args.map(Argument::from));
    }
    let end = staging + plan.vdso.staging();
    for (from, to) in [(0, room), (end, ADDRESSES_END)] {
        batch.must("empty", libc::SYS_munmap, &[from.into(), (to - from).into()]);
    }
    for (special, to) in plan.vdso.moves() {
        let from = staging + special.offset;
        let args = [from, special.length, special.length, flags, to.start];
        batch.must("move the kernel's memory of", libc::SYS_mremap, &args.map(Argument::from));
    }
    batch.run(remote)?;
    remote.find_instruction()?;
    Ok(())
}

/// Maps a range as this mapping is.
pub(super) fn put_map(
    batch: &mut Batch,
    map: &Map,
    range: &Range<u64>,
    files: impl Fn(usize) -> i32,
) {
    let (flags, descriptor, offset) = match map.source {
        _ if map.droppable => (MAP_DROPPABLE | libc::MAP_ANONYMOUS, -1, 0),
        Source::Anonymous => (libc::MAP_PRIVATE | libc::MAP_ANONYMOUS, -1, 0),
        Source::SharedAnonymous => (libc::MAP_SHARED | libc::MAP_ANONYMOUS, -1, 0),
        Source::File { file, offset, sharing: Sharing::Private } => {
            (libc::MAP_PRIVATE, files(file), offset)
        }
        Source::File { file, offset, sharing: Sharing::Shared } => {
            (libc::MAP_SHARED, files(file), offset)
        }
    };
    let grows = if map.grows_down { libc::MAP_GROWSDOWN | libc::MAP_STACK } else { 0 };
    let reserve = if map.no_reserve { libc::MAP_NORESERVE } else { 0 };
    let flags = flags | libc::MAP_FIXED_NOREPLACE | grows | reserve;
    let (start, length) = (range.start, range.end - range.start);
    let args = [
        start,
        length,
        map.protection() | if map.is_kept_open { libc::PROT_WRITE as u64 } else { 0 },
        flags as u64,
        i64::from(descriptor) as u64,
        offset,
    ];
    batch.must("map memory in", libc::SYS_mmap, &args.map(Argument::from));
    for advice in map.advice.iter().filter(|it| !AT_THE_END.contains(it)) {
        let args = [start, length, *advice as u64];
        batch.may("advise on memory of", libc::SYS_madvise, &args.map(Argument::from));
    }
    if let Some(name) = &map.name {
        let name = batch.text(&name.0);
        let args = [PR_SET_VMA.into(), 0.into(), start.into(), length.into(), name];
        batch.may("name memory of", libc::SYS_prctl, &args);
    }
}

/// From linux/mman.h (6.11 and 6.13) and linux/prctl.h.
const MAP_DROPPABLE: i32 = 0x08;
const MADV_GUARD_INSTALL: u64 = 102;
pub(super) const PR_SET_VMA: u64 = 0x5356_4d41;

/// What came behind a description.
struct Arrived {
    /// What is kept of the kernel's code.
    kept: Vec<u8>,
    /// Memory whose pages are still with the sender.
    left: Vec<Range<u64>>,
    /// Pages that raise SIGSEGV.
    guards: Vec<Range<u64>>,
}

/// Puts pages to where they belong, until the end mark.
fn pages<R: Read>(
    remote: &mut Remote<'_>,
    plan: &Plan,
    memory: Memory,
    mut next: Option<Section>,
    from: &mut Reader<R>,
) -> Result<Arrived, Error> {
    let pid = remote.pid();
    let mut large = Large::of(&plan.maps);
    let mut buffer = vec![0_u8; BUFFER];
    let (mut kept, mut left, mut guards) = (Vec::new(), Vec::new(), Vec::new());
    // Each page is told of once: so there are no more pieces than runs and mappings.
    let mut named = [Named::default(), Named::default(), Named::default()];
    while let Some(section) = next {
        match section {
            Section::Pages(told) => {
                let length = from.left() as usize;
                from.read(&mut buffer[..length])?;
                large.before(&told.runs, remote)?;
                fill(pid, plan, &told.runs, &buffer[..length], &mut kept)?;
            }
            Section::Placed(told) => match told.place {
                Elsewhere::Zero => {
                    named[0].add(&told.runs)?;
                    zero(pid, plan, &told.runs, &mut buffer)?;
                }
                Elsewhere::Guard => {
                    named[1].add(&told.runs)?;
                    for run in &told.runs {
                        guards
                            .extend(plan.places.pieces(*run)?.into_iter().map(|(range, _)| range));
                    }
                }
                Elsewhere::Known(_) => {
                    return Err(elsewhere(&told.runs, "the one who was to have it"));
                }
                Elsewhere::Sender if memory == Memory::Whole => {
                    return Err(elsewhere(&told.runs, "the sender"));
                }
                Elsewhere::Sender => {
                    named[2].add(&told.runs)?;
                    for run in &told.runs {
                        left.extend(plan.places.empty(*run)?);
                    }
                }
            },
            // Its bytes are read over: nothing here has such a file.
            Section::File(_) => {}
            Section::Host(_)
            | Section::Upon(_)
            | Section::Process(_)
            | Section::Thread(_)
            | Section::Mappings(_)
            | Section::Descriptors(_) => unreachable!("a reader gives none of these behind pages"),
        }
        next = from.next_section()?;
    }
    large.finish(remote)?;
    Ok(Arrived { kept, left, guards })
}

/// Has pages raise SIGSEGV (`MADV_GUARD_INSTALL`, Linux 6.13).
pub(super) fn guard(remote: &mut Remote<'_>, guards: &[Range<u64>]) -> Result<(), Error> {
    let mut batch = Batch::default();
    for range in guards {
        let args = [range.start, range.end - range.start, MADV_GUARD_INSTALL];
        batch.must("guard memory of", libc::SYS_madvise, &args.map(Argument::from));
        if batch.is_full() {
            batch.run(remote)?;
        }
    }
    batch.run(remote)?;
    Ok(())
}

pub(super) fn elsewhere(runs: &[Run], whom: &'static str) -> Error {
    Refusal::Elsewhere { page: runs.first().map_or(0, |run| run.page), whom }.into()
}

pub(super) fn fill(
    pid: Pid,
    plan: &Plan,
    runs: &[Run],
    mut bytes: &[u8],
    kept: &mut Vec<u8>,
) -> Result<(), Error> {
    // What lies in one stretch is written with one call.
    let mut pieces = Vec::with_capacity(runs.len());
    let mut flat = Vec::new();
    let all = bytes;
    let mut is_plain = true;
    for run in runs {
        for (range, place) in plan.places.pieces(*run)? {
            let (piece, rest) = bytes.split_at((range.end - range.start) as usize);
            bytes = rest;
            match place {
                Place::Empty | Place::OverFile => {
                    pieces.push(process_memory::Piece { at: range.start, len: piece.len() });
                    flat.push(piece);
                    continue;
                }
                Place::Kept => kept.extend_from_slice(piece),
                Place::Nowhere | Place::Forbidden => {}
            }
            is_plain = false;
        }
    }
    if is_plain {
        process_memory::write_pieces(pid, &pieces, all)?;
    } else {
        for (piece, bytes) in pieces.iter().zip(flat) {
            process_memory::write(pid, piece.at, bytes)?;
        }
    }
    Ok(())
}

fn zero(pid: Pid, plan: &Plan, runs: &[Run], buffer: &mut [u8]) -> Result<(), Error> {
    buffer.fill(0);
    for run in runs {
        for (range, place) in plan.places.pieces(*run)? {
            match place {
                Place::OverFile => {
                    let mut at = range.start;
                    while at < range.end {
                        let length = (range.end - at).min(buffer.len() as u64);
                        process_memory::write(pid, at, &buffer[..length as usize])?;
                        at += length;
                    }
                }
                // The kernel's code is nowhere 0 for a whole page, and memory is already.
                Place::Empty | Place::Kept | Place::Nowhere | Place::Forbidden => {}
            }
        }
    }
    Ok(())
}
