//! The loop of an embedded server, and the state that it shares with the program's own threads.

use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use logic::LinkId;
use logic::netmem::{self, Peers, Served};
use logic::regions::{self, Event, Owner, Regions};
use mio::net::TcpListener;
use mio::{Events, Interest, Poll, Registry, Token, Waker};
use slab::Slab;
use sys::clock::monotonic_nanoseconds;
use transport::{Connection, ReadOutcome, Watched};
use wire::Message;
use wire::limits::PAGE_SIZE_MIN;
use wire::name::Name;
use wire::region::{Answer, Ask, Audience, Create, Durability, RegionId, Request, Style};
use wire::units::Time;

use super::super::client::Params;
use super::super::error::Error;

const LISTENER: Token = Token(usize::MAX);
const WAKER: Token = Token(usize::MAX - 1);
const EVENTS: usize = 256;
/// How soon someone who could not be let in is tried again.
const PATIENCE: Duration = Duration::from_millis(100);

/// Where a server listens, before its thread is there.
pub(super) struct Port {
    pub(super) address: SocketAddr,
    poll: Poll,
    listener: TcpListener,
}

impl Port {
    pub(super) fn open(address: SocketAddr) -> io::Result<Self> {
        let poll = Poll::new()?;
        let mut listener = TcpListener::bind(address)?;
        poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
        Ok(Self { address: listener.local_addr()?, poll, listener })
    }
}

/// Everything that is decided, and everybody who is told.
#[derive(Debug)]
pub(super) struct State {
    served: Served,
    regions: Regions,
    peers: Peers,
    places: Slab<Place>,
    /// Peers with something to send, and those to be read without waiting.
    dirty: Vec<LinkId>,
    unread: Vec<LinkId>,
    /// Peers that are over.
    over: Vec<LinkId>,
    waker: Option<Arc<Waker>>,
    stopping: bool,
}

/// Who has the number of a link.
#[derive(Debug)]
enum Place {
    Peer(Box<Peer>),
    /// Somebody of this program, and the latest answer to it.
    Inside(Option<(Answer, Bytes)>),
}

#[derive(Debug)]
struct Peer {
    connection: Watched,
    ended: bool,
}

impl State {
    pub(super) fn new(params: Params) -> Result<Self, Error> {
        let region: Name = "netmem".parse().map_err(|_| Error::NoPagesInit)?;
        let page_size = params.length.next_power_of_two().max(PAGE_SIZE_MIN);
        let create = Create {
            name: region.clone(),
            page_size,
            pages: params.pages.into(),
            durability: Durability::None,
            style: Style::Transactional,
            audience: Audience::Cluster,
        };
        let mut regions = Regions::new(regions::Options::default());
        let owner = Owner { name: region.clone(), is_admin: true };
        let (link, channel, id) = (LinkId(0), 0, RegionId(1));
        regions.handle(now(), Event::Create { link, channel, owner, create, id });
        let created = std::iter::from_fn(|| regions.poll_effect()).any(|effect| {
            matches!(effect, regions::Effect::Send { message: Message::RegionCreated(created), .. } if created.result.is_ok())
        });
        if !created {
            return Err(Error::NoPagesInit);
        }
        Ok(Self {
            served: Served { region, length: Some(params.length) },
            regions,
            peers: Peers::default(),
            places: Slab::new(),
            dirty: Vec::new(),
            unread: Vec::new(),
            over: Vec::new(),
            waker: None,
            stopping: false,
        })
    }

    pub(super) fn start(&mut self, port: &Port) -> io::Result<()> {
        self.waker = Some(Arc::new(Waker::new(port.poll.registry(), WAKER)?));
        self.stopping = false;
        Ok(())
    }

    pub(super) fn stop(&mut self) {
        self.stopping = true;
        self.wake();
    }

    fn wake(&self) {
        if let Some(waker) = &self.waker {
            // It fails only if the thread is gone.
            let _ = waker.wake();
        }
    }

    // This program's own threads.

    /// One more session; `None`: there are too many.
    pub(super) fn enter(&mut self) -> Option<LinkId> {
        let link = LinkId(self.places.insert(Place::Inside(None)) as u32);
        self.regions.handle(now(), Event::AttachBare { link, region: self.served.region.clone() });
        let mut refused = false;
        while let Some(effect) = self.regions.poll_effect() {
            if let regions::Effect::Send { link: of, message: Message::Attached(attached), .. } =
                &effect
                && *of == link
            {
                refused = attached.result.is_err();
                continue;
            }
            self.carry_out(now(), effect);
        }
        if refused {
            self.places.remove(link.0 as usize);
            return None;
        }
        Some(link)
    }

    pub(super) fn ask(&mut self, link: LinkId, channel: u64, request: Request, bytes: Bytes) {
        let ask = Ask { answered: channel - 1, request };
        self.regions.handle(now(), Event::Request { link, channel, ask, bytes });
        self.settle(now());
        self.wake_if_needed();
    }

    pub(super) fn take_answer(&mut self, link: LinkId) -> Option<(Answer, Bytes)> {
        match self.places.get_mut(link.0 as usize) {
            Some(Place::Inside(answer)) => answer.take(),
            Some(Place::Peer(_)) | None => None,
        }
    }

    pub(super) fn leave(&mut self, link: LinkId) {
        self.regions.handle(now(), Event::Closed { link });
        self.settle(now());
        self.places.try_remove(link.0 as usize);
        self.wake_if_needed();
    }

    /// What one's own thread has changed may be news for peers.
    fn wake_if_needed(&self) {
        if !(self.dirty.is_empty() && self.unread.is_empty() && self.over.is_empty()) {
            self.wake();
        }
    }

    // Both.

    /// Lets the machines decide until nothing follows.
    fn settle(&mut self, now: Time) {
        loop {
            if let Some(effect) = self.peers.poll_effect() {
                self.carry_out_peer(now, effect);
            } else if let Some(effect) = self.regions.poll_effect() {
                self.carry_out(now, effect);
            } else {
                break;
            }
        }
    }

    fn carry_out_peer(&mut self, now: Time, effect: netmem::Effect) {
        match effect {
            netmem::Effect::Attach { link, region } => {
                self.regions.handle(now, Event::AttachBare { link, region });
            }
            netmem::Effect::Request { link, channel, ask, bytes } => {
                self.regions.handle(now, Event::Request { link, channel, ask, bytes });
            }
            netmem::Effect::Detach { link } => self.regions.handle(now, Event::Closed { link }),
            netmem::Effect::Reply { link, answer } => {
                if let Some(peer) = peer(&mut self.places, link) {
                    answer.put(peer.connection.output());
                    self.dirty.push(link);
                }
            }
            netmem::Effect::Listen { link } => self.unread.push(link),
            netmem::Effect::Finish { link } => {
                if let Some(peer) = peer(&mut self.places, link) {
                    peer.connection.close();
                    self.unread.push(link);
                }
            }
            netmem::Effect::Drop { link } => self.over.push(link),
        }
    }

    fn carry_out(&mut self, now: Time, effect: regions::Effect) {
        match effect {
            regions::Effect::Send { link, channel, message }
            | regions::Effect::SendLater { link, channel, message } => {
                match self.places.get_mut(link.0 as usize) {
                    Some(Place::Peer(_)) => self.peers.told(now, link, channel, message),
                    Some(Place::Inside(waits)) => {
                        if let Message::Answer(answer, bytes) = message {
                            *waits = Some((answer, bytes));
                        }
                    }
                    None => {}
                }
            }
            regions::Effect::Close { link } => self.peers.sent_away(now, link),
            // Its one region is in no vault, and never dropped.
            regions::Effect::Make { .. }
            | regions::Effect::Open { .. }
            | regions::Effect::Remove { .. }
            | regions::Effect::Shut { .. }
            | regions::Effect::Discard { .. }
            | regions::Effect::Keep(_) => {}
        }
    }

    // The loop.

    fn read(&mut self, now: Time, link: LinkId) {
        let Some(peer) = peer(&mut self.places, link) else { return };
        let untaken = peer.connection.input().len();
        if !peer.ended && self.peers.wants(link, untaken) {
            match peer.connection.read() {
                Ok(ReadOutcome::Drained) => {}
                Ok(ReadOutcome::More) => self.unread.push(link),
                Ok(ReadOutcome::Closed) => peer.ended = true,
                Err(_) => return self.over.push(link),
            }
        }
        self.peers.hear(now, link, peer.connection.input(), peer.ended);
        self.settle(now);
    }

    fn let_in(&mut self, now: Time, listener: &TcpListener, registry: &Registry) -> io::Result<()> {
        loop {
            let (stream, address) = match listener.accept() {
                Ok(accepted) => accepted,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error)
                    if matches!(
                        error.kind(),
                        ErrorKind::ConnectionAborted | ErrorKind::Interrupted
                    ) =>
                {
                    continue;
                }
                Err(error) => return Err(error),
            };
            match self.peers.make_room() {
                Ok(None) => {}
                Ok(Some(silent)) => self.remove(now, silent, registry),
                Err(netmem::Full) => continue,
            }
            // One that fails at its first breath concerns nobody.
            let Ok(connection) = Connection::bare(stream, address) else { continue };
            let place = self.places.vacant_entry();
            let link = LinkId(place.key() as u32);
            let Ok(connection) = Watched::new(connection, registry, Token(place.key())) else {
                continue;
            };
            place.insert(Place::Peer(Box::new(Peer { connection, ended: false })));
            self.peers.open(now, link, self.served.clone());
            self.settle(now);
            self.read(now, link);
        }
    }

    fn send_all(&mut self, now: Time, registry: &Registry) {
        while !(self.dirty.is_empty() && self.over.is_empty()) {
            for link in std::mem::take(&mut self.dirty) {
                let Some(peer) = peer(&mut self.places, link) else { continue };
                match peer.connection.flush(registry) {
                    Ok(_) => {
                        let unsent = peer.connection.unsent();
                        self.peers.unsent(now, link, unsent);
                    }
                    Err(_) => self.over.push(link),
                }
            }
            for link in std::mem::take(&mut self.over) {
                self.remove(now, link, registry);
            }
            self.settle(now);
        }
    }

    fn remove(&mut self, now: Time, link: LinkId, registry: &Registry) {
        if peer(&mut self.places, link).is_none() {
            return;
        }
        if self.peers.close(link) {
            self.regions.handle(now, Event::Closed { link });
        }
        // Nothing that was meant for it is left when its number is another's.
        self.settle(now);
        for links in [&mut self.dirty, &mut self.unread, &mut self.over] {
            links.retain(|other| *other != link);
        }
        // A child that the program is starting may still have the descriptor: to close ours is not enough
        // for the kernel to forget it, and its last word would be taken for that of the number's next owner.
        if let Place::Peer(peer) = self.places.remove(link.0 as usize) {
            drop(peer.connection.release(registry));
        }
    }

    fn remove_all(&mut self, now: Time, registry: &Registry) {
        let all: Vec<LinkId> = self.places.iter().map(|(at, _)| LinkId(at as u32)).collect();
        for link in all {
            self.remove(now, link, registry);
        }
        self.waker = None;
    }

    fn timeout(&self) -> Option<Duration> {
        if !self.unread.is_empty() {
            return Some(Duration::ZERO);
        }
        let due = self.peers.poll_timeout().min(self.regions.poll_timeout());
        (due != Time::NEVER).then(|| due.since(now()).into())
    }
}

fn peer(places: &mut Slab<Place>, link: LinkId) -> Option<&mut Peer> {
    match places.get_mut(link.0 as usize) {
        Some(Place::Peer(peer)) => Some(peer),
        Some(Place::Inside(_)) | None => None,
    }
}

/// Serves until it is stopped.
pub(super) fn serve(state: &Mutex<State>, answered: &Condvar, port: Port) {
    let Port { mut poll, listener, .. } = port;
    let mut events = Events::with_capacity(EVENTS);
    let mut turned_away = false;
    loop {
        let timeout = lock(state).timeout();
        let timeout =
            if turned_away { Some(timeout.unwrap_or(PATIENCE).min(PATIENCE)) } else { timeout };
        match poll.poll(&mut events, timeout) {
            Err(error) if error.kind() != ErrorKind::Interrupted => break,
            Ok(()) | Err(_) => {}
        }
        let mut state = lock(state);
        if state.stopping {
            break;
        }
        let now = now();
        let mut knocking = std::mem::take(&mut turned_away);
        for event in &events {
            match event.token() {
                LISTENER => knocking = true,
                WAKER => {}
                Token(at) => {
                    let link = LinkId(at as u32);
                    let Some(peer) = peer(&mut state.places, link) else { continue };
                    peer.connection.observe(event);
                    if event.is_error() || event.is_write_closed() {
                        // It is gone altogether, whatever it said before.
                        state.over.push(link);
                        continue;
                    }
                    if event.is_writable() {
                        state.dirty.push(link);
                    }
                    if event.is_readable() || event.is_read_closed() {
                        state.read(now, link);
                    }
                }
            }
        }
        for link in std::mem::take(&mut state.unread) {
            state.read(now, link);
        }
        if state.regions.poll_timeout() <= now {
            state.regions.handle(now, Event::Tick);
        }
        let overdue = state.peers.overdue(now);
        state.over.extend(overdue);
        state.settle(now);
        state.send_all(now, poll.registry());
        if knocking {
            turned_away = state.let_in(now, &listener, poll.registry()).is_err();
            state.send_all(now, poll.registry());
        }
        drop(state);
        answered.notify_all();
    }
    let mut state = lock(state);
    state.remove_all(now(), poll.registry());
    drop(state);
    answered.notify_all();
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

fn now() -> Time {
    Time(monotonic_nanoseconds())
}
