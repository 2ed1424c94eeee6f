//! `farcall ps`: the processes that moved to nodes.

use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use client::Cluster;
use client::visit::VisitReport;
use serde_json::{Value, json};
use wire::visit::Stage;

use crate::cluster::Nodes;
use crate::status::{own_node, row, table, trimmed};
use crate::terminal;
use crate::values::spell;

/// How long nodes may take to answer.
const PATIENCE: Duration = Duration::from_secs(3);

/// List the processes that moved to nodes
///
/// Shows yours; an admin sees everybody's. PID is the number on the node, FROM the host and number that
/// a process came from.
#[derive(Args)]
#[command(after_help = "\
Examples:
  farcall ps
  farcall ps --nodes host-a
  farcall ps --json | jq '.visitors[].pid'")]
pub(crate) struct Ps {
    #[command(flatten)]
    nodes: Nodes,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

impl Ps {
    pub(crate) fn run(self) -> anyhow::Result<ExitCode> {
        let mut named = self.nodes.named()?;
        if named.is_empty() {
            named.push(own_node()?);
        }
        let visits = Cluster::connect(&named)?.visits(PATIENCE);
        let text =
            if self.json { terminal::json_line(&in_json(&visits)) } else { in_table(&visits) };
        terminal::say(&text)?;
        Ok(ExitCode::SUCCESS)
    }
}

fn stage(of: Stage) -> &'static str {
    match of {
        Stage::Arriving => "arriving",
        Stage::Built => "ready",
        Stage::Runs => "runs",
        Stage::Ended => "ended",
        Stage::Idle => "idle",
        Stage::Refused => "refused",
    }
}

fn in_table(visits: &[VisitReport]) -> String {
    let mut all = table(&["ID", "NODE", "PID", "STATE", "FROM", "SINCE", "OWNER", "COMMAND"], 2..3);
    for VisitReport { node, visit } in visits {
        let id = format!("{node}.{}", visit.number);
        let pid = if visit.pid == 0 { "-".to_owned() } else { visit.pid.to_string() };
        let from = match visit.begin.pid {
            0 => visit.begin.from.clone(),
            pid => format!("{}:{pid}", visit.begin.from),
        };
        let (since, owner) = (spell(visit.since.into()), visit.owner.to_string());
        let state = stage(visit.stage);
        row(&mut all, [&id, node, &pid, state, &from, &since, &owner, &visit.begin.command]);
    }
    trimmed(&all.to_string())
}

fn in_json(visits: &[VisitReport]) -> Value {
    let visitor = |VisitReport { node, visit }: &VisitReport| {
        json!({
            "id": format!("{node}.{}", visit.number),
            "node": node,
            "pid": (visit.pid != 0).then_some(visit.pid),
            "state": stage(visit.stage),
            "from": visit.begin.from,
            "from_pid": (visit.begin.pid != 0).then_some(visit.begin.pid),
            "since_seconds": Duration::from(visit.since).as_secs_f64(),
            "owner": visit.owner.to_string(),
            "command": visit.begin.command,
        })
    };
    json!({ "visitors": visits.iter().map(visitor).collect::<Vec<_>>() })
}
