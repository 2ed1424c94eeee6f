//! Streams of bytes from clients, neighbours and strangers into a whole node.
//!
//! The input is a stream of frames. Frames of the protocol go to the node as the current link's;
//! those of kinds that the protocol does not have say what happens in the world around it:
//!
//! ```text
//! kind   channel                                      body
//! 0xe0   nanoseconds that pass
//! 0xe1   bits 0..2: the link to speak on from now;
//!        bits 2..: who it is, if it is new
//! 0xe2   channel of a payload that came over bulk     its length, u64 LE
//! 0xe3   bits 0..3: a worker                          what it does, one byte, and details
//! 0xe4   the node is asked to leave
//! 0xe5   the current link closes
//! 0xe6   the current link, if there is none, is a controller's
//! 0xe7                                                what the controller asks or does, one byte
//! ```
//!
//! It never panics, holds no more than its limits say, lets go of every buffer once, and when all
//! links are closed and all workers have ended nothing is left. Controllers get one answer to each
//! request, in their order; a bound worker is one at a time, and its library is there.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bytes::{Bytes, BytesMut};
use logic::controllers::{self, Answer, Appetite, Asked, Request};
use logic::node::{Effect, Event, Node, Options, Peer};
use logic::slots::{self, Bound, Finished};
use logic::{BufferId, Exit, LinkId, Payload, WorkerId};
use wire::hello::Purpose;
use wire::join::Joined;
use wire::limits::{CONTROL_BODY_MAX, CREDITS_MAX, MEMORY_BODY_MAX, STRANGER_BODY_MAX};
use wire::member::{Member, State};
use wire::name::{Hash, Name};
use wire::task::{Status, Times, Window};
use wire::units::{Span, Time};
use wire::{Message, frame};

use crate::seeds::happening;

const LINKS: u64 = 4;

const SECOND: Span = Span::from_secs(1);

/// Serves whoever the bytes say is there.
pub fn serve(bytes: &[u8]) {
    let mut world = World::new();
    let mut input = BytesMut::from(bytes);
    world.open(0, 1);
    while let Ok(Some(frame)) = frame::take(&mut input, CONTROL_BODY_MAX) {
        match frame.kind {
            0xe0..=0xe7 => world.happen(frame.kind, frame.channel, &frame.body),
            _ => world.hear(frame),
        }
        world.settle();
    }
    world.end();
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Link {
    Closed,
    /// Open; whether it was let in.
    Open {
        trusted: bool,
    },
}

#[derive(Debug, Default)]
struct Worker {
    ready: bool,
    killed: Option<Time>,
    dismissed: bool,
    bound: Option<Bound>,
    /// The number of `tasks[0]`.
    finished: u64,
    tasks: VecDeque<Payload>,
    /// The last result, which may come a second time.
    last: Option<Finished>,
}

struct World {
    node: Node,
    now: Time,
    links: [Link; LINKS as usize],
    /// Links that said they are clients: bulk connections bring payloads for these alone.
    clients: [bool; LINKS as usize],
    speaks: usize,
    workers: BTreeMap<WorkerId, Worker>,
    /// What each controller has asked and was not told yet; `None`: the link is no controller's.
    asked: [Option<VecDeque<u64>>; LINKS as usize],
    /// Libraries that are kept, and for which link.
    libraries: BTreeMap<Bound, usize>,
    numbers: u64,
    /// Buffers that the node has to let go of.
    buffers: BTreeSet<BufferId>,
    buffers_made: u32,
}

impl World {
    fn new() -> Self {
        let me = Member {
            name: name("node"),
            life: 1,
            addresses: vec!["127.0.0.1:4114".to_owned()],
            slots: 2,
            state: State::Here,
        };
        let options = Options {
            agent: "fuzz".to_owned(),
            me,
            grace: Span::from_secs(5),
            controllers: logic::controllers::Options::default(),
        };
        let now = Time(1);
        Self {
            node: Node::new(now, options),
            now,
            links: [Link::Closed; LINKS as usize],
            clients: [false; LINKS as usize],
            speaks: 0,
            workers: BTreeMap::new(),
            asked: [const { None }; LINKS as usize],
            libraries: BTreeMap::new(),
            numbers: 0,
            buffers: BTreeSet::new(),
            buffers_made: 0,
        }
    }

    fn link(&self) -> LinkId {
        LinkId(self.speaks as u32)
    }

    fn open(&mut self, at: usize, who: u64) {
        self.speaks = at;
        if self.links[at] != Link::Closed {
            return;
        }
        self.links[at] = Link::Open { trusted: false };
        self.clients[at] = false;
        let link = self.link();
        let peer = match who % 6 {
            0 => Peer::Stranger,
            1 => Peer::Client(name("a")),
            2 => Peer::Client(name("b")),
            3 => Peer::Node(name("n")),
            4 => Peer::Admin(name("a")),
            _ => {
                self.links[at] = Link::Open { trusted: true };
                return self.node.handle(self.now, Event::Dialled { link });
            }
        };
        // In a real node they cannot be guessed; here the stream must be able to name them.
        let token = u64::MAX - at as u64;
        self.node.handle(self.now, Event::Accepted { link, peer, token });
    }

    fn close(&mut self, at: usize) {
        if self.links[at] != Link::Closed {
            self.links[at] = Link::Closed;
            self.asked[at] = None;
            self.libraries.retain(|_, link| *link != at);
            self.node.handle(self.now, Event::Closed { link: LinkId(at as u32) });
        }
    }

    /// A frame on the current link, decoded as the driver does.
    fn hear(&mut self, frame: frame::Frame) {
        let Link::Open { trusted } = self.links[self.speaks] else { return };
        if self.asked[self.speaks].is_some() {
            return;
        }
        let body_max = if trusted { CONTROL_BODY_MAX } else { STRANGER_BODY_MAX };
        if frame.body.len() as u64 > body_max {
            return self.close(self.speaks);
        }
        let link = self.link();
        match wire::decode(frame) {
            Err(_) => self.close(self.speaks),
            Ok((channel, message)) => {
                if let Message::Hello(hello) = &message {
                    self.clients[self.speaks] = hello.purpose == Purpose::Client;
                }
                self.node.handle(self.now, Event::Heard { link });
                self.node.handle(self.now, Event::Message { link, channel, message });
            }
        }
    }

    fn happen(&mut self, kind: u8, channel: u64, body: &[u8]) {
        match kind {
            0xe0 => self.pass(Span(channel)),
            0xe1 => self.open((channel % LINKS) as usize, channel / LINKS),
            0xe2 => {
                let Some(length) = body.first_chunk().map(|bytes| u64::from_le_bytes(*bytes))
                else {
                    return;
                };
                let is_up = self.links[self.speaks] == Link::Open { trusted: true };
                if is_up && self.clients[self.speaks] {
                    let (link, buffer) = (self.link(), self.buffer());
                    self.node.handle(self.now, Event::Payload { link, channel, buffer, length });
                }
            }
            0xe3 => self.work(WorkerId((channel % 8) as u32), body),
            0xe4 => self.node.handle(self.now, Event::Leave),
            0xe6 => self.open_controller(),
            0xe7 => self.ask(body.first().copied().unwrap_or(0)),
            _ => self.close(self.speaks),
        }
    }

    fn open_controller(&mut self) {
        let at = self.speaks;
        if self.links[at] == Link::Closed {
            self.links[at] = Link::Open { trusted: false };
            self.clients[at] = false;
            self.asked[at] = Some(VecDeque::new());
            let (link, owner) = (self.link(), name("v1"));
            self.node.handle(self.now, Event::ControllerUp { link, owner });
        }
    }

    /// What a controller does, as far as a node's driver lets it through.
    fn ask(&mut self, what: u8) {
        let link = self.link();
        if self.asked[self.speaks].is_none() {
            return;
        }
        self.numbers += 1;
        let id = self.numbers;
        let request = match what % 11 {
            8 | 9 => {
                let event = controllers::Event::Stuffed(what % 11 == 8);
                return self.node.handle(self.now, Event::Controller { link, event });
            }
            _ if self.node.appetite(link) != Appetite::Hungry => return,
            7 => {
                let event = controllers::Event::HalfClosed;
                return self.node.handle(self.now, Event::Controller { link, event });
            }
            0 => Request::Version(1),
            1 => Request::Version(2),
            2 | 10 => {
                let bound = Bound(id);
                self.libraries.insert(bound, self.speaks);
                Request::Core { name: "core".to_owned(), hash: Hash([0; 32]), bound }
            }
            3 => Request::Job { input: Payload::Inline(Bytes::from_static(b"job")) },
            4 => {
                let length = 1 << 20;
                Request::Job { input: Payload::Buffer { buffer: self.buffer(), length } }
            }
            5 => Request::Nonsense { reason: "nonsense".to_owned() },
            _ => Request::TooLong { reason: "too long".to_owned() },
        };
        if let Some(asked) = &mut self.asked[self.speaks] {
            asked.push_back(id);
        }
        let event = controllers::Event::Asked(Asked { id, weight: 1 << 20, request });
        self.node.handle(self.now, Event::Controller { link, event });
    }

    /// What the node does for controllers.
    fn carry_out_controller(&mut self, effect: controllers::Effect) {
        match effect {
            controllers::Effect::Reply { link, id, answer } => {
                if let Answer::Result { output: Payload::Buffer { buffer, .. }, .. } = answer {
                    self.release(buffer);
                }
                if let Some(asked) = &mut self.asked[link.0 as usize] {
                    assert_eq!(asked.pop_front(), Some(id), "an answer out of order");
                }
            }
            controllers::Effect::Forget { bound } => {
                let is_up = |at: &usize| self.links[*at] != Link::Closed;
                let gone = self.libraries.remove(&bound);
                assert!(gone.is_none_or(|at| is_up(&at)), "a library of a link that is closed");
            }
            controllers::Effect::Finish { link } => {
                let asked = self.asked[link.0 as usize].as_ref();
                assert!(asked.is_none_or(VecDeque::is_empty), "somebody waits for an answer");
            }
            controllers::Effect::Listen { .. } => {}
            other => unreachable!("the machine keeps this to itself: {other:?}"),
        }
    }

    fn pass(&mut self, span: Span) {
        self.now = Time((self.now + span).0.min(u64::MAX / 4));
        if self.node.poll_timeout() <= self.now {
            self.node.handle(self.now, Event::Tick);
        }
    }

    fn buffer(&mut self) -> BufferId {
        self.buffers_made += 1;
        let buffer = BufferId(self.buffers_made);
        self.buffers.insert(buffer);
        buffer
    }

    fn release(&mut self, buffer: BufferId) {
        assert!(self.buffers.remove(&buffer), "{buffer:?} was released twice");
    }

    /// What a worker does, as far as a node's driver lets it through.
    fn work(&mut self, worker: WorkerId, body: &[u8]) {
        let (what, detail) = match *body {
            [] => return,
            [what] => (what, 0),
            [what, detail, ..] => (what, detail),
        };
        let Some(known) = self.workers.get_mut(&worker) else { return };
        let now = self.now;
        match what % 12 {
            0 if !known.ready => {
                known.ready = true;
                self.node.handle(now, Event::WorkerReady { worker, result: Ok(()) });
            }
            1 if !known.ready => {
                let result = Err("no such symbol".to_owned());
                self.node.handle(now, Event::WorkerReady { worker, result });
            }
            // The driver kills who answers before it is ready; so does a task that was not given.
            2 | 3 if known.ready => self.done(worker, detail),
            // A result that was found in the progress page comes again.
            4 => {
                if let (Some(finished), Some(sequence)) =
                    (known.last.clone(), known.finished.checked_sub(1))
                {
                    self.node.handle(now, Event::WorkerDone { worker, sequence, finished });
                }
            }
            5 => self.exit(worker, detail),
            6 => {
                let started = known.finished + u64::from(detail % 4);
                let since = Time(now.0 - u64::from(detail).min(now.0));
                self.node.handle(now, Event::WorkerPeeked { worker, started, since });
            }
            8..=10 => self.stream(worker, what % 12, detail),
            11 => {
                let started = known.finished + u64::from(detail % 4);
                let bytes = Bytes::from(vec![detail; usize::from(detail) * 1024]);
                self.node.handle(now, Event::WorkerWrote { worker, started, bytes });
            }
            7 => {
                let peak = u64::from(detail) << 20;
                self.node.handle(now, Event::WorkerMeasured { worker, peak });
            }
            _ => {}
        }
    }

    /// A worker says something on the stream of its task, or on one that it had.
    fn stream(&mut self, worker: WorkerId, what: u8, detail: u8) {
        let Some(known) = self.workers.get(&worker).filter(|known| known.ready) else { return };
        let sequence = known.finished.saturating_sub(u64::from(detail & 1));
        let message = match what {
            8 => Message::Data(Bytes::from(vec![detail; 1 + usize::from(detail) * 64])),
            9 => Message::End,
            _ => Message::Window(Window { bytes: u64::from(detail) * 1024 }),
        };
        self.node.handle(self.now, Event::WorkerStream { worker, sequence, message });
    }

    fn done(&mut self, worker: WorkerId, detail: u8) {
        let fresh = self.buffers_made + 1;
        let Some(known) = self.workers.get_mut(&worker) else { return };
        let Some(input) = known.tasks.pop_front() else { return };
        let sequence = known.finished;
        known.finished += 1;
        let length = 1 << 20;
        let output = match (detail % 4, input) {
            (_, Payload::Stream) => Payload::Stream,
            (0, _) => Payload::Inline(Bytes::from_static(b"result")),
            // In the buffer that the input came in, or in one that was lent.
            (1 | 2, Payload::Buffer { buffer, .. }) => Payload::Buffer { buffer, length },
            (1..=3, _) => Payload::Buffer { buffer: BufferId(fresh), length },
            _ => Payload::empty(),
        };
        let status = match detail & 0x80 {
            0 => Status::Finished { code: i32::from(detail) },
            _ => Status::Broken { reason: "a result at NULL".to_owned() },
        };
        let ran = Span(u64::from(detail) * 1000);
        // Whatever it says of when it began, the node says no nonsense.
        let began = Span(u64::from(detail).wrapping_mul(0x0101_0101_0101_0101));
        let times = Times { began, ..Times::default() };
        let finished = Finished { status, ran, output, times };
        known.last = Some(finished.clone());
        if finished.output == (Payload::Buffer { buffer: BufferId(fresh), length }) {
            self.buffer();
        }
        self.node.handle(self.now, Event::WorkerDone { worker, sequence, finished });
    }

    fn exit(&mut self, worker: WorkerId, detail: u8) {
        let Some(gone) = self.workers.remove(&worker) else { return };
        let started = gone.finished + u64::from(detail % 4);
        let exit = if detail & 4 == 0 { Exit::Signal(11) } else { Exit::Code(3) };
        let stderr = "killed".to_owned();
        self.node.handle(self.now, Event::WorkerExited { worker, exit, started, stderr });
    }

    /// Carries out what the node wants, until it wants nothing more.
    fn settle(&mut self) {
        loop {
            self.node.settle(self.now);
            let mut any = false;
            while let Some(effect) = self.node.poll_effect() {
                any = true;
                self.carry_out(effect);
            }
            if !any {
                break;
            }
        }
        let tally = self.node.tally();
        let clients = LINKS as usize;
        assert!(tally.users <= clients && tally.tasks <= clients * CREDITS_MAX as usize);
        assert!(tally.arrivals <= clients * (CREDITS_MAX as usize * 2 + 2));
    }

    fn carry_out(&mut self, effect: Effect) {
        match effect {
            Effect::Send { link, channel, message } => {
                let speaks_v1 = self.asked[link.0 as usize].is_some();
                assert!(!speaks_v1, "a controller was told {message:?}");
                let state = &mut self.links[link.0 as usize];
                if matches!(message, Message::Welcome(_)) && *state != Link::Closed {
                    *state = Link::Open { trusted: true };
                }
                let mut output = BytesMut::new();
                message.encode(channel, &mut output);
                // Answers of regions go to connections where frames may be long.
                let is_answer = matches!(message, Message::Answer(..));
                let body_max = if is_answer { MEMORY_BODY_MAX } else { CONTROL_BODY_MAX };
                let sent = frame::take(&mut output, body_max);
                let sent = sent.expect("a node sends no frame that is too long").expect("whole");
                assert_eq!(wire::decode(sent), Ok((channel, message)));
            }
            Effect::SendLog { worker, log, bytes, .. } if bytes.len() % 2 == 0 => {
                self.node.log_lost(worker, &log, &bytes);
            }
            Effect::SendLog { link, log, bytes, .. } => {
                let message = Message::Log(log, bytes);
                self.carry_out(Effect::Send { link, channel: 0, message });
            }
            Effect::SendPayload { buffer, .. } => self.release(buffer),
            Effect::Close { link } => self.links[link.0 as usize] = Link::Closed,
            Effect::Attach { connection, to, .. } => {
                assert_ne!(self.links[to.0 as usize], Link::Closed, "attached to nothing");
                self.links[connection.0 as usize] = Link::Closed;
            }
            Effect::StoreBlob { link, channel, hash, bytes } => {
                let length = match bytes {
                    Payload::Inline(bytes) => bytes.len() as u64,
                    Payload::Buffer { buffer, length } => {
                        self.release(buffer);
                        length
                    }
                    other => unreachable!("a blob comes whole: {other:?}"),
                };
                // Most hashes are not those of the bytes; here the first bit decides.
                let refused =
                    (hash.0[0] & 1 == 1).then(|| "the bytes have another hash".to_owned());
                let stored = Event::BlobStored { link, channel, hash, length, refused };
                self.node.handle(self.now, stored);
            }
            // The first bits of the hash decide how it goes, and whether the client is still there.
            Effect::FetchBlob { link, channel, blob } => {
                let (hash, length) = (blob.hash, blob.length);
                let failed = (hash.0[0] & 1 == 1).then(|| "it hung up".to_owned());
                let link = (hash.0[0] & 2 == 0).then_some(link);
                let fetched = Event::BlobFetched { link, channel, hash, length, failed };
                self.node.handle(self.now, fetched);
            }
            Effect::LendBlob { connection, .. } => {
                self.links[connection.0 as usize] = Link::Closed;
                self.node.handle(self.now, Event::BlobLent);
            }
            // Some pads cannot be started.
            Effect::BeginVisit { visit, connection, arrival } => {
                self.links[connection.0 as usize] = Link::Closed;
                let stage = wire::visit::Stage::Runs;
                self.node.handle(self.now, Event::VisitCame { visit, stage });
                if arrival.begin.pid % 2 == 0 {
                    self.node.handle(self.now, Event::VisitEnded { visit });
                }
            }
            Effect::ReturnVisit { connection, .. } => {
                self.links[connection.0 as usize] = Link::Closed;
            }
            Effect::Redeem { link, channel, .. } => {
                let joined = Joined::Refused { reason: "no such token".to_owned() };
                self.node.handle(self.now, Event::Redeemed { link, channel, joined });
            }
            Effect::Worker(effect) => self.carry_out_worker(effect),
            Effect::Controller(effect) => self.carry_out_controller(effect),
            Effect::ToWorker { worker, sequence, message } => {
                let known = self.workers.get(&worker).expect("a worker that was started");
                let has = known.finished + known.tasks.len() as u64;
                assert!(sequence < has, "{message:?} for a task that {known:?} was not given");
            }
            _ => {}
        }
    }

    fn carry_out_worker(&mut self, effect: slots::Effect) {
        match effect {
            slots::Effect::Start { worker, class } => {
                if let Some(bound) = class.bound {
                    let same = |other: &Worker| other.bound == Some(bound);
                    assert!(!self.workers.values().any(same), "two workers of one binding");
                    assert!(self.libraries.contains_key(&bound), "its library is gone");
                }
                let fresh = Worker { bound: class.bound, ..Worker::default() };
                let before = self.workers.insert(worker, fresh);
                assert!(before.is_none(), "{worker:?} is alive");
            }
            slots::Effect::Execute { worker, sequence, input, .. } => {
                let known = self.workers.get_mut(&worker).expect("a worker that was started");
                let is_there = known.ready && known.killed.is_none() && !known.dismissed;
                assert!(is_there, "a task for {known:?}");
                assert_eq!(sequence, known.finished + known.tasks.len() as u64);
                if let Payload::Buffer { buffer, .. } = input {
                    assert!(self.buffers.contains(&buffer), "{buffer:?} was let go of");
                }
                known.tasks.push_back(input);
            }
            slots::Effect::Kill { worker } => {
                let known = self.workers.get_mut(&worker).expect("a worker that was started");
                // It is tried again when nothing was heard of its end for a second.
                let is_due = known.killed.is_none_or(|before| before + SECOND <= self.now);
                assert!(is_due, "killed twice");
                known.killed = Some(self.now);
            }
            slots::Effect::Dismiss { worker } => {
                let known = self.workers.get_mut(&worker).expect("a worker that was started");
                assert!(known.ready && known.tasks.is_empty(), "{known:?} has something to do");
                known.dismissed = true;
            }
            slots::Effect::Release { buffer } => self.release(buffer),
            _ => {}
        }
    }

    /// Everyone goes, and every worker ends: nothing is left.
    fn end(&mut self) {
        for at in 0..self.links.len() {
            self.close(at);
        }
        self.settle();
        for _ in 0..64 {
            let ends =
                |worker: &Worker| worker.killed.is_some() || worker.dismissed || !worker.ready;
            let killed = self.workers.iter().filter(|(_, worker)| ends(worker));
            let killed: Vec<WorkerId> = killed.map(|(worker, _)| *worker).collect();
            for worker in killed {
                self.exit(worker, 1);
            }
            self.pass(Span::from_secs(60));
            self.settle();
        }
        assert_eq!(self.node.tally(), slots::Tally::default(), "something is left");
        assert!(self.buffers.is_empty(), "buffers are left: {:?}", self.buffers);
    }
}

fn name(text: &str) -> Name {
    let Ok(name) = text.parse() else { unreachable!("a constant name") };
    name
}

/// Single frames from which tests put lives together.
pub fn happenings() -> Vec<Vec<u8>> {
    let mut all = Vec::new();
    for nanoseconds in [1_000_000, 100_000_000, 40_000_000_000] {
        all.push(happening(0xe0, nanoseconds, &[]));
    }
    for link_and_who in 0..24 {
        all.push(happening(0xe1, link_and_who, &[]));
    }
    all.push(happening(0xe2, 6, &(1_u64 << 20).to_le_bytes()));
    for worker in 0..3 {
        for what in 0..11 {
            all.push(happening(0xe3, worker, &[what, what + 1]));
        }
    }
    all.push(happening(0xe4, 0, &[]));
    all.push(happening(0xe5, 0, &[]));
    all.push(happening(0xe6, 0, &[]));
    for what in [0, 0, 1, 2, 3, 3, 3, 4, 5, 6, 7, 8, 9, 10] {
        all.push(happening(0xe7, 0, &[what]));
    }
    all
}
