//! Many tasks of one program: results in order, or as they come.
//!
//! Inputs are drawn from the iterator as results are taken, so a map over an endless iterator holds
//! a bounded number of tasks.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;

use crate::core::Core;
use crate::driver::Shared;
use crate::tickets::{GroupId, TicketId, Tickets};
use crate::{Failure, Output};

/// Tasks of one map that are under way at once: enough for the credits of many nodes.
const AHEAD: usize = 32 * 1024;
/// Tasks that are submitted in one go.
const BATCH: usize = 1024;

/// Results in the order of the inputs; see [`Core::map`].
pub struct Map<I> {
    core: Core,
    inputs: I,
    tickets: VecDeque<TicketId>,
    exhausted: bool,
}

impl<I, B> Map<I>
where
    I: Iterator<Item = B>,
    B: Into<Bytes>,
{
    pub(crate) fn new(core: Core, inputs: I) -> Self {
        Self { core, inputs, tickets: VecDeque::new(), exhausted: false }
    }

    fn fill(&mut self) {
        while !self.exhausted && self.tickets.len() + BATCH <= AHEAD {
            let batch: Vec<Bytes> = self.inputs.by_ref().take(BATCH).map(Into::into).collect();
            self.exhausted = batch.len() < BATCH;
            self.tickets.extend(self.core.submit_all(batch));
        }
    }
}

impl<I, B> Iterator for Map<I>
where
    I: Iterator<Item = B>,
    B: Into<Bytes>,
{
    type Item = Result<Output, Failure>;

    fn next(&mut self) -> Option<Self::Item> {
        self.fill();
        let ticket = self.tickets.pop_front()?;
        let redeem = |tickets: &mut Tickets| tickets.redeem(ticket);
        let result = self.core.shared().wait(None, redeem)?;
        Some(result.map_err(|failure| *failure))
    }
}

impl<I> Drop for Map<I> {
    fn drop(&mut self) {
        cancel(self.core.shared(), self.tickets.drain(..));
    }
}

/// Results as they come, each with the position of its input; see [`Core::map_unordered`].
pub struct MapUnordered<I> {
    core: Core,
    inputs: I,
    group: GroupId,
    sent: u64,
    taken: u64,
    exhausted: bool,
}

impl<I, B> MapUnordered<I>
where
    I: Iterator<Item = B>,
    B: Into<Bytes>,
{
    pub(crate) fn new(core: Core, inputs: I) -> Self {
        let group = core.shared().state().tickets.open_group();
        Self { core, inputs, group, sent: 0, taken: 0, exhausted: false }
    }

    fn fill(&mut self) {
        while !self.exhausted && (self.sent - self.taken) as usize + BATCH <= AHEAD {
            let batch: Vec<Bytes> = self.inputs.by_ref().take(BATCH).map(Into::into).collect();
            self.exhausted = batch.len() < BATCH;
            let count = batch.len() as u64;
            self.core.submit_group(batch, self.group, self.sent);
            self.sent += count;
        }
    }
}

impl<I, B> Iterator for MapUnordered<I>
where
    I: Iterator<Item = B>,
    B: Into<Bytes>,
{
    type Item = (u64, Result<Output, Failure>);

    fn next(&mut self) -> Option<Self::Item> {
        self.fill();
        if self.taken == self.sent {
            return None;
        }
        self.taken += 1;
        let next = |tickets: &mut Tickets| tickets.next_of(self.group);
        let (position, result) = self.core.shared().wait(None, next)?;
        Some((position, result.map_err(|failure| *failure)))
    }
}

impl<I> Drop for MapUnordered<I> {
    fn drop(&mut self) {
        self.core.shared().close_group(self.group);
    }
}

/// What nobody waits for any more need not run.
fn cancel(shared: &Arc<Shared>, tickets: impl Iterator<Item = TicketId>) {
    let tickets: Vec<TicketId> = tickets.collect();
    if !tickets.is_empty() {
        shared.abandon(&tickets);
    }
}
