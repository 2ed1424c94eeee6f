//! What a node answers when somebody asks about tasks and jobs, and what workers write for people.
//!
//! Everybody is told of his own; an admin is told of all.

use bytes::Bytes;
use wire::Message;
use wire::job::{Job, Log, Now, Why};
use wire::name::{Name, TaskName};
use wire::status::Report;
use wire::units::Time;

use super::gossip::MEMBERS_IN_MESSAGE;
use super::{Effect, Node, Peer};
use crate::{LinkId, WorkerId};

/// Whose tasks and jobs somebody sees.
enum Sight {
    All,
    Own(Name),
}

impl Sight {
    fn owner(&self) -> Option<&Name> {
        match self {
            Self::All => None,
            Self::Own(name) => Some(name),
        }
    }
}

impl Node {
    /// What it is doing.
    pub(super) fn report(&self, now: Time) -> Report {
        let (blobs, blob_bytes) = self.blobs.sum();
        Report {
            node: self.members.me().name.clone(),
            agent: self.options.agent.clone(),
            up: now.since(self.since),
            slots: self.slots.size(),
            visitors: self.visits.count() as u32,
            users: self.slots.users(),
            workers: self.slots.workers().into_iter().map(|(_, worker)| worker).collect(),
            blobs,
            blob_bytes,
            members: self.members.iter().take(MEMBERS_IN_MESSAGE).cloned().collect(),
        }
    }

    /// Whose tasks a link may ask about.
    fn sees(&self, link: LinkId) -> Option<Sight> {
        match &self.links.get(link.0 as usize)?.as_ref()?.peer {
            Peer::Admin(_) => Some(Sight::All),
            Peer::Client(name) => Some(Sight::Own(name.clone())),
            Peer::Node(_) | Peer::Stranger => None,
        }
    }

    pub(super) fn hear(&mut self, now: Time, link: LinkId, job: Job) {
        let Some(owner) = self.owner(link) else { return };
        if let Err(breach) = self.heard.hear(now, link, &owner, job) {
            self.breach(now, link, breach.to_string());
        }
    }

    pub(super) fn why(&mut self, now: Time, link: LinkId, channel: u64, name: TaskName) {
        let Some(sight) = self.sees(link) else { return };
        let owner = sight.owner();
        let may_see = |of: LinkId| owner.is_none() || self.owner(of).as_ref() == owner;
        let came = self.arrivals.find(name).find(|(of, _)| may_see(*of));
        let arriving = came.map(|(_, came)| Now::Arriving { since: now.since(came) });
        let place = arriving.or_else(|| self.slots.find(now, name, owner));
        let why = Why {
            name,
            now: place.unwrap_or(Now::Absent),
            ended: self.history.find(now, name, owner),
            job: self.heard.find(now, name.job, owner),
        };
        self.send(link, channel, Message::Why(Box::new(why)));
    }

    pub(super) fn jobs(&mut self, now: Time, link: LinkId, channel: u64) {
        let Some(sight) = self.sees(link) else { return };
        let jobs = self.heard.all(now, sight.owner());
        self.send(link, channel, Message::Jobs(jobs));
    }

    /// A worker wrote to its standard error: it goes to the client of the task that it is at, as it
    /// comes, so that it is there when this node is not.
    pub(super) fn worker_wrote(
        &mut self,
        now: Time,
        worker: WorkerId,
        started: u64,
        mut bytes: Bytes,
    ) {
        let Some((link, name, attempt)) = self.slots.writer(worker, started) else { return };
        // A controller's protocol has no word for it.
        if self.controllers.has(link) {
            return;
        }
        let (passed, skipped) = self.logs.wrote(now, worker, bytes.len() as u64);
        if passed > 0 {
            bytes.truncate(usize::try_from(passed).unwrap_or(usize::MAX));
            let log = Log { name, attempt, skipped };
            self.effects.push_back(Effect::SendLog { link, worker, log, bytes });
        }
    }

    /// The client did not read: what was meant for it is counted with what was left out.
    pub fn log_lost(&mut self, worker: WorkerId, log: &Log, bytes: &Bytes) {
        self.logs.lost(worker, log.skipped + bytes.len() as u64);
    }
}
