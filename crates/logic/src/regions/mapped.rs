//! The copy side of coherent pages: what one process has of them, and what it is asked to give back.
//!
//! ```text
//!                 granted to read              granted to write
//!   Nothing ────────────────────────▶ Read ────────────────────────▶ Write
//!      ▲  ▲───────── recalled ──────────┘ ◀──── recalled to read ──────┘ │
//!      └──────────────────────────── recalled ────────────────────────────┘
//! ```
//!
//! The rules that make it right, by the numbers of the design: (1) what is given back is protected
//! first, then copied, then sent, so that no write falls between: the driver's `TakeBack`. (2) A page
//! to read is installed protected. (3) A fault says whether it wants to write, and so does the fetch.
//! (4) A grant without bytes is for the copy of the version before, or it is asked for again. (5) A
//! recall is answered at once, whatever is fetched. (6) A fault that is satisfied by now is woken.
//! (7) A page that was just taken from another stays for the hold that came with it. (8) Nothing here
//! touches the memory; who does, must not where a page may be missing.
//!
//! A connection may break. Within the lease the session comes back, and everything that may not have
//! arrived is sent again in its order: what was given back is kept until it is known to be at home. If
//! the lease is over, or may be, by this clock, the pages may be another's: `Broken`, and the driver
//! takes the memory away, so that nobody computes with what is not so any more.
//!
//! Elsewhere: the home (`coherent`), the thread that obeys (`memory::mapped`).

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};

use bytes::Bytes;
use wire::limits::{COHERENT_HOLD_MAX, YIELDS_UNHEARD_MAX};
use wire::region::{Access, Ask, PageNo, Recall, Refusal, Request, Version};
use wire::units::{Span, Time};

#[derive(Debug)]
pub enum Event {
    /// A thread touched a page and waits.
    Fault {
        page: PageNo,
        access: Access,
    },
    Granted {
        request: u64,
        access: Access,
        version: Version,
        hold: Span,
        bytes: Option<Bytes>,
    },
    /// An answer without more to it.
    Done {
        request: u64,
    },
    Refused {
        request: u64,
        refusal: Refusal,
    },
    Recalled(Recall),
    /// What `TakeBack` was for, before any other effect is carried out.
    TakenBack {
        page: PageNo,
        bytes: Bytes,
    },
    /// The connection is lost.
    Away,
    /// The session is back; `asked`: when it was asked for.
    Resumed {
        asked: Time,
    },
    /// Nobody touches the memory any more: give everything back.
    Close,
    Tick,
}

#[derive(Debug, PartialEq, Eq)]
pub enum Effect {
    Send {
        request: u64,
        ask: Ask,
        bytes: Bytes,
    },
    /// Put the page in place, where there is none, protected unless it may be written; wake.
    Install {
        page: PageNo,
        bytes: Bytes,
        access: Access,
    },
    /// Let it be written; wake.
    Open {
        page: PageNo,
    },
    /// Take it away; wake, so that who waits faults anew.
    Discard {
        page: PageNo,
    },
    Wake {
        page: PageNo,
    },
    /// Protect it and copy it out, then discard it unless it is kept; then `TakenBack`.
    TakeBack {
        page: PageNo,
        keep: Access,
    },
    /// Everything is given back and the session over.
    Closed,
    Broken(Broken),
}

/// Why the memory cannot be used any more.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Broken {
    #[error("nothing was heard of the region's node for as long as its lease")]
    Lease,
    #[error("the node refused a page: {0:?}")]
    Refused(Refusal),
}

/// Figures of one mapping.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Times a thread waited for a page.
    pub faults: u64,
    /// Grants that brought bytes.
    pub fetched: u64,
    /// Grants that needed none: the copy became writable.
    pub upgraded: u64,
    /// Pages that others took, or took the right to write from.
    pub recalled: u64,
}

/// What one process has of a coherent region. After each `handle`, drain `poll_effect`, then sleep
/// until `poll_timeout`.
#[derive(Debug)]
pub struct Mapped {
    pages: HashMap<PageNo, Page>,
    /// Recalls that wait for the end of a hold.
    held: BTreeSet<(Time, PageNo)>,
    next: u64,
    /// Requests that are not answered, or not known to have arrived, in the order of sending.
    sent: BTreeMap<u64, Sent>,
    yields: usize,
    renewing: bool,
    lease: Span,
    renew_at: Time,
    /// The home heard of this session no earlier than this.
    vouched: Time,
    phase: Phase,
    traffic: Traffic,
    effects: VecDeque<Effect>,
    #[cfg(test)]
    pub(super) bug: Option<Bug>,
}

/// What the simulation must find.
#[cfg(test)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Bug {
    /// The driver copies a page out while it can be written.
    CopiesUnprotected,
    /// The home believes what a request says is there, and the copy any grant.
    GrantsUnseen,
    /// The home leaves out one of several readers when somebody wants to write.
    ForgetsReader,
    /// The copy goes on with its pages when its session comes back after the lease.
    ResumesLate,
}

#[derive(Debug, PartialEq, Eq)]
enum Phase {
    Here,
    Away,
    Closing { detach: u64 },
    Over,
}

#[derive(Debug)]
struct Page {
    state: State,
    /// The request that is under way for it.
    wanted: Option<(u64, Access)>,
    /// What is left to keep, once the hold is over.
    recalled: Option<Access>,
    held_until: Time,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Nothing,
    Read(Version),
    Write(Version),
}

#[derive(Debug)]
struct Sent {
    at: Time,
    what: What,
}

#[derive(Debug)]
enum What {
    Fetch { page: PageNo, access: Access },
    Yielded { page: PageNo, kept: Access, version: Version, bytes: Bytes },
    Renew,
    Detach,
}

impl State {
    fn access(self) -> Access {
        match self {
            Self::Nothing => Access::Nothing,
            Self::Read(_) => Access::Read,
            Self::Write(_) => Access::Write,
        }
    }

    fn version(self) -> Version {
        match self {
            Self::Nothing => Version(0),
            Self::Read(version) | Self::Write(version) => version,
        }
    }
}

impl Mapped {
    /// `now`: when the session was asked for. `first`: the number of its first request.
    pub fn new(now: Time, lease: Span, first: u64) -> Self {
        Self {
            pages: HashMap::new(),
            held: BTreeSet::new(),
            next: first,
            sent: BTreeMap::new(),
            yields: 0,
            renewing: false,
            lease,
            renew_at: now + Span(lease.0 / 3),
            vouched: now,
            phase: Phase::Here,
            traffic: Traffic::default(),
            effects: VecDeque::new(),
            #[cfg(test)]
            bug: None,
        }
    }

    pub fn traffic(&self) -> Traffic {
        self.traffic
    }

    pub fn handle(&mut self, now: Time, event: Event) {
        if self.phase == Phase::Over {
            return;
        }
        match event {
            Event::Fault { page, access } => self.fault(now, page, access),
            Event::Granted { request, access, version, hold, bytes } => {
                if let Some(page) = self.heard(request).and_then(|what| what.fetched()) {
                    self.granted(now, page, access, version, hold, bytes);
                }
            }
            Event::Done { request } => {
                self.heard(request);
                if self.phase == (Phase::Closing { detach: request }) {
                    self.phase = Phase::Over;
                    self.effects.push_back(Effect::Closed);
                }
            }
            Event::Refused { request, refusal } => {
                // A lease that could not be renewed ends by itself; a page that is not given leaves
                // a thread that cannot go on.
                if self.heard(request).is_some_and(|what| what.fetched().is_some()) {
                    self.broken(Broken::Refused(refusal));
                }
            }
            Event::Recalled(recall) => self.recalled(now, recall),
            Event::TakenBack { page, bytes } => self.taken_back(page, bytes),
            Event::Away if self.phase == Phase::Here => self.phase = Phase::Away,
            // Nobody is left who could come back: what did not arrive is lost.
            Event::Away if matches!(self.phase, Phase::Closing { .. }) => {
                self.broken(Broken::Lease);
            }
            Event::Away => {}
            Event::Resumed { asked } => self.resumed(now, asked),
            Event::Close => self.close(now),
            Event::Tick => self.tick(now),
        }
    }

    pub fn poll_effect(&mut self) -> Option<Effect> {
        self.effects.pop_front()
    }

    pub fn poll_timeout(&self) -> Time {
        let hold = self.held.first().map_or(Time::NEVER, |(at, _)| *at);
        match self.phase {
            Phase::Here if self.renewing => hold.min(self.vouched + self.lease),
            Phase::Here => hold.min(self.renew_at).min(self.vouched + self.lease),
            Phase::Away | Phase::Closing { .. } => hold.min(self.vouched + self.lease),
            Phase::Over => Time::NEVER,
        }
    }

    fn fault(&mut self, now: Time, number: PageNo, access: Access) {
        self.traffic.faults += 1;
        let page = self.page(number);
        if page.state.access() >= access {
            // The kernel's message was on its way while the page came.
            self.effects.push_back(Effect::Wake { page: number });
        } else if page.wanted.is_none() {
            self.fetch(now, number, access);
        }
        // Else something is under way: when it comes, all are woken, and who needs more faults anew.
    }

    fn fetch(&mut self, now: Time, number: PageNo, access: Access) {
        let request = self.send(now, What::Fetch { page: number, access });
        self.page(number).wanted = Some((request, access));
    }

    fn granted(
        &mut self,
        now: Time,
        number: PageNo,
        access: Access,
        version: Version,
        hold: Span,
        bytes: Option<Bytes>,
    ) {
        #[cfg(test)]
        let believes = self.bug == Some(Bug::GrantsUnseen);
        #[cfg(not(test))]
        let believes = false;
        let hold = Span(hold.0.min(COHERENT_HOLD_MAX.0));
        let page = self.page(number);
        let had = page.state;
        page.wanted = None;
        page.held_until = now + hold;
        let state = match access {
            Access::Write => State::Write(version),
            Access::Read | Access::Nothing => State::Read(version),
        };
        match (bytes, had) {
            (Some(bytes), _) => {
                page.state = state;
                self.traffic.fetched += 1;
                if had != State::Nothing {
                    self.effects.push_back(Effect::Discard { page: number });
                }
                self.effects.push_back(Effect::Install { page: number, bytes, access });
            }
            (None, State::Read(Version(seen))) if version.0 == seen + 1 => {
                page.state = state;
                self.traffic.upgraded += 1;
                self.effects.push_back(Effect::Open { page: number });
            }
            (None, State::Nothing | State::Read(_) | State::Write(_)) if believes => {
                page.state = state;
                self.traffic.upgraded += 1;
                self.effects.push_back(Effect::Open { page: number });
            }
            (None, State::Read(seen)) if access == Access::Read && version == seen => {
                self.effects.push_back(Effect::Wake { page: number });
            }
            (None, State::Nothing | State::Read(_) | State::Write(_)) => {
                // What the grant is for is not here. It says so by asking with nothing.
                if had != State::Nothing {
                    page.state = State::Nothing;
                    self.effects.push_back(Effect::Discard { page: number });
                }
                self.fetch(now, number, access);
            }
        }
    }

    fn recalled(&mut self, now: Time, recall: Recall) {
        let page = self.page(recall.page);
        let here = page.state.version();
        if here != recall.version {
            // A later copy than the one here was granted, and the grant lost with its connection: what
            // is here is not known at home any more. An earlier one was given back before.
            if here < recall.version && page.state != State::Nothing {
                page.state = State::Nothing;
                self.effects.push_back(Effect::Discard { page: recall.page });
            }
            let kept = Access::Nothing;
            let (page, version) = (recall.page, recall.version);
            self.send(now, What::Yielded { page, kept, version, bytes: Bytes::new() });
        } else if now < page.held_until {
            page.recalled = Some(page.recalled.map_or(recall.keep, |keep| keep.min(recall.keep)));
            let until = page.held_until;
            self.held.insert((until, recall.page));
        } else {
            self.take_back(now, recall.page, recall.keep);
        }
    }

    /// Gives a page back that is here.
    fn take_back(&mut self, now: Time, number: PageNo, keep: Access) {
        self.traffic.recalled += 1;
        let page = self.page(number);
        page.recalled = None;
        match page.state {
            State::Write(version) => {
                page.state = match keep {
                    Access::Nothing => State::Nothing,
                    Access::Read | Access::Write => State::Read(version),
                };
                // Sent under this version when its bytes are known, which is before anything else.
                let kept = page.state.access();
                let what = What::Yielded { page: number, kept, version, bytes: Bytes::new() };
                self.effects.push_back(Effect::TakeBack { page: number, keep: kept });
                self.record(now, what);
            }
            State::Read(version) => {
                let kept = keep.min(Access::Read);
                if kept == Access::Nothing {
                    page.state = State::Nothing;
                    self.effects.push_back(Effect::Discard { page: number });
                }
                self.send(now, What::Yielded { page: number, kept, version, bytes: Bytes::new() });
            }
            State::Nothing => {}
        }
    }

    fn taken_back(&mut self, number: PageNo, taken: Bytes) {
        let open = self.sent.iter_mut().rev().find_map(|(request, sent)| match &mut sent.what {
            What::Yielded { page, bytes, .. } if *page == number => Some((*request, bytes)),
            What::Yielded { .. } | What::Fetch { .. } | What::Renew | What::Detach => None,
        });
        let Some((request, bytes)) = open else { return };
        *bytes = taken;
        if self.phase != Phase::Away
            && let Some(effect) = self.transmission(request)
        {
            // In its turn: what was sent after it is in the queue already.
            self.effects.push_front(effect);
        }
    }

    fn resumed(&mut self, now: Time, asked: Time) {
        if self.phase != Phase::Away {
            return;
        }
        #[cfg(test)]
        let believes = self.bug == Some(Bug::ResumesLate);
        #[cfg(not(test))]
        let believes = false;
        // The home knows a session for longer than its pages: that it let this one in does not say that
        // nobody else was given them meanwhile.
        if now >= self.vouched + self.lease && !believes {
            self.broken(Broken::Lease);
            return;
        }
        self.phase = Phase::Here;
        self.vouched = self.vouched.max(asked);
        let all: Vec<u64> = self.sent.keys().copied().collect();
        for request in all {
            self.transmit(request);
        }
    }

    fn close(&mut self, now: Time) {
        if self.phase == Phase::Away {
            self.broken(Broken::Lease);
            return;
        }
        let mut written: Vec<PageNo> = self
            .pages
            .iter()
            .filter(|(_, page)| matches!(page.state, State::Write(_)))
            .map(|(number, _)| *number)
            .collect();
        written.sort_unstable();
        for number in written {
            self.take_back(now, number, Access::Nothing);
        }
        // Bytes are put in by `TakenBack`, before this is sent: effects are carried out in order.
        let detach = self.send(now, What::Detach);
        self.phase = Phase::Closing { detach };
    }

    fn tick(&mut self, now: Time) {
        while let Some(&(at, number)) = self.held.first() {
            if at > now {
                break;
            }
            self.held.pop_first();
            let page = self.page(number);
            if let Some(keep) = page.recalled.filter(|_| page.held_until <= now) {
                self.take_back(now, number, keep);
            }
        }
        if now >= self.vouched + self.lease {
            self.broken(Broken::Lease);
        } else if self.phase == Phase::Here && !self.renewing && now >= self.renew_at {
            self.renew(now);
        }
    }

    fn renew(&mut self, now: Time) {
        self.renewing = true;
        self.renew_at = now + Span(self.lease.0 / 3);
        self.send(now, What::Renew);
    }

    fn broken(&mut self, why: Broken) {
        self.phase = Phase::Over;
        self.effects.push_back(Effect::Broken(why));
    }

    /// An answer came: so everything that was sent before it has arrived.
    fn heard(&mut self, request: u64) -> Option<What> {
        let Sent { at, what } = self.sent.remove(&request)?;
        self.vouched = self.vouched.max(at);
        self.renewing &= !matches!(what, What::Renew);
        if self.yields > 0 {
            let arrived = self
                .sent
                .range(..request)
                .filter(|(_, sent)| matches!(sent.what, What::Yielded { .. }))
                .map(|(request, _)| *request)
                .collect::<Vec<u64>>();
            self.yields -= arrived.len();
            for request in arrived {
                self.sent.remove(&request);
            }
        }
        Some(what)
    }

    fn record(&mut self, now: Time, what: What) -> u64 {
        let request = self.next;
        self.next += 1;
        let is_yield = matches!(what, What::Yielded { .. });
        self.sent.insert(request, Sent { at: now, what });
        if is_yield {
            self.yields += 1;
            if self.yields > YIELDS_UNHEARD_MAX && !self.renewing && self.phase == Phase::Here {
                self.renew(now);
            }
        }
        request
    }

    fn send(&mut self, now: Time, what: What) -> u64 {
        let request = self.record(now, what);
        if self.phase != Phase::Away {
            self.transmit(request);
        }
        request
    }

    fn transmit(&mut self, request: u64) {
        let effect = self.transmission(request);
        self.effects.extend(effect);
    }

    fn transmission(&self, number: u64) -> Option<Effect> {
        let answered = self.sent.first_key_value().map_or(self.next, |(first, _)| *first) - 1;
        let (request, bytes) = match &self.sent.get(&number)?.what {
            What::Fetch { page, access } => {
                let has = self.pages.get(page).map_or(Version(0), |page| match page.state {
                    State::Read(version) => version,
                    State::Nothing | State::Write(_) => Version(0),
                });
                (Request::Fetch { page: *page, access: *access, has }, Bytes::new())
            }
            What::Yielded { page, kept, version, bytes } => {
                let (page, kept, version) = (*page, *kept, *version);
                (Request::Yielded { page, kept, version }, bytes.clone())
            }
            What::Renew => (Request::Renew, Bytes::new()),
            What::Detach => (Request::Detach, Bytes::new()),
        };
        Some(Effect::Send { request: number, ask: Ask { answered, request }, bytes })
    }

    fn page(&mut self, number: PageNo) -> &mut Page {
        self.pages.entry(number).or_insert(Page {
            state: State::Nothing,
            wanted: None,
            recalled: None,
            held_until: Time(0),
        })
    }
}

impl What {
    fn fetched(&self) -> Option<PageNo> {
        match self {
            Self::Fetch { page, .. } => Some(*page),
            Self::Yielded { .. } | Self::Renew | Self::Detach => None,
        }
    }
}

#[cfg(test)]
mod tests;
