//! Memory that several processes share: exact sums, whoever is killed, stopped or cut off meanwhile.
//!
//! The processes are this test program itself, started with `a_process_that_maps` and a plan in its
//! environment; each is a node's worth of threads, with its own mapping and its own connection.

#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, reason = "these are tests")]

mod support;

use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::Ordering::SeqCst;
use std::thread;

use client::memory::{Error, Shared};
use client::{Cluster, Region, RegionOptions};
use support::middle::Middle;
use support::{Machine, Running, skipped, until};

const PAGE: usize = 4096;
const PLAN: &str = "FARCALL_TEST_PLAN";
const PAGES: u64 = 8;

/// What a process does: `WHAT WHO THREADS TIMES ADDRESS`.
struct Plan {
    what: &'static str,
    who: usize,
    threads: usize,
    times: u64,
}

impl Plan {
    fn start(&self, address: &str, machine: &Machine) -> Child {
        let Self { what, who, threads, times } = self;
        let plan = format!("{what} {who} {threads} {times} {address}");
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "a_process_that_maps", "--nocapture", "--test-threads=1"]);
        command.env(PLAN, plan).env("FARCALL_HOME", machine.home());
        command.stdin(Stdio::null()).stdout(Stdio::null()).spawn().unwrap()
    }
}

/// A node with a coherent region, and this process' own mapping of it.
struct Bench {
    machine: Machine,
    _node: Running,
    address: String,
    _cluster: Cluster,
    region: Region,
    shared: Shared,
}

/// Nothing where this host does not let processes answer page faults, said aloud.
fn bench() -> Option<Bench> {
    let machine = Machine::new();
    let (node, address) = machine.start_node("--slots 1");
    let cluster = Cluster::connect_with([&address], &machine.home()).unwrap();
    let region = cluster.create_memory("sums", &RegionOptions::new(PAGES).coherent()).unwrap();
    match region.map_coherent() {
        Ok(shared) => {
            Some(Bench { machine, _node: node, address, _cluster: cluster, region, shared })
        }
        Err(error @ Error::Faults { .. }) => {
            skipped(&format!("{error}: {:?}", std::error::Error::source(&error)));
            None
        }
        Err(error) => panic!("{error}"),
    }
}

#[track_caller]
fn succeeds(mut child: Child) {
    let status = child.wait().unwrap();
    assert!(status.success(), "{status}");
}

/// Words that all add to: two on one page, one on another.
const WORDS: [usize; 3] = [0, 8, PAGE];
/// Words that one process adds to, on the page of the first.
fn own(who: usize) -> usize {
    64 + 8 * who
}
/// A word under a mutex, which is no atomic to whoever changes it.
const GUARDED: usize = 2 * PAGE;

#[test]
fn a_process_that_maps() {
    let Ok(plan) = std::env::var(PLAN) else { return };
    let words: Vec<&str> = plan.split(' ').collect();
    let &[what, who, threads, times, address] = &words[..] else { panic!("no plan: {plan}") };
    let (who, threads, times) =
        (who.parse().unwrap(), threads.parse().unwrap(), times.parse::<u64>().unwrap());
    let cluster = Cluster::connect([address]).unwrap();
    let region = cluster.memory("sums").unwrap();
    let shared = region.map_coherent().unwrap();
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| run(&shared, what, who, times));
        }
    });
    shared.close().unwrap();
}

fn run(shared: &Shared, what: &str, who: usize, times: u64) {
    match what {
        "add" => {
            for _ in 0..times {
                for word in WORDS {
                    shared.atomic(word).fetch_add(1, SeqCst);
                }
            }
        }
        // Reads before it writes, so that upgrades race with each other and with recalls.
        "mixed" => {
            let mut before = 0;
            for _ in 0..times {
                let seen = shared.atomic(WORDS[0]).load(SeqCst);
                assert!(seen >= before, "a sum went back from {before} to {seen}");
                before = shared.atomic(WORDS[0]).fetch_add(1, SeqCst);
                assert!(before >= seen, "a sum went back from {seen} to {before}");
            }
        }
        "guarded" => {
            for _ in 0..times {
                let held = shared.mutex(0).lock().unwrap();
                for _ in 0..20 {
                    let mut bytes = [0; 8];
                    shared.read(GUARDED, &mut bytes).unwrap();
                    let sum = u64::from_le_bytes(bytes) + 1;
                    shared.write(GUARDED, &sum.to_le_bytes()).unwrap();
                }
                held.unlock().unwrap();
            }
        }
        // One step each, then all wait for all: everybody sees everybody's step.
        "steps" => {
            for step in 1..=times {
                shared.atomic(own(who)).store(step, SeqCst);
                shared.barrier(5, 2).wait().unwrap();
                let other = shared.atomic(own(1 - who)).load(SeqCst);
                assert_eq!(other, step);
                shared.barrier(5, 2).wait().unwrap();
            }
        }
        // Each in turn, so that the page goes to and fro for every single addition.
        "turns" => {
            let word = shared.atomic(WORDS[0]);
            for _ in 0..times {
                while word.load(SeqCst) % 2 != who as u64 {
                    thread::yield_now();
                }
                word.fetch_add(1, SeqCst);
            }
        }
        "own" => {
            for _ in 0..times {
                shared.atomic(own(who)).fetch_add(1, SeqCst);
            }
        }
        "forever" => loop {
            shared.atomic(own(who)).fetch_add(1, SeqCst);
        },
        other => panic!("no plan: {other}"),
    }
}

/// Two processes with so many threads each.
fn two(bench: &Bench, what: &'static str, threads: usize, times: u64) {
    let start = |who| Plan { what, who, threads, times }.start(&bench.address, &bench.machine);
    let both = [0, 1].map(start);
    both.into_iter().for_each(succeeds);
}

// TF-16.

#[test]
fn atomics_of_two_processes_sum_up_exactly() {
    let Some(bench) = bench() else { return };
    two(&bench, "add", 1, 100_000);
    for word in WORDS {
        assert_eq!(bench.shared.atomic(word).load(SeqCst), 200_000);
    }
    two(&bench, "add", 4, 50_000);
    for word in WORDS {
        assert_eq!(bench.shared.atomic(word).load(SeqCst), 600_000);
    }
    let stat = bench.region.stat().unwrap();
    assert!(stat.moves > 0, "pages went from one process to the other");
    let hot = bench.region.hot(10).unwrap();
    assert!(hot.iter().any(|page| page.page.0 == 0 && page.traffic > 0), "{hot:?}");
    assert!(hot.iter().all(|page| page.page.0 < 2), "only two pages were used: {hot:?}");
    assert!(hot.iter().any(|page| !page.holders.is_empty()), "this process reads it: {hot:?}");
}

#[test]
fn reads_and_additions_mixed_go_never_back_and_sum_up_exactly() {
    let Some(bench) = bench() else { return };
    two(&bench, "mixed", 4, 50_000);
    assert_eq!(bench.shared.atomic(WORDS[0]).load(SeqCst), 400_000);
}

#[test]
fn a_mutex_that_crosses_processes_guards_plain_memory() {
    let Some(bench) = bench() else { return };
    two(&bench, "guarded", 2, 150);
    let mut bytes = [0; 8];
    bench.shared.read(GUARDED, &mut bytes).unwrap();
    assert_eq!(u64::from_le_bytes(bytes), 2 * 2 * 150 * 20);
}

#[test]
fn after_a_barrier_everybody_sees_what_everybody_wrote() {
    let Some(bench) = bench() else { return };
    two(&bench, "steps", 1, 100);
}

#[test]
fn when_a_process_is_killed_the_others_go_on_and_lose_nothing() {
    let Some(bench) = bench() else { return };
    let plan = |what, who, times| {
        Plan { what, who, threads: 1, times }.start(&bench.address, &bench.machine)
    };
    let mut killed = plan("forever", 0, 0);
    until("the first process adds", || bench.shared.atomic(own(0)).load(SeqCst) > 0);
    let others = [plan("own", 1, 100_000), plan("own", 2, 100_000)];
    until("the others add", || bench.shared.atomic(own(1)).load(SeqCst) > 0);
    killed.kill().unwrap();
    killed.wait().unwrap();
    others.into_iter().for_each(succeeds);
    for who in [1, 2] {
        assert_eq!(bench.shared.atomic(own(who)).load(SeqCst), 100_000);
    }
}

#[test]
fn a_process_that_stood_still_for_a_lease_has_no_memory_any_more() {
    let Some(bench) = bench() else { return };
    let plan = Plan { what: "forever", who: 0, threads: 1, times: 0 };
    let mut stopped = plan.start(&bench.address, &bench.machine);
    until("the process adds", || bench.shared.atomic(own(0)).load(SeqCst) > 0);
    let signal = |name: &str| {
        let mut kill = Command::new("kill");
        assert!(
            kill.args([format!("-{name}"), stopped.id().to_string()]).status().unwrap().success()
        );
    };
    signal("STOP");
    // It has the page, or this process has: after this it is here, at the latest when its lease ends.
    for _ in 0..1000 {
        bench.shared.atomic(own(1)).fetch_add(1, SeqCst);
    }
    until("the session's lease is over", || {
        bench.region.stat().unwrap().moves > 0 && {
            let hot = bench.region.hot(1).unwrap();
            hot.is_empty() || hot[0].holders.len() == 1
        }
    });
    let wait = std::time::Instant::now() + std::time::Duration::from_secs(4);
    until("its clock says so too", || std::time::Instant::now() > wait);
    let before = bench.shared.atomic(own(0)).load(SeqCst);
    signal("CONT");
    let status = stopped.wait().unwrap();
    assert_eq!(status.signal(), Some(11), "{status}");
    assert_eq!(bench.shared.atomic(own(0)).load(SeqCst), before, "nothing came after its lease");
    assert_eq!(bench.shared.atomic(own(1)).load(SeqCst), 1000);
}

#[test]
fn connections_that_break_within_the_lease_lose_nothing() {
    let Some(bench) = bench() else { return };
    let middle = Middle::start(&bench.address, |at| 16 + 4 * at);
    let start = |who, address: &str| {
        Plan { what: "turns", who, threads: 1, times: 80 }.start(address, &bench.machine)
    };
    let both = [start(0, &middle.address), start(1, &bench.address)];
    both.into_iter().for_each(succeeds);
    assert_eq!(bench.shared.atomic(WORDS[0]).load(SeqCst), 160);
    let connections = middle.heard.lock().unwrap().len();
    assert!(connections > 4, "the line was cut, so there were several connections: {connections}");
}

#[test]
fn what_cannot_be_mapped_is_refused_by_name() {
    let Some(bench) = bench() else { return };
    let cluster = &bench._cluster;
    let large = RegionOptions::new(8).page_size(8192).coherent();
    let refused = cluster.create_memory("large", &large).unwrap_err();
    assert!(matches!(refused, Error::NotMappable { page_size: 8192, .. }), "{refused}");
    let plain = cluster.create_memory("plain", &RegionOptions::new(8)).unwrap();
    let refused = plain.map_coherent().unwrap_err();
    assert!(matches!(refused, Error::WrongStyle { .. }), "{refused}");
    let small = cluster.create_memory("small", &RegionOptions::new(8).page_size(512)).unwrap();
    let refused = small.map(0..8).unwrap_err();
    assert!(matches!(refused, Error::NotMappable { page_size: 512, .. }), "{refused}");
    assert!(bench.region.page(0).read().is_err(), "a coherent region is not read by requests");
    let outside = bench.shared.write(bench.shared.len() - 1, b"ab").unwrap_err();
    assert!(matches!(outside, Error::WrongLength { .. }), "{outside}");
}

#[test]
fn a_mapping_shows_all_pages_as_they_were_together() {
    let Some(bench) = bench() else { return };
    for page_size in [PAGE, 4 * PAGE] {
        let name = format!("genes-{page_size}");
        let options = RegionOptions::new(64).page_size(page_size as u32);
        let region = bench._cluster.create_memory(&name, &options).unwrap();
        for page in 0..64 {
            region.page(page).update(8, &[1; 8]).unwrap();
        }
        let mapping = region.map(0..64).unwrap();
        let at = |page: usize| {
            let mut bytes = [0; 8];
            mapping.read(page * page_size + 8, &mut bytes).unwrap();
            bytes
        };
        assert_eq!(at(0), [1; 8]);
        // Every page changes: those that were touched, and those that were not.
        for page in 0..64 {
            region.page(page).update(8, &[2; 8]).unwrap();
            region.page(page).update(0, &[3; 16]).unwrap();
        }
        assert!((0..64).all(|page| at(page) == [1; 8]));
        let later = region.map(3..5).unwrap();
        assert!(later.sequence() > mapping.sequence());
        let mut bytes = [0; 8];
        later.read(8, &mut bytes).unwrap();
        assert_eq!(bytes, [3; 8]);
        // What is written here stays here.
        mapping.write(page_size, &[9; 8]).unwrap();
        mapping.read(page_size, &mut bytes).unwrap();
        assert_eq!(bytes, [9; 8]);
        assert_eq!(region.page(1).read().unwrap().bytes[..8], [3; 8]);
        assert_eq!(mapping.lost(), None);
    }
}

#[test]
fn memory_that_is_lost_says_so_to_who_asks_first() {
    let Some(bench) = bench() else { return };
    bench.shared.write(0, &[1; 8]).unwrap();
    bench._cluster.drop_memory("sums").unwrap();
    until("the memory is taken away", || bench.shared.lost().is_some());
    let lost = [bench.shared.read(0, &mut [0; 8]), bench.shared.write(0, &[2; 8])];
    for result in lost {
        let error = result.unwrap_err();
        assert!(matches!(error, Error::MappingLost { .. }), "{error}");
    }
    assert!(bench.shared.close().is_err(), "what was written is lost");
}

/// An example of the library with these arguments, whose figures are checked by itself.
fn example(name: &str, arguments: &[&str]) -> String {
    let mut command = Command::new(env!("CARGO"));
    command.args(["run", "--quiet", "--offline", "-p", "farcall", "--example", name, "--"]);
    let output = command.args(arguments).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    said
}

#[test]
fn the_examples_compute_in_two_processes_what_one_does() {
    if bench().is_none() {
        return;
    }
    for (name, arguments) in [("jacobi", &["2", "62", "6"][..]), ("tsp", &["2", "8"])] {
        let said = example(name, arguments);
        for processes in ["1 processes: ", "2 processes: "] {
            let line = said.lines().find(|line| line.starts_with(processes)).unwrap();
            assert!(line.contains("times as fast") && line.contains("moves"), "{line}");
        }
        let parts = said.lines().filter(|line| line.starts_with("process "));
        assert_eq!(parts.count(), 1 + 2, "{said}");
    }
}
