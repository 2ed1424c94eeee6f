//! Which pages of a process go into an image, and putting them there.
//!
//! ```text
//!   anonymous memory              what was written of it, but pages that are all 0
//!   private, of a trusted file    what was written of it, zeros by name
//!   of any other file             all of it as far as the file goes
//!   shared memory                 all that is in it
//!   the vDSO                      all of it; nothing else of the kernel's
//!   guards                        by name
//! ```
//!
//! Bytes go through one small buffer, which stays in the processor's cache.

use std::fs::File;
use std::io::Write;
use std::ops::Range;

use sys::pagemap::Pagemap;
use sys::process_memory::{self, Piece};
use sys::{Pid, files};
use wire::image::memory::{Mapping, MappingKind, Pages, Place, Placed, Run, Sharing, Trust};
use wire::image::{Section, Writer};

use super::left::Left;
use super::ranges::{runs, without};
use super::search::Search;
use crate::{Description, Error};

/// Bytes that are read and put at once: less than the buffer of a Unix socket, so that the other side has
/// something to do while the next are read.
pub(super) const CHUNK: usize = 1 << 17;

/// What was put.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Sent {
    /// Pages whose bytes went.
    pub pages: u64,
    /// Pages that were found to be all 0, and were not sent.
    pub zeros: u64,
}

/// Puts the pages of all mappings of a process, but those of memory that is left behind. Those whose bytes
/// were kept are put as kept.
pub(super) fn send<W: Write>(
    pid: Pid,
    description: &Description,
    kept: &Kept,
    left: &Left,
    to: &mut Writer<W>,
) -> Result<Sent, Error> {
    let pagemap = Pagemap::open(pid)?;
    let page = u64::from(description.host.page_size);
    let mut sender = Sender::new(page, |pieces: &[Piece], bytes: &mut [u8]| {
        Ok(process_memory::read_pieces(pid, pieces, bytes)?)
    });
    let mut guards = [&kept.guards[..], &left.guards].concat();
    for mapping in &description.mappings {
        match kept.of(mapping) {
            Some(runs) => {
                sender.flush(to)?;
                for (at, bytes) in runs {
                    sender.put_bytes(*at, bytes, zeros(mapping), to)?;
                }
            }
            None => {
                let selected = match left.rest(mapping) {
                    None => Selected::of(pid, &pagemap, mapping, page)?,
                    // Only here is it looked at: looking takes as long as memory is large.
                    Some(parts) => Selected::own(&pagemap, parts)?,
                };
                for range in selected.bytes {
                    sender.put(range, zeros(mapping), to)?;
                }
                guards.extend(selected.guards);
            }
        }
    }
    sender.flush(to)?;
    for range in guards {
        let runs = runs(range, page);
        to.put(&Section::Placed(Placed { runs, place: Place::Guard }), &[])?;
    }
    Ok(sender.sent)
}

/// Bytes of mappings that a fork does not copy: by their beginnings, each with its runs of bytes.
#[derive(Debug, Default)]
pub(super) struct Kept {
    mappings: Vec<(u64, Vec<KeptRun>)>,
    guards: Vec<Range<u64>>,
}

/// Bytes at an address.
type KeptRun = (u64, Vec<u8>);

impl Kept {
    /// Of a process that is to be forked.
    pub(super) fn read(pid: Pid, description: &Description) -> Result<Self, Error> {
        // It is there twice then, and all else goes on.
        Self::read_at_most(pid, description, sys::proc::host_memory()? / 2)
    }

    /// Fails where there are more bytes to keep than these. Pages of zeros that go without saying are not kept.
    pub(super) fn read_at_most(
        pid: Pid,
        description: &Description,
        most: u64,
    ) -> Result<Self, Error> {
        let mut total = 0;
        let pagemap = Pagemap::open(pid)?;
        let page = u64::from(description.host.page_size);
        let mut kept = Self::default();
        for mapping in description.mappings.iter().filter(|mapping| is_not_forked(mapping)) {
            let mut runs = Vec::new();
            let selected = Selected::of(pid, &pagemap, mapping, page)?;
            kept.guards.extend(selected.guards);
            for range in selected.bytes {
                for at in range.clone().step_by(CHUNK) {
                    let len = (range.end - at).min(CHUNK as u64);
                    let mut bytes = vec![0; len as usize];
                    process_memory::read(pid, at, &mut bytes)?;
                    if zeros(mapping) == Zeros::Omitted && is_zero(&bytes) {
                        continue;
                    }
                    total += len;
                    if total > most {
                        return Err(Error::Shares { pid, most });
                    }
                    runs.push((at, bytes));
                }
            }
            kept.mappings.push((mapping.start, runs));
        }
        Ok(kept)
    }

    /// Puts zeros over these bytes wherever they are kept; returns how often they were.
    pub(super) fn wipe(&mut self, secrets: &[&[u8]]) -> u64 {
        let mut search = Search::new(secrets);
        let mut found = Vec::new();
        for (at, bytes) in self.mappings.iter().flat_map(|(_, runs)| runs) {
            search.room(*at, bytes.len()).copy_from_slice(bytes);
            found.extend(search.found());
        }
        for (at, bytes) in self.mappings.iter_mut().flat_map(|(_, runs)| runs) {
            let end = *at + bytes.len() as u64;
            for part in found.iter().filter(|part| part.start < end && *at < part.end) {
                let part = part.start.max(*at) - *at..part.end.min(end) - *at;
                bytes[part.start as usize..part.end as usize].fill(0);
            }
        }
        found.len() as u64
    }

    fn of(&self, mapping: &Mapping) -> Option<&[KeptRun]> {
        let by_start = |(start, _): &(u64, _)| *start;
        let at = self.mappings.binary_search_by_key(&mapping.start, by_start).ok()?;
        Some(&self.mappings[at].1)
    }
}

/// What is written to it afterwards is seen by both, or the twin does not have it (`MADV_DONTFORK`,
/// `MADV_WIPEONFORK`).
pub(super) fn is_not_forked(mapping: &Mapping) -> bool {
    let is_shared = mapping.sharing == Sharing::Shared
        && matches!(mapping.kind, MappingKind::Anonymous { .. } | MappingKind::File(_));
    is_shared || mapping.flags.contains(b"dc") || mapping.flags.contains(b"wf")
}

/// What is done with a page that is all 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Zeros {
    /// Nothing: it is that without being told of.
    Omitted,
    /// It is named, since it hides the file's.
    Named,
}

pub(super) fn zeros(mapping: &Mapping) -> Zeros {
    match &mapping.kind {
        MappingKind::File(file) if file.trust != Trust::No => Zeros::Named,
        _ => Zeros::Omitted,
    }
}

/// What is put of a mapping.
pub(super) struct Selected {
    /// Ranges of pages whose bytes are put.
    pub(super) bytes: Vec<Range<u64>>,
    pub(super) guards: Vec<Range<u64>>,
}

impl Selected {
    pub(super) fn of(
        pid: Pid,
        pagemap: &Pagemap,
        mapping: &Mapping,
        page: u64,
    ) -> Result<Self, Error> {
        let all = mapping.start..mapping.end;
        let bytes = match (&mapping.kind, mapping.sharing) {
            // Nothing of it is looked at: not all of it has page tables.
            (MappingKind::Guard, _) => return Ok(Self { bytes: Vec::new(), guards: Vec::new() }),
            (MappingKind::Special { name }, _) => {
                let bytes = if name.0 == b"[vdso]" { vec![all] } else { Vec::new() };
                return Ok(Self { bytes, guards: Vec::new() });
            }
            (MappingKind::Anonymous { .. }, Sharing::Shared) => shared(pid, all.clone())?,
            (MappingKind::File(file), Sharing::Shared) if file.deleted => shared(pid, all.clone())?,
            (MappingKind::File(file), _) if file.trust == Trust::No => {
                // What lies behind the end of a file cannot be read.
                let len = match file.identity.size {
                    0 => readable(pid, &all, page),
                    size => size.saturating_sub(file.offset).next_multiple_of(page),
                };
                vec![Range { start: all.start, end: all.end.min(all.start.saturating_add(len)) }]
            }
            (
                MappingKind::Anonymous { .. }
                | MappingKind::Heap
                | MappingKind::Stack
                | MappingKind::File(_),
                _,
            ) => {
                return Self::own(pagemap, vec![all]);
            }
        };
        let guards = pagemap.look(all)?.guards;
        let bytes = bytes.into_iter().flat_map(|range| without(range, &guards)).collect();
        Ok(Self { bytes, guards })
    }
}

impl Selected {
    /// Of memory that is the process's alone.
    fn own(pagemap: &Pagemap, parts: Vec<Range<u64>>) -> Result<Self, Error> {
        let mut selected = Self { bytes: Vec::new(), guards: Vec::new() };
        for part in parts {
            let found = pagemap.look(part)?;
            selected.bytes.extend(found.own);
            selected.guards.extend(found.guards);
        }
        Ok(selected)
    }
}

/// How far a mapping of a file of unknown size can be read, in bytes.
fn readable(pid: Pid, all: &Range<u64>, page: u64) -> u64 {
    let can_be_read = |at: &u64| process_memory::read(pid, *at, &mut [0]).is_ok();
    all.clone().step_by(page as usize).take_while(can_be_read).count() as u64 * page
}

/// What there is in shared memory, whether this process has touched it or another one. Where the kernel does not
/// tell, it is all: reading makes pages of what was none.
pub(super) fn shared(pid: Pid, all: Range<u64>) -> Result<Vec<Range<u64>>, Error> {
    let path = format!("/proc/{pid}/map_files/{:x}-{:x}", all.start, all.end);
    let Ok(file) = File::open(&path) else { return Ok(vec![all]) };
    let maps = sys::maps::mappings(pid)?;
    let Some(mapping) = maps.iter().find(|mapping| mapping.range.start == all.start) else {
        return Ok(vec![all]);
    };
    let offset = mapping.offset;
    let found = files::data(&file, offset..offset + (all.end - all.start))?;
    Ok(found
        .into_iter()
        .map(|it| it.start - offset + all.start..it.end - offset + all.start)
        .collect())
}

/// Collects ranges until a chunk is full.
struct Sender<F> {
    page: u64,
    read: F,
    waiting: Vec<Piece>,
    /// What is done with zeros of the pieces.
    zeros: Zeros,
    len: usize,
    buffer: Vec<u8>,
    sent: Sent,
}

impl<F: FnMut(&[Piece], &mut [u8]) -> Result<(), Error>> Sender<F> {
    fn new(page: u64, read: F) -> Self {
        let zeros = Zeros::Omitted;
        let (waiting, buffer) = (Vec::new(), vec![0; CHUNK]);
        Self { page, read, waiting, zeros, len: 0, buffer, sent: Sent::default() }
    }

    fn put<W: Write>(
        &mut self,
        range: Range<u64>,
        zeros: Zeros,
        to: &mut Writer<W>,
    ) -> Result<(), Error> {
        if self.zeros != zeros {
            self.flush(to)?;
            self.zeros = zeros;
        }
        let mut at = range.start;
        while at < range.end {
            let len = (range.end - at).min((CHUNK - self.len) as u64);
            self.waiting.push(Piece { at, len: len as usize });
            self.len += len as usize;
            at += len;
            if self.len == CHUNK {
                self.flush(to)?;
            }
        }
        Ok(())
    }

    /// Puts bytes that are there already, and nothing waits.
    fn put_bytes<W: Write>(
        &mut self,
        at: u64,
        bytes: &[u8],
        zeros: Zeros,
        to: &mut Writer<W>,
    ) -> Result<(), Error> {
        self.zeros = zeros;
        self.sort(&[Piece { at, len: bytes.len() }], bytes, to)
    }

    fn flush<W: Write>(&mut self, to: &mut Writer<W>) -> Result<(), Error> {
        let pieces = std::mem::take(&mut self.waiting);
        let len = std::mem::take(&mut self.len);
        if len == 0 {
            return Ok(());
        }
        let mut buffer = std::mem::take(&mut self.buffer);
        (self.read)(&pieces, &mut buffer[..len])?;
        let result = self.sort(&pieces, &buffer[..len], to);
        self.buffer = buffer;
        result
    }

    /// Puts pages with their bytes, and those that are all 0 by name.
    fn sort<W: Write>(
        &mut self,
        pieces: &[Piece],
        bytes: &[u8],
        to: &mut Writer<W>,
    ) -> Result<(), Error> {
        let (mut full, mut zero) = (Vec::new(), Vec::new());
        let mut slices: Vec<&[u8]> = Vec::new();
        let page = self.page as usize;
        let addresses = pieces
            .iter()
            .flat_map(|piece| (0..piece.len).step_by(page).map(|it| piece.at + it as u64));
        let (mut offset, mut from) = (0, 0);
        for at in addresses {
            let next = offset + page;
            if is_zero(&bytes[offset..next]) {
                if from < offset {
                    slices.push(&bytes[from..offset]);
                }
                from = next;
                push(&mut zero, at / self.page);
            } else {
                push(&mut full, at / self.page);
            }
            offset = next;
        }
        if from < offset {
            slices.push(&bytes[from..offset]);
        }
        self.sent.pages += count(&full);
        self.sent.zeros += count(&zero);
        if !full.is_empty() {
            to.put(&Section::Pages(Pages { runs: full, names: Vec::new() }), &slices)?;
        }
        if !zero.is_empty() && self.zeros == Zeros::Named {
            to.put(&Section::Placed(Placed { runs: zero, place: Place::Zero }), &[])?;
        }
        Ok(())
    }
}

pub(super) fn push(runs: &mut Vec<Run>, page: u64) {
    match runs.last_mut() {
        Some(last) if last.page + u64::from(last.count) == page => last.count += 1,
        _ => runs.push(Run { page, count: 1 }),
    }
}

fn count(runs: &[Run]) -> u64 {
    runs.iter().map(|run| u64::from(run.count)).sum()
}

/// Looks at words, and gives up at the first that is not 0.
pub(super) fn is_zero(bytes: &[u8]) -> bool {
    let (words, rest) = bytes.as_chunks::<64>();
    rest.iter().all(|byte| *byte == 0) && words.iter().all(|word| *word == [0; 64])
}
