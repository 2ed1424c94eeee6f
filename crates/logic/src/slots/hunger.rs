//! Which lanes have tasks waiting, so that the neediest is found without looking at the others.
//!
//! A class has its hungry lanes in the order of what their users have had; the classes without any
//! worker stand in the same order in `homeless`. Elsewhere: who is helped (`feed`).

use std::collections::VecDeque;

use super::{Lane, Slots, Task};

impl Slots {
    pub(super) fn enqueue(&mut self, task: Task, put: fn(&mut VecDeque<Task>, Task)) {
        let at = task.lane;
        put(&mut self.lanes[at].queue, task);
        let class = self.lanes[at].class;
        self.classes[class].waiting += 1;
        if self.lanes[at].key.is_none() {
            let key = self.served_of(at);
            self.lanes[at].key = Some(key);
            self.classes[class].hungry.insert((key, at));
            self.hungry += 1;
            self.house(class);
        }
    }

    /// So many tasks have left a lane's queue.
    pub(super) fn took(&mut self, lane: usize, count: usize) {
        let Lane { class, ref queue, ref mut key, .. } = self.lanes[lane];
        self.classes[class].waiting -= count as u32;
        if queue.is_empty()
            && let Some(key) = key.take()
        {
            self.classes[class].hungry.remove(&(key, lane));
            self.hungry -= 1;
            self.house(class);
        }
    }

    /// A user's worker time has changed: his lane goes to its new place.
    pub(super) fn renew(&mut self, lane: usize) {
        let served = self.served_of(lane);
        let Lane { class, ref mut key, .. } = self.lanes[lane];
        if let Some(key) = key.as_mut().filter(|key| **key != served) {
            let hungry = &mut self.classes[class].hungry;
            hungry.remove(&(*key, lane));
            hungry.insert((served, lane));
            *key = served;
            self.house(class);
        }
    }

    /// Keeps `homeless` right, whenever a class's workers or hungry lanes have changed.
    pub(super) fn house(&mut self, class: usize) {
        let known = &mut self.classes[class];
        let first = known.hungry.first().filter(|_| known.workers.is_empty() && known.may_start());
        let key = first.map(|&(key, _)| key);
        if known.homeless != key {
            if let Some(old) = std::mem::replace(&mut known.homeless, key) {
                self.homeless.remove(&(old, class));
            }
            self.homeless.extend(key.map(|key| (key, class)));
        }
    }

    /// So many tasks of a class are no longer here.
    pub(super) fn forget(&mut self, class: usize, count: usize) {
        let known = &mut self.classes[class];
        known.tasks -= count as u32;
        self.wanting -= usize::from(known.tasks == 0 && count > 0);
    }
}
