//! Watches: what is committed, as it happens.

use std::ffi::c_int;
use std::mem::MaybeUninit;

use client::memory::{Change, Watch};

use crate::border::{give, handle, patience, place, put};
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

/// Watches `count` pages from `first` on; a count of 0 means all from there on. Nothing is missed from when
/// this returns.
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
            0 => region.pages().max(first.saturating_add(1)),
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
        let next = match patience(wait_ms) {
            None => watch.next().transpose()?,
            Some(wait) => watch.next_within(wait).transpose()?,
        };
        let told = match next {
            None => return Ok(FARCALL_TIMEOUT),
            Some(Change::Page { page, version }) => {
                farcall_change { resync: 0, page, version: version.0 }
            }
            Some(Change::Resync) => farcall_change { resync: 1, page: 0, version: 0 },
        };
        put(
            Some(change.ok_or_else(|| Failure::argument("the place for the change is null"))?),
            told,
        );
        Ok(FARCALL_OK)
    })
}

/// Ends a watch; null is nothing.
#[unsafe(no_mangle)]
pub extern "C" fn farcall_watch_free(watch: Option<Box<farcall_watch>>) {
    free(watch);
}
