//! The client's side of shared memory.
//!
//! Elsewhere: what a region decides (`logic::regions`), how a cluster finds its home (`client`).

#![forbid(unsafe_code)]
#![warn(missing_docs)]

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
pub use options::{RegionOptions, RegionReport};
pub use page::{Page, Read, Snapshot};
pub use pending::Pending;
pub use region::Region;
pub use transaction::Transaction;
pub use watch::{Change, Watch};
pub use wire::region::{Durability, HotPage, Token, Version};
