//! How much of what workers write to their standard error is passed on: a burst, then so many bytes
//! a second. The rest is counted and left out, so a task that writes without end harms nobody.

use std::collections::HashMap;

use wire::limits::{LOG_BURST, LOG_RATE};
use wire::units::Time;

use crate::WorkerId;

#[derive(Debug)]
struct Budget {
    /// Bytes that may be passed on now.
    left: u64,
    /// When `left` was so.
    at: Time,
    /// Bytes left out since something was passed on.
    skipped: u64,
}

/// The budgets of workers that have written anything.
#[derive(Debug, Default)]
pub struct Logs {
    budgets: HashMap<WorkerId, Budget>,
}

impl Logs {
    /// A worker wrote so many bytes: how many of them are passed on, and how many were left out
    /// before these.
    pub fn wrote(&mut self, now: Time, worker: WorkerId, bytes: u64) -> (u64, u64) {
        let new = Budget { left: LOG_BURST, at: now, skipped: 0 };
        let budget = self.budgets.entry(worker).or_insert(new);
        let earned = u128::from(now.since(budget.at).0) * u128::from(LOG_RATE) / 1_000_000_000;
        if earned > 0 {
            let earned = u64::try_from(earned).unwrap_or(LOG_BURST);
            budget.left = budget.left.saturating_add(earned).min(LOG_BURST);
            budget.at = now;
        }
        let passed = bytes.min(budget.left);
        budget.left -= passed;
        let before = if passed > 0 { std::mem::take(&mut budget.skipped) } else { 0 };
        budget.skipped += bytes - passed;
        (passed, before)
    }

    /// What was to be passed on could not be.
    pub fn lost(&mut self, worker: WorkerId, bytes: u64) {
        if let Some(budget) = self.budgets.get_mut(&worker) {
            budget.skipped += bytes;
        }
    }

    pub fn forget(&mut self, worker: WorkerId) {
        self.budgets.remove(&worker);
    }
}

#[cfg(test)]
mod tests;
