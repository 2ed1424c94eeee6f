//! What clients and nodes share: the clock, what is to happen, and the network between them.
//!
//! A connection is two pipes. What goes in comes out in order and later, in pieces of any size;
//! after a reset nothing comes out but the news; when the path is cut, all of it waits.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, VecDeque};

use bytes::Bytes;
use wire::name::Name;
use wire::units::{Span, Time};

use crate::judge::Judge;
use crate::plan::{Bug, Fault, Plan};
use crate::random::Random;
use crate::trace::{Line, Trace};

/// How long the kernel waits for an answer to its own probes.
const KEEPALIVE: Span = Span::from_secs(25);

/// Somebody with a clock of his own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum End {
    Client(usize),
    Node(usize),
}

/// Which end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Side {
    Dialler,
    Listener,
}

impl Side {
    pub(crate) fn other(self) -> Self {
        match self {
            Self::Dialler => Self::Listener,
            Self::Listener => Self::Dialler,
        }
    }
}

/// Something that is to happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum What {
    /// The next piece of a pipe comes out at this side.
    Arrive {
        connection: usize,
        side: Side,
    },
    Wake(End),
    /// A worker does its next step.
    Step {
        node: usize,
        worker: u32,
        birth: u64,
    },
    /// A worker's words, or the news of its end, reach its node.
    Listen {
        node: usize,
        worker: u32,
        birth: u64,
    },
    Submit {
        client: usize,
    },
    Cancel {
        client: usize,
        task: u32,
    },
    Fault,
    StartNode {
        name: usize,
    },
    /// The disk has done a group of commits, for the home that lives for the nth time.
    Vault {
        life: u64,
        group: u64,
    },
}

#[derive(Debug)]
pub(crate) enum Piece {
    Bytes(Bytes),
    /// The other side is gone.
    Closed,
}

#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) dialler: End,
    pub(crate) listener: End,
    /// Towards the dialler, towards the listener.
    pipes: [Pipe; 2],
    open: [bool; 2],
    swallows: bool,
}

#[derive(Debug, Default)]
struct Pipe {
    /// Each with the time when it comes out.
    pieces: VecDeque<(Time, Piece)>,
    last: Time,
}

impl Connection {
    pub(crate) fn end(&self, side: Side) -> End {
        match side {
            Side::Dialler => self.dialler,
            Side::Listener => self.listener,
        }
    }

    pub(crate) fn is_open(&self) -> bool {
        self.open[0] && self.open[1]
    }
}

#[derive(Debug)]
pub(crate) struct Net {
    pub(crate) now: Time,
    queue: BinaryHeap<Reverse<(Time, u64, What)>>,
    order: u64,
    pub(crate) connections: Vec<Connection>,
    /// Until when nothing gets from one to the other.
    cut: BTreeMap<(End, End), Time>,
    /// Where a name listens: the node's number.
    pub(crate) addresses: BTreeMap<Name, usize>,
    pub(crate) plan: Plan,
    pub(crate) random: Random,
    pub(crate) judge: Judge,
    pub(crate) trace: Trace,
    births: u64,
}

impl Net {
    pub(crate) fn new(plan: Plan, random: Random, trace: Trace) -> Self {
        Self {
            now: Time(1_000_000),
            queue: BinaryHeap::new(),
            order: 0,
            connections: Vec::new(),
            cut: BTreeMap::new(),
            addresses: BTreeMap::new(),
            plan,
            random,
            judge: Judge::default(),
            trace,
            births: 0,
        }
    }

    pub(crate) fn at(&mut self, time: Time, what: What) {
        self.order += 1;
        self.queue.push(Reverse((time.max(self.now), self.order, what)));
    }

    pub(crate) fn after(&mut self, span: Span, what: What) {
        self.at(self.now + span, what);
    }

    /// The next thing to happen before `until`. The clock goes there.
    pub(crate) fn next(&mut self, until: Time) -> Option<What> {
        let Reverse((time, ..)) = self.queue.peek()?;
        if *time > until {
            self.now = until;
            return None;
        }
        let Reverse((time, _, what)) = self.queue.pop()?;
        self.now = time;
        Some(what)
    }

    pub(crate) fn birth(&mut self) -> u64 {
        self.births += 1;
        self.births
    }

    pub(crate) fn note(&mut self, line: Line) {
        self.trace.note(self.now, line);
    }

    pub(crate) fn has_bug(&self, bug: Bug) -> bool {
        self.plan.bug == Some(bug)
    }

    pub(crate) fn note_fault(&mut self, fault: Fault, a: usize, b: usize, until: Time) {
        let name = match fault {
            Fault::Break => "break",
            Fault::Swallow => "swallow",
            Fault::Partition => "partition",
            Fault::Stall => "stall",
            Fault::Slow => "slow",
            Fault::CrashNode => "crash node",
            Fault::CrashClient => "crash client",
            Fault::Join => "join",
            Fault::Leave => "leave",
            Fault::KillWorker => "kill worker",
            Fault::LoseBlobs => "lose blobs",
        };
        self.note(Line::Fault { name, a, b, until: until.0 });
    }

    // Connections.

    /// Opens a connection. The listener hears of it with the first bytes.
    pub(crate) fn dial(&mut self, dialler: End, name: &Name) -> Option<usize> {
        let listener = End::Node(*self.addresses.get(name)?);
        let pipes = [Pipe::default(), Pipe::default()];
        let open = [true, true];
        let swallows = false;
        self.connections.push(Connection { dialler, listener, pipes, open, swallows });
        let connection = self.connections.len() - 1;
        self.note(Line::Dialled { connection });
        Some(connection)
    }

    pub(crate) fn send(&mut self, connection: usize, from: Side, bytes: Bytes) {
        if bytes.is_empty() || !self.connections[connection].open[from as usize] {
            return;
        }
        let cut = self.random.index(bytes.len() + 1);
        let first = if self.random.per_mille(100) { cut } else { 0 };
        let pieces = [bytes.slice(..first), bytes.slice(first..)];
        for piece in pieces.into_iter().filter(|piece| !piece.is_empty()) {
            self.put(connection, from.other(), Piece::Bytes(piece));
        }
    }

    fn put(&mut self, connection: usize, side: Side, piece: Piece) {
        let latency = self.latency();
        let known = &mut self.connections[connection];
        if known.swallows {
            return;
        }
        let pipe = &mut known.pipes[side as usize];
        pipe.last = pipe.last.max(self.now + latency);
        let last = pipe.last;
        pipe.pieces.push_back((last, piece));
        self.at(last, What::Arrive { connection, side });
    }

    fn latency(&mut self) -> Span {
        let base = self.plan.latency.0;
        let jitter = self.random.below(base / 4 + 1);
        Span(base + jitter)
    }

    /// What comes out of a pipe now. `None`: nothing, or not yet.
    pub(crate) fn arrive(&mut self, connection: usize, side: Side) -> Option<Piece> {
        let known = &self.connections[connection];
        let path = (known.end(side.other()), known.end(side));
        if let Some(until) = self.cut.get(&path).copied().filter(|until| *until > self.now) {
            let latency = self.latency();
            let pipe = &mut self.connections[connection].pipes[side as usize];
            pipe.last = pipe.last.max(until + latency);
            self.at(until + latency, What::Arrive { connection, side });
            return None;
        }
        let known = &mut self.connections[connection];
        let pieces = &mut known.pipes[side as usize].pieces;
        let (_, piece) = pieces.pop_front_if(|(due, _)| *due <= self.now)?;
        if known.open[side as usize] {
            if matches!(piece, Piece::Closed) {
                known.open[side as usize] = false;
                self.note(Line::Closed { connection });
            }
            return Some(piece);
        }
        // Nobody reads here any more: the sender learns it.
        if matches!(piece, Piece::Bytes(_)) && known.open[side.other() as usize] {
            self.put(connection, side.other(), Piece::Closed);
        }
        None
    }

    /// One side closes, after what it has sent.
    pub(crate) fn close(&mut self, connection: usize, side: Side) {
        let known = &mut self.connections[connection];
        if !known.open[side as usize] {
            return;
        }
        known.open[side as usize] = false;
        if self.has_bug(Bug::DropLastFrame) {
            let pieces = &mut self.connections[connection].pipes[side.other() as usize].pieces;
            if matches!(pieces.back(), Some((_, Piece::Bytes(_)))) {
                pieces.pop_back();
            }
        }
        self.put(connection, side.other(), Piece::Closed);
    }

    /// Both sides lose the connection and all that is in flight.
    pub(crate) fn reset(&mut self, connection: usize) {
        if self.connections[connection].swallows {
            return;
        }
        for side in [Side::Dialler, Side::Listener] {
            self.connections[connection].pipes[side as usize].pieces.clear();
            if self.connections[connection].open[side as usize] {
                self.put(connection, side, Piece::Closed);
            }
        }
    }

    /// Nothing comes through any more. The kernels at both ends notice by their own probes, which
    /// drivers must ask for: a bulk connection has no heartbeat.
    pub(crate) fn swallow(&mut self, connection: usize) {
        if self.connections[connection].swallows {
            return;
        }
        for side in [Side::Dialler, Side::Listener] {
            let at = self.now + KEEPALIVE + self.latency();
            let pipe = &mut self.connections[connection].pipes[side as usize];
            pipe.pieces.clear();
            pipe.pieces.push_back((at, Piece::Closed));
            self.at(at, What::Arrive { connection, side });
        }
        self.connections[connection].swallows = true;
    }

    /// The machine of this end is gone: nobody closes anything.
    pub(crate) fn power_off(&mut self, end: End) {
        for connection in 0..self.connections.len() {
            for side in [Side::Dialler, Side::Listener] {
                let known = &self.connections[connection];
                if known.end(side) == end && known.open[side as usize] {
                    self.swallow(connection);
                    self.connections[connection].open[side as usize] = false;
                }
            }
        }
    }

    /// The process of this end is gone: the kernel closes for it.
    pub(crate) fn close_all(&mut self, end: End) {
        for connection in 0..self.connections.len() {
            for side in [Side::Dialler, Side::Listener] {
                if self.connections[connection].end(side) == end {
                    self.close(connection, side);
                }
            }
        }
    }

    pub(crate) fn cut(&mut self, from: End, to: End, until: Time) {
        self.cut.insert((from, to), until);
    }

    pub(crate) fn open_connections(&self) -> Vec<usize> {
        let all = self.connections.iter().enumerate();
        all.filter(|(_, known)| known.is_open()).map(|(at, _)| at).collect()
    }
}
