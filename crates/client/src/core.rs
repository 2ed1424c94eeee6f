//! A compute core made ready to run on a cluster.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use logic::Payload;
use logic::dispatch::{JobKey, ProgramId, TaskId, Terms};
use wire::name::JobId;
use wire::task::Program;
use wire::units::Span;

use crate::anew;
use crate::driver::{Owner, State};
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
    /// In a copy of the process that made it: the same, on the copy's own links.
    anew: OnceLock<Arc<Self>>,
}

impl Core {
    pub(crate) fn new(shared: Arc<Owner>, program: Program) -> Self {
        let id = declare(&shared, &program, 0);
        let terms = Terms { deadline: Span(0), retries: 2 };
        let job = Job::open(shared.clone(), program.name());
        Self { shared, job, program, id, memory: 0, terms, anew: OnceLock::new() }
    }

    /// This one; in a copy of its process the one that belongs there.
    pub(crate) fn current(&self) -> &Self {
        let owner = anew::current(&self.shared);
        if Arc::ptr_eq(owner, &self.shared) {
            return self;
        }
        let next = self.anew.get_or_init(|| {
            let (shared, program) = (owner.clone(), self.program.clone());
            let id = declare(&shared, &program, self.memory);
            let job = Job::open(shared.clone(), program.name());
            let (memory, terms) = (self.memory, self.terms);
            Arc::new(Self { shared, job, program, id, memory, terms, anew: OnceLock::new() })
        });
        next.current()
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
        self.current().job.id
    }

    /// The same core for a job of its own, with a name for people.
    #[must_use]
    pub fn job(self, name: &str) -> Self {
        let mut this = self.current().clone();
        this.job = Job::open(this.shared.clone(), name);
        this
    }

    pub(crate) fn job_key(&self) -> JobKey {
        self.job.key
    }

    /// Tasks may run so long, each attempt anew; one that runs longer is killed. The default is no
    /// limit.
    #[must_use]
    pub fn deadline(self, deadline: Duration) -> Self {
        let mut this = self.current().clone();
        this.terms.deadline = deadline.into();
        this
    }

    /// Tasks may use so many bytes of memory; one that uses more is killed. The default is no limit.
    #[must_use]
    pub fn memory(self, bytes: u64) -> Self {
        let mut this = self.current().clone();
        this.memory = bytes;
        this.id = declare(&this.shared, &this.program, bytes);
        this
    }

    /// Attempts beyond the first, when a node or a worker is lost. The default is 2. A task that
    /// returns a code, runs out of memory or time is not tried again.
    #[must_use]
    pub fn retries(self, retries: u32) -> Self {
        let mut this = self.current().clone();
        this.terms.retries = retries;
        this
    }

    /// Runs one task and waits for it.
    pub fn run(&self, input: impl Into<Bytes>) -> Result<Output, Failure> {
        self.submit(input).join()
    }

    /// Starts one task.
    pub fn submit(&self, input: impl Into<Bytes>) -> Handle {
        let (this, input) = (self.current(), input.into());
        let (ticket, name) = this.shared.submit(|state| {
            let Some(task) = this.submit_one(state, input) else { return (TicketId::NEVER, None) };
            (state.tickets.issue(task), state.dispatch.name_of(task))
        });
        Handle::new(this.shared.clone(), ticket, name.unwrap_or_default())
    }

    pub(crate) fn submit_all(&self, inputs: Vec<Bytes>) -> Vec<TicketId> {
        self.shared.submit(|state| {
            let submit = |input| match self.submit_one(state, input) {
                Some(task) => state.tickets.issue(task),
                None => TicketId::NEVER,
            };
            inputs.into_iter().map(submit).collect()
        })
    }

    pub(crate) fn submit_group(&self, inputs: Vec<Bytes>, group: GroupId, first: u64) {
        self.shared.submit(|state| {
            for (label, input) in (first..).zip(inputs) {
                if let Some(task) = self.submit_one(state, input) {
                    state.tickets.issue_in(task, group, label);
                }
            }
        });
    }

    fn submit_one(&self, state: &mut State, input: Bytes) -> Option<TaskId> {
        state.submit(self.job.key, self.id, Payload::Inline(input), self.terms)
    }
}

fn declare(shared: &Owner, program: &Program, memory: u64) -> ProgramId {
    shared.state().declare(program, memory)
}
