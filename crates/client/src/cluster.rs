//! A client's view of a cluster.

use std::collections::BTreeMap;
use std::fs;
use std::net::ToSocketAddrs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use transport::{Authority, Credentials, Role};
use wire::name::{Hash, TaskName};
use wire::task::Program;

use crate::anew;
use crate::copied::Means;
use crate::driver::{Owner, Shared};
use crate::embedded::Embedded;
use crate::nodes::Target;
use crate::{Core, Error, JobReport, Journal, Loss, NodeStatus, TaskReport};

/// The port of a node that is named without one.
const PORT: u16 = 4114;

/// Links to nodes. Cheap to clone; clones share the links, and so do the cores, handles and streams
/// made with them. When the last of these is dropped the links end, and nodes on this machine with
/// them.
///
/// In a copy of this process ([`Cluster::telefork`]) it links by itself, when it is first used, with a certificate
/// for a day that the authority of the original's host signs.
#[derive(Clone)]
pub struct Cluster {
    owner: Arc<Owner>,
}

impl Cluster {
    /// Links to nodes by address (`HOST`, `HOST:PORT`, or the path of a Unix socket) with this
    /// user's credentials (see [`Cluster::home`]). Other nodes of the cluster are found through
    /// these.
    pub fn connect<A: AsRef<str>>(addresses: impl IntoIterator<Item = A>) -> Result<Self, Error> {
        Self::connect_with(addresses, &Self::home())
    }

    /// The folder of this user's credentials: `FARCALL_HOME`, or `farcall` in `XDG_CONFIG_HOME`, or
    /// `~/.config/farcall`.
    pub fn home() -> PathBuf {
        let named = |name| std::env::var_os(name).filter(|value| !value.is_empty());
        match (named("FARCALL_HOME"), named("XDG_CONFIG_HOME"), named("HOME")) {
            (Some(own), _, _) => own.into(),
            (None, Some(config), _) => Path::new(&config).join("farcall"),
            (None, None, home) => {
                Path::new(&home.unwrap_or_else(|| "/".into())).join(".config/farcall")
            }
        }
    }

    /// The same as [`Cluster::connect`] with the credentials in `folder`.
    pub fn connect_with<A: AsRef<str>>(
        addresses: impl IntoIterator<Item = A>,
        folder: &Path,
    ) -> Result<Self, Error> {
        let mut targets = Vec::new();
        for address in addresses {
            targets.push(resolve(address.as_ref())?);
        }
        // A Unix socket's node asks the kernel who we are; only the nodes that it knows want to see
        // a certificate.
        let needed = targets.iter().any(|target| matches!(target, Target::Tcp(_)));
        let found = credentials(folder);
        let found = if needed { Some(found?) } else { found.ok() };
        let means = found.as_ref().map_or(Means::Nothing, |_| Means::Folder(folder.to_owned()));
        Self::link(targets, found.as_ref(), means, None)
    }

    pub(crate) fn link(
        targets: Vec<Target>,
        credentials: Option<&Credentials>,
        means: Means,
        local: Option<Embedded>,
    ) -> Result<Self, Error> {
        let shared = Shared::new(targets, credentials, means, local)?;
        let cluster = Self { owner: Arc::new(Owner::of(shared)) };
        cluster.shared().wait_until_up()?;
        Ok(cluster)
    }

    /// Bytes of programs that this client has sent to nodes so far. A program that a node has already
    /// is not sent again.
    pub fn uploaded(&self) -> u64 {
        self.shared().state().nodes.uploaded
    }

    /// Waits until so many nodes are up, at most so long; returns how many are.
    pub fn wait_for_nodes(&self, count: usize, timeout: Duration) -> usize {
        let until = Some(Instant::now() + timeout);
        self.shared().wait_for(until, |s| (s.nodes.up() >= count).then_some(()));
        self.shared().state().nodes.up()
    }

    /// Asks every node what it is doing; those that do not answer in time say why not.
    pub fn status(&self, timeout: Duration) -> Vec<NodeStatus> {
        let until = Some(Instant::now() + timeout);
        self.shared().wait_for(until, |s| s.nodes.are_settled().then_some(()));
        self.shared().submit(|state| state.nodes.ask_status());
        self.shared().wait_for(until, |s| s.nodes.have_answered().then_some(()));
        self.shared().state().nodes.statuses()
    }

    /// Nodes that were lost since this was asked the last time, the oldest first. One that left in good
    /// order was not lost.
    pub fn losses(&self) -> Vec<Loss> {
        self.shared().state().nodes.losses.drain(..).collect()
    }

    /// Asks every node what it knows of a task. Nodes that know nothing, and those that do not answer
    /// in time, are left out. One is told of one's own tasks; an admin of all.
    pub fn why(&self, task: TaskName, timeout: Duration) -> Vec<TaskReport> {
        let until = Some(Instant::now() + timeout);
        self.shared().wait_for(until, |s| s.nodes.are_settled().then_some(()));
        self.shared().submit(|state| state.nodes.ask_why(task));
        self.shared().wait_for(until, |s| s.nodes.know_why().then_some(()));
        let answers = self.shared().state().nodes.whys();
        let answers = answers.into_iter().filter(|(_, why)| why.name == task);
        let reports = answers.map(|(node, why)| TaskReport::new(node, why));
        reports.filter(|report| !report.is_blank()).collect()
    }

    /// Asks every node of which jobs it has heard: those that run, and those that ended lately. One
    /// is told of one's own jobs; an admin of all.
    pub fn jobs(&self, timeout: Duration) -> Vec<JobReport> {
        let until = Some(Instant::now() + timeout);
        self.shared().wait_for(until, |s| s.nodes.are_settled().then_some(()));
        self.shared().submit(|state| state.nodes.ask_jobs());
        self.shared().wait_for(until, |s| s.nodes.know_jobs().then_some(()));
        let answers = self.shared().state().nodes.jobs();
        let heard = answers.into_iter().flat_map(|jobs| jobs.jobs).map(JobReport::from);
        let mut latest: BTreeMap<_, JobReport> = BTreeMap::new();
        for report in heard {
            // Several nodes are told of each: the latest word counts, and who still has the client.
            let key = (report.id, report.owner.clone());
            let known = latest.entry(key).or_insert_with(|| report.clone());
            if (report.attached, known.ago) > (known.attached, report.ago) {
                *known = report;
            }
        }
        let mut reports: Vec<JobReport> = latest.into_values().collect();
        reports.sort_by_key(|report| report.ago);
        reports
    }

    /// Keeps what happens to tasks from now on, for whoever reads the journal. There is one at a
    /// time: an earlier one says nothing more.
    pub fn journal(&self) -> Journal {
        Journal::begin(self.owner().clone())
    }

    /// Where the nodes are reached, as [`Cluster::connect`] takes it.
    pub fn addresses(&self) -> Vec<String> {
        self.shared().state().nodes.addresses()
    }

    /// Cancels every task that was submitted through this cluster or a clone of it.
    pub fn cancel_all(&self) {
        self.shared().submit(|state| state.dispatch.cancel_all());
    }

    fn shared(&self) -> &Shared {
        anew::current(&self.owner)
    }

    /// What drives the links, and who owns it: for what else is asked through them.
    pub(crate) fn driver(&self) -> &Shared {
        anew::current(&self.owner)
    }

    pub(crate) fn owner(&self) -> &Arc<Owner> {
        anew::current(&self.owner)
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
        Core::new(self.owner().clone(), program)
    }
}

/// Where a node of this address listens for TCP; `None` if it is the path of a Unix socket.
pub fn address(node: &str) -> Result<Option<std::net::SocketAddr>, Error> {
    Ok(match resolve(node)? {
        Target::Tcp(address) => Some(address),
        Target::Unix(_) => None,
    })
}

/// What this user shows to nodes. Where the cluster was begun, it is made at first use.
fn credentials(folder: &Path) -> Result<Credentials, Error> {
    let load = || {
        for role in [Role::Client, Role::Admin] {
            if let Some(found) = Credentials::load(folder, role)? {
                return Ok(Some(found));
            }
        }
        match Authority::load(folder)? {
            Some(_) => {
                let name = "client".parse::<transport::Name>()?;
                let now = SystemTime::now();
                Credentials::load_or_create(folder, Role::Client, &name, now).map(Some)
            }
            None => Ok(None),
        }
    };
    let found = load().map_err(|source| Error::Credentials { source })?;
    found.ok_or_else(|| Error::NoCredentials { folder: folder.to_owned() })
}

/// The first address of a name.
pub(crate) fn resolve(address: &str) -> Result<Target, Error> {
    if let Some(path) =
        address.strip_prefix("unix:").or(address.starts_with('/').then_some(address))
    {
        return Ok(Target::Unix(path.into()));
    }
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
