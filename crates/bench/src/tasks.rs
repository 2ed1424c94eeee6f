//! `farcall-bench tasks`: one task's way beside the raw reference and the peers.
//!
//! A scene starts all its subjects first and keeps them warm. In each round they are measured one
//! after the other, so that a neighbour's load falls on all of them alike.

use std::cell::RefCell;
use std::time::Duration;

use crate::error::Error;
use crate::figure::Scene;
use crate::ours::{self, Ours};
use crate::peers::tonic::Tonic;
use crate::raw::{Pair, SMALL, Transport, Work};
use crate::record::{Fate, Record};
use crate::setting::{Effort, Setting};
use crate::turns::{Measurement, fate, measure, per_second, percentiles, take_turns, warmed};

const MIB: usize = 1 << 20;
/// Small messages in a write of the batched reference.
const BATCH: usize = 64;
/// Calls the peers keep in flight: small ones, and ones of 1 MiB.
const PEER_IN_FLIGHT: usize = 256;
const PEER_ECHO_IN_FLIGHT: usize = 8;

/// Which parts of the benchmark run.
#[derive(Debug, Clone, Copy)]
pub enum Peers {
    Measured,
    LeftOut,
}

/// Its scenes, in order.
pub const SCENES: [Scene; 5] =
    [Scene::Latency, Scene::Throughput, Scene::Echo, Scene::Ship, Scene::Memory];

/// Measures the scenes in order. `say` hears what is being done.
pub fn run(setting: &Setting, scenes: &[Scene], peers: Peers, say: &dyn Fn(&str)) -> Record {
    say("starting farcall");
    let ours = shared(ours::start(setting));
    let tonic = match peers {
        Peers::LeftOut => Err(Fate::Skipped("left out, as asked".to_owned())),
        Peers::Measured => {
            say("building tonic (its first build takes minutes)");
            shared(Tonic::start(setting))
        }
    };
    let subjects = Subjects { setting, ours, tonic };
    let mut record = Record::default();
    for &scene in scenes {
        let measurements = match scene {
            Scene::Latency => subjects.latency(),
            Scene::Throughput => subjects.throughput(),
            Scene::Echo => subjects.echo(),
            Scene::Ship => subjects.ship(),
            Scene::Memory => subjects.memory(),
            other => unreachable!("{other:?} is a scene of `cores`"),
        };
        let rounds = match scene {
            Scene::Latency => setting.effort.latency_rounds,
            _ => setting.effort.rounds,
        };
        say(&format!("{scene:?}: {rounds} rounds"));
        take_turns(measurements, rounds, &mut record);
    }
    record
}

/// What can be measured, or why not. A scene's measurements take turns in using it.
struct Subjects<'a> {
    setting: &'a Setting,
    ours: Result<RefCell<Box<dyn Ours>>, Fate>,
    tonic: Result<RefCell<Tonic>, Fate>,
}

impl Subjects<'_> {
    fn latency(&self) -> Vec<Measurement<'_>> {
        let tasks = self.effort().latency_tasks;
        vec![
            self.ping_pong(&["raw.unix.p50"], Transport::Unix, Work::Echo),
            self.ping_pong(&["raw.tcp.p50", "raw.tcp.p99"], Transport::Tcp, Work::Echo),
            self.ours(&["ours.noop.p50", "ours.noop.p99"], move |ours| {
                ours.latency(warmed(tasks)).map(|times| percentiles(times, tasks))
            }),
            self.ping_pong(&["raw.tls.p50", "raw.tls.p99"], Transport::Tls, Work::Echo),
            self.ping_pong(&["raw.two_hops.p50", "raw.two_hops.p99"], Transport::Tcp, Work::Relay),
            self.ping_pong(
                &["raw.two_hops_tls.p50", "raw.two_hops_tls.p99"],
                Transport::Tls,
                Work::Relay,
            ),
            self.tonic(&["tonic.unary.p50", "tonic.unary.p99"], move |tonic| {
                tonic.latency(warmed(tasks), SMALL).map(|times| percentiles(times, tasks))
            }),
        ]
    }

    fn throughput(&self) -> Vec<Measurement<'_>> {
        let effort = self.effort();
        vec![
            self.pipelined(&["raw.tcp.one_a_write"], Transport::Tcp, 1),
            self.ours(
                &["ours.noop.many", "ours.per_task.many", "ours.per_task.few"],
                move |ours| jobs(ours, effort),
            ),
            self.pipelined(&["raw.tls.batched"], Transport::Tls, BATCH),
            self.tonic(&["tonic.unary.rate"], move |tonic| {
                let calls = effort.peer_calls;
                tonic.rate(calls / 10, PEER_IN_FLIGHT, SMALL)?;
                let time = tonic.rate(calls, PEER_IN_FLIGHT, SMALL)?;
                Ok(vec![per_second(calls, time)])
            }),
        ]
    }

    fn echo(&self) -> Vec<Measurement<'_>> {
        let tasks = self.effort().echo_tasks;
        vec![
            self.bulk(&["raw.tcp.echo"], Transport::Tcp),
            self.ours(&["ours.echo.unix"], move |ours| {
                ours.echo_1mib_unix(tasks / 10)?;
                ours.echo_1mib_unix(tasks).map(|time| vec![per_second(tasks, time)])
            }),
            self.bulk(&["raw.tls.echo"], Transport::Tls),
            self.ours(&["ours.echo.tls"], move |ours| {
                ours.echo_1mib_tls(tasks / 10)?;
                ours.echo_1mib_tls(tasks).map(|time| vec![per_second(tasks, time)])
            }),
            self.tonic(&["tonic.echo"], move |tonic| {
                tonic.rate(tasks / 10, PEER_ECHO_IN_FLIGHT, MIB)?;
                let time = tonic.rate(tasks, PEER_ECHO_IN_FLIGHT, MIB)?;
                Ok(vec![per_second(tasks, time)])
            }),
        ]
    }

    fn ship(&self) -> Vec<Measurement<'_>> {
        vec![self.ours(&["ours.core.second_use"], |ours| {
            ours.core_second_use().map(|bytes| vec![bytes as f64])
        })]
    }

    fn memory(&self) -> Vec<Measurement<'_>> {
        let tasks = self.effort().many_tasks;
        vec![self.ours(&["ours.queued_task"], move |ours| {
            ours.queued_task_memory(tasks).map(|bytes| vec![bytes])
        })]
    }

    fn effort(&self) -> Effort {
        self.setting.effort
    }

    fn ping_pong(
        &self,
        figures: &'static [&'static str],
        transport: Transport,
        work: Work,
    ) -> Measurement<'_> {
        let tasks = self.effort().latency_tasks;
        let measure = Pair::start(self.setting, transport, work, SMALL).map(|mut pair| {
            measure(move || {
                let mut values = percentiles(pair.ping_pong(SMALL, warmed(tasks))?, tasks);
                values.truncate(figures.len());
                Ok(values)
            })
        });
        Measurement { figures, measure: measure.map_err(|error| fate(&error)) }
    }

    fn pipelined(
        &self,
        figures: &'static [&'static str],
        transport: Transport,
        per_write: usize,
    ) -> Measurement<'_> {
        let count = self.effort().pipelined_messages;
        let pair = Pair::start(self.setting, transport, Work::Records, per_write * SMALL);
        let measure = pair.map(|mut pair| {
            measure(move || {
                pair.pipelined(count / 10, per_write)?;
                let time = pair.pipelined(count, per_write)?;
                Ok(vec![per_second(count, time)])
            })
        });
        Measurement { figures, measure: measure.map_err(|error| fate(&error)) }
    }

    fn bulk(&self, figures: &'static [&'static str], transport: Transport) -> Measurement<'_> {
        let tasks = self.effort().echo_tasks;
        let measure = Pair::start(self.setting, transport, Work::Echo, MIB).map(|mut pair| {
            measure(move || {
                let times = pair.ping_pong(MIB, warmed(tasks))?;
                let time = times[times.len() - tasks..].iter().sum();
                Ok(vec![per_second(tasks, Duration::from_nanos(time))])
            })
        });
        Measurement { figures, measure: measure.map_err(|error| fate(&error)) }
    }

    fn ours<'a>(
        &'a self,
        figures: &'static [&'static str],
        ask: impl Fn(&mut dyn Ours) -> Result<Vec<f64>, Error> + 'a,
    ) -> Measurement<'a> {
        let ours = self.ours.as_ref().map_err(Fate::clone);
        let measure = ours.map(|ours| measure(move || ask(&mut **ours.borrow_mut())));
        Measurement { figures, measure }
    }

    fn tonic<'a>(
        &'a self,
        figures: &'static [&'static str],
        ask: impl Fn(&mut Tonic) -> Result<Vec<f64>, Error> + 'a,
    ) -> Measurement<'a> {
        let tonic = self.tonic.as_ref().map_err(Fate::clone);
        let measure = tonic.map(|tonic| measure(move || ask(&mut tonic.borrow_mut())));
        Measurement { figures, measure }
    }
}

/// The large job's rate, its time per task, and that of the small job in microseconds.
fn jobs(ours: &mut dyn Ours, effort: Effort) -> Result<Vec<f64>, Error> {
    ours.throughput(effort.few_tasks)?;
    let mut small = Vec::new();
    for _ in 0..effort.few_repeats {
        small.push(per_task(effort.few_tasks, ours.throughput(effort.few_tasks)?));
    }
    small.sort_by(f64::total_cmp);
    let large = ours.throughput(effort.many_tasks)?;
    Ok(vec![
        per_second(effort.many_tasks, large),
        per_task(effort.many_tasks, large),
        small[small.len() / 2],
    ])
}

fn per_task(tasks: usize, time: Duration) -> f64 {
    time.as_secs_f64() * 1e6 / tasks as f64
}

fn shared<S>(started: Result<S, Error>) -> Result<RefCell<S>, Fate> {
    started.map(RefCell::new).map_err(|error| fate(&error))
}
