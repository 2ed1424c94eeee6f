//! Programs that do something on a node and come back into themselves: what is changed here then, what is not,
//! and what is said where that cannot be.

#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, reason = "these are tests")]
#![allow(clippy::print_stdout, reason = "what programs print is looked at")]

mod support;

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write, stdout};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::process::{Command, Stdio, exit, id};
use std::sync::mpsc::channel;
use std::thread;
use std::time::{Duration, Instant};

use client::{Cluster, TravelError};
use support::process::{children, descriptors};
use support::{Machine, Ran, Running, skipped};

/// What tasks run that are made before.
const SPECIMEN: &str = "misbehaving/specimen.c";

/// A test is a program that is run, and what it is to say.
type Test = (&'static str, fn(&Cluster), &'static str);

const TESTS: [Test; 9] = [
    ("what_is_changed_there_is_changed_here", changed, "before\nthere\nafter\n"),
    ("memory_that_is_mapped_and_unmapped_there_is_so_here", mapped, ""),
    ("half_a_gibibyte_goes_and_comes_back", half_a_gibibyte, ""),
    ("a_hundred_journeys_leave_nothing_behind", hundred, ""),
    ("a_thread_of_ones_own_is_refused_by_name", with_thread, ""),
    ("a_panic_there_goes_on_here", panics, ""),
    ("one_that_ends_there_leaves_all_as_it_was_here", ends, "said\n"),
    ("the_library_works_on_when_it_is_back", cluster_after, ""),
    ("what_was_made_before_fails_by_name_there", made_before, ""),
];

fn main() {
    let words: Vec<String> = std::env::args().collect();
    if let [_, role, home, address, name] = &words[..]
        && role == "--as-program"
    {
        let cluster = Cluster::connect_with([address], Path::new(home)).unwrap();
        assert_eq!(cluster.wait_for_nodes(2, support::PATIENCE), 2);
        match TESTS.iter().find(|(known, ..)| known == name) {
            Some((_, test, _)) => test(&cluster),
            None => waits_there(&cluster),
        }
        return;
    }
    let wanted =
        |name: &str| words[1..].iter().all(|it| it.starts_with('-') || name.contains(&**it));
    let machine = Machine::new();
    machine.core(SPECIMEN);
    // Behind Landlock and another account a process cannot be filled yet.
    let (mut one, address) = machine.start_node("--name one --slots 1 --jail none");
    let (mut two, _) =
        machine.start_node(&format!("--name two --slots 1 --jail none --join {address}"));
    for (name, _, says) in TESTS.iter().filter(|(name, ..)| wanted(name)) {
        let ran = Ran::of(program(&machine, &address, name).output().unwrap());
        assert_eq!((ran.code, &ran.stdout[..]), (Some(0), *says), "{name}: {}", ran.stderr);
        println!("test {name} ... ok");
    }
    if wanted("a_node_that_is_killed_leaves_all_as_it_was_here") {
        killed(&machine, &address, &mut two);
        println!("test a_node_that_is_killed_leaves_all_as_it_was_here ... ok");
    }
    one.signal("KILL");
    let _ = one.child.wait();
}

/// This program as another one.
fn program(machine: &Machine, address: &str, name: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.arg("--as-program").arg(machine.home()).args([address, name]);
    command.env("SPECIMEN", machine.path("libspecimen.so"));
    if name.starts_with("memory_that_is_mapped") {
        // Large memory is of huge pages, where the kernel has them.
        command.env("GLIBC_TUNABLES", "glibc.malloc.hugetlb=1");
    }
    command.stdin(Stdio::null());
    command
}

fn chain(error: &dyn std::error::Error) -> String {
    let cause = error.source().map_or_else(String::new, chain);
    format!("{error}: {cause}")
}

// TF-4.
fn changed(cluster: &Cluster) {
    let own = id();
    let mut words: HashMap<String, Vec<u32>> = HashMap::new();
    words.insert("here".to_owned(), vec![1]);
    let mut numbers: Vec<u64> = (0..200_000).collect();
    let mut actions: Vec<Box<dyn FnMut() -> u64>> = vec![Box::new(|| 1)];
    let dropped: Vec<String> = (0..1000).map(|number| number.to_string()).collect();
    // Some of it waits for its line to end, and comes back with the rest.
    print!("bef");
    println!("ore");
    let told = cluster.yoyo("two", || {
        println!("there");
        words.get_mut("here").unwrap().push(2);
        words.extend((0..5000).map(|number| (format!("word {number}"), vec![number])));
        numbers.iter_mut().step_by(4096).for_each(|number| *number += 1);
        numbers.extend([7; 100_000]);
        let mut count = 0;
        actions.push(Box::new(move || {
            count += 1;
            count
        }));
        actions[1]();
        drop(dropped);
        let helped = thread::spawn(|| (id(), "helped".to_owned())).join().unwrap();
        (id(), helped, std::fs::File::open("/proc/self/status").is_ok())
    });
    let (there, (also_there, helped), had_files) = told.unwrap();
    println!("after");
    assert!(there != own && there == also_there && id() == own && had_files);
    assert_eq!(helped, "helped");
    assert_eq!((words.len(), &words["here"]), (5001, &vec![1, 2]));
    assert!((0..5000).all(|number| words[&format!("word {number}")] == [number]));
    assert_eq!(numbers.len(), 300_000);
    let is_right = |(at, number): (usize, &u64)| match at {
        200_000.. => *number == 7,
        at => *number == at as u64 + u64::from(at % 4096 == 0),
    };
    assert!(numbers.iter().enumerate().all(is_right));
    assert_eq!((actions[0](), actions[1]()), (1, 2));
}

fn mappings() -> usize {
    std::fs::read_to_string("/proc/self/maps").unwrap().lines().count()
}

fn huge() -> u64 {
    let text = std::fs::read_to_string("/proc/self/smaps_rollup").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("AnonHugePages:"));
    line.map_or(0, |line| line.trim().trim_end_matches(" kB").parse().unwrap())
}

fn mapped(cluster: &Cluster) {
    let gone = vec![1_u8; 40 << 20];
    let mut stays = vec![2_u8; 64 << 20];
    let mut heap: Vec<Box<[u8; 1000]>> = Vec::new();
    if huge() == 0 {
        skipped("this kernel gives no transparent huge pages: memory is of small ones");
    }
    let before = (mappings(), gone.as_ptr().addr());
    let new = cluster
        .yoyo("one", || {
            drop(gone);
            stays.iter_mut().step_by(1 << 20).for_each(|byte| *byte = 3);
            heap.extend((0..20_000_u32).map(|at| Box::new([at as u8; 1000])));
            vec![4_u8; 80 << 20]
        })
        .unwrap();
    assert!(stays.iter().enumerate().all(|(at, byte)| *byte == 2 + u8::from(at % (1 << 20) == 0)));
    assert!(new.len() == 80 << 20 && new.iter().all(|byte| *byte == 4));
    assert!((0..20_000_usize).all(|at| *heap[at] == [at as u8; 1000]));
    let line = |at: usize| {
        let text = std::fs::read_to_string("/proc/self/maps").unwrap();
        text.lines().any(|line| {
            let (start, end) = line.split_once(' ').unwrap().0.split_once('-').unwrap();
            let [start, end] = [start, end].map(|it| usize::from_str_radix(it, 16).unwrap());
            (start..end).contains(&at)
        })
    };
    assert!(line(new.as_ptr().addr()) && mappings() <= before.0 + 3);
    // What is made and freed from here on is as ever.
    drop((new, heap));
    let again: Vec<Vec<u8>> = (0..100).map(|at| vec![at; 1 << 20]).collect();
    assert!(again.iter().zip(0..).all(|(one, at)| one.iter().all(|byte| *byte == at)));
}

/// What the first telefork took for it, on such a machine.
const BEFORE: Duration = Duration::from_millis(9100);

// TF-15.
fn half_a_gibibyte(cluster: &Cluster) {
    // A build for speed alone is timed; the others carry less.
    let is_timed = !cfg!(debug_assertions);
    let size: usize = if is_timed { 512 << 20 } else { 32 << 20 };
    let mut memory: Vec<u64> =
        (1..=size as u64 / 8).map(|at| at.wrapping_mul(0x9e37_79b9_7f4a_7c15)).collect();
    let before: Vec<u64> = memory.iter().copied().step_by(512).collect();
    let begin = Instant::now();
    cluster.yoyo("two", || memory.iter_mut().step_by(512).for_each(|word| *word ^= 1)).unwrap();
    let took = begin.elapsed();
    assert!(memory.iter().step_by(512).zip(before).all(|(now, before)| *now == before ^ 1));
    assert!(!is_timed || took < BEFORE / 5, "{took:?}");
    eprintln!("{} MiB, every page of it changed there: {took:?}", size >> 20);
}

fn hundred(cluster: &Cluster) {
    let mut list: Vec<u32> = Vec::with_capacity(1000);
    // What the first one makes for good.
    cluster.yoyo("one", || list.push(0)).unwrap();
    let before = (children(id()), descriptors(id()), mappings());
    for round in 1..=100 {
        let node = if round % 2 == 0 { "one" } else { "two" };
        cluster.yoyo(node, || list.push(round)).unwrap();
    }
    assert_eq!(list, (0..=100).collect::<Vec<u32>>());
    support::until("all is as before", || {
        (children(id()), descriptors(id())) == (before.0.clone(), before.1)
    });
    assert!(mappings() <= before.2 + 1, "{} {}", before.2, mappings());
}

fn with_thread(cluster: &Cluster) {
    let (end, ended) = channel::<()>();
    let (ready, named) = channel();
    let other = thread::Builder::new().name("counter".to_owned());
    let wait = move || {
        ready.send(()).unwrap();
        ended.recv()
    };
    let other = other.spawn(wait).unwrap();
    // A thread gives itself its name.
    named.recv().unwrap();
    let mut number = 1;
    let error = cluster.yoyo("one", || number += 1).unwrap_err();
    let TravelError::Threads { name, .. } = &error else { panic!("{error}") };
    assert!(name == "counter" && error.to_string().contains("fork_call"), "{error}");
    drop(end);
    let _ = other.join();
    cluster.yoyo("one", || number += 1).unwrap();
    // From another thread it is the main one that is in the way.
    let error = thread::scope(|scope| {
        scope.spawn(|| cluster.yoyo("one", || ()).unwrap_err().to_string()).join().unwrap()
    });
    assert!(number == 2 && error.contains("main thread"), "{error}");
}

fn panics(cluster: &Cluster) {
    let mut number = 1;
    let panicked = catch_unwind(AssertUnwindSafe(|| {
        cluster.yoyo("one", || {
            number += 1;
            panic!("no {number} today")
        })
    }));
    let words = panicked.map(|_: Result<(), _>| ()).unwrap_err();
    assert_eq!((words.downcast_ref::<String>().unwrap().as_str(), number), ("no 2 today", 2));
}

fn ends(cluster: &Cluster) {
    let mut number = 1;
    let error = cluster
        .yoyo("two", || {
            number += 1;
            println!("said");
            exit(3);
        })
        .unwrap_err();
    assert!(chain(&error).contains("status 3") && number == 1, "{}", chain(&error));
    let error = cluster.yoyo("nowhere", || number += 1).unwrap_err();
    assert!(chain(&error).contains("nowhere") && number == 1, "{}", chain(&error));
}

fn cluster_after(cluster: &Cluster) {
    let mut earlier = Some(cluster.fork_call_on("one", || 11));
    let words = cluster
        .yoyo("two", || {
            let call = cluster.fork_call(|| 1).join().unwrap_err().to_string();
            let yoyo = cluster.yoyo("one", || 1).unwrap_err().to_string();
            assert!(cluster.visits(support::PATIENCE).is_empty());
            [call, yoyo]
        })
        .unwrap();
    assert!(words.iter().all(|words| words.contains("comes back")), "{words:?}");
    // With the keys that it had, and links that were there before.
    assert_eq!(earlier.take().unwrap().join().unwrap(), 11);
    assert_eq!(cluster.fork_call_on("two", || 12).join().unwrap(), 12);
    assert_eq!(cluster.yoyo("one", || 13).unwrap(), 13);
}

fn made_before(cluster: &Cluster) {
    let core = cluster.core(std::env::var("SPECIMEN").unwrap()).unwrap();
    let (one, other) = (core.submit("echo a"), core.submit("echo b"));
    let mut mapped = core.map(["echo c", "echo d"]);
    assert_eq!(&mapped.next().unwrap().unwrap()[..], b"c");
    // Their results are here, and not there.
    assert!(one.wait_timeout(support::PATIENCE) && other.wait_timeout(support::PATIENCE));
    let mut made = None;
    let words = cluster
        .yoyo("two", || {
            let joined = one.join().unwrap_err().to_string();
            let next = mapped.next().unwrap().unwrap_err().to_string();
            let asked = core.submit("echo e").join().unwrap_err().to_string();
            let streamed = core.open().finish().unwrap_err().to_string();
            drop(core.clone().job("dropped"));
            made = Some(core.clone().job("there"));
            [joined, next, asked, streamed]
        })
        .unwrap();
    assert!(words[..2].iter().all(|words| words.contains("is a copy")), "{words:?}");
    assert!(words[2..].iter().all(|words| words.contains("comes back")), "{words:?}");
    // Here all is as it was, and what was made there is named.
    assert_eq!(&other.join().unwrap()[..], b"b");
    assert!(mapped.next().is_none());
    assert!(made.unwrap().run("echo f").unwrap_err().to_string().contains("comes back"));
    assert_eq!(&core.run("echo g").unwrap()[..], b"g");
}

fn waits_there(cluster: &Cluster) {
    let mut numbers = vec![1_u64; 100_000];
    let error = cluster
        .yoyo("two", || {
            numbers.fill(2);
            println!("there");
            stdout().flush().unwrap();
            loop {
                thread::park();
            }
        })
        .map(|(): ()| ())
        .unwrap_err();
    assert!(chain(&error).contains("gone"), "{}", chain(&error));
    assert!(numbers.iter().all(|number| *number == 1));
    assert!(children(id()).is_empty());
    println!("untouched");
}

fn killed(machine: &Machine, address: &str, node: &mut Running) {
    let mut child = program(machine, address, "waits").stdout(Stdio::piped()).spawn().unwrap();
    let mut output = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    output.read_line(&mut line).unwrap();
    assert_eq!(line, "there\n");
    node.signal("KILL");
    let mut rest = String::new();
    output.read_to_string(&mut rest).unwrap();
    assert_eq!((&rest[..], child.wait().unwrap().code()), ("untouched\n", Some(0)));
    let _ = node.child.wait();
}
