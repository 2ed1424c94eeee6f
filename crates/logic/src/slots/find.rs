//! Where a task is, for those who ask, and which task is writing.

use wire::job::{Hold, Now};
use wire::name::{Name, TaskName};
use wire::units::{Span, Time};

use super::worker::{Life, Worker, Writer};
use super::{Slots, Task};
use crate::{LinkId, WorkerId};

impl Slots {
    /// Where a task is; to anybody but its owner it is nowhere. `None` asks for everybody's. Looks at
    /// every task that is here: it is people who ask.
    pub fn find(&self, now: Time, name: TaskName, owner: Option<&Name>) -> Option<Now> {
        let may_see = |class: usize| owner.is_none_or(|me| self.classes[class].class.owner == *me);
        let is_it = |task: &Task| task.name == name;
        let workers = self.workers.iter().filter(|(_, worker)| may_see(worker.class));
        for (at, worker) in workers {
            let Some(before) = worker.tasks.iter().position(is_it) else { continue };
            let task = &worker.tasks[before];
            let ran = if before == 0 { now.since(worker.front_since) } else { Span(0) };
            return Some(Now::Working {
                since: now.since(task.arrived),
                before: before as u32,
                ran,
                worker: at as u32,
                pid: 0,
                memory: 0,
                attempt: task.attempt,
            });
        }
        for (_, lane) in self.lanes.iter().filter(|(_, lane)| may_see(lane.class)) {
            let Some(before) = lane.queue.iter().position(is_it) else { continue };
            let since = now.since(lane.queue[before].arrived);
            let hold = self.hold(lane.class);
            return Some(Now::Waiting { since, before: before as u32, hold });
        }
        None
    }

    /// Why the tasks of a class that wait here have no slot.
    fn hold(&self, class: usize) -> Hold {
        let of_class = |worker: &&Worker| worker.class == class && worker.life == Life::Starting;
        let workers = || self.workers.iter().map(|(_, worker)| worker);
        let loading = workers().filter(of_class).count() as u32;
        if loading > 0 {
            return Hold::Loading { workers: loading };
        }
        let owner = &self.classes[class].class.owner;
        let is_own = |worker: &Worker| self.classes[worker.class].class.owner == *owner;
        let busy = workers().filter(|worker| !worker.tasks.is_empty());
        let (own, others): (Vec<&Worker>, Vec<&Worker>) = busy.partition(|worker| is_own(worker));
        Hold::Busy { slots: self.size, own: own.len() as u32, others: others.len() as u32 }
    }

    /// Which task wrote to the standard error of a worker that has begun so many: the one that it is
    /// at, or was at last. `None` too where its user is gone.
    pub fn writer(&self, worker: WorkerId, started: u64) -> Option<(LinkId, TaskName, u32)> {
        let known = self.workers.get(worker.0 as usize)?;
        let ahead = started.checked_sub(1)?.checked_sub(known.finished);
        let begun = ahead.and_then(|ahead| known.tasks.get(usize::try_from(ahead).ok()?));
        let Writer { user, link, name, attempt } = begun.map(Writer::of).or(known.last)?;
        let account = self.users.get(link.0 as usize)?.as_ref()?;
        (account.id == user).then_some((link, name, attempt))
    }
}
