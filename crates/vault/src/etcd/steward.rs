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
    Gateway, Range, Silent, Txn, changed_at, created_at, delete, get, put, put_leased,
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
    office: Arc<Office>,
    keys: Keys,
    claim: Claim,
    ledger: Ledger,
    /// The revision of the head's latest change.
    changed: i64,
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
        let keys = Keys::of(&office, &create.name);
        let ledger = Ledger::new(id, owner, create, 1);
        let claim = office.claim(&keys)?;
        let (record, head) = (Item::Region(ledger.region.clone()), ledger.head_item());
        let puts = [record, head].map(|item| put(&keys.item(item.key()), &item.encode(id)));
        let compare =
            vec![created_at(&keys.home, claim.made), created_at(&keys.item(Key::Region), 0)];
        let record = keys.item(Key::Region);
        let reads = vec![get(&keys.home), get(&record)];
        let changed = loop {
            match office.gateway.txn(compare.clone(), puts.to_vec(), reads.clone()) {
                Ok(Txn::Done(revision)) => break revision,
                Ok(Txn::Not(found)) => {
                    let mine = Item::Region(ledger.region.clone()).encode(id);
                    match found.get(1).and_then(|range| range.kvs.first()) {
                        // The answer to an earlier attempt was lost.
                        Some(pair) if pair.value == mine => break pair.mod_revision,
                        Some(_) => {
                            office.give_back(&keys, claim);
                            return Err(Refusal::Exists);
                        }
                        None => return Err(unkept(DEPOSED)),
                    }
                }
                Err(silent) if office.lease.until(claim.lease).is_none() => {
                    return Err(unkept(silent));
                }
                Err(_) => std::thread::sleep(RETRY),
            }
        };
        Ok((Self { office, keys, claim, ledger, changed }, Epoch { number: 1 }))
    }

    /// Becomes the home of a region that is in etcd, as soon as nobody else is.
    pub(crate) fn open(office: Arc<Office>, name: &Name) -> Result<(Self, Opened), Refusal> {
        let keys = Keys::of(&office, name);
        let record =
            office.gateway.range(&keys.item(Key::Region), None, 1, 0).map_err(elsewhere)?;
        if record.kvs.is_empty() {
            return Err(Refusal::NoSuchRegion);
        }
        let claim = office.claim(&keys)?;
        match Self::load(&office, &keys, claim, name) {
            Ok((ledger, opened, changed)) => {
                let mut steward = Self { office, keys, claim, ledger, changed };
                steward.ledger.head.epoch += 1;
                steward.commit(Changes::new()).map_err(elsewhere)?;
                let epoch = Epoch { number: steward.ledger.head.epoch };
                Ok((steward, Opened { epoch, ..opened }))
            }
            Err(refusal) => {
                office.give_back(&keys, claim);
                Err(refusal)
            }
        }
    }

    /// All items as of one revision. Nobody changes them meanwhile, since nobody else is home.
    fn load(
        office: &Office,
        keys: &Keys,
        claim: Claim,
        name: &Name,
    ) -> Result<(Ledger, Opened, i64), Refusal> {
        let (mut first, end) = (keys.items.clone(), keys.end());
        let (mut items, mut revision, mut changed, mut limit) = (Vec::new(), 0, 0, 1);
        loop {
            let range = match office.gateway.range(&first, Some(&end), limit, revision) {
                Ok(range) => range,
                Err(silent) if office.lease.until(claim.lease).is_none() => {
                    return Err(elsewhere(silent));
                }
                Err(_) => {
                    std::thread::sleep(RETRY);
                    continue;
                }
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
        self.office.lease.until(self.claim.lease)
    }

    /// Keeps what comes, until the region is removed, the home lost (the reason), or nobody can send any
    /// more. Whether it was removed.
    pub(crate) fn run(
        mut self,
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
        self.office.give_back(&self.keys, self.claim);
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
        let mut operations = vec![put(&self.keys.item(Key::Head), &head)];
        operations.extend(self.operations(changes));
        let reads = || vec![get(&self.keys.home), get(&self.keys.item(Key::Head))];
        let compare = || {
            let head = changed_at(&self.keys.item(Key::Head), self.changed);
            vec![created_at(&self.keys.home, self.claim.made), head]
        };
        loop {
            match self.office.gateway.txn(compare(), operations.clone(), reads()) {
                Ok(Txn::Done(revision)) => {
                    self.changed = revision;
                    return Ok(());
                }
                Ok(Txn::Not(found)) => {
                    let pair =
                        |at: usize| found.get(at).and_then(|range: &Range| range.kvs.first());
                    let is_home =
                        pair(0).is_some_and(|home| home.create_revision == self.claim.made);
                    match pair(1) {
                        // An earlier attempt was carried out, and its answer lost.
                        Some(there) if is_home && there.value == head => {
                            self.changed = there.mod_revision;
                            return Ok(());
                        }
                        _ => return Err(DEPOSED.to_owned()),
                    }
                }
                // Until the lease is over, etcd may come back. What became of it then, the next home
                // finds out.
                Err(silent) if self.office.lease.until(self.claim.lease).is_none() => {
                    return Err(format!(
                        "{silent}; see that a majority of its members is up and reachable from here"
                    ));
                }
                Err(_) => std::thread::sleep(RETRY),
            }
        }
    }

    fn operations(&self, changes: Changes) -> Vec<Value> {
        let mut operations = Vec::with_capacity(changes.len());
        let mut gone: Option<(Key, Key)> = None;
        let range = |(first, last)| delete(&self.keys.item(first), &next(&self.keys.item(last)));
        for (key, item) in changes {
            match (item, gone) {
                (Some(item), _) => {
                    operations.extend(gone.take().map(range));
                    operations.push(put(&self.keys.item(key), &item.encode(self.id())));
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

    fn remove(self) -> Result<(), String> {
        self.office.remove(&self.keys, self.claim).map_err(|silent| silent.to_string())
    }
}

const DEPOSED: &str = "another node is its home now; open the region again, and it is found there";

impl Office {
    /// Becomes the home of a region, once nobody else is.
    fn claim(&self, keys: &Keys) -> Result<Claim, Refusal> {
        let begun = Instant::now();
        let claim = self.claims.fetch_add(1, Ordering::Relaxed);
        loop {
            let lease = self.lease.hold().map_err(elsewhere)?.id;
            let mine = format!("{} {lease:x} {claim}", self.node).into_bytes();
            let put = put_leased(&keys.home, &mine, lease);
            let compare = created_at(&keys.home, 0);
            match self.gateway.txn(vec![compare], vec![put], vec![get(&keys.home)]) {
                Ok(Txn::Done(made)) => return Ok(Claim { lease, made }),
                Ok(Txn::Not(found)) => {
                    let there = found.first().and_then(|range| range.kvs.first());
                    match there {
                        // The answer to an earlier attempt was lost.
                        Some(home) if home.value == mine => {
                            return Ok(Claim { lease, made: home.create_revision });
                        }
                        Some(home) if begun.elapsed() > SUCCESSION => {
                            let home = String::from_utf8_lossy(&home.value).into_owned();
                            let home = home.split(' ').next().unwrap_or_default().to_owned();
                            return Err(elsewhere(format!("its home is node `{home}`; ask there")));
                        }
                        Some(_) | None => std::thread::sleep(RETRY),
                    }
                }
                Err(silent) if begun.elapsed() > SUCCESSION => return Err(elsewhere(silent)),
                Err(_) => std::thread::sleep(RETRY),
            }
        }
    }

    /// Should it fail, the lease ends by itself.
    fn give_back(&self, keys: &Keys, claim: Claim) {
        let compare = vec![created_at(&keys.home, claim.made)];
        let _ = self.gateway.txn(compare, vec![delete(&keys.home, &next(&keys.home))], Vec::new());
    }

    fn remove(&self, keys: &Keys, claim: Claim) -> Result<(), Silent> {
        let all = delete(&keys.items, &keys.end());
        let home = delete(&keys.home, &next(&keys.home));
        loop {
            let compare = vec![created_at(&keys.home, claim.made)];
            match self.gateway.txn(compare, vec![all.clone(), home.clone()], Vec::new()) {
                // Where it is not home any more, an earlier attempt was carried out, or another is.
                Ok(_) => return Ok(()),
                Err(silent) if self.lease.until(claim.lease).is_none() => return Err(silent),
                Err(_) => std::thread::sleep(RETRY),
            }
        }
    }

    /// Removes a region that cannot be opened.
    pub(crate) fn discard(&self, region: &Name) {
        let keys = Keys::of(self, region);
        if let Ok(claim) = self.claim(&keys) {
            let _ = self.remove(&keys, claim);
        }
    }
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
