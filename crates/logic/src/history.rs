//! What a node remembers of tasks that have ended, for those who ask why.
//!
//! Two rings: attempts that went well, a few numbers each and soon overwritten; and failures, fewer,
//! with their reasons, so that a million successes do not push out the one that matters. Adding to
//! them allocates nothing, unless a reason has to be cut.

use std::collections::VecDeque;

use wire::job::Ended;
use wire::limits::{ENDED_KEPT, FAILURE_TEXT_MAX, FAILURES_KEPT};
use wire::name::{Name, TaskName};
use wire::task::{Status, Times};
use wire::units::{Span, Time};

use crate::LinkId;

/// Attempts of one task that are told.
const TOLD_MAX: usize = 4;

/// Whose a task was: a number instead of a name, since there are so many tasks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct OwnerId(u32);

/// One attempt that went well.
#[derive(Debug)]
struct Success {
    owner: OwnerId,
    name: TaskName,
    attempt: u32,
    ran: Span,
    times: Times,
    at: Time,
}

#[derive(Debug)]
struct Failure {
    success: Success,
    status: Status,
}

/// The rings. Neither grows beyond its bound.
#[derive(Debug, Default)]
pub struct History {
    owners: Vec<Name>,
    /// By link.
    links: Vec<OwnerId>,
    successes: VecDeque<Success>,
    failures: VecDeque<Failure>,
}

impl History {
    /// A link is somebody's from now on. There are as many owners as the authority has named.
    pub fn link_up(&mut self, link: LinkId, name: &Name) {
        let known = self.owners.iter().position(|known| known == name);
        let owner = known.unwrap_or_else(|| {
            self.owners.push(name.clone());
            self.owners.len() - 1
        });
        let at = link.0 as usize;
        if self.links.len() <= at {
            self.links.resize(at + 1, OwnerId(0));
        }
        self.links[at] = OwnerId(owner as u32);
    }

    /// An attempt has ended.
    pub fn ended(
        &mut self,
        now: Time,
        link: LinkId,
        name: TaskName,
        attempt: u32,
        status: &Status,
        (ran, times): (Span, Times),
    ) {
        let Some(&owner) = self.links.get(link.0 as usize) else { return };
        let success = Success { owner, name, attempt, ran, times, at: now };
        if status.is_success() {
            if self.successes.len() == ENDED_KEPT {
                self.successes.pop_front();
            }
            self.successes.push_back(success);
        } else {
            if self.failures.len() == FAILURES_KEPT {
                self.failures.pop_front();
            }
            self.failures.push_back(Failure { success, status: shortened(status) });
        }
    }

    /// The attempts of a task that are remembered, the latest first. `None` asks for everybody's.
    pub fn find(&self, now: Time, name: TaskName, owner: Option<&Name>) -> Vec<Ended> {
        let seen = |of: &Success| {
            let may = |me: &Name| self.owners.get(of.owner.0 as usize) == Some(me);
            of.name == name && owner.is_none_or(may)
        };
        let told = |of: &Success, status: Status| Ended {
            attempt: of.attempt,
            status,
            ran: of.ran,
            times: of.times,
            ago: now.since(of.at),
        };
        let successes = self.successes.iter().rev().filter(|of| seen(of));
        let successes = successes.map(|of| told(of, Status::Finished { code: 0 }));
        let failures = self.failures.iter().rev().filter(|failure| seen(&failure.success));
        let failures = failures.map(|failure| told(&failure.success, failure.status.clone()));
        let mut ended: Vec<Ended> = successes.chain(failures).take(TOLD_MAX).collect();
        ended.sort_by_key(|attempt| std::cmp::Reverse(attempt.attempt));
        ended
    }
}

/// The same status with a reason of bounded length: its end, where the last words are.
fn shortened(status: &Status) -> Status {
    let mut status = status.clone();
    if let Status::Crashed { stderr: text, .. }
    | Status::Exited { stderr: text, .. }
    | Status::Refused { reason: text }
    | Status::Broken { reason: text }
    | Status::WorkerLost { reason: text } = &mut status
        && text.len() > FAILURE_TEXT_MAX
    {
        text.drain(..text.ceil_char_boundary(text.len() - FAILURE_TEXT_MAX));
    }
    status
}

#[cfg(test)]
mod tests;
