//! Redis, memcached and etcd, doing what regions do.

use std::cell::Cell;
use std::io;
use std::time::{Duration, Instant};

use super::measured::{Figures, counting, each, exclusive, queues, subject};
use super::{CLIENTS, IN_FLIGHT, PAGE, count, count_up};
use crate::error::Error;
use crate::peers::etcd::{self, Etcd};
use crate::peers::memcached::{self, Memcached};
use crate::peers::redis::{self, Redis};
use crate::record::Fate;
use crate::setting::Effort;
use crate::turns::{Measurement, fate, per_second};

const KEYS: [&str; 3] = ["page-0", "page-1", "page-2"];
const BYTES: [u8; PAGE] = [7; PAGE];
/// How long the next one waits before it queues up behind somebody at a Redis lock, which has no queue
/// that could be looked at.
const LATER: Duration = Duration::from_millis(1);

/// The servers, each or why it is not here.
pub(super) struct Stores {
    effort: Effort,
    redis: Result<Redis, Fate>,
    memcached: Result<Memcached, Fate>,
    etcd: Result<Etcd, Fate>,
}

impl Stores {
    pub(super) fn start(effort: Effort) -> Self {
        Self {
            effort,
            redis: filled(Redis::start(), |redis| {
                let mut client = redis.client()?;
                KEYS.iter()
                    .try_for_each(|key| client.set(key.as_bytes(), &BYTES))
                    .map_err(peer("Redis"))
            }),
            memcached: filled(Memcached::start(), |memcached| {
                let mut client = memcached.client()?;
                KEYS.iter().try_for_each(|key| client.set(key, &BYTES)).map_err(peer("memcached"))
            }),
            etcd: filled(Etcd::start(), |etcd| {
                let mut client = etcd.client()?;
                KEYS.iter().try_for_each(|key| client.put(key, &BYTES)).map_err(peer("etcd"))
            }),
        }
    }

    pub(super) fn read<'a>(&self) -> Vec<Measurement<'a>> {
        let whole = |length| assert_eq!(length, PAGE, "a page is as long as it was");
        vec![
            self.redis(&["read.redis"], move |client| {
                client.get(b"page-0").map(|page| whole(page.len()))
            }),
            self.memcached(&["read.memcached"], move |client| client.get("page-0").map(whole)),
            self.etcd(&["read.etcd"], move |client| {
                client.get("page-0").map(|page| whole(page.len()))
            }),
        ]
    }

    pub(super) fn update<'a>(&self) -> Vec<Measurement<'a>> {
        vec![
            self.redis(&["update.redis"], |client| client.set(b"page-0", &BYTES)),
            self.memcached(&["update.memcached"], |client| client.set("page-0", &BYTES)),
            self.etcd(&["update.etcd"], |client| client.put("page-0", &BYTES)),
        ]
    }

    pub(super) fn transact<'a>(&self) -> Vec<Measurement<'a>> {
        let change = |pages: &mut [Vec<u8>]| pages.iter_mut().for_each(|page| count_up(page));
        vec![
            self.redis(&["transact.redis"], move |client| {
                client.transact(&KEYS.map(str::as_bytes), change)
            }),
            self.etcd(&["transact.etcd"], move |client| client.transact(&KEYS, change)),
        ]
    }

    pub(super) fn pipelined_reads<'a>(&self) -> Vec<Measurement<'a>> {
        vec![
            self.redis_many(&["reads.redis"], Redis::client, None),
            self.redis_many(&["reads.redis.tls"], Redis::client_tls, None),
            self.memcached_many(&["reads.memcached"], None),
        ]
    }

    pub(super) fn pipelined_updates<'a>(&self) -> Vec<Measurement<'a>> {
        vec![
            self.redis_many(&["updates.redis"], Redis::client, Some(&BYTES)),
            self.redis_many(&["updates.redis.tls"], Redis::client_tls, Some(&BYTES)),
            self.memcached_many(&["updates.memcached"], Some(&BYTES)),
        ]
    }

    pub(super) fn contended<'a>(&self) -> Vec<Measurement<'a>> {
        let time = self.effort.contended();
        let change_one = |pages: &mut [Vec<u8>]| count_up(&mut pages[0]);
        let change_redis = |figures, connect: fn(&Redis) -> Result<redis::Client, Error>| {
            counting(
                figures,
                several(&self.redis, CLIENTS, connect),
                time,
                move |client| client.transact(&[b"page-0"], change_one).map_err(peer("Redis")),
                |client| client.get(b"page-0").map(|page| count(&page)).map_err(peer("Redis")),
            )
        };
        vec![
            change_redis(&["change.redis", "change.redis.retries"], Redis::client),
            change_redis(&["change.redis.tls", "change.redis.tls.retries"], Redis::client_tls),
            counting(
                &["change.memcached", "change.memcached.retries"],
                several(&self.memcached, CLIENTS, Memcached::client),
                time,
                |client| client.change("page-0", count_up).map_err(peer("memcached")),
                |client| {
                    client.get("page-0").map_err(peer("memcached"))?;
                    Ok(count(client.page()))
                },
            ),
            counting(
                &["change.etcd", "change.etcd.retries"],
                several(&self.etcd, CLIENTS, Etcd::client),
                time,
                move |client| client.transact(&["page-0"], change_one).map_err(peer("etcd")),
                |client| client.get("page-0").map(|page| count(&page)).map_err(peer("etcd")),
            ),
        ]
    }

    pub(super) fn locks_alone<'a>(&self) -> Vec<Measurement<'a>> {
        vec![
            self.redis(&["lock.redis"], |client| {
                client.lock(b"alone", b"me")?;
                client.unlock(b"alone", b"me")
            }),
            self.memcached(&["lock.memcached"], |client| {
                client.lock("alone")?;
                client.unlock("alone")
            }),
            self.etcd(&["lock.etcd"], |client| {
                let key = client.lock("alone")?;
                client.unlock(&key)
            }),
        ]
    }

    pub(super) fn locks<'a>(&self) -> Vec<Measurement<'a>> {
        let redis = |(name, client): &mut (String, redis::Client), inside: &mut dyn FnMut()| {
            client.lock(b"shared", name.as_bytes()).map_err(peer("Redis"))?;
            inside();
            client.unlock(b"shared", name.as_bytes()).map_err(peer("Redis"))
        };
        let etcd = |client: &mut etcd::Client, inside: &mut dyn FnMut()| {
            let key = client.lock("shared").map_err(peer("etcd"))?;
            inside();
            client.unlock(&key).map_err(peer("etcd"))
        };
        // Whoever has the lock is known by a name.
        let next = Cell::new(0);
        let name = |client: redis::Client| {
            next.set(next.get() + 1);
            (next.get().to_string(), client)
        };
        let named = |redis: &Redis| redis.client().map(name);
        let named_tls = |redis: &Redis| redis.client_tls().map(name);
        let time = self.effort.contended();
        vec![
            exclusive(
                &["locks.redis", "locks.redis.share"],
                several(&self.redis, CLIENTS, named),
                time,
                redis,
            ),
            exclusive(&["locks.redis.tls"], several(&self.redis, CLIENTS, named_tls), time, redis),
            exclusive(&["locks.etcd"], several(&self.etcd, CLIENTS, Etcd::client), time, etcd),
            queues(
                &["locks.redis.overtaken"],
                several(&self.redis, CLIENTS + 1, named),
                self.effort.queues,
                redis,
                |_| std::thread::sleep(LATER),
            ),
        ]
    }

    fn redis<'a, T>(
        &self,
        figures: Figures,
        mut ask: impl FnMut(&mut redis::Client) -> io::Result<T> + 'a,
    ) -> Measurement<'a> {
        let ask = move |client: &mut redis::Client| ask(client).map_err(peer("Redis"));
        each(figures, one(&self.redis, Redis::client), self.effort.latency_tasks, ask)
    }

    fn memcached<'a, T>(
        &self,
        figures: Figures,
        mut ask: impl FnMut(&mut memcached::Client) -> io::Result<T> + 'a,
    ) -> Measurement<'a> {
        let ask = move |client: &mut memcached::Client| ask(client).map_err(peer("memcached"));
        each(figures, one(&self.memcached, Memcached::client), self.effort.latency_tasks, ask)
    }

    fn etcd<'a, T>(
        &self,
        figures: Figures,
        mut ask: impl FnMut(&mut etcd::Client) -> io::Result<T> + 'a,
    ) -> Measurement<'a> {
        let ask = move |client: &mut etcd::Client| ask(client).map_err(peer("etcd"));
        each(figures, one(&self.etcd, Etcd::client), self.effort.slow_asks, ask)
    }

    fn redis_many<'a>(
        &self,
        figures: Figures,
        connect: fn(&Redis) -> Result<redis::Client, Error>,
        value: Option<&'static [u8]>,
    ) -> Measurement<'a> {
        let pages = self.effort.pages;
        subject(figures, one(&self.redis, connect), move |client| {
            let mut pass =
                |pages| client.pipelined(b"page-0", value, pages, IN_FLIGHT).map_err(peer("Redis"));
            pass(pages / 10)?;
            let start = Instant::now();
            pass(pages)?;
            Ok(vec![per_second(pages, start.elapsed())])
        })
    }

    fn memcached_many<'a>(
        &self,
        figures: Figures,
        value: Option<&'static [u8]>,
    ) -> Measurement<'a> {
        let pages = self.effort.pages;
        subject(figures, one(&self.memcached, Memcached::client), move |client| {
            let mut pass = |pages| {
                client.pipelined("page-0", value, pages, IN_FLIGHT).map_err(peer("memcached"))
            };
            pass(pages / 10)?;
            let start = Instant::now();
            pass(pages)?;
            Ok(vec![per_second(pages, start.elapsed())])
        })
    }
}

/// A server that has started and has the pages, or why it is not here.
fn filled<S>(
    started: Result<S, Error>,
    fill: impl FnOnce(&S) -> Result<(), Error>,
) -> Result<S, Fate> {
    started.and_then(|server| fill(&server).map(|()| server)).map_err(|error| fate(&error))
}

/// So many clients of a store that is here.
fn several<S, C>(
    store: &Result<S, Fate>,
    count: usize,
    client: impl Fn(&S) -> Result<C, Error>,
) -> Result<Vec<C>, Fate> {
    let store = store.as_ref().map_err(Fate::clone)?;
    (0..count).map(|_| client(store).map_err(|error| fate(&error))).collect()
}

fn one<S, C>(store: &Result<S, Fate>, client: impl Fn(&S) -> Result<C, Error>) -> Result<C, Fate> {
    let store = store.as_ref().map_err(Fate::clone)?;
    client(store).map_err(|error| fate(&error))
}

fn peer(who: &'static str) -> impl Fn(io::Error) -> Error {
    move |source| Error::Peer { who, source }
}
