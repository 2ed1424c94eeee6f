//! The vault in etcd: regions that outlive their node's host.
//!
//! A node becomes the *home* of a region by a key under its lease, and serves it from its own memory
//! like any other region. Commits are transactions of etcd that hold only as long as that key is the
//! one this node made: see `steward`. Each region has a thread, since each waits for etcd by itself; a few
//! more make and open them.
//!
//! Invariant: at a region's name there is one thread at a time, from its first word to etcd until it has
//! given the home back. What was told open is told lost, removed or shut before that.

mod steward;
mod lease;
mod gateway;

use std::collections::{HashMap, VecDeque};
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
use lease::{Lease, News, SILENCE};
use steward::{Office, Order, Steward};

/// Threads that make and open regions: each may wait for the length of a lease until another node's is
/// over.
const OPENERS_MAX: usize = 32;
/// Regions that may wait for one of them.
const WAITING_MAX: usize = 1024;
const BUSY: &str = "this node waits for etcd with too many regions already; ask again soon";

const NOT_HOME: &str = "this node is not its home any more; open the region again";

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
    /// What this node is at with a region. One thread at a time: whoever comes meanwhile waits until it
    /// has ended, so nobody clears away what is another's.
    seats: HashMap<Name, Seat>,
    /// Those that are open, as was told.
    open: HashMap<RegionId, Name>,
    /// For the openers.
    queue: VecDeque<Work>,
    /// What is in the queue or waits for a seat.
    waiting: usize,
    openers: usize,
    threads: Vec<JoinHandle<()>>,
    is_closing: bool,
}

struct Seat {
    state: State,
    /// What is to be done when it is free.
    next: VecDeque<Work>,
}

enum State {
    /// It is being opened, or its thread is ending.
    Busy,
    /// Its home is here.
    Open(Sender<Order>),
}

enum Work {
    Make { id: RegionId, owner: Name, create: Create },
    Open { name: Name },
    Discard { name: Name },
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
}

impl Vault for Etcd {
    fn make(&self, id: RegionId, owner: Name, create: Create) {
        self.shared.begin(Work::Make { id, owner, create });
    }

    fn open(&self, name: Name) {
        self.shared.begin(Work::Open { name });
    }

    fn keep(&self, batch: Batch) {
        let (desk, id) = (self.shared.desk(), batch.region);
        let sent = desk.steward(id).is_some_and(|orders| orders.send(Order::Keep(batch)).is_ok());
        if !sent {
            self.shared.outbox.tell([Event::Lost { id, reason: NOT_HOME.to_owned() }]);
        }
    }

    fn remove(&self, id: RegionId) {
        let mut desk = self.shared.desk();
        let sent = match desk.close(id) {
            Some(State::Open(steward)) => steward.send(Order::Remove).is_ok(),
            Some(State::Busy) | None => false,
        };
        if !sent {
            let result = Err(Refusal::Unkept { reason: NOT_HOME.to_owned() });
            self.shared.outbox.tell([Event::Removed { id, result }]);
        }
    }

    fn shut(&self, id: RegionId) {
        // Without a sender its thread ends, and gives back the right to be home.
        self.shared.desk().close(id);
    }

    fn discard(&self, name: Name) {
        self.shared.begin(Work::Discard { name });
    }
}

impl Work {
    fn name(&self) -> &Name {
        match self {
            Self::Make { create, .. } => &create.name,
            Self::Open { name } | Self::Discard { name } => name,
        }
    }

    /// What is told when it is not done.
    fn refuse(self, refusal: Refusal) -> Option<Event> {
        match self {
            Self::Make { id, .. } => Some(Event::Made { id, result: Err(refusal) }),
            Self::Open { name } => Some(Event::Opened { name, result: Err(refusal) }),
            Self::Discard { .. } => None,
        }
    }

    /// Where the region is open here already.
    fn refuse_open(self) -> Option<Event> {
        let refusal = match self {
            Self::Make { .. } => Refusal::Exists,
            // Whoever asks has not read yet what it was told.
            Self::Open { .. } | Self::Discard { .. } => {
                no_vault("it has just been opened; ask again")
            }
        };
        self.refuse(refusal)
    }
}

impl Desk {
    fn steward(&self, id: RegionId) -> Option<&Sender<Order>> {
        match &self.seats.get(self.open.get(&id)?)?.state {
            State::Open(steward) => Some(steward),
            State::Busy => None,
        }
    }

    /// Nothing comes to it any more; its thread goes on until it has ended.
    fn close(&mut self, id: RegionId) -> Option<State> {
        let seat = self.seats.get_mut(&self.open.remove(&id)?)?;
        Some(std::mem::replace(&mut seat.state, State::Busy))
    }
}

impl Shared {
    /// Does it, as soon as nobody is at a region of this name.
    fn begin(self: &Arc<Self>, work: Work) {
        let mut desk = self.desk();
        let desk = &mut *desk;
        if desk.waiting >= WAITING_MAX {
            return self.outbox.tell(work.refuse(no_vault(BUSY)));
        }
        let name = work.name().clone();
        match desk.seats.get_mut(&name) {
            Some(Seat { state: State::Open(_), .. }) => self.outbox.tell(work.refuse_open()),
            Some(seat) => {
                seat.next.push_back(work);
                desk.waiting += 1;
            }
            None => {
                desk.seats.insert(name, Seat { state: State::Busy, next: VecDeque::new() });
                desk.queue.push_back(work);
                desk.waiting += 1;
                self.call_opener(desk);
            }
        }
    }

    /// Sees that somebody is at the queue.
    fn call_opener(self: &Arc<Self>, desk: &mut Desk) {
        if desk.openers == OPENERS_MAX {
            return;
        }
        let shared = Arc::clone(self);
        let run = move || shared.run_opener();
        match std::thread::Builder::new().name("etcd opener".to_owned()).spawn(run) {
            Ok(thread) => {
                desk.openers += 1;
                desk.threads.retain(|thread| !thread.is_finished());
                desk.threads.push(thread);
            }
            Err(_) if desk.openers > 0 => {}
            Err(error) => {
                let refusal = no_vault(&format!("{error}; see this host's limit of threads"));
                while let Some(work) = desk.queue.pop_front() {
                    desk.waiting -= 1;
                    let seat = desk.seats.remove(work.name());
                    let next = seat.map(|seat| seat.next).unwrap_or_default();
                    desk.waiting -= next.len();
                    let refused = std::iter::once(work).chain(next);
                    self.outbox.tell(refused.filter_map(|work| work.refuse(refusal.clone())));
                }
            }
        }
    }

    fn run_opener(self: &Arc<Self>) {
        loop {
            let work = {
                let mut desk = self.desk();
                let Some(work) = desk.queue.pop_front() else {
                    desk.openers -= 1;
                    return;
                };
                desk.waiting -= 1;
                work
            };
            self.carry_out(work);
        }
    }

    fn carry_out(self: &Arc<Self>, work: Work) {
        let (name, office) = (work.name().clone(), Arc::clone(&self.office));
        match work {
            Work::Make { id, owner, create } => match Steward::make(office, id, owner, create) {
                Ok((steward, epoch)) => {
                    self.install(steward, name, Event::Made { id, result: Ok(epoch) });
                }
                Err(refusal) => {
                    self.leave(&name, Some(Event::Made { id, result: Err(refusal) }));
                }
            },
            Work::Open { name } => match Steward::open(office, &name) {
                Ok((steward, opened)) => {
                    let result = Ok(Box::new(opened));
                    self.install(steward, name.clone(), Event::Opened { name, result });
                }
                Err(refusal) => {
                    let result = Err(refusal);
                    self.leave(&name.clone(), Some(Event::Opened { name, result }));
                }
            },
            Work::Discard { .. } => {
                office.discard(&name);
                self.leave(&name, None);
            }
        }
    }

    /// Gives a region its thread.
    fn install(self: &Arc<Self>, steward: Steward, name: Name, news: Event) {
        let refused = |reason: &str| refuse(&news, no_vault(reason));
        let (lapsed, shared) = (refused(SILENCE), Arc::clone(self));
        let failed = refused("no thread can be started; see this host's limit of threads");
        let region = name.clone();
        let serve = move || shared.serve(steward, region, news, lapsed);
        match std::thread::Builder::new().name("etcd region".to_owned()).spawn(serve) {
            Ok(thread) => self.desk().threads.push(thread),
            // What was the thread's has been dropped, so it is nobody's home.
            Err(_) => self.leave(&name, Some(failed)),
        }
    }

    /// Is a region's thread until its end.
    fn serve(self: &Arc<Self>, mut steward: Steward, name: Name, news: Event, lapsed: Event) {
        let (orders, inbox) = mpsc::channel();
        let id = steward.id();
        let mut desk = self.desk();
        let until = steward.is_home_until().filter(|_| !desk.is_closing);
        let (Some(until), Some(seat)) = (until, desk.seats.get_mut(&name)) else {
            drop(desk);
            drop(steward);
            return self.leave(&name, Some(lapsed));
        };
        seat.state = State::Open(orders);
        let waited = std::mem::take(&mut seat.next);
        desk.waiting -= waited.len();
        desk.open.insert(id, name.clone());
        // Before the lock is given back: should the lease end now, that is told afterwards.
        let until = (self.clock)(until);
        let refused = waited.into_iter().filter_map(Work::refuse_open);
        self.outbox.tell([Event::Renewed { until }, news].into_iter().chain(refused));
        drop(desk);

        let outcome =
            steward.run(&inbox, |sequence| self.outbox.tell([Event::Kept { id, sequence }]));
        let mut desk = self.desk();
        let was_open = desk.close(id).is_some();
        match outcome {
            Ok(true) => self.outbox.tell([Event::Removed { id, result: Ok(()) }]),
            Ok(false) if !was_open => {}
            // If the lease is over, it has been told already, and once more does no harm: whoever opens
            // it again still waits.
            outcome => {
                let reason = outcome.err().unwrap_or_else(|| SILENCE.to_owned());
                self.outbox.tell([Event::Lost { id, reason }]);
            }
        }
        drop(desk);
        // Whoever is home next must not be so before that was told.
        drop(steward);
        self.leave(&name, None);
    }

    /// Nobody is at this region any more: what waited for that begins.
    fn leave(self: &Arc<Self>, name: &Name, news: Option<Event>) {
        let mut desk = self.desk();
        let desk = &mut *desk;
        self.outbox.tell(news);
        let Some(seat) = desk.seats.get_mut(name) else { return };
        match seat.next.pop_front() {
            Some(work) if !desk.is_closing => {
                desk.queue.push_back(work);
                self.call_opener(desk);
            }
            _ => {
                desk.seats.remove(name);
            }
        }
    }

    fn lease_news(&self, news: News) {
        match news {
            News::Until(until) => self.outbox.tell([Event::Renewed { until: (self.clock)(until) }]),
            News::Over(reason) => {
                let mut desk = self.desk();
                let lost: Vec<_> = desk.open.keys().copied().collect();
                for &id in &lost {
                    // Without a sender its thread ends; what it is at fails, or was in time.
                    desk.close(id);
                }
                // Under the lock: whoever opens one of them again tells so afterwards.
                let lost = lost.into_iter().map(|id| Event::Lost { id, reason: reason.clone() });
                self.outbox.tell(lost);
            }
        }
    }

    fn desk(&self) -> MutexGuard<'_, Desk> {
        self.desk.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn no_vault(reason: &str) -> Refusal {
    Refusal::NoVault { reason: reason.to_owned() }
}

/// What is told instead, when it comes to nothing in the end.
fn refuse(news: &Event, refusal: Refusal) -> Event {
    match news {
        Event::Made { id, .. } => Event::Made { id: *id, result: Err(refusal) },
        Event::Opened { name, .. } => Event::Opened { name: name.clone(), result: Err(refusal) },
        _ => unreachable!("only these two begin with a steward"),
    }
}

impl Drop for Etcd {
    fn drop(&mut self) {
        loop {
            let threads = {
                let mut desk = self.shared.desk();
                desk.is_closing = true;
                desk.queue.clear();
                for id in desk.open.keys().copied().collect::<Vec<_>>() {
                    desk.close(id);
                }
                std::mem::take(&mut desk.threads)
            };
            // An opener may have begun a region's thread meanwhile.
            if threads.is_empty() {
                break;
            }
            for thread in threads {
                let _ = thread.join();
            }
        }
        self.shared.office.lease.end();
        if let Some(leaser) = self.leaser.take() {
            let _ = leaser.join();
        }
    }
}

#[cfg(test)]
mod tests;
