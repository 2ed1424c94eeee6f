//! A compute core made ready to run on a cluster.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use logic::Payload;
use logic::dispatch::{JobKey, ProgramId, TaskId, Terms};
use wire::name::JobId;
use wire::task::Program;
use wire::units::{Span, Time};

use crate::driver::{Owner, State, now};
use crate::job::Job;
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
    job: Arc<Job>,
    program: Program,
    id: ProgramId,
    memory: u64,
    terms: Terms,
}

impl Core {
    pub(crate) fn new(shared: Arc<Owner>, program: Program) -> Self {
        let id = declare(&shared, &program, 0);
        let terms = Terms { deadline: Span(0), retries: 2 };
        let job = Job::open(shared.clone(), program.name());
        Self { shared, job, program, id, memory: 0, terms }
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

    /// The job that this core's tasks belong to. Making a core begins one, and all its clones share
    /// it; [`Core::job`] begins another.
    pub fn job_id(&self) -> JobId {
        self.job.id
    }

    /// The same core for a job of its own, with a name for people.
    #[must_use]
    pub fn job(mut self, name: &str) -> Self {
        self.job = Job::open(self.shared.clone(), name);
        self
    }

    pub(crate) fn job_key(&self) -> JobKey {
        self.job.key
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
        let (ticket, name) = self.shared.submit(|state| {
            let task = self.submit_one(state, now(), input);
            (state.tickets.issue(task), state.dispatch.name_of(task))
        });
        Handle::new(self.shared.clone(), ticket, name.unwrap_or_default())
    }

    pub(crate) fn submit_all(&self, inputs: Vec<Bytes>) -> Vec<TicketId> {
        self.shared.submit(|state| {
            let now = now();
            let submit = |input| {
                let task = self.submit_one(state, now, input);
                state.tickets.issue(task)
            };
            inputs.into_iter().map(submit).collect()
        })
    }

    pub(crate) fn submit_group(&self, inputs: Vec<Bytes>, group: GroupId, first: u64) {
        self.shared.submit(|state| {
            let now = now();
            for (label, input) in (first..).zip(inputs) {
                let task = self.submit_one(state, now, input);
                state.tickets.issue_in(task, group, label);
            }
        });
    }

    fn submit_one(&self, state: &mut State, now: Time, input: Bytes) -> TaskId {
        state.dispatch.submit(now, self.job.key, self.id, Payload::Inline(input), self.terms)
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
