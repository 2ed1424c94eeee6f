//! Memory that follows its process.
//!
//! ```text
//!   where the pages are (server)                where the copy runs (follower)
//!     stream   all pages, those near a fault first  ──▶  background: puts them in place
//!     answer   ◀── page that a thread waits for  ──────  faults
//!              ───  its bytes ─────────────────────────▶ answers: puts it in place
//! ```
//!
//! The copy runs before its memory has come. A thread that touches a page which is missing waits for that
//! alone: it is asked for on a connection that carries nothing else. Until the last page is over, losing
//! either end loses the copy.

mod follower;
mod server;
mod packing;
mod missing;
mod ranges;

pub use follower::{Followed, follow};
pub use server::PageServer;

#[cfg(test)]
mod tests;
