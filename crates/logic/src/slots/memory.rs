//! Limits of memory: kept by the driver's kernel where it can, else by measuring now and then.

use wire::task::Status;
use wire::units::Time;

use super::worker::Life;
use super::{MEASURE, Slots};
use crate::WorkerId;

impl Slots {
    /// The kernel keeps the limits: nothing is measured.
    pub fn memory_is_limited(&mut self) {
        self.memory_is_limited = true;
    }

    pub(super) fn is_measured(&self, class: usize) -> bool {
        !self.memory_is_limited && self.classes[class].class.memory > 0
    }

    /// The most memory that a worker has had.
    pub fn measured(&mut self, now: Time, worker: WorkerId, peak: u64) {
        let at = worker.0 as usize;
        let Some(known) = self.workers.get_mut(at) else { return };
        known.measure = now + MEASURE;
        let limit = self.classes[known.class].class.memory;
        if limit > 0 && peak > limit {
            self.out_of_memory(worker, peak);
        }
    }

    /// The kernel found it at its limit. What it killed may have been a child of the worker, without
    /// which its result is worth nothing.
    pub fn out_of_memory(&mut self, worker: WorkerId, peak: u64) {
        let at = worker.0 as usize;
        let Some(known) = self.workers.get(at) else { return };
        let (class, life) = (known.class, known.life);
        let limit = self.classes[class].class.memory;
        let status = Status::OutOfMemory { peak, limit };
        match life {
            _ if limit == 0 => {}
            // It would not be otherwise the next time.
            Life::Starting => {
                self.kill(at, None);
                self.give_up(class, &status);
            }
            Life::Ready => self.kill(at, Some(status)),
            Life::Dismissed => self.kill(at, None),
            Life::Doomed => {}
        }
    }
}

/// Why a worker was lost that had done nothing wrong.
pub(super) fn want_on_host(peak: u64, limit: u64) -> String {
    let mebibytes = |bytes: u64| bytes.div_ceil(1 << 20);
    format!(
        "the kernel killed it for want of memory: it had {} MiB itself, without a limit of its own, \
         of {} MiB for everything on its host or in its group",
        mebibytes(peak),
        mebibytes(limit)
    )
}
