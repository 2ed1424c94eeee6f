//! Mapped regions.
