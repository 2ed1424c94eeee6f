//! A task under way.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use wire::name::TaskName;

use crate::driver::Owner;
use crate::tickets::TicketId;
use crate::{Failure, Output};

/// A task that was submitted. Join it, ask whether it is done, or await it.
///
/// Dropping the handle does not cancel the task; its result is thrown away when it comes.
#[must_use = "the result comes through the handle"]
pub struct Handle {
    shared: Arc<Owner>,
    /// `None` once the result was taken.
    ticket: Option<TicketId>,
    name: TaskName,
}

impl Handle {
    pub(crate) fn new(shared: Arc<Owner>, ticket: TicketId, name: TaskName) -> Self {
        Self { shared, ticket: Some(ticket), name }
    }

    /// What the task is called in the whole cluster, as `JOB.TASK`: what [`crate::Cluster::why`] and
    /// `farcall why` ask for.
    pub fn name(&self) -> TaskName {
        self.name
    }

    /// Waits for the result.
    pub fn join(mut self) -> Result<Output, Failure> {
        let Some(ticket) = self.ticket.take() else { unreachable!("joined twice") };
        let redeem = |tickets: &mut crate::tickets::Tickets| tickets.redeem(ticket);
        match self.shared.wait(None, redeem) {
            Some(result) => result.map_err(|failure| *failure),
            None => unreachable!("a wait without a time-out ends with a result"),
        }
    }

    /// The result, if it is there; otherwise the handle again.
    pub fn try_join(mut self) -> Result<Result<Output, Failure>, Self> {
        self.shared.poke();
        let ticket = self.ticket;
        match ticket.and_then(|ticket| self.shared.state().tickets.redeem(ticket)) {
            Some(result) => {
                self.ticket = None;
                Ok(result.map_err(|failure| *failure))
            }
            None => Err(self),
        }
    }

    /// Waits at most so long. Returns whether the result is there, for `join` to take.
    pub fn wait_timeout(&self, timeout: Duration) -> bool {
        let Some(ticket) = self.ticket else { return true };
        let done = |tickets: &mut crate::tickets::Tickets| tickets.is_done(ticket).then_some(());
        self.shared.wait(Some(Instant::now() + timeout), done).is_some()
    }

    /// Cancels the task wherever it is. Its result will say so, unless it was done already.
    pub fn cancel(&self) {
        if let Some(ticket) = self.ticket {
            self.shared.cancel(ticket);
        }
    }
}

impl Future for Handle {
    type Output = Result<Output, Failure>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let Some(ticket) = self.ticket else { unreachable!("polled after it was ready") };
        match self.shared.redeem_or_wake(ticket, context.waker()) {
            Some(result) => {
                self.ticket = None;
                Poll::Ready(result.map_err(|failure| *failure))
            }
            None => Poll::Pending,
        }
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        if let Some(ticket) = self.ticket {
            self.shared.drop_claim(ticket);
        }
    }
}
