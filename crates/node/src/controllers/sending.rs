//! What goes out over one connection, piece by piece, and what it counts until it has gone.

use std::io::ErrorKind;

use mio::Registry;
use transport::FlushOutcome;
use wire::limits::READ_AHEAD_LARGE;

use super::{Controller, Piece, TURN};
use crate::buffers::{Buffer, Buffers};

/// How far sending came.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Sent {
    /// The socket takes no more, or there is no more.
    All,
    /// As much as goes in one turn.
    SoFar,
}

/// What a buffer counts of `READ_AHEAD`.
pub(super) fn weight(buffer: &Buffer) -> u64 {
    (buffer.shared.len() as u64).max(READ_AHEAD_LARGE)
}

impl Controller {
    pub(super) fn unsent(&self, of_connection: usize) -> u64 {
        let piece = |piece: &Piece| match piece {
            Piece::Bytes(bytes) => bytes.len() as u64,
            Piece::Buffer { sent, length, .. } => length - sent,
        };
        of_connection as u64 + self.pieces.iter().map(piece).sum::<u64>()
    }

    /// What is unsent as a peer's share of the node: a buffer counts as a whole.
    pub(super) fn weight(&self, of_connection: usize) -> u64 {
        let piece = |piece: &Piece| match piece {
            Piece::Bytes(bytes) => bytes.len() as u64,
            Piece::Buffer { buffer, .. } => weight(buffer),
        };
        of_connection as u64 + self.pieces.iter().map(piece).sum::<u64>()
    }

    /// Sends what can be sent without waiting. An error: the connection is over.
    pub(super) fn send(
        &mut self,
        connection: &mut transport::Watched,
        registry: &Registry,
        buffers: &Buffers,
    ) -> Result<Sent, ()> {
        let mut room = TURN as u64;
        while let Some(piece) = self.pieces.front_mut() {
            if connection.unsent() > 0
                && connection.flush(registry).map_err(|_| ())? == FlushOutcome::Blocked
            {
                return Ok(Sent::All);
            }
            match piece {
                Piece::Bytes(bytes) => {
                    connection.output().extend_from_slice(bytes);
                    self.pieces.pop_front();
                }
                Piece::Buffer { sent, length, .. } if sent == length => {
                    if let Some(Piece::Buffer { buffer, .. }) = self.pieces.pop_front() {
                        buffers.release(buffer.id);
                    }
                }
                Piece::Buffer { .. } if room == 0 => return Ok(Sent::SoFar),
                Piece::Buffer { buffer, sent, length } => {
                    let count = (*length - *sent).min(room);
                    let to = &**connection;
                    match buffer.shared.write_to(to, *sent as usize, count as usize) {
                        Ok(count) => {
                            *sent += count as u64;
                            room -= count as u64;
                        }
                        Err(error) if error.kind() == ErrorKind::WouldBlock => {
                            connection.watch_for(FlushOutcome::Blocked, registry);
                            return Ok(Sent::All);
                        }
                        Err(_) => return Err(()),
                    }
                }
            }
        }
        connection.flush(registry).map_err(|_| ())?;
        Ok(Sent::All)
    }
}
