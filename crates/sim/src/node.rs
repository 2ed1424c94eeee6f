//! A pretended daemon around the real `logic::node::Node`: links, workers, buffers, a store.
//!
//! It carries out effects and decides nothing, as the real one does. After every event the machine
//! settles, its effects are carried out, and what is to be sent goes out in one piece per link.

mod fetching;
mod worker;

use std::collections::{BTreeMap, BTreeSet};

use bytes::{Bytes, BytesMut};
use logic::node::{Effect, Event, Node, Options, Peer};
use logic::slots::{self, Class, Finished};
use logic::{BufferId, Exit, LinkId, Payload, WorkerId};
use wire::Kind;
use wire::frame::{self, Frame};
use wire::limits::CONTROL_BODY_MAX;
use wire::member::{Member, State};
use wire::name::{Hash, Name};
use wire::task::{PAYLOAD_HEAD, PayloadHead, Program, Times};
use wire::units::{Span, Time};

use crate::net::{End, Net, Side, What};
use crate::plan::Make;
use crate::trace::Line;
use fetching::Fetching;
use worker::{Result, Word, Worker};

#[derive(Debug)]
struct Link {
    connection: usize,
    side: Side,
    input: BytesMut,
    output: BytesMut,
    /// This connection carries payloads of another link.
    carries: Option<LinkId>,
    /// The connection that carries payloads of this link.
    bulk: Option<LinkId>,
    /// This connection is for one blob, which comes from another node.
    fetching: Option<Box<Fetching>>,
    /// Tells it from others that had its place.
    birth: u64,
}

#[derive(Debug)]
pub(crate) struct Daemon {
    at: usize,
    pub(crate) name: Name,
    pub(crate) alive: bool,
    pub(crate) leaving: bool,
    pub(crate) slots: u32,
    node: Node,
    links: Vec<Option<Link>>,
    workers: BTreeMap<WorkerId, Worker>,
    buffers: BTreeMap<BufferId, Bytes>,
    buffer_next: u32,
    store: BTreeMap<Hash, Bytes>,
    births: u64,
    /// Blobs that were here.
    evicted: BTreeSet<Hash>,
    /// A node that takes no blobs at all.
    disk_is_full: bool,
    wake: Time,
    pub(crate) stalled: Time,
    pub(crate) slow: Time,
    /// A node that it keeps a link to.
    neighbour: Option<Name>,
    redial: Time,
    /// Most workers that ran at once since `watch`.
    pub(crate) running_most: usize,
}

impl Daemon {
    pub(crate) fn new(net: &mut Net, at: usize, name: Name, neighbour: Option<Name>) -> Self {
        let slots = 1 + net.random.below(net.plan.slots_max) as u32;
        let me = Member {
            name: name.clone(),
            life: net.now.0,
            addresses: vec![name.to_string()],
            slots,
            state: State::Here,
        };
        let grace = Span::from_secs(1 + net.random.below(20));
        let controllers = logic::controllers::Options::default();
        let options = Options { agent: "sim".to_owned(), me, grace, controllers };
        net.addresses.insert(name.clone(), at);
        let disk_is_full = {
            let chance = net.plan.disk_full;
            net.random.per_mille(chance)
        };
        net.judge.excuses.unloadable |= disk_is_full;
        net.after(Span(0), What::Wake(End::Node(at)));
        Self {
            at,
            name,
            alive: true,
            leaving: false,
            slots,
            node: Node::new(net.now, options),
            links: Vec::new(),
            workers: BTreeMap::new(),
            buffers: BTreeMap::new(),
            buffer_next: 0,
            store: BTreeMap::new(),
            births: 0,
            evicted: BTreeSet::new(),
            disk_is_full,
            wake: Time::NEVER,
            stalled: Time(0),
            slow: Time(0),
            neighbour,
            redial: net.now,
            running_most: 0,
        }
    }

    /// Takes new tasks, as far as its driver can tell.
    pub(crate) fn is_useful(&self) -> bool {
        self.alive && !self.leaving && !self.disk_is_full
    }

    pub(crate) fn die(&mut self) {
        self.alive = false;
        self.workers.clear();
    }

    pub(crate) fn leave(&mut self, net: &mut Net) {
        self.leaving = true;
        self.node.handle(net.now, Event::Leave);
        self.settle(net);
    }

    pub(crate) fn workers_alive(&self) -> Vec<u32> {
        self.workers.keys().map(|worker| worker.0).collect()
    }

    /// Its disk loses everything that it has stored.
    pub(crate) fn lose_blobs(&mut self) {
        self.evicted.extend(std::mem::take(&mut self.store).into_keys());
    }

    pub(crate) fn kill_worker(&mut self, net: &mut Net, worker: u32) {
        if let Some(worker) = self.workers.get_mut(&WorkerId(worker)) {
            worker.crash(net, Exit::Signal(9));
        }
    }

    /// What is left here of anyone, in words; nothing if there is nothing.
    pub(crate) fn leftovers(&self) -> Option<String> {
        let counters = self.node.figures(wire::units::Time(0)).counters;
        if counters.accepted != counters.gone() {
            return Some(format!("tasks that nobody knows the end of: {counters:?}"));
        }
        let tally = self.node.tally();
        let (buffers, workers) = (self.buffers.len(), self.workers.len());
        let clean = tally == logic::slots::Tally::default() && buffers == 0 && workers == 0;
        (!clean).then(|| format!("{tally:?}, {buffers} buffers, {workers} workers"))
    }

    // Events.

    /// Bytes come out of a connection.
    pub(crate) fn hear(&mut self, net: &mut Net, connection: usize, side: Side, bytes: &[u8]) {
        let link = match self.link_of(connection, side) {
            Some(link) => link,
            None if side == Side::Listener => self.accept(net, connection),
            None => return,
        };
        let Some(Some(known)) = self.links.get_mut(link.0 as usize) else { return };
        known.input.extend_from_slice(bytes);
        if known.fetching.is_some() {
            self.fetch_hear(net, link);
            return self.settle(net);
        }
        match known.carries {
            Some(to) => self.node.handle(net.now, Event::Heard { link: to }),
            None => self.node.handle(net.now, Event::Heard { link }),
        }
        while let Some(Some(known)) = self.links.get_mut(link.0 as usize) {
            match frame::take(&mut known.input, CONTROL_BODY_MAX) {
                Ok(Some(frame)) => self.frame(net, link, connection, frame),
                Ok(None) => break,
                Err(error) => return net.judge.fail(format!("node {}: {error}", self.at)),
            }
            // Who is attached, or let in, changes with each message here; a real daemon has the
            // same rule.
            self.carry_out_all(net);
        }
        self.settle(net);
    }

    pub(crate) fn closed(&mut self, net: &mut Net, connection: usize, side: Side) {
        if let Some(link) = self.link_of(connection, side) {
            self.drop_link(net, link);
            self.settle(net);
        }
    }

    pub(crate) fn wake(&mut self, net: &mut Net) {
        if self.node.poll_timeout() <= net.now {
            self.node.handle(net.now, Event::Tick);
        }
        self.fetch_late(net);
        if self.redial <= net.now {
            self.redial = Time::NEVER;
            self.dial(net);
        }
        self.settle(net);
    }

    pub(crate) fn step(&mut self, net: &mut Net, worker: u32, birth: u64) {
        let slow = self.slowness(net);
        if let Some(worker) = self.workers.get_mut(&WorkerId(worker))
            && worker.birth == birth
        {
            worker.slowness = slow;
            worker.step(net);
        }
        let running = self.workers.values().filter(|worker| worker.is_running()).count();
        self.running_most = self.running_most.max(running);
    }

    /// Reads what a worker said, and whether it is gone.
    pub(crate) fn listen(&mut self, net: &mut Net, worker: u32, birth: u64) {
        let id = WorkerId(worker);
        let Some(known) = self.workers.get_mut(&id).filter(|known| known.birth == birth) else {
            return;
        };
        let exit = known.exit(net);
        for word in known.words(net.now) {
            match word {
                Word::Ready(result) => {
                    self.node.handle(net.now, Event::WorkerReady { worker: id, result });
                }
                Word::Result(result) => self.result(net, id, result),
            }
        }
        if let Some(exit) = exit {
            self.read_page(net, id);
            if let Some(known) = self.workers.remove(&id) {
                let (started, stderr) = (known.started, "died".to_owned());
                let event = Event::WorkerExited { worker: id, exit, started, stderr };
                self.node.handle(net.now, event);
            }
        }
        self.settle(net);
    }

    /// Results come in order, and one that was found in the page comes again.
    fn result(&mut self, net: &mut Net, worker: WorkerId, result: Result) {
        let Some(known) = self.workers.get_mut(&worker) else { return };
        let Result { sequence, status, ran, output, bulk, began } = result;
        if sequence != known.taken {
            return;
        }
        known.taken += 1;
        let output = if bulk { self.keep(output) } else { Payload::Inline(output) };
        let times = Times { began: Span(began.0), ..Times::default() };
        let finished = Finished { status, ran, output, times };
        self.node.handle(net.now, Event::WorkerDone { worker, sequence, finished });
    }

    fn read_page(&mut self, net: &mut Net, worker: WorkerId) {
        let Some(known) = self.workers.get(&worker) else { return };
        for result in known.page() {
            self.result(net, worker, result);
        }
    }

    // Links.

    fn link_of(&self, connection: usize, side: Side) -> Option<LinkId> {
        let is = |link: &Option<Link>| {
            link.as_ref().is_some_and(|link| link.connection == connection && link.side == side)
        };
        self.links.iter().position(is).map(|at| LinkId(at as u32))
    }

    fn insert(&mut self, connection: usize, side: Side) -> LinkId {
        self.births += 1;
        let link = Link {
            connection,
            side,
            input: BytesMut::new(),
            output: BytesMut::new(),
            carries: None,
            bulk: None,
            fetching: None,
            birth: self.births,
        };
        match self.links.iter().position(Option::is_none) {
            Some(at) => {
                self.links[at] = Some(link);
                LinkId(at as u32)
            }
            None => {
                self.links.push(Some(link));
                LinkId(self.links.len() as u32 - 1)
            }
        }
    }

    fn accept(&mut self, net: &mut Net, connection: usize) -> LinkId {
        let link = self.insert(connection, Side::Listener);
        let peer = match net.connections[connection].dialler {
            End::Client(at) => Peer::Client(owner_name(net, at)),
            End::Node(at) => Peer::Node(node_name(net, at)),
        };
        let token = net.random.next();
        self.node.handle(net.now, Event::Accepted { link, peer, token });
        link
    }

    fn dial(&mut self, net: &mut Net) {
        let Some(name) = self.neighbour.clone() else { return };
        match net.dial(End::Node(self.at), &name) {
            Some(connection) => {
                let link = self.insert(connection, Side::Dialler);
                self.node.handle(net.now, Event::Dialled { link });
            }
            None => self.redial = net.now + Span::from_secs(1),
        }
    }

    fn drop_link(&mut self, net: &mut Net, link: LinkId) {
        let fetches =
            |known: &Option<Link>| known.as_ref().is_some_and(|known| known.fetching.is_some());
        if self.links.get(link.0 as usize).is_some_and(fetches) {
            return self.fetch_end(net, link, Some("it hung up".to_owned()));
        }
        let Some(known) = self.links.get_mut(link.0 as usize).and_then(Option::take) else {
            return;
        };
        net.close(known.connection, known.side);
        if known.side == Side::Dialler {
            self.redial = net.now + Span::from_secs(1);
        }
        if let Some(bulk) = known.bulk {
            self.drop_link(net, bulk);
        }
        match known.carries {
            Some(to) => self.drop_link(net, to),
            None => self.node.handle(net.now, Event::Closed { link }),
        }
    }

    fn frame(&mut self, net: &mut Net, link: LinkId, connection: usize, frame: Frame) {
        let (kind, channel, length) = (frame.kind, frame.channel, frame.body.len());
        net.note(Line::ToNode { node: self.at, connection, kind, channel, length });
        if frame.kind == Kind::PAYLOAD {
            let carries = self.links[link.0 as usize].as_ref().and_then(|link| link.carries);
            match (carries, PayloadHead::peek(&frame.body)) {
                (Some(link), Some(head)) => {
                    let length = head.total;
                    let bytes = self.keep(frame.body.slice(PAYLOAD_HEAD..));
                    let Payload::Buffer { buffer, .. } = bytes else { return };
                    let event = Event::Payload { link, channel, buffer, length };
                    self.node.handle(net.now, event);
                }
                _ => net.judge.fail("a payload on a connection that carries none".to_owned()),
            }
            return;
        }
        match wire::decode(frame) {
            Ok((channel, message)) => {
                self.node.handle(net.now, Event::Message { link, channel, message });
            }
            Err(error) => net.judge.fail(format!("node {}: {error}", self.at)),
        }
    }

    fn keep(&mut self, bytes: Bytes) -> Payload {
        let buffer = BufferId(self.buffer_next);
        self.buffer_next += 1;
        let length = bytes.len() as u64;
        self.buffers.insert(buffer, bytes);
        Payload::Buffer { buffer, length }
    }

    // Effects.

    fn settle(&mut self, net: &mut Net) {
        loop {
            self.node.settle(net.now);
            if !self.carry_out_all(net) {
                break;
            }
        }
        for known in self.links.iter_mut().flatten() {
            let output = known.output.split().freeze();
            net.send(known.connection, known.side, output);
        }
        let wake = self.node.poll_timeout().min(self.redial);
        if self.alive && wake != Time::NEVER && wake != self.wake {
            self.wake = wake;
            net.at(wake, What::Wake(End::Node(self.at)));
        }
        if self.wake <= net.now {
            self.wake = Time::NEVER;
        }
    }

    fn carry_out_all(&mut self, net: &mut Net) -> bool {
        let mut any = false;
        while let Some(effect) = self.node.poll_effect() {
            any = true;
            self.carry_out(net, effect);
        }
        any
    }

    fn carry_out(&mut self, net: &mut Net, effect: Effect) {
        match effect {
            Effect::Send { link, channel, message }
            | Effect::SendLater { link, channel, message } => {
                if let Some(Some(known)) = self.links.get_mut(link.0 as usize) {
                    message.encode(channel, &mut known.output);
                }
            }
            Effect::SendLog { .. } => net.judge.fail("nobody wrote anything".to_owned()),
            Effect::SendPayload { link, channel, buffer, length } => {
                self.send_payload(net, link, channel, buffer, length);
            }
            Effect::Close { link } => {
                if let Some(known) = self.links.get_mut(link.0 as usize).and_then(Option::as_mut) {
                    let output = known.output.split().freeze();
                    net.send(known.connection, known.side, output);
                }
                self.drop_link(net, link);
            }
            Effect::ToWorker { .. } => net.judge.fail("nobody opened a stream".to_owned()),
            Effect::Attach { connection, to, .. } => {
                if let Some(known) = &mut self.links[connection.0 as usize] {
                    known.carries = Some(to);
                }
                if let Some(known) = &mut self.links[to.0 as usize] {
                    known.bulk = Some(connection);
                }
            }
            Effect::StoreBlob { link, channel, hash, bytes } => {
                let (length, bytes) = match bytes {
                    Payload::Stream => (0, None),
                    Payload::Inline(bytes) => (bytes.len() as u64, Some(bytes)),
                    Payload::Buffer { buffer, length } => (length, self.buffers.remove(&buffer)),
                };
                let refused = match bytes {
                    Some(bytes) if Hash::of(&bytes) != hash => Some("not its hash".to_owned()),
                    Some(_) if self.disk_is_full => Some("no space left on device".to_owned()),
                    Some(bytes) => {
                        self.store.insert(hash, bytes);
                        None
                    }
                    None => Some("its bytes were lost".to_owned()),
                };
                let event = Event::BlobStored { link, channel, hash, length, refused };
                self.node.handle(net.now, event);
            }
            Effect::DeleteBlob { hash } => {
                self.store.remove(&hash);
            }
            Effect::FetchBlob { link, channel, blob } => self.fetch(net, link, channel, blob),
            Effect::LendBlob { connection, hash } => self.lend(net, connection, &hash),
            Effect::Redeem { .. } => net.judge.fail("nobody joins here".to_owned()),
            Effect::BeginVisit { .. } | Effect::ReturnVisit { .. } | Effect::EndVisit(_) => {
                net.judge.fail("no process moves here".to_owned());
            }
            Effect::Worker(effect) => self.carry_out_worker(net, effect),
            // Buffers are nobody's here, and nothing outlasts a start.
            Effect::OwnerGone { .. } | Effect::OwnBlob { .. } => {}
            Effect::Warn { .. } => {}
            Effect::NetMem(_) | Effect::NetMemRefused { .. } => {
                net.judge.fail("nobody speaks NetMem".to_owned());
            }
            Effect::Region(_) => net.judge.fail("no node has a vault".to_owned()),
            Effect::Controller(_) => net.judge.fail("nobody speaks version 1".to_owned()),
            Effect::Left => {
                if !self.workers.values().all(|worker| !worker.is_running()) {
                    // Its patience ended before its tasks did.
                    net.judge.excuses.hurt.insert(self.name.clone());
                }
                for known in self.links.iter_mut().flatten() {
                    let output = known.output.split().freeze();
                    net.send(known.connection, known.side, output);
                }
                net.close_all(End::Node(self.at));
                net.addresses.remove(&self.name);
                self.die();
            }
        }
    }

    fn send_payload(
        &mut self,
        net: &mut Net,
        link: LinkId,
        channel: u64,
        buffer: BufferId,
        length: u64,
    ) {
        let Some(bytes) = self.buffers.remove(&buffer) else {
            return net.judge.fail(format!("node {}: {buffer:?} is gone too early", self.at));
        };
        let bulk = self.links[link.0 as usize].as_ref().and_then(|link| link.bulk);
        let bulk = bulk.and_then(|bulk| self.links[bulk.0 as usize].as_mut());
        if let Some(bulk) = bulk {
            let head = PayloadHead { total: length, offset: 0 };
            frame::put(&mut bulk.output, Kind::PAYLOAD, channel, |body| {
                body.extend_from_slice(&head.to_bytes());
                body.extend_from_slice(&bytes);
            });
        }
    }

    fn carry_out_worker(&mut self, net: &mut Net, effect: slots::Effect) {
        match effect {
            slots::Effect::Execute { worker, sequence, attempt, input, .. } => {
                let input = match input {
                    Payload::Stream => None,
                    Payload::Inline(bytes) => Some(bytes),
                    Payload::Buffer { buffer, .. } => self.buffers.get(&buffer).cloned(),
                };
                match (input, self.workers.get_mut(&worker)) {
                    (Some(input), Some(known)) => known.give(net, sequence, attempt, input),
                    (None, _) => net.judge.fail("an input was gone before its task ran".to_owned()),
                    (_, None) => net.judge.fail("a task for a worker that is gone".to_owned()),
                }
            }
            slots::Effect::Start { worker, class } => self.start(net, worker, &class),
            slots::Effect::Kill { worker } => {
                if let Some(known) = self.workers.get_mut(&worker) {
                    known.kill(net);
                }
            }
            slots::Effect::Peek { worker } => {
                self.read_page(net, worker);
                if let Some(known) = self.workers.get(&worker) {
                    let (started, since) = (known.started, known.since);
                    let event = Event::WorkerPeeked { worker, started, since };
                    self.node.handle(net.now, event);
                }
            }
            slots::Effect::Measure { worker } => {
                if let Some(known) = self.workers.get(&worker) {
                    let peak = known.peak();
                    self.node.handle(net.now, Event::WorkerMeasured { worker, peak });
                }
            }
            slots::Effect::Release { buffer } => {
                if self.buffers.remove(&buffer).is_none() {
                    net.judge.fail(format!("node {}: {buffer:?} was released twice", self.at));
                }
            }
            slots::Effect::Dismiss { .. } => net.judge.fail("no worker is bound".to_owned()),
            slots::Effect::Done { .. }
            | slots::Effect::Credit { .. }
            | slots::Effect::Bound { .. }
            | slots::Effect::Unbound { .. } => {
                net.judge.fail("the machine turns these into messages".to_owned());
            }
        }
    }

    fn start(&mut self, net: &mut Net, worker: WorkerId, class: &Class) {
        let Program::Core { library, name } = &class.program;
        if self.workers.contains_key(&worker) {
            return net.judge.fail(format!("node {}: {worker:?} was born twice", self.at));
        }
        let alive = self.workers.len();
        if alive > 4 * self.slots as usize + 4 {
            return net.judge.fail(format!("node {}: {alive} workers at once", self.at));
        }
        if !self.store.contains_key(library) {
            if !self.evicted.contains(library) {
                return net.judge.fail(format!("node {}: {name} was never stored here", self.at));
            }
            let library = *library;
            self.node.handle(net.now, Event::BlobLost { hash: library });
            self.node.handle(net.now, Event::LibraryAbsent { worker, library });
            let (exit, stderr) = (Exit::Code(0), String::new());
            let exited = Event::WorkerExited { worker, exit, started: 0, stderr };
            return self.node.handle(net.now, exited);
        }
        let slowness = self.slowness(net);
        let started = Worker::start(net, self.at, worker.0, make_of(name), slowness);
        self.workers.insert(worker, started);
    }

    fn slowness(&self, net: &Net) -> u64 {
        if self.slow > net.now { 100 } else { 1 }
    }
}

/// Programs are called after what they are.
pub(crate) fn name_of(make: Make) -> &'static str {
    match make {
        Make::Good => "good",
        Make::Limited => "limited",
        Make::Bad => "bad",
    }
}

fn make_of(name: &str) -> Make {
    match name {
        "bad" => Make::Bad,
        "limited" => Make::Limited,
        _ => Make::Good,
    }
}

/// What stands in a client's certificate.
pub(crate) fn owner_name(net: &Net, client: usize) -> Name {
    let owner = if net.plan.one_owner { 0 } else { client };
    name(&format!("client-{owner}"))
}

fn node_name(net: &Net, node: usize) -> Name {
    let here = net.addresses.iter().find(|(_, at)| **at == node);
    here.map_or_else(|| name("nobody"), |(name, _)| name.clone())
}

pub(crate) fn name(text: &str) -> Name {
    match text.parse() {
        Ok(name) => name,
        Err(error) => unreachable!("{error}"),
    }
}
