//! One client's `Dispatch` among pretended nodes: what a decision costs, and what is kept.
//!
//! The nodes answer at once and forget nothing: they give credits in quarters, ask for the program's
//! bytes, run tasks in order at a pace of their own, give back what has not begun, and now and then
//! one goes down with all it has and comes back. Time is pretended, and only `Dispatch` is timed.

use std::collections::VecDeque;

use bytes::Bytes;
use logic::dispatch::{Dispatch, Effect, End, Event, JobKey, ProgramId, Terms};
use logic::{LinkId, Payload};
use wire::Message;
use wire::blob::{Known, Stored};
use wire::name::{Hash, JobId, Name};
use wire::task::{Credit, Program, Returned, Status, Times};
use wire::units::{Span, Time};

use crate::stopwatch::{Draw, Stopwatch, resident};

/// Events that a driver brings in between two looks at the effects: what 64 sockets had to say.
const TURN: usize = 512;
const SLOTS: u32 = 4;
/// Of a thousand nodes so many go down in each round, and stay away for `AWAY` rounds.
const FALL: u64 = 2;
const AWAY: u32 = 5;

/// What is asked of the client.
#[derive(Clone, Copy)]
pub(crate) struct Case {
    pub(crate) nodes: u32,
    pub(crate) tasks: u32,
    pub(crate) programs: u32,
    /// Tasks that a node lets the client have there.
    pub(crate) credits: u64,
    /// Decides which nodes are slow, and which go down when.
    pub(crate) seed: u64,
}

/// What happened.
pub(crate) struct Tally {
    /// Attempts beyond the first, and times that tasks were taken back.
    pub(crate) retried: u32,
    pub(crate) taken_back: u32,
}

struct Peer {
    up: bool,
    credits: u64,
    back_at: u32,
    limit: u64,
    accepted: u64,
    /// Tasks in a round.
    pace: u32,
    here: bool,
    tasks: VecDeque<u64>,
    answers: Vec<(u64, Message)>,
}

impl Peer {
    fn new(draw: &mut Draw, credits: u64) -> Self {
        // Most are alike, one in ten is four times slower.
        let pace = if draw.below(10) == 0 { 1 } else { 4 } * (credits as u32).div_ceil(32);
        let (tasks, answers) = (VecDeque::new(), Vec::new());
        Self {
            up: false,
            credits,
            back_at: 0,
            limit: 0,
            accepted: 0,
            pace,
            here: false,
            tasks,
            answers,
        }
    }

    /// Comes up, with its first credits.
    fn rise(&mut self, link: LinkId, events: &mut Vec<Event>) {
        (self.up, self.limit, self.accepted) = (true, self.credits, 0);
        let name: Name = format!("node-{}", link.0).parse().expect("a name");
        events.push(Event::NodeUp { link, name, slots: SLOTS });
        let message = Message::Credit(Credit { limit: self.credits });
        events.push(Event::Message { link, channel: 0, message });
    }

    fn fall(&mut self, link: LinkId, round: u32, events: &mut Vec<Event>) {
        (self.up, self.back_at) = (false, round + AWAY);
        self.tasks.clear();
        self.answers.clear();
        events.push(Event::NodeDown { link });
    }

    fn work(&mut self, link: LinkId, events: &mut Vec<Event>) {
        for (channel, message) in self.answers.drain(..) {
            events.push(Event::Message { link, channel, message });
        }
        for _ in 0..self.pace {
            let Some(channel) = self.tasks.pop_front() else { break };
            let (status, ran) = (
                Status::Finished { code: 0 },
                Span::from_micros(u64::from(1000 * SLOTS / self.pace)),
            );
            let (output, times) = (Payload::empty(), Times::default());
            events.push(Event::Done { link, channel, status, ran, output, times });
        }
        let limit = self.accepted - self.tasks.len() as u64 + self.credits;
        if limit >= self.limit + self.credits / 4 {
            self.limit = limit;
            let message = Message::Credit(Credit { limit });
            events.push(Event::Message { link, channel: 0, message });
        }
    }

    fn hear(&mut self, channel: u64, message: Message) {
        let answer = match message {
            Message::Have(have) => Message::Known(Known { hash: have.hash, here: self.here }),
            Message::TakeBack(back) => {
                // Those that its slots are at are not given back.
                let waiting = self.tasks.len().saturating_sub(SLOTS as usize);
                let keep = self.tasks.len() - waiting.min(back.count as usize);
                let channels = self.tasks.split_off(keep).into_iter().rev().collect();
                Message::Returned(Returned { channels })
            }
            _ => return,
        };
        self.answers.push((channel, answer));
    }
}

/// Runs all tasks of a case, from the first link to the last result.
pub(crate) fn run(case: Case, watch: &mut Stopwatch) -> Tally {
    let mut world = World::new(case, watch);
    world.link_all();
    world.submit_all();
    let mut round = 0;
    while world.ended < case.tasks {
        round += 1;
        world.round(round, FALL);
        assert!(
            round < 100_000,
            "{} of {} tasks never ended",
            case.tasks - world.ended,
            case.tasks
        );
    }
    Tally { retried: world.retried, taken_back: world.taken_back }
}

/// Nanoseconds of one look over so many nodes for tasks to take back.
pub(crate) fn look(nodes: u32) -> f64 {
    const LOOKS: u32 = 1000;
    let mut watch = Stopwatch::new();
    let mut world =
        World::new(Case { nodes, tasks: 0, programs: 1, credits: 32, seed: 0 }, &mut watch);
    world.link_all();
    // One task is out, and nothing is queued.
    world.submit(0);
    while world.peers.iter().all(|peer| peer.tasks.is_empty()) {
        assert!(!world.busy.is_empty(), "nobody runs the task");
        world.busy_round();
    }
    *world.watch = Stopwatch::new();
    for _ in 0..LOOKS {
        world.now = world.now + Span::from_millis(10);
        let now = world.now;
        world.watch.run(|| world.dispatch.handle(now, Event::Tick));
    }
    watch.nanoseconds() / f64::from(LOOKS)
}

/// Bytes that `Dispatch` keeps for a node that is up, and for a queued task.
pub(crate) fn kept(case: Case) -> (f64, f64) {
    let mut dispatch = Dispatch::new(Time(1));
    let before = resident();
    for at in 0..case.nodes {
        let name: Name = format!("node-{at}").parse().expect("a name");
        dispatch.handle(Time(1), Event::NodeUp { link: LinkId(at), name, slots: SLOTS });
    }
    let linked = resident();
    let program = Program::Core { library: Hash::of(b"core"), name: "core".to_owned() };
    let program = dispatch.program(program, 0);
    let job = dispatch.open_job(JobId(1), "core".to_owned());
    for _ in 0..case.tasks {
        let input = Payload::Inline(Bytes::from_static(b"input"));
        dispatch.submit(Time(1), job, program, input, Terms { deadline: Span(0), retries: 2 });
    }
    let submitted = resident();
    // What is freed would be used again, and the next one who measures would see less.
    std::mem::forget(dispatch);
    let each = |bytes: u64, count: u32| bytes as f64 / f64::from(count);
    (each(linked - before, case.nodes), each(submitted - linked, case.tasks))
}

/// Runs tasks one after the other, where all nodes are idle and know the program.
pub(crate) fn run_lone(nodes: u32, tasks: u32, watch: &mut Stopwatch) {
    let mut unwatched = Stopwatch::new();
    let mut world =
        World::new(Case { nodes, tasks, programs: 1, credits: 32, seed: 0 }, &mut unwatched);
    world.link_all();
    (0..2 * nodes).for_each(|_| world.submit(0));
    let mut round = 0;
    while world.ended < 2 * nodes {
        round += 1;
        world.round(round, 0);
        assert!(round < 1000, "the program is never known everywhere");
    }
    world.watch = watch;
    let before = world.ended;
    for _ in 0..tasks {
        world.submit(0);
        while !world.busy.is_empty() {
            world.busy_round();
        }
    }
    assert_eq!(world.ended - before, tasks, "all have ended");
}

struct World<'a> {
    case: Case,
    now: Time,
    dispatch: Dispatch,
    job: JobKey,
    programs: Vec<ProgramId>,
    peers: Vec<Peer>,
    /// Peers that were sent something in the last turn.
    busy: Vec<u32>,
    draw: Draw,
    /// Used again and again.
    effects: Vec<Effect>,
    watch: &'a mut Stopwatch,
    ended: u32,
    retried: u32,
    taken_back: u32,
}

impl<'a> World<'a> {
    fn new(case: Case, watch: &'a mut Stopwatch) -> Self {
        let mut dispatch = Dispatch::new(Time(1));
        let mut program = |number: u32| {
            let library = Hash::of(&number.to_le_bytes());
            dispatch.program(Program::Core { library, name: "core".to_owned() }, 0)
        };
        let programs = (0..case.programs).map(&mut program).collect();
        let job = dispatch.open_job(JobId(1), "core".to_owned());
        let mut draw = Draw::new(case.seed);
        let peers = (0..case.nodes).map(|_| Peer::new(&mut draw, case.credits)).collect();
        Self {
            case,
            now: Time(1),
            dispatch,
            job,
            programs,
            peers,
            busy: Vec::new(),
            draw,
            effects: Vec::new(),
            watch,
            ended: 0,
            retried: 0,
            taken_back: 0,
        }
    }

    fn link_all(&mut self) {
        let mut events = Vec::new();
        for at in 0..self.peers.len() {
            self.peers[at].rise(LinkId(at as u32), &mut events);
            self.turn_if_full(&mut events);
        }
        self.turn(&mut events);
    }

    fn submit_all(&mut self) {
        // In turns, as a caller's loop does it: what can go goes at once.
        for first in (0..self.case.tasks).step_by(TURN) {
            let count = (self.case.tasks - first).min(TURN as u32);
            let terms = Terms { deadline: Span(0), retries: 100 };
            self.watch.run(|| {
                for number in first..first + count {
                    let program = self.programs[number as usize % self.programs.len()];
                    let input = Payload::Inline(Bytes::from_static(b"input"));
                    self.dispatch.submit(self.now, self.job, program, input, terms);
                }
            });
            self.turn(&mut Vec::new());
        }
    }

    fn submit(&mut self, program: usize) {
        let terms = Terms { deadline: Span(0), retries: 100 };
        let input = Payload::Inline(Bytes::from_static(b"input"));
        let program = self.programs[program];
        let (now, job) = (self.now, self.job);
        self.watch.run(|| self.dispatch.submit(now, job, program, input, terms));
        self.turn(&mut Vec::new());
    }

    /// A millisecond in which every node does what it can, and some fall or rise.
    fn round(&mut self, round: u32, fall: u64) {
        let mut events = Vec::new();
        for at in 0..self.peers.len() {
            let (link, peer) = (LinkId(at as u32), &mut self.peers[at]);
            if !peer.up {
                if round >= peer.back_at {
                    peer.rise(link, &mut events);
                }
            } else if self.draw.below(1000) < fall {
                peer.fall(link, round, &mut events);
            } else {
                peer.work(link, &mut events);
            }
            self.turn_if_full(&mut events);
        }
        self.now = self.now + Span::from_millis(1);
        self.turn(&mut events);
    }

    /// Only those that were sent something have anything to say.
    fn busy_round(&mut self) {
        let mut events = Vec::new();
        for at in std::mem::take(&mut self.busy) {
            self.peers[at as usize].work(LinkId(at), &mut events);
        }
        self.now = self.now + Span::from_micros(50);
        self.turn(&mut events);
    }

    fn turn_if_full(&mut self, events: &mut Vec<Event>) {
        if events.len() >= TURN {
            self.turn(events);
        }
    }

    /// Brings events in and carries effects out.
    fn turn(&mut self, events: &mut Vec<Event>) {
        let (now, dispatch) = (self.now, &mut self.dispatch);
        let mut effects = std::mem::take(&mut self.effects);
        self.watch.run(|| {
            for event in events.drain(..) {
                dispatch.handle(now, event);
            }
            if dispatch.poll_timeout() <= now {
                dispatch.handle(now, Event::Tick);
            }
            effects.extend(std::iter::from_fn(|| dispatch.poll_effect()));
        });
        for effect in effects.drain(..) {
            self.carry_out(effect);
        }
        self.effects = effects;
    }

    fn carry_out(&mut self, effect: Effect) {
        match effect {
            Effect::Run { link, channel, attempt, .. } => {
                let peer = &mut self.peers[link.0 as usize];
                if !peer.up {
                    // On its way when the link broke: the news of that comes in the same turn.
                    return;
                }
                peer.accepted += 1;
                assert!(peer.accepted <= peer.limit, "a task without a credit");
                peer.tasks.push_back(channel);
                self.busy.push(link.0);
                self.retried += u32::from(attempt > 1);
            }
            Effect::Send { link, channel, message } => {
                self.taken_back += u32::from(matches!(message, Message::TakeBack(_)));
                let peer = &mut self.peers[link.0 as usize];
                if peer.up {
                    peer.hear(channel, message);
                }
                self.busy.push(link.0);
            }
            Effect::Retried { .. } => {}
            Effect::Upload { link, channel, hash } => {
                let peer = &mut self.peers[link.0 as usize];
                peer.here = self.case.programs == 1;
                let stored = Stored { hash, refused: None };
                peer.answers.push((channel, Message::Stored(stored)));
                self.busy.push(link.0);
            }
            Effect::Ended { outcome, .. } => {
                let fine =
                    matches!(outcome.end, End::Status { status: Status::Finished { .. }, .. });
                assert!(fine, "a task ended otherwise: {outcome:?}");
                self.ended += 1;
            }
        }
    }
}
