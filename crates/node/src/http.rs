//! Metrics and health over HTTP, for collectors that know nothing of Farcall: read-only.
//!
//! | path | answer |
//! |---|---|
//! | `/metrics` | the node in numbers, in the text format of Prometheus (`metrics`) |
//! | `/healthz` | 200 while the node takes tasks, 503 with the reason once it does not |
//!
//! Whoever can connect can read, so it is off unless asked for. It takes little from anyone: one
//! request for each connection, a short head, five seconds, a bounded number of connections. It
//! stands in the node's own loop and waits for nobody; that it answers at all says that the loop
//! turns. Requests must name an IP address, `localhost` or a name that the node was told: a web page
//! that points its own host's name at us gets nothing (DNS rebinding).
//!
//! Heads are parsed by `httparse`; what is wanted of them is decided in [`request`].

mod metrics;
mod request;

use std::collections::BTreeSet;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr};

use logic::node::Node;
use mio::net::{TcpListener, TcpStream};
use mio::{Interest, Registry};
use slab::Slab;
use wire::limits::{HTTP_CONNECTIONS_MAX, HTTP_HEAD_MAX, STRANGER_PATIENCE};
use wire::units::{Span, Time};

use crate::Error;
use crate::links::Counters;
use crate::options;
use crate::source::Source;
use metrics::Turns;
use request::{Answer, Page, Status};

/// Connections taken in one turn: a flood of them must not hold up tasks.
const ACCEPTS: usize = 32;
/// Bytes that are read and dropped behind a request, so that its answer is not cut off by a reset.
const DRAINED_MAX: usize = 64 * 1024;
/// How soon it is tried again when there is no descriptor for a connection.
const PATIENCE: Span = Span::from_millis(100);

pub(crate) struct Http {
    pub(crate) address: SocketAddr,
    names: Vec<String>,
    listener: TcpListener,
    /// Somebody knocks, and may be let in from then on.
    knocking: Option<Time>,
    connections: Slab<Connection>,
    /// With something to do in this turn.
    ready: BTreeSet<usize>,
    answered: [u64; Status::ALL.len()],
    turns: Turns,
    born: u64,
}

struct Connection {
    stream: TcpStream,
    since: Time,
    stage: Stage,
}

enum Stage {
    Head(Vec<u8>),
    Answer {
        bytes: Vec<u8>,
        sent: usize,
    },
    /// Everything is sent; what else the other side says is dropped, until it hangs up.
    Drain {
        dropped: usize,
    },
}

impl Http {
    /// `born`: when the node started, in seconds since 1970.
    pub(crate) fn listen(
        options: &options::Http,
        registry: &Registry,
        born: u64,
    ) -> Result<Self, Error> {
        let wanted = options.address;
        let failed = |source| Error::Http { address: wanted.to_string(), source };
        let mut listener = TcpListener::bind(wanted).map_err(failed)?;
        let token = Source::HttpListener.token();
        registry.register(&mut listener, token, Interest::READABLE).map_err(failed)?;
        Ok(Self {
            address: listener.local_addr().map_err(failed)?,
            names: options.names.clone(),
            listener,
            knocking: None,
            connections: Slab::new(),
            ready: BTreeSet::new(),
            answered: [0; Status::ALL.len()],
            turns: Turns::default(),
            born,
        })
    }

    /// Notes what an event is about; the rest waits for the end of the turn.
    pub(crate) fn ready(&mut self, source: Source) {
        match source {
            Source::HttpListener => self.knocking = Some(Time(0)),
            Source::Http(at) => drop(self.ready.insert(at as usize)),
            _ => {}
        }
    }

    pub(crate) fn poll_timeout(&self) -> Time {
        let overdue = self.connections.iter().map(|(_, known)| known.since + STRANGER_PATIENCE);
        overdue.min().unwrap_or(Time::NEVER).min(self.knocking.unwrap_or(Time::NEVER))
    }

    /// The last of a turn of the loop that began at `now`: tasks went first.
    pub(crate) fn turn(&mut self, now: Time, registry: &Registry, node: &Node, links: Counters) {
        if self.knocking.is_some_and(|from| from <= now) {
            self.accept(now, registry);
        }
        for at in std::mem::take(&mut self.ready) {
            self.advance(now, at, node, links);
        }
        self.connections.retain(|_, known| now < known.since + STRANGER_PATIENCE);
        self.turns.add(Time(sys::clock::monotonic_nanoseconds()).since(now));
    }

    fn accept(&mut self, now: Time, registry: &Registry) {
        for _ in 0..ACCEPTS {
            let mut stream = match self.listener.accept() {
                Ok((stream, _)) => stream,
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    self.knocking = None;
                    return;
                }
                Err(error)
                    if matches!(
                        error.kind(),
                        ErrorKind::ConnectionAborted | ErrorKind::Interrupted
                    ) =>
                {
                    continue;
                }
                Err(_) => {
                    self.knocking = Some(now + PATIENCE);
                    return;
                }
            };
            if self.connections.len() >= HTTP_CONNECTIONS_MAX {
                // The one that has had most time.
                let oldest = self.connections.iter().min_by_key(|(_, known)| known.since);
                if let Some((at, _)) = oldest {
                    self.connections.remove(at);
                }
            }
            let entry = self.connections.vacant_entry();
            let token = Source::Http(entry.key() as u32).token();
            let both = Interest::READABLE | Interest::WRITABLE;
            if registry.register(&mut stream, token, both).is_ok() {
                self.ready.insert(entry.key());
                entry.insert(Connection { stream, since: now, stage: Stage::Head(Vec::new()) });
            }
        }
    }

    /// Carries one connection as far as it goes without waiting.
    fn advance(&mut self, now: Time, at: usize, node: &Node, links: Counters) {
        loop {
            let Some(known) = self.connections.get_mut(at) else { return };
            match known.step() {
                Step::Waits => return,
                Step::Ended => drop(self.connections.remove(at)),
                Step::Moved => {
                    let Stage::Head(head) = &known.stage else { continue };
                    let Some(answer) = request::judge(head, &self.names) else { continue };
                    let bytes = self.compose(now, &answer, node, links);
                    if let Some(known) = self.connections.get_mut(at) {
                        known.since = now;
                        known.stage = Stage::Answer { bytes, sent: 0 };
                    }
                }
            }
        }
    }

    fn compose(&mut self, now: Time, answer: &Answer, node: &Node, links: Counters) -> Vec<u8> {
        let figures = node.figures(now);
        let (status, body) = match answer.page {
            Page::Refusal(status) => (status, format!("{}\n", status.words())),
            Page::Contents => (Status::Ok, "/metrics\n/healthz\n".to_owned()),
            Page::Health if figures.leaving => {
                let left = figures.running + figures.waiting;
                let why = format!("this node leaves: it takes no new tasks; {left} are left\n");
                (Status::Unavailable, why)
            }
            Page::Health => (Status::Ok, "ok\n".to_owned()),
            Page::Metrics => {
                (Status::Ok, metrics::text(&figures, links, &self.answered, &self.turns, self.born))
            }
        };
        self.answered[status as usize] += 1;
        let mut bytes = answer.head(status, body.len()).into_bytes();
        if answer.with_body {
            bytes.extend_from_slice(body.as_bytes());
        }
        bytes
    }
}

enum Step {
    /// Something came or went: look again.
    Moved,
    Waits,
    Ended,
}

impl Connection {
    fn step(&mut self) -> Step {
        let outcome = match &mut self.stage {
            Stage::Head(head) => {
                // Never more than a head may have: the rest stays with the kernel.
                let mut bytes = [0; HTTP_HEAD_MAX];
                let room = HTTP_HEAD_MAX - head.len();
                let read = self.stream.read(&mut bytes[..room]);
                if let Ok(count) = read {
                    head.extend_from_slice(&bytes[..count]);
                }
                read
            }
            Stage::Answer { bytes, sent } if *sent == bytes.len() => {
                if self.stream.shutdown(Shutdown::Write).is_err() {
                    return Step::Ended;
                }
                self.stage = Stage::Drain { dropped: 0 };
                return Step::Moved;
            }
            Stage::Answer { bytes, sent } => {
                let written = self.stream.write(&bytes[*sent..]);
                *sent += written.as_ref().copied().unwrap_or(0);
                written
            }
            Stage::Drain { dropped } if *dropped > DRAINED_MAX => return Step::Ended,
            Stage::Drain { dropped } => {
                let read = self.stream.read(&mut [0; HTTP_HEAD_MAX]);
                *dropped += read.as_ref().copied().unwrap_or(0);
                read
            }
        };
        match outcome {
            Ok(0) => Step::Ended,
            Ok(_) => Step::Moved,
            Err(error) if error.kind() == ErrorKind::WouldBlock => Step::Waits,
            Err(error) if error.kind() == ErrorKind::Interrupted => Step::Moved,
            Err(_) => Step::Ended,
        }
    }
}
