//! Who waits for which task: one ticket for each task that a caller still cares for.

use std::collections::VecDeque;
use std::task::Waker;

use logic::dispatch::TaskId;
use slab::Slab;

use crate::copied::AWAY;
use crate::{Failure, Output, Why};

pub(crate) type Result = std::result::Result<Output, Box<Failure>>;

/// A caller's claim to one result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TicketId(pub(crate) u32);

/// A queue of results in the order in which they came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct GroupId(pub(crate) u32);

#[derive(Debug)]
enum Ticket {
    Waiting { task: TaskId, interest: Interest },
    Done(Result),
}

#[derive(Debug)]
enum Interest {
    /// Somebody will ask.
    Asked,
    Waker(Waker),
    Group(GroupId),
    /// Nobody will: the result is dropped when it comes.
    Dropped,
}

#[derive(Debug, Default)]
pub(crate) struct Tickets {
    tickets: Slab<Ticket>,
    /// By task.
    of_task: Vec<u32>,
    groups: Slab<VecDeque<(u64, Result)>>,
    /// What the members of a group are called by their caller.
    labels: Vec<u64>,
    /// These are of a process that is elsewhere and comes back: whatever it has from before is not among them.
    is_aside: bool,
}

/// Where a result stands in a group that has none.
pub(crate) const NOWHERE: u64 = u64::MAX;

impl TicketId {
    /// Of what was asked for elsewhere, and is never done. No other is like it, there or here.
    pub(crate) const NEVER: Self = Self(u32::MAX);
}

impl GroupId {
    /// The same of a group.
    pub(crate) const NEVER: Self = Self(u32::MAX);
}

impl Tickets {
    pub(crate) fn aside() -> Self {
        Self { is_aside: true, ..Self::default() }
    }

    /// What is said of a ticket that is not among these, if it is known that it never will be.
    fn failed(&self, is_never: bool) -> Option<Failure> {
        let why = match is_never {
            true => Why::Unlinked { reason: AWAY.to_owned() },
            false if self.is_aside => Why::Copied,
            false => return None,
        };
        Some(Failure::of_copy(why))
    }

    pub(crate) fn issue(&mut self, task: TaskId) -> TicketId {
        self.insert(task, Interest::Asked)
    }

    /// A ticket whose result goes to a group, under a label.
    pub(crate) fn issue_in(&mut self, task: TaskId, group: GroupId, label: u64) -> TicketId {
        let ticket = self.insert(task, Interest::Group(group));
        let at = ticket.0 as usize;
        if self.labels.len() <= at {
            self.labels.resize(at + 1, 0);
        }
        self.labels[at] = label;
        ticket
    }

    fn insert(&mut self, task: TaskId, interest: Interest) -> TicketId {
        let ticket = self.tickets.insert(Ticket::Waiting { task, interest }) as u32;
        let at = task.0 as usize;
        if self.of_task.len() <= at {
            self.of_task.resize(at + 1, u32::MAX);
        }
        self.of_task[at] = ticket;
        TicketId(ticket)
    }

    pub(crate) fn open_group(&mut self) -> GroupId {
        if self.is_aside {
            return GroupId::NEVER;
        }
        GroupId(self.groups.insert(VecDeque::new()) as u32)
    }

    pub(crate) fn next_of(&mut self, group: GroupId) -> Option<(u64, Result)> {
        if let Some(failure) = self.failed(group == GroupId::NEVER) {
            return Some((NOWHERE, Err(Box::new(failure))));
        }
        self.groups.get_mut(group.0 as usize)?.pop_front()
    }

    pub(crate) fn close_group(&mut self, group: GroupId) -> Vec<TaskId> {
        self.groups.try_remove(group.0 as usize);
        let mut open = Vec::new();
        for (_, ticket) in &mut self.tickets {
            if let Ticket::Waiting { task, interest } = ticket
                && matches!(interest, Interest::Group(of) if *of == group)
            {
                *interest = Interest::Dropped;
                open.push(*task);
            }
        }
        open
    }

    /// A task has ended. Returns whom to wake.
    pub(crate) fn ended(&mut self, task: TaskId, result: Result) -> Option<Waker> {
        let at = *self.of_task.get(task.0 as usize)? as usize;
        let Some(Ticket::Waiting { interest, .. }) = self.tickets.get_mut(at) else { return None };
        match std::mem::replace(interest, Interest::Asked) {
            Interest::Asked => {
                self.tickets[at] = Ticket::Done(result);
                None
            }
            Interest::Waker(waker) => {
                self.tickets[at] = Ticket::Done(result);
                Some(waker)
            }
            Interest::Group(group) => {
                self.tickets.remove(at);
                if let Some(group) = self.groups.get_mut(group.0 as usize) {
                    group.push_back((self.labels[at], result));
                }
                None
            }
            Interest::Dropped => {
                self.tickets.remove(at);
                None
            }
        }
    }

    /// None of these will ever end: this is a copy of the process that asked. Returns whom to wake.
    pub(crate) fn fail_all(&mut self, why: &Why) -> Vec<Waker> {
        let waiting = self.tickets.iter().filter_map(|(_, ticket)| match ticket {
            Ticket::Waiting { task, .. } => Some(*task),
            Ticket::Done(_) => None,
        });
        let waiting: Vec<TaskId> = waiting.collect();
        let failed = waiting
            .into_iter()
            .filter_map(|task| self.ended(task, Err(Box::new(Failure::of_copy(why.clone())))));
        failed.collect()
    }

    /// The result, if it has come; the ticket is used up then.
    pub(crate) fn redeem(&mut self, ticket: TicketId) -> Option<Result> {
        if let Some(failure) = self.failed(ticket == TicketId::NEVER) {
            return Some(Err(Box::new(failure)));
        }
        let at = ticket.0 as usize;
        match self.tickets.get(at) {
            Some(Ticket::Done(_)) => match self.tickets.remove(at) {
                Ticket::Done(result) => Some(result),
                Ticket::Waiting { .. } => None,
            },
            Some(Ticket::Waiting { .. }) | None => None,
        }
    }

    pub(crate) fn is_done(&self, ticket: TicketId) -> bool {
        self.failed(ticket == TicketId::NEVER).is_some()
            || matches!(self.tickets.get(ticket.0 as usize), Some(Ticket::Done(_)))
    }

    /// Somebody awaits it as a future.
    pub(crate) fn is_awaited(&self, ticket: TicketId) -> bool {
        let ticket = self.tickets.get(ticket.0 as usize);
        matches!(ticket, Some(Ticket::Waiting { interest: Interest::Waker(_), .. }))
    }

    /// Asks to be woken when the result comes. Returns whether nobody had asked before.
    pub(crate) fn wake(&mut self, ticket: TicketId, waker: Waker) -> bool {
        match self.tickets.get_mut(ticket.0 as usize) {
            Some(Ticket::Waiting { interest, .. }) => {
                let before = std::mem::replace(interest, Interest::Waker(waker));
                !matches!(before, Interest::Waker(_))
            }
            Some(Ticket::Done(_)) | None => false,
        }
    }

    /// Nobody will ask any more. Returns the task if it still runs.
    pub(crate) fn drop_claim(&mut self, ticket: TicketId) -> Option<TaskId> {
        let at = ticket.0 as usize;
        match self.tickets.get_mut(at) {
            Some(Ticket::Waiting { task, interest }) => {
                *interest = Interest::Dropped;
                Some(*task)
            }
            Some(Ticket::Done(_)) => {
                self.tickets.remove(at);
                None
            }
            None => None,
        }
    }

    pub(crate) fn task(&self, ticket: TicketId) -> Option<TaskId> {
        match self.tickets.get(ticket.0 as usize) {
            Some(Ticket::Waiting { task, .. }) => Some(*task),
            Some(Ticket::Done(_)) | None => None,
        }
    }
}
