//! Locks: granting them, queues, giving them back.

use bytes::Bytes;
use wire::Message;
use wire::limits::{LOCKS_MAX, WAITING_MAX};
use wire::region::{Answer, Bound, Commit, PageNo, Refusal, Style, Token, Version};
use wire::units::{Span, Time};

use super::writing::{Change, Want};
use super::{Region, Timer, too_many};
use crate::regions::places::{Place, SessionAt};
use crate::regions::sessions::UnderWay;
use crate::regions::{Effect, Outbox};

impl Region {
    pub(super) fn lock(
        &mut self,
        now: Time,
        at: SessionAt,
        number: u64,
        (page, known, wait): (PageNo, Version, Option<Span>),
        out: &mut Outbox,
    ) -> Result<(), Refusal> {
        self.must_have(page)?;
        match self.locks.holder(page).copied() {
            None if now >= self.grants_from => return self.grant(at, number, page, known, out),
            None => {}
            // The same request again; or a protocol whose sessions are one thread each.
            Some(holder)
                if holder.session == at
                    && (holder.request == number || self.sessions[at].is_bare) =>
            {
                self.tell_locked(at, number, page, known, holder.token, out);
                return Ok(());
            }
            Some(_) => {}
        }
        if wait == Some(Span(0)) {
            self.answer(at, number, Answer::Busy, Bytes::new(), 0, out);
            return Ok(());
        }
        let until = wait.map_or(Time::NEVER, |wait| now + wait);
        let place = self.queue(at, number, page, Want::Lock { at, number, known, until })?;
        if until != Time::NEVER {
            self.timers.insert((until, Timer::Wait(place)));
        }
        Ok(())
    }

    /// Puts a request into the queue of a page.
    pub(super) fn queue(
        &mut self,
        at: SessionAt,
        number: u64,
        page: PageNo,
        want: Want,
    ) -> Result<Place, Refusal> {
        let waiting = self.locks.waiting();
        if waiting >= WAITING_MAX {
            return Err(too_many(Bound::Waiting, waiting + 1, WAITING_MAX));
        }
        let is_lock = matches!(want, Want::Lock { .. });
        let place = self.locks.wait(page, want);
        let session = &mut self.sessions[at];
        if is_lock {
            session.under_way.insert(number, UnderWay::Locking(place));
            session.waiting += 1;
            self.look_again(at);
        } else {
            session.under_way.insert(number, UnderWay::Writing(place));
        }
        Ok(place)
    }

    /// Gives a page that nobody has.
    fn grant(
        &mut self,
        at: SessionAt,
        number: u64,
        page: PageNo,
        known: Version,
        out: &mut Outbox,
    ) -> Result<(), Refusal> {
        let held = self.locks.held();
        if held >= LOCKS_MAX {
            return Err(too_many(Bound::Locks, held + 1, LOCKS_MAX));
        }
        let token = self.locks.grant(page, at, number);
        self.sessions[at].locks.insert(page);
        self.look_again(at);
        self.tell_locked(at, number, page, known, token, out);
        Ok(())
    }

    fn tell_locked(
        &mut self,
        at: SessionAt,
        number: u64,
        page: PageNo,
        known: Version,
        token: u64,
        out: &mut Outbox,
    ) {
        let token = Token(token);
        let (version, bytes, tells) = match self.style {
            Style::Transactional => self.page(page),
            Style::Coherent => (known, &self.zeros, 0),
        };
        let bytes = if version == known { Bytes::new() } else { bytes.clone() };
        self.answer(at, number, Answer::Locked { token, version }, bytes, tells, out);
    }

    pub(super) fn unlock(
        &mut self,
        now: Time,
        at: SessionAt,
        number: u64,
        (page, token, commit): (PageNo, Token, Commit),
        bytes: &Bytes,
        out: &mut Outbox,
    ) -> Result<(), Refusal> {
        self.must_have(page)?;
        let holder = self.locks.holder(page);
        if holder.is_none_or(|holder| holder.session != at || holder.token != token.0) {
            return Err(Refusal::StaleToken { page });
        }
        match commit {
            Commit::Nothing => {
                self.sessions[at].remember(number, Answer::Released);
                self.answer(at, number, Answer::Released, Bytes::new(), 0, out);
            }
            Commit::Unawaited => {
                self.sessions[at].remember(number, Answer::Released);
                if let Some(link) = self.sessions[at].link {
                    let message = Message::Answer(Answer::Released, Bytes::new());
                    out.effects.push_back(Effect::SendLater { link, channel: number, message });
                }
            }
            Commit::Bytes { offset } => {
                self.must_be_transactional()?;
                let at_least = Version(0);
                let change = Change::Update { page, offset, if_version: None, at_least };
                self.must_fit(&change, bytes)?;
                self.must_have_room(&change, out)?;
                self.write(at, number, &change, bytes, out);
            }
        }
        self.release(now, at, page, out);
        Ok(())
    }

    /// A session gives a page back, or loses it.
    pub(super) fn release(&mut self, now: Time, at: SessionAt, page: PageNo, out: &mut Outbox) {
        self.locks.release(page);
        if let Some(session) = self.sessions.get_mut(at) {
            session.locks.remove(&page);
        }
        self.advance(now, page, out);
    }

    /// Nobody can believe any more to hold a lock of an earlier time of the region.
    pub(super) fn begin_grants(&mut self, now: Time, out: &mut Outbox) {
        for page in self.locks.queued() {
            self.advance(now, page, out);
        }
    }

    /// Serves the queue of a page that nobody has, until somebody has it.
    fn advance(&mut self, now: Time, page: PageNo, out: &mut Outbox) {
        while self.locks.holder(page).is_none() {
            let Some((place, want)) = self.locks.next(page) else { return };
            let (at, number) = want.asker();
            self.no_longer_waits(at, number);
            out.held -= want.bytes();
            match want {
                Want::Lock { known, until, .. } => {
                    self.timers.remove(&(until, Timer::Wait(place)));
                    if let Err(refusal) = self.grant(at, number, page, known, out) {
                        self.refuse(at, number, refusal, out);
                    }
                }
                Want::Change { change, bytes, .. } => {
                    if let Err(refusal) = self.change(now, at, number, change, bytes, out) {
                        self.refuse(at, number, refusal, out);
                    }
                }
            }
        }
    }
}
