//! The figures: what each is, what it is compared with, and its floor.
//!
//! This table is the only place that knows a floor. Measuring is `tasks`, judging is `record`.

use serde::Serialize;

/// One number the benchmark prints.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Figure {
    pub name: &'static str,
    pub scene: Scene,
    pub what: &'static str,
    pub unit: Unit,
    /// The figure of the same run that it is divided by.
    pub reference: Option<&'static str>,
    pub floor: Option<Floor>,
}

/// Figures that are measured in turn, round by round.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Scene {
    /// One small task after the other.
    Latency,
    /// Many small tasks at once.
    Throughput,
    /// 1 MiB in, 1 MiB out.
    Echo,
    /// A big core's second use.
    Ship,
    /// What a queued task costs the client.
    Memory,
    /// Jobs of protocol v1, one after the other.
    V1Latency,
    /// Jobs of protocol v1, pipelined.
    V1Throughput,
    /// Jobs of protocol v1 that are large.
    V1Large,
    /// The first task of a worker, by its jail.
    Start,
    /// A no-op task, by its worker's jail.
    Noop,
    /// The first task of a core that the node has never seen.
    Fresh,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Unit {
    Microseconds,
    PerSecond,
    Bytes,
}

/// What must hold. "Ratio" is the figure divided by its reference of the same round.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Floor {
    RatioAtMost(f64),
    RatioAtLeast(f64),
    AtMost(f64),
    AtLeast(f64),
    /// The figure less its reference of the same round.
    MoreAtMost(f64),
}

/// Finds a figure by its name. An unknown name is a mistake in `tasks` or in the table.
pub fn find(name: &str) -> &'static Figure {
    let figure = FIGURES.iter().find(|figure| figure.name == name);
    figure.unwrap_or_else(|| panic!("no figure is named {name}"))
}

const fn row(name: &'static str, scene: Scene, what: &'static str, unit: Unit) -> Figure {
    Figure { name, scene, what, unit, reference: None, floor: None }
}

impl Figure {
    const fn against(mut self, reference: &'static str) -> Self {
        self.reference = Some(reference);
        self
    }

    const fn floor(mut self, floor: Floor) -> Self {
        self.floor = Some(floor);
        self
    }
}

use Floor::{AtLeast, AtMost, MoreAtMost, RatioAtLeast, RatioAtMost};
use Scene::{
    Echo, Fresh, Latency, Memory, Noop, Ship, Start, Throughput, V1Large, V1Latency, V1Throughput,
};
use Unit::{Bytes, Microseconds, PerSecond};

#[rustfmt::skip]
pub const FIGURES: &[Figure] = &[
    row("raw.unix.p50", Latency, "raw Unix socket, 64 B there and back, p50", Microseconds).against("raw.tcp.p50"),
    row("raw.tcp.p50", Latency, "raw TCP, p50", Microseconds),
    row("raw.tcp.p99", Latency, "raw TCP, p99", Microseconds).against("raw.tcp.p50"),
    row("raw.tls.p50", Latency, "raw TLS 1.3, p50", Microseconds).against("raw.tcp.p50"),
    row("raw.tls.p99", Latency, "raw TLS 1.3, p99", Microseconds).against("raw.tcp.p50"),
    row("raw.two_hops.p50", Latency, "two bare hops, TCP then Unix, p50", Microseconds).against("raw.tcp.p50"),
    row("raw.two_hops.p99", Latency, "two bare hops, TCP then Unix, p99", Microseconds).against("raw.tcp.p50"),
    row("raw.two_hops_tls.p50", Latency, "two bare hops, TLS then Unix, p50", Microseconds).against("raw.tcp.p50"),
    row("raw.two_hops_tls.p99", Latency, "two bare hops, TLS then Unix, p99", Microseconds).against("raw.tcp.p50"),
    row("ours.noop.p50", Latency, "ours, one no-op task, TLS, jailed, p50", Microseconds).against("raw.tcp.p50").floor(RatioAtMost(3.0)),
    row("ours.noop.p99", Latency, "ours, one no-op task, TLS, jailed, p99", Microseconds).against("raw.tcp.p50").floor(RatioAtMost(15.0)),
    row("tonic.unary.p50", Latency, "tonic, unary call, no TLS, p50", Microseconds).against("raw.tcp.p50"),
    row("tonic.unary.p99", Latency, "tonic, unary call, no TLS, p99", Microseconds).against("raw.tcp.p50"),

    row("raw.tcp.one_a_write", Throughput, "raw TCP, 64 B, 1024 in flight, one a write", PerSecond),
    row("raw.tls.batched", Throughput, "raw TLS, 64 B, 1024 in flight, 64 a write", PerSecond),
    row("ours.noop.many", Throughput, "ours, the large job of no-op tasks, TLS", PerSecond).against("raw.tls.batched").floor(AtLeast(400_000.0)),
    row("ours.per_task.few", Throughput, "ours, time per task in the small job", Microseconds),
    row("ours.per_task.many", Throughput, "ours, time per task in the large job", Microseconds).against("ours.per_task.few").floor(RatioAtMost(1.2)),
    row("tonic.unary.rate", Throughput, "tonic, 256 in flight, two servers, no TLS", PerSecond).against("raw.tcp.one_a_write"),

    row("raw.tcp.echo", Echo, "raw TCP, 1 MiB in and out", PerSecond),
    row("raw.tls.echo", Echo, "raw TLS, 1 MiB in and out", PerSecond).against("raw.tcp.echo"),
    row("ours.echo.tls", Echo, "ours, 1 MiB in and out, TLS", PerSecond).against("raw.tls.echo").floor(RatioAtLeast(0.7)),
    row("ours.echo.unix", Echo, "ours, 1 MiB in and out, Unix socket", PerSecond).against("raw.tcp.echo").floor(RatioAtLeast(0.5)),
    row("tonic.echo", Echo, "tonic, 1 MiB in and out, 8 in flight, no TLS", PerSecond).against("raw.tcp.echo"),

    row("ours.core.second_use", Ship, "ours, a 64 MiB core to 3 nodes, second use", Bytes).floor(AtMost(0.0)),
    row("ours.queued_task", Memory, "ours, client memory per queued task", Bytes).floor(AtMost(300.0)),

    row("v1.raw.p50", V1Latency, "raw TCP, 64 B there and back, p50", Microseconds),
    row("v1.ours.p50", V1Latency, "protocol v1, a job of 64 B, one at a time, jail user, p50", Microseconds).against("v1.raw.p50").floor(RatioAtMost(2.5)),
    row("v1.ours.p99", V1Latency, "protocol v1, a job of 64 B, one at a time, jail user, p99", Microseconds).against("v1.raw.p50"),
    row("v1.job.p50", V1Latency, "the same with a plain controller that runs anywhere, p50", Microseconds).against("v1.raw.p50"),
    row("v1.job.p99", V1Latency, "the same with a plain controller that runs anywhere, p99", Microseconds).against("v1.raw.p50"),
    row("v1.raw.rate", V1Throughput, "raw TCP, 64 B, 1024 in flight, one a write", PerSecond),
    row("v1.jobs.rate", V1Throughput, "protocol v1, jobs of 64 B, 64 in flight, jail user", PerSecond).against("v1.raw.rate").floor(AtLeast(150_000.0)),
    row("v1.raw.large", V1Large, "raw TCP, 40 MiB in and out", PerSecond),
    row("v1.large", V1Large, "protocol v1, a job of 40 MiB in and out, jail user", PerSecond).against("v1.raw.large").floor(RatioAtLeast(0.5)),

    row("start.none", Start, "first task of a new worker, jail none", Microseconds),
    row("start.user", Start, "first task of a new worker, jail user", Microseconds).against("start.none"),
    row("start.strict", Start, "first task of a new worker, jail strict", Microseconds).against("start.none").floor(MoreAtMost(15_000.0)),
    row("noop.none", Noop, "a no-op task, Unix socket, jail none, p50", Microseconds),
    row("noop.none.again", Noop, "the same once more: what is noise", Microseconds).against("noop.none"),
    row("noop.user", Noop, "a no-op task, Unix socket, jail user, p50", Microseconds).against("noop.none"),
    row("noop.strict", Noop, "a no-op task, Unix socket, jail strict, p50", Microseconds).against("noop.none").floor(RatioAtMost(1.1)),

    row("fresh.core", Fresh, "a 64 KiB core the node never saw, submit to first result, TLS", Microseconds).floor(AtMost(30_000.0)),
];

#[cfg(test)]
mod tests;
