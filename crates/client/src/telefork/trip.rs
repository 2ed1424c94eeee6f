//! What is known of one copy: told by the thread that sends it, asked by whoever has its handle.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Condvar, Mutex, OnceLock, PoisonError};

use wire::answer::{Answer, Unreadable};

use super::error::TravelError;
use crate::copied;
use crate::visit::Serving;

#[derive(Debug)]
pub(super) struct Trip {
    node: String,
    number: u32,
    generation: u32,
    sent: AtomicU64,
    /// Of one that goes ahead of its memory; or why it does not.
    lazily: OnceLock<Result<Serving, String>>,
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
            generation: copied::generation(),
            sent: AtomicU64::new(0),
            lazily: OnceLock::new(),
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

    /// Of its image, and of the pages that followed.
    pub(super) fn sent(&self) -> u64 {
        let followed = self.serving().map_or(0, Serving::sent);
        self.sent.load(Relaxed) + followed
    }

    /// It goes ahead of its memory, which follows.
    pub(super) fn follows(&self, serving: Serving) -> &Serving {
        // Each is told once.
        let _ = self.lazily.set(Ok(serving));
        match self.lazily.get() {
            Some(Ok(serving)) => serving,
            Some(Err(_)) | None => unreachable!("it was set just now"),
        }
    }

    pub(super) fn comes_whole(&self, why: String) {
        let _ = self.lazily.set(Err(why));
    }

    /// The pages that follow it.
    pub(super) fn serving(&self) -> Option<&Serving> {
        self.lazily.get().and_then(|lazily| lazily.as_ref().ok())
    }

    /// Why all its memory was sent before it woke.
    pub(super) fn why_whole(&self) -> Option<&str> {
        self.lazily.get().and_then(|lazily| lazily.as_ref().err()).map(String::as_str)
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

    /// For whoever was to send it, and does not.
    pub(super) fn ends_if_leaving(&self, why: TravelError) {
        self.change(|stage| {
            if let Stage::Leaving = stage {
                *stage = Stage::Over { pid: None, end: Some(Err(why)) };
            }
        });
    }

    /// For whoever told of it, and does so no more.
    pub(super) fn ends_if_not_over(&self, why: TravelError) {
        if !self.is_over() {
            self.ends(Err(why));
        }
    }

    fn change(&self, change: impl FnOnce(&mut Stage)) {
        change(&mut self.stage.lock().unwrap_or_else(PoisonError::into_inner));
        self.changed.notify_all();
    }

    /// Whoever sends it, and may hold its lock for ever, is in another process.
    fn is_anothers(&self) -> bool {
        self.generation != copied::generation()
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
