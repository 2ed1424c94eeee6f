//! A connection registered with an event queue, for no more events than it needs.
//!
//! A Unix socket reports that it can be written to whenever its peer has read: registered for that,
//! its owner would be woken twice for every answer. So writability is asked for only while something
//! could not be sent.

use std::io;
use std::ops::{Deref, DerefMut};

use mio::{Interest, Registry, Token};

use crate::{Connection, Error, FlushOutcome};

/// A connection and its place in an event queue.
#[derive(Debug)]
pub struct Watched {
    connection: Connection,
    token: Token,
    for_writing: bool,
}

impl Watched {
    /// Registers a connection, at first for everything: one that is being dialled says by
    /// writability that it is connected.
    pub fn new(mut connection: Connection, registry: &Registry, token: Token) -> io::Result<Self> {
        registry.register(&mut connection, token, Interest::READABLE | Interest::WRITABLE)?;
        Ok(Self { connection, token, for_writing: true })
    }

    /// `Connection::flush`, and the interest that follows from its outcome.
    pub fn flush(&mut self, registry: &Registry) -> Result<FlushOutcome, Error> {
        let outcome = self.connection.flush()?;
        self.watch_for(outcome, registry);
        Ok(outcome)
    }

    /// `Connection::send`, and the interest that follows from its outcome.
    pub fn send(&mut self, bytes: &[u8], registry: &Registry) -> Result<usize, Error> {
        let taken = self.connection.send(bytes)?;
        if taken < bytes.len() {
            self.watch_for(FlushOutcome::Blocked, registry);
        }
        Ok(taken)
    }

    /// Asks to be woken for what follows from an outcome. For bytes that a caller sends by itself.
    pub fn watch_for(&mut self, outcome: FlushOutcome, registry: &Registry) {
        let for_writing = outcome == FlushOutcome::Blocked;
        if for_writing != self.for_writing {
            let interest = match outcome {
                FlushOutcome::Blocked => Interest::READABLE | Interest::WRITABLE,
                FlushOutcome::Done => Interest::READABLE,
            };
            // Without the change there are only wake-ups too many, or a close that says why.
            if registry.reregister(&mut self.connection, self.token, interest).is_ok() {
                self.for_writing = for_writing;
            }
        }
    }

    /// Takes the connection out of the event queue.
    pub fn release(mut self, registry: &Registry) -> Connection {
        // It fails only for what is not registered.
        let _ = registry.deregister(&mut self.connection);
        self.connection
    }
}

impl Deref for Watched {
    type Target = Connection;
    fn deref(&self) -> &Connection {
        &self.connection
    }
}

impl DerefMut for Watched {
    fn deref_mut(&mut self) -> &mut Connection {
        &mut self.connection
    }
}
