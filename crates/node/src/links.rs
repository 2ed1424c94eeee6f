//! The node's connections: accepting, reading into events, writing what effects have queued.
//!
//! A connection is a *stranger* until its peer has introduced itself. Strangers get little: small
//! frames, five seconds, and together a bounded number of places.

use std::collections::VecDeque;
use std::net::SocketAddr;

use logic::LinkId;
use logic::node::{Event, Peer};
use mio::Registry;
use slab::Slab;
use transport::{Connection, ListenTls, ReadOutcome, Role, Watched};
use wire::Message;
use wire::limits::{
    CONTROL_BODY_MAX, MEMORY_BODY_MAX, STRANGER_BODY_MAX, STRANGER_PATIENCE, STRANGERS_MAX,
    UNSENT_MAX,
};
use wire::region::{Ask, Request};
use wire::units::Time;

use crate::source::Source;

pub(crate) struct Link {
    pub(crate) connection: Watched,
    born: Time,
    stage: Stage,
    /// Something is queued: it stands in `dirty`.
    queued: bool,
    /// It is in `unread`: the last read left something.
    unread: bool,
    /// Messages were left in its input: they come before anything else is read.
    held: bool,
    /// It said something that has to be carried out and sent before it is heard again.
    paused: bool,
    /// The peer reads too little of what it is sent: it is not read from until it does.
    pub(crate) stuffed: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// TLS is not over.
    Handshake { dialled: bool },
    /// TLS is over, and no certificate was shown.
    Stranger,
    /// The machine knows it.
    Known,
    /// Its messages may be long.
    Trusted,
    /// It has a region, whose pages have so many bytes.
    Memory { page_size: u32 },
    /// It speaks the worker socket protocol v1 (`controllers`).
    Controller,
}

impl Stage {
    /// Time and places are short for these.
    fn is_strange(self) -> bool {
        matches!(self, Self::Handshake { .. } | Self::Stranger)
    }
}

#[derive(Default)]
pub(crate) struct Links {
    table: Slab<Link>,
    /// Strangers with their birth, oldest first.
    strangers: VecDeque<(Time, usize)>,
    dirty: Vec<usize>,
    unread: Vec<usize>,
    pub(crate) counters: Counters,
}

/// Since the node's start.
#[derive(Clone, Copy, Default)]
pub(crate) struct Counters {
    /// TCP connections that were taken.
    pub(crate) accepted: u64,
    /// Those that ended without having shown a certificate.
    pub(crate) strangers: u64,
}

impl Links {
    /// Takes a stream that was accepted. Returns the link that has to go for it, if there are too many
    /// strangers.
    pub(crate) fn accept(
        &mut self,
        registry: &Registry,
        now: Time,
        stream: mio::net::TcpStream,
        address: SocketAddr,
        tls: &ListenTls,
    ) -> Option<LinkId> {
        // A connection that fails at its first breath concerns nobody.
        let connection = Connection::accept(stream, address, tls).ok()?;
        let evicted = self.crowded();
        self.counters.accepted += 1;
        self.insert(registry, now, connection, false);
        evicted
    }

    /// The stranger who has had most time, if there are too many.
    fn crowded(&mut self) -> Option<LinkId> {
        let mut strangers = std::mem::take(&mut self.strangers);
        strangers.retain(|stranger| self.is_strange(stranger));
        let oldest = if strangers.len() >= STRANGERS_MAX { strangers.pop_front() } else { None };
        self.strangers = strangers;
        oldest.map(|(_, at)| LinkId(at as u32))
    }

    /// Whether it is still there and has not introduced itself. A place may have a new owner.
    fn is_strange(&self, &(born, at): &(Time, usize)) -> bool {
        self.table.get(at).is_some_and(|link| link.born == born && link.stage.is_strange())
    }

    pub(crate) fn insert(
        &mut self,
        registry: &Registry,
        now: Time,
        connection: Connection,
        dialled: bool,
    ) -> Option<LinkId> {
        let entry = self.table.vacant_entry();
        let link = LinkId(entry.key() as u32);
        let token = Source::Link(link.0).token();
        let connection = Watched::new(connection, registry, token).ok()?;
        self.strangers.push_back((now, entry.key()));
        let stage = Stage::Handshake { dialled };
        let (queued, unread, held, paused, stuffed) = (false, false, false, false, false);
        entry.insert(Link { connection, born: now, stage, queued, unread, held, paused, stuffed });
        Some(link)
    }

    /// A connection that is read and written by `controllers`.
    pub(crate) fn insert_controller(
        &mut self,
        registry: &Registry,
        now: Time,
        connection: Connection,
    ) -> Option<LinkId> {
        let entry = self.table.vacant_entry();
        let link = LinkId(entry.key() as u32);
        let connection = Watched::new(connection, registry, Source::Link(link.0).token()).ok()?;
        let (queued, unread, held, paused, stuffed) = (false, false, false, false, false);
        let stage = Stage::Controller;
        entry.insert(Link { connection, born: now, stage, queued, unread, held, paused, stuffed });
        Some(link)
    }

    /// Where to write what is to be sent at the end of the turn.
    pub(crate) fn output(&mut self, link: LinkId) -> Option<&mut bytes::BytesMut> {
        self.writable(link);
        Some(self.get_mut(link)?.connection.output())
    }

    /// Reads from a link in the next turn, without waiting for anything.
    pub(crate) fn read_again(&mut self, link: LinkId) {
        let at = link.0 as usize;
        if let Some(link) = self.table.get_mut(at)
            && !link.unread
        {
            link.unread = true;
            self.unread.push(at);
        }
    }

    pub(crate) fn get_mut(&mut self, link: LinkId) -> Option<&mut Link> {
        self.table.get_mut(link.0 as usize)
    }

    /// Gives the connection away, or drops it.
    pub(crate) fn remove(&mut self, registry: &Registry, link: LinkId) -> Option<Connection> {
        let link = self.table.try_remove(link.0 as usize)?;
        if let Stage::Handshake { dialled: false } | Stage::Stranger = link.stage {
            self.counters.strangers += 1;
        }
        Some(link.connection.release(registry))
    }

    /// The driver has told the machine who a Unix socket's peer is.
    pub(crate) fn introduce(&mut self, link: LinkId) {
        if let Some(link) = self.get_mut(link) {
            link.stage = Stage::Known;
        }
    }

    /// What a peer is told may let it say more: once it is welcome its messages may be long, and as
    /// long as a transaction once it has a region.
    pub(crate) fn admit(&mut self, link: LinkId, told: &Message) {
        if !matches!(told, Message::Welcome(_) | Message::Attached(_)) {
            return;
        }
        let Some(link) = self.get_mut(link) else { return };
        link.stage = match (told, link.stage) {
            (Message::Welcome(_), Stage::Known) => Stage::Trusted,
            (Message::Attached(attached), Stage::Trusted | Stage::Memory { .. }) => {
                match &attached.result {
                    Ok(admission) => Stage::Memory { page_size: admission.about.page_size },
                    Err(_) => Stage::Trusted,
                }
            }
            (_, stage) => stage,
        };
    }

    pub(crate) fn send(&mut self, link: LinkId, channel: u64, message: &Message) {
        self.send_later(link, channel, message);
        self.writable(link);
    }

    /// It leaves with whatever is sent next. A client that waits for it asks after a while.
    pub(crate) fn send_later(&mut self, link: LinkId, channel: u64, message: &Message) {
        if let Some(link) = self.get_mut(link) {
            message.encode(channel, link.connection.output());
        }
    }

    /// Its peer reads so slowly that nothing should be sent to it that it can do without.
    pub(crate) fn is_stuffed(&self, link: LinkId) -> bool {
        self.table.get(link.0 as usize).is_none_or(|link| link.stuffed)
    }

    /// Reads once from a link and turns what came into events. Returns whether the link lives.
    pub(crate) fn read(
        &mut self,
        link: LinkId,
        token: impl Fn() -> u64,
        mut event: impl FnMut(Event),
    ) -> bool {
        let at = link.0 as usize;
        let Some(entry) = self.table.get_mut(at) else { return true };
        if entry.stuffed {
            return true;
        }
        if entry.paused {
            if !entry.unread {
                entry.unread = true;
                self.unread.push(at);
            }
            return true;
        }
        let mut outcome = ReadOutcome::More;
        if !std::mem::take(&mut entry.held) {
            let Ok(read) = entry.connection.read() else { return false };
            outcome = read;
        }
        // A handshake may have moved on; whatever it wants to say has to go out.
        let mut must_flush = !matches!(entry.stage, Stage::Memory { .. });
        if let Stage::Handshake { dialled } = entry.stage
            && entry.connection.is_ready()
        {
            entry.stage = Stage::Known;
            if dialled {
                // Its certificate was checked: it is a node of this cluster.
                entry.stage = Stage::Trusted;
                event(Event::Dialled { link });
            } else {
                let peer = entry.connection.peer().map_or(Peer::Stranger, named);
                if peer == Peer::Stranger {
                    entry.stage = Stage::Stranger;
                }
                event(Event::Accepted { link, peer, token: token() });
            }
        }
        // A request of a few bytes may be answered with pages: no more are heard at once than what may
        // be unsent.
        let (body_max, mut pages) = match entry.stage {
            Stage::Memory { page_size } => (MEMORY_BODY_MAX, UNSENT_MAX / page_size as usize + 1),
            Stage::Trusted => (CONTROL_BODY_MAX, usize::MAX),
            Stage::Handshake { .. } | Stage::Stranger | Stage::Known | Stage::Controller => {
                (STRANGER_BODY_MAX, usize::MAX)
            }
        };
        let input = entry.connection.input();
        let mut heard = false;
        loop {
            let frame = match wire::frame::take(input, body_max) {
                Ok(Some(frame)) => frame,
                Ok(None) => break,
                Err(_) => return false,
            };
            let Ok((channel, message)) = wire::decode(frame) else { return false };
            if !heard {
                event(Event::Heard { link });
                heard = true;
            }
            // The answer is far longer than the question: it is sent before the next one is heard. How
            // long answers of a region are is known when it is, and changes with the region.
            let ends_pass = matches!(
                message,
                Message::StatusAsk
                    | Message::WhyAsk(_)
                    | Message::JobsAsk
                    | Message::VisitsAsk
                    | Message::Attach(_)
                    | Message::Request(Ask { request: Request::Detach, .. }, _)
            );
            pages = pages.saturating_sub(pages_of(&message));
            event(Event::Message { link, channel, message });
            if ends_pass || pages == 0 {
                entry.held = true;
                entry.paused = true;
                must_flush = true;
                outcome = ReadOutcome::More;
                break;
            }
        }
        if must_flush && !entry.queued {
            entry.queued = true;
            self.dirty.push(at);
        }
        match outcome {
            ReadOutcome::Drained => true,
            ReadOutcome::More => {
                if !entry.unread {
                    entry.unread = true;
                    self.unread.push(at);
                }
                true
            }
            ReadOutcome::Closed => false,
        }
    }

    /// Links whose last read left something.
    pub(crate) fn take_unread(&mut self) -> Vec<LinkId> {
        let unread = std::mem::take(&mut self.unread);
        for &at in &unread {
            if let Some(link) = self.table.get_mut(at) {
                link.unread = false;
            }
        }
        unread.into_iter().map(|at| LinkId(at as u32)).collect()
    }

    pub(crate) fn has_unread(&self) -> bool {
        !self.unread.is_empty()
    }

    /// A link may be written to again.
    pub(crate) fn writable(&mut self, link: LinkId) {
        let at = link.0 as usize;
        if let Some(link) = self.table.get_mut(at)
            && !link.queued
        {
            link.queued = true;
            self.dirty.push(at);
        }
    }

    /// Sends everything queued. Returns the links that failed.
    pub(crate) fn flush(&mut self, registry: &Registry) -> Vec<LinkId> {
        let mut failed = Vec::new();
        for at in self.dirty.drain(..) {
            let Some(link) = self.table.get_mut(at) else { continue };
            link.queued = false;
            link.paused = false;
            if link.connection.flush(registry).is_err() {
                failed.push(LinkId(at as u32));
                continue;
            }
            let was = link.stuffed;
            link.stuffed = link.connection.unsent() > UNSENT_MAX;
            if was && !link.stuffed && !link.unread {
                link.unread = true;
                self.unread.push(at);
            }
        }
        failed
    }

    /// What was to be sent along with something else goes out with the next flush.
    pub(crate) fn hurry(&mut self) {
        let waiting = self.table.iter().filter(|(_, link)| link.connection.unsent() > 0);
        let waiting: Vec<usize> = waiting.map(|(at, _)| at).collect();
        waiting.into_iter().for_each(|at| self.writable(LinkId(at as u32)));
    }

    /// Bytes that wait for their peers.
    pub(crate) fn unsent(&self) -> usize {
        self.table.iter().map(|(_, link)| link.connection.unsent()).sum()
    }

    /// Says goodbye to everyone.
    pub(crate) fn close_all(&mut self) {
        self.table.iter_mut().for_each(|(_, link)| link.connection.close());
    }

    /// Strangers whose time is over.
    pub(crate) fn overdue(&mut self, now: Time) -> Vec<LinkId> {
        let mut overdue = Vec::new();
        while let Some(&(born, at)) = self.strangers.front()
            && now >= born + STRANGER_PATIENCE
        {
            self.strangers.pop_front();
            if self.is_strange(&(born, at)) {
                overdue.push(LinkId(at as u32));
            }
        }
        overdue
    }

    pub(crate) fn poll_timeout(&self) -> Time {
        self.strangers.front().map_or(Time::NEVER, |&(born, _)| born + STRANGER_PATIENCE)
    }
}

/// How many pages the answer to a message may have.
fn pages_of(message: &Message) -> usize {
    match message {
        Message::Request(Ask { request: Request::Transact { reads, .. }, .. }, _) => {
            reads.len().max(1)
        }
        _ => 1,
    }
}

/// The machine's view of a certificate.
fn named(peer: &transport::Peer) -> Peer {
    let name = peer.name.clone();
    match peer.role {
        Role::Client => Peer::Client(name),
        Role::Node => Peer::Node(name),
        Role::Admin => Peer::Admin(name),
    }
}
