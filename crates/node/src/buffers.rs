//! Shared buffers for payloads, used again and again.
//!
//! A fresh buffer costs a page fault for every page, ten times as much as the copy; a recycled one
//! costs nothing. A buffer is used again only for the same owner: a worker may still have it mapped,
//! and could read along.

use std::collections::{HashMap, HashSet};
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use logic::BufferId;
use sys::shared::SharedBuffer;
use wire::limits::PAYLOADS_HELD_MAX;
use wire::name::Name;

/// The smallest buffer; others are its size times a power of two.
const SMALLEST: u64 = 256 * 1024;
/// Free bytes that are kept for one owner.
const KEPT_FREE: u64 = 256 << 20;
/// The same for all guests together.
const KEPT_FREE_GUESTS: u64 = 256 << 20;

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
}

#[derive(Debug, Default)]
struct State {
    next: u32,
    used: HashMap<BufferId, Arc<Buffer>>,
    arriving: HashSet<BufferId>,
    gone: Vec<BufferId>,
    owners: HashMap<Name, Account>,
    /// Bytes of the free ones of all guests.
    kept_for_guests: u64,
}

/// One owner's buffers.
#[derive(Debug, Default)]
struct Account {
    /// It has a link, so what it gives back may be of use again.
    present: bool,
    /// It has shown no certificate, and there may be many like it.
    is_guest: bool,
    /// Bytes in use, and how many of them are of payloads that are still arriving.
    held: u64,
    arriving: u64,
    free: Vec<Arc<Buffer>>,
    /// Bytes of the free ones.
    kept: u64,
}

impl Buffers {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A buffer of at least `length` bytes, unless the owner holds too much already.
    pub(crate) fn take_if_room(&self, owner: &Name, length: u64) -> Option<Arc<Buffer>> {
        let mut state = self.state();
        let (held, arriving) =
            state.owners.get(owner).map_or((0, 0), |account| (account.held, account.arriving));
        // While only parts are held, nothing would ever be freed by waiting.
        if held > arriving && held.saturating_add(length) > PAYLOADS_HELD_MAX {
            return None;
        }
        let buffer = state.take(owner, length)?;
        state.arriving.insert(buffer.id);
        if let Some(account) = state.owners.get_mut(owner) {
            account.arriving += buffer.shared.len() as u64;
        }
        Some(buffer)
    }

    /// All of a payload is there.
    pub(crate) fn arrived(&self, id: BufferId) {
        self.state().arrived(id);
    }

    /// Buffers that exist no more since the last call: who has them mapped is to forget them.
    pub(crate) fn take_gone(&self) -> Vec<BufferId> {
        std::mem::take(&mut self.state().gone)
    }

    /// The same whatever he holds: a result must have its place, or nothing would ever be freed.
    pub(crate) fn take(&self, owner: &Name, length: u64) -> Option<Arc<Buffer>> {
        self.state().take(owner, length)
    }

    pub(crate) fn get(&self, id: BufferId) -> Option<Arc<Buffer>> {
        self.state().used.get(&id).cloned()
    }

    /// Gives a buffer back.
    pub(crate) fn release(&self, id: BufferId) {
        let mut state = self.state();
        state.arrived(id);
        let Some(buffer) = state.used.remove(&id) else { return };
        let size = buffer.shared.len() as u64;
        let owner = buffer.owner.clone();
        let has_room = state.kept_for_guests + size <= KEPT_FREE_GUESTS;
        let Some(account) = state.owners.get_mut(&owner) else { return };
        account.held -= size;
        let has_room = account.kept + size <= KEPT_FREE && (has_room || !account.is_guest);
        if account.present && has_room {
            account.kept += size;
            account.free.push(buffer);
            state.kept_for_guests += if account.is_guest { size } else { 0 };
        } else {
            state.gone.push(id);
        }
        state.close_account(&owner);
    }

    /// The owner has a bulk connection: its free buffers are kept for it.
    pub(crate) fn expect(&self, owner: &Name) {
        self.state().owners.entry(owner.clone()).or_default().present = true;
    }

    /// The same for an owner who has shown no certificate: all such owners share one bound.
    pub(crate) fn expect_guest(&self, owner: &Name) {
        let mut state = self.state();
        let account = state.owners.entry(owner.clone()).or_default();
        (account.present, account.is_guest) = (true, true);
    }

    /// The owner has no link any more: what is free goes, and what its last tasks still hold goes
    /// when they give it back.
    pub(crate) fn forget(&self, owner: &Name) {
        let mut state = self.state();
        if let Some(account) = state.owners.get_mut(owner) {
            account.present = false;
            let kept = std::mem::take(&mut account.kept);
            let of_guest = if account.is_guest { kept } else { 0 };
            let gone: Vec<BufferId> = account.free.drain(..).map(|buffer| buffer.id).collect();
            state.kept_for_guests -= of_guest;
            state.gone.extend(gone);
            state.close_account(owner);
        }
    }
}

impl State {
    fn arrived(&mut self, id: BufferId) {
        if self.arriving.remove(&id)
            && let Some(buffer) = self.used.get(&id)
            && let Some(account) = self.owners.get_mut(&buffer.owner)
        {
            account.arriving -= buffer.shared.len() as u64;
        }
    }

    /// Owners come and go: of one that is gone and holds nothing no account is kept.
    fn close_account(&mut self, owner: &Name) {
        if self.owners.get(owner).is_some_and(|account| !account.present && account.held == 0) {
            self.owners.remove(owner);
        }
    }

    fn take(&mut self, owner: &Name, length: u64) -> Option<Arc<Buffer>> {
        let size = length.max(SMALLEST).checked_next_power_of_two()?;
        let account = self.owners.entry(owner.clone()).or_default();
        let fitting = account.free.iter().position(|buffer| buffer.shared.len() as u64 == size);
        let buffer = match fitting {
            Some(at) => {
                account.kept -= size;
                self.kept_for_guests -= if account.is_guest { size } else { 0 };
                account.free.swap_remove(at)
            }
            None => {
                let size = NonZeroUsize::new(usize::try_from(size).ok()?)?;
                let shared = SharedBuffer::create("farcall-payload", size).ok()?;
                self.next = self.next.wrapping_add(1);
                Arc::new(Buffer { id: BufferId(self.next), shared, owner: owner.clone() })
            }
        };
        account.held += size;
        self.used.insert(buffer.id, buffer.clone());
        Some(buffer)
    }
}
