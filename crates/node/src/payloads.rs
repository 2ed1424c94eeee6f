//! Which bulk connection carries which payload, and what their threads report.

use std::collections::HashMap;
use std::fs::File;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;

use logic::node::{Event, FetchBlob};
use logic::{BufferId, LinkId};
use mio::Waker;
use transport::{Connection, DialTls};
use wire::limits::BULKS_MAX;
use wire::name::{Hash, Name};

use crate::buffers::Buffers;
use crate::bulk::{Bulk, BulkId, Report, Stored, pieces};
use crate::lending;
use crate::store::{Found, Store};

/// What a report means to the loop.
pub(crate) enum News {
    /// For the machine.
    Event(Event),
    /// A blob was stored for a link that is down, or one of an earlier start is spoilt.
    Orphan(Hash),
    /// A link lost a bulk connection, and with it perhaps a payload: it has to begin anew.
    Broken(LinkId),
}

pub(crate) struct Payloads {
    pub(crate) buffers: Arc<Buffers>,
    /// The bulk connections of each link.
    bulks: HashMap<LinkId, Vec<Bulk>>,
    links: HashMap<BulkId, LinkId>,
    /// Results that wait for their link's first bulk connection.
    homeless: HashMap<LinkId, Vec<(u64, BufferId, u64)>>,
    reports: Receiver<Report>,
    reporter: Sender<Report>,
    waker: Arc<Waker>,
    opened: u64,
    /// For whom blobs are being stored: a link's number may be another's when that is done.
    storing: HashMap<u64, LinkId>,
    stores: u64,
    /// Payloads that are being sent, and over what.
    sending: HashMap<BufferId, BulkId>,
    /// Whose turn it is among the connections of a link.
    turn: usize,
}

impl Payloads {
    pub(crate) fn new(waker: Arc<Waker>) -> Self {
        let (reporter, reports) = mpsc::channel();
        Self {
            buffers: Arc::default(),
            bulks: HashMap::new(),
            links: HashMap::new(),
            homeless: HashMap::new(),
            reports,
            reporter,
            waker,
            opened: 0,
            storing: HashMap::new(),
            stores: 0,
            sending: HashMap::new(),
            turn: 0,
        }
    }

    /// A connection carries payloads of `link` from now on. `false`: it cannot be served.
    pub(crate) fn attach(&mut self, link: LinkId, connection: Connection, owner: Name) -> bool {
        if self.bulks.get(&link).is_some_and(|bulks| bulks.len() == BULKS_MAX) {
            return false;
        }
        self.opened += 1;
        let id = BulkId(self.opened);
        let (reporter, waker) = (self.reporter.clone(), self.waker.clone());
        let report = move |report| {
            // A loop that is gone needs no reports.
            let _ = reporter.send(report);
            let _ = waker.wake();
        };
        self.buffers.expect(&owner);
        let Ok(bulk) = Bulk::start(id, connection, owner, self.buffers.clone(), report) else {
            return false;
        };
        self.links.insert(id, link);
        self.bulks.entry(link).or_default().push(bulk);
        for (channel, buffer, length) in self.homeless.remove(&link).unwrap_or_default() {
            self.send(link, channel, buffer, length);
        }
        true
    }

    /// Sends a buffer over one of the link's bulk connections, or keeps it for the first.
    pub(crate) fn send(&mut self, link: LinkId, channel: u64, buffer: BufferId, length: u64) {
        let Some(bulks) = self.bulks.get(&link).filter(|bulks| !bulks.is_empty()) else {
            self.homeless.entry(link).or_default().push((channel, buffer, length));
            return;
        };
        self.turn = self.turn.wrapping_add(1);
        let bulk = &bulks[self.turn % bulks.len()];
        let sent = self.buffers.get(buffer).is_some_and(|held| bulk.send(channel, held, length));
        if sent {
            self.sending.insert(buffer, bulk.id);
        } else {
            self.buffers.release(buffer);
        }
    }

    /// Stores a payload as a blob, on a thread of its own; `BlobStored` follows.
    pub(crate) fn store(
        &mut self,
        store: &Arc<Store>,
        link: LinkId,
        channel: u64,
        hash: Hash,
        buffer: BufferId,
        length: u64,
    ) -> Result<(), String> {
        let held = self.buffers.get(buffer).ok_or("its bytes were lost")?;
        let (store, reporter, waker) = (store.clone(), self.reporter.clone(), self.waker.clone());
        self.stores += 1;
        let job = self.stores;
        self.storing.insert(job, link);
        let work = move || {
            let refused = store.put(&hash, pieces(&held.shared, length)).err();
            let stored = Stored { job, channel, hash, length, refused };
            // A loop that is gone needs no reports.
            let _ = reporter.send(Report::Stored { buffer, stored });
            let _ = waker.wake();
        };
        let spawned = thread::Builder::new().name("store".into()).spawn(work);
        spawned.map(|_| ()).map_err(|error| {
            self.storing.remove(&job);
            self.buffers.release(buffer);
            format!("cannot start a thread: {error}")
        })
    }

    /// Checks what earlier starts have left, on a thread of its own.
    pub(crate) fn recover(&self, store: &Arc<Store>) -> std::io::Result<()> {
        let (store, reporter, waker) = (store.clone(), self.reporter.clone(), self.waker.clone());
        let hashes = store.list();
        if hashes.is_empty() {
            return Ok(());
        }
        let work = move || {
            for hash in hashes {
                // A loop that is gone needs no reports.
                if reporter.send(Report::Found(store.check(hash))).is_err() {
                    return;
                }
                let _ = waker.wake();
            }
        };
        thread::Builder::new().name("recover".into()).spawn(work).map(|_| ())
    }

    /// Gets a blob from another node, on a thread of its own; `BlobFetched` follows.
    pub(crate) fn fetch(
        &mut self,
        store: &Arc<Store>,
        tls: DialTls,
        link: LinkId,
        channel: u64,
        blob: FetchBlob,
    ) -> Result<(), String> {
        let (store, reporter, waker) = (store.clone(), self.reporter.clone(), self.waker.clone());
        self.stores += 1;
        let job = self.stores;
        self.storing.insert(job, link);
        let work = move || {
            let (hash, length) = (blob.hash, blob.length);
            let refused = lending::fetch(&store, &tls, &blob).err();
            let fetched = Stored { job, channel, hash, length, refused };
            // A loop that is gone needs no reports.
            let _ = reporter.send(Report::Fetched { fetched });
            let _ = waker.wake();
        };
        let spawned = thread::Builder::new().name("fetch".into()).spawn(work);
        spawned.map(|_| ()).map_err(|error| {
            self.storing.remove(&job);
            format!("cannot start a thread: {error}")
        })
    }

    /// Sends a blob to another node, on a thread of its own; `BlobLent` follows. `false`: it will not.
    pub(crate) fn lend(&self, connection: Connection, mut file: File) -> bool {
        let (reporter, waker) = (self.reporter.clone(), self.waker.clone());
        let work = move || {
            // What went wrong the other node sees, and says.
            let _ = lending::lend(connection, &mut file);
            let _ = reporter.send(Report::Lent);
            let _ = waker.wake();
        };
        thread::Builder::new().name("lend".into()).spawn(work).is_ok()
    }

    /// Nothing is on its way to a client.
    pub(crate) fn is_idle(&self) -> bool {
        self.sending.is_empty()
    }

    /// The link is down.
    pub(crate) fn forget(&mut self, link: LinkId) {
        self.storing.retain(|_, of| *of != link);
        for bulk in self.bulks.remove(&link).unwrap_or_default() {
            self.links.remove(&bulk.id);
        }
        for (_, buffer, _) in self.homeless.remove(&link).unwrap_or_default() {
            self.buffers.release(buffer);
        }
    }

    /// The next report that matters.
    pub(crate) fn news(&mut self) -> Option<News> {
        loop {
            match self.reports.try_recv().ok()? {
                Report::Sent { buffer } => {
                    if self.sending.remove(&buffer).is_some() {
                        self.buffers.release(buffer);
                    }
                }
                Report::Stored { buffer, stored } => {
                    self.buffers.release(buffer);
                    let Stored { job, channel, hash, length, refused } = stored;
                    return Some(match self.storing.remove(&job) {
                        None => News::Orphan(hash),
                        Some(link) => {
                            News::Event(Event::BlobStored { link, channel, hash, length, refused })
                        }
                    });
                }
                Report::Fetched { fetched } => {
                    let Stored { job, channel, hash, length, refused: failed } = fetched;
                    let link = self.storing.remove(&job);
                    let event = Event::BlobFetched { link, channel, hash, length, failed };
                    return Some(News::Event(event));
                }
                Report::Found(Found::Good { hash, length, owners }) => {
                    return Some(News::Event(Event::BlobFound { hash, length, owners }));
                }
                Report::Found(Found::Bad { hash }) => return Some(News::Orphan(hash)),
                Report::Lent => return Some(News::Event(Event::BlobLent)),
                Report::Dropped { buffer } => self.buffers.release(buffer),
                Report::Arrived { bulk, channel, buffer, length } => match self.links.get(&bulk) {
                    Some(&link) => {
                        return Some(News::Event(Event::Payload { link, channel, buffer, length }));
                    }
                    None => self.buffers.release(buffer),
                },
                Report::Ended { bulk } => {
                    // An order that the thread never saw is not reported by it.
                    for (buffer, _) in self.sending.extract_if(|_, over| *over == bulk) {
                        self.buffers.release(buffer);
                    }
                    if let Some(link) = self.links.remove(&bulk) {
                        return Some(News::Broken(link));
                    }
                }
            }
        }
    }
}
