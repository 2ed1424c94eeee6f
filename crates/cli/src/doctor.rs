//! `farcall doctor`: what this host can do for Farcall and what it cannot, each with its remedy.
//!
//! ```text
//!  host, jail, keys, nodes, ports ──> findings ──> lines with a mark and a remedy
//!                                        └───────> what works, and what does not, because …
//! ```
//!
//! It only looks: nothing is started or changed. Its own ports it probes as a stranger would
//! (`ports`). A finding says what it breaks; from that follows the end (`findings`).

mod host;
mod jail;
mod moving;
mod keys;
mod ports;
mod cluster;
mod listeners;
mod findings;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use crate::cluster::Nodes;
use crate::node::{Node, Settings};
use crate::terminal;
use findings::Findings;

/// Say what this host can do for Farcall and what it cannot, with remedies
///
/// Looks at the host, its jails, the credentials, the nodes that run here or are named, and their
/// ports, which it probes as a stranger would. Changes nothing. Exit status 1: something will fail.
#[derive(Args)]
#[command(after_help = "\
Examples:
  farcall doctor
  farcall doctor --nodes host-a,host-b
  farcall doctor --config /etc/farcall/node.toml
  farcall doctor --security                     keys and ports alone
  farcall doctor --json | jq '.sections[].findings[] | select(.mark == \"fail\")'

Marks:
  ok    as it should be
  note  worth knowing; nothing that is asked of this host needs it
  warn  works, but not as well or as safely as it could
  fail  will not work, or is not safe, until the remedy is applied")]
pub(crate) struct Doctor {
    #[command(flatten)]
    nodes: Nodes,
    /// The configuration file of this host's node, as for `farcall node`
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Where this host's node serves its metrics, if no file says so
    #[arg(long, value_name = "ADDR")]
    http: Option<SocketAddr>,
    /// Look at keys and ports alone
    #[arg(long)]
    security: bool,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

impl Doctor {
    pub(crate) fn run(self) -> anyhow::Result<ExitCode> {
        let settings = Settings::gather(Node::with_config(self.config.clone()));
        let mut all = Findings::default();
        let folder = settings.as_ref().map_or_else(|_| client::Cluster::home(), |s| s.home.clone());
        if !self.security {
            all.add(host::look(settings.as_ref().ok()));
            all.add(jail::look());
            all.add(moving::look());
        }
        all.add(keys::look(&folder));
        let (section, known) = cluster::look(&self.nodes, self.config.as_deref(), &settings);
        all.add(if self.security { section.failures() } else { section });
        all.add(ports::look(known, self.http));
        terminal::say(&if self.json { all.in_json() } else { all.in_words() })?;
        Ok(if all.has_failures() { ExitCode::FAILURE } else { ExitCode::SUCCESS })
    }
}

#[cfg(test)]
mod tests;
