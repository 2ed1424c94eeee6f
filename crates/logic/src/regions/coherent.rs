//! The home of coherent pages: who has each, to read or to write, and who comes next.
//!
//! ```text
//!   copy A                  home                        copy B
//!     FETCH to write ->      waiting: A
//!                            recalled: B   RECALL ->
//!                            the bytes     <- YIELDED   (stops its writers first, then copies)
//!     <- GRANTED
//! ```
//!
//! A page has one writer, or any number of readers, or nobody: then its bytes are here alone. Requests
//! for a page are served one at a time, in the order of asking; while somebody is asked to give it
//! back, the others wait.
//!
//! Versions tell copies apart. Each grant to write has a new one, and so has a page that nobody has any
//! more: a session that gets a page again never has it under the same version, and an answer that is
//! late or comes twice, after a connection broke, is known by it. A grant goes without bytes only to one who is a reader *here*: an
//! invalidation that is still on its way to it would have ended that (rule 4 of the design).
//!
//! A session whose lease is over gives nothing back: its pages are again what was last sent here, and
//! what it wrote since is lost. That is never what another wrote: whatever others wrote came through
//! here before the lost one was granted the page.
//!
//! Nothing here looks at a clock: how long a page stays with whoever was just given it is said in the
//! grant, and the copy, which alone knows when its threads could begin, obeys.
//!
//! Elsewhere: the copies (`mapped`), sessions and their leases (`regions`).

use std::collections::{BTreeSet, HashMap, VecDeque};

use bytes::Bytes;
use wire::limits::{COHERENT_HOLD, COHERENT_PAGE};
use wire::region::{Access, PageNo, Recall, SessionId, Version};
use wire::units::Span;

#[derive(Debug, PartialEq, Eq)]
pub enum Effect {
    Recall {
        session: SessionId,
        recall: Recall,
    },
    /// The answer to a `Fetch`; without bytes if those that the session has are right.
    Grant {
        session: SessionId,
        request: u64,
        grant: Grant,
    },
}

#[derive(Debug, PartialEq, Eq)]
pub struct Grant {
    pub access: Access,
    pub version: Version,
    pub hold: Span,
    pub bytes: Option<Bytes>,
}

/// A page with traffic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hot {
    pub page: PageNo,
    /// How often it, or the right to write it, went from one session to another.
    pub traffic: u64,
    pub waiting: u32,
    pub holders: Vec<SessionId>,
}

/// The coherent pages of one region. After each call drain `poll_effect`.
#[derive(Debug)]
pub struct Directory {
    pages: HashMap<PageNo, Page>,
    /// Where each session is a holder, waits or is asked: looked at when it is lost.
    places: HashMap<SessionId, BTreeSet<PageNo>>,
    zeros: Bytes,
    /// Pages that somebody was ever granted to write.
    written: u64,
    moves: u64,
    effects: VecDeque<Effect>,
    #[cfg(test)]
    pub(super) bug: Option<super::mapped::Bug>,
}

/// Of a page, with room for whoever has it and in the tables.
const PLACE_BYTES: u64 = 2 * size_of::<(PageNo, Page)>() as u64;

#[derive(Debug)]
struct Page {
    /// As last sent here. While somebody writes, those of the version before.
    bytes: Bytes,
    version: Version,
    /// Somebody was granted to write it.
    is_written: bool,
    holders: Holders,
    waiting: VecDeque<Waiting>,
    /// Who is asked to give it back, and what each may keep.
    recalled: Vec<(SessionId, Access)>,
    /// Somebody gave it back since the last grant.
    is_taken: bool,
    traffic: u64,
}

#[derive(Debug)]
enum Holders {
    Readers(Vec<SessionId>),
    Writer(SessionId),
}

#[derive(Debug)]
struct Waiting {
    session: SessionId,
    request: u64,
    access: Access,
    has: Version,
}

impl Default for Directory {
    fn default() -> Self {
        Self::new()
    }
}

impl Directory {
    pub fn new() -> Self {
        Self {
            pages: HashMap::new(),
            places: HashMap::new(),
            zeros: Bytes::from(vec![0; COHERENT_PAGE as usize]),
            written: 0,
            moves: 0,
            effects: VecDeque::new(),
            #[cfg(test)]
            bug: None,
        }
    }

    /// Pages that were ever written, or may be: each takes its bytes here.
    pub fn written(&self) -> u64 {
        self.written
    }

    /// Bytes that it takes beside those of written pages. A page that was asked for once is never
    /// forgotten: versions would begin anew.
    pub fn overhead(&self) -> u64 {
        self.pages.len() as u64 * PLACE_BYTES
    }

    /// How many bytes that grows by when the page is asked for.
    pub fn growth(&self, page: PageNo) -> u64 {
        if self.pages.contains_key(&page) { 0 } else { PLACE_BYTES }
    }

    pub fn moves(&self) -> u64 {
        self.moves
    }

    /// Requests that wait for pages.
    pub fn waiting(&self) -> usize {
        self.pages.values().map(|page| page.waiting.len()).sum()
    }

    /// Whether a grant to write this page takes memory that was not taken before.
    pub fn is_new(&self, page: PageNo) -> bool {
        self.pages.get(&page).is_none_or(|page| !page.is_written)
    }

    /// A session asks for a page that is in the region. `has`: the version of its copy, 0 for none.
    /// Asked again under the same number, after its connection broke, it is still answered once.
    pub fn fetch(
        &mut self,
        session: SessionId,
        request: u64,
        number: PageNo,
        access: Access,
        has: Version,
    ) {
        self.places.entry(session).or_default().insert(number);
        let page = self.pages.entry(number).or_insert_with(|| Page::new(&self.zeros));
        let asked = page.waiting.iter_mut().find(|w| w.session == session && w.request == request);
        match asked {
            Some(waiting) => waiting.has = has,
            None => page.waiting.push_back(Waiting { session, request, access, has }),
        }
        self.pump(number);
    }

    /// A session gave a page back, asked or not; `bytes` are empty if it did not write. What does not
    /// fit the copy that it has is late, and means nothing any more.
    pub fn yielded(
        &mut self,
        session: SessionId,
        number: PageNo,
        kept: Access,
        version: Version,
        bytes: Bytes,
    ) {
        let Some(page) = self.pages.get_mut(&number) else { return };
        let asked = page.recalled.iter().position(|(from, _)| *from == session);
        let may_keep = asked.map_or(Access::Read, |at| page.recalled[at].1);
        if version != page.version || kept > may_keep || !page.has(session) {
            return;
        }
        match &mut page.holders {
            Holders::Writer(_) => {
                if bytes.len() == self.zeros.len() {
                    page.bytes = bytes;
                }
                let readers = if kept == Access::Read { vec![session] } else { Vec::new() };
                page.holders = Holders::Readers(readers);
            }
            Holders::Readers(readers) if kept == Access::Nothing => {
                readers.retain(|reader| *reader != session);
            }
            Holders::Readers(_) => {}
        }
        page.vacated();
        if let Some(at) = asked {
            page.recalled.swap_remove(at);
            page.is_taken = true;
            page.traffic += 1;
            self.moves += 1;
        }
        self.forget(session, number);
        self.pump(number);
    }

    /// A session is back on a new connection: what it was asked on the old one may be lost.
    pub fn resumed(&mut self, session: SessionId) {
        for number in self.places.get(&session).into_iter().flatten() {
            let Some(page) = self.pages.get(number) else { continue };
            for (_, keep) in page.recalled.iter().filter(|(from, _)| *from == session) {
                let recall = Recall { page: *number, keep: *keep, version: page.version };
                self.effects.push_back(Effect::Recall { session, recall });
            }
        }
    }

    /// A session is over: whatever it has is here again, as it was last sent.
    pub fn lost(&mut self, session: SessionId) {
        for number in self.places.remove(&session).unwrap_or_default() {
            let Some(page) = self.pages.get_mut(&number) else { continue };
            page.waiting.retain(|waiting| waiting.session != session);
            page.recalled.retain(|(from, _)| *from != session);
            match &mut page.holders {
                Holders::Writer(writer) if *writer == session => {
                    page.holders = Holders::Readers(Vec::new());
                }
                Holders::Writer(_) => {}
                Holders::Readers(readers) => readers.retain(|reader| *reader != session),
            }
            page.vacated();
            self.pump(number);
        }
    }

    /// The pages with most traffic, most first. It looks at all pages: for a person who asks.
    pub fn hot(&self, count: usize) -> Vec<Hot> {
        let mut found: Vec<(&PageNo, &Page)> =
            self.pages.iter().filter(|(_, page)| page.traffic > 0).collect();
        found.sort_unstable_by_key(|(number, page)| (std::cmp::Reverse(page.traffic), **number));
        let told = found.into_iter().take(count).map(|(number, page)| Hot {
            page: *number,
            traffic: page.traffic,
            waiting: u32::try_from(page.waiting.len()).unwrap_or(u32::MAX),
            holders: page.holders.sessions().to_vec(),
        });
        told.collect()
    }

    pub fn poll_effect(&mut self) -> Option<Effect> {
        self.effects.pop_front()
    }

    /// Serves who waits for a page, until somebody has to be asked first.
    fn pump(&mut self, number: PageNo) {
        let Some(page) = self.pages.get_mut(&number) else { return };
        if !page.recalled.is_empty() {
            return;
        }
        let hold = if page.is_taken { COHERENT_HOLD } else { Span(0) };
        while let Some(first) = page.waiting.front() {
            let keep = match first.access {
                Access::Write => Access::Nothing,
                Access::Read | Access::Nothing => Access::Read,
            };
            let in_the_way = page.in_the_way(first.session, first.access);
            page.recalled = in_the_way.into_iter().map(|session| (session, keep)).collect();
            if !page.recalled.is_empty() {
                for (session, _) in &page.recalled {
                    let recall = Recall { page: number, keep, version: page.version };
                    self.effects.push_back(Effect::Recall { session: *session, recall });
                }
                return;
            }
            let Some(first) = page.waiting.pop_front() else { return };
            if first.access == Access::Write && !page.is_written {
                page.is_written = true;
                self.written += 1;
            }
            #[cfg_attr(not(test), expect(unused_mut, reason = "a planted bug changes it"))]
            let mut grant = page.grant(&first, hold);
            #[cfg(test)]
            if self.bug == Some(super::mapped::Bug::GrantsUnseen) && first.has.0 > 0 {
                grant.bytes = None;
            }
            #[cfg(test)]
            if self.bug == Some(super::mapped::Bug::ForgetsReader) {
                page.forget_reader();
            }
            page.is_taken = false;
            let (session, request) = (first.session, first.request);
            self.effects.push_back(Effect::Grant { session, request, grant });
        }
    }

    /// Forgets that a session has to do with a page, if it has not any more.
    fn forget(&mut self, session: SessionId, number: PageNo) {
        let Some(page) = self.pages.get(&number) else { return };
        if page.has(session) || page.waiting.iter().any(|waiting| waiting.session == session) {
            return;
        }
        if let Some(places) = self.places.get_mut(&session) {
            places.remove(&number);
            if places.is_empty() {
                self.places.remove(&session);
            }
        }
    }
}

impl Page {
    fn new(zeros: &Bytes) -> Self {
        Self {
            bytes: zeros.clone(),
            version: Version(1),
            is_written: false,
            holders: Holders::Readers(Vec::new()),
            waiting: VecDeque::new(),
            recalled: Vec::new(),
            is_taken: false,
            traffic: 0,
        }
    }

    fn has(&self, session: SessionId) -> bool {
        self.holders.sessions().contains(&session)
    }

    /// Somebody gave it back: if nobody has it now, no copy of this version is anywhere.
    fn vacated(&mut self) {
        if self.holders.sessions().is_empty() {
            self.version.0 += 1;
        }
    }

    /// Who has to give something back before this access can be granted.
    fn in_the_way(&self, session: SessionId, access: Access) -> Vec<SessionId> {
        match (&self.holders, access) {
            (Holders::Readers(_), Access::Read | Access::Nothing) => Vec::new(),
            (Holders::Readers(_) | Holders::Writer(_), _) => {
                let holders = self.holders.sessions().iter();
                holders.copied().filter(|holder| *holder != session).collect()
            }
        }
    }

    #[cfg(test)]
    fn forget_reader(&mut self) {
        if let Holders::Readers(readers) = &mut self.holders
            && readers.len() > 1
        {
            readers.pop();
        }
    }

    /// Nobody is in the way.
    fn grant(&mut self, to: &Waiting, hold: Span) -> Grant {
        let bytes = Some(self.bytes.clone());
        match &mut self.holders {
            // It was granted before, and the grant was lost with its connection: so nothing was
            // written under it, and it is said again.
            Holders::Writer(_) => {
                Grant { access: Access::Write, version: self.version, hold, bytes }
            }
            Holders::Readers(readers) => {
                let is_right = readers.contains(&to.session) && to.has == self.version;
                let bytes = bytes.filter(|_| !is_right);
                if to.access == Access::Write {
                    self.version.0 += 1;
                    self.holders = Holders::Writer(to.session);
                } else if !readers.contains(&to.session) {
                    readers.push(to.session);
                }
                let access = to.access.max(Access::Read);
                Grant { access, version: self.version, hold, bytes }
            }
        }
    }
}

impl Holders {
    fn sessions(&self) -> &[SessionId] {
        match self {
            Self::Readers(readers) => readers,
            Self::Writer(writer) => std::slice::from_ref(writer),
        }
    }
}

#[cfg(test)]
mod tests;
