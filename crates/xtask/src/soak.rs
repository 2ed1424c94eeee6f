//! `cargo xtask soak`: load with random kills, long tests, then simulated clusters, seed after seed,
//! until time is up. It ends with a line for each part: what it did, and how long that took.

use std::time::{Duration, Instant};

use anyhow::Context;

use crate::shell::{self, cargo};
use crate::test;

/// Clusters for one start of `sim`: long enough that starting it costs nothing, short enough to
/// end near the time that was asked for.
const SEEDS_PER_BATCH: u64 = 2_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Part {
    /// Mixed load of tasks with random kills
    Load,
    /// Mixed load on shared memory with random kills, each history judged
    Memory,
    /// Every test with FARCALL_SOAK=1: a hundred kills of a home that keeps its regions, damaged
    /// stores, long runs on hosts of their own
    Tests,
    /// Simulated clusters: tasks, and regions
    Sim,
}

pub(crate) fn run(minutes: u64, first: u64, only: Option<Part>) -> anyhow::Result<()> {
    let parts = [Part::Load, Part::Memory, Part::Tests, Part::Sim];
    let due: Vec<Part> =
        parts.into_iter().filter(|part| only.is_none_or(|only| only == *part)).collect();
    if due.iter().any(|part| *part != Part::Sim) {
        test::prepare()?;
    }
    let mut told = Vec::new();
    for part in due {
        let begun = Instant::now();
        let what = match part {
            Part::Load => load("soak", minutes, first),
            Part::Memory => load("memory_soak", minutes, first),
            Part::Tests => long_tests(),
            Part::Sim => simulate(minutes, first),
        };
        let took = begun.elapsed().as_secs();
        match what {
            Ok(what) => told.push(format!("{part:?}: {what}, in {took} s")),
            Err(error) => {
                told.iter().for_each(|line| eprintln!("xtask: {line}"));
                return Err(error.context(format!("{part:?} failed after {took} s")));
            }
        }
    }
    told.iter().for_each(|line| eprintln!("xtask: {line}"));
    Ok(())
}

fn load(name: &str, minutes: u64, seed: u64) -> anyhow::Result<String> {
    // With its output: what was done, and what it took.
    let options = ["-p", "farcall-cli", "--test", name, "--", "--nocapture"].map(str::to_owned);
    let mut load = test::command(&options);
    load.env("FARCALL_SOAK_MINUTES", minutes.to_string());
    load.env("FARCALL_SOAK_SEED", seed.to_string());
    shell::run(&mut load)?;
    Ok(format!("{minutes} minutes of load from seed {seed}, nothing lost and nothing grown"))
}

fn long_tests() -> anyhow::Result<String> {
    shell::run(test::command(&[]).env("FARCALL_SOAK", "1"))?;
    Ok("every test with FARCALL_SOAK=1".to_owned())
}

fn simulate(minutes: u64, first: u64) -> anyhow::Result<String> {
    let until = Instant::now() + Duration::from_secs(minutes * 60);
    let mut next = first;
    loop {
        for what in [None, Some("regions")] {
            let (from, count) = (next.to_string(), SEEDS_PER_BATCH.to_string());
            let simulate = ["run", "--quiet", "--release", "-p", "farcall-sim", "--"];
            let mut simulate = cargo(&simulate);
            simulate.args(what).args(["--first", &from, "--seeds", &count]);
            shell::run(&mut simulate)
                .with_context(|| format!("a seed failed; go on behind it with --first {from}"))?;
        }
        next += SEEDS_PER_BATCH;
        if Instant::now() >= until {
            break;
        }
    }
    let (count, last) = (next - first, next - 1);
    Ok(format!("{count} clusters and as many regions, seeds {first} to {last}, none failed"))
}
