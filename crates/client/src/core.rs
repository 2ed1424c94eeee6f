//! A compute core made ready to run on a cluster.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use logic::Payload;
use logic::dispatch::{ProgramId, Terms};
use wire::task::Program;
use wire::units::Span;

use crate::driver::Owner;
use crate::tickets::{GroupId, TicketId};
use crate::{Failure, Handle, Output};

/// A compute core on a cluster, with the terms on which its tasks run. Cheap to clone; the methods
/// that set terms return another handle to the same core.
///
/// ```no_run
/// # use std::time::Duration;
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let cluster = farcall::Cluster::local()?;
/// let core = cluster.core("./libsum.so")?.deadline(Duration::from_secs(10)).retries(5);
/// println!("{:?}", core.run("1 2 3")?);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Core {
    shared: Arc<Owner>,
    program: Program,
    id: ProgramId,
    memory: u64,
    terms: Terms,
}

impl Core {
    pub(crate) fn new(shared: Arc<Owner>, program: Program) -> Self {
        let id = declare(&shared, &program, 0);
        let terms = Terms { deadline: Span(0), retries: 2 };
        Self { shared, program, id, memory: 0, terms }
    }

    pub(crate) fn id(&self) -> ProgramId {
        self.id
    }

    pub(crate) fn terms(&self) -> Terms {
        self.terms
    }

    pub(crate) fn shared(&self) -> &Arc<Owner> {
        &self.shared
    }

    /// Tasks may run so long, each attempt anew; one that runs longer is killed. The default is no
    /// limit.
    #[must_use]
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.terms.deadline = deadline.into();
        self
    }

    /// Tasks may use so many bytes of memory; one that uses more is killed. The default is no limit.
    #[must_use]
    pub fn memory(mut self, bytes: u64) -> Self {
        self.memory = bytes;
        self.id = declare(&self.shared, &self.program, bytes);
        self
    }

    /// Attempts beyond the first, when a node or a worker is lost. The default is 2. A task that
    /// returns a code, runs out of memory or time is not tried again.
    #[must_use]
    pub fn retries(mut self, retries: u32) -> Self {
        self.terms.retries = retries;
        self
    }

    /// Runs one task and waits for it.
    pub fn run(&self, input: impl Into<Bytes>) -> Result<Output, Failure> {
        self.submit(input).join()
    }

    /// Starts one task.
    pub fn submit(&self, input: impl Into<Bytes>) -> Handle {
        let input = input.into();
        let ticket = self.shared.submit(|state| {
            let task = state.dispatch.submit(self.id, Payload::Inline(input), self.terms);
            state.tickets.issue(task)
        });
        Handle::new(self.shared.clone(), ticket)
    }

    pub(crate) fn submit_all(&self, inputs: Vec<Bytes>) -> Vec<TicketId> {
        self.shared.submit(|state| {
            let submit = |input| {
                let task = state.dispatch.submit(self.id, Payload::Inline(input), self.terms);
                state.tickets.issue(task)
            };
            inputs.into_iter().map(submit).collect()
        })
    }

    pub(crate) fn submit_group(&self, inputs: Vec<Bytes>, group: GroupId, first: u64) {
        self.shared.submit(|state| {
            for (label, input) in (first..).zip(inputs) {
                let task = state.dispatch.submit(self.id, Payload::Inline(input), self.terms);
                state.tickets.issue_in(task, group, label);
            }
        });
    }
}

fn declare(shared: &Owner, program: &Program, memory: u64) -> ProgramId {
    let Program::Core { library, .. } = program;
    let mut state = shared.state();
    let length = state.nodes.library_length(library);
    let id = state.dispatch.program(program.clone(), memory);
    state.dispatch.weigh(id, length);
    id
}
