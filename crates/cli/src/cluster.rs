//! Which cluster a command uses: the one that is named, or nodes of its own on this machine.

use anyhow::Context;
use clap::Args;
use client::{Cluster, Local};

use crate::config::Config;

#[derive(Args)]
pub(crate) struct Nodes {
    /// Nodes to use, HOST[:PORT] or the path of a node's Unix socket, with commas between them; one
    /// is enough, it knows the others [default: FARCALL_NODES, then `nodes` in config.toml]
    #[arg(long, value_name = "A,B", value_delimiter = ',')]
    pub(crate) nodes: Vec<String>,
}

impl Nodes {
    /// The nodes that are named anywhere; the nearest place counts.
    pub(crate) fn named(&self) -> anyhow::Result<Vec<String>> {
        if !self.nodes.is_empty() {
            return Ok(self.nodes.clone());
        }
        if let Some(nodes) = std::env::var_os("FARCALL_NODES") {
            let nodes = nodes.to_string_lossy();
            let nodes = nodes.split(',').map(str::trim).filter(|node| !node.is_empty());
            let nodes: Vec<String> = nodes.map(str::to_owned).collect();
            if !nodes.is_empty() {
                return Ok(nodes);
            }
        }
        Ok(Config::read()?.0.nodes)
    }

    /// Links to the named nodes; where none is named, starts one here for the time of the command.
    pub(crate) fn connect(&self) -> anyhow::Result<Cluster> {
        let named = self.named()?;
        Ok(if named.is_empty() { local()?.start()? } else { Cluster::connect(named)? })
    }
}

/// Nodes on this machine that are this very program.
pub(crate) fn local() -> anyhow::Result<Local> {
    let own = std::env::current_exe().context("cannot find this program's own file")?;
    Ok(Local::new().program(own))
}
