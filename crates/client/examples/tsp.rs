//! The shortest round trip through some cities, over shared memory: branch and bound.
//!
//! `tsp PROCESSES [CITIES]` runs it in one process and in so many, and prints the speed-up and how many
//! pages moved. The work list is a number under a mutex that crosses processes; the best length so far
//! is an atomic that everybody reads all the time and that is seldom written.

#![expect(clippy::print_stdout, reason = "figures are what it is for")]

#[path = "memory/processes.rs"]
mod processes;

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use farcall::RegionOptions;
use farcall::memory::{Error, Shared};
use processes::{Stage, stage};

/// Where the bound and the next piece of work are: on pages of their own.
const BEST: usize = 0;
const NEXT: usize = 4096;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let Stage { numbers, child } = stage(&[2, 15]);
    let &[parties, cities] = &numbers[..] else { return Err("two numbers".into()) };
    let map = distances(cities);
    if let Some(child) = child {
        let shared = child.region.map_coherent()?;
        work(&shared, &map)?;
        println!("process {} of {}: {:?}", child.number, child.parties, shared.traffic());
        return Ok(shared.close()?);
    }
    let best = AtomicU64::new(u64::MAX);
    (0..pieces(cities)).for_each(|piece| search_piece(&map, piece, &best));
    let wanted = best.into_inner();
    let mut first = None;
    for parties in [1, parties] {
        let (cluster, region) = processes::region("tour", &RegionOptions::new(2).coherent())?;
        let shared = region.map_coherent()?;
        shared.atomic(BEST).store(u64::MAX, Ordering::SeqCst);
        let start = Instant::now();
        processes::run(&region, parties, &numbers)?;
        let took = start.elapsed();
        assert_eq!(shared.atomic(BEST).load(Ordering::SeqCst), wanted, "it is the shortest");
        let alone = *first.get_or_insert(took);
        let (speed_up, moves) = (alone.as_secs_f64() / took.as_secs_f64(), region.stat()?.moves);
        println!("{parties} processes: {took:.2?}, {speed_up:.2} times as fast, {moves} moves");
        drop((shared, region, cluster));
    }
    Ok(())
}

/// Takes pieces of work until there are none.
fn work(shared: &Shared, map: &[Vec<u64>]) -> Result<(), Error> {
    let next = shared.mutex(1);
    loop {
        let held = next.lock()?;
        let piece = shared.atomic(NEXT).load(Ordering::Relaxed);
        shared.atomic(NEXT).store(piece + 1, Ordering::Relaxed);
        held.unlock()?;
        if piece >= pieces(map.len()) {
            return Ok(());
        }
        search_piece(map, piece, shared.atomic(BEST));
    }
}

/// A piece is the second and the third city of a tour.
fn pieces(cities: usize) -> u64 {
    (cities * cities) as u64
}

fn search_piece(map: &[Vec<u64>], piece: u64, best: &AtomicU64) {
    let (second, third) = (piece as usize / map.len(), piece as usize % map.len());
    if second != 0 && third != 0 && second != third {
        let seen = 1 | 1 << second | 1 << third;
        search(map, third, seen, map[0][second] + map[second][third], best);
    }
}

fn search(map: &[Vec<u64>], at: usize, seen: u64, length: u64, best: &AtomicU64) {
    if length >= best.load(Ordering::Relaxed) {
        return;
    }
    if seen.count_ones() as usize == map.len() {
        best.fetch_min(length + map[at][0], Ordering::SeqCst);
        return;
    }
    for next in (1..map.len()).filter(|next| seen & 1 << next == 0) {
        search(map, next, seen | 1 << next, length + map[at][next], best);
    }
}

/// Between cities on a square, the same in every process.
fn distances(cities: usize) -> Vec<Vec<u64>> {
    let place = |city: usize| ((city * 7919 % 1009) as f64, (city * 104_729 % 997) as f64);
    let between = |a: usize, b: usize| {
        let ((ax, ay), (bx, by)) = (place(a), place(b));
        ((ax - bx).hypot(ay - by) * 1000.0) as u64
    };
    (0..cities).map(|a| (0..cities).map(|b| between(a, b)).collect()).collect()
}
