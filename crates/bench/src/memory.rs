//! `farcall-bench memory`: regions beside the raw reference, Redis, memcached and etcd.
//!
//! A scene starts all its subjects first and keeps them warm; in each round they take turns. The raw
//! reference of a figure moves the same bytes with the same encryption between two processes. The
//! peers stand on loopback without encryption, as they are installed, and keep nothing on the disk
//! (etcd cannot do otherwise).

pub use coherent::hold;
use measured::{Figures, middle, subject};
use regions::{Home, Over};
use stores::Stores;

use crate::error::Error;
use crate::figure::Scene;
use crate::raw::{Pair, Sizes, Transport};
use crate::record::{Fate, Record};
use crate::setting::Setting;
use crate::turns::{Measurement, fate, per_second, take_turns, warmed};

mod coherent;
mod regions;
mod stores;
mod measured;
mod contend;
mod disk;

/// Its scenes, in order.
pub const SCENES: [Scene; 9] = [
    Scene::Read,
    Scene::Update,
    Scene::Pipelined,
    Scene::Contended,
    Scene::Lock,
    Scene::Transact,
    Scene::Durable,
    Scene::Coherent,
    Scene::Watched,
];

const PAGE: usize = 4096;
/// A request or an answer without bytes of a page, about.
const SMALL: usize = 32;
const READ: Sizes = Sizes { ask: SMALL, answer: SMALL };
const READ_PAGE: Sizes = Sizes { ask: SMALL, answer: PAGE + SMALL };
const UPDATE: Sizes = Sizes { ask: PAGE + SMALL, answer: SMALL };
const TRANSACT: Sizes = Sizes { ask: 3 * PAGE + 2 * SMALL, answer: 2 * SMALL };
/// Requests on the way in a pipeline.
const IN_FLIGHT: usize = 64;
/// Clients that contend.
const CLIENTS: usize = 4;

/// Measures the scenes in order. `say` hears what is being done.
pub fn run(setting: &Setting, scenes: &[Scene], say: &dyn Fn(&str)) -> Record {
    say("starting Redis, memcached and etcd");
    let stores = Stores::start(setting.effort);
    say("starting two nodes, one over its Unix socket and one over TLS");
    let homes = [Home::start(setting, Over::Unix), Home::start(setting, Over::Tls)];
    let subjects = Subjects { setting, stores, homes };
    let mut record = Record::default();
    for &scene in scenes {
        say(&format!("{scene:?}: starting what it measures"));
        let measurements = match scene {
            Scene::Read => subjects.read(),
            Scene::Update => subjects.update(),
            Scene::Pipelined => subjects.pipelined(),
            Scene::Contended => subjects.contended(),
            Scene::Lock => subjects.lock(),
            Scene::Transact => subjects.transact(),
            Scene::Durable => subjects.durable(),
            Scene::Coherent => subjects.coherent(),
            Scene::Watched => subjects.watched(),
            other => unreachable!("{other:?} is a scene of another benchmark"),
        };
        let rounds = match scene {
            Scene::Read | Scene::Update | Scene::Transact | Scene::Coherent | Scene::Watched => {
                setting.effort.latency_rounds
            }
            _ => setting.effort.rounds,
        };
        say(&format!("{scene:?}: {rounds} rounds"));
        take_turns(measurements, rounds, &mut record);
    }
    record
}

/// What can be measured.
struct Subjects<'a> {
    setting: &'a Setting,
    stores: Stores,
    homes: [Home; 2],
}

impl Subjects<'_> {
    fn read(&self) -> Vec<Measurement<'_>> {
        let [unix, tls] = &self.homes;
        let mut all = vec![
            self.raw(&["read.raw.unix"], Transport::Unix, READ),
            unix.read_unchanged(),
            self.raw(&["read.raw.tls"], Transport::Tls, READ),
            tls.read_unchanged(),
            self.raw(&["read.raw.page.unix"], Transport::Unix, READ_PAGE),
            unix.read_changed(),
            self.raw(&["read.raw.page.tls"], Transport::Tls, READ_PAGE),
            tls.read_changed(),
            tls.read_cached(),
            self.raw(&["read.raw.page.tcp"], Transport::Tcp, READ_PAGE),
        ];
        all.extend(self.stores.read());
        all
    }

    fn update(&self) -> Vec<Measurement<'_>> {
        let [unix, tls] = &self.homes;
        let mut all = vec![
            self.raw(&["update.raw.unix"], Transport::Unix, UPDATE),
            unix.update(),
            self.raw(&["update.raw.tls"], Transport::Tls, UPDATE),
            tls.update(),
            self.raw(&["update.raw.tcp"], Transport::Tcp, UPDATE),
        ];
        all.extend(self.stores.update());
        all
    }

    fn pipelined(&self) -> Vec<Measurement<'_>> {
        let [unix, tls] = &self.homes;
        let mut all = vec![
            self.raw_many(&["reads.raw.unix"], Transport::Unix, READ_PAGE),
            self.raw_many(&["reads.raw.tls"], Transport::Tls, READ_PAGE),
        ];
        all.extend(self.stores.pipelined_reads());
        for home in [unix, tls] {
            all.extend([home.pipelined_reads(), home.pipelined_changed()]);
        }
        all.push(self.raw_many(&["updates.raw.unix"], Transport::Unix, UPDATE));
        all.push(self.raw_many(&["updates.raw.tls"], Transport::Tls, UPDATE));
        all.extend(self.stores.pipelined_updates());
        all.extend([unix.pipelined_updates(), tls.pipelined_updates()]);
        all
    }

    fn contended(&self) -> Vec<Measurement<'_>> {
        let mut all = self.stores.contended();
        all.extend(self.homes.iter().map(Home::contended));
        all
    }

    fn lock(&self) -> Vec<Measurement<'_>> {
        let [unix, tls] = &self.homes;
        let mut all = vec![
            self.raw(&["lock.raw.unix"], Transport::Unix, READ),
            unix.lock_alone(),
            self.raw(&["lock.raw.tls"], Transport::Tls, READ),
            tls.lock_alone(),
            self.raw(&["lock.raw.tcp"], Transport::Tcp, READ),
        ];
        all.extend(self.stores.locks_alone());
        all.extend(self.stores.locks());
        all.extend(self.homes.iter().flat_map(Home::locks));
        all
    }

    fn transact(&self) -> Vec<Measurement<'_>> {
        let [unix, tls] = &self.homes;
        let mut all = vec![
            self.raw(&["transact.raw.unix"], Transport::Unix, TRANSACT),
            unix.transact(),
            self.raw(&["transact.raw.tls"], Transport::Tls, TRANSACT),
            tls.transact(),
            self.raw(&["transact.raw.tcp"], Transport::Tcp, TRANSACT),
        ];
        all.extend(self.stores.transact());
        all
    }

    fn durable(&self) -> Vec<Measurement<'_>> {
        self.homes.iter().map(Home::durable).collect()
    }

    fn coherent(&self) -> Vec<Measurement<'_>> {
        let [unix, tls] = &self.homes;
        vec![
            self.raw(&["coherent.raw.unix"], Transport::Unix, READ_PAGE),
            self.raw(&["coherent.raw.small.unix"], Transport::Unix, READ),
            coherent::faults(
                self.setting,
                unix,
                &[
                    "coherent.read.clean.unix",
                    "coherent.upgrade.clean.unix",
                    "coherent.read.dirty.unix",
                    "coherent.write.dirty.unix",
                ],
            ),
            self.raw(&["coherent.raw.tls"], Transport::Tls, READ_PAGE),
            self.raw(&["coherent.raw.small.tls"], Transport::Tls, READ),
            coherent::faults(
                self.setting,
                tls,
                &[
                    "coherent.read.clean.tls",
                    "coherent.upgrade.clean.tls",
                    "coherent.read.dirty.tls",
                    "coherent.write.dirty.tls",
                ],
            ),
        ]
    }

    fn watched(&self) -> Vec<Measurement<'_>> {
        regions::watched(self.setting, Over::Unix)
    }

    fn raw(&self, figures: Figures, transport: Transport, sizes: Sizes) -> Measurement<'_> {
        let asks = self.setting.effort.latency_tasks;
        let pair = Pair::answering(self.setting, transport, sizes);
        subject(figures, here(pair), move |pair| {
            Ok(middle(figures, pair.ask_each(sizes, warmed(asks))?, asks))
        })
    }

    fn raw_many(&self, figures: Figures, transport: Transport, sizes: Sizes) -> Measurement<'_> {
        let pages = self.setting.effort.pages;
        let pair = Pair::answering(self.setting, transport, sizes);
        subject(figures, here(pair), move |pair| {
            pair.ask_many(sizes, pages / 10, IN_FLIGHT)?;
            Ok(vec![per_second(pages, pair.ask_many(sizes, pages, IN_FLIGHT)?)])
        })
    }
}

fn here<S>(started: Result<S, Error>) -> Result<S, Fate> {
    started.map_err(|error| fate(&error))
}

/// What a page has been counted up to: its first eight bytes.
fn count(page: &[u8]) -> u64 {
    page.first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes))
}

fn count_up(page: &mut [u8]) {
    let next = count(page).wrapping_add(1);
    if let Some(bytes) = page.first_chunk_mut() {
        *bytes = next.to_le_bytes();
    }
}
