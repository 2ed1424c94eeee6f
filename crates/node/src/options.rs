//! What a node is told at its start.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;

use transport::Credentials;
use wire::name::Name;
use wire::units::Span;

/// How workers are confined.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Jail {
    None,
    User,
    Strict,
}

/// The program that becomes a worker when it is started with the node's pipes as descriptors 3 (to
/// read) and 4 (to write), a Unix socket that brings descriptors as 5, and perhaps the entrance of its
/// control group as 6.
#[derive(Clone, Debug)]
pub struct WorkerCommand {
    pub program: PathBuf,
    pub args: Vec<OsString>,
    /// The environment from which a worker's few variables are taken.
    pub environment: Vec<(OsString, OsString)>,
}

/// Where a node's metrics are read.
#[derive(Clone, Debug)]
pub struct Http {
    pub address: SocketAddr,
    /// Names that requests may ask for, beside IP addresses and `localhost`. Any other is refused:
    /// a web page could have given its own host's name our address.
    pub names: Vec<String>,
}

/// Where a peer of the worker socket protocol v1 is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Endpoint {
    Tcp(SocketAddr),
    Unix(PathBuf),
}

impl std::fmt::Display for Endpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// The worker socket protocol v1. It knows no certificates: whoever is at the other end runs what it
/// likes, in a jail.
#[derive(Clone, Debug)]
pub struct WorkerV1 {
    /// Where to serve it.
    pub listen: Vec<Endpoint>,
    /// Controllers to dial, again and again.
    pub connect: Vec<Endpoint>,
    /// Bytes of one message.
    pub payload_max: u64,
    /// Memory of a core; 0 is no limit.
    pub memory: u64,
    /// How long a job may run, and a core may load; 0 is no limit.
    pub time: Span,
    /// Unix sockets let in other users, too.
    pub anyone: bool,
}

/// A region that is served with NetMem, which knows no certificates: whoever is at the other end reads
/// and writes its pages.
#[derive(Clone, Debug)]
pub struct NetMem {
    pub address: SocketAddr,
    pub region: Name,
    /// Bytes of a page as they are served: the first ones; none: all of them.
    pub length: Option<u32>,
    /// What the region has if it is made for this.
    pub pages: u32,
    pub page_size: u32,
}

#[derive(Debug)]
pub struct Options {
    pub name: Name,
    pub slots: u32,
    /// TCP addresses; each is served with TLS.
    pub listen: Vec<SocketAddr>,
    /// A Unix socket for programs of the same user.
    pub socket: Option<PathBuf>,
    /// Metrics over HTTP, to whoever can connect.
    pub http: Option<Http>,
    /// Nodes of the cluster to link with, `HOST:PORT`.
    pub join: Vec<String>,
    pub data: PathBuf,
    pub jail: Jail,
    pub worker: WorkerCommand,
    /// Needed for TCP and for joining.
    pub credentials: Option<Credentials>,
    /// Where tokens are redeemed and the authority's key lies.
    pub credentials_folder: PathBuf,
    /// Is told, once each, what the jail cannot do on this host.
    pub notice: fn(&str),
    /// Is told, once each, what whoever runs this node should look into.
    pub warn: fn(&str),
    /// How long a stop waits for running tasks.
    pub grace: Span,
    pub worker_v1: WorkerV1,
    pub netmem: Vec<NetMem>,
    /// Is told, once each, which of those cannot be served, and why.
    pub netmem_refused: fn(&str),
    /// A byte here asks the node to stop; a second one, not to wait. Its end does as well.
    pub stop: UnixStream,
}
