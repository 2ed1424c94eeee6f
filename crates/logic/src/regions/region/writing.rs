//! Commits: what is written, whether it may be, and that it is kept.

use bytes::{Bytes, BytesMut};
use wire::limits::{
    REPLICATED_BYTES_MAX, REPLICATED_PAGES_MAX, TRANSACTION_BYTES_MAX, TRANSACTION_COPIED_MAX,
    TRANSACTION_PAGES_MAX, VERSION_ASKED_MAX,
};
use wire::region::{Answer, Bound, Durability, PageNo, Refusal, Version, Write};
use wire::units::Time;

use super::{Region, too_many};
use crate::regions::places::SessionAt;
use crate::regions::{Batch, Effect, Outbox, Outcome, Written};

/// Bits of a version below the epoch, where versions may be lost: more than commits of one opening,
/// and few enough for `EPOCHS_MAX` of them.
const VERSIONS_BITS: u32 = 40;

/// What stands in the queue of a page.
#[derive(Debug)]
pub(in crate::regions) enum Want {
    Lock { at: SessionAt, number: u64, known: Version, until: Time },
    Change { at: SessionAt, number: u64, change: Change, bytes: Bytes },
}

/// A request to write, apart from its bytes.
#[derive(Debug)]
pub(in crate::regions) enum Change {
    Update { page: PageNo, offset: u32, if_version: Option<Version>, at_least: Version },
    Transact { reads: Vec<(PageNo, Version)>, writes: Vec<Write> },
}

impl Want {
    pub(super) fn asker(&self) -> (SessionAt, u64) {
        match *self {
            Self::Lock { at, number, .. } | Self::Change { at, number, .. } => (at, number),
        }
    }

    /// Bytes that it takes while it waits.
    pub(super) fn bytes(&self) -> u64 {
        match self {
            Self::Lock { .. } => 0,
            Self::Change { change, bytes, .. } => change.bytes() + bytes.len() as u64,
        }
    }
}

impl Change {
    /// Bytes of its lists.
    fn bytes(&self) -> u64 {
        match self {
            Self::Update { .. } => 0,
            Self::Transact { reads, writes } => {
                (size_of_val(reads.as_slice()) + size_of_val(writes.as_slice())) as u64
            }
        }
    }
}

impl Region {
    /// Carries out an `Update` or a `Transact`, or lets it wait for a lock.
    ///
    /// It holds nothing while it waits, so that nobody can wait for it; when its turn comes it is looked
    /// at anew, and may have to wait for another page.
    pub(super) fn change(
        &mut self,
        now: Time,
        at: SessionAt,
        number: u64,
        change: Change,
        bytes: Bytes,
        out: &mut Outbox,
    ) -> Result<(), Refusal> {
        self.must_be_transactional()?;
        self.must_fit(&change, &bytes)?;
        // Versions only rise: what conflicts now would conflict after any waiting.
        let stale = self.stale(&change)?;
        if !stale.is_empty() {
            self.conflict(at, number, stale, out);
            return Ok(());
        }
        if let Some((page, holder)) = self.locked(&change) {
            let is_own = holder == at && self.sessions[at].is_bare;
            if !is_own {
                self.must_have(page)?;
                out.must_hold(change.bytes() + bytes.len() as u64)?;
                // The buffer that it was read into is larger, and may have to stay for long.
                let bytes = Bytes::copy_from_slice(&bytes);
                let want = Want::Change { at, number, change, bytes };
                let held = want.bytes();
                self.queue(at, number, page, want)?;
                out.held += held;
                return Ok(());
            }
            self.must_have_room(&change, out)?;
            self.write(at, number, &change, &bytes, out);
            self.release(now, at, page, out);
            return Ok(());
        }
        self.must_have_room(&change, out)?;
        self.write(at, number, &change, &bytes, out);
        Ok(())
    }

    /// Whether the request is one at all, whatever the pages are.
    pub(super) fn must_fit(&self, change: &Change, bytes: &Bytes) -> Result<(), Refusal> {
        let length = bytes.len() as u64;
        match change {
            &Change::Update { page, offset, at_least, .. } => {
                self.must_have(page)?;
                self.must_lie(offset, length)?;
                let max = match self.durability {
                    // Above it are those of later openings; half of this one's are left for commits.
                    Durability::Async => self.version_floor() + (1 << (VERSIONS_BITS - 1)),
                    Durability::None | Durability::Sync | Durability::Replicated => {
                        VERSION_ASKED_MAX
                    }
                };
                if at_least.0 > max {
                    let what = Bound::Version;
                    return Err(Refusal::OutOfBounds { what, value: at_least.0, max });
                }
            }
            Change::Transact { reads, writes } => {
                let most = reads.len().max(writes.len());
                if most > TRANSACTION_PAGES_MAX {
                    return Err(too_many(Bound::TransactionPages, most, TRANSACTION_PAGES_MAX));
                }
                let what = Bound::TransactionBytes;
                if length > TRANSACTION_BYTES_MAX {
                    let max = TRANSACTION_BYTES_MAX;
                    return Err(Refusal::OutOfBounds { what, value: length, max });
                }
                reads.iter().try_for_each(|&(page, _)| self.must_have(page))?;
                let mut announced = 0;
                for write in writes {
                    self.must_have(write.page)?;
                    self.must_lie(write.offset, u64::from(write.length))?;
                    announced += u64::from(write.length);
                }
                if announced != length {
                    return Err(Refusal::WrongLength { offset: 0, length, max: announced });
                }
                self.must_be_bounded(writes)?;
            }
        }
        Ok(())
    }

    fn must_lie(&self, offset: u32, length: u64) -> Result<(), Refusal> {
        let (offset, max) = (u64::from(offset), u64::from(self.page_size));
        if offset + length > max {
            return Err(Refusal::WrongLength { offset, length, max });
        }
        Ok(())
    }

    /// However little is written of each page, all of it is copied.
    fn must_be_bounded(&self, writes: &[Write]) -> Result<(), Refusal> {
        let (pages_max, bytes_max) = match self.durability {
            Durability::Replicated => (REPLICATED_PAGES_MAX, REPLICATED_BYTES_MAX),
            Durability::None | Durability::Async | Durability::Sync => {
                (TRANSACTION_PAGES_MAX, TRANSACTION_COPIED_MAX)
            }
        };
        let size = u64::from(self.page_size);
        if writes.len() <= pages_max && writes.len() as u64 * size <= bytes_max {
            return Ok(());
        }
        let mut pages: Vec<PageNo> = writes.iter().map(|write| write.page).collect();
        pages.sort_unstable();
        pages.dedup();
        if pages.len() > pages_max {
            return Err(too_many(Bound::TransactionPages, pages.len(), pages_max));
        }
        let value = pages.len() as u64 * size;
        if value > bytes_max {
            let what = Bound::TransactionBytes;
            return Err(Refusal::OutOfBounds { what, value, max: bytes_max });
        }
        Ok(())
    }

    /// The pages that have other versions than the request is based on.
    fn stale(&self, change: &Change) -> Result<Vec<PageNo>, Refusal> {
        let mut stale = Vec::new();
        let mut look = |page: PageNo, based_on: Version| {
            let (version, ..) = self.page(page);
            if based_on > version {
                return Err(Refusal::VersionAhead { page, version });
            }
            if based_on < version {
                stale.push(page);
            }
            Ok(())
        };
        match change {
            Change::Update { if_version: None, .. } => {}
            &Change::Update { page, if_version: Some(based_on), .. } => look(page, based_on)?,
            Change::Transact { reads, .. } => {
                reads.iter().try_for_each(|&(page, based_on)| look(page, based_on))?;
            }
        }
        Ok(stale)
    }

    fn conflict(&mut self, at: SessionAt, number: u64, stale: Vec<PageNo>, out: &mut Outbox) {
        let tells = stale.iter().map(|&page| self.page(page).2).max().unwrap_or(0);
        let size = self.page_size as usize;
        // Many that have waited may conflict at once: those that get no bytes read them. So do those
        // that wait for the vault: their answers would hold bytes meanwhile that nobody counts.
        let waits = tells > self.kept && self.is_gated();
        let fit = if waits { 0 } else { (out.conflicts as usize / size).min(stale.len()) };
        out.conflicts -= (fit * size) as u64;
        let bytes = if let [page] = stale[..fit] {
            self.page(page).1.clone()
        } else {
            let mut bytes = BytesMut::with_capacity(fit * size);
            for &page in &stale[..fit] {
                bytes.extend_from_slice(self.page(page).1);
            }
            bytes.freeze()
        };
        let pages = stale.into_iter().map(|page| (page, self.page(page).0)).collect();
        self.answer(at, number, Answer::Conflict { pages }, bytes, tells, out);
    }

    /// A page that the request would write and somebody has, and who has it.
    fn locked(&self, change: &Change) -> Option<(PageNo, SessionAt)> {
        let holder = |page| self.locks.holder(page).map(|holder| (page, holder.session));
        if self.locks.held() == 0 {
            return None;
        }
        match change {
            &Change::Update { page, .. } => holder(page),
            Change::Transact { writes, .. } => writes.iter().find_map(|write| holder(write.page)),
        }
    }

    /// Whether there is memory for the pages that would be written for the first time.
    pub(super) fn must_have_room(&self, change: &Change, out: &Outbox) -> Result<(), Refusal> {
        let more = |page| match self.table.get(page) {
            Some(_) => 0,
            None => self.table.growth(page) + u64::from(self.page_size),
        };
        let (more, writes) = match change {
            &Change::Update { page, .. } => (more(page), 1),
            Change::Transact { writes, .. } => {
                let pages: u64 = writes.iter().map(|write| more(write.page)).sum();
                // Their versions are remembered.
                (pages + size_of::<Version>() as u64 * writes.len() as u64, writes.len() as u64)
            }
        };
        let kept = match self.durability {
            Durability::None => 0,
            Durability::Async | Durability::Sync | Durability::Replicated => {
                writes * u64::from(self.page_size)
            }
        };
        out.must_hold(more + kept)
    }

    /// Writes, as one commit, and answers. All that could be refused was looked at before.
    pub(super) fn write(
        &mut self,
        at: SessionAt,
        number: u64,
        change: &Change,
        bytes: &Bytes,
        out: &mut Outbox,
    ) {
        let before = self.bytes();
        let sequence = self.sequence + 1;
        let (answer, pages) = match change {
            &Change::Update { page, offset, at_least, .. } => {
                let version = self.put(sequence, page, offset, bytes, at_least);
                (Answer::Committed { version }, Pages::One(page))
            }
            Change::Transact { reads, writes } => {
                if writes.is_empty() {
                    // It only wanted to know whether what it has read is still so.
                    let tells = reads.iter().map(|&(page, _)| self.page(page).2).max().unwrap_or(0);
                    let answer = Answer::Transacted { versions: Vec::new() };
                    return self.answer(at, number, answer, Bytes::new(), tells, out);
                }
                let mut rest = &bytes[..];
                let (mut versions, mut pages) = (Vec::new(), Vec::new());
                for write in writes {
                    let (new, after) = rest.split_at(write.length as usize);
                    rest = after;
                    let is_first =
                        self.page(write.page).2 != sequence || self.table.get(write.page).is_none();
                    let version = self.put(sequence, write.page, write.offset, new, Version(0));
                    if is_first {
                        versions.push(version);
                        pages.push(write.page);
                    }
                }
                (Answer::Transacted { versions }, Pages::Many(pages))
            }
        };
        self.sequence = sequence;
        // Less, if a snapshot came to its end.
        out.held = out.held + self.bytes() - before;
        for &page in pages.as_slice() {
            let (version, ..) = self.page(page);
            self.watches.committed(sequence, page, version);
        }
        let session = &mut self.sessions[at];
        let is_bare = session.is_bare;
        if !is_bare {
            let before = session.held;
            session.remember_commit(number, answer.clone(), sequence, &mut self.dropped);
            out.held = out.held + session.held - before;
            session.is_in_vault = self.durability != Durability::None;
            if !session.is_in_vault {
                self.dropped.clear();
            }
        }
        if self.durability != Durability::None {
            let written = pages.as_slice().iter().map(|&page| {
                let (version, bytes, _) = self.page(page);
                Written { page, version, bytes: bytes.clone() }
            });
            let written = written.collect();
            let session = &self.sessions[at];
            let outcome = (!is_bare).then(|| Outcome {
                session: session.id,
                owner: session.owner.clone(),
                request: number,
                answer: answer.clone(),
            });
            self.keep(None, written, outcome, out);
        }
        self.answer(at, number, answer, Bytes::new(), sequence, out);
        if !self.is_gated() {
            self.watches.tell(sequence);
            self.tell_news(out);
        }
    }

    /// Writes one page. Its version rises once in a commit.
    fn put(
        &mut self,
        sequence: u64,
        page: PageNo,
        offset: u32,
        new: &[u8],
        at_least: Version,
    ) -> Version {
        let size = self.page_size as usize;
        let floor = self.version_floor();
        if !self.snapshots.is_empty()
            && (self.page(page).2 != sequence || self.table.get(page).is_none())
        {
            let (version, bytes, _) = self.page(page);
            let bytes = bytes.clone();
            self.snapshots.replacing(page, version, &bytes);
        }
        let entry = self.table.entry(page);
        entry.put(size, offset as usize, new);
        if entry.sequence != sequence {
            let next = entry.version.max(1) + 1;
            entry.version = next.max(at_least.0).max(floor);
            entry.sequence = sequence;
            entry.traffic += 1;
            let traffic = entry.traffic;
            let version = Version(entry.version);
            self.note_traffic(page, traffic);
            return version;
        }
        Version(entry.version)
    }

    /// Versions that were told before the node died, and are not known any more, are not given to
    /// other bytes.
    fn version_floor(&self) -> u64 {
        match self.durability {
            Durability::Async => (self.epoch - 1) << VERSIONS_BITS,
            Durability::None | Durability::Sync | Durability::Replicated => 0,
        }
    }

    /// Gives the latest commit to the vault.
    pub(super) fn keep(
        &mut self,
        grown: Option<u64>,
        written: Vec<Written>,
        outcome: Option<Outcome>,
        out: &mut Outbox,
    ) {
        if self.durability == Durability::None {
            return;
        }
        let mut forgotten = std::mem::take(&mut self.forgotten);
        for at in self.forgetting.drain(..) {
            if let Some(session) = self.sessions.get_mut(at) {
                session.is_forgetting = false;
                forgotten.push((session.id, session.answered));
            }
        }
        let dropped = std::mem::take(&mut self.dropped);
        let (region, sequence) = (self.id, self.sequence);
        let bytes = written.len() as u64 * u64::from(self.page_size);
        self.backlog.push_back((sequence, bytes));
        self.backlog_bytes += bytes;
        out.held += bytes;
        let batch = Batch { region, sequence, grown, written, outcome, forgotten, dropped };
        out.effects.push_back(Effect::Keep(batch));
    }
}

/// The pages of a commit, each once.
enum Pages {
    One(PageNo),
    Many(Vec<PageNo>),
}

impl Pages {
    fn as_slice(&self) -> &[PageNo] {
        match self {
            Self::One(page) => std::slice::from_ref(page),
            Self::Many(pages) => pages,
        }
    }
}
