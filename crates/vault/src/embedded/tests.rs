//! What a node's folder gives back of regions, in order and after all that may go wrong there.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use bytes::Bytes;
use logic::regions::{Opened, Outcome, Written};
use wire::region::{Answer, Audience, PageNo, SessionId, Style, Version};

use super::*;

/// Longer than anything here takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);
const PAGE: usize = 256;

/// A vault as a node has it, and what a node would know.
struct Bench {
    vault: Embedded,
    events: Receiver<Event>,
}

impl Bench {
    fn open(folder: &Path) -> Self {
        Self::of_cluster(folder, "one")
    }

    fn of_cluster(folder: &Path, cluster: &str) -> Self {
        Self::with(folder, cluster, Arc::new(|| ()))
    }

    fn with(folder: &Path, cluster: &str, wake: Arc<dyn Fn() + Send + Sync>) -> Self {
        let (sender, events) = mpsc::channel();
        let outbox = Outbox::new(sender, wake);
        let vault = Embedded::new(folder.to_owned(), cluster.to_owned(), outbox);
        Self { vault: vault.expect("a thread"), events }
    }

    #[track_caller]
    fn event(&self) -> Event {
        self.events.recv_timeout(PATIENCE).expect("news of the vault")
    }

    #[track_caller]
    fn make(&self, id: u64, called: &str, durability: Durability) {
        self.vault.make(RegionId(id), name("ada"), create(called, durability));
        match self.event() {
            Event::Made { result: Ok(Epoch { number: 1 }), .. } => (),
            other => panic!("{other:?}"),
        }
    }

    #[track_caller]
    fn opened(&self) -> Opened {
        match self.event() {
            Event::Opened { result: Ok(opened), .. } => *opened,
            other => panic!("{other:?}"),
        }
    }

    #[track_caller]
    fn refused(&self) -> (Name, String) {
        match self.event() {
            Event::Opened { name, result: Err(Refusal::Unkept { reason }) } => (name, reason),
            other => panic!("{other:?}"),
        }
    }

    #[track_caller]
    fn unknown(&self, called: &str) {
        match self.event() {
            Event::Opened { name, result: Err(Refusal::NoSuchRegion) } => {
                assert_eq!(name.as_str(), called);
            }
            other => panic!("{other:?}"),
        }
    }

    /// Waits until a region's commits up to this one are kept.
    #[track_caller]
    fn kept(&self, region: u64, wanted: u64) {
        loop {
            match self.event() {
                Event::Kept { id, sequence } if id == RegionId(region) && sequence >= wanted => {
                    return;
                }
                Event::Kept { .. } => (),
                other => panic!("{other:?}"),
            }
        }
    }
}

fn name(text: &str) -> Name {
    text.parse().expect("a name")
}

fn create(called: &str, durability: Durability) -> Create {
    Create {
        name: name(called),
        page_size: PAGE as u32,
        pages: 16,
        durability,
        style: Style::Transactional,
        audience: Audience::Cluster,
    }
}

fn batch(region: u64, sequence: u64, page: u64) -> Batch {
    let version = Version(sequence + 1);
    let bytes = Bytes::from(vec![(sequence * 7 + page) as u8; PAGE]);
    let outcome = Outcome {
        session: SessionId(page),
        owner: name("ada"),
        request: sequence,
        answer: Answer::Committed { version },
    };
    Batch {
        region: RegionId(region),
        sequence,
        grown: None,
        written: vec![Written { page: PageNo(page), version, bytes }],
        outcome: Some(outcome),
        forgotten: vec![(SessionId(page), sequence.saturating_sub(20))],
        dropped: Vec::new(),
    }
}

/// Commits to a region, and its pages afterwards.
fn fill(bench: &Bench, region: u64, from: u64, commits: u64) {
    for sequence in from..from + commits {
        bench.vault.keep(batch(region, sequence, sequence % 13));
    }
    bench.kept(region, from + commits - 1);
}

fn pages(opened: &Opened) -> BTreeMap<PageNo, (Version, Bytes)> {
    opened.written.iter().map(|page| (page.page, (page.version, page.bytes.clone()))).collect()
}

#[test]
fn regions_come_back_with_all_that_was_kept() {
    let folder = tempfile::tempdir().expect("a folder");
    let bench = Bench::open(folder.path());
    bench.make(1, "genes", Durability::Sync);
    bench.make(2, "notes", Durability::Async);
    fill(&bench, 1, 1, 100);
    fill(&bench, 2, 1, 50);
    bench.vault.keep(Batch { grown: Some(40), ..batch(1, 101, 30) });
    bench.kept(1, 101);
    drop(bench);

    for epoch in 2..5 {
        let bench = Bench::open(folder.path());
        let (genes, notes) = (bench.opened(), bench.opened());
        assert_eq!((genes.create.name.as_str(), genes.sequence, genes.pages), ("genes", 101, 40));
        assert_eq!((notes.create.name.as_str(), notes.sequence, notes.pages), ("notes", 50, 16));
        assert_eq!(
            (genes.owner, genes.epoch.number, notes.epoch.number),
            (name("ada"), epoch, epoch)
        );
        assert_eq!(genes.written.len(), 14);
        for written in genes.written {
            let sequence = written.version.0 - 1;
            assert_eq!(written, batch(1, sequence, written.page.0).written[0]);
        }
        // Of each session, those that were not forgotten with its latest.
        assert!(genes.outcomes.iter().all(|outcome| outcome.request > 101 - 13 - 20));
        assert!(genes.outcomes.iter().any(|outcome| outcome.request == 101));
    }
}

#[test]
fn a_region_goes_on_after_it_was_opened() {
    let folder = tempfile::tempdir().expect("a folder");
    let bench = Bench::open(folder.path());
    bench.make(1, "genes", Durability::Sync);
    fill(&bench, 1, 1, 30);
    drop(bench);
    let bench = Bench::open(folder.path());
    assert_eq!(bench.opened().sequence, 30);
    fill(&bench, 1, 31, 30);
    drop(bench);
    let bench = Bench::open(folder.path());
    assert_eq!(bench.opened().sequence, 60);
}

#[test]
fn a_removed_region_is_gone_and_its_name_free() {
    let folder = tempfile::tempdir().expect("a folder");
    let bench = Bench::open(folder.path());
    bench.make(1, "genes", Durability::Sync);
    bench.make(2, "notes", Durability::Sync);
    fill(&bench, 1, 1, 10);
    bench.vault.remove(RegionId(1));
    let removed = bench.event();
    assert!(matches!(removed, Event::Removed { id: RegionId(1), result: Ok(()) }), "{removed:?}");
    bench.make(3, "genes", Durability::Sync);
    fill(&bench, 3, 1, 5);
    drop(bench);
    let bench = Bench::open(folder.path());
    let (genes, notes) = (bench.opened(), bench.opened());
    assert_eq!((genes.id, genes.sequence), (RegionId(3), 5));
    assert_eq!((notes.id, notes.sequence), (RegionId(2), 0));
    assert_eq!(fs::read_dir(folder.path().join("water")).expect("a folder").count(), 2);
}

#[test]
fn a_name_is_given_once_and_an_unknown_one_not_opened() {
    let folder = tempfile::tempdir().expect("a folder");
    let bench = Bench::open(folder.path());
    bench.make(1, "genes", Durability::Sync);
    bench.vault.make(RegionId(2), name("eve"), create("genes", Durability::Sync));
    match bench.event() {
        Event::Made { id: RegionId(2), result: Err(Refusal::Exists) } => (),
        other => panic!("{other:?}"),
    }
    bench.vault.open(name("nothing"));
    bench.unknown("nothing");
}

#[test]
fn a_commit_that_skips_one_loses_the_region_and_no_other() {
    let folder = tempfile::tempdir().expect("a folder");
    let bench = Bench::open(folder.path());
    bench.make(1, "genes", Durability::Sync);
    bench.make(2, "notes", Durability::Sync);
    bench.vault.keep(batch(1, 2, 0));
    match bench.event() {
        Event::Lost { id: RegionId(1), reason } => assert!(reason.contains("commit 2"), "{reason}"),
        other => panic!("{other:?}"),
    }
    fill(&bench, 2, 1, 5);
}

#[test]
fn a_second_process_is_refused_by_name() {
    let folder = tempfile::tempdir().expect("a folder");
    let bench = Bench::open(folder.path());
    bench.make(1, "genes", Durability::Sync);
    // The lock is on the open file, so a second one in this process finds it as another would.
    let second = Bench::open(folder.path());
    let (refused, reason) = second.refused();
    assert_eq!(refused, name("genes"));
    assert!(reason.contains("another process uses"), "{reason}");
    assert!(reason.contains(&folder.path().display().to_string()), "{reason}");
    // What it does not have may be there all the same.
    second.vault.open(name("notes"));
    assert_eq!(second.refused().0, name("notes"));
    // What is another's to write is not dropped, and that is said.
    second.vault.discard(name("genes"));
    let (refused, reason) = second.refused();
    assert_eq!(refused, name("genes"));
    assert!(reason.contains("it was not dropped"), "{reason}");
    drop(second);
    fill(&bench, 1, 1, 5);
    drop(bench);
    assert_eq!(Bench::open(folder.path()).opened().sequence, 5);
}

#[test]
fn another_clusters_regions_are_refused_by_name() {
    let folder = tempfile::tempdir().expect("a folder");
    let bench = Bench::open(folder.path());
    bench.make(1, "genes", Durability::Sync);
    drop(bench);
    let (refused, reason) = Bench::of_cluster(folder.path(), "two").refused();
    assert_eq!(refused, name("genes"));
    assert!(reason.contains("another cluster"), "{reason}");
    assert_eq!(Bench::open(folder.path()).opened().create.name, name("genes"));
}

#[test]
fn a_stamp_that_a_power_cut_left_empty_refuses_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let bench = Bench::open(folder.path());
    bench.make(1, "genes", Durability::Sync);
    drop(bench);
    fs::write(folder.path().join("cluster"), b"").expect("a file");
    assert_eq!(Bench::open(folder.path()).opened().create.name, name("genes"));
    let (refused, _) = Bench::of_cluster(folder.path(), "two").refused();
    assert_eq!(refused, name("genes"));
}

fn mark(id: u64, called: &str, stage: Stage) -> HighWater {
    HighWater { name: name(called), id: RegionId(id), stage, epoch: 1, sequence: 0 }
}

fn lay_water(folder: &Path, mark: &HighWater) {
    let path = folder.join("water").join(keyspace_name(mark.id));
    fs::write(path, mark.encode()).expect("a file");
}

#[test]
fn what_is_left_of_a_making_takes_no_name_from_a_region() {
    let folder = tempfile::tempdir().expect("a folder");
    let bench = Bench::open(folder.path());
    bench.make(1, "genes", Durability::Sync);
    bench.make(2, "notes", Durability::Sync);
    fill(&bench, 1, 1, 3);
    drop(bench);
    // Never in the store; in the store already; and between.
    lay_water(folder.path(), &mark(8, "genes", Stage::Making));
    lay_water(folder.path(), &mark(2, "genes", Stage::Making));
    lay_water(folder.path(), &mark(9, "early", Stage::Making));
    let store = Database::builder(folder.path().join("store")).open().expect("a store");
    store.keyspace(&keyspace_name(RegionId(9)), options).expect("one without items");
    drop(store);

    let bench = Bench::open(folder.path());
    bench.unknown("early");
    let opened = bench.opened();
    assert_eq!((opened.id, opened.sequence), (RegionId(1), 3));
    bench.make(5, "early", Durability::Sync);
    drop(bench);
    assert_eq!(fs::read_dir(folder.path().join("water")).expect("a folder").count(), 2);
}

#[test]
fn two_regions_of_one_name_are_refused_until_they_are_dropped() {
    let folder = tempfile::tempdir().expect("a folder");
    let bench = Bench::open(folder.path());
    bench.make(1, "genes", Durability::Sync);
    bench.make(2, "notes", Durability::Sync);
    drop(bench);
    lay_water(folder.path(), &mark(2, "genes", Stage::There));
    let bench = Bench::open(folder.path());
    for _ in 0..2 {
        let (refused, reason) = bench.refused();
        assert_eq!(refused, name("genes"));
        assert!(reason.contains("water/0000000000000002`"), "{reason}");
    }
    bench.vault.discard(name("genes"));
    bench.make(3, "genes", Durability::Sync);
    drop(bench);
    let bench = Bench::open(folder.path());
    assert_eq!(bench.opened().id, RegionId(3));
}

#[test]
fn a_region_that_has_lost_its_name_is_refused_by_its_number() {
    let folder = tempfile::tempdir().expect("a folder");
    let bench = Bench::open(folder.path());
    bench.make(1, "genes", Durability::Sync);
    drop(bench);
    fs::remove_file(folder.path().join("water/0000000000000001")).expect("it is there");
    let store = Database::builder(folder.path().join("store")).open().expect("a store");
    let keyspace = store.keyspace(&keyspace_name(RegionId(1)), options).expect("a region");
    keyspace.remove(Key::Region.to_bytes()).expect("its record");
    drop((keyspace, store));

    let bench = Bench::open(folder.path());
    let (refused, reason) = bench.refused();
    assert_eq!(refused, name("unknown-0000000000000001"));
    assert!(reason.contains("water/0000000000000001` is gone"), "{reason}");
    bench.vault.discard(refused);
    bench.make(2, "genes", Durability::Sync);
    drop(bench);
    assert_eq!(Bench::open(folder.path()).opened().id, RegionId(2));
}

/// Panics in the vault's thread, so often.
fn panicking(times: usize) -> Arc<dyn Fn() + Send + Sync> {
    let left = std::sync::atomic::AtomicUsize::new(times);
    Arc::new(move || {
        let is_vault = std::thread::current().name() == Some("vault");
        let less = |left: usize| left.checked_sub(1);
        if is_vault && left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less).is_ok() {
            panic!("as a bug would");
        }
    })
}

#[test]
fn whoever_waits_for_a_thread_that_has_failed_is_told() {
    for times in [1, usize::MAX] {
        let folder = tempfile::tempdir().expect("a folder");
        let bench = Bench::with(folder.path(), "one", panicking(times));
        bench.vault.make(RegionId(1), name("ada"), create("genes", Durability::Sync));
        match bench.event() {
            Event::Made { result: Ok(_), .. } => (),
            other => panic!("{other:?}"),
        }
        // It says that it has lost the region, or ends; and what is sent to it then is not silence.
        let mut sequence = 0;
        loop {
            sequence += 1;
            bench.vault.keep(batch(1, sequence, 0));
            match bench.events.recv_timeout(Duration::from_millis(10)) {
                Ok(Event::Lost { id: RegionId(1), .. }) => break,
                Ok(Event::Kept { .. }) | Err(_) if sequence < 1000 => (),
                other => panic!("{other:?}"),
            }
        }
        // A thread that is about to end may take one command more with it.
        loop {
            sequence += 1;
            bench.vault.make(RegionId(2), name("ada"), create("notes", Durability::Sync));
            match bench.events.recv_timeout(Duration::from_millis(10)) {
                Ok(Event::Made { id: RegionId(2), result: Err(Refusal::Unkept { .. }) }) => break,
                Ok(Event::Lost { .. }) | Err(_) if sequence < 2000 => (),
                other => panic!("{other:?}"),
            }
        }
    }
}

/// From now on `fdatasync` fails in this thread and those that it starts.
fn break_flushes() {
    use seccompiler::{SeccompAction, SeccompFilter};
    let rules = [(nix::libc::SYS_fdatasync, Vec::new())].into_iter().collect();
    let fails = SeccompAction::Errno(nix::libc::EIO as u32);
    let architecture = std::env::consts::ARCH.try_into().expect("one that is known");
    let filter = SeccompFilter::new(rules, SeccompAction::Allow, fails, architecture);
    let program: seccompiler::BpfProgram =
        filter.and_then(TryInto::try_into).expect("a program of the kernel's");
    seccompiler::apply_filter(&program).expect("a thread may bind itself");
}

/// A process that is killed leaves everything to the kernel, so only a disk that fails shows whether
/// it was asked at all.
#[test]
fn no_sync_commit_is_told_to_be_kept_before_the_disk_has_said_so() {
    let run = || {
        break_flushes();
        for durability in [Durability::Sync, Durability::Async] {
            let folder = tempfile::tempdir().expect("a folder");
            let bench = Bench::open(folder.path());
            bench.make(1, "genes", durability);
            bench.vault.keep(batch(1, 1, 0));
            if durability == Durability::Async {
                bench.kept(1, 1);
            }
            match bench.event() {
                Event::Lost { id: RegionId(1), reason } => {
                    assert!(reason.contains("Input/output error"), "{reason}");
                }
                other => panic!("{durability:?}: {other:?}"),
            }
        }
    };
    std::thread::spawn(run).join().expect("the same");
}

#[test]
fn reading_stops_when_the_node_ends() {
    let folder = tempfile::tempdir().expect("a folder");
    let bench = Bench::open(folder.path());
    bench.make(1, "genes", Durability::Sync);
    fill(&bench, 1, 1, 3);
    drop(bench);
    let store = Database::builder(folder.path().join("store")).open().expect("a store");
    let ending = AtomicBool::new(true);
    assert!(read(&store, RegionId(1), &ending).expect("it can be read").is_err());
    ending.store(false, Ordering::Relaxed);
    assert!(read(&store, RegionId(1), &ending).expect("it can be read").is_ok());
}

#[test]
fn outcomes_that_the_home_drops_are_no_more_in_the_store() {
    let folder = tempfile::tempdir().expect("a folder");
    let bench = Bench::open(folder.path());
    bench.make(1, "genes", Durability::Async);
    // One session whose client keeps a request open for long: nothing is forgotten up to a number.
    let all = 3000;
    for sequence in 1..=all {
        let mut batch = batch(1, sequence, 0);
        batch.forgotten.clear();
        batch.dropped.extend(sequence.checked_sub(100).map(|request| (SessionId(0), request)));
        bench.vault.keep(batch);
    }
    bench.kept(1, all);
    drop(bench);
    let outcomes = Bench::open(folder.path()).opened().outcomes;
    let requests: Vec<_> = outcomes.into_iter().map(|outcome| outcome.request).collect();
    assert_eq!(requests, (all - 99..=all).collect::<Vec<_>>());
}

#[test]
fn a_region_whose_making_or_removal_was_cut_off_is_gone_or_there() {
    let folder = tempfile::tempdir().expect("a folder");
    let water = folder.path().join("water");
    let bench = Bench::open(folder.path());
    bench.make(1, "genes", Durability::Sync);
    fill(&bench, 1, 1, 3);
    bench.make(2, "notes", Durability::Sync);
    drop(bench);
    // Cut off before the store had it, after the store had it, and while it was leaving.
    lay_water(folder.path(), &mark(9, "early", Stage::Making));
    lay_water(folder.path(), &mark(1, "genes", Stage::Making));
    lay_water(folder.path(), &mark(2, "notes", Stage::Leaving));
    let bench = Bench::open(folder.path());
    bench.unknown("early");
    assert_eq!(bench.opened().create.name, name("genes"));
    drop(bench);
    assert_eq!(fs::read_dir(&water).expect("a folder").count(), 1);
    assert_eq!(Bench::open(folder.path()).opened().sequence, 3);
}

#[test]
fn a_region_that_is_refused_can_be_discarded_and_made_anew() {
    let folder = tempfile::tempdir().expect("a folder");
    let bench = Bench::open(folder.path());
    bench.make(1, "genes", Durability::Sync);
    bench.make(2, "notes", Durability::Sync);
    fill(&bench, 1, 1, 3);
    drop(bench);
    fs::remove_file(folder.path().join("water/0000000000000001")).expect("it is there");

    let bench = Bench::open(folder.path());
    let (refused, reason) = bench.refused();
    assert_eq!(refused, name("genes"));
    assert!(reason.contains("water/0000000000000001` is gone"), "{reason}");
    assert_eq!(bench.opened().create.name, name("notes"));
    bench.vault.make(RegionId(5), name("ada"), create("genes", Durability::Sync));
    match bench.event() {
        Event::Made { result: Err(Refusal::Unkept { .. }), .. } => (),
        other => panic!("{other:?}"),
    }
    bench.vault.discard(name("genes"));
    bench.make(6, "genes", Durability::Sync);
    drop(bench);
    let bench = Bench::open(folder.path());
    assert_eq!((bench.opened().id, bench.opened().id), (RegionId(6), RegionId(2)));
}

/// A disk of a few megabytes; none where this process may not mount one.
struct Disk(tempfile::TempDir);

impl Disk {
    fn new() -> Option<Self> {
        let folder = tempfile::tempdir().expect("a folder");
        let none: Option<&str> = None;
        let flags = nix::mount::MsFlags::empty();
        match nix::mount::mount(none, folder.path(), Some("tmpfs"), flags, Some("size=6m")) {
            Ok(()) => Some(Self(folder)),
            Err(error) => {
                eprintln!("skipped: a small disk cannot be mounted here: {error}");
                None
            }
        }
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = nix::mount::umount(self.0.path());
    }
}

#[test]
fn a_full_disk_loses_the_regions_by_name_and_nothing_that_was_told() {
    let Some(disk) = Disk::new() else { return };
    let folder = disk.0.path().join("regions");
    let bench = Bench::open(&folder);
    bench.make(1, "genes", Durability::Sync);
    bench.make(2, "notes", Durability::Async);
    let (mut told, mut lost) = (0, Vec::new());
    for sequence in 1.. {
        bench.vault.keep(batch(1, sequence, sequence % 13));
        match bench.event() {
            Event::Kept { sequence, .. } => told = sequence,
            Event::Lost { id, reason } => {
                lost.push(id);
                assert!(reason.contains("is full; make room there"), "{reason}");
                break;
            }
            other => panic!("{other:?}"),
        }
        assert!(sequence < 100_000, "six megabytes are full by now");
    }
    match bench.event() {
        Event::Lost { id, .. } => lost.push(id),
        other => panic!("{other:?}"),
    }
    lost.sort();
    assert_eq!(lost, vec![RegionId(1), RegionId(2)]);
    // Until there is room, it says the same to whoever asks.
    bench.vault.open(name("genes"));
    assert!(bench.refused().1.contains("is full"));
    // What is dropped now leaves the store when there is room.
    bench.vault.discard(name("notes"));
    drop(bench);

    let bigger = Some("size=100m");
    let none: Option<&str> = None;
    let flags = nix::mount::MsFlags::MS_REMOUNT;
    nix::mount::mount(none, disk.0.path(), none, flags, bigger).expect("more room");
    let bench = Bench::open(&folder);
    let genes = bench.opened();
    assert!(genes.sequence >= told && told > 100, "{} after {told}", genes.sequence);
    fill(&bench, 1, genes.sequence + 1, 10);
    bench.make(3, "notes", Durability::Sync);
}

mod damage;
