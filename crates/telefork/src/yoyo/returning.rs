//! What a copy came to, sent by a process beside it: its registers, its mappings, and the bits of its memory that
//! are not as they were when it woke.

use std::io::Write;
use std::ops::Range;

use sys::pagemap::Pagemap;
use sys::park::Watch;
use sys::{Pid, maps, process_memory};
use wire::image::memory::{Mapping, MappingKind, Pages, Run, Sharing};
use wire::image::{Section, Writer};

use super::stopping::{Others, RED_ZONE, stop};
use crate::Error;
use crate::call::{described, image_id};
use crate::capture::{Next, merged};

/// Bytes that are compared, and sent, at once.
const CHUNK: usize = 1 << 17;

/// A copy that has done what it went for, and one of what it was before.
#[derive(Debug)]
pub struct Returning<'a> {
    copy: Pid,
    baseline: Pid,
    /// Of the process that sends.
    watch: &'a Watch,
}

impl<'a> Returning<'a> {
    pub(super) fn new(copy: Pid, baseline: Pid, watch: &'a Watch) -> Self {
        Self { copy, baseline, watch }
    }

    /// Sends it: an image whose pages are differences.
    pub fn send(&self, to: &mut impl Write) -> Result<(), Error> {
        // Threads that it has left running would not come along.
        let (mut frozen, registers) = stop(self.copy, Others::MustEnd)?;
        // From here on it takes as long as memory is large, and the way slow.
        self.watch.stop();
        let mut description = described(&mut frozen, Next::GoesOn)?;
        let Some(thread) = description.threads.first_mut() else {
            return Err(Error::Headless { pid: self.copy });
        };
        thread.registers.general = registers.to_bytes();
        thread.caller = None;
        thread.pending.clear();
        description.process.pending.clear();
        description.descriptors.clear();
        let page = u64::from(description.host.page_size);
        let mut writer = Writer::new(to, image_id()?);
        description.put(&mut writer)?;
        let mut comparison = Comparison {
            copy: self.copy,
            baseline: self.baseline,
            was: maps::mappings(self.baseline)?,
            page,
            runs: Vec::new(),
            bytes: Vec::with_capacity(CHUNK),
        };
        let dead = (registers.rsp.saturating_sub(RED_ZONE)) / page * page;
        let pagemaps = [Pagemap::open(self.copy)?, Pagemap::open(self.baseline)?];
        for mapping in &description.mappings {
            let mut all = mapping.start..mapping.end;
            if all.contains(&registers.rsp) {
                all.start = dead.max(all.start);
            }
            // The baseline has not what a fork leaves out: it stays here as it is.
            let is_unforked = [b"dc", b"wf"].iter().any(|flag| mapping.flags.contains(flag));
            if mapping.sharing == Sharing::Shared || is_unforked {
                continue;
            }
            let ranges = match &mapping.kind {
                MappingKind::Special { .. } | MappingKind::Guard => continue,
                MappingKind::File(_) if !comparison.had(mapping) => vec![all],
                MappingKind::File(_) => merged(own(&pagemaps, &all)?),
                // What a file showed there is here still.
                _ if comparison.had_file(&all) => vec![all],
                _ => merged(own(&pagemaps, &all)?),
            };
            for range in ranges {
                comparison.compare(range, &mut writer)?;
            }
        }
        comparison.flush(&mut writer)?;
        writer.finish()?;
        frozen.release()
    }
}

/// Pages of their own that the copy or the baseline has.
fn own(of: &[Pagemap; 2], range: &Range<u64>) -> Result<Vec<Range<u64>>, Error> {
    let mut own = of[0].look(range.clone())?.own;
    own.extend(of[1].look(range.clone())?.own);
    Ok(own)
}

struct Comparison {
    copy: Pid,
    baseline: Pid,
    was: Vec<maps::Mapping>,
    page: u64,
    runs: Vec<Run>,
    bytes: Vec<u8>,
}

impl Comparison {
    /// Whether a mapping of a file was there before.
    fn had(&self, mapping: &Mapping) -> bool {
        let MappingKind::File(file) = &mapping.kind else { return false };
        let is_same = |was: &&maps::Mapping| {
            let within = was.range.start <= mapping.start && mapping.end <= was.range.end;
            within
                && was.inode == file.identity.inode
                && was.offset + (mapping.start - was.range.start) == file.offset
        };
        self.was.iter().find(is_same).is_some()
    }

    /// Whether some of a range showed a file before.
    fn had_file(&self, range: &Range<u64>) -> bool {
        let overlaps = |was: &&maps::Mapping| {
            was.inode != 0 && was.range.start < range.end && range.start < was.range.end
        };
        self.was.iter().find(overlaps).is_some()
    }

    /// A range in pieces that all were mapped before, or all were not.
    fn pieces(&self, range: &Range<u64>) -> Vec<(Range<u64>, bool)> {
        let mut found = Vec::new();
        let mut at = range.start;
        let first = self.was.partition_point(|was| was.range.end <= range.start);
        for was in self.was[first..].iter().take_while(|was| was.range.start < range.end) {
            if at < was.range.start {
                found.push((at..was.range.start, false));
            }
            let end = was.range.end.min(range.end);
            found.push((at.max(was.range.start)..end, true));
            at = end;
        }
        if at < range.end {
            found.push((at..range.end, false));
        }
        found
    }

    fn compare<W: Write>(&mut self, range: Range<u64>, to: &mut Writer<W>) -> Result<(), Error> {
        let (mut now, mut was) = (vec![0; CHUNK], vec![0; CHUNK]);
        for (piece, was_mapped) in self.pieces(&range) {
            for at in piece.clone().step_by(CHUNK) {
                let len = (piece.end - at).min(CHUNK as u64) as usize;
                if process_memory::read(self.copy, at, &mut now[..len]).is_err() {
                    // Behind a file's end there is nothing.
                    self.by_page(self.copy, at, &mut now[..len])?;
                }
                if !was_mapped {
                    was[..len].fill(0);
                } else if process_memory::read(self.baseline, at, &mut was[..len]).is_err() {
                    self.by_page(self.baseline, at, &mut was[..len])?;
                }
                let page = self.page as usize;
                for from in (0..len).step_by(page) {
                    let [now, was] = [&now[from..from + page], &was[from..from + page]];
                    if now != was {
                        self.put((at + from as u64) / self.page, now, was, to)?;
                    }
                }
            }
        }
        Ok(())
    }

    /// What of it is not there is 0; its process is.
    fn by_page(&self, of: Pid, at: u64, into: &mut [u8]) -> Result<(), Error> {
        let page = self.page as usize;
        for (from, into) in (0..).step_by(page).zip(into.chunks_mut(page)) {
            if process_memory::read(of, at + from, into).is_err() {
                into.fill(0);
            }
        }
        match maps::mappings(of)?.is_empty() {
            false => Ok(()),
            true => Err(Error::Unborn { pid: of }),
        }
    }

    fn put<W: Write>(
        &mut self,
        page: u64,
        now: &[u8],
        was: &[u8],
        to: &mut Writer<W>,
    ) -> Result<(), Error> {
        self.bytes.extend(now.iter().zip(was).map(|(now, was)| now ^ was));
        match self.runs.last_mut() {
            Some(last) if last.page + u64::from(last.count) == page => last.count += 1,
            _ => self.runs.push(Run { page, count: 1 }),
        }
        if self.bytes.len() >= CHUNK { self.flush(to) } else { Ok(()) }
    }

    fn flush<W: Write>(&mut self, to: &mut Writer<W>) -> Result<(), Error> {
        let runs = std::mem::take(&mut self.runs);
        if !runs.is_empty() {
            to.put(&Section::Pages(Pages { runs, names: Vec::new() }), &[&self.bytes])?;
            self.bytes.clear();
        }
        Ok(())
    }
}
