//! What must survive: workers, nodes and clients that die, stop or come at the wrong moment.
//!
//! Each test has a cluster of real nodes and workers, and asks the kernel what is left afterwards.

#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, reason = "these are tests")]

mod support;

use std::collections::BTreeSet;
use std::time::Duration;

use client::{Cluster, Core, Failure, Output, Why};
use support::process::{children, descriptors, is_alive, kill, ticks};
use support::{Machine, PATIENCE, Running, until};

const SPECIMEN: &str = "misbehaving/specimen.c";

/// Nodes of one machine that know nothing of each other, and a cluster that links to all.
struct Nodes {
    machine: Machine,
    nodes: Vec<(Running, String)>,
    specimen: String,
}

impl Nodes {
    /// With a slot each.
    fn start(names: &[&str]) -> Self {
        let machine = Machine::new();
        let specimen = machine.core(SPECIMEN);
        let start = |name: &&str| machine.start_node(&format!("--name {name} --slots 1"));
        let nodes = names.iter().map(start).collect();
        Self { machine, nodes, specimen }
    }

    fn connect(&self) -> Cluster {
        let addresses = self.nodes.iter().map(|(_, address)| address);
        let cluster = Cluster::connect_with(addresses, &self.machine.home()).unwrap();
        assert_eq!(cluster.wait_for_nodes(self.nodes.len(), PATIENCE), self.nodes.len());
        cluster
    }

    fn core(&self, cluster: &Cluster) -> Core {
        cluster.core(&self.specimen).unwrap()
    }

    fn pid(&self, node: usize) -> u32 {
        self.nodes[node].0.child.id()
    }

    /// The scratch folders of workers of the node of this name.
    fn scratch(&self, name: &str) -> usize {
        let data = self.machine.path("state").join("farcall").join(name).join("scratch");
        std::fs::read_dir(&data).unwrap_or_else(|e| panic!("{}: {e}", data.display())).count()
    }
}

fn text(output: &Output) -> &str {
    std::str::from_utf8(output).unwrap()
}

fn number(output: &Output) -> u32 {
    text(output).parse().unwrap()
}

fn why(result: Result<Output, Failure>) -> Why {
    result.expect_err("it was to fail").why
}

/// A node keeps an idle worker for a while, in case its owner comes back. Ends those, so that what
/// is left is what was leaked.
fn retire_workers(node: u32) {
    children(node).into_iter().for_each(kill);
    until("no process is left", || children(node).is_empty());
}

#[track_caller]
fn until_descriptors_are(node: u32, count: usize) {
    until("no descriptor is left", || descriptors(node) == count);
}

/// Tasks that are each different and together take a while; with what they answer.
fn mixture(count: usize) -> (Vec<String>, Vec<String>) {
    let slow = |n: usize| n.is_multiple_of(10);
    let input = |n| if slow(n) { format!("sleep {}", 30 + n / 10) } else { format!("echo {n}") };
    let answer = |n| if slow(n) { format!("{}", 30 + n / 10) } else { format!("{n}") };
    ((0..count).map(input).collect(), (0..count).map(answer).collect())
}

// Workers.

#[test]
fn a_task_whose_worker_is_killed_is_tried_again_and_its_result_comes_once() {
    let nodes = Nodes::start(&["a"]);
    let core = nodes.core(&nodes.connect());
    let worker = number(&core.run("pid").unwrap());
    let before = ticks(worker);
    let handle = core.submit("work 1500");
    until("the task runs", || ticks(worker) >= before + 10);
    kill(worker);
    let output = handle.join().unwrap();
    assert_eq!((text(&output), output.attempt()), ("1500", 2));
    assert_ne!(number(&core.run("pid").unwrap()), worker);
}

#[test]
fn a_task_that_may_not_be_tried_again_says_which_signal_ended_its_worker() {
    let nodes = Nodes::start(&["a"]);
    let core = nodes.core(&nodes.connect()).retries(0);
    let worker = number(&core.run("pid").unwrap());
    let before = ticks(worker);
    let handle = core.submit("hang");
    let behind = core.submit("echo behind");
    until("the task runs", || ticks(worker) >= before + 10);
    kill(worker);
    assert!(matches!(why(handle.join()), Why::Signal { signal: 9, .. }));
    // The one behind it had not begun, so this was none of its attempts.
    let output = behind.join().unwrap();
    assert_eq!((text(&output), output.attempt()), ("behind", 1));
}

#[test]
fn every_failure_has_its_true_reason_and_leaves_nothing_behind() {
    let nodes = Nodes::start(&["a"]);
    let node = nodes.pid(0);
    let before = descriptors(node);

    let cluster = nodes.connect();
    let core = nodes.core(&cluster).retries(0);
    let check = |input: &str, core: &Core, is: fn(&Why) -> bool| {
        let reason = why(core.run(input.to_owned()));
        assert!(is(&reason), "{input} fails with {reason:?}");
        assert_eq!(text(&core.run("echo next").unwrap()), "next", "after {input}");
    };
    check("crash", &core, |why| matches!(why, Why::Signal { signal: 11, .. }));
    check("abort", &core, |why| matches!(why, Why::Signal { signal: 6, .. }));
    let is_overflow = |why: &Why| matches!(why, Why::Signal { stderr, .. } if stderr.contains("overflowed its stack"));
    check("overflow", &core, is_overflow);
    check("exit 3", &core, |why| matches!(why, Why::Exited { code: 3, .. }));
    check("exit 0", &core, |why| matches!(why, Why::Exited { code: 0, .. }));
    check("rc 7", &core, |why| matches!(why, Why::ExitCode { code: 7, .. }));
    check("null 5", &core, |why| matches!(why, Why::Broken { .. }));
    let hasty = core.clone().deadline(Duration::from_millis(300));
    check("hang", &hasty, |why| matches!(why, Why::TimeLimit { .. }));
    let small = core.clone().memory(64 << 20);
    check("leak 512", &small, |why| matches!(why, Why::OutOfMemory { .. }));
    let handle = core.submit("hang");
    handle.cancel();
    assert_eq!(why(handle.join()), Why::Cancelled);
    assert_eq!(text(&core.run("echo last").unwrap()), "last");

    drop((cluster, core, hasty, small));
    retire_workers(node);
    until("no file is left", || nodes.scratch("a") == 0);
    until_descriptors_are(node, before);
}

#[test]
fn a_child_that_a_core_has_forked_ends_with_its_worker() {
    let nodes = Nodes::start(&["a"]);
    let cluster = nodes.connect();
    let core = nodes.core(&cluster).retries(0);
    let orphan = number(&core.run("fork 600000").unwrap());
    let worker = number(&core.run("pid").unwrap());
    assert!(is_alive(worker));
    kill(worker);
    until("the killed worker's child is gone", || !is_alive(orphan));

    let orphan = number(&core.run("fork 600000").unwrap());
    let why = why(core.run("exit 1"));
    assert!(matches!(why, Why::Exited { code: 1, .. }), "{why:?}");
    until("the child of the one that ended itself is gone", || !is_alive(orphan));

    let orphan = number(&core.run("fork 600000").unwrap());
    drop((cluster, core));
    until("the child of the one that nobody needs any more is gone", || !is_alive(orphan));
    until("no process is left", || children(nodes.pid(0)).is_empty());
}

#[test]
fn a_core_that_a_node_has_lost_is_sent_again() {
    let nodes = Nodes::start(&["a"]);
    let cluster = nodes.connect();
    let core = nodes.core(&cluster).retries(0);
    assert_eq!(text(&core.run("echo once").unwrap()), "once");
    let blobs = nodes.machine.path("state/farcall/a/blobs");
    for file in std::fs::read_dir(blobs).unwrap() {
        std::fs::remove_file(file.unwrap().path()).unwrap();
    }
    // Who has it loaded needs no file.
    assert_eq!(text(&core.run("echo twice").unwrap()), "twice");
    retire_workers(nodes.pid(0));
    let sent = cluster.uploaded();
    for result in core.map(vec!["echo again"; 20]) {
        let output = result.unwrap();
        assert_eq!((text(&output), output.attempt()), ("again", 1));
    }
    assert_eq!(cluster.uploaded(), 2 * sent);
}

// Nodes.

#[test]
fn a_node_that_is_killed_loses_no_result_and_none_comes_twice() {
    let mut nodes = Nodes::start(&["a", "b"]);
    let core = nodes.core(&nodes.connect());
    let (inputs, answers) = mixture(400);
    let mut results = core.map(inputs);
    let mut got: Vec<Output> = results.by_ref().take(40).map(Result::unwrap).collect();
    let workers = children(nodes.pid(1));
    nodes.nodes[1].0.child.kill().unwrap();
    got.extend(results.map(Result::unwrap));
    assert_eq!(got.iter().map(text).collect::<Vec<_>>(), answers);
    let by: BTreeSet<&str> = got.iter().map(Output::node).collect();
    assert_eq!(by, BTreeSet::from(["a", "b"]));
    until("its workers die with it", || !workers.iter().any(|&pid| is_alive(pid)));
}

#[test]
fn a_node_that_stops_is_done_without_and_used_again_when_it_goes_on() {
    let nodes = Nodes::start(&["a", "b"]);
    let core = nodes.core(&nodes.connect());
    let mut results = core.map_unordered(vec!["sleep 100"; 60]);
    let mut seen = BTreeSet::new();
    let mut by_b = 0;
    while by_b == 0 {
        let (at, result) = results.next().expect("both nodes have work");
        assert!(seen.insert(at));
        by_b += usize::from(result.unwrap().node() == "b");
    }
    nodes.nodes[1].0.signal("STOP");
    for (at, result) in results {
        assert!(seen.insert(at), "the result of {at} came twice");
        result.unwrap();
    }
    assert_eq!(seen.len(), 60);
    assert_eq!(core.run("echo on").unwrap().node(), "a");

    nodes.nodes[1].0.signal("CONT");
    until("b works again", || {
        core.map(vec!["sleep 20"; 4]).any(|result| result.unwrap().node() == "b")
    });
}

#[test]
fn a_node_that_joins_while_a_job_runs_gets_tasks_of_it() {
    let nodes = Nodes::start(&["a"]);
    let core = nodes.core(&nodes.connect());
    let mut results = core.map(vec!["sleep 20"; 5000]);
    assert_eq!(results.next().unwrap().unwrap().node(), "a");
    let token = nodes.machine.run("auth token --role node").stdout;
    let (other, a) = (Machine::new(), &nodes.nodes[0].1);
    let words = format!("--name b --slots 1 --join {a} --token {}", token.trim());
    let (_b, _) = other.start_node(&words);
    assert!(results.any(|result| result.unwrap().node() == "b"), "b was never used");
}

#[test]
fn a_node_that_leaves_while_a_job_runs_ends_what_it_has_begun() {
    let mut nodes = Nodes::start(&["a", "b"]);
    let core = nodes.core(&nodes.connect());
    let (inputs, answers) = mixture(400);
    let mut results = core.map(inputs);
    let mut got: Vec<Output> = results.by_ref().take(40).map(Result::unwrap).collect();
    nodes.nodes[1].0.signal("TERM");
    got.extend(results.map(Result::unwrap));
    assert_eq!(got.iter().map(text).collect::<Vec<_>>(), answers);
    assert!(
        got.iter().all(|output| output.attempt() == 1),
        "nothing was lost, so none is tried again"
    );
    assert!(got.iter().any(|output| output.node() == "b"));
    let status = nodes.nodes[1].0.child.wait().unwrap();
    assert_eq!(status.code(), Some(0));
}

// Clients.

#[test]
fn a_client_that_is_killed_leaves_no_task_no_worker_and_no_descriptor() {
    let nodes = Nodes::start(&["a"]);
    let (node, address) = (nodes.pid(0), &nodes.nodes[0].1);
    let large = [b"hang ", &vec![b'x'; 3 << 20][..]].concat();
    let clients = || {
        let cluster = nodes.connect();
        let status = cluster.status(PATIENCE).remove(0).report.unwrap();
        let sum = |of: fn(&client::ClientReport) -> u32| status.clients.iter().map(of).sum::<u32>();
        (status.clients.len(), sum(|c| c.running), sum(|c| c.waiting))
    };
    let before = descriptors(node);
    nodes.machine.write("large", &large);
    nodes.machine.write("small", "hang");
    let words = format!("core run {} large small --nodes {address}", nodes.specimen);
    let mut job = nodes.machine.start(&words);
    until("a worker works", || children(node).iter().any(|&worker| ticks(worker) >= 10));
    let workers = children(node);
    until("the other task waits", || clients() == (2, 1, 1));
    job.child.kill().unwrap();
    until("its workers are gone", || !workers.iter().any(|&worker| is_alive(worker)));
    until("no file is left", || nodes.scratch("a") == 0);
    until_descriptors_are(node, before);
    assert_eq!(clients(), (1, 0, 0), "nobody is left but the one that asks");
    assert_eq!(text(&nodes.core(&nodes.connect()).run("echo next").unwrap()), "next");
}

// Much of everything.

#[test]
fn thousands_of_tasks_come_back_in_order() {
    let nodes = Nodes::start(&["a", "b"]);
    let core = nodes.core(&nodes.connect());
    let inputs = (0..5000).map(|n| format!("echo {n}"));
    for (n, result) in core.map(inputs).enumerate() {
        assert_eq!(text(&result.unwrap()), n.to_string());
    }
}

#[test]
fn jobs_that_are_dropped_leave_room_for_the_next() {
    let nodes = Nodes::start(&["a", "b"]);
    let core = nodes.core(&nodes.connect());
    for _ in 0..3 {
        let mut results = core.map(vec!["sleep 5"; 2000]);
        assert_eq!(text(&results.next().unwrap().unwrap()), "5");
        drop(results);
        drop(core.map_unordered(vec!["hang"; 2000]));
        let handles: Vec<_> = (0..2000).map(|_| core.submit("hang")).collect();
        handles.iter().for_each(client::Handle::cancel);
        assert!(handles.into_iter().all(|handle| why(handle.join()) == Why::Cancelled));
        assert!(core.map(vec!["echo next"; 4]).all(|result| text(&result.unwrap()) == "next"));
    }
    let cluster = nodes.connect();
    until("nothing runs", || {
        let status = cluster.status(PATIENCE);
        let reports = status.into_iter().map(|node| node.report.unwrap());
        reports.flat_map(|report| report.clients).all(|c| c.running + c.waiting == 0)
    });
}

/// What a payload of `count` bytes holds: no two pieces of it are alike.
fn pattern(count: usize, seed: u64) -> Vec<u8> {
    let words =
        (0..count.div_ceil(8) as u64).map(|n| (n ^ seed).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    words.flat_map(u64::to_le_bytes).take(count).collect()
}

/// Twenty MiB there and back, several at once; outputs that outgrow their inputs.
fn check_large_payloads(core: &Core) {
    let payloads: Vec<Vec<u8>> = (0..4).map(|seed| pattern(20 << 20, seed)).collect();
    let inputs: Vec<Vec<u8>> =
        payloads.iter().map(|bytes| [b"echo ", &bytes[..]].concat()).collect();
    for (result, payload) in core.map(inputs).zip(&payloads) {
        assert!(result.unwrap()[..] == payload[..], "a payload came back changed");
    }
    let small = core.submit("echo small");
    let zeros = core.run(format!("zeros {}", 20 << 20)).unwrap();
    assert!(zeros.len() == 20 << 20 && zeros.iter().all(|&byte| byte == 0));
    assert_eq!(text(&small.join().unwrap()), "small");
    let input = [b"grow ", &pattern(3 << 20, 9)[..]].concat();
    let output = core.run(input.clone()).unwrap();
    assert!(
        output.chunks(input.len()).all(|third| third == input) && output.len() == 3 * input.len()
    );
}

#[test]
fn large_payloads_arrive_whole_over_tls() {
    let nodes = Nodes::start(&["a", "b"]);
    check_large_payloads(&nodes.core(&nodes.connect()));
}

#[test]
fn large_payloads_arrive_whole_over_the_unix_socket() {
    let machine = Machine::new();
    let specimen = machine.core(SPECIMEN);
    let mut node = machine.start("node --listen 127.0.0.1:0 --slots 2 --name a");
    let line = node.line_with("listening at /");
    let path = line.trim_start_matches("listening at ");
    let cluster = Cluster::connect_with([path], &machine.home()).unwrap();
    check_large_payloads(&cluster.core(specimen).unwrap());
}

#[test]
fn a_large_core_is_sent_once_to_each_node() {
    let nodes = Nodes::start(&["a", "b", "c"]);
    // The loader passes over what follows the last section.
    let mut library = std::fs::read(&nodes.specimen).unwrap();
    library.extend(pattern((8 << 20) - library.len(), 1));
    let cluster = nodes.connect();
    let core = cluster.core_from("large.so", library.clone());
    let mut by = BTreeSet::new();
    until("every node has run a task", || {
        let results = core.map(vec!["sleep 20"; 6]);
        by.extend(results.map(|result| result.unwrap().node().to_owned()));
        by.len() == 3
    });
    assert_eq!(cluster.uploaded(), 3 * (8 << 20));

    let later = nodes.connect();
    let core = later.core_from("large.so", library);
    assert!(core.map(vec!["sleep 20"; 12]).all(|result| text(&result.unwrap()) == "20"));
    assert_eq!(later.uploaded(), 0, "the nodes have it already");
}
