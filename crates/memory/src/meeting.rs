//! Where processes wait for each other: mutexes and barriers.

use std::time::Duration;

use bytes::Bytes;
use wire::region::{Answer, Request, Token};

use crate::error::Error;
use crate::guard::Guard;
use crate::page::Page;
use crate::region::Region;

/// A mutex that processes on different hosts share: the lock of a page, whose bytes it leaves alone. Fair:
/// whoever asks first has it first. In a coherent region too, where it is the lock of that number.
///
/// Who holds it and is not heard of for the length of a lease (3 s) loses it. What it guards must be able
/// to tell: by the [`MutexGuard::token`], which rises with every grant.
///
/// ```no_run
/// # fn example(region: farcall_memory::Region) -> Result<(), farcall_memory::Error> {
/// let mutex = region.mutex(0);
/// let held = mutex.lock()?;
/// // Alone in the cluster, until `held` is dropped.
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Mutex {
    page: Page,
}

/// A mutex that is held. Dropping it gives it to the next.
#[derive(Debug)]
pub struct MutexGuard {
    guard: Guard,
}

/// A barrier: all parties wait until the last of them has arrived. It takes no page.
///
/// ```no_run
/// # fn example(region: farcall_memory::Region) -> Result<(), farcall_memory::Error> {
/// let barrier = region.barrier(1, 4);
/// for _ in 0..100 {
///     // One step of each of four processes.
///     barrier.wait()?;
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Barrier {
    region: Region,
    number: u64,
    parties: u32,
}

impl Region {
    /// The mutex of this page.
    pub fn mutex(&self, page: u64) -> Mutex {
        Mutex { page: self.page(page) }
    }

    /// The barrier of this number (any number) for so many parties.
    pub fn barrier(&self, number: u64, parties: u32) -> Barrier {
        Barrier { region: self.clone(), number, parties }
    }
}

impl Mutex {
    /// Waits for it, however long.
    pub fn lock(&self) -> Result<MutexGuard, Error> {
        self.page.lock().map(|guard| MutexGuard { guard })
    }

    /// Takes it, if nobody has it.
    pub fn try_lock(&self) -> Result<Option<MutexGuard>, Error> {
        Ok(self.page.try_lock()?.map(|guard| MutexGuard { guard }))
    }

    /// Waits for it, at most so long; see [`Page::lock_for`].
    pub fn lock_for(&self, wait: Duration) -> Result<Option<MutexGuard>, Error> {
        Ok(self.page.lock_for(wait)?.map(|guard| MutexGuard { guard }))
    }
}

impl MutexGuard {
    /// Rises with every grant.
    pub fn token(&self) -> Token {
        self.guard.token()
    }

    /// It is still held, as far as is known here without asking.
    pub fn is_held(&self) -> bool {
        self.guard.is_held()
    }

    /// Gives it back, and waits until the node has it; [`Error::LostLock`] if it was lost.
    pub fn unlock(self) -> Result<(), Error> {
        self.guard.rollback()
    }
}

impl Barrier {
    /// Waits until all parties have arrived; the number of the round, the same for all of
    /// them, and higher than those before.
    pub fn wait(&self) -> Result<u64, Error> {
        let (barrier, parties) = (self.number, self.parties);
        loop {
            match self.region.owner.ask(Request::Arrive { barrier, parties }, Bytes::new()) {
                Ok((Answer::Arrived { round }, _)) => return Ok(round),
                // The home takes back the arrival of who was silent for a lease: it arrives again.
                Ok((Answer::Busy, _)) => {}
                Ok((answer, _)) => return Err(self.region.owner.unexpected(&answer)),
                Err(Error::OtherParties { region, parties, .. }) => {
                    return Err(Error::OtherParties { region, barrier, parties });
                }
                Err(error) => return Err(error),
            }
        }
    }
}
