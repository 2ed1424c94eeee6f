//! What everybody in a run of regions shares: the network, the plan, and the record of what was seen.

use std::collections::BTreeMap;

use verdict::Op;
use wire::name::Name;
use wire::region::SessionId;

use crate::net::Net;
use crate::node::name;
use crate::regions::plan::{Bug, Plan};

#[derive(Debug)]
pub(crate) struct Scene {
    pub(crate) net: Net,
    pub(crate) plan: Plan,
    pub(crate) ops: Vec<Op>,
    /// When requests for a lock came to the home: in which order, and how often the session had
    /// lapsed by then.
    pub(crate) arrivals: BTreeMap<(SessionId, u64), Arrival>,
    /// What the home knows of who was silent for how long.
    pub(crate) lapses: BTreeMap<SessionId, u64>,
    tags: u64,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Arrival {
    pub(crate) order: u64,
    pub(crate) lapses: u64,
    /// Of the home.
    pub(crate) life: u64,
}

impl Scene {
    pub(crate) fn new(net: Net, plan: Plan) -> Self {
        Self {
            net,
            plan,
            ops: Vec::new(),
            arrivals: BTreeMap::new(),
            lapses: BTreeMap::new(),
            tags: 0,
        }
    }

    /// A number that was never used.
    pub(crate) fn tag(&mut self) -> u64 {
        self.tags += 1;
        self.tags
    }

    pub(crate) fn has(&self, bug: Bug) -> bool {
        self.plan.bug == Some(bug)
    }
}

pub(crate) fn home() -> Name {
    name("home")
}

pub(crate) fn region() -> Name {
    name("region")
}
