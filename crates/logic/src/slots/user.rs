//! One client's account at a node: what it may send, what it has here, what it has had.

use std::collections::BTreeMap;

use wire::name::Name;

#[derive(Debug)]
pub(super) struct User {
    pub(super) id: u64,
    pub(super) owner: Name,
    /// By the numbers that the client gave its programs.
    pub(super) lanes: Vec<usize>,
    /// The lanes of their streams, by those of the programs.
    pub(super) streams: BTreeMap<usize, usize>,
    /// Tasks received since the link began.
    pub(super) accepted: u64,
    /// Tasks that it may have sent by now; it only grows.
    pub(super) limit: u64,
    /// Tasks here, waiting or running.
    pub(super) active: u32,
    pub(super) done: u64,
    /// Worker time received, in nanoseconds, raised to the others' when it comes back from idling.
    pub(super) served: u64,
    /// The class of its last task: what its next ones will probably cost.
    pub(super) recent: Option<usize>,
}

impl User {
    pub(super) fn new(id: u64, owner: Name, served: u64) -> Self {
        Self {
            id,
            owner,
            lanes: Vec::new(),
            streams: BTreeMap::new(),
            accepted: 0,
            limit: 0,
            active: 0,
            done: 0,
            served,
            recent: None,
        }
    }

    pub(super) fn all_lanes(&self) -> Vec<usize> {
        self.lanes.iter().chain(self.streams.values()).copied().collect()
    }

    /// The new limit, if it is worth a message: when a quarter of the credits is used up.
    pub(super) fn renew(&mut self, target: u32) -> Option<u64> {
        let limit = self.accepted - u64::from(self.active) + u64::from(target);
        let gain = limit.saturating_sub(self.limit);
        if gain == 0 || gain < u64::from(target / 4) {
            return None;
        }
        self.limit = limit;
        Some(limit)
    }
}
