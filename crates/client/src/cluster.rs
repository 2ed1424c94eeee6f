//! A client's view of a cluster.

use std::fs;
use std::net::ToSocketAddrs;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use transport::{Credentials, DialTls, Role};
use wire::name::{Hash, Name};
use wire::task::Program;

use crate::driver::Shared;
use crate::nodes::Target;
use crate::{Core, Error, Local};

/// The port of a node that is named without one.
pub const PORT: u16 = 4114;
/// How long the first node may take to answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// Links to nodes. Cheap to clone; clones share the links. Dropping the last one ends them, and
/// cancels what still runs.
#[derive(Clone)]
pub struct Cluster {
    inner: Arc<Owner>,
}

/// Closes the driver when the last handle to the cluster is gone.
struct Owner(Arc<Shared>);

impl Drop for Owner {
    fn drop(&mut self) {
        self.0.close();
    }
}

impl Cluster {
    /// One node on this machine, with a slot for each core, reached over a Unix socket and ended
    /// with this program. Needs the `farcall` program (see [`Local`] for where it is looked for).
    pub fn local() -> Result<Self, Error> {
        Local::new().start()
    }

    /// Links to nodes by address (`HOST` or `HOST:PORT`) with the credentials in `folder`. Other
    /// nodes of the cluster are found through these.
    pub fn connect_with<A: AsRef<str>>(
        addresses: impl IntoIterator<Item = A>,
        folder: &Path,
    ) -> Result<Self, Error> {
        let loaded = Credentials::load(folder, Role::Client);
        let loaded = loaded.map_err(|source| Error::Credentials { source })?;
        let missing = Error::NoCredentials { folder: folder.to_owned() };
        let credentials = loaded.ok_or(missing)?;
        let mut targets = Vec::new();
        for address in addresses {
            targets.push(resolve(address.as_ref())?);
        }
        Self::link(targets, Some(&credentials), None)
    }

    pub(crate) fn link(
        targets: Vec<Target>,
        credentials: Option<&Credentials>,
        local: Option<Local>,
    ) -> Result<Self, Error> {
        let tls = credentials.map(DialTls::new).transpose();
        let tls = tls.map_err(|source| Error::Credentials { source })?;
        let name = credentials.map_or("local".to_owned(), |own| own.name().to_string());
        let Ok(me) = name.parse::<Name>() else {
            unreachable!("a certificate's name is a name: {name:?}")
        };
        let shared = Shared::new(targets, tls, me, local)?;
        let cluster = Self { inner: Arc::new(Owner(shared)) };
        let until = Instant::now() + PATIENCE;
        let up = cluster.shared().wait_for(Some(until), |s| (s.nodes.up() > 0).then_some(()));
        match up {
            Some(()) => Ok(cluster),
            None => {
                let attempts = cluster.shared().state().nodes.troubles();
                Err(Error::Unreachable { attempts })
            }
        }
    }

    /// Waits until so many nodes are up, at most so long; returns how many are.
    pub fn wait_for_nodes(&self, count: usize, timeout: Duration) -> usize {
        let until = Some(Instant::now() + timeout);
        self.shared().wait_for(until, |s| (s.nodes.up() >= count).then_some(()));
        self.shared().state().nodes.up()
    }

    fn shared(&self) -> &Arc<Shared> {
        &self.inner.0
    }

    /// Makes a compute core ready: a shared library with the three functions of `farcall_core.h`.
    /// It is shipped when its first task is, and once to each node.
    pub fn core(&self, path: impl AsRef<Path>) -> Result<Core, Error> {
        let path = path.as_ref();
        let read = fs::read(path);
        let bytes = read.map_err(|source| Error::File { path: path.to_owned(), source })?;
        let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy();
        Ok(self.core_from(&name, bytes))
    }

    /// The same from memory; `name` is for messages.
    pub fn core_from(&self, name: &str, library: impl Into<Bytes>) -> Core {
        let library = library.into();
        let hash = Hash::of(&library);
        self.shared().state().nodes.keep_library(hash, library);
        let program = Program::Core { library: hash, name: name.to_owned() };
        Core::new(self.shared().clone(), program)
    }
}

/// The first address of a name.
fn resolve(address: &str) -> Result<Target, Error> {
    let wrong = |source| Error::Address { address: address.to_owned(), source };
    let has_port = address.rsplit_once(':').is_some_and(|(host, port)| {
        port.parse::<u16>().is_ok() && (!host.contains(':') || host.ends_with(']'))
    });
    let found = if has_port {
        address.to_socket_addrs()
    } else {
        (address.trim_matches(['[', ']']), PORT).to_socket_addrs()
    };
    let none = || std::io::Error::new(std::io::ErrorKind::NotFound, "the name has no address");
    let first = found.map_err(wrong)?.next().ok_or_else(none).map_err(wrong)?;
    Ok(Target::Tcp(first))
}
