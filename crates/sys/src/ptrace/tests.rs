//! Stopped children.
