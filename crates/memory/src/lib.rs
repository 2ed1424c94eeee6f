//! The client's side of shared memory.
//!
//! Elsewhere: what a region decides (`logic::regions`), how a cluster finds its home (`client`).

#![forbid(unsafe_code)]
#![warn(missing_docs)]

pub mod shared;
pub mod line;
mod error;

pub use error::Error;
pub use shared::Shared;
