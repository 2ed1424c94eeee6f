//! Where regions outlive their node.
//!
//! ```text
//!   the node's loop                     threads of a vault
//!     Keep(batch) ──────────────────►   gather, write, wait for the disk or for etcd
//!     Kept(sequence) ◄── Outbox ─────
//! ```
//!
//! One trait, two vaults. The *embedded* one has a store of its own in the node's data folder. The
//! one in *etcd* outlives the node's host, and says which node is the home of a region.
//!
//! Elsewhere: when a commit may be answered (`logic::regions`), the bytes that are kept (`wire::kept`).

#![forbid(unsafe_code)]

pub mod embedded;
pub mod etcd;

mod ledger;
mod vault;
mod water;

pub use embedded::Embedded;
pub use etcd::Etcd;
pub use vault::{Outbox, Vault};
