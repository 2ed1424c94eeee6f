//! Knows which of many things is to be looked at next, without looking at all of them.
//!
//! An alarm may be early and must not be late: who is woken looks whether it is time, and sets the
//! next one. So a deadline that moves on with every message (a heartbeat's) costs nothing while it
//! moves, and one look when it would have been over.

use std::collections::BTreeSet;

use wire::units::Time;

/// At most one alarm for each of some things, which are named by their place in a table.
#[derive(Debug, Default)]
pub struct Alarms {
    queue: BTreeSet<(Time, u32)>,
    /// What each stands under in `queue`; `NEVER` if it does not.
    times: Vec<Time>,
}

impl Alarms {
    /// Sets the alarm of `at`, in place of the one that it had.
    pub fn set(&mut self, at: u32, time: Time) {
        let index = at as usize;
        if self.times.len() <= index {
            self.times.resize(index + 1, Time::NEVER);
        }
        let old = std::mem::replace(&mut self.times[index], time);
        if old == time {
            return;
        }
        if old != Time::NEVER {
            self.queue.remove(&(old, at));
        }
        if time != Time::NEVER {
            self.queue.insert((time, at));
        }
    }

    /// When the first of them is due.
    pub fn next(&self) -> Time {
        self.queue.first().map_or(Time::NEVER, |&(time, _)| time)
    }

    /// One that is due; its alarm is off until it is set again.
    pub fn take_due(&mut self, now: Time) -> Option<u32> {
        let &(time, at) = self.queue.first()?;
        if time > now {
            return None;
        }
        self.set(at, Time::NEVER);
        Some(at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_is_due_first_and_only_once() {
        let mut alarms = Alarms::default();
        for (at, time) in [(0, 30), (1, 10), (2, 20)] {
            alarms.set(at, Time(time));
        }
        assert_eq!((alarms.next(), alarms.take_due(Time(9))), (Time(10), None));
        assert_eq!([(); 3].map(|()| alarms.take_due(Time(20))), [Some(1), Some(2), None]);
        assert_eq!(alarms.next(), Time(30));
    }

    #[test]
    fn a_new_alarm_takes_the_place_of_the_old_one() {
        let mut alarms = Alarms::default();
        alarms.set(5, Time(10));
        alarms.set(5, Time(40));
        assert_eq!((alarms.take_due(Time(39)), alarms.take_due(Time(40))), (None, Some(5)));
        alarms.set(5, Time(50));
        alarms.set(5, Time::NEVER);
        assert_eq!(alarms.next(), Time::NEVER);
    }
}
