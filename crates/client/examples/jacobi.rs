//! Jacobi over shared memory: heat in a plate, its rows cut among processes.
//!
//! `jacobi PROCESSES [SIZE [SWEEPS]]` runs it in one process and in so many, and prints the speed-up and
//! how many pages moved. Each process writes rows of its own; only the rows at the cuts are read by a
//! neighbour, so two pages for each cut move in a sweep, however large the plate is.

#![expect(clippy::print_stdout, reason = "figures are what it is for")]

#[path = "memory/processes.rs"]
mod processes;

use std::time::Instant;

use farcall::RegionOptions;
use farcall::memory::{Error, Shared};
use processes::{Stage, stage};

/// Bytes of a row: whole pages, so that no page belongs to two processes.
fn stride(size: usize) -> usize {
    (size * 8).next_multiple_of(4096)
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let Stage { numbers, child } = stage(&[2, 2046, 60]);
    let &[parties, size, sweeps] = &numbers[..] else { return Err("three numbers".into()) };
    if let Some(child) = child {
        let shared = child.region.map_coherent()?;
        sweep(&shared, child.number, child.parties, size, sweeps)?;
        println!("process {}: {:?}", child.number, shared.traffic());
        return Ok(shared.close()?);
    }
    let wanted = alone(size, sweeps);
    let pages = 2 * (size + 2) * stride(size + 2) / 4096;
    let mut first = None;
    for parties in [1, parties] {
        let options = RegionOptions::new(pages as u64).coherent();
        let (cluster, region) = processes::region("plate", &options)?;
        let start = Instant::now();
        processes::run(&region, parties, &numbers)?;
        let took = start.elapsed();
        let shared = region.map_coherent()?;
        let plate = row(&shared, sweeps % 2, size / 2, size)?;
        assert_eq!(plate, wanted, "the plate is as warm as without any sharing");
        let moves = region.stat()?.moves;
        let alone = *first.get_or_insert(took);
        let speed_up = alone.as_secs_f64() / took.as_secs_f64();
        println!("{parties} processes: {took:.2?}, {speed_up:.2} times as fast, {moves} moves");
        drop((shared, region, cluster));
    }
    Ok(())
}

/// Where a row of one of the two plates begins.
fn place(plate: usize, row: usize, size: usize) -> usize {
    (plate * (size + 2) + row) * stride(size + 2)
}

fn row(shared: &Shared, plate: usize, row: usize, size: usize) -> Result<Vec<f64>, Error> {
    let mut bytes = vec![0; (size + 2) * 8];
    shared.read(place(plate, row, size), &mut bytes)?;
    Ok(bytes
        .chunks_exact(8)
        .map(|word| f64::from_le_bytes(word.try_into().unwrap_or_default()))
        .collect())
}

/// The rows of one process, again and again; all wait for all between.
fn sweep(
    shared: &Shared,
    me: usize,
    parties: usize,
    size: usize,
    sweeps: usize,
) -> Result<(), Error> {
    let barrier = shared.barrier(1, parties as u32);
    let mine = 1 + size * me / parties..1 + size * (me + 1) / parties;
    if me == 0 {
        let warm: Vec<u8> = vec![1.0_f64; size + 2].iter().flat_map(|x| x.to_le_bytes()).collect();
        shared.write(place(0, 0, size), &warm)?;
        shared.write(place(1, 0, size), &warm)?;
    }
    barrier.wait()?;
    for step in 0..sweeps {
        let mut above = row(shared, step % 2, mine.start - 1, size)?;
        let mut here = row(shared, step % 2, mine.start, size)?;
        for at in mine.clone() {
            let below = row(shared, step % 2, at + 1, size)?;
            let new = relax(&above, &here, &below);
            let bytes: Vec<u8> = new.iter().flat_map(|x| x.to_le_bytes()).collect();
            shared.write(place(1 - step % 2, at, size), &bytes)?;
            (above, here) = (here, below);
        }
        barrier.wait()?;
    }
    Ok(())
}

fn relax(above: &[f64], here: &[f64], below: &[f64]) -> Vec<f64> {
    let mut new = vec![0.0; here.len()];
    for x in 1..here.len() - 1 {
        new[x] = (above[x] + below[x] + here[x - 1] + here[x + 1]) / 4.0;
    }
    new
}

/// The middle row, computed without any sharing.
fn alone(size: usize, sweeps: usize) -> Vec<f64> {
    let mut plate = vec![vec![0.0; size + 2]; size + 2];
    plate[0] = vec![1.0; size + 2];
    for _ in 0..sweeps {
        let mut next = plate.clone();
        for at in 1..=size {
            next[at] = relax(&plate[at - 1], &plate[at], &plate[at + 1]);
        }
        plate = next;
    }
    plate.swap_remove(size / 2)
}
