//! Where a process that moves arrives: one process of a node for each visit.
//!
//! ```text
//!  node == connections ==> pad <== image, messages, standard streams ==> the visitor's client
//!                           |
//!                           +-- builds, wakes, feeds and waits for --> the visitor, its child
//! ```
//!
//! It gives up the rights of a worker of level `user` before it reads a byte of an image; a process beside it keeps the
//! one that makes descriptors for memory that follows, until the image is built. It dies with its node; its visitor is in its control group and among its children, and ends with it.
//!
//! A visit of calls has many copies of one client's process, made of one memory (`calls`).
//!
//! Elsewhere: when it wakes the visitor, and when it leaves (`logic::visit`), the node's end (`node`), how a
//! process is built (`telefork`).

#![forbid(unsafe_code)]

mod serve;
mod calls;
mod follow;
mod streams;
mod terminal;
mod line;
mod tee;
mod control;
pub mod arrival;
mod rounds;

pub use control::Error;
pub use serve::{Rules, serve, serve_chained};
pub use tee::Chained;
