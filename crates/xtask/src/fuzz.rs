//! `cargo xtask fuzz`: each target for a while.

use std::fs;

use anyhow::{Context, bail};

use crate::shell::{self, answers, program};

const FUZZ_TARGETS: &str = "fuzz/fuzz_targets";

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
    let limit = format!("-max_total_time={seconds}");
    for target in &targets {
        shell::run(program("cargo").args(["+nightly", "fuzz", "run", target, "--", &limit]))?;
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
