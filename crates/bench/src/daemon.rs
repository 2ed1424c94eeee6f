//! A `farcall node` with flags of its own, for what a local cluster of the library does not offer.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{ChildStdin, Command, Stdio};

use client::Cluster;

use crate::error::Error;
use crate::folder::Folder;
use crate::ours::ours;
use crate::reaped::Reaped;
use crate::setting::Setting;

/// Enough for a worker of each class that a scene makes: none has to make room for another.
const SLOTS: &str = "64";

/// A running node. It ends when its standard input does: with this value.
pub(crate) struct Daemon {
    // Fields end in this order: the folder is removed when the node has ended.
    _input: Option<ChildStdin>,
    child: Reaped,
    /// Where it listens for TLS, if it does.
    address: Option<String>,
    folder: Folder,
    data: Folder,
}

impl Daemon {
    /// Starts a node with these flags and waits until it is ready. One that does not start is absent:
    /// this build or this host cannot do `what`, for the reason that the node gives.
    pub(crate) fn start(
        setting: &Setting,
        what: &'static str,
        flags: &[&str],
    ) -> Result<Self, Error> {
        let data = Folder::new().map_err(Error::kernel("make a folder"))?;
        Self::start_with(setting, what, flags, data)
    }

    /// The same with its data beside this benchmark's executable: folders for temporary files are often
    /// memory, where nothing can be said of a disk. Workers of other accounts may not get there.
    pub(crate) fn start_on_disk(
        setting: &Setting,
        what: &'static str,
        flags: &[&str],
    ) -> Result<Self, Error> {
        let beside = setting.executable.with_file_name("");
        let data = Folder::new_in(&beside).map_err(Error::kernel("make a folder"))?;
        Self::start_with(setting, what, flags, data)
    }

    fn start_with(
        setting: &Setting,
        what: &'static str,
        flags: &[&str],
        data: Folder,
    ) -> Result<Self, Error> {
        let folder = Folder::new().map_err(Error::kernel("make a folder"))?;
        let errors = folder.path().join("errors");
        let stderr = File::create(&errors).map_err(Error::kernel("make a file"))?;
        let mut child = Command::new(program(setting))
            .args(["node", "--embedded", "--name", "bench", "--slots", SLOTS])
            .arg("--data")
            .arg(data.path().join("data"))
            .arg("--home")
            .arg(folder.path().join("keys"))
            .arg("--socket")
            .arg(folder.path().join("socket"))
            .args(flags)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(stderr)
            .spawn()
            .map(Reaped)
            .map_err(Error::kernel("start the farcall program"))?;
        let input = child.0.stdin.take();
        let mut said = String::new();
        if let Some(output) = child.0.stdout.take() {
            let read = BufReader::new(output).read_line(&mut said);
            read.map_err(Error::kernel("read from a node"))?;
        }
        if !said.starts_with("ready") {
            return Err(Error::Absent { what, why: reason(&errors) });
        }
        let address = said.split_whitespace().nth(1).map(str::to_owned);
        Ok(Self { folder, data, _input: input, child, address })
    }

    /// A client of this node, over its Unix socket.
    pub(crate) fn cluster(&self) -> Result<Cluster, Error> {
        let socket = self.folder.path().join("socket");
        Cluster::connect([socket.to_string_lossy()]).map_err(ours("link to a node"))
    }

    /// A client over TLS, of a node that was started with `--listen`.
    pub(crate) fn cluster_over_tls(&self) -> Result<Cluster, Error> {
        Cluster::connect_with(&self.address, &self.keys()).map_err(ours("link to a node over TLS"))
    }

    /// The folder with the keys that let clients in.
    pub(crate) fn keys(&self) -> PathBuf {
        self.folder.path().join("keys")
    }

    /// A command of the `farcall` beside it, which reaches this node, over TLS if it listens for that.
    pub(crate) fn command(&self, setting: &Setting, words: &[&str]) -> Command {
        let mut command = Command::new(program(setting));
        let socket = || self.folder.path().join("socket").to_string_lossy().into_owned();
        command.args(words).env("FARCALL_HOME", self.keys());
        command.env("FARCALL_NODES", self.address.clone().unwrap_or_else(socket));
        command.stdin(Stdio::null()).stdout(Stdio::null());
        command
    }

    /// The folder that the node keeps things in.
    pub(crate) fn data(&self) -> PathBuf {
        self.data.path().join("data")
    }

    /// Bytes of memory that the node has.
    pub(crate) fn resident(&self) -> Result<u64, Error> {
        let pid = sys::Pid(self.child.0.id() as i32);
        let memory = sys::proc::memory(pid).map_err(ours("measure memory"))?;
        Ok(memory.map_or(0, |memory| memory.resident))
    }
}

/// What a node that did not start said of it.
fn reason(errors: &Path) -> String {
    let text = fs::read_to_string(errors).unwrap_or_default();
    let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    match lines.iter().find(|line| line.starts_with("error")).or(lines.first()) {
        Some(line) => format!("the node says `{line}`"),
        None => "the node did not start and does not say why".to_owned(),
    }
}

/// The `farcall` that was built beside this benchmark, unless another one is named.
pub(crate) fn program(setting: &Setting) -> OsString {
    let beside = || setting.executable.with_file_name("farcall").into_os_string();
    std::env::var_os("FARCALL_BIN").unwrap_or_else(beside)
}
