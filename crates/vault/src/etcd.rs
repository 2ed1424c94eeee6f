//! The vault in etcd: regions that outlive their node's host.
//!
//! A node becomes the *home* of a region by a key under its lease, and serves it from its own memory
//! like any other region. Commits are transactions of etcd that hold only as long as that key is the
//! one this node made: see `steward`. Each region has a thread, since each waits for etcd by itself.

mod steward;
mod lease;
mod gateway;

use std::collections::{HashMap, HashSet};
use std::io;
use std::sync::atomic::AtomicU64;
use std::sync::mpsc::{self, Sender};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Instant;

use logic::regions::{Batch, Event};
use wire::name::Name;
use wire::region::{Create, Refusal, RegionId};
use wire::units::Time;

use crate::vault::{Outbox, Vault};
use gateway::Gateway;
use lease::{Lease, News};
use steward::{Office, Order, Steward};

const SILENCE: &str = "etcd was not heard of for the length of a lease; see that a majority of its \
                       members is up and reachable from here";

/// Turns this process's clock into the time of the node's machines.
pub type Clock = Arc<dyn Fn(Instant) -> Time + Send + Sync>;

/// The vault in etcd. Regions are opened when they are asked for.
#[derive(Debug)]
pub struct Etcd {
    shared: Arc<Shared>,
    leaser: Option<JoinHandle<()>>,
}

struct Shared {
    office: Arc<Office>,
    outbox: Outbox,
    clock: Clock,
    desk: Mutex<Desk>,
}

#[derive(Default)]
struct Desk {
    stewards: HashMap<RegionId, Sender<Order>>,
    /// Regions that a thread is about to open.
    opening: HashSet<Name>,
    /// Regions whose home is here, and that were told.
    open: HashMap<RegionId, Name>,
    threads: Vec<JoinHandle<()>>,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.office.fmt(f)
    }
}

impl Etcd {
    /// The members at these addresses (`http://HOST:PORT`), for a node of the cluster with this
    /// authority.
    pub fn new(
        endpoints: Vec<String>,
        node: Name,
        cluster: &str,
        outbox: Outbox,
        clock: Clock,
    ) -> io::Result<Self> {
        let gateway = Arc::new(Gateway::new(endpoints));
        let lease = Lease::new(Arc::clone(&gateway));
        let root = format!("farcall/{cluster}/");
        let office = Arc::new(Office { gateway, lease, node, root, claims: AtomicU64::new(0) });
        let shared = Arc::new(Shared { office, outbox, clock, desk: Mutex::default() });
        let leaser = Arc::clone(&shared);
        let run = move || leaser.office.lease.run(|news| leaser.lease_news(news));
        let leaser = std::thread::Builder::new().name("etcd lease".to_owned()).spawn(run)?;
        Ok(Self { shared, leaser: Some(leaser) })
    }

    /// On a thread of its own, which ends with the region.
    fn attend(&self, work: impl FnOnce(&Arc<Shared>) + Send + 'static) {
        let shared = Arc::clone(&self.shared);
        let spawned =
            std::thread::Builder::new().name("etcd".to_owned()).spawn(move || work(&shared));
        let mut desk = self.shared.desk();
        desk.threads.retain(|thread| !thread.is_finished());
        desk.threads.extend(spawned);
    }
}

impl Vault for Etcd {
    fn make(&self, id: RegionId, owner: Name, create: Create) {
        let name = create.name.clone();
        if !self.shared.begin(&name) {
            return self.shared.outbox.tell([Event::Made { id, result: Err(Refusal::Exists) }]);
        }
        self.attend(move |shared| {
            match Steward::make(Arc::clone(&shared.office), id, owner, create) {
                Ok((steward, epoch)) => {
                    shared.serve(steward, name, Event::Made { id, result: Ok(epoch) });
                }
                Err(refusal) => {
                    shared.desk().opening.remove(&name);
                    shared.outbox.tell([Event::Made { id, result: Err(refusal) }]);
                }
            }
        });
    }

    fn open(&self, name: Name) {
        if !self.shared.begin(&name) {
            // `Opened` has been told, or will be.
            return;
        }
        self.attend(move |shared| {
            let found = Steward::open(Arc::clone(&shared.office), &name);
            match found {
                Ok((steward, opened)) => {
                    let result = Ok(Box::new(opened));
                    let event = Event::Opened { name: name.clone(), result };
                    shared.serve(steward, name, event);
                }
                Err(refusal) => {
                    shared.desk().opening.remove(&name);
                    shared.outbox.tell([Event::Opened { name, result: Err(refusal) }]);
                }
            }
        });
    }

    fn keep(&self, batch: Batch) {
        let desk = self.shared.desk();
        if let Some(steward) = desk.stewards.get(&batch.region) {
            // One that has ended has told why.
            let _ = steward.send(Order::Keep(batch));
        }
    }

    fn remove(&self, id: RegionId) {
        let mut desk = self.shared.desk();
        let told = desk.stewards.remove(&id).is_some_and(|to| to.send(Order::Remove).is_ok());
        if !told {
            let result = Err(Refusal::Unkept { reason: SILENCE.to_owned() });
            self.shared.outbox.tell([Event::Removed { id, result }]);
        }
    }

    fn shut(&self, id: RegionId) {
        let mut desk = self.shared.desk();
        // Its thread ends, and gives back the right to be home.
        desk.stewards.remove(&id);
        desk.open.remove(&id);
    }

    fn discard(&self, name: Name) {
        self.attend(move |shared| shared.office.discard(&name));
    }
}

impl Shared {
    /// Whether nobody is at a region of this name yet.
    fn begin(&self, name: &Name) -> bool {
        let mut desk = self.desk();
        let is_open = desk.open.values().any(|open| open == name);
        !is_open && desk.opening.insert(name.clone())
    }

    /// Is a region's thread until its end.
    fn serve(&self, steward: Steward, name: Name, news: Event) {
        let (orders, inbox) = mpsc::channel();
        let id = steward.id();
        {
            let mut desk = self.desk();
            desk.opening.remove(&name);
            desk.stewards.insert(id, orders);
            if let Some(until) = steward.is_home_until() {
                desk.open.insert(id, name);
                // Before the lock is given back: should the lease end now, that is told afterwards.
                let until = (self.clock)(until);
                self.outbox.tell([Event::Renewed { until }, news]);
            } else {
                desk.stewards.remove(&id);
                let refusal = Refusal::NoVault { reason: SILENCE.to_owned() };
                let news = match news {
                    Event::Made { id, .. } => Event::Made { id, result: Err(refusal) },
                    _ => Event::Opened { name, result: Err(refusal) },
                };
                return self.outbox.tell([news]);
            }
        }
        let outcome =
            steward.run(&inbox, |sequence| self.outbox.tell([Event::Kept { id, sequence }]));
        let mut desk = self.desk();
        desk.stewards.remove(&id);
        // If the lease is over, that has been told.
        let was_open = desk.open.remove(&id).is_some();
        match outcome {
            Ok(true) => self.outbox.tell([Event::Removed { id, result: Ok(()) }]),
            Err(reason) if was_open => self.outbox.tell([Event::Lost { id, reason }]),
            Ok(false) | Err(_) => {}
        }
    }

    fn lease_news(&self, news: News) {
        match news {
            News::Until(until) => self.outbox.tell([Event::Renewed { until: (self.clock)(until) }]),
            News::Over => {
                let mut desk = self.desk();
                // Without a sender their threads end; what they are at fails, or was in time.
                desk.stewards.clear();
                let lost: Vec<_> = desk.open.drain().map(|(id, _)| id).collect();
                drop(desk);
                let lost = lost.into_iter();
                self.outbox.tell(lost.map(|id| Event::Lost { id, reason: SILENCE.to_owned() }));
            }
        }
    }

    fn desk(&self) -> MutexGuard<'_, Desk> {
        self.desk.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Etcd {
    fn drop(&mut self) {
        let threads = {
            let mut desk = self.shared.desk();
            desk.stewards.clear();
            std::mem::take(&mut desk.threads)
        };
        for thread in threads {
            let _ = thread.join();
        }
        self.shared.office.lease.end();
        if let Some(leaser) = self.leaser.take() {
            let _ = leaser.join();
        }
    }
}

#[cfg(test)]
mod tests;
