//! A node in numbers, for its metrics. Taken when somebody asks; nothing is kept for it but counters.

use wire::member::State;
use wire::units::{Span, Time};

use super::{Kind, Node};
use crate::regions;
use crate::slots::Counters;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Figures {
    pub name: String,
    pub up: Span,
    /// It takes no more tasks.
    pub leaving: bool,
    pub slots: u32,
    pub counters: Counters,
    pub running: u32,
    pub waiting: u32,
    /// Payloads that wait for their task, or it for them.
    pub arriving: u64,
    pub workers: u64,
    pub blobs: u64,
    pub blob_bytes: u64,
    pub regions: regions::Figures,
    /// Links by what is at the other end.
    pub links: [(&'static str, u64); 4],
    /// Nodes of the cluster by how they are.
    pub members: [(&'static str, u64); 4],
}

impl Node {
    pub fn figures(&self, now: Time) -> Figures {
        let (running, waiting) = self.slots.running_and_waiting();
        let (blobs, blob_bytes) = self.blobs.sum();
        let mut links = [("client", 0), ("node", 0), ("greeting", 0), ("memory", 0)];
        for connection in self.links.iter().flatten() {
            let at = match connection.kind {
                Kind::Client => 0,
                Kind::Neighbour(_) => 1,
                Kind::Greeting | Kind::Joining => 2,
                Kind::Memory => 3,
            };
            links[at].1 += 1;
        }
        let mut members = [("here", 0), ("leaving", 0), ("lost", 0), ("gone", 0)];
        for member in self.members.iter() {
            let at = match member.state {
                State::Here => 0,
                State::Leaving => 1,
                State::Lost => 2,
                State::Gone => 3,
            };
            members[at].1 += 1;
        }
        Figures {
            name: self.members.me().name.to_string(),
            up: now.since(self.since),
            leaving: self.leaving.is_some(),
            slots: self.slots.size(),
            counters: self.slots.counters(),
            running,
            waiting,
            arriving: self.arrivals.len() as u64,
            workers: self.slots.tally().workers as u64,
            blobs,
            blob_bytes,
            regions: self.regions.figures(),
            links,
            members,
        }
    }
}
