//! The machines of Farcall: they decide and touch nothing.
//!
//! Each is a value: `handle(now, event)`, then `poll_effect` until it is empty, then sleep until
//! `poll_timeout`. There is no socket, file, clock, thread or random number in this crate, so
//! whole clusters of these machines run in `sim` from a printed seed.
//!
//! ```text
//!   client                                  node
//!   dispatch: which task to which node      node: the sum of
//!                                             slots: which task to which worker, credits
//!                                             controllers: what peers of protocol v1 ask for
//!                                             netmem: what peers of NetMem get of a region
//!                                             regions: memory that programs share
//!                                             blobs: what is here, and for whom
//!                                             members: who is in the cluster
//!                                             history, heard, logs: what it can say of tasks
//!   visit: when a process that moves is here, and when there; both sides
//!   link: hello and heartbeat of one connection, on both sides
//! ```
//!
//! Elsewhere: bytes (`wire`), the loops that carry out effects (`node`, `client`).

#![forbid(unsafe_code)]

pub mod node;
pub mod dispatch;
pub mod controllers;
pub mod netmem;
pub mod regions;
pub mod slots;
pub mod visit;
pub mod history;
pub mod heard;
pub mod logs;
pub mod blobs;
pub mod members;
pub mod link;
pub mod alarms;
mod ids;

pub use ids::{BufferId, Exit, LinkId, Payload, VisitId, WorkerId};
