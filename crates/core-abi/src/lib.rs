//! The contract between Farcall and a compute core, and a safe way to write one in Rust.
//!
//! A compute core is a shared library with three C functions. `include/farcall_core.h` states
//! the contract and serves C and C++. In Rust, implement [`ComputeCore`] and export it:
//!
//! ```
//! use farcall_core_abi::{ComputeCore, Failure, export_core};
//!
//! struct Shout;
//!
//! impl ComputeCore for Shout {
//!     fn new() -> Result<Self, Failure> {
//!         Ok(Shout)
//!     }
//!
//!     fn run(&mut self, input: &mut [u8]) -> Result<Vec<u8>, Failure> {
//!         Ok(std::str::from_utf8(input)?.to_uppercase().into_bytes())
//!     }
//! }
//!
//! export_core!(Shout);
//! # fn main() {}
//! ```
//!
//! with `crate-type = ["cdylib"]` in `Cargo.toml`. Then `cargo build --release` and
//! `farcall core run target/release/libshout.so INPUT…`.
//!
//! Invariant: no dependencies; every user's core links this crate.

mod export;
mod core;

pub use self::core::{ComputeCore, Failure};
pub use self::export::Exports;

/// The version of the API that `worker_init` is given.
pub const API_VERSION: i32 = 1;

/// The exit code of a job whose code panicked, the same as that of a Rust program that did.
/// The message is on standard error. The core is made anew for the next job.
pub const PANICKED: i32 = 101;

/// What `worker_init` answers when the host speaks another version than [`API_VERSION`].
pub const WRONG_VERSION: i32 = 102;
