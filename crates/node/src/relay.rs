//! A visit over TLS: its bytes between the client's socket and one that its pad has the other end of.
//!
//! A thread for each, which knows no message. What one side does not take the other does not send: at most
//! one read of each direction lies here.

use std::io::{self, ErrorKind, Read, Write};
use std::net::Shutdown;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use bytes::Buf;
use mio::{Events, Interest, Poll, Token};
use transport::{Connection, FlushOutcome, READ_MAX, ReadOutcome, Watched};

const CLIENT: Token = Token(0);
const PAD: Token = Token(1);
/// How long a client may leave unread what its pad, which has let go of the connection, had said last.
const FAREWELL: Duration = Duration::from_secs(30);

/// Decrypted bytes that wait for the pad before more are read.
const HELD_MAX: usize = READ_MAX;

/// Begins to pass on bytes; returns the pad's end.
pub(crate) fn start(connection: Connection, counted: Arc<()>) -> io::Result<OwnedFd> {
    let (near, far) = UnixStream::pair()?;
    near.set_nonblocking(true)?;
    let poll = Poll::new()?;
    let client = Watched::new(connection, poll.registry(), CLIENT)?;
    let mut pad = mio::net::UnixStream::from_std(near);
    poll.registry().register(&mut pad, PAD, Interest::READABLE | Interest::WRITABLE)?;
    let relay =
        Relay { poll, client, pad, inward: true, outward: true, from_pad: Vec::new(), sent: 0 };
    thread::Builder::new().name("relay".into()).spawn(move || {
        relay.run();
        drop(counted);
    })?;
    Ok(far.into())
}

struct Relay {
    poll: Poll,
    client: Watched,
    pad: mio::net::UnixStream,
    /// More may come from the client.
    inward: bool,
    /// More may come from the pad.
    outward: bool,
    /// What the client is still to be sent, from `sent` on.
    from_pad: Vec<u8>,
    sent: usize,
}

impl Relay {
    fn run(mut self) {
        let mut events = Events::with_capacity(8);
        let mut until: Option<Instant> = None;
        // Whatever fails ends both directions: the two ends see that their stream is cut.
        while let Ok(true) = self.turn() {
            // Bytes that trickle do not make it longer.
            if !self.outward && until.is_none() {
                until = Some(Instant::now() + FAREWELL);
            }
            let patience = until.map(|until| until.saturating_duration_since(Instant::now()));
            if patience.is_some_and(|left| left.is_zero()) {
                break;
            }
            match self.poll.poll(&mut events, patience) {
                Err(error) if error.kind() != ErrorKind::Interrupted => break,
                Ok(()) if patience.is_some() && events.is_empty() => break,
                _ => {}
            }
            for event in events.iter().filter(|event| event.token() == CLIENT) {
                self.client.observe(event);
            }
        }
    }

    /// Moves what can be moved. `false`: there is nothing more to pass on.
    fn turn(&mut self) -> io::Result<bool> {
        loop {
            let moved = self.pass_to_pad()? | self.pass_to_client()?;
            // Nobody is left to hear the client.
            if !self.outward && self.from_pad.is_empty() && self.client.unsent() == 0 {
                self.client.close();
                return Ok(false);
            }
            if !moved {
                return Ok(true);
            }
        }
    }

    fn pass_to_pad(&mut self) -> io::Result<bool> {
        let mut moved = false;
        if !self.inward && self.client.input().is_empty() {
            return Ok(false);
        }
        if self.inward && self.client.input().len() < HELD_MAX {
            let before = self.client.input().len();
            let outcome = self.client.read().map_err(io::Error::other)?;
            moved |= outcome == ReadOutcome::More || self.client.input().len() > before;
            if outcome == ReadOutcome::Closed {
                self.inward = false;
                moved = true;
            }
        }
        while !self.client.input().is_empty() {
            match self.pad.write(self.client.input()) {
                Ok(count) => {
                    self.client.input().advance(count);
                    moved = true;
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(moved),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                // The pad has ended: what it had said is still to be passed on.
                Err(_) => {
                    self.inward = false;
                    self.client.input().clear();
                    return Ok(true);
                }
            }
        }
        if !self.inward {
            let _ = self.pad.shutdown(Shutdown::Write);
        }
        Ok(moved)
    }

    fn pass_to_client(&mut self) -> io::Result<bool> {
        let mut moved = false;
        if self.outward && self.from_pad.is_empty() {
            self.from_pad.resize(READ_MAX, 0);
            let read = self.pad.read(&mut self.from_pad);
            self.from_pad.truncate(*read.as_ref().unwrap_or(&0));
            match read {
                Ok(0) => {
                    self.outward = false;
                    moved = true;
                }
                Ok(_) => moved = true,
                Err(error)
                    if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {}
                // What it had said before it ended has been read.
                Err(_) => {
                    self.outward = false;
                    moved = true;
                }
            }
        }
        let registry = self.poll.registry();
        if self.sent < self.from_pad.len() {
            let rest = &self.from_pad[self.sent..];
            let count = self.client.send(rest, registry).map_err(io::Error::other)?;
            self.sent += count;
            moved |= count > 0;
        } else if self.client.flush(registry).map_err(io::Error::other)? == FlushOutcome::Blocked {
            return Ok(moved);
        }
        if self.sent == self.from_pad.len() {
            self.from_pad.clear();
            self.sent = 0;
        }
        Ok(moved)
    }
}
