//! Keeps one region in etcd, for as long as this node is its home.
//!
//! ```text
//! farcall/CLUSTER/homes/REGION            the node that is home, under its lease
//! farcall/CLUSTER/regions/REGION/KEY      the items, as `wire::kept` has them
//! ```
//!
//! Every transaction compares two revisions: that of the home key's making, so that a node that was
//! deposed changes nothing however late its words arrive; and that of the head's latest change, so that
//! a commit whose answer was lost can be sent again and lands once.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

use logic::regions::{Batch, Epoch, Opened};
use serde_json::Value;
use wire::kept::{Item, Key};
use wire::limits::REPLICATED_BYTES_MAX;
use wire::name::Name;
use wire::region::{Create, Refusal, RegionId};

use super::gateway::{
    Failure, Gateway, Pair, Range, Txn, changed_at, created_at, delete, get, put, put_leased,
};
use super::lease::{LEASE, Lease};
use crate::ledger::{Changes, Ledger};

/// etcd takes 128 operations in a transaction.
const OPERATIONS_MAX: usize = 120;
/// Items that are read at once, and their bytes.
const RANGE_MAX: usize = 1000;
const RANGE_BYTES_MAX: usize = 4 << 20;
const RETRY: Duration = Duration::from_millis(50);
/// How long to wait for a home that is silent: until its lease is over for certain.
const SUCCESSION: Duration = Duration::from_millis(LEASE.as_millis() as u64 + 2000);

/// What stewards of one node share.
#[derive(Debug)]
pub(crate) struct Office {
    pub(crate) gateway: Arc<Gateway>,
    pub(crate) lease: Lease,
    pub(crate) node: Name,
    /// `farcall/CLUSTER/`
    pub(crate) root: String,
    /// Times that this node has wanted to be home of something.
    pub(crate) claims: AtomicU64,
}

/// A region whose home is here.
pub(crate) struct Steward {
    home: Home,
    ledger: Ledger,
    /// The revision of the head's latest change.
    changed: i64,
}

/// Being home of a region: when it is dropped, the next one may be.
struct Home {
    office: Arc<Office>,
    keys: Keys,
    claim: Claim,
}

/// The right to be home.
#[derive(Clone, Copy, Debug)]
struct Claim {
    lease: i64,
    /// The revision of the home key's making.
    made: i64,
}

/// Where a region's things are.
#[derive(Clone, Debug)]
struct Keys {
    home: Vec<u8>,
    items: Vec<u8>,
}

pub(crate) enum Order {
    Keep(Batch),
    Remove,
}

impl Keys {
    fn of(office: &Office, region: &Name) -> Self {
        let home = format!("{}homes/{region}", office.root).into_bytes();
        let items = format!("{}regions/{region}/", office.root).into_bytes();
        Self { home, items }
    }

    fn item(&self, key: Key) -> Vec<u8> {
        [self.items.as_slice(), &key.to_bytes()].concat()
    }

    /// Behind the last item.
    fn end(&self) -> Vec<u8> {
        next(&self.items)
    }
}

impl Steward {
    /// Makes a region that nobody has.
    pub(crate) fn make(
        office: Arc<Office>,
        id: RegionId,
        owner: Name,
        create: Create,
    ) -> Result<(Self, Epoch), Refusal> {
        let ledger = Ledger::new(id, owner, create, 1);
        let home = Home::new(office, &ledger.region.create.name).map_err(elsewhere)?;
        let (record, head) = (Item::Region(ledger.region.clone()), ledger.head_item());
        let mine = record.encode(id);
        let record = home.keys.item(Key::Region);
        let puts = || vec![put(&record, &mine), put(&home.keys.item(Key::Head), &head.encode(id))];
        let compare = || vec![home.is_held(), created_at(&record, 0)];
        let made = home.insist(|| home.office.gateway.txn(compare(), puts(), vec![get(&record)]));
        let changed = match made.map_err(unkept)? {
            Txn::Done(revision) => revision,
            Txn::Not(found) => match first(&found, 0) {
                // The answer to an earlier attempt was lost.
                Some(pair) if pair.value == mine => pair.mod_revision,
                Some(_) => return Err(Refusal::Exists),
                None => return Err(unkept(DEPOSED)),
            },
        };
        Ok((Self { home, ledger, changed }, Epoch { number: 1 }))
    }

    /// Becomes the home of a region that is in etcd, as soon as nobody else is.
    pub(crate) fn open(office: Arc<Office>, name: &Name) -> Result<(Self, Opened), Refusal> {
        let record = Keys::of(&office, name).item(Key::Region);
        let record = office.gateway.range(&record, None, 1, 0).map_err(elsewhere)?;
        if record.kvs.is_empty() {
            return Err(Refusal::NoSuchRegion);
        }
        let home = Home::new(office, name).map_err(elsewhere)?;
        let (ledger, opened, changed) = Self::load(&home, name)?;
        let mut steward = Self { home, ledger, changed };
        steward.ledger.head.epoch += 1;
        steward.commit(Changes::new()).map_err(elsewhere)?;
        let epoch = Epoch { number: steward.ledger.head.epoch };
        Ok((steward, Opened { epoch, ..opened }))
    }

    /// All items as of one revision. Nobody changes them meanwhile, since nobody else is home.
    fn load(home: &Home, name: &Name) -> Result<(Ledger, Opened, i64), Refusal> {
        let keys = &home.keys;
        let (mut first, end) = (keys.items.clone(), keys.end());
        let (mut items, mut revision, mut changed, mut limit) = (Vec::new(), 0, 0, 1);
        loop {
            let range =
                home.insist(|| home.office.gateway.range(&first, Some(&end), limit, revision));
            let range = match range {
                Err(failure) if failure.is_compacted() => {
                    // From the beginning, as of now.
                    (first, revision) = (keys.items.clone(), 0);
                    items.clear();
                    continue;
                }
                range => range.map_err(elsewhere)?,
            };
            revision = if revision == 0 { range.revision() } else { revision };
            let largest = range.kvs.iter().map(|pair| pair.value.len()).max().unwrap_or(1).max(1);
            limit = (limit * 4).min(RANGE_BYTES_MAX / largest).clamp(1, RANGE_MAX);
            let Some(last) = range.kvs.last() else { break };
            first = [last.key.as_slice(), &[0]].concat();
            for pair in range.kvs {
                let key = pair.key[keys.items.len()..].to_vec();
                if Key::from_bytes(&key) == Ok(Key::Head) {
                    changed = pair.mod_revision;
                }
                items.push((key, pair.value.into()));
            }
            if !range.more {
                break;
            }
        }
        if items.is_empty() {
            return Err(Refusal::NoSuchRegion);
        }
        let (ledger, opened) = Ledger::load(items).map_err(|damage| {
            let shown = String::from_utf8_lossy(&keys.items);
            unkept(format!(
                "what etcd has under `{shown}` is damaged: {damage}; restore a snapshot of etcd, or \
                 drop the region"
            ))
        })?;
        if opened.create.name != *name {
            return Err(unkept("etcd has another region under this name"));
        }
        Ok((ledger, opened, changed))
    }

    pub(crate) fn id(&self) -> RegionId {
        self.ledger.region.id
    }

    /// Nobody else can be home before.
    pub(crate) fn is_home_until(&self) -> Option<Instant> {
        self.home.office.lease.until(self.home.claim.lease)
    }

    /// Keeps what comes, until the region is removed, the home lost (the reason), or nobody can send any
    /// more. Whether it was removed.
    pub(crate) fn run(
        &mut self,
        orders: &Receiver<Order>,
        kept: impl Fn(u64),
    ) -> Result<bool, String> {
        let mut order = orders.recv().ok();
        while let Some(next) = order.take() {
            match next {
                Order::Remove => return self.remove().map(|()| true),
                Order::Keep(batch) => {
                    let mut changes = Changes::new();
                    self.enter(batch, &mut changes)?;
                    // Whatever gathered while the last transaction ran goes with this one.
                    while order.is_none() && has_room(&changes) {
                        match orders.try_recv() {
                            Ok(Order::Keep(more)) if fits(&changes, &more) => {
                                self.enter(more, &mut changes)?;
                            }
                            Ok(other) => order = Some(other),
                            Err(_) => break,
                        }
                    }
                    self.commit(changes)?;
                    kept(self.ledger.head.sequence);
                }
            }
            if order.is_none() {
                order = orders.recv().ok();
            }
        }
        Ok(false)
    }

    /// Many sessions may be forgotten at once, more than one transaction takes: they go first.
    fn enter(&mut self, mut batch: Batch, changes: &mut Changes) -> Result<(), String> {
        for (session, last) in std::mem::take(&mut batch.forgotten) {
            self.ledger.forget(session, last, changes);
            if !has_room(changes) {
                self.commit(std::mem::take(changes))?;
            }
        }
        for (session, request) in std::mem::take(&mut batch.dropped) {
            self.ledger.take_outcome(session, request, changes);
            if !has_room(changes) {
                self.commit(std::mem::take(changes))?;
            }
        }
        if !changes.is_empty() && !fits(changes, &batch) {
            self.commit(std::mem::take(changes))?;
        }
        self.ledger.commit(batch, changes).map_err(|out_of_order| {
            format!("{out_of_order}; that is a bug of Farcall: please report it")
        })
    }

    /// One transaction; when it returns, it has been carried out once.
    fn commit(&mut self, changes: Changes) -> Result<(), String> {
        let id = self.id();
        let head = self.ledger.head_item().encode(id);
        let key = self.home.keys.item(Key::Head);
        let mut operations = vec![put(&key, &head)];
        operations.extend(self.operations(changes));
        let gateway = &self.home.office.gateway;
        let compare = || vec![self.home.is_held(), changed_at(&key, self.changed)];
        let reads = || vec![get(&self.home.keys.home), get(&key)];
        // Until the lease is over, etcd may come back. What became of it then, the next home finds out.
        let done = self.home.insist(|| gateway.txn(compare(), operations.clone(), reads()));
        self.changed = match done.map_err(|failure| failure.to_string())? {
            Txn::Done(revision) => revision,
            Txn::Not(found) => {
                let made = first(&found, 0).map(|home| home.create_revision);
                match first(&found, 1) {
                    // An earlier attempt was carried out, and its answer lost.
                    Some(there) if made == Some(self.home.claim.made) && there.value == head => {
                        there.mod_revision
                    }
                    _ => return Err(DEPOSED.to_owned()),
                }
            }
        };
        Ok(())
    }

    fn operations(&self, changes: Changes) -> Vec<Value> {
        let keys = &self.home.keys;
        let mut operations = Vec::with_capacity(changes.len());
        let mut gone: Option<(Key, Key)> = None;
        let range = |(first, last)| delete(&keys.item(first), &next(&keys.item(last)));
        for (key, item) in changes {
            match (item, gone) {
                (Some(item), _) => {
                    operations.extend(gone.take().map(range));
                    operations.push(put(&keys.item(key), &item.encode(self.id())));
                }
                (None, Some((first, _))) if self.is_all_gone(first, key) => {
                    gone = Some((first, key));
                }
                (None, _) => {
                    operations.extend(gone.replace((key, key)).map(range));
                }
            }
        }
        operations.extend(gone.map(range));
        operations
    }

    /// Whether these are outcomes of one session, and no outcome is left between them.
    fn is_all_gone(&self, first: Key, last: Key) -> bool {
        match (first, last) {
            (Key::Outcome(session, first), Key::Outcome(other, last)) if session == other => {
                self.ledger.has_none(session, (first, last))
            }
            _ => false,
        }
    }

    /// Whose lease has lapsed becomes home once more for it; another that is home meanwhile keeps it.
    fn remove(&mut self) -> Result<(), String> {
        let record = Item::Region(self.ledger.region.clone()).encode(self.id());
        if let Ok(true) = self.home.remove(Some(&record)) {
            return Ok(());
        }
        let name = &self.ledger.region.create.name;
        let kept = |why: String| format!("region `{name}` was not dropped: {why}; drop it again");
        let again = Home::new(Arc::clone(&self.home.office), name).map_err(kept)?;
        match again.remove(Some(&record)) {
            Ok(true) => Ok(()),
            Ok(false) => Err(kept(DEPOSED.to_owned())),
            Err(failure) => Err(kept(failure.to_string())),
        }
    }
}

const DEPOSED: &str = "another node is its home now; open the region again, and it is found there";

impl Home {
    fn new(office: Arc<Office>, name: &Name) -> Result<Self, String> {
        let keys = Keys::of(&office, name);
        let claim = office.claim(&keys)?;
        Ok(Self { office, keys, claim })
    }

    /// What a transaction compares.
    fn is_held(&self) -> Value {
        created_at(&self.keys.home, self.claim.made)
    }

    /// Asks until etcd answers or the lease is over.
    fn insist<T>(&self, ask: impl Fn() -> Result<T, Failure>) -> Result<T, Failure> {
        loop {
            match ask() {
                Err(failure)
                    if failure.is_silence()
                        && self.office.lease.until(self.claim.lease).is_some() =>
                {
                    std::thread::sleep(RETRY);
                }
                answer => return answer,
            }
        }
    }

    /// Removes the region, whatever it is, or the one with this record. False if it is there still,
    /// since this is not its home any more.
    fn remove(&self, record: Option<&[u8]>) -> Result<bool, Failure> {
        let key = self.keys.item(Key::Region);
        let gone = || vec![delete(&self.keys.items, &self.keys.end()), delete_one(&self.keys.home)];
        let ask = || self.office.gateway.txn(vec![self.is_held()], gone(), vec![get(&key)]);
        Ok(match self.insist(ask)? {
            Txn::Done(_) => true,
            // An earlier attempt was carried out, if it is gone, or another has come in its place.
            Txn::Not(found) => first(&found, 0)
                .is_none_or(|there| record.is_some_and(|record| there.value != record)),
        })
    }
}

impl Drop for Home {
    /// Should it fail, the lease ends by itself, or this node claims it again.
    fn drop(&mut self) {
        if self.office.lease.until(self.claim.lease).is_some() {
            self.office.give_back(&self.keys, self.claim.made);
        }
    }
}

impl Office {
    /// Becomes the home of a region, once nobody else is. No two of one node may claim the same.
    fn claim(&self, keys: &Keys) -> Result<Claim, String> {
        let begun = Instant::now();
        let claim = self.claims.fetch_add(1, Ordering::Relaxed);
        loop {
            let lease = self.lease.hold().map_err(|failure| failure.to_string())?.id;
            let ours = format!("{} {lease:x} ", self.node).into_bytes();
            let mine = [ours.as_slice(), claim.to_string().as_bytes()].concat();
            let put = put_leased(&keys.home, &mine, lease);
            let compare = created_at(&keys.home, 0);
            match self.gateway.txn(vec![compare], vec![put], vec![get(&keys.home)]) {
                Ok(Txn::Done(made)) => return Ok(Claim { lease, made }),
                Ok(Txn::Not(found)) => {
                    match first(&found, 0) {
                        // The answer to an earlier attempt was lost.
                        Some(home) if home.value == mine => {
                            return Ok(Claim { lease, made: home.create_revision });
                        }
                        // This node was home before, and could not give it back.
                        Some(home) if home.value.starts_with(&ours) => {
                            self.give_back(keys, home.create_revision);
                        }
                        Some(home) if begun.elapsed() > SUCCESSION => {
                            let home = String::from_utf8_lossy(&home.value).into_owned();
                            let home = home.split(' ').next().unwrap_or_default().to_owned();
                            return Err(format!("its home is node `{home}`; ask there"));
                        }
                        Some(_) | None => (),
                    }
                }
                Err(failure) if failure.is_silence() || failure.is_without_lease() => {
                    if begun.elapsed() > SUCCESSION {
                        return Err(failure.to_string());
                    }
                }
                Err(refused) => return Err(refused.to_string()),
            }
            std::thread::sleep(RETRY);
        }
    }

    /// Whoever made the home key at this revision is home no more.
    fn give_back(&self, keys: &Keys, made: i64) {
        let compare = vec![created_at(&keys.home, made)];
        let _ = self.gateway.txn(compare, vec![delete_one(&keys.home)], Vec::new());
    }

    /// Removes a region that cannot be opened.
    pub(crate) fn discard(self: &Arc<Self>, region: &Name) {
        if let Ok(home) = Home::new(Arc::clone(self), region) {
            let _ = home.remove(None);
        }
    }
}

/// What was found under one of the keys that were read.
fn first(found: &[Range], at: usize) -> Option<&Pair> {
    found.get(at).and_then(|range| range.kvs.first())
}

fn delete_one(key: &[u8]) -> Value {
    delete(key, &[key, &[0]].concat())
}

/// The region may be well, and is not to be had here and now.
fn elsewhere(reason: impl ToString) -> Refusal {
    Refusal::NoVault { reason: reason.to_string() }
}

fn unkept(reason: impl ToString) -> Refusal {
    Refusal::Unkept { reason: reason.to_string() }
}

fn size(changes: &Changes) -> usize {
    let bytes = |item: &Option<Item>| match item {
        Some(Item::Page(_, _, bytes)) => bytes.len() + 128,
        _ => 256,
    };
    changes.values().map(bytes).sum()
}

fn has_room(changes: &Changes) -> bool {
    changes.len() < OPERATIONS_MAX && size(changes) < REPLICATED_BYTES_MAX as usize
}

fn fits(changes: &Changes, more: &Batch) -> bool {
    let bytes: usize = more.written.iter().map(|page| page.bytes.len() + 128).sum();
    changes.len() + more.written.len() + 2 <= OPERATIONS_MAX
        && size(changes) + bytes <= REPLICATED_BYTES_MAX as usize
}

/// The first key behind all that begin with this one.
fn next(key: &[u8]) -> Vec<u8> {
    let mut next = key.to_vec();
    while let Some(last) = next.pop() {
        if last < u8::MAX {
            next.push(last + 1);
            return next;
        }
    }
    // There is no such key; etcd takes this for the end.
    vec![0]
}
