//! Mapped regions: pages as memory.

use std::ffi::c_void;
use std::mem::MaybeUninit;

use client::memory::{Mapping, Shared};

use crate::border::{give, handle, place};
use crate::region::farcall_region;
use crate::status::farcall_status::{self, FARCALL_OK, FARCALL_UNKNOWN};
use crate::status::{Failure, guard};

/// A region, or a part of one, as memory.
pub struct farcall_mapping(Mapped);

enum Mapped {
    Snapshot(Mapping),
    Coherent(Shared),
}

/// Maps `count` pages from `first` on as they are now, all of them of one moment; each is fetched when it is
/// first touched. What is written there stays in this process. The pages must have 4096 bytes or more.
/// If the region's node stays away, touching a page that is not here yet ends the process by SIGSEGV.
#[unsafe(no_mangle)]
pub extern "C" fn farcall_map(
    region: Option<&farcall_region>,
    first: u64,
    count: u64,
    mapping: Option<&mut MaybeUninit<*mut farcall_mapping>>,
) -> farcall_status {
    guard(|| {
        let place = place(mapping)?;
        let pages = first..first.saturating_add(count);
        let mapped = handle(region, "region")?.0.map(pages)?;
        give(place, farcall_mapping(Mapped::Snapshot(mapped)));
        Ok(FARCALL_OK)
    })
}

/// Maps a coherent region: memory that every process that maps it reads and writes, on any host. A page has
/// one writer or many readers at a time, and goes over the wire when that changes. Use it as memory that
/// threads share: by atomics, or plainly under a mutex that all of them take (farcall_mutex_lock,
/// farcall_barrier_wait). Addresses differ between processes. Where the process may not have the full
/// userfaultfd, system calls that are given pointers to it may fail with EFAULT.
#[unsafe(no_mangle)]
pub extern "C" fn farcall_map_coherent(
    region: Option<&farcall_region>,
    mapping: Option<&mut MaybeUninit<*mut farcall_mapping>>,
) -> farcall_status {
    guard(|| {
        let place = place(mapping)?;
        let mapped = handle(region, "region")?.0.map_coherent()?;
        give(place, farcall_mapping(Mapped::Coherent(mapped)));
        Ok(FARCALL_OK)
    })
}

/// Where the memory begins, until the mapping is given back; null for null.
#[unsafe(no_mangle)]
pub extern "C" fn farcall_mapping_address(mapping: Option<&farcall_mapping>) -> *mut c_void {
    mapping.map_or(std::ptr::null_mut(), |mapping| match &mapping.0 {
        Mapped::Snapshot(mapped) => mapped.as_ptr().cast(),
        Mapped::Coherent(mapped) => mapped.as_ptr().cast(),
    })
}

/// Bytes of the memory; 0 for null.
#[unsafe(no_mangle)]
pub extern "C" fn farcall_mapping_length(mapping: Option<&farcall_mapping>) -> usize {
    mapping.map_or(0, |mapping| match &mapping.0 {
        Mapped::Snapshot(mapped) => mapped.len(),
        Mapped::Coherent(mapped) => mapped.len(),
    })
}

/// Gives a mapping back and frees the handle: nobody may touch the memory any more. FARCALL_UNKNOWN: a
/// coherent mapping was lost before, and what was written last may be lost with it.
#[unsafe(no_mangle)]
pub extern "C" fn farcall_unmap(mapping: Option<Box<farcall_mapping>>) -> farcall_status {
    guard(|| {
        let mapping = mapping.ok_or_else(|| Failure::argument("the mapping is null"))?;
        match mapping.0 {
            Mapped::Coherent(mapped) => mapped.close()?,
            Mapped::Snapshot(mapped) => {
                if let Some(why) = mapped.lost() {
                    let words = format!("the mapping was lost: {why}");
                    return Err(Failure { status: FARCALL_UNKNOWN, words });
                }
            }
        }
        Ok(FARCALL_OK)
    })
}
