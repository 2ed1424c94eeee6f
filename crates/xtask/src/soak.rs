//! `cargo xtask soak`: long tests, then simulated clusters, seed after seed, until time is up.

use std::time::{Duration, Instant};

use anyhow::Context;

use crate::shell::{self, cargo};
use crate::test;

/// Clusters for one start of `sim`: long enough that starting it costs nothing, short enough to
/// end near the time that was asked for.
const SEEDS_PER_BATCH: u64 = 2_000;

pub(crate) fn run(minutes: u64, first: u64) -> anyhow::Result<()> {
    test::prepare()?;
    shell::run(test::command(&[]).env("FARCALL_SOAK", "1"))?;

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
