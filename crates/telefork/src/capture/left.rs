//! Which memory stays behind when a process goes ahead of it, and which it takes along.
//!
//! It takes what it touches first, and what must be there before it wakes: the kernel fills some of it
//! while the copy is made, when nobody could wait for a page.

use std::io::Write;
use std::ops::Range;

use sys::ptrace::Registers;
use wire::image::memory::{Mapping, MappingKind, Place, Placed, Run, Sharing};
use wire::image::thread::Thread;
use wire::image::{Section, Writer};

use crate::{Description, Error};

/// Mappings that are no larger go whole: to ask for their pages takes longer.
const WHOLE: u64 = 8 << 10;

/// Pages around a stack's end: below is what functions that are called next use.
const BELOW: u64 = 1;
const ABOVE: u64 = 3;

/// Runs that are told of at once.
const RUNS: usize = 1 << 14;

/// The ranges that stay behind, in the order of their addresses.
pub(super) fn of(description: &Description) -> Vec<Range<u64>> {
    let page = u64::from(description.host.page_size);
    let mut first: Vec<Range<u64>> =
        description.threads.iter().flat_map(|thread| touched(thread, page)).collect();
    first.sort_by_key(|range| range.start);
    let mut left = Vec::new();
    for mapping in description.mappings.iter().filter(|mapping| may_stay(mapping)) {
        let mut at = mapping.start;
        let begin = first.partition_point(|range| range.end <= mapping.start);
        for range in first[begin..].iter().take_while(|range| range.start < mapping.end) {
            if at < range.start {
                left.push(at..range.start);
            }
            at = at.max(range.end);
        }
        if at < mapping.end {
            left.push(at..mapping.end);
        }
    }
    left
}

/// Tells the ranges of an image.
pub(super) fn put<W: Write>(
    left: &[Range<u64>],
    description: &Description,
    to: &mut Writer<W>,
) -> Result<(), Error> {
    let page = u64::from(description.host.page_size);
    let runs: Vec<Run> = left.iter().flat_map(|range| runs(range, page)).collect();
    for some in runs.chunks(RUNS) {
        let placed = Placed { runs: some.to_vec(), place: Place::Sender };
        to.put(&Section::Placed(placed), &[])?;
    }
    Ok(())
}

fn runs(range: &Range<u64>, page: u64) -> impl Iterator<Item = Run> {
    let (first, end) = (range.start / page, range.end / page);
    let step = u64::from(u32::MAX);
    (first..end).step_by(step as usize).map(move |page| {
        let count = (end - page).min(step) as u32;
        Run { page, count }
    })
}

/// Only memory whose faults can be answered, and that nobody else sees.
fn may_stay(mapping: &Mapping) -> bool {
    let is_own = mapping.sharing == Sharing::Private && mapping.end - mapping.start > WHOLE;
    let is_memory = match mapping.kind {
        MappingKind::Anonymous { .. } | MappingKind::Heap | MappingKind::Stack => true,
        MappingKind::File(_) | MappingKind::Special { .. } | MappingKind::Guard => false,
    };
    // Locked memory is to be there, and droppable memory is 0 over there.
    let is_plain = !mapping.flags.iter().any(|flag| [b"lo", b"dp"].contains(&flag));
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
