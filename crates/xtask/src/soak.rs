//! `cargo xtask soak`: load with random kills, long tests, then simulated clusters, seed after seed,
//! until time is up.

use std::time::{Duration, Instant};

use anyhow::Context;

use crate::shell::{self, cargo};
use crate::test;

/// Clusters for one start of `sim`: long enough that starting it costs nothing, short enough to
/// end near the time that was asked for.
const SEEDS_PER_BATCH: u64 = 2_000;

#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Part {
    /// Mixed load with random kills
    Load,
    /// Every test with FARCALL_SOAK=1
    Tests,
    /// Simulated clusters
    Sim,
}

pub(crate) fn run(minutes: u64, first: u64, only: Option<Part>) -> anyhow::Result<()> {
    let is_due = |part| only.is_none_or(|only| only == part);
    if is_due(Part::Load) || is_due(Part::Tests) {
        test::prepare()?;
    }
    if is_due(Part::Load) {
        load(minutes, first)?;
    }
    if is_due(Part::Tests) {
        shell::run(test::command(&[]).env("FARCALL_SOAK", "1"))?;
    }
    if is_due(Part::Sim) {
        simulate(minutes, first)?;
    }
    Ok(())
}

fn load(minutes: u64, seed: u64) -> anyhow::Result<()> {
    let options = ["-p", "farcall-cli", "--test", "soak"].map(str::to_owned);
    let mut load = test::command(&options);
    load.env("FARCALL_SOAK_MINUTES", minutes.to_string());
    load.env("FARCALL_SOAK_SEED", seed.to_string());
    shell::run(&mut load)
}

fn simulate(minutes: u64, first: u64) -> anyhow::Result<()> {
    let until = Instant::now() + Duration::from_secs(minutes * 60);
    let mut next = first;
    loop {
        let (from, count) = (next.to_string(), SEEDS_PER_BATCH.to_string());
        let simulate = ["run", "--quiet", "--release", "-p", "farcall-sim", "--"];
        let mut simulate = cargo(&simulate);
        simulate.args(["--first", &from, "--seeds", &count]);
        shell::run(&mut simulate)
            .with_context(|| format!("a cluster failed; go on behind it with --first {from}"))?;
        next += SEEDS_PER_BATCH;
        if Instant::now() >= until {
            break;
        }
    }
    eprintln!("xtask: {} clusters, seeds {first} to {}, none failed", next - first, next - 1);
    Ok(())
}
