//! Watches: what is committed, as it happens.

use std::ffi::c_int;
use std::mem::MaybeUninit;

use client::memory::{Change, Watch};
use wire::limits::PAGES_MAX;

use crate::border::{give, handle, patience, place};
use crate::region::farcall_region;
use crate::status::farcall_status::{self, FARCALL_OK, FARCALL_TIMEOUT};
use crate::status::{Failure, free, guard};

/// Tells of commits to some pages. Threads that ask at once get one change each.
pub struct farcall_watch(Watch);

/// What a watch tells.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct farcall_change {
    /// Not 0: more was committed than could be kept, so any page may have changed; `page` and `version` are
    /// 0 then.
    pub resync: c_int,
    pub page: u64,
    /// Its latest version: commits that come fast are told as one.
    pub version: u64,
}

/// Watches `count` pages from `first` on; a count of 0 means all from there on, those too that the region
/// grows by later. Nothing is missed from when this returns.
#[unsafe(no_mangle)]
pub extern "C" fn farcall_watch_open(
    region: Option<&farcall_region>,
    first: u64,
    count: u64,
    watch: Option<&mut MaybeUninit<*mut farcall_watch>>,
) -> farcall_status {
    guard(|| {
        let watch = place(watch)?;
        let region = &handle(region, "region")?.0;
        let end = match count {
            0 => PAGES_MAX,
            count => first.saturating_add(count),
        };
        give(watch, farcall_watch(region.watch(first..end)?));
        Ok(FARCALL_OK)
    })
}

/// The next change: waits `wait_ms` milliseconds for it, below 0 however long. FARCALL_TIMEOUT if none came.
#[unsafe(no_mangle)]
pub extern "C" fn farcall_watch_next(
    watch: Option<&farcall_watch>,
    wait_ms: i64,
    change: Option<&mut MaybeUninit<farcall_change>>,
) -> farcall_status {
    guard(|| {
        let mut watch = &handle(watch, "watch")?.0;
        // Before a change is taken: it would be told to nobody.
        let change = change.ok_or_else(|| Failure::argument("the place for the change is null"))?;
        let next = match patience(wait_ms) {
            None => watch.next().transpose()?,
            Some(wait) => watch.next_within(wait).transpose()?,
        };
        change.write(match next {
            None => return Ok(FARCALL_TIMEOUT),
            Some(Change::Page { page, version }) => {
                farcall_change { resync: 0, page, version: version.0 }
            }
            Some(Change::Resync) => farcall_change { resync: 1, page: 0, version: 0 },
        });
        Ok(FARCALL_OK)
    })
}

/// Ends a watch; null is nothing.
#[unsafe(no_mangle)]
pub extern "C" fn farcall_watch_free(watch: Option<Box<farcall_watch>>) {
    free(watch);
}
