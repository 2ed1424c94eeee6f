//! What a node's folder gives back of regions, in order and after all that may go wrong there.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

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
        let (sender, events) = mpsc::channel();
        let outbox = Outbox::new(sender, Arc::new(|| ()));
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
    match bench.event() {
        Event::Opened { result: Err(Refusal::NoSuchRegion), .. } => (),
        other => panic!("{other:?}"),
    }
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
    drop(second);
    fill(&bench, 1, 1, 5);
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
fn a_region_whose_making_or_removal_was_cut_off_is_gone_or_there() {
    let folder = tempfile::tempdir().expect("a folder");
    let water = folder.path().join("water");
    let bench = Bench::open(folder.path());
    bench.make(1, "genes", Durability::Sync);
    fill(&bench, 1, 1, 3);
    bench.make(2, "notes", Durability::Sync);
    drop(bench);
    let mark = |id, called, stage| HighWater {
        name: name(called),
        id: RegionId(id),
        stage,
        epoch: 1,
        sequence: 0,
    };
    // Cut off before the store had it, after the store had it, and while it was leaving.
    fs::write(water.join("0000000000000009"), mark(9, "early", Stage::Making).encode())
        .expect("a file");
    fs::write(water.join("0000000000000001"), mark(1, "genes", Stage::Making).encode())
        .expect("a file");
    fs::write(water.join("0000000000000002"), mark(2, "notes", Stage::Leaving).encode())
        .expect("a file");
    let bench = Bench::open(folder.path());
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
    drop(bench);

    fs::write(folder.join("store/ballast"), b"").expect("a name takes no room");
    let bigger = Some("size=100m");
    let none: Option<&str> = None;
    let flags = nix::mount::MsFlags::MS_REMOUNT;
    nix::mount::mount(none, disk.0.path(), none, flags, bigger).expect("more room");
    let bench = Bench::open(&folder);
    let genes = bench.opened();
    assert!(genes.sequence >= told && told > 100, "{} after {told}", genes.sequence);
    assert_eq!(bench.opened().sequence, 0);
    fill(&bench, 1, genes.sequence + 1, 10);
}

mod damage;
