//! Processes that move to this node: who may, how many, and which connection belongs to which.
//!
//! What a visitor consists of, and when it runs, its pad sees to: behind the greeting the node passes its
//! connections on unread. Each takes a slot for as long as it is here, so that fewer tasks run beside it.

use std::collections::{BTreeMap, VecDeque};

use wire::Message;
use wire::blob::Permit;
use wire::hello::{Goodbye, Hello, Purpose};
use wire::limits::{VISIT_TEXT_MAX, VISIT_WAITS, VISITS_MAX, VISITS_OVER_MAX};
use wire::name::Name;
use wire::units::Time;
use wire::visit::{Begin, Chained, Entry, Lane, Stage, Visit};

use super::{Effect, Node, Peer};
use crate::{LinkId, VisitId};

#[derive(Debug)]
struct Guest {
    owner: Name,
    /// Who may come back: the same certificate, or the same user over the Unix socket.
    peer: Peer,
    /// Names the visit to its client. Unguessable.
    token: u64,
    begin: Begin,
    /// Who shows this gets the image that comes here, once.
    onward: Option<Permit>,
    stage: Stage,
    since: Time,
    /// When it ended.
    ended: Option<Time>,
    /// What it has of connections for pages.
    lanes: Vec<Lane>,
}

/// What another connection of a visit is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Use {
    /// Its streams.
    Streams,
    /// Pages that follow.
    Pages(Lane),
    /// A node, which gets the image that comes here.
    Image,
}

/// What a driver needs to begin a visit.
#[derive(Debug)]
pub struct Arrival {
    pub begin: Begin,
    pub chain: Option<Chain>,
}

/// One of several visits of the same image.
#[derive(Debug)]
pub struct Chain {
    /// What the copy learns.
    pub number: u32,
    /// Without one the image comes over the visit's own connection.
    pub from: Option<Upstream>,
    /// A node will come for the image.
    pub goes_on: bool,
}

/// Another node, which has an image for a visit here.
#[derive(Debug)]
pub struct Upstream {
    /// The name that its certificate must have.
    pub from: Name,
    pub addresses: Vec<String>,
    pub hello: Hello,
}

/// The visits of a node, by their numbers.
#[derive(Debug, Default)]
pub(super) struct Visits {
    guests: BTreeMap<VisitId, Guest>,
    begun: u32,
    /// Tokens of those that were woken and are over, the oldest first, and whether their ends were known.
    over: VecDeque<(u64, bool)>,
    follows: Follows,
}

/// Whether the memory of a visitor may follow it here; if not, why: `what; next step`.
#[derive(Debug)]
struct Follows(Result<(), String>);

impl Default for Follows {
    fn default() -> Self {
        Self(Err("its pages cannot follow a process to this node; send them before".to_owned()))
    }
}

impl Visits {
    pub(super) fn count(&self) -> usize {
        self.guests.len()
    }

    /// Those that something runs for, or is to.
    pub(super) fn busy(&self) -> u32 {
        let rests = [Stage::Idle, Stage::Ended, Stage::Refused];
        self.guests.values().filter(|guest| !rests.contains(&guest.stage)).count() as u32
    }

    fn oldest_end(&self) -> Option<(Time, VisitId)> {
        let ends = self.guests.iter().filter_map(|(visit, guest)| Some((guest.ended?, *visit)));
        ends.min()
    }

    /// It is not here any more.
    fn remove(&mut self, visit: VisitId) {
        let gone = self.guests.remove(&visit);
        if let Some(guest) = gone.filter(|guest| [Stage::Runs, Stage::Ended].contains(&guest.stage))
        {
            self.over.push_back((guest.token, guest.stage == Stage::Ended));
            if self.over.len() > VISITS_OVER_MAX {
                self.over.pop_front();
            }
        }
    }

    /// What is known of a visit that is not here.
    fn absent(&self, token: u64) -> Goodbye {
        match self.over.iter().find(|(known, _)| *known == token) {
            Some((_, true)) => Goodbye::Over {
                reason: "it ran there, and how it ended was forgotten; look at what it has done"
                    .to_owned(),
            },
            Some((_, false)) => Goodbye::Over {
                reason: "it ran there, and is lost with its pad; look at what it did before that"
                    .to_owned(),
            },
            None => Goodbye::Absent {
                reason:
                    "it never ran there, or was lost with the node, which was started anew; try again"
                        .to_owned(),
            },
        }
    }
}

impl Node {
    /// Whether the kernel lets the memory of a visitor follow it here. Until this is told, it may not.
    pub fn set_pages_follow(&mut self, follows: Result<(), String>) {
        self.visits.follows = Follows(follows);
    }

    /// A client's connection for a process that moves, or a node's for the image of one.
    pub(super) fn greeted_visit(&mut self, now: Time, link: LinkId, entry: Entry, peer: &Peer) {
        if let Entry::Onward { permit } = entry {
            return self.send_onward(now, link, permit, peer);
        }
        let owner = match peer {
            Peer::Client(name) | Peer::Admin(name) => name.clone(),
            Peer::Stranger | Peer::Node(_) => {
                let reason = "only clients bring processes; join as a client first".to_owned();
                return self.refuse(now, link, Goodbye::Forbidden { reason });
            }
        };
        match entry {
            Entry::Begin(begin) => {
                let arrival = Arrival { begin, chain: None };
                self.begin_visit(now, link, arrival, None, owner, peer);
            }
            Entry::Chained(Chained { begin, number, from, onward }) => {
                let from = from.map(|(from, permit)| self.upstream(&from, permit));
                let chain = Some(Chain { number, from, goes_on: onward.is_some() });
                self.begin_visit(now, link, Arrival { begin, chain }, onward, owner, peer);
            }
            Entry::Return { visit } => self.return_to_visit(now, link, visit, peer, None),
            Entry::Pages { visit, lane } => {
                self.return_to_visit(now, link, visit, peer, Some(lane));
            }
            Entry::Onward { .. } => unreachable!("dealt with above"),
        }
    }

    /// Where the image of a visit comes from, if not from its client. Of a node that nobody knows there are no
    /// addresses, and no image comes.
    fn upstream(&self, from: &Name, permit: Permit) -> Upstream {
        let entry = Entry::Onward { permit };
        let hello = Hello {
            agent: self.options.agent.clone(),
            name: self.members.me().name.clone(),
            purpose: Purpose::Visit { entry },
        };
        Upstream { from: from.clone(), addresses: self.members.addresses(from), hello }
    }

    /// A node that comes for the image of a visit. The permit is random and of one use, its client has told it to
    /// this node and to one other; without it a node's certificate opens nothing.
    fn send_onward(&mut self, now: Time, link: LinkId, permit: Permit, peer: &Peer) {
        let mut guests = self.visits.guests.iter_mut();
        let found = guests.find(|(_, guest)| guest.onward == Some(permit));
        let (Some((&visit, guest)), Peer::Node(_)) = (found, peer) else {
            let reason = "no image is lent to you; ask its client for a permit".to_owned();
            return self.refuse(now, link, Goodbye::Forbidden { reason });
        };
        guest.onward = None;
        self.welcome(now, link, 0);
        self.links[link.0 as usize] = None;
        self.effects.push_back(Effect::ReturnVisit { visit, connection: link, what: Use::Image });
    }

    fn begin_visit(
        &mut self,
        now: Time,
        link: LinkId,
        arrival: Arrival,
        onward: Option<Permit>,
        owner: Name,
        peer: &Peer,
    ) {
        let begin = &arrival.begin;
        if begin.from.len() > VISIT_TEXT_MAX || begin.command.len() > VISIT_TEXT_MAX {
            let reason = format!("a name of more than {VISIT_TEXT_MAX} bytes");
            return self.breach(now, link, reason);
        }
        if self.leaving.is_some() {
            let reason = "this node leaves; choose another one".to_owned();
            return self.refuse(now, link, Goodbye::Full { reason });
        }
        // An end that nobody has heard of gives way to who comes. Whoever is there is hearing it before that.
        if self.visits.count() >= VISITS_MAX
            && let Some((ended, oldest)) = self.visits.oldest_end()
            && now >= ended + VISIT_WAITS
        {
            self.visits.remove(oldest);
            self.effects.push_back(Effect::EndVisit(oldest));
        }
        if self.visits.count() >= VISITS_MAX {
            let reason = format!("{VISITS_MAX} visitors are here; choose another node");
            return self.refuse(now, link, Goodbye::Full { reason });
        }
        let Some(token) = self.connection(link).map(|connection| connection.token) else { return };
        self.visits.begun += 1;
        let visit = VisitId(self.visits.begun);
        let (peer, stage) = (peer.clone(), Stage::Arriving);
        let (begin, lanes) = (begin.clone(), Vec::new());
        let ended = None;
        let guest = Guest { owner, peer, token, begin, onward, stage, since: now, ended, lanes };
        self.visits.guests.insert(visit, guest);
        self.slots.host(self.visits.busy());
        self.welcome(now, link, token);
        self.links[link.0 as usize] = None;
        let arrival = Box::new(arrival);
        self.effects.push_back(Effect::BeginVisit { visit, connection: link, arrival });
    }

    fn return_to_visit(
        &mut self,
        now: Time,
        link: LinkId,
        token: u64,
        peer: &Peer,
        lane: Option<Lane>,
    ) {
        let mut guests = self.visits.guests.iter_mut();
        let Some((&visit, guest)) = guests.find(|(_, guest)| guest.token == token) else {
            let goodbye = self.visits.absent(token);
            return self.refuse(now, link, goodbye);
        };
        // Never `Absent`: whoever brought it by another way would take it for gone.
        if guest.peer != *peer {
            let reason = "another client's visit; come as that one, by the same way".to_owned();
            return self.refuse(now, link, Goodbye::Forbidden { reason });
        }
        if let Some(lane) = lane {
            if let Err(reason) = &self.visits.follows.0 {
                let reason = reason.clone();
                return self.refuse(now, link, Goodbye::Full { reason });
            }
            if guest.stage != Stage::Arriving || guest.lanes.contains(&lane) {
                let reason = "each connection for pages comes once, before the image".to_owned();
                return self.breach(now, link, reason);
            }
            guest.lanes.push(lane);
        }
        self.welcome(now, link, token);
        self.links[link.0 as usize] = None;
        let what = lane.map_or(Use::Streams, Use::Pages);
        self.effects.push_back(Effect::ReturnVisit { visit, connection: link, what });
    }

    pub(super) fn visit_came(&mut self, now: Time, visit: VisitId, stage: Stage) {
        if let Some(guest) = self.visits.guests.get_mut(&visit) {
            // A pad is believed only forwards.
            guest.stage = match (guest.stage, stage) {
                // Calls come and go.
                (Stage::Idle, stage) => stage,
                (_, Stage::Idle) => Stage::Idle,
                (before, stage) => before.max(stage),
            };
            if guest.stage == Stage::Ended {
                guest.ended = guest.ended.or(Some(now));
            }
        }
        self.slots.host(self.visits.busy());
    }

    /// Nothing of it runs any more.
    pub(super) fn visit_ended(&mut self, visit: VisitId) {
        self.visits.remove(visit);
        self.slots.host(self.visits.busy());
    }

    /// To whoever may see them. Their numbers of processes are the driver's to add.
    pub(super) fn visits_asked(&mut self, now: Time, link: LinkId, channel: u64) {
        let Some(connection) = self.connection(link) else { return };
        let owner = match &connection.peer {
            Peer::Admin(_) => None,
            Peer::Client(name) => Some(name.clone()),
            Peer::Node(_) | Peer::Stranger => return,
        };
        let may_see = |guest: &&Guest| owner.as_ref().is_none_or(|owner| guest.owner == *owner);
        let told = self.visits.guests.iter().filter(|(_, guest)| may_see(guest));
        let told = told.map(|(visit, guest)| Visit {
            number: visit.0,
            owner: guest.owner.clone(),
            begin: guest.begin.clone(),
            stage: guest.stage,
            pid: 0,
            since: now.since(guest.since),
        });
        let visits = wire::visit::Visits { visits: told.collect() };
        self.send(link, channel, Message::Visits(visits));
    }
}
