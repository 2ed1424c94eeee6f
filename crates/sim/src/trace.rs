//! What happened, as a hash that two runs can be compared by, and the last lines for people.

use std::collections::VecDeque;
use std::fmt::Debug;
use std::hash::{Hash, Hasher};

use wire::units::Time;

/// Lines kept for a failure's report.
const KEPT: usize = 50;

/// One line of the log. Plain numbers, so that nothing is formatted unless somebody asks.
#[derive(Clone, Copy, Debug, Hash)]
pub(crate) enum Line {
    /// A frame arrives.
    ToClient {
        client: usize,
        node: usize,
        kind: u8,
        channel: u64,
        length: usize,
    },
    ToNode {
        node: usize,
        connection: usize,
        kind: u8,
        channel: u64,
        length: usize,
    },
    Dialled {
        connection: usize,
    },
    Closed {
        connection: usize,
    },
    Submitted {
        client: usize,
        task: u32,
    },
    Cancelled {
        client: usize,
        task: u32,
    },
    Ended {
        client: usize,
        task: u32,
        attempt: u32,
        how: &'static str,
    },
    Born {
        node: usize,
        worker: u32,
    },
    Ready {
        node: usize,
        worker: u32,
    },
    Begun {
        node: usize,
        worker: u32,
        task: u32,
        attempt: u32,
    },
    Killed {
        node: usize,
        worker: u32,
    },
    Died {
        node: usize,
        worker: u32,
        started: u64,
    },
    Fault {
        name: &'static str,
        a: usize,
        b: usize,
        until: u64,
    },
    Act {
        name: &'static str,
    },
}

#[derive(Debug)]
pub(crate) struct Trace {
    hash: Fnv,
    last: VecDeque<(Time, Line)>,
    keep: usize,
}

impl Trace {
    /// `whole`: keeps every line, for a person who follows one seed.
    pub(crate) fn new(whole: Whole) -> Self {
        let keep = match whole {
            Whole::Last => KEPT,
            Whole::All => usize::MAX,
        };
        Self { hash: Fnv(0xcbf2_9ce4_8422_2325), last: VecDeque::new(), keep }
    }

    pub(crate) fn note(&mut self, now: Time, line: Line) {
        (now, line).hash(&mut self.hash);
        if self.last.len() == self.keep {
            self.last.pop_front();
        }
        self.last.push_back((now, line));
    }

    pub(crate) fn hash(&self) -> u64 {
        self.hash.0
    }

    pub(crate) fn lines(&self) -> Vec<String> {
        let line = |(at, line): &(Time, Line)| format!("{:>14.6} ms  {line:?}", at.0 as f64 / 1e6);
        self.last.iter().map(line).collect()
    }
}

/// How much of the log is kept.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Whole {
    Last,
    All,
}

/// FNV-1a: std's own hasher promises no stable result.
#[derive(Debug)]
struct Fnv(u64);

impl Hasher for Fnv {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
}
