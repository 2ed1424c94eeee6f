//! This test process is copied, and nothing of its copies stays.

use std::path::Path;

use super::*;

#[test]
fn a_copy_is_parked_where_it_is_to_be_woken_and_leaves_nothing() {
    for _ in 0..50 {
        let Parked::Parent(twin) = park().unwrap() else { panic!("nobody woke it") };
        let pid = twin.pid();
        assert!(twin.is_parked().unwrap());
        let guardian = crate::proc::kinship(pid).unwrap().parent;
        assert_ne!(guardian, Pid::own(), "it is the caller's child");
        drop(twin);
        assert!(!Path::new(&format!("/proc/{pid}")).exists());
        assert!(!Path::new(&format!("/proc/{guardian}")).exists());
    }
}

#[test]
fn where_no_descriptor_is_free_there_is_no_copy() {
    // No descriptor is free for it; in a process of its own, whose other threads need none.
    let run = || {
        let none = libc::rlimit { rlim_cur: 0, rlim_max: 4096 };
        // SAFETY: the kernel reads one `rlimit`, which is ours.
        unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const none) };
        park().map(drop).map_err(|error| error.to_string())
    };
    let refused = beside::run(run).unwrap();
    assert!(refused.unwrap_err().contains("copy of this process"));
}

#[test]
fn the_kernel_tells_a_copy_its_processor_as_it_told_the_caller() {
    let Parked::Parent(twin) = park().unwrap() else { panic!("nobody woke it") };
    let expected = Rseq::of_this_thread();
    let found = beside::run(|| {
        let held = crate::ptrace::Tracee::seize(twin.pid(), std::time::Duration::from_secs(60));
        let mut held = held.unwrap();
        held.threads_mut()[0].rseq().unwrap()
    });
    let found = found.unwrap().map(|rseq| rseq.at as usize);
    assert_eq!(found, expected.map(|rseq| rseq.at));
    assert!(found.is_some(), "this libc uses it");
}

#[test]
fn a_copy_that_never_comes_to_stand_is_waited_for_within_a_bound() {
    let mut other = std::process::Command::new("sleep").arg("1000").spawn().unwrap();
    let pid = Pid(other.id() as i32);
    let open = || pidfd::open(pid).unwrap().unwrap();
    let number = || AtomicI32::new(-1);
    let order = Order {
        parent: Pid::own(),
        word: AtomicU32::new(WAIT),
        guardian: number(),
        copy: number(),
        pidfd: number(),
        errno: number(),
    };
    let twin = Twin { pid, pidfd: open(), guardian: open(), _order: Box::new(order) };
    let refused = twin.wait_until_parked(Duration::from_millis(1)).unwrap_err();
    assert!(refused.to_string().contains("standstill"), "{refused}");
    drop(twin);
    let _ = other.wait();
}
