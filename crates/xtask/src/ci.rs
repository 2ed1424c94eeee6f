//! `cargo xtask ci`: every check, to the end, and a line for each.

use std::fmt;
use std::process::Command;

use anyhow::bail;

use crate::shell::{self, answers, cargo};
use crate::test;

const DENY_MISSING: &str = "cargo-deny is missing; cargo install --locked cargo-deny";

enum Outcome {
    Passed,
    Failed(anyhow::Error),
    Skipped(&'static str),
}

pub(crate) fn run() -> anyhow::Result<()> {
    let lint = ["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"];
    let mut document = cargo(&["doc", "--workspace", "--no-deps"]);
    document.env("RUSTDOCFLAGS", "-D warnings");
    let outcomes = [
        ("format", passes(&mut cargo(&["fmt", "--all", "--check"]))),
        ("lints", passes(&mut cargo(&lint))),
        ("house style", passes(&mut cargo(&["test", "--quiet", "-p", "farcall-tidy"]))),
        ("tests", tests()),
        ("documentation", passes(&mut document)),
        ("licences and bans", deny(&["licenses", "bans", "sources"])),
        ("advisories", advisories()),
    ];
    eprintln!();
    for (name, outcome) in &outcomes {
        eprintln!("{name:<18} {outcome}");
    }
    let failed = outcomes.iter().filter(|(_, o)| matches!(o, Outcome::Failed(_))).count();
    if failed > 0 {
        bail!("{failed} of {} checks failed", outcomes.len());
    }
    Ok(())
}

fn passes(command: &mut Command) -> Outcome {
    shell::run(command).into()
}

fn tests() -> Outcome {
    test::prepare().and_then(|()| shell::run(&mut test::command(&[]))).into()
}

fn deny(checks: &[&str]) -> Outcome {
    if !has_deny() {
        return Outcome::Skipped(DENY_MISSING);
    }
    passes(cargo(&["deny", "check"]).args(checks))
}

/// The list of known weaknesses lives on another host: a machine that cannot reach it has checked
/// nothing, and says so.
fn advisories() -> Outcome {
    if !has_deny() {
        return Outcome::Skipped(DENY_MISSING);
    }
    if !answers(&mut cargo(&["deny", "fetch", "db"])) {
        return Outcome::Skipped("the RustSec database cannot be fetched from this machine");
    }
    passes(&mut cargo(&["deny", "check", "advisories"]))
}

fn has_deny() -> bool {
    answers(&mut cargo(&["deny", "--version"]))
}

impl From<anyhow::Result<()>> for Outcome {
    fn from(result: anyhow::Result<()>) -> Self {
        result.map_or_else(Self::Failed, |()| Self::Passed)
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Passed => write!(f, "ok"),
            Self::Failed(error) => write!(f, "FAILED: {error:#}"),
            Self::Skipped(why) => write!(f, "skipped: {why}"),
        }
    }
}
