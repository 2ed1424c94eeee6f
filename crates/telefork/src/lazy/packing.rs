//! Pages are packed where their line is slow, and nowhere else.
//!
//! A slow line makes whoever sends wait, who can pack meanwhile what it sends next: nothing is lost by that. On a
//! fast one packing would take longer than sending.

use std::io::{self, Write};
use std::time::{Duration, Instant};

use wire::image::paging::{HEAD, Piece, pack};

/// A line is slow if it takes fewer bytes than so many in a second: half of what a gigabit carries, and far less
/// than one processor packs.
const SLOW: u64 = 60_000_000;

/// What a line takes is looked at after so many bytes: a few of them go into its buffers at once, whatever it is.
const WINDOW: u64 = 2 << 20;

/// Or after so long, for lines that take minutes for that.
const LONG: Duration = Duration::from_millis(250);

/// Sends pieces, and knows how the line takes them.
#[derive(Debug)]
pub(super) struct Packing {
    /// `None`: nobody may wait for packing.
    pace: Option<Pace>,
    packed: Vec<u8>,
}

/// How fast a line has taken what was sent last.
#[derive(Debug, Default)]
struct Pace {
    bytes: u64,
    took: Duration,
    is_slow: bool,
}

impl Packing {
    /// Packs while the line is slow.
    pub(super) fn where_it_helps() -> Self {
        Self { pace: Some(Pace::default()), packed: Vec::new() }
    }

    pub(super) fn never() -> Self {
        Self { pace: None, packed: Vec::new() }
    }

    /// Sends one piece, whose bytes lie in `buffer` behind the room for its head: all in one write, since a head
    /// alone would be a packet of its own.
    pub(super) fn send(
        &mut self,
        piece: Piece,
        buffer: &mut [u8],
        to: &mut impl Write,
    ) -> io::Result<()> {
        let is_slow = self.pace.as_ref().is_some_and(|pace| pace.is_slow);
        let sent = match piece {
            Piece::Bytes { address, len, sum }
                if is_slow && let Some(count) = pack(&buffer[HEAD..], &mut self.packed) =>
            {
                let piece = Piece::Packed { address, len, packed: count as u32, sum };
                buffer[..HEAD].copy_from_slice(&piece.encode());
                buffer[HEAD..HEAD + count].copy_from_slice(&self.packed[..count]);
                HEAD + count
            }
            piece => {
                buffer[..HEAD].copy_from_slice(&piece.encode());
                if matches!(piece, Piece::Bytes { .. }) { buffer.len() } else { HEAD }
            }
        };
        let begun = Instant::now();
        to.write_all(&buffer[..sent])?;
        if let Some(pace) = &mut self.pace {
            pace.sent(sent as u64, begun.elapsed());
        }
        Ok(())
    }
}

impl Pace {
    fn sent(&mut self, bytes: u64, took: Duration) {
        self.bytes += bytes;
        self.took += took;
        if self.bytes >= WINDOW || self.took >= LONG {
            let at_most = u128::from(SLOW) * self.took.as_micros() / 1_000_000;
            *self = Self { is_slow: u128::from(self.bytes) < at_most, ..Self::default() };
        }
    }
}

#[cfg(test)]
mod tests;
