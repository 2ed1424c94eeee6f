//! Large pages under memory that is filled densely: in pages of 4 KiB filling takes three times as long.
//!
//! Only where the program has said nothing of large pages, and only a little ahead of what arrives, so that
//! memory with few pages in it stays as small as it was. Afterwards no more of them are made there: as in the
//! original, on a host that makes them only where they are asked for.

use std::fs;
use std::ops::Range;

use sys::process_memory;
use sys::ptrace::Remote;
use wire::image::memory::Run;

use super::batch::{Argument, Batch};
use super::nouns::{Map, PAGE, Source};
use crate::Error;

const LARGE: u64 = 2 << 20;

/// Pages in one run that are taken for the beginning of more.
const DENSE: u64 = 32;

/// The furthest that is looked ahead.
const AHEAD_MAX: u64 = 64 << 20;

const HUGEPAGE: u64 = libc::MADV_HUGEPAGE as u64;
const NOHUGEPAGE: u64 = libc::MADV_NOHUGEPAGE as u64;

/// The memory that may have them, and where it has.
#[derive(Debug)]
pub(super) struct Large {
    /// In the order of their addresses.
    may: Vec<Range<u64>>,
    /// The last range that has them.
    has: Range<u64>,
    /// Those of `may` that were changed.
    changed: Vec<Range<u64>>,
}

impl Large {
    pub(super) fn of(maps: &[Map]) -> Self {
        // Where the host makes them everywhere, or nowhere, there is nothing to ask for.
        let setting = fs::read_to_string("/sys/kernel/mm/transparent_hugepage/enabled");
        let may = match setting {
            Ok(setting) if setting.contains("[madvise]") => candidates(maps),
            _ => Vec::new(),
        };
        Self { may, has: 0..0, changed: Vec::new() }
    }

    /// Sees to it for pages that come next.
    pub(super) fn before(&mut self, runs: &[Run], remote: &mut Remote<'_>) -> Result<(), Error> {
        for run in runs.iter().filter(|run| u64::from(run.count) >= DENSE) {
            let known = self.changed.len();
            let Some(ahead) = self.next(run) else { continue };
            if self.changed.len() > known {
                // Advice divides a mapping. Its parts become one again only if they had a page before.
                process_memory::write(remote.pid(), run.page * PAGE, &[0])?;
            }
            let args = [ahead.start, ahead.end - ahead.start, HUGEPAGE];
            let mut batch = Batch::default();
            batch.may("advise on memory of", libc::SYS_madvise, &args.map(Argument::from));
            batch.run(remote)?;
            self.has = ahead;
        }
        Ok(())
    }

    /// All is filled.
    pub(super) fn finish(self, remote: &mut Remote<'_>) -> Result<(), Error> {
        let mut batch = Batch::default();
        for range in self.changed {
            let args = [range.start, range.end - range.start, NOHUGEPAGE];
            batch.must("advise on memory of", libc::SYS_madvise, &args.map(Argument::from));
        }
        batch.run(remote)?;
        Ok(())
    }

    /// What is to have them before a run is filled: from the first large page that begins in it.
    fn next(&mut self, run: &Run) -> Option<Range<u64>> {
        let (start, end) = (run.page * PAGE, (run.page + u64::from(run.count)) * PAGE);
        let first = start.next_multiple_of(LARGE).max(self.has.end.min(end));
        if first >= end || self.has.contains(&first) {
            return None;
        }
        let at = self.may.partition_point(|range| range.end <= first);
        let range = self.may.get(at).filter(|range| range.contains(&first))?.clone();
        let goes_on = first == self.has.end && range.contains(&self.has.start);
        let len = if goes_on { 2 * (self.has.end - self.has.start) } else { LARGE };
        let ahead = first..first.saturating_add(len.min(AHEAD_MAX)).min(range.end / LARGE * LARGE);
        if ahead.is_empty() {
            return None;
        }
        if self.changed.last() != Some(&range) {
            self.changed.push(range);
        }
        Some(ahead)
    }
}

fn candidates(maps: &[Map]) -> Vec<Range<u64>> {
    let is_silent = |map: &&Map| {
        let is_own = map.source == Source::Anonymous && !map.grows_down && !map.droppable;
        let is_said = map.advice.iter().any(|it| [HUGEPAGE, NOHUGEPAGE].contains(&(*it as u64)));
        is_own && !is_said && map.range.end - map.range.start >= LARGE
    };
    let mut found: Vec<_> = maps.iter().filter(is_silent).map(|map| map.range.clone()).collect();
    found.sort_by_key(|range| range.start);
    found
}

#[cfg(test)]
mod tests;
