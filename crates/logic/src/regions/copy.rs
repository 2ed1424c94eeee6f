//! The client's side of one session: what it asked, what it holds, and what it knows of pages.
//!
//! ```text
//!   ask, read --> number --> Send --> (lost? sent again, with the same number) --> outcome(number)
//!                                        │
//!   Up, Down, Message, Tick --> requests under way, locks, watches, cache
//! ```
//!
//! **What is sent again after a connection was lost.** A home that still knows the session carries out
//! each number once and answers it again, so everything is sent again as it was. Where it does not
//! know the session any more, a request that changes something has to be judged:
//!
//! - It never left: it is sent now.
//! - Doing it twice is the same as doing it once (reads, `Grow`, a `Lock` whose place was lost with
//!   the session): it is sent again.
//! - The region was *opened anew* meanwhile from where it is kept, and the home was heard of less
//!   than half of `SESSION_KEPT` ago: a commit is kept together with its outcome, and the outcome makes
//!   the session known. So there was no commit, and it is sent again.
//! - Otherwise the session was forgotten by a home that may have carried it out: *unknown*, and it is
//!   never sent again. So is what cannot be kept at all: the arrival at a barrier.
//!
//! A client that was away for half of `SESSION_KEPT` cannot know whether its session is still the one
//! that the home means, and judges all that changes something *unknown* at once. Whoever gives up
//! waiting is told *unknown* too if the request had left, and *away* if not; no change that was given
//! up is sent later. A place in a queue that was given up is withdrawn when the home is back, and a
//! lock given back, for the home may know the session still.
//!
//! **Locks.** Everything that is answered was heard by the home after it was sent, so a lock is held
//! for a lease from then at least. Beyond that, or when the region was opened anew, or when the
//! session was forgotten, it counts as lost here, for good: what is heard later does not say that
//! nobody had it meanwhile. The home's word on the token is the last one.
//!
//! **Reads** of several threads are joined: a caller is content with bytes that were asked for after
//! it began, whoever asked. Pages that are read again and again *without* asking are watched; a `Renew`
//! whose answer comes after all that the home had to tell then makes all of them as fresh as itself.
//!
//! Elsewhere: the home (`regions`), the socket and who waits (crate `memory`).

mod returning;
mod watching;
mod cache;

use std::collections::VecDeque;

use bytes::Bytes;
use rustc_hash::FxHashMap;
use wire::Message;
use wire::limits::{AWAY_PATIENCE, CACHE_WATCHES_MAX, LEASE, REQUESTS_MAX};
use wire::region::{Admission, Answer, Ask, Commit, Durability, PageNo, Refusal};
use wire::region::{RegionId, Request, SessionId, Token, Version, Write};
use wire::units::{Span, Time};

use self::cache::Cache;

/// Requests that callers leave to the session's own: renewals, watches, locks given back.
const RESERVE: usize = 64;
/// Slots in a row before those at the front that are still needed are set aside.
const ROW_MAX: usize = 2048;
/// A page that nobody reads without asking for so long is not watched any more.
const CACHE_IDLE: Span = Span::from_secs(5);
/// Callers who want younger bytes than this ask each time: telling them would cost as much.
const CACHE_AGE_MIN: Span = Span::from_millis(4);

#[derive(Debug)]
pub enum Event {
    /// The home let the session in; it was asked to at `asked`.
    Up {
        admission: Admission,
        asked: Time,
    },
    /// It does not.
    Refused(Refusal),
    /// The connection is lost.
    Down,
    /// Something of this session's.
    Message {
        channel: u64,
        message: Message,
    },
    Tick,
}

#[derive(Debug, PartialEq, Eq)]
pub enum Effect {
    /// Under this number; as one write with what follows.
    Send { number: u64, message: Message },
    /// The home is silent: the connection is to be dropped, and another made.
    HangUp,
}

/// What became of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    Answered(Answer, Bytes),
    /// Not carried out: the home was away for too long.
    Away,
    /// Perhaps carried out.
    Unknown,
    /// The region is no more, and why.
    Over(Refusal),
}

/// What `read` says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reading {
    There(Version, Bytes),
    /// Asked for; the outcome is the caller's.
    Asked(u64),
    /// Somebody else asks; look again when that is settled.
    Joined(u64),
}

/// Names a watch of this session; unlike the number of its request, it stays when the home is another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct WatchId(pub u64);

/// What a watch tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum News {
    Page(PageNo, Version),
    Resync,
}

#[derive(Debug)]
struct Slot {
    asked: Time,
    state: State,
}

#[derive(Debug)]
enum State {
    UnderWay(Flight),
    Settled(Outcome),
    Taken,
}

#[derive(Debug)]
struct Flight {
    request: Request,
    bytes: Bytes,
    /// Of the page whose lock is given back.
    base: Option<Version>,
    sent: Option<Time>,
    whose: Whose,
    /// What the caller is told, who waits no longer.
    given_up: Option<Outcome>,
}

/// Who waits for an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Whose {
    Caller,
    /// Nobody any more.
    Nobody,
    Watch(WatchId),
    Probe,
}

#[derive(Debug)]
struct Watch {
    first: PageNo,
    count: u64,
    /// Of its request; 0 if that was refused.
    number: u64,
    /// Of the latest commit that was told.
    sequence: Option<u64>,
    /// From when on nothing was missed.
    since: Time,
    news: VecDeque<News>,
    /// The latest news are not confirmed yet.
    is_unseen: bool,
    /// When it was told of something last.
    told: Time,
    /// For the cache, of this page.
    cached: Option<PageNo>,
    refused: Option<Refusal>,
}

#[derive(Debug)]
enum Life {
    /// Not there yet, or not any more, since.
    Away {
        since: Time,
    },
    Up,
    Over(Refusal),
}

/// A session. After each call drain `poll_effect`, then sleep until `poll_timeout`.
#[derive(Debug)]
pub struct Session {
    id: SessionId,
    life: Life,
    region: Option<RegionId>,
    durability: Durability,
    page_size: usize,
    pages: u64,
    epoch: u64,
    lease: Span,
    patience: Span,

    /// Of `slots[0]`.
    first: u64,
    slots: VecDeque<Slot>,
    /// Those before it that are still needed.
    aside: FxHashMap<u64, Slot>,
    /// Every lower number is settled.
    answered: u64,
    under_way: usize,

    /// When something was sent last, when the latest request was sent that the home is known to have
    /// heard, and when it was heard of.
    sent: Time,
    safe: Time,
    heard: Time,
    /// Since when something is under way.
    busy: Time,
    /// A `Renew` that is under way, since.
    probe: Option<Time>,
    /// Locks, by page.
    held: FxHashMap<PageNo, Held>,

    cache: Cache,
    /// The latest read under way of each page.
    reading: FxHashMap<PageNo, u64>,
    watches: FxHashMap<WatchId, Watch>,
    watch_numbers: FxHashMap<u64, WatchId>,
    next_watch: u64,
    /// Pages that are watched for the cache, whether their watch is in force, and how fresh they are
    /// to be kept.
    kept: Vec<(PageNo, WatchId)>,
    next_fresh: Time,
    /// While the home is away: when the next request has waited for too long, or earlier.
    next_give_up: Time,

    effects: VecDeque<Effect>,
}

#[derive(Clone, Copy, Debug)]
struct Held {
    token: Token,
    version: Version,
}

impl Session {
    pub fn new(now: Time, id: SessionId) -> Self {
        Self {
            id,
            life: Life::Away { since: now },
            region: None,
            durability: Durability::None,
            page_size: 0,
            pages: 0,
            epoch: 0,
            lease: LEASE,
            patience: AWAY_PATIENCE,
            first: 1,
            slots: VecDeque::new(),
            aside: FxHashMap::default(),
            answered: 1,
            under_way: 0,
            sent: now,
            safe: now,
            heard: now,
            busy: now,
            probe: None,
            held: FxHashMap::default(),
            cache: Cache::default(),
            reading: FxHashMap::default(),
            watches: FxHashMap::default(),
            watch_numbers: FxHashMap::default(),
            next_watch: 1,
            kept: Vec::new(),
            next_fresh: Time::NEVER,
            next_give_up: now,
            effects: VecDeque::new(),
        }
    }

    pub fn id(&self) -> SessionId {
        self.id
    }

    /// What is asked fails when the home has been away for so long.
    pub fn set_patience(&mut self, patience: Span) {
        self.patience = patience;
    }

    pub fn patience(&self) -> Span {
        self.patience
    }

    pub fn is_up(&self) -> bool {
        matches!(self.life, Life::Up)
    }

    /// Why the region cannot be used any more.
    pub fn over(&self) -> Option<&Refusal> {
        match &self.life {
            Life::Over(refusal) => Some(refusal),
            Life::Up | Life::Away { .. } => None,
        }
    }

    /// For how long the home has been away.
    pub fn away(&self, now: Time) -> Option<Span> {
        match self.life {
            Life::Away { since } => Some(now.since(since)),
            Life::Up | Life::Over(_) => None,
        }
    }

    /// Pages of the region, as far as this session has heard.
    pub fn pages(&self) -> u64 {
        self.pages
    }

    /// A caller may ask for something more.
    pub fn has_room(&self) -> bool {
        self.under_way < REQUESTS_MAX - RESERVE
    }

    /// The answer to a `Renew` of the session's own is on its way.
    pub fn is_probing(&self) -> bool {
        self.probe.is_some()
    }

    pub fn poll_effect(&mut self) -> Option<Effect> {
        self.effects.pop_front()
    }

    /// When `Tick` is due.
    pub fn poll_timeout(&self) -> Time {
        match self.life {
            Life::Up => {
                let mut due = self.next_fresh;
                if self.under_way > 0 || !self.held.is_empty() {
                    due = due.min(match self.probe {
                        None => self.quiet_since() + self.third(),
                        Some(since) => self.hang_up_at(since),
                    });
                }
                due
            }
            Life::Away { .. } if self.under_way > 0 => self.next_give_up,
            Life::Away { .. } | Life::Over(_) => Time::NEVER,
        }
    }

    fn third(&self) -> Span {
        Span(self.lease.0 / 3)
    }

    /// Since when one of the sides has said nothing while there was something to say.
    fn quiet_since(&self) -> Time {
        self.sent.min(self.heard.max(self.busy))
    }

    /// Until when the answer to a `Renew` of that time is waited for.
    fn hang_up_at(&self, since: Time) -> Time {
        self.heard.max(since) + Span(self.lease.0 * 2)
    }

    pub fn handle(&mut self, now: Time, event: Event) {
        match event {
            Event::Up { admission, asked } => self.up(now, admission, asked),
            Event::Refused(refusal) => self.end(refusal),
            Event::Down => self.down(now),
            Event::Message { channel, message } => {
                self.heard = now;
                match message {
                    Message::Answer(answer, bytes) => self.answer(now, channel, answer, bytes),
                    Message::Changed(changed) => {
                        self.changed(now, channel, changed.sequence, changed.what);
                    }
                    _ => {}
                }
            }
            Event::Tick => self.tick(now),
        }
    }

    // Requests.

    /// Asks for something, at once or when the home is back. The outcome is the caller's.
    pub fn ask(&mut self, now: Time, request: Request, bytes: Bytes) -> u64 {
        self.ask_for(now, request, bytes, Whose::Caller)
    }

    fn ask_for(&mut self, now: Time, request: Request, bytes: Bytes, whose: Whose) -> u64 {
        let number = self.next_number();
        if let Life::Over(refusal) = &self.life {
            let state = State::Settled(Outcome::Over(refusal.clone()));
            self.slots.push_back(Slot { asked: now, state });
            return number;
        }
        let base = match &request {
            Request::Unlock { page, token, .. } => self.release(*page, *token),
            _ => None,
        };
        let flight = Flight { request, bytes, base, sent: None, whose, given_up: None };
        self.slots.push_back(Slot { asked: now, state: State::UnderWay(flight) });
        if self.under_way == 0 {
            self.busy = now;
        }
        self.under_way += 1;
        if self.is_up() {
            self.send(now, number);
        }
        self.shorten();
        number
    }

    fn next_number(&self) -> u64 {
        self.first + self.slots.len() as u64
    }

    fn slot(&mut self, number: u64) -> Option<&mut Slot> {
        match number.checked_sub(self.first) {
            Some(at) => self.slots.get_mut(usize::try_from(at).ok()?),
            None => self.aside.get_mut(&number),
        }
    }

    fn flight(&mut self, number: u64) -> Option<&mut Flight> {
        match self.slot(number)? {
            Slot { state: State::UnderWay(flight), .. } => Some(flight),
            Slot { state: State::Settled(_) | State::Taken, .. } => None,
        }
    }

    fn send(&mut self, now: Time, number: u64) {
        let answered = self.answered;
        let Some(flight) = self.flight(number) else { return };
        // The first time counts: it is not known which of them was heard.
        flight.sent.get_or_insert(now);
        let ask = Ask { answered: answered - 1, request: flight.request.clone() };
        let message = Message::Request(ask, flight.bytes.clone());
        self.sent = now;
        self.effects.push_back(Effect::Send { number, message });
    }

    /// Sends a request that has no answer; there is no need of it while the home is away.
    fn tell(&mut self, now: Time, request: Request) {
        if !self.is_up() {
            return;
        }
        let number = self.next_number();
        self.slots.push_back(Slot { asked: now, state: State::Taken });
        let message = Message::Request(Ask { answered: self.answered - 1, request }, Bytes::new());
        self.sent = now;
        self.effects.push_back(Effect::Send { number, message });
    }

    /// It is known what became of the request.
    pub fn is_settled(&self, number: u64) -> bool {
        let slot = match number.checked_sub(self.first) {
            Some(at) => self.slots.get(at as usize),
            None => self.aside.get(&number),
        };
        match slot {
            Some(Slot { state: State::UnderWay(flight), .. }) => flight.given_up.is_some(),
            Some(Slot { state: State::Settled(_) | State::Taken, .. }) | None => true,
        }
    }

    /// What became of a request; it is told once.
    pub fn outcome(&mut self, number: u64) -> Option<Outcome> {
        let slot = self.slot(number)?;
        match std::mem::replace(&mut slot.state, State::Taken) {
            State::Settled(outcome) => {
                self.forget(number);
                Some(outcome)
            }
            State::UnderWay(mut flight) => {
                let outcome = flight.given_up.take();
                slot.state = State::UnderWay(flight);
                outcome
            }
            State::Taken => None,
        }
    }

    fn put_state(&mut self, number: u64, state: State) {
        if let Some(slot) = self.slot(number) {
            slot.state = state;
        }
    }

    /// Nobody will ask what became of it. Whoever waits for a lock or at a barrier withdraws.
    pub fn abandon(&mut self, now: Time, number: u64) {
        let Some(slot) = self.slot(number) else { return };
        match &mut slot.state {
            State::UnderWay(flight) if flight.sent.is_some() => {
                (flight.whose, flight.given_up) = (Whose::Nobody, None);
                if matches!(flight.request, Request::Lock { .. } | Request::Arrive { .. }) {
                    let withdraw = Request::Withdraw { request: number };
                    self.ask_for(now, withdraw, Bytes::new(), Whose::Nobody);
                }
            }
            State::UnderWay(_) => self.settle(number, None),
            State::Settled(_) | State::Taken => self.forget(number),
        }
    }

    /// Nobody needs the slot any more.
    fn forget(&mut self, number: u64) {
        if number < self.first {
            self.aside.remove(&number);
        } else {
            self.put_state(number, State::Taken);
            self.shorten_row();
        }
    }

    /// Gives a lock back, the page as it is, and waits for nothing.
    pub fn unlock(&mut self, now: Time, page: PageNo, token: Token) {
        // Answers that nobody hurries must not fill what callers have for their own requests.
        let is_crowded = self.under_way >= RESERVE;
        let commit = if is_crowded { Commit::Nothing } else { Commit::Unawaited };
        let request = Request::Unlock { page, token, commit };
        self.ask_for(now, request, Bytes::new(), Whose::Nobody);
    }

    /// Leaves: the home frees at once what the session has.
    pub fn detach(&mut self, now: Time) {
        if self.is_up() {
            self.ask_for(now, Request::Detach, Bytes::new(), Whose::Nobody);
        }
    }

    /// Moves on the number below which everything is settled, and forgets slots that nobody needs.
    fn shorten(&mut self) {
        while self.answered < self.next_number() && self.is_settled_here(self.answered) {
            self.answered += 1;
        }
        self.shorten_row();
    }

    /// The home needs to know nothing of this number any more.
    fn is_settled_here(&mut self, number: u64) -> bool {
        self.flight(number).is_none()
    }

    fn shorten_row(&mut self) {
        loop {
            match self.slots.front() {
                Some(Slot { state: State::Taken, .. }) => {
                    self.slots.pop_front();
                }
                Some(_) if self.slots.len() > ROW_MAX => {
                    let slot = self.slots.pop_front();
                    self.aside.extend(slot.map(|slot| (self.first, slot)));
                }
                Some(_) | None => break,
            }
            self.first += 1;
        }
    }

    // Answers.

    fn answer(&mut self, now: Time, number: u64, answer: Answer, bytes: Bytes) {
        let Some(slot) = self.slot(number) else { return };
        let state = std::mem::replace(&mut slot.state, State::Taken);
        let State::UnderWay(flight) = state else {
            // Answered twice, after a loss.
            slot.state = state;
            return;
        };
        // A slice of what was read from the socket would keep all of that in memory.
        let bytes = Bytes::copy_from_slice(&bytes);
        self.under_way -= 1;
        let sent = flight.sent.unwrap_or(Time(0));
        self.heard_of(now, sent);
        self.note(sent, number, &flight, &answer, &bytes);
        match (&flight.request, &answer) {
            (Request::Lock { page, .. }, Answer::Locked { token, .. })
                if flight.whose == Whose::Nobody =>
            {
                self.unlock(now, *page, *token);
            }
            (
                Request::Unlock { page, token, commit: Commit::Bytes { .. } },
                Answer::Refused(refusal),
            ) if !matches!(refusal, Refusal::StaleToken { .. }) => {
                // What was to be written was refused, and the lock is still ours.
                self.unlock(now, *page, *token);
            }
            _ => {}
        }
        match flight.whose {
            Whose::Caller => {
                self.put_state(number, State::Settled(Outcome::Answered(answer, bytes)));
            }
            Whose::Nobody => match flight.given_up {
                Some(outcome) => self.put_state(number, State::Settled(outcome)),
                None => self.forget(number),
            },
            Whose::Watch(id) => {
                self.forget(number);
                self.watching(id, answer);
            }
            Whose::Probe => {
                self.forget(number);
                self.probe = None;
                self.probed(now, sent);
            }
        }
        self.shorten();
    }
}

/// What an answer says of locks, pages and the region.
impl Session {
    fn note(&mut self, sent: Time, number: u64, flight: &Flight, answer: &Answer, bytes: &Bytes) {
        if let Request::Read { page, .. } = &flight.request
            && self.reading.get(page) == Some(&number)
        {
            self.reading.remove(page);
        }
        match (&flight.request, answer) {
            (Request::Read { page, .. }, Answer::Unchanged { version }) => {
                self.cache.verify(*page, *version, sent);
            }
            (Request::Read { page, .. }, Answer::Page { version }) => {
                self.cache.learn(*page, *version, bytes.clone(), sent);
            }
            (Request::Lock { page, .. }, Answer::Locked { token, version }) => {
                self.held.insert(*page, Held { token: *token, version: *version });
                if bytes.is_empty() {
                    self.cache.verify(*page, *version, sent);
                } else {
                    self.cache.learn(*page, *version, bytes.clone(), sent);
                }
            }
            (Request::Update { page, offset, if_version, .. }, Answer::Committed { version }) => {
                let writes = std::iter::once((*offset, &flight.bytes[..]));
                let base = self.whole(flight.bytes.len(), *page).or(*if_version);
                self.cache.committed(*page, base, *version, writes, sent);
            }
            (
                Request::Unlock { page, commit: Commit::Bytes { offset }, .. },
                Answer::Committed { version },
            ) => {
                let writes = std::iter::once((*offset, &flight.bytes[..]));
                self.cache.committed(*page, flight.base, *version, writes, sent);
            }
            (Request::Transact { reads, writes }, Answer::Transacted { versions }) => {
                for (page, version) in reads {
                    self.cache.verify(*page, *version, sent);
                }
                self.transacted(reads, writes, &flight.bytes, versions, sent);
            }
            (_, Answer::Conflict { pages }) => {
                let size = self.page_size.max(1);
                let mut rest = bytes.chunks_exact(size);
                for (page, version) in pages {
                    self.cache.told(*page, *version);
                    if let Some(page_bytes) = rest.next() {
                        let page_bytes = Bytes::copy_from_slice(page_bytes);
                        self.cache.learn(*page, *version, page_bytes, sent);
                    }
                }
            }
            (_, Answer::Grown { pages }) => self.pages = self.pages.max(*pages),
            (_, Answer::Stat(about)) => self.pages = self.pages.max(about.pages),
            (_, Answer::Refused(Refusal::NoSuchPage { pages, .. })) => {
                self.pages = self.pages.max(*pages);
            }
            _ => {}
        }
    }

    /// A write of the whole page needs no bytes of before: any version that is here will do.
    fn whole(&mut self, length: usize, page: PageNo) -> Option<Version> {
        (length == self.page_size).then(|| self.cache.version(page))
    }

    fn transacted(
        &mut self,
        reads: &[(PageNo, Version)],
        writes: &[Write],
        bytes: &Bytes,
        versions: &[Version],
        sent: Time,
    ) {
        // The versions are those of the pages in the order in which they were written first.
        let mut pages = Vec::new();
        let mut places: FxHashMap<PageNo, Vec<(u32, &[u8])>> = FxHashMap::default();
        let mut rest = &bytes[..];
        for write in writes {
            let Some((these, others)) = rest.split_at_checked(write.length as usize) else {
                return;
            };
            let of_page = places.entry(write.page).or_default();
            if of_page.is_empty() {
                pages.push(write.page);
            }
            of_page.push((write.offset, these));
            rest = others;
        }
        let reads: FxHashMap<PageNo, Version> = reads.iter().copied().collect();
        for (page, version) in pages.into_iter().zip(versions) {
            let of_page = places.remove(&page).unwrap_or_default().into_iter();
            let base = reads.get(&page).copied();
            self.cache.committed(page, base, *version, of_page, sent);
        }
    }

    /// A lock is given back: the version that its page had.
    fn release(&mut self, page: PageNo, token: Token) -> Option<Version> {
        match self.held.get(&page) {
            Some(held) if held.token == token => self.held.remove(&page).map(|held| held.version),
            Some(_) | None => None,
        }
    }

    /// The home has heard what was sent then. Locks whose lease was over before that was known here
    /// stay lost: others may have had them.
    fn heard_of(&mut self, now: Time, sent: Time) {
        if now >= self.safe + self.lease {
            self.held.clear();
        }
        self.safe = self.safe.max(sent);
    }

    /// The lock was not lost yet, as far as this side knows.
    pub fn holds(&self, now: Time, page: PageNo, token: Token) -> bool {
        let held = self.held.get(&page).is_some_and(|held| held.token == token);
        held && now < self.safe + self.lease
    }
}

/// Reads, and what is known without asking.
impl Session {
    /// The bytes of a page if they were the latest after `since`; else they are asked for, unless
    /// somebody does so already.
    pub fn read(&mut self, now: Time, page: PageNo, since: Time) -> Reading {
        if let Some(entry) = self.cache.fresh(page, since) {
            return Reading::There(entry.version, entry.bytes.clone());
        }
        if let Some(number) = self.reading.get(&page) {
            return Reading::Joined(*number);
        }
        let known = self.cache.version(page);
        let number = self.ask(now, Request::Read { page, known }, Bytes::new());
        if !self.is_settled(number) {
            self.reading.insert(page, number);
        }
        Reading::Asked(number)
    }

    /// The bytes of a page without asking, if they are no older than that.
    pub fn cached(&mut self, now: Time, page: PageNo, max_age: Span) -> Option<(Version, Bytes)> {
        let since = Time(now.0.saturating_sub(max_age.0).max(1));
        let entry = self.cache.fresh(page, since)?;
        entry.used = now;
        entry.max_age = max_age;
        Some((entry.version, entry.bytes.clone()))
    }

    /// The same page is not fresh enough, again: from now on the home tells of it.
    pub fn keep_fresh(&mut self, now: Time, page: PageNo, max_age: Span) {
        let Some(entry) = self.cache.get(page) else { return };
        let again = now.since(entry.used) < CACHE_IDLE;
        entry.used = now;
        entry.max_age = max_age;
        let is_kept = self.kept.iter().any(|(kept, _)| *kept == page);
        if again && !is_kept && max_age >= CACHE_AGE_MIN && self.kept.len() < CACHE_WATCHES_MAX {
            let id = self.begin_watch(now, page, 1, Some(page));
            self.kept.push((page, id));
            self.next_fresh = now;
        }
    }

    /// The bytes of a page as of some time, unless newer ones are known to be elsewhere.
    pub fn known(&mut self, page: PageNo) -> Option<(Version, Bytes)> {
        self.cache.fresh(page, Time(0)).map(|entry| (entry.version, entry.bytes.clone()))
    }

    /// The version whose bytes are here.
    pub fn known_version(&mut self, page: PageNo) -> Version {
        self.cache.version(page)
    }

    /// It is time to say that the session is there, or to have cached pages verified.
    fn probe(&mut self, now: Time) {
        if self.probe.is_none() {
            self.probe = Some(now);
            self.ask_for(now, Request::Renew, Bytes::new(), Whose::Probe);
        }
    }

    /// Everything that the home had to tell before `sent` was told before it answered.
    fn probed(&mut self, now: Time, sent: Time) {
        let mut fresh_for: Option<Span> = None;
        for (page, id) in std::mem::take(&mut self.kept) {
            // What was told later than that may not be all that there was to tell.
            let in_force = self.watches.get(&id).filter(|watch| {
                watch.sequence.is_some() && watch.refused.is_none() && watch.told < sent
            });
            let since = in_force.map_or(Time::NEVER, |watch| watch.since);
            match self.cache.get(page) {
                Some(entry) if now.since(entry.used) < CACHE_IDLE => {
                    if entry.verified >= since {
                        entry.verified = entry.verified.max(sent);
                    }
                    let wanted = entry.max_age;
                    fresh_for = Some(fresh_for.map_or(wanted, |least| least.min(wanted)));
                    self.kept.push((page, id));
                }
                Some(_) | None => self.unwatch(now, id),
            }
        }
        let period = |span: Span| Span((span.0 / 2).clamp(CACHE_AGE_MIN.0 / 2, self.third().0));
        self.next_fresh = fresh_for.map_or(Time::NEVER, |span| sent + period(span));
    }
}

#[cfg(test)]
mod tests;
