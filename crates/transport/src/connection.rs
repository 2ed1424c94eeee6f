//! One socket and, over TCP, its TLS session: plaintext in, plaintext out.
//!
//! ```text
//!   socket --read--> scratch --decrypt--> input()       at most READ_MAX per call, one syscall
//!   socket <-write-- scratch <-encrypt-- output()       one write for small output
//! ```
//!
//! The scratch buffer belongs to the *thread*, not to the connection: it is warm in the cache
//! whichever connection is served, and an idle connection holds next to nothing. A connection keeps
//! only what did not fit: the front of a record whose rest is still on the way, and records that
//! the socket did not take.
//!
//! How to drive one, with mio's edge-triggered readiness:
//! 1. on an event, call `observe(event)`;
//! 2. `read` until it says `Drained` (or stop at `More` and come back without waiting), taking
//!    frames from `input()` after each;
//! 3. then `flush`: a read may have ended the handshake and so let queued output go. Behind the
//!    handshake it can be left out, since what TLS itself has to say is sent by the read.
//!    At `Blocked`, the next event of either kind is the time to flush again.
//!
//! A read shorter than the buffer means that the socket is drained, and a short write that it is
//! full: no extra syscall asks for EAGAIN. The exception is the end of the stream, which leaves no
//! second event: that is what `observe` is for.

use crate::error::Error;
use crate::identity::Peer;
use crate::session::{KEY_UPDATE_ROOM, RECORD_MAX, RECORD_OVERHEAD, Session, What};
use crate::socket::{self, Socket};
use crate::tls::{self, DialTls, ListenTls};
use bytes::{Buf, BytesMut};
use mio::event::{Event, Source};
use mio::{Interest, Registry, Token};
use std::cell::RefCell;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd};

/// Most bytes that one `read` takes from the socket.
pub const READ_MAX: usize = 256 * 1024;

/// Plaintext encrypted before each write. Measured one way over loopback: 16 records cost a quarter
/// less processor time than 8, and half of what 2 cost; more leave a core's second-level cache. It
/// also bounds the records that a connection holds for a peer that does not read.
const PIECE_MAX: usize = 16 * RECORD_MAX;

const SCRATCH_LEN: usize =
    max(READ_MAX, PIECE_MAX + PIECE_MAX.div_ceil(RECORD_MAX) * RECORD_OVERHEAD + KEY_UPDATE_ROOM);

/// Most bytes kept of messages that have not arrived whole. A record has under 17 KiB and no
/// handshake needs half of this; a peer could otherwise send one in ever smaller crumbs.
const PARTIAL_MAX: usize = 64 * 1024;

/// A read larger than this makes the buffers "big"; after `QUIET_READS` smaller ones in a row they
/// are given back.
const SMALL_READ: usize = 8 * 1024;
const QUIET_READS: u8 = 16;

thread_local! {
    static SCRATCH: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// What `Connection::read` found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadOutcome {
    /// The socket is empty: wait for readiness.
    Drained,
    /// There is probably more: read again before waiting.
    More,
    /// The peer ended the stream properly. What it said last is in `input()`.
    Closed,
}

/// What `Connection::flush` achieved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FlushOutcome {
    /// Everything queued is with the kernel.
    Done,
    /// The socket is full, or the handshake is not over: flush again on the next event.
    Blocked,
}

/// A non-blocking connection to one peer.
pub struct Connection {
    socket: Socket,
    /// `None` on a Unix socket.
    session: Option<Session>,
    address: Option<SocketAddr>,
    peer: Option<Peer>,
    stage: Stage,
    /// The session failed: it says nothing else any more.
    failure: Option<rustls::Error>,
    /// The kernel reported the end of the peer's stream: a short read may hide it.
    hung_up: bool,
    sending_closed: bool,
    input: BytesMut,
    output: BytesMut,
    /// The front of a record whose rest has not arrived.
    partial: Vec<u8>,
    /// Records that the socket did not take yet, from `records_sent` on.
    records: Vec<u8>,
    records_sent: usize,
    quiet_reads: u8,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    Connecting,
    Handshake,
    Ready,
    PeerClosed,
}

impl Connection {
    /// Starts to connect to `address`. Register it for both interests: the first writable event
    /// says that it is connected, and the `flush` that follows begins the handshake.
    pub fn dial(address: SocketAddr, tls: &DialTls) -> Result<Self, Error> {
        let stream = mio::net::TcpStream::connect(address)
            .map_err(|source| Error::Unreachable { peer: address, source })?;
        Self::over_tcp(stream, address, tls.session()?, Stage::Connecting)
    }

    /// Takes a stream that a listener accepted; the peer is to begin the handshake.
    pub fn accept(
        stream: mio::net::TcpStream,
        peer: SocketAddr,
        tls: &ListenTls,
    ) -> Result<Self, Error> {
        Self::over_tcp(stream, peer, tls.session()?, Stage::Handshake)
    }

    /// Takes a Unix stream, without TLS. The caller has asked the kernel whose it is (SO_PEERCRED),
    /// and says so with `set_peer`.
    pub fn plain(stream: mio::net::UnixStream) -> Self {
        Self::new(Socket::Unix(stream), None, None, Stage::Ready)
    }

    /// Takes a TCP stream without TLS, for protocols that know none. It may still be connecting:
    /// reads and writes that come too early find nothing and take nothing.
    pub fn bare(stream: mio::net::TcpStream, address: SocketAddr) -> Result<Self, Error> {
        let broken =
            |action| move |source| Error::Broken { peer: address.to_string(), action, source };
        stream.set_nodelay(true).map_err(broken("setting TCP_NODELAY"))?;
        socket::notice_absence(&stream).map_err(broken("setting keep-alives"))?;
        Ok(Self::new(Socket::Tcp(stream), None, Some(address), Stage::Ready))
    }

    /// Takes a pair of pipes to a process of our own, the fastest way there is.
    pub fn pipes(reader: mio::unix::pipe::Receiver, writer: mio::unix::pipe::Sender) -> Self {
        let writer = Some(writer);
        Self::new(Socket::Pipes { reader, writer }, None, None, Stage::Ready)
    }

    fn over_tcp(
        stream: mio::net::TcpStream,
        address: SocketAddr,
        session: Session,
        stage: Stage,
    ) -> Result<Self, Error> {
        // Frames are batched by `output()`, so the kernel never needs to wait for more.
        stream.set_nodelay(true).map_err(|source| Error::Broken {
            peer: address.to_string(),
            action: "setting TCP_NODELAY",
            source,
        })?;
        socket::notice_death(&stream).map_err(|source| Error::Broken {
            peer: address.to_string(),
            action: "setting the socket's time-outs",
            source,
        })?;
        let mut this = Self::new(Socket::Tcp(stream), Some(session), Some(address), stage);
        this.decrypt(&mut [])?;
        Ok(this)
    }

    fn new(
        socket: Socket,
        session: Option<Session>,
        address: Option<SocketAddr>,
        stage: Stage,
    ) -> Self {
        Self {
            socket,
            session,
            address,
            peer: None,
            stage,
            failure: None,
            hung_up: false,
            sending_closed: false,
            input: BytesMut::new(),
            output: BytesMut::new(),
            partial: Vec::new(),
            records: Vec::new(),
            records_sent: 0,
            quiet_reads: 0,
        }
    }

    /// The handshake is over and the peer's certificate, if it showed one, is checked.
    ///
    /// On the dialling side this is half a round trip before the other side has judged ours.
    pub fn is_ready(&self) -> bool {
        matches!(self.stage, Stage::Ready | Stage::PeerClosed)
    }

    /// Who the peer proved to be; `None` before the handshake is over, and afterwards for a
    /// stranger, who may do nothing but join.
    pub fn peer(&self) -> Option<&Peer> {
        self.peer.as_ref()
    }

    /// Says who is at the other end of a Unix socket.
    pub fn set_peer(&mut self, peer: Peer) {
        assert!(self.session.is_none(), "over TLS only a certificate says who the peer is");
        self.peer = Some(peer);
    }

    /// The peer's address; `None` on a Unix socket.
    pub fn address(&self) -> Option<SocketAddr> {
        self.address
    }

    /// Plaintext not yet taken. Split frames off with `split_to(n).freeze()`: nothing is copied.
    /// To take a long frame in one piece without growing step by step, `reserve` its length.
    pub fn input(&mut self) -> &mut BytesMut {
        &mut self.input
    }

    /// Plaintext to send. Nothing leaves before `flush`.
    pub fn output(&mut self) -> &mut BytesMut {
        &mut self.output
    }

    /// Bytes queued here: plaintext, and records that the socket did not take.
    pub fn unsent(&self) -> usize {
        self.output.len() + self.records.len() - self.records_sent
    }

    /// Notes what an event says beyond readiness. Call it before `read`: when the peer's last bytes
    /// and its end arrive together there is one event for both, and a short read alone would wait
    /// for another.
    pub fn observe(&mut self, event: &Event) {
        if event.is_read_closed() || event.is_error() {
            self.hung_up = true;
        }
    }

    /// Reads once what the socket holds and appends its plaintext to `input()`.
    pub fn read(&mut self) -> Result<ReadOutcome, Error> {
        self.check_failure()?;
        if self.stage == Stage::PeerClosed {
            return Ok(ReadOutcome::Closed);
        }
        with_scratch(|scratch| self.read_through(scratch))
    }

    fn read_through(&mut self, scratch: &mut [u8]) -> Result<ReadOutcome, Error> {
        let start = self.partial.len();
        let room = &mut scratch[start..READ_MAX];
        let wanted = room.len();
        let count = match self.socket.read(room) {
            Ok(count) => count,
            Err(error) if socket::is_later(&error) => return Ok(ReadOutcome::Drained),
            Err(error) => return Err(self.socket_error("reading", error)),
        };
        if count == 0 {
            if self.session.is_some() {
                return Err(Error::Truncated { peer: self.label() });
            }
            self.stage = Stage::PeerClosed;
            return Ok(ReadOutcome::Closed);
        }
        self.note_size(count);
        self.input.reserve(count);
        if self.session.is_none() {
            self.input.extend_from_slice(&scratch[..count]);
        } else {
            scratch[..start].copy_from_slice(&self.partial);
            let filled = &mut scratch[..start + count];
            let consumed = self.decrypt(filled)?;
            let rest = &filled[consumed..];
            if rest.is_empty() {
                self.partial = Vec::new();
            } else if rest.len() > PARTIAL_MAX {
                return Err(self.fail(rustls::Error::PeerSentOversizedRecord));
            } else {
                self.partial.clear();
                self.partial.extend_from_slice(rest);
            }
        }
        Ok(match self.stage {
            Stage::PeerClosed => ReadOutcome::Closed,
            _ if count < wanted && !self.hung_up => ReadOutcome::Drained,
            _ => ReadOutcome::More,
        })
    }

    /// Gives the session `records`; returns how many bytes it used up.
    fn decrypt(&mut self, records: &mut [u8]) -> Result<usize, Error> {
        let Some(session) = &mut self.session else { return Ok(0) };
        let result = session.decrypt(records, &mut self.input, &mut self.records);
        if self.stage != Stage::Connecting && self.unsent_records() {
            // The peer waits for a handshake's next flight, or for the reason why it is refused.
            let sent = self.send_records();
            if result.is_ok() {
                sent?;
            }
        }
        let decrypted = result.map_err(|source| self.fail(source))?;
        if !self.is_ready() {
            self.finish_handshake()?;
        }
        if decrypted.closed {
            self.stage = Stage::PeerClosed;
        }
        Ok(decrypted.consumed)
    }

    fn finish_handshake(&mut self) -> Result<(), Error> {
        let Some(session) = &self.session else { return Ok(()) };
        if session.is_handshaking() {
            return Ok(());
        }
        if session.protocol() != Some(tls::PROTOCOL) {
            return Err(self.fail(rustls::Error::NoApplicationProtocol));
        }
        if let Some([certificate, ..]) = session.peer_certificates() {
            let peer = Peer::of_certificate(certificate)
                .map_err(|missing| Error::PeerUnnamed { peer: self.label(), missing })?;
            self.peer = Some(peer);
        }
        self.stage = Stage::Ready;
        Ok(())
    }

    /// Sends `output()` as far as the socket takes it.
    pub fn flush(&mut self) -> Result<FlushOutcome, Error> {
        let mut output = std::mem::take(&mut self.output);
        let result = self.send_all(&output);
        if let Ok((taken, _)) = result {
            if taken == output.len() {
                output.clear();
            } else {
                output.advance(taken);
            }
        }
        self.output = output;
        result.map(|(_, outcome)| outcome)
    }

    /// Sends from the caller's own memory, after all that is queued in `output()`; returns how many
    /// bytes of `bytes` it took. Fewer than all means that the socket is full. As with `flush`,
    /// bytes that were taken may still lie here as records: end with a `flush` that is `Done`.
    pub fn send(&mut self, bytes: &[u8]) -> Result<usize, Error> {
        match self.flush()? {
            FlushOutcome::Blocked => Ok(0),
            FlushOutcome::Done => self.send_all(bytes).map(|(taken, _)| taken),
        }
    }

    /// Takes as much of `bytes` as goes: how many, and whether the kernel has all of them.
    fn send_all(&mut self, bytes: &[u8]) -> Result<(usize, FlushOutcome), Error> {
        self.check_failure()?;
        if self.unsent_records() && self.send_records()? == FlushOutcome::Blocked {
            return Ok((0, FlushOutcome::Blocked));
        }
        if bytes.is_empty() {
            return Ok((0, FlushOutcome::Done));
        }
        if self.sending_closed {
            return Err(Error::Closed { peer: self.label() });
        }
        if !self.is_ready() {
            return Ok((0, FlushOutcome::Blocked));
        }
        if self.session.is_none() {
            let taken = self.write(bytes)?;
            return Ok((taken, done_if(taken == bytes.len())));
        }
        with_scratch(|scratch| self.send_encrypted(bytes, scratch))
    }

    fn send_encrypted(
        &mut self,
        bytes: &[u8],
        scratch: &mut [u8],
    ) -> Result<(usize, FlushOutcome), Error> {
        let mut taken = 0;
        for piece in bytes.chunks(PIECE_MAX) {
            let Some(session) = &mut self.session else { break };
            let result = session.encrypt(What::Data(piece), &mut self.partial, scratch);
            let len = result.map_err(|source| self.fail(source))?;
            let written = self.write(&scratch[..len])?;
            taken += piece.len();
            if written < len {
                self.records.extend_from_slice(&scratch[written..len]);
                return Ok((taken, FlushOutcome::Blocked));
            }
        }
        Ok((taken, FlushOutcome::Done))
    }

    fn unsent_records(&self) -> bool {
        self.records_sent < self.records.len()
    }

    fn send_records(&mut self) -> Result<FlushOutcome, Error> {
        let records = std::mem::take(&mut self.records);
        let result = self.write(&records[self.records_sent..]);
        self.records = records;
        self.records_sent += result?;
        if self.unsent_records() {
            return Ok(FlushOutcome::Blocked);
        }
        self.records = Vec::new();
        self.records_sent = 0;
        Ok(FlushOutcome::Done)
    }

    /// One write; fewer bytes than given mean that the socket is full.
    fn write(&mut self, bytes: &[u8]) -> Result<usize, Error> {
        match self.socket.write(bytes) {
            Ok(count) => {
                if self.stage == Stage::Connecting {
                    self.stage = Stage::Handshake;
                }
                Ok(count)
            }
            Err(error) if socket::is_later(&error) => Ok(0),
            Err(error) => Err(self.socket_error("writing", error)),
        }
    }

    /// Says goodbye: sends what it can without waiting, then ends our side of the stream. For all
    /// of `output()` to arrive, `flush` until it is `Done` first.
    pub fn close(&mut self) {
        if self.sending_closed {
            return;
        }
        let flushed = self.flush();
        self.sending_closed = true;
        if matches!(flushed, Ok(FlushOutcome::Done)) && self.is_ready() {
            let mut goodbye = [0; RECORD_OVERHEAD + 2 + KEY_UPDATE_ROOM];
            let partial = &mut self.partial;
            let encrypt =
                |session: &mut Session| session.encrypt(What::Goodbye, partial, &mut goodbye);
            if let Some(Ok(len)) = self.session.as_mut().map(encrypt) {
                // Whoever does not read our goodbye sees a cut stream, which is what it is.
                let _ = self.write(&goodbye[..len]);
            }
        }
        let _ = self.socket.shutdown();
    }

    /// Gives back buffers that grew. Reads do this by themselves after a while without long
    /// messages; a caller who knows that quiet begins may do it at once.
    pub fn release_idle(&mut self) {
        if self.input.is_empty() {
            self.input = BytesMut::new();
        }
        if self.output.is_empty() {
            self.output = BytesMut::new();
        }
        self.quiet_reads = QUIET_READS;
    }

    fn note_size(&mut self, count: usize) {
        if count > SMALL_READ {
            self.quiet_reads = 0;
        } else if self.quiet_reads < QUIET_READS {
            self.quiet_reads += 1;
            if self.quiet_reads == QUIET_READS {
                self.release_idle();
            }
        }
    }

    /// Ends the session for good: after an error rustls must not be given anything more.
    fn fail(&mut self, source: rustls::Error) -> Error {
        self.failure = Some(source.clone());
        Error::from_session(self.label(), source)
    }

    fn check_failure(&self) -> Result<(), Error> {
        match &self.failure {
            None => Ok(()),
            Some(source) => Err(Error::from_session(self.label(), source.clone())),
        }
    }

    fn label(&self) -> String {
        match (&self.peer, self.address) {
            (Some(peer), Some(address)) => format!("{} {} ({address})", peer.role, peer.name),
            (None, Some(address)) => address.to_string(),
            (_, None) => "the Unix socket's other end".to_owned(),
        }
    }

    fn socket_error(&self, action: &'static str, source: io::Error) -> Error {
        match (self.stage, self.address) {
            (Stage::Connecting, Some(peer)) => Error::Unreachable { peer, source },
            _ => Error::Broken { peer: self.label(), action, source },
        }
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection")
            .field("to", &self.label())
            .field("ready", &self.is_ready())
            .field("input", &self.input.len())
            .field("unsent", &self.unsent())
            .finish_non_exhaustive()
    }
}

impl Source for Connection {
    fn register(&mut self, to: &Registry, token: Token, interest: Interest) -> io::Result<()> {
        self.socket.register(to, token, interest)
    }

    fn reregister(&mut self, to: &Registry, token: Token, interest: Interest) -> io::Result<()> {
        self.socket.reregister(to, token, interest)
    }

    fn deregister(&mut self, from: &Registry) -> io::Result<()> {
        self.socket.deregister(from)
    }
}

impl AsFd for Connection {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// Lends this thread's scratch buffer. It is zeroed once, by the kernel, page by page on first use.
fn with_scratch<T>(work: impl FnOnce(&mut [u8]) -> T) -> T {
    SCRATCH.with_borrow_mut(|scratch| {
        if scratch.is_empty() {
            *scratch = vec![0; SCRATCH_LEN];
        }
        work(scratch)
    })
}

fn done_if(all: bool) -> FlushOutcome {
    if all { FlushOutcome::Done } else { FlushOutcome::Blocked }
}

const fn max(a: usize, b: usize) -> usize {
    if a > b { a } else { b }
}

#[cfg(test)]
mod tests;
