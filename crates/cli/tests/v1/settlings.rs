//! How each open point of the protocol is settled, by its number.

use std::net::TcpListener;
use std::os::unix::net::UnixStream;

use super::*;
use crate::support::{process, until};

#[test]
fn settling_1_tcp_and_unix_sockets_and_either_side_may_dial() {
    let machine = Machine::new();
    let specimen = machine.core(SPECIMEN);
    let socket = machine.path("v1.sock").display().to_string();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let controller = listener.local_addr().unwrap();
    let words = format!("--worker-v1 unix:{socket} --worker-v1-connect {controller}");
    let worker = Worker::start(&machine, &words);

    let mut over_tcp = worker.load(&specimen);
    let mut over_unix = Peer::over(UnixStream::connect(&socket).unwrap());
    over_unix.greet();
    over_unix.load(&specimen);
    let mut dialled = Peer::accept(&listener);
    dialled.greet();
    dialled.load(&specimen);
    for _ in 0..2 {
        assert_eq!(over_tcp.run("echo tcp"), "tcp");
        assert_eq!(over_unix.run("echo unix"), "unix");
        assert_eq!(dialled.run("echo dialled"), "dialled");
    }
    // A controller that is lost is dialled again, and gets a worker that knows nothing of before.
    drop(dialled);
    let mut again = Peer::accept(&listener);
    again.put(&version(1, 1));
    assert_eq!(again.answer(), (1, 1, vec![1]));
    assert_eq!(again.fails("noop"), "no compute core loaded");
}

#[test]
fn settling_2_4_33_another_version_than_1_is_refused_and_both_sides_close() {
    let machine = Machine::new();
    let worker = Worker::start(&machine, "");
    for other in [0, 2, u32::MAX] {
        let mut peer = worker.dial();
        // What comes after it is not answered.
        peer.put(&[version(1, other), version(2, 1), job(3, 0, b"")].concat());
        peer.says("01 0100000000000000 0100000000000000 00");
        peer.ends();
        peer.half_close();
    }
}

#[test]
fn settling_3_versions_come_first() {
    let machine = Machine::new();
    let worker = Worker::start(&machine, "");
    let mut peer = worker.dial();
    let required = "version exchange required";
    let first = [
        (5, core(5, "core", b"\x7fELF")),
        (6, job(6, 1, b"abc")),
        (7, message(0x7f, 7, b"abc")),
        (8, message(3, 8, b"abc")),
        (9, job(9, 1, &vec![0; 1 << 20])),
    ];
    for (id, first) in first {
        peer.put(&first);
        assert_eq!(peer.error(id), required);
    }
    peer.greet();
}

#[test]
fn settling_5_versions_may_be_exchanged_again() {
    let (_machine, _worker, mut peer) = with(SPECIMEN);
    peer.greet();
    assert_eq!(peer.run("count"), "1");
    peer.greet();
    assert_eq!(peer.run("count"), "2");
}

#[test]
fn settling_6_a_version_has_4_bytes() {
    let machine = Machine::new();
    let worker = Worker::start(&machine, "");
    let mut peer = worker.dial();
    for payload in [&b""[..], b"\x01", b"\x01\0\0", b"\x01\0\0\0\0", &[1; 100_000]] {
        peer.put(&message(1, 9, payload));
        let text = peer.error(9);
        assert!(text.contains("a payload of 4 bytes, not of"), "{text}");
    }
    peer.greet();
}

#[test]
fn settling_7_8_ids_are_echoed_and_nothing_is_made_of_them_or_of_job_ids() {
    let (_machine, _worker, mut peer) = with(SPECIMEN);
    let ids = [7, 7, 0, u64::MAX, 1 << 63, 7];
    for (at, id) in ids.into_iter().enumerate() {
        peer.put(&job(id, [5, 5, u64::MAX][at % 3], format!("echo {at}").as_bytes()));
    }
    for (at, id) in ids.into_iter().enumerate() {
        assert_eq!(peer.result(id), (0, at.to_string().into_bytes()));
    }
}

#[test]
fn settling_9_jobs_are_read_ahead_run_in_order_and_held_back_by_tcp() {
    let (machine, _worker, mut peer) = with(SPECIMEN);
    for id in 0..50 {
        peer.put(&job(id, 0, b"count"));
    }
    for id in 0..50 {
        assert_eq!(peer.result(id).1, (id + 1).to_string().into_bytes());
    }

    // While one runs, a bounded amount is read ahead; the rest stays with the sender.
    let gate = machine.path("gate");
    let none = Machine::new();
    let worker = Worker::start(&none, "--jail none");
    let mut peer = worker.load(&none.core(EDGES));
    peer.put(&job(1, 0, format!("wait {}", gate.display()).as_bytes()));
    let large = job(2, 0, &vec![b'a'; 1 << 20]);
    let written = peer.press(&large, 300 << 20);
    assert!(written < 100 << 20, "{written} bytes were taken although nothing was answered");
    std::fs::write(&gate, "").unwrap();
    let mut twin = peer.twin();
    let jobs = written / large.len() + 1;
    let rest = std::thread::spawn(move || twin.put(&large[written % large.len()..]));
    assert_eq!(peer.result(1), (0, b"there".to_vec()));
    for _ in 0..jobs {
        assert_eq!(peer.result(2).0, 99);
    }
    rest.join().unwrap();
}

#[test]
fn settling_10_a_job_before_a_core_is_an_error_and_no_more() {
    let machine = Machine::new();
    let worker = Worker::start(&machine, "");
    let mut peer = worker.greet();
    peer.asks(
        &job(3, 42, b"abc"),
        "ff 0300000000000000 1600000000000000
         6e6f20636f6d7075746520636f7265206c6f61646564",
    );
    // A large one as well.
    assert_eq!(peer.fails(vec![0; 1 << 20]), "no compute core loaded");
    peer.load(&machine.core(SPECIMEN));
    assert_eq!(peer.run("echo yes"), "yes");
}

#[test]
fn settling_11_another_core_waits_for_the_jobs_before_it_and_the_old_one_is_unloaded_first() {
    let machine = Machine::new();
    let worker = Worker::start(&machine, "--jail none");
    let calls = machine.path("calls");
    let (recorder, specimen) = (machine.core(RECORDER), machine.core(SPECIMEN));
    let mut peer = worker.load(&recorder);
    let file = format!("file {}", calls.display());
    let specimen = std::fs::read(specimen).unwrap();
    peer.put(&[job(10, 0, file.as_bytes()), job(11, 0, b"a"), core(12, "b", &specimen)].concat());
    peer.put(&job(13, 0, b"count"));
    assert!(peer.result(10).1.starts_with(b"i1r"));
    peer.result(11);
    assert_eq!(peer.answer(), (1, 12, Vec::new()));
    // The destructor had run before the other one was loaded.
    assert!(std::fs::read_to_string(&calls).unwrap().ends_with('d'));
    assert_eq!(peer.result(13), (0, b"1".to_vec()));
}

#[test]
fn settling_12_a_core_that_cannot_be_loaded_leaves_none() {
    let (machine, _worker, mut peer) = with(SPECIMEN);
    let load = |source: &str| std::fs::read(machine.core(source)).unwrap();
    let none = "no compute core loaded";
    let cases = [
        (b"no library".to_vec(), "is not a shared library"),
        (load("misbehaving/missing_symbol.c"), "has no function worker_free_outdata"),
        (load("misbehaving/init_fails.c"), "worker_init returned 42"),
        (load("misbehaving/unresolved.c"), "undefined symbol"),
    ];
    for (library, why) in cases {
        let text = peer.cannot_load(&library);
        assert!(text.contains(why), "{text}");
        assert_eq!(peer.fails("echo not with an older one"), none);
        peer.load(&machine.core(SPECIMEN));
        assert_eq!(peer.run("echo again"), "again");
    }
}

#[test]
fn settling_13_a_name_is_text_and_no_path() {
    let machine = Machine::new();
    let worker = Worker::start(&machine, "");
    let library = std::fs::read(machine.core(SPECIMEN)).unwrap();
    let long = "é".repeat(4000);
    for name in ["", "/etc/passwd", "../../x", "a\0b\nc\u{1b}[2J", &long] {
        let mut peer = worker.greet();
        peer.put(&core(2, name, &library));
        assert_eq!(peer.answer(), (1, 2, Vec::new()), "{name:?}");
        assert_eq!(peer.run("count"), "1");
    }
}

#[test]
fn settling_14_libraries_of_one_soname_are_not_mixed_up() {
    let machine = Machine::new();
    let worker = Worker::start(&machine, "");
    let mut peer = worker.greet();
    for (text, source) in [("first", "one.c"), ("second", "two.c"), ("first", "one.c")] {
        let library = named_core(&machine, source, text);
        peer.load(&library);
        assert_eq!(peer.run(""), text);
    }
}

/// A core that answers `text`, with a name that the loader knows it by.
pub(super) fn named_core(machine: &Machine, source: &str, text: &str) -> String {
    let code = format!(
        "#include <stdint.h>
         int32_t worker_init(int32_t version) {{ return version - 1; }}
         int32_t worker_run_job(uint64_t s, void *d, uint64_t *os, void **od)
         {{ (void)s, (void)d; *os = sizeof \"{text}\" - 1; *od = \"{text}\"; return 0; }}
         void worker_free_outdata(uint64_t s, void *d) {{ (void)s, (void)d; }}"
    );
    let source = machine.write(source, code);
    let library = source.with_extension("so");
    let mut command = std::process::Command::new("cc");
    command.args(["-shared", "-fPIC", "-Wl,-soname,libcore.so", "-o"]).arg(&library).arg(&source);
    assert!(command.status().unwrap().success());
    library.display().to_string()
}

#[test]
fn settling_15_a_core_belongs_to_its_connection() {
    let (_machine, worker, mut peer) = with(SPECIMEN);
    assert_eq!(peer.run("count"), "1");
    let mut other = worker.dial();
    other.put(&job(1, 0, b"count"));
    assert_eq!(other.error(1), "version exchange required");
    other.greet();
    assert_eq!(other.fails("count"), "no compute core loaded");
}

#[test]
fn settling_16_a_code_is_a_result_and_has_its_output() {
    let (_machine, _worker, mut peer) = with(SPECIMEN);
    peer.put(&job(5, 0, b"rc 7 all the same"));
    assert_eq!(peer.result(5), (7, b"all the same".to_vec()));
    peer.put(&job(6, 0, b"rc -2147483648"));
    assert_eq!(peer.result(6), (i32::MIN, Vec::new()));
}

#[test]
fn settling_17_a_core_that_dies_costs_one_job_and_begins_anew() {
    let machine = Machine::new();
    let worker = Worker::start(&machine, "--worker-v1-time-limit 500ms");
    let mut peer = worker.load(&machine.core(SPECIMEN));
    assert_eq!(peer.run("count"), "1");
    assert_eq!(peer.run("count"), "2");
    assert_eq!(peer.fails("crash"), "compute core crashed: signal 11");
    assert_eq!(peer.run("count"), "1");
    assert_eq!(peer.fails("exit 3"), "compute core exited: code 3");
    assert_eq!(peer.run("count"), "1");
    assert_eq!(peer.fails("hang"), "compute core timed out after 500 ms");
    assert_eq!(peer.run("count"), "1");
}

#[test]
fn settling_18_20_22_32_calls_come_in_order_from_one_thread_with_preset_parameters() {
    let (_machine, _worker, mut peer) = with(RECORDER);
    // Each answer tells all calls before it; a "!" would be another thread, a "?" a parameter that
    // was not preset.
    assert_eq!(peer.run("abc"), "i1r3");
    peer.put(&job(5, 0, b"null"));
    assert_eq!(peer.result(5), (0, Vec::new()));
    peer.put(&job(6, 0, b"rc"));
    assert_eq!(peer.result(6), (-7, b"i1r3f4r4fNr2".to_vec()));
    assert_eq!(peer.run(""), "i1r3f4r4fNr2f12r0");
}

#[test]
fn settling_19_a_length_at_null_is_an_error_and_an_address_without_length_is_empty() {
    let (_machine, _worker, mut peer) = with(SPECIMEN);
    let text = peer.fails("null 5");
    assert!(text.contains("5 bytes at NULL"), "{text}");
    assert_eq!(peer.run("empty"), "");
    assert_eq!(peer.run("null"), "");
    // The same core goes on: it did not crash.
    assert_eq!(peer.run("count"), "4");
}

#[test]
fn settling_21_an_empty_input_has_an_address() {
    let (_machine, _worker, mut peer) = with(EDGES);
    assert_eq!(peer.run(""), "yes");
    assert_eq!(peer.run(""), "yes");
}

#[test]
fn settling_23_nested_lengths_must_fit() {
    let (_machine, _worker, mut peer) = with(SPECIMEN);
    let n = |number: u64| number.to_le_bytes();
    let job_of = |length: u64, input: &[u8]| [&n(1), &n(length)[..], input].concat();
    let cases = [
        (3, vec![], "within the numbers"),
        (3, n(1).to_vec(), "within the numbers"),
        (3, job_of(4, b"abc"), "within the job's input"),
        (3, job_of(u64::MAX, b"abc"), "within the job's input"),
        (3, job_of(2, b"abc"), "1 bytes after the job's input"),
        (3, job_of(1 << 20, &vec![0; 100_000]), "within the job's input"),
        (2, n(1 << 40).to_vec(), "within the name"),
        (2, [&n(1)[..], b"a", &n(5), b"abc"].concat(), "within the library"),
        (2, [&n(1)[..], b"a", &n(1), b"abc"].concat(), "2 bytes after the library"),
    ];
    for (kind, payload, why) in cases {
        peer.put(&message(kind, 8, &payload));
        let text = peer.error(8);
        assert!(text.contains(why), "{text}");
    }
    assert_eq!(peer.run("count"), "1");
}

#[test]
fn settling_24_a_name_is_utf_8() {
    let (_machine, _worker, mut peer) = with(SPECIMEN);
    peer.put(&message(2, 8, &[counted(b"a\xffc"), counted(&[0; 200_000])].concat()));
    assert_eq!(peer.error(8), "the name of the core is not UTF-8");
    assert_eq!(peer.run("count"), "1");
}

#[test]
fn settling_25_a_payload_above_the_cap_ends_the_connection() {
    let machine = Machine::new();
    let worker = Worker::start(&machine, "--worker-v1-payload-max 1M");
    let mut peer = worker.load(&machine.core(SPECIMEN));
    // At the cap it is a job like any other.
    let most = (1 << 20) - 16;
    peer.put(&job(4, 0, &vec![b'a'; most]));
    assert_eq!(peer.result(4), (99, vec![b'a'; most]));
    peer.put(&job(5, 0, b"echo before"));
    let mut head = message(3, 6, b"");
    head[9..17].copy_from_slice(&u64::MAX.to_le_bytes());
    peer.put(&head);
    assert_eq!(peer.result(5), (0, b"before".to_vec()));
    assert!(peer.error(6).starts_with("payload too large"));
    peer.ends();
}

#[test]
fn settling_26_an_unknown_message_is_skipped() {
    let (_machine, _worker, mut peer) = with(SPECIMEN);
    for (kind, length) in [(0x7f, 3), (0, 0), (0xff, 3_000_000)] {
        peer.put(&message(kind, 77, &vec![3; length]));
        assert_eq!(peer.error(77), format!("unknown message type 0x{kind:02x}"));
    }
    assert_eq!(peer.run("count"), "1");
}

#[test]
fn settling_28_a_worker_says_nothing_unasked() {
    let (_machine, _worker, mut peer) = with(SPECIMEN);
    peer.is_silent();
    peer.put(&job(5, 0, b"stderr lines for nobody"));
    assert_eq!(peer.result(5), (0, Vec::new()));
    peer.is_silent();
}

#[test]
fn settling_29_a_half_closed_connection_gets_its_answers() {
    let (_machine, worker, mut peer) = with(SPECIMEN);
    for id in 0..20 {
        peer.put(&job(id, 0, b"count"));
    }
    peer.half_close();
    for id in 0..20 {
        assert_eq!(peer.result(id).1, (id + 1).to_string().into_bytes());
    }
    peer.ends();
    until("its worker is gone", || worker.children() == 0);
}

#[test]
fn settling_30_a_connection_that_breaks_takes_its_job_along() {
    let (machine, worker, mut peer) = with(SPECIMEN);
    // Within a message: what came of it is not answered.
    let whole = job(5, 0, b"echo never");
    peer.put(&whole[..whole.len() - 1]);
    peer.half_close();
    peer.ends();
    until("its worker is gone", || worker.children() == 0);
    // The same in a large one.
    let mut peer = worker.load(&machine.core(SPECIMEN));
    peer.put(&job(5, 0, &vec![0; 1 << 20])[..1 << 19]);
    peer.half_close();
    peer.ends();

    // In the middle of a job that would never end.
    let mut peer = worker.load(&machine.core(SPECIMEN));
    peer.put(&job(6, 0, b"hang"));
    let running = |worker: &Worker| {
        let children = process::children(worker.node.child.id());
        children.iter().any(|&child| process::ticks(child) > 5)
    };
    until("it runs", || running(&worker));
    peer.put(&whole[..7]);
    drop(peer);
    until("its worker is gone", || worker.children() == 0);
}

#[test]
fn settling_31_controllers_have_nothing_to_do_with_each_other() {
    let (machine, worker, mut one) = with(SPECIMEN);
    let mut other = worker.load(&machine.core(SPECIMEN));
    assert_eq!(one.run("count"), "1");
    assert_eq!(other.run("count"), "1");
    assert_eq!(one.fails("crash"), "compute core crashed: signal 11");
    assert_eq!(other.run("count"), "2");
    assert_ne!(one.run("pid"), other.run("pid"));
}
