//! Cores that misbehave, as a controller sees it.

use super::*;
use crate::support::{process, until};

fn read(path: String) -> Vec<u8> {
    std::fs::read(path).unwrap()
}

#[test]
fn a_core_that_dies_while_it_is_loaded_says_how() {
    let machine = Machine::new();
    let worker = Worker::start(&machine, "--worker-v1-time-limit 300ms");
    let mut peer = worker.greet();
    let cases = [
        ("misbehaving/init_crashes.c", "it crashed while it was loaded: signal 11"),
        ("misbehaving/load_exits.c", "it ended its process while it was loaded: code 4"),
        ("misbehaving/load_hangs.c", "it did not load within 300 ms"),
    ];
    for (source, why) in cases {
        let text = peer.cannot_load(&read(machine.core(source)));
        assert!(text.contains(why), "{text}");
        assert_eq!(peer.fails("noop"), "no compute core loaded");
    }
    peer.load(&machine.core(SPECIMEN));
    assert_eq!(peer.run("echo fine"), "fine");
    until("the others are gone", || worker.children() == 1);
}

#[test]
fn a_library_for_another_machine_or_cut_off_is_refused_by_name() {
    let machine = Machine::new();
    let worker = Worker::start(&machine, "");
    let mut peer = worker.greet();
    let library = read(machine.core(SPECIMEN));
    let mut foreign = library.clone();
    // e_machine: SPARC.
    foreign[18..20].copy_from_slice(&[2, 0]);
    let text = peer.cannot_load(&foreign);
    assert!(text.contains("is built for"), "{text}");
    let text = peer.cannot_load(&library[..library.len() / 2]);
    assert!(text.contains("cut off") || text.contains("not a shared library"), "{text}");
    let text = peer.cannot_load(&library[..100]);
    assert!(text.contains("not a shared library"), "{text}");
    let text = peer.cannot_load(b"");
    assert!(text.contains("not a shared library"), "{text}");
}

#[test]
fn constructors_run_once_and_large_static_memory_costs_nothing() {
    let machine = Machine::new();
    let worker = Worker::start(&machine, "--worker-v1-memory 256M");
    let mut peer = worker.load(&machine.core(EDGES));
    assert_eq!(peer.run("built"), "1");
    assert_eq!(peer.fails("crash"), "compute core crashed: signal 11");
    assert_eq!(peer.run("built"), "1");
}

#[test]
fn too_much_memory_is_told_with_peak_and_limit() {
    let machine = Machine::new();
    let worker = Worker::start(&machine, "--worker-v1-memory 64M");
    let mut peer = worker.load(&machine.core(SPECIMEN));
    assert_eq!(peer.run("leak 8"), "8");
    let text = peer.fails("leak 4096");
    let numbers: Vec<u64> =
        text.split(|c: char| !c.is_ascii_digit()).filter_map(|n| n.parse().ok()).collect();
    assert!(text.starts_with("compute core ran out of memory: peak "), "{text}");
    assert_eq!(numbers.len(), 2, "{text}");
    // Where the kernel keeps the limit, the peak is no higher.
    assert!(numbers[0] >= numbers[1] && numbers[1] == 64 << 20, "{text}");
    assert_eq!(peer.run("count"), "1");
}

#[test]
fn threads_and_signal_handlers_end_with_their_core() {
    let (machine, worker, mut peer) = with(EDGES);
    assert_eq!(peer.run("threads 20"), "20");
    assert_eq!(peer.run("handlers"), "ok");
    assert_eq!(peer.run("threads 1"), "1");
    // Replaced, and closed: it unloads, or is killed for not doing so.
    peer.load(&machine.core(EDGES));
    assert_eq!(peer.run("handlers"), "ok");
    drop(peer);
    until("its worker is gone", || worker.children() == 0);
}

#[test]
fn a_core_that_cannot_be_loaded_again_fails_its_jobs_until_it_can() {
    let machine = Machine::new();
    let worker = Worker::start(&machine, "--jail none");
    let flag = machine.path("flag");
    let library = compile(
        &machine,
        "moody.c",
        &format!(
            "#include <stdint.h>
             #include <stdlib.h>
             #include <unistd.h>
             int32_t worker_init(int32_t v) {{ (void)v; return access(\"{}\", F_OK) ? 0 : 7; }}
             int32_t worker_run_job(uint64_t s, void *d, uint64_t *os, void **od)
             {{ (void)d, (void)os, (void)od; if (s) abort(); return 0; }}
             void worker_free_outdata(uint64_t s, void *d) {{ (void)s, (void)d; }}",
            flag.display()
        ),
    );
    let mut peer = worker.load(&library);
    assert_eq!(peer.run(""), "");
    std::fs::write(&flag, "").unwrap();
    assert_eq!(peer.fails("x"), "compute core crashed: signal 6");
    for _ in 0..3 {
        let text = peer.fails("");
        assert!(text.starts_with("compute core could not be loaded again: "), "{text}");
        assert!(text.contains("worker_init returned 7"), "{text}");
    }
    std::fs::remove_file(&flag).unwrap();
    assert_eq!(peer.run(""), "");
}

/// A core that is written for one test.
fn compile(machine: &Machine, name: &str, code: &str) -> String {
    let source = machine.write(name, code);
    let library = source.with_extension("so");
    let mut command = std::process::Command::new("cc");
    command.args(["-shared", "-fPIC", "-o"]).arg(&library).arg(&source);
    assert!(command.status().unwrap().success());
    library.display().to_string()
}

#[test]
fn a_core_that_does_not_let_itself_be_unloaded_is_killed() {
    let machine = Machine::new();
    let worker = Worker::start(&machine, "");
    let library = compile(
        &machine,
        "stubborn.c",
        "#include <stdint.h>
         #include <unistd.h>
         __attribute__((destructor)) static void stay(void) { for (;;) pause(); }
         int32_t worker_init(int32_t version) { return version - 1; }
         int32_t worker_run_job(uint64_t s, void *d, uint64_t *os, void **od)
         { (void)s, (void)d, (void)os, (void)od; return 0; }
         void worker_free_outdata(uint64_t s, void *d) { (void)s, (void)d; }",
    );
    let mut peer = worker.load(&library);
    assert_eq!(peer.run("anything"), "");
    peer.load(&machine.core(SPECIMEN));
    assert_eq!(peer.run("count"), "1");
    assert_eq!(worker.children(), 1);
}

#[test]
fn what_a_core_leaves_behind_goes_with_it() {
    let (machine, worker, mut peer) = with(SPECIMEN);
    let child: u32 = peer.run("fork 600000").parse().unwrap();
    assert!(process::is_alive(child));
    peer.load(&machine.core(SPECIMEN));
    until("the child is gone", || !process::is_alive(child));
    let child: u32 = peer.run("fork 600000").parse().unwrap();
    assert_eq!(peer.fails("crash"), "compute core crashed: signal 11");
    until("the child is gone", || !process::is_alive(child));
    drop(peer);
    until("its worker is gone", || worker.children() == 0);
}

#[test]
fn what_it_said_on_standard_error_goes_with_the_news_of_its_death() {
    let (_machine, _worker, mut peer) = with(SPECIMEN);
    assert_eq!(peer.run("stderr something is wrong"), "");
    let text = peer.fails("abort");
    assert_eq!(text, "compute core crashed: signal 6; its last words: something is wrong");
    assert!(peer.fails("overflow").starts_with("compute core crashed: signal "));
}

#[test]
fn a_hundred_cores_one_after_the_other_leave_nothing_behind() {
    let (machine, worker, mut peer) = with(SPECIMEN);
    let library = read(machine.core(SPECIMEN));
    let open = || process::descriptors(worker.node.child.id());
    let before = open();
    for _ in 0..100 {
        peer.put(&[core(2, "core", &library), job(3, 0, b"count")].concat());
        assert_eq!(peer.answer(), (1, 2, Vec::new()));
        assert_eq!(peer.result(3).1, b"1");
    }
    assert_eq!(worker.children(), 1);
    assert!(open() <= before + 1, "{} descriptors, and {before} before", open());
    for _ in 0..50 {
        let mut other = worker.load(&machine.path("libspecimen.so").display().to_string());
        assert_eq!(other.run("count"), "1");
    }
    until("they are gone", || worker.children() == 1);
    until("nothing is left open", || open() <= before + 1);
}
