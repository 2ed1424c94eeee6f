//! The daemon of Farcall: one loop that carries out what logic decides.
//!
//! ```text
//!  sockets, workers, signals --> daemon --events--> logic::node --effects--> daemon --> sockets …
//!                                  ^                                            |
//!                                  +------------- bulk threads <----------------+
//! ```
//!
//! A frame is handled on the thread that read it: between a client's bytes and a worker's there is
//! no other thread. Only payloads over bulk connections have threads of their own ([`bulk`]); they
//! send events and share buffers, nothing else.
//!
//! Elsewhere: every decision (`logic`), what runs in the jail (`worker`).

#![forbid(unsafe_code)]

mod daemon;
mod http;
mod controllers;
mod netmem;
mod dials;
mod links;
mod join;
mod alarm;
mod workers;
mod groups;
mod relay;
mod chain;
mod payloads;
mod regions;
mod bulk;
mod lending;
mod store;
mod scratch;
mod accounts;
mod buffers;
mod options;
mod source;
mod error;

pub use daemon::{Started, run};
pub use error::Error;
pub use options::{Endpoint, Http, Jail, NetMem, Options, WorkerCommand, WorkerV1};
