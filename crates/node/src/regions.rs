//! Where this node's regions outlive it: what the machine wants kept goes to a vault, and a vault's news
//! come back with a wake-up of the loop.
//!
//! Elsewhere: when a commit may be answered (`logic::regions`), vaults themselves (crate `vault`).

use std::sync::mpsc::{Receiver, Sender, channel};

use logic::regions::{Effect, Event};
use wire::region::Durability;

/// The vaults of a node. Without any, only regions of durability `none` are made: the machine refuses
/// the others, and asks nothing of this.
#[derive(Debug)]
pub(crate) struct Vaults {
    /// What vaults say; `sender` goes to each.
    events: Receiver<Event>,
    _sender: Sender<Event>,
}

impl Default for Vaults {
    fn default() -> Self {
        let (sender, events) = channel();
        Self { events, _sender: sender }
    }
}

impl Vaults {
    /// The durabilities that one of them keeps.
    pub(crate) fn keeps(&self) -> Vec<Durability> {
        Vec::new()
    }

    pub(crate) fn carry_out(&mut self, effect: Effect) {
        match effect {
            Effect::Make { .. } | Effect::Open { .. } | Effect::Remove { .. } | Effect::Keep(_) => {
            }
            Effect::Send { .. } | Effect::Close { .. } => {
                unreachable!("the node makes its own of these")
            }
        }
    }

    pub(crate) fn news(&mut self) -> Option<Event> {
        self.events.try_recv().ok()
    }
}
