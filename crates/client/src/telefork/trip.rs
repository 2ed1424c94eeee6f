//! What is known of one copy: told by the thread that sends it, asked by whoever has its handle.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use std::sync::{Condvar, Mutex, PoisonError};

use wire::answer::{Answer, Unreadable};

use super::error::TravelError;

/// How often this process has been copied, counted in the copies: what was made before is of another process.
static GENERATION: AtomicU32 = AtomicU32::new(0);

/// This is a copy now.
pub(super) fn begin_anew() {
    GENERATION.fetch_add(1, Relaxed);
}

/// This is the original again.
pub(super) fn be_as_before() {
    GENERATION.fetch_sub(1, Relaxed);
}

#[derive(Debug)]
pub(super) struct Trip {
    node: String,
    number: u32,
    generation: u32,
    sent: AtomicU64,
    stage: Mutex<Stage>,
    changed: Condvar,
}

#[derive(Debug)]
enum Stage {
    Leaving,
    Awake(u32),
    Over {
        /// As what it ran, if it did.
        pid: Option<u32>,
        /// `None` once it was taken.
        end: Option<Result<Ended, TravelError>>,
    },
}

/// How a copy ended.
#[derive(Debug)]
pub(super) struct Ended {
    pub(super) status: i32,
    /// What a call answered, if one did.
    pub(super) answer: Option<Result<Answer, Unreadable>>,
}

impl Trip {
    pub(super) fn new(node: String, number: u32) -> Self {
        Self {
            node,
            number,
            generation: GENERATION.load(Relaxed),
            sent: AtomicU64::new(0),
            stage: Mutex::new(Stage::Leaving),
            changed: Condvar::new(),
        }
    }

    pub(super) fn node(&self) -> &str {
        &self.node
    }

    pub(super) fn number(&self) -> u32 {
        self.number
    }

    pub(super) fn sent(&self) -> u64 {
        self.sent.load(Relaxed)
    }

    pub(super) fn has_sent(&self, bytes: usize) {
        self.sent.fetch_add(bytes as u64, Relaxed);
    }

    pub(super) fn wakes(&self, pid: u32) {
        self.change(|stage| *stage = Stage::Awake(pid));
    }

    pub(super) fn ends(&self, end: Result<Ended, TravelError>) {
        self.change(|stage| {
            let pid = match stage {
                Stage::Awake(pid) => Some(*pid),
                Stage::Leaving | Stage::Over { .. } => None,
            };
            *stage = Stage::Over { pid, end: Some(end) };
        });
    }

    fn change(&self, change: impl FnOnce(&mut Stage)) {
        change(&mut self.stage.lock().unwrap_or_else(PoisonError::into_inner));
        self.changed.notify_all();
    }

    /// Whoever sends it, and may hold its lock for ever, is in another process.
    fn is_anothers(&self) -> bool {
        self.generation != GENERATION.load(Relaxed)
    }

    fn wait_for<R>(&self, mut done: impl FnMut(&mut Stage) -> Option<R>) -> R {
        let mut stage = self.stage.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if let Some(found) = done(&mut stage) {
                return found;
            }
            stage = self.changed.wait(stage).unwrap_or_else(PoisonError::into_inner);
        }
    }

    pub(super) fn wait_until_awake(&self) -> Option<u32> {
        if self.is_anothers() {
            return None;
        }
        self.wait_for(|stage| match stage {
            Stage::Leaving => None,
            Stage::Awake(pid) => Some(Some(*pid)),
            Stage::Over { pid, .. } => Some(*pid),
        })
    }

    pub(super) fn is_over(&self) -> bool {
        self.is_anothers()
            || matches!(
                *self.stage.lock().unwrap_or_else(PoisonError::into_inner),
                Stage::Over { .. }
            )
    }

    /// To be taken once.
    pub(super) fn wait(&self) -> Result<Ended, TravelError> {
        if self.is_anothers() {
            return Err(TravelError::Copied);
        }
        self.wait_for(|stage| match stage {
            Stage::Leaving | Stage::Awake(_) => None,
            Stage::Over { end, .. } => end.take(),
        })
    }
}
