//! Regions of a node of its own, over its Unix socket and over TLS.

use std::hint::black_box;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use client::Cluster;
use client::memory::{self, Durability, Read, Region, RegionOptions, Watch};

use super::contend::contend;
use super::disk::Disk;
use super::measured::{Figures, counting, each, exclusive, middle, queues, subject};
use super::{CLIENTS, IN_FLIGHT, PAGE, count, count_up};
use crate::daemon::Daemon;
use crate::error::Error;
use crate::ours::ours;
use crate::record::Fate;
use crate::setting::{Effort, Setting};
use crate::turns::{Measurement, fate, per_second, warmed};

/// Pages of a region that everybody uses.
const PAGES: u64 = 1024;
/// Clients whose commits share the disk.
const WRITERS: usize = 64;
/// How old a cached page may be that is always fresh enough.
const OLD: Duration = Duration::from_secs(60);
/// A large region, its watches, and the clients that have them.
const MANY_PAGES: u64 = 1_000_000;
const WATCHERS: u64 = 10_000;
const WATCHERS_OF_CLIENT: u64 = 1_000;
const SMALL_PAGE: u32 = 64;

/// How clients reach their node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Over {
    Unix,
    Tls,
}

/// A node with regions, or why there is none.
pub(super) struct Home {
    effort: Effort,
    over: Over,
    daemon: Result<Arc<Daemon>, Fate>,
}

/// A region as one client sees it, over a connection of its own.
pub(super) struct Client {
    pub(super) region: Region,
    _cluster: Cluster,
    daemon: Arc<Daemon>,
}

impl Client {
    /// The folder with the keys that let it in.
    pub(super) fn keys(&self) -> PathBuf {
        self.daemon.keys()
    }
}

impl Home {
    pub(super) fn start(setting: &Setting, over: Over) -> Self {
        let flags: &[&str] = match over {
            Over::Unix => &[],
            Over::Tls => &["--listen", "127.0.0.1:0"],
        };
        let daemon = Daemon::start_on_disk(setting, "a node with regions", flags).map(Arc::new);
        Self { effort: setting.effort, over, daemon: daemon.map_err(|error| fate(&error)) }
    }

    pub(super) fn client(&self, name: &str, options: &RegionOptions) -> Result<Client, Fate> {
        let daemon = self.daemon.clone()?;
        let connect = || -> Result<Client, Error> {
            let cluster = match self.over {
                Over::Unix => daemon.cluster()?,
                Over::Tls => daemon.cluster_over_tls()?,
            };
            let region = cluster.memory_or_create(name, options).map_err(ours("open a region"))?;
            Ok(Client { region, _cluster: cluster, daemon: daemon.clone() })
        };
        connect().map_err(|error| fate(&error))
    }

    fn clients(
        &self,
        count: usize,
        name: &str,
        options: &RegionOptions,
    ) -> Result<Vec<Client>, Fate> {
        (0..count).map(|_| self.client(name, options)).collect()
    }

    fn figures(&self, unix: Figures, tls: Figures) -> Figures {
        match self.over {
            Over::Unix => unix,
            Over::Tls => tls,
        }
    }

    pub(super) fn read_unchanged<'a>(&self) -> Measurement<'a> {
        let figures =
            self.figures(&["read.unix.p50", "read.unix.p99"], &["read.tls.p50", "read.tls.p99"]);
        let client = self.client("read", &pages()).and_then(|client| {
            // Known from here on, with bytes that are not zero.
            let known = client
                .region
                .page(0)
                .update(0, &[7; PAGE])
                .and_then(|_| client.region.page(0).read());
            known.map(|_| client).map_err(|error| fate(&ours("read a page")(error)))
        });
        each(figures, client, self.effort.latency_tasks, |client| {
            let page = client.region.page(0).read().map_err(ours("read a page"))?;
            assert_eq!(page.bytes.len(), PAGE);
            Ok(page)
        })
    }

    /// Somebody else changes the page before each read, out of the clock.
    pub(super) fn read_changed<'a>(&self) -> Measurement<'a> {
        let figures = self.figures(&["read.changed.unix"], &["read.changed.tls"]);
        let asks = self.effort.latency_tasks;
        subject(figures, self.clients(2, "changed", &pages()), move |clients| {
            let [reader, writer] = &clients[..] else { unreachable!("two were asked for") };
            let mut nanoseconds = Vec::with_capacity(warmed(asks));
            for number in 0..warmed(asks) {
                let byte = number as u8;
                let written = writer.region.page(0).update(0, &[byte; PAGE]);
                let written = written.map_err(ours("update a page"))?;
                let start = Instant::now();
                let page = reader.region.page(0).read().map_err(ours("read a page"))?;
                nanoseconds.push(start.elapsed().as_nanos() as u64);
                assert!(page.version == written && page.bytes[PAGE - 1] == byte, "an old page");
            }
            Ok(middle(figures, nanoseconds, asks))
        })
    }

    /// Nanoseconds, since no round trip is made.
    pub(super) fn read_cached<'a>(&self) -> Measurement<'a> {
        let reads = self.effort.pages;
        subject(&["read.cached"], self.client("cached", &pages()), move |client| {
            let page = client.region.page(0);
            let pass = |reads: usize| -> Result<Duration, Error> {
                let start = Instant::now();
                for _ in 0..reads {
                    let read = page.read_as(Read::Cached { max_age: OLD });
                    black_box(read.map_err(ours("read a cached page"))?);
                }
                Ok(start.elapsed())
            };
            pass(reads / 10)?;
            Ok(vec![pass(reads)?.as_nanos() as f64 / reads as f64])
        })
    }

    pub(super) fn update<'a>(&self) -> Measurement<'a> {
        let figures = self.figures(
            &["update.unix.p50", "update.unix.p99"],
            &["update.tls.p50", "update.tls.p99"],
        );
        each(figures, self.client("update", &pages()), self.effort.latency_tasks, |client| {
            client.region.page(0).update(0, &[7; PAGE]).map_err(ours("update a page"))
        })
    }

    pub(super) fn pipelined_reads<'a>(&self) -> Measurement<'a> {
        let figures = self.figures(&["reads.unix"], &["reads.tls"]);
        let reads = self.effort.pages;
        subject(figures, self.client("reads", &pages()), move |client| {
            read_many(&client.region, reads / 10)?;
            Ok(vec![per_second(reads, read_many(&client.region, reads)?)])
        })
    }

    /// Somebody else changes the pages before each batch, out of the clock.
    pub(super) fn pipelined_changed<'a>(&self) -> Measurement<'a> {
        let figures = self.figures(&["reads.changed.unix"], &["reads.changed.tls"]);
        let batches = self.effort.pages / IN_FLIGHT;
        subject(figures, self.clients(2, "reads-changed", &pages()), move |clients| {
            let [reader, writer] = &clients[..] else { unreachable!("two were asked for") };
            let mut took = Duration::ZERO;
            for batch in 0..warmed(batches) {
                update_many(&writer.region, IN_FLIGHT)?;
                let time = read_many(&reader.region, IN_FLIGHT)?;
                if batch >= warmed(batches) - batches {
                    took += time;
                }
            }
            Ok(vec![per_second(batches * IN_FLIGHT, took)])
        })
    }

    pub(super) fn pipelined_updates<'a>(&self) -> Measurement<'a> {
        let figures = self.figures(&["updates.unix"], &["updates.tls"]);
        let updates = self.effort.pages;
        subject(figures, self.client("updates", &pages()), move |client| {
            update_many(&client.region, updates / 10)?;
            Ok(vec![per_second(updates, update_many(&client.region, updates)?)])
        })
    }

    pub(super) fn contended<'a>(&self) -> Measurement<'a> {
        let figures = self.figures(
            &["change.unix", "change.unix.retries"],
            &["change.tls", "change.tls.retries"],
        );
        counting(
            figures,
            self.clients(CLIENTS, "contended", &pages()),
            self.effort.contended(),
            |client| {
                let mut tries = 0;
                let changed: Result<(), memory::Error> = client.region.transact(|transaction| {
                    tries += 1;
                    let mut page = transaction.read(0)?.to_vec();
                    count_up(&mut page);
                    transaction.write(0, 0, &page)
                });
                changed.map_err(ours("change a page"))?;
                Ok(tries - 1)
            },
            |client| {
                let page = client.region.page(0).read().map_err(ours("read a page"))?;
                Ok(count(&page.bytes))
            },
        )
    }

    pub(super) fn lock_alone<'a>(&self) -> Measurement<'a> {
        let figures = self.figures(&["lock.unix"], &["lock.tls"]);
        each(figures, self.client("lock", &pages()), self.effort.latency_tasks, |client| {
            let guard = client.region.page(0).lock().map_err(ours("lock a page"))?;
            guard.rollback().map_err(ours("give a lock back"))
        })
    }

    pub(super) fn locks<'a>(&self) -> Vec<Measurement<'a>> {
        let together =
            self.figures(&["locks.unix", "locks.unix.share"], &["locks.tls", "locks.tls.share"]);
        let queued = self.figures(&["locks.unix.overtaken"], &["locks.tls.overtaken"]);
        let looking = self.client("queues", &pages());
        let waiting = move |count: usize| {
            let Ok(client) = &looking else { return };
            while client.region.stat().is_ok_and(|stat| (stat.waiting as usize) < count) {
                std::thread::yield_now();
            }
        };
        vec![
            exclusive(
                together,
                self.clients(CLIENTS, "locks", &pages()),
                self.effort.contended(),
                with_lock,
            ),
            queues(
                queued,
                self.clients(CLIENTS + 1, "queues", &pages()),
                self.effort.queues,
                with_lock,
                waiting,
            ),
        ]
    }

    pub(super) fn transact<'a>(&self) -> Measurement<'a> {
        let figures = self.figures(&["transact.unix"], &["transact.tls"]);
        each(figures, self.client("transact", &pages()), self.effort.latency_tasks, |client| {
            let changed: Result<(), memory::Error> = client.region.transact(|transaction| {
                for number in 0..3 {
                    let mut page = transaction.read(number)?.to_vec();
                    count_up(&mut page);
                    transaction.write(number, 0, &page)?;
                }
                Ok(())
            });
            changed.map_err(ours("change three pages"))
        })
    }

    /// The same load with and without the disk, and the disk alone, in the same folder.
    pub(super) fn durable<'a>(&self) -> Measurement<'a> {
        let time = self.effort.contended();
        let figures = self.figures(
            &["durable.none.unix", "durable.sync.unix", "durable.due.unix", "durable.disk"],
            &["durable.none.tls", "durable.sync.tls", "durable.due.tls"],
        );
        let started = || -> Result<_, Fate> {
            let daemon = self.daemon.clone()?;
            let disk = Disk::start(&daemon.data()).map_err(|error| fate(&error))?;
            let writers = |name, options: RegionOptions| {
                let clients = self.clients(WRITERS, name, &options)?;
                Ok::<Vec<_>, Fate>((0..).zip(clients).collect())
            };
            let none = writers("none", pages())?;
            let sync = writers("sync", pages().durability(Durability::Sync))?;
            Ok((disk, none, sync))
        };
        subject(figures, started(), move |(disk, none, sync)| {
            let disk = disk.rate(time)?;
            let none = writing(none, time)?;
            let sync = writing(sync, time)?;
            let due = (0.4 * WRITERS as f64 * disk).min(0.5 * none);
            let mut values = vec![none, sync, due, disk];
            values.truncate(figures.len());
            Ok(values)
        })
    }
}

/// The update of a page in a small region that nobody watches, and in a large one with many watches,
/// each at a node of its own.
pub(super) fn watched<'a>(setting: &Setting, over: Over) -> Vec<Measurement<'a>> {
    let asks = setting.effort.latency_tasks;
    let options = |pages| RegionOptions::new(pages).page_size(SMALL_PAGE);
    let update = |client: &mut Client, page: u64| {
        let bytes = [7; SMALL_PAGE as usize];
        client.region.page(page).update(0, &bytes).map_err(ours("update a page"))
    };
    let small = Home::start(setting, over).client("small", &options(16));
    let mut at = 0;
    let small = each(&["watched.small"], small, asks, move |client| {
        at = (at + 7) % 16;
        update(client, at)
    });
    let crowd = Crowd::start(&Home::start(setting, over), &options(MANY_PAGES));
    let crowd = crowd.map(Arc::new);
    let sizes = subject(&["watched.page", "watched.watch"], crowd.clone(), |crowd| {
        Ok(vec![crowd.bytes_of_page, crowd.bytes_of_watch])
    });
    let row = |figures, beside: u64| {
        let mut at = 0;
        each(figures, crowd.clone(), asks, move |crowd: &mut Arc<Crowd>| {
            // A page here and a page there, as far apart as caches do not reach.
            at = (at + 7_919) % WATCHERS;
            let page = at * (MANY_PAGES / WATCHERS) + beside;
            let bytes = [7; SMALL_PAGE as usize];
            crowd.writer.region.page(page).update(0, &bytes).map_err(ours("update a page"))
        })
    };
    vec![small, row(&["watched.large"], 1), row(&["watched.told"], 0), sizes]
}

/// A region whose pages were all written, with its watchers.
struct Crowd {
    writer: Client,
    bytes_of_page: f64,
    bytes_of_watch: f64,
    _watches: Vec<Watch>,
    _watchers: Vec<Client>,
}

impl Crowd {
    fn start(home: &Home, options: &RegionOptions) -> Result<Self, Fate> {
        let daemon = home.daemon.clone()?;
        let writer = home.client("large", options)?;
        let watchers = home.clients((WATCHERS / WATCHERS_OF_CLIENT) as usize, "large", options)?;
        let fill = || -> Result<_, Error> {
            let empty = daemon.resident()?;
            let bytes = [7; SMALL_PAGE as usize];
            for first in (0..MANY_PAGES).step_by(IN_FLIGHT) {
                let pages = first..MANY_PAGES.min(first + IN_FLIGHT as u64);
                let pending: Vec<_> =
                    pages.map(|page| writer.region.page(page).begin_update(0, &bytes)).collect();
                for update in pending {
                    update.wait().map_err(ours("write a page"))?;
                }
            }
            let written = daemon.resident()?;
            let mut watches = Vec::new();
            for number in 0..WATCHERS {
                let watcher = &watchers[(number / WATCHERS_OF_CLIENT) as usize];
                let page = number * (MANY_PAGES / WATCHERS);
                watches.push(watcher.region.watch(page..page + 1).map_err(ours("watch a page"))?);
            }
            let watched = daemon.resident()?;
            let each =
                |more: u64, less: u64, count| more.saturating_sub(less) as f64 / count as f64;
            Ok((watches, each(written, empty, MANY_PAGES), each(watched, written, WATCHERS)))
        };
        let (watches, bytes_of_page, bytes_of_watch) = fill().map_err(|error| fate(&error))?;
        Ok(Self { writer, bytes_of_page, bytes_of_watch, _watches: watches, _watchers: watchers })
    }
}

fn pages() -> RegionOptions {
    RegionOptions::new(PAGES).page_size(PAGE as u32)
}

fn with_lock(client: &mut Client, inside: &mut dyn FnMut()) -> Result<(), Error> {
    let guard = client.region.page(0).lock().map_err(ours("lock a page"))?;
    inside();
    // As users do: it is given back at once, and nobody waits for the answer.
    drop(guard);
    Ok(())
}

/// Time of so many reads, `IN_FLIGHT` of them on the way.
fn read_many(region: &Region, count: usize) -> Result<Duration, Error> {
    let mut pending = Vec::with_capacity(IN_FLIGHT);
    let start = Instant::now();
    for _ in 0..count.div_ceil(IN_FLIGHT) {
        pending.extend((0..IN_FLIGHT as u64).map(|page| region.page(page).begin_read()));
        for read in pending.drain(..) {
            let page = read.wait().map_err(ours("read a page"))?;
            assert_eq!(page.bytes.len(), PAGE);
        }
    }
    Ok(start.elapsed())
}

/// Time of so many updates, `IN_FLIGHT` of them on the way.
fn update_many(region: &Region, count: usize) -> Result<Duration, Error> {
    let mut pending = Vec::with_capacity(IN_FLIGHT);
    let bytes = [7; PAGE];
    let start = Instant::now();
    for _ in 0..count.div_ceil(IN_FLIGHT) {
        pending.extend((0..IN_FLIGHT as u64).map(|page| region.page(page).begin_update(0, &bytes)));
        for update in pending.drain(..) {
            update.wait().map_err(ours("update a page"))?;
        }
    }
    Ok(start.elapsed())
}

/// Updates in a second of clients that all write, each its own pages.
fn writing(clients: &mut [(u64, Client)], time: Duration) -> Result<f64, Error> {
    let turn = |(page, client): &mut (u64, Client)| {
        client.region.page(*page).update(0, &[7; PAGE]).map_err(ours("update a page"))?;
        *page = (*page + WRITERS as u64) % PAGES;
        Ok(0)
    };
    contend(clients, time / 10, &turn)?;
    Ok(contend(clients, time, &turn)?.rate())
}
