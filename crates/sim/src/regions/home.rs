//! A pretended daemon around the real `logic::regions::Regions`: connections, greetings, a vault.
//!
//! Planted bugs spoil what passes between the machine, its clients and its vault.

use std::collections::BTreeMap;

use bytes::{Bytes, BytesMut};
use logic::LinkId;
use logic::link::{self, Link, Pass};
use logic::regions::{Effect, Event, Options, Owner, Regions};
use wire::Message;
use wire::frame;
use wire::hello::{Purpose, Welcome};
use wire::limits::{LEASE, MEMORY_BODY_MAX};
use wire::name::Name;
use wire::region::{
    Answer, Ask, Audience, Commit, Create, Durability, PageNo, Refusal, RegionId, Request,
    SessionId, Style, Token, Version,
};
use wire::units::{Span, Time};

use crate::net::{End, Side, What};
use crate::node::name;
use crate::regions::pages::{PAGE, PAGES};
use crate::regions::plan::Bug;
use crate::regions::scene::{Arrival, Scene, home, region};
use crate::regions::vault::Vault;
use crate::trace::Line;

/// The home is the only node.
pub(crate) const HOME: End = End::Node(0);
/// Who made the region is on no connection.
const MAKER: LinkId = LinkId(u32::MAX);
/// Numbers of requests that a planted bug has made up.
const MADE_UP: u64 = 1 << 40;

fn machine() -> Regions {
    Regions::new(Options { keeps: vec![Durability::Sync], ..Options::default() })
}

#[derive(Debug)]
struct Peer {
    connection: usize,
    manners: Link,
    owner: Option<Name>,
    session: Option<SessionId>,
    input: BytesMut,
    output: BytesMut,
    /// Something in it is not to be sent along with something else.
    is_due: bool,
}

#[derive(Debug)]
pub(crate) struct Home {
    pub(crate) alive: bool,
    /// How often it was started.
    pub(crate) life: u64,
    pub(crate) stalled: Time,
    machine: Regions,
    peers: Vec<Option<Peer>>,
    pub(crate) vault: Vault,
    /// Groups begun, in all lives.
    groups: u64,
    wake: Time,
    /// When sessions were heard of last.
    heard: BTreeMap<SessionId, Time>,
    // What planted bugs remember: the newest token of each page, and what grants were asked for; the
    // highest number of a request of each session; a request for a lock.
    tokens: BTreeMap<PageNo, Token>,
    asked: BTreeMap<(SessionId, u64), PageNo>,
    highest: BTreeMap<SessionId, u64>,
    held_back: Option<(LinkId, u64, Ask, Bytes)>,
    orders: u64,
}

impl Home {
    pub(crate) fn new(scene: &mut Scene) -> Self {
        let mut this = Self {
            alive: true,
            life: 1,
            stalled: Time(0),
            machine: machine(),
            peers: Vec::new(),
            vault: Vault::default(),
            groups: 0,
            wake: Time::NEVER,
            heard: BTreeMap::new(),
            tokens: BTreeMap::new(),
            asked: BTreeMap::new(),
            highest: BTreeMap::new(),
            held_back: None,
            orders: 0,
        };
        scene.net.addresses.insert(home(), 0);
        let create = Create {
            name: region(),
            page_size: PAGE as u32,
            pages: PAGES,
            durability: scene.plan.durability,
            style: Style::Transactional,
            audience: Audience::Cluster,
        };
        let owner = Owner { name: name("maker"), is_admin: false };
        let id = RegionId(7);
        this.machine
            .handle(scene.net.now, Event::Create { link: MAKER, channel: 1, owner, create, id });
        this.settle(scene);
        this
    }

    /// Nothing of it is left but the disk.
    pub(crate) fn die(&mut self, scene: &mut Scene) {
        self.alive = false;
        self.peers.clear();
        self.machine = machine();
        let bug = scene.plan.bug;
        if let Err(error) = self.vault.crash(&mut scene.net.random, bug) {
            scene.net.judge.fail(error);
        }
        scene.net.addresses.remove(&home());
        if scene.net.random.below(4) == 0 {
            scene.net.power_off(HOME);
        } else {
            scene.net.close_all(HOME);
        }
    }

    pub(crate) fn start(&mut self, scene: &mut Scene) {
        if self.alive {
            return;
        }
        self.alive = true;
        self.life += 1;
        self.wake = Time::NEVER;
        scene.net.addresses.insert(home(), 0);
    }

    // What happens.

    pub(crate) fn hear(&mut self, scene: &mut Scene, connection: usize, bytes: &[u8]) {
        let link = self.peer_of(connection).unwrap_or_else(|| self.accept(scene, connection));
        let now = scene.net.now;
        let Some(peer) = self.peer(link) else { return };
        peer.input.extend_from_slice(bytes);
        peer.manners.heard(now);
        if let Some(session) = peer.session {
            self.note_heard(scene, session);
            self.machine.handle(now, Event::Heard { link });
        }
        while let Some(peer) = self.peer(link) {
            let frame = match frame::take(&mut peer.input, MEMORY_BODY_MAX) {
                Ok(Some(frame)) => frame,
                Ok(None) => break,
                Err(error) => return scene.net.judge.fail(format!("the home: {error}")),
            };
            let (kind, length) = (frame.kind, frame.body.len());
            let (channel, message) = match wire::decode(frame) {
                Ok(decoded) => decoded,
                Err(error) => return scene.net.judge.fail(format!("the home: {error}")),
            };
            scene.net.note(Line::ToNode { node: 0, connection, kind, channel, length });
            match peer.manners.message(now, &message) {
                Pass::Taken => self.settle_manners(scene, link),
                Pass::On => self.message(scene, link, channel, message),
            }
        }
        self.settle(scene);
    }

    pub(crate) fn closed(&mut self, scene: &mut Scene, connection: usize) {
        if let Some(link) = self.peer_of(connection) {
            self.drop_peer(scene, link);
            self.settle(scene);
        }
    }

    pub(crate) fn wake(&mut self, scene: &mut Scene) {
        let now = scene.net.now;
        if self.wake <= now {
            self.wake = Time::NEVER;
        }
        if self.machine.poll_timeout() <= now {
            self.machine.handle(now, Event::Tick);
        }
        for at in 0..self.peers.len() {
            let link = LinkId(at as u32);
            if let Some(peer) = self.peer(link)
                && peer.manners.poll_timeout() <= now
            {
                peer.manners.tick(now);
                self.settle_manners(scene, link);
            }
        }
        self.settle(scene);
    }

    /// The disk has done a group.
    pub(crate) fn group_done(&mut self, scene: &mut Scene, life: u64) {
        if life != self.life || !self.alive {
            return;
        }
        match self.vault.done(scene.plan.bug) {
            Ok(Some((id, sequence))) if !scene.has(Bug::SkipDurableWait) => {
                self.machine.handle(scene.net.now, Event::Kept { id, sequence });
            }
            Ok(_) => {}
            Err(error) => scene.net.judge.fail(error),
        }
        self.settle(scene);
    }

    // Connections.

    fn peer(&mut self, link: LinkId) -> Option<&mut Peer> {
        self.peers.get_mut(link.0 as usize)?.as_mut()
    }

    fn peer_of(&self, connection: usize) -> Option<LinkId> {
        let of = |peer: &Option<Peer>| peer.as_ref().is_some_and(|p| p.connection == connection);
        self.peers.iter().position(of).map(|at| LinkId(at as u32))
    }

    fn accept(&mut self, scene: &Scene, connection: usize) -> LinkId {
        let peer = Peer {
            connection,
            manners: Link::listen(scene.net.now),
            owner: None,
            session: None,
            input: BytesMut::new(),
            output: BytesMut::new(),
            is_due: false,
        };
        let free = self.peers.iter().position(Option::is_none);
        let at = free.unwrap_or_else(|| {
            self.peers.push(None);
            self.peers.len() - 1
        });
        self.peers[at] = Some(peer);
        LinkId(at as u32)
    }

    fn drop_peer(&mut self, scene: &mut Scene, link: LinkId) {
        let Some(peer) = self.peers.get_mut(link.0 as usize).and_then(Option::take) else { return };
        if !peer.output.is_empty() {
            scene.net.send(peer.connection, Side::Listener, peer.output.freeze());
        }
        scene.net.close(peer.connection, Side::Listener);
        if peer.session.is_some() {
            self.machine.handle(scene.net.now, Event::Closed { link });
        }
    }

    fn settle_manners(&mut self, scene: &mut Scene, link: LinkId) {
        let now = scene.net.now;
        while let Some(peer) = self.peer(link) {
            match peer.manners.poll_effect() {
                Some(link::Effect::Send(message)) => {
                    peer.is_due = true;
                    message.encode(0, &mut peer.output);
                }
                Some(link::Effect::Greeted(hello)) => {
                    if hello.purpose != Purpose::Memory {
                        return scene.net.judge.fail("a greeting for something else".to_owned());
                    }
                    peer.owner = Some(hello.name);
                    let (agent, node) = ("sim".to_owned(), home());
                    peer.manners.welcome(now, Welcome { agent, node, link: 0, slots: 0 });
                }
                Some(link::Effect::Up(_)) => {}
                Some(link::Effect::Down(_)) => self.drop_peer(scene, link),
                None => break,
            }
        }
    }

    fn note_heard(&mut self, scene: &mut Scene, session: SessionId) {
        let now = scene.net.now;
        let before = self.heard.insert(session, now);
        if before.is_some_and(|before| now.since(before) >= LEASE) {
            *scene.lapses.entry(session).or_default() += 1;
        }
    }

    // Messages.

    fn message(&mut self, scene: &mut Scene, link: LinkId, channel: u64, message: Message) {
        let now = scene.net.now;
        let Some(peer) = self.peer(link) else { return };
        match message {
            Message::Attach(attach) => {
                let Some(name) = peer.owner.clone() else { return };
                let session = attach.session;
                peer.session = Some(session);
                self.note_heard(scene, session);
                let owner = Owner { name, is_admin: false };
                self.machine.handle(now, Event::Attach { link, owner, attach });
            }
            Message::Request(ask, bytes) => self.request(scene, link, channel, ask, bytes),
            other => scene.net.judge.fail(format!("the home was sent {other:?}")),
        }
    }

    fn request(
        &mut self,
        scene: &mut Scene,
        link: LinkId,
        channel: u64,
        mut ask: Ask,
        mut bytes: Bytes,
    ) {
        let now = scene.net.now;
        let Some(session) = self.peer(link).and_then(|peer| peer.session) else { return };
        if let Request::Lock { .. } = ask.request {
            self.orders += 1;
            let lapses = scene.lapses.get(&session).copied().unwrap_or(0);
            let arrival = Arrival { order: self.orders, lapses, life: self.life };
            let known = scene.arrivals.entry((session, channel)).or_insert(arrival);
            // Whoever has lost its place, or a home that has, begins anew.
            if (known.life, known.lapses) != (arrival.life, arrival.lapses) {
                *known = arrival;
            }
        }
        let mut later = None;
        match scene.plan.bug {
            Some(Bug::IgnoreToken) => {
                if let Request::Lock { page, .. } = ask.request {
                    self.asked.insert((session, channel), page);
                }
                if let Request::Unlock { page, token, commit: Commit::Bytes { offset } } =
                    ask.request
                    && self.tokens.get(&page).is_some_and(|newest| *newest > token)
                {
                    let (if_version, at_least) = (None, Version(0));
                    ask.request = Request::Update { page, offset, if_version, at_least };
                }
            }
            Some(Bug::Overtake) => {
                if let Request::Lock { .. } = ask.request
                    && let Some((link, channel, ask, bytes)) = self.held_back.take()
                {
                    later = Some(Event::Request { link, channel, ask, bytes });
                } else if let Request::Lock { .. } = ask.request
                    && scene.net.random.below(4) == 0
                {
                    self.held_back = Some((link, channel, ask, bytes));
                    return;
                }
            }
            Some(Bug::IgnoreCondition) => {
                if let Request::Update { if_version, .. } = &mut ask.request {
                    *if_version = None;
                }
            }
            Some(Bug::SplitTransaction) => {
                if let Request::Transact { writes, .. } = &mut ask.request
                    && scene.net.random.below(4) == 0
                {
                    writes.truncate(1);
                    let length = writes.iter().map(|write| write.length as usize).sum();
                    bytes.truncate(length);
                }
            }
            Some(Bug::StaleRead) => {
                if let Request::Read { known, .. } = ask.request
                    && known.0 > 0
                    && scene.net.random.below(4) == 0
                {
                    let answer = Answer::Unchanged { version: known };
                    self.send(link, channel, &Message::Answer(answer, Bytes::new()));
                    return self.hurry(link);
                }
            }
            Some(Bug::ApplyAgain) => {
                let highest = self.highest.entry(session).or_default();
                let again = channel <= *highest;
                *highest = channel.max(*highest);
                if let (true, Request::Update { .. }) = (again, &ask.request) {
                    // Under a number that nobody has asked: it is carried out, whatever was before.
                    let (channel, ask, bytes) = (channel + MADE_UP, ask.clone(), bytes.clone());
                    self.machine.handle(now, Event::Request { link, channel, ask, bytes });
                }
            }
            None | Some(_) => {}
        }
        self.machine.handle(now, Event::Request { link, channel, ask, bytes });
        if let Some(event) = later {
            self.machine.handle(now, event);
        }
    }

    fn send(&mut self, link: LinkId, channel: u64, message: &Message) {
        if let Some(peer) = self.peer(link) {
            message.encode(channel, &mut peer.output);
        }
    }

    fn hurry(&mut self, link: LinkId) {
        if let Some(peer) = self.peer(link) {
            peer.is_due = true;
        }
    }

    /// Something the machine says; planted bugs hear it first.
    fn say(&mut self, scene: &mut Scene, link: LinkId, channel: u64, message: &Message) {
        if link == MAKER {
            if let Message::RegionCreated(created) = message
                && let Err(refusal) = &created.result
            {
                scene.net.judge.fail(format!("the region was not made: {refusal:?}"));
            }
            return;
        }
        let rarely = |scene: &mut Scene| scene.net.random.below(16) == 0;
        match message {
            _ if channel >= MADE_UP => return,
            Message::Answer(Answer::Locked { token, .. }, _) if scene.has(Bug::IgnoreToken) => {
                let session = self.peer(link).and_then(|peer| peer.session).unwrap_or_default();
                if let Some(page) = self.asked.get(&(session, channel)) {
                    self.tokens.insert(*page, *token);
                }
            }
            Message::Answer(Answer::Locked { .. }, _)
                if scene.has(Bug::LoseWaiter) && rarely(scene) =>
            {
                return;
            }
            Message::Changed(_) if scene.has(Bug::LoseNews) && rarely(scene) => return,
            _ => {}
        }
        self.send(link, channel, message);
    }

    /// Carries out what the machine wants, and sends what there is to send.
    fn settle(&mut self, scene: &mut Scene) {
        let now = scene.net.now;
        while let Some(effect) = self.machine.poll_effect() {
            match effect {
                Effect::Send { link, channel, message } => {
                    self.say(scene, link, channel, &message);
                    self.hurry(link);
                }
                Effect::SendLater { link, channel, message } => {
                    self.say(scene, link, channel, &message);
                }
                Effect::Close { link } => self.drop_peer(scene, link),
                Effect::Make { id, owner, create } => {
                    let result = Ok(self.vault.make(id, owner, create));
                    self.machine.handle(now, Event::Made { id, result });
                }
                Effect::Open { name } => match self.vault.disk.open(scene.plan.bug) {
                    Some(opened) => {
                        let result = Ok(Box::new(opened));
                        self.machine.handle(now, Event::Opened { name, result });
                    }
                    // Asked before one is made that no vault has.
                    None if scene.plan.durability == Durability::None => {
                        let result = Err(Refusal::NoSuchRegion);
                        self.machine.handle(now, Event::Opened { name, result });
                    }
                    None => scene.net.judge.fail(format!("there is no {name} in the vault")),
                },
                Effect::Remove { id } => {
                    scene.net.judge.fail(format!("nobody wanted {id:?} removed"));
                }
                Effect::Shut { id } => {
                    scene.net.judge.fail(format!("nobody wanted {id:?} shut"));
                }
                Effect::Discard { name } => {
                    scene.net.judge.fail(format!("nobody wanted {name} discarded"));
                }
                Effect::Keep(batch) => {
                    let (id, sequence) = (batch.region, batch.sequence);
                    self.vault.keep(batch);
                    if scene.has(Bug::SkipDurableWait) {
                        self.machine.handle(now, Event::Kept { id, sequence });
                    }
                }
            }
        }
        if self.vault.begin() {
            self.groups += 1;
            let takes = Span(scene.plan.disk.0 + scene.net.random.below(scene.plan.disk.0 + 1));
            scene.net.after(takes, What::Vault { life: self.life, group: self.groups });
        }
        for peer in self.peers.iter_mut().flatten().filter(|peer| peer.is_due) {
            peer.is_due = false;
            let bytes = peer.output.split().freeze();
            scene.net.send(peer.connection, Side::Listener, bytes);
        }
        let peers = self.peers.iter().flatten().map(|peer| peer.manners.poll_timeout());
        let due = peers.min().unwrap_or(Time::NEVER).min(self.machine.poll_timeout());
        if due < self.wake {
            self.wake = due;
            scene.net.at(due, What::Wake(HOME));
        }
    }
}
