//! A thread that touches, and one that serves.

use std::sync::atomic::Ordering;
use std::thread;

use super::*;

const PAGES: usize = 4;

/// Memory, or nothing where the host does not permit it, said aloud.
fn memory() -> Option<FaultMemory> {
    let len = NonZeroUsize::new(PAGES * PAGE).expect("some pages");
    match FaultMemory::reserve(len, None) {
        Ok(memory) => Some(memory),
        Err(error) => {
            eprintln!("skipped: {error}: {:?}", std::error::Error::source(&error));
            None
        }
    }
}

fn next_fault(memory: &FaultMemory) -> Fault {
    let bell = Bell::new().expect("a bell");
    let mut faults = Vec::new();
    for _ in 0..1000 {
        let ready = memory.wait(&bell, None, Duration::from_secs(10)).expect("poll works");
        if ready.faults {
            memory.faults(&mut faults).expect("faults can be read");
        }
        if let Some(fault) = faults.first() {
            return *fault;
        }
    }
    panic!("nobody touched the memory");
}

#[test]
fn a_touch_of_an_absent_page_waits_for_its_bytes() {
    let Some(memory) = memory() else { return };
    thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let mut bytes = [0; 4];
            memory.copy_out(PAGE + 8, &mut bytes).expect("in bounds");
            bytes
        });
        assert_eq!(next_fault(&memory), Fault { page: 1, kind: FaultKind::Read });
        memory.install(1, &[7; PAGE], Installed::Protected).expect("installed");
        assert_eq!(reader.join().expect("it reads"), [7; 4]);
        // Once more is no harm.
        memory.install(1, &[9; PAGE], Installed::Open).expect("it is there");
    });
}

#[test]
fn a_protected_page_stops_writers_until_it_is_opened() {
    let Some(memory) = memory() else { return };
    memory.install(2, &[0; PAGE], Installed::Protected).expect("installed");
    thread::scope(|scope| {
        let word = memory.atomic(2 * PAGE).expect("aligned");
        assert_eq!(word.load(Ordering::SeqCst), 0);
        let writer = scope.spawn(|| word.fetch_add(5, Ordering::SeqCst));
        assert_eq!(next_fault(&memory), Fault { page: 2, kind: FaultKind::Write });
        memory.open(2).expect("opened");
        assert_eq!(writer.join().expect("it writes"), 0);
        memory.protect(2).expect("protected");
        assert_eq!(word.load(Ordering::SeqCst), 5);
    });
}

#[test]
fn who_waits_to_write_a_page_that_is_discarded_finds_it_absent() {
    let Some(memory) = memory() else { return };
    memory.install(0, &[1; PAGE], Installed::Protected).expect("installed");
    thread::scope(|scope| {
        let writer = scope.spawn(|| memory.copy_in(0, &[3; 8]));
        assert_eq!(next_fault(&memory), Fault { page: 0, kind: FaultKind::Write });
        memory.discard(0).expect("discarded");
        assert_eq!(next_fault(&memory), Fault { page: 0, kind: FaultKind::Write });
        memory.install(0, &[2; PAGE], Installed::Open).expect("installed");
        writer.join().expect("it goes on").expect("in bounds");
        let mut bytes = [0; 9];
        memory.copy_out(0, &mut bytes).expect("in bounds");
        assert_eq!(bytes, [3, 3, 3, 3, 3, 3, 3, 3, 2]);
    });
}

#[test]
fn nothing_outside_is_touched() {
    let Some(memory) = memory() else { return };
    assert!(memory.install(PAGES, &[0; PAGE], Installed::Open).is_err());
    assert!(memory.install(0, &[0; 8], Installed::Open).is_err());
    assert!(memory.discard(usize::MAX / PAGE).is_err());
    assert!(memory.atomic(4).is_err());
    assert!(memory.copy_out(PAGES * PAGE - 1, &mut [0; 2]).is_err());
    assert!(memory.protect(PAGES).is_err());
}

#[test]
fn an_address_that_is_taken_is_refused() {
    let Some(first) = memory() else { return };
    let taken = first.as_ptr().addr();
    let len = NonZeroUsize::new(PAGE).expect("a page");
    assert!(FaultMemory::reserve(len, Some(taken)).is_err());
    drop(first);
    let second = FaultMemory::reserve(len, Some(taken)).expect("it is free now");
    assert_eq!(second.as_ptr().addr(), taken);
}

/// The process of `memory_is_absent_in_a_process_that_locks_all_its_memory`, which is this program.
const LOCKS_ALL: &str = "FARCALL_TEST_LOCKS_ALL";

#[test]
fn memory_is_absent_in_a_process_that_locks_all_its_memory() {
    if std::env::var_os(LOCKS_ALL).is_none() {
        let name = "uffd::tests::memory_is_absent_in_a_process_that_locks_all_its_memory";
        let mut child = std::process::Command::new(std::env::current_exe().expect("a program"));
        child.args(["--exact", name, "--nocapture"]).env(LOCKS_ALL, "1");
        assert!(child.status().expect("it starts").success());
        return;
    }
    // SAFETY: it takes no pointer, and changes only what the kernel does with this process' memory.
    if unsafe { libc::mlockall(libc::MCL_FUTURE) } != 0 {
        eprintln!("skipped: mlockall: {}", io::Error::last_os_error());
        return;
    }
    let Some(memory) = memory() else { return };
    thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let mut bytes = [0; 4];
            memory.copy_out(0, &mut bytes).expect("in bounds");
            bytes
        });
        let bell = Bell::new().expect("a bell");
        let ready = memory.wait(&bell, None, Duration::from_secs(10)).expect("poll works");
        assert!(ready.faults, "nobody waits for the page: zeros were there");
        memory.install(0, &[7; PAGE], Installed::Open).expect("installed");
        assert_eq!(reader.join().expect("it reads"), [7; 4]);
    });
    memory.discard(0).expect("a page can be taken away");
}

#[test]
fn bytes_are_copied_wherever_they_begin_and_end() {
    let Some(memory) = memory() else { return };
    let page: Vec<u8> = (0..PAGE).map(|at| at as u8).collect();
    memory.install(0, &page, Installed::Open).expect("installed");
    memory.install(1, &page, Installed::Open).expect("installed");
    for offset in (0..20).chain(PAGE - 20..PAGE) {
        for len in 0..20 {
            let mut bytes = vec![0; len];
            memory.copy_out(offset, &mut bytes).expect("in bounds");
            let want: Vec<u8> = (offset..offset + len).map(|at| at as u8).collect();
            assert_eq!(bytes, want, "{len} bytes at {offset}");
            memory.copy_in(offset, &vec![0xff; len]).expect("in bounds");
            let mut around = vec![0; len + 2];
            let before = offset.max(1) - 1;
            memory.copy_out(before, &mut around).expect("in bounds");
            let is_new = |at: usize| (offset..offset + len).contains(&at);
            for (at, byte) in (before..).zip(&around) {
                assert_eq!(*byte, if is_new(at) { 0xff } else { at as u8 }, "at {at}");
            }
            memory.copy_in(offset, &want).expect("in bounds");
        }
    }
}
