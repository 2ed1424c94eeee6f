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
    /// Shared memory: one page read after the other.
    Read,
    /// One page updated after the other.
    Update,
    /// Many reads and updates on the way.
    Pipelined,
    /// Four clients that change one page.
    Contended,
    /// Locks: one client, and four on one lock.
    Lock,
    /// Three pages at once or not at all.
    Transact,
    /// Sixty-four clients whose commits are on the disk before they are answered.
    Durable,
    /// Mapped pages of two processes.
    Coherent,
    /// A million pages, ten thousand watches.
    Watched,
    /// A process that moves whole.
    Eager,
    /// One that goes ahead of its memory.
    Lazy,
    /// How long one stands still that is copied.
    Pause,
    /// A page that has not come yet.
    Fault,
    /// A small process.
    Small,
    /// Copies of a process whose memory a node has.
    Calls,
    /// A process that moves whole over TLS, by the command.
    Tls,
    /// The command's own time.
    Command,
    /// CRIU beside it.
    Criu,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Unit {
    Nanoseconds,
    Microseconds,
    PerSecond,
    Bytes,
    /// How many of something that the row names.
    Count,
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
    /// The figure less so many times its reference of the same round.
    MoreThanRatioAtMost(f64, f64),
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

use Floor::{AtLeast, AtMost, MoreAtMost, MoreThanRatioAtMost, RatioAtLeast, RatioAtMost};
use Scene::{
    Calls, Coherent, Command, Contended, Criu, Durable, Eager, Echo, Fault, Fresh, Latency, Lazy,
    Lock, Memory, Noop, Pause, Pipelined, Read, Ship, Small, Start, Throughput, Tls, Transact,
    Update, V1Large, V1Latency, V1Throughput, Watched,
};
use Unit::{Bytes, Count, Microseconds, Nanoseconds, PerSecond};

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

    row("read.raw.unix", Read, "raw Unix socket, 32 B there and back, p50", Microseconds),
    row("read.raw.tls", Read, "raw TLS 1.3, 32 B there and back, p50", Microseconds),
    row("read.raw.page.unix", Read, "raw Unix socket, 32 B there, a page of 4 KiB back, p50", Microseconds),
    row("read.raw.page.tls", Read, "raw TLS 1.3, 32 B there, a page back, p50", Microseconds),
    row("read.raw.page.tcp", Read, "raw TCP, 32 B there, a page back, p50", Microseconds),
    row("read.unix.p50", Read, "ours, read of an unchanged page, Unix socket, p50", Microseconds).against("read.raw.unix").floor(RatioAtMost(1.4)),
    row("read.unix.p99", Read, "the same, p99", Microseconds).against("read.raw.unix"),
    row("read.tls.p50", Read, "ours, read of an unchanged page, TLS, p50", Microseconds).against("read.raw.tls").floor(RatioAtMost(1.4)),
    row("read.tls.p99", Read, "the same, p99", Microseconds).against("read.raw.tls"),
    row("read.changed.unix", Read, "ours, read of a page that changed, Unix socket, p50", Microseconds).against("read.raw.page.unix"),
    row("read.changed.tls", Read, "ours, read of a page that changed, TLS, p50", Microseconds).against("read.raw.page.tls"),
    row("read.cached", Read, "ours, read that may be a minute old, no round trip", Nanoseconds).floor(AtMost(100.0)),
    row("read.redis", Read, "Redis GET of a page, TCP without TLS, p50", Microseconds).against("read.raw.page.tcp"),
    row("read.memcached", Read, "memcached get of a page, TCP without TLS, p50", Microseconds).against("read.raw.page.tcp"),
    row("read.etcd", Read, "etcd range of a page, its JSON gateway over TCP, p50", Microseconds).against("read.raw.page.tcp"),

    row("update.raw.unix", Update, "raw Unix socket, a page of 4 KiB there, 32 B back, p50", Microseconds),
    row("update.raw.tls", Update, "raw TLS 1.3, a page there, 32 B back, p50", Microseconds),
    row("update.raw.tcp", Update, "raw TCP, a page there, 32 B back, p50", Microseconds),
    row("update.unix.p50", Update, "ours, update of a page, Unix socket, p50", Microseconds).against("update.raw.unix").floor(RatioAtMost(1.6)),
    row("update.unix.p99", Update, "the same, p99", Microseconds).against("update.raw.unix"),
    row("update.tls.p50", Update, "ours, update of a page, TLS, p50", Microseconds).against("update.raw.tls").floor(RatioAtMost(1.6)),
    row("update.tls.p99", Update, "the same, p99", Microseconds).against("update.raw.tls"),
    row("update.redis", Update, "Redis SET of a page, TCP without TLS, p50", Microseconds).against("update.raw.tcp"),
    row("update.memcached", Update, "memcached set of a page, TCP without TLS, p50", Microseconds).against("update.raw.tcp"),
    row("update.etcd", Update, "etcd put of a page, its JSON gateway over TCP, on disk, p50", Microseconds).against("update.raw.tcp"),

    row("reads.raw.unix", Pipelined, "raw Unix socket, 32 B there, a page back, 64 on the way", PerSecond),
    row("reads.raw.tls", Pipelined, "raw TLS 1.3, 32 B there, a page back, 64 on the way", PerSecond),
    row("reads.redis", Pipelined, "Redis GET of a page, 64 on the way, TCP without TLS", PerSecond),
    row("reads.redis.tls", Pipelined, "Redis GET of a page, 64 on the way, TLS", PerSecond).against("reads.redis"),
    row("reads.memcached", Pipelined, "memcached get of a page, 64 on the way, TCP without TLS", PerSecond),
    row("reads.unix", Pipelined, "ours, reads of unchanged pages, 64 on the way, Unix socket", PerSecond).against("reads.redis"),
    row("reads.tls", Pipelined, "ours, reads of unchanged pages, 64 on the way, TLS", PerSecond).against("reads.redis.tls"),
    row("reads.changed.unix", Pipelined, "ours, reads that bring the page's bytes, Unix socket", PerSecond).against("reads.redis").floor(RatioAtLeast(1.0)),
    row("reads.changed.tls", Pipelined, "ours, reads that bring the page's bytes, TLS", PerSecond).against("reads.redis.tls").floor(RatioAtLeast(1.0)),
    row("updates.raw.unix", Pipelined, "raw Unix socket, a page there, 32 B back, 64 on the way", PerSecond),
    row("updates.raw.tls", Pipelined, "raw TLS 1.3, a page there, 32 B back, 64 on the way", PerSecond),
    row("updates.redis", Pipelined, "Redis SET of a page, 64 on the way, TCP without TLS", PerSecond),
    row("updates.redis.tls", Pipelined, "Redis SET of a page, 64 on the way, TLS", PerSecond).against("updates.redis"),
    row("updates.memcached", Pipelined, "memcached set of a page, 64 on the way, TCP without TLS", PerSecond),
    row("updates.unix", Pipelined, "ours, updates of a page, 64 on the way, Unix socket", PerSecond).against("updates.redis").floor(RatioAtLeast(1.0)),
    row("updates.tls", Pipelined, "ours, updates of a page, 64 on the way, TLS", PerSecond).against("updates.redis.tls").floor(RatioAtLeast(1.0)),

    row("change.redis", Contended, "Redis WATCH, GET, MULTI, SET, EXEC of one page, 4 clients", PerSecond),
    row("change.redis.retries", Contended, "the same, retries for each success", Count),
    row("change.redis.tls", Contended, "Redis WATCH, GET, MULTI, SET, EXEC of one page, 4 clients, TLS", PerSecond).against("change.redis"),
    row("change.redis.tls.retries", Contended, "the same, retries for each success", Count),
    row("change.memcached", Contended, "memcached gets and cas of one page, 4 clients", PerSecond).against("change.redis"),
    row("change.memcached.retries", Contended, "the same, retries for each success", Count),
    row("change.etcd", Contended, "etcd range and txn of one page, its JSON gateway, 4 clients", PerSecond).against("change.redis"),
    row("change.etcd.retries", Contended, "the same, retries for each success", Count),
    row("change.unix", Contended, "ours, transactions on one page, 4 clients, Unix socket", PerSecond).against("change.redis").floor(RatioAtLeast(4.0)),
    row("change.unix.retries", Contended, "the same, retries for each success", Count),
    row("change.tls", Contended, "ours, transactions on one page, 4 clients, TLS", PerSecond).against("change.redis.tls").floor(RatioAtLeast(4.0)),
    row("change.tls.retries", Contended, "the same, retries for each success", Count),

    row("lock.raw.unix", Lock, "raw Unix socket, 32 B there and back, p50", Microseconds),
    row("lock.raw.tls", Lock, "raw TLS 1.3, 32 B there and back, p50", Microseconds),
    row("lock.raw.tcp", Lock, "raw TCP, 32 B there and back, p50", Microseconds),
    row("lock.unix", Lock, "ours, lock and unlock alone, Unix socket, p50", Microseconds).against("lock.raw.unix").floor(RatioAtMost(2.3)),
    row("lock.tls", Lock, "ours, lock and unlock alone, TLS, p50", Microseconds).against("lock.raw.tls").floor(RatioAtMost(2.3)),
    row("lock.redis", Lock, "Redis SET NX PX and compare-and-delete, alone, p50", Microseconds).against("lock.raw.tcp"),
    row("lock.memcached", Lock, "memcached add and delete, alone, p50", Microseconds).against("lock.raw.tcp"),
    row("lock.etcd", Lock, "etcd Lock and Unlock, alone, its JSON gateway, p50", Microseconds).against("lock.raw.tcp"),
    row("locks.redis", Lock, "Redis, 4 clients on one lock, each tries until it has it", PerSecond),
    row("locks.redis.tls", Lock, "Redis, 4 clients on one lock, TLS", PerSecond).against("locks.redis"),
    row("locks.etcd", Lock, "etcd, 4 clients on one lock, its JSON gateway", PerSecond).against("locks.redis"),
    row("locks.unix", Lock, "ours, 4 clients on one lock, Unix socket", PerSecond).against("locks.redis").floor(RatioAtLeast(2.0)),
    row("locks.tls", Lock, "ours, 4 clients on one lock, TLS", PerSecond).against("locks.redis.tls").floor(RatioAtLeast(2.0)),
    row("locks.redis.share", Lock, "Redis, the luckiest of the 4 against the least lucky", Count),
    row("locks.unix.share", Lock, "ours, the luckiest of the 4 against the least lucky, Unix socket", Count).floor(AtMost(1.2)),
    row("locks.tls.share", Lock, "ours, the luckiest of the 4 against the least lucky, TLS", Count).floor(AtMost(1.2)),
    row("locks.redis.overtaken", Lock, "Redis, of 100 queues of 4: pairs served in the wrong order", Count),
    row("locks.unix.overtaken", Lock, "ours, of 100 queues of 4: pairs served in the wrong order, Unix socket", Count).floor(AtMost(0.0)),
    row("locks.tls.overtaken", Lock, "ours, of 100 queues of 4: pairs served in the wrong order, TLS", Count).floor(AtMost(0.0)),

    row("transact.raw.unix", Transact, "raw Unix socket, three pages there, 64 B back, p50", Microseconds),
    row("transact.raw.tls", Transact, "raw TLS 1.3, three pages there, 64 B back, p50", Microseconds),
    row("transact.raw.tcp", Transact, "raw TCP, three pages there, 64 B back, p50", Microseconds),
    row("transact.unix", Transact, "ours, three pages read and written, Unix socket, p50", Microseconds).against("transact.raw.unix").floor(RatioAtMost(2.5)),
    row("transact.tls", Transact, "ours, three pages read and written, TLS, p50", Microseconds).against("transact.raw.tls").floor(RatioAtMost(2.5)),
    row("transact.redis", Transact, "Redis WATCH, GET, MULTI, SET, EXEC of three pages, p50", Microseconds).against("transact.raw.tcp"),
    row("transact.etcd", Transact, "etcd txn, twice, of three pages, its JSON gateway, p50", Microseconds).against("transact.raw.tcp"),

    row("durable.disk", Durable, "the disk's own fdatasync of 4 KiB, written over and over, one thread", PerSecond),
    row("durable.none.unix", Durable, "ours, updates of a page, durability none, 64 clients, Unix socket", PerSecond),
    row("durable.none.tls", Durable, "ours, updates of a page, durability none, 64 clients, TLS", PerSecond),
    row("durable.due.unix", Durable, "the lesser of 0.4 x 64 x the disk's rate and half of none's, Unix socket", PerSecond),
    row("durable.due.tls", Durable, "the lesser of 0.4 x 64 x the disk's rate and half of none's, TLS", PerSecond),
    row("durable.sync.unix", Durable, "ours, updates of a page, durability sync, 64 clients, Unix socket", PerSecond).against("durable.due.unix").floor(RatioAtLeast(1.0)),
    row("durable.sync.tls", Durable, "ours, updates of a page, durability sync, 64 clients, TLS", PerSecond).against("durable.due.tls").floor(RatioAtLeast(1.0)),

    row("coherent.raw.unix", Coherent, "raw Unix socket, 32 B there, a page back, p50", Microseconds),
    row("coherent.raw.small.unix", Coherent, "raw Unix socket, 32 B there and back, p50", Microseconds),
    row("coherent.read.clean.unix", Coherent, "ours, first read of a mapped page that is clean at home, Unix socket, p50", Microseconds).against("coherent.raw.unix").floor(RatioAtMost(3.5)),
    row("coherent.upgrade.clean.unix", Coherent, "ours, first write to a page that was read, clean at home, Unix socket, p50", Microseconds).against("coherent.raw.small.unix").floor(RatioAtMost(3.5)),
    row("coherent.read.dirty.unix", Coherent, "ours, read of a page that another process wrote, Unix socket, p50", Microseconds).against("coherent.raw.unix").floor(RatioAtMost(6.0)),
    row("coherent.write.dirty.unix", Coherent, "ours, write to a page that another process wrote, Unix socket, p50", Microseconds).against("coherent.raw.unix").floor(RatioAtMost(6.0)),
    row("coherent.raw.tls", Coherent, "raw TLS 1.3, 32 B there, a page back, p50", Microseconds),
    row("coherent.raw.small.tls", Coherent, "raw TLS 1.3, 32 B there and back, p50", Microseconds),
    row("coherent.read.clean.tls", Coherent, "ours, first read of a mapped page that is clean at home, TLS, p50", Microseconds).against("coherent.raw.tls").floor(RatioAtMost(3.5)),
    row("coherent.upgrade.clean.tls", Coherent, "ours, first write to a page that was read, clean at home, TLS, p50", Microseconds).against("coherent.raw.small.tls").floor(RatioAtMost(3.5)),
    row("coherent.read.dirty.tls", Coherent, "ours, read of a page that another process wrote, TLS, p50", Microseconds).against("coherent.raw.tls").floor(RatioAtMost(6.0)),
    row("coherent.write.dirty.tls", Coherent, "ours, write to a page that another process wrote, TLS, p50", Microseconds).against("coherent.raw.tls").floor(RatioAtMost(6.0)),

    row("watched.small", Watched, "ours, update of a 64 B page of 16, nobody watches, p50", Microseconds),
    row("watched.large", Watched, "ours, update of a 64 B page of 10^6, 10^4 watches on others, p50", Microseconds).against("watched.small").floor(RatioAtMost(1.3)),
    row("watched.told", Watched, "ours, update of a 64 B page of 10^6 that one of 10^4 watches, p50", Microseconds).against("watched.small"),
    row("watched.page", Watched, "ours, memory of the node for a written page of 64 B", Bytes),
    row("eager.raw.unix", Eager, "raw copy of 1 GiB over a Unix socket, into huge pages", Microseconds),
    row("eager.unix", Eager, "ours, a process of 1 GiB in huge pages moved over a Unix socket: how long it stood still", Microseconds).against("eager.raw.unix").floor(RatioAtMost(1.6)),
    row("eager.unix.pages", Eager, "the same in pages of 4 KiB", Microseconds).against("eager.raw.unix").floor(RatioAtMost(1.6)),
    row("lazy.small", Lazy, "ours, a process of 64 MiB that goes ahead of its memory, over TCP: how long it stood still", Microseconds).floor(AtMost(10_000.0)),
    row("lazy.large", Lazy, "the same of 4 GiB", Microseconds).against("lazy.small").floor(RatioAtMost(1.5)),
    row("pause.fork", Pause, "fork() of a process of 1 GiB in pages of 4 KiB", Microseconds),
    row("pause.twin", Pause, "ours, a twin of the same process: how long it stood still", Microseconds).against("pause.fork").floor(MoreThanRatioAtMost(1.3, 10_000.0)),
    row("pause.fork.huge", Pause, "fork() of a process of 1 GiB in huge pages", Microseconds),
    row("pause.twin.huge", Pause, "ours, a twin of the same process: how long it stood still", Microseconds).against("pause.fork.huge").floor(MoreThanRatioAtMost(1.3, 10_000.0)),
    row("fault.raw", Fault, "raw TCP, 16 B there, a page of 4 KiB back, p50", Microseconds),
    row("fault.ours", Fault, "ours, a touch of a page over there while 1 GiB streams behind, TCP, p50", Microseconds).against("fault.raw").floor(RatioAtMost(3.0)),
    row("call.fork", Calls, "a copy of this process of 100 MiB made, ended and waited for", Microseconds),
    row("call.empty", Calls, "ours, an empty call of a copy of it on a node that has its memory, p50", Microseconds).against("call.fork").floor(RatioAtMost(3.0)),
    row("call.fork.huge", Calls, "the same copy of it with that in huge pages", Microseconds),
    row("call.huge", Calls, "ours, an empty call of a copy of it with that in huge pages, p50", Microseconds).against("call.fork.huge").floor(AtMost(5_000.0)),
    row("call.memory", Calls, "memory of a process that a node has", Bytes),
    row("call.second", Calls, "ours, bytes of another copy when one page in 100 has changed", Bytes).against("call.memory").floor(RatioAtMost(0.03)),

    row("small.moved", Small, "ours, a process of 1 MiB moved over a Unix socket: how long it stood still", Microseconds).floor(AtMost(15_000.0)),

    row("tls.raw", Tls, "raw copy of 1 GiB over TLS, the same suite, into memory that is there", Microseconds),
    row("tls.move", Tls, "ours, `farcall move` of a process of 1 GiB in huge pages over TLS: how long it stood still", Microseconds).against("tls.raw").floor(RatioAtMost(1.6)),
    row("tls.move.pages", Tls, "the same in pages of 4 KiB", Microseconds).against("tls.raw").floor(RatioAtMost(1.6)),
    row("command.start", Command, "`farcall --version`", Microseconds),
    row("command.moved", Command, "ours, `farcall move` of a process of 1 MiB, from the command's start until it runs there", Microseconds).against("command.start").floor(MoreAtMost(15_000.0)),
    row("criu.ours", Criu, "ours, a process of 1 GiB in pages of 4 KiB moved over a Unix socket", Microseconds),
    row("criu.both", Criu, "CRIU, dump and restore of the same, into memory", Microseconds).against("criu.ours").floor(RatioAtLeast(2.5)),

    row("watched.watch", Watched, "ours, memory of the node for a watch", Bytes),
];

#[cfg(test)]
mod tests;
