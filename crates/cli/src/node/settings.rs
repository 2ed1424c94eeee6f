//! What `farcall node` is told: flags, then the file, then defaults.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, ValueEnum};
use node::{Jail, NetMem, WorkerV1};
use serde::Deserialize;
use transport::Name;

use super::netmem;
use super::v1::{self, either};
use crate::codes;
use crate::config;
use crate::errors::complaint;
use crate::values;

const GRACE: Duration = Duration::from_secs(10);

/// Offer this host's cores to the cluster
///
/// Runs until SIGTERM or Ctrl-C, which let running tasks end first; a second one does not. Every
/// TCP address is served with TLS, and only those with a certificate of this user's authority are
/// let in; the Unix socket is for programs of the same user.
#[derive(Args, Default)]
#[command(after_help = "\
Examples:
  farcall node                                            for this machine
  farcall node --listen 0.0.0.0:4114                      for others, too
  farcall node --listen 0.0.0.0:4114 --join host-a --token farcall1-…
                                                          as part of host-a's cluster
  farcall node --http 127.0.0.1:9114                      with metrics
  farcall node --jail strict                              for programs of people you do not know
  farcall node --worker-v1 127.0.0.1:4115                 for controllers of protocol v1, too
  farcall node --netmem 127.0.0.1:10001=genes --netmem-pages 6 --netmem-page-size 40
                                                          with six pages for clients of NetMem
  farcall node --config /etc/farcall/node.toml

A configuration file has the same names:
  listen = [\"0.0.0.0:4114\"]
  slots = 8
  jail = \"strict\"
  grace = \"30s\"")]
pub(crate) struct Node {
    /// Address to listen at with TLS; may be given several times [default: 127.0.0.1:4114]
    #[arg(long, value_name = "ADDR")]
    listen: Vec<SocketAddr>,
    /// A node whose cluster to join, HOST[:PORT]; may be given several times
    #[arg(long, value_name = "ADDR")]
    join: Vec<String>,
    /// For the first time: what `farcall auth token --role node` printed; `-` reads it from
    /// standard input
    #[arg(long, value_name = "T")]
    token: Option<String>,
    /// Serve metrics (/metrics, for Prometheus) and health (/healthz) over HTTP at this address,
    /// read-only, to whoever can connect; on loopback unless --http-anyone [default: not at all]
    #[arg(long, value_name = "ADDR")]
    http: Option<SocketAddr>,
    /// A name that requests for metrics may call this host by, beside its addresses and localhost;
    /// may be given several times
    #[arg(long, value_name = "HOST")]
    http_name: Vec<String>,
    /// Serve metrics at an address that other hosts reach: whoever reaches it can read them
    #[arg(long)]
    http_anyone: bool,
    /// Tasks at a time [default: one for each core]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=65536))]
    slots: Option<u32>,
    /// What the node is called [default: the name of the host]
    #[arg(long, value_name = "NAME")]
    name: Option<Name>,
    /// Where it keeps programs and tasks' files [default: ~/.local/state/farcall/NAME,
    /// of root /var/lib/farcall/NAME]
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// How workers are confined [default: user]
    #[arg(long, value_enum)]
    jail: Option<JailLevel>,
    /// A file with these settings; flags win
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Unix socket for programs of the same user [default: farcall.sock in XDG_RUNTIME_DIR, or in
    /// the data folder]
    #[arg(long, value_name = "PATH")]
    socket: Option<PathBuf>,
    /// How long a stop waits for running tasks [default: 10s]
    #[arg(long, value_name = "TIME", value_parser = values::duration)]
    grace: Option<Duration>,
    /// Folder of the credentials [default: FARCALL_HOME, or ~/.config/farcall]
    #[arg(long, value_name = "DIR")]
    home: Option<PathBuf>,
    #[command(flatten)]
    v1: v1::Flags,
    #[command(flatten)]
    netmem: netmem::NetMemFlags,
    /// End when standard input ends
    #[arg(long, hide = true)]
    pub(super) embedded: bool,
}

#[derive(Clone, Copy, ValueEnum, Deserialize)]
#[serde(rename_all = "lowercase")]
enum JailLevel {
    /// Processes of their own, and no more
    None,
    /// No new privileges, few files, writes to a folder of their own only
    User,
    /// A view of their own without the host's files, network and processes; a list of system calls;
    /// one core each
    Strict,
}

/// The file of `--config`.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Written {
    listen: Vec<SocketAddr>,
    join: Vec<String>,
    token: Option<String>,
    http: Option<SocketAddr>,
    http_name: Vec<String>,
    http_anyone: bool,
    slots: Option<u32>,
    name: Option<String>,
    data: Option<PathBuf>,
    jail: Option<JailLevel>,
    socket: Option<PathBuf>,
    grace: Option<String>,
    home: Option<PathBuf>,
    // In one with the rest: in a table of their own errors would not name their line.
    worker_v1: Vec<String>,
    worker_v1_connect: Vec<String>,
    worker_v1_anyone: bool,
    worker_v1_payload_max: Option<String>,
    worker_v1_time_limit: Option<String>,
    worker_v1_memory: Option<String>,
    netmem: Vec<String>,
    netmem_pages: Option<u32>,
    netmem_page_size: Option<u32>,
    netmem_anyone: bool,
}

/// Everything decided.
pub(crate) struct Settings {
    pub(crate) listen: Vec<SocketAddr>,
    pub(crate) join: Vec<String>,
    pub(crate) token: Option<String>,
    pub(crate) http: Option<node::Http>,
    pub(crate) slots: u32,
    pub(crate) name: Name,
    pub(crate) name_is_default: bool,
    pub(crate) data: PathBuf,
    pub(crate) jail: Jail,
    pub(crate) socket: Option<PathBuf>,
    pub(crate) socket_is_default: bool,
    pub(crate) grace: Duration,
    pub(crate) home: PathBuf,
    pub(crate) worker_v1: WorkerV1,
    pub(crate) netmem: Vec<NetMem>,
}

impl Node {
    /// As if the command line had nothing but this.
    pub(crate) fn with_config(config: Option<PathBuf>) -> Self {
        Self { config, ..Self::default() }
    }
}

impl Settings {
    pub(crate) fn gather(flags: Node) -> anyhow::Result<Self> {
        let written = match &flags.config {
            Some(path) => Written::read(path)?,
            None => Written::default(),
        };
        let name = match (flags.name, &written.name) {
            (Some(name), _) => Some(name),
            (None, Some(name)) => Some(name.parse()?),
            (None, None) => None,
        };
        let name_is_default = name.is_none();
        let name = name.map_or_else(config::host_name, Ok)?;
        let data = flags.data.or(written.data).unwrap_or_else(|| config::data_folder(&name));
        let (mut listen, join) =
            (either(flags.listen, written.listen), either(flags.join, written.join));
        let mut socket = flags.socket.or(written.socket);
        let socket_is_default = socket.is_none();
        // An embedded node listens where its owner says, and nowhere else.
        if !flags.embedded {
            if listen.is_empty() {
                listen.push(config::LISTEN);
            }
            socket = socket.or_else(|| Some(config::socket(&data)));
        }
        let anyone = flags.http_anyone || written.http_anyone;
        let http = flags.http.or(written.http);
        if let Some(address) = http.filter(|at| !at.ip().is_loopback() && !anyone) {
            return Err(complaint(
                &codes::E0108,
                format!("metrics at {address} are open to others"),
            )
            .note("whoever reaches that address can read them, without any certificate")
            .help(format!("write --http 127.0.0.1:{}, or add --http-anyone", address.port()))
            .into());
        }
        let names = either(flags.http_name, written.http_name);
        let http = http.map(|address| node::Http { address, names });
        let grace = match (flags.grace, &written.grace) {
            (Some(grace), _) => grace,
            (None, Some(text)) => values::duration(text).map_err(|what| {
                complaint(&codes::E0403, what).help("correct `grace` in the file")
            })?,
            (None, None) => GRACE,
        };
        let token = flags.token.or(written.token);
        if token.is_some() && join.is_empty() {
            return Err(complaint(&codes::E0105, "a token was given, but no node to show it to")
                .help("add --join HOST")
                .into());
        }
        let worker_v1 = flags.v1.gather(v1::Written {
            listen: written.worker_v1,
            connect: written.worker_v1_connect,
            anyone: written.worker_v1_anyone,
            payload_max: written.worker_v1_payload_max,
            time_limit: written.worker_v1_time_limit,
            memory: written.worker_v1_memory,
        })?;
        let netmem = flags.netmem.gather(netmem::Written {
            netmem: written.netmem,
            pages: written.netmem_pages,
            page_size: written.netmem_page_size,
            anyone: written.netmem_anyone,
        })?;
        Ok(Self {
            listen,
            join,
            http,
            token,
            slots: flags.slots.or(written.slots).unwrap_or(sys::cpu::usable().get() as u32).max(1),
            name,
            name_is_default,
            data,
            jail: match flags.jail.or(written.jail) {
                Some(JailLevel::None) => Jail::None,
                Some(JailLevel::Strict) => Jail::Strict,
                Some(JailLevel::User) | None => Jail::User,
            },
            socket,
            socket_is_default,
            grace,
            home: flags.home.or(written.home).unwrap_or_else(client::Cluster::home),
            worker_v1,
            netmem,
        })
    }
}

impl Written {
    /// A token is a secret: a file that holds one is its owner's alone.
    fn read(path: &Path) -> anyhow::Result<Self> {
        let written: Self = config::read(path)?;
        if written.token.is_some() {
            let opened = sys::files::open_private(path);
            opened.map_err(|error| {
                complaint(&codes::E0305, format!("{} holds a token", path.display()))
                    .note(error.to_string())
                    .help(format!("run `chmod 600 {}`", path.display()))
            })?;
        }
        Ok(written)
    }
}
