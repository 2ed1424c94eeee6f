//! What threads have, between processes on any host: counters, mutexes, barriers.

use std::mem::MaybeUninit;

use client::memory::MutexGuard;

use crate::border::{give, handle, patience, place, put};
use crate::region::farcall_region;
use crate::status::farcall_status::{self, FARCALL_OK, FARCALL_TIMEOUT};
use crate::status::{Failure, guard};

/// A mutex that is held.
pub struct farcall_mutex_guard {
    held: MutexGuard,
}

/// Adds to the counter in a page, and brings what it has then, unless `value` is null. A counter takes a
/// page of its own and begins at 0.
#[unsafe(no_mangle)]
pub extern "C" fn farcall_counter_add(
    region: Option<&farcall_region>,
    page: u64,
    delta: i64,
    value: Option<&mut MaybeUninit<i64>>,
) -> farcall_status {
    guard(|| {
        put(value, handle(region, "region")?.0.counter(page).add(delta)?);
        Ok(FARCALL_OK)
    })
}

/// What the counter in a page has.
#[unsafe(no_mangle)]
pub extern "C" fn farcall_counter_get(
    region: Option<&farcall_region>,
    page: u64,
    value: Option<&mut MaybeUninit<i64>>,
) -> farcall_status {
    guard(|| {
        put(value, handle(region, "region")?.0.counter(page).get()?);
        Ok(FARCALL_OK)
    })
}

/// Waits until nobody else holds the mutex of this number, in the order of asking: for `wait_ms`
/// milliseconds at most, 0 not to wait, below 0 however long. FARCALL_TIMEOUT if somebody still has it.
/// The mutex is the lock of the page of that number, whose bytes it leaves alone; in a coherent region,
/// mutexes have numbers of their own.
#[unsafe(no_mangle)]
pub extern "C" fn farcall_mutex_lock(
    region: Option<&farcall_region>,
    number: u64,
    wait_ms: i64,
    held: Option<&mut MaybeUninit<*mut farcall_mutex_guard>>,
) -> farcall_status {
    guard(|| {
        let place = place(held)?;
        let mutex = handle(region, "region")?.0.mutex(number);
        let granted = match patience(wait_ms) {
            None => Some(mutex.lock()?),
            Some(wait) if wait.is_zero() => mutex.try_lock()?,
            Some(wait) => mutex.lock_for(wait)?,
        };
        let Some(held) = granted else { return Ok(FARCALL_TIMEOUT) };
        give(place, farcall_mutex_guard { held });
        Ok(FARCALL_OK)
    })
}

/// The token of a mutex that is held: it rises with every grant in its region. 0 for null.
#[unsafe(no_mangle)]
pub extern "C" fn farcall_mutex_token(held: Option<&farcall_mutex_guard>) -> u64 {
    held.map_or(0, |guard| guard.held.token().0)
}

/// Gives a mutex back and frees the handle. FARCALL_LOST_LOCK: it was lost before, and somebody else may
/// have held it since.
#[unsafe(no_mangle)]
pub extern "C" fn farcall_mutex_unlock(held: Option<Box<farcall_mutex_guard>>) -> farcall_status {
    guard(|| {
        let held = held.ok_or_else(|| Failure::argument("the mutex is null"))?;
        held.held.unlock()?;
        Ok(FARCALL_OK)
    })
}

/// Waits until `parties` have arrived at the barrier of this number, and counts the rounds of it, from 1,
/// unless `round` is null. All of them must name the same number of parties.
#[unsafe(no_mangle)]
pub extern "C" fn farcall_barrier_wait(
    region: Option<&farcall_region>,
    number: u64,
    parties: u32,
    round: Option<&mut MaybeUninit<u64>>,
) -> farcall_status {
    guard(|| {
        put(round, handle(region, "region")?.0.barrier(number, parties).wait()?);
        Ok(FARCALL_OK)
    })
}
