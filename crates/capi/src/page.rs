//! Pages: read, updated, compared.

use std::ffi::c_void;
use std::mem::MaybeUninit;
use std::time::Duration;

use client::memory::{Error, Read, Snapshot, Version};

use crate::border::{bytes, copy, handle, put};
use crate::region::farcall_region;
use crate::status::farcall_status::{self, FARCALL_CONFLICT, FARCALL_OK, FARCALL_UNCHANGED};
use crate::status::{Failure, guard};

/// Copies `length` bytes of a page, from `offset` on, to `buffer`: those of its last commit, all of one
/// version. Never waits for a lock. `version` may be null; otherwise it brings the version that is known (0:
/// none) and takes the one that the page has. If they are the same, nothing is copied, and the answer is
/// FARCALL_UNCHANGED.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn farcall_read(
    region: Option<&farcall_region>,
    page: u64,
    offset: u32,
    buffer: *mut c_void,
    length: usize,
    version: Option<&mut u64>,
) -> farcall_status {
    guard(|| {
        let snapshot = handle(region, "region")?.0.page(page).read()?;
        // SAFETY: the header asks for a buffer with room for so many bytes, the caller's for the whole call.
        unsafe { hand_over(&snapshot, offset, buffer, length, version) }
    })
}

/// The same, and what was read at most `max_age_ms` milliseconds ago is good enough: then nobody is asked.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn farcall_read_cached(
    region: Option<&farcall_region>,
    page: u64,
    max_age_ms: u64,
    offset: u32,
    buffer: *mut c_void,
    length: usize,
    version: Option<&mut u64>,
) -> farcall_status {
    guard(|| {
        let max_age = Duration::from_millis(max_age_ms);
        let page = handle(region, "region")?.0.page(page);
        let snapshot = page.read_as(Read::Cached { max_age })?;
        // SAFETY: the header asks for a buffer with room for so many bytes, the caller's for the whole call.
        unsafe { hand_over(&snapshot, offset, buffer, length, version) }
    })
}

/// # Safety
///
/// The buffer is null, or has room for so many bytes and is used by nobody else for the time of the call.
unsafe fn hand_over(
    snapshot: &Snapshot,
    offset: u32,
    buffer: *mut c_void,
    length: usize,
    version: Option<&mut u64>,
) -> Result<farcall_status, Failure> {
    let newest = snapshot.version.0;
    if version.as_ref().is_some_and(|known| **known == newest) {
        return Ok(FARCALL_UNCHANGED);
    }
    // SAFETY: what this function asks of its caller.
    unsafe { copy(&snapshot.bytes, offset, buffer, length) }?;
    if let Some(version) = version {
        *version = newest;
    }
    Ok(FARCALL_OK)
}

/// Writes `length` bytes into a page, from `offset` on, all at once; waits while somebody else has its
/// lock. The new version goes to `version`, unless that is null.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn farcall_update(
    region: Option<&farcall_region>,
    page: u64,
    offset: u32,
    data: *const c_void,
    length: usize,
    version: Option<&mut MaybeUninit<u64>>,
) -> farcall_status {
    guard(|| {
        // SAFETY: the header asks for so many bytes, which nobody changes during the call.
        let data = unsafe { bytes(data, length) }?;
        let committed = handle(region, "region")?.0.page(page).update(offset, data)?;
        put(version, committed.0);
        Ok(FARCALL_OK)
    })
}

/// The same if the page has the version that `version` brings. Otherwise nothing is changed, the answer is
/// FARCALL_CONFLICT, and `version` takes the one that it has.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn farcall_compare_and_update(
    region: Option<&farcall_region>,
    page: u64,
    version: Option<&mut u64>,
    offset: u32,
    data: *const c_void,
    length: usize,
) -> farcall_status {
    guard(|| {
        // SAFETY: the header asks for so many bytes, which nobody changes during the call.
        let data = unsafe { bytes(data, length) }?;
        let page = handle(region, "region")?.0.page(page);
        let version = version.ok_or_else(|| Failure::argument("the version is null"))?;
        match page.compare_and_update(Version(*version), offset, data) {
            Ok(committed) => {
                *version = committed.0;
                Ok(FARCALL_OK)
            }
            Err(Error::Conflict { version: newest, .. }) => {
                *version = newest;
                Ok(FARCALL_CONFLICT)
            }
            Err(error) => Err(error.into()),
        }
    })
}
