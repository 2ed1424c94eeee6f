//! What a plan has to know of this host.

use std::collections::BTreeSet;
use std::fs;

use sys::Pid;
use sys::maps::{self, Content, Mapping};
use wire::image::text::Text;

use super::plan::{Destination, Special, VdsoChoice};
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
    })
}

/// The kernel's own among some mappings, beside each other.
pub(super) fn specials_of(found: &[Mapping]) -> impl Iterator<Item = (Special, &Mapping)> {
    let is_moved =
        |mapping: &&Mapping| matches!(mapping.content, Content::Vdso | Content::Vvar(..));
    let first = found.iter().find(is_moved).map_or(0, |mapping| mapping.range.start);
    found.iter().filter(is_moved).map(move |mapping| {
        let special = Special {
            name: Text(name_of(mapping)),
            offset: mapping.range.start - first,
            length: mapping.range.end - mapping.range.start,
        };
        (special, mapping)
    })
}
