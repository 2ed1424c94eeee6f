//! One bulk connection of a client: payloads in both directions, a piece of each in turn.
//!
//! It is driven by whoever drives the link (`driver`), a bounded amount at a time. It is dialled when
//! the first payload needs it. If it fails, its link begins anew, since a payload may be lost.

use std::collections::{HashMap, VecDeque};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use logic::link::{self, Link, Pass};
use mio::Registry;
use transport::{FlushOutcome, ReadOutcome, Watched};
use wire::frame::{HEADER, Header, Kind};
use wire::hello::Hello;
use wire::limits::{BULK_CHUNK_MAX, CONTROL_BODY_MAX};
use wire::task::{PAYLOAD_HEAD, PayloadHead};
use wire::units::Time;

use crate::error::chain;

/// Bytes that are sent or read before others have their turn.
const TURN: usize = 4 * BULK_CHUNK_MAX;
/// Payloads that take turns; others wait until one of these is sent. A node that holds too much stops
/// reading, and goes on only when whole payloads have become results.
const TURNS_MAX: usize = 4;
/// Memory that is set aside on the word of a head; more follows as bytes arrive.
const RESERVE_MAX: u64 = 4 << 20;

pub(crate) struct Bulk {
    connection: Watched,
    hello: Hello,
    /// `None` until TLS is over.
    link: Option<Link>,
    sending: VecDeque<Sending>,
    receiving: HashMap<u64, Receiving>,
    current: Option<Piece>,
}

struct Sending {
    channel: u64,
    bytes: Bytes,
    sent: usize,
    /// Bytes of the piece under way that are still to be sent.
    piece: usize,
}

struct Receiving {
    bytes: BytesMut,
    total: u64,
}

struct Piece {
    channel: u64,
    left: usize,
}

impl Bulk {
    pub(crate) fn new(now: Time, connection: Watched, hello: Hello) -> Self {
        let mut bulk = Self {
            connection,
            hello,
            link: None,
            sending: VecDeque::new(),
            receiving: HashMap::new(),
            current: None,
        };
        bulk.open(now);
        bulk
    }

    pub(crate) fn release(self, registry: &Registry) {
        self.connection.release(registry);
    }

    pub(crate) fn observe(&mut self, event: &mio::event::Event) {
        self.connection.observe(event);
    }

    /// Queues a payload.
    pub(crate) fn send(&mut self, channel: u64, bytes: Bytes) {
        self.sending.push_back(Sending { channel, bytes, sent: 0, piece: 0 });
    }

    fn is_up(&self) -> bool {
        self.link.as_ref().is_some_and(Link::is_up)
    }

    /// Once TLS is over, the greeting goes out.
    fn open(&mut self, now: Time) {
        if self.link.is_some() || !self.connection.is_ready() {
            return;
        }
        let mut link = Link::dial(now, self.hello.clone());
        while let Some(effect) = link.poll_effect() {
            if let link::Effect::Send(message) = effect {
                message.encode(0, self.connection.output());
            }
        }
        self.link = Some(link);
    }

    /// Bytes of payloads that are still to be sent.
    pub(crate) fn unsent(&self) -> usize {
        self.sending.iter().map(|sending| sending.bytes.len() - sending.sent).sum()
    }

    /// No payload is under way in either direction.
    pub(crate) fn is_idle(&self) -> bool {
        self.sending.is_empty() && self.receiving.is_empty()
    }

    /// Reads a turn's worth. Whole payloads go to `arrived`; returns whether there is more.
    pub(crate) fn read(
        &mut self,
        now: Time,
        arrived: &mut Vec<(u64, Bytes)>,
    ) -> Result<bool, String> {
        let mut taken = 0;
        loop {
            let outcome = self.connection.read().map_err(|error| chain(&error))?;
            self.open(now);
            taken += self.connection.input().len();
            if !self.is_up() {
                self.greet(now)?;
            }
            if self.is_up() {
                self.receive(arrived)?;
            }
            match outcome {
                ReadOutcome::Drained => return Ok(false),
                ReadOutcome::More if taken >= TURN => return Ok(true),
                ReadOutcome::More => {}
                ReadOutcome::Closed => return Err("it closed a bulk connection".to_owned()),
            }
        }
    }

    fn greet(&mut self, now: Time) -> Result<(), String> {
        while !self.is_up() {
            let frame = wire::frame::take(self.connection.input(), CONTROL_BODY_MAX);
            let Some(frame) = frame.map_err(|error| error.to_string())? else { return Ok(()) };
            let (_, message) = wire::decode(frame).map_err(|error| error.to_string())?;
            let Some(link) = &mut self.link else { return Ok(()) };
            if link.message(now, &message) == Pass::On {
                return Err("a message on a bulk connection".to_owned());
            }
            while let Some(effect) = link.poll_effect() {
                if let link::Effect::Down(why) = effect {
                    return Err(why.to_string());
                }
            }
        }
        Ok(())
    }

    fn receive(&mut self, arrived: &mut Vec<(u64, Bytes)>) -> Result<(), String> {
        loop {
            let Some(piece) = &mut self.current else {
                if !self.begin_piece()? {
                    return Ok(());
                }
                continue;
            };
            let Some(receiving) = self.receiving.get_mut(&piece.channel) else {
                return Err("a piece of no payload".to_owned());
            };
            let input = self.connection.input();
            let count = piece.left.min(input.len());
            receiving.bytes.extend_from_slice(&input[..count]);
            input.advance(count);
            piece.left -= count;
            if piece.left > 0 {
                return Ok(());
            }
            let channel = piece.channel;
            let whole = receiving.bytes.len() as u64 == receiving.total;
            self.current = None;
            if whole && let Some(receiving) = self.receiving.remove(&channel) {
                arrived.push((channel, receiving.bytes.freeze()));
            }
        }
    }

    fn begin_piece(&mut self) -> Result<bool, String> {
        let broken = || "a bulk connection that says nonsense".to_owned();
        let input = self.connection.input();
        let Some(header) = Header::peek(input) else { return Ok(false) };
        let length = usize::try_from(header.length).map_err(|_| broken())?;
        let left = length.checked_sub(PAYLOAD_HEAD).filter(|left| *left <= BULK_CHUNK_MAX);
        let left = left.filter(|_| header.kind == Kind::PAYLOAD).ok_or_else(broken)?;
        let Some(head) = input.get(HEADER..).and_then(PayloadHead::peek) else { return Ok(false) };
        let (channel, PayloadHead { total, offset }) = (header.channel, head);
        let receiving = self.receiving.entry(channel).or_insert_with(|| {
            let bytes = BytesMut::with_capacity(total.min(RESERVE_MAX) as usize);
            Receiving { bytes, total }
        });
        let in_order = receiving.total == total && receiving.bytes.len() as u64 == offset;
        if !in_order || left as u64 > total - offset || (left == 0 && total > 0) {
            return Err(broken());
        }
        self.connection.input().advance(HEADER + PAYLOAD_HEAD);
        self.current = Some(Piece { channel, left });
        Ok(true)
    }

    /// Sends a turn's worth. Returns whether more could be sent at once.
    pub(crate) fn write(&mut self, registry: &Registry) -> Result<bool, String> {
        let mut budget = TURN;
        loop {
            let flushed = self.connection.flush(registry).map_err(|error| chain(&error))?;
            if flushed == FlushOutcome::Blocked || !self.is_up() {
                return Ok(false);
            }
            let Some(mut sending) = self.sending.pop_front() else { return Ok(false) };
            if budget == 0 {
                self.sending.push_front(sending);
                return Ok(true);
            }
            if sending.piece == 0 {
                sending.piece = (sending.bytes.len() - sending.sent).min(BULK_CHUNK_MAX);
                let length = (sending.piece + PAYLOAD_HEAD) as u64;
                let (kind, channel) = (Kind::PAYLOAD, sending.channel);
                let (total, offset) = (sending.bytes.len() as u64, sending.sent as u64);
                let output = self.connection.output();
                Header { kind, channel, length }.put(output);
                output.put_slice(&PayloadHead { total, offset }.to_bytes());
            }
            let piece = &sending.bytes[sending.sent..sending.sent + sending.piece];
            let sent = self.connection.send(piece, registry).map_err(|error| chain(&error))?;
            sending.sent += sent;
            sending.piece -= sent;
            budget = budget.saturating_sub(sent);
            if sending.piece > 0 {
                // The socket is full in the middle of a piece: it goes on with this one.
                self.sending.push_front(sending);
                return Ok(false);
            } else if sending.sent < sending.bytes.len() {
                let place = self.sending.len().min(TURNS_MAX - 1);
                self.sending.insert(place, sending);
            }
        }
    }
}
