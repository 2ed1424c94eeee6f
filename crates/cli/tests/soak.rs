//! Mixed load with random kills, on real processes: nothing is lost, nothing comes twice, nothing
//! grows.
//!
//! ```text
//!   clients (processes)            nodes            and somebody who, now and then, kills or stops
//!   numbers  small tasks           a                a worker, a node, a client
//!   bulk     payloads of 1 MiB     b  killed,
//!   odds     streams, cancels,     c  started again
//!            deadlines, crashes
//!   victim   as numbers, killed
//! ```
//!
//! Fifteen seconds of it are part of every test run; `cargo xtask soak` gives it minutes. Everything
//! that is drawn is drawn from one seed, which is printed, but processes are not puppets: the same seed
//! is the same kind of trouble, not the same run.

#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, reason = "these are tests")]

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use client::{Cluster, Core, Failure, Output, Why};
use support::process::{children, descriptors, is_alive, kill, memory};
use support::{Machine, Running, until};

const SPECIMEN: &str = "misbehaving/specimen.c";
/// What the load's clients are told by.
const KIND: &str = "FARCALL_SOAK_CLIENT";
/// As often as a loss may ever ask for: what kills here are we.
const RETRIES: u32 = 900;
const MIB: usize = 1 << 20;

// The clients.

/// Numbers that look random, from a seed.
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.0;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^ (word >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }
}

/// Of a task that may be killed at any time: its result, or that it was at three of our kills.
fn survived(result: Result<Output, Failure>) -> Option<Output> {
    match result {
        Ok(output) => Some(output),
        Err(Failure { why: Why::Signal { signal: 9, .. }, attempt: 3.., .. }) => None,
        Err(failure) => panic!("{failure} ({failure:?})"),
    }
}

fn numbers(core: &Core, dice: &mut Dice, from: u64) -> usize {
    let count = 500;
    let inputs = (from..from + count).map(|n| format!("echo {n}"));
    let mut seen = vec![false; count as usize];
    for (at, result) in core.map_unordered(inputs) {
        assert!(!std::mem::replace(&mut seen[at as usize], true), "the result of {at} came twice");
        if let Some(output) = survived(result) {
            assert_eq!(std::str::from_utf8(&output), Ok(&*(from + at).to_string()));
        }
    }
    assert!(seen.iter().all(|&seen| seen), "a result was lost");
    // And some one by one.
    for _ in 0..dice.below(20) {
        let n = dice.next().to_string();
        if let Some(output) = survived(core.run(format!("echo {n}"))) {
            assert_eq!(std::str::from_utf8(&output), Ok(&*n));
        }
    }
    count as usize
}

fn pattern(seed: u64, length: usize) -> Vec<u8> {
    let mut dice = Dice(seed);
    std::iter::repeat_with(|| dice.next().to_le_bytes()).flatten().take(length).collect()
}

fn bulk(core: &Core, from: u64) -> usize {
    let payload = |n: u64| pattern(n, MIB);
    let inputs = (from..from + 8).map(|n| [b"echo ", &payload(n)[..]].concat());
    let mut count = 0;
    for (n, result) in (from..).zip(core.map(inputs)) {
        if let Some(output) = survived(result) {
            assert!(output[..] == payload(n), "a payload came back changed");
        }
        count += 1;
    }
    assert_eq!(count, 8);
    count
}

/// Each must end as it should, or as one that we killed.
fn odds(core: &Core, dice: &mut Dice) -> usize {
    let hurt = |failure: &Failure| {
        matches!(
            failure.why,
            Why::Signal { signal: 9, .. } | Why::NodeLost | Why::WorkerLost { .. }
        )
    };
    let once = core.clone().retries(0);
    let ends = |what: &str, result: Result<Output, Failure>, is: &dyn Fn(&Why) -> bool| {
        let failure = result.expect_err(what);
        assert!(is(&failure.why) || hurt(&failure), "{what} ended with {failure:?}");
    };
    ends("crash", once.run("crash"), &|why| matches!(why, Why::Signal { signal: 11, .. }));
    ends("exit", once.run("exit 3"), &|why| matches!(why, Why::Exited { code: 3, .. }));
    ends("code", once.run("rc 7"), &|why| matches!(why, Why::ExitCode { code: 7, .. }));
    let hasty = once.clone().deadline(Duration::from_millis(100));
    ends("hang", hasty.run("hang"), &|why| matches!(why, Why::TimeLimit { .. }));

    let handles: Vec<_> = (0..50).map(|_| core.submit("sleep 20")).collect();
    let cancelled = dice.below(50);
    handles.iter().take(cancelled).for_each(client::Handle::cancel);
    for (n, handle) in handles.into_iter().enumerate() {
        match handle.join() {
            Err(failure) if n < cancelled && failure.why == Why::Cancelled => {}
            result => drop(survived(result)),
        }
    }
    drop(core.map_unordered(vec!["sleep 10"; 100]));

    let mut stream = core.open();
    let sent = pattern(dice.next(), 200_000);
    let written = stream.write_all(b"echo ").and_then(|()| stream.write_all(&sent));
    let mut got = Vec::new();
    let read = written.map(|()| stream.close()).and_then(|()| stream.read_to_end(&mut got));
    match (read, stream.finish()) {
        (Ok(_), Ok(rest)) => assert!([got, rest].concat() == sent, "a stream came back changed"),
        (_, Err(failure)) => assert!(hurt(&failure), "a stream ended with {failure:?}"),
        (Err(error), Ok(_)) => panic!("a stream ended well, but could not be used: {error}"),
    }
    155
}

/// One client of the load, in a process of its own; as a test of its own it does nothing.
#[test]
fn a_client_of_the_load() {
    let Ok(kind) = std::env::var(KIND) else { return };
    let of = |name: &str| std::env::var(format!("FARCALL_SOAK_{name}")).unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let asked = stop.clone();
    std::thread::spawn(move || {
        let _ = std::io::stdin().read(&mut [0]);
        asked.store(true, Ordering::SeqCst);
    });
    let (nodes, home) = (of("NODES"), of("HOME"));
    let cluster = Cluster::connect_with(nodes.split(','), home.as_ref()).unwrap();
    let core = cluster.core(of("CORE")).unwrap().retries(RETRIES);
    let mut dice = Dice(of("SEED").parse().unwrap());
    for round in 0_u64.. {
        let tasks = match &*kind {
            "bulk" => bulk(&core, round * 8),
            "odds" => odds(&core, &mut dice),
            _ => numbers(&core, &mut dice, round * 500),
        };
        println!("soak: {tasks}");
        if stop.load(Ordering::SeqCst) {
            break;
        }
    }
}

// Those who watch them.

struct Client {
    kind: &'static str,
    child: Child,
    stderr: Arc<Mutex<String>>,
}

/// What clients report: who, and how many tasks have ended as they should.
type Report = (&'static str, usize);

/// One of the nodes, which can be started again as it was.
struct Node {
    name: &'static str,
    address: String,
    words: String,
    running: Running,
}

struct Load {
    machine: Machine,
    core: String,
    nodes: Vec<Node>,
    clients: Vec<Client>,
    dice: Dice,
    sender: Sender<Report>,
    reports: Receiver<Report>,
    done: BTreeMap<&'static str, usize>,
    log: Vec<String>,
    begun: Instant,
}

impl Load {
    fn start(seed: u64) -> Self {
        let machine = Machine::new();
        let core = machine.core(SPECIMEN);
        let mut nodes = Vec::new();
        for name in ["a", "b", "c"] {
            let join =
                nodes.first().map_or(String::new(), |a: &Node| format!("--join {}", a.address));
            let words = format!("--name {name} --slots 2 {join}");
            let (running, address) = machine.start_node(&words);
            nodes.push(Node { name, address, words, running });
        }
        let (sender, reports) = channel();
        Self {
            machine,
            core,
            nodes,
            clients: Vec::new(),
            dice: Dice(seed),
            sender,
            reports,
            done: BTreeMap::new(),
            log: Vec::new(),
            begun: Instant::now(),
        }
    }

    fn note(&mut self, what: String) {
        self.log.push(format!("{:>8.2} s  {what}", self.begun.elapsed().as_secs_f64()));
    }

    fn pid(&self, node: usize) -> u32 {
        self.nodes[node].running.child.id()
    }

    fn add_client(&mut self, kind: &'static str) {
        let own = std::env::current_exe().unwrap();
        let addresses: Vec<&str> = self.nodes.iter().map(|node| &*node.address).collect();
        let mut command = Command::new(own);
        command.args(["--exact", "a_client_of_the_load", "--nocapture", "--test-threads", "1"]);
        command.env(KIND, kind).env("FARCALL_SOAK_NODES", addresses.join(","));
        command.env("FARCALL_SOAK_HOME", self.machine.home()).env("FARCALL_SOAK_CORE", &self.core);
        command.env("FARCALL_SOAK_SEED", self.dice.next().to_string());
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let (stdout, mut errors) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
        let sender = self.sender.clone();
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                let count = line.rsplit_once("soak: ").and_then(|(_, count)| count.parse().ok());
                if let Some(count) = count
                    && sender.send((kind, count)).is_err()
                {
                    break;
                }
            }
        });
        let stderr = Arc::new(Mutex::new(String::new()));
        let kept = stderr.clone();
        std::thread::spawn(move || {
            let mut text = String::new();
            let _ = errors.read_to_string(&mut text);
            *kept.lock().unwrap() = text;
        });
        self.clients.push(Client { kind, child, stderr });
    }

    /// Listens to the clients for so long; whoever has ended by himself has failed.
    fn listen(&mut self, time: Duration) {
        let end = Instant::now() + time;
        loop {
            match self.reports.recv_timeout(end.saturating_duration_since(Instant::now())) {
                Ok((kind, count)) => *self.done.entry(kind).or_default() += count,
                Err(RecvTimeoutError::Timeout) => break,
                Err(RecvTimeoutError::Disconnected) => unreachable!("there is a sender here"),
            }
        }
        for at in 0..self.clients.len() {
            if let Some(status) = self.clients[at].child.try_wait().unwrap() {
                let client = &self.clients[at];
                until("its last words are here", || Arc::strong_count(&client.stderr) == 1);
                let words = client.stderr.lock().unwrap().clone();
                let log = self.log.join("\n");
                panic!("{log}\nclient {} ended with {status}: {words}", client.kind);
            }
        }
        for node in &mut self.nodes {
            let status = node.running.child.try_wait().unwrap();
            assert_eq!(status, None, "node {} ended: {}", node.name, self.log.join("\n"));
        }
    }

    /// Does some harm.
    fn harm(&mut self) {
        let stopped = Duration::from_millis(50 + self.dice.below(1500) as u64);
        let node = self.dice.below(self.nodes.len());
        let name = self.nodes[node].name;
        match self.dice.below(10) {
            0..=3 => {
                let workers: Vec<u32> = children(self.pid(node)).into_iter().collect();
                if !workers.is_empty() {
                    let worker = workers[self.dice.below(workers.len())];
                    self.note(format!("worker {worker} of {name} is killed"));
                    kill(worker);
                }
            }
            4 => {
                let workers: Vec<u32> = children(self.pid(node)).into_iter().collect();
                if !workers.is_empty() {
                    let worker = workers[self.dice.below(workers.len())];
                    self.note(format!("worker {worker} of {name} stops for {stopped:?}"));
                    signal("STOP", worker);
                    self.listen(stopped);
                    signal("CONT", worker);
                }
            }
            5..=6 if node > 0 => self.restart(node),
            5..=7 => {
                self.note(format!("node {name} stops for {stopped:?}"));
                signal("STOP", self.pid(node));
                self.listen(stopped);
                signal("CONT", self.pid(node));
            }
            _ => {
                let victim = self.clients.iter().position(|client| client.kind == "victim");
                let mut victim = self.clients.swap_remove(victim.unwrap());
                self.note("a client is killed".to_owned());
                victim.child.kill().unwrap();
                victim.child.wait().unwrap();
                self.add_client("victim");
            }
        }
    }

    fn restart(&mut self, node: usize) {
        let Node { name, address, words, .. } = &self.nodes[node];
        let again = format!("node --listen {address} {words}");
        self.note(format!("node {name} is killed and started again"));
        let workers = children(self.pid(node));
        let old = &mut self.nodes[node].running.child;
        old.kill().unwrap();
        old.wait().unwrap();
        until("its workers have ended with it", || !workers.iter().any(|&worker| is_alive(worker)));
        let mut running = self.machine.start(&again);
        running.line_with("listening at 127.");
        self.nodes[node].running = running;
    }
}

fn signal(name: &str, pid: u32) {
    // It may have ended by itself.
    let _ = Command::new("kill").args(["-s", name, &pid.to_string()]).output();
}

/// What is measured each second, of those who are never killed.
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

/// Medians of the first and the last quarter.
fn quarters(samples: &[u64]) -> (u64, u64) {
    let median = |part: &[u64]| {
        let mut part = part.to_vec();
        part.sort_unstable();
        part[part.len() / 2]
    };
    let quarter = (samples.len() / 4).max(1);
    (median(&samples[..quarter]), median(&samples[samples.len() - quarter..]))
}

#[test]
fn mixed_load_with_random_kills_loses_nothing_doubles_nothing_and_leaves_nothing() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let minutes = number("FARCALL_SOAK_MINUTES");
    let time = minutes.map_or(Duration::from_secs(15), |minutes| Duration::from_secs(60 * minutes));
    let seed = number("FARCALL_SOAK_SEED").unwrap_or_else(|| std::process::id().into());
    let _ = writeln!(std::io::stderr(), "soak: {time:?} of load, FARCALL_SOAK_SEED={seed}");
    let mut load = Load::start(seed);
    let a = load.pid(0);
    let alone = descriptors(a);
    for kind in ["numbers", "bulk", "odds", "victim"] {
        load.add_client(kind);
    }
    let mut samples: BTreeMap<&'static str, Samples> = BTreeMap::new();
    let end = Instant::now() + time;
    let mut next_harm = Instant::now() + Duration::from_secs(2);
    while Instant::now() < end {
        load.listen(Duration::from_secs(1));
        samples.entry("node a").or_default().take(a);
        for client in load.clients.iter().filter(|client| client.kind != "victim") {
            samples.entry(client.kind).or_default().take(client.child.id());
        }
        if Instant::now() >= next_harm {
            load.harm();
            next_harm = Instant::now() + Duration::from_millis(200 + load.dice.below(3000) as u64);
        }
    }

    // Everybody ends what he has begun.
    for mut client in std::mem::take(&mut load.clients) {
        drop(client.child.stdin.take());
        let log = load.log.join("\n");
        until(&format!("{} ends\n{log}", client.kind), || {
            client.child.try_wait().unwrap().is_some()
        });
        let status = client.child.wait().unwrap();
        until("its last words are here", || Arc::strong_count(&client.stderr) == 1);
        let words = client.stderr.lock().unwrap();
        assert!(status.success(), "{log}\nclient {} ended with {status}: {words}", client.kind);
    }
    load.listen(Duration::ZERO);
    let mut report = format!("soak: {} harms; tasks {:?}\n", load.log.len(), load.done);
    for kind in ["numbers", "bulk", "odds"] {
        assert!(load.done.contains_key(kind), "{kind} did nothing: {report}");
    }

    // What grew. Minutes are long enough to tell; seconds tell only of what grows without measure.
    let (part, slack) = if minutes.is_some() { (10, 4 << 10) } else { (1, 64 << 10) };
    let mut grew = Vec::new();
    for (who, Samples { memory, descriptors }) in &samples {
        let (before, after) = quarters(memory);
        let (few, many) = quarters(descriptors);
        report += &format!("  {who}: {before} -> {after} KiB, {few} -> {many} descriptors\n");
        if after > before + before / part + slack || many > few + few / 4 + 8 {
            grew.push(*who);
        }
    }
    let _ = write!(std::io::stderr(), "{report}");
    assert!(grew.is_empty(), "{grew:?} grew; {report}{}", load.log.join("\n"));

    // What is left. An idle worker is kept for a while; those are ended here.
    let nodes: Vec<u32> = (0..load.nodes.len()).map(|node| load.pid(node)).collect();
    let mut workers = BTreeSet::new();
    for &node in &nodes {
        until("no worker is left", || {
            let left = children(node);
            left.iter().for_each(|&worker| kill(worker));
            workers.extend(&left);
            left.is_empty()
        });
    }
    until("node a has the descriptors that it began with", || descriptors(a) <= alone + LINKS);
    let state = load.machine.path("state").join("farcall");
    for node in &load.nodes {
        let scratch = state.join(node.name).join("scratch");
        let left = || -> Vec<_> { std::fs::read_dir(&scratch).unwrap().flatten().collect() };
        // A worker's folder goes when its node has heard of its end.
        until(&format!("no file is left of {}", node.name), || left().is_empty());
    }
    for node in load.nodes {
        node.running.signal("TERM");
        assert_eq!(node.running.end(), Some(0), "node {}", node.name);
    }
    assert!(!workers.iter().chain(&nodes).any(|&pid| is_alive(pid)), "a process is left");
}

/// Links of other nodes, which may have come after it was counted.
const LINKS: usize = 2;
