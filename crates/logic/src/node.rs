//! The sum: everything that a node decides.
//!
//! The driver brings in what happened (bytes decoded, processes ended, time passed) and carries out
//! the effects. A node's state changes here and nowhere else.
//!
//! Elsewhere: the parts (`link`, `slots`, `blobs`, `members`), the loop (crate `node`).

mod figures;
mod names;
mod tasks;
mod lending;
mod asked;
mod keeping;
mod v1;
mod netmem;
mod regions;
mod visits;
mod streams;
mod gossip;

use std::collections::{HashMap, VecDeque};

use bytes::Bytes;
use wire::Message;
use wire::blob::{Known, Stored};
use wire::hello::{Goodbye, Hello, Purpose, Welcome};
use wire::job::Log;
use wire::join::{Join, Joined};
use wire::limits::{BLOBS_KEPT, LINKS_MAX};
use wire::member::{Member, State};
use wire::name::{Hash, Name};
use wire::task::Returned;
use wire::units::{Span, Time};

use crate::alarms::Alarms;
use crate::blobs::Blobs;
use crate::controllers::{self, Controllers};
use crate::heard::Hearsay;
use crate::history::History;
use crate::link::{self, Link, Pass};
use crate::logs::Logs;
use crate::members::Members;
use crate::netmem::Peers;
use crate::regions::Regions;
use crate::slots::{self, Finished, Slots};
use crate::{BufferId, Exit, LinkId, Payload, VisitId, WorkerId};
pub use figures::Figures;
use gossip::Gossip;
use lending::Lending;
use streams::Streams;
use tasks::Arrivals;
use visits::Visits;

pub use lending::FetchBlob;
pub use netmem::Port;
pub use visits::{Arrival, Chain, Upstream, Use};

/// Who is at the other end, as far as the transport could prove it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Peer {
    /// No certificate: may join with a token, and nothing else.
    Stranger,
    Client(Name),
    Node(Name),
    Admin(Name),
}

#[derive(Debug)]
pub enum Event {
    /// Somebody connected, and the transport knows who. `token` is random.
    Accepted {
        link: LinkId,
        peer: Peer,
        token: u64,
    },
    /// We connected to another node.
    Dialled {
        link: LinkId,
    },
    /// Bytes came: the other side lives. Once per read.
    Heard {
        link: LinkId,
    },
    Message {
        link: LinkId,
        channel: u64,
        message: Message,
    },
    Closed {
        link: LinkId,
    },
    /// A whole payload came over a bulk connection of this link.
    Payload {
        link: LinkId,
        channel: u64,
        buffer: BufferId,
        length: u64,
    },
    BlobStored {
        link: LinkId,
        channel: u64,
        hash: Hash,
        length: u64,
        refused: Option<String>,
    },
    /// A blob of an earlier start is still here.
    BlobFound {
        hash: Hash,
        length: u64,
        owners: Vec<Name>,
    },
    /// A blob came from another node, or did not; without a link, its client is gone.
    BlobFetched {
        link: Option<LinkId>,
        channel: u64,
        hash: Hash,
        length: u64,
        failed: Option<String>,
    },
    /// A blob was sent to another node, or could not be.
    BlobLent,
    Redeemed {
        link: LinkId,
        channel: u64,
        joined: Joined,
    },
    WorkerReady {
        worker: WorkerId,
        result: Result<(), String>,
    },
    /// The file of a blob is not in the store any more.
    BlobLost {
        hash: Hash,
    },
    /// A worker cannot be started: its owner's library is not here.
    LibraryAbsent {
        worker: WorkerId,
        library: Hash,
    },
    WorkerDone {
        worker: WorkerId,
        sequence: u64,
        finished: Finished,
    },
    WorkerExited {
        worker: WorkerId,
        exit: Exit,
        started: u64,
        stderr: String,
    },
    WorkerPeeked {
        worker: WorkerId,
        started: u64,
        since: Time,
    },
    WorkerMeasured {
        worker: WorkerId,
        peak: u64,
    },
    /// The kernel found a worker, or what it started, at its limit of memory.
    WorkerOutOfMemory {
        worker: WorkerId,
        peak: u64,
    },
    /// There is no process, for a reason that may be over soon.
    WorkerNotStarted {
        worker: WorkerId,
        reason: String,
    },
    /// To its standard error, when it had begun so many tasks.
    WorkerWrote {
        worker: WorkerId,
        started: u64,
        bytes: Bytes,
    },
    /// `DATA`, `END` or `WINDOW` of a stream.
    WorkerStream {
        worker: WorkerId,
        sequence: u64,
        message: Message,
    },
    /// A peer of the worker socket protocol v1 connected, or was dialled; it runs programs under
    /// this name.
    ControllerUp {
        link: LinkId,
        owner: Name,
    },
    Controller {
        link: LinkId,
        event: controllers::Event,
    },
    /// From a vault, or from a peer of another protocol for regions.
    Region(crate::regions::Event),
    VisitCame {
        visit: VisitId,
        stage: wire::visit::Stage,
    },
    /// A pad and whatever it started have ended, or never began.
    VisitEnded {
        visit: VisitId,
    },
    /// The node is asked to stop: it finishes what it has begun.
    Leave,
    Tick,
}

#[derive(Debug)]
pub enum Effect {
    Send {
        link: LinkId,
        channel: u64,
        message: Message,
    },
    /// Nobody waits for it: along with what is sent next.
    SendLater {
        link: LinkId,
        channel: u64,
        message: Message,
    },
    /// As `Send`, where the link is not stuffed; otherwise `log_lost` follows.
    SendLog {
        link: LinkId,
        worker: WorkerId,
        log: Log,
        bytes: Bytes,
    },
    /// Send a buffer over a bulk connection of the link, then release it.
    SendPayload {
        link: LinkId,
        channel: u64,
        buffer: BufferId,
        length: u64,
    },
    /// Send what is queued, then close.
    Close {
        link: LinkId,
    },
    /// This connection carries payloads of another link from now on; as a link it is forgotten.
    Attach {
        connection: LinkId,
        to: LinkId,
        owner: Name,
    },
    StoreBlob {
        link: LinkId,
        channel: u64,
        hash: Hash,
        bytes: Payload,
    },
    /// A blob has one more owner: to be known after the next start, too.
    OwnBlob {
        hash: Hash,
        owner: Name,
    },
    DeleteBlob {
        hash: Hash,
    },
    /// Get a blob from another node; `BlobFetched` follows in any case.
    FetchBlob {
        link: LinkId,
        channel: u64,
        blob: FetchBlob,
    },
    /// This connection gets a blob and is closed; as a link it is forgotten. `BlobLent` follows in
    /// any case.
    LendBlob {
        connection: LinkId,
        hash: Hash,
    },
    Redeem {
        link: LinkId,
        channel: u64,
        join: Join,
    },
    Worker(slots::Effect),
    /// What the machine keeps for itself or gives to `slots` is not among them.
    Controller(controllers::Effect),
    /// What the machine keeps for itself or gives to the regions is not among them.
    NetMem(crate::netmem::Effect),
    /// A region that was to be served with NetMem cannot be.
    NetMemRefused {
        words: String,
    },
    /// For a vault.
    Region(crate::regions::Effect),
    EndVisit(VisitId),
    /// Start a pad and give it this connection, which is no link any more. `VisitEnded` follows in any case.
    BeginVisit {
        visit: VisitId,
        connection: LinkId,
        arrival: Box<Arrival>,
    },
    /// Give its pad this connection, or send its image on over it; it is no link any more.
    ReturnVisit {
        visit: VisitId,
        connection: LinkId,
        what: Use,
    },
    /// A piece of a stream for a worker, after its task.
    ToWorker {
        worker: WorkerId,
        sequence: u64,
        message: Message,
    },
    /// The last link of this owner is down.
    OwnerGone {
        owner: Name,
    },
    /// Something that whoever runs this node should know; perhaps not for the first time.
    Warn {
        words: String,
    },
    /// Everything is done after `Leave`.
    Left,
}

#[derive(Debug)]
struct Connection {
    manners: Link,
    peer: Peer,
    token: u64,
    kind: Kind,
    /// A client that knows that this node leaves, and sends no more tasks.
    settled: bool,
    /// A client that wants to hear of members.
    listens: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Kind {
    Greeting,
    Client,
    /// Of a client, for one region.
    Memory,
    Neighbour(Name),
    Joining,
}

/// What a node is, apart from what happens to it.
#[derive(Clone, Debug)]
pub struct Options {
    pub agent: String,
    pub me: Member,
    /// How long `Leave` waits for running tasks.
    pub grace: Span,
    pub controllers: controllers::Options,
}

/// A node. After each batch of `handle`, call `settle` and drain `poll_effect`, then sleep until
/// `poll_timeout`.
#[derive(Debug)]
pub struct Node {
    options: Options,
    since: Time,
    links: Vec<Option<Connection>>,
    /// When each link's manners want to be looked at.
    alarms: Alarms,
    /// Clients' links of each owner.
    owners: HashMap<Name, u32>,
    /// Links that are up, by the token that bulk connections name them with.
    tokens: HashMap<u64, LinkId>,
    slots: Slots,
    blobs: Blobs,
    members: Members,
    gossip: Gossip,
    arrivals: Arrivals,
    streams: Streams,
    lending: Lending,
    controllers: Controllers,
    controller_owners: HashMap<LinkId, Name>,
    regions: Regions,
    visits: Visits,
    netmem: Peers,
    ports: Vec<Port>,
    /// Of these, the ones whose regions have been looked for.
    sought: Vec<bool>,
    history: History,
    heard: Hearsay,
    logs: Logs,
    leaving: Option<Time>,
    left: bool,
    effects: VecDeque<Effect>,
}

impl Node {
    pub fn new(now: Time, options: Options) -> Self {
        Self {
            since: now,
            links: Vec::new(),
            alarms: Alarms::default(),
            owners: HashMap::new(),
            tokens: HashMap::new(),
            slots: Slots::new(options.me.slots),
            blobs: Blobs::new(BLOBS_KEPT),
            members: Members::new(options.me.clone()),
            gossip: Gossip::default(),
            arrivals: Arrivals::default(),
            streams: Streams::default(),
            lending: Lending::default(),
            controllers: Controllers::default(),
            controller_owners: HashMap::new(),
            regions: Regions::new(crate::regions::Options::default()),
            visits: Visits::default(),
            netmem: Peers::default(),
            ports: Vec::new(),
            sought: Vec::new(),
            history: History::default(),
            heard: Hearsay::default(),
            logs: Logs::default(),
            leaving: None,
            left: false,
            effects: VecDeque::new(),
            options,
        }
    }

    pub fn handle(&mut self, now: Time, event: Event) {
        match event {
            Event::Message { link, channel, message } => self.message(now, link, channel, message),
            Event::WorkerDone { worker, sequence, finished } => {
                self.slots.done(now, worker, sequence, finished);
            }
            Event::Heard { link } => {
                let Some(connection) = self.connection(link) else { return };
                connection.manners.heard(now);
                if connection.kind == Kind::Memory {
                    self.region_event(now, crate::regions::Event::Heard { link });
                }
            }
            Event::Accepted { link, peer, token } => {
                self.open(link, Link::listen(now), peer, token);
            }
            Event::Dialled { link } => {
                let name = self.members.me().name.clone();
                let purpose = Purpose::Node { member: self.members.me().clone() };
                let hello =
                    Hello { agent: self.options.agent.clone(), name: name.clone(), purpose };
                self.open(link, Link::dial(now, hello), Peer::Node(name), 0);
                self.manners(now, link);
            }
            Event::Closed { link } => self.closed(now, link),
            Event::Payload { link, channel, buffer, length } => {
                self.payload(now, link, channel, buffer, length);
            }
            Event::BlobStored { link, channel, hash, length, refused } => {
                if refused.is_none() {
                    self.keep_blob(now, link, hash, length);
                }
                self.send(link, channel, Message::Stored(Stored { hash, refused }));
            }
            Event::BlobLost { hash } => self.blob_lost(hash),
            Event::LibraryAbsent { worker, library } => self.library_absent(worker, library),
            Event::BlobFound { hash, length, owners } => {
                for owner in owners {
                    self.own_blob(now, hash, length, owner);
                }
            }
            Event::BlobFetched { link, channel, hash, length, failed } => {
                self.blob_fetched(now, link, channel, hash, length, failed);
            }
            Event::BlobLent => self.blob_lent(),
            Event::Redeemed { link, channel, joined } => {
                // A stranger has no more to say.
                self.send(link, channel, Message::Joined(joined));
                self.effects.push_back(Effect::Close { link });
                self.closed(now, link);
            }
            Event::ControllerUp { link, owner } => self.controller_up(link, owner),
            Event::Controller { link, event } => self.controllers.handle(link, event),
            Event::WorkerStream { worker, sequence, message } => {
                self.worker_stream(worker, sequence, message);
            }
            Event::WorkerReady { worker, result } => self.slots.ready(now, worker, result),
            Event::WorkerExited { worker, exit, started, stderr } => {
                self.slots.exited(now, worker, exit, started, &stderr);
                self.logs.forget(worker);
            }
            Event::WorkerWrote { worker, started, bytes } => {
                self.worker_wrote(now, worker, started, bytes);
            }
            Event::WorkerPeeked { worker, started, since } => {
                self.slots.peeked(now, worker, started, since);
            }
            Event::WorkerMeasured { worker, peak } => self.slots.measured(now, worker, peak),
            Event::WorkerOutOfMemory { worker, peak } => self.slots.out_of_memory(worker, peak),
            Event::WorkerNotStarted { worker, reason } => {
                self.slots.not_started(now, worker, &reason);
            }
            Event::Region(event) => self.region_event(now, event),
            Event::VisitCame { visit, stage } => self.visit_came(now, visit, stage),
            Event::VisitEnded { visit } => self.visit_ended(visit),
            Event::Leave => self.leave(now),
            Event::Tick => self.tick(now),
        }
    }

    /// Ends a batch: feeds workers, renews credits.
    pub fn settle(&mut self, now: Time) {
        self.gossip(now);
        self.drain_netmem(now);
        loop {
            self.drain_controllers(now);
            self.slots.settle(now);
            self.drain_slots(now);
            // An answer makes room for the next job.
            if self.controllers.is_settled() {
                break;
            }
        }
        if let Some(until) = self.leaving
            && !self.left
            && (self.is_done() || now >= until)
        {
            self.left = true;
            let news = self.members.become_state(State::Gone);
            self.tell(news, None);
            self.tell_all();
            self.effects.push_back(Effect::Left);
        }
    }

    /// Nobody has a task here, and nobody will send one.
    fn is_done(&self) -> bool {
        let mut clients = self.links.iter().flatten().filter(|link| link.kind == Kind::Client);
        let is_idle = self.slots.is_empty() && self.controllers.is_idle();
        is_idle && self.visits.count() == 0 && clients.all(|client| client.settled)
    }

    /// The driver's kernel keeps the limits of memory, and tells of what it killed for them.
    pub fn memory_is_limited(&mut self) {
        self.slots.memory_is_limited();
    }

    pub fn poll_effect(&mut self) -> Option<Effect> {
        self.effects.pop_front()
    }

    pub fn poll_timeout(&self) -> Time {
        let links = self.alarms.next();
        let leaving = self.leaving.filter(|_| !self.left).unwrap_or(Time::NEVER);
        let links = links.min(self.gossip.poll_timeout()).min(self.regions.poll_timeout());
        let links = links.min(self.netmem.poll_timeout());
        links.min(self.slots.poll_timeout()).min(leaving)
    }

    /// The addresses are known only once the driver listens.
    pub fn listen_at(&mut self, addresses: Vec<String>) {
        self.members.listen_at(addresses);
    }

    /// How many nodes it knows of, itself included.
    pub fn members_known(&self) -> usize {
        self.members.iter().count()
    }

    /// What is here of any client.
    pub fn tally(&self) -> slots::Tally {
        slots::Tally { arrivals: self.arrivals.len(), ..self.slots.tally() }
    }

    // Connections.

    fn connection(&mut self, link: LinkId) -> Option<&mut Connection> {
        self.links.get_mut(link.0 as usize)?.as_mut()
    }

    fn open(&mut self, link: LinkId, manners: Link, peer: Peer, token: u64) {
        let at = link.0 as usize;
        if at >= LINKS_MAX {
            self.effects.push_back(Effect::Close { link });
            return;
        }
        if self.links.len() <= at {
            self.links.resize_with(at + 1, || None);
        }
        let (kind, settled, listens) = (Kind::Greeting, false, false);
        self.alarms.set(link.0, manners.poll_timeout());
        self.links[at] = Some(Connection { manners, peer, token, kind, settled, listens });
    }

    fn message(&mut self, now: Time, link: LinkId, channel: u64, message: Message) {
        let Some(connection) = self.connection(link) else { return };
        if connection.manners.message(now, &message) == Pass::Taken {
            return self.manners(now, link);
        }
        match connection.kind.clone() {
            Kind::Memory => self.memory(now, link, channel, message),
            Kind::Client => self.client(now, link, channel, message),
            Kind::Neighbour(_) => self.neighbour(link, message),
            Kind::Joining => match message {
                Message::Join(join) => {
                    self.effects.push_back(Effect::Redeem { link, channel, join });
                }
                _ => self.breach(now, link, "a stranger may only join".to_owned()),
            },
            Kind::Greeting => self.breach(now, link, "a message before the greeting".to_owned()),
        }
    }

    /// Carries out what a link's manners ask for.
    fn manners(&mut self, now: Time, link: LinkId) {
        while let Some(effect) = self.connection(link).and_then(|c| c.manners.poll_effect()) {
            match effect {
                link::Effect::Send(message) => self.send(link, 0, message),
                link::Effect::Greeted(hello) => self.greeted(now, link, hello),
                link::Effect::Up(welcome) => {
                    if let Some(connection) = self.connection(link) {
                        connection.kind = Kind::Neighbour(welcome.node);
                    }
                    let members = self.members.all();
                    self.send_members(link, members);
                }
                link::Effect::Down(why) => {
                    let dialled = self.connection(link).is_some_and(|c| c.manners.was_dialled());
                    if let link::Down::Goodbye(Goodbye::Forbidden { reason }) = why
                        && dialled
                    {
                        let words = format!("a node that this one joins refuses it: {reason}");
                        self.effects.push_back(Effect::Warn { words });
                    }
                    self.effects.push_back(Effect::Close { link });
                    self.closed(now, link);
                }
            }
        }
    }

    /// Lets a peer in for what its certificate allows.
    fn greeted(&mut self, now: Time, link: LinkId, hello: Hello) {
        let Some(connection) = self.connection(link) else { return };
        let (peer, token) = (connection.peer.clone(), connection.token);
        let kind = match (&hello.purpose, &peer) {
            (Purpose::Join, _) => Kind::Joining,
            (Purpose::Client, Peer::Client(_) | Peer::Admin(_)) => Kind::Client,
            (Purpose::Memory, Peer::Client(_) | Peer::Admin(_)) => Kind::Memory,
            (Purpose::Node { member }, Peer::Node(name)) if member.name == *name => {
                Kind::Neighbour(name.clone())
            }
            (Purpose::Bulk { link: token }, _) => {
                return self.greeted_bulk(now, link, *token, &peer);
            }
            (Purpose::Fetch { hash, permit }, _) => {
                return self.greeted_fetch(now, link, *hash, *permit, &peer);
            }
            (Purpose::Visit { entry }, _) => {
                return self.greeted_visit(now, link, entry.clone(), &peer);
            }
            (Purpose::Client | Purpose::Node { .. } | Purpose::Memory, _) => {
                let reason = match peer {
                    Peer::Stranger => "no certificate was shown; join with a token first",
                    Peer::Client(_) => "a client's certificate does not make a node",
                    Peer::Node(_) => "a node's certificate is for its own name, and runs no tasks",
                    Peer::Admin(_) => "an admin's certificate does not make a node",
                };
                return self.refuse(now, link, Goodbye::Forbidden { reason: reason.to_owned() });
            }
        };
        if let Purpose::Node { member } = &hello.purpose
            && !self.makes_room(now, member)
        {
            let reason = self.members.words_for_two(member);
            return self.refuse(now, link, Goodbye::Forbidden { reason });
        }
        self.welcome(now, link, token);
        if let Some(connection) = self.connection(link) {
            connection.kind = kind.clone();
        }
        match (kind, hello.purpose) {
            (Kind::Client, _) => {
                self.tokens.insert(token, link);
                if let Some(owner) = self.owner(link) {
                    *self.owners.entry(owner.clone()).or_default() += 1;
                    self.history.link_up(link, &owner);
                    self.slots.link_up(link, owner);
                }
                if self.leaving.is_some() {
                    self.send(link, 0, Message::Goodbye(Goodbye::Leaving));
                }
            }
            (Kind::Neighbour(_), Purpose::Node { member }) => {
                let members = self.members.all();
                self.send_members(link, members);
                let news = self.members.learn(vec![member]);
                self.tell(news, Some(link));
            }
            _ => {}
        }
    }

    /// One more connection for a link of the same peer.
    fn greeted_bulk(&mut self, now: Time, link: LinkId, token: u64, peer: &Peer) {
        let to = self.tokens.get(&token).copied();
        let same =
            |to: &LinkId| self.links[to.0 as usize].as_ref().is_some_and(|c| c.peer == *peer);
        match to.filter(same) {
            Some(to) => {
                self.welcome(now, link, token);
                self.links[link.0 as usize] = None;
                let Some(owner) = self.owner(to) else { return };
                self.effects.push_back(Effect::Attach { connection: link, to, owner });
            }
            None => {
                let reason = "no such link of this certificate".to_owned();
                self.refuse(now, link, Goodbye::Forbidden { reason });
            }
        }
    }

    fn welcome(&mut self, now: Time, link: LinkId, token: u64) {
        let welcome = Welcome {
            agent: self.options.agent.clone(),
            node: self.members.me().name.clone(),
            link: token,
            slots: self.slots.size(),
        };
        if let Some(connection) = self.connection(link) {
            connection.manners.welcome(now, welcome);
        }
        self.manners(now, link);
    }

    fn refuse(&mut self, now: Time, link: LinkId, goodbye: Goodbye) {
        if let Some(connection) = self.connection(link) {
            connection.manners.refuse(goodbye);
        }
        self.manners(now, link);
    }

    fn breach(&mut self, now: Time, link: LinkId, reason: String) {
        self.refuse(now, link, Goodbye::Protocol { reason });
    }

    fn closed(&mut self, now: Time, link: LinkId) {
        if self.controller_down(now, link) || self.netmem_down(now, link) {
            return;
        }
        let Some(connection) = self.links.get_mut(link.0 as usize).and_then(Option::take) else {
            return;
        };
        match connection.kind {
            Kind::Memory => self.region_event(now, crate::regions::Event::Closed { link }),
            Kind::Client => {
                self.region_event(now, crate::regions::Event::Closed { link });
                self.tokens.remove(&connection.token);
                if let Peer::Client(owner) | Peer::Admin(owner) = connection.peer {
                    self.owner_left(owner);
                }
                self.slots.link_down(now, link);
                self.lending.forget(link);
                self.heard.link_down(link);
                self.streams.forget(link);
                for buffer in self.arrivals.forget(link) {
                    self.effects.push_back(Effect::Worker(slots::Effect::Release { buffer }));
                }
            }
            Kind::Neighbour(name) => {
                let news = self.members.lost(&name);
                self.tell(news, None);
            }
            Kind::Greeting | Kind::Joining => {}
        }
    }

    fn owner_left(&mut self, owner: Name) {
        let links = self.owners.get_mut(&owner).map(|links| {
            *links -= 1;
            *links
        });
        if links == Some(0) {
            self.owners.remove(&owner);
            self.effects.push_back(Effect::OwnerGone { owner });
        }
    }

    fn send(&mut self, link: LinkId, channel: u64, message: Message) {
        // A controller speaks another protocol: what is told to users has no word there.
        if !self.controllers.has(link) {
            self.effects.push_back(Effect::Send { link, channel, message });
        }
    }

    // Clients.

    /// Under whose name a link's programs run and its blobs are kept.
    fn owner(&self, link: LinkId) -> Option<Name> {
        match &self.links.get(link.0 as usize)?.as_ref()?.peer {
            Peer::Client(name) | Peer::Admin(name) => Some(name.clone()),
            Peer::Node(_) | Peer::Stranger => None,
        }
    }

    fn client(&mut self, now: Time, link: LinkId, channel: u64, message: Message) {
        match message {
            Message::Run(run) => self.run(now, link, channel, run),
            Message::Data(_) | Message::End | Message::Window(_) => {
                self.stream(now, link, channel, message);
            }
            Message::Cancel => {
                if self.arrivals.cancel(link, channel) {
                    self.slots.pass(link);
                    self.send_done(link, channel, Finished::cancelled());
                } else {
                    self.slots.cancel(link, channel);
                }
            }
            Message::TakeBack(take_back) => self.take_back(link, channel, take_back.count),
            Message::Define(define) => self.define(now, link, define),
            Message::Have(have) => {
                let here =
                    self.owner(link).is_some_and(|me| self.blobs.known(now, &have.hash, &me));
                self.send(link, channel, Message::Known(Known { hash: have.hash, here }));
            }
            Message::Put(put, bytes) => self.put(now, link, channel, put, bytes),
            Message::Lend(lend) => self.lend(now, link, channel, lend),
            Message::Fetch(fetch) => self.fetch(link, channel, fetch),
            Message::StatusAsk => {
                let report = self.report(now);
                self.send(link, channel, Message::Status(report));
            }
            Message::Job(job) => self.hear(now, link, job),
            Message::WhyAsk(ask) => self.why(now, link, channel, ask.name),
            Message::JobsAsk => self.jobs(now, link, channel),
            Message::VisitsAsk => self.visits_asked(now, link, channel),
            // A client that leaves closes its connection; there is nothing to do before.
            Message::MembersAsk => self.listens(link),
            Message::RegionCreate(_) | Message::RegionDrop(_) | Message::RegionsAsk => {
                self.about_regions(now, link, channel, message);
            }
            Message::Goodbye(_) | Message::Members(_) => {}
            _ => self.breach(now, link, "a message that no client sends".to_owned()),
        }
    }

    fn take_back(&mut self, link: LinkId, channel: u64, count: u32) {
        let mut channels = self.slots.take_back(link, count);
        let more = count as usize - channels.len();
        let arriving = self.arrivals.take_back(link, more);
        arriving.iter().for_each(|_| self.slots.pass(link));
        channels.extend(arriving);
        self.send(link, channel, Message::Returned(Returned { channels }));
        // Who wants everything back has read that this node leaves: nothing comes after it.
        let leaving = self.leaving.is_some();
        if let Some(connection) = self.connection(link) {
            connection.settled |= leaving && count == u32::MAX;
        }
    }

    // Neighbours.

    fn neighbour(&mut self, link: LinkId, message: Message) {
        if let Message::Members(news) = message {
            let me = self.members.me().name.clone();
            if let Some(other) = self.members.namesake(&news.members) {
                let words = self.members.words_for_two(&other);
                self.effects.push_back(Effect::Warn { words });
            }
            let fresh = self.members.learn(news.members);
            // News of oneself deny a rumour: whoever told it must hear that, too.
            let (own, others) = fresh.into_iter().partition(|member| member.name == me);
            self.tell(own, None);
            self.tell(others, Some(link));
        }
    }

    fn leave(&mut self, now: Time) {
        if self.leaving.is_some() {
            return;
        }
        self.leaving = Some(now + self.options.grace);
        self.slots.close();
        self.controllers.leave();
        let news = self.members.become_state(State::Leaving);
        self.tell(news, None);
        self.tell_all();
        for at in 0..self.links.len() {
            if self.links[at].as_ref().is_some_and(|c| c.kind == Kind::Client) {
                self.send(LinkId(at as u32), 0, Message::Goodbye(Goodbye::Leaving));
            }
        }
    }

    fn tick(&mut self, now: Time) {
        while let Some(at) = self.alarms.take_due(now) {
            let link = LinkId(at);
            if let Some(connection) = self.connection(link) {
                connection.manners.tick(now);
                self.manners(now, link);
            }
            if let Some(connection) = self.connection(link) {
                let next = connection.manners.poll_timeout();
                self.alarms.set(at, next);
            }
        }
        self.slots.tick(now);
        self.region_event(now, crate::regions::Event::Tick);
    }
}

#[cfg(test)]
mod tests;
