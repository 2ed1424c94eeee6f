//! Runs the code you have on the machines you have.
//!
//! ```no_run
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let cluster = farcall::Cluster::local()?; // or connect(["host-a", "host-b"]), or from_env()
//! let core = cluster.core("./libsum.so")?;
//! for result in core.map(["1 2 3", "4 5 6"]) {
//!     println!("{}", String::from_utf8_lossy(&result?));
//! }
//! # Ok(())
//! # }
//! ```
//!
//! A [`Cluster`] holds links to nodes. A [`Core`] is a compute core made ready to run on it: a
//! shared library that is shipped once to each node. Running it gives an [`Output`], or a
//! [`Failure`] that says [`Why`].
//!
//! No thread stands between a caller who waits and the socket: whoever waits drives it (`driver`).
//! One background thread takes over while nobody does.
//!
//! A [`Controller`] drives workers of another protocol, of 2019, whoever made them.
//!
//! [`telefork_to`] writes this process to a stream, and [`telepad`] wakes a copy of it elsewhere;
//! [`Cluster::telefork`] and [`Cluster::fork_call`] do so on a node.
//!
//! [`netmem`] is a client and a server of NetMem, a simple protocol for shared pages.
//!
//! Elsewhere: every decision (`logic`), the daemon (`node`).

#![forbid(unsafe_code)]
#![warn(missing_docs)]

mod join;
mod local;
#[cfg(target_arch = "x86_64")]
mod telefork;
pub mod visit;
mod regions;
mod cluster;
mod map;
mod stream;
mod core;
mod handle;
mod job;
mod trace;
mod journal;
mod controller;
mod anew;
mod driver;
mod embedded;
mod nodes;
mod room;
mod bulk;
mod streams;
mod tickets;
mod status;
mod asked;
mod entries;
mod outcome;
mod copied;
mod error;

#[cfg(target_arch = "x86_64")]
pub use ::telefork::{Error as TeleforkError, Location, telepad, wait_for_exit};
pub use asked::{AttemptReport, JobReport, Place, TaskReport};
pub use cluster::{Cluster, address};
pub use controller::{Answer, Controller, Crew, Listener};
pub use core::Core;
pub use entries::{Ended, Entry, Times, Wrote};
pub use error::Error;
pub use handle::Handle;
pub use join::join;
pub use journal::Journal;
pub use local::Local;
pub use map::{Map, MapUnordered};
pub use memory;
pub use memory::netmem;
pub use memory::{Durability, Page, Read, Region, RegionOptions, RegionReport, Snapshot};
pub use outcome::{Failure, Output, Why};
pub use status::{ClientReport, Loss, MemberReport, NodeReport, NodeStatus, WorkerReport};
pub use stream::Stream;
#[cfg(target_arch = "x86_64")]
pub use sys::Pid;
#[cfg(target_arch = "x86_64")]
pub use telefork::error::TravelError;
#[cfg(target_arch = "x86_64")]
pub use telefork::{Call, Copy, Telefork, TeleforkAll, telefork_to};
pub use trace::Trace;
pub use wire::name::{JobId, TaskName};
