//! Shared memory as its users hold it, at real nodes: pages, locks, transactions, values, and what
//! becomes of all that when processes and connections end.

#![forbid(unsafe_code)]

mod support;

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use client::memory::{Change, Error, Version};
use client::{Cluster, Durability, Local, Read, Region, RegionOptions};
use support::{Machine, PATIENCE, Running};

fn local(local: Local) -> Cluster {
    local.slots(1).program(env!("CARGO_BIN_EXE_farcall")).start().expect("nodes on this machine")
}

/// A node on this machine, over a Unix socket, and a region of 64 pages.
fn region() -> (Cluster, Region) {
    let cluster = local(Local::new());
    let region = cluster.create_memory("genes", &RegionOptions::new(64)).expect("a new region");
    (cluster, region)
}

/// Reads, updates and compares, over each kind of socket.
fn check_pages(cluster: &Cluster) {
    let region = cluster.create_memory("pages", &RegionOptions::new(4)).expect("an answer");
    assert_eq!((region.pages(), region.page_size(), region.name()), (4, 4096, "pages"));
    let page = region.page(3);
    let fresh = page.read().expect("an answer");
    assert_eq!((fresh.version, fresh.bytes.len()), (Version(1), 4096));
    assert!(fresh.bytes.iter().all(|byte| *byte == 0));

    let second = page.update(10, b"hello").expect("an answer");
    assert!(second > fresh.version);
    let read = page.read().expect("an answer");
    assert_eq!((read.version, &read.bytes[9..16]), (second, &b"\0hello\0"[..]));
    assert_eq!(
        page.read().expect("an answer"),
        read,
        "the same again, without the bytes on the wire"
    );

    let conflict = page.compare_and_update(fresh.version, 0, b"late").expect_err("it is late");
    assert!(conflict.is_conflict(), "{conflict}");
    assert!(conflict.to_string().contains("page 3 of region `pages`"), "{conflict}");
    let third = page.compare_and_update(second, 0, b"first").expect("an answer");
    assert_eq!(&page.read().expect("an answer").bytes[..15], b"first\0\0\0\0\0hello");
    assert!(third > second);

    assert!(matches!(region.page(4).read(), Err(Error::NoSuchPage { page: 4, pages: 4, .. })));
    assert!(matches!(page.update(4095, b"xy"), Err(Error::WrongLength { max: 4096, .. })));
    assert_eq!(region.grow(6).expect("an answer"), 6);
    assert_eq!(region.page(5).read().expect("an answer").version, Version(1));
    let stat = region.stat().expect("an answer");
    assert_eq!((stat.pages, stat.written, stat.sessions), (6, 1, 1));
    assert_eq!(region.hot(3).expect("an answer")[0].page.0, 3);
}

#[test]
fn pages_are_read_updated_and_compared_over_a_unix_socket() {
    check_pages(&local(Local::new()));
}

#[test]
fn pages_are_read_updated_and_compared_over_tls() {
    check_pages(&local(Local::new().tls()));
}

#[test]
fn guards_commit_or_roll_back_and_locks_go_in_order() {
    let (cluster, region) = region();
    let other = cluster.memory("genes").unwrap();
    let mut guard = region.page(0).lock().unwrap();
    guard.bytes_mut()[7] = 9;
    assert!(guard.is_held() && guard[7] == 9);
    assert!(other.page(0).try_lock().unwrap().is_none());
    assert!(other.page(0).lock_for(Duration::from_millis(20)).unwrap().is_none());
    assert_eq!(other.page(0).read().unwrap().bytes[7], 0, "reading waits for no lock");
    let version = guard.commit().unwrap();
    let read = other.page(0).read().unwrap();
    assert_eq!((read.version, read.bytes[7]), (version, 9));

    let mut guard = other.page(0).lock().unwrap();
    let token = guard.token();
    guard.bytes_mut()[7] = 1;
    drop(guard);
    let guard = region.page(0).lock().unwrap();
    assert!(guard[7] == 9 && guard.token() > token, "rolled back, and a higher token");
    assert_eq!(guard.commit().unwrap(), version, "nothing changed, no new version");
}

#[test]
fn reads_from_the_cache_are_no_older_than_asked_and_need_no_round_trip() {
    let (cluster, region) = region();
    let other = cluster.memory("genes").unwrap();
    let (page, writer) = (region.page(1), other.page(1));
    let read = Read::Cached { max_age: Duration::from_millis(200) };
    // Its clock begins before each write: what is read later than that plus the age shows it.
    for value in 1..=5_u8 {
        writer.update(0, &[value]).unwrap();
        let written = Instant::now();
        loop {
            let began = Instant::now();
            let seen = page.read_as(read).unwrap().bytes[0];
            assert!(seen == value || began < written + Duration::from_millis(200), "{value}");
            if seen == value {
                break;
            }
        }
    }
    // A watched page costs the node nothing: it is down, and reads go on.
    page.read_as(Read::Cached { max_age: Duration::from_secs(3600) }).unwrap();
    let before = region.stat().unwrap();
    for _ in 0..1000 {
        page.read_as(Read::Cached { max_age: Duration::from_secs(3600) }).unwrap();
    }
    assert_eq!(region.stat().unwrap().commits, before.commits);
    // One's own writes are seen at once.
    page.update(0, &[77]).unwrap();
    let own = page.read_as(Read::Cached { max_age: Duration::from_secs(3600) }).unwrap();
    assert_eq!(own.bytes[0], 77);
}

#[test]
fn transactions_of_eight_threads_keep_the_sum() {
    let (_cluster, region) = region();
    let accounts = 6;
    for account in 0..accounts {
        region.page(account).update(0, &100_i64.to_le_bytes()).unwrap();
    }
    let amount = |bytes: &[u8]| i64::from_le_bytes(*bytes.first_chunk().unwrap());
    thread::scope(|scope| {
        for number in 0..8_u64 {
            let region = region.clone();
            scope.spawn(move || {
                for step in 0..40 {
                    let (from, to) =
                        ((number + step) % accounts, (number * 3 + step * 5 + 1) % accounts);
                    if from == to {
                        continue;
                    }
                    region
                        .transact(|tx| {
                            let both = tx.read_many(&[from, to])?;
                            let (left, right) = (amount(&both[0]) - 1, amount(&both[1]) + 1);
                            tx.write(from, 0, &left.to_le_bytes())?;
                            tx.write(to, 0, &right.to_le_bytes())?;
                            assert_eq!(amount(&tx.read(from)?), left, "its own writes");
                            Ok::<(), Error>(())
                        })
                        .unwrap();
                }
            });
        }
    });
    let pages: Vec<u64> = (0..accounts).collect();
    let sum: i64 = region.read_many(&pages).unwrap().iter().map(|page| amount(&page.bytes)).sum();
    assert_eq!(sum, 600);
}

#[test]
fn transaction_that_panics_or_fails_leaves_nothing_behind() {
    let (_cluster, region) = region();
    let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        region.transact(|tx| {
            tx.write(0, 0, b"gone")?;
            assert!(tx.read(1)?[0] == 1, "a panic in the closure");
            Ok::<(), Error>(())
        })
    }));
    assert!(panicked.is_err());
    let refused = region.transact(|tx| {
        tx.write(0, 0, b"gone")?;
        Err::<(), Box<dyn std::error::Error>>("a decision of the caller's".into())
    });
    assert_eq!(refused.unwrap_err().to_string(), "a decision of the caller's");
    assert_eq!(region.page(0).read().unwrap().version, Version(1));
}

#[test]
fn closures_error_is_returned_only_if_what_it_saw_was_true() {
    let (cluster, region) = region();
    let other = cluster.memory("genes").unwrap();
    assert_eq!(region.page(0).read().unwrap().bytes[0], 0);
    other.page(0).update(0, &[5]).unwrap();
    // The cache says 0; that is old, so the refusal which follows from it does not count.
    let taken = region.transact(|tx| {
        let left = tx.read(0)?[0];
        if left == 0 {
            return Err::<u8, Box<dyn std::error::Error>>("nothing left".into());
        }
        tx.write(0, 0, &[left - 1])?;
        Ok(left)
    });
    assert_eq!(taken.unwrap(), 5);
}

#[test]
fn many_operations_are_under_way_at_once() {
    let (_cluster, region) = region();
    let writes: Vec<[u8; 1]> = (0..64).map(|at| [at as u8 + 1]).collect();
    let writes: Vec<(u64, u32, &[u8])> =
        writes.iter().enumerate().map(|(at, byte)| (at as u64, 0, &byte[..])).collect();
    let versions = region.update_many(&writes).unwrap();
    assert!(versions.iter().all(|version| version.0 == 2));
    // More than a node takes of one session at once.
    let pending: Vec<_> = (0..5000_u64).map(|at| region.page(at % 64).begin_read()).collect();
    for (at, read) in pending.into_iter().enumerate() {
        assert_eq!(usize::from(read.wait().unwrap().bytes[0]), at % 64 + 1);
    }
    // What nobody waits for is done all the same.
    drop(region.page(0).begin_update(0, &[200]));
    support::until("the update that nobody waits for", || {
        region.page(0).read().unwrap().bytes[0] == 200
    });
}

#[test]
fn watch_tells_commits_of_others() {
    let (cluster, region) = region();
    let other = cluster.memory("genes").unwrap();
    let mut watch = region.watch(2..4).unwrap();
    assert!(watch.next_within(Duration::ZERO).is_none());
    other.page(1).update(0, b"not this").unwrap();
    let version = other.page(3).update(0, b"this").unwrap();
    assert_eq!(watch.next().unwrap().unwrap(), Change::Page { page: 3, version });
    let (second, third) =
        (other.page(2).update(0, b"a").unwrap(), other.page(3).update(0, b"b").unwrap());
    let mut told = BTreeSet::new();
    while told.len() < 2 {
        if let Change::Page { page, version } = watch.next().unwrap().unwrap() {
            told.insert((page, version.0));
        }
    }
    assert_eq!(told, BTreeSet::from([(2, second.0), (3, third.0)]));
}

#[test]
fn values_are_shared() {
    let (cluster, region) = region();
    let other = cluster.memory("genes").unwrap();

    let cell = region.cell::<[u32; 4]>(0).unwrap();
    assert_eq!(cell.get().unwrap(), [0; 4]);
    cell.update(|value| value[2] += 7).unwrap();
    assert_eq!(other.cell::<[u32; 4]>(0).unwrap().get().unwrap(), [0, 0, 7, 0]);
    assert!(matches!(region.cell::<[u64; 1024]>(0), Err(Error::TooLarge { .. })));

    let map = region.map_of(1..5).unwrap();
    assert_eq!(map.insert(b"ada", b"36").unwrap(), None);
    assert_eq!(map.insert(b"ada", b"37").unwrap().as_deref(), Some(&b"36"[..]));
    assert_eq!(other.map_of(1..5).unwrap().get(b"ada").unwrap().as_deref(), Some(&b"37"[..]));
    let mut kept = 0;
    let full = loop {
        match map.insert(format!("key {kept}").as_bytes(), &[kept as u8; 1000]) {
            Ok(_) => kept += 1,
            Err(error) => break error,
        }
    };
    assert!(full.is_full() && kept >= 12, "{kept}: {full}");
    for at in 0..kept {
        let value = map.get(format!("key {at}").as_bytes()).unwrap();
        assert_eq!(value.as_deref(), Some(&[at as u8; 1000][..]), "key {at}");
    }
    assert_eq!(map.entries().unwrap().len(), kept + 1);
    assert_eq!(map.remove(b"key 3").unwrap().as_deref(), Some(&[3; 1000][..]));
    assert_eq!(map.get(b"key 3").unwrap(), None);
    assert!(map.swap(b"ada", Some(b"37"), Some(b"38")).unwrap());
    assert!(!map.swap(b"ada", Some(b"37"), None).unwrap());

    let queue = region.queue(10..14).unwrap();
    assert_eq!(queue.pop().unwrap(), None);
    for item in [&b"one"[..], b"two", b""] {
        queue.push(item).unwrap();
    }
    assert!(queue.push(b"four").unwrap_err().is_full());
    let theirs = other.queue(10..14).unwrap();
    assert_eq!(theirs.pop().unwrap().as_deref(), Some(&b"one"[..]));
    queue.push(b"four").unwrap();
    let rest: Vec<_> = std::iter::from_fn(|| theirs.pop().unwrap()).collect();
    assert_eq!(rest, [&b"two"[..], b"", b"four"]);
}

#[test]
fn queue_gives_each_item_to_one_of_those_who_wait() {
    let (cluster, region) = region();
    let (items, takers) = (60_usize, 3);
    let taken = Mutex::new(Vec::new());
    let left = AtomicUsize::new(items);
    thread::scope(|scope| {
        for _ in 0..takers {
            let queue = cluster.memory("genes").unwrap().queue(0..6).unwrap();
            let (taken, left) = (&taken, &left);
            scope.spawn(move || {
                while left.load(Ordering::SeqCst) > 0 {
                    if let Some(item) = queue.pop_within(Duration::from_millis(50)).unwrap() {
                        taken.lock().unwrap().push(item[0]);
                        left.fetch_sub(1, Ordering::SeqCst);
                    }
                }
            });
        }
        let queue = region.queue(0..6).unwrap();
        for item in 0..items {
            assert!(queue.push_within(&[item as u8], PATIENCE).unwrap());
        }
    });
    let mut taken = taken.into_inner().unwrap();
    taken.sort_unstable();
    assert_eq!(taken, (0..items as u8).collect::<Vec<_>>());
}

#[test]
fn threads_of_one_region_count_exactly_and_meet() {
    let (cluster, region) = region();
    let (threads, steps) = (8, 60);
    let apart = cluster.memory("genes").unwrap();
    thread::scope(|scope| {
        for number in 0..threads {
            // Half of them on clones, half on a session of their own.
            let region = if number % 2 == 0 { region.clone() } else { apart.clone() };
            scope.spawn(move || {
                let counter = region.counter(0);
                let (mutex, page) = (region.mutex(1), region.page(2));
                let barrier = region.barrier(7, threads);
                let mut round = 0;
                for _ in 0..steps {
                    counter.add(1).unwrap();
                }
                assert!(barrier.wait().unwrap() > std::mem::replace(&mut round, 0));
                assert_eq!(counter.get().unwrap(), i64::from(threads) * steps);
                for _ in 0..10 {
                    // Not atomic, but for the mutex.
                    let held = mutex.lock().unwrap();
                    let value = page.read().unwrap().bytes[0];
                    page.update(0, &[value + 1]).unwrap();
                    held.unlock().unwrap();
                }
                barrier.wait().unwrap();
                assert_eq!(u32::from(page.read().unwrap().bytes[0]), threads * 10);
            });
        }
    });
}

#[test]
fn regions_are_found_named_listed_and_dropped() {
    let cluster = local(Local::new().nodes(2));
    let options = RegionOptions::new(8).page_size(256);
    let gone = cluster.memory("genes").unwrap_err();
    assert!(gone.is_gone() && gone.to_string().contains("farcall mem create genes"), "{gone}");
    let first = cluster.create_memory("genes", &options.clone().on("local-2")).unwrap();
    assert_eq!((first.node().as_str(), first.page_size()), ("local-2", 256));
    assert!(matches!(
        cluster.create_memory("genes@local-2", &options),
        Err(Error::Exists { node, .. }) if node == "local-2"
    ));
    assert_eq!(cluster.memory_or_create("genes", &options).unwrap().node(), "local-2");
    cluster.create_memory("genes@local-1", &options).unwrap();
    let both = cluster.memory("genes").unwrap_err();
    assert!(both.to_string().contains("genes@NODE"), "{both}");
    assert_eq!(cluster.memory("genes@local-1").unwrap().node(), "local-1");
    let listed = cluster.regions(PATIENCE);
    let names: Vec<_> = listed.iter().map(|found| (&found.name[..], &found.node[..])).collect();
    assert_eq!(names, [("genes", "local-1"), ("genes", "local-2")]);

    cluster.drop_memory("genes@local-2").unwrap();
    let ended = first.page(0).read().unwrap_err();
    assert!(ended.is_gone(), "{ended}");
    assert_eq!(cluster.memory("genes").unwrap().node(), "local-1");
}

#[test]
fn region_keeps_the_cluster_that_it_was_opened_through() {
    let open = || local(Local::new()).memory_or_create("genes", &RegionOptions::new(8));
    let region = open().unwrap();
    region.page(0).update(0, b"x").unwrap();
    assert_eq!(region.page(0).read().unwrap().bytes[0], b'x');
}

#[test]
fn threads_of_one_cluster_get_their_own_answers() {
    let cluster = local(Local::new().nodes(2));
    thread::scope(|scope| {
        for number in 0..8_u64 {
            let cluster = &cluster;
            scope.spawn(move || {
                let own = format!("own-{number}");
                for round in 0..5 {
                    let options = RegionOptions::new(8 + number);
                    let made = cluster.create_memory(&own, &options).unwrap();
                    assert_eq!((made.name(), made.pages()), (&own[..], 8 + number));
                    // Always refused, while others are let do the same.
                    let node = made.node();
                    let again = cluster.create_memory(&format!("{own}@{node}"), &options);
                    assert!(matches!(again, Err(Error::Exists { .. })), "{round}: {again:?}");
                    assert_eq!(cluster.memory(&own).unwrap().pages(), 8 + number);
                    let mine = |found: &client::memory::RegionReport| found.name == own;
                    assert!(cluster.regions(PATIENCE).iter().any(mine));
                    cluster.drop_memory(&own).unwrap();
                    assert!(cluster.memory(&own).unwrap_err().is_gone());
                }
            });
        }
    });
}

#[test]
fn programs_that_make_a_region_at_the_same_time_make_one() {
    let (machine, second) = (Machine::new(), Machine::new());
    let (_alpha, alpha) = machine.start_node("--name alpha");
    let token = machine.run("auth token --role node").stdout;
    let join = format!("--name beta --join {alpha} --token {}", token.trim());
    let (_beta, beta) = second.start_node(&join);
    let (alpha, beta) = (&alpha, &beta);
    let clusters: Vec<Cluster> = [[alpha, beta], [beta, alpha], [alpha, beta], [beta, alpha]]
        .map(|addresses| Cluster::connect_with(addresses, &machine.home()).unwrap())
        .into();
    let start = std::sync::Barrier::new(clusters.len());
    for name in ["one", "two", "three"] {
        thread::scope(|scope| {
            for cluster in &clusters {
                let start = &start;
                scope.spawn(move || {
                    start.wait();
                    let region = cluster.memory_or_create(name, &RegionOptions::new(8)).unwrap();
                    assert_eq!(region.node(), "alpha");
                    region.counter(0).add(1).unwrap();
                });
            }
        });
        assert_eq!(clusters[1].memory(name).unwrap().counter(0).get().unwrap(), 4);
    }
}

// Processes, and their end.

/// What a further process of this test does: this executable again, with one test.
const ROLE: &str = "FARCALL_TEST_MEMORY_ROLE";

struct Process {
    child: Child,
    stdout: BufReader<ChildStdout>,
}

impl Process {
    fn start(role: &str, machine: &Machine, address: &str) -> Self {
        let mut command = Command::new(std::env::current_exe().expect("this program"));
        command.args(["--exact", "further_process", "--nocapture", "--test-threads", "1"]);
        command.env(ROLE, role).env("NODE", address).env("HOME_FOLDER", machine.home());
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("a process");
        let stdout = BufReader::new(child.stdout.take().expect("its output"));
        Self { child, stdout }
    }

    /// Waits until it says this, and returns the rest of the line.
    fn says(&mut self, word: &str) -> String {
        loop {
            let mut line = String::new();
            assert!(
                self.stdout.read_line(&mut line).expect("it works") > 0,
                "it ended without {word}"
            );
            if let Some((_, rest)) = line.split_once(word) {
                return rest.trim().to_owned();
            }
        }
    }

    fn tell(&mut self) {
        self.child.stdin.as_mut().expect("its input").write_all(b"\n").expect("it works");
    }

    fn signal(&self, signal: &str) {
        let pid = self.child.id().to_string();
        assert!(
            Command::new("kill").args(["-s", signal, &pid]).status().expect("it works").success()
        );
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn further_process() {
    let Ok(role) = std::env::var(ROLE) else { return };
    let home = std::env::var_os("HOME_FOLDER").unwrap();
    let cluster = Cluster::connect_with([std::env::var("NODE").unwrap()], home.as_ref()).unwrap();
    let region = cluster.memory("shared").unwrap();
    match role.as_str() {
        "count" => {
            for _ in 0..100 {
                region.counter(0).add(1).unwrap();
            }
            println!("counted");
        }
        "hold" => {
            let mut guard = region.page(1).lock().unwrap();
            guard.bytes_mut()[0] = 66;
            println!("locked {}", guard.token().0);
            let _ = std::io::stdin().read(&mut [0]).unwrap();
            let late = guard.commit();
            println!("committed {}", late.as_ref().is_err_and(Error::is_lost_lock));
        }
        "know" => {
            let guard = region.page(1).lock().unwrap();
            println!("locked");
            let _ = std::io::stdin().read(&mut [0]).unwrap();
            // The node answers, time and again; nothing of that makes the lock its own again.
            for _ in 0..3 {
                region.page(2).read().unwrap();
            }
            println!("held {}", guard.is_held());
        }
        "wait" => {
            let meeting = {
                let region = region.clone();
                thread::spawn(move || region.barrier(1, 2).wait())
            };
            println!("waits");
            let guard = region.page(1).lock_for(Duration::from_secs(600));
            println!("got {}", matches!(&guard, Ok(Some(_))));
            println!("met {}", meeting.join().unwrap().is_ok());
        }
        other => panic!("no such role: {other}"),
    }
}

/// A node at a port, a cluster that is linked to it, and its region `shared`.
fn node(words: &str) -> (Machine, Running, String, Cluster, Region) {
    let machine = Machine::new();
    let (running, address) = machine.start_node(words);
    let cluster = Cluster::connect_with([&address], &machine.home()).expect("it works");
    let region = cluster.create_memory("shared", &RegionOptions::new(8)).expect("it works");
    (machine, running, address, cluster, region)
}

#[test]
fn processes_count_exactly() {
    let (machine, _node, address, _cluster, region) = node("");
    let mut processes: Vec<Process> =
        (0..3).map(|_| Process::start("count", &machine, &address)).collect();
    for process in &mut processes {
        process.says("counted");
    }
    assert_eq!(region.counter(0).get().unwrap(), 300);
}

#[test]
fn lock_of_a_killed_holder_goes_to_the_next_after_the_lease() {
    let (machine, _node, address, _cluster, region) = node("");
    let mut holder = Process::start("hold", &machine, &address);
    let token: u64 = holder.says("locked").parse().unwrap();
    let began = Instant::now();
    holder.signal("KILL");
    let guard = region.page(1).lock().unwrap();
    assert!(guard.token().0 > token && guard[0] == 0);
    assert!(began.elapsed() > Duration::from_secs(1), "its lease was not over");
    assert!(began.elapsed() < PATIENCE);
}

#[test]
fn late_write_of_a_stopped_holder_is_refused() {
    let (machine, _node, address, _cluster, region) = node("");
    let mut holder = Process::start("hold", &machine, &address);
    holder.says("locked");
    holder.signal("STOP");
    let mut guard = region.page(1).lock().unwrap();
    guard.bytes_mut()[0] = 1;
    guard.commit().expect("it works");
    holder.tell();
    holder.signal("CONT");
    assert_eq!(holder.says("committed"), "true");
    assert_eq!(region.page(1).read().expect("it works").bytes[0], 1);
}

#[test]
fn stopped_holder_does_not_believe_that_it_holds_what_others_have() {
    let (machine, _node, address, _cluster, region) = node("");
    let mut holder = Process::start("know", &machine, &address);
    holder.says("locked");
    holder.signal("STOP");
    let _guard = region.page(1).lock().unwrap();
    holder.tell();
    holder.signal("CONT");
    assert_eq!(holder.says("held"), "false");
}

#[test]
fn waiter_that_was_stopped_waits_on() {
    let (machine, _node, address, _cluster, region) = node("");
    let guard = region.page(1).lock().unwrap();
    let mut waiter = Process::start("wait", &machine, &address);
    waiter.says("waits");
    support::until("it waits", || region.stat().unwrap().waiting == 1);
    waiter.signal("STOP");
    support::until("its place is lost", || region.stat().unwrap().waiting == 0);
    waiter.signal("CONT");
    support::until("it waits again", || region.stat().unwrap().waiting == 1);
    drop(guard);
    assert_eq!(waiter.says("got"), "true");
    region.barrier(1, 2).wait().unwrap();
    assert_eq!(waiter.says("met"), "true");
}

#[test]
fn lock_is_not_waited_for_much_longer_than_asked() {
    let (_machine, node, _address, _cluster, region) = node("");
    let _guard = region.page(1).lock().unwrap();
    region.set_patience(Duration::from_secs(600));
    node.signal("STOP");
    let began = Instant::now();
    let lock = region.page(2).lock_for(Duration::from_millis(100));
    assert!(!matches!(lock, Ok(Some(_))));
    let pop = region.queue(3..8).unwrap();
    support::until("the loss of the node is noticed", || {
        matches!(region.page(2).lock_for(Duration::ZERO), Err(Error::Away { .. }))
    });
    assert!(matches!(pop.pop_within(Duration::from_millis(100)), Err(Error::Away { .. })));
    assert!(
        began.elapsed() < Duration::from_secs(600),
        "that is the patience for what has no time"
    );
    node.signal("CONT");
}

/// Stands between clients and a node and cuts each connection after so many bytes from the node.
fn cutter(node: &str, mut bytes: impl FnMut() -> usize + Send + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("it works");
    let address = listener.local_addr().expect("it works").to_string();
    let node = node.to_owned();
    thread::spawn(move || {
        for client in listener.incoming() {
            let (mut client, mut node) =
                (client.expect("it works"), TcpStream::connect(&node).expect("it works"));
            let (mut up, mut on) =
                (client.try_clone().expect("it works"), node.try_clone().expect("it works"));
            let mut left = bytes();
            thread::spawn(move || std::io::copy(&mut up, &mut on));
            thread::spawn(move || {
                let mut buffer = [0; 4096];
                while let Ok(count) = node.read(&mut buffer) {
                    let passed = count.min(left);
                    left -= passed;
                    if count == 0 || client.write_all(&buffer[..passed]).is_err() || left == 0 {
                        break;
                    }
                }
                let _ = (client.shutdown(Shutdown::Both), node.shutdown(Shutdown::Both));
            });
        }
    });
    address
}

#[test]
fn updates_over_a_line_that_is_cut_again_and_again_are_done_exactly_once() {
    let (machine, _node, address, direct, shared) = node("");
    let connections = Arc::new(AtomicUsize::new(0));
    let count = connections.clone();
    // The first is the cluster's own link; each further one lives for some more bytes.
    let cut = cutter(&address, move || match count.fetch_add(1, Ordering::SeqCst) {
        0 => usize::MAX,
        // Enough for TLS, two whole pages, and some answers.
        number => 14_000 + number * 1237 % 3000,
    });
    let cluster = Cluster::connect_with([&cut], &machine.home()).unwrap();
    let region = cluster.memory("shared").unwrap();
    thread::scope(|scope| {
        for _ in 0..2 {
            let region = region.clone();
            scope.spawn(move || {
                for _ in 0..150 {
                    region.counter(0).add(1).unwrap();
                }
            });
        }
        let region = region.clone();
        scope.spawn(move || {
            for _ in 0..50 {
                let mut guard = region.page(1).lock().unwrap();
                guard.bytes_mut()[0] += 1;
                guard.commit().unwrap();
            }
        });
    });
    assert_eq!(shared.counter(0).get().unwrap(), 300);
    assert_eq!(shared.page(1).read().unwrap().bytes[0], 50);
    let cuts = connections.load(Ordering::SeqCst);
    assert!(cuts > 3, "it was cut {cuts} times");
    drop(direct);
}

#[test]
fn region_without_durability_ends_with_its_node_and_says_so() {
    let (machine, node, address, cluster, region) = node("");
    region.counter(0).add(1).unwrap();
    let mut watch = region.watch(0..1).unwrap();
    node.signal("KILL");
    node.end();
    let port = address.rsplit(':').next().unwrap().to_owned();
    let mut again = machine.start(&format!("node --listen 127.0.0.1:{port}"));
    again.line_with("listening at 127.");
    let error = region.counter(0).add(1).unwrap_err();
    assert!(error.is_gone() || error.may_be_committed(), "{error}");
    let error = region.page(0).read().unwrap_err();
    assert!(error.is_gone() && error.to_string().contains("durability none"), "{error}");
    assert!(watch.next().unwrap().unwrap_err().is_gone());
    drop(cluster);
}

#[test]
fn node_that_stays_away_is_named() {
    let (_machine, node, _address, _cluster, region) = node("--name alpha");
    region.page(0).update(0, b"x").unwrap();
    region.set_patience(Duration::from_millis(200));
    node.signal("KILL");
    node.end();
    support::until("the connection is lost", || region.page(0).read().is_err());
    let error = region.page(0).update(0, b"y").unwrap_err();
    assert!(error.is_away() || error.may_be_committed(), "{error}");
    let error = region.page(0).read().unwrap_err();
    assert!(error.is_away(), "{error}");
    assert!(error.to_string().contains("node alpha is away"), "{error}");
}

#[test]
fn kept_region_is_found_again_after_its_node_was_killed_and_nothing_is_done_twice() {
    let machine = Machine::new();
    let (mut running, address) = machine.start_node("");
    let port = address.rsplit(':').next().unwrap().to_owned();
    let cluster = Cluster::connect_with([&address], &machine.home()).unwrap();
    let options = RegionOptions::new(8).durability(Durability::Sync);
    let region = cluster.create_memory("kept", &options).unwrap();
    let done = Arc::new(AtomicUsize::new(0));
    let adders: Vec<_> = (0..3_u64)
        .map(|page| {
            let (region, done) = (region.clone(), done.clone());
            thread::spawn(move || {
                for _ in 0..60 {
                    region.counter(page).add(1).unwrap();
                    done.fetch_add(1, Ordering::SeqCst);
                }
            })
        })
        .collect();
    for stop in [40, 110] {
        support::until("some are added", || done.load(Ordering::SeqCst) >= stop);
        running.signal("KILL");
        running.end();
        running = machine.start(&format!("node --listen 127.0.0.1:{port}"));
        running.line_with("listening at 127.");
    }
    adders.into_iter().for_each(|adder| adder.join().unwrap());
    for page in 0..3 {
        assert_eq!(region.counter(page).get().unwrap(), 60, "page {page}");
    }
}
