//! What the guide to shared memory (docs/memory.md) shows. Run it twice: the pages outlive the program, if
//! FARCALL_NODES names a node that does.

#![forbid(unsafe_code)]
#![expect(clippy::print_stdout, reason = "an example prints")]

use farcall::{Cluster, RegionOptions};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let cluster = Cluster::from_env()?; // FARCALL_NODES, or a node on this machine
    let region = cluster.memory_or_create("genes", &RegionOptions::new(1000))?;

    region.page(3).update(0, b"hello")?;
    let snapshot = region.page(3).read()?;
    println!("version {}: {:?}", snapshot.version.0, &snapshot.bytes[..5]);

    let mut guard = region.page(3).lock()?; // in the order of asking
    guard.bytes_mut()[0] = b'H';
    guard.commit()?; // dropped without it, the page stays as it was

    region.transact(|tx| {
        let from = tx.read(3)?; // run again if somebody else wrote first
        tx.write(4, 0, &from[..5])
    })?;
    println!("{}", region.counter(5).add(1)?);
    Ok(())
}
