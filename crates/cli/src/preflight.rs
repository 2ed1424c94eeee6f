//! `farcall preflight`: what of a process can move and what cannot, before anything is stopped.

use std::process::ExitCode;

use clap::Args;
use serde_json::{Value, json};
use sys::Pid;
use telefork::files::{Override, Overrides};
use telefork::preflight::{Finding, Report, Weight, preflight};

use crate::status::{row, table, trimmed};
use crate::terminal::{self, indented, tame_line};

/// Say what of a process can move and what cannot, with remedies
///
/// Looks at a running process without stopping it. Exit status 0: it can move; 1: something stands in the way.
#[derive(Args)]
#[command(after_help = "\
Examples:
  farcall preflight 4242
  farcall preflight $(pgrep -n sort)
  farcall preflight 4242 --fd 5=drop            as if descriptor 5 were closed
  farcall preflight 4242 --json | jq '.findings[] | select(.blocks).remedy'

Marks:
  fail  stands in the way until the remedy is applied
  note  does not, and something will be other than before")]
pub(crate) struct Preflight {
    /// The number of the process
    #[arg(value_name = "PID", value_parser = clap::value_parser!(i32).range(1..))]
    pid: i32,
    #[command(flatten)]
    wishes: Wishes,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// What is to become of single descriptors.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct Wishes {
    /// Close descriptor N in the copy (drop), or open whatever has its path there (reopen)
    #[arg(long = "fd", value_name = "N=drop|reopen", value_parser = wish)]
    all: Vec<(u32, Override)>,
}

impl Wishes {
    pub(crate) fn overrides(&self) -> Overrides {
        self.all.iter().copied().collect()
    }
}

fn wish(text: &str) -> Result<(u32, Override), String> {
    let (number, wish) = text.split_once('=').ok_or("write it as N=drop or N=reopen")?;
    let number = number.parse().map_err(|_| format!("`{number}` is no number of a descriptor"))?;
    Ok((number, wish.parse()?))
}

impl Preflight {
    pub(crate) fn run(self) -> anyhow::Result<ExitCode> {
        let report = preflight(Pid(self.pid), &self.wishes.overrides())?;
        let text = if self.json { in_json(&report) } else { in_words(&report) };
        terminal::say(&text)?;
        Ok(if report.is_movable() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

fn mark(finding: &Finding) -> &'static str {
    match finding.weight {
        Weight::Blocks => "fail",
        Weight::Note => "note",
    }
}

fn in_words(report: &Report) -> String {
    let mut text = String::new();
    if !report.travels.is_empty() {
        text += "What travels\n";
        let mut all = table(&[], 0..0);
        for one in &report.travels {
            row(&mut all, ["", &one.object, &one.how]);
        }
        text += &trimmed(&all.to_string());
        text += "\n";
    }
    if !report.findings.is_empty() {
        text += "What was found\n";
        for finding in &report.findings {
            let what = format!("{}: {}", finding.object, finding.reason);
            let what = indented(&tame_line(&what), 8);
            text += &format!("  {:<6}{}", mark(finding), what.trim_start());
            text += &indented(&tame_line(&finding.remedy), 10);
        }
        text += "\n";
    }
    let pid = report.pid;
    let blocks = report.findings.iter().filter(|one| one.weight == Weight::Blocks).count();
    text += &match blocks {
        0 => format!("process {pid} can move\n"),
        1 => format!("process {pid} cannot move: one thing stands in the way\n"),
        more => format!("process {pid} cannot move: {more} things stand in the way\n"),
    };
    text
}

fn in_json(report: &Report) -> String {
    let findings: Vec<Value> = report
        .findings
        .iter()
        .map(|one| {
            json!({ "blocks": one.weight == Weight::Blocks, "object": one.object,
                "reason": one.reason, "remedy": one.remedy })
        })
        .collect();
    let travels: Vec<Value> =
        report.travels.iter().map(|one| json!({ "object": one.object, "how": one.how })).collect();
    terminal::json_line(&json!({ "pid": report.pid.0, "movable": report.is_movable(),
        "findings": findings, "travels": travels }))
}
