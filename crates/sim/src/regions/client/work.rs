//! What a client does with its region, one thing after the other, and what it tells of it.

use std::collections::BTreeMap;
use std::ops::Range;

use bytes::{Buf, Bytes};
use verdict::{Act, Fact, Op, Put};
use wire::region::{Answer, Commit, PageNo, Request, Token, Version, Write};
use wire::units::{Span, Time};

use super::Client;
use crate::regions::goals::{self, Goal, Next};
use crate::regions::pages::{BANK, COUNTERS, LINE, LOCKED, PAGE, PAGES, RING, number, words};
use crate::regions::scene::Scene;

/// Conflicts of one goal in a row, after which it is let be.
const TRIES: u32 = 20;

/// What a request was for: enough to tell of it.
#[derive(Clone, Debug)]
pub(crate) enum Asked {
    Read {
        page: u64,
        begin: Time,
    },
    Commit(Box<Wanted>),
    /// All of these at once, or which have changed.
    Look {
        begin: Time,
        pages: Vec<Fact>,
    },
    Lock {
        page: u64,
        begin: Time,
    },
    Release {
        page: u64,
        token: u64,
        begin: Time,
    },
    Barrier {
        begin: Time,
    },
    Watch,
    /// For the watch that missed something.
    CatchUp {
        page: u64,
        begin: Time,
    },
    Other,
}

/// A commit that was asked for.
#[derive(Clone, Debug)]
pub(crate) struct Wanted {
    begin: Time,
    reads: Vec<Fact>,
    writes: Vec<Put>,
    token: Option<u64>,
}

#[derive(Debug)]
enum Doing {
    Pause(Time),
    /// Collects what its goal needs, then commits on that.
    Reading {
        goal: Goal,
        got: BTreeMap<u64, Fact>,
        tries: u32,
    },
    /// Until nothing is under way.
    Waiting,
    Locking {
        number: u64,
        withdraw: Time,
    },
    Holding {
        until: Time,
        token: u64,
        page: Fact,
    },
}

/// One that passed a barrier.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Passed {
    pub(crate) begin: Time,
    pub(crate) end: Time,
    pub(crate) round: u64,
}

#[derive(Debug)]
pub(crate) struct Work {
    left: u64,
    doing: Doing,
    /// Requests under way for what is being done.
    open: usize,
    pub(crate) passed: Option<Passed>,
}

impl Work {
    pub(crate) fn new(scene: &mut Scene) -> Self {
        let begin = scene.net.now + Span(scene.net.random.below(Span::from_millis(500).0));
        Self { left: scene.plan.goals, doing: Doing::Pause(begin), open: 0, passed: None }
    }

    pub(crate) fn is_done(&self) -> bool {
        self.left == 0 && self.open == 0 && matches!(self.doing, Doing::Pause(_))
    }

    pub(crate) fn holds(&self) -> bool {
        matches!(self.doing, Doing::Holding { .. })
    }

    /// When it goes on by itself.
    pub(crate) fn due(&self) -> Time {
        match self.doing {
            Doing::Pause(until) if self.left > 0 => until,
            Doing::Holding { until, .. } => until,
            Doing::Locking { withdraw, .. } => withdraw,
            Doing::Pause(_) | Doing::Reading { .. } | Doing::Waiting => Time::NEVER,
        }
    }

    /// Nobody will ever know what became of this.
    pub(crate) fn unknown(&mut self, scene: &mut Scene, client: usize, asked: Asked) {
        if matches!(asked, Asked::Watch | Asked::CatchUp { .. } | Asked::Other) {
            return;
        }
        self.open -= 1;
        self.doing = Doing::Waiting;
        if let Asked::Commit(wanted) = asked {
            record(scene, client, *wanted, None, vec![]);
        }
        if self.open == 0 {
            self.doing = Doing::Pause(scene.net.now);
        }
    }

    /// It was not done.
    fn void(&mut self, now: Time) {
        self.open -= 1;
        self.doing = if self.open == 0 { Doing::Pause(now) } else { Doing::Waiting };
    }

    /// A watch was told of a commit.
    pub(crate) fn told(&self, scene: &mut Scene, client: usize, page: u64, version: u64) {
        let act = Act::Seen { pages: vec![Fact::bare(page, version)] };
        tell(scene, client, scene.net.now, act);
    }
}

fn tell(scene: &mut Scene, client: usize, begin: Time, act: Act) {
    let end = Some(scene.net.now.0);
    scene.ops.push(Op { who: client as u64, begin: begin.0, end, act });
}

fn record(
    scene: &mut Scene,
    client: usize,
    wanted: Wanted,
    end: Option<u64>,
    versions: Vec<(u64, u64)>,
) {
    let Wanted { begin, reads, writes, token } = wanted;
    let act = Act::Commit { reads, writes, versions, token };
    scene.ops.push(Op { who: client as u64, begin: begin.0, end, act });
}

fn one_of(scene: &mut Scene, range: Range<u64>) -> u64 {
    range.start + scene.net.random.below(range.end - range.start)
}

impl Client {
    /// Does what can be done now.
    pub(crate) fn work_on(&mut self, scene: &mut Scene) {
        let now = scene.net.now;
        loop {
            match &mut self.work.doing {
                Doing::Pause(until) => {
                    if self.work.left == 0 || now < *until {
                        return;
                    }
                    self.work.left -= 1;
                    self.begin(scene);
                }
                Doing::Waiting => {
                    if self.work.open > 0 {
                        return;
                    }
                    let pause = Span(scene.net.random.below(2 * scene.plan.pause.0 + 1));
                    self.work.doing = Doing::Pause(now + pause);
                }
                Doing::Reading { goal, got, .. } => {
                    if self.work.open > 0 {
                        return;
                    }
                    let (goal, got) = (goal.clone(), got.clone());
                    self.go_on(scene, &goal, &got);
                }
                Doing::Locking { number, withdraw } => {
                    if now < *withdraw {
                        return;
                    }
                    *withdraw = Time::NEVER;
                    let request = Request::Withdraw { request: *number };
                    self.ask(scene, request, Bytes::new(), Asked::Other);
                }
                Doing::Holding { until, token, page } => {
                    if now < *until {
                        return;
                    }
                    let (token, page) = (*token, page.clone());
                    self.unlock(scene, token, &page);
                }
            }
        }
    }

    /// What was asked was not done.
    pub(super) fn void(&mut self, now: Time, asked: &Asked) {
        if !matches!(asked, Asked::Watch | Asked::CatchUp { .. } | Asked::Other) {
            self.work.void(now);
        }
    }

    fn want(&mut self, scene: &mut Scene, request: Request, bytes: Bytes, asked: Asked) -> u64 {
        self.work.open += 1;
        self.ask(scene, request, bytes, asked)
    }

    fn begin(&mut self, scene: &mut Scene) {
        let begin = scene.net.now;
        let goal = match scene.net.random.below(12) {
            0 | 1 => Goal::Count(one_of(scene, COUNTERS)),
            2 | 3 => {
                let (from, to) = (one_of(scene, BANK), one_of(scene, BANK));
                Goal::Pay { from, to }
            }
            4 => Goal::Turn(one_of(scene, RING)),
            5 => {
                let all = [BANK, RING, LINE];
                Goal::Look(all[scene.net.random.index(all.len())].clone())
            }
            6 => Goal::Push,
            7 => Goal::Pop,
            8 | 9 => {
                let page = one_of(scene, LOCKED);
                let wait = match scene.net.random.below(4) {
                    0 => Some(Span(0)),
                    1 => Some(scene.net.random.span(Span::from_millis(1), Span::from_secs(2))),
                    _ => None,
                };
                let withdraw = if wait.is_none() && scene.net.random.below(4) == 0 {
                    begin + scene.net.random.span(Span::from_millis(1), Span::from_secs(2))
                } else {
                    Time::NEVER
                };
                let known = self.cache.get(&page).map_or(0, |(version, _)| *version);
                let request = Request::Lock { page: PageNo(page), known: Version(known), wait };
                let asked = Asked::Lock { page, begin };
                let number = self.want(scene, request, Bytes::new(), asked);
                self.work.doing = Doing::Locking { number, withdraw };
                return;
            }
            _ => {
                self.scribble(scene);
                self.work.doing = Doing::Waiting;
                return;
            }
        };
        self.work.doing = Doing::Reading { goal, got: BTreeMap::new(), tries: 0 };
    }

    /// Some updates and reads at once, on any pages; of the update's page only eight bytes.
    fn scribble(&mut self, scene: &mut Scene) {
        let begin = scene.net.now;
        for _ in 0..1 + scene.net.random.below(6) {
            let page = one_of(scene, 0..PAGES);
            let max_age = scene.net.random.span(Span::from_millis(1), Span::from_millis(500));
            if let Some((version, bytes)) = self.cached(begin, page, max_age) {
                // As if it had been asked for so much earlier.
                let begin = Time(begin.0.saturating_sub(max_age.0));
                let pages = vec![Fact::new(page, version, &bytes)];
                tell(scene, self.at, begin, Act::Read { pages });
                continue;
            }
            if scene.net.random.below(2) == 0 {
                self.work.open += 1;
                self.read(scene, page, Asked::Read { page, begin: scene.net.now });
                continue;
            }
            let offset = 16 + 8 * scene.net.random.index((PAGE - 16) / 8);
            let put = Put::new(page, offset, &scene.tag().to_le_bytes());
            let bytes = Bytes::from(put.bytes.clone());
            let (reads, writes) = (vec![], vec![put]);
            let wanted = Wanted { begin, reads, writes, token: None };
            let request = Request::Update {
                page: PageNo(page),
                offset: offset as u32,
                if_version: None,
                at_least: Version(0),
            };
            self.want(scene, request, bytes, Asked::Commit(Box::new(wanted)));
        }
    }

    fn go_on(&mut self, scene: &mut Scene, goal: &Goal, got: &BTreeMap<u64, Fact>) {
        let begin = scene.net.now;
        match goals::next(goal, got) {
            Next::Read(pages) => {
                for page in pages {
                    self.work.open += 1;
                    self.read(scene, page, Asked::Read { page, begin: scene.net.now });
                }
            }
            Next::Nothing => self.work.doing = Doing::Waiting,
            Next::Look => {
                let pages: Vec<Fact> = got.values().cloned().collect();
                let reads = pages.iter().map(|fact| (PageNo(fact.page), Version(fact.version)));
                let request = Request::Transact { reads: reads.collect(), writes: vec![] };
                self.want(scene, request, Bytes::new(), Asked::Look { begin, pages });
            }
            Next::Commit { reads, writes } => {
                let reads: Vec<Fact> =
                    reads.iter().filter_map(|page| got.get(page).cloned()).collect();
                let tag = scene.tag();
                let writes: Vec<Put> = writes
                    .iter()
                    .map(|(page, number)| Put::new(*page, 0, &words(*number, tag)))
                    .collect();
                let bytes: Vec<u8> = writes.iter().flat_map(|put| put.bytes.clone()).collect();
                let request = if let Goal::Count(page) = goal {
                    let version = reads.first().map(|read| Version(read.version));
                    Request::Update {
                        page: PageNo(*page),
                        offset: 0,
                        if_version: version,
                        at_least: Version(0),
                    }
                } else {
                    let write = |put: &Put| {
                        let (page, length) = (PageNo(put.page), put.bytes.len() as u32);
                        Write { page, offset: put.offset as u32, length }
                    };
                    let version = |read: &Fact| (PageNo(read.page), Version(read.version));
                    let (reads, writes) = (reads.iter().map(version), writes.iter().map(write));
                    Request::Transact { reads: reads.collect(), writes: writes.collect() }
                };
                let wanted = Wanted { begin, reads, writes, token: None };
                self.want(scene, request, bytes.into(), Asked::Commit(Box::new(wanted)));
            }
        }
    }

    fn unlock(&mut self, scene: &mut Scene, token: u64, page: &Fact) {
        let begin = scene.net.now;
        let (number_of, at) = (PageNo(page.page), Token(token));
        self.work.doing = Doing::Waiting;
        if scene.net.random.below(4) == 0 {
            let request = Request::Unlock { page: number_of, token: at, commit: Commit::Nothing };
            let asked = Asked::Release { page: page.page, token, begin };
            self.want(scene, request, Bytes::new(), asked);
            return;
        }
        let before = page.bytes.as_deref().map_or(0, number);
        let put = Put::new(page.page, 0, &words(before.wrapping_add(1), scene.tag()));
        let bytes = Bytes::from(put.bytes.clone());
        let (reads, writes) = (vec![page.clone()], vec![put]);
        let wanted = Wanted { begin, reads, writes, token: Some(token) };
        let commit = Commit::Bytes { offset: 0 };
        let request = Request::Unlock { page: number_of, token: at, commit };
        self.want(scene, request, bytes, Asked::Commit(Box::new(wanted)));
    }

    pub(crate) fn arrive(&mut self, scene: &mut Scene, barrier: u64, parties: u32) {
        self.work.passed = None;
        self.work.doing = Doing::Waiting;
        let asked = Asked::Barrier { begin: scene.net.now };
        self.want(scene, Request::Arrive { barrier, parties }, Bytes::new(), asked);
    }

    pub(crate) fn look(&mut self, scene: &mut Scene) {
        self.work.doing = Doing::Waiting;
        for page in 0..PAGES {
            self.work.open += 1;
            self.read(scene, page, Asked::Read { page, begin: scene.net.now });
        }
    }

    /// A page with this version and these bytes, unless it is the one that is known.
    fn see(&mut self, page: u64, version: Version, bytes: &Bytes) -> Fact {
        let Version(version) = version;
        if bytes.is_empty() {
            let known = self.cache.get(&page).filter(|(known, _)| *known == version);
            let bytes = known.map(|(_, bytes)| bytes.to_vec());
            let bytes = bytes.or_else(|| self.known_to_library(page, version));
            return Fact { page, version, bytes };
        }
        if self.cache.get(&page).is_none_or(|(known, _)| *known < version) {
            self.cache.insert(page, (version, bytes.clone()));
        }
        Fact::new(page, version, bytes)
    }

    /// The answer to a read: tells of it. The page, as far as it is known.
    pub(crate) fn took_page(
        &mut self,
        scene: &mut Scene,
        (page, begin): (u64, Time),
        answer: &Answer,
        bytes: &Bytes,
    ) -> Fact {
        let (Answer::Page { version } | Answer::Unchanged { version }) = answer else {
            self.fail(&mut scene.net, &format!("a read was answered with {answer:?}"));
            return Fact::bare(page, 0);
        };
        let fact = self.see(page, *version, bytes);
        tell(scene, self.at, begin, Act::Read { pages: vec![fact.clone()] });
        fact
    }

    /// An answer for the work: tells of it, and goes on.
    pub(crate) fn took(
        &mut self,
        scene: &mut Scene,
        asked: Asked,
        answer: Answer,
        mut bytes: Bytes,
    ) {
        let (at, now) = (self.at, scene.net.now);
        self.work.open -= 1;
        match (asked, answer) {
            (Asked::Read { page, begin }, answer) => {
                let fact = self.took_page(scene, (page, begin), &answer, &bytes);
                if let Doing::Reading { got, .. } = &mut self.work.doing {
                    // A page of a conflict may be newer, and come without bytes.
                    let is_new = got.get(&page).is_none_or(|known| {
                        known.version < fact.version
                            || known.version == fact.version && known.bytes.is_none()
                    });
                    if fact.bytes.is_some() && is_new {
                        got.insert(page, fact);
                    }
                }
            }
            (Asked::Commit(wanted), Answer::Committed { version }) => {
                let page = wanted.writes[0].page;
                record(scene, at, *wanted, Some(now.0), vec![(page, version.0)]);
                self.work.doing = Doing::Waiting;
            }
            (Asked::Commit(wanted), Answer::Transacted { versions }) => {
                let mut pages: Vec<u64> = Vec::new();
                for put in &wanted.writes {
                    if !pages.contains(&put.page) {
                        pages.push(put.page);
                    }
                }
                if pages.len() != versions.len() {
                    self.fail(&mut scene.net, &format!("{pages:?} have {versions:?}"));
                }
                let versions = pages.into_iter().zip(versions.into_iter().map(|v| v.0)).collect();
                record(scene, at, *wanted, Some(now.0), versions);
                self.work.doing = Doing::Waiting;
            }
            (Asked::Look { begin, pages }, Answer::Transacted { .. }) => {
                if let Some(broken) = goals::broken(&pages) {
                    self.fail(&mut scene.net, &broken);
                }
                tell(scene, at, begin, Act::Read { pages });
                self.work.doing = Doing::Waiting;
            }
            (asked @ (Asked::Commit(_) | Asked::Look { .. }), Answer::Conflict { pages }) => {
                let (begin, read) = match asked {
                    Asked::Commit(wanted) => (wanted.begin, wanted.reads),
                    Asked::Look { begin, pages } => (begin, pages),
                    _ => (now, vec![]),
                };
                let mut facts = Vec::new();
                for (page, version) in pages {
                    let named = read.iter().find(|fact| fact.page == page.0);
                    if named.is_none_or(|named| named.version == version.0) {
                        self.fail(&mut scene.net, &format!("{page:?} conflicts with itself"));
                    }
                    let length = bytes.remaining().min(PAGE);
                    facts.push(self.see(page.0, version, &bytes.split_to(length)));
                }
                tell(scene, at, begin, Act::Read { pages: facts.clone() });
                self.again(facts);
            }
            (Asked::Commit(_) | Asked::Release { .. }, Answer::Refused(_)) => {
                self.work.doing = Doing::Waiting;
            }
            (Asked::Release { page, token, begin }, Answer::Released) => {
                tell(scene, at, begin, Act::Release { page, token });
                self.work.doing = Doing::Waiting;
            }
            (Asked::Lock { page, begin }, Answer::Locked { token, version }) => {
                let Doing::Locking { number, .. } = self.work.doing else {
                    return self.fail(&mut scene.net, "was given a lock that it did not wait for");
                };
                let fact = self.see(page, version, &bytes);
                let arrival = scene.arrivals.get(&(self.session, number)).copied();
                let lapses = scene.lapses.get(&self.session).copied().unwrap_or(0);
                let kept = arrival.filter(|arrival| arrival.lapses == lapses);
                // A home that was started again has begun a line of its own.
                let queued = kept.map(|arrival| (arrival.life << 40) + arrival.order);
                let act = Act::Grant { page: fact.clone(), token: token.0, queued };
                tell(scene, at, begin, act);
                let hold = Span(scene.net.random.below(scene.plan.hold.0 + 1));
                let until = now + hold;
                self.work.doing = Doing::Holding { until, token: token.0, page: fact };
            }
            (Asked::Lock { .. }, Answer::Busy) => self.work.doing = Doing::Waiting,
            (Asked::Barrier { begin }, Answer::Arrived { round }) => {
                self.work.passed = Some(Passed { begin, end: now, round });
            }
            (asked, answer) => {
                self.fail(&mut scene.net, &format!("{asked:?} was answered with {answer:?}"));
            }
        }
    }

    /// After a conflict: with what is known now.
    fn again(&mut self, facts: Vec<Fact>) {
        let Doing::Reading { got, tries, .. } = &mut self.work.doing else { return };
        *tries += 1;
        if *tries > TRIES {
            self.work.doing = Doing::Waiting;
            return;
        }
        got.extend(facts.into_iter().map(|fact| (fact.page, fact)));
    }
}
