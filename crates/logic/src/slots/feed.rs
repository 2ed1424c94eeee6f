//! Who gets a slot, and which tasks go to which worker.
//!
//! A lane's tasks go to idle workers of its program first, then into a new worker, and only then
//! ahead to busy ones. A new worker needs a slot; where none is free, somebody may have to give
//! one up. Starting a process costs milliseconds, so slots change hands for a reason only:
//!
//! - a program with fewer slots than its share takes from one with more than its share;
//! - a user who has had less worker time by `QUANTUM` takes from one who has had more;
//! - a worker that has been idle for `LINGER` is anyone's.
//!
//! A busy worker is never killed for it: it gets no more tasks ahead, falls idle, and goes then.

use wire::units::{Span, Time};

use super::worker::{Life, Worker};
use super::{AHEAD, Effect, Slots};
use crate::WorkerId;

/// The lead in worker time at which a user must give up a slot to another.
const QUANTUM: Span = Span::from_millis(50);
/// How long an idle worker keeps its slot while others wait.
pub(super) const LINGER: Span = Span::from_millis(50);

/// What one step did for a lane.
#[derive(Clone, Copy, Debug)]
enum Step {
    Helped,
    /// Its workers have enough to do, and more are on their way.
    Served,
    /// It wants a slot and there is none.
    Crowded,
}

/// A lane that wants something.
#[derive(Clone, Copy, Debug)]
struct Needy {
    served: u64,
    lane: usize,
    /// Where its class stands among those with workers.
    at: Option<usize>,
}

impl Slots {
    /// Gives tasks to workers until nothing more can be done: the least served lane first.
    ///
    /// Whether a lane can be helped is a matter of its class, so of each class only the first lane
    /// is looked at; and of the classes only those with workers, of which there are few, and the
    /// neediest without. If that one gets no slot, no other without a worker gets one: they differ
    /// in nothing but how long they have waited. So a step costs the same however many lanes wait.
    pub(super) fn feed(&mut self, now: Time) {
        self.crowded = false;
        if self.hungry == 0 {
            return;
        }
        let mut housed: Vec<usize> = self.workers.iter().map(|(_, worker)| worker.class).collect();
        housed.sort_unstable();
        housed.dedup();
        let mut open = true;
        // The least served lane that wants a slot in vain.
        let mut claim = None;
        loop {
            let homeless = if open { self.neediest_homeless() } else { None };
            let Some(next) = self.least_served(&mut housed, homeless) else { break };
            let step = self.serve(now, next.lane, claim);
            match (step, next.at) {
                (Step::Helped, Some(_)) => {}
                // It has a worker now, or will have.
                (Step::Helped, None) => housed.push(self.lanes[next.lane].class),
                (Step::Served | Step::Crowded, Some(at)) => {
                    housed.swap_remove(at);
                }
                (Step::Served | Step::Crowded, None) => open = false,
            }
            if matches!(step, Step::Crowded) {
                claim = claim.or(Some(next.lane));
            }
        }
        self.crowded = claim.is_some();
    }

    /// The least served lane of some classes and of one more; classes where none waits are dropped.
    fn least_served(&mut self, housed: &mut Vec<usize>, other: Option<Needy>) -> Option<Needy> {
        let mut least = other;
        let mut at = 0;
        while at < housed.len() {
            let Some((served, lane)) = self.neediest(housed[at]) else {
                housed.swap_remove(at);
                continue;
            };
            if least.is_none_or(|least| (served, lane) < (least.served, least.lane)) {
                least = Some(Needy { served, lane, at: Some(at) });
            }
            at += 1;
        }
        if let Some(Needy { served, .. }) = least {
            self.served = self.served.max(served);
        }
        least
    }

    fn neediest_homeless(&mut self) -> Option<Needy> {
        loop {
            let &(key, class) = self.homeless.first()?;
            let (served, lane) = self.neediest(class)?;
            if self.homeless.first() == Some(&(key, class)) {
                return Some(Needy { served, lane, at: None });
            }
        }
    }

    /// The least served hungry lane of a class, and what its user has had.
    fn neediest(&mut self, class: usize) -> Option<(u64, usize)> {
        loop {
            let &(key, lane) = self.classes[class].hungry.first()?;
            let served = self.served_of(lane);
            if served <= key {
                return Some((served, lane));
            }
            self.renew(lane);
        }
    }

    pub(super) fn served_of(&self, lane: usize) -> u64 {
        let user = &self.users[self.lanes[lane].link.0 as usize];
        user.as_ref().map_or(0, |user| user.served)
    }

    /// One step for one lane: tasks for a worker, or a worker for its tasks.
    fn serve(&mut self, now: Time, lane: usize, claim: Option<usize>) -> Step {
        let class = self.lanes[lane].class;
        let known = &self.classes[class];
        let fleet = known.workers.len();
        let depth = known.fill(AHEAD, self.ahead_max) as usize;
        let waiting = known.waiting as usize;

        // 1. The worker of this program that has least to do.
        let mut starting = 0;
        let mut busy = 0;
        let mut best: Option<(usize, usize)> = None;
        for &at in &known.workers {
            match self.workers[at].life {
                Life::Starting => starting += 1,
                Life::Doomed => {}
                Life::Ready => {
                    let load = self.workers[at].tasks.len();
                    busy += load;
                    if best.is_none_or(|(least, _)| load < least) {
                        best = Some((load, at));
                    }
                }
            }
        }
        if let Some((0, at)) = best {
            let even = self.lanes[lane].queue.len().div_ceil(fleet.max(1));
            self.assign(now, lane, at, even.clamp(1, depth));
            return Step::Helped;
        }

        // 2. A new worker, in a free slot or in one that somebody gives up.
        let wants_slot = starting < waiting;
        if wants_slot && self.slot_free(now, lane) {
            let at = self.workers.insert(Worker::new(class, now));
            self.classes[class].workers.push(at);
            self.house(class);
            let class = self.classes[class].class.clone();
            self.effects.push_back(Effect::Start { worker: WorkerId(at as u32), class });
            return Step::Helped;
        }

        // 3. More for a worker that is busy with short ones, so that all have alike; unless it is
        //    to fall idle, for somebody else.
        let yields = claim.is_some_and(|claim| self.entitled(claim, class));
        if let Some((load, at)) = best
            && !yields
        {
            let even = (busy + waiting).div_ceil(fleet.max(1));
            let room = even.min(depth).saturating_sub(load);
            if room > 0 && (room >= depth / 4 || load <= 1) {
                self.assign(now, lane, at, room);
                return Step::Helped;
            }
        }
        if wants_slot { Step::Crowded } else { Step::Served }
    }

    /// Whether one more worker may be started for a lane; an idle one may make room.
    fn slot_free(&mut self, now: Time, lane: usize) -> bool {
        let alive = |(_, worker): &(usize, &Worker)| worker.life != Life::Doomed;
        if self.workers.iter().filter(alive).count() < self.size as usize {
            return true;
        }
        let class = self.lanes[lane].class;
        let mine = self.held(class);
        let gives_way = |(_, worker): &(usize, &Worker)| {
            let unused = mine == 0 && self.classes[worker.class].tasks == 0;
            let idle = worker.life == Life::Ready && worker.tasks.is_empty();
            idle && worker.class != class
                && (unused || now >= worker.heard + LINGER || self.entitled(lane, worker.class))
        };
        let idle = self.workers.iter().filter(gives_way).min_by_key(|(_, worker)| worker.heard);
        let Some((at, _)) = idle else { return false };
        self.kill(at, None);
        true
    }

    /// Whether a lane may claim a slot of a program that needs it itself.
    fn entitled(&self, lane: usize, from: usize) -> bool {
        let class = self.lanes[lane].class;
        if class == from {
            return false;
        }
        let share = (self.size as usize / self.wanting.max(1)).max(1);
        let (mine, theirs) = (self.held(class), self.held(from));
        let behind = self.served_of(lane) + QUANTUM.0 < self.classes[from].served;
        theirs > 0 && (behind || mine < share && theirs > share)
    }

    /// Slots that a class has.
    fn held(&self, class: usize) -> usize {
        let alive = |&&at: &&usize| self.workers[at].life != Life::Doomed;
        self.classes[class].workers.iter().filter(alive).count()
    }

    fn assign(&mut self, now: Time, lane: usize, at: usize, count: usize) {
        let queue = &mut self.lanes[lane];
        let worker = &mut self.workers[at];
        if worker.tasks.is_empty() {
            worker.front_since = now;
            worker.heard = now;
            worker.measure = now + super::MEASURE;
        }
        let known = &mut self.classes[queue.class];
        let estimate = known.run.unwrap_or(Span(1)).0;
        let user = &mut self.users[queue.link.0 as usize];
        let count = count.min(queue.queue.len());
        for mut task in queue.queue.drain(..count) {
            self.effects.push_back(Effect::Execute {
                worker: WorkerId(at as u32),
                sequence: worker.next(),
                attempt: task.attempt,
                input: task.input.clone(),
                link: task.link,
                channel: task.channel,
            });
            task.charged = estimate;
            worker.tasks.push_back(task);
        }
        if let Some(user) = user {
            user.served += estimate * count as u64;
            known.served = user.served;
        }
        self.took(lane, count);
    }
}
