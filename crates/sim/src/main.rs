//! `farcall-sim`: runs seeds until one breaks a promise.

#![forbid(unsafe_code)]
#![expect(clippy::print_stdout, reason = "a program prints")]

use std::process::ExitCode;
use std::time::Instant;

const USAGE: &str = "usage: farcall-sim [--seeds N] [--first SEED] [--trace SEED]

Runs whole simulated clusters from seeds, and prints the first seed that breaks a promise.

  --seeds N      how many seeds (300)
  --first SEED   the first one (0)
  --trace SEED   run this one seed and print everything that happened";

fn main() -> ExitCode {
    let (mut seeds, mut first, mut traced) = (300, 0, None);
    let mut arguments = std::env::args().skip(1);
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
        Some(seed) => trace(seed),
        None => search(first, seeds),
    }
}

fn trace(seed: u64) -> ExitCode {
    let report = farcall_sim::run(seed, None, true);
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

fn search(first: u64, seeds: u64) -> ExitCode {
    let begun = Instant::now();
    let mut simulated = 0;
    for seed in first..first.saturating_add(seeds) {
        let report = farcall_sim::run(seed, None, false);
        simulated += report.lasted.0 / 1_000_000;
        if let Some(violation) = report.violation {
            report.log.iter().for_each(|line| println!("{line}"));
            println!("seed {seed}: {violation}");
            println!("see all of it: farcall-sim --trace {seed}");
            return ExitCode::FAILURE;
        }
    }
    let took = begun.elapsed().as_secs_f64();
    let rate = seeds as f64 / took.max(1e-9);
    let hours = simulated as f64 / 3.6e6;
    println!("{seeds} seeds from {first}: {rate:.0} seeds/second, {hours:.1} simulated hours");
    ExitCode::SUCCESS
}
