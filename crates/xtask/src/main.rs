//! The project's own chores: `cargo xtask CHORE`.
//!
//! Each chore runs other programs in order and says which; none does work of its own.

#![forbid(unsafe_code)]

mod ci;
mod soak;
mod test;
mod clib;
mod bench;
mod fuzz;
mod shell;
#[path = "../../../fuzz/src/seeds.rs"]
pub mod seeds;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// The project's own chores
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", arg_required_else_help = true)]
#[command(after_help = "Where to start:
  cargo xtask test                 after a change
  cargo xtask test -p farcall-wire after a change in one crate
  cargo xtask ci                   before a commit: all that CI checks
  cargo xtask bench tasks          after a change on the path of a task")]
struct Cli {
    #[command(subcommand)]
    chore: Chore,
}

#[derive(Subcommand)]
enum Chore {
    /// Build what the tests start, then run all of them
    ///
    /// Compiles the workspace's programs and the example cores, then hands over to `cargo test`:
    /// its closing lines and its exit status are the answer. Needs a C and a C++ compiler and
    /// nothing that cargo does not bring.
    #[command(after_help = "Examples:
  cargo xtask test
  cargo xtask test -p farcall-logic
  cargo xtask test silent_peer     only tests whose name contains it")]
    Test {
        /// Options for `cargo test`; `-p CRATE` takes the place of `--workspace`
        #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "OPTION")]
        options: Vec<String>,
    },

    /// All that CI checks: format, lints, house style, tests, documentation, licences
    ///
    /// Goes on after a failure, and ends with a line for each check. What this machine has no
    /// program for is skipped aloud.
    Ci,

    /// Long tests: mixed load with random kills, every test with FARCALL_SOAK=1, simulated clusters
    ///
    /// The load is on real nodes, workers and clients (crates/cli/tests/soak.rs): no result may be
    /// lost or come twice, and memory and descriptors must stay where they were. The same for shared
    /// memory (memory_soak.rs), where all that clients saw is judged as one history. The simulation
    /// goes from seed to seed until its time is up, at least 2,000 of each kind.
    #[command(after_help = "Examples:
  cargo xtask soak                            ten minutes of each load, the tests, ten of simulation
  cargo xtask soak --only load --minutes 60
  cargo xtask soak --only memory
  cargo xtask soak --only sim --first 100000

A failing cluster prints its seed; the same seed fails again:
  cargo run --release -p farcall-sim -- --first SEED --seeds 1
  cargo run --release -p farcall-sim -- regions --first SEED --seeds 1")]
    Soak {
        /// How long the load goes on, and how long the simulation
        #[arg(long, default_value_t = 10, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
        minutes: u64,
        /// The first seed: of the load, and of the simulated clusters, each of which takes the next
        #[arg(long, default_value_t = 1, value_name = "SEED")]
        first: u64,
        /// Do this part alone
        #[arg(long, value_name = "PART")]
        only: Option<soak::Part>,
    },

    /// Measure beside the raw reference and the peers, built with --release
    #[command(after_help = "Examples:
  cargo xtask bench tasks                     one task's way
  cargo xtask bench cores                     compute cores: protocol v1, jails, a core's first use
  cargo xtask bench memory                    regions beside Redis, memcached and etcd
  cargo xtask bench scale                     decisions among 10,000 nodes, without any I/O
  cargo xtask bench tasks --json > figures.json
  cargo xtask bench tasks --help              what the benchmark itself takes")]
    Bench {
        /// Which benchmark, with its options (`--json`: figures for programs)
        #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
        #[arg(value_name = "NAME [OPTION]")]
        name_and_options: Vec<String>,
    },

    /// Install the C library, its header and what pkg-config needs below a folder
    #[command(after_help = "Examples:
  cargo xtask install-c /usr/local
  cargo xtask install-c ~/.local && export PKG_CONFIG_PATH=~/.local/lib/pkgconfig
  cc mine.c $(pkg-config --cflags --libs farcall)")]
    InstallC {
        /// The folder, which gets include/ and lib/
        #[arg(value_name = "PREFIX")]
        prefix: PathBuf,
        /// As it is built for tests: quick to compile, slow to run
        #[arg(long)]
        debug: bool,
    },

    /// Feed every decoder with bytes that nobody sane would send
    ///
    /// Runs each target in fuzz/fuzz_targets. Needs a nightly compiler and cargo-fuzz; without
    /// them it says so and does nothing.
    Fuzz {
        /// How long each target runs
        #[arg(long, default_value_t = 30, value_name = "N")]
        seconds: u64,
    },
}

fn main() -> ExitCode {
    let outcome = match Cli::parse().chore {
        Chore::Test { options } => test::hand_over(&options),
        Chore::Ci => ci::run(),
        Chore::Soak { minutes, first, only } => soak::run(minutes, first, only),
        Chore::Bench { name_and_options } => bench::hand_over(&name_and_options),
        Chore::InstallC { prefix, debug } => clib::install(&prefix, debug),
        Chore::Fuzz { seconds } => fuzz::run(seconds),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}
