//! Starts programs with nothing inherited, tells how they ended, ends all that they started.
//!
//! ```text
//!   Spawn::start ──▶ Child ──▶ Exit
//!                      │
//!                      └─ kill_tree: itself and its descendants, whatever their session
//! ```
//!
//! What a descendant can do to get away, and why it stays found: leaving the session or the process
//! group changes no parent, so a walk from child to child meets it. Losing its parent on purpose
//! (the double fork of daemons) gives it to the nearest *subreaper* above; every spawned program is
//! one, so the walk still meets it. If the program itself ends, what it leaves behind goes to the
//! next subreaper: a daemon that called [`become_subreaper`] finds it with [`end_adopted`].
//! A control group (`cgroup`) or a pid namespace ([`stay_behind`]) does all this at once.

mod inherited;
mod spawn;
mod child;
mod tree;
mod first;
mod behind;
pub(crate) mod pidfd;

pub use behind::{Finishing, work_behind};
pub use child::Child;
pub use first::stay_behind;
pub use inherited::inherited;
pub use pidfd::{Exit, take_descriptor};
pub use spawn::{Spawn, Stderr, try_namespaces, try_user_namespace};
pub use tree::{become_subreaper, end_adopted, kill_tree};

#[cfg(test)]
mod tests;
