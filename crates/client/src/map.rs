//! Many tasks of one program: results in order, or as they come.
//!
//! Inputs are drawn from the iterator as results are taken, so a map over an endless iterator holds
//! a bounded number of tasks.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use bytes::Bytes;

use crate::core::Core;
use crate::driver::Owner;
use crate::tickets::{GroupId, NOWHERE, TicketId, Tickets};
use crate::{Failure, Output};

/// Tasks of one map that are under way at once: enough for the credits of many nodes.
const AHEAD: usize = 32 * 1024;
/// Bytes of inputs that are under way at once, as far as the size of single inputs allows.
const AHEAD_BYTES: u64 = 256 << 20;
/// Tasks that are submitted in one go.
const BATCH: usize = 1024;
/// Inputs of fewer bytes are not counted one by one.
const SMALL: usize = 4096;

impl Core {
    /// Runs a task for each input; results come in the order of the inputs.
    pub fn map<I>(&self, inputs: I) -> Map<I::IntoIter>
    where
        I: IntoIterator,
        I::Item: Into<Bytes>,
    {
        Map::new(self.current().clone(), inputs.into_iter())
    }

    /// Runs a task for each input; results come as they are ready, with their inputs' positions.
    pub fn map_unordered<I>(&self, inputs: I) -> MapUnordered<I::IntoIter>
    where
        I: IntoIterator,
        I::Item: Into<Bytes>,
    {
        MapUnordered::new(self.current().clone(), inputs.into_iter())
    }
}

/// Results in the order of the inputs; see [`Core::map`].
pub struct Map<I> {
    core: Core,
    inputs: I,
    tickets: VecDeque<TicketId>,
    /// Positions of large inputs under way, with their bytes.
    large: VecDeque<(u64, u64)>,
    large_bytes: u64,
    sent: u64,
    exhausted: bool,
}

impl<I, B> Map<I>
where
    I: Iterator<Item = B>,
    B: Into<Bytes>,
{
    pub(crate) fn new(core: Core, inputs: I) -> Self {
        let (tickets, large) = (VecDeque::new(), VecDeque::new());
        Self { core, inputs, tickets, large, large_bytes: 0, sent: 0, exhausted: false }
    }

    fn fill(&mut self) {
        while !self.exhausted
            && self.tickets.len() + BATCH <= AHEAD
            && self.large_bytes < AHEAD_BYTES
        {
            let room = AHEAD_BYTES - self.large_bytes;
            let batch = draw(&mut self.inputs, room, &mut self.exhausted);
            for (position, input) in (self.sent..).zip(&batch).filter(|(_, i)| i.len() > SMALL) {
                self.large.push_back((position, input.len() as u64));
                self.large_bytes += input.len() as u64;
            }
            self.sent += batch.len() as u64;
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
        let position = self.sent - self.tickets.len() as u64;
        let ticket = self.tickets.pop_front()?;
        if let Some((_, bytes)) = self.large.pop_front_if(|large| large.0 == position) {
            self.large_bytes -= bytes;
        }
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
    /// Large inputs under way, by position.
    large: HashMap<u64, u64>,
    large_bytes: u64,
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
        let large = HashMap::new();
        Self { core, inputs, group, large, large_bytes: 0, sent: 0, taken: 0, exhausted: false }
    }

    fn fill(&mut self) {
        while !self.exhausted
            && (self.sent - self.taken) as usize + BATCH <= AHEAD
            && self.large_bytes < AHEAD_BYTES
        {
            let room = AHEAD_BYTES - self.large_bytes;
            let batch = draw(&mut self.inputs, room, &mut self.exhausted);
            for (position, input) in (self.sent..).zip(&batch).filter(|(_, i)| i.len() > SMALL) {
                self.large.insert(position, input.len() as u64);
                self.large_bytes += input.len() as u64;
            }
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
        // All of them fail then, and each has a position all the same.
        let position = if position == NOWHERE { self.taken - 1 } else { position };
        if self.large_bytes > 0
            && let Some(bytes) = self.large.remove(&position)
        {
            self.large_bytes -= bytes;
        }
        Some((position, result.map_err(|failure| *failure)))
    }
}

impl<I> Drop for MapUnordered<I> {
    fn drop(&mut self) {
        self.core.shared().close_group(self.group);
    }
}

/// The next inputs, as many as go in one go and not many more bytes than there is room for.
fn draw<B: Into<Bytes>>(
    inputs: &mut impl Iterator<Item = B>,
    room: u64,
    exhausted: &mut bool,
) -> Vec<Bytes> {
    let mut batch = Vec::new();
    let mut bytes = 0;
    while batch.len() < BATCH && bytes < room {
        let Some(input) = inputs.next() else {
            *exhausted = true;
            break;
        };
        let input: Bytes = input.into();
        bytes += input.len() as u64;
        batch.push(input);
    }
    batch
}

/// What nobody waits for any more need not run.
fn cancel(shared: &Arc<Owner>, tickets: impl Iterator<Item = TicketId>) {
    let tickets: Vec<TicketId> = tickets.collect();
    if !tickets.is_empty() {
        shared.abandon(&tickets);
    }
}
