//! Which pages of this process were written since copies of it last went to its nodes.
//!
//! One tracker has one epoch; each node has its own, so what a look finds is added to all. Where the kernel tells
//! nothing, nobody knows, and all pages are read and compared. Elsewhere: the kernel (`sys::tracking`).

use std::collections::HashMap;
use std::ops::Range;

use sys::ranges::union;
use sys::tracking::Tracker;

/// The name of a node, and which of the roads to it.
pub(super) type Key = (String, u32);

#[derive(Debug, Default)]
pub(super) struct Watch {
    tracker: Option<Tracker>,
    /// It was tried, and cannot be.
    is_vain: bool,
    /// By road: what was written since a copy last went there.
    since: HashMap<Key, Vec<Range<u64>>>,
}

impl Watch {
    /// Before a copy is made.
    pub(super) fn look(&mut self) {
        if self.tracker.is_none() && !self.is_vain {
            self.tracker = Tracker::own().ok();
            self.is_vain = self.tracker.is_none();
        }
        let Some(tracker) = &mut self.tracker else { return };
        match tracker.changed() {
            Ok(changed) => {
                let found = changed.everywhere();
                self.since.values_mut().for_each(|since| *since = union(since, &found));
            }
            // Nothing is known until copies have gone to the nodes again. Where this process has been moved, the
            // one that there was stayed behind.
            Err(_) => {
                self.since.clear();
                self.tracker = None;
            }
        }
    }

    /// Behind that: what may differ from what the node has been told. `None` where nobody knows.
    pub(super) fn take(&mut self, road: &Key) -> Option<Vec<Range<u64>>> {
        let tracker = self.tracker.as_mut()?;
        // Written while the copy was made. It is told again.
        let Ok(late) = tracker.peek() else {
            self.since.clear();
            return None;
        };
        let before = self.since.insert(road.clone(), Vec::new())?;
        Some(union(&before, &late.everywhere()))
    }
}
