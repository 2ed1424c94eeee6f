//! The numbers of the contract.

/// The version of the API that `worker_init` is given.
pub const API_VERSION: i32 = 1;

/// The exit code of a job whose code panicked, the same as that of a Rust program that did.
/// The message is on standard error. The core is made anew for the next job.
pub const PANICKED: i32 = 101;

/// What `worker_init` answers when the host speaks another version than [`API_VERSION`].
pub const WRONG_VERSION: i32 = 102;
