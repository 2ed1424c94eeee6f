//! The tasks that are at one node, each in a numbered seat.
//!
//! Taking a task away touches no other: with a million tasks in memory every one that is touched is
//! a line fetched from far away. Tasks mostly leave in the order in which they came, so the empty
//! seats are at the front and go; where a long task keeps its seat, they are swept away once they
//! are more than half.

use std::collections::VecDeque;

use super::TaskId;

/// Empty seats that are not worth sweeping.
const SWEPT_MIN: usize = 64;

#[derive(Debug, Default)]
pub(super) struct Seats {
    seats: VecDeque<Option<TaskId>>,
    /// The number of the first one; numbers begin anew after the last.
    first: u32,
    taken: u32,
}

impl Seats {
    pub(super) fn len(&self) -> u32 {
        self.taken
    }

    /// Gives a task its seat.
    pub(super) fn take(&mut self, id: TaskId) -> u32 {
        self.seats.push_back(Some(id));
        self.taken += 1;
        self.first.wrapping_add(self.seats.len() as u32 - 1)
    }

    pub(super) fn leave(&mut self, seat: u32) {
        let at = seat.wrapping_sub(self.first) as usize;
        if self.seats.get_mut(at).and_then(Option::take).is_some() {
            self.taken -= 1;
        }
        while self.seats.front() == Some(&None) {
            self.seats.pop_front();
            self.first = self.first.wrapping_add(1);
        }
    }

    /// If most seats are empty: moves everybody up, and says who has which seat now.
    pub(super) fn sweep(&mut self) -> impl Iterator<Item = (TaskId, u32)> {
        let sparse = self.seats.len() > SWEPT_MIN + 2 * self.taken as usize;
        if sparse {
            self.seats.retain(Option::is_some);
        }
        let first = self.first;
        // Mostly there is nothing to do, and nothing is looked at.
        let moved = self.seats.iter().flatten().zip(0..).take(if sparse { usize::MAX } else { 0 });
        moved.map(move |(&id, at)| (id, first.wrapping_add(at)))
    }

    /// Everybody, in the order in which they came.
    pub(super) fn into_tasks(self) -> impl DoubleEndedIterator<Item = TaskId> {
        self.seats.into_iter().flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_leaves_in_any_order_finds_his_seat() {
        let mut seats = Seats::default();
        let places: Vec<u32> = (0..4).map(|id| seats.take(TaskId(id))).collect();
        for id in [2, 0, 3] {
            seats.leave(places[id]);
        }
        assert_eq!(seats.len(), 1);
        let last = seats.take(TaskId(9));
        seats.leave(places[1]);
        assert_eq!(seats.seats.len(), 1, "the empty ones at the front are gone");
        seats.leave(last);
        assert_eq!((seats.len(), seats.seats.len()), (0, 0));
    }

    #[test]
    fn behind_one_that_stays_the_list_does_not_grow() {
        let mut seats = Seats::default();
        let mut long = seats.take(TaskId(0));
        for id in 1..10_000 {
            let seat = seats.take(TaskId(id));
            seats.leave(seat);
            for (moved, to) in seats.sweep() {
                assert_eq!(moved, TaskId(0));
                long = to;
            }
            assert!(seats.seats.len() <= SWEPT_MIN + 3);
        }
        seats.leave(long);
        assert_eq!(seats.len(), 0);
    }
}
