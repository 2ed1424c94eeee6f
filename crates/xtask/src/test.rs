//! `cargo xtask test`: what tests start is built first, then `cargo test` takes over.
//!
//! Plain `cargo test`, not a faster runner that a bare machine does not have.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::Context;

use crate::shell::{self, cargo, program};

/// Builds, then becomes `cargo test`. Returns only if that cannot start.
pub(crate) fn hand_over(options: &[String]) -> anyhow::Result<()> {
    prepare()?;
    shell::hand_over(&mut command(options)).map(|never| match never {})
}

/// Builds what tests start: the programs of the workspace and the example cores.
pub(crate) fn prepare() -> anyhow::Result<()> {
    shell::run(&mut cargo(&["build", "--workspace", "--bins", "--examples"]))?;
    example_cores()
}

/// `cargo test`, to the end even if something fails.
pub(crate) fn command(options: &[String]) -> Command {
    let mut command = cargo(&["test", "--no-fail-fast"]);
    let chosen = |option: &String| option.starts_with("-p") || option.starts_with("--package");
    if !options.iter().any(chosen) {
        command.arg("--workspace");
    }
    command.args(options);
    command
}

/// Compiles each core in examples/cores as its README says: a source file is a core, a folder
/// with a manifest is a core in Rust. Other folders are material of tests.
fn example_cores() -> anyhow::Result<()> {
    let folder = shell::root().join("examples/cores");
    let libraries = shell::target().join("cores");
    fs::create_dir_all(&libraries)
        .with_context(|| format!("cannot make {}", libraries.display()))?;
    let entries =
        fs::read_dir(&folder).with_context(|| format!("cannot read {}", folder.display()))?;
    let mut paths = entries.map(|entry| Ok(entry?.path())).collect::<anyhow::Result<Vec<_>>>()?;
    paths.sort();
    for path in paths {
        match path.extension().and_then(|kind| kind.to_str()) {
            Some("c") => compile("cc", &path, &libraries)?,
            Some("cpp") => compile("c++", &path, &libraries)?,
            _ if path.join("Cargo.toml").exists() => {
                let mut build = cargo(&["build", "--release", "--manifest-path"]);
                build.arg(path.join("Cargo.toml")).arg("--target-dir").arg(shell::target());
                shell::run(&mut build)?;
            }
            _ => (),
        }
    }
    Ok(())
}

fn compile(compiler: &str, source: &Path, libraries: &Path) -> anyhow::Result<()> {
    let name = source.file_stem().context("a source file has a name")?;
    let mut command = program(compiler);
    command.args(["-O2", "-shared", "-fPIC", "-I", "crates/core-abi/include", "-o"]);
    command.arg(libraries.join(format!("lib{}.so", name.display()))).arg(source);
    shell::run(&mut command)
        .context("the example cores need a C and a C++ compiler (Debian: apt-get install gcc g++)")
}
