//! The connection comes and goes: what is sent again, what is unknown, and what is given up.
//!
//! The reasoning stands in the head of the module above.

use bytes::Bytes;
use wire::limits::SESSION_KEPT;
use wire::region::{Admission, Commit, Durability, Refusal, Request};
use wire::units::{Span, Time};

use super::{CACHE_AGE_MIN, Effect, Life, Outcome, Session, Slot, State, WatchId, Whose};

/// The connection comes and goes.
impl Session {
    pub(super) fn up(&mut self, now: Time, admission: Admission, asked: Time) {
        let Admission { about, resumed, epoch, lease } = admission;
        let is_first = self.region.is_none();
        if self.region.is_some_and(|region| region != about.id) {
            return self.end(Refusal::NoSuchRegion);
        }
        let reopened = !is_first && epoch != self.epoch;
        self.region = Some(about.id);
        self.durability = about.durability;
        self.page_size = about.page_size as usize;
        self.pages = if reopened { about.pages } else { self.pages.max(about.pages) };
        (self.epoch, self.lease) = (epoch, lease);
        let has_places = resumed && !reopened;
        if !has_places {
            self.held.clear();
        }
        if reopened {
            // What was not kept may be there again with other bytes.
            self.cache.clear();
        }
        let is_long = now.since(self.heard) >= half_of_session();
        self.life = Life::Up;
        self.heard_of(now, asked);
        (self.heard, self.sent) = (now, now);
        self.next_fresh = if self.kept.is_empty() { Time::NEVER } else { now };
        self.probe = None;

        let keeps_all = matches!(self.durability, Durability::Sync | Durability::Replicated);
        let is_kept = self.durability != Durability::None;
        let knows = !is_long && (resumed || (reopened && is_kept));
        for number in self.all_under_way() {
            let Some(flight) = self.flight(number) else { continue };
            let is_leaving = has_place(&flight.request);
            let may = match (flight.sent, nature(&flight.request)) {
                (None, _) | (_, Nature::Repeatable) => true,
                (Some(_), Nature::Changing) => knows,
                // Nobody keeps who has arrived.
                (Some(_), Nature::Fleeting) => !is_long && resumed && !reopened,
            };
            match flight.whose {
                // Each begins anew below, or when it is due.
                Whose::Probe | Whose::Watch(_) => self.settle(number, None),
                // The home has nothing any more that could be given back.
                Whose::Nobody if is_leaving && !has_places => self.settle(number, None),
                Whose::Caller | Whose::Nobody if may => self.send(now, number),
                Whose::Caller | Whose::Nobody => {
                    self.settle(number, Some(Outcome::Unknown));
                }
            }
        }
        self.watch_numbers.clear();
        let mut watches: Vec<WatchId> = self.watches.keys().copied().collect();
        watches.sort_unstable_by_key(|id| id.0);
        for id in watches {
            let Some(watch) = self.watches.get_mut(&id) else { continue };
            if reopened && watch.sequence.is_some() && !keeps_all {
                // Commits that were told may be gone, and their numbers belong to others.
                watch.sequence = Some(0);
            }
            let (old, was_there) = (watch.number, resumed && !is_first && watch.number != 0);
            if was_there {
                let unwatch = Request::Unwatch { watch: old };
                self.ask_for(now, unwatch, Bytes::new(), Whose::Nobody);
            }
            self.ask_to_watch(now, id);
        }
        self.shorten();
    }

    /// Numbers of all requests that were not answered, in order.
    fn all_under_way(&self) -> Vec<u64> {
        let aside = self.aside.iter().map(|(number, slot)| (*number, slot));
        let mut aside: Vec<(u64, &Slot)> = aside.collect();
        aside.sort_unstable_by_key(|(number, _)| *number);
        let row = self.slots.iter().enumerate().map(|(at, slot)| (self.first + at as u64, slot));
        let all = aside.into_iter().chain(row);
        let under_way = all.filter(|(_, slot)| matches!(slot.state, State::UnderWay(_)));
        under_way.map(|(number, _)| number).collect()
    }

    /// Ends a request without an answer; without an outcome nobody needs one.
    pub(super) fn settle(&mut self, number: u64, outcome: Option<Outcome>) {
        let Some(slot) = self.slot(number) else { return };
        let State::UnderWay(flight) = std::mem::replace(&mut slot.state, State::Taken) else {
            return;
        };
        self.under_way -= 1;
        if let Request::Read { page, .. } = &flight.request
            && self.reading.get(page) == Some(&number)
        {
            self.reading.remove(page);
        }
        let of_caller = outcome.filter(|_| flight.whose == Whose::Caller);
        match flight.given_up.or(of_caller) {
            Some(outcome) => self.put_state(number, State::Settled(outcome)),
            None => self.forget(number),
        }
    }

    pub(super) fn down(&mut self, now: Time) {
        if self.is_up() {
            self.life = Life::Away { since: now };
            self.next_fresh = Time::NEVER;
            self.next_give_up = now;
            self.probe = None;
        }
    }

    pub(super) fn end(&mut self, refusal: Refusal) {
        self.life = Life::Over(refusal.clone());
        self.held.clear();
        self.cache.clear();
        for number in self.all_under_way() {
            let Some(flight) = self.flight(number) else { continue };
            // What had left may have been carried out before the region came to its end.
            let unknown = flight.sent.is_some() && nature(&flight.request) != Nature::Repeatable;
            let over = Outcome::Over(refusal.clone());
            self.settle(number, Some(if unknown { Outcome::Unknown } else { over }));
        }
        self.answered = self.next_number();
        self.shorten_row();
    }

    pub(super) fn tick(&mut self, now: Time) {
        match self.life {
            Life::Up => match self.probe {
                Some(since) if now >= self.hang_up_at(since) => {
                    self.effects.push_back(Effect::HangUp);
                    self.down(now);
                }
                Some(_) => self.next_fresh = self.next_fresh.max(now + CACHE_AGE_MIN),
                None => {
                    let silent = now >= self.quiet_since() + self.third();
                    let needed = self.under_way > 0 || !self.held.is_empty();
                    if now >= self.next_fresh || (silent && needed) {
                        self.probe(now);
                    }
                }
            },
            Life::Away { since } => self.give_up(now, since),
            Life::Over(_) => {}
        }
    }

    /// Nobody waits longer than that for a home that is away.
    fn give_up(&mut self, now: Time, since: Time) {
        let patience = self.patience;
        let long = self.heard + half_of_session();
        let is_long = now >= long && self.region.is_some();
        self.next_give_up = if is_long { now + patience } else { long.min(now + patience) };
        for number in self.all_under_way() {
            let Some(slot) = self.slot(number) else { continue };
            let until = slot.asked.max(since) + patience;
            let State::UnderWay(flight) = &slot.state else { continue };
            if flight.whose == Whose::Nobody && has_place(&flight.request) {
                // Nobody waits for it but the home's other users; it knows itself when it is late.
                if is_long {
                    self.settle(number, None);
                }
                continue;
            }
            let changing = nature(&flight.request) != Nature::Repeatable && flight.sent.is_some();
            match (changing, now >= until) {
                (true, over) if over || is_long => {
                    self.give_up_on(now, number, Outcome::Unknown);
                }
                (false, true) => self.give_up_on(now, number, Outcome::Away),
                (true | false, _) => self.next_give_up = self.next_give_up.min(until.max(now)),
            }
        }
        self.shorten();
    }

    /// The caller waits no longer. What the home may have or get for this session is given back when it
    /// is there again.
    fn give_up_on(&mut self, now: Time, number: u64, outcome: Outcome) {
        let Some(flight) = self.flight(number) else { return };
        match flight.request {
            Request::Lock { .. } | Request::Arrive { .. } if flight.sent.is_some() => {
                self.abandon(now, number);
                if let Some(flight) = self.flight(number) {
                    flight.given_up = Some(outcome);
                }
            }
            Request::Unlock { page, token, .. } => {
                self.settle(number, Some(outcome));
                self.unlock(now, page, token);
            }
            _ => self.settle(number, Some(outcome)),
        }
    }
}

/// It is about a lock or a place in a queue, which the home keeps for a session that it knows.
fn has_place(request: &Request) -> bool {
    matches!(
        request,
        Request::Lock { .. }
            | Request::Arrive { .. }
            | Request::Unlock { .. }
            | Request::Withdraw { .. }
    )
}

/// What sending a request a second time would do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Nature {
    /// The same as sending it once.
    Repeatable,
    /// It may be carried out a second time; a durable region keeps what became of it.
    Changing,
    /// The same, and nobody keeps what became of it.
    Fleeting,
}

fn nature(request: &Request) -> Nature {
    match request {
        Request::Update { .. } | Request::Unlock { commit: Commit::Bytes { .. }, .. } => {
            Nature::Changing
        }
        Request::Transact { writes, .. } if !writes.is_empty() => Nature::Changing,
        Request::Arrive { .. } | Request::Yielded { .. } => Nature::Fleeting,
        Request::Transact { .. }
        | Request::Unlock { commit: Commit::Nothing | Commit::Unawaited, .. }
        | Request::Read { .. }
        | Request::Lock { .. }
        | Request::Watch { .. }
        | Request::Unwatch { .. }
        | Request::Seen { .. }
        | Request::Grow { .. }
        | Request::Stat
        | Request::Hot { .. }
        | Request::Withdraw { .. }
        | Request::Renew
        | Request::Fetch { .. }
        | Request::BeginSnapshot { .. }
        | Request::ReadSnapshot { .. }
        | Request::EndSnapshot { .. }
        | Request::Detach => Nature::Repeatable,
    }
}

fn half_of_session() -> Span {
    Span(SESSION_KEPT.0 / 2)
}
