//! Where sessions wait for each other.

use std::collections::{BTreeMap, BTreeSet};

use super::sessions::SessionAt;

#[derive(Debug)]
struct Barrier {
    parties: u32,
    /// Whoever has arrived: session and request. A session may arrive more than once, as its threads
    /// do.
    arrived: BTreeSet<(SessionAt, u64)>,
}

#[derive(Debug, Default)]
pub(super) struct Barriers {
    barriers: BTreeMap<u64, Barrier>,
    /// How often all parties of any barrier had arrived.
    rounds: u64,
}

/// What an arrival leads to.
#[derive(Debug)]
pub(super) enum Arrival {
    Waits,
    /// All are here; these can go on.
    Complete {
        round: u64,
        arrived: Vec<(SessionAt, u64)>,
    },
    /// The barrier was begun for so many.
    OtherParties(u32),
}

impl Barriers {
    pub(super) fn arrive(
        &mut self,
        number: u64,
        parties: u32,
        session: SessionAt,
        request: u64,
    ) -> Arrival {
        let barrier = self
            .barriers
            .entry(number)
            .or_insert_with(|| Barrier { parties, arrived: BTreeSet::new() });
        if barrier.parties != parties {
            return Arrival::OtherParties(barrier.parties);
        }
        barrier.arrived.insert((session, request));
        if (barrier.arrived.len() as u64) < u64::from(parties) {
            return Arrival::Waits;
        }
        self.rounds += 1;
        let arrived = self.barriers.remove(&number).map(|barrier| barrier.arrived);
        let arrived = arrived.into_iter().flatten().collect();
        Arrival::Complete { round: self.rounds, arrived }
    }

    /// Somebody does not wait any longer.
    pub(super) fn leave(&mut self, number: u64, session: SessionAt, request: u64) {
        let Some(barrier) = self.barriers.get_mut(&number) else { return };
        barrier.arrived.remove(&(session, request));
        if barrier.arrived.is_empty() {
            self.barriers.remove(&number);
        }
    }

    pub(super) fn contains(&self, number: u64) -> bool {
        self.barriers.contains_key(&number)
    }

    pub(super) fn len(&self) -> usize {
        self.barriers.len()
    }
}
