//! What lies between two lists of mappings of one process: how the memory of the first becomes that of the
//! second, and whether it can.
//!
//! Pure, and asked on both sides: the sender leaves out what the receiver keeps by it. Elsewhere: telling the
//! pages that changed (`capture`), making the changes (`restore`).

use std::ops::Range;

use wire::image::memory::{Mapping, MappingKind, Permissions, Sharing};
use wire::image::text::Text;

/// How one list of mappings becomes another, in the order of addresses.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Difference {
    pub steps: Vec<Step>,
}

/// What is done to a range of addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// It is no more.
    Unmap(Range<u64>),
    /// It is mapped, as this mapping of the second list is, and nothing is in it.
    Map {
        range: Range<u64>,
        of: usize,
    },
    Protect {
        range: Range<u64>,
        permissions: Permissions,
    },
    /// In the numbers of `madvise`.
    Advise {
        range: Range<u64>,
        advice: i32,
    },
    Name {
        range: Range<u64>,
        name: Option<Text>,
    },
}

/// That one list cannot become the other: a process is to be sent as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("memory at {at:#x} cannot be changed into what it is now: {why}")]
pub struct Unchangeable {
    pub at: u64,
    pub why: &'static str,
}

/// Flags of `smaps` that only whoever maps memory can set.
const LASTING: [&[u8; 2]; 3] = [b"gd", b"nr", b"dp"];

/// Advice of a flag, and what takes it back. What a fork does to memory is advised when it is finished.
const ADVICE: [(&[u8; 2], i32, i32); 6] = [
    (b"rr", libc::MADV_RANDOM, libc::MADV_NORMAL),
    (b"sr", libc::MADV_SEQUENTIAL, libc::MADV_NORMAL),
    (b"mg", libc::MADV_MERGEABLE, libc::MADV_UNMERGEABLE),
    (b"dd", libc::MADV_DONTDUMP, libc::MADV_DODUMP),
    (b"nh", libc::MADV_NOHUGEPAGE, libc::MADV_HUGEPAGE),
    (b"hg", libc::MADV_HUGEPAGE, libc::MADV_NOHUGEPAGE),
];

/// How `from` becomes `to`. Both are in the order of their addresses, and do not overlap.
pub fn difference(from: &[Mapping], to: &[Mapping]) -> Result<Difference, Unchangeable> {
    let mut steps = Vec::new();
    let (mut one, mut other, mut at) = (0, 0, 0);
    loop {
        let old = from.get(one);
        let new = to.get(other);
        // The next stretch that is all in one of each, or in none.
        let begin = |mapping: Option<&Mapping>| mapping.map(|it| it.start.max(at));
        let Some(start) = [begin(old), begin(new)].into_iter().flatten().min() else {
            return Ok(Difference { steps: joined(steps) });
        };
        let here = |mapping: Option<&Mapping>| mapping.is_some_and(|it| it.start <= start);
        let border = |mapping: Option<&Mapping>| {
            mapping.map(|it| if it.start <= start { it.end } else { it.start })
        };
        let end = [border(old), border(new)].into_iter().flatten().min().unwrap_or(u64::MAX);
        let range = start..end;
        match (old.filter(|_| here(old)), new.filter(|_| here(new))) {
            (Some(old), None) => gone(old, range, &mut steps)?,
            (None, Some(new)) => come(new, other, range, &mut steps)?,
            (Some(old), Some(new)) => changed(old, new, other, range, &mut steps)?,
            (None, None) => {}
        }
        at = end;
        one += usize::from(old.is_some_and(|it| it.end <= at));
        other += usize::from(new.is_some_and(|it| it.end <= at));
    }
}

impl Difference {
    /// Ranges that have nothing in them when the steps are made.
    pub fn fresh(&self) -> impl Iterator<Item = Range<u64>> {
        self.steps.iter().filter_map(|step| match step {
            Step::Map { range, .. } => Some(range.clone()),
            _ => None,
        })
    }
}

fn gone(old: &Mapping, range: Range<u64>, steps: &mut Vec<Step>) -> Result<(), Unchangeable> {
    if let MappingKind::Special { .. } = old.kind {
        return Err(Unchangeable {
            at: range.start,
            why: "the kernel's own is not there any more",
        });
    }
    steps.push(Step::Unmap(range));
    Ok(())
}

fn come(
    new: &Mapping,
    of: usize,
    range: Range<u64>,
    steps: &mut Vec<Step>,
) -> Result<(), Unchangeable> {
    let why = match &new.kind {
        MappingKind::Special { .. } => "the kernel's own was not there before",
        MappingKind::File(_) => "it is of a file that was not mapped there before",
        MappingKind::Anonymous { .. }
        | MappingKind::Heap
        | MappingKind::Stack
        | MappingKind::Guard => {
            steps.push(Step::Map { range, of });
            return Ok(());
        }
    };
    Err(Unchangeable { at: range.start, why })
}

fn changed(
    old: &Mapping,
    new: &Mapping,
    of: usize,
    range: Range<u64>,
    steps: &mut Vec<Step>,
) -> Result<(), Unchangeable> {
    if !is_same_memory(old, new) {
        gone(old, range.clone(), steps)?;
        return come(new, of, range, steps);
    }
    if let MappingKind::Special { .. } = new.kind {
        if (old.start, old.end, old.permissions) == (new.start, new.end, new.permissions) {
            return Ok(());
        }
        return Err(Unchangeable { at: range.start, why: "the kernel's own lies otherwise" });
    }
    let had = |flag: &[u8; 2]| old.flags.contains(flag);
    let has = |flag: &[u8; 2]| new.flags.contains(flag);
    if LASTING.iter().any(|flag| had(flag) != has(flag)) {
        return Err(Unchangeable { at: range.start, why: "only who maps it can have it so" });
    }
    if old.permissions != new.permissions {
        steps.push(Step::Protect { range: range.clone(), permissions: new.permissions });
    }
    // What is taken back comes first: it may say more than it took back.
    for (flag, _, back) in ADVICE.iter().filter(|(flag, ..)| had(flag) && !has(flag)) {
        // Of large pages each takes the other back, and there is no way to say nothing again.
        let is_said = *flag == b"nh" && !has(b"hg") || *flag == b"hg" && has(b"nh");
        if !is_said {
            steps.push(Step::Advise { range: range.clone(), advice: *back });
        }
    }
    for (flag, advice, _) in ADVICE.iter().filter(|(flag, ..)| has(flag)) {
        let normal = [b"rr", b"sr"];
        let was_reset = normal.contains(flag) && normal.iter().any(|it| had(it) && !has(it));
        if !had(flag) || was_reset {
            steps.push(Step::Advise { range: range.clone(), advice: *advice });
        }
    }
    if name(old) != name(new) {
        steps.push(Step::Name { range, name: name(new).cloned() });
    }
    Ok(())
}

/// Whether what lies in the one is what lies in the other, where both have the same addresses.
fn is_same_memory(old: &Mapping, new: &Mapping) -> bool {
    let is_own = |kind: &MappingKind| {
        use MappingKind::{Anonymous, Guard, Heap, Stack};
        matches!(kind, Anonymous { .. } | Heap | Stack | Guard)
    };
    let is_same = match (&old.kind, &new.kind) {
        (MappingKind::File(old_file), MappingKind::File(new_file)) => {
            let place = |start: u64, offset: u64| offset.wrapping_sub(start);
            let has = |file: &wire::image::memory::Backing| {
                (file.path.clone(), file.identity, file.deleted, file.trust.clone())
            };
            let at = (place(old.start, old_file.offset), place(new.start, new_file.offset));
            // One that others may write changes without its process.
            let is_private = old.sharing == Sharing::Private || !new.permissions.write;
            at.0 == at.1 && has(old_file) == has(new_file) && (is_private || new_file.deleted)
        }
        (MappingKind::Special { name: old }, MappingKind::Special { name: new }) => old == new,
        (old, new) => is_own(old) && is_own(new),
    };
    is_same && old.sharing == new.sharing
}

fn name(of: &Mapping) -> Option<&Text> {
    match &of.kind {
        MappingKind::Anonymous { name } => name.as_ref(),
        _ => None,
    }
}

/// Steps that are the same for neighbours become one.
fn joined(steps: Vec<Step>) -> Vec<Step> {
    let mut found: Vec<Step> = Vec::with_capacity(steps.len());
    for step in steps {
        match (found.last_mut(), &step) {
            (Some(Step::Unmap(last)), Step::Unmap(range)) if last.end == range.start => {
                last.end = range.end;
            }
            (Some(Step::Map { range: last, of: known }), Step::Map { range, of })
                if last.end == range.start && known == of =>
            {
                last.end = range.end
            }
            _ => found.push(step),
        }
    }
    found
}

#[cfg(test)]
mod tests;
