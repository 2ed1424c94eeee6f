//! The rules, by what they read. Each is one function from the repository to its findings.

/// The crates and the papers that describe them.
pub mod map;

/// What the `Cargo.toml` files say.
pub mod manifests;

/// The order of modules, and `lib.rs` as their table of contents.
pub mod modules;

/// What code of a certain crate must not touch.
pub mod purity;

/// What every file has or has not.
pub mod sources;

/// How tests are written, and which must exist.
pub mod testing;

/// Lengths of files and functions.
pub mod size;
