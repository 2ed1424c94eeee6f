//! The pad's end of one connection: frames in, frames out, without waiting.

use std::io::{ErrorKind, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;

use bytes::{Buf, BytesMut};
use wire::Message;
use wire::limits::CONTROL_BODY_MAX;

/// Bytes that wait for the client before more is read from the visitor.
const UNSENT_MAX: usize = 64 * 1024;

/// The connection is of no more use.
pub(crate) struct Over;

pub(crate) struct Line {
    socket: UnixStream,
    input: BytesMut,
    output: BytesMut,
    /// Of what is put.
    pub(crate) channel: u64,
}

impl Line {
    pub(crate) fn new(socket: UnixStream) -> std::io::Result<Self> {
        socket.set_nonblocking(true)?;
        Ok(Self { socket, input: BytesMut::new(), output: BytesMut::new(), channel: 0 })
    }

    /// The socket, for what is no frame: reads wait, at most as long as was said.
    pub(crate) fn waiting(&self) -> std::io::Result<&UnixStream> {
        self.socket.set_nonblocking(false)?;
        Ok(&self.socket)
    }

    pub(crate) fn not_waiting(&self) -> std::io::Result<()> {
        self.socket.set_nonblocking(true)
    }

    pub(crate) fn socket(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    pub(crate) fn put(&mut self, message: &Message) {
        message.encode(self.channel, &mut self.output);
    }

    pub(crate) fn has_unsent(&self) -> bool {
        !self.output.is_empty()
    }

    pub(crate) fn is_full(&self) -> bool {
        self.output.len() > UNSENT_MAX
    }

    pub(crate) fn flush(&mut self) -> Result<(), Over> {
        while !self.output.is_empty() {
            match self.socket.write(&self.output) {
                Ok(count) => self.output.advance(count),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return Err(Over),
            }
        }
        Ok(())
    }

    /// Reads once. What came before an end can still be taken.
    pub(crate) fn read(&mut self) -> Result<(), Over> {
        let mut piece = [0; 32 * 1024];
        match self.socket.read(&mut piece) {
            Ok(0) => Err(Over),
            Ok(count) => {
                self.input.extend_from_slice(&piece[..count]);
                Ok(())
            }
            Err(error)
                if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) =>
            {
                Ok(())
            }
            Err(_) => Err(Over),
        }
    }

    /// What came is of no concern.
    pub(crate) fn forget(&mut self) {
        self.input.clear();
    }

    /// The next message that is here. Heartbeats are answered on the way.
    pub(crate) fn take(&mut self) -> Result<Option<Message>, Over> {
        Ok(self.take_any()?.map(|(_, message)| message))
    }

    /// The same, with its channel.
    pub(crate) fn take_any(&mut self) -> Result<Option<(u64, Message)>, Over> {
        loop {
            let frame = wire::frame::take(&mut self.input, CONTROL_BODY_MAX).map_err(|_| Over)?;
            let Some(frame) = frame else { return Ok(None) };
            match wire::decode(frame).map_err(|_| Over)? {
                // Who is sent other things hears by them that we live: what is not read does not grow.
                (_, Message::Ping) if self.is_full() => {}
                (_, Message::Ping) => Message::Pong.encode(0, &mut self.output),
                (_, Message::Pong) => {}
                other => return Ok(Some(other)),
            }
        }
    }
}
