//! Why a cluster cannot be used. (Why a *task* failed is [`crate::Failure`].)

use std::io;
use std::path::PathBuf;

/// Why a cluster cannot be reached or told what to do.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A node's address does not name a host.
    #[error("{address:?} is no address of a node; write HOST or HOST:PORT")]
    Address {
        /// As it was given.
        address: String,
        /// What the resolver said.
        source: io::Error,
    },
    /// No node could be reached in time.
    #[error("no node can be reached: {attempts}")]
    Unreachable {
        /// Each node with what went wrong there.
        attempts: String,
    },
    /// A node did not accept a token.
    #[error("{address} did not accept the token: {reason}")]
    Join {
        /// The node, as it was given.
        address: String,
        /// Its own words.
        reason: String,
    },
    /// There is no certificate of this user's.
    #[error("this user has no credentials in {}; run `farcall auth init`", folder.display())]
    NoCredentials {
        /// Where they were looked for.
        folder: PathBuf,
    },
    /// Certificates or TLS.
    #[error("the credentials cannot be used")]
    Credentials {
        /// What the transport said.
        source: transport::Error,
    },
    /// A file of the caller's.
    #[error("cannot read {}; check the path and its permissions", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// A worker of the worker socket protocol v1.
    #[error("the worker at {worker} {what}")]
    Worker {
        /// Its address.
        worker: String,
        /// What it did.
        what: String,
    },
    /// The kernel refused something that every client needs.
    #[error("cannot {action}")]
    Kernel {
        /// What was tried.
        action: &'static str,
        /// What the kernel said.
        source: io::Error,
    },
    /// The program `farcall` is needed to start nodes on this machine.
    #[error(
        "the program `farcall` was not found beside this one or in PATH; \
         name it in FARCALL_BIN"
    )]
    NoBinary,
    /// A node that was started on this machine did not come up.
    #[error("a local node did not start: {reason}")]
    LocalNode {
        /// Its own last words.
        reason: String,
    },
}

/// An error and its causes, in one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}
