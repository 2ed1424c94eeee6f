//! A task as a pair of byte streams and a status.
//!
//! ```text
//!  write --> pending (at most a window) --DATA--> task        the task's WINDOW makes room again
//!  read  <-- arrived (at most a window) <--DATA-- task        our WINDOW follows what was read
//! ```

use std::io::{self, Read, Write};
use std::sync::Arc;

use bytes::{Buf, Bytes};
use logic::Payload;
use logic::dispatch::{JobKey, ProgramId, Terms};
use wire::Message;
use wire::limits::{STREAM_CHUNK_MAX, STREAM_WINDOW};
use wire::task::Window;

use crate::Core;
use crate::driver::{Owner, State};
use crate::streams::StreamId;
use crate::tickets::{TicketId, Tickets};
use crate::{Failure, Output};

impl Core {
    /// Opens a task as a pair of streams: write its input, read its output, then ask how it ended.
    /// It is tried once only, since nobody keeps what went by.
    pub fn open(&self) -> Stream {
        let this = self.current();
        let terms = Terms { retries: 0, ..this.terms() };
        Stream::open(this.shared().clone(), this.job_key(), this.id(), terms)
    }
}

/// A task whose input is written and whose output is read while it runs. Both also work through a
/// shared reference, so that one thread may write while another reads.
///
/// Dropping it cancels the task.
#[must_use = "a stream that is dropped is cancelled"]
pub struct Stream {
    shared: Arc<Owner>,
    id: StreamId,
    /// `None` once the result was taken.
    ticket: Option<TicketId>,
}

impl Stream {
    pub(crate) fn open(shared: Arc<Owner>, job: JobKey, program: ProgramId, terms: Terms) -> Self {
        let (id, ticket) = shared.submit(|state| {
            let task = state.submit(job, program, Payload::Stream, terms);
            let Some(task) = task else { return (StreamId::NEVER, TicketId::NEVER) };
            (state.nodes.streams.open(task), state.tickets.issue(task))
        });
        Self { shared, id, ticket: Some(ticket) }
    }

    /// Ends the input. A task that reads to the end goes on only then.
    pub fn close(&self) {
        self.shared.submit(|state| {
            let open = state.nodes.streams.open.get_mut(&self.id);
            if open.is_some_and(|open| !std::mem::replace(&mut open.closed, true)) {
                self.send(state, Message::End);
            }
        });
    }

    /// Ends the input, reads what is left of the output, and says how the task ended. The output
    /// that this returns is what had not been read before.
    pub fn finish(mut self) -> Result<Vec<u8>, Failure> {
        self.close();
        let mut rest = Vec::new();
        // A stream ends with its task; why it ended is what the ticket says.
        let _ = (&self).read_to_end(&mut rest);
        let Some(ticket) = self.ticket.take() else { return Ok(rest) };
        let redeem = |tickets: &mut Tickets| tickets.redeem(ticket);
        let result = self.shared.wait(None, redeem);
        self.shared.state().nodes.streams.close(self.id);
        match result {
            Some(Err(failure)) => Err(*failure),
            Some(Ok(Output { .. })) | None => Ok(rest),
        }
    }

    fn is_over(&self, state: &State) -> bool {
        self.ticket.is_none_or(|ticket| state.tickets.is_done(ticket))
    }

    /// Sends a message of the stream, or keeps it until the task was sent.
    fn send(&self, state: &mut State, message: Message) {
        let Some(open) = state.nodes.streams.open.get_mut(&self.id) else { return };
        match open.place {
            Some((link, channel)) => state.nodes.send(link, channel, &message),
            None => open.early.push(message),
        }
    }
}

impl Write for &Stream {
    /// Takes what the window allows, and waits while that is nothing.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if bytes.is_empty() {
            return Ok(0);
        }
        let taken = self.shared.wait_for(None, |state| {
            if self.is_over(state) {
                return Some(Err(io::Error::new(io::ErrorKind::BrokenPipe, "the task has ended")));
            }
            let open = state.nodes.streams.open.get_mut(&self.id)?;
            if open.closed {
                let closed = io::Error::new(io::ErrorKind::BrokenPipe, "the input was closed");
                return Some(Err(closed));
            }
            let most = usize::try_from(open.outward).unwrap_or(usize::MAX);
            let count = bytes.len().min(STREAM_CHUNK_MAX).min(most);
            if count == 0 {
                return None;
            }
            open.outward -= count as u64;
            self.send(state, Message::Data(Bytes::copy_from_slice(&bytes[..count])));
            Some(Ok(count))
        });
        // What was taken goes out now; nobody has to flush.
        self.shared.submit(|_| ());
        taken.unwrap_or(Ok(0))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Read for &Stream {
    /// Waits for output. No bytes mean that it has ended.
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.shared.wait_for(None, |state| {
            let over = self.is_over(state);
            let Some(open) = state.nodes.streams.open.get_mut(&self.id) else {
                return over.then_some(0);
            };
            let Some(piece) = open.arrived.front_mut() else {
                return (open.ended || over).then_some(0);
            };
            let count = piece.len().min(buffer.len());
            piece.copy_to_slice(&mut buffer[..count]);
            if piece.is_empty() {
                open.arrived.pop_front();
            }
            open.read += count as u64;
            if open.read >= STREAM_WINDOW / 2 {
                let bytes = std::mem::take(&mut open.read);
                self.send(state, Message::Window(Window { bytes }));
            }
            Some(count)
        });
        self.shared.submit(|_| ());
        Ok(read.unwrap_or(0))
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        (&*self).write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        (&*self).read(buffer)
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        if let Some(ticket) = self.ticket.take() {
            self.shared.state().nodes.streams.close(self.id);
            self.shared.abandon(&[ticket]);
        }
    }
}
