//! Prints how long it takes to start `/bin/true` and to see its end: by `Spawn`, by the standard
//! library alone, and by the standard library with one step of ours in the child.
#![expect(clippy::print_stdout, reason = "its output is its purpose")]

use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use farcall_sys::clock::monotonic_nanoseconds;
use farcall_sys::process::Spawn;

const ROUNDS: usize = 400;

fn main() {
    for megabytes in [0, 256] {
        // Touched memory is what fork has to copy page tables for.
        let ballast = std::hint::black_box(vec![1_u8; megabytes << 20]);
        let spawn = measure(|| {
            Spawn::new("/bin/true").start().expect("starts").wait().expect("ends");
        });
        let plain = measure(|| {
            command().status().expect("runs");
        });
        let forked = measure(|| {
            let mut command = command();
            // SAFETY: a closure that does nothing is safe to run in a forked child.
            unsafe { command.pre_exec(|| Ok(())) };
            command.status().expect("runs");
        });
        println!(
            "{megabytes:3} MiB in use: Spawn {spawn} µs, std {plain} µs, std with pre_exec {forked} µs"
        );
        drop(ballast);
    }
}

fn command() -> Command {
    let mut command = Command::new("/bin/true");
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).env_clear();
    command
}

/// The median of many rounds, in microseconds.
fn measure(mut round: impl FnMut()) -> u64 {
    let mut times: Vec<u64> = (0..ROUNDS)
        .map(|_| {
            let start = monotonic_nanoseconds();
            round();
            monotonic_nanoseconds() - start
        })
        .collect();
    times.sort_unstable();
    times[ROUNDS / 2] / 1000
}
