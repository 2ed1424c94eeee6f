//! What is known of one session: who it is, when it was heard of, what it holds, and what became of
//! its requests.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};

use bytes::Bytes;
use slab::Slab;
use wire::limits::{REQUESTS_MAX, SESSION_KEPT};
use wire::name::Name;
use wire::region::{Answer, PageNo, SessionId};
use wire::units::{Span, Time};

use super::locks::Place;
use crate::LinkId;

/// A place in the table of sessions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct SessionAt(pub u32);

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
    /// Every request up to this one was answered, and its client knows.
    pub answered: u64,
    /// What the vault need not know any more was not told it yet.
    pub is_forgetting: bool,
    /// Watches, by request.
    pub watches: BTreeMap<u64, u32>,
    /// What became of requests that changed something, in the order of their numbers.
    outcomes: VecDeque<Kept>,
    /// The numbers of `outcomes`, in the order in which they were decided.
    decided: VecDeque<u64>,
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

    /// Keeps what became of a request. Of so many requests that have no answer yet at its client,
    /// these are the latest that were decided, so older ones are in the client's hands.
    pub(super) fn remember(&mut self, request: u64, answer: Answer, tells: u64) {
        if self.decided.len() >= 2 * REQUESTS_MAX {
            self.drop_oldest();
        }
        self.decided.push_back(request);
        let at = self.outcomes.partition_point(|kept| kept.request < request);
        self.outcomes.insert(at, Kept { request, answer, tells });
    }

    fn drop_oldest(&mut self) {
        let Some(oldest) = self.decided.pop_front() else { return };
        if let Ok(at) = self.outcomes.binary_search_by_key(&oldest, |kept| kept.request) {
            self.outcomes.remove(at);
        }
    }

    /// The client knows what became of all requests up to this one. Whether anything was forgotten.
    pub(super) fn forget(&mut self, answered: u64) -> bool {
        if answered <= self.answered {
            return false;
        }
        self.answered = answered;
        let count = self.outcomes.partition_point(|kept| kept.request <= answered);
        self.outcomes.drain(..count);
        // What is forgotten was mostly decided first.
        while self.decided.front().is_some_and(|&request| request <= answered) {
            self.decided.pop_front();
        }
        if self.decided.len() > 2 * self.outcomes.len() {
            self.decided.retain(|&request| request > answered);
        }
        count > 0
    }

    /// Whether silence would cost it something.
    pub(super) fn has_lease(&self) -> bool {
        !self.is_bare && (self.waiting > 0 || !self.locks.is_empty())
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
            answered: 0,
            is_forgetting: false,
            watches: BTreeMap::new(),
            outcomes: VecDeque::new(),
            decided: VecDeque::new(),
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
