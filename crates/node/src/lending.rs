//! Blobs between nodes: each transfer is a connection and a thread of its own.
//!
//! The fetcher dials, greets with its permit, and writes what comes into the store as it comes; the
//! lender sends from its file. Nothing of it goes through the loop, and no more of it is in memory
//! than a few pieces. Both ends give up what stands still, the fetcher also what is too slow.
//!
//! Elsewhere: who may have what (`logic::node`).

use std::borrow::Cow;
use std::fs::File;
use std::io::Read;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::{Buf, BufMut};
use logic::link::{self, Link, Pass};
use logic::node::FetchBlob;
use mio::{Events, Poll, Token};
use transport::{Connection, DialTls, FlushOutcome, ReadOutcome, Watched};
use wire::frame::{HEADER, Header, Kind};
use wire::hello::Hello;
use wire::limits::{BULK_CHUNK_MAX, CONTROL_BODY_MAX, FETCH_RATE_MIN, FETCH_SILENCE};
use wire::name::Name;
use wire::task::{PAYLOAD_HEAD, PayloadHead};
use wire::units::Time;

use crate::store::Store;

/// Ciphertext that waits for the socket before more of the file is read.
const UNSENT_MAX: usize = 2 * BULK_CHUNK_MAX;

/// A connection that a thread of its own waits for.
pub(crate) struct Line {
    poll: Poll,
    events: Events,
    pub(crate) connection: Watched,
    /// When it last moved.
    moved: Instant,
    /// How long it may stand still.
    pub(crate) silence: Duration,
}

impl Line {
    pub(crate) fn new(connection: Connection) -> Result<Self, String> {
        let words = |error: std::io::Error| format!("cannot watch a connection: {error}");
        let poll = Poll::new().map_err(words)?;
        let connection = Watched::new(connection, poll.registry(), Token(0)).map_err(words)?;
        let silence = FETCH_SILENCE.into();
        let events = Events::with_capacity(4);
        Ok(Self { poll, events, connection, moved: Instant::now(), silence })
    }

    /// Waits until the connection may move again.
    pub(crate) fn wait(&mut self) -> Result<(), String> {
        let silence = self.silence;
        let left = silence.saturating_sub(self.moved.elapsed());
        if left.is_zero() {
            return Err(format!("nothing moved for {} s", silence.as_secs()));
        }
        match self.poll.poll(&mut self.events, Some(left)) {
            Err(error) if error.kind() != std::io::ErrorKind::Interrupted => {
                return Err(format!("cannot wait for a connection: {error}"));
            }
            _ => {}
        }
        self.events.iter().for_each(|event| self.connection.observe(event));
        Ok(())
    }

    /// Sends what is queued, as far as the socket takes it. Whether it took all.
    pub(crate) fn flush(&mut self) -> Result<bool, String> {
        let before = self.connection.unsent();
        let outcome = self.connection.flush(self.poll.registry()).map_err(words)?;
        if self.connection.unsent() < before {
            self.moved = Instant::now();
        }
        Ok(outcome == FlushOutcome::Done)
    }

    /// Reads once.
    pub(crate) fn read(&mut self) -> Result<ReadOutcome, String> {
        let before = (self.connection.input().len(), self.connection.is_ready());
        let outcome = self.connection.read().map_err(words)?;
        if (self.connection.input().len(), self.connection.is_ready()) != before {
            self.moved = Instant::now();
        }
        Ok(outcome)
    }

    /// Dials another node, of this name, and is let in.
    pub(crate) fn dial(
        address: SocketAddr,
        tls: &DialTls,
        from: &Name,
        hello: &Hello,
    ) -> Result<Self, String> {
        let connection = Connection::dial(address, tls).map_err(words)?;
        let mut line = Line::new(connection)?;
        let mut greeting: Option<Link> = None;
        // A greeting only needs the time for its own timeout, which is this one: also for a peer that always says
        // a little.
        let (now, begun) = (Time(0), Instant::now());
        loop {
            if begun.elapsed() >= line.silence {
                return Err(format!("no greeting came for {} s", line.silence.as_secs()));
            }
            let was_ready = line.connection.is_ready();
            if was_ready && greeting.is_none() {
                let peer = line.connection.peer();
                if peer.is_none_or(|peer| peer.name != *from) {
                    return Err(format!("{address} is another node"));
                }
                greeting = Some(Link::dial(now, hello.clone()));
            }
            if let Some(link) = &mut greeting {
                while let Some(effect) = link.poll_effect() {
                    match effect {
                        link::Effect::Send(message) => {
                            message.encode(0, line.connection.output());
                        }
                        link::Effect::Down(why) => return Err(why.to_string()),
                        link::Effect::Up(_) | link::Effect::Greeted(_) => {}
                    }
                }
                if link.is_up() {
                    break;
                }
            }
            line.flush()?;
            let outcome = line.read()?;
            // One frame at a time: what follows the welcome is no message.
            let frame = wire::frame::take(line.connection.input(), CONTROL_BODY_MAX);
            let frame = frame.map_err(|error| error.to_string())?;
            let moved = frame.is_some() || was_ready != line.connection.is_ready();
            if let (Some(frame), Some(link)) = (frame, &mut greeting) {
                let (_, message) = wire::decode(frame).map_err(|error| error.to_string())?;
                if link.message(now, &message) == Pass::On {
                    return Err("it said something else than welcome".to_owned());
                }
            }
            match outcome {
                _ if moved => {}
                ReadOutcome::Closed => return Err("it hung up".to_owned()),
                ReadOutcome::Drained => line.wait()?,
                ReadOutcome::More => {}
            }
        }
        Ok(line)
    }
}

fn words(error: transport::Error) -> String {
    error.to_string()
}

/// Sends a blob over a connection whose peer was let in for that, and closes it.
pub(crate) fn lend(connection: Connection, file: &mut File) -> Result<(), String> {
    let read = |error: std::io::Error| format!("cannot read a blob: {error}");
    let total = file.metadata().map_err(read)?.len();
    let mut line = Line::new(connection)?;
    let mut offset = 0;
    let mut piece = vec![0; BULK_CHUNK_MAX];
    let mut begun = false;
    loop {
        let sent = line.flush()?;
        let done = begun && offset == total;
        if done && sent {
            line.connection.close();
            return Ok(());
        }
        if !done && line.connection.unsent() < UNSENT_MAX {
            let count = piece.len().min(usize::try_from(total - offset).unwrap_or(usize::MAX));
            file.read_exact(&mut piece[..count]).map_err(read)?;
            let output = line.connection.output();
            let length = (count + PAYLOAD_HEAD) as u64;
            Header { kind: Kind::PAYLOAD, channel: 0, length }.put(output);
            output.put_slice(&PayloadHead { total, offset }.to_bytes());
            output.put_slice(&piece[..count]);
            offset += count as u64;
            begun = true;
        } else if !sent {
            line.wait()?;
            // The other side has nothing to say; reading is how its end is noticed.
            if line.read()? == ReadOutcome::Closed {
                return Err("the other node hung up".to_owned());
            }
            if !line.connection.input().is_empty() {
                return Err("the other node speaks where it has nothing to say".to_owned());
            }
        }
    }
}

/// Gets a blob from another node into the store.
pub(crate) fn fetch(store: &Store, tls: &DialTls, blob: &FetchBlob) -> Result<(), String> {
    let mut problem = format!("node {} listens nowhere", blob.from);
    for address in blob.addresses.iter().filter_map(|address| address.parse().ok()) {
        match Arriving::dial(address, tls, blob) {
            Ok(mut arriving) => {
                let stored = store.put(&blob.hash, &mut arriving);
                // What came short has another hash; why it did is the better reason.
                return arriving.problem.map_or(stored, Err).map_err(|e| from(blob, &e));
            }
            Err(error) => problem = from(blob, &error),
        }
    }
    Err(problem)
}

fn from(blob: &FetchBlob, problem: &str) -> String {
    format!("from node {}: {problem}", blob.from)
}

/// The pieces of a blob, as they arrive.
struct Arriving {
    line: Line,
    total: u64,
    received: u64,
    /// Bytes of the piece under way that are still to come.
    piece: usize,
    until: Instant,
    problem: Option<String>,
}

impl Arriving {
    fn dial(address: SocketAddr, tls: &DialTls, blob: &FetchBlob) -> Result<Self, String> {
        let line = Line::dial(address, tls, &blob.from, &blob.hello)?;
        let patience = Duration::from(FETCH_SILENCE);
        let patience = patience + Duration::from_secs(blob.length / FETCH_RATE_MIN);
        let until = Instant::now() + patience;
        Ok(Self { line, total: blob.length, received: 0, piece: 0, until, problem: None })
    }

    /// The bytes that come next; `None` when all have come.
    fn advance(&mut self) -> Result<Option<Vec<u8>>, String> {
        while self.received < self.total {
            if self.piece == 0 {
                self.begin_piece()?;
            }
            let input = self.line.connection.input();
            let (held, count) = (input.len(), self.piece.min(input.len()));
            if count > 0 {
                let bytes = input[..count].to_vec();
                input.advance(count);
                self.piece -= count;
                self.received += count as u64;
                return Ok(Some(bytes));
            }
            let so_far = format!("after {} of {} bytes", self.received, self.total);
            if Instant::now() >= self.until {
                return Err(format!("too slow: given up {so_far}"));
            }
            let outcome = self.line.read()?;
            match outcome {
                _ if self.line.connection.input().len() > held => {}
                ReadOutcome::More => {}
                ReadOutcome::Drained => self.line.wait()?,
                ReadOutcome::Closed => return Err(format!("it hung up {so_far}")),
            }
        }
        Ok(None)
    }

    /// Takes the head of the next piece, if all of it is here.
    fn begin_piece(&mut self) -> Result<(), String> {
        let nonsense = || "it says nonsense".to_owned();
        let input = self.line.connection.input();
        let Some(header) = Header::peek(input) else { return Ok(()) };
        let length = usize::try_from(header.length).map_err(|_| nonsense())?;
        let piece = length.checked_sub(PAYLOAD_HEAD).filter(|piece| *piece <= BULK_CHUNK_MAX);
        let piece = piece.filter(|_| header.kind == Kind::PAYLOAD).ok_or_else(nonsense)?;
        let Some(head) = input.get(HEADER..).and_then(PayloadHead::peek) else { return Ok(()) };
        let fits = head.total == self.total && head.offset == self.received;
        if !fits || piece == 0 || piece as u64 > self.total - self.received {
            return Err(nonsense());
        }
        self.line.connection.input().advance(HEADER + PAYLOAD_HEAD);
        self.piece = piece;
        Ok(())
    }
}

impl Iterator for &mut Arriving {
    type Item = Cow<'static, [u8]>;

    fn next(&mut self) -> Option<Self::Item> {
        match self.advance() {
            Ok(bytes) => bytes.map(Cow::Owned),
            Err(problem) => {
                self.problem = Some(problem);
                None
            }
        }
    }
}
