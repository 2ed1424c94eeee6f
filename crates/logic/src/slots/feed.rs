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
//! A busy worker is never killed for it: it gets no more tasks ahead, falls idle, and goes then. One
//! that is bound does not go: it has no slot while it loads or is idle, and needs a free one to go on.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

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

/// A lane that wants something, in the order in which they are looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Needy {
    /// Worker time that its user has had.
    served: u64,
    lane: usize,
    class: usize,
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
        self.idle.clear();
        self.idle.extend(self.workers.iter().filter(|(_, w)| w.is_idle()).map(|(at, _)| at));
        // Both are kept from turn to turn: a lone task is fed without an allocation.
        let (mut classes, mut housed) = std::mem::take(&mut self.housed);
        classes.extend(self.workers.iter().map(|(_, worker)| worker.class));
        classes.sort_unstable();
        classes.dedup();
        housed.extend(classes.drain(..).filter_map(|class| self.needy(class)).map(Reverse));
        let mut open = true;
        // The least served lane that wants a slot in vain.
        let mut claim = None;
        loop {
            let first = self.least_served(&mut housed);
            let homeless = if open { self.neediest_homeless() } else { None };
            let has_worker = first.is_some_and(|first| homeless.is_none_or(|other| first < other));
            let Some(next) = (if has_worker { first } else { homeless }) else { break };
            self.served = self.served.max(next.served);
            let step = self.serve(now, next.lane, claim);
            match (step, has_worker) {
                // As long as it is not helpless it stands in the heap; its number is renewed there.
                (Step::Helped, true) => {}
                (Step::Helped, false) => housed.extend(self.needy(next.class).map(Reverse)),
                (Step::Served | Step::Crowded, true) => {
                    housed.pop();
                }
                (Step::Served | Step::Crowded, false) => open = false,
            }
            if matches!(step, Step::Crowded) {
                claim = claim.or(Some(next.lane));
            }
        }
        self.crowded = claim.is_some();
        housed.clear();
        self.housed = (classes, housed);
    }

    /// The least served lane of some classes, at the head of the heap afterwards. What users have had
    /// only grows meanwhile, so a number that is right at the head is the least.
    fn least_served(&mut self, housed: &mut BinaryHeap<Reverse<Needy>>) -> Option<Needy> {
        loop {
            let Reverse(head) = *housed.peek()?;
            let now = self.needy(head.class);
            if now == Some(head) {
                return now;
            }
            housed.pop();
            housed.extend(now.map(Reverse));
        }
    }

    fn neediest_homeless(&mut self) -> Option<Needy> {
        loop {
            let &(key, class) = self.homeless.first()?;
            let needy = self.needy(class)?;
            if self.homeless.first() == Some(&(key, class)) {
                return Some(needy);
            }
        }
    }

    /// The least served hungry lane of a class.
    fn needy(&mut self, class: usize) -> Option<Needy> {
        loop {
            let &(key, lane) = self.classes[class].hungry.first()?;
            let served = self.served_of(lane);
            if served <= key {
                return Some(Needy { served, lane, class });
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
                Life::Dismissed | Life::Doomed => {}
                Life::Ready => {
                    let load = self.workers[at].tasks.len();
                    busy += load;
                    if best.is_none_or(|(least, _)| load < least) {
                        best = Some((load, at));
                    }
                }
            }
        }
        let is_bound = known.class.bound.is_some();
        if let Some((0, at)) = best {
            // Idle, a bound worker has no slot.
            if is_bound && !self.slot_free(now, lane) {
                return Step::Crowded;
            }
            let even = self.lanes[lane].queue.len().div_ceil(fleet.max(1));
            self.assign(now, lane, at, even.clamp(1, depth));
            return Step::Helped;
        }

        // 2. A new worker, in a free slot or in one that somebody gives up.
        let wants_worker = if is_bound { fleet == 0 } else { starting < waiting };
        let wants_slot = wants_worker && self.classes[class].may_start();
        // Loading, a bound worker has no slot.
        if wants_slot && (is_bound || self.slot_free(now, lane)) {
            let at = self.workers.insert(Worker::new(class, now));
            self.alive += usize::from(!is_bound);
            self.classes[class].workers.push(at);
            self.house(class);
            let class = self.classes[class].class.clone();
            self.counters.workers_started += 1;
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
        if self.alive < self.size.saturating_sub(self.visitors) as usize {
            return true;
        }
        let class = self.lanes[lane].class;
        let mine = self.held(class);
        let gives_way = |(_, worker): &(usize, &Worker)| {
            let unused = mine == 0 && self.classes[worker.class].tasks == 0;
            worker.is_idle()
                && self.takes_slot(worker)
                && worker.class != class
                && (unused || now >= worker.heard + LINGER || self.entitled(lane, worker.class))
        };
        let idle = self
            .idle
            .iter()
            .map(|&at| (at, &self.workers[at]))
            .filter(gives_way)
            .min_by_key(|(_, worker)| worker.heard);
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
        let takes = |&&at: &&usize| self.takes_slot(&self.workers[at]);
        self.classes[class].workers.iter().filter(takes).count()
    }

    fn assign(&mut self, now: Time, lane: usize, at: usize, count: usize) {
        let queue = &mut self.lanes[lane];
        let worker = &mut self.workers[at];
        if worker.tasks.is_empty() {
            worker.front_since = now;
            worker.heard = now;
            worker.measure = now + super::MEASURE;
            let is_bound = self.classes[queue.class].class.bound.is_some();
            self.alive += usize::from(is_bound && !queue.queue.is_empty());
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
