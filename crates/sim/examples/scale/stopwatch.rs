//! Time that a machine takes, memory that it holds, and numbers drawn without a seed of chance.

use std::time::Instant;

/// Adds up the time of some pieces of work. Where others want the processor too, the share of its
/// life in which this thread had it is taken for the share in each piece.
pub(crate) struct Stopwatch {
    nanoseconds: u128,
    born: Instant,
    had: Option<u64>,
}

impl Stopwatch {
    pub(crate) fn new() -> Self {
        Self { nanoseconds: 0, born: Instant::now(), had: on_processor() }
    }

    pub(crate) fn run<R>(&mut self, work: impl FnOnce() -> R) -> R {
        let begun = Instant::now();
        let result = work();
        self.nanoseconds += begun.elapsed().as_nanos();
        result
    }

    pub(crate) fn nanoseconds(&self) -> f64 {
        let had = self.had.zip(on_processor()).map(|(before, now)| (now - before) as f64);
        let share = had.map_or(1.0, |had| had / self.born.elapsed().as_nanos() as f64);
        self.nanoseconds as f64 * share.min(1.0)
    }
}

/// Nanoseconds that this thread has had on a processor.
fn on_processor() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    text.split(' ').next()?.parse().ok()
}

/// Bytes of this process that are in memory.
pub(crate) fn resident() -> u64 {
    const PAGE: u64 = 4096;
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    statm.split(' ').nth(1).and_then(|pages| pages.parse::<u64>().ok()).map_or(0, |n| n * PAGE)
}

/// The same numbers in every run (splitmix64).
pub(crate) struct Draw(u64);

impl Draw {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % limit.max(1)
    }
}
