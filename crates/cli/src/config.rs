//! Where things are unless somebody says otherwise, and the files in which people say so: TOML, with
//! the names of the flags.
//!
//! | file | of |
//! |---|---|
//! | `config.toml` in the credentials folder | every command that uses a cluster |
//! | `--config FILE` | `farcall node` |

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde::de::DeserializeOwned;
use transport::Name;

use crate::codes;
use crate::errors::{Complaint, complaint, file};

/// Where a node listens that was told nothing.
pub(crate) const LISTEN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 4114);

/// `config.toml`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Config {
    /// Nodes of the cluster, as `--nodes` names them.
    #[serde(default)]
    pub(crate) nodes: Vec<String>,
}

impl Config {
    /// This user's, if there is one.
    pub(crate) fn read() -> anyhow::Result<(Self, PathBuf)> {
        let path = client::Cluster::home().join("config.toml");
        let config = if path.exists() { read(&path)? } else { Self::default() };
        Ok((config, path))
    }
}

/// Reads a file in which every name must be known.
pub(crate) fn read<T: DeserializeOwned>(path: &Path) -> Result<T, Complaint> {
    let text = std::fs::read_to_string(path).map_err(|error| file("read", path, &error))?;
    toml::from_str(&text).map_err(|error| {
        let before = error.span().map_or("", |span| text.get(..span.start).unwrap_or(""));
        let line = before.matches('\n').count() + 1;
        complaint(&codes::E0403, format!("{}:{line}: {}", path.display(), error.message()))
            .help("correct this line; the names are those of the flags in `--help`")
    })
}

/// The host's name, made one that is safe everywhere.
pub(crate) fn host_name() -> Result<Name, Complaint> {
    let text = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    let name: String = text.trim().chars().map(|c| if plain(c) { c } else { '-' }).collect();
    let name: String = name.trim_start_matches(['.', '-']).chars().take(64).collect();
    name.parse().map_err(|_| {
        complaint(&codes::E0102, "this host's name makes no name for a node")
            .help("choose one with --name")
    })
}

/// Where a node keeps its files. Root's is not below its home: workers have accounts of their own,
/// which may not pass there.
pub(crate) fn data_folder(node: &Name) -> PathBuf {
    let is_named = std::env::var_os("XDG_STATE_HOME").is_some_and(|value| !value.is_empty());
    let folder = match sys::limits::is_root() && !is_named {
        true => PathBuf::from("/var/lib/farcall"),
        false => state_folder(),
    };
    folder.join(node.as_str())
}

/// Where everything is that this user's commands keep.
pub(crate) fn state_folder() -> PathBuf {
    let named = |name| std::env::var_os(name).filter(|value| !value.is_empty());
    let state = match (named("XDG_STATE_HOME"), named("HOME")) {
        (Some(state), _) => PathBuf::from(state),
        (None, home) => Path::new(&home.unwrap_or_else(|| "/".into())).join(".local/state"),
    };
    state.join("farcall")
}

/// Where a node with these files listens for programs of the same user.
pub(crate) fn socket(data: &Path) -> PathBuf {
    runtime_folder().unwrap_or_else(|| data.to_owned()).join("farcall.sock")
}

/// Where a node of this user may listen on this machine, without being told anything.
pub(crate) fn own_sockets() -> Vec<PathBuf> {
    let own = host_name().ok().map(|name| data_folder(&name));
    let folders = runtime_folder().into_iter().chain(own);
    folders.map(|folder| folder.join("farcall.sock")).collect()
}

fn runtime_folder() -> Option<PathBuf> {
    std::env::var_os("XDG_RUNTIME_DIR").filter(|value| !value.is_empty()).map(PathBuf::from)
}
