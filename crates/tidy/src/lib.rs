//! Checks of the house style, because unchecked habits decay.
//!
//! ```text
//!  files of the repository ──> Repo ──> rule ──> findings: `file:line: what; why; what to do`
//! ```
//!
//! Each rule is one function from a [`Repo`] to findings. `tests/house_style.rs` applies every
//! rule to this repository; the tests beside the rules apply them to small snippets, good and
//! bad, so that each check is known to be able to fail. Who may break a rule, and why, stands
//! as data in [`exceptions`].
//!
//! What the compiler or clippy checks already (SAFETY comments, `unwrap`, one unsafe operation
//! per block) is set in the workspace's lints and not repeated here. Rust is read by its tokens,
//! not parsed: good enough for code that rustfmt has formatted, and it needs no compiler inside.

#![forbid(unsafe_code)]

pub mod rules;

pub mod exceptions;
pub mod repo;

mod manifest;
mod outline;
mod tokens;

#[cfg(test)]
mod snippets;

pub use repo::{Finding, Repo};
