//! What people ask of a node's slots: who is here, and what runs.

use wire::status;

use super::user::User;
use super::worker::Worker;
use super::{Slots, Tally, Task};
use crate::WorkerId;

impl Slots {
    pub fn users(&self) -> Vec<status::User> {
        let user = |(link, user): (usize, &Option<User>)| {
            let user = user.as_ref()?;
            let of_link = |task: &&Task| task.link.0 as usize == link;
            let running =
                self.workers.iter().filter_map(|(_, w)| w.tasks.front()).filter(of_link).count();
            Some(status::User {
                name: user.owner.clone(),
                running: running as u32,
                waiting: user.active.saturating_sub(running as u32),
                done: user.done,
            })
        };
        self.users.iter().enumerate().filter_map(user).collect()
    }

    /// Workers with their numbers; the driver knows their pids.
    pub fn workers(&self) -> Vec<(WorkerId, status::Worker)> {
        let describe = |(at, worker): (usize, &Worker)| {
            let class = &self.classes[worker.class].class;
            let described = status::Worker {
                pid: 0,
                program: class.program.name().to_owned(),
                user: class.owner.clone(),
                tasks: worker.tasks.len() as u32,
                done: worker.finished,
            };
            (WorkerId(at as u32), described)
        };
        self.workers.iter().map(describe).collect()
    }

    pub fn tally(&self) -> Tally {
        let waiting: usize = self.lanes.iter().map(|(_, lane)| lane.queue.len()).sum();
        let running: usize = self.workers.iter().map(|(_, worker)| worker.tasks.len()).sum();
        Tally {
            users: self.users.iter().flatten().count(),
            lanes: self.lanes.len(),
            classes: self.classes.len(),
            workers: self.workers.len(),
            tasks: waiting + running,
            arrivals: 0,
        }
    }
}
