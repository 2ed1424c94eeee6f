//! NetMem 0.2, byte for byte, against the real program and against a server inside this one.
//!
//! What has to work is rows with a test each (`nm_4_…`); how the defects of the protocol's first server are
//! settled is a test each, whose name begins with the defect's number (`defect_6_…`).
//!
//! ```text
//!  pages/rows.rs      NM-1 to NM-10
//!  pages/defects.rs   1 to 10
//!  pages/bounds.rs    what peers can take of a server, and how a node is told to serve
//! ```

#![forbid(unsafe_code)]

mod support;
mod pages;
