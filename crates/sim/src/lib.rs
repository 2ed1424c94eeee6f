//! Whole clusters on a fake clock and a bad network, from a printed seed.
//!
//! The machines are the real ones (`logic`), and every message between them is really encoded and
//! decoded (`wire`). Everything else is made up here: time, the network, worker processes, disks.
//!
//! ```text
//!   client 0   client 1 …          Dispatch + one Link per node, as the client library drives them
//!      |    \  /   |
//!   network: latency, breaks, partitions, stalls          from the seed
//!      |    /  \   |
//!   node 0     node 1 …            Node, with pretended workers
//! ```
//!
//! A run has four acts: *faults* while clients submit; *calm*, in which every task must end; a
//! *probe*, in which every slot of every node must work again; and the *end*, after which no node
//! may have anything left of anyone. `judge` watches all of it.
//!
//! That the judge is not blind is shown by planted bugs (`Bug`): each spoils what passes between a
//! machine and its driver, and must be found.
//!
//! Shared memory has a world of its own (`regions`) on the same network: the real home of a region, a
//! disk that loses what was not kept, and clients half of which have the library's machine. What they
//! saw is judged by the crate `verdict`.

#![forbid(unsafe_code)]

pub mod regions;
mod run;
mod world;
mod client;
mod node;
mod net;
mod judge;
mod plan;
mod trace;
mod random;

pub use plan::Bug;
pub use run::{Report, run};
