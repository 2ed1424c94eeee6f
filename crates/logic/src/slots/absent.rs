//! What becomes of tasks whose library is not here any more: it was cleared away for others, or the
//! disk has lost it. They never began, so their clients get them back, and send the library again.

use super::{Life, Slots};
use crate::{LinkId, WorkerId};

impl Slots {
    /// A worker was to start, and its library is gone. The tasks that waited for it, by link.
    pub fn absent(&mut self, worker: WorkerId) -> Vec<(LinkId, Vec<u64>)> {
        let at = worker.0 as usize;
        let Some(known) = self.workers.get(at).filter(|known| known.life == Life::Starting) else {
            return Vec::new();
        };
        let class = known.class;
        self.kill(at, None);
        self.classes[class].stillborn = 0;
        let mut back = Vec::new();
        for (_, lane) in self.classes[class].hungry.clone() {
            let link = self.lanes[lane].link;
            let queue = std::mem::take(&mut self.lanes[lane].queue);
            let count = queue.len();
            self.forget(class, count);
            self.took(lane, count);
            let mut channels = Vec::new();
            for task in queue {
                self.release(&task.input);
                if let Some(Some(user)) = self.users.get_mut(link.0 as usize) {
                    user.served = user.served.saturating_sub(task.charged);
                }
                channels.push(task.channel);
            }
            if let Some(Some(user)) = self.users.get_mut(link.0 as usize) {
                user.active -= count as u32;
                self.tasks -= count as u32;
                self.counters.returned += count as u64;
                self.active -= u32::from(user.active == 0 && count > 0);
                self.touched.push(link);
            }
            back.push((link, channels));
        }
        back
    }
}
