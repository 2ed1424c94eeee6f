//! What has to work, row by row; long and many jobs, several peers, the bounds of the node.

use std::net::TcpStream;

use super::settlings::named_core;
use super::*;
use crate::support::{process, skipped, until};

#[test]
fn dc_1_the_protocol_is_that_of_the_vectors() {
    let machine = Machine::new();
    let worker = Worker::start(&machine, "");
    let library = std::fs::read(machine.core(SPECIMEN)).unwrap();
    let mut peer = worker.dial();
    peer.asks(
        &hex("01 0100000000000000 0400000000000000 01000000"),
        "01 0100000000000000 0100000000000000 01",
    );
    let length = (11 + 8 + library.len() as u64).to_le_bytes();
    let head = [hex("02 0200000000000000"), length.to_vec(), hex("0300000000000000 73756d")];
    let library = [&(library.len() as u64).to_le_bytes()[..], &library].concat();
    peer.asks(&[head.concat(), library].concat(), "01 0200000000000000 0000000000000000");
    peer.asks(
        &hex("03 0300000000000000 1800000000000000 2a00000000000000 0800000000000000
              6563686f2078797a"),
        "01 0300000000000000 0f00000000000000 00000000 0300000000000000 78797a",
    );
    peer.asks(
        &hex("03 0300000000000000 1500000000000000 2a00000000000000 0500000000000000 7263202d37"),
        "01 0300000000000000 0c00000000000000 f9ffffff 0000000000000000",
    );
    // The same in pieces of one byte.
    let job = job(4, 0x2a, b"echo xyz");
    for byte in &job[..job.len() - 1] {
        peer.put(&[*byte]);
    }
    peer.asks(
        &job[job.len() - 1..],
        "01 0400000000000000 0f00000000000000 00000000 0300000000000000 78797a",
    );
    let mut other = worker.greet();
    other.asks(
        &hex("03 0300000000000000 1300000000000000 2a00000000000000 0300000000000000 616263"),
        "ff 0300000000000000 1600000000000000
         6e6f20636f6d7075746520636f7265206c6f61646564",
    );
    let mut refused = worker.dial();
    refused.asks(
        &hex("01 0100000000000000 0400000000000000 02000000"),
        "01 0100000000000000 0100000000000000 00",
    );
    // A script in the standard library of Python does the same.
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/protocol/controller_v1.py");
    let mut python = std::process::Command::new("python3");
    python.arg(script).arg(&worker.address).arg(machine.core("sum.c")).arg("1 2 39");
    match python.output() {
        Ok(output) => {
            let errors = String::from_utf8_lossy(&output.stderr).into_owned();
            assert_eq!(String::from_utf8_lossy(&output.stdout), "42\n", "{errors}");
        }
        Err(error) => skipped(&format!("examples/protocol/controller_v1.py ({error})")),
    }
}

#[test]
fn dc_2_each_run_is_freed_once_before_the_next_and_destructors_run() {
    let machine = Machine::new();
    let worker = Worker::start(&machine, "--jail none");
    let recorder = machine.core(RECORDER);
    let calls = |name: &str| machine.path(name);
    let read = |name: &str| std::fs::read_to_string(calls(name)).unwrap_or_default();
    let job = |name: &str| format!("file {}", calls(name).display());

    let mut peer = worker.load(&recorder);
    let (first, second) = (job("replaced"), job("closed"));
    assert_eq!(peer.run(&first), format!("i1r{}", first.len()));
    assert_eq!(peer.run("abc"), format!("i1r{}f{}r3", first.len(), first.len() / 10 + 3));
    peer.load(&recorder);
    // At replacement: everything was freed, and the destructor has run.
    let seen = read("replaced");
    assert!(seen.starts_with("i1r") && seen.ends_with("d"), "{seen}");
    assert_eq!(seen.matches('r').count(), 2, "{seen}");
    assert_eq!(seen.matches('f').count(), 2, "{seen}");
    // At close.
    peer.run(&second);
    drop(peer);
    until("the destructor runs", || read("closed").ends_with("d"));
    assert_eq!(read("closed").matches('f').count(), 1, "{}", read("closed"));
}

#[test]
fn dc_3_a_core_may_do_with_its_input_what_it_likes_and_answer_what_it_likes() {
    let (_machine, _worker, mut peer) = with(SPECIMEN);
    assert_eq!(peer.run("scribble all over this"), "scribbled");
    let long = format!("grow {}", "x".repeat(100_000));
    assert_eq!(peer.run(&long), long.repeat(3));
    peer.asks(
        &job(3, 0, b"null"),
        "01 0300000000000000 0c00000000000000 00000000 0000000000000000",
    );
    peer.asks(
        &job(3, 0, b"rc -7"),
        "01 0300000000000000 0c00000000000000 f9ffffff 0000000000000000",
    );
}

#[test]
fn dc_4_after_every_error_the_connection_is_of_use() {
    let machine = Machine::new();
    let worker = Worker::start(&machine, "");
    let specimen = machine.core(SPECIMEN);
    let load = |source: &str| std::fs::read(machine.core(source)).unwrap();
    let whole = job(9, 1, b"abc");
    let trailing = message(3, 9, &[&whole[17..], b"!"].concat());
    let truncated = message(3, 9, &whole[17..whole.len() - 1]);
    let cases = [
        job(9, 1, b"before a core"),
        core(9, "bad", b"\x7fELF"),
        core(9, "missing", &load("misbehaving/missing_symbol.c")),
        core(9, "init", &load("misbehaving/init_fails.c")),
        message(0x7f, 9, b"what is this"),
        truncated,
        trailing,
    ];
    let mut peer = worker.greet();
    for case in cases {
        peer.put(&case);
        let text = peer.error(9);
        assert!(!text.is_empty());
        peer.load(&specimen);
        assert_eq!(peer.run("echo still here"), "still here");
        // For the next one there is none again.
        peer.cannot_load(b"");
    }
}

#[test]
fn dc_5_a_refusal_ends_both_directions() {
    let machine = Machine::new();
    let worker = Worker::start(&machine, "");
    let mut peer = worker.dial();
    peer.asks(&version(1, 2), "01 0100000000000000 0100000000000000 00");
    peer.ends();
    // What is said now reaches nobody, and the end of it is noticed.
    let _ = std::io::Write::write_all(&mut peer.stream, &job(2, 0, b"abc"));
    peer.half_close();
    let closed = || process::descriptors(worker.node.child.id());
    drop(peer);
    let before = closed();
    until("nothing is left open", || closed() <= before);
}

#[test]
fn dc_6_a_thousand_jobs_may_be_on_their_way() {
    let (_machine, _worker, mut peer) = with(SPECIMEN);
    let id = |at: u64| match at % 3 {
        0 => u64::MAX,
        1 => 7,
        _ => at,
    };
    let all: Vec<u8> =
        (0..1000).flat_map(|at| job(id(at), at, format!("echo {at}").as_bytes())).collect();
    peer.put(&all);
    for at in 0..1000 {
        assert_eq!(peer.result(id(at)), (0, at.to_string().into_bytes()));
    }
}

#[test]
fn dc_7_a_crash_costs_one_job() {
    let (_machine, _worker, mut peer) = with(SPECIMEN);
    // All are on their way when the one in the middle crashes.
    for id in 0..100 {
        let input = if id == 50 { "x".to_owned() } else { format!("echo {id}") };
        peer.put(&job(id, 0, input.as_bytes()));
    }
    for id in 0..100 {
        if id == 50 {
            assert_eq!(peer.error(50), "compute core crashed: signal 11");
        } else {
            assert_eq!(peer.result(id), (0, id.to_string().into_bytes()));
        }
    }
}

#[test]
fn dc_8_four_workers_do_what_one_process_does_and_cores_are_of_any_language() {
    let machine = Machine::new();
    let workers: Vec<Worker> = (0..4)
        .map(|at| Worker::start(&machine, &format!("--name w{at} --socket w{at}.sock")))
        .collect();
    let flags: Vec<String> =
        workers.iter().map(|worker| format!("--worker {}", worker.address)).collect();
    let lines: String = (1..=400).map(|n| format!("{n} 1\n")).collect();
    let sums: String = (1..=400).map(|n| format!("{}\n", n + 1)).collect();
    let sum = machine.core("sum.c");
    let run = |library: &str, lines: &str| {
        let words = format!("controller-v1 {} {library} --lines -", flags.join(" "));
        machine.run_with_input(&words, lines)
    };
    let ran = run(&sum, &lines);
    assert_eq!((ran.code, &*ran.stderr, &*ran.stdout), (Some(0), "", &*sums));
    // The same as without the protocol, in three languages.
    for library in [machine.core("wordcount.cpp"), machine.rust_core("primes")] {
        let here = machine.run_with_input(&format!("core run {library} --lines -"), &lines);
        let there = run(&library, &lines);
        assert_eq!((there.code, &there.stdout), (here.code, &here.stdout), "{library}");
        assert!(there.stdout.lines().count() >= 400, "{there:?}");
    }
}

#[test]
fn dc_9_the_second_of_two_libraries_with_one_name_is_the_one_that_runs() {
    let machine = Machine::new();
    let worker = Worker::start(&machine, "");
    let mut peer = worker.greet();
    for (source, text) in [("a.c", "the first"), ("b.c", "the second"), ("c.c", "the third")] {
        peer.load(&named_core(&machine, source, text));
        assert_eq!(peer.run("anything"), text);
    }
}

#[test]
fn a_job_of_64_mib_comes_back_whole() {
    let (_machine, _worker, mut peer) = with(SPECIMEN);
    let mut input = b"echo ".to_vec();
    input.extend((0..64 << 20).map(|at: u32| (at.wrapping_mul(2_654_435_761) >> 24) as u8));
    for id in [3, 4] {
        let mut twin = peer.twin();
        let message = job(id, 0, &input);
        let writer = std::thread::spawn(move || twin.put(&message));
        let (code, output) = peer.result(id);
        assert_eq!(code, 0);
        assert!(output == input[5..], "other bytes");
        writer.join().unwrap();
    }
    // Small ones and large ones take turns, in order.
    let mut twin = peer.twin();
    let large = input[..(1 << 20) + 5].to_vec();
    let writer = std::thread::spawn(move || {
        for id in 0..20 {
            let input = if id % 2 == 0 { &large[..] } else { b"echo small" };
            twin.put(&job(id, 0, input));
        }
    });
    for id in 0..20 {
        let output = peer.result(id).1;
        let want = if id % 2 == 0 { &input[5..(1 << 20) + 5] } else { b"small" };
        assert!(output == want, "job {id}");
    }
    writer.join().unwrap();
}

#[test]
fn two_controllers_are_served_at_once_and_a_long_job_of_one_does_not_hold_up_the_other() {
    let machine = Machine::new();
    let worker = Worker::start(&machine, "--slots 2");
    let specimen = machine.core(SPECIMEN);
    let (mut one, mut other) = (worker.load(&specimen), worker.load(&specimen));
    one.put(&job(1, 0, b"hang"));
    for at in 1..=100 {
        assert_eq!(other.run("count"), at.to_string());
    }
    drop(one);
    assert_eq!(other.run("count"), "101");
}

#[test]
fn a_controller_and_a_client_share_one_slot() {
    let machine = Machine::new();
    let worker = Worker::start(&machine, "--slots 1");
    let specimen = machine.core(SPECIMEN);
    let mut peer = worker.load(&specimen);
    assert_eq!(peer.run("count"), "1");
    machine.write("in", "echo one\necho two\n");
    let words = format!("core run {specimen} --lines in --nodes {}", worker.own);
    let ran = machine.run(&words);
    assert_eq!((ran.code, &*ran.stdout), (Some(0), "one\ntwo\n"), "{}", ran.stderr);
    // What its core knew is still known.
    assert_eq!(peer.run("count"), "2");
    let status = machine.run(&format!("status --nodes {}", worker.own));
    assert!(status.stdout.contains("v1-1-127.0.0.1-"), "{}", status.stdout);
}

#[test]
fn closed_by_default_and_on_this_host_unless_insisted() {
    let machine = Machine::new();
    let words = "node --listen 127.0.0.1:0 --worker-v1";
    for place in ["0.0.0.0:0", "[::]:0"] {
        machine.run(&format!("{words} {place}")).complains(&[
            "error[E0108]",
            "is not on this host",
            "--worker-v1-anyone",
        ]);
    }
    machine
        .run("node --listen 127.0.0.1:0 --worker-v1-connect 192.0.2.1:1")
        .complains(&["error[E0108]", "is not on this host"]);
    let mut node = machine.start(&format!("{words} 0.0.0.0:0 --worker-v1-anyone"));
    assert!(node.line_with("worker protocol v1 at ").contains("0.0.0.0:"));
}

#[test]
fn a_file_of_settings_may_ask_for_it() {
    let machine = Machine::new();
    let settings = "worker_v1 = [\"127.0.0.1:0\"]\nworker_v1_time_limit = \"200ms\"\n";
    machine.write("node.toml", settings);
    let mut node = machine.start("node --listen 127.0.0.1:0 --config node.toml");
    let line = node.line_with("worker protocol v1 at ");
    let stream = TcpStream::connect(line.trim_start_matches("worker protocol v1 at ")).unwrap();
    let mut peer = Peer::over(stream);
    peer.greet();
    peer.load(&machine.core(SPECIMEN));
    assert_eq!(peer.fails("hang"), "compute core timed out after 200 ms");
    machine.write("node.toml", "worker_v2 = [\"127.0.0.1:0\"]\n");
    machine.run("node --listen 127.0.0.1:0 --config node.toml").complains(&["worker_v2"]);
}

#[test]
fn silent_connections_give_way_and_others_are_served() {
    let (_machine, worker, mut peer) = with(SPECIMEN);
    let silent: Vec<TcpStream> =
        (0..100).map(|_| TcpStream::connect(&worker.address).unwrap()).collect();
    let mut late = worker.greet();
    assert_eq!(late.fails("noop"), "no compute core loaded");
    assert_eq!(peer.run("count"), "1");
    drop(silent);

    // Those who have exchanged versions keep their places; there are 64.
    drop((peer, late));
    let mut all: Vec<_> = Vec::new();
    until("all places are taken", || {
        let mut next = worker.dial();
        next.put(&version(1, 1));
        let mut head = [0; 18];
        let is_in = std::io::Read::read_exact(&mut next.stream, &mut head).is_ok();
        if is_in {
            all.push(next);
        }
        !is_in
    });
    assert_eq!(all.len(), 64);
    let last = all.last_mut().unwrap();
    assert_eq!(last.fails("noop"), "no compute core loaded");
    drop(all);
    until("there is room again", || {
        let mut next = worker.dial();
        next.put(&version(1, 1));
        std::io::Read::read_exact(&mut next.stream, &mut [0; 18]).is_ok()
    });
}

#[test]
fn of_many_that_come_at_once_each_gets_its_own_answers() {
    let machine = Machine::new();
    let worker = Worker::start(&machine, "");
    let library = std::fs::read(machine.core("sum.c")).unwrap();
    // The node finds them all at its door at once: more than it has places, and each has said
    // everything before it is let in.
    worker.node.signal("STOP");
    let peers: Vec<_> = (0..70)
        .map(|id| {
            let mut peer = worker.dial();
            peer.put(&[version(1000 + id, 1), core(2000 + id, "sum", &library)].concat());
            (id, peer)
        })
        .collect();
    worker.node.signal("CONT");
    let served = peers.into_iter().filter_map(|(id, mut peer)| {
        let mut head = [0; 18];
        // Those for whom there was no place see the end.
        std::io::Read::read_exact(&mut peer.stream, &mut head).ok()?;
        assert_eq!(head[..], message(1, 1000 + id, &[1]), "peer {id}");
        assert_eq!(peer.answer(), (1, 2000 + id, Vec::new()));
        assert_eq!(peer.run("1 2 39"), "42");
        Some(peer)
    });
    let served: Vec<_> = served.collect();
    assert_eq!(served.len(), 64);
    drop(served);
    until("there is room again", || {
        let mut next = worker.dial();
        next.put(&version(1, 1));
        std::io::Read::read_exact(&mut next.stream, &mut [0; 18]).is_ok()
    });
}

#[test]
fn nothing_runs_for_a_peer_that_does_not_read() {
    let (_machine, worker, mut peer) = with(SPECIMEN);
    // 4 GiB of answers, asked for in 40 KiB.
    let all: Vec<u8> = (0..1000).flat_map(|id| job(id, 0, b"zeros 4194304")).collect();
    peer.put(&all);
    // Somebody else is served all the while, and the node does not grow.
    let mut other = worker.load(&_machine.core(SPECIMEN));
    for _ in 0..300 {
        other.run("work 1");
        let held = process::memory(worker.node.child.id()) >> 10;
        assert!(held < 1024, "{held} MiB");
    }
    for id in 0..1000 {
        assert_eq!(peer.result(id).1.len(), 4 << 20);
    }
}

#[test]
fn a_node_that_stops_finishes_the_job_it_is_at() {
    let machine = Machine::new();
    let worker = Worker::start(&machine, "--jail none");
    let recorder = machine.core(RECORDER);
    let mut at_rest = worker.load(&recorder);
    let calls = machine.path("calls");
    at_rest.run(format!("file {}", calls.display()));
    let gate = machine.path("gate");
    let mut peer = worker.load(&machine.core(EDGES));
    peer.put(&job(5, 0, format!("wait {}", gate.display()).as_bytes()));
    until("it runs", || worker.runs_a_job(&machine));
    worker.node.signal("TERM");
    // Who has nothing to wait for is sent away, its core unloaded.
    at_rest.ends();
    until("the destructor runs", || {
        std::fs::read_to_string(&calls).is_ok_and(|c| c.ends_with('d'))
    });
    std::fs::write(&gate, "").unwrap();
    assert_eq!(peer.result(5), (0, b"there".to_vec()));
    peer.ends();
    drop((peer, at_rest));
    assert_eq!(worker.node.end(), Some(0));
}
