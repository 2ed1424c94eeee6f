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
        assert!(peer.error(7).contains("cannot be loaded"));
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
