//! What peers can take of a node: descriptors, memory, time.

use super::*;
use crate::support::{process, until};

/// A node without a jail, and a controller whose job waits for the file.
fn busy(machine: &Machine) -> (Worker, Peer<TcpStream>, std::path::PathBuf) {
    let worker = Worker::start(machine, "--jail none");
    let gate = machine.path("gate");
    let mut peer = worker.load(&machine.core(EDGES));
    peer.put(&job(1, 0, format!("wait {}", gate.display()).as_bytes()));
    until("the job runs", || worker.runs_a_job(machine));
    (worker, peer, gate)
}

#[test]
fn cores_that_are_sent_ahead_cost_few_descriptors() {
    let machine = Machine::new();
    let (worker, mut peer, gate) = busy(&machine);
    let before = process::descriptors(worker.node.child.id());
    let tiny = core(7, "tiny", &[b'x'; 100]);
    let written = peer.press(&tiny, 100_000 * tiny.len());
    let cores = process::descriptors(worker.node.child.id()) - before;
    assert!(cores < 30, "{cores} descriptors for {} cores", written / tiny.len());
    std::fs::write(&gate, "").unwrap();
    assert_eq!(peer.result(1), (0, b"there".to_vec()));
    for _ in 0..20 {
        peer.error(7);
    }
}

#[test]
fn inputs_that_are_sent_ahead_cost_few_descriptors() {
    let machine = Machine::new();
    let (worker, mut peer, gate) = busy(&machine);
    let before = process::descriptors(worker.node.child.id());
    // Just more than goes inline.
    let large = job(7, 0, &vec![b'a'; (64 << 10) + 1]);
    let written = peer.press(&large, 3000 * large.len());
    let inputs = process::descriptors(worker.node.child.id()) - before;
    assert!(inputs < 100, "{inputs} descriptors for {} inputs", written / large.len());
    std::fs::write(&gate, "").unwrap();
    assert_eq!(peer.result(1), (0, b"there".to_vec()));
    for _ in 0..50 {
        assert_eq!(peer.result(7).0, 99);
    }
}

#[test]
fn nothing_is_kept_before_versions_are_exchanged() {
    let machine = Machine::new();
    let worker = Worker::start(&machine, "");
    let mut peer = worker.dial();
    assert_eq!(peer.fails("noop"), "version exchange required");
    let before = process::descriptors(worker.node.child.id());
    // As much as is announced never comes.
    let whole = core(7, "core", &vec![b'x'; 8 << 20]);
    peer.put(&whole[..whole.len() / 2]);
    let mut other = worker.greet();
    assert_eq!(other.fails("noop"), "no compute core loaded");
    let now = process::descriptors(worker.node.child.id());
    assert!(now <= before + 1, "{before} descriptors, and then {now}");
    peer.put(&whole[whole.len() / 2..]);
    assert_eq!(peer.error(7), "version exchange required");
    peer.greet();
}

/// As much of a core's message as comes before its library.
fn announced_core(id: u64, library: u64) -> Vec<u8> {
    let length = (8 + 4 + 8 + library).to_le_bytes();
    let name = counted(b"core");
    [&[2], &id.to_le_bytes()[..], &length, &name, &library.to_le_bytes()].concat()
}

fn announced_job(id: u64, input: u64) -> Vec<u8> {
    let (length, number) = ((16 + input).to_le_bytes(), 0u64.to_le_bytes());
    [&[3], &id.to_le_bytes()[..], &length, &number, &input.to_le_bytes()].concat()
}

#[test]
fn what_is_announced_and_does_not_come_takes_no_memory_and_no_room() {
    let machine = Machine::new();
    let worker = Worker::start(&machine, "");
    let library = machine.core("sum.c");
    let mut stalled: Vec<_> = (0..20).map(|_| worker.greet()).collect();
    for (at, peer) in stalled.iter_mut().enumerate() {
        let most = (1 << 30) - 100;
        peer.put(&if at % 2 == 0 { announced_core(2, most) } else { announced_job(3, most) });
        peer.put(&[7; 1000]);
    }
    // Others have room all the same, for cores and for large inputs.
    let mut peer = worker.load(&library);
    assert_eq!(peer.run("1 2 39".to_owned() + &" 0".repeat(1 << 20)), "42");
    let held = process::memory(worker.node.child.id()) >> 10;
    assert!(held < 200, "{held} MiB");
}

#[test]
fn who_ends_within_a_message_is_over_even_if_he_reads_nothing() {
    let (_machine, worker, mut peer) = with(SPECIMEN);
    // More answers than are kept for one who does not read, and then half a core.
    let jobs: Vec<u8> = (0..40).flat_map(|id| job(id, 0, b"zeros 4194304")).collect();
    peer.put(&[jobs, announced_core(50, 1 << 20), vec![7; 1000]].concat());
    assert_eq!(peer.result(0).1.len(), 4 << 20);
    let idle = || !worker.runs_a_job(&_machine);
    until("nothing runs for him", || idle() && idle() && idle());
    peer.half_close();
    until("his worker is gone", || worker.children() == 0);
}

#[test]
fn a_controller_that_the_node_dials_does_not_give_way() {
    let machine = Machine::new();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let to = listener.local_addr().unwrap();
    let worker = Worker::start(&machine, &format!("--worker-v1-connect {to}"));
    let mut dialled = Peer::accept(&listener);
    let silent: Vec<_> = (0..100).map(|_| worker.dial()).collect();
    let mut late = worker.greet();
    assert_eq!(late.fails("noop"), "no compute core loaded");
    dialled.greet();
    dialled.load(&machine.core("sum.c"));
    assert_eq!(dialled.run("1 2 39"), "42");
    drop(silent);
}
