//! Copies of this very process on eight nodes, of one sending, against eight that are made one after the other. Each
//! touches all its memory, and ends.

use std::process::exit;
use std::time::{Duration, Instant};

use client::{Local, Telefork, TeleforkAll};

use super::Moves;
use crate::error::Error;
use crate::ours::ours;
use crate::turns::Measurement;

const NODES: u32 = 8;
/// Bytes of this process's memory beside its own.
const SIZE: usize = 64 << 20;
const PAGE: usize = 4096;

pub(super) fn measurements(moves: Moves<'_>) -> Vec<Measurement<'_>> {
    vec![moves.all(&["all.memory", "all.time.eight", "all.sent", "all.time"], |_| copied())]
}

/// Bytes of the memory, microseconds of eight copies one after the other, and bytes and microseconds of eight at once.
fn copied() -> Result<Vec<f64>, Error> {
    let cluster = Local::new().nodes(NODES).slots(1).tls().start();
    let cluster = cluster.map_err(ours("start eight nodes"))?;
    let names: Vec<String> = (1..=NODES).map(|number| format!("local-{number}")).collect();
    let mut word = 0x9e37_79b9_7f4a_7c15_u64;
    let random = || {
        word ^= word << 13;
        word ^= word >> 7;
        word ^= word << 17;
        word
    };
    let memory: Vec<u64> = std::iter::repeat_with(random).take(SIZE / 8).collect();
    let right = sum(&memory);
    let begin = Instant::now();
    for name in &names {
        match cluster.telefork(name).map_err(ours("copy this process to a node"))? {
            Telefork::Child(_) => end(&memory, right),
            Telefork::Parent(copy) => whole(copy)?,
        }
    }
    let one_by_one = begin.elapsed();
    let begin = Instant::now();
    let all = cluster.telefork_all(&names).map_err(ours("copy this process to all nodes"))?;
    let copies = match all {
        TeleforkAll::Child(_) => end(&memory, right),
        TeleforkAll::Parent(copies) => copies,
    };
    let mut sent = 0;
    for copy in copies {
        // All of it has been sent before.
        let _ = copy.wait_until_awake();
        sent += copy.sent();
        whole(copy)?;
    }
    let at_once = begin.elapsed();
    let micros = |time: Duration| time.as_secs_f64() * 1e6;
    Ok(vec![SIZE as f64, micros(one_by_one), sent as f64, micros(at_once)])
}

fn whole(copy: client::Copy) -> Result<(), Error> {
    match copy.wait().map_err(ours("run a copy on a node"))? {
        0 => Ok(()),
        status => Err(Error::Answer { who: "a copy", answer: status.to_string() }),
    }
}

/// A copy touches all, and says whether it is as it was.
fn end(memory: &[u64], right: u64) -> ! {
    exit(i32::from(sum(memory) != right))
}

fn sum(memory: &[u64]) -> u64 {
    memory.iter().step_by(PAGE / 8).fold(0, |sum, word| sum.wrapping_add(*word))
}
