//! A region whose home and clients are on hosts of their own: cables are pulled, clients are killed and
//! stopped, the home is killed and started again; all that was seen is judged as one history.
//!
//! Some twenty seconds in each test run, five minutes with FARCALL_SOAK=1. Needs root and `ip`.

#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, reason = "these are tests")]

mod support;

use std::time::{Duration, Instant};

use client::memory::Region;
use client::{Cluster, Durability, RegionOptions};
use support::hosts::{Host, Hosts};
use support::process::kill;
use support::sharing::{Orders, PAGE, PAGES, Process, Sharing, TURNS, now, share};
use support::{PATIENCE, Running};

const TURN: Duration = Duration::from_secs(5);

/// As a test of its own it does nothing.
#[test]
fn a_sharer_on_a_host() {
    share();
}

struct Dice(u64);

impl Dice {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
        (self.0 >> 33) % end
    }
}

#[test]
fn what_hosts_with_pulled_cables_and_killed_processes_saw_of_a_region_can_have_happened() {
    let Some(hosts) = Hosts::new("a region on hosts") else { return };
    let home = hosts.host("home");
    let clients = ["a", "b", "c", "d"].map(|name| hosts.host(name));
    let is_long = std::env::var_os("FARCALL_SOAK").is_some();
    let time = Duration::from_secs(if is_long { 300 } else { 20 });
    let seed = u64::from(std::process::id());
    // The judge is on the home's own host, whose cable is never pulled.
    home.inside(|| run(&home, &clients, seed, time, is_long));
}

/// Rounds of the two, and pages of what they share.
const ROUNDS: u64 = 60;
const QUEUE: std::ops::Range<u64> = 0..8;
const TABLE: std::ops::Range<u64> = 8..40;
const MUTEX: u64 = 40;
const COUNT: u64 = 41;

#[test]
fn a_queue_a_map_a_mutex_and_a_barrier_join_two_hosts() {
    let Some(hosts) = Hosts::new("values between hosts") else { return };
    let [home, a, b] = ["home", "a", "b"].map(|name| hosts.host(name));
    let _node = home.start_node("--slots 1");
    a.join_client(&home);
    b.join_client(&home);
    let opened = |host: &Host| {
        let cluster = Cluster::connect_with([home.address()], &host.machine.home()).unwrap();
        cluster.wait_for_nodes(1, PATIENCE);
        cluster.memory_or_create("values", &RegionOptions::new(42)).unwrap()
    };
    std::thread::scope(|scope| {
        // What `a` puts into the queue, `b` takes out; the rest is done by both.
        let [first, second] = [(&a, 0), (&b, 1)].map(|(host, side)| {
            scope.spawn(move || host.inside(|| take_part(&opened(host), side)))
        });
        let [passed, taken] = [first.join().unwrap(), second.join().unwrap()];
        assert_eq!((passed.len(), &passed), (ROUNDS as usize, &taken), "what went through");
    });
    let entries = home.inside(|| {
        let cluster = Cluster::connect_with([home.address()], &home.machine.home()).unwrap();
        cluster.wait_for_nodes(1, PATIENCE);
        let region = cluster.memory("values").unwrap();
        let count = region.cell::<u64>(COUNT).unwrap().get().unwrap();
        assert_eq!(count, 2 * ROUNDS, "counted under the mutex");
        assert!(region.queue(QUEUE).unwrap().is_empty().unwrap());
        region.map_of(TABLE).unwrap().entries().unwrap()
    });
    let mut keys: Vec<String> =
        entries.iter().map(|(key, _)| String::from_utf8_lossy(key).into_owned()).collect();
    keys.sort();
    let mut want: Vec<String> =
        (0..ROUNDS).flat_map(|n| [0, 1].map(|s| format!("{s} {n}"))).collect();
    want.push("both".to_owned());
    want.sort();
    assert_eq!(keys, want);
    let (_, both) = entries.iter().find(|(key, _)| &key[..] == b"both").unwrap();
    assert_eq!(both[..], (2 * ROUNDS).to_le_bytes());
}

/// One of the two hosts: what it put into the queue, or took out.
fn take_part(region: &Region, side: u64) -> Vec<u64> {
    region.set_patience(PATIENCE);
    let (queue, table) = (region.queue(QUEUE).unwrap(), region.map_of(TABLE).unwrap());
    let (mutex, barrier) = (region.mutex(MUTEX), region.barrier(7, 2));
    let number = |bytes: &[u8]| u64::from_le_bytes(bytes.try_into().unwrap());
    let mut passed = Vec::new();
    let mut rounds = Vec::new();
    for round in 0..ROUNDS {
        if side == 0 {
            let item = round * round;
            assert!(queue.push_within(&item.to_le_bytes(), PATIENCE).unwrap());
            passed.push(item);
        } else {
            passed.push(number(&queue.pop_within(PATIENCE).unwrap().unwrap()));
        }
        table.insert(format!("{side} {round}").as_bytes(), b"").unwrap();
        let add = |had: Option<&[u8]>| Some((had.map_or(0, number) + 1).to_le_bytes().to_vec());
        table.update(b"both", add).unwrap();
        // Read, then written: without the mutex, counts would be lost.
        let held = mutex.lock().unwrap();
        let count = number(&region.page(COUNT).read().unwrap().bytes[..8]);
        region.page(COUNT).update(0, &(count + 1).to_le_bytes()).unwrap();
        held.unlock().unwrap();
        rounds.push(barrier.wait().unwrap());
        // Nobody is a round ahead: the other's entries of this one are there.
        assert!(table.get(format!("{} {round}", 1 - side).as_bytes()).unwrap().is_some());
    }
    assert!(rounds.windows(2).all(|pair| pair[1] == pair[0] + 1), "{rounds:?}");
    passed
}

fn run(home: &Host, clients: &[Host], seed: u64, time: Duration, is_long: bool) {
    let mut dice = Dice(seed);
    let mut node = home.start_node("--slots 1");
    clients.iter().for_each(|host| host.join_client(home));
    let cluster = Cluster::connect_with([home.address()], &home.machine.home()).unwrap();
    assert_eq!(cluster.wait_for_nodes(1, PATIENCE), 1);
    let options = RegionOptions::new(TURNS * PAGES).page_size(PAGE as u32);
    let made = cluster.create_memory("shared", &options.clone().durability(Durability::Sync));
    let reader = made.unwrap();
    reader.set_patience(PATIENCE);
    let orders = Orders {
        nodes: vec![home.address()],
        home: Default::default(),
        region: "shared".to_owned(),
        who: 0,
        seed,
        file: Default::default(),
        begun: now(),
        turn: TURN.as_nanos() as u64,
        pause: 500,
    };
    let mut sharing = Sharing::new(orders, &home.machine.path(""));
    let start = |sharing: &mut Sharing, host: &Host| -> Process {
        sharing.orders.home = host.machine.home();
        sharing.start("a_sharer_on_a_host", |command| host.here(command))
    };
    let mut processes: Vec<Process> =
        clients.iter().map(|host| start(&mut sharing, host)).collect();
    let mut log = Vec::new();
    let end = Instant::now() + time;
    while Instant::now() < end {
        rest(300 + dice.below(1500));
        processes.iter_mut().for_each(Process::check);
        let at = dice.below(clients.len() as u64) as usize;
        // A lease is three seconds: shorter and longer.
        let long = 100 + dice.below(if is_long { 8000 } else { 4500 });
        let what = match dice.below(5) {
            0 | 1 => {
                clients[at].pull();
                rest(long);
                clients[at].plug();
                format!("{} was cut off for {long} ms", clients[at].name)
            }
            2 => {
                processes[at].signal("STOP");
                rest(long);
                processes[at].signal("CONT");
                format!("{} stood still for {long} ms", clients[at].name)
            }
            3 => {
                let new = start(&mut sharing, &clients[at]);
                std::mem::replace(&mut processes[at], new).kill();
                format!("{} was killed", clients[at].name)
            }
            _ => {
                node = restart(home, node);
                "the home was killed and started again".to_owned()
            }
        };
        log.push(what);
        let done = sharing.turn().saturating_sub(3);
        sharing.judge_until(done, &reader);
    }
    processes.into_iter().for_each(Process::finish);
    sharing.judge_until(u64::MAX, &reader);
    let sum = sharing.sum;
    eprintln!("seed {seed}, {} harms: {sum:?}\n  {}", log.len(), log.join("\n  "));
    assert!(sum.commits > 300 && sum.transactions > 50 && sum.grants > 20, "{sum:?}");
    drop(node);
}

/// `ip netns exec` becomes the node, so its number is the node's.
fn restart(home: &Host, mut node: Running) -> Running {
    kill(node.child.id());
    node.child.wait().unwrap();
    home.start_node("--slots 1")
}

fn rest(millis: u64) {
    let end = Instant::now() + Duration::from_millis(millis);
    while let Some(left) = end.checked_duration_since(Instant::now()) {
        std::thread::park_timeout(left);
    }
}
