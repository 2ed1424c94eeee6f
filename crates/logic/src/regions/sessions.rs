//! What is known of one session: who it is, when it was heard of, what it holds, and what became of
//! its requests.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};

use bytes::Bytes;
use slab::Slab;
use wire::limits::{REQUESTS_MAX, SESSION_KEPT};
use wire::name::Name;
use wire::region::{Answer, PageNo, SessionId};
use wire::units::{Span, Time};

use super::places::Place;
use crate::LinkId;

pub(super) use super::places::SessionAt;

#[derive(Debug)]
pub(super) struct Session {
    pub id: SessionId,
    /// Tells sessions apart that have had the same place in the table.
    pub serial: u64,
    pub owner: Name,
    /// Of a peer that cannot come back: it has no lease, and nothing is remembered for it.
    pub is_bare: bool,
    pub link: Option<LinkId>,
    pub heard: Time,
    /// When it is looked at again; may be early.
    pub alarm: Time,
    pub locks: BTreeSet<PageNo>,
    /// Requests that have no answer yet.
    pub under_way: BTreeMap<u64, UnderWay>,
    /// Of these, the ones that wait for a lock or at a barrier.
    pub waiting: u32,
    /// It may have coherent pages.
    pub is_mapped: bool,
    /// Every request up to this one was answered, and its client knows.
    pub answered: u64,
    /// What the vault need not know any more was not told it yet.
    pub is_forgetting: bool,
    /// Watches, by request.
    pub watches: BTreeMap<u64, u32>,
    /// What became of requests that changed something, in the order of their numbers.
    outcomes: VecDeque<Kept>,
    /// The numbers of those that are commits, in the order in which they were decided.
    commits: VecDeque<u64>,
    /// The same of all others: their answers wait for nothing, those of commits for the vault, so
    /// neither pushes the other out.
    others: VecDeque<u64>,
    /// Commits of an earlier time of the region; which was first is not known any more.
    earlier: Vec<u64>,
    /// Bytes of the lists in `outcomes`.
    pub held: u64,
    /// Its vault may know of it.
    pub is_in_vault: bool,
}

/// What a request without an answer does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum UnderWay {
    /// A `Lock`.
    Locking(Place),
    /// An `Update` or a `Transact` that waits for a lock.
    Writing(Place),
    /// Stands at this barrier.
    Arrived(u64),
    /// A `Fetch` that waits for its page.
    Fetching,
    /// Is decided; what its answer tells is not kept yet.
    Unkept,
}

#[derive(Debug)]
struct Kept {
    request: u64,
    answer: Answer,
    /// Of the commit that it tells.
    tells: u64,
}

impl Kept {
    fn held(&self) -> u64 {
        match &self.answer {
            Answer::Transacted { versions } => size_of_val(versions.as_slice()) as u64,
            _ => 0,
        }
    }
}

/// What is known of a request's number.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// To be carried out: it is new, or changed nothing when it was carried out before.
    Open,
    UnderWay,
    /// It was carried out; its answer, and the commit that this tells.
    Decided(Answer, u64),
    /// Its client has said that it knows the answer.
    Answered,
}

impl Session {
    pub(super) fn standing(&self, request: u64) -> Standing {
        if request <= self.answered {
            return Standing::Answered;
        }
        if !self.under_way.is_empty() && self.under_way.contains_key(&request) {
            return Standing::UnderWay;
        }
        match self.outcomes.binary_search_by_key(&request, |kept| kept.request) {
            Ok(at) => Standing::Decided(self.outcomes[at].answer.clone(), self.outcomes[at].tells),
            Err(_) => Standing::Open,
        }
    }

    /// Keeps what became of a request. Beyond the latest `2 * REQUESTS_MAX` of its kind, older ones are
    /// in the client's hands: answers of a kind leave in the order of deciding, and while a client waits
    /// for one, fewer than `REQUESTS_MAX` lower numbers and as many higher ones can be decided.
    pub(super) fn remember(&mut self, request: u64, answer: Answer) {
        if self.others.len() >= 2 * REQUESTS_MAX
            && let Some(oldest) = self.others.pop_front()
        {
            self.drop_outcome(oldest);
        }
        self.others.push_back(request);
        self.insert(Kept { request, answer, tells: 0 });
    }

    /// The same of a request that was committed. Those that are dropped for it go to `dropped`.
    pub(super) fn remember_commit(
        &mut self,
        request: u64,
        answer: Answer,
        tells: u64,
        dropped: &mut Vec<(SessionId, u64)>,
    ) {
        if self.commits.len() >= 2 * REQUESTS_MAX {
            // All that is of earlier times is older than any of these.
            let mut oldest = std::mem::take(&mut self.earlier);
            if oldest.is_empty() {
                oldest.extend(self.commits.pop_front());
            }
            for request in oldest {
                if self.drop_outcome(request) {
                    dropped.push((self.id, request));
                }
            }
        }
        self.commits.push_back(request);
        self.insert(Kept { request, answer, tells });
    }

    /// Knows again what was committed before the region was opened.
    pub(super) fn recall(&mut self, request: u64, answer: Answer) {
        self.is_in_vault = true;
        self.earlier.push(request);
        self.insert(Kept { request, answer, tells: 0 });
    }

    fn insert(&mut self, kept: Kept) {
        self.held += kept.held();
        let at = self.outcomes.partition_point(|other| other.request < kept.request);
        self.outcomes.insert(at, kept);
    }

    /// Whether it was there.
    fn drop_outcome(&mut self, request: u64) -> bool {
        let found = self.outcomes.binary_search_by_key(&request, |kept| kept.request);
        let dropped = found.ok().and_then(|at| self.outcomes.remove(at));
        self.held -= dropped.as_ref().map_or(0, Kept::held);
        dropped.is_some()
    }

    /// The client knows what became of all requests up to this one. Whether anything was forgotten.
    pub(super) fn forget(&mut self, answered: u64) -> bool {
        if answered <= self.answered {
            return false;
        }
        self.answered = answered;
        let count = self.outcomes.partition_point(|kept| kept.request <= answered);
        self.held -= self.outcomes.drain(..count).map(|kept| kept.held()).sum::<u64>();
        if self.outcomes.is_empty() {
            self.earlier = Vec::new();
        }
        let left = self.outcomes.len();
        for decided in [&mut self.commits, &mut self.others] {
            // What is forgotten was mostly decided first.
            while decided.front().is_some_and(|&request| request <= answered) {
                decided.pop_front();
            }
            if decided.len() > 2 * left {
                decided.retain(|&request| request > answered);
            }
        }
        count > 0
    }

    /// Whether silence would cost it something.
    pub(super) fn has_lease(&self) -> bool {
        !self.is_bare && (self.waiting > 0 || !self.locks.is_empty() || self.is_mapped)
    }

    /// When it has to be looked at.
    pub(super) fn due(&self, lease: Span) -> Time {
        if self.is_bare {
            Time::NEVER
        } else if self.has_lease() {
            self.heard + lease
        } else if self.link.is_none() {
            self.heard + SESSION_KEPT
        } else {
            Time::NEVER
        }
    }
}

/// The sessions of a region.
#[derive(Debug, Default)]
pub(super) struct Sessions {
    table: Slab<Session>,
    ids: HashMap<SessionId, SessionAt>,
    serial: u64,
}

impl Sessions {
    /// Opens one.
    pub(super) fn open(
        &mut self,
        now: Time,
        id: Option<SessionId>,
        owner: Name,
        link: Option<LinkId>,
    ) -> SessionAt {
        self.serial += 1;
        let at = self.table.insert(Session {
            id: id.unwrap_or_default(),
            serial: self.serial,
            owner,
            is_bare: id.is_none(),
            link,
            heard: now,
            alarm: Time::NEVER,
            locks: BTreeSet::new(),
            under_way: BTreeMap::new(),
            waiting: 0,
            is_mapped: false,
            answered: 0,
            is_forgetting: false,
            watches: BTreeMap::new(),
            outcomes: VecDeque::new(),
            commits: VecDeque::new(),
            others: VecDeque::new(),
            earlier: Vec::new(),
            held: 0,
            is_in_vault: false,
        });
        let at = SessionAt(at as u32);
        if let Some(id) = id {
            self.ids.insert(id, at);
        }
        at
    }

    pub(super) fn find(&self, id: SessionId) -> Option<SessionAt> {
        self.ids.get(&id).copied()
    }

    pub(super) fn remove(&mut self, at: SessionAt) -> Option<Session> {
        let session = self.table.try_remove(at.0 as usize)?;
        if !session.is_bare {
            self.ids.remove(&session.id);
        }
        Some(session)
    }

    pub(super) fn get(&self, at: SessionAt) -> Option<&Session> {
        self.table.get(at.0 as usize)
    }

    pub(super) fn get_mut(&mut self, at: SessionAt) -> Option<&mut Session> {
        self.table.get_mut(at.0 as usize)
    }

    pub(super) fn len(&self) -> usize {
        self.table.len()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Session> {
        self.table.iter().map(|(_, session)| session)
    }
}

impl std::ops::Index<SessionAt> for Sessions {
    type Output = Session;
    fn index(&self, at: SessionAt) -> &Session {
        &self.table[at.0 as usize]
    }
}

impl std::ops::IndexMut<SessionAt> for Sessions {
    fn index_mut(&mut self, at: SessionAt) -> &mut Session {
        &mut self.table[at.0 as usize]
    }
}

/// An answer that waits until what it tells is kept.
#[derive(Debug)]
pub(super) struct Unkept {
    pub session: SessionAt,
    pub serial: u64,
    pub request: u64,
    pub answer: Answer,
    pub bytes: Bytes,
}
