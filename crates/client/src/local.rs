//! Clusters on this machine, for a first try and for tests: no server to start by hand.
//!
//! Elsewhere: the processes and their end (`embedded`).

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime};

use transport::{Credentials, Role};

use crate::copied::Means;
use crate::embedded::Embedded;
use crate::nodes::Target;
use crate::{Cluster, Error};

/// A cluster on this machine, to be started. The `farcall` program is `FARCALL_BIN`, or stands
/// beside the running program, or in `PATH`.
#[derive(Debug)]
pub struct Local {
    nodes: u32,
    slots: Option<u32>,
    tcp: bool,
    program: Option<PathBuf>,
}

impl Default for Local {
    fn default() -> Self {
        Self::new()
    }
}

impl Local {
    /// One node with a slot for each core, over a Unix socket.
    pub fn new() -> Self {
        Self { nodes: 1, slots: None, tcp: false, program: None }
    }

    /// So many nodes.
    #[must_use]
    pub fn nodes(mut self, nodes: u32) -> Self {
        self.nodes = nodes;
        self
    }

    /// So many slots for each node.
    #[must_use]
    pub fn slots(mut self, slots: u32) -> Self {
        self.slots = Some(slots);
        self
    }

    /// Nodes are this `farcall` program, which is not looked for then.
    #[must_use]
    pub fn program(mut self, farcall: impl Into<PathBuf>) -> Self {
        self.program = Some(farcall.into());
        self
    }

    /// Over TCP and TLS on loopback, with an authority made for the occasion, as between hosts.
    #[must_use]
    pub fn tls(mut self) -> Self {
        self.tcp = true;
        self
    }

    /// Starts the nodes and links to them.
    pub fn start(self) -> Result<Cluster, Error> {
        let binary = self.program.clone().map_or_else(binary, Ok)?;
        let folder = private_folder()?;
        let mut embedded = Embedded::new(folder.clone());
        let credentials = if self.tcp { Some(credentials(&folder)?) } else { None };
        let mut targets = Vec::new();
        for number in 1..=self.nodes {
            targets.push(self.start_node(&mut embedded, &binary, &folder, number)?);
        }
        let count = targets.len();
        let means =
            credentials.as_ref().map_or(Means::Nothing, |_| Means::Folder(folder.join("keys")));
        let cluster = Cluster::link(targets, credentials.as_ref(), means, Some(embedded))?;
        cluster.wait_for_nodes(count, Duration::from_secs(10));
        Ok(cluster)
    }

    fn start_node(
        &self,
        embedded: &mut Embedded,
        binary: &Path,
        folder: &Path,
        number: u32,
    ) -> Result<Target, Error> {
        let mut command = Command::new(binary);
        let name = format!("local-{number}");
        command.arg("node").arg("--embedded").args(["--name", &name]);
        command.arg("--data").arg(folder.join(&name));
        command.arg("--home").arg(folder.join("keys"));
        if let Some(slots) = self.slots {
            command.args(["--slots", &slots.to_string()]);
        }
        let socket = folder.join(format!("{name}.sock"));
        if self.tcp {
            command.args(["--listen", "127.0.0.1:0"]);
        } else {
            command.arg("--socket").arg(&socket);
        }
        let address = embedded.start(&mut command)?;
        if !self.tcp {
            return Ok(Target::Unix(socket));
        }
        let failed = |_| Error::LocalNode { reason: format!("it listens at {address:?}") };
        address.parse().map(Target::Tcp).map_err(failed)
    }
}

impl Cluster {
    /// One node on this machine, with a slot for each core, reached over a Unix socket and ended
    /// with this program. Needs the `farcall` program (see [`Local`] for where it is looked for).
    pub fn local() -> Result<Self, Error> {
        Local::new().start()
    }

    /// The nodes in `FARCALL_NODES` (addresses with commas between them), or a node on this machine
    /// if that is not set.
    pub fn from_env() -> Result<Self, Error> {
        match std::env::var("FARCALL_NODES") {
            Ok(nodes) if !nodes.trim().is_empty() => {
                Self::connect(nodes.split(',').map(str::trim).filter(|node| !node.is_empty()))
            }
            Ok(_) | Err(_) => Self::local(),
        }
    }
}

fn credentials(folder: &Path) -> Result<Credentials, Error> {
    let Ok(name) = "local".parse() else { unreachable!("a constant name") };
    Credentials::load_or_create(&folder.join("keys"), Role::Client, &name, SystemTime::now())
        .map_err(|source| Error::Credentials { source })
}

/// A new folder that only this user can enter.
fn private_folder() -> Result<PathBuf, Error> {
    use std::os::unix::fs::DirBuilderExt;
    let base = std::env::temp_dir();
    let folder = base.join(format!("farcall-{:016x}", transport::random_u64()));
    let made = std::fs::DirBuilder::new().mode(0o711).create(&folder);
    made.map_err(|source| Error::File { path: folder.clone(), source })?;
    Ok(folder)
}

/// The `farcall` program.
fn binary() -> Result<PathBuf, Error> {
    if let Some(named) = std::env::var_os("FARCALL_BIN") {
        return Ok(named.into());
    }
    let own = std::env::current_exe().ok();
    // Tests and examples are built into folders below the one of the programs.
    let beside = own.iter().flat_map(|own| own.ancestors().skip(1).take(3));
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = beside.map(Path::to_owned).chain(std::env::split_paths(&path));
    folders.map(|folder| folder.join("farcall")).find(|file| file.is_file()).ok_or(Error::NoBinary)
}
