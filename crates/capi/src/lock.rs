//! Locks of pages: the bytes of the page, to be changed in place, then committed or not.

use std::ffi::{c_int, c_void};
use std::mem::MaybeUninit;
use std::ptr::NonNull;
use std::sync::{Mutex, PoisonError};

use client::memory::Guard;

use crate::border::{give, handle, patience, place, put};
use crate::region::farcall_region;
use crate::status::farcall_status::{self, FARCALL_OK, FARCALL_TIMEOUT};
use crate::status::{Failure, free, guard};

/// The lock of a page, with the page's bytes. One thread at a time may change the bytes.
pub struct farcall_lock {
    /// None once it was given back.
    guard: Mutex<Option<Guard>>,
    /// What C reads and writes, for as long as the handle lives: nothing in Rust points there but while
    /// it is copied.
    bytes: NonNull<u8>,
    length: usize,
    token: u64,
    version: u64,
}

// SAFETY: `bytes` is memory of this value's own, like a box, and is reached through it alone.
unsafe impl Send for farcall_lock {}
// SAFETY: Rust touches the memory behind `bytes` only with `guard` locked; that C's threads do not change
// it while another one commits is what the header asks of them.
unsafe impl Sync for farcall_lock {}

impl Drop for farcall_lock {
    fn drop(&mut self) {
        let bytes = std::ptr::slice_from_raw_parts_mut(self.bytes.as_ptr(), self.length);
        // SAFETY: it was made by `Box::into_raw` with this length, and nobody has freed it before: there
        // is no other place that does.
        drop(unsafe { Box::from_raw(bytes) });
    }
}

/// Locks a page, in the order of asking: for `wait_ms` milliseconds at most, 0 not to wait, below 0 however
/// long. FARCALL_TIMEOUT if somebody else still has it. Whoever dies, or is not heard of for three seconds,
/// loses it, and nothing of what it had not committed lands.
#[unsafe(no_mangle)]
pub extern "C" fn farcall_lock_page(
    region: Option<&farcall_region>,
    page: u64,
    wait_ms: i64,
    lock: Option<&mut MaybeUninit<*mut farcall_lock>>,
) -> farcall_status {
    guard(|| {
        let lock = place(lock)?;
        let page = handle(region, "region")?.0.page(page);
        let granted = match patience(wait_ms) {
            None => Some(page.lock()?),
            Some(wait) if wait.is_zero() => page.try_lock()?,
            Some(wait) => page.lock_for(wait)?,
        };
        let Some(guard) = granted else { return Ok(FARCALL_TIMEOUT) };
        let bytes = Box::<[u8]>::from(&guard[..]);
        let (token, version, length) = (guard.token().0, guard.version().0, bytes.len());
        let Some(bytes) = NonNull::new(Box::into_raw(bytes).cast()) else {
            unreachable!("a box is not null")
        };
        give(lock, farcall_lock { guard: Mutex::new(Some(guard)), bytes, length, token, version });
        Ok(FARCALL_OK)
    })
}

/// The page's bytes, as many as a page has, to be read and changed until the handle is freed. They reach
/// the page by farcall_lock_commit. Null for null. In a coherent region the lock has no bytes, and none may
/// be touched here: its pages are memory, see farcall_map_coherent.
#[unsafe(no_mangle)]
pub extern "C" fn farcall_lock_bytes(lock: Option<&farcall_lock>) -> *mut c_void {
    lock.map_or(std::ptr::null_mut(), |lock| lock.bytes.as_ptr().cast())
}

/// The lock's token: it rises with every grant in its region, so whatever else is changed under the lock
/// can refuse a holder that lost it. 0 for null.
#[unsafe(no_mangle)]
pub extern "C" fn farcall_lock_token(lock: Option<&farcall_lock>) -> u64 {
    lock.map_or(0, |lock| lock.token)
}

/// The page's version when it was locked; 0 for null.
#[unsafe(no_mangle)]
pub extern "C" fn farcall_lock_version(lock: Option<&farcall_lock>) -> u64 {
    lock.map_or(0, |lock| lock.version)
}

/// 1 while the lock is held, as far as is known here without asking; 0 once it was lost or given back.
#[unsafe(no_mangle)]
pub extern "C" fn farcall_lock_is_held(lock: Option<&farcall_lock>) -> c_int {
    let is_held = |guard: &Option<Guard>| guard.as_ref().is_some_and(Guard::is_held);
    let held = lock.map(|lock| lock.guard.lock().unwrap_or_else(PoisonError::into_inner));
    c_int::from(held.is_some_and(|guard| is_held(&guard)))
}

/// Commits the bytes and gives the lock back. The new version goes to `version`, unless that is null.
/// FARCALL_LOST_LOCK: the lock was lost before, and the page is as others left it. Either way the handle is
/// still to be freed.
#[unsafe(no_mangle)]
pub extern "C" fn farcall_lock_commit(
    lock: Option<&farcall_lock>,
    version: Option<&mut MaybeUninit<u64>>,
) -> farcall_status {
    guard(|| {
        let lock = handle(lock, "lock")?;
        let mut held = lock.taken()?;
        let bytes = held.bytes_mut();
        if bytes.len() != lock.length {
            return Err(Failure::argument("the page has another length by now"));
        }
        // SAFETY: both have `length` bytes and cannot overlap: one is this handle's own memory, the other
        // the library's. No thread of C's changes the first during this call, which the header asks.
        unsafe {
            std::ptr::copy_nonoverlapping(lock.bytes.as_ptr(), bytes.as_mut_ptr(), lock.length);
        };
        put(version, held.commit()?.0);
        Ok(FARCALL_OK)
    })
}

/// Gives the lock back and leaves the page as it was. The handle is still to be freed.
#[unsafe(no_mangle)]
pub extern "C" fn farcall_lock_rollback(lock: Option<&farcall_lock>) -> farcall_status {
    guard(|| {
        handle(lock, "lock")?.taken()?.rollback()?;
        Ok(FARCALL_OK)
    })
}

/// Frees a lock, and gives it back first if nobody has; null is nothing.
#[unsafe(no_mangle)]
pub extern "C" fn farcall_lock_free(lock: Option<Box<farcall_lock>>) {
    free(lock);
}

impl farcall_lock {
    fn taken(&self) -> Result<Guard, Failure> {
        let held = self.guard.lock().unwrap_or_else(PoisonError::into_inner).take();
        held.ok_or_else(|| Failure::argument("the lock was given back already"))
    }
}
