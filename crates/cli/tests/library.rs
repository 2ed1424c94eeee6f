//! The Rust library as its users hold it: handles, futures, streams, terms.

#![forbid(unsafe_code)]

mod support;

use std::future::Future;
use std::io::{Read, Write};
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::Duration;

use client::{Cluster, Core, Entry, Local, Place, TaskName, Trace, Why};
use support::Machine;

const SPECIMEN: &str = "misbehaving/specimen.c";

/// A node with two slots and the core that obeys its input.
struct Bench {
    _machine: Machine,
    cluster: Cluster,
    core: Core,
}

fn bench(local: Local) -> Bench {
    let machine = Machine::new();
    let farcall = env!("CARGO_BIN_EXE_farcall");
    let cluster = local.slots(2).program(farcall).start().expect("a node on this machine");
    let core = cluster.core(machine.core(SPECIMEN)).expect("a library that was just built");
    Bench { _machine: machine, cluster, core }
}

/// The least executor there is: the thread sleeps until it is woken.
fn block_on<F: Future>(future: F) -> F::Output {
    struct Unpark(Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut context = Context::from_waker(&waker);
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut context) {
            Poll::Ready(output) => return output,
            Poll::Pending => thread::park_timeout(Duration::from_secs(60)),
        }
    }
}

#[test]
fn a_handle_is_a_future() {
    let Bench { core, .. } = bench(Local::new());
    let (slow, quick) = (core.submit("sleep 50"), core.submit("echo quick"));
    assert_eq!(&block_on(quick).expect("an echo")[..], b"quick");
    block_on(slow).expect("a short sleep");
    let failed = block_on(core.submit("rc 7")).expect_err("a code that is not 0");
    assert!(matches!(failed.why, Why::ExitCode { code: 7, .. }), "{failed}");
}

#[test]
fn a_handle_can_be_asked_waited_for_and_cancelled() {
    let Bench { core, .. } = bench(Local::new());
    let hanging = core.submit("hang");
    assert!(!hanging.wait_timeout(Duration::from_millis(50)));
    let Err(hanging) = hanging.try_join() else { panic!("a task that hangs has no result") };
    hanging.cancel();
    assert!(hanging.wait_timeout(Duration::from_secs(30)), "a cancelled task ends");
    let failed = hanging.join().expect_err("it was cancelled");
    assert_eq!(failed.why, Why::Cancelled);
    assert_eq!(&core.run("echo next").expect("the next task")[..], b"next");
}

#[test]
fn terms_are_kept_and_reasons_are_true() {
    let Bench { core, .. } = bench(Local::new());
    let slow = core.clone().deadline(Duration::from_millis(100)).run("hang");
    let limit = Duration::from_millis(100);
    assert_eq!(slow.expect_err("too long").why, Why::TimeLimit { limit });
    let large = core.clone().memory(64 << 20).run("leak 300").expect_err("too much");
    let Why::OutOfMemory { peak, limit } = large.why else { panic!("{large}") };
    // Where the kernel keeps the limit, the peak is no more than that.
    assert!(limit == 64 << 20 && peak > limit / 10 * 9, "{peak} of {limit}");
    let crashed = core.clone().retries(1).run("crash").expect_err("it crashes each time");
    assert!(matches!(crashed.why, Why::Signal { signal: 11, .. }), "{crashed}");
    assert_eq!(crashed.attempt, 2);
    let poison = core.clone().retries(100).run("exit 3").expect_err("poison");
    assert!(matches!(poison.why, Why::Exited { code: 3, .. }), "{poison}");
    assert_eq!(poison.attempt, 3, "a task that killed three workers is not tried again");
    assert_eq!(&core.run("env FARCALL_ATTEMPT").expect("its attempt")[..], b"1");
}

#[test]
fn unordered_results_carry_the_positions_of_their_inputs() {
    let Bench { core, .. } = bench(Local::new());
    let inputs: Vec<String> = (0..500).map(|n| format!("echo {n}")).collect();
    let mut seen = vec![false; inputs.len()];
    for (position, result) in core.map_unordered(inputs) {
        let output = result.expect("an echo");
        assert_eq!(&output[..], position.to_string().as_bytes());
        assert!(!std::mem::replace(&mut seen[position as usize], true), "{position} came twice");
    }
    assert!(seen.into_iter().all(|seen| seen));
}

#[test]
fn a_stream_is_written_read_and_asked_how_it_ended() {
    for local in [Local::new(), Local::new().tls()] {
        let Bench { core, cluster, .. } = bench(local);
        let mut task = core.open();
        task.write_all(b"echo ").expect("room in the window");
        task.write_all(b"hello").expect("room in the window");
        task.close();
        let mut output = String::new();
        task.read_to_string(&mut output).expect("an echo");
        assert_eq!(output, "hello");
        assert_eq!(task.finish().expect("it succeeded"), b"");
        // Beyond all windows, both ways at once.
        let large = vec![b'x'; 3 << 20];
        let mut task = core.open();
        task.write_all(b"echo ").expect("room");
        task.write_all(&large).expect("the task reads on");
        assert_eq!(task.finish().expect("it succeeded"), large);
        drop(cluster);
    }
}

#[test]
fn a_stream_whose_task_fails_says_why_and_is_not_tried_again() {
    let Bench { core, .. } = bench(Local::new());
    for (input, kind) in [("crash", "signal"), ("rc 9", "exit code"), ("exit 2", "exited")] {
        let mut task = core.open();
        task.write_all(input.as_bytes()).expect("room");
        let failed = task.finish().expect_err("it fails");
        assert_eq!((failed.why.kind(), failed.attempt), (kind, 1), "{failed}");
    }
    // A stream that is dropped frees its slot.
    for _ in 0..4 {
        drop(core.open());
    }
    assert_eq!(&core.run("echo next").expect("the next task")[..], b"next");
}

#[test]
fn many_threads_share_one_cluster() {
    let Bench { core, .. } = bench(Local::new());
    thread::scope(|scope| {
        for number in 0..8 {
            let core = core.clone();
            scope.spawn(move || {
                for turn in 0..50 {
                    let output = core.run(format!("echo {number} {turn}")).expect("an echo");
                    assert_eq!(&output[..], format!("{number} {turn}").as_bytes());
                }
            });
        }
    });
}

#[test]
fn cores_of_each_language_run() {
    let Bench { cluster, _machine: machine, .. } = bench(Local::new());
    for (source, input, want) in [("sum.c", "1 2 39", "42"), ("wordcount.cpp", "a b a", "a\t2")] {
        let core = cluster.core(machine.core(source)).expect("a library that was just built");
        let output = core.run(input).expect("an example works");
        let output = String::from_utf8_lossy(&output).into_owned();
        assert!(output.contains(want), "{source}: {output:?}");
    }
    let rust = machine.rust_core("primes");
    let core = cluster.core(rust).expect("a library that was just built");
    assert_eq!(&core.run("0 100").expect("an example works")[..], b"25");
}

#[test]
fn a_journal_tells_of_every_attempt_and_of_what_was_written() {
    let Bench { cluster, core, _machine } = bench(Local::new());
    let mut journal = cluster.journal();
    let mut trace = Trace::new(Vec::new()).expect("memory takes everything");
    let core = core.job("an evening").retries(1);
    let handles: Vec<_> =
        ["echo a", "stderr oops", "crash"].map(|input| core.submit(input)).into_iter().collect();
    let names: Vec<TaskName> = handles.iter().map(client::Handle::name).collect();
    let ends: Vec<_> = handles.into_iter().map(client::Handle::join).collect();
    assert_eq!(ends[2].as_ref().expect_err("it crashed").task, Some(names[2]));
    assert!(
        names.iter().zip(1..).all(|(name, task)| (name.job, name.task) == (core.job_id(), task))
    );

    let (mut ended, mut wrote) = (Vec::new(), Vec::new());
    for entry in journal.take() {
        trace.add(&entry).expect("memory takes everything");
        match entry {
            Entry::Ended(end) => ended.push((end.task.task, end.attempt, end.again, end.times)),
            Entry::Wrote(piece) => wrote.push((piece.task.task, piece.bytes)),
            other => panic!("{other:?}"),
        }
    }
    ended.sort_unstable_by_key(|end| (end.0, end.1));
    let kinds: Vec<_> = ended.iter().map(|end| (end.0, end.1, end.2)).collect();
    assert_eq!(kinds, [(1, 1, false), (2, 1, false), (3, 1, true), (3, 2, false)]);
    assert!(
        ended.iter().all(|(.., times)| times.transfer + times.waited + times.ran <= times.away)
    );
    assert_eq!(wrote, [(2, bytes::Bytes::from_static(b"oops\n"))]);
    trace.finish().expect("memory takes everything");

    // The node remembers as well.
    let told = cluster.why(names[2], Duration::from_secs(10));
    assert!(matches!(told[0].ended[0].failure, Some(Why::Signal { signal: 11, .. })), "{told:?}");
    assert_eq!((told[0].place, told[0].ended.len()), (Place::Absent, 2));
    let id = core.job_id();
    drop(core);
    let jobs = cluster.jobs(Duration::from_secs(10));
    let job = jobs.iter().find(|job| job.id == id).expect("it was told of when it was over");
    assert_eq!((&*job.name, job.done, job.failed, job.state()), ("an evening", 2, 1, "ended"));
}
