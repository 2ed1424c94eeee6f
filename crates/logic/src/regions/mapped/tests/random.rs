//! Copies, their threads and a home, in an order of events drawn from a seed.
//!
//! Messages of a session stay in their order, everything else does not: threads run, faults are
//! reported late, connections break and come back, processes die. After each step every page has one
//! writer or any number of readers, and in the end no increment is missing.

use std::collections::HashSet;

use wire::region::SessionId;

use super::super::super::coherent::{self, Directory};
use super::*;

const PAGES: u64 = 3;

struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % end as u64) as usize
    }
}

/// What is wrong, in words.
type Finding = String;

#[derive(Clone, Copy)]
struct Setting {
    bug: Option<Bug>,
    breaks: bool,
    kills: bool,
    /// Sessions whose connection is broken come to the end of their lease.
    lapses: bool,
}

const LEASE: Span = Span::from_secs(1000);

struct World {
    random: Random,
    now: Time,
    home: Directory,
    hosts: Vec<Host>,
    setting: Setting,
    /// Hosts whose pages were taken for lost.
    killed: u64,
}

struct Host {
    session: SessionId,
    is_alive: bool,
    is_connected: bool,
    is_closed: bool,
    /// Its lease is over at home, and it stands still: what is in its memory nobody computes with, if it
    /// notices.
    has_lapsed: bool,
    /// When its connection broke last.
    alone_since: Time,
    copy: Mapped,
    memory: HashMap<PageNo, Frame>,
    threads: Vec<Thread>,
    /// What the kernel has to say.
    faults: VecDeque<(PageNo, Access)>,
    to_home: VecDeque<(u64, Ask, Bytes)>,
    to_copy: VecDeque<Event>,
}

#[derive(Clone, Copy)]
struct Frame {
    value: u64,
    is_open: bool,
}

struct Thread {
    left: u32,
    /// What it is at: the page, and whether it adds.
    at: Option<(PageNo, bool)>,
    waits: bool,
    seen: HashMap<PageNo, u64>,
    added: HashMap<PageNo, u64>,
}

fn value_of(bytes: &Bytes) -> u64 {
    u64::from_le_bytes(bytes[..8].try_into().expect("a page has eight bytes"))
}

fn bytes_of(value: u64) -> Bytes {
    let mut bytes = vec![0; COHERENT_PAGE as usize];
    bytes[..8].copy_from_slice(&value.to_le_bytes());
    bytes.into()
}

impl World {
    fn new(seed: u64, setting: Setting) -> Self {
        let mut random = Random(seed);
        let mut home = Directory::new();
        home.bug = setting.bug;
        let hosts =
            (0..2 + random.below(3)).map(|at| Host::new(at, &mut random, setting)).collect();
        Self { random, now: Time(1), home, hosts, setting, killed: 0 }
    }

    /// Until all threads are done, all pages given back, and the sums right.
    fn run(&mut self) -> Result<(), Finding> {
        let mut steps = 0;
        while self.hosts.iter().any(|host| !host.is_done()) {
            steps += 1;
            if steps > 200_000 {
                return Err("threads wait for ever".into());
            }
            self.step()?;
            self.check_holders()?;
        }
        for at in 0..self.hosts.len() {
            self.close(at)?;
        }
        self.check_sums()
    }

    fn step(&mut self) -> Result<(), Finding> {
        let at = self.random.below(self.hosts.len());
        if !self.hosts[at].is_alive {
            return Ok(());
        }
        if self.hosts[at].has_lapsed {
            // It stands still between asking to come back and hearing that it may.
            return if self.random.below(50) == 0 { self.break_or_mend(at) } else { Ok(()) };
        }
        match self.random.below(20) {
            0..6 => self.run_thread(at),
            6..9 => self.report_fault(at),
            9..13 => self.deliver_to_home(at),
            13..17 => self.deliver_to_copy(at),
            17 => self.pass_time(),
            _ if self.setting.breaks && self.random.below(10) == 0 => self.break_or_mend(at),
            _ if self.setting.kills && self.random.below(400) == 0 => self.kill(at),
            _ if self.setting.lapses && self.random.below(100) == 0 => self.lapse(),
            _ => Ok(()),
        }
    }

    fn run_thread(&mut self, at: usize) -> Result<(), Finding> {
        let host = &mut self.hosts[at];
        let which = self.random.below(host.threads.len());
        let thread = &mut host.threads[which];
        if thread.waits || thread.left == 0 {
            return Ok(());
        }
        let (page, adds) = *thread.at.get_or_insert_with(|| {
            let page = PageNo(self.random.below(PAGES as usize) as u64);
            (page, self.random.below(2) == 0)
        });
        match host.memory.get_mut(&page) {
            Some(frame) if frame.is_open || !adds => {
                let seen = thread.seen.entry(page).or_default();
                if frame.value < *seen && self.killed == 0 {
                    return Err(format!("{page:?} went back from {seen} to {}", frame.value));
                }
                frame.value += u64::from(adds);
                *seen = frame.value;
                *thread.added.entry(page).or_default() += u64::from(adds);
                thread.left -= 1;
                thread.at = None;
            }
            Some(_) | None => {
                thread.waits = true;
                let access = if adds { Access::Write } else { Access::Read };
                host.faults.push_back((page, access));
            }
        }
        Ok(())
    }

    fn report_fault(&mut self, at: usize) -> Result<(), Finding> {
        let Some((page, access)) = self.hosts[at].faults.pop_front() else { return Ok(()) };
        self.tell(at, Event::Fault { page, access })
    }

    fn deliver_to_copy(&mut self, at: usize) -> Result<(), Finding> {
        match self.hosts[at].to_copy.pop_front() {
            Some(event) => self.tell(at, event),
            None => Ok(()),
        }
    }

    fn deliver_to_home(&mut self, at: usize) -> Result<(), Finding> {
        let Some((number, ask, bytes)) = self.hosts[at].to_home.pop_front() else { return Ok(()) };
        let session = self.hosts[at].session;
        match ask.request {
            Request::Fetch { page, access, has } => {
                self.home.fetch(session, number, page, access, has);
            }
            Request::Yielded { page, kept, version } => {
                self.home.yielded(session, page, kept, version, bytes);
            }
            Request::Detach => {
                self.home.lost(session);
                self.hosts[at].to_copy.push_back(Event::Done { request: number });
            }
            Request::Renew => {
                self.hosts[at].to_copy.push_back(Event::Done { request: number });
            }
            other => return Err(format!("the copy asked {other:?}")),
        }
        self.carry_out_home();
        Ok(())
    }

    fn carry_out_home(&mut self) {
        while let Some(effect) = self.home.poll_effect() {
            let (session, event) = match effect {
                coherent::Effect::Recall { session, recall } => (session, Event::Recalled(recall)),
                coherent::Effect::Grant { session, request, grant } => {
                    let coherent::Grant { access, version, hold, bytes } = grant;
                    (session, Event::Granted { request, access, version, hold, bytes })
                }
            };
            let host = self.hosts.iter_mut().find(|host| host.session == session);
            // To one that is away it is lost.
            if let Some(host) = host.filter(|host| host.is_alive && host.is_connected) {
                host.to_copy.push_back(event);
            }
        }
    }

    fn pass_time(&mut self) -> Result<(), Finding> {
        self.now = self.now + Span::from_micros(self.random.below(60) as u64);
        for at in 0..self.hosts.len() {
            let host = &self.hosts[at];
            let is_awake = host.is_alive && !host.has_lapsed;
            if is_awake && host.copy.poll_timeout() <= self.now {
                self.tell(at, Event::Tick)?;
            }
        }
        Ok(())
    }

    fn break_or_mend(&mut self, at: usize) -> Result<(), Finding> {
        let host = &mut self.hosts[at];
        host.is_connected = !host.is_connected;
        if host.is_connected {
            host.has_lapsed = false;
            let session = host.session;
            self.home.resumed(session);
            self.carry_out_home();
            return self.tell(at, Event::Resumed { asked: self.now });
        }
        host.alone_since = self.now;
        // Some of what was on its way arrives, in its order; the rest never.
        let arrives = self.random.below(host.to_home.len() + 1);
        for _ in 0..arrives {
            self.deliver_to_home(at)?;
        }
        self.hosts[at].to_home.clear();
        self.hosts[at].to_copy.clear();
        self.tell(at, Event::Away)
    }

    fn kill(&mut self, at: usize) -> Result<(), Finding> {
        if self.hosts.iter().filter(|host| host.is_alive).count() > 1 {
            let host = &mut self.hosts[at];
            host.is_alive = false;
            self.killed += 1;
            let session = host.session;
            self.home.lost(session);
            self.carry_out_home();
        }
        Ok(())
    }

    /// A lease passes. Whoever has a connection renews; the pages of the others are free.
    fn lapse(&mut self) -> Result<(), Finding> {
        for _ in 0..4 {
            self.now = self.now + Span(LEASE.0 / 3 + 1);
            for at in 0..self.hosts.len() {
                if self.hosts[at].is_alive && self.hosts[at].is_connected {
                    self.tell(at, Event::Tick)?;
                    for _ in 0..10_000 {
                        let host = &self.hosts[at];
                        if host.to_home.is_empty() && host.to_copy.is_empty() {
                            break;
                        }
                        self.deliver_to_home(at)?;
                        self.deliver_to_copy(at)?;
                    }
                }
            }
        }
        for at in 0..self.hosts.len() {
            let host = &mut self.hosts[at];
            if host.is_alive && !host.is_connected && !host.has_lapsed {
                host.has_lapsed = true;
                self.killed += 1;
                let session = host.session;
                self.home.lost(session);
                self.carry_out_home();
            }
        }
        Ok(())
    }

    fn tell(&mut self, at: usize, event: Event) -> Result<(), Finding> {
        self.hosts[at].copy.handle(self.now, event);
        while let Some(effect) = self.hosts[at].copy.poll_effect() {
            self.obey(at, effect)?;
        }
        Ok(())
    }

    fn obey(&mut self, at: usize, effect: Effect) -> Result<(), Finding> {
        let host = &mut self.hosts[at];
        match effect {
            Effect::Send { request, ask, bytes } => {
                if host.is_connected {
                    let last = host.to_home.back().map_or(0, |(number, ..)| *number);
                    if request <= last {
                        return Err(format!("request {request} was sent after {last}"));
                    }
                    host.to_home.push_back((request, ask, bytes));
                }
            }
            Effect::Install { page, bytes, access } => {
                let frame = Frame { value: value_of(&bytes), is_open: access == Access::Write };
                if host.memory.insert(page, frame).is_some() {
                    return Err(format!("{page:?} was installed where it is"));
                }
                host.wake(page);
            }
            Effect::Open { page } => {
                if let Some(frame) = host.memory.get_mut(&page) {
                    frame.is_open = true;
                }
                host.wake(page);
            }
            Effect::Discard { page } => {
                host.memory.remove(&page);
                host.wake(page);
            }
            Effect::Wake { page } => host.wake(page),
            Effect::TakeBack { page, keep } => {
                let Some(frame) = host.memory.get_mut(&page) else {
                    return Err(format!("{page:?} is taken back and not here"));
                };
                frame.is_open &= self.setting.bug == Some(Bug::CopiesUnprotected);
                let bytes = bytes_of(frame.value);
                // The threads go on meanwhile.
                for _ in 0..4 {
                    self.run_thread(at)?;
                }
                let host = &mut self.hosts[at];
                if keep == Access::Nothing {
                    host.memory.remove(&page);
                    host.wake(page);
                } else if let Some(frame) = host.memory.get_mut(&page) {
                    frame.is_open = false;
                }
                host.copy.handle(self.now, Event::TakenBack { page, bytes });
            }
            Effect::Closed => host.is_closed = true,
            // Whoever was away for a lease finds out, and goes on no more.
            Effect::Broken(Broken::Lease) if self.now >= host.alone_since + LEASE => {
                host.is_alive = false;
            }
            Effect::Broken(why) => return Err(format!("a copy broke: {why}")),
        }
        Ok(())
    }

    fn check_holders(&self) -> Result<(), Finding> {
        for page in (0..PAGES).map(PageNo) {
            let frames = self.hosts.iter().filter(|host| host.is_alive && !host.has_lapsed);
            let frames: Vec<&Frame> = frames.filter_map(|host| host.memory.get(&page)).collect();
            if frames.len() > 1 && frames.iter().any(|frame| frame.is_open) {
                return Err(format!("{page:?} has a writer and {} others", frames.len() - 1));
            }
        }
        Ok(())
    }

    fn close(&mut self, at: usize) -> Result<(), Finding> {
        if !self.hosts[at].is_alive {
            return Ok(());
        }
        if !self.hosts[at].is_connected {
            self.break_or_mend(at)?;
        }
        if !self.hosts[at].is_alive {
            return Ok(());
        }
        self.tell(at, Event::Close)?;
        for _ in 0..10_000 {
            if self.hosts[at].is_closed {
                return Ok(());
            }
            for at in 0..self.hosts.len() {
                if self.hosts[at].is_alive && self.hosts[at].is_connected {
                    self.deliver_to_home(at)?;
                    self.deliver_to_copy(at)?;
                }
            }
        }
        Err("a copy cannot close".into())
    }

    fn check_sums(&mut self) -> Result<(), Finding> {
        for page in (0..PAGES).map(PageNo) {
            let reader = SessionId(999);
            self.home.fetch(reader, 1, page, Access::Read, Version(0));
            let granted =
                std::iter::from_fn(|| self.home.poll_effect()).find_map(|effect| match effect {
                    coherent::Effect::Grant { grant, .. } => grant.bytes,
                    coherent::Effect::Recall { .. } => None,
                });
            let Some(bytes) = granted else {
                return Err(format!("{page:?} was not given back by everybody"));
            };
            let sum = |hosts: &mut dyn Iterator<Item = &Host>| -> u64 {
                hosts.flat_map(|host| &host.threads).filter_map(|t| t.added.get(&page)).sum()
            };
            let all = sum(&mut self.hosts.iter());
            let living = sum(&mut self.hosts.iter().filter(|host| host.is_alive));
            let found = value_of(&bytes);
            if found < living || found > all {
                return Err(format!("{page:?} counts {found}, not {living} to {all}"));
            }
        }
        Ok(())
    }
}

impl Host {
    fn new(at: usize, random: &mut Random, setting: Setting) -> Self {
        // Time stands nearly still, but where leases are to end.
        let mut copy = Mapped::new(Time(0), LEASE, 1);
        copy.bug = setting.bug;
        let thread = |_| Thread {
            left: 30,
            at: None,
            waits: false,
            seen: HashMap::new(),
            added: HashMap::new(),
        };
        Self {
            session: SessionId(at as u64 + 1),
            is_alive: true,
            is_connected: true,
            is_closed: false,
            has_lapsed: false,
            alone_since: Time::NEVER,
            copy,
            memory: HashMap::new(),
            threads: (0..=random.below(3)).map(thread).collect(),
            faults: VecDeque::new(),
            to_home: VecDeque::new(),
            to_copy: VecDeque::new(),
        }
    }

    fn is_done(&self) -> bool {
        !self.is_alive || self.threads.iter().all(|thread| thread.left == 0)
    }

    fn wake(&mut self, page: PageNo) {
        for thread in &mut self.threads {
            if thread.at.is_some_and(|(at, _)| at == page) {
                thread.waits = false;
            }
        }
    }
}

const SEEDS: u64 = 150;

#[track_caller]
fn holds(setting: Setting) {
    for seed in 0..SEEDS {
        if let Err(finding) = World::new(seed, setting).run() {
            panic!("seed {seed}: {finding}");
        }
    }
}

/// It is found, and not by one lucky seed alone.
#[track_caller]
fn is_found(bug: Bug) {
    let lapses = bug == Bug::ResumesLate;
    let setting = Setting { bug: Some(bug), breaks: lapses, kills: false, lapses };
    let found: HashSet<u64> =
        (0..SEEDS).filter(|seed| World::new(*seed, setting).run().is_err()).collect();
    assert!(found.len() > 10, "{bug:?} was found by {} of {SEEDS} seeds", found.len());
}

#[test]
fn one_writer_or_many_readers_and_no_increment_lost() {
    holds(Setting { bug: None, breaks: false, kills: false, lapses: false });
}

#[test]
fn connections_that_break_and_come_back_lose_nothing() {
    holds(Setting { bug: None, breaks: true, kills: false, lapses: false });
}

#[test]
fn those_who_live_lose_nothing_when_another_is_killed() {
    holds(Setting { bug: None, breaks: true, kills: true, lapses: false });
}

#[test]
fn those_who_stay_lose_nothing_when_the_lease_of_another_is_over() {
    holds(Setting { bug: None, breaks: true, kills: false, lapses: true });
}

#[test]
fn pages_that_are_kept_after_their_lease_are_found() {
    is_found(Bug::ResumesLate);
}

#[test]
fn a_page_that_is_copied_while_it_can_be_written_is_found() {
    is_found(Bug::CopiesUnprotected);
}

#[test]
fn a_grant_for_a_copy_that_is_gone_is_found() {
    is_found(Bug::GrantsUnseen);
}

#[test]
fn a_reader_that_is_forgotten_is_found() {
    is_found(Bug::ForgetsReader);
}
