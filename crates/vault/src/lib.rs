//! Where regions outlive their node.
//!
//! Elsewhere: when a commit may be answered (`logic::regions`).

#![forbid(unsafe_code)]
