//! Runs one task after the other, to be watched by a profiler:
//! `latency LIBRARY SECONDS [BYTES [unix]]`.

#![expect(clippy::print_stdout, reason = "a figure is what it is for")]

use std::time::{Duration, Instant};
fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let (library, seconds) = (args.next().unwrap_or_default(), args.next().unwrap_or_default());
    let size: usize = args.next().map_or(Ok(64), |size| size.parse())?;
    let local = farcall::Local::new().slots(2);
    let unix = args.next().is_some_and(|way| way == "unix");
    let cluster = if unix { local.start()? } else { local.tls().start()? };
    let core = cluster.core(library)?;
    let end = Instant::now() + Duration::from_secs(seconds.parse()?);
    let input = bytes::Bytes::from(vec![7; size]);
    let mut times = Vec::new();
    while Instant::now() < end {
        let start = Instant::now();
        let output = core.run(input.clone())?;
        assert_eq!(output.len(), size);
        times.push(start.elapsed());
    }
    times.sort();
    let (p50, p99) = (times[times.len() / 2], times[times.len() * 99 / 100]);
    println!("{} tasks, p50 {p50:?}, p99 {p99:?}", times.len());
    Ok(())
}
