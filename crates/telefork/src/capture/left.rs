//! Which memory stays behind when a process goes ahead of it, and which it takes along.
//!
//! It takes what it touches first, and what must be there before it wakes: the kernel fills some of it
//! while the copy is made, when nobody could wait for a page.

use std::io::Write;
use std::ops::Range;

use sys::Pid;
use sys::pagemap::Pagemap;
use sys::ptrace::Registers;
use wire::image::memory::{Mapping, MappingKind, Place, Placed, Run, Sharing};
use wire::image::thread::Thread;
use wire::image::{Section, Writer};

use super::ranges::{runs, without};
use crate::{Description, Error};

/// Mappings that are no larger go whole: to ask for their pages takes longer.
const WHOLE: u64 = 8 << 10;

/// Pages around a stack's end: below is what functions that are called next use.
const BELOW: u64 = 1;
const ABOVE: u64 = 3;

/// Runs that are told of at once.
const RUNS: usize = 1 << 14;

/// Memory whose pages follow a copy.
#[derive(Debug, Default)]
pub(super) struct Left {
    /// In the order of their addresses.
    pub(super) ranges: Vec<Range<u64>>,
    /// Pages between them that raise SIGSEGV.
    pub(super) guards: Vec<Range<u64>>,
}

impl Left {
    pub(super) fn of(pid: Pid, description: &Description) -> Result<Self, Error> {
        let pagemap = Pagemap::open(pid)?;
        let mut left = Self::default();
        for range in ranges(description) {
            // Nothing else is looked for: that would take as long as memory is large.
            let guards = pagemap.guards(range.clone())?;
            left.ranges.extend(without(range, &guards));
            left.guards.extend(guards);
        }
        Ok(left)
    }

    /// The parts of a mapping that do not stay behind; `None` where nothing of it does.
    pub(super) fn rest(&self, mapping: &Mapping) -> Option<Vec<Range<u64>>> {
        let within = |ranges: &[Range<u64>]| {
            let begin = ranges.partition_point(|range| range.end <= mapping.start);
            let len = ranges[begin..].partition_point(|range| range.start < mapping.end);
            ranges[begin..begin + len].to_vec()
        };
        let left = within(&self.ranges);
        if left.is_empty() {
            return None;
        }
        let parts = without(mapping.start..mapping.end, &left).into_iter();
        let guards = within(&self.guards);
        Some(parts.flat_map(|part| without(part, &guards)).collect())
    }

    /// Tells the ranges of an image.
    pub(super) fn put<W: Write>(
        &self,
        description: &Description,
        to: &mut Writer<W>,
    ) -> Result<(), Error> {
        let page = u64::from(description.host.page_size);
        let ranges = self.ranges.iter().cloned();
        let runs: Vec<Run> = ranges.flat_map(|range| runs(range, page)).collect();
        for some in runs.chunks(RUNS) {
            let placed = Placed { runs: some.to_vec(), place: Place::Sender };
            to.put(&Section::Placed(placed), &[])?;
        }
        Ok(())
    }
}

/// What is not touched first of memory that may stay.
fn ranges(description: &Description) -> Vec<Range<u64>> {
    let page = u64::from(description.host.page_size);
    let mut first: Vec<Range<u64>> =
        description.threads.iter().flat_map(|thread| touched(thread, page)).collect();
    first.sort_by_key(|range| range.start);
    let mappings = description.mappings.iter().filter(|mapping| may_stay(mapping));
    mappings.flat_map(|mapping| without(mapping.start..mapping.end, &first)).collect()
}

/// Only memory whose faults can be answered, and that nobody else sees.
fn may_stay(mapping: &Mapping) -> bool {
    let is_own = mapping.sharing == Sharing::Private && mapping.end - mapping.start > WHOLE;
    let is_memory = match mapping.kind {
        MappingKind::Anonymous { .. } | MappingKind::Heap | MappingKind::Stack => true,
        MappingKind::File(_) | MappingKind::Special { .. } | MappingKind::Guard => false,
    };
    // What is locked is to be there, what can be dropped is 0 over there, and a twin has not what is not
    // forked or wiped then.
    let is_plain = ![b"lo", b"dp", b"dc", b"wf"].iter().any(|flag| mapping.flags.contains(flag));
    is_own && is_memory && is_plain
}

/// Pages that a thread, or the kernel for it, touches first.
fn touched(thread: &Thread, page: u64) -> Vec<Range<u64>> {
    let of = |at: u64, below: u64, above: u64| {
        let first = at / page * page;
        let end = first.saturating_add((above + 1) * page);
        first.saturating_sub(below * page)..end
    };
    let mut all = Vec::new();
    if let Some(registers) = Registers::from_bytes(&thread.registers.general) {
        let [code, stack, own] = registers.touched_first();
        all.extend([of(code, 0, 0), of(stack, BELOW, ABOVE), of(own, 0, 0)]);
    }
    let rseq = thread.rseq.map(|rseq| rseq.pointer);
    let list = thread.robust_list.map(|list| list.head);
    let number = Some(thread.clear_tid).filter(|at| *at != 0);
    all.extend([rseq, list, number].into_iter().flatten().map(|at| of(at, 0, 0)));
    all
}

#[cfg(test)]
mod tests;
