//! Wrappers of Linux calls: they touch the kernel and decide nothing.
//!
//! Every public function here is safe to call. What needs `unsafe` is argued next to the call;
//! what is dangerous to *decide* (when to kill, what to forbid, how much to allow) lives in the
//! crates above. Needs Linux 5.4 (pidfds that can be waited for); newer features are asked for and
//! replaced where the kernel lacks them.
//!
//! - [`process`]: start a program with nothing inherited, learn how it ended, end all it started
//! - [`cgroup`], [`namespace`]: what bounds a group of processes, and what it sees of the host
//! - [`proc`]: what `/proc` tells about memory, descriptors, threads and children
//! - [`standing`]: how a process stands, before it is stopped
//! - `ptrace`: stop another process, read and set its threads, run system calls in it, fill a new one
//! - `park`: a copy of the calling process that waits to be captured
//! - `beside`: something runs as another process with our memory, so that no child of ours is seen
//! - [`process_memory`], [`pagemap`], [`maps`]: what another process has in memory, and where
//! - [`limits`]: resource limits and the one-way switches of the own process
//! - [`shared`]: memory that a neighbour writes too
//! - [`tracking`]: which pages of a process were written since the last look
//! - [`uffd`]: memory whose faults this process answers itself
//! - [`terminal`]: pseudo-terminals, and what the kernel keeps of a terminal
//! - [`thread`]: threads that no signal handler runs on
//! - [`socket`]: Unix sockets that carry descriptors and tell who is at the other end
//! - [`descriptors`]: what another process has open; [`handle`]: files that are looked at before they are opened
//! - [`files`], [`cpu`], [`network`], [`clock`]: the rest

pub mod cgroup;
pub mod tracking;
pub mod uffd;
#[cfg(target_arch = "x86_64")]
pub mod ptrace;
#[cfg(target_arch = "x86_64")]
pub mod park;
#[cfg(target_arch = "x86_64")]
pub mod beside;
pub mod handle;
pub mod descriptors;
pub mod process;
pub mod namespace;
pub mod cpu;
pub mod network;
pub mod process_memory;
pub mod pagemap;
pub mod maps;
pub mod standing;
pub mod proc;
pub mod limits;
pub mod shared;
pub mod thread;
pub mod spin;
pub mod socket;
pub mod files;
pub mod terminal;
pub mod clock;
mod error;
mod pid;
pub mod ranges;

pub use error::{Error, Uncallable, Untraceable, is_shortage};
pub use pid::Pid;
