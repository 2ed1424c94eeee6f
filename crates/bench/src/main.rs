//! The `farcall-bench` command: `cargo run --release -p farcall-bench -- tasks`.

#![forbid(unsafe_code)]

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, ensure};
use clap::{Args, Parser, Subcommand, ValueEnum};
use farcall_bench::cores;
use farcall_bench::figure::Scene;
use farcall_bench::memory;
use farcall_bench::moves;
use farcall_bench::raw::{self, Sizes, Transport, Work};
use farcall_bench::record::Record;
use farcall_bench::report::{self, Machine};
use farcall_bench::setting::{Effort, Setting};
use farcall_bench::tasks::{self, Peers};
use telefork::restore::Memory;

/// Figures of Farcall beside the raw reference and its peers, in one run
#[derive(Parser)]
#[command(version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// One task's way: ours, tonic, raw TCP, raw TLS
    Tasks(Tasks),
    /// Compute cores: the worker socket protocol v1, jails, a core's first use
    Cores(Measured),
    /// Shared memory: reads, updates, locks, transactions, durability, beside Redis, memcached and etcd
    Memory(Measured),
    /// Processes that move: whole, ahead of their memory, copied
    Telefork(Measured),
    /// The other end of a raw reference, on its standard input
    #[command(hide = true)]
    Child { transport: Transport, work: Work, ask: usize, answer: usize },
    /// Holds pages of a coherent region, as its standard input says
    #[command(hide = true)]
    Holder { node: String },
    /// Where a process arrives
    #[command(hide = true)]
    Pad { memory: String },
}

#[derive(Args)]
struct Tasks {
    #[command(flatten)]
    measured: Measured,
    /// Leave the peers out, which are built on their first use
    #[arg(long)]
    no_peers: bool,
}

/// What every benchmark takes.
#[derive(Args)]
struct Measured {
    /// Print every round's values as JSON
    #[arg(long)]
    json: bool,
    /// Fewer rounds and smaller counts: shows that everything runs, judges nothing
    #[arg(long)]
    quick: bool,
    /// Measure this scene alone (may be given several times)
    #[arg(long, value_name = "NAME")]
    only: Vec<Scene>,
    /// Exit with status 1 if a floor is missed or could not be measured
    #[arg(long)]
    check: bool,
}

fn main() -> anyhow::Result<ExitCode> {
    let executable = std::env::current_exe().context("cannot find this executable")?;
    match Cli::parse().command {
        Command::Child { transport, work, ask, answer } => {
            raw::child(&executable, transport, work, Sizes { ask, answer })?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Holder { node } => {
            memory::hold(&node)?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Tasks(Tasks { measured, no_peers }) => {
            let peers = if no_peers { Peers::LeftOut } else { Peers::Measured };
            measured.run(executable, &tasks::SCENES, |setting, scenes| {
                tasks::run(setting, scenes, peers, &say)
            })
        }
        Command::Cores(measured) => measured
            .run(executable, &cores::SCENES, |setting, scenes| cores::run(setting, scenes, &say)),
        Command::Pad { memory } => {
            let is_whole = memory == "whole";
            moves::pad(if is_whole { Memory::Whole } else { Memory::Following })?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Telefork(measured) => {
            measured.run(executable, &moves::scenes(), |setting, scenes| {
                moves::run(setting, scenes, &say)
            })
        }
        Command::Memory(measured) => {
            measured.run(executable, &memory::SCENES, |setting, scenes| {
                memory::run(setting, scenes, &say)
            })
        }
    }
}

fn say(line: &str) {
    eprintln!("{line}");
}

impl Measured {
    /// Measures these scenes, or those of them that were asked for, and prints what came out.
    fn run(
        &self,
        executable: PathBuf,
        all: &[Scene],
        measure: impl FnOnce(&Setting, &[Scene]) -> Record,
    ) -> anyhow::Result<ExitCode> {
        for scene in &self.only {
            let names = || all.iter().filter_map(ValueEnum::to_possible_value);
            let names = names().map(|name| name.get_name().to_owned()).collect::<Vec<_>>();
            ensure!(all.contains(scene), "this benchmark's scenes are {}", names.join(", "));
        }
        let profile_dir = executable.parent().context("this executable is in no folder")?;
        let setting = Setting {
            // `target/release/farcall-bench` builds its peers in `target/peers`.
            peers_dir: profile_dir.parent().unwrap_or(profile_dir).join("peers"),
            cargo: std::env::var_os("CARGO").map_or_else(|| "cargo".into(), PathBuf::from),
            effort: if self.quick { Effort::QUICK } else { Effort::FULL },
            executable,
        };
        let scenes = if self.only.is_empty() { all } else { &self.only };
        if cfg!(debug_assertions) {
            eprintln!("warning: not a release build; these figures say nothing (use --release)");
        }
        let machine = Machine::observe();
        let record = measure(&setting, scenes);
        let text = match self.json {
            true => report::json(&record, setting.effort, &machine),
            false => report::table(&record, setting.effort, &machine),
        };
        writeln!(std::io::stdout(), "{}", text.trim_end())?;
        let failed = record.has_failures() || self.check && !record.floors_hold();
        Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
    }
}
