//! One `Node` with many clients and programs: what a decision costs, and what a link keeps.
//!
//! The clients send whatever their credits allow, the workers take a moment to start and run tasks at
//! a pace of their own. Time is pretended, and only `Node` is timed.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use logic::node::{Effect, Event, Node, Options, Peer};
use logic::slots::{self, Finished};
use logic::{Exit, LinkId, Payload, WorkerId};
use wire::Message;
use wire::hello::{Hello, Purpose, VERSION};
use wire::member::{Member, State};
use wire::name::{Hash, JobId, Name, TaskName};
use wire::task::{Define, Input, Program, Run, RunHead, Status, Times};
use wire::units::{Span, Time};

use crate::stopwatch::{Stopwatch, resident};

/// Events in one turn of the daemon's loop.
const TURN: usize = 512;
/// Links of one owner, who has so many programs.
const LINKS_OF_OWNER: u32 = 10;
const PROGRAMS_OF_OWNER: u32 = 5;
/// Rounds, of a millisecond each, until a worker has started; tasks that it does in a round.
const STARTING: u32 = 3;
const PACE: usize = 4;

#[derive(Clone, Copy)]
pub(crate) struct Case {
    pub(crate) links: u32,
    pub(crate) tasks: u32,
    pub(crate) slots: u32,
}

struct Client {
    limit: u64,
    sent: u64,
    left: u32,
}

struct Worker {
    ready_at: u32,
    ready: bool,
    killed: bool,
    tasks: VecDeque<u64>,
}

/// Runs all tasks of a case, from the first link to the last result.
///
/// Returns how many workers were started for it.
pub(crate) fn run(case: Case, watch: &mut Stopwatch) -> u32 {
    let mut world = World::new(case, watch);
    world.link_all();
    let mut round = 0;
    while world.ended < case.tasks {
        round += 1;
        world.round(round);
        assert!(round < 1_000_000, "{} tasks never ended", case.tasks - world.ended);
    }
    world.started
}

/// Bytes that `Node` keeps for a link with its programs.
pub(crate) fn kept(links: u32) -> f64 {
    let mut watch = Stopwatch::new();
    let mut world = World::new(Case { links, tasks: 0, slots: 64 }, &mut watch);
    let before = resident();
    world.link_all();
    let kept = (resident() - before) as f64 / f64::from(links);
    std::mem::forget(world);
    kept
}

struct World<'a> {
    case: Case,
    now: Time,
    node: Node,
    clients: Vec<Client>,
    workers: BTreeMap<u32, Worker>,
    round: u32,
    /// Used again and again.
    effects: Vec<Effect>,
    watch: &'a mut Stopwatch,
    ended: u32,
    started: u32,
}

fn name(text: &str) -> Name {
    text.parse().expect("a name")
}

fn says(link: LinkId, channel: u64, message: Message) -> Event {
    Event::Message { link, channel, message }
}

impl<'a> World<'a> {
    fn new(case: Case, watch: &'a mut Stopwatch) -> Self {
        let (addresses, state) = (Vec::new(), State::Here);
        let me = Member { name: name("node"), life: 1, addresses, slots: case.slots, state };
        let controllers = logic::controllers::Options::default();
        let options = Options { agent: String::new(), me, grace: Span(0), controllers };
        let client = |at: u32| {
            // The first ones have what does not divide.
            let left = case.tasks / case.links + u32::from(at < case.tasks % case.links);
            Client { limit: 0, sent: 0, left }
        };
        Self {
            case,
            now: Time(1),
            node: Node::new(Time(1), options),
            clients: (0..case.links).map(client).collect(),
            workers: BTreeMap::new(),
            round: 0,
            effects: Vec::new(),
            watch,
            ended: 0,
            started: 0,
        }
    }

    fn link_all(&mut self) {
        for at in 0..self.case.links {
            let (link, owner) = (LinkId(at), at / LINKS_OF_OWNER);
            let owner_name = name(&format!("owner-{owner}"));
            let (agent, purpose) = (String::new(), Purpose::Client);
            let hello = Hello { agent, name: owner_name.clone(), purpose };
            let token = u64::from(at);
            let mut events = vec![
                Event::Accepted { link, peer: Peer::Client(owner_name), token },
                says(link, 0, Message::Version(VERSION)),
                says(link, 0, Message::Hello(hello)),
            ];
            for number in 0..PROGRAMS_OF_OWNER {
                let library = Hash::of(format!("{owner} {number}").as_bytes());
                let program = Program::Core { library, name: "core".to_owned() };
                let define = Define { number, program, memory: 0 };
                events.push(says(link, 0, Message::Define(define)));
            }
            self.turn(&mut events);
        }
    }

    /// A millisecond: clients send what they may, workers do what they can.
    fn round(&mut self, round: u32) {
        self.round = round;
        let mut events = Vec::new();
        for at in 0..self.clients.len() {
            let client = &mut self.clients[at];
            while client.left > 0 && client.sent < client.limit {
                let head = RunHead {
                    program: client.left % PROGRAMS_OF_OWNER,
                    attempt: 1,
                    deadline: Span(0),
                    input: Input::Inline,
                    name: TaskName { job: JobId(at as u64), task: client.sent },
                };
                let run = Run { head, inline: Bytes::from_static(b"input") };
                events.push(says(LinkId(at as u32), client.sent, Message::Run(run)));
                client.left -= 1;
                client.sent += 1;
            }
            if events.len() >= TURN {
                self.turn(&mut events);
            }
        }
        let workers: Vec<u32> = self.workers.keys().copied().collect();
        for at in workers {
            self.work(at, &mut events);
            if events.len() >= TURN {
                self.turn(&mut events);
            }
        }
        self.now = self.now + Span::from_millis(1);
        self.turn(&mut events);
    }

    fn work(&mut self, at: u32, events: &mut Vec<Event>) {
        let Some(known) = self.workers.get_mut(&at) else { return };
        let worker = WorkerId(at);
        if known.killed {
            assert!(known.tasks.is_empty(), "nothing here is killed at work");
            self.workers.remove(&at);
            let (exit, stderr) = (Exit::Signal(9), String::new());
            events.push(Event::WorkerExited { worker, exit, started: 0, stderr });
        } else if !known.ready && self.round >= known.ready_at {
            known.ready = true;
            events.push(Event::WorkerReady { worker, result: Ok(()) });
        } else {
            for sequence in known.tasks.drain(..known.tasks.len().min(PACE)) {
                let (status, ran) = (Status::Finished { code: 0 }, Span::from_micros(250));
                let (output, times) = (Payload::empty(), Times::default());
                let finished = Finished { status, ran, output, times };
                events.push(Event::WorkerDone { worker, sequence, finished });
            }
        }
    }

    fn turn(&mut self, events: &mut Vec<Event>) {
        let (now, node) = (self.now, &mut self.node);
        let mut effects = std::mem::take(&mut self.effects);
        self.watch.run(|| {
            for event in events.drain(..) {
                node.handle(now, event);
            }
            if node.poll_timeout() <= now {
                node.handle(now, Event::Tick);
            }
            node.settle(now);
            effects.extend(std::iter::from_fn(|| node.poll_effect()));
        });
        for effect in effects.drain(..) {
            self.carry_out(effect);
        }
        self.effects = effects;
    }

    fn carry_out(&mut self, effect: Effect) {
        match effect {
            Effect::Send { link, message: Message::Credit(credit), .. } => {
                self.clients[link.0 as usize].limit = credit.limit;
            }
            Effect::Send { message: Message::Done(done), .. } => {
                assert_eq!(done.head.status, Status::Finished { code: 0 });
                self.ended += 1;
            }
            Effect::Worker(slots::Effect::Start { worker, .. }) => {
                let ready_at = self.round + STARTING;
                let (ready, killed, tasks) = (false, false, VecDeque::new());
                self.workers.insert(worker.0, Worker { ready_at, ready, killed, tasks });
                self.started += 1;
            }
            Effect::Worker(slots::Effect::Execute { worker, sequence, .. }) => {
                if let Some(worker) = self.workers.get_mut(&worker.0) {
                    worker.tasks.push_back(sequence);
                }
            }
            Effect::Worker(slots::Effect::Kill { worker }) => {
                if let Some(worker) = self.workers.get_mut(&worker.0) {
                    worker.killed = true;
                }
            }
            _ => {}
        }
    }
}
