//! Figures of Farcall beside the raw reference and its peers, measured in the same run.
//!
//! ```text
//!  tasks, cores, memory, moves ── one scene after the other; in each round raw, ours and the peers take turns
//!    ├─ raw     two processes and a socket: the limit
//!    ├─ ours    Farcall, through its public library
//!    ├─ daemon  a node of its own, with the flags under test; v1 drives it
//!    └─ peers   other people's systems, built on demand
//!  record ── what came out, against the floors of `figure`
//!  report ── the same for people and for programs
//! ```
//!
//! What makes a ratio fair: same bytes, same encryption, two unpinned processes, warm, the median
//! of five rounds (of fifty short ones for latency), and a machine that drifts in one round drifts
//! for all of them.

#![forbid(unsafe_code)]

pub mod tasks;
pub mod cores;
pub mod memory;
pub mod moves;
mod turns;
pub mod report;
pub mod record;
pub mod figure;
pub mod peers;
mod v1;
mod daemon;
pub mod ours;
pub mod raw;
mod reaped;
mod folder;
pub mod setting;
pub mod error;

pub use error::Error;
