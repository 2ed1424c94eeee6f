//! The client's links: dialling nodes, reading into the dispatcher, dialling again.

mod regions;
mod asking;

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::path::PathBuf;

use bytes::Bytes;
use logic::alarms::Alarms;
use logic::dispatch::{Dispatch, Effect, Event};
use logic::link::{self, Link, Pass};
use logic::{LinkId, Payload};
use mio::{Registry, Token};
use transport::{Connection, DialTls, ReadOutcome, Watched};
use wire::Message;
use wire::blob::Put;
use wire::hello::{Goodbye, Hello, Purpose};
use wire::job::{Jobs, Log, Why};
use wire::limits::{CONTROL_BODY_MAX, INLINE_MAX, STRANGER_PATIENCE};
use wire::member::{Member, State as MemberState};
use wire::name::{Hash, Name};
use wire::status::Report;
use wire::task::{Input, Output, Run, RunHead, Status, Times};
use wire::units::{Span, Time};

pub(crate) use self::regions::Question;
use crate::status::{Loss, NodeReport, NodeStatus};

/// The first pause before a lost node is dialled again; it doubles up to `PAUSE_MAX`.
const PAUSE: Span = Span::from_millis(50);
const PAUSE_MAX: Span = Span::from_secs(5);
/// Nodes that are asked to tell of the others. Each of them knows everybody: with one that falls
/// silent there are others, and ten thousand that tell of each other would say the same.
const TELLERS: usize = 3;
/// Bulk connections of one link, each dialled when those before it are busy.
const BULKS: usize = 2;
/// Losses that are remembered.
const LOSSES_MAX: usize = 64;
/// Tokens from here on are of bulk connections, `BULKS` for each node.
const BULK: usize = 1 << 32;

use crate::bulk::Bulk;
use crate::error::chain;
use crate::room::Room;
use crate::streams::Streams;

/// Where a node listens.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Target {
    Tcp(SocketAddr),
    Unix(PathBuf),
}

impl std::fmt::Display for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => path.display().fmt(f),
        }
    }
}

struct Node {
    target: Target,
    /// Where it is tried in turn, since other nodes have told of it there.
    other: Option<Target>,
    name: Option<Name>,
    life: Life,
    pause: Span,
    /// Why it is not up, in words.
    trouble: Option<String>,
    /// What it said when it was asked.
    report: Option<Report>,
    why: Option<Why>,
    jobs: Option<Jobs>,
    said: regions::Said,
    /// What bulk connections name the link by.
    token: u64,
    bulks: [Option<Bulk>; BULKS],
    /// It is up, and did not say that it will go.
    is_there: bool,
    /// Results whose other half is still to come.
    halves: HashMap<u64, Half>,
    /// It is one of those that are up.
    counted: bool,
    /// It was asked to tell of the others.
    tells: bool,
}

impl Node {
    /// Where it is known at two addresses, the other one is tried next.
    fn swap_targets(&mut self) {
        if let Some(other) = &mut self.other {
            std::mem::swap(&mut self.target, other);
        }
    }
}

/// One bulk connection of a node's link.
#[derive(Clone, Copy)]
struct Line {
    at: usize,
    which: usize,
}

impl Line {
    fn of(token: usize) -> Self {
        Self { at: (token - BULK) / BULKS, which: (token - BULK) % BULKS }
    }

    fn token(self) -> usize {
        BULK + self.at * BULKS + self.which
    }
}

/// Half of a large result.
enum Half {
    Head { status: Status, ran: Span, times: Times, length: u64 },
    Bytes(Bytes),
}

enum Life {
    /// Nothing, until it is time to dial.
    Away {
        until: Time,
    },
    /// TLS, then the greeting. The kernel alone would wait two minutes for a host that is away.
    Dialling(Box<Watched>, Time),
    Linked(Box<Watched>, Box<Link>),
    /// It said goodbye for good.
    Gone,
}

/// All nodes of a client; a node's position is its `LinkId`.
pub(crate) struct Nodes {
    registry: Registry,
    tls: Option<DialTls>,
    me: Name,
    nodes: Vec<Node>,
    /// Nodes by where they listen, and those that have said their name by that.
    by_target: HashMap<Target, usize>,
    by_name: HashMap<Name, usize>,
    /// When each node is to be dialled, or its link looked at.
    alarms: Alarms,
    /// Nodes that are up, and those of them that tell of the others.
    up: usize,
    tellers: usize,
    /// Nodes with a connection, and how many may have one.
    open: usize,
    room: Room,
    libraries: HashMap<Hash, Bytes>,
    pub(crate) streams: Streams,
    /// Bytes of programs sent so far.
    pub(crate) uploaded: u64,
    /// Nodes that were lost, until somebody asks.
    pub(crate) losses: VecDeque<Loss>,
    /// What tasks have written to their standard error: by which node, and what.
    pub(crate) logs: Vec<(Option<Name>, Log, Bytes)>,
    dirty: Vec<usize>,
    unread: VecDeque<usize>,
}

impl Nodes {
    pub(crate) fn new(registry: Registry, tls: Option<DialTls>, me: Name) -> Self {
        Self {
            registry,
            tls,
            me,
            nodes: Vec::new(),
            by_target: HashMap::new(),
            by_name: HashMap::new(),
            alarms: Alarms::default(),
            up: 0,
            tellers: 0,
            open: 0,
            room: Room::of_process(),
            libraries: HashMap::new(),
            streams: Streams::default(),
            uploaded: 0,
            losses: VecDeque::new(),
            logs: Vec::new(),
            dirty: Vec::new(),
            unread: VecDeque::new(),
        }
    }

    /// Without any of them.
    pub(crate) fn none(&self) -> std::io::Result<Self> {
        Ok(Self::new(self.registry.try_clone()?, None, self.me.clone()))
    }

    pub(crate) fn add(&mut self, now: Time, target: Target) {
        if self.by_target.contains_key(&target) {
            return;
        }
        let at = self.nodes.len();
        self.by_target.insert(target.clone(), at);
        self.alarms.set(at as u32, now);
        let life = Life::Away { until: now };
        self.nodes.push(Node {
            target,
            other: None,
            name: None,
            life,
            pause: PAUSE,
            trouble: None,
            report: None,
            why: None,
            jobs: None,
            said: regions::Said::default(),
            token: 0,
            bulks: [const { None }; BULKS],
            is_there: false,
            halves: HashMap::new(),
            counted: false,
            tells: false,
        });
    }

    pub(crate) fn keep_library(&mut self, hash: Hash, bytes: Bytes) {
        self.libraries.insert(hash, bytes);
    }

    pub(crate) fn libraries(&self) -> Vec<(Hash, Bytes)> {
        self.libraries.iter().map(|(hash, bytes)| (*hash, bytes.clone())).collect()
    }

    pub(crate) fn library_length(&self, hash: &Hash) -> u64 {
        self.libraries.get(hash).map_or(0, |bytes| bytes.len() as u64)
    }

    /// Nodes that are up.
    pub(crate) fn up(&self) -> usize {
        self.up
    }

    /// What went wrong where.
    pub(crate) fn troubles(&self) -> String {
        let trouble = |node: &Node| {
            let trouble = node.trouble.as_deref().unwrap_or("no answer");
            format!("{} ({trouble})", node.target)
        };
        self.nodes.iter().map(trouble).collect::<Vec<_>>().join(", ")
    }

    /// No node is being dialled for the first time: each is up, or it is known why not.
    pub(crate) fn are_settled(&self) -> bool {
        self.nodes.iter().all(|node| match &node.life {
            Life::Linked(_, link) => link.is_up(),
            Life::Away { .. } | Life::Dialling(..) => node.trouble.is_some(),
            Life::Gone => true,
        })
    }

    /// Asks those that are up what they are doing.
    pub(crate) fn ask_status(&mut self) {
        for at in 0..self.nodes.len() {
            self.nodes[at].report = None;
            if matches!(&self.nodes[at].life, Life::Linked(_, link) if link.is_up()) {
                self.send(LinkId(at as u32), 0, &Message::StatusAsk);
            }
        }
    }

    pub(crate) fn have_answered(&self) -> bool {
        self.nodes.iter().all(|node| match &node.life {
            Life::Linked(_, link) => node.report.is_some() || !link.is_up(),
            Life::Away { .. } | Life::Dialling(..) | Life::Gone => true,
        })
    }

    pub(crate) fn statuses(&self) -> Vec<NodeStatus> {
        let status = |node: &Node| {
            let trouble = || node.trouble.clone().unwrap_or_else(|| "no answer".to_owned());
            NodeStatus {
                name: node.name.as_ref().map(Name::to_string),
                address: node.target.to_string(),
                report: node.report.clone().map(NodeReport::from).ok_or_else(trouble),
            }
        };
        let there = self.nodes.iter().filter(|node| !matches!(node.life, Life::Gone));
        there.map(status).collect()
    }

    pub(crate) fn poll_timeout(&self) -> Time {
        self.alarms.next()
    }

    pub(crate) fn has_unread(&self) -> bool {
        !self.unread.is_empty()
    }

    /// Dials whom it is time to dial, and lets links notice silence.
    pub(crate) fn tick(&mut self, now: Time, dispatch: &mut Dispatch) {
        while let Some(at) = self.alarms.take_due(now) {
            let at = at as usize;
            match &mut self.nodes[at].life {
                Life::Away { until } if *until <= now => self.dial(now, at),
                Life::Linked(_, link) if link.poll_timeout() <= now => {
                    link.tick(now);
                    self.manners(now, at, dispatch);
                }
                Life::Dialling(_, until) if *until <= now => {
                    let patience = STRANGER_PATIENCE.0 / Span::from_secs(1).0;
                    self.lost(now, at, dispatch, format!("no answer for {patience} s"));
                }
                Life::Away { .. } | Life::Linked(..) | Life::Dialling(..) | Life::Gone => {}
            }
            self.wind(at);
        }
    }

    /// Sets the alarm of a node, after something that may have brought it forward. What moves it back,
    /// as every message does, need not: it is found out when it rings.
    fn wind(&mut self, at: usize) {
        let due = match &self.nodes[at].life {
            Life::Away { until } => *until,
            Life::Linked(_, link) => link.poll_timeout(),
            Life::Dialling(_, until) => *until,
            Life::Gone => Time::NEVER,
        };
        self.alarms.set(at as u32, due);
    }

    /// Starts to connect to a node, for `token`'s events.
    fn connect(&self, at: usize, token: Token) -> Result<Watched, String> {
        let connection = match &self.nodes[at].target {
            Target::Tcp(address) => match &self.tls {
                Some(tls) => Connection::dial(*address, tls).map_err(|error| error.to_string()),
                None => Err("this user has no credentials; run `farcall auth init`".to_owned()),
            },
            Target::Unix(path) => mio::net::UnixStream::connect(path)
                .map(Connection::plain)
                .map_err(|error| error.to_string()),
        };
        connection.and_then(|connection| {
            let watched = Watched::new(connection, &self.registry, token);
            watched.map_err(|error| error.to_string())
        })
    }

    fn dial(&mut self, now: Time, at: usize) {
        let Room { links, descriptors } = self.room;
        if self.open >= links {
            // Those that are linked already do the work.
            self.nodes[at].pause = PAUSE_MAX;
            let trouble = format!(
                "not linked: this process may have {descriptors} descriptors open, enough for \
                 {links} nodes; raise it with `ulimit -n`"
            );
            return self.away(now, at, trouble);
        }
        match self.connect(at, Token(at)) {
            Ok(connection) => {
                self.open += 1;
                self.nodes[at].life = Life::Dialling(Box::new(connection), now + STRANGER_PATIENCE);
                self.open(now, at);
            }
            Err(trouble) => self.away(now, at, trouble),
        }
    }

    /// Once TLS is over, the greeting goes out.
    fn open(&mut self, now: Time, at: usize) {
        let node = &mut self.nodes[at];
        if !matches!(&node.life, Life::Dialling(connection, _) if connection.is_ready()) {
            return;
        }
        let life = std::mem::replace(&mut node.life, Life::Gone);
        let Life::Dialling(connection, _) = life else { return };
        let agent = concat!("farcall ", env!("CARGO_PKG_VERSION")).to_owned();
        let hello = Hello { agent, name: self.me.clone(), purpose: Purpose::Client };
        node.life = Life::Linked(connection, Box::new(Link::dial(now, hello)));
        self.wind(at);
        self.greet(at);
    }

    fn greet(&mut self, at: usize) {
        let Life::Linked(connection, link) = &mut self.nodes[at].life else { return };
        while let Some(effect) = link.poll_effect() {
            if let link::Effect::Send(message) = effect {
                message.encode(0, connection.output());
            }
        }
        self.dirty.push(at);
    }

    fn away(&mut self, now: Time, at: usize, trouble: String) {
        let node = &mut self.nodes[at];
        node.trouble = Some(trouble);
        node.swap_targets();
        node.life = Life::Away { until: now + node.pause };
        node.pause = Span((node.pause.0 * 2).min(PAUSE_MAX.0));
        self.wind(at);
    }

    fn lost(&mut self, now: Time, at: usize, dispatch: &mut Dispatch, trouble: String) {
        self.note_loss(at, &trouble);
        match std::mem::replace(&mut self.nodes[at].life, Life::Gone) {
            Life::Linked(connection, _) | Life::Dialling(connection, _) => {
                connection.release(&self.registry);
                self.open -= 1;
            }
            other @ (Life::Away { .. } | Life::Gone) => {
                self.nodes[at].life = other;
                return;
            }
        }
        self.up -= usize::from(std::mem::take(&mut self.nodes[at].counted));
        if std::mem::take(&mut self.nodes[at].tells) {
            self.tellers -= 1;
            let another = self.nodes.iter().position(|node| node.counted && !node.tells);
            another.into_iter().for_each(|other| self.ask_to_tell(other));
        }
        self.nodes[at].halves.clear();
        for bulk in self.nodes[at].bulks.iter_mut().filter_map(Option::take) {
            bulk.release(&self.registry);
        }
        dispatch.handle(now, Event::NodeDown { link: LinkId(at as u32) });
        self.away(now, at, trouble);
    }

    /// Whoever waits for results may want to know who is not there any more.
    fn note_loss(&mut self, at: usize, trouble: &str) {
        let node = &mut self.nodes[at];
        let was_there = std::mem::take(&mut node.is_there);
        if let (Some(name), true) = (&node.name, was_there) {
            if self.losses.len() == LOSSES_MAX {
                self.losses.pop_front();
            }
            let (node, address) = (name.to_string(), node.target.to_string());
            self.losses.push_back(Loss { node, address, why: trouble.to_owned() });
        }
    }

    /// A connection may be read or written.
    pub(crate) fn ready(&mut self, now: Time, event: &mio::event::Event, dispatch: &mut Dispatch) {
        let at = event.token().0;
        if at >= BULK {
            return self.bulk_ready(now, event, Line::of(at), dispatch);
        }
        let Some(node) = self.nodes.get_mut(at) else { return };
        if let Life::Linked(connection, _) | Life::Dialling(connection, _) = &mut node.life {
            connection.observe(event);
        }
        if event.is_writable() {
            self.dirty.push(at);
        }
        if event.is_readable() || event.is_read_closed() || event.is_error() {
            self.read(now, at, dispatch);
        }
    }

    /// Reads on where the last read left something.
    pub(crate) fn read_unread(&mut self, now: Time, dispatch: &mut Dispatch) {
        for _ in 0..self.unread.len() {
            match self.unread.pop_front() {
                Some(at) if at >= BULK => self.read_bulk(now, Line::of(at), dispatch),
                Some(at) => self.read(now, at, dispatch),
                None => {}
            }
        }
    }

    fn read(&mut self, now: Time, at: usize, dispatch: &mut Dispatch) {
        let connection = match &mut self.nodes[at].life {
            Life::Linked(connection, _) | Life::Dialling(connection, _) => connection,
            Life::Away { .. } | Life::Gone => return,
        };
        let outcome = match connection.read() {
            Ok(outcome) => outcome,
            Err(error) => return self.lost(now, at, dispatch, chain(&error)),
        };
        self.open(now, at);
        if let Err(trouble) = self.listen(now, at, dispatch) {
            return self.lost(now, at, dispatch, trouble);
        }
        match outcome {
            ReadOutcome::Drained => {}
            ReadOutcome::More => self.unread.push_back(at),
            ReadOutcome::Closed => {
                let trouble = "it closed the connection".to_owned();
                self.lost(now, at, dispatch, trouble);
            }
        }
        self.dirty.push(at);
    }

    /// Takes the frames that have arrived.
    fn listen(&mut self, now: Time, at: usize, dispatch: &mut Dispatch) -> Result<(), String> {
        let link_id = LinkId(at as u32);
        let Life::Linked(connection, link) = &mut self.nodes[at].life else { return Ok(()) };
        link.heard(now);
        let mut input = std::mem::take(connection.input());
        let result = loop {
            let frame = match wire::frame::take(&mut input, CONTROL_BODY_MAX) {
                Ok(Some(frame)) => frame,
                Ok(None) => break Ok(()),
                Err(error) => break Err(error.to_string()),
            };
            let (channel, message) = match wire::decode(frame) {
                Ok(message) => message,
                Err(error) => break Err(error.to_string()),
            };
            let Life::Linked(_, link) = &mut self.nodes[at].life else { return Ok(()) };
            if let Message::Done(done) = message {
                if !link.is_up() {
                    break Err("a result before the greeting".to_owned());
                }
                let (status, ran, times) = (done.head.status, done.head.ran, done.head.times);
                match done.head.output {
                    Output::Inline => {
                        let output = Payload::Inline(done.inline);
                        let link = link_id;
                        let done = Event::Done { link, channel, status, ran, output, times };
                        dispatch.handle(now, done);
                    }
                    Output::Bulk(length) => {
                        self.dial_bulk(now, Line { at, which: 0 });
                        let half = Half::Head { status, ran, times, length };
                        if let Err(trouble) = self.join_halves(now, at, channel, half, dispatch) {
                            break Err(trouble);
                        }
                    }
                    Output::Stream => {
                        let output = Payload::Inline(Bytes::new());
                        let link = link_id;
                        let done = Event::Done { link, channel, status, ran, output, times };
                        dispatch.handle(now, done);
                    }
                }
            } else if link.message(now, &message) == Pass::Taken {
                self.manners(now, at, dispatch);
            } else {
                self.message(now, at, channel, message, dispatch);
            }
        };
        if let Life::Linked(connection, _) | Life::Dialling(connection, _) =
            &mut self.nodes[at].life
        {
            *connection.input() = input;
        }
        result
    }

    fn message(
        &mut self,
        now: Time,
        at: usize,
        channel: u64,
        message: Message,
        dispatch: &mut Dispatch,
    ) {
        let link = LinkId(at as u32);
        match message {
            Message::Data(_) | Message::End | Message::Window(_) => {
                self.streams.message(LinkId(at as u32), channel, message);
            }
            Message::Members(news) => self.learn(now, news.members),
            Message::Status(report) => self.nodes[at].report = Some(report),
            Message::Why(why) => self.nodes[at].why = Some(*why),
            Message::Jobs(jobs) => self.nodes[at].jobs = Some(jobs),
            Message::Regions(_)
            | Message::RegionCreated(_)
            | Message::RegionDropped(_)
            | Message::Visits(_) => {
                self.hear_of_regions(at, channel, message);
            }
            Message::Log(log, bytes) => {
                self.logs.push((self.nodes[at].name.clone(), log, bytes));
            }
            Message::Goodbye(Goodbye::Leaving) => {
                self.nodes[at].is_there = false;
                dispatch.handle(now, Event::NodeLeaving { link });
            }
            message => dispatch.handle(now, Event::Message { link, channel, message }),
        }
    }

    /// Other nodes of the cluster are dialled too.
    fn learn(&mut self, now: Time, members: Vec<Member>) {
        for member in members.into_iter().filter(|member| member.state == MemberState::Here) {
            let known = self.by_name.get(&member.name).copied();
            let addresses = member.addresses.iter().filter_map(|a| a.parse().ok());
            let targets: Vec<Target> = addresses.map(Target::Tcp).collect();
            let dialled = |target: &Target| self.by_target.contains_key(target);
            if self.tls.is_none() || targets.iter().any(dialled) {
                continue;
            }
            let Some(target) = targets.into_iter().next() else { continue };
            match known {
                None => self.add(now, target),
                // It has come back at another address. Where it is still being dialled, or its old link
                // is not known to be dead, that comes next.
                Some(at) => {
                    self.by_target.insert(target.clone(), at);
                    let node = &mut self.nodes[at];
                    let forgotten = node.other.replace(target);
                    if matches!(node.life, Life::Away { .. } | Life::Gone) {
                        node.swap_targets();
                        node.life = Life::Away { until: now };
                        self.wind(at);
                    }
                    if let Some(forgotten) = forgotten {
                        self.by_target.remove(&forgotten);
                    }
                }
            }
        }
    }

    fn ask_to_tell(&mut self, at: usize) {
        self.nodes[at].tells = true;
        self.tellers += 1;
        self.send(LinkId(at as u32), 0, &Message::MembersAsk);
    }

    fn is_linked_elsewhere(&self, at: usize, name: &Name) -> bool {
        self.by_name.get(name).is_some_and(|&other| other != at && self.nodes[other].counted)
    }

    /// A node says its name. The one that it had before may be another node's by now, or come to be.
    fn name(&mut self, at: usize, name: Name) {
        let before = self.nodes[at].name.replace(name.clone());
        if let Some(before) = before.filter(|before| self.by_name.get(before) == Some(&at)) {
            self.by_name.remove(&before);
        }
        self.by_name.insert(name, at);
    }

    /// Carries out what a link's manners ask for.
    fn manners(&mut self, now: Time, at: usize, dispatch: &mut Dispatch) {
        loop {
            let Life::Linked(connection, link) = &mut self.nodes[at].life else { return };
            let Some(effect) = link.poll_effect() else { return };
            match effect {
                link::Effect::Send(message) => {
                    message.encode(0, connection.output());
                    self.dirty.push(at);
                }
                link::Effect::Up(welcome) => {
                    if self.is_linked_elsewhere(at, &welcome.node) {
                        // The same node under a second address: one link is enough.
                        self.nodes[at].life = Life::Gone;
                        self.open -= 1;
                        return;
                    }
                    let node = &mut self.nodes[at];
                    node.pause = PAUSE;
                    node.trouble = None;
                    node.is_there = true;
                    if let Some(other) = node.other.take() {
                        self.by_target.remove(&other);
                    }
                    node.token = welcome.link;
                    self.up += usize::from(!std::mem::replace(&mut node.counted, true));
                    self.name(at, welcome.node.clone());
                    let link = LinkId(at as u32);
                    let (name, slots) = (welcome.node, welcome.slots);
                    dispatch.handle(now, Event::NodeUp { link, name, slots });
                    if self.tellers < TELLERS {
                        self.ask_to_tell(at);
                    }
                }
                link::Effect::Down(why) => {
                    let trouble = why.to_string();
                    connection.close();
                    return self.lost(now, at, dispatch, trouble);
                }
                link::Effect::Greeted(_) => {}
            }
        }
    }

    /// Carries out one effect of the dispatcher (`Ended` is the tickets').
    pub(crate) fn carry_out(&mut self, now: Time, effect: Effect) {
        match effect {
            Effect::Run { link, channel, program, attempt, deadline, input, name } => {
                let bytes = match input {
                    Payload::Inline(bytes) => bytes,
                    Payload::Stream => {
                        let input = Input::Stream;
                        let head = RunHead { program, attempt, deadline, input, name };
                        let inline = Bytes::new();
                        self.send(link, channel, &Message::Run(Run { head, inline }));
                        for message in self.streams.began(link, channel) {
                            self.send(link, channel, &message);
                        }
                        return;
                    }
                    Payload::Buffer { .. } => unreachable!("a client has no shared buffers"),
                };
                let (input, inline) = if bytes.len() <= INLINE_MAX {
                    (Input::Inline, bytes)
                } else {
                    let input = Input::Bulk(bytes.len() as u64);
                    self.send_payload(now, link, channel, bytes);
                    (input, Bytes::new())
                };
                let head = RunHead { program, attempt, deadline, input, name };
                self.send(link, channel, &Message::Run(Run { head, inline }));
            }
            Effect::Send { link, channel, message } => self.send(link, channel, &message),
            Effect::Upload { link, channel, hash } => {
                let bytes = self.libraries.get(&hash).cloned().unwrap_or_default();
                let length = bytes.len() as u64;
                self.uploaded += length;
                let inline = if bytes.len() <= INLINE_MAX {
                    bytes
                } else {
                    self.send_payload(now, link, channel, bytes);
                    Bytes::new()
                };
                self.send(link, channel, &Message::Put(Put { hash, length }, inline));
            }
            Effect::Ended { .. } | Effect::Retried { .. } => unreachable!("the driver keeps these"),
        }
    }

    pub(crate) fn send(&mut self, link: LinkId, channel: u64, message: &Message) {
        let at = link.0 as usize;
        if let Some(Node { life: Life::Linked(connection, _), .. }) = self.nodes.get_mut(at) {
            message.encode(channel, connection.output());
            if self.dirty.last() != Some(&at) {
                self.dirty.push(at);
            }
        }
    }

    // Payloads.

    fn send_payload(&mut self, now: Time, link: LinkId, channel: u64, bytes: Bytes) {
        let at = link.0 as usize;
        // The first that has nothing to send, dialled if need be; else the one with the least.
        let unsent = |bulk: &Option<Bulk>| bulk.as_ref().map_or(0, Bulk::unsent);
        let least = self.nodes[at].bulks.iter().enumerate().min_by_key(|(_, bulk)| unsent(bulk));
        let which = least.map_or(0, |(which, _)| which);
        self.dial_bulk(now, Line { at, which });
        if let Some(bulk) = &mut self.nodes[at].bulks[which] {
            bulk.send(channel, bytes);
            self.dirty.push(at);
        }
    }

    /// Makes sure that the link has this bulk connection, or will have. If it cannot be dialled, the
    /// control connection will fail as well, and the task is tried again.
    fn dial_bulk(&mut self, now: Time, line: Line) {
        let Line { at, which } = line;
        if self.nodes[at].bulks[which].is_some() {
            return;
        }
        if let Ok(connection) = self.connect(at, Token(line.token())) {
            let agent = concat!("farcall ", env!("CARGO_PKG_VERSION")).to_owned();
            let purpose = Purpose::Bulk { link: self.nodes[at].token };
            let hello = Hello { agent, name: self.me.clone(), purpose };
            self.nodes[at].bulks[which] = Some(Bulk::new(now, connection, hello));
            self.dirty.push(at);
        }
    }

    fn bulk(&mut self, line: Line) -> Option<&mut Bulk> {
        self.nodes.get_mut(line.at)?.bulks[line.which].as_mut()
    }

    fn bulk_ready(
        &mut self,
        now: Time,
        event: &mio::event::Event,
        line: Line,
        dispatch: &mut Dispatch,
    ) {
        if let Some(bulk) = self.bulk(line) {
            bulk.observe(event);
            self.dirty.push(line.at);
            if event.is_readable() || event.is_read_closed() || event.is_error() {
                self.read_bulk(now, line, dispatch);
            }
        }
    }

    fn read_bulk(&mut self, now: Time, line: Line, dispatch: &mut Dispatch) {
        let at = line.at;
        let Some(bulk) = self.bulk(line) else { return };
        let mut arrived = Vec::new();
        let read = bulk.read(now, &mut arrived);
        self.dirty.push(at);
        let joined = arrived.into_iter().try_for_each(|(channel, bytes)| {
            self.join_halves(now, at, channel, Half::Bytes(bytes), dispatch)
        });
        match joined.and(read) {
            Ok(false) => {}
            Ok(true) => self.unread.push_back(line.token()),
            Err(trouble) => {
                let node = &mut self.nodes[at];
                let waits = |half: &Half| matches!(half, Half::Head { .. });
                let idle = node.bulks[line.which].as_ref().is_some_and(Bulk::is_idle);
                if idle && !node.halves.values().any(waits) {
                    // A node that leaves closes it after the last result; the link speaks for itself.
                    if let Some(bulk) = node.bulks[line.which].take() {
                        bulk.release(&self.registry);
                    }
                } else {
                    self.lost(now, at, dispatch, trouble);
                }
            }
        }
    }

    /// A result is there once both its head and its bytes are.
    fn join_halves(
        &mut self,
        now: Time,
        at: usize,
        channel: u64,
        half: Half,
        dispatch: &mut Dispatch,
    ) -> Result<(), String> {
        let halves = &mut self.nodes[at].halves;
        let (status, ran, times, length, bytes) = match (halves.remove(&channel), half) {
            (None, half) => {
                halves.insert(channel, half);
                return Ok(());
            }
            (Some(Half::Head { status, ran, times, length }), Half::Bytes(bytes))
            | (Some(Half::Bytes(bytes)), Half::Head { status, ran, times, length }) => {
                (status, ran, times, length, bytes)
            }
            (Some(_), _) => return Err("two results of one task".to_owned()),
        };
        if bytes.len() as u64 != length {
            return Err("a result of another length than announced".to_owned());
        }
        let (link, output) = (LinkId(at as u32), Payload::Inline(bytes));
        dispatch.handle(now, Event::Done { link, channel, status, ran, output, times });
        Ok(())
    }

    /// Sends what is queued.
    pub(crate) fn flush(&mut self, now: Time, dispatch: &mut Dispatch) {
        for at in std::mem::take(&mut self.dirty) {
            for which in 0..BULKS {
                let Some(bulk) = &mut self.nodes[at].bulks[which] else { continue };
                match bulk.write(&self.registry) {
                    Ok(false) => {}
                    // More could be sent at once: in the next turn, after everybody else.
                    Ok(true) => self.unread.push_back(Line { at, which }.token()),
                    Err(trouble) => self.lost(now, at, dispatch, trouble),
                }
            }
            let connection = match &mut self.nodes[at].life {
                Life::Linked(connection, _) | Life::Dialling(connection, _) => connection,
                Life::Away { .. } | Life::Gone => continue,
            };
            if let Err(error) = connection.flush(&self.registry) {
                self.lost(now, at, dispatch, chain(&error));
            }
        }
    }
}

#[cfg(test)]
mod tests;
