//! Who is in the cluster: nodes tell each other and their clients.

use serde::{Deserialize, Serialize};

use crate::name::Name;

/// One node, as the cluster knows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    pub name: Name,
    /// Rises with every start of the node, so that news of its last life do not outdo its present.
    pub life: u64,
    /// Where it listens, `HOST:PORT`.
    pub addresses: Vec<String>,
    pub slots: u32,
    pub state: State,
}

/// Within one life a state only rises.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum State {
    Here,
    /// It finishes what it has and takes no more.
    Leaving,
    /// Its link broke.
    Lost,
    Gone,
}

/// News of members: those that changed, or all of them to a newcomer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Members {
    pub members: Vec<Member>,
}
