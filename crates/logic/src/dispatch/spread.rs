//! Decides from whom each node gets the bytes of one large program.
//!
//! The client sends them to one node; from there they go on from node to node, each with them
//! passing them to at most `PASS_ON_TO_MAX` others at once: one, two, four. So they leave the client
//! once, however many nodes there are.
//!
//! Nobody waits for ever. Who waits, or is being served, for longer than its patience is sent the
//! bytes by the client as if there were no others. The first one's patience is short, each further
//! one's twice as long: over a slow line out of the client, many copies at once would be slower than
//! one; to a slow first node, the second must not wait for the first.
//!
//! Elsewhere: the messages (`dispatch`), who may have which bytes (`node`).

use std::collections::VecDeque;

use wire::limits::{FETCH_RATE_MIN, FETCH_SILENCE, PASS_ON_TO_MAX};
use wire::units::{Span, Time};

use crate::LinkId;

/// Bytes in a second below which a line is slow enough to try a second one.
const UPLOAD_RATE: u64 = 16 << 20;
/// The longest patience is so many times the shortest, as a power of two.
const DOUBLINGS_MAX: u32 = 6;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// The client sends the bytes to this node.
    Upload(LinkId),
    /// `from` is asked to let `to` have them.
    Lend { from: LinkId, to: LinkId },
}

#[derive(Debug)]
struct Transfer {
    /// `None` once it is down.
    from: Option<LinkId>,
    to: LinkId,
    until: Time,
}

/// One program's way through the cluster. After each call drain `next`.
#[derive(Debug)]
pub(super) struct Spread {
    length: u64,
    /// Nodes that have the bytes, each as often as it may pass them on now.
    sources: VecDeque<LinkId>,
    waiting: VecDeque<(LinkId, Time)>,
    uploading: Vec<LinkId>,
    transfers: Vec<Transfer>,
    /// Nobody's patience ends before: with thousands of nodes, not all are looked at each time.
    due: Time,
}

/// So many bytes at so many in a second.
fn at_rate(length: u64, rate: u64) -> Span {
    Span::from_millis(length / (rate / 1000))
}

impl Spread {
    pub(super) fn new(length: u64) -> Self {
        Self {
            length,
            sources: VecDeque::new(),
            waiting: VecDeque::new(),
            uploading: Vec::new(),
            transfers: Vec::new(),
            due: Time::NEVER,
        }
    }

    pub(super) fn length(&self) -> u64 {
        self.length
    }

    /// This node has not got the bytes and needs them.
    pub(super) fn want(&mut self, now: Time, link: LinkId) {
        let patience = Span(FETCH_SILENCE.0 + at_rate(self.length, UPLOAD_RATE).0);
        let before = (self.waiting.len() + self.uploading.len()) as u32;
        let patience = Span(patience.0 << before.min(DOUBLINGS_MAX));
        self.waiting.push_back((link, now + patience));
        self.due = self.due.min(now + patience);
    }

    /// This node has them. Said once, until it is gone.
    pub(super) fn has(&mut self, link: LinkId) {
        self.leave_out(link);
        self.sources.extend([link; PASS_ON_TO_MAX]);
    }

    /// This node will not store them.
    pub(super) fn refuses(&mut self, link: LinkId) {
        self.leave_out(link);
    }

    /// It is down, or about to be: neither gives nor takes.
    pub(super) fn gone(&mut self, now: Time, link: LinkId) {
        self.leave_out(link);
        self.sources.retain(|source| *source != link);
        // Whoever was being served by it tells how that ended. Should it have been asked only, nobody
        // tells: it is as if it had been in vain.
        for transfer in self.transfers.iter_mut().filter(|transfer| transfer.from == Some(link)) {
            transfer.from = None;
            transfer.until = transfer.until.min(now + FETCH_SILENCE);
            self.due = self.due.min(transfer.until);
        }
    }

    /// The permit for a transfer is here. `false`: it is not wanted any more.
    pub(super) fn is_lent(&self, from: LinkId, to: LinkId) -> bool {
        // The lender may have said in between that it has nothing more to lend, which was no answer.
        let fits = |lender: Option<LinkId>| lender.is_none_or(|lender| lender == from);
        self.transfers.iter().any(|transfer| transfer.to == to && fits(transfer.from))
    }

    /// It did not come from another node: the client sends it. `false`: it does so already.
    pub(super) fn failed(&mut self, to: LinkId) -> bool {
        let was = self.transfers.len();
        self.end_transfer(to);
        if was > self.transfers.len() {
            self.uploading.push(to);
            return true;
        }
        false
    }

    fn leave_out(&mut self, link: LinkId) {
        self.waiting.retain(|(waits, _)| *waits != link);
        self.uploading.retain(|uploads| *uploads != link);
        self.end_transfer(link);
    }

    fn end_transfer(&mut self, to: LinkId) {
        if let Some(at) = self.transfers.iter().position(|transfer| transfer.to == to) {
            // Its place is free for the next.
            self.sources.extend(self.transfers.swap_remove(at).from);
        }
    }

    /// What is to be done now.
    pub(super) fn next(&mut self, now: Time) -> Option<Step> {
        if self.due <= now
            && let Some(late) = self.late(now)
        {
            return Some(Step::Upload(late));
        }
        let &(to, _) = self.waiting.front()?;
        if let Some(from) = self.sources.pop_front() {
            self.waiting.pop_front();
            let until = now + FETCH_SILENCE + FETCH_SILENCE + at_rate(self.length, FETCH_RATE_MIN);
            self.transfers.push(Transfer { from: Some(from), to, until });
            self.due = self.due.min(until);
            return Some(Step::Lend { from, to });
        }
        let nobody_will_have_it = self.uploading.is_empty() && self.transfers.is_empty();
        if nobody_will_have_it {
            return self.upload(0).map(Step::Upload);
        }
        None
    }

    /// Somebody who has waited long enough, and gets it from the client now.
    fn late(&mut self, now: Time) -> Option<LinkId> {
        if let Some(late) = self.transfers.iter().find(|transfer| transfer.until <= now) {
            let to = late.to;
            self.failed(to);
            return Some(to);
        }
        if let Some(at) = self.waiting.iter().position(|(_, until)| *until <= now) {
            return self.upload(at);
        }
        let transfers = self.transfers.iter().map(|transfer| transfer.until);
        let waiting = self.waiting.iter().map(|(_, until)| *until);
        self.due = transfers.chain(waiting).min().unwrap_or(Time::NEVER);
        None
    }

    fn upload(&mut self, at: usize) -> Option<LinkId> {
        let (link, _) = self.waiting.remove(at)?;
        self.uploading.push(link);
        Some(link)
    }

    /// When `next` may have something to do though nothing happens; sometimes it then has not.
    pub(super) fn due(&self) -> Time {
        self.due
    }
}

#[cfg(test)]
mod tests;
