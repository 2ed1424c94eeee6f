//! `cargo xtask fuzz`: each target for a while.

use std::fs;

use anyhow::{Context, bail};

use crate::seeds;
use crate::shell::{self, answers, program};

const FUZZ_TARGETS: &str = "fuzz/fuzz_targets";
const CORPUS: &str = "fuzz/corpus";
const PROTOCOL: &str = "docs/protocol.md";

/// What an input may make a decoder or a machine allocate at once, and what all of the process may
/// hold: inputs are small, so whoever needs more believes a length that a stranger wrote.
const MALLOC_LIMIT: &str = "-malloc_limit_mb=8";
/// The sanitizer's shadow and the fuzzer's corpus come on top of the 64 that the target may have.
const RSS_LIMIT: &str = "-rss_limit_mb=256";
/// Freed memory that the sanitizer keeps to find late uses of it; 256 by default.
const SANITIZER: (&str, &str) = ("ASAN_OPTIONS", "quarantine_size_mb=16");
/// Longest input: some dozens of frames.
const LENGTH_LIMIT: &str = "-max_len=16384";

pub(crate) fn run(seconds: u64) -> anyhow::Result<()> {
    let targets = targets()?;
    // The cargo of rustup, which knows other compilers: fuzzing needs the nightly one.
    if !answers(program("cargo").args(["+nightly", "fuzz", "--version"])) {
        eprintln!(
            "skipped: {} fuzz targets, because a nightly compiler or cargo-fuzz is missing; \
             rustup toolchain install nightly && cargo install --locked cargo-fuzz",
            targets.len()
        );
        return Ok(());
    }
    for target in &targets {
        sow(target)?;
        let mut fuzz = program("cargo");
        fuzz.args(["+nightly", "fuzz", "run", target, "--", LENGTH_LIMIT]);
        fuzz.args([MALLOC_LIMIT, RSS_LIMIT, "-print_final_stats=1"]);
        fuzz.arg(format!("-max_total_time={seconds}")).env(SANITIZER.0, SANITIZER.1);
        shell::run(&mut fuzz)?;
    }
    Ok(())
}

/// Lays the seeds of a target beside what earlier runs have found.
fn sow(target: &str) -> anyhow::Result<()> {
    let paper = fs::read_to_string(shell::root().join(PROTOCOL))
        .with_context(|| format!("cannot read {PROTOCOL}"))?;
    let vectors = seeds::vectors_for(target, &paper);
    let vectors = vectors.map_err(|error| anyhow::anyhow!("{PROTOCOL}: {error}"))?;
    let folder = shell::root().join(CORPUS).join(target);
    fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    for (number, seed) in seeds::seeds(target, &vectors).iter().enumerate() {
        let path = folder.join(format!("seed-{number}"));
        fs::write(&path, seed).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}

/// The names of the targets; none at all is a mistake.
fn targets() -> anyhow::Result<Vec<String>> {
    let folder = shell::root().join(FUZZ_TARGETS);
    let entries = fs::read_dir(&folder).with_context(|| format!("cannot read {FUZZ_TARGETS}"))?;
    let mut names = Vec::new();
    for entry in entries {
        let path = entry?.path();
        if path.extension().is_some_and(|kind| kind == "rs") {
            names.extend(path.file_stem().map(|name| name.display().to_string()));
        }
    }
    if names.is_empty() {
        bail!("no target in {FUZZ_TARGETS}");
    }
    names.sort();
    Ok(names)
}
