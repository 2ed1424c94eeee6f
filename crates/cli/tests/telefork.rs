//! Copies of this very process on nodes: where they wake, what they have, and what comes back.

#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, reason = "these are tests")]

mod support;

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::FileExt;
use std::process::exit;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;

use client::{Cluster, Telefork, TeleforkAll, TravelError, Why};
use support::middle::Middle;
use support::process::{children, descriptors, is_alive};
use support::target::Target;
use support::{Machine, Running, until};

/// Children and descriptors of this process are counted: one test at a time.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Two nodes of one cluster.
struct Pair {
    machine: Machine,
    nodes: Vec<Running>,
    cluster: Cluster,
}

impl Pair {
    fn start() -> Self {
        let machine = Machine::new();
        // Behind Landlock and another account a process cannot be filled yet.
        let (first, address) = machine.start_node("--name one --slots 3 --jail none");
        let words = format!("--name two --slots 3 --jail none --join {address}");
        let (second, _) = machine.start_node(&words);
        let cluster = Cluster::connect_with([&address], &machine.home()).unwrap();
        assert_eq!(cluster.wait_for_nodes(2, support::PATIENCE), 2);
        Self { machine, nodes: vec![first, second], cluster }
    }

    fn prepare(&self) {
        ["one", "two"].iter().for_each(|node| self.cluster.prepare(node).unwrap());
    }
}

/// An error and its causes.
fn chain(error: &dyn std::error::Error) -> String {
    let cause = error.source().map_or_else(String::new, chain);
    format!("{error}: {cause}")
}

fn parent_of_self() -> i32 {
    std::os::unix::process::parent_id() as i32
}

#[test]
fn a_call_runs_elsewhere_with_all_that_it_captured() {
    let _alone = alone();
    let pair = Pair::start();
    let (own, words) = (std::process::id(), vec!["one".to_owned(), "two".to_owned()]);
    // Each node keeps what it has of this process, over a connection that stays.
    pair.prepare();
    let before = descriptors(own);
    // Threads that are not taken along.
    let (end, ended) = std::sync::mpsc::channel::<()>();
    let other = thread::spawn(move || ended.recv());
    let calls: Vec<_> = (0..6_usize)
        .map(|at| {
            let words = &words;
            pair.cluster
                .fork_call(move || (at, words.join("+"), std::process::id(), parent_of_self()))
        })
        .collect();
    let nodes: Vec<String> = calls.iter().map(|call| call.node().unwrap().to_owned()).collect();
    assert_eq!(nodes.iter().filter(|node| *node == "one").count(), 3, "{nodes:?}");
    for (number, call) in calls.into_iter().enumerate() {
        let node = call.node().unwrap().to_owned();
        let (at, text, pid, parent) = call.join().unwrap();
        assert_eq!((at, &text[..]), (number, "one+two"));
        assert_ne!(pid, own);
        assert_ne!(parent as u32, own, "its parent is the pad of {node}");
        until("it has ended over there", || !is_alive(pid));
    }
    drop(end);
    let _ = other.join();
    until("no twin and no descriptor is left", || {
        let left = children(own);
        let nodes: Vec<u32> = pair.nodes.iter().map(|node| node.child.id()).collect();
        left.iter().all(|child| nodes.contains(child)) && descriptors(own) <= before
    });
}

#[test]
fn a_panic_or_an_end_over_there_is_an_error_here_with_its_words() {
    let _alone = alone();
    let pair = Pair::start();
    let call = pair.cluster.fork_call_on("two", || -> u32 {
        let number = 7;
        panic!("no {number} today")
    });
    let error = call.join().unwrap_err();
    let TravelError::Panicked { node, words } = &error else { panic!("{error}") };
    assert_eq!((&node[..], &words[..]), ("two", "no 7 today"));
    let error = pair.cluster.fork_call_on("one", || -> u32 { exit(3) }).join().unwrap_err();
    assert!(matches!(error, TravelError::Unanswered { status: 3, .. }), "{error}");
    let error = pair.cluster.fork_call_on("nowhere", || 1).join().unwrap_err();
    assert!(matches!(error, TravelError::Unsent { .. }), "{error}");
    assert!(chain(&error).contains("nowhere"), "{error}");
    // A large result, and one of nothing.
    let long = pair.cluster.fork_call(|| vec![7_u8; 3 << 20]).join().unwrap();
    assert!(long.len() == 3 << 20 && long.iter().all(|byte| *byte == 7));
    pair.cluster.fork_call(|| ()).join().unwrap();
}

#[test]
fn each_copy_wakes_with_its_number_and_ends_with_its_own_status() {
    let _alone = alone();
    let pair = Pair::start();
    let mut number = 103;
    match pair.cluster.telefork("one").unwrap() {
        Telefork::Child(0) => exit(number),
        Telefork::Child(_) => exit(1),
        Telefork::Parent(copy) => {
            number += 1;
            assert!(copy.wait_until_awake().is_some());
            assert!(copy.sent() > 100_000, "{}", copy.sent());
            assert_eq!(copy.node(), "one");
            assert_eq!(copy.wait().unwrap(), 103);
        }
    }
    assert_eq!(number, 104);
    match pair.cluster.telefork_all(["one", "two", "one"]).unwrap() {
        TeleforkAll::Child(at) => exit(20 + at as i32),
        TeleforkAll::Parent(copies) => {
            let told: Vec<_> = copies
                .into_iter()
                .map(|copy| (copy.number(), copy.node().to_owned(), copy.wait().unwrap()))
                .collect();
            let said = [(0, "one".into(), 20), (1, "two".into(), 21), (2, "one".into(), 22)];
            assert_eq!(told, said);
        }
    }
}

#[test]
fn what_was_under_way_fails_in_a_copy_and_says_so() {
    let _alone = alone();
    let pair = Pair::start();
    let cluster = &pair.cluster;
    let core = cluster.core(pair.machine.core("misbehaving/specimen.c")).unwrap();
    let region = cluster.create_memory("before", &client::RegionOptions::new(4)).unwrap();
    let earlier = cluster.fork_call(|| 1);
    let running = core.submit("sleep 50");
    let mut mapped = core.map(["echo a", "echo b"]);
    let earlier = Mutex::new(Some(earlier));
    let running = Mutex::new(Some(running));
    let told = cluster.fork_call(|| {
        let earlier = earlier.lock().unwrap().take().unwrap();
        let running = running.lock().unwrap().take().unwrap();
        let why = running.join().unwrap_err().why;
        let words = why.to_string();
        (why == Why::Copied, words, earlier.join().unwrap_err().to_string())
    });
    let (is_copied, one, other) = told.join().unwrap();
    assert!(is_copied);
    for text in [&one, &other] {
        assert!(text.contains("ask again"), "{text}");
    }
    // The original's are as they were.
    assert_eq!(mapped.next().unwrap().unwrap().as_ref(), b"a");
    assert_eq!(core.run("echo well").unwrap().as_ref(), b"well");
    assert_eq!(earlier.lock().unwrap().take().unwrap().join().unwrap(), 1);
    assert_eq!(region.pages(), 4);
    running.lock().unwrap().take().unwrap().cancel();
}

#[test]
fn a_copy_links_to_the_cluster_by_itself_for_tasks_calls_and_regions() {
    let _alone = alone();
    let pair = Pair::start();
    let cluster = &pair.cluster;
    let core = cluster.core(pair.machine.core("misbehaving/specimen.c")).unwrap();
    let region = cluster.create_memory("shared", &client::RegionOptions::new(4)).unwrap();
    let told = cluster.fork_call_on("one", || {
        let mut input = Vec::new();
        let read = std::io::stdin().read_to_end(&mut input).unwrap();
        let own = std::process::id();
        assert_eq!(cluster.wait_for_nodes(2, support::PATIENCE), 2);
        // With what was made before the copy, and with what is made in it.
        let tasks: Vec<String> =
            core.map(["echo a"; 8]).map(|output| output.unwrap().node().to_owned()).collect();
        let anew = cluster.core_from("anew", std::fs::read(library(&pair.machine)).unwrap());
        let fresh = anew.run("echo new").unwrap().as_ref().to_vec();
        let nested = cluster.fork_call_on("two", || (std::process::id(), parent_of_self()));
        let (pid, parent) = nested.join().unwrap();
        cluster.memory("shared").unwrap().page(1).update(0, b"from a copy").unwrap();
        let status = match cluster.telefork("two").unwrap() {
            Telefork::Child(0) => exit(cluster.fork_call_on("one", || 40).join().unwrap() + 2),
            Telefork::Child(_) => exit(1),
            Telefork::Parent(copy) => copy.wait().unwrap(),
        };
        (read, tasks, fresh, pid != own && parent as u32 != own, status)
    });
    let (read, tasks, fresh, elsewhere, status) = told.join().unwrap();
    assert_eq!(read, 0, "its input is empty");
    assert!(tasks.iter().any(|node| node == "two"), "{tasks:?}");
    assert_eq!((&fresh[..], elsewhere, status), (&b"new"[..], true, 42));
    let page = region.page(1).read().unwrap().bytes;
    assert!(page.starts_with(b"from a copy"));
}

fn library(machine: &Machine) -> std::path::PathBuf {
    machine.path("libspecimen.so")
}

/// What a copy says when it uses this cluster.
fn said_in_a_copy(cluster: &Cluster, node: &str) -> Vec<String> {
    let core = cluster.core_from("none", b"none".to_vec());
    let told = cluster.fork_call_on(node, || {
        vec![
            core.run("x").unwrap_err().why.to_string(),
            cluster.fork_call(|| 2).join().unwrap_err().to_string(),
            cluster.telefork("one").unwrap_err().to_string(),
            chain(&cluster.memory("none").unwrap_err()),
        ]
    });
    told.join().unwrap()
}

#[test]
fn without_the_authoritys_key_a_copy_says_that_nobody_signs_for_it_and_still_answers() {
    let _alone = alone();
    let target = Target::start_with("--jail none");
    // As where one has joined: a certificate, and no key that signs.
    let joined = target.machine.path("joined");
    let authority = transport::Authority::load(&target.machine.home()).unwrap().unwrap();
    let name = "joined".parse().unwrap();
    let request = transport::make_csr(&name).unwrap();
    let now = std::time::SystemTime::now();
    let signed = authority.sign(request.csr(), transport::Role::Client, &name, now).unwrap();
    request.finish_in(&joined, signed, authority.certificate().clone()).unwrap();
    let cluster = Cluster::connect_with([&target.address], &joined).unwrap();
    let said = said_in_a_copy(&cluster, "target");
    let all = said.iter().all(|text| {
        text.contains("authority's key is not in") && text.contains("connect anew with credentials")
    });
    assert!(all && said.len() == 4, "{said:#?}");
}

#[test]
fn over_a_unix_socket_a_copy_says_that_it_has_no_way_to_the_cluster() {
    let _alone = alone();
    let machine = Machine::new();
    let socket = machine.path("node.sock");
    let words = format!("--name target --slots 1 --jail none --socket {}", socket.display());
    let (_node, _) = machine.start_node(&words);
    let nobody = machine.path("nobody");
    let cluster = Cluster::connect_with([socket.to_str().unwrap()], &nobody).unwrap();
    let said = said_in_a_copy(&cluster, "target");
    assert!(said.iter().all(|text| text.contains("closed to copies")), "{said:#?}");
    assert!(said.iter().all(|text| text.contains("--listen")), "{said:#?}");
}

/// How often any of these is in the memory of this process. They come with all bits turned, so that it is not
/// for the question that they are there.
fn count<'a>(turned: impl IntoIterator<Item = &'a Vec<u8>>) -> usize {
    let turned: Vec<_> = turned.into_iter().map(memchr::memmem::Finder::new).collect();
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
    let memory = File::open("/proc/self/mem").unwrap();
    let mut found = 0;
    for line in maps.lines().filter(|line| line.contains(" rw")) {
        let (start, end) = line.split_once(' ').unwrap().0.split_once('-').unwrap();
        let [start, end] = [start, end].map(|at| u64::from_str_radix(at, 16).unwrap());
        let mut bytes = vec![0; (end - start) as usize];
        if memory.read_exact_at(&mut bytes, start).is_err() {
            continue;
        }
        bytes.iter_mut().for_each(|byte| *byte = !*byte);
        found += turned.iter().map(|form| form.find_iter(&bytes).count()).sum::<usize>();
        // What was turned before is as it was now, and is not to be found by the next who looks.
        bytes.fill(0);
    }
    found
}

#[test]
fn private_keys_are_in_no_copy() {
    let _alone = alone();
    let target = Target::start_with("--jail none");
    let cluster = Cluster::connect_with([&target.address], &target.machine.home()).unwrap();
    let turned = |bytes: &[u8]| bytes.iter().map(|byte| !byte).collect::<Vec<u8>>();
    // From here on there is a key for copies, too.
    let before = transport::Secrets::hold().forms().len();
    cluster.fork_call(|| ()).join().unwrap();
    until("it is there", || transport::Secrets::hold().forms().len() > before);
    // The last ones are of this test.
    let forms: Vec<Vec<u8>> =
        transport::Secrets::hold().forms().iter().rev().take(32).map(|form| turned(form)).collect();
    let marker = b"what is no key travels as it is".to_vec();
    let public = [turned(&marker)];
    let here = count(&forms);
    assert!(here > 0, "the keys are nowhere to begin with");
    let (there, found) = cluster.fork_call(|| (count(&forms), count(&public))).join().unwrap();
    assert!(found > 0, "{marker:?}");
    assert_eq!(there, 0, "{here} here");
    // Nor in an image of the library's own making.
    let mut image = Vec::new();
    match client::telefork_to(&mut image).unwrap() {
        client::Location::Parent => {}
        client::Location::Child(code) => exit(code),
    }
    let is_in = |turned: &Vec<u8>| {
        let form: Vec<u8> = turned.iter().map(|byte| !byte).collect();
        memchr::memmem::find(&image, &form).is_some()
    };
    assert!(!forms.iter().any(is_in), "a key is in an image");
    assert!(is_in(&public[0]), "the image holds what is no key");
    // What a copy was handed on is not in a copy of it.
    let (handed, here, there) = cluster
        .fork_call(|| {
            cluster.wait_for_nodes(1, support::PATIENCE);
            let own: Vec<Vec<u8>> =
                transport::Secrets::hold().forms().iter().map(|form| turned(form)).collect();
            let here = count(&own);
            let nested = || count(&own);
            (own.len(), here, cluster.fork_call(nested).join().unwrap())
        })
        .join()
        .unwrap();
    assert!(handed > 0 && here > 0, "{handed} {here}");
    assert_eq!(there, 0, "{here} in the first copy");
    // Ours are what they were: new connections are made with them.
    assert_eq!(cluster.fork_call(|| 5).join().unwrap(), 5);
}

#[test]
fn a_node_that_dies_takes_its_copies_along_and_the_parent_is_told() {
    let _alone = alone();
    let pair = Pair::start();
    let copy = match pair.cluster.telefork("two").unwrap() {
        Telefork::Child(_) => loop {
            thread::park();
        },
        Telefork::Parent(copy) => copy,
    };
    let pid = copy.wait_until_awake().unwrap();
    assert!(is_alive(pid));
    pair.nodes[1].signal("KILL");
    let error = copy.wait().unwrap_err();
    assert!(matches!(error, TravelError::Lost { .. }), "{error}");
    until("it is gone with its node", || !is_alive(pid));
    assert!(pair.machine.home().exists());
}

#[test]
fn a_hundred_calls_from_several_threads_leave_nothing_behind() {
    let _alone = alone();
    let pair = Pair::start();
    let own = std::process::id();
    // What the first one makes for good.
    pair.prepare();
    pair.cluster.fork_call(|| ()).join().unwrap();
    let before = (children(own), descriptors(own), children(pair.nodes[0].child.id()));
    thread::scope(|scope| {
        for thread in 0..4_u32 {
            let cluster = &pair.cluster;
            scope.spawn(move || {
                for round in 0..25 {
                    let call = cluster.fork_call(|| thread * 100 + round);
                    assert_eq!(call.join().unwrap(), thread * 100 + round);
                }
            });
        }
    });
    until("all is as before", || {
        let now = (children(own), descriptors(own), children(pair.nodes[0].child.id()));
        now.0 == before.0 && now.1 <= before.1 && now.2.len() <= before.2.len()
    });
}

#[test]
fn copies_on_several_nodes_cost_one_sending() {
    let _alone = alone();
    let pair = Pair::start();
    let cluster = &pair.cluster;
    let ballast = filled(8 << 20);
    let right = sum(&ballast);
    match cluster.telefork_all(["one", "two", "one", "two"]).unwrap() {
        TeleforkAll::Child(at) => exit(if sum(&ballast) == right { 30 + at as i32 } else { 1 }),
        TeleforkAll::Parent(copies) => {
            for copy in &copies {
                assert!(copy.wait_until_awake().is_some());
            }
            let sent: Vec<u64> = copies.iter().map(client::Copy::sent).collect();
            assert!(sent[0] > 8 << 20 && sent[1..] == [0, 0, 0], "{sent:?}");
            let ends: Vec<i32> = copies.into_iter().map(|copy| copy.wait().unwrap()).collect();
            assert_eq!(ends, [30, 31, 32, 33]);
        }
    }
}

#[test]
fn a_copy_that_hangs_or_dies_harms_no_other_and_each_is_told_of_its_node() {
    let _alone = alone();
    let pair = Pair::start();
    pair.cluster.prepare("one").unwrap();
    let hangs = pair.cluster.fork_call_on("one", || -> u32 {
        loop {
            thread::park();
        }
    });
    let dies = pair.cluster.fork_call_on("one", || -> u32 { std::process::abort() });
    let error = dies.join().unwrap_err();
    assert!(matches!(&error, TravelError::Killed { node, signal: 6 } if node == "one"), "{error}");
    let calls: Vec<_> =
        (0..8_u32).map(|number| pair.cluster.fork_call_on("one", move || number)).collect();
    let answers: Vec<u32> = calls.into_iter().map(|call| call.join().unwrap()).collect();
    assert_eq!(answers, (0..8).collect::<Vec<u32>>());
    pair.nodes[0].signal("KILL");
    let error = hangs.join().unwrap_err();
    assert!(matches!(&error, TravelError::Lost { node, .. } if node == "one"), "{error}");
    assert_eq!(pair.cluster.fork_call_on("two", || 7).join().unwrap(), 7);
}

#[test]
fn more_copies_than_one_connection_takes_run_all_the_same_and_calls_pass_them() {
    let _alone = alone();
    let pair = Pair::start();
    pair.cluster.prepare("one").unwrap();
    let mut copies = Vec::new();
    for _ in 0..=wire::limits::CALLS_MAX {
        match pair.cluster.telefork("one").unwrap() {
            Telefork::Child(_) => loop {
                thread::park();
            },
            Telefork::Parent(copy) => copies.push(copy),
        }
    }
    assert!(copies.iter().all(|copy| copy.wait_until_awake().is_some()));
    assert_eq!(pair.cluster.fork_call_on("one", || 7).join().unwrap(), 7);
    pair.nodes[0].signal("KILL");
    for copy in copies {
        assert!(matches!(copy.wait(), Err(TravelError::Lost { .. })));
    }
}

// TF-13.
#[test]
fn the_second_copy_takes_what_changed_and_nothing_else() {
    // What sending takes of this process's own memory, a MiB or two, is to count little.
    const SIZE: usize = 2 * LARGE;
    let _alone = alone();
    let pair = Pair::start();
    let mut large = filled(SIZE);
    pair.cluster.prepare("one").unwrap();
    for round in 0..3_usize {
        for page in (round..SIZE / 4096).step_by(100) {
            large[page * 512 + 7] = round as u64;
        }
        let right = sum(&large);
        match pair.cluster.telefork("one").unwrap() {
            Telefork::Child(_) => exit(i32::from(sum(&large) != right)),
            Telefork::Parent(copy) => {
                assert!(copy.wait_until_awake().is_some());
                let share = copy.sent() as f64 / SIZE as f64;
                assert!(share <= 0.03, "{} bytes: {share}", copy.sent());
                assert_eq!(copy.wait().unwrap(), 0, "round {round}");
            }
        }
        let call = pair.cluster.fork_call_on("one", || sum(&large));
        assert_eq!(call.join().unwrap(), right);
    }
    // What is not there any more is not there in the copy.
    large.truncate(512);
    large.shrink_to_fit();
    let right = sum(&large);
    assert_eq!(pair.cluster.fork_call_on("one", || sum(&large)).join().unwrap(), right);
}

#[test]
fn who_is_behind_a_node_that_takes_no_visitor_gets_its_copy_all_the_same() {
    let _alone = alone();
    let pair = Pair::start();
    let nodes = ["one", "nowhere", "two", "one"];
    match pair.cluster.telefork_all(nodes).unwrap() {
        TeleforkAll::Child(at) => exit(40 + at as i32),
        TeleforkAll::Parent(copies) => {
            let ends: Vec<Option<i32>> = copies.into_iter().map(|copy| copy.wait().ok()).collect();
            assert_eq!(ends, [Some(40), None, Some(42), Some(43)]);
        }
    }
}

/// Memory that no two pages of are the same, and that cannot be packed.
fn filled(len: usize) -> Vec<u64> {
    let noise = |at: u64| at.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mebibyte: Vec<u64> = (1..=1 << 17).map(noise).collect();
    let mut all = mebibyte.repeat(len >> 20);
    all.iter_mut().step_by(SUMMED).zip(1_u64 << 20..).for_each(|(word, at)| *word = noise(at));
    all
}

/// Of each so many words one, some in each page: what tests are built as takes its time for all.
const SUMMED: usize = 64;

fn sum(of: &[u64]) -> u64 {
    of.iter()
        .step_by(SUMMED)
        .zip(1_u64..)
        .fold(0, |sum, (word, at)| sum.wrapping_add(word.wrapping_mul(at)))
}

const LARGE: usize = 64 << 20;

/// Whether pages can follow on this machine, said aloud.
fn follows(copy: &client::Copy) -> bool {
    let is_lazy = copy.is_lazy();
    if !is_lazy {
        eprintln!("skipped: {:?}", copy.why_not_lazy());
    }
    is_lazy
}

// TF-12.
#[test]
fn a_copy_runs_before_its_memory_came_and_has_all_of_it_in_the_end() {
    let _alone = alone();
    for jail in ["none", "user"] {
        let target = Target::start_with(&format!("--jail {jail} --socket near.sock"));
        let socket = target.machine.path("near.sock").display().to_string();
        let socket = format!("unix:{socket}");
        let addresses = [target.address.clone(), socket];
        for address in addresses {
            let cluster = Cluster::connect_with([&address], &target.machine.home()).unwrap();
            let large = filled(LARGE);
            let right = sum(&large);
            let (own, before) = (std::process::id(), descriptors(std::process::id()));
            let copy = match cluster.telefork("target").unwrap() {
                Telefork::Child(_) => exit(if sum(&large) == right { 42 } else { 1 }),
                Telefork::Parent(copy) => copy,
            };
            if !follows(&copy) {
                return;
            }
            assert!(copy.wait_until_awake().is_some());
            until("all of it has gone", || copy.sent() > LARGE as u64);
            assert_eq!(copy.wait().unwrap(), 42, "{jail} {address}");
            until("nothing of it is left", || {
                children(own).len() <= 1 && descriptors(own) <= before
            });
        }
    }
}

#[test]
fn a_copy_whose_pages_are_cut_off_ends_and_its_handle_says_why() {
    let _alone = alone();
    let target = Target::start();
    let own = std::process::id();
    // The connections are the link, the visit, and one each for all pages and for those that are waited for.
    for (lane, records) in [(2, 0), (2, 100), (3, 0), (3, 6)] {
        let cut = move |at| if at == lane { 8 + records } else { usize::MAX };
        let middle = Middle::start(&target.address, cut);
        let cluster = Cluster::connect_with([&middle.address], &target.machine.home()).unwrap();
        let before = children(target.pid());
        let large = filled(LARGE);
        let right = sum(&large);
        let copy = match cluster.telefork("target").unwrap() {
            // It needs all of it, and waits for what never comes.
            Telefork::Child(_) => exit(if sum(&large) == right { 42 } else { 1 }),
            Telefork::Parent(copy) => copy,
        };
        if !follows(&copy) {
            return;
        }
        assert!(copy.wait_until_awake().is_some(), "it runs, though its memory never comes");
        let error = copy.wait().unwrap_err();
        assert!(matches!(error, TravelError::NotFollowed { .. }), "{lane} {records}: {error}");
        until("nothing of it is left", || {
            children(own).len() <= 1 && children(target.pid()).len() <= before.len()
        });
    }
    target.check_serves();
}

#[test]
fn a_node_that_dies_while_memory_follows_takes_the_copy_along() {
    let _alone = alone();
    let pair = Pair::start();
    let own = std::process::id();
    let large = filled(4 * LARGE);
    let right = sum(&large);
    let copy = match pair.cluster.telefork("two").unwrap() {
        Telefork::Child(_) => loop {
            assert_eq!(sum(&large), right);
        },
        Telefork::Parent(copy) => copy,
    };
    if !follows(&copy) {
        return;
    }
    let pid = copy.wait_until_awake().unwrap();
    until("some of it has followed", || copy.sent() > 1 << 20);
    pair.nodes[1].signal("KILL");
    assert!(copy.sent() < 4 * LARGE as u64, "the node is killed midway");
    let error = copy.wait().unwrap_err();
    assert!(matches!(error, TravelError::Lost { .. }), "{error}");
    until("it is gone with its node, and its twin here", || {
        !is_alive(pid) && children(own).len() <= 2
    });
}

#[test]
fn several_copies_have_the_memory_of_one_moment() {
    let _alone = alone();
    let pair = Pair::start();
    let mut large = filled(LARGE);
    let right = sum(&large);
    let copies = match pair.cluster.telefork_all(["one", "two", "one"]).unwrap() {
        TeleforkAll::Child(at) => exit(if sum(&large) == right { 40 + at as i32 } else { 1 }),
        TeleforkAll::Parent(copies) => copies,
    };
    // What is written here meanwhile is seen by none of them.
    large.fill(7);
    let lazy: Vec<bool> = copies.iter().map(follows).collect();
    let ends: Vec<i32> = copies.into_iter().map(|copy| copy.wait().unwrap()).collect();
    assert_eq!(ends, [40, 41, 42], "{lazy:?}");
}

#[test]
fn copies_behind_a_node_that_turns_its_own_away_get_another_chain() {
    let _alone = alone();
    let pair = Pair::start();
    // Told to send the image on, and cut off from its pad: a strict jail lets nobody in.
    let address = &pair.cluster.addresses()[0];
    let words = format!("--name strict --slots 1 --jail strict --join {address}");
    let (_strict, _) = pair.machine.start_node(&words);
    assert_eq!(pair.cluster.wait_for_nodes(3, support::PATIENCE), 3);
    let ballast = filled(8 << 20);
    let right = sum(&ballast);
    match pair.cluster.telefork_all(["one", "strict", "two", "one"]).unwrap() {
        TeleforkAll::Child(at) => exit(if sum(&ballast) == right { 50 + at as i32 } else { 1 }),
        TeleforkAll::Parent(copies) => {
            let ends: Vec<Result<i32, String>> = copies
                .into_iter()
                .map(|copy| copy.wait().map_err(|error| error.to_string()))
                .collect();
            let [Ok(50), Err(why), Ok(52), Ok(53)] = &ends[..] else { panic!("{ends:?}") };
            assert!(why.contains("jail is strict"), "{why}");
        }
    }
}
