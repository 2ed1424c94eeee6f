//! The bytes of one standard stream in one direction, over as many connections as it takes.
//!
//! A sender keeps what its peer has not taken, at most a window, and sends it again on a new connection
//! from where the peer says that it is. A receiver drops what it has already and stops at a gap.

use std::collections::VecDeque;

use wire::limits::{STDIO_CHUNK_MAX, STDIO_WINDOW};

/// The end that has the bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sending {
    /// From `taken` on.
    kept: VecDeque<u8>,
    taken: u64,
    /// Over this connection, or done with by the peer.
    sent: u64,
    /// Over any.
    ever_sent: u64,
    is_over: bool,
    told_over: bool,
}

/// The next thing to send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    Bytes { at: u64, bytes: Vec<u8> },
    Closed { at: u64 },
}

impl Sending {
    /// How many more bytes it takes.
    pub fn room(&self) -> usize {
        (STDIO_WINDOW as usize).saturating_sub(self.kept.len())
    }

    /// At most `room` bytes.
    pub fn push(&mut self, bytes: &[u8]) {
        debug_assert!(bytes.len() <= self.room() && !self.is_over, "nobody asked for these bytes");
        self.kept.extend(bytes);
    }

    /// There are no more bytes than these.
    pub fn close(&mut self) {
        self.is_over = true;
    }

    /// The peer has so many bytes. `false`: it cannot.
    pub fn taken(&mut self, bytes: u64) -> bool {
        let Some(count) = bytes.checked_sub(self.taken).filter(|_| bytes <= self.ever_sent) else {
            return false;
        };
        self.kept.drain(..count as usize);
        self.taken = bytes;
        // What came over another connection need not come again.
        self.sent = self.sent.max(bytes);
        true
    }

    /// Whether this byte may not have arrived.
    pub fn holds(&self, byte: u8) -> bool {
        self.kept.contains(&byte)
    }

    /// On a new connection: whatever was not taken is sent again.
    pub fn again(&mut self) {
        self.sent = self.taken;
        self.told_over = false;
    }

    /// What goes out next. The peer's window has room for it, since no more than a window is kept.
    pub fn poll_piece(&mut self) -> Option<Piece> {
        let from = (self.sent - self.taken) as usize;
        let count = (self.kept.len() - from).min(STDIO_CHUNK_MAX);
        if count > 0 {
            let (at, bytes) = (self.sent, self.kept.range(from..from + count).copied().collect());
            self.sent += count as u64;
            self.ever_sent = self.ever_sent.max(self.sent);
            return Some(Piece::Bytes { at, bytes });
        }
        let is_news = self.is_over && !self.told_over;
        self.told_over |= is_news;
        is_news.then_some(Piece::Closed { at: self.sent })
    }

    /// All of it is on its way, and so is that it is all.
    pub fn is_sent(&self) -> bool {
        self.is_over && self.told_over
    }

    /// All of it is where it was to go.
    pub fn is_done(&self) -> bool {
        self.is_sent() && self.kept.is_empty()
    }
}

/// The end that gets the bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Receiving {
    arrived: u64,
    /// Of these, handed on.
    done: u64,
    told: u64,
}

impl Receiving {
    /// A piece came: how many of its first bytes are known already. `None`: something is missing, or it
    /// is more than a window.
    pub fn arrived(&mut self, at: u64, length: usize) -> Option<usize> {
        let end = at.checked_add(length as u64)?;
        if at > self.arrived || end > self.told + STDIO_WINDOW {
            return None;
        }
        let known = (self.arrived - at).min(length as u64) as usize;
        self.arrived = self.arrived.max(end);
        Some(known)
    }

    /// So many more bytes were handed on.
    pub fn done(&mut self, count: usize) {
        self.done += count as u64;
        debug_assert!(self.done <= self.arrived, "more was handed on than came");
    }

    /// What the sender is to be told: often enough that it never waits for a reader who does not.
    pub fn news(&mut self) -> Option<u64> {
        let is_news = self.done.saturating_sub(self.told) >= STDIO_WINDOW / 4;
        if is_news {
            self.told = self.done;
        }
        is_news.then_some(self.done)
    }

    /// On a new connection: from where on it is sent again. What lies here and was not handed on is among that:
    /// else each new connection would bring a window more of it.
    pub fn again(&mut self) -> u64 {
        self.told = self.done;
        self.done
    }

    /// All that was sent before the end has come.
    pub fn is_whole(&self, at: u64) -> bool {
        self.arrived == at
    }
}

#[cfg(test)]
mod tests;
