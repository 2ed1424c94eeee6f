//! Time that a machine takes, memory that it holds, and numbers drawn without a seed of chance.

use std::time::Instant;

/// Adds up the time of some pieces of work.
#[derive(Default)]
pub(crate) struct Stopwatch {
    nanoseconds: u128,
}

impl Stopwatch {
    pub(crate) fn run<R>(&mut self, work: impl FnOnce() -> R) -> R {
        let begun = Instant::now();
        let result = work();
        self.nanoseconds += begun.elapsed().as_nanos();
        result
    }

    pub(crate) fn nanoseconds(&self) -> f64 {
        self.nanoseconds as f64
    }
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
