//! The client's side of shared memory: regions of versioned pages that programs on several hosts share.
//!
//! ```text
//!   Cell Counter Map Queue Mutex Barrier      values that several processes use
//!   Mapping Shared                            regions as memory
//!   Page Guard Transaction Watch              what a region can do
//!   view                                      what answers page faults, and what if it cannot
//!   driver                                    whoever waits drives the connection
//!   line                                      one connection: greeting, frames
//! ```
//!
//! Elsewhere: what a region decides (`logic::regions`), how a cluster finds its home (`client`).

#![forbid(unsafe_code)]
#![warn(missing_docs)]

pub mod netmem;
mod mapping;
mod shared;
mod view;
mod map;
mod queue;
mod meeting;
mod values;
mod transaction;
mod watch;
mod guard;
mod page;
mod pending;
mod region;
mod options;
mod driver;
pub mod line;
mod error;

pub use bytes::Bytes;
pub use driver::Guide;
pub use error::Error;
pub use guard::Guard;
pub use logic::regions::mapped::Traffic;
pub use map::Map;
pub use mapping::Mapping;
pub use meeting::{Barrier, Mutex, MutexGuard};
pub use options::{RegionOptions, RegionReport};
pub use page::{Page, Read, Snapshot};
pub use pending::Pending;
pub use queue::Queue;
pub use region::Region;
pub use shared::Shared;
pub use transaction::Transaction;
pub use values::{Cell, Counter};
pub use watch::{Change, Watch};
pub use wire::region::{Durability, HotPage, Token, Version};
