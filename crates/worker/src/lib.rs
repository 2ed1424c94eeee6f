//! What runs inside the jail: one runner for each kind of program.
//!
//! A worker is a process of its own. It puts up the jail around itself before any foreign code is
//! loaded ([`jail`]), loads one program ([`core`]), and runs its tasks one after the other
//! ([`serve`]). The node at the other end of its pipes believes nothing that it says.

pub mod serve;
pub mod core;
pub mod jail;
mod attempt;
mod error;

pub use self::error::Error;
