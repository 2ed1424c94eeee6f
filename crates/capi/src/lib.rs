//! The C interface: `libfarcall.so`, `libfarcall.a` and `include/farcall.h`.
//!
//! ```text
//!   C ──pointers──> Option<&T>, Option<&mut T>, Option<Box<T>> ──> the library `farcall`
//!     <──status──── guard: no panic passes, what went wrong is kept for farcall_last_error
//! ```
//!
//! A pointer to one thing is an optional reference, which is the same to C: so null is seen by the type,
//! and there is no `unsafe` where there is nothing to check by hand. What is left of it, texts and
//! buffers and descriptors, is in `border`. The header is made of these files by cbindgen; a test compares them.
//!
//! Nothing here decides anything: each function is one call of the library.

#![expect(non_camel_case_types, reason = "the names are C's")]
#![expect(clippy::missing_safety_doc, reason = "the header says once what pointers must be")]

pub mod copies;
pub mod telefork;
pub mod mapping;
pub mod watch;
pub mod sync;
pub mod transaction;
pub mod lock;
pub mod page;
pub mod region;
pub mod cluster;
mod border;
pub mod status;
