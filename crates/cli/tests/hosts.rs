//! Nodes and clients on hosts of their own: cables that are pulled, lines that are slow, disks that
//! are full, hosts that come back.
//!
//! Most of these need root and `ip`, and say so where they are skipped.

#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, reason = "these are tests")]

mod support;

use std::collections::BTreeSet;
use std::process::Command;
use std::time::{Duration, Instant};

use client::{Cluster, Core, Failure, Output};
use support::hosts::{Host, Hosts};
use support::line::Line;
use support::process::{children, is_alive};
use support::{Machine, PATIENCE, Running, skipped, under, until};

const SPECIMEN: &str = "misbehaving/specimen.c";
const MIB: usize = 1 << 20;

fn text(output: &Output) -> &str {
    std::str::from_utf8(output).unwrap()
}

/// The specimen, so many bytes long: the loader passes over what follows the last section.
fn large(machine: &Machine, length: usize) -> (String, Vec<u8>) {
    let mut library = std::fs::read(machine.core(SPECIMEN)).unwrap();
    let words = (0..length as u64 / 8).map(|n| n.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    library.extend(words.flat_map(u64::to_le_bytes));
    library.truncate(length);
    let path = machine.write("liblarge.so", &library);
    (path.to_str().unwrap().to_owned(), library)
}

/// Tasks that are not all alike, and their answers.
fn mixture(count: usize, least: usize) -> (Vec<String>, Vec<String>) {
    let time = |n: usize| least + n % 37;
    let inputs = (0..count).map(|n| format!("sleep {}", time(n))).collect();
    (inputs, (0..count).map(|n| time(n).to_string()).collect())
}

fn works(core: &Core, node: &str) -> bool {
    core.map(vec!["sleep 20"; 12]).any(|result| result.is_ok_and(|output| output.node() == node))
}

#[track_caller]
fn until_all_work(core: &Core, nodes: &[&str]) {
    for node in nodes {
        until(&format!("{node} works"), || works(core, node));
    }
}

fn connect(client: &Host, to: &[&Host]) -> Cluster {
    let addresses: Vec<String> = to.iter().map(|host| host.address()).collect();
    Cluster::connect_with(addresses, &client.machine.home()).unwrap()
}

// Hosts that cannot be reached.

/// Three of four nodes are cut off while a job runs, each in another way, and a fourth for a moment.
#[test]
fn a_job_goes_round_hosts_that_cannot_be_reached_and_uses_them_when_they_can_be_again() {
    let Some(hosts) = Hosts::new("a partition") else { return };
    let [a, b, c, d, e, you] = ["a", "b", "c", "d", "e", "you"].map(|name| hosts.host(name));
    let _first = a.start_node("--slots 2");
    let _others = [&b, &c, &d, &e].map(|host| host.join_node(&a, "--slots 2"));
    you.join_client(&a);
    let specimen = you.machine.core(SPECIMEN);
    you.inside(|| {
        let cluster = connect(&you, &[&a]);
        assert_eq!(cluster.wait_for_nodes(5, PATIENCE), 5);
        let core = cluster.core(&specimen).unwrap().retries(5);
        let names = ["a", "b", "c", "d", "e"];
        until_all_work(&core, &names);

        let (inputs, answers) = mixture(300, 100);
        let mut results = core.map_unordered(inputs);
        let mut got = vec![None; answers.len()];
        let mut take = |results: &mut dyn Iterator<Item = (u64, Result<Output, Failure>)>,
                        until: usize| {
            while got.iter().flatten().count() < until {
                let (at, result) = results.next().unwrap();
                let output = result.unwrap();
                assert!(got[at as usize].is_none(), "the result of {at} came twice");
                assert_eq!(text(&output), answers[at as usize]);
                got[at as usize] = Some(output);
            }
            got.iter().flatten().map(|output| output.node().to_owned()).collect::<BTreeSet<_>>()
        };
        let mut count = 30;
        while take(&mut results, count).len() < 5 {
            count += 1;
        }
        // In silence; answers only; questions only; and one that nobody is to notice.
        b.pull();
        c.ip(&format!("route add blackhole {}/32", you.address()));
        you.ip(&format!("route add blackhole {}/32", d.address()));
        e.pull();
        take(&mut results, count + 10);
        e.plug();
        take(&mut results, 300);
        assert!(results.next().is_none());
        let lost: BTreeSet<String> = cluster.losses().into_iter().map(|loss| loss.node).collect();
        assert_eq!(lost, BTreeSet::from(["b", "c", "d"].map(str::to_owned)));
        let statuses = cluster.status(Duration::from_secs(1));
        let silent = |name: &str| {
            let mut named = statuses.iter().filter(|s| s.name.as_deref() == Some(name));
            named.next().unwrap().report.clone().unwrap_err()
        };
        for name in ["b", "c", "d"] {
            let why = silent(name);
            let known =
                ["fell silent", "no answer", "nreach", "cannot connect", "Invalid argument"];
            assert!(known.iter().any(|words| why.contains(words)), "{name}: {why}");
        }

        b.plug();
        c.ip(&format!("route del blackhole {}/32", you.address()));
        you.ip(&format!("route del blackhole {}/32", d.address()));
        until_all_work(&core, &names);
    });
}

#[test]
fn whoever_waits_for_a_job_is_told_which_node_was_lost() {
    let Some(hosts) = Hosts::new("a host that dies") else { return };
    let [a, b, you] = ["a", "b", "you"].map(|name| hosts.host(name));
    let _a = a.start_node("--slots 1");
    let mut node = b.join_node(&a, "--slots 1");
    you.join_client(&a);
    let specimen = you.machine.core(SPECIMEN);
    let (inputs, answers) = mixture(60, 100);
    you.machine.write("in", inputs.join("\n"));
    let at = a.address();
    let job = you.start(&format!("core run {specimen} --lines in --nodes {at} --json"));
    until("b has work", || !children(node.child.id()).is_empty());
    node.child.kill().unwrap();
    let ran = job.finish();
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    let lines: Vec<&str> = ran.stdout.lines().collect();
    for (n, (line, answer)) in lines.iter().zip(&answers).enumerate() {
        let fits = line.contains(&format!(r#""index":{n},"#))
            && line.contains(&format!(r#""output":"{answer}""#));
        assert!(fits, "result {n} is {line}");
    }
    assert_eq!(lines.len(), answers.len());
    let words = format!("warning[E0222]: node b at {}:4114 was lost: ", b.address());
    assert!(ran.stderr.contains(&words), "{}", ran.stderr);
}

// Hosts that come back.

#[test]
fn a_node_that_starts_again_has_its_place_and_its_blobs_even_at_another_address() {
    let Some(hosts) = Hosts::new("a restart") else { return };
    let [a, b, you] = ["a", "b", "you"].map(|name| hosts.host(name));
    let _a = a.start_node("--slots 1");
    let mut node = b.join_node(&a, "--slots 1");
    you.join_client(&a);
    let (_, library) = large(&you.machine, 2 * MIB);
    let join = format!("--slots 1 --join {}", a.address());
    you.inside(|| {
        let cluster = connect(&you, &[&a]);
        let core = cluster.core_from("large.so", library.clone());
        until_all_work(&core, &["a", "b"]);
        node.child.kill().unwrap();
        node.child.wait().unwrap();
        node = b.start_node(&join);
        until_all_work(&core, &["a", "b"]);
        assert_eq!(cluster.losses().into_iter().map(|l| l.node).collect::<Vec<_>>(), ["b"]);

        // What it has kept it need not be sent again, even by a client that never was there.
        let keeps = || {
            let statuses = cluster.status(PATIENCE);
            let mut named = statuses.into_iter().filter(|s| s.name.as_deref() == Some("b"));
            named.next().is_some_and(|s| s.report.is_ok_and(|report| report.blobs == 1))
        };
        until("b keeps the core", keeps);
        let later = connect(&you, &[&a]);
        let core = later.core_from("large.so", library.clone());
        until_all_work(&core, &["a", "b"]);
        assert_eq!(later.uploaded(), 0);

        node.child.kill().unwrap();
        node.child.wait().unwrap();
        b.ip(&format!("addr del {}/24 dev eth0", b.address()));
        b.ip("addr add 10.77.0.99/24 dev eth0");
        let words = format!("node --name b --listen 10.77.0.99:4114 {join}");
        node = b.start(&words);
        node.line_with("listening at 10.77.0.99");
        until_all_work(&core, &["a", "b"]);
        let addresses: Vec<String> =
            later.status(PATIENCE).into_iter().map(|s| s.address).collect();
        assert!(addresses.contains(&"10.77.0.99:4114".to_owned()), "{addresses:?}");
    });
}

#[test]
fn two_nodes_of_one_name_are_told_apart_by_name_and_address() {
    let Some(hosts) = Hosts::new("two of one name") else { return };
    let [a, b, c, you] = ["a", "b", "c", "you"].map(|name| hosts.host(name));
    let _a = a.start_node("--slots 1");
    let _b = b.join_node(&a, "--slots 1");
    you.join_client(&a);
    let (at, token) = (a.address(), a.token("node"));
    let there = c.address();
    let second =
        format!("node --name b --listen {there}:4114 --join {at} --token {token} --slots 1");
    let mut second = c.start(&second);
    second.line_with("listening at 10.");
    let mut stderr = std::io::BufReader::new(second.child.stderr.take().unwrap());
    let mut warning = String::new();
    while !warning.contains("help") {
        assert_ne!(std::io::BufRead::read_line(&mut stderr, &mut warning).unwrap(), 0, "{warning}");
    }
    let words =
        format!("two nodes call themselves b, one at {}:4114 and one at {there}:4114", b.address());
    assert!(warning.contains(&words), "{warning}");
    assert!(warning.contains("--name"), "{warning}");
    // The first one serves on.
    let specimen = you.machine.core(SPECIMEN);
    you.inside(|| {
        let cluster = connect(&you, &[&a]);
        until_all_work(&cluster.core(&specimen).unwrap(), &["a", "b"]);
        let addresses: Vec<String> =
            cluster.status(PATIENCE).into_iter().map(|s| s.address).collect();
        assert!(!addresses.contains(&format!("{there}:4114")), "{addresses:?}");
    });
}

// Ways through the network.

#[test]
fn a_large_core_leaves_its_client_once_however_many_nodes_there_are() {
    let Some(hosts) = Hosts::new("counting bytes") else { return };
    let [a, b, c, d, you] = ["a", "b", "c", "d", "you"].map(|name| hosts.host(name));
    let _first = a.start_node("--slots 1");
    let _others = [&b, &c, &d].map(|host| host.join_node(&a, "--slots 1"));
    you.join_client(&a);
    let length = 16 * MIB;
    let (_, library) = large(&you.machine, length);
    let before = you.sent();
    you.inside(|| {
        let cluster = connect(&you, &[&a]);
        assert_eq!(cluster.wait_for_nodes(4, PATIENCE), 4);
        let core = cluster.core_from("large.so", library);
        until_all_work(&core, &["a", "b", "c", "d"]);
        assert_eq!(cluster.uploaded(), length as u64);
    });
    let sent = you.sent() - before;
    assert!(
        sent < (length + length / 4) as u64,
        "{sent} bytes left the client for a core of {length}"
    );
}

/// Two nodes that their client reaches do not reach each other: in silence, and with an answer.
#[test]
fn a_large_core_that_nodes_cannot_pass_on_is_sent_by_the_client() {
    let Some(hosts) = Hosts::new("nodes that are parted") else { return };
    let [a, b, c, you] = ["a", "b", "c", "you"].map(|name| hosts.host(name));
    let _a = a.start_node("--slots 1");
    let _others = [&b, &c].map(|host| host.join_node(&a, "--slots 1"));
    you.join_client(&a);
    let length = 2 * MIB;
    let (_, library) = large(&you.machine, length);
    you.inside(|| {
        let cluster = connect(&you, &[&a]);
        assert_eq!(cluster.wait_for_nodes(3, PATIENCE), 3);
        for (from, to) in [(&a, &b), (&c, &b), (&c, &a), (&a, &c)] {
            let kind = if from.name == "a" { "blackhole" } else { "prohibit" };
            from.ip(&format!("route add {kind} {}/32", to.address()));
        }
        let core = cluster.core_from("large.so", library);
        until_all_work(&core, &["a", "b", "c"]);
        assert_eq!(cluster.uploaded(), 3 * length as u64);
    });
}

#[test]
fn a_cluster_is_joined_and_used_by_ipv6_and_by_names_of_hosts() {
    let Some(hosts) = Hosts::new("IPv6") else { return };
    let [a, b, you] = ["a", "b", "you"].map(|name| hosts.host(name));
    let start = |host: &Host, words: &str| {
        let (name, at) = (&host.name, host.address_6());
        let mut node =
            host.start(&format!("node --name {name} --listen [{at}]:4114 --slots 1 {words}"));
        node.line_with("listening at [fd77");
        node
    };
    let _a = start(&a, "");
    b.know(&[("head", &a.address_6())]);
    you.know(&[("head", &a.address_6())]);
    let _b = start(&b, &format!("--join head --token {}", a.token("node")));
    let token = a.token("client");
    let to = format!("[{}]:4114", a.address_6());
    you.run(&format!("auth join {to} --token {token} --name you")).says("the client you");
    let specimen = you.machine.core(SPECIMEN);
    let (inputs, answers) = mixture(40, 20);
    you.machine.write("in", inputs.join("\n"));
    for to in [&*to, "head", "head:4114", &a.address_6()] {
        until(&format!("both work for who knows {to}"), || {
            let ran = you.run(&format!("core run {specimen} --lines in --nodes {to} --json"));
            assert_eq!(ran.code, Some(0), "{to}: {}", ran.stderr);
            assert_eq!(ran.stdout.lines().count(), answers.len());
            ran.stdout.contains(r#""node":"a""#) && ran.stdout.contains(r#""node":"b""#)
        });
    }
}

// Slow lines.

/// Nodes of one slot on one machine that do not know each other; `slow` is at the end of a slow line.
struct Slow {
    machine: Machine,
    _nodes: [Running; 2],
    fast: String,
    slow: Line,
}

impl Slow {
    fn start(latency: Duration, rate: usize) -> Self {
        let machine = Machine::new();
        let (a, fast) = machine.start_node("--name fast --slots 1");
        let (b, slow) = machine.start_node("--name slow --slots 1");
        Self { machine, _nodes: [a, b], fast, slow: Line::start(&slow, latency, rate) }
    }

    fn connect(&self, addresses: &[&str]) -> Cluster {
        let cluster = Cluster::connect_with(addresses, &self.machine.home()).unwrap();
        assert_eq!(cluster.wait_for_nodes(addresses.len(), PATIENCE), addresses.len());
        cluster
    }
}

/// Whoever gave each node half of the job at its beginning would wait 12 s for the slow line alone.
#[test]
fn a_node_at_the_end_of_a_slow_line_does_not_hold_up_a_job() {
    let rate = 32 << 10;
    let slow = Slow::start(Duration::from_millis(50), rate);
    let specimen = slow.machine.core(SPECIMEN);
    let (count, length) = (100, 8 << 10);
    let input = format!("sleep 20{}", " ".repeat(length));
    let time = |cluster: &Cluster, nodes: &[&str]| {
        let core = cluster.core(&specimen).unwrap();
        until_all_work(&core, nodes);
        let begin = Instant::now();
        let results = core.map(vec![input.clone(); count]);
        let by: Vec<String> = results.map(|result| result.unwrap().node().to_owned()).collect();
        (begin.elapsed(), by.iter().filter(|node| *node == "slow").count())
    };
    let (alone, _) = time(&slow.connect(&[&slow.fast]), &["fast"]);
    let both = slow.connect(&[&slow.fast, &slow.slow.address]);
    let (together, by_slow) = time(&both, &["fast", "slow"]);
    // What was on the line when the queue ran dry has to arrive: a few tasks of a quarter second.
    let bound = alone + alone / 2 + Duration::from_secs(4);
    assert!(
        together < bound,
        "alone {alone:?}; with the slow one, which did {by_slow}, {together:?}"
    );
}

#[test]
fn a_large_payload_on_a_slow_line_holds_up_neither_small_tasks_nor_the_link() {
    let slow = Slow::start(Duration::from_millis(20), MIB);
    let cluster = slow.connect(&[&slow.slow.address]);
    let core = cluster.core(slow.machine.core(SPECIMEN)).unwrap().retries(0);
    core.run("noop").unwrap();
    let payload = vec![b'x'; if soak() { 32 * MIB } else { 4 * MIB }];
    let begin = Instant::now();
    let handle = core.submit([b"echo ", &payload[..]].concat());
    for n in 0..5 {
        assert_eq!(text(&core.run(format!("echo {n}")).unwrap()), n.to_string());
    }
    let small = begin.elapsed();
    let output = handle.join().unwrap();
    let all = begin.elapsed();
    assert!(output[..] == payload[..]);
    assert!(small * 2 < all, "five small tasks took {small:?}, the large one {all:?}");
    assert_eq!(cluster.losses(), []);
}

fn soak() -> bool {
    std::env::var_os("FARCALL_SOAK").is_some()
}

// Too little of everything.

/// What runs with a tmpfs of one MiB at `folder`, which nobody else sees and which goes with it.
fn with_small_disk(command: &Command, folder: &str) -> Command {
    let script = r#"mount -t tmpfs -o size=1m none "$0" && exec "$@""#;
    under(&["unshare", "--mount", "sh", "-c", script, folder], command)
}

#[test]
fn a_node_whose_disk_is_full_says_so_and_lives_on() {
    let machine = Machine::new();
    let disk = machine.path("disk");
    std::fs::create_dir(&disk).unwrap();
    let disk = disk.to_str().unwrap();
    let mounts = with_small_disk(machine.command(["--version"]).current_dir("/"), disk).output();
    if !mounts.is_ok_and(|ran| ran.status.success()) {
        skipped("a full disk needs the right to mount one (root)");
        return;
    }
    let words = format!("node --listen 127.0.0.1:0 --name small --slots 1 --data {disk}");
    let node = machine.command(words.split_whitespace());
    let mut small = Running::of(&mut with_small_disk(&node, disk));
    let address = small.line_with("listening at 127.");
    let address = address.trim_start_matches("listening at ").to_owned();
    let (core, _) = large(&machine, 4 * MIB);
    let specimen = machine.core(SPECIMEN);
    machine.write("in", "echo 1\necho 2\necho 3\n");

    // A task that is there already does not notice.
    let mut busy = machine.start(&format!("core run {specimen} --lines busy --nodes {address}"));
    drop(busy.child.wait());
    machine.write("busy", "sleep 3000\n");
    let busy = machine.start(&format!("core run {specimen} --lines busy --nodes {address}"));
    let run = |core: &str, nodes: &str| {
        machine.run(&format!("core run {core} --lines in --nodes {nodes}"))
    };
    let ran = run(&core, &address);
    ran.complains(&[
        "cannot store blob",
        "No space left on device",
        "make room there, or start the node with another --data",
    ]);
    let (_large, other) = machine.start_node("--name large --slots 1");
    let ran = run(&core, &format!("{address},{other}"));
    assert_eq!((ran.code, &*ran.stdout), (Some(0), "1\n2\n3\n"), "{}", ran.stderr);
    let ran = busy.finish();
    assert_eq!((ran.code, &*ran.stdout), (Some(0), "3000\n"), "{}", ran.stderr);
    let ran = run(&specimen, &address);
    assert_eq!((ran.code, &*ran.stdout), (Some(0), "1\n2\n3\n"), "{}", ran.stderr);
    assert!(is_alive(small.child.id()));
}

/// The same with at most so many descriptors.
fn with_descriptors(command: &Command, count: u32) -> Command {
    let script = format!("ulimit -n {count} && exec \"$@\"");
    under(&["sh", "-c", &script, "sh"], command)
}

fn node_with(machine: &Machine, count: u32) -> Running {
    let words = "node --listen 127.0.0.1:0 --name few --slots 4".split_whitespace();
    Running::of(&mut with_descriptors(&machine.command(words), count))
}

#[test]
fn five_thousand_tasks_end_though_the_node_may_open_64_files() {
    let machine = Machine::new();
    let mut node = node_with(&machine, 64);
    let address =
        node.line_with("listening at 127.").trim_start_matches("listening at ").to_owned();
    let cluster = Cluster::connect_with([&address], &machine.home()).unwrap();
    let core = cluster.core(machine.core(SPECIMEN)).unwrap();
    let results = core.map((0..5000).map(|n| format!("echo {n}")));
    for (n, result) in results.enumerate() {
        assert_eq!(text(&result.unwrap()), n.to_string());
    }
    // Each large payload on its way needs a descriptor.
    let payload = |n: usize| [format!("echo {n} ").into_bytes(), vec![b'x'; 100_000]].concat();
    for (n, result) in core.map((0..200).map(payload)).enumerate() {
        assert!(result.unwrap()[..] == payload(n)[5..], "the payload of {n}");
    }
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", node.child.id())).unwrap();
    let files = limits.lines().find(|line| line.starts_with("Max open files")).unwrap();
    assert_eq!(files.split_whitespace().nth(4), Some("64"), "{files}");
}

#[test]
fn five_thousand_tasks_end_though_the_client_may_open_64_files() {
    let machine = Machine::new();
    let nodes: Vec<(Running, String)> =
        (0..3).map(|n| machine.start_node(&format!("--name n{n} --slots 2"))).collect();
    let addresses: Vec<&str> = nodes.iter().map(|(_, address)| &**address).collect();
    let lines: Vec<String> = (0..5000).map(|n| format!("echo {n}")).collect();
    machine.write("in", lines.join("\n"));
    let words =
        format!("core run {} --lines in --nodes {}", machine.core(SPECIMEN), addresses.join(","));
    let run = machine.command(words.split_whitespace());
    let ran = Running::of(&mut with_descriptors(&run, 64)).finish();
    let answers: String = (0..5000).map(|n| format!("{n}\n")).collect();
    assert_eq!((ran.code, &*ran.stderr), (Some(0), ""));
    assert!(ran.stdout == answers, "something was lost or changed");
}

#[test]
fn who_may_open_too_few_files_is_told_so() {
    let machine = Machine::new();
    machine.run("auth init").says("");
    let ran = node_with(&machine, 8).finish();
    assert_eq!(ran.code, Some(1), "{ran:?}");
    assert!(ran.stderr.contains("Too many open files"), "{}", ran.stderr);
    // Enough to listen, to hear a client and to keep its program, too few for a worker: the task says so.
    let mut idle = node_with(&machine, 64);
    idle.line_with("listening at 127.");
    let open = std::fs::read_dir(format!("/proc/{}/fd", idle.child.id())).unwrap().count();
    drop(idle);
    let mut node = node_with(&machine, open as u32 + 2);
    let address =
        node.line_with("listening at 127.").trim_start_matches("listening at ").to_owned();
    machine.write("in", "echo 1");
    machine.run(&format!("core run {} in --nodes {address}", machine.core(SPECIMEN))).complains(&[
        "1 task failed",
        "cannot make a worker",
        "Too many open files",
    ]);
    assert!(is_alive(node.child.id()));
    let scratch = machine.path("state/farcall/few/scratch");
    let left = std::fs::read_dir(scratch).unwrap().count();
    assert_eq!(left, 0, "workers that never were have left their folders");
}
