//! One attempt in the record of a job on a client's disk: a fixed number of bytes, one after the
//! other in the order in which attempts ended.
//!
//! ```text
//! task | ended | queued | transfer | waited | ran | away   u64 LE each, spans in nanoseconds
//! worker u32 LE | attempt u16 LE, the top bit if it failed | node u16 LE, a place in the record's list
//! ```

use crate::units::Span;

/// Bytes of an `Attempt`.
pub const ATTEMPT: usize = 64;
/// The node of an attempt that none had.
pub const NO_NODE: u16 = u16::MAX;
const FAILED: u16 = 1 << 15;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attempt {
    pub task: u64,
    /// Since the job began.
    pub ended: Span,
    pub queued: Span,
    pub transfer: Span,
    pub waited: Span,
    pub ran: Span,
    pub away: Span,
    pub worker: u32,
    /// At most 32767, which is more than there can be.
    pub attempt: u16,
    pub failed: bool,
    pub node: u16,
}

impl Attempt {
    pub fn to_bytes(&self) -> [u8; ATTEMPT] {
        let spans = [self.ended, self.queued, self.transfer, self.waited, self.ran, self.away];
        let mut bytes = [0; ATTEMPT];
        bytes[..8].copy_from_slice(&self.task.to_le_bytes());
        for (place, span) in bytes[8..56].chunks_exact_mut(8).zip(spans) {
            place.copy_from_slice(&span.0.to_le_bytes());
        }
        let attempt = self.attempt & !FAILED | if self.failed { FAILED } else { 0 };
        bytes[56..60].copy_from_slice(&self.worker.to_le_bytes());
        bytes[60..62].copy_from_slice(&attempt.to_le_bytes());
        bytes[62..].copy_from_slice(&self.node.to_le_bytes());
        bytes
    }

    /// Any bytes are an attempt: what they say of nodes is the reader's to check.
    pub fn from_bytes(bytes: &[u8; ATTEMPT]) -> Self {
        let word = |at: usize| {
            let mut word = [0; 8];
            word.copy_from_slice(&bytes[at * 8..at * 8 + 8]);
            u64::from_le_bytes(word)
        };
        let last = word(7);
        let attempt = (last >> 32) as u16;
        Self {
            task: word(0),
            ended: Span(word(1)),
            queued: Span(word(2)),
            transfer: Span(word(3)),
            waited: Span(word(4)),
            ran: Span(word(5)),
            away: Span(word(6)),
            worker: last as u32,
            attempt: attempt & !FAILED,
            failed: attempt & FAILED != 0,
            node: (last >> 48) as u16,
        }
    }
}

#[cfg(test)]
mod tests;
