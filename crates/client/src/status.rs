//! What the nodes of a cluster are doing, for people and their tools.

use std::time::{Duration, SystemTime};

use wire::member::State;
use wire::status::Report;

/// One node, as it describes itself, or why it cannot be asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeStatus {
    /// Its name, once it has said it.
    pub name: Option<String>,
    /// Where it is reached.
    pub address: String,
    /// What it says of itself.
    pub report: Result<NodeReport, String>,
}

/// A node whose link broke. Its tasks are tried again elsewhere, as far as they may be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loss {
    /// Its name.
    pub node: String,
    /// Where it was reached.
    pub address: String,
    /// What happened.
    pub why: String,
}

/// What a node says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeReport {
    /// Its program and version.
    pub agent: String,
    /// How long it has been up.
    pub up: Duration,
    /// When it started, by its own clock and to a second or two.
    pub started: SystemTime,
    /// Tasks that it runs at a time.
    pub slots: u32,
    /// Processes that moved there; each takes one of the slots.
    pub visitors: u32,
    /// Clients with a link to it.
    pub clients: Vec<ClientReport>,
    /// Its processes that run tasks.
    pub workers: Vec<WorkerReport>,
    /// Immutable files that it keeps: programs and large inputs.
    pub blobs: u64,
    /// Their bytes.
    pub blob_bytes: u64,
    /// All nodes that it knows of, itself among them.
    pub members: Vec<MemberReport>,
}

/// One client's use of a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientReport {
    /// As its certificate says.
    pub name: String,
    /// Tasks that run now.
    pub running: u32,
    /// Tasks that wait for a slot.
    pub waiting: u32,
    /// Tasks that have ended.
    pub done: u64,
}

/// One worker of a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkerReport {
    /// What it runs.
    pub program: String,
    /// For whom.
    pub client: String,
    /// Tasks that it has, the running one included.
    pub tasks: u32,
    /// Tasks that it has ended.
    pub done: u64,
}

/// One node as another one knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberReport {
    /// Its name.
    pub name: String,
    /// Where it listens.
    pub addresses: Vec<String>,
    /// Tasks that it runs at a time.
    pub slots: u32,
    /// `here`, `leaving`, `lost` or `gone`.
    pub state: &'static str,
}

impl From<Report> for NodeReport {
    fn from(report: Report) -> Self {
        // A node's lives are numbered by the second in which they began.
        let own = report.members.iter().find(|member| member.name == report.node);
        let started = Duration::from_secs(own.map_or(0, |own| own.life.min(1 << 40)));
        let clients = report.users.into_iter().map(|user| ClientReport {
            name: user.name.into(),
            running: user.running,
            waiting: user.waiting,
            done: user.done,
        });
        let workers = report.workers.into_iter().map(|worker| WorkerReport {
            program: worker.program,
            client: worker.user.into(),
            tasks: worker.tasks,
            done: worker.done,
        });
        let members = report.members.into_iter().map(|member| MemberReport {
            name: member.name.into(),
            addresses: member.addresses,
            slots: member.slots,
            state: match member.state {
                State::Here => "here",
                State::Leaving => "leaving",
                State::Lost => "lost",
                State::Gone => "gone",
            },
        });
        Self {
            agent: report.agent,
            up: report.up.into(),
            started: SystemTime::UNIX_EPOCH + started,
            slots: report.slots,
            visitors: report.visitors,
            clients: clients.collect(),
            workers: workers.collect(),
            blobs: report.blobs,
            blob_bytes: report.blob_bytes,
            members: members.collect(),
        }
    }
}
