//! The kernel's code in a process: moved to where the process has it, or, where the kernel here has another,
//! that of the image with a detour over each function.
//!
//! A thread can be in the middle of an old function. That one goes on: it finds clock data of nothing but
//! 0, which means to it that the clock cannot be read here, and makes the system call.

use std::ops::Range;

use wire::image::host::Symbol;
use wire::image::memory::{Mapping, MappingKind, Permissions};
use wire::image::text::Text;
use wire::name::Hash;

use super::nouns::{Destination, Map, Source, Special, VdsoChoice};
use super::pages::Place;
use super::x86_64::{CALLS, DETOUR_MAX, jump, plain_call};
use crate::{Description, Refusal};

/// What becomes of the kernel's code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Vdso {
    /// This kernel's goes to where the image has its own.
    Moved { specials: Vec<Special>, to: u64 },
    /// This kernel's stays aside, and the image's leads to it.
    Patched { specials: Vec<Special>, old: Old },
    /// The process had none, and gets none.
    None { specials: Vec<Special> },
}

/// The image's own code, as ordinary memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Old {
    pub range: Range<u64>,
    hash: Hash,
    data: Vec<Range<u64>>,
    detours: Vec<Detour>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Detour {
    /// From the beginning of the image's code.
    at: u64,
    to: Target,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Target {
    /// From the beginning of this kernel's code.
    Here(u64),
    Call(u32),
}

const CODE: &[u8] = b"[vdso]";
const DATA: &[u8] = b"[vvar";

pub(super) fn plan(of: &Description, here: &Destination) -> Result<Vdso, Refusal> {
    let mut found: Vec<(&Text, &Mapping)> = Vec::new();
    for mapping in &of.mappings {
        let MappingKind::Special { name } = &mapping.kind else { continue };
        let is_code = name.0 == CODE;
        if !is_code && !name.0.starts_with(DATA) {
            if name.0 == b"[vsyscall]" || name.0 == b"[uprobes]" {
                continue;
            }
            let why = "no kernel known to this build has memory of its own there";
            return Err(Refusal::Memory { at: mapping.start, why });
        }
        let permissions = mapping.permissions;
        let is_right = permissions.read && !permissions.write && permissions.execute == is_code;
        let is_second = found.iter().any(|(other, _)| *other == name);
        if !is_right || is_second || mapping.end - mapping.start > SPECIAL_MAX {
            let why = "it is not as the kernel makes its own; take the checkpoint again";
            return Err(Refusal::Memory { at: mapping.start, why });
        }
        found.push((name, mapping));
    }
    let specials = here.specials.clone();
    let Some((_, code)) = found.iter().find(|(name, _)| name.0 == CODE) else {
        return Ok(Vdso::None { specials });
    };
    let first = found.first().map_or(0, |(_, mapping)| mapping.start);
    let there = found.iter().map(|(name, mapping)| Special {
        name: (*name).clone(),
        offset: mapping.start - first,
        length: mapping.end - mapping.start,
    });
    let is_same = of.host.vdso.hash == here.host.vdso.hash && there.eq(specials.iter().cloned());
    if is_same && here.vdso == VdsoChoice::Compared {
        return Ok(Vdso::Moved { specials, to: first });
    }
    let range = code.start..code.end;
    let length = code.end - code.start;
    let detours = detours(&of.host.vdso.symbols, length, &here.host.vdso.symbols)?;
    let data = found.iter().filter(|(name, _)| name.0 != CODE);
    let data = data.map(|(_, mapping)| mapping.start..mapping.end).collect();
    Ok(Vdso::Patched { specials, old: Old { range, hash: of.host.vdso.hash, data, detours } })
}

/// The most bytes that a kernel's own mapping is believed to have.
const SPECIAL_MAX: u64 = 1 << 20;

fn detours(there: &[Symbol], length: u64, here: &[Symbol]) -> Result<Vec<Detour>, Refusal> {
    let mut detours: Vec<Detour> = Vec::new();
    for symbol in there {
        let plain = symbol.name.strip_prefix("__vdso_").unwrap_or(&symbol.name);
        let call = CALLS.iter().find(|(name, _)| *name == plain).map(|(_, number)| *number);
        let same = here
            .iter()
            .find(|other| other.name.strip_prefix("__vdso_").unwrap_or(&other.name) == plain);
        let to = match (same, call) {
            // Its state has a layout of each kernel's own, and the process has one of the other's.
            (_, Some(number)) if plain == "getrandom" => Target::Call(number),
            (Some(same), _) => Target::Here(same.offset),
            (None, Some(number)) => Target::Call(number),
            (None, None) => continue,
        };
        let at = symbol.offset;
        if at.checked_add(DETOUR_MAX).is_none_or(|end| end > length) {
            return Err(Refusal::Vdso);
        }
        match detours.iter().find(|other| other.at.abs_diff(at) < DETOUR_MAX) {
            Some(other) if other.at == at => {}
            Some(_) => return Err(Refusal::Vdso),
            None => detours.push(Detour { at, to }),
        }
    }
    Ok(detours)
}

impl Vdso {
    pub fn specials(&self) -> &[Special] {
        match self {
            Self::Moved { specials, .. }
            | Self::Patched { specials, .. }
            | Self::None { specials } => specials,
        }
    }

    /// Whether this kernel's own goes to where the image has its own.
    pub fn is_moved(&self) -> bool {
        matches!(self, Self::Moved { .. })
    }

    /// Bytes that this kernel's own need beside each other.
    pub fn staging(&self) -> u64 {
        self.specials().iter().map(|special| special.offset + special.length).max().unwrap_or(0)
    }

    /// Which of this kernel's go where in the end.
    pub fn moves(&self) -> impl Iterator<Item = (&Special, Range<u64>)> {
        let to = match self {
            Self::Moved { to, .. } => Some(*to),
            Self::Patched { .. } | Self::None { .. } => None,
        };
        self.specials().iter().filter_map(move |special| {
            let start = to? + special.offset;
            Some((special, start..start + special.length))
        })
    }

    pub(super) fn place_of(&self, is_code: bool) -> Place {
        match self {
            Self::Patched { .. } if is_code => Place::Kept,
            // Data of another kernel's are no use to anybody.
            Self::Moved { .. } | Self::Patched { .. } | Self::None { .. } => Place::Nowhere,
        }
    }

    /// Ordinary memory in the place of the other kernel's.
    pub(super) fn maps(&self) -> Vec<Map> {
        let Self::Patched { old, .. } = self else { return Vec::new() };
        let map = |range: &Range<u64>, execute| Map {
            range: range.clone(),
            permissions: Permissions { read: true, write: false, execute },
            source: Source::Anonymous,
            grows_down: false,
            droppable: false,
            no_reserve: false,
            locked: false,
            sealed: false,
            is_kept_open: false,
            advice: Vec::new(),
            name: None,
        };
        let data = old.data.iter().map(|range| map(range, false));
        data.chain([map(&old.range, true)]).collect()
    }
}

impl Old {
    /// The code of the image with its detours, where this kernel's begins at `here`.
    pub fn patched(&self, mut code: Vec<u8>, here: u64) -> Result<Vec<u8>, Refusal> {
        if code.len() as u64 != self.range.end - self.range.start || Hash::of(&code) != self.hash {
            return Err(Refusal::Vdso);
        }
        for detour in &self.detours {
            let bytes = match detour.to {
                Target::Here(offset) => jump(here + offset),
                Target::Call(number) => plain_call(number),
            };
            let at = detour.at as usize;
            code[at..at + bytes.len()].copy_from_slice(&bytes);
        }
        Ok(code)
    }
}
