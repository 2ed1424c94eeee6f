//! Why a node cannot start, or cannot go on.

use std::io;
use std::path::PathBuf;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot listen on {address}; is another node there? choose another with --listen")]
    Listen { address: String, source: io::Error },
    #[error("cannot listen on {address} for metrics; choose another with --http")]
    Http { address: String, source: io::Error },
    #[error("cannot serve workers' protocol v1 at {address}; choose another with --worker-v1")]
    ListenV1 { address: String, source: io::Error },
    #[error("cannot serve NetMem at {address}; choose another address with --netmem")]
    NetMem { address: String, source: io::Error },
    #[error("cannot use the data folder {}", path.display())]
    Data { path: PathBuf, source: io::Error },
    #[error(
        "tasks cannot reach the data folder {}, since {} is closed to their accounts; choose another \
         with --data", path.display(), closed.display()
    )]
    Closed { path: PathBuf, closed: PathBuf },
    #[error("cannot {action}")]
    Kernel { action: &'static str, source: io::Error },
    #[error("cannot {action}")]
    Sys { action: &'static str, source: sys::Error },
    #[error("cannot set up TLS")]
    Transport { source: transport::Error },
    #[error("a node that listens on TCP needs credentials; run `farcall auth init`")]
    NoCredentials,
    #[error("this host cannot put up jails of level strict: {why}")]
    Strict { why: String },
    #[error("cannot find the node {address} to join")]
    Resolve { address: String, source: io::Error },
}
