//! Where a run happened, and how busy that place was: ratios survive a busy machine, times do not.

use std::fmt;

use serde::Serialize;

/// The host of a run.
#[derive(Debug, Clone, Serialize)]
pub struct Machine {
    pub processor: String,
    pub cores: usize,
    pub kernel: String,
    /// Load average of the last minute before the run, its own load not included.
    pub load_before: f64,
}

impl Machine {
    /// Looks around. Call it before measuring.
    pub fn observe() -> Self {
        let read = |path| std::fs::read_to_string(path).unwrap_or_default();
        let processors = read("/proc/cpuinfo");
        let processor = processors.lines().find_map(|line| line.strip_prefix("model name"));
        let load = read("/proc/loadavg");
        Self {
            processor: processor.unwrap_or("unknown").trim_start_matches(['\t', ' ', ':']).into(),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
            load_before: load.split(' ').next().and_then(|word| word.parse().ok()).unwrap_or(0.0),
        }
    }
}

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { processor, cores, kernel, load_before } = self;
        write!(f, "{processor}, {cores} cores, Linux {kernel}, load before the run {load_before}")
    }
}
