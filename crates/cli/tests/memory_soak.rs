//! Mixed load on a region, with clients that are killed and a home that is killed and started again:
//! nothing is lost, nothing happens that cannot, nothing grows. A second home, which keeps nothing on a
//! disk and is left alone, has half of the load: there memory is to stay where it was.
//!
//! Fifteen seconds of it are part of every test run; `cargo xtask soak` gives it minutes. What the
//! clients saw is judged turn by turn (`support::sharing`).

#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, reason = "these are tests")]

mod support;

use std::collections::BTreeMap;
use std::io::Write as _;
use std::process::Command;
use std::time::{Duration, Instant};

use client::{Cluster, Durability, Region, RegionOptions};
use support::process::{descriptors, memory};
use support::sharing::{Orders, PAGE, PAGES, Process, Sharing, TURNS, now, share};
use support::{Machine, PATIENCE, Running, under, until};

const TURN: Duration = Duration::from_secs(5);

/// As a test of its own it does nothing.
#[test]
fn a_sharer_of_the_load() {
    share();
}

/// Memory in KiB and descriptors, once a second.
#[derive(Default)]
struct Samples {
    memory: Vec<u64>,
    descriptors: Vec<u64>,
}

impl Samples {
    fn take(&mut self, pid: u32) {
        self.memory.push(memory(pid));
        self.descriptors.push(descriptors(pid) as u64);
    }
}

/// Medians of the second and the last quarter: in the first one tables still grow to their size.
fn quarters(samples: &[u64]) -> (u64, u64) {
    let median = |part: &[u64]| {
        let mut part = part.to_vec();
        part.sort_unstable();
        part.get(part.len() / 2).copied().unwrap_or(0)
    };
    let quarter = (samples.len() / 4).max(1);
    let second = &samples[quarter.min(samples.len() - 1)..(2 * quarter).min(samples.len())];
    (median(second), median(&samples[samples.len() - quarter..]))
}

fn start(machine: &Machine, listen: &str) -> (Running, String) {
    let mut node = machine.start(&format!("node --name home --slots 1 --listen {listen}"));
    let line = node.line_with("listening at 127.");
    (node, line.trim_start_matches("listening at ").to_owned())
}

struct Load {
    machine: Machine,
    node: Running,
    address: String,
    cluster: Cluster,
    reader: Region,
    sharing: Sharing,
}

/// A home with a region, and nobody at work there yet.
fn load(durability: Durability, seed: u64) -> Load {
    let machine = Machine::new();
    let (node, address) = start(&machine, "127.0.0.1:0");
    let cluster = Cluster::connect_with([&address], &machine.home()).unwrap();
    assert_eq!(cluster.wait_for_nodes(1, PATIENCE), 1);
    let options = RegionOptions::new(TURNS * PAGES).page_size(PAGE as u32);
    let made = cluster.create_memory("shared", &options.clone().durability(durability));
    let reader = made.unwrap();
    reader.set_patience(PATIENCE);
    let orders = Orders {
        nodes: vec![address.clone()],
        home: machine.home(),
        region: "shared".to_owned(),
        who: 0,
        seed,
        file: Default::default(),
        begun: now(),
        turn: TURN.as_nanos() as u64,
        pause: 500,
    };
    let sharing = Sharing::new(orders, &machine.path(""));
    Load { machine, node, address, cluster, reader, sharing }
}

fn dress(command: &Command) -> Command {
    under(&["env"], command)
}

/// What a home with a disk may grow by, in KiB: its store gathers 32 MiB of commits before it writes
/// them out, and gathers the next ones meanwhile.
const GATHERED: u64 = 96 << 10;

#[test]
fn mixed_load_on_a_region_with_kills_loses_nothing_and_leaves_nothing() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let minutes = number("FARCALL_SOAK_MINUTES");
    let time = minutes.map_or(Duration::from_secs(15), |minutes| Duration::from_secs(60 * minutes));
    let seed = number("FARCALL_SOAK_SEED").unwrap_or_else(|| std::process::id().into());
    let _ = writeln!(std::io::stderr(), "soak: {time:?} of memory, FARCALL_SOAK_SEED={seed}");
    let Load { machine, mut node, address, cluster, reader, mut sharing } =
        load(Durability::Sync, seed);
    let mut still = load(Durability::None, seed + 1);
    let mut stays: Vec<_> = (0..3).map(|_| sharing.start("a_sharer_of_the_load", dress)).collect();
    let mut beside: Vec<_> =
        (0..2).map(|_| still.sharing.start("a_sharer_of_the_load", dress)).collect();
    let mut victim = sharing.start("a_sharer_of_the_load", dress);
    let mut of_still = Samples::default();

    let (mut samples, mut of_node) = (BTreeMap::<u32, Samples>::new(), vec![Samples::default()]);
    let (mut kills, mut restarts) = (0, 0);
    let end = Instant::now() + time;
    let mut second = 0;
    while Instant::now() < end {
        let next = Instant::now() + Duration::from_secs(1);
        second += 1;
        for sharer in &mut stays {
            sharer.check();
            samples.entry(sharer.pid()).or_default().take(sharer.pid());
        }
        assert_eq!(node.child.try_wait().unwrap(), None, "the node has ended");
        of_node.last_mut().unwrap().take(node.child.id());
        beside.iter_mut().for_each(Process::check);
        assert_eq!(still.node.child.try_wait().unwrap(), None, "the second node has ended");
        of_still.take(still.node.child.id());
        if second % 3 == 0 {
            let new = sharing.start("a_sharer_of_the_load", dress);
            std::mem::replace(&mut victim, new).kill();
            kills += 1;
        }
        // Long lives, so that what grows in one shows.
        let life = if minutes.is_some() { 60 } else { 7 };
        if second % life == life - 1 {
            node.child.kill().unwrap();
            node.child.wait().unwrap();
            node = start(&machine, &address).0;
            of_node.push(Samples::default());
            restarts += 1;
        }
        let done = sharing.turn().saturating_sub(3);
        sharing.judge_until(done, &reader);
        still.sharing.judge_until(done, &still.reader);
        while let Some(left) = next.checked_duration_since(Instant::now()) {
            std::thread::park_timeout(left);
        }
    }
    victim.finish();
    stays.into_iter().chain(beside).for_each(Process::finish);
    sharing.judge_until(u64::MAX, &reader);
    still.sharing.judge_until(u64::MAX, &still.reader);

    let sum = sharing.sum;
    let mut report = format!(
        "soak: {kills} clients killed, {restarts} starts; {sum:?}; beside it {:?}\n",
        still.sharing.sum
    );
    let (part, slack) = if minutes.is_some() { (10, 4 << 10) } else { (1, 64 << 10) };
    let mut grew = Vec::new();
    // A home that was started again is a new process.
    let lives = of_node.into_iter().filter(|life| life.memory.len() >= 8).enumerate();
    let lives = lives.map(|(n, life)| (format!("node, life {n}"), GATHERED, life));
    let clients =
        samples.into_iter().map(|(pid, samples)| (format!("client {pid}"), slack, samples));
    let beside = std::iter::once(("second node".to_owned(), slack, of_still));
    for (who, slack, Samples { memory, descriptors }) in beside.chain(lives).chain(clients) {
        let (before, after) = quarters(&memory);
        let (few, many) = quarters(&descriptors);
        report += &format!("  {who}: {before} -> {after} KiB, {few} -> {many} descriptors\n");
        if after > before + before / part + slack || many > few + few / 4 + 8 {
            grew.push(who);
        }
    }
    let _ = write!(std::io::stderr(), "{report}");
    assert!(grew.is_empty(), "{grew:?} grew; {report}");
    assert!(sum.commits > 300 && sum.transactions > 50 && sum.grants > 20, "{report}");
    until("nobody is left", || {
        // Sessions that ended well are gone; those of killed clients stay until their outcomes may be
        // forgotten, without any lock.
        let about = reader.stat().unwrap();
        about.locks == 0 && about.waiting == 0
    });
    drop((reader, cluster, still));
    node.signal("TERM");
    assert_eq!(node.end(), Some(0), "the node ends in order");
    drop(machine);
}
