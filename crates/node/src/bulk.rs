//! Bulk connections: payloads between sockets and shared buffers, each on a thread of its own.
//!
//! ```text
//!  socket --decrypt--> shared buffer --Arrived--> loop        (the loop never sees the bytes)
//!  loop --Order--> shared buffer --encrypt--> socket --Sent--> loop
//! ```
//!
//! Transfers take turns chunk by chunk, so a long one does not hold up a short one. When the owner
//! holds too many bytes already, the thread stops reading: the peer feels it in its own socket.

use std::borrow::Cow;
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, Sender, TryRecvError};
use std::thread;
use std::time::Duration;

use bytes::{Buf, BufMut};
use logic::BufferId;
use mio::{Events, Poll, Token, Waker};
use sys::shared::SharedBuffer;
use transport::{Connection, FlushOutcome, ReadOutcome, Watched};
use wire::frame::{HEADER, Header, Kind};
use wire::limits::{BULK_CHUNK_MAX, CREDITS_MAX, PAYLOAD_MAX};
use wire::name::{Hash, Name};
use wire::task::{PAYLOAD_HEAD, PayloadHead};

use crate::buffers::{Buffer, Buffers};
use crate::store::Found;

const SOCKET: Token = Token(0);
const WAKE: Token = Token(1);
/// How soon a thread that found no room for a payload looks again.
const STARVED: Duration = Duration::from_millis(2);
/// Plaintext that is queued before it is sent: enough for full records and few system calls.
const QUEUED_MAX: usize = BULK_CHUNK_MAX + HEADER + PAYLOAD_HEAD;

/// Names one bulk connection in this node's life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct BulkId(pub(crate) u64);

/// What a thread tells the loop.
pub(crate) enum Report {
    /// A whole payload is in the buffer.
    Arrived { bulk: BulkId, channel: u64, buffer: BufferId, length: u64 },
    /// A buffer has been sent, or never will be: nobody here needs it any more.
    Sent { buffer: BufferId },
    /// A blob was stored from this buffer, or was not.
    Stored { buffer: BufferId, stored: Stored },
    /// A blob came from another node, or did not.
    Fetched { fetched: Stored },
    /// A blob of an earlier start was checked.
    Found(Found),
    /// A blob was sent to another node, or not.
    Lent,
    /// The payload that was to arrive in this buffer never will.
    Dropped { buffer: BufferId },
    /// The connection is over.
    Ended { bulk: BulkId },
}

/// What became of a blob that a thread was to store.
pub(crate) struct Stored {
    pub(crate) job: u64,
    pub(crate) channel: u64,
    pub(crate) hash: Hash,
    pub(crate) length: u64,
    pub(crate) refused: Option<String>,
}

struct Order {
    channel: u64,
    buffer: Arc<Buffer>,
    length: u64,
}

/// The loop's end of a bulk connection. Dropping it ends the thread.
pub(crate) struct Bulk {
    pub(crate) id: BulkId,
    orders: Sender<Order>,
    waker: Arc<Waker>,
}

impl Drop for Bulk {
    fn drop(&mut self) {
        // The thread finds the orders' channel closed.
        let (orders, _) = mpsc::channel();
        self.orders = orders;
        let _ = self.waker.wake();
    }
}

impl Bulk {
    /// Gives the connection a thread.
    pub(crate) fn start(
        id: BulkId,
        connection: Connection,
        owner: Name,
        buffers: Arc<Buffers>,
        report: impl Fn(Report) + Send + 'static,
    ) -> std::io::Result<Self> {
        let poll = Poll::new()?;
        let waker = Arc::new(Waker::new(poll.registry(), WAKE)?);
        let connection = Watched::new(connection, poll.registry(), SOCKET)?;
        let (orders, incoming_orders) = mpsc::channel();
        let mut bulk = Thread {
            id,
            poll,
            _waker: waker.clone(),
            connection,
            owner,
            buffers,
            orders: incoming_orders,
            report,
            sending: VecDeque::new(),
            sent: Vec::new(),
            receiving: HashMap::new(),
            current: None,
            starved: false,
        };
        thread::Builder::new().name("bulk".into()).spawn(move || bulk.run())?;
        Ok(Self { id, orders, waker })
    }

    /// Queues a payload. `Sent` follows in any case.
    pub(crate) fn send(&self, channel: u64, buffer: Arc<Buffer>, length: u64) -> bool {
        let sent = self.orders.send(Order { channel, buffer, length }).is_ok();
        let _ = self.waker.wake();
        sent
    }
}

struct Sending {
    order: Order,
    sent: u64,
}

struct Arriving {
    buffer: Arc<Buffer>,
    total: u64,
    received: u64,
}

/// The piece that is being read.
struct Piece {
    channel: u64,
    left: usize,
}

struct Thread<R> {
    id: BulkId,
    poll: Poll,
    /// Kept open: the kernel forgets a wake-up whose descriptor is closed before it is seen.
    _waker: Arc<Waker>,
    connection: Watched,
    owner: Name,
    buffers: Arc<Buffers>,
    orders: Receiver<Order>,
    report: R,
    sending: VecDeque<Sending>,
    /// Sent but for what the socket has not taken yet.
    sent: Vec<BufferId>,
    receiving: HashMap<u64, Arriving>,
    current: Option<Piece>,
    /// There was no room for the payload whose head is next in the input.
    starved: bool,
}

/// The connection is of no more use.
struct Over;

impl<R: Fn(Report)> Thread<R> {
    fn run(&mut self) {
        let over = self.serve();
        debug_assert!(over.is_err(), "a bulk thread serves until its connection is over");
        for Sending { order, .. } in self.sending.drain(..) {
            (self.report)(Report::Sent { buffer: order.buffer.id });
        }
        for buffer in self.sent.drain(..) {
            (self.report)(Report::Sent { buffer });
        }
        for order in self.orders.try_iter() {
            (self.report)(Report::Sent { buffer: order.buffer.id });
        }
        for (_, arriving) in self.receiving.drain() {
            (self.report)(Report::Dropped { buffer: arriving.buffer.id });
        }
        self.connection.close();
        (self.report)(Report::Ended { bulk: self.id });
    }

    fn serve(&mut self) -> Result<(), Over> {
        let mut events = Events::with_capacity(4);
        let mut unread = true;
        loop {
            let wait = match (self.starved, unread) {
                (true, _) => Some(STARVED),
                (false, true) => Some(Duration::ZERO),
                (false, false) => None,
            };
            match self.poll.poll(&mut events, wait) {
                Err(error) if error.kind() != std::io::ErrorKind::Interrupted => return Err(Over),
                _ => {}
            }
            for event in events.iter().filter(|event| event.token() == SOCKET) {
                self.connection.observe(event);
                unread |= event.is_readable() || event.is_read_closed() || event.is_error();
            }
            self.take_orders()?;
            if self.starved {
                self.starved = false;
                self.receive()?;
            }
            if unread && !self.starved {
                unread = self.read()?;
            }
            self.write()?;
        }
    }

    fn take_orders(&mut self) -> Result<(), Over> {
        loop {
            match self.orders.try_recv() {
                Ok(order) => self.sending.push_back(Sending { order, sent: 0 }),
                Err(TryRecvError::Empty) => return Ok(()),
                Err(TryRecvError::Disconnected) => return Err(Over),
            }
        }
    }

    /// Reads once. Returns whether there is more.
    fn read(&mut self) -> Result<bool, Over> {
        let outcome = self.connection.read().map_err(|_| Over)?;
        self.receive()?;
        match outcome {
            ReadOutcome::Drained => Ok(false),
            ReadOutcome::More => Ok(true),
            ReadOutcome::Closed => Err(Over),
        }
    }

    /// Moves what has arrived into its buffers.
    fn receive(&mut self) -> Result<(), Over> {
        loop {
            let Some(piece) = &mut self.current else {
                if !self.begin_piece()? {
                    return Ok(());
                }
                continue;
            };
            let arriving = self.receiving.get_mut(&piece.channel).ok_or(Over)?;
            let input = self.connection.input();
            let count = piece.left.min(input.len());
            let place = usize::try_from(arriving.received).map_err(|_| Over)?;
            arriving.buffer.shared.copy_in(place, &input[..count]).map_err(|_| Over)?;
            input.advance(count);
            arriving.received += count as u64;
            piece.left -= count;
            if piece.left > 0 {
                return Ok(());
            }
            let channel = piece.channel;
            let whole = arriving.received == arriving.total;
            self.current = None;
            if whole && let Some(Arriving { buffer, total, .. }) = self.receiving.remove(&channel) {
                self.buffers.arrived(buffer.id);
                let (bulk, buffer, length) = (self.id, buffer.id, total);
                (self.report)(Report::Arrived { bulk, channel, buffer, length });
            }
        }
    }

    /// Takes the head of the next piece. `false`: it is not here, or there is no room for it.
    fn begin_piece(&mut self) -> Result<bool, Over> {
        let input = self.connection.input();
        let Some(header) = Header::peek(input) else { return Ok(false) };
        let length = usize::try_from(header.length).map_err(|_| Over)?;
        let left = length.checked_sub(PAYLOAD_HEAD).filter(|left| *left <= BULK_CHUNK_MAX);
        let left = left.filter(|_| header.kind == Kind::PAYLOAD).ok_or(Over)?;
        let Some(head) = input.get(HEADER..).and_then(PayloadHead::peek) else { return Ok(false) };
        let PayloadHead { total, offset } = head;
        let channel = header.channel;
        match self.receiving.get(&channel) {
            Some(known) if known.total != total || known.received != offset => return Err(Over),
            Some(_) => {}
            None if offset != 0 || total > PAYLOAD_MAX => return Err(Over),
            None if self.receiving.len() > CREDITS_MAX as usize => return Err(Over),
            None => {
                let Some(buffer) = self.buffers.take_if_room(&self.owner, total) else {
                    self.starved = true;
                    return Ok(false);
                };
                self.receiving.insert(channel, Arriving { buffer, total, received: 0 });
            }
        }
        if left as u64 > total - offset || (left == 0 && total > 0) {
            return Err(Over);
        }
        self.connection.input().advance(HEADER + PAYLOAD_HEAD);
        self.current = Some(Piece { channel, left });
        Ok(true)
    }

    /// Sends pieces in turn until the socket is full.
    fn write(&mut self) -> Result<(), Over> {
        loop {
            if self.connection.flush(self.poll.registry()).map_err(|_| Over)?
                == FlushOutcome::Blocked
            {
                return Ok(());
            }
            for buffer in self.sent.drain(..) {
                (self.report)(Report::Sent { buffer });
            }
            let Some(Sending { order, mut sent }) = self.sending.pop_front() else { return Ok(()) };
            let piece = (order.length - sent).min(BULK_CHUNK_MAX as u64) as usize;
            let (kind, channel) = (Kind::PAYLOAD, order.channel);
            let output = self.connection.output();
            output.reserve(QUEUED_MAX);
            let length = (piece + PAYLOAD_HEAD) as u64;
            Header { kind, channel, length }.put(output);
            output.put_slice(&PayloadHead { total: order.length, offset: sent }.to_bytes());
            let shared = &order.buffer.shared;
            shared.copy_out_to(sent as usize, piece, output).map_err(|_| Over)?;
            sent += piece as u64;
            if sent < order.length {
                self.sending.push_back(Sending { order, sent });
            } else {
                self.sent.push(order.buffer.id);
            }
        }
    }
}

/// The first `length` bytes of a buffer, copied out piece by piece.
pub(crate) fn pieces(
    shared: &SharedBuffer,
    length: u64,
) -> impl Iterator<Item = Cow<'static, [u8]>> {
    let length = usize::try_from(length).unwrap_or(usize::MAX).min(shared.len());
    (0..length).step_by(BULK_CHUNK_MAX).map(move |start| {
        let mut piece = vec![0; BULK_CHUNK_MAX.min(length - start)];
        let copied = shared.copy_out(start, &mut piece);
        assert!(copied.is_ok(), "both ends of a piece were checked against the buffer");
        Cow::Owned(piece)
    })
}
