//! `farcall-bench cores`: compute cores under each jail, over protocol v1, and at their first use.
//!
//! Each figure stands beside what it is compared with, measured in the same rounds. A node that this
//! build or this host cannot start is left out by name, with the node's own reason.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Instant;

use client::{Cluster, Core, Local};

use crate::daemon::Daemon;
use crate::error::Error;
use crate::figure::Scene;
use crate::ours::{compile, ours};
use crate::raw::{Pair, SMALL, Transport, Work};
use crate::record::{Fate, Record};
use crate::setting::{Effort, Setting};
use crate::turns::{Measurement, fate, measure, per_second, percentiles, take_turns, warmed};
use crate::v1::{self, Controller};

/// Its scenes, in order.
pub const SCENES: [Scene; 6] = [
    Scene::V1Latency,
    Scene::V1Throughput,
    Scene::V1Large,
    Scene::Start,
    Scene::Noop,
    Scene::Fresh,
];

const LARGE: usize = 40 << 20;
/// Jobs of protocol v1 on the way at a time.
const IN_FLIGHT: usize = 64;
const FRESH: usize = 64 << 10;
/// A memory limit that is never reached. Each worker of another limit is a new one.
const MEMORY: u64 = 8 << 30;

/// Measures the scenes in order. `say` hears what is being done.
pub fn run(setting: &Setting, scenes: &[Scene], say: &dyn Fn(&str)) -> Record {
    say("compiling a core");
    let library = compile(include_str!("ours/echo.c")).map_err(|error| fate(&error));
    let mut record = Record::default();
    for &scene in scenes {
        say(&format!("{scene:?}: starting nodes"));
        let subjects = Subjects { setting, library: library.as_deref().map_err(Fate::clone) };
        let measurements = match scene {
            Scene::V1Latency => subjects.v1_latency(),
            Scene::V1Throughput => subjects.v1_throughput(),
            Scene::V1Large => subjects.v1_large(),
            Scene::Start => subjects.starts(),
            Scene::Noop => subjects.noops(),
            Scene::Fresh => subjects.fresh(),
            other => unreachable!("{other:?} is a scene of `tasks`"),
        };
        let rounds = match scene {
            Scene::V1Latency | Scene::Noop => setting.effort.latency_rounds,
            Scene::Start | Scene::Fresh => setting.effort.start_rounds,
            _ => setting.effort.rounds,
        };
        say(&format!("{scene:?}: {rounds} rounds"));
        take_turns(measurements, rounds, &mut record);
    }
    record
}

struct Subjects<'a> {
    setting: &'a Setting,
    library: Result<&'a [u8], Fate>,
}

/// A node under one jail, with a client whose core is there already.
struct Jailed {
    core: Core,
    /// Limits given so far.
    limits: u64,
    _cluster: Cluster,
    _daemon: Daemon,
}

impl Subjects<'_> {
    fn effort(&self) -> Effort {
        self.setting.effort
    }

    fn v1_latency(&self) -> Vec<Measurement<'static>> {
        let jobs = self.effort().latency_tasks;
        let input = [7; SMALL];
        vec![
            self.raw(&["v1.raw.p50"], Work::Echo, SMALL, move |pair| {
                let mut values = percentiles(pair.ping_pong(SMALL, warmed(jobs))?, jobs);
                values.truncate(1);
                Ok(values)
            }),
            self.v1(&["v1.job.p50", "v1.job.p99"], move |controller| {
                controller.latency(&input, warmed(jobs)).map(|times| percentiles(times, jobs))
            }),
            self.v1_of_ours(&["v1.ours.p50", "v1.ours.p99"], move |controller| {
                let mut times = Vec::with_capacity(warmed(jobs));
                for _ in 0..warmed(jobs) {
                    let start = Instant::now();
                    let answer = controller.run(&input).map_err(ours("run a job"))?;
                    times.push(start.elapsed().as_nanos() as u64);
                    assert_eq!(answer.map(|answer| answer.output[..] == input), Ok(true));
                }
                Ok(percentiles(times, jobs))
            }),
        ]
    }

    fn v1_throughput(&self) -> Vec<Measurement<'static>> {
        let (jobs, messages) = (self.effort().v1_jobs, self.effort().pipelined_messages);
        let input = [7; SMALL];
        vec![
            self.raw(&["v1.raw.rate"], Work::Records, SMALL, move |pair| {
                pair.pipelined(messages / 10, 1)?;
                Ok(vec![per_second(messages, pair.pipelined(messages, 1)?)])
            }),
            self.v1(&["v1.jobs.rate"], move |controller| {
                controller.pipelined(&input, jobs / 10, IN_FLIGHT)?;
                Ok(vec![per_second(jobs, controller.pipelined(&input, jobs, IN_FLIGHT)?)])
            }),
        ]
    }

    fn v1_large(&self) -> Vec<Measurement<'static>> {
        let jobs = self.effort().v1_large_jobs;
        let input: Vec<u8> = (0..LARGE).map(|at| (at * 31) as u8).collect();
        let rate = move |times: Vec<u64>| {
            let time = times[times.len() - jobs..].iter().sum();
            vec![per_second(jobs, std::time::Duration::from_nanos(time))]
        };
        vec![
            self.raw(&["v1.raw.large"], Work::Echo, LARGE, move |pair| {
                pair.ping_pong(LARGE, jobs + 1).map(rate)
            }),
            self.v1(&["v1.large"], move |controller| {
                controller.latency(&input, jobs + 1).map(rate)
            }),
        ]
    }

    fn starts(&self) -> Vec<Measurement<'static>> {
        [(&["start.none"], "none"), (&["start.user"], "user"), (&["start.strict"], "strict")]
            .map(|(figures, jail)| {
                let measure = self.jailed(jail).map(|mut jailed| {
                    measure(move || {
                        // All of it moves in: its node runs as long as it is kept.
                        let jailed = &mut jailed;
                        // A worker belongs to a class: with another limit it is a new one.
                        jailed.limits += 1;
                        let core = jailed.core.clone().memory(MEMORY + (jailed.limits << 12));
                        let start = Instant::now();
                        core.run(&b"first"[..]).map_err(ours("run a first task"))?;
                        Ok(vec![start.elapsed().as_secs_f64() * 1e6])
                    })
                });
                Measurement { figures: &figures[..], measure }
            })
            .into()
    }

    fn noops(&self) -> Vec<Measurement<'static>> {
        let tasks = self.effort().latency_tasks;
        let none = self.jailed("none").map(|jailed| Rc::new(RefCell::new(jailed)));
        let shared = |jail| self.jailed(jail).map(|jailed| Rc::new(RefCell::new(jailed)));
        [
            (&["noop.none"], none.clone()),
            (&["noop.user"], shared("user")),
            (&["noop.strict"], shared("strict")),
            (&["noop.none.again"], none),
        ]
        .map(|(figures, jailed)| {
            let measure = jailed.map(|jailed| {
                measure(move || {
                    let times = noops(&jailed.borrow().core, warmed(tasks))?;
                    let mut values = percentiles(times, tasks);
                    values.truncate(1);
                    Ok(values)
                })
            });
            Measurement { figures: &figures[..], measure }
        })
        .into()
    }

    fn fresh(&self) -> Vec<Measurement<'static>> {
        let started = self.library.clone().and_then(|library| {
            let cluster = Local::new().slots(2).tls().start().map_err(ours("start a node"));
            let cluster = cluster.map_err(|error| fate(&error))?;
            Ok((cluster, library.to_vec()))
        });
        let measure = started.map(|(cluster, library)| {
            let mut number = u64::from(std::process::id()) << 32;
            measure(move || {
                number += 1;
                let library = padded(&library, number);
                let start = Instant::now();
                let core = cluster.core_from("fresh", library);
                let output = core.run(&b"first"[..]).map_err(ours("run a fresh core"))?;
                let took = start.elapsed();
                assert_eq!(output[..], b"first"[..]);
                Ok(vec![took.as_secs_f64() * 1e6])
            })
        });
        vec![Measurement { figures: &["fresh.core"], measure }]
    }

    fn raw(
        &self,
        figures: &'static [&'static str],
        work: Work,
        bytes: usize,
        mut ask: impl FnMut(&mut Pair) -> Result<Vec<f64>, Error> + 'static,
    ) -> Measurement<'static> {
        let pair = Pair::start(self.setting, Transport::Tcp, work, bytes);
        let measure = pair.map(|mut pair| measure(move || ask(&mut pair)));
        Measurement { figures, measure: measure.map_err(|error| fate(&error)) }
    }

    /// A controller, made by nobody of this project, of a node that serves protocol v1.
    fn v1(
        &self,
        figures: &'static [&'static str],
        ask: impl FnMut(&mut Controller) -> Result<Vec<f64>, Error> + 'static,
    ) -> Measurement<'static> {
        self.controlled(figures, Controller::start, ask)
    }

    /// The same with the library's own controller.
    fn v1_of_ours(
        &self,
        figures: &'static [&'static str],
        ask: impl FnMut(&mut client::Controller) -> Result<Vec<f64>, Error> + 'static,
    ) -> Measurement<'static> {
        let connect = |address: SocketAddr, library: &[u8]| {
            let mut controller =
                client::Controller::connect(&address.to_string()).map_err(ours("dial a worker"))?;
            controller.load("echo", library).map_err(ours("load a core"))?;
            Ok(controller)
        };
        self.controlled(figures, connect, ask)
    }

    /// A node that serves protocol v1 on plain TCP, under jail `user`, with a controller.
    fn controlled<C: 'static>(
        &self,
        figures: &'static [&'static str],
        connect: impl Fn(SocketAddr, &[u8]) -> Result<C, Error>,
        mut ask: impl FnMut(&mut C) -> Result<Vec<f64>, Error> + 'static,
    ) -> Measurement<'static> {
        let started = self.library.clone().and_then(|library| {
            let start = || -> Result<(Daemon, C), Error> {
                let address: SocketAddr = v1::free_address()?;
                let flags = ["--jail", "user", "--worker-v1", &address.to_string()];
                let daemon = Daemon::start(self.setting, "a worker of protocol v1", &flags)?;
                Ok((daemon, connect(address, library)?))
            };
            start().map_err(|error| fate(&error))
        });
        let measure = started.map(|(daemon, mut controller)| {
            measure(move || {
                let _runs = &daemon;
                ask(&mut controller)
            })
        });
        Measurement { figures, measure }
    }

    fn jailed(&self, jail: &'static str) -> Result<Jailed, Fate> {
        let library = self.library.clone()?;
        let start = || -> Result<Jailed, Error> {
            let what = "a worker in this jail";
            let daemon = Daemon::start(self.setting, what, &["--jail", jail])?;
            let cluster = daemon.cluster()?;
            let core = cluster.core_from("echo", library.to_vec());
            // Where the jail cannot be had on this host, the first task says so.
            core.run(&b"warm"[..]).map_err(ours("run the first task"))?;
            Ok(Jailed { core, limits: 0, _cluster: cluster, _daemon: daemon })
        };
        start().map_err(|error| fate(&error))
    }
}

/// Nanoseconds of each of `count` no-op tasks, one after the other.
fn noops(core: &Core, count: usize) -> Result<Vec<u64>, Error> {
    let input = bytes::Bytes::from_static(&[7; SMALL]);
    let mut times = Vec::with_capacity(count);
    for _ in 0..count {
        let start = Instant::now();
        let output = core.run(input.clone()).map_err(ours("run a task"))?;
        times.push(start.elapsed().as_nanos() as u64);
        assert_eq!(output[..], input[..]);
    }
    Ok(times)
}

/// The library with noise behind its last section, which the loader never reads: 64 KiB that nobody
/// has seen.
fn padded(library: &[u8], number: u64) -> Vec<u8> {
    let mut padded = library.to_vec();
    let mut noise = number << 1 | 1;
    while padded.len() < FRESH {
        noise =
            noise.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        padded.extend_from_slice(&noise.to_le_bytes());
    }
    padded.truncate(FRESH);
    padded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_padded_library_is_of_one_size_and_never_the_same() {
        let (one, two) = (padded(b"library", 1), padded(b"library", 2));
        assert_eq!((one.len(), two.len()), (FRESH, FRESH));
        assert_eq!(one[..7], *b"library");
        assert!(one != two);
    }
}
