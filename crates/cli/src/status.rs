//! `farcall status`: nodes, slots, who uses them, and what runs.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use client::{ClientReport, Cluster, MemberReport, NodeReport, NodeStatus};
use comfy_table::{CellAlignment, Table, presets};
use serde_json::{Value, json};

use crate::cluster::Nodes;
use crate::codes;
use crate::errors::complaint;
use crate::terminal::{self, tame_line};
use crate::values::{spell, spell_size};

/// How long nodes may take to answer.
const PATIENCE: Duration = Duration::from_secs(3);

/// Show nodes, slots, who uses them, and what runs
///
/// Asks the nodes that are named, and those that they know. Without any name, the node of this user
/// on this machine. A visitor is a process that moved there; it takes a slot (see farcall ps).
#[derive(Args)]
#[command(after_help = "\
Examples:
  farcall status
  farcall status --nodes host-a
  farcall status --json | jq '.nodes[].slots'")]
pub(crate) struct Status {
    #[command(flatten)]
    nodes: Nodes,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

impl Status {
    pub(crate) fn run(self) -> anyhow::Result<ExitCode> {
        let mut named = self.nodes.named()?;
        if named.is_empty() {
            named.push(own_node()?);
        }
        let cluster = Cluster::connect(&named)?;
        let nodes = cluster.status(PATIENCE);
        let text =
            if self.json { terminal::json_line(&in_json(&nodes)) } else { in_tables(&nodes) };
        terminal::say(&text)?;
        let all_answered = nodes.iter().all(|node| node.report.is_ok());
        Ok(if all_answered { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

/// The Unix socket of a node of this user on this machine.
pub(crate) fn own_node() -> anyhow::Result<String> {
    let sockets = crate::config::own_sockets();
    let alive = |path: &&PathBuf| std::os::unix::net::UnixStream::connect(path).is_ok();
    match sockets.iter().find(alive) {
        Some(path) => Ok(path.display().to_string()),
        None => Err(complaint(&codes::E0201, "no node of this user runs on this machine")
            .note("no node was named, in --nodes, FARCALL_NODES or config.toml")
            .help("start one with `farcall node`, or name one with --nodes HOST")
            .into()),
    }
}

fn reports(nodes: &[NodeStatus]) -> impl Iterator<Item = (&str, &NodeStatus, &NodeReport)> {
    nodes.iter().filter_map(|node| {
        let report = node.report.as_ref().ok()?;
        Some((node.name.as_deref().unwrap_or("?"), node, report))
    })
}

/// Members that nobody here could ask, once each.
fn strangers(nodes: &[NodeStatus]) -> Vec<&MemberReport> {
    let mut seen: BTreeSet<&str> = reports(nodes).map(|(name, ..)| name).collect();
    let members = reports(nodes).flat_map(|(_, _, report)| &report.members);
    members.filter(|member| member.state != "gone" && seen.insert(&member.name)).collect()
}

fn in_tables(nodes: &[NodeStatus]) -> String {
    let mut all =
        table(&["NODE", "SLOTS", "VISITORS", "RUNNING", "WAITING", "BLOBS", "UP", "ADDRESS"], 1..6);
    let mut clients = table(&["CLIENT", "NODE", "RUNNING", "WAITING", "DONE"], 2..5);
    let mut workers = table(&["PROGRAM", "NODE", "CLIENT", "TASKS", "DONE"], 3..5);
    for (name, node, report) in reports(nodes) {
        let sum = |number: fn(&ClientReport) -> u32| {
            report.clients.iter().map(number).fold(0, u32::saturating_add)
        };
        let (running, waiting) = (sum(|client| client.running), sum(|client| client.waiting));
        let numbers = [report.slots, report.visitors, running, waiting];
        let [slots, visitors, running, waiting] = numbers.map(|number| number.to_string());
        let blobs = format!("{} ({})", report.blobs, spell_size(report.blob_bytes));
        let up = spell(report.up);
        row(&mut all, [name, &slots, &visitors, &running, &waiting, &blobs, &up, &node.address]);
        // Our own link has nothing to tell.
        let busy =
            |client: &&ClientReport| client.running > 0 || client.waiting > 0 || client.done > 0;
        for client in report.clients.iter().filter(busy) {
            let (running, waiting) = (client.running.to_string(), client.waiting.to_string());
            let done = client.done.to_string();
            row(&mut clients, [&client.name, name, &running, &waiting, &done]);
        }
        for worker in &report.workers {
            let (tasks, done) = (worker.tasks.to_string(), worker.done.to_string());
            row(&mut workers, [&worker.program, name, &worker.client, &tasks, &done]);
        }
    }
    let tables = [all, clients, workers];
    let filled = tables.iter().filter(|table| table.row_count() > 0);
    let mut text = filled.map(|table| trimmed(&table.to_string())).collect::<Vec<_>>().join("\n");
    let mut troubles = String::new();
    for node in nodes {
        if let Err(trouble) = &node.report {
            let name = node.name.as_deref().unwrap_or("node");
            troubles += &format!("{name} at {}: {}\n", node.address, tame_line(trouble));
        }
    }
    for member in strangers(nodes) {
        let addresses = tame_line(&member.addresses.join(", "));
        let at = if addresses.is_empty() { String::new() } else { format!(" at {addresses}") };
        troubles += &format!("{}{at}: {}, not asked\n", member.name, member.state);
    }
    if !troubles.is_empty() {
        text += "\n";
        text += &troubles;
    }
    text
}

pub(crate) fn table(titles: &[&str], numbers: std::ops::Range<usize>) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(titles.iter().copied());
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    for column in numbers {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table
}

pub(crate) fn row<const N: usize>(table: &mut Table, cells: [&str; N]) {
    table.add_row(cells.map(tame_line));
}

/// Without the blanks at the ends of lines.
pub(crate) fn trimmed(text: &str) -> String {
    text.lines().map(|line| format!("{}\n", line.trim_end())).collect()
}

fn in_json(nodes: &[NodeStatus]) -> Value {
    let node = |node: &NodeStatus| match &node.report {
        Err(trouble) => {
            json!({ "name": node.name, "address": node.address, "error": trouble })
        }
        Ok(report) => json!({
            "name": node.name,
            "address": node.address,
            "agent": report.agent,
            "up_seconds": report.up.as_secs_f64(),
            "slots": report.slots,
            "visitors": report.visitors,
            "blobs": report.blobs,
            "blob_bytes": report.blob_bytes,
            "clients": report.clients.iter().map(|client| json!({
                "name": client.name,
                "running": client.running,
                "waiting": client.waiting,
                "done": client.done,
            })).collect::<Vec<_>>(),
            "workers": report.workers.iter().map(|worker| json!({
                "program": worker.program,
                "client": worker.client,
                "tasks": worker.tasks,
                "done": worker.done,
            })).collect::<Vec<_>>(),
            "members": report.members.iter().map(|member| json!({
                "name": member.name,
                "addresses": member.addresses,
                "slots": member.slots,
                "state": member.state,
            })).collect::<Vec<_>>(),
        }),
    };
    json!({ "nodes": nodes.iter().map(node).collect::<Vec<_>>() })
}
