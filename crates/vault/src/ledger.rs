//! The books of one region: what of it is kept, so that each commit can say what changes, and so that
//! what a store gives back can be checked to the last item.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use bytes::Bytes;
use logic::regions::{Batch, Epoch, Opened, Outcome, Written};
use wire::kept::{self, Head, Item, Key};
use wire::name::Name;
use wire::region::{Create, PageNo, RegionId, SessionId, Version};

#[derive(Debug)]
pub(crate) struct Ledger {
    pub(crate) region: kept::Region,
    pub(crate) head: Head,
    versions: HashMap<PageNo, Version>,
    outcomes: BTreeSet<(SessionId, u64)>,
}

/// What several commits change together: each key once, with what is there afterwards.
pub(crate) type Changes = BTreeMap<Key, Option<Item>>;

/// Why what came out of a store is not the region that went in.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Damage {
    #[error("the item under key {0} is damaged: its checksum is not that of its bytes")]
    Item(String),
    #[error("the record of what the region is has gone")]
    NoRegion,
    #[error("the record of how far the region has come has gone")]
    NoHead,
    #[error("{found} items are there where {wanted} should be")]
    Count { found: u64, wanted: u64 },
    #[error("items are there in other versions than those that were committed last")]
    Sum,
    #[error("page {0} cannot be one of this region's")]
    Page(u64),
}

/// A commit that does not follow the one before it.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("commit {found} came where {wanted} was due")]
pub(crate) struct OutOfOrder {
    pub(crate) found: u64,
    pub(crate) wanted: u64,
}

impl Ledger {
    /// Of a region that is new.
    pub(crate) fn new(id: RegionId, owner: Name, create: Create, epoch: u64) -> Self {
        let head = Head { epoch, sequence: 0, pages: create.pages, items: 0, sum: 0 };
        let region = kept::Region { id, owner, create };
        Self { region, head, versions: HashMap::new(), outcomes: BTreeSet::new() }
    }

    /// From everything that a store has of a region.
    pub(crate) fn load(items: Vec<(Vec<u8>, Bytes)>) -> Result<(Self, Opened), Damage> {
        let (record, rest): (Vec<_>, Vec<_>) =
            items.into_iter().partition(|(key, _)| Key::from_bytes(key) == Ok(Key::Region));
        let Some((key, value)) = record.first() else { return Err(Damage::NoRegion) };
        let Ok(Item::Region(region)) = Item::decode(RegionId(0), key, value) else {
            return Err(damaged(key));
        };

        let (mut head, mut written, mut outcomes) = (None, Vec::new(), Vec::new());
        for (key, value) in &rest {
            match Item::decode(region.id, key, value).map_err(|_| damaged(key))? {
                Item::Region(_) => return Err(damaged(key)),
                Item::Head(found) => head = Some(found),
                Item::Page(page, version, bytes) => written.push(Written { page, version, bytes }),
                Item::Outcome(session, request, kept::Outcome { owner, answer }) => {
                    outcomes.push(Outcome { session, owner, request, answer });
                }
            }
        }
        let head = head.ok_or(Damage::NoHead)?;

        // A library that loses an item, or gives an old one, has no part in these sums.
        let found = (written.len() + outcomes.len()) as u64;
        if found != head.items {
            return Err(Damage::Count { found, wanted: head.items });
        }
        let pages = written.iter().map(|page| Key::Page(page.page).mark(page.version));
        let asked = outcomes.iter().map(|o| Key::Outcome(o.session, o.request).mark(Version(0)));
        if pages.chain(asked).fold(0u128, u128::wrapping_add) != head.sum {
            return Err(Damage::Sum);
        }
        let fits = |page: &&Written| {
            page.page.0 >= head.pages
                || page.bytes.len() as u64 != u64::from(region.create.page_size)
        };
        if let Some(page) = written.iter().find(fits) {
            return Err(Damage::Page(page.page.0));
        }

        let ledger = Self {
            versions: written.iter().map(|page| (page.page, page.version)).collect(),
            outcomes: outcomes.iter().map(|o| (o.session, o.request)).collect(),
            region: region.clone(),
            head,
        };
        let opened = Opened {
            id: region.id,
            owner: region.owner,
            create: region.create,
            epoch: Epoch { number: head.epoch },
            sequence: head.sequence,
            pages: head.pages,
            written,
            outcomes,
        };
        Ok((ledger, opened))
    }

    /// Enters a commit, and notes what it changes. The head is not among it: it is due once for all.
    pub(crate) fn commit(&mut self, batch: Batch, changes: &mut Changes) -> Result<(), OutOfOrder> {
        if batch.sequence != self.head.sequence + 1 {
            return Err(OutOfOrder { found: batch.sequence, wanted: self.head.sequence + 1 });
        }
        self.head.sequence = batch.sequence;
        self.head.pages = batch.grown.unwrap_or(self.head.pages);
        // Before what is new: a session that is forgotten may be back.
        for (session, last) in batch.forgotten {
            self.forget(session, last, changes);
        }
        for (session, request) in batch.dropped {
            self.take_outcome(session, request, changes);
        }
        for Written { page, version, bytes } in batch.written {
            let key = Key::Page(page);
            if let Some(before) = self.versions.insert(page, version) {
                self.take_out(key, before);
            }
            self.put_in(key, version);
            changes.insert(key, Some(Item::Page(page, version, bytes)));
        }
        if let Some(Outcome { session, owner, request, answer }) = batch.outcome {
            let key = Key::Outcome(session, request);
            if self.outcomes.insert((session, request)) {
                self.put_in(key, Version(0));
            }
            let item = Item::Outcome(session, request, kept::Outcome { owner, answer });
            changes.insert(key, Some(item));
        }
        Ok(())
    }

    /// Takes the outcomes of a session out, up to this request.
    pub(crate) fn forget(&mut self, session: SessionId, last: u64, changes: &mut Changes) {
        let over: Vec<_> = self.outcomes.range((session, 0)..=(session, last)).copied().collect();
        for (session, request) in over {
            self.take_outcome(session, request, changes);
        }
    }

    /// Takes one outcome out, if it is there.
    pub(crate) fn take_outcome(&mut self, session: SessionId, request: u64, changes: &mut Changes) {
        if self.outcomes.remove(&(session, request)) {
            let key = Key::Outcome(session, request);
            self.take_out(key, Version(0));
            changes.insert(key, None);
        }
    }

    /// Whether nothing is there of this session from one request to another.
    pub(crate) fn has_none(&self, session: SessionId, (first, last): (u64, u64)) -> bool {
        self.outcomes.range((session, first)..=(session, last)).next().is_none()
    }

    pub(crate) fn head_item(&self) -> Item {
        Item::Head(self.head)
    }

    fn put_in(&mut self, key: Key, version: Version) {
        self.head.items += 1;
        self.head.sum = self.head.sum.wrapping_add(key.mark(version));
    }

    fn take_out(&mut self, key: Key, version: Version) {
        self.head.items -= 1;
        self.head.sum = self.head.sum.wrapping_sub(key.mark(version));
    }
}

fn damaged(key: &[u8]) -> Damage {
    let shown = match Key::from_bytes(key) {
        Ok(Key::Region) => "region".to_owned(),
        Ok(Key::Head) => "head".to_owned(),
        Ok(Key::Page(page)) => format!("page {}", page.0),
        Ok(Key::Outcome(session, request)) => format!("outcome {:x}.{request}", session.0),
        Err(_) => key.escape_ascii().to_string(),
    };
    Damage::Item(shown)
}

#[cfg(test)]
mod tests;
