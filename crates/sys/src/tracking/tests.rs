//! A real child (`specimen.c`) does to its memory what can be done, and a receiver, who is told only of changes,
//! has the same bytes after each look. Its own memory a process tracks likewise.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

use super::*;
use crate::maps;
use crate::pagemap::page_size;
use crate::process_memory;
use crate::ptrace::{Remote, Tracee};

/// Nothing here waits that long where nothing is broken.
const PATIENCE: Duration = Duration::from_secs(60);

/// `FARCALL_SEED` has a run happen again.
fn seed() -> u64 {
    let given = std::env::var("FARCALL_SEED").ok();
    let given = given.map(|text| u64::from_str_radix(text.trim_start_matches("0x"), 16).unwrap());
    let seed = given.unwrap_or_else(|| {
        let now = std::time::UNIX_EPOCH.elapsed().unwrap().as_nanos() as u64;
        now.wrapping_mul(0x9e37_79b9_7f4a_7c15)
    });
    eprintln!("FARCALL_SEED={seed:#x}");
    seed
}

struct Specimen {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    _folder: tempfile::TempDir,
}

impl Specimen {
    fn start(seed: u64) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let program = folder.path().join("specimen");
        let file = folder.path().join("file");
        std::fs::write(&file, [7; 1 << 16]).unwrap();
        let mut compiler = Command::new("cc")
            .args(["-O1", "-pthread", "-w", "-x", "c", "-o"])
            .args([program.as_os_str(), "-".as_ref()])
            .stdin(Stdio::piped())
            .spawn()
            .expect("a C compiler");
        compiler.stdin.take().unwrap().write_all(include_bytes!("specimen.c")).unwrap();
        assert!(compiler.wait().unwrap().success());
        let mut child = Command::new(&program)
            .arg(format!("{seed:x}"))
            .arg(&file)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let input = child.stdin.take().unwrap();
        let mut output = BufReader::new(child.stdout.take().unwrap());
        assert_eq!(line(&mut output), "ready");
        Self { child, input, output, _folder: folder }
    }

    fn pid(&self) -> Pid {
        Pid(self.child.id() as i32)
    }

    fn seize(&self) -> Tracee {
        Tracee::seize(self.pid(), PATIENCE).unwrap()
    }

    /// Nothing where the kernel has no such thing, said aloud.
    fn track(&self) -> Option<Tracker> {
        let mut tracee = self.seize();
        let mut remote = Remote::enter(&mut tracee.threads_mut()[0], PATIENCE).unwrap();
        let tracker = Tracker::of(&mut remote);
        remote.finish().unwrap();
        tracee.detach().unwrap();
        there(tracker)
    }

    fn order(&mut self, steps: u32) {
        writeln!(self.input, "{steps}").unwrap();
        assert_eq!(line(&mut self.output), "done");
    }
}

impl Drop for Specimen {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

fn there(tracker: Result<Tracker, Error>) -> Option<Tracker> {
    match tracker {
        Ok(tracker) => Some(tracker),
        Err(error @ Error::NoTracking { .. }) => {
            eprintln!("skipped: {error}: {:?}", std::error::Error::source(&error));
            None
        }
        Err(error) => panic!("{error:?}"),
    }
}

fn line(output: &mut BufReader<ChildStdout>) -> String {
    let mut line = String::new();
    output.read_line(&mut line).unwrap();
    line.trim().to_owned()
}

/// What somebody has who is told of changes alone.
#[derive(Default)]
struct Receiver {
    pages: BTreeMap<u64, Vec<u8>>,
}

impl Receiver {
    /// Takes what is there now; pages that have gone since then come with the next look.
    fn take(&mut self, from: Pid, changed: &Changed) {
        let page = page_size();
        for at in changed.gone.iter().flat_map(|range| range.clone().step_by(page as usize)) {
            assert!(self.pages.remove(&at).is_some(), "{at:#x} has gone and never was there");
        }
        let there = union(&changed.written, &changed.untracked);
        for at in there.iter().flat_map(|range| range.clone().step_by(page as usize)) {
            let mut bytes = vec![0; page as usize];
            let _ = process_memory::read(from, at, &mut bytes);
            self.pages.insert(at, bytes);
        }
    }

    /// Compares with all of a stopped process's private memory, byte by byte.
    #[track_caller]
    fn compare(&self, with: Pid, seed: u64) {
        let page = page_size();
        let mut left = self.pages.clone();
        let pagemap = Pagemap::open(with).unwrap();
        for mapping in maps::mappings(with).unwrap().iter().filter(|it| is_private(it)) {
            let found = pagemap.look(mapping.range.clone()).unwrap();
            let is_in = |list: &[Range<u64>], at| list.iter().any(|range| range.contains(&at));
            for at in mapping.range.clone().step_by(page as usize) {
                let mut bytes = vec![0; page as usize];
                let has = left.remove(&at);
                if is_in(&found.guards, at) {
                    assert!(has.is_none(), "seed {seed:#x}: {at:#x} is a guard, and not told");
                    continue;
                }
                if has.is_none() && !is_in(&found.own, at) {
                    continue;
                }
                process_memory::read(with, at, &mut bytes).unwrap();
                let has = has.unwrap_or_else(|| vec![0; page as usize]);
                assert!(has == bytes, "seed {seed:#x}: {at:#x} has changed, and was not told");
            }
        }
        let more = left.keys().next();
        assert_eq!(more, None, "seed {seed:#x}: pages that are unmapped, and were not told");
    }
}

#[test]
fn whoever_is_told_of_changes_alone_has_what_the_process_has() {
    let seed = seed();
    let mut specimen = Specimen::start(seed);
    let Some(mut tracker) = specimen.track() else { return };
    let mut receiver = Receiver::default();
    for round in 0..150 {
        let tracee = specimen.seize();
        let peeked = tracker.peek().unwrap();
        let changed = tracker.changed().unwrap();
        assert_eq!(peeked.everywhere(), changed.everywhere(), "seed {seed:#x}");
        let again = tracker.changed().unwrap();
        assert!(
            again.written.is_empty() && again.gone.is_empty(),
            "seed {seed:#x}: nothing has run"
        );
        receiver.take(specimen.pid(), &changed);
        receiver.compare(specimen.pid(), seed);
        tracee.detach().unwrap();
        specimen.order(1 + round % 40);
    }
}

#[test]
fn looks_at_a_process_that_runs_lose_nothing() {
    let seed = seed();
    let mut specimen = Specimen::start(seed);
    let Some(mut tracker) = specimen.track() else { return };
    let mut receiver = Receiver::default();
    for _ in 0..8 {
        specimen.order(0);
        for _ in 0..12 {
            let changed = tracker.changed().unwrap();
            receiver.take(specimen.pid(), &changed);
        }
        let tracee = specimen.seize();
        let changed = tracker.changed().unwrap();
        receiver.take(specimen.pid(), &changed);
        receiver.compare(specimen.pid(), seed);
        tracee.detach().unwrap();
        specimen.order(0);
    }
}

#[test]
fn two_trackers_of_one_process_are_refused_and_nothing_of_one_stays() {
    let mut specimen = Specimen::start(seed());
    let Some(mut tracker) = specimen.track() else { return };
    tracker.changed().unwrap();
    let mut tracee = specimen.seize();
    let mut remote = Remote::enter(&mut tracee.threads_mut()[0], PATIENCE).unwrap();
    let second = Tracker::of(&mut remote);
    assert!(matches!(second, Err(Error::TrackedAlready { .. })), "{second:?}");
    drop(tracker);
    assert!(Tracker::of(&mut remote).is_ok());
    remote.finish().unwrap();
    let descriptors = crate::descriptors::list(specimen.pid()).unwrap();
    let names: Vec<_> = descriptors.iter().map(|it| String::from_utf8_lossy(&it.name)).collect();
    assert!(!names.iter().any(|name| name.contains("userfaultfd")), "{names:?}");
    let watched = maps::detailed(specimen.pid()).unwrap().into_iter();
    let mut watched = watched
        .filter(|it| it.flags.is_some_and(|flags| flags.contains(maps::Flags::FAULTS_WRITES)));
    assert_eq!(watched.next(), None);
    tracee.detach().unwrap();
    specimen.order(20);
}

#[test]
fn a_process_that_ended_or_became_another_program_is_gone() {
    let mut shell = Command::new("sh")
        .args(["-c", "read line; exec sleep 1000"])
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    let pid = Pid(shell.id() as i32);
    let mut tracee = Tracee::seize(pid, PATIENCE).unwrap();
    let mut remote = Remote::enter(&mut tracee.threads_mut()[0], PATIENCE).unwrap();
    let tracker = Tracker::of(&mut remote);
    remote.finish().unwrap();
    tracee.detach().unwrap();
    if let Some(mut tracker) = there(tracker) {
        tracker.changed().unwrap();
        shell.stdin.take().unwrap().write_all(b"go\n").unwrap();
        let is_sleep = || std::fs::read(format!("/proc/{pid}/comm")).unwrap().starts_with(b"sleep");
        while !is_sleep() {
            std::thread::yield_now();
        }
        assert!(tracker.changed().unwrap_err().is_gone());
    }
    shell.kill().unwrap();
    shell.wait().unwrap();
}

/// Anonymous memory of this process.
struct Memory {
    at: *mut u8,
    pages: usize,
}

impl Memory {
    fn new(pages: usize) -> Self {
        let len = pages * page_size() as usize;
        let open = libc::PROT_READ | libc::PROT_WRITE;
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
        // SAFETY: a new mapping at an address that the kernel chooses touches nobody's memory.
        let at = unsafe { libc::mmap(std::ptr::null_mut(), len, open, flags, -1, 0) };
        assert_ne!(at, libc::MAP_FAILED);
        Self { at: at.cast(), pages }
    }

    fn write(&self, page: usize) {
        assert!(page < self.pages);
        let at = self.at.wrapping_add(page * page_size() as usize);
        // SAFETY: it is in the mapping, which can be written; others write it in no other way.
        unsafe { at.cast::<u64>().write_volatile(7) };
    }

    fn discard(&self, page: usize) {
        let at = self.at.wrapping_add(page * page_size() as usize);
        // SAFETY: the page is of this mapping, to whose bytes nobody has a reference.
        let result = unsafe { libc::madvise(at.cast(), page_size() as usize, libc::MADV_DONTNEED) };
        assert_eq!(result, 0);
    }

    fn numbers(&self, found: &[Range<u64>]) -> Vec<usize> {
        let pages = found.iter().flat_map(|range| range.clone().step_by(page_size() as usize));
        let numbers = pages.filter_map(|at| at.checked_sub(self.at as u64));
        let numbers = numbers.map(|offset| (offset / page_size()) as usize);
        numbers.filter(|number| *number < self.pages).collect()
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        // SAFETY: the mapping was made with this length, and nobody has a reference to it.
        let _ = unsafe { libc::munmap(self.at.cast(), self.pages * page_size() as usize) };
    }
}

// SAFETY: it is memory that is written by volatile accesses of different pages alone.
unsafe impl Sync for Memory {}

#[test]
fn a_process_tracks_itself_with_all_its_threads() {
    let Some(mut tracker) = there(Tracker::own()) else { return };
    let memory = Memory::new(64);
    memory.write(1);
    let first = tracker.changed().unwrap();
    assert_eq!(memory.numbers(&first.written), [1]);
    std::thread::scope(|scope| {
        scope.spawn(|| memory.write(2));
        scope.spawn(|| memory.write(3));
    });
    assert_eq!(memory.numbers(&tracker.peek().unwrap().written), [2, 3]);
    memory.discard(1);
    memory.discard(3);
    let second = tracker.changed().unwrap();
    assert_eq!(memory.numbers(&second.written), [2]);
    assert_eq!(memory.numbers(&second.gone), [1]);
    assert_eq!(memory.numbers(&second.everywhere()), [1, 2]);
    let last = tracker.changed().unwrap();
    assert_eq!(memory.numbers(&last.everywhere()), [0; 0]);
    tracker.forget();
    assert_eq!(memory.numbers(&tracker.changed().unwrap().written), [2]);
}
