//! What a plan has to know of this host.

use std::collections::BTreeSet;
use std::fs;

use sys::Pid;
use sys::maps::{self, Content, Mapping};
use wire::image::text::Text;

use super::plan::{Destination, Special, Strangers, VdsoChoice};
use crate::{Error, host};

/// What the kernel allows unless told otherwise.
const LOWEST: u64 = 1 << 16;
const THREADS_MAX: usize = 1 << 15;

/// This host, for an image behind whose mappings these files lie.
pub(super) fn destination(
    files: Vec<Option<usize>>,
    vdso: VdsoChoice,
    value: i32,
    given: BTreeSet<u32>,
    strangers: Strangers,
) -> Result<Destination, Error> {
    let number = |path| fs::read_to_string(path).ok()?.trim().parse::<u64>().ok();
    let found = maps::mappings(Pid::own())?;
    Ok(Destination {
        host: host::here()?,
        specials: specials_of(&found).map(|(special, _)| special).collect(),
        // Root is not bound by it, and those who are find out.
        lowest: number("/proc/sys/vm/mmap_min_addr").unwrap_or(LOWEST),
        threads_max: number("/proc/sys/kernel/threads-max").map_or(THREADS_MAX, |max| max as usize),
        files,
        vdso,
        value,
        given,
        strangers,
    })
}

/// The kernel's own among some mappings, beside each other.
pub(super) fn specials_of(found: &[Mapping]) -> impl Iterator<Item = (Special, &Mapping)> {
    let named = |mapping| Some((name_of(mapping)?, mapping));
    let first = found.iter().find_map(named).map_or(0, |(_, mapping)| mapping.range.start);
    found.iter().filter_map(named).map(move |(name, mapping)| {
        let offset = mapping.range.start - first;
        let length = mapping.range.end - mapping.range.start;
        (Special { name: Text(name.to_vec()), offset, length }, mapping)
    })
}

fn name_of(mapping: &Mapping) -> Option<&[u8]> {
    match &mapping.content {
        Content::Vdso => Some(b"[vdso]"),
        Content::Vvar(name) => Some(name),
        _ => None,
    }
}
