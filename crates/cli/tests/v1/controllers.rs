//! The other side: `farcall controller-v1`, against workers that are ours and workers that are not.

use std::net::TcpListener;
use std::process::Command;

use super::*;
use crate::support::Ran;

/// A worker that says what it likes: `serve` gets each connection after the core is loaded.
fn fake(serve: impl Fn(Peer<TcpStream>) + Send + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        let mut peer = Peer::accept(&listener);
        assert_eq!(peer.answer(), (1, 1, vec![1, 0, 0, 0]));
        peer.put(&message(1, 1, &[1]));
        let (kind, id, _) = peer.answer();
        assert_eq!(kind, 2);
        peer.put(&message(1, id, b""));
        serve(peer);
    });
    address
}

fn result(id: u64, code: i32, output: &[u8]) -> Vec<u8> {
    message(1, id, &[&code.to_le_bytes()[..], &counted(output)].concat())
}

#[test]
fn settling_7_9_answers_are_matched_by_ids_that_are_used_once() {
    let machine = Machine::new();
    let sum = machine.core("sum.c");
    let address = fake(|mut peer| {
        let (first, second) = (peer.answer(), peer.answer());
        assert_ne!(first.1, second.1);
        let output = |of: &(u8, u64, Vec<u8>)| result(of.1, 0, &of.2[16..]);
        // The other way round.
        peer.put(&[output(&second), output(&first)].concat());
        peer.ends();
    });
    let words = format!("controller-v1 --worker {address} {sum} --lines -");
    machine.run_with_input(&words, "one\ntwo\n").says("one\ntwo\n");
}

#[test]
fn settling_27_an_answer_of_unknown_type_is_a_breach() {
    let machine = Machine::new();
    let sum = machine.core("sum.c");
    let nonsense: [(&[u8], &str); 5] = [
        (&message(2, 3, b"abc"), "broke the protocol with an answer of the unknown type 0x02"),
        (&message(1, 3, b"abc"), "broke the protocol with an answer to a job"),
        (&message(1, 99, &[0; 12]), "answered message 99, which was not asked"),
        (&hex("01 0300000000000000 ffffffffffffffff"), "broke the protocol with an answer of"),
        (&hex("01 0300000000000000 ffff00"), "hung up"),
    ];
    for (bytes, why) in nonsense {
        let bytes = bytes.to_vec();
        let address = fake(move |mut peer| {
            peer.answer();
            peer.put(&bytes);
            if bytes.len() == 12 {
                return;
            }
            // The controller closes.
            peer.ends();
        });
        let words = format!("controller-v1 --worker {address} {sum} --lines -");
        machine.run_with_input(&words, "1 2\n").complains(&["its worker was lost", why]);
    }
}

#[test]
fn a_worker_of_another_version_is_refused_by_name() {
    let machine = Machine::new();
    let sum = machine.core("sum.c");
    machine.write("a", "1 2");
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let worker = std::thread::spawn(move || {
        let mut peer = Peer::accept(&listener);
        peer.answer();
        peer.put(&message(1, 1, &[0]));
        peer.ends();
    });
    machine
        .run(&format!("controller-v1 --worker {address} {sum} a"))
        .complains(&["error[E0206]", "does not speak version 1"]);
    worker.join().unwrap();
    machine.run(&format!("controller-v1 --worker unix:nobody.sock {sum} a")).complains(&[
        "error[E0206]",
        "cannot be reached",
        "farcall node --worker-v1",
    ]);
    machine
        .run(&format!("controller-v1 --listen 0.0.0.0:0 {sum} a"))
        .complains(&["error[E0108]", "--anyone"]);
}

#[test]
fn results_failures_and_files_are_those_of_core_run() {
    let machine = Machine::new();
    let worker = Worker::start(&machine, "");
    let specimen = machine.core(SPECIMEN);
    machine.write("in", "echo one\ncrash\necho two\nrc 7\nexit 3\n");
    let controller = format!("controller-v1 --worker {} {specimen}", worker.address);
    let ran = machine.run(&format!("{controller} --lines in"));
    assert_eq!(ran.stdout, "one\ntwo\n");
    ran.complains(&[
        "1 task failed: compute core crashed: signal 11 (line 2)\n",
        "1 task failed: exit code 7 (line 4)\n",
        "1 task failed: compute core exited: code 3 (line 5)\n",
    ]);
    let ran = machine.run(&format!("{controller} --lines in --json"));
    let lines: Vec<serde_json::Value> =
        ran.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 5);
    assert_eq!(lines[0]["node"], worker.address);
    assert_eq!(lines[1]["failure"]["kind"], "worker's error");
    machine.write("a.txt", "echo a file");
    machine.run(&format!("{controller} a.txt --out results")).says("");
    assert_eq!(std::fs::read_to_string(machine.path("results/a.txt")).unwrap(), "a file");
    let no_core = machine.write("no.so", "nothing");
    machine
        .run(&format!("controller-v1 --worker {} {} a.txt", worker.address, no_core.display()))
        .complains(&["error[E0206]", "is not a shared library"]);
}

#[test]
fn inputs_and_outputs_of_any_size_go_through_without_a_deadlock() {
    let machine = Machine::new();
    let worker = Worker::start(&machine, "");
    let specimen = machine.core(SPECIMEN);
    // Far more in both directions than buffers hold.
    let line = format!("echo {}\n", "x".repeat(3 << 20));
    machine.write("in", line.repeat(40));
    let words = format!("controller-v1 --worker {} {specimen} --lines in", worker.address);
    let ran = machine.run(&words);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    assert!(ran.stdout == line[5..].repeat(40));
}

#[test]
fn workers_may_dial_in_and_the_jobs_of_one_that_is_lost_go_to_another() {
    let machine = Machine::new();
    let socket = machine.path("controller.sock").display().to_string();
    let gate = machine.path("gate");
    let edges = machine.core(EDGES);
    let lines = format!("wait {}\n", gate.display()).repeat(6);
    machine.write("in", lines);
    let words = format!("controller-v1 --listen unix:{socket} --workers 2 {edges} --lines in");
    let mut controller: Command = machine.command(words.split_whitespace());
    controller.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
    let controller = controller.spawn().unwrap();
    // Somebody who is no worker comes first, and is in nobody's way.
    let mut stranger = None;
    crate::support::until("somebody listens", || {
        stranger = std::os::unix::net::UnixStream::connect(&socket).ok();
        stranger.is_some()
    });
    std::io::Write::write_all(stranger.as_mut().unwrap(), b"GET / HTTP/1.1\r\n\r\n").unwrap();
    let start = |name: &str| {
        let words = format!("--worker-v1-connect unix:{socket} --jail none --name {name}");
        Worker::start(&machine, &words)
    };
    let (stays, goes) = (start("stays"), start("goes"));
    let is_busy = |worker: &Worker| worker.runs_a_job(&machine);
    crate::support::until("both are at work", || is_busy(&stays) && is_busy(&goes));
    let mut gone = goes.node;
    gone.child.kill().unwrap();
    gone.child.wait().unwrap();
    std::fs::write(&gate, "").unwrap();
    let ran = Ran::of(controller.wait_with_output().unwrap());
    assert_eq!((ran.code, &*ran.stdout), (Some(0), &*"there\n".repeat(6)), "{}", ran.stderr);
    assert!(
        ran.stderr.starts_with("warning[E0206]: the worker at the other end"),
        "{}",
        ran.stderr
    );
}
