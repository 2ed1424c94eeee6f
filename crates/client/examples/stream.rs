//! Pipes standard input through a compute core on a local node: `stream LIBRARY < INPUT`.

use std::io::{self, Read, Write};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let library = std::env::args().nth(1).ok_or("usage: stream LIBRARY")?;
    let cluster = farcall::Cluster::local()?;
    let mut task = cluster.core(library)?.open();
    let mut input = Vec::new();
    io::stdin().read_to_end(&mut input)?;
    task.write_all(&input)?;
    io::stdout().write_all(&task.finish()?)?;
    Ok(())
}
