//! What nodes answer about tasks and jobs, for people and their tools.

use std::time::Duration;

use logic::Payload;
use logic::dispatch::End;
use wire::job::{self, Hold, Now, Wait};
use wire::name::JobId;

use crate::outcome::{self, Why};

/// What one node knows of a task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaskReport {
    /// The node.
    pub node: String,
    /// Where the task is there.
    pub place: Place,
    /// Attempts that ended there, the latest first; not all, if it was long ago.
    pub ended: Vec<AttemptReport>,
    /// What its client said of its job.
    pub job: Option<JobReport>,
}

/// Where a task is at a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Place {
    /// Nowhere.
    Absent,
    /// Its input is on the way.
    Arriving {
        /// Since when.
        since: Duration,
    },
    /// Workers are loading its program.
    Loading {
        /// How long it has been there.
        since: Duration,
        /// So many.
        workers: u32,
    },
    /// It waits for a slot.
    Waiting {
        /// How long it has been there.
        since: Duration,
        /// Tasks of the same client and program that go first.
        before: u32,
        /// Tasks that the node runs at a time.
        slots: u32,
        /// Of these, with tasks of the same owner.
        own: u32,
        /// Of these, with tasks of others.
        others: u32,
    },
    /// A worker has it.
    Working {
        /// How long it has been there.
        since: Duration,
        /// Tasks that the worker does first; 0 is running.
        before: u32,
        /// How long it has run.
        ran: Duration,
        /// The worker.
        worker: u32,
        /// Its process.
        pid: u32,
        /// The most memory that the process has had, in bytes; 0 is not known.
        memory: u64,
        /// 1 is the first.
        attempt: u32,
    },
}

/// One attempt that ended at a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AttemptReport {
    /// 1 is the first.
    pub attempt: u32,
    /// Why it failed, if it did.
    pub failure: Option<Why>,
    /// Until all of its input was there.
    pub transfer: Duration,
    /// From then until it began.
    pub waited: Duration,
    /// In the worker.
    pub ran: Duration,
    /// The worker.
    pub worker: u32,
    /// How long ago it ended.
    pub ago: Duration,
}

/// A job, in its client's words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobReport {
    /// Its name in the cluster.
    pub id: JobId,
    /// Its name for people.
    pub name: String,
    /// Whose it is.
    pub owner: String,
    /// Tasks that wait at the client.
    pub queued: u64,
    /// The number of the first of these; 0 for none.
    pub next: u64,
    /// Tasks that are at nodes.
    pub running: u64,
    /// Tasks that went well.
    pub done: u64,
    /// Tasks that did not.
    pub failed: u64,
    /// Attempts that were not the last of their task.
    pub retried: u64,
    /// What the queued tasks wait for, in words.
    pub wait: &'static str,
    /// No more tasks will come.
    pub closed: bool,
    /// The client is still linked to the node that says this.
    pub attached: bool,
    /// How long ago the client said so.
    pub ago: Duration,
}

impl JobReport {
    /// In one word.
    pub fn state(&self) -> &'static str {
        match (self.closed && self.queued == 0 && self.running == 0, self.attached, self.queued) {
            (true, ..) => "ended",
            (false, false, _) => "client gone",
            (false, true, _) if self.running > 0 => "running",
            (false, true, 0) => "idle",
            (false, true, _) => "waiting",
        }
    }
}

impl From<job::Heard> for JobReport {
    fn from(heard: job::Heard) -> Self {
        let job = heard.job;
        Self {
            id: job.id,
            name: job.name,
            owner: heard.owner.into(),
            queued: job.queued,
            next: job.next,
            running: job.running,
            done: job.done,
            failed: job.failed,
            retried: job.retried,
            wait: match job.wait {
                Wait::Nothing => "nothing",
                Wait::Nodes => "a node: none can be reached",
                Wait::Credits => "a credit: the nodes have as many tasks as they take for now",
                Wait::Program => "its program, which is being sent to the nodes",
            },
            closed: job.closed,
            attached: heard.attached,
            ago: heard.ago.into(),
        }
    }
}

impl TaskReport {
    pub(crate) fn new(node: String, why: job::Why) -> Self {
        let place = match why.now {
            Now::Absent => Place::Absent,
            Now::Arriving { since } => Place::Arriving { since: since.into() },
            Now::Waiting { since, before: _, hold: Hold::Loading { workers } } => {
                Place::Loading { since: since.into(), workers }
            }
            Now::Waiting { since, before, hold: Hold::Busy { slots, own, others } } => {
                Place::Waiting { since: since.into(), before, slots, own, others }
            }
            Now::Working { since, before, ran, worker, pid, memory, attempt } => {
                let (since, ran) = (since.into(), ran.into());
                Place::Working { since, before, ran, worker, pid, memory, attempt }
            }
        };
        let ended = why.ended.into_iter().map(|ended| AttemptReport {
            attempt: ended.attempt,
            transfer: ended.times.transfer.into(),
            waited: ended.times.waited.into(),
            ran: ended.ran.into(),
            worker: ended.times.worker,
            ago: ended.ago.into(),
            failure: outcome::failure(&End::Status {
                status: ended.status,
                output: Payload::empty(),
            }),
        });
        Self { node, place, ended: ended.collect(), job: why.job.map(JobReport::from) }
    }

    /// Nothing is known of it there.
    pub fn is_blank(&self) -> bool {
        self.place == Place::Absent && self.ended.is_empty() && self.job.is_none()
    }
}
