//! Other people's systems: task systems, each in a package of its own that is built when it is wanted,
//! and stores of shared state, as this machine's distribution packages them.
//!
//! The stores are spoken to by the least client there can be: blocking, on one kept connection.

pub mod tonic;
pub(crate) mod redis;
pub(crate) mod memcached;
pub(crate) mod etcd;
mod server;
mod line;
