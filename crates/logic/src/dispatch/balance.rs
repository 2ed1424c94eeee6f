//! Tasks that wait at a busy node while others are idle: they are taken back for those.

use std::collections::BinaryHeap;

use wire::units::{Span, Time};

use super::{Dispatch, TAKE_BACK_PERIOD};
use crate::LinkId;

/// Work that is worth taking back from a busy node for an idle one.
const WORTH_TAKING: Span = Span::from_millis(2);

impl Dispatch {
    /// The queue is empty: idle nodes get half of what the fullest have not begun. From as many of
    /// them at once as there are idle slots to fill, so that a large cluster is even soon as well.
    pub(super) fn balance(&mut self, now: Time) {
        if self.queued > 0 || self.tasks.is_empty() || self.up < 2 {
            return;
        }
        self.next_take_back = now + TAKE_BACK_PERIOD;
        let mut idle = 0;
        let mut fullest = BinaryHeap::new();
        for (at, node) in self.nodes.iter().enumerate() {
            let Some(node) = node else { continue };
            if node.has_credit() {
                idle += node.slots.saturating_sub(node.busy());
            }
            let backlog = node.backlog();
            if backlog >= WORTH_TAKING && !node.asked_back && !node.dry {
                fullest.push((backlog, at));
            }
        }
        while idle > 0
            && let Some((_, at)) = fullest.pop()
        {
            let Some(node) = &self.nodes[at] else { continue };
            let half = node.busy().saturating_sub(node.slots).div_ceil(2);
            self.ask_back(LinkId(at as u32), half);
            idle = idle.saturating_sub(half);
        }
    }
}
