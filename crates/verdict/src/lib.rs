//! Says whether what concurrent clients of a region saw can have happened.
//!
//! A *history* is what clients did, when they began, when they knew the outcome, and what it was. It
//! is good if there is one order of all operations that fits both the clocks and the answers: each
//! takes effect at one moment between its beginning and its end (an operation whose outcome nobody
//! knows: at any moment after its beginning, or never), and each sees all that came before and nothing
//! else. For single pages that is linearizability, for transactions strict serializability.
//!
//! ```text
//!                 ┌ pages   versions against clocks; bytes against writes; who can have made what
//!   history ──────┼ order   who must come before whom; a circle is a contradiction
//!                 └ locks   tokens against grants, commits against tokens
//! ```
//!
//! In general this takes Wing and Gong's search with Lowe's memo, page by page. Here every answer
//! names a version, which gives the order of all that is known; the search is left to commits whose
//! outcome is unknown (`pages::walk`).
//!
//! This crate knows nothing of Farcall's: not its messages, not its machines. What is fed to it may
//! come from a simulation or from processes on several hosts whose clocks are the same.

#![forbid(unsafe_code)]

mod judge;
mod locks;
mod order;
mod pages;
mod facts;
mod violation;
mod history;

pub use history::{Act, Fact, History, Op, Put};
pub use judge::{Figures, judge};
pub use violation::{Kind, Violation};
