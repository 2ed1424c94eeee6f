//! What a run is given: where its programs are, and how much it may measure.

use std::path::PathBuf;
use std::time::Duration;

use serde::Serialize;

/// The programs a run starts, and its amount of work.
#[derive(Debug, Clone)]
pub struct Setting {
    /// This benchmark's own executable: it is the other end of the raw references.
    pub executable: PathBuf,
    /// Builds the peers.
    pub cargo: PathBuf,
    /// Where the peers are built.
    pub peers_dir: PathBuf,
    pub effort: Effort,
}

/// How much one round measures. A tenth more runs first, unmeasured, to warm up.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Effort {
    pub rounds: usize,
    /// Latency has more and shorter rounds: the scheduler puts two processes that talk on one core
    /// or on two, as their neighbours' load suggests, and a round trip across cores takes four times
    /// as long. In short rounds that load is the same for the figure and for its reference.
    pub latency_rounds: usize,
    /// Tasks one after the other.
    pub latency_tasks: usize,
    /// The large job, whose rate has a floor.
    pub many_tasks: usize,
    /// The small job, whose time per task the large one must keep.
    pub few_tasks: usize,
    /// How often the small job runs in a round: alone it would be too short to time.
    pub few_repeats: usize,
    /// Messages through the pipelined raw references.
    pub pipelined_messages: usize,
    /// Calls of a peer, whose rate is a tenth of ours at best.
    pub peer_calls: usize,
    /// Tasks with 1 MiB in and 1 MiB out.
    pub echo_tasks: usize,
    /// Rounds of figures that are one event each: a worker started, a core shipped.
    pub start_rounds: usize,
    /// Jobs of protocol v1, pipelined, and with 40 MiB in and out.
    pub v1_jobs: usize,
    pub v1_large_jobs: usize,
    /// Pages through a pipeline.
    pub pages: usize,
    /// Milliseconds for which clients contend.
    pub contended_ms: u64,
    /// Queues before a lock, for each of which it is seen who is served when.
    pub queues: usize,
    /// Requests, one after the other, to a peer that takes half a millisecond for one.
    pub slow_asks: usize,
}

impl Effort {
    /// What the floors are judged by.
    pub const FULL: Self = Self {
        rounds: 5,
        latency_rounds: 50,
        latency_tasks: 2_000,
        many_tasks: 1_000_000,
        few_tasks: 10_000,
        few_repeats: 20,
        pipelined_messages: 400_000,
        peer_calls: 100_000,
        echo_tasks: 200,
        start_rounds: 30,
        v1_jobs: 400_000,
        v1_large_jobs: 10,
        pages: 60_000,
        contended_ms: 1_000,
        queues: 100,
        slow_asks: 50,
    };

    /// Enough to see that everything runs; too little to judge by.
    pub const QUICK: Self = Self {
        rounds: 3,
        latency_rounds: 10,
        latency_tasks: 1_000,
        many_tasks: 100_000,
        few_tasks: 10_000,
        few_repeats: 5,
        pipelined_messages: 40_000,
        peer_calls: 10_000,
        echo_tasks: 30,
        start_rounds: 5,
        v1_jobs: 40_000,
        v1_large_jobs: 3,
        pages: 6_000,
        contended_ms: 200,
        queues: 20,
        slow_asks: 20,
    };
}

impl Effort {
    pub(crate) fn contended(self) -> Duration {
        Duration::from_millis(self.contended_ms)
    }
}
