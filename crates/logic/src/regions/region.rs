//! One region: what its sessions ask of it, one request after the other.

mod locking;
mod writing;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bytes::Bytes;
use wire::Message;
use wire::limits::{
    BACKLOG_MAX, BARRIERS_MAX, HOT_KEPT, HOT_TOLD_MAX, PAGES_MAX, REQUESTS_MAX, SESSIONS_MAX,
    WAITING_MAX, WATCHES_MAX, WATCHES_OF_SESSION_MAX,
};
use wire::name::Name;
use wire::region::{
    About, Admission, Answer, Ask, Attached, Audience, Bound, Create, Durability, HotPage, PageNo,
    Refusal, RegionId, Request, SessionId, Style, Version,
};
use wire::units::{Span, Time};

use super::barriers::{Arrival, Barriers};
use super::coherent::Directory;
use super::locks::{Locks, Place};
use super::sessions::{SessionAt, Sessions, Standing, UnderWay, Unkept};
use super::snapshots::Snapshots;
use super::table::{Page, Table};
use super::watches::Watches;
use super::{Effect, Opened, Outbox, Owner};
use crate::LinkId;
use writing::{Change, Want};

/// Bits of a token below the epoch: grants of one opening.
const GRANTS_BITS: u32 = 44;

/// Epochs that fit above them.
pub(super) const EPOCHS_MAX: u64 = 1 << (u64::BITS - GRANTS_BITS);

/// Something that is due at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Timer {
    /// A session is silent.
    Session(SessionAt),
    /// A `Lock` waits no longer.
    Wait(Place),
    /// Locks of an earlier time of the region are over.
    Grants,
}

#[derive(Debug)]
pub(super) struct Region {
    pub(super) id: RegionId,
    pub(super) name: Name,
    pub(super) owner: Name,
    pub(super) page_size: u32,
    pub(super) pages: u64,
    /// Before those that were added and may not be told yet.
    pages_before: u64,
    pub(super) durability: Durability,
    pub(super) style: Style,
    pub(super) audience: Audience,
    pub(super) epoch: u64,
    pub(super) lease: Span,
    /// No lock is given before: whoever had one of an earlier time of the region, and has not heard
    /// yet that it is lost, may believe so for a lease.
    pub(super) grants_from: Time,
    pub(super) table: Table,
    /// What a page reads as that was never written.
    zeros: Bytes,
    /// Of the latest commit, of the latest that is kept, and of the latest that added pages.
    pub(super) sequence: u64,
    pub(super) kept: u64,
    pub(super) grown: u64,
    pub(super) sessions: Sessions,
    pub(super) locks: Locks<Want>,
    pub(super) watches: Watches,
    barriers: Barriers,
    /// Who has which page, of a coherent region.
    pub(super) directory: Directory,
    pub(super) snapshots: Snapshots,
    /// Answers that wait for a commit to be kept, by its number and in the order of deciding.
    pub(super) unkept: BTreeMap<(u64, u64), Unkept>,
    decided: u64,
    /// Bytes of each commit that the vault has not kept yet, and of all of them.
    pub(super) backlog: VecDeque<(u64, u64)>,
    pub(super) backlog_bytes: u64,
    /// Sessions whose vault need not know all any more that it knows.
    pub(super) forgetting: Vec<SessionAt>,
    pub(super) forgotten: Vec<(SessionId, u64)>,
    pub(super) dropped: Vec<(SessionId, u64)>,
    timers: BTreeSet<(Time, Timer)>,
    /// Pages with much traffic, and how much there was when it last doubled.
    hot: BTreeSet<(u64, PageNo)>,
}

impl Region {
    pub(super) fn new(id: RegionId, owner: Name, create: Create, epoch: u64, lease: Span) -> Self {
        Self {
            id,
            name: create.name,
            owner,
            page_size: create.page_size,
            pages: create.pages,
            pages_before: create.pages,
            durability: create.durability,
            style: create.style,
            audience: create.audience,
            epoch,
            lease,
            grants_from: Time(0),
            table: Table::default(),
            zeros: Bytes::from(vec![0; create.page_size as usize]),
            sequence: 0,
            kept: 0,
            grown: 0,
            sessions: Sessions::default(),
            locks: Locks::new(epoch << GRANTS_BITS),
            watches: Watches::new(0),
            barriers: Barriers::default(),
            directory: Directory::new(),
            snapshots: Snapshots::default(),
            unkept: BTreeMap::new(),
            decided: 0,
            backlog: VecDeque::new(),
            backlog_bytes: 0,
            forgetting: Vec::new(),
            forgotten: Vec::new(),
            dropped: Vec::new(),
            timers: BTreeSet::new(),
            hot: BTreeSet::new(),
        }
    }

    /// As a vault gives it back.
    pub(super) fn opened(now: Time, opened: Opened, lease: Span, out: &mut Outbox) -> Self {
        let epoch = opened.epoch.number;
        let mut region = Self::new(opened.id, opened.owner, opened.create, epoch, lease);
        region.grants_from = now + lease;
        region.timers.insert((region.grants_from, Timer::Grants));
        region.pages = opened.pages;
        region.sequence = opened.sequence;
        region.kept = opened.sequence;
        region.watches = Watches::new(opened.sequence);
        let before = region.bytes();
        for written in opened.written {
            let page = region.table.entry(written.page);
            page.version = written.version.0;
            page.bytes = written.bytes;
        }
        out.held += region.bytes() - before;
        for outcome in opened.outcomes {
            let found = region.sessions.find(outcome.session);
            let at = found.unwrap_or_else(|| {
                region.sessions.open(now, Some(outcome.session), outcome.owner, None)
            });
            region.sessions[at].recall(outcome.request, outcome.answer);
            region.look_again(at);
        }
        out.held += region.remembered();
        region
    }

    /// Bytes that it takes of those that all regions may have.
    pub(super) fn bytes(&self) -> u64 {
        let pages = self.written() * u64::from(self.page_size);
        pages + self.table.overhead() + self.directory.overhead() + self.snapshots.held()
    }

    /// Bytes of what is remembered of its sessions' requests.
    fn remembered(&self) -> u64 {
        self.sessions.iter().map(|session| session.held).sum()
    }

    fn written(&self) -> u64 {
        self.table.written() + self.directory.written()
    }

    /// Answers wait until what they tell is kept.
    pub(super) fn is_gated(&self) -> bool {
        matches!(self.durability, Durability::Sync | Durability::Replicated)
    }

    /// So much is not kept yet that whoever asks for more has to wait, whatever the durability.
    fn is_behind(&self) -> bool {
        self.backlog_bytes > BACKLOG_MAX
    }

    /// The latest commit that may be told.
    fn visible(&self) -> u64 {
        if self.is_gated() { self.kept } else { self.sequence }
    }

    pub(super) fn is_for(&self, owner: &Owner) -> bool {
        self.audience == Audience::Cluster || self.is_of(owner)
    }

    pub(super) fn is_of(&self, owner: &Owner) -> bool {
        owner.is_admin || owner.name == self.owner
    }

    pub(super) fn about(&self) -> About {
        About {
            id: self.id,
            name: self.name.clone(),
            owner: self.owner.clone(),
            page_size: self.page_size,
            pages: if self.grown <= self.visible() { self.pages } else { self.pages_before },
            durability: self.durability,
            style: self.style,
            audience: self.audience,
            written: self.written(),
            sequence: self.visible(),
            sessions: self.sessions.len() as u32,
            watches: self.watches.len() as u32,
            locks: self.locks.held() as u32,
            waiting: self.locks.waiting() as u32,
            moves: self.directory.moves(),
        }
    }

    /// Opens a session, or gives one its new connection. Returns it, and the connection it had.
    pub(super) fn attach(
        &mut self,
        now: Time,
        link: LinkId,
        id: Option<SessionId>,
        owner: Owner,
        out: &mut Outbox,
    ) -> Result<(SessionAt, Option<LinkId>), Refusal> {
        if id.is_some() && !self.is_for(&owner) {
            return Err(Refusal::NotYours);
        }
        let found = id.and_then(|id| self.sessions.find(id));
        let (at, old) = if let Some(at) = found {
            let session = &mut self.sessions[at];
            if session.owner != owner.name {
                return Err(Refusal::NotYours);
            }
            session.heard = now;
            (at, session.link.replace(link))
        } else {
            let sessions = self.sessions.len();
            if sessions >= SESSIONS_MAX {
                return Err(too_many(Bound::Sessions, sessions + 1, SESSIONS_MAX));
            }
            (self.sessions.open(now, id, owner.name, Some(link)), None)
        };
        let admission = Admission {
            about: self.about(),
            resumed: found.is_some(),
            epoch: self.epoch,
            lease: self.lease,
        };
        out.send(link, 0, Message::Attached(Attached { result: Ok(admission) }.into()));
        let watches: Vec<u32> = self.sessions[at].watches.values().copied().collect();
        for watch in watches {
            self.watches.tell_again(watch);
        }
        self.tell_news(out);
        self.recall_again(at, out);
        Ok((at, old))
    }

    /// The connection of a session is down.
    pub(super) fn closed(&mut self, now: Time, at: SessionAt, out: &mut Outbox) {
        let Some(session) = self.sessions.get_mut(at) else { return };
        session.link = None;
        if session.is_bare {
            self.end(now, at, out);
        } else {
            self.look_again(at);
        }
    }

    /// Whether the session is open still.
    pub(super) fn has(&self, at: SessionAt) -> bool {
        self.sessions.get(at).is_some()
    }

    pub(super) fn heard(&mut self, now: Time, at: SessionAt) {
        if let Some(session) = self.sessions.get_mut(at) {
            session.heard = now;
        }
    }

    pub(super) fn request(
        &mut self,
        now: Time,
        at: SessionAt,
        number: u64,
        ask: Ask,
        bytes: Bytes,
        out: &mut Outbox,
    ) {
        let Some(session) = self.sessions.get_mut(at) else { return };
        session.heard = now;
        let before = session.held;
        // Its own number and higher ones cannot be among those that were answered.
        let has_forgotten = session.forget(ask.answered.min(number).saturating_sub(1));
        out.held -= before - session.held;
        if has_forgotten
            && self.durability != Durability::None
            && !std::mem::replace(&mut session.is_forgetting, true)
        {
            self.forgetting.push(at);
        }
        match ask.request {
            // These have no answer, and do the same however often they come.
            Request::Seen { watch } => return self.seen(at, watch, out),
            Request::Yielded { page, kept, version } => {
                return self.yielded(at, (page, kept, version), bytes, out);
            }
            _ => {}
        }
        match session.standing(number) {
            Standing::Open => {}
            Standing::UnderWay => return,
            Standing::Decided(answer, tells) => {
                return self.answer(at, number, answer, Bytes::new(), tells, out);
            }
            Standing::Answered => {
                return self.refuse(at, number, Refusal::NoSuchNumber { number }, out);
            }
        }
        if session.under_way.len() >= REQUESTS_MAX {
            let refusal = too_many(Bound::Requests, session.under_way.len() + 1, REQUESTS_MAX);
            return self.refuse(at, number, refusal, out);
        }
        if let Err(refusal) = self.carry_out(now, at, number, ask.request, bytes, out) {
            self.refuse(at, number, refusal, out);
        }
        self.tell_news(out);
    }

    fn carry_out(
        &mut self,
        now: Time,
        at: SessionAt,
        number: u64,
        request: Request,
        bytes: Bytes,
        out: &mut Outbox,
    ) -> Result<(), Refusal> {
        match request {
            Request::Read { page, known } => self.read(at, number, page, known, out)?,
            Request::Lock { page, known, wait } => {
                self.lock(now, at, number, (page, known, wait), out)?;
            }
            Request::Unlock { page, token, commit } => {
                self.unlock(now, at, number, (page, token, commit), &bytes, out)?;
            }
            Request::Update { page, offset, if_version, at_least } => {
                let change = Change::Update { page, offset, if_version, at_least };
                self.change(now, at, number, change, bytes, out)?;
            }
            Request::Transact { reads, writes } => {
                self.change(now, at, number, Change::Transact { reads, writes }, bytes, out)?;
            }
            Request::Watch { first, count, from } => {
                self.watch(at, number, (first, count, from), out)?;
            }
            Request::Unwatch { watch } => {
                let gone = self.sessions[at].watches.remove(&watch);
                let place = gone.ok_or(Refusal::NoSuchNumber { number: watch })?;
                self.watches.remove(place);
                self.sessions[at].remember(number, Answer::Done);
                self.answer(at, number, Answer::Done, Bytes::new(), 0, out);
            }
            Request::Grow { pages } => self.grow(at, number, pages, out)?,
            Request::Stat => {
                let about = Box::new(self.about());
                self.answer(at, number, Answer::Stat(about), Bytes::new(), 0, out);
            }
            Request::Hot { count } => {
                let hot = self.hot(count);
                self.answer(at, number, Answer::Hot(hot), Bytes::new(), 0, out);
            }
            Request::Arrive { barrier, parties } => {
                self.arrive(at, number, barrier, parties, out)?;
            }
            Request::Withdraw { request } => {
                self.withdraw(at, request, out);
                self.answer(at, number, Answer::Done, Bytes::new(), 0, out);
            }
            Request::Renew => self.answer(at, number, Answer::Done, Bytes::new(), 0, out),
            Request::Fetch { page, access, has } => {
                self.fetch(at, number, (page, access, has), out)?;
            }
            Request::BeginSnapshot { first, count } => {
                self.begin_snapshot(at, number, first, count, out)?;
            }
            Request::ReadSnapshot { snapshot, page } => {
                self.read_snapshot(at, number, snapshot, page, out)?;
            }
            Request::EndSnapshot { snapshot } => self.end_snapshot(at, number, snapshot, out),
            // These have no answer, and were seen to.
            Request::Seen { .. } | Request::Yielded { .. } => {}
            Request::Detach => {
                self.answer(at, number, Answer::Done, Bytes::new(), 0, out);
                self.end(now, at, out);
            }
        }
        Ok(())
    }

    /// What the page is: its version, its bytes, and the commit that this tells.
    pub(super) fn page(&self, page: PageNo) -> (Version, &Bytes, u64) {
        match self.table.get(page) {
            Some(Page { version, sequence, bytes, .. }) => (Version(*version), bytes, *sequence),
            // That it is there at all may be news.
            None => (Version(1), &self.zeros, self.grown),
        }
    }

    pub(super) fn must_have(&self, page: PageNo) -> Result<(), Refusal> {
        if page.0 < self.pages {
            return Ok(());
        }
        Err(Refusal::NoSuchPage { page, pages: self.pages })
    }

    pub(super) fn must_be_transactional(&self) -> Result<(), Refusal> {
        match self.style {
            Style::Transactional => Ok(()),
            Style::Coherent => Err(Refusal::WrongStyle { style: self.style }),
        }
    }

    fn read(
        &mut self,
        at: SessionAt,
        number: u64,
        page: PageNo,
        known: Version,
        out: &mut Outbox,
    ) -> Result<(), Refusal> {
        self.must_be_transactional()?;
        self.must_have(page)?;
        let (version, bytes, tells) = self.page(page);
        if version == known {
            self.answer(at, number, Answer::Unchanged { version }, Bytes::new(), tells, out);
        } else {
            let bytes = bytes.clone();
            self.answer(at, number, Answer::Page { version }, bytes, tells, out);
        }
        Ok(())
    }

    fn no_longer_waits(&mut self, at: SessionAt, number: u64) {
        let Some(session) = self.sessions.get_mut(at) else { return };
        match session.under_way.remove(&number) {
            Some(UnderWay::Locking(_) | UnderWay::Arrived(_)) => session.waiting -= 1,
            Some(UnderWay::Writing(_) | UnderWay::Fetching | UnderWay::Unkept) | None => {}
        }
    }

    fn watch(
        &mut self,
        at: SessionAt,
        number: u64,
        (first, count, from): (PageNo, u64, Option<u64>),
        out: &mut Outbox,
    ) -> Result<(), Refusal> {
        self.must_be_transactional()?;
        self.must_have(first)?;
        if count == 0 {
            return Err(Refusal::OutOfBounds { what: Bound::Pages, value: 0, max: PAGES_MAX });
        }
        let sequence = self.visible();
        if !self.sessions[at].watches.contains_key(&number) {
            let (mine, all) = (self.sessions[at].watches.len(), self.watches.len());
            if mine >= WATCHES_OF_SESSION_MAX {
                return Err(too_many(Bound::Watches, mine + 1, WATCHES_OF_SESSION_MAX));
            }
            if all >= WATCHES_MAX {
                return Err(too_many(Bound::Watches, all + 1, WATCHES_MAX));
            }
            let watch = self.watches.add(at, number, (first, count), from);
            self.sessions[at].watches.insert(number, watch);
        }
        self.answer(at, number, Answer::Watching { sequence }, Bytes::new(), 0, out);
        Ok(())
    }

    fn seen(&mut self, at: SessionAt, watch: u64, out: &mut Outbox) {
        if let Some(&watch) = self.sessions[at].watches.get(&watch) {
            self.watches.seen(watch);
            self.tell_news(out);
        }
    }

    fn grow(
        &mut self,
        at: SessionAt,
        number: u64,
        pages: u64,
        out: &mut Outbox,
    ) -> Result<(), Refusal> {
        if pages > PAGES_MAX {
            return Err(Refusal::OutOfBounds { what: Bound::Pages, value: pages, max: PAGES_MAX });
        }
        if pages > self.pages {
            if self.grown <= self.visible() {
                self.pages_before = self.pages;
            }
            self.pages = pages;
            self.sequence += 1;
            self.grown = self.sequence;
            self.keep(Some(pages), Vec::new(), None, out);
            self.watches.tell(self.visible());
        }
        let answer = Answer::Grown { pages: self.pages };
        self.answer(at, number, answer, Bytes::new(), self.grown, out);
        Ok(())
    }

    fn arrive(
        &mut self,
        at: SessionAt,
        number: u64,
        barrier: u64,
        parties: u32,
        out: &mut Outbox,
    ) -> Result<(), Refusal> {
        if parties == 0 || parties as usize > WAITING_MAX {
            let value = u64::from(parties);
            let max = WAITING_MAX as u64;
            return Err(Refusal::OutOfBounds { what: Bound::Parties, value, max });
        }
        let barriers = self.barriers.len();
        if barriers >= BARRIERS_MAX && !self.barriers.contains(barrier) {
            return Err(too_many(Bound::Barriers, barriers + 1, BARRIERS_MAX));
        }
        match self.barriers.arrive(barrier, parties, at, number) {
            Arrival::OtherParties(parties) => return Err(Refusal::OtherParties { parties }),
            Arrival::Waits => {
                let session = &mut self.sessions[at];
                session.under_way.insert(number, UnderWay::Arrived(barrier));
                session.waiting += 1;
                self.look_again(at);
            }
            Arrival::Complete { round, arrived } => {
                for (at, number) in arrived {
                    self.no_longer_waits(at, number);
                    let answer = Answer::Arrived { round };
                    self.sessions[at].remember(number, answer.clone());
                    self.answer(at, number, answer, Bytes::new(), 0, out);
                }
            }
        }
        Ok(())
    }

    /// Ends the waiting of a `Lock` or an `Arrive`.
    fn withdraw(&mut self, at: SessionAt, number: u64, out: &mut Outbox) {
        match self.sessions[at].under_way.get(&number) {
            Some(&UnderWay::Locking(place)) => {
                if let Some(Want::Lock { until, .. }) = self.locks.withdraw(place) {
                    self.timers.remove(&(until, Timer::Wait(place)));
                }
            }
            Some(&UnderWay::Arrived(barrier)) => self.barriers.leave(barrier, at, number),
            Some(UnderWay::Writing(_) | UnderWay::Fetching | UnderWay::Unkept) | None => return,
        }
        self.no_longer_waits(at, number);
        self.answer(at, number, Answer::Busy, Bytes::new(), 0, out);
    }

    /// Takes its locks and its places in queues from a session.
    fn lose(&mut self, now: Time, at: SessionAt, out: &mut Outbox) {
        let Some(session) = self.sessions.get_mut(at) else { return };
        let locks = std::mem::take(&mut session.locks);
        let waits = |(&number, &what): (&u64, &UnderWay)| {
            matches!(what, UnderWay::Locking(_) | UnderWay::Arrived(_)).then_some(number)
        };
        let waiting: Vec<u64> = session.under_way.iter().filter_map(waits).collect();
        // First those that would only be next.
        for number in waiting {
            self.withdraw(at, number, out);
        }
        for page in locks {
            self.release(now, at, page, out);
        }
        self.lose_pages(at, out);
    }

    /// A session is over.
    fn end(&mut self, now: Time, at: SessionAt, out: &mut Outbox) {
        self.lose(now, at, out);
        let Some(session) = self.sessions.remove(at) else { return };
        out.held -= session.held;
        self.timers.remove(&(session.alarm, Timer::Session(at)));
        for what in session.under_way.into_values() {
            if let UnderWay::Writing(place) = what
                && let Some(want) = self.locks.withdraw(place)
            {
                out.held -= want.bytes();
            }
        }
        for watch in session.watches.into_values() {
            self.watches.remove(watch);
        }
        self.lose_snapshots(session.id, out);
        if session.is_in_vault {
            self.forgotten.push((session.id, u64::MAX));
        }
        self.tell_news(out);
    }

    /// Sets when a session is looked at, if that is earlier than it would be.
    pub(super) fn look_again(&mut self, at: SessionAt) {
        let session = &mut self.sessions[at];
        let due = session.due(self.lease);
        if due < session.alarm {
            self.timers.remove(&(session.alarm, Timer::Session(at)));
            session.alarm = due;
            self.timers.insert((due, Timer::Session(at)));
        }
    }

    /// When `tick` is due.
    pub(super) fn due(&self) -> Time {
        self.timers.first().map_or(Time::NEVER, |&(time, _)| time)
    }

    pub(super) fn tick(&mut self, now: Time, out: &mut Outbox) {
        while let Some(&(time, timer)) = self.timers.first()
            && time <= now
        {
            self.timers.pop_first();
            match timer {
                Timer::Wait(place) => {
                    let Some(want) = self.locks.withdraw(place) else { continue };
                    let (at, number) = want.asker();
                    self.no_longer_waits(at, number);
                    self.answer(at, number, Answer::Busy, Bytes::new(), 0, out);
                }
                Timer::Session(at) => self.look(now, at, out),
                Timer::Grants => self.begin_grants(now, out),
            }
        }
        self.tell_news(out);
    }

    /// Looks whether a session was silent for too long.
    fn look(&mut self, now: Time, at: SessionAt, out: &mut Outbox) {
        let Some(session) = self.sessions.get_mut(at) else { return };
        session.alarm = Time::NEVER;
        if session.has_lease() && session.heard + self.lease <= now {
            self.lose(now, at, out);
        }
        let session = &self.sessions[at];
        if !session.has_lease() && session.due(self.lease) <= now {
            return self.end(now, at, out);
        }
        self.look_again(at);
    }

    /// The pages with most traffic.
    fn hot(&self, count: u32) -> Vec<HotPage> {
        if self.style == Style::Coherent {
            return self.hot_coherent(count);
        }
        let traffic = |page| self.table.get(page).map_or(0, |page| page.traffic);
        let mut pages: Vec<(u64, PageNo)> =
            self.hot.iter().map(|&(_, page)| (traffic(page), page)).collect();
        pages.sort_by_key(|&(traffic, page)| (std::cmp::Reverse(traffic), page));
        pages.truncate((count as usize).min(HOT_TOLD_MAX));
        let told = pages.into_iter().map(|(traffic, page)| HotPage {
            page,
            traffic,
            waiting: self.locks.length(page),
            holders: self
                .locks
                .holder(page)
                .and_then(|holder| self.sessions.get(holder.session))
                .map(|session| (session.owner.clone(), session.id))
                .into_iter()
                .collect(),
        });
        told.collect()
    }

    /// A page was written so often. Each time that this doubles, it is looked at again.
    pub(super) fn note_traffic(&mut self, page: PageNo, traffic: u64) {
        if !traffic.is_power_of_two() {
            return;
        }
        self.hot.remove(&(traffic / 2, page));
        self.hot.insert((traffic, page));
        if self.hot.len() > HOT_KEPT {
            self.hot.pop_first();
        }
    }

    pub(super) fn refuse(
        &mut self,
        at: SessionAt,
        number: u64,
        refusal: Refusal,
        out: &mut Outbox,
    ) {
        let tells = match refusal {
            Refusal::VersionAhead { page, .. } => self.page(page).2,
            Refusal::NoSuchPage { .. } => self.grown,
            _ => 0,
        };
        self.answer(at, number, Answer::Refused(refusal), Bytes::new(), tells, out);
    }

    /// Answers a request, as soon as the commit that the answer tells is kept.
    pub(super) fn answer(
        &mut self,
        at: SessionAt,
        number: u64,
        answer: Answer,
        bytes: Bytes,
        tells: u64,
        out: &mut Outbox,
    ) {
        let waits = tells > self.kept && (self.is_gated() || self.is_behind());
        let Some(session) = self.sessions.get_mut(at) else { return };
        if waits {
            session.under_way.insert(number, UnderWay::Unkept);
            let unkept =
                Unkept { session: at, serial: session.serial, request: number, answer, bytes };
            self.decided += 1;
            self.unkept.insert((tells, self.decided), unkept);
            return;
        }
        if let Some(link) = session.link {
            out.send(link, number, Message::Answer(answer, bytes));
        }
    }

    pub(super) fn tell_news(&mut self, out: &mut Outbox) {
        while let Some(news) = self.watches.poll() {
            let session = self.sessions.get(news.session);
            if let Some(link) = session.and_then(|session| session.link) {
                out.send(link, news.request, Message::Changed(news.changed));
            }
        }
    }

    /// All that it told, it can go on telling: commits up to this one outlive the node.
    pub(super) fn keeps(&mut self, sequence: u64, out: &mut Outbox) {
        self.kept = self.kept.max(sequence.min(self.sequence));
        while let Some((_, bytes)) = self.backlog.pop_front_if(|(commit, _)| *commit <= self.kept) {
            self.backlog_bytes -= bytes;
            out.held -= bytes;
        }
        // Where nobody has to wait for the vault, they only had to while it was behind.
        let free = if self.is_gated() || self.is_behind() { self.kept } else { self.sequence };
        while let Some(entry) = self.unkept.first_entry() {
            if entry.key().0 > free {
                break;
            }
            let unkept = entry.remove();
            let Some(session) = self.sessions.get_mut(unkept.session) else { continue };
            if session.serial != unkept.serial {
                continue;
            }
            session.under_way.remove(&unkept.request);
            if let Some(link) = session.link {
                out.send(link, unkept.request, Message::Answer(unkept.answer, unkept.bytes));
            }
        }
        self.watches.tell(self.visible());
        self.tell_news(out);
    }

    /// Connections of its sessions.
    pub(super) fn links(&self) -> impl Iterator<Item = LinkId> {
        self.sessions.iter().filter_map(|session| session.link)
    }

    /// The region is no more: its connections are closed. Whoever waits does not learn what became of
    /// its request from here, since that may not be known.
    pub(super) fn close(&self, out: &mut Outbox) {
        for link in self.links() {
            out.effects.push_back(Effect::Close { link });
        }
        let waiting: u64 = self.locks.wants().map(Want::bytes).sum();
        out.held -= self.bytes() + self.backlog_bytes + self.remembered() + waiting;
    }
}

/// One more than may be.
pub(super) fn too_many(what: Bound, value: usize, max: usize) -> Refusal {
    Refusal::OutOfBounds { what, value: value as u64, max: max as u64 }
}
