//! Processes that move: one is captured as an image, and a copy of it wakes where the image is read.
//!
//! ```text
//!   here                                                             there
//!   freeze ──▶ describe ──▶ wire::image ──▶ plan (pure) ──▶ execute ──▶ wake
//! ```
//!
//! What a process consists of is one `Description`; what its pages hold follows on the same stream. No code
//! is put into a process but a list of system calls that it makes (`sys::ptrace`), and nothing of that stays.
//!
//! Elsewhere: kernel calls (`sys`), the image to the byte (`wire::image`, docs/image.md), nodes and networks.

#![forbid(unsafe_code)]

pub mod yoyo;
pub mod call;
pub mod preflight;
pub mod restore;
pub mod capture;
pub mod lazy;
pub mod files;
pub mod host;
mod elf;
mod description;
mod error;
mod refusal;
pub mod difference;

pub use call::{
    Departed, Departing, Leaving, Location, depart, image_id, telefork_to, telepad, telepad_with,
    wait_for_exit,
};
pub use description::Description;
pub use error::{Error, Objection, Unopened};
pub use refusal::Refusal;
pub use sys::Pid;
