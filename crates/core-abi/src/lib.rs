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
mod codes;

pub use self::codes::{API_VERSION, PANICKED, WRONG_VERSION};
pub use self::core::{ComputeCore, Failure};
pub use self::export::Exports;
