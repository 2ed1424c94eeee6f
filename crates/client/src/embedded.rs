//! Node processes that end with their owner.
//!
//! No daemon runs in the caller's process: the `farcall` program is started, and told by the end of
//! its standard input that its owner is gone.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use crate::Error;

/// Running nodes and the folder they share. Dropping it ends them and removes the folder.
#[derive(Debug)]
pub(crate) struct Embedded {
    folder: PathBuf,
    nodes: Vec<Child>,
}

impl Embedded {
    pub(crate) fn new(folder: PathBuf) -> Self {
        Self { folder, nodes: Vec::new() }
    }

    /// Starts a node and waits until it is ready. Returns the address that it names, if any.
    pub(crate) fn start(&mut self, command: &mut Command) -> Result<String, Error> {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::inherit());
        let failed = |reason: String| Error::LocalNode { reason };
        let mut child = command.spawn().map_err(|error| failed(error.to_string()))?;
        let stdout = child.stdout.take();
        self.nodes.push(child);
        let mut line = String::new();
        let mut stdout = BufReader::new(stdout.ok_or_else(|| failed("no output".to_owned()))?);
        stdout.read_line(&mut line).map_err(|error| failed(error.to_string()))?;
        let ready = line.trim().strip_prefix("ready");
        let address = ready.ok_or_else(|| failed(format!("it said {:?}", line.trim())))?;
        Ok(address.trim().to_owned())
    }
}

impl Drop for Embedded {
    fn drop(&mut self) {
        for child in &mut self.nodes {
            drop(child.stdin.take());
        }
        for child in &mut self.nodes {
            let _ = child.wait();
        }
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}
