//! Every byte of Farcall that crosses a process, a machine or a disk.
//!
//! All conversations share one envelope, the 17-byte header of `frame`. Each conversation has a
//! file of its own; `message` joins them into the one enum that machines handle. Whatever is
//! decoded here came from outside: decoders never panic and never allocate more than they were
//! given. `docs/protocol.md` gives the same bytes for readers without Rust.
//!
//! Elsewhere: what the messages mean (`logic`), how they are carried (`transport`).

#![forbid(unsafe_code)]

mod message;

pub mod hello;
pub mod visit;
pub mod answer;
pub mod delegation;
pub mod join;
pub mod worker;
pub mod job;
pub mod image;
pub mod record;
pub mod worker_v1;
pub mod netmem;
pub mod task;
pub mod kept;
pub mod region;
pub mod blob;
pub mod status;
pub mod member;
pub mod frame;
pub mod limits;
pub mod units;
pub mod name;

pub use frame::{Frame, Kind};
pub use message::{DecodeError, Message, decode};
