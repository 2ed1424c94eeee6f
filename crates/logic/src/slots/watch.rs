//! What time does: programs that load too long, deadlines, memory, results held back, idle workers.

use wire::limits::UNLOADING;
use wire::units::{Span, Time};

use super::feed::LINGER;
use super::worker::{Life, Worker};
use super::{Effect, IDLE, MEASURE, Slots};
use crate::WorkerId;

/// A process that was killed is gone in a moment. One that is not then was perhaps out of reach,
/// for want of descriptors, say.
const KILL_AGAIN: Span = Span::from_secs(1);

impl Slots {
    pub fn tick(&mut self, now: Time) {
        self.end_pauses(now);
        let due: Vec<usize> =
            self.workers.iter().filter(|(_, w)| self.due(w) <= now).map(|(at, _)| at).collect();
        for at in due {
            let worker = WorkerId(at as u32);
            let known = &mut self.workers[at];
            let class = known.class;
            match known.life {
                Life::Starting if now >= known.heard + self.classes[class].loading => {
                    let loading = self.classes[class].loading;
                    self.kill(at, None);
                    self.refuse(class, &format!("it did not load within {loading}"));
                    continue;
                }
                Life::Dismissed => {
                    self.kill(at, None);
                    continue;
                }
                Life::Ready if known.tasks.is_empty() => {
                    // Earlier than that it is only looked at because others wait for its slot.
                    if now >= known.heard + IDLE {
                        self.kill(at, None);
                    }
                    continue;
                }
                Life::Doomed => {
                    // The first look only starts the clock.
                    if known.kill_again > Time(0) {
                        self.effects.push_back(Effect::Kill { worker });
                    }
                    known.kill_again = now + KILL_AGAIN;
                    continue;
                }
                Life::Starting | Life::Ready => {}
            }
            if known.measure <= now && self.is_measured(class) {
                self.workers[at].measure = now + MEASURE;
                self.effects.push_back(Effect::Measure { worker });
            }
            let known = &mut self.workers[at];
            if known.life == Life::Ready && known.watch() <= now {
                known.heard = now;
                self.effects.push_back(Effect::Peek { worker });
            }
        }
    }

    pub fn poll_timeout(&self) -> Time {
        let workers = self.workers.iter().map(|(_, worker)| self.due(worker));
        workers.min().unwrap_or(Time::NEVER).min(self.start_due())
    }

    fn due(&self, worker: &Worker) -> Time {
        let class = &self.classes[worker.class];
        let loaded = worker.heard + class.loading;
        match worker.life {
            Life::Doomed => worker.kill_again,
            Life::Starting if self.is_measured(worker.class) => loaded.min(worker.measure),
            Life::Starting => loaded,
            Life::Dismissed => worker.heard + UNLOADING,
            // What a bound one knows is of use to nobody else, and gone with it.
            Life::Ready if worker.tasks.is_empty() && class.class.bound.is_some() => Time::NEVER,
            Life::Ready if worker.tasks.is_empty() && self.crowded => worker.heard + LINGER,
            Life::Ready if worker.tasks.is_empty() => worker.heard + IDLE,
            Life::Ready if self.is_measured(worker.class) => worker.watch().min(worker.measure),
            Life::Ready => worker.watch(),
        }
    }
}
