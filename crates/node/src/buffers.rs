//! Shared buffers for payloads, used again and again.
//!
//! A fresh buffer costs a page fault for every page, ten times as much as the copy; a recycled one
//! costs nothing. A buffer is used again only for the same owner: a worker may still have it mapped,
//! and could read along.

use std::collections::HashMap;
use std::num::NonZeroUsize;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use logic::BufferId;
use sys::shared::SharedBuffer;
use wire::limits::PAYLOADS_HELD_MAX;
use wire::name::Name;

/// The smallest buffer; others are its size times a power of two.
const SMALLEST: u64 = 256 * 1024;
/// Free bytes that are kept for one owner.
const KEPT_FREE: u64 = 256 << 20;

#[derive(Debug)]
pub(crate) struct Buffer {
    pub(crate) id: BufferId,
    pub(crate) shared: SharedBuffer,
    owner: Name,
}

/// All buffers of the node; bulk threads take from it, the loop gives back.
#[derive(Debug, Default)]
pub(crate) struct Buffers {
    state: Mutex<State>,
    freed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    next: u32,
    used: HashMap<BufferId, Arc<Buffer>>,
    free: HashMap<Name, Vec<Arc<Buffer>>>,
    /// Bytes of all buffers in use.
    held: u64,
    closed: bool,
}

impl Buffers {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A buffer of at least `length` bytes, waiting until others are given back if the node holds
    /// too much. `None`: the node stops, or the kernel has no memory.
    pub(crate) fn take_waiting(&self, owner: &Name, length: u64) -> Option<Arc<Buffer>> {
        let mut state = self.state();
        while state.held > 0 && state.held.saturating_add(length) > PAYLOADS_HELD_MAX {
            if state.closed {
                return None;
            }
            state = self.freed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state.take(owner, length)
    }

    /// The same without waiting: a result must have its place, or nothing would ever be freed.
    pub(crate) fn take(&self, owner: &Name, length: u64) -> Option<Arc<Buffer>> {
        self.state().take(owner, length)
    }

    pub(crate) fn get(&self, id: BufferId) -> Option<Arc<Buffer>> {
        self.state().used.get(&id).cloned()
    }

    /// Gives a buffer back.
    pub(crate) fn release(&self, id: BufferId) {
        let mut state = self.state();
        let Some(buffer) = state.used.remove(&id) else { return };
        state.held -= buffer.shared.len() as u64;
        let free = state.free.entry(buffer.owner.clone()).or_default();
        let kept: u64 = free.iter().map(|buffer| buffer.shared.len() as u64).sum();
        if kept + buffer.shared.len() as u64 <= KEPT_FREE {
            free.push(buffer);
        }
        self.freed.notify_all();
    }

    /// The owner has no link any more.
    pub(crate) fn forget(&self, owner: &Name) {
        self.state().free.remove(owner);
    }

    /// Nobody waits any longer.
    pub(crate) fn close(&self) {
        self.state().closed = true;
        self.freed.notify_all();
    }
}

impl State {
    fn take(&mut self, owner: &Name, length: u64) -> Option<Arc<Buffer>> {
        let size = length.max(SMALLEST).checked_next_power_of_two()?;
        let free = self.free.get_mut(owner);
        let fitting = free.and_then(|free| {
            let at = free.iter().position(|buffer| buffer.shared.len() as u64 == size)?;
            Some(free.swap_remove(at))
        });
        let buffer = match fitting {
            Some(buffer) => buffer,
            None => {
                let size = NonZeroUsize::new(usize::try_from(size).ok()?)?;
                let shared = SharedBuffer::create("farcall-payload", size).ok()?;
                self.next = self.next.wrapping_add(1);
                Arc::new(Buffer { id: BufferId(self.next), shared, owner: owner.clone() })
            }
        };
        self.held += buffer.shared.len() as u64;
        self.used.insert(buffer.id, buffer.clone());
        Some(buffer)
    }
}
