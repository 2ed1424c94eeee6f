//! All test programs, two at a time: most tests wait for other processes, and cargo alone would start a program
//! only when the one before it has ended.
//!
//! Each program runs as `cargo test` runs it. What it says is shown when it has ended, in one piece.

use std::collections::VecDeque;
use std::fs;
use std::io::{Write, stderr};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Instant;

use anyhow::{Context, bail};
use serde_json::Value;

use crate::shell::{self, cargo};

/// Programs at a time. Each runs as many tests at a time as there are processors, so that more would only make
/// all of them late.
const LANES: usize = 2;

/// A test program as cargo has built it.
struct Program {
    package: String,
    /// How `cargo test` chooses it: `--lib`, `--bin NAME`, `--test NAME`.
    chosen: String,
    executable: PathBuf,
    /// Tests run in the folder of their package.
    folder: PathBuf,
}

/// Builds and runs all tests, and then those in the documentation, to the end even if some fail.
pub(crate) fn run() -> anyhow::Result<()> {
    let programs = Mutex::new(VecDeque::from(build()?));
    let failed = Mutex::new(Vec::new());
    let lane = || {
        while let Some(program) = locked(&programs).pop_front() {
            if let Err(error) = program.run() {
                eprintln!("error: {error:#}");
                locked(&failed).push(format!("-p {} {}", program.package, program.chosen));
            }
        }
    };
    thread::scope(|scope| (0..LANES).for_each(|_| drop(scope.spawn(lane))));
    let mut failed = failed.into_inner().unwrap_or_else(PoisonError::into_inner);
    let mut documented = cargo(&["test", "--no-fail-fast", "--workspace", "--doc"]);
    if shell::run(&mut documented).is_err() {
        failed.push("--doc".to_owned());
    }
    if failed.is_empty() {
        return Ok(());
    }
    bail!("{} targets failed:\n    `{}`", failed.len(), failed.join("`\n    `"));
}

/// Compiles all test programs. What cargo says of them is their list.
fn build() -> anyhow::Result<Vec<Program>> {
    let mut build = cargo(&["test", "--workspace", "--no-run"]);
    build.arg("--message-format=json-render-diagnostics").stderr(Stdio::inherit());
    let told = shell::output(&mut build)?;
    let told = String::from_utf8(told).context("cargo speaks UTF-8")?;
    let mut programs = Vec::new();
    for line in told.lines() {
        let said: Value = serde_json::from_str(line).context("cargo's list of what it built")?;
        programs.extend(Program::of(&said));
    }
    if programs.is_empty() {
        bail!("cargo has built no test program");
    }
    Ok(programs)
}

impl Program {
    /// `None`: this is about something else.
    fn of(said: &Value) -> Option<Self> {
        if said["profile"]["test"] != true {
            return None;
        }
        let executable = PathBuf::from(said["executable"].as_str()?);
        let folder = Path::new(said["manifest_path"].as_str()?).parent()?.to_path_buf();
        let name = said["target"]["name"].as_str()?;
        let chosen = match said["target"]["kind"][0].as_str()? {
            kind @ ("test" | "bin" | "example" | "bench") => format!("--{kind} {name}"),
            _ => "--lib".to_owned(),
        };
        let (_, package) = said["package_id"].as_str()?.rsplit_once(['/', '#'])?;
        let package = package.split('@').next()?.to_owned();
        Some(Self { package, chosen, executable, folder })
    }

    fn run(&self) -> anyhow::Result<()> {
        let begun = Instant::now();
        let Self { package, chosen, executable, folder } = self;
        let about = || format!("-p {package} {chosen} ({})", executable.display());
        eprintln!("xtask: begins {}", about());
        // A file takes both, in the order in which they are said. A pipe would have to be read for as long as there
        // is any process that a failing test has left behind.
        let kept =
            tempfile::Builder::new().append(true).tempfile().context("a file for its words")?;
        let [output, errors] = [kept.as_file().try_clone()?, kept.as_file().try_clone()?];
        let mut command = shell::program(executable);
        command.current_dir(folder).env("CARGO_MANIFEST_DIR", folder).stdin(Stdio::null());
        let status = command.stdout(output).stderr(errors).status();
        let status = status.with_context(|| format!("cannot start {}", about()))?;
        let mut all = format!("     Running {}\n", about()).into_bytes();
        all.extend(fs::read(kept.path()).context("cannot read its words")?);
        let took = begun.elapsed().as_secs_f32();
        all.extend_from_slice(
            format!("xtask: ended {package} {chosen}, in {took:.1} s\n").as_bytes(),
        );
        stderr().lock().write_all(&all).context("cannot show its words")?;
        if !status.success() {
            bail!("test failed ({status}), to rerun pass `-p {package} {chosen}`");
        }
        Ok(())
    }
}

fn locked<T>(value: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    value.lock().unwrap_or_else(PoisonError::into_inner)
}
