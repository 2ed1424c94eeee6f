//! What a vault is, whichever it is: it makes, opens and removes regions, and keeps their commits.
//!
//! No call here waits for a disk or a network. What became of it comes back through the `Outbox`.

use std::fmt;
use std::sync::Arc;
use std::sync::mpsc::Sender;

use logic::regions::{Batch, Event};
use wire::name::Name;
use wire::region::{Create, RegionId};

/// Where regions outlive their node. When it is dropped, what it was given is kept first.
pub trait Vault: Send {
    /// Makes a region. `Made` follows.
    fn make(&self, id: RegionId, owner: Name, create: Create);

    /// Opens a region, unless it is open already. `Opened` follows.
    fn open(&self, name: Name);

    /// Keeps a commit after those before it; many may be under way. `Kept` follows, for this one or
    /// for a later one of the same region; or `Lost`, and then nothing more of this region.
    fn keep(&self, batch: Batch);

    /// Forgets a region that is open here. `Removed` follows, or `Lost`.
    fn remove(&self, id: RegionId);

    /// Gives up a region that is open here, and leaves it as it is. Nothing follows.
    fn shut(&self, id: RegionId);

    /// Forgets a region that is here and could not be opened. Nothing follows.
    fn discard(&self, name: Name);
}

/// Where a vault's news go: `Made`, `Opened`, `Kept`, `Removed` and `Lost`.
#[derive(Clone)]
pub struct Outbox {
    events: Sender<Event>,
    wake: Arc<dyn Fn() + Send + Sync>,
}

impl Outbox {
    /// `wake` is called when there is news, from any thread, and should return soon.
    pub fn new(events: Sender<Event>, wake: Arc<dyn Fn() + Send + Sync>) -> Self {
        Self { events, wake }
    }

    pub fn tell(&self, events: impl IntoIterator<Item = Event>) {
        for event in events {
            // Nobody listens when the node is ending.
            let _ = self.events.send(event);
        }
        (self.wake)();
    }
}

impl fmt::Debug for Outbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Outbox")
    }
}
