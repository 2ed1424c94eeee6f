//! Calls of copies of this very process, to a node that keeps its memory: an empty one, against a plain copy that
//! is made here and ended; and what the second copy takes of the bytes of the first.

use std::process::exit;
use std::time::Instant;

use client::{Cluster, Telefork};
use sys::park::{Parked, park};
use sys::process_memory;

use super::Moves;
use crate::daemon::Daemon;
use crate::error::Error;
use crate::ours::ours;
use crate::turns::Measurement;

/// Bytes of this process's memory beside its own.
const SIZE: usize = 100 << 20;
const PAGE: usize = 4096;
/// One page in so many is changed.
const CHANGED: usize = 100;
/// Calls, and copies made here, of which the middle one counts.
const CALLS: usize = 31;

const NODE: &str = "bench";

/// What its memory is laid into.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Pages {
    Small,
    Large,
}

pub(super) fn measurements(moves: Moves<'_>) -> Vec<Measurement<'_>> {
    vec![
        moves.all(&["call.fork", "call.empty"], |moves| called(moves, Pages::Small)),
        moves.all(&["call.fork.huge", "call.huge"], |moves| called(moves, Pages::Large)),
        moves.all(&["call.memory", "call.second"], second),
    ]
}

/// Microseconds of a fork, exit and wait of this process, and of an empty call, both the middle ones.
fn called(moves: &Moves<'_>, pages: Pages) -> Result<Vec<f64>, Error> {
    let (_node, cluster, memory) = begun(moves, pages)?;
    let (mut forks, mut calls) = (Vec::new(), Vec::new());
    for _ in 0..CALLS {
        let begin = Instant::now();
        match park().map_err(ours("copy this process"))? {
            // It is killed where it stands.
            Parked::Woken(_) => exit(0),
            Parked::Parent(twin) => drop(twin),
        }
        forks.push(begin.elapsed());
        let begin = Instant::now();
        let call = cluster.fork_call_on(NODE, || ());
        call.join().map_err(ours("call a copy"))?;
        calls.push(begin.elapsed());
    }
    drop(memory);
    Ok([forks, calls]
        .map(|mut times| {
            times.sort_unstable();
            times[CALLS / 2].as_secs_f64() * 1e6
        })
        .to_vec())
}

/// Bytes of the memory that was sent before, and of a copy when one page in a hundred has changed.
fn second(moves: &Moves<'_>) -> Result<Vec<f64>, Error> {
    let (_node, cluster, mut memory) = begun(moves, Pages::Small)?;
    memory.iter_mut().step_by(PAGE * CHANGED).for_each(|byte| *byte = byte.wrapping_add(1));
    match cluster.telefork(NODE).map_err(ours("copy this process to a node"))? {
        Telefork::Child(_) => exit(0),
        Telefork::Parent(copy) => {
            let _ = copy.wait_until_awake();
            let sent = copy.sent();
            copy.wait().map_err(ours("run a copy on a node"))?;
            Ok(vec![SIZE as f64, sent as f64])
        }
    }
}

/// A node that keeps the memory of this process, with that much of it.
fn begun(moves: &Moves<'_>, pages: Pages) -> Result<(Daemon, Cluster, Vec<u8>), Error> {
    let mut word = 0x9e37_79b9_7f4a_7c15_u64;
    let mut memory = vec![0; SIZE];
    if pages == Pages::Large {
        process_memory::lay_large(&mut memory).map_err(ours("have large pages"))?;
    }
    for bytes in memory.as_chunks_mut().0 {
        word ^= word << 13;
        word ^= word >> 7;
        word ^= word << 17;
        *bytes = word.to_le_bytes();
    }
    let node = Daemon::start(moves.setting, "copies of a process on a node", &["--jail", "none"])?;
    let cluster = node.cluster()?;
    cluster.prepare(NODE).map_err(ours("send this process to a node"))?;
    Ok((node, cluster, memory))
}
