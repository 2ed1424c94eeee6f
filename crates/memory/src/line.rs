//! One connection to a node, as messages: dialled, greeted, framed.
//!
//! ```text
//!   put, put, flush -->  one write          wait(timeout) --> one read --> take, take, None
//! ```
//!
//! Nothing here waits but `dial`, `wait` and `next`. Whoever shares a line between threads keeps it
//! behind a lock, and waits without the lock at its [`Line::socket`]: a descriptor of its own, which
//! stays open for as long as somebody waits at it.
//!
//! Elsewhere: what is said (`logic::regions`), encryption (`transport`), who waits (`driver`).

use std::fmt;
use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Buf;
use logic::link::{Effect, Link, Pass};
use sys::clock::monotonic_nanoseconds;
use sys::socket::{Readiness, wait};
use transport::{Connection, DialTls, FlushOutcome, ReadOutcome};
use wire::Message;
use wire::frame;
use wire::hello::{Hello, Purpose, Welcome};
use wire::limits::MEMORY_BODY_MAX;
use wire::name::Name;
use wire::region::{Admission, Ask, Attach, Refusal, Request};
use wire::units::{Span, Time};

use crate::error::Error;

/// How to reach a node.
#[derive(Clone)]
pub enum Target {
    /// Over TCP and TLS, with these credentials.
    Tcp(SocketAddr, DialTls),
    /// Over a Unix socket.
    Unix(PathBuf),
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address, _) => address.fmt(f),
            Self::Unix(path) => path.display().fmt(f),
        }
    }
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// How often somebody who waits is asked whether he still wants to.
const LOOK: Duration = Duration::from_millis(200);

/// Now, as the machines see it.
pub fn now() -> Time {
    Time(monotonic_nanoseconds())
}

/// The last words of a session.
pub fn detach() -> Message {
    Message::Request(Ask { answered: 0, request: Request::Detach }, bytes::Bytes::new())
}

/// A connection of purpose Memory that is up.
#[derive(Debug)]
pub struct Line {
    /// Who is at the other end, for people.
    node: String,
    connection: Connection,
    link: Link,
    socket: Arc<OwnedFd>,
    /// The socket did not take all that was sent.
    is_blocked: bool,
    /// The other side's stream is over; what it said last may still be here.
    is_ended: bool,
}

impl Line {
    /// Dials a node, waits until it lets us in, and returns the line with what it says of itself.
    pub fn dial(target: &Target, me: &Name, patience: Duration) -> Result<(Self, Welcome), Error> {
        Self::dial_for(target, me, Purpose::Memory, patience)
    }

    /// The same for another purpose.
    pub fn dial_for(
        target: &Target,
        me: &Name,
        purpose: Purpose,
        patience: Duration,
    ) -> Result<(Self, Welcome), Error> {
        let node = target.to_string();
        let unreachable =
            |source| Error::Unreachable { node: node.clone(), source: Box::new(source) };
        let connection = match target {
            Target::Tcp(address, tls) => Connection::dial(*address, tls).map_err(unreachable)?,
            Target::Unix(path) => {
                let stream = mio::net::UnixStream::connect(path).map_err(|source| {
                    let (peer, action) = (node.clone(), "connecting");
                    unreachable(transport::Error::Broken { peer, action, source })
                })?;
                Connection::plain(stream)
            }
        };
        let until = now() + Span::from(patience);
        let silent = || Error::Silent { node: node.clone(), seconds: patience.as_secs() };
        let agent = concat!("farcall ", env!("CARGO_PKG_VERSION")).to_owned();
        let hello = Hello { agent, name: me.clone(), purpose };
        let mut this = Self::over(connection, &node, hello)?;

        // 1. TLS. The greeting is not queued before: the socket would be asked whether it takes it.
        this.flush()?;
        while !this.connection.is_ready() {
            this.wait(false, until).map_err(|error| match error {
                Error::Broken { node, source } => Error::Unreachable { node, source },
                error => error,
            })?;
            if !this.connection.is_ready() && now() >= until {
                return Err(silent());
            }
        }
        // 2. The greeting.
        this.greeted()?;
        this.flush()?;
        loop {
            while let Some(frame) = this.frame()? {
                let (_, message) = wire::decode(frame).map_err(|error| this.breach(&error))?;
                this.link.message(now(), &message);
                if let Some(welcome) = this.greeted()? {
                    this.node = welcome.node.to_string();
                    return Ok((this, welcome));
                }
            }
            if now() >= until {
                return Err(silent());
            }
            this.flush()?;
            this.wait(false, until)?;
        }
    }

    fn over(connection: Connection, node: &str, hello: Hello) -> Result<Self, Error> {
        let kernel = |source| Error::Kernel { action: "watch a connection", source };
        let socket = connection.as_fd().try_clone_to_owned().map_err(kernel)?;
        let link = Link::dial(now(), hello);
        Ok(Self {
            node: node.to_owned(),
            connection,
            link,
            socket: Arc::new(socket),
            is_blocked: false,
            is_ended: false,
        })
    }

    /// Queues what the link has to say; the welcome, if that is what came.
    fn greeted(&mut self) -> Result<Option<Welcome>, Error> {
        let mut up = None;
        while let Some(effect) = self.link.poll_effect() {
            match effect {
                Effect::Send(message) => message.encode(0, self.connection.output()),
                Effect::Up(welcome) => up = Some(welcome),
                Effect::Down(source) => {
                    self.connection.close();
                    return Err(Error::Down { node: self.node.clone(), source });
                }
                Effect::Greeted(_) => {}
            }
        }
        Ok(up)
    }

    /// Opens a region on this line, or comes back to it. The first thing to do with a new line.
    pub fn attach(
        &mut self,
        attach: Attach,
        patience: Duration,
    ) -> Result<Result<Admission, Refusal>, Error> {
        self.put(0, &Message::Attach(attach));
        let until = now() + Span::from(patience);
        match self.next(until)? {
            Some((_, Message::Attached(attached))) => Ok(attached.result),
            Some(_) => Err(self.breach(&"it answers before it was asked")),
            None => {
                let seconds = patience.as_secs();
                Err(Error::Silent { node: self.node.clone(), seconds })
            }
        }
    }

    /// Who is at the other end.
    pub fn node(&self) -> &str {
        &self.node
    }

    /// Queues a message. Nothing leaves before `flush`.
    pub fn put(&mut self, channel: u64, message: &Message) {
        message.encode(channel, self.connection.output());
    }

    /// Bytes that are queued.
    pub fn unsent(&self) -> usize {
        self.connection.unsent()
    }

    /// Sends what is queued, as far as the socket takes it without waiting.
    pub fn flush(&mut self) -> Result<(), Error> {
        let outcome = self.connection.flush().map_err(|source| self.broken(source))?;
        self.is_blocked = outcome == FlushOutcome::Blocked;
        Ok(())
    }

    /// Sends bytes that are no frame, behind all that was queued, and waits until the socket has them.
    /// `false`: the other side has said something meanwhile, or nobody wants it any more, and not all of them
    /// were sent.
    pub fn pour(
        &mut self,
        mut bytes: &[u8],
        patience: Duration,
        is_unwanted: &mut dyn FnMut() -> bool,
    ) -> Result<bool, Error> {
        let mut until = now() + Span::from(patience);
        while !bytes.is_empty() {
            let sent = self.connection.send(bytes);
            let sent = match sent {
                Ok(sent) => sent,
                // It may have said why before it hung up.
                Err(_) if self.read(now()).is_ok() && !self.connection.input().is_empty() => {
                    return Ok(false);
                }
                Err(source) => return Err(self.broken(source)),
            };
            bytes = &bytes[sent..];
            if sent > 0 {
                until = now() + Span::from(patience);
                continue;
            }
            if now() >= until {
                let seconds = patience.as_secs();
                return Err(Error::Silent { node: self.node.clone(), seconds });
            }
            let ready = wait(&self.socket, true, Duration::from(until.since(now())).min(LOOK));
            let ready =
                ready.map_err(|source| Error::Kernel { action: "wait at a socket", source })?;
            if is_unwanted() {
                return Ok(false);
            }
            if ready.readable {
                self.read(now())?;
            }
            if !self.connection.input().is_empty() || self.is_ended {
                return Ok(false);
            }
        }
        self.flush()?;
        Ok(true)
    }

    /// The socket did not take all: wait until it can be written, and flush again.
    pub fn is_blocked(&self) -> bool {
        self.is_blocked
    }

    /// Where to wait without holding the line.
    pub fn socket(&self) -> Arc<OwnedFd> {
        self.socket.clone()
    }

    /// Reads once what the socket has, after it became readable.
    pub fn read(&mut self, at: Time) -> Result<(), Error> {
        if self.is_ended {
            return Ok(());
        }
        let outcome = self.connection.read().map_err(|source| self.broken(source))?;
        self.is_ended = outcome == ReadOutcome::Closed;
        self.link.heard(at);
        Ok(())
    }

    /// The next message that has arrived. Heartbeats are answered on the way.
    pub fn take(&mut self) -> Result<Option<(u64, Message)>, Error> {
        while let Some(frame) = self.frame()? {
            let (channel, message) = wire::decode(frame).map_err(|error| self.breach(&error))?;
            if let Message::Answer(..) = message {
                return Ok(Some((channel, message)));
            }
            match self.link.message(now(), &message) {
                Pass::On => return Ok(Some((channel, message))),
                Pass::Taken => {
                    self.greeted()?;
                }
            }
        }
        if self.is_ended {
            let peer = self.node.clone();
            return Err(self.broken(transport::Error::Truncated { peer }));
        }
        Ok(None)
    }

    fn frame(&mut self) -> Result<Option<frame::Frame>, Error> {
        frame::take(self.connection.input(), MEMORY_BODY_MAX).map_err(|error| self.breach(&error))
    }

    /// Waits for bytes and reads them, at most until then. Flushes when the socket takes more.
    pub fn wait(&mut self, for_writing: bool, until: Time) -> Result<Readiness, Error> {
        let timeout = until.min(self.poll_timeout()).since(now());
        let ready = wait(&self.socket, for_writing || self.is_blocked, timeout.into());
        let ready = ready.map_err(|source| Error::Kernel { action: "wait at a socket", source })?;
        if ready.writable {
            self.flush()?;
        }
        if ready.readable {
            self.read(now())?;
        }
        self.tick(now())?;
        Ok(ready)
    }

    /// Flushes, then waits for the next message, at most until then (`Time::NEVER`: however long).
    pub fn next(&mut self, until: Time) -> Result<Option<(u64, Message)>, Error> {
        loop {
            if self.unsent() > 0 {
                self.flush()?;
            }
            if let Some(next) = self.take()? {
                return Ok(Some(next));
            }
            if now() >= until {
                return Ok(None);
            }
            self.wait(false, until)?;
        }
    }

    /// Asks whether the other side is there, when it is time to; an error if it is not.
    pub fn tick(&mut self, at: Time) -> Result<(), Error> {
        if self.link.poll_timeout() <= at {
            self.link.tick(at);
            self.greeted()?;
            self.flush()?;
        }
        Ok(())
    }

    /// When `tick` has something to do.
    pub fn poll_timeout(&self) -> Time {
        self.link.poll_timeout()
    }

    /// Ends the line; what is queued is sent as far as the socket takes it.
    pub fn close(&mut self) {
        self.connection.close();
    }

    fn broken(&self, source: transport::Error) -> Error {
        Error::Broken { node: self.node.clone(), source: Box::new(source) }
    }

    fn breach(&self, what: &dyn fmt::Display) -> Error {
        Error::Protocol { node: self.node.clone(), what: what.to_string() }
    }
}

/// A line whose bytes are no frames any more: for whoever reads and writes as at a socket, and waits.
#[derive(Debug)]
pub struct Raw {
    line: Line,
    /// How long a write may wait without getting any further.
    patience: Duration,
}

impl Raw {
    /// Of a line on which only the greeting was said.
    pub fn of(line: Line, patience: Duration) -> Self {
        Self { line, patience }
    }

    /// By which it can be shut down while another thread waits at it.
    pub fn socket(&self) -> Arc<OwnedFd> {
        self.line.socket()
    }

    /// Until the socket can be read, or takes more.
    fn wait(&mut self, for_writing: bool) -> io::Result<()> {
        let begun = now();
        loop {
            let ready = wait(&self.line.socket, for_writing, self.patience)?;
            if ready.readable && !self.line.is_ended {
                self.line.read(now()).map_err(io::Error::other)?;
            }
            if (for_writing && ready.writable)
                || (!for_writing && (ready.readable || self.line.is_ended))
            {
                return Ok(());
            }
            if for_writing && now() >= begun + Span::from(self.patience) {
                let seconds = self.patience.as_secs();
                let error = Error::Silent { node: self.line.node.clone(), seconds };
                return Err(io::Error::other(error));
            }
        }
    }
}

impl Read for Raw {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        loop {
            let input = self.line.connection.input();
            if !input.is_empty() {
                let count = input.len().min(into.len());
                input.copy_to_slice(&mut into[..count]);
                return Ok(count);
            }
            if self.line.is_ended || into.is_empty() {
                return Ok(0);
            }
            self.wait(false)?;
        }
    }
}

impl Write for Raw {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        loop {
            let sent = self.line.connection.send(bytes).map_err(io::Error::other)?;
            if sent > 0 || bytes.is_empty() {
                return Ok(sent);
            }
            self.wait(true)?;
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        loop {
            self.line.flush().map_err(io::Error::other)?;
            if !self.line.is_blocked {
                return Ok(());
            }
            self.wait(true)?;
        }
    }
}
