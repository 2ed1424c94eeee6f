//! What regions have to do with memory: coherent pages, and snapshots that are mapped.
//!
//! Elsewhere: who has which coherent page (`coherent`), what a snapshot keeps (`snapshots`).

use bytes::Bytes;
use wire::Message;
use wire::limits::{HOT_TOLD_MAX, PAGES_MAX};
use wire::region::{Access, Answer, Bound, HotPage, PageNo, Refusal, SessionId, Style, Version};

use super::Outbox;
use super::coherent::{Effect, Grant};
use super::region::Region;
use super::sessions::{SessionAt, UnderWay};
use super::snapshots::Found;

impl Region {
    pub(super) fn fetch(
        &mut self,
        at: SessionAt,
        number: u64,
        (page, access, has): (PageNo, Access, Version),
        out: &mut Outbox,
    ) -> Result<(), Refusal> {
        // Who cannot come back cannot give anything back.
        if self.style != Style::Coherent || self.sessions[at].is_bare {
            return Err(Refusal::WrongStyle { style: self.style });
        }
        self.must_have(page)?;
        let is_written = access == Access::Write && self.directory.is_new(page);
        let bytes = if is_written { u64::from(self.page_size) } else { 0 };
        out.must_hold(bytes + self.directory.growth(page))?;
        let session = &mut self.sessions[at];
        session.is_mapped = true;
        session.under_way.insert(number, UnderWay::Fetching);
        let id = session.id;
        self.look_again(at);
        let before = self.bytes();
        self.directory.fetch(id, number, page, access, has);
        out.held = out.held + self.bytes() - before;
        self.tell_directory(out);
        Ok(())
    }

    pub(super) fn yielded(
        &mut self,
        at: SessionAt,
        (page, kept, version): (PageNo, Access, Version),
        bytes: Bytes,
        out: &mut Outbox,
    ) {
        let id = self.sessions[at].id;
        // The buffer that it was read into is larger, and the page may stay for long.
        let bytes = Bytes::copy_from_slice(&bytes);
        let before = self.bytes();
        self.directory.yielded(id, page, kept, version, bytes);
        out.held = out.held + self.bytes() - before;
        self.tell_directory(out);
    }

    /// A session came back.
    pub(super) fn recall_again(&mut self, at: SessionAt, out: &mut Outbox) {
        self.directory.resumed(self.sessions[at].id);
        self.tell_directory(out);
    }

    /// A session has no coherent pages any more.
    pub(super) fn lose_pages(&mut self, at: SessionAt, out: &mut Outbox) {
        let Some(session) = self.sessions.get_mut(at) else { return };
        if !std::mem::take(&mut session.is_mapped) {
            return;
        }
        session.under_way.retain(|_, what| *what != UnderWay::Fetching);
        let id = session.id;
        let before = self.bytes();
        self.directory.lost(id);
        out.held = out.held + self.bytes() - before;
        self.tell_directory(out);
    }

    fn tell_directory(&mut self, out: &mut Outbox) {
        while let Some(effect) = self.directory.poll_effect() {
            let (session, number, message) = match effect {
                Effect::Recall { session, recall } => (session, 0, Message::Recall(recall)),
                Effect::Grant { session, request, grant } => {
                    let Grant { access, version, hold, bytes } = grant;
                    let answer = Answer::Granted { access, version, hold };
                    (session, request, Message::Answer(answer, bytes.unwrap_or_default()))
                }
            };
            let Some(at) = self.sessions.find(session) else { continue };
            let session = &mut self.sessions[at];
            if number > 0 {
                session.under_way.remove(&number);
            }
            if let Some(link) = session.link {
                out.send(link, number, message);
            }
        }
    }

    /// The coherent pages that go to and fro most.
    pub(super) fn hot_coherent(&self, count: u32) -> Vec<HotPage> {
        let hot = self.directory.hot((count as usize).min(HOT_TOLD_MAX));
        let told = hot.into_iter().map(|hot| HotPage {
            page: hot.page,
            traffic: hot.traffic,
            waiting: hot.waiting,
            holders: hot
                .holders
                .into_iter()
                .filter_map(|id| Some((self.sessions[self.sessions.find(id)?].owner.clone(), id)))
                .collect(),
        });
        told.collect()
    }

    pub(super) fn begin_snapshot(
        &mut self,
        at: SessionAt,
        number: u64,
        first: PageNo,
        count: u64,
        out: &mut Outbox,
    ) -> Result<(), Refusal> {
        self.must_be_transactional()?;
        self.must_have(first)?;
        if count == 0 || count > self.pages - first.0 {
            let (what, max) = (Bound::Pages, self.pages - first.0);
            return Err(Refusal::OutOfBounds { what, value: count, max: max.min(PAGES_MAX) });
        }
        if self.sessions[at].is_bare {
            return Err(Refusal::WrongStyle { style: self.style });
        }
        let id = self.sessions[at].id;
        let sequence = self.snapshots.begin(id, number, (first, count), self.sequence)?;
        let answer = Answer::Snapshot { sequence };
        self.answer(at, number, answer, Bytes::new(), sequence, out);
        Ok(())
    }

    pub(super) fn read_snapshot(
        &mut self,
        at: SessionAt,
        number: u64,
        snapshot: u64,
        page: PageNo,
        out: &mut Outbox,
    ) -> Result<(), Refusal> {
        let (found, sequence) = self.snapshots.read(self.sessions[at].id, snapshot, page)?;
        let (version, bytes) = match found {
            Found::Kept(version, bytes) => (version, bytes),
            Found::Current => {
                let (version, bytes, _) = self.page(page);
                (version, bytes.clone())
            }
        };
        self.answer(at, number, Answer::Page { version }, bytes, sequence, out);
        Ok(())
    }

    pub(super) fn end_snapshot(
        &mut self,
        at: SessionAt,
        number: u64,
        snapshot: u64,
        out: &mut Outbox,
    ) {
        let before = self.bytes();
        self.snapshots.end(self.sessions[at].id, snapshot);
        out.held = out.held + self.bytes() - before;
        self.answer(at, number, Answer::Done, Bytes::new(), 0, out);
    }

    pub(super) fn lose_snapshots(&mut self, id: SessionId, out: &mut Outbox) {
        let before = self.bytes();
        self.snapshots.lost(id);
        out.held = out.held + self.bytes() - before;
    }
}
