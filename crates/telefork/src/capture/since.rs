//! What has changed in a process since a receiver was told of it, put into an image that is upon the other.
//!
//! ```text
//!   told before, and as it was      nothing
//!   changed, or new                 its bytes; zeros by name where something else was told
//!   not there any more              by name as zeros; over a file its bytes
//! ```
//!
//! Which pages can have changed is said by who has watched (`changed`), and of those a sum of their bytes decides.
//! Elsewhere: which
//! mappings keep what was told of them (`difference`).

use std::io::Write;
use std::ops::Range;

use sys::Pid;
use sys::pagemap::Pagemap;
use sys::process_memory::{self, Piece};
use wire::image::memory::{MappingKind, Pages, Place, Placed, Run, Sharing};
use wire::image::{ImageId, Section, Writer};
use xxhash_rust::xxh3::xxh3_64;

use super::pages::{CHUNK, Selected, Sent, Zeros, is_zero, push, zeros};
use super::ranges::{common, merged, runs, without};
use super::sums::Sums;
use crate::difference::{Difference, Unchangeable, difference};
use crate::{Description, Error};

/// What a receiver has of a process.
#[derive(Clone, Debug)]
pub struct Told {
    id: ImageId,
    mappings: Vec<wire::image::memory::Mapping>,
    /// Pages that it does not have as their mapping begins, with a sum of their bytes.
    pages: Sums,
    guards: Vec<Range<u64>>,
}

impl Told {
    /// The image that it has.
    pub fn id(&self) -> ImageId {
        self.id
    }

    /// How what it has becomes this, or that it cannot.
    pub fn until(&self, now: &Description) -> Result<Difference, Unchangeable> {
        difference(&self.mappings, &now.mappings)
    }
}

/// What is to be put: all, or what has changed.
#[derive(Debug)]
pub(super) struct Since<'a> {
    pub(super) told: Told,
    pub(super) difference: &'a Difference,
    /// The pages that can have been written, in the order of their addresses; `None` where nobody knows.
    pub(super) changed: Option<&'a [Range<u64>]>,
}

/// Puts pages of a process that stands still. Returns what was sent, and what the receiver has then.
pub(super) fn send<W: Write>(
    pid: Pid,
    description: &Description,
    since: Option<Since<'_>>,
    to: &mut Writer<W>,
) -> Result<(Sent, Told), Error> {
    send_of(pid, description, since, Stands::Still, to)
}

/// Whether memory may go while it is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stands {
    Still,
    /// What has gone is told as zeros.
    Not,
}

/// The same of one that perhaps runs.
pub(super) fn send_of<W: Write>(
    pid: Pid,
    description: &Description,
    since: Option<Since<'_>>,
    stands: Stands,
    to: &mut Writer<W>,
) -> Result<(Sent, Told), Error> {
    let pagemap = Pagemap::open(pid)?;
    let page = u64::from(description.host.page_size);
    let is_since = since.is_some();
    let (told, difference, changed) = match since {
        Some(Since { told, difference, changed }) => (Some(told), Some(difference), changed),
        None => (None, None, None),
    };
    let fresh: Vec<_> = difference.map_or(Vec::new(), |it| it.fresh().collect());
    let (mut pages, had_guards) = told.map(|told| (told.pages, told.guards)).unwrap_or_default();
    let mut kept = 0;
    for mapping in &description.mappings {
        pages.remove_all(kept / page..mapping.start / page);
        kept = mapping.end;
    }
    pages.remove_all(kept / page..u64::MAX);
    fresh.iter().for_each(|range| pages.remove_all(range.start / page..range.end / page));
    let mut putting = Putting {
        pid,
        stands,
        page,
        waiting: Vec::new(),
        told: pages,
        buffer: vec![0; CHUNK],
        sent: Sent::default(),
    };
    let mut selected = Vec::with_capacity(description.mappings.len());
    let mut guards = Vec::new();
    for mapping in &description.mappings {
        let is_known = is_since && matches!(mapping.kind, MappingKind::Special { .. });
        let found = if is_known {
            Selected { bytes: Vec::new(), guards: Vec::new() }
        } else {
            Selected::of(pid, &pagemap, mapping, page)?
        };
        guards.extend(found.guards.iter().cloned());
        selected.push(found);
    }
    unguard(&had_guards, description, &guards, page, to)?;
    // What can be other than it was told.
    let suspect = changed.map(|changed| merged([changed, &fresh[..]].concat()));
    for (mapping, found) in description.mappings.iter().zip(&selected) {
        let zeros = zeros(mapping);
        let is_special = matches!(mapping.kind, MappingKind::Special { .. });
        // What others write as well nobody has watched.
        let suspect = suspect.as_deref().filter(|_| mapping.sharing == Sharing::Private);
        for range in &found.bytes {
            let parts = match (suspect, zeros) {
                // What was 0 when all else was told, or a key that nobody was to see, is not looked at again.
                (Some(suspect), Zeros::Omitted) => common(range, suspect),
                _ => vec![range.clone()],
            };
            for number in parts.iter().flat_map(|part| part.start / page..part.end / page) {
                let before = putting.told.get(number);
                let is_written = suspect.is_none_or(|suspect| contains(suspect, number * page));
                if is_written || before.is_none() {
                    putting.put(Waiting { number, before, zeros, is_gone: is_special }, to)?;
                }
            }
        }
        // Those that were told, and are not there any more.
        if is_since && !is_special {
            let absent = without(mapping.start..mapping.end, &found.bytes);
            let mut gone = Vec::new();
            for part in absent {
                for part in without(part, &found.guards) {
                    for number in putting.told.within(part.start / page..part.end / page) {
                        match zeros {
                            Zeros::Omitted => {
                                putting.told.remove(number);
                                push(&mut gone, number);
                            }
                            // What the file has there shows again.
                            Zeros::Named => {
                                let before = Some(0);
                                putting
                                    .put(Waiting { number, before, zeros, is_gone: true }, to)?;
                            }
                        }
                    }
                }
            }
            putting.sent.zeros += gone.iter().map(|run| u64::from(run.count)).sum::<u64>();
            put_zeros(gone, to)?;
        }
    }
    putting.flush(to)?;
    for range in &guards {
        let runs = runs(range.clone(), page);
        to.put(&Section::Placed(Placed { runs, place: Place::Guard }), &[])?;
    }
    let Putting { told, sent, .. } = putting;
    let mappings = description.mappings.clone();
    Ok((sent, Told { id: to.id(), mappings, pages: told, guards }))
}

/// Tells of guards that are none any more, and of which nothing else may be told then.
fn unguard<W: Write>(
    had: &[Range<u64>],
    description: &Description,
    guards: &[Range<u64>],
    page: u64,
    to: &mut Writer<W>,
) -> Result<(), Error> {
    let mut gone = Vec::new();
    for before in had {
        for mapping in description.mappings.iter().filter(|it| it.start < before.end) {
            let part = before.start.max(mapping.start)..before.end.min(mapping.end);
            if !part.is_empty() {
                for part in without(part, guards) {
                    gone.extend(runs(part, page));
                }
            }
        }
    }
    gone.sort_by_key(|run| run.page);
    put_zeros(gone, to)
}

fn put_zeros<W: Write>(runs: Vec<Run>, to: &mut Writer<W>) -> Result<(), Error> {
    for some in runs.chunks(RUNS) {
        let placed = Placed { runs: some.to_vec(), place: Place::Zero };
        to.put(&Section::Placed(placed), &[])?;
    }
    Ok(())
}

/// Runs that are told of at once.
const RUNS: usize = 1 << 14;

/// Whether one of these ranges, which are in their order, has this address.
fn contains(ranges: &[Range<u64>], at: u64) -> bool {
    let found = ranges.partition_point(|range| range.end <= at);
    ranges.get(found).is_some_and(|range| range.start <= at)
}

/// A page that is to be looked at.
#[derive(Debug, Clone, Copy)]
struct Waiting {
    number: u64,
    /// The sum of what was told of it.
    before: Option<u64>,
    zeros: Zeros,
    /// The process has no page of its own there: it need not be told again.
    is_gone: bool,
}

/// Pages on their way into an image.
struct Putting {
    pid: Pid,
    stands: Stands,
    page: u64,
    waiting: Vec<Waiting>,
    told: Sums,
    buffer: Vec<u8>,
    sent: Sent,
}

impl Putting {
    fn put<W: Write>(&mut self, page: Waiting, to: &mut Writer<W>) -> Result<(), Error> {
        // Within one section pages rise.
        if self.waiting.last().is_some_and(|last| last.number >= page.number) {
            self.flush(to)?;
        }
        self.waiting.push(page);
        if self.waiting.len() * self.page as usize == CHUNK {
            self.flush(to)?;
        }
        Ok(())
    }

    fn flush<W: Write>(&mut self, to: &mut Writer<W>) -> Result<(), Error> {
        let waiting = std::mem::take(&mut self.waiting);
        let page = self.page as usize;
        let mut pieces: Vec<Piece> = Vec::new();
        for it in &waiting {
            let at = it.number * self.page;
            match pieces.last_mut() {
                Some(last) if last.at + last.len as u64 == at => last.len += page,
                _ => pieces.push(Piece { at, len: page }),
            }
        }
        let bytes = &mut self.buffer[..waiting.len() * page];
        if !bytes.is_empty() {
            let read = process_memory::read_pieces(self.pid, &pieces, bytes);
            if read.is_err() && self.stands == Stands::Not {
                for (it, bytes) in waiting.iter().zip(bytes.chunks_mut(page)) {
                    let read = process_memory::read(self.pid, it.number * self.page, bytes);
                    read.unwrap_or_else(|_| bytes.fill(0));
                }
            } else {
                read?;
            }
        }
        let (mut full, mut zero, mut slices) = (Vec::new(), Vec::new(), Vec::new());
        for (it, bytes) in waiting.iter().zip(bytes.chunks(page)) {
            let Waiting { number, before, zeros, is_gone } = *it;
            if is_zero(bytes) {
                if before.is_some() || zeros == Zeros::Named {
                    push(&mut zero, number);
                }
                self.sent.zeros += 1;
                if zeros == Zeros::Named && !is_gone {
                    self.told.insert(number, ZERO);
                } else {
                    self.told.remove(number);
                }
                continue;
            }
            let sum = xxh3_64(bytes);
            if before == Some(sum) && !is_gone {
                continue;
            }
            if is_gone {
                self.told.remove(number);
            } else {
                self.told.insert(number, sum);
            }
            push(&mut full, number);
            slices.push(bytes);
        }
        self.sent.pages += full.iter().map(|run: &Run| u64::from(run.count)).sum::<u64>();
        if !full.is_empty() {
            to.put(&Section::Pages(Pages { runs: full, names: Vec::new() }), &slices)?;
        }
        put_zeros(zero, to)
    }
}

/// What stands for the sum of a page of zeros over a file.
const ZERO: u64 = 0;
