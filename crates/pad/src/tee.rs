//! An image that goes on to another node while it is read here.
//!
//! What the image's reader takes is written once more, to a socket that the node reads: not a byte beyond the
//! image's end. A next node that is slow holds this one up for a while; one that stands still is cut off, and
//! finds an image without an end.

use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use sys::uffd::Right;
use wire::limits::{AWAY_PATIENCE, FETCH_RATE_MIN, FETCH_SILENCE};

use crate::arrival::{Build, Built};

/// Of a visit that is one of several of the same image.
#[derive(Debug, Default)]
pub struct Chained {
    /// What the copy learns.
    pub number: u32,
    /// Where the image comes from, if not over the visit's first connection.
    pub from: Option<UnixStream>,
    /// Where it goes on to.
    pub onward: Option<UnixStream>,
}

impl Chained {
    /// Builds what comes, from where it comes.
    pub(crate) fn read(
        self,
        first: &UnixStream,
        build: Build,
        right: Option<Right>,
        terminal: Option<OwnedFd>,
    ) -> Result<Box<dyn Built>, String> {
        let patience = Some(Duration::from(AWAY_PATIENCE));
        let prepared = self.from.as_ref().map_or(Ok(()), |from| from.set_read_timeout(patience));
        prepared.map_err(|error| format!("cannot wait for an image: {error}"))?;
        let onward = self.onward.map(Onward::new);
        let mut image = Tee { from: self.from.as_ref().unwrap_or(first), onward };
        build(&mut image, self.number, right, terminal)
    }
}

/// A reader whose bytes go on.
struct Tee<R> {
    from: R,
    onward: Option<Onward>,
}

impl<R: Read> Read for Tee<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let count = self.from.read(into)?;
        self.onward = self.onward.take().and_then(|onward| onward.pass(&into[..count]));
        Ok(count)
    }
}

struct Onward {
    to: UnixStream,
    /// How long it may hold us up from here: a little, and what the next bytes take at the slowest. Who was fast
    /// has saved up no more than that.
    left: Duration,
}

impl Onward {
    fn new(to: UnixStream) -> Self {
        Self { to, left: FETCH_SILENCE.into() }
    }

    /// Writes all of it. `None`: it is too slow, or gone, and gets no more.
    fn pass(mut self, mut bytes: &[u8]) -> Option<Self> {
        let slowest = Duration::from_secs(1).mul_f64(bytes.len() as f64 / FETCH_RATE_MIN as f64);
        self.left = self.left.min(FETCH_SILENCE.into()) + slowest;
        while !bytes.is_empty() {
            let begun = Instant::now();
            self.to.set_write_timeout(Some(self.left)).ok()?;
            let count = self.to.write(bytes).ok()?;
            bytes = &bytes[count..];
            self.left = self.left.checked_sub(begun.elapsed()).filter(|left| !left.is_zero())?;
        }
        Some(self)
    }
}

#[cfg(test)]
mod tests;
