//! `farcall-sim`: runs seeds until one breaks a promise.

#![forbid(unsafe_code)]
#![expect(clippy::print_stdout, reason = "a program prints")]

use std::process::ExitCode;
use std::time::Instant;

use farcall_sim::{Report, regions};

const USAGE: &str = "usage: farcall-sim [regions] [--seeds N] [--first SEED] [--trace SEED]

Runs whole simulated clusters from seeds, and prints the first seed that breaks a promise.

  regions        regions of shared memory and their clients, instead of tasks
  --seeds N      how many seeds (300)
  --first SEED   the first one (0)
  --trace SEED   run this one seed and print everything that happened";

fn main() -> ExitCode {
    let (mut seeds, mut first, mut traced) = (300, 0, None);
    let mut arguments = std::env::args().skip(1).peekable();
    let what = match arguments.next_if(|word| word == "regions") {
        Some(_) => What::Regions,
        None => What::Tasks,
    };
    while let Some(option) = arguments.next() {
        let value = arguments.next().and_then(|text| text.parse().ok());
        match (option.as_str(), value) {
            ("--seeds", Some(value)) => seeds = value,
            ("--first", Some(value)) => first = value,
            ("--trace", Some(value)) => traced = Some(value),
            _ => {
                println!("{USAGE}");
                return ExitCode::from(2);
            }
        }
    }
    match traced {
        Some(seed) => trace(what, seed),
        None => search(what, first, seeds),
    }
}

#[derive(Clone, Copy)]
enum What {
    Tasks,
    Regions,
}

impl What {
    /// A run, and how many operations were judged.
    fn run(self, seed: u64, traced: bool) -> (Report, usize) {
        match self {
            Self::Tasks => (farcall_sim::run(seed, None, traced), 0),
            Self::Regions => {
                let (report, figures) = regions::run(seed, None, traced);
                (report, figures.ops)
            }
        }
    }

    /// As it is typed.
    fn word(self) -> &'static str {
        match self {
            Self::Tasks => "",
            Self::Regions => "regions ",
        }
    }
}

fn trace(what: What, seed: u64) -> ExitCode {
    let (report, _) = what.run(seed, true);
    report.log.iter().for_each(|line| println!("{line}"));
    match report.violation {
        Some(violation) => {
            println!("seed {seed}: {violation}");
            ExitCode::FAILURE
        }
        None => {
            println!("seed {seed}: nothing is wrong; hash {:016x}", report.hash);
            ExitCode::SUCCESS
        }
    }
}

fn search(what: What, first: u64, seeds: u64) -> ExitCode {
    let begun = Instant::now();
    let (mut simulated, mut judged) = (0, 0);
    for seed in first..first.saturating_add(seeds) {
        let (report, ops) = what.run(seed, false);
        simulated += report.lasted.0 / 1_000_000;
        judged += ops;
        if let Some(violation) = report.violation {
            report.log.iter().for_each(|line| println!("{line}"));
            println!("seed {seed}: {violation}");
            println!("see all of it: farcall-sim {}--trace {seed}", what.word());
            return ExitCode::FAILURE;
        }
    }
    let took = begun.elapsed().as_secs_f64();
    let rate = seeds as f64 / took.max(1e-9);
    let hours = simulated as f64 / 3.6e6;
    println!("{seeds} seeds from {first}: {rate:.0} seeds/second, {hours:.1} simulated hours");
    if judged > 0 {
        println!("{judged} operations in the histories that were judged");
    }
    ExitCode::SUCCESS
}
