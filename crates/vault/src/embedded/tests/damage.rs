//! What a store gives back after a file of it was cut or changed: everything that was told to be kept,
//! or a refusal that names the region, the file and the cause.

use super::*;

/// Offsets that are tried in each file, and with `FARCALL_SOAK=1`.
const SAMPLES: u64 = 12;
const SAMPLES_SOAK: u64 = 600;

/// A damaged store, as it may be found.
#[derive(Clone, Copy, Debug)]
enum Damage {
    /// Only the first so many bytes are left.
    Cut(u64),
    /// One bit of this byte is another.
    Flip(u64, u8),
    /// These bytes of a sector are zeros.
    Zeros(u64),
    Gone,
}

/// A file of a store: its name, what it begins with, and how long it is. Journals are mostly holes.
struct Kept {
    file: PathBuf,
    bytes: Vec<u8>,
    length: u64,
}

/// Every file of a store.
fn look(root: &Path, folder: &Path) -> Vec<Kept> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            found.extend(look(root, &path));
            continue;
        }
        let mut bytes = fs::read(&path).expect("a file");
        let length = bytes.len() as u64;
        bytes.truncate(bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1));
        let file = path.strip_prefix(root).expect("inside").to_owned();
        found.push(Kept { file, bytes, length });
    }
    found.sort_by(|a, b| a.file.cmp(&b.file));
    found
}

/// The files in a folder, one of them damaged.
fn lay(kept: &[Kept], folder: &Path, victim: &Path, how: Damage) {
    for Kept { file, bytes, length } in kept {
        let path = folder.join(file);
        fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        let (mut bytes, mut length) = (bytes.clone(), *length);
        if file == victim {
            match how {
                Damage::Gone => continue,
                Damage::Cut(at) => length = at,
                Damage::Flip(at, bit) => bytes[at as usize] ^= 1 << bit,
                Damage::Zeros(at) => {
                    let end = bytes.len().min(at as usize + 512);
                    bytes[at as usize..end].fill(0);
                }
            }
        }
        bytes.truncate(length as usize);
        fs::write(&path, &bytes).expect("a file");
        let file = fs::File::options().write(true).open(&path).expect("a file");
        file.set_len(length).expect("a hole");
    }
}

/// What two regions had when they were told to be kept, by name.
type Truth = BTreeMap<Name, (u64, BTreeMap<PageNo, (Version, Bytes)>)>;

/// A store as `kill -9` leaves it: some of it in tables, some in the journal alone.
fn store() -> (Vec<Kept>, Truth) {
    let live = tempfile::tempdir().expect("a folder");
    let bench = Bench::open(live.path());
    bench.make(1, "genes", Durability::Sync);
    bench.make(2, "notes", Durability::Sync);
    fill(&bench, 1, 1, 40);
    fill(&bench, 2, 1, 10);
    drop(bench);
    for round in 0..2 {
        let store = Database::builder(live.path().join("store")).open().expect("a store");
        for id in 1..=2 {
            let keyspace = store.keyspace(&keyspace_name(RegionId(id)), options).expect("a region");
            keyspace.rotate_memtable_and_wait().expect("tables");
        }
        drop(store);
        let bench = Bench::open(live.path());
        bench.opened();
        bench.opened();
        fill(&bench, 1, 41 + round * 20, 20);
        fill(&bench, 2, 11 + round * 5, 5);
    }
    let bench = Bench::open(live.path());
    let both = [bench.opened(), bench.opened()];
    let truth = both.into_iter().map(|o| (o.create.name.clone(), (o.sequence, pages(&o))));
    (look(live.path(), live.path()), truth.collect())
}

/// Opens a damaged store. True: all of it is there; false: something was refused.
#[track_caller]
fn check(kept: &[Kept], truth: &Truth, file: &Path, how: Damage) -> bool {
    let folder = tempfile::tempdir().expect("a folder");
    lay(kept, folder.path(), file, how);
    let told = |reason: &str| {
        let folder = folder.path().display().to_string();
        assert!(reason.contains(&folder) && reason.contains("; "), "{reason}");
    };

    let bench = Bench::open(folder.path());
    let mut intact = true;
    let mut unheard: Vec<_> = truth.keys().cloned().collect();
    let mut unkept = Vec::new();
    while !unheard.is_empty() || !unkept.is_empty() {
        match bench.events.recv_timeout(PATIENCE) {
            Ok(Event::Opened { name, result: Ok(opened) }) => {
                let (sequence, wanted) = &truth[&name];
                assert_eq!(opened.sequence, *sequence, "{} {how:?}: {name}", file.display());
                assert_eq!(pages(&opened), *wanted, "{} {how:?}: {name}", file.display());
                bench.vault.keep(batch(opened.id.0, sequence + 1, 3));
                unkept.push(opened.id);
                unheard.retain(|unheard| *unheard != name);
            }
            Ok(Event::Opened { name, result: Err(Refusal::Unkept { reason }) }) => {
                told(&reason);
                intact = false;
                unheard.retain(|unheard| *unheard != name);
            }
            Ok(Event::Kept { id, .. }) => unkept.retain(|unkept| *unkept != id),
            Ok(Event::Lost { id, reason }) => {
                told(&reason);
                intact = false;
                unkept.retain(|unkept| *unkept != id);
            }
            Ok(other) => panic!("{} {how:?}: {other:?}", file.display()),
            Err(error) => panic!("{} {how:?}: {error}, {unheard:?} {unkept:?}", file.display()),
        }
    }
    intact
}

#[test]
fn a_store_that_is_cut_or_changed_anywhere_is_intact_or_refused_by_name() {
    let (kept, truth) = store();
    let samples = match std::env::var_os("FARCALL_SOAK") {
        Some(_) => SAMPLES_SOAK,
        None => SAMPLES,
    };
    let (mut intact, mut refused) = (0, 0);
    for Kept { file, bytes, .. } in &kept {
        let end = bytes.len() as u64;
        let mut ways = vec![Damage::Gone, Damage::Cut(0)];
        for sample in 0..samples.min(end) {
            let at = sample * end / samples.min(end);
            ways.push(Damage::Flip(at, (sample % 8) as u8));
            match sample % 3 {
                0 => ways.push(Damage::Cut(at)),
                1 => ways.push(Damage::Zeros(at)),
                _ => (),
            }
        }
        let outcomes: Vec<_> =
            ways.into_iter().map(|how| check(&kept, &truth, file, how)).collect();
        let good = outcomes.iter().filter(|intact| **intact).count();
        eprintln!("{}: {good} intact of {}", file.display(), outcomes.len());
        intact += good;
        refused += outcomes.len() - good;
    }
    assert!(refused > 0 && intact > 0, "{intact} intact, {refused} refused");
}

/// After a power cut the water file and the journal's last batches are as they happen to be; what was
/// flushed is there.
#[test]
fn groups_that_were_torn_before_anybody_was_told_are_dropped() {
    let live = tempfile::tempdir().expect("a folder");
    let bench = Bench::open(live.path());
    bench.make(1, "genes", Durability::Sync);
    fill(&bench, 1, 1, 30);
    let told = look(live.path(), live.path());
    for sequence in 31..34 {
        let written = (0..10).map(|page| batch(1, sequence, page).written[0].clone()).collect();
        bench.vault.keep(Batch { written, ..batch(1, sequence, 0) });
        bench.kept(1, sequence);
    }
    drop(bench);
    let mut torn = look(live.path(), live.path());
    let journal = Path::new("store/0.jnl");
    let length =
        |kept: &[Kept]| kept.iter().find(|kept| kept.file == journal).expect("it").bytes.len();
    let (before, after) = (length(&told), length(&torn));
    for kept in torn.iter_mut().filter(|kept| kept.file.starts_with("water")) {
        let earlier = told.iter().find(|earlier| earlier.file == kept.file).expect("it was there");
        kept.bytes.clone_from(&earlier.bytes);
    }
    for at in (before..after).step_by(509) {
        for how in [Damage::Zeros(at as u64), Damage::Cut(at as u64)] {
            let folder = tempfile::tempdir().expect("a folder");
            lay(&torn, folder.path(), journal, how);
            let opened = Bench::open(folder.path()).opened();
            assert!((30..34).contains(&opened.sequence), "{how:?}: {}", opened.sequence);
            for written in &opened.written {
                let sequence = written.version.0 - 1;
                assert_eq!(*written, batch(1, sequence, written.page.0).written[0], "{how:?}");
            }
        }
    }
}

fn copies(folder: &Path) -> Vec<Vec<u8>> {
    let entries = fs::read_dir(folder.join("store")).expect("a folder");
    let names = entries.map(|entry| entry.expect("an entry").path());
    let copies = names.filter(|path| path.display().to_string().contains(".from-"));
    copies.map(|path| fs::read(path).expect("a file")).collect()
}

#[test]
fn what_is_cut_off_a_damaged_journal_is_kept_until_all_is_whole() {
    let live = tempfile::tempdir().expect("a folder");
    let bench = Bench::open(live.path());
    bench.make(1, "genes", Durability::Sync);
    for sequence in 1..400 {
        bench.vault.keep(batch(1, sequence, sequence % 13));
        bench.kept(1, sequence);
    }
    drop(bench);
    let whole = look(live.path(), live.path());
    let journal = Path::new("store/0.jnl");
    let bytes = &whole.iter().find(|kept| kept.file == journal).expect("it").bytes;
    let at = bytes.len() / 10;

    let folder = tempfile::tempdir().expect("a folder");
    lay(&whole, folder.path(), journal, Damage::Flip(at as u64, 3));
    for _ in 0..2 {
        let (_, reason) = Bench::open(folder.path()).refused();
        assert!(reason.contains("has lost commits"), "{reason}");
        let copies = copies(folder.path());
        assert_eq!(copies.len(), 1);
        assert!(copies[0].len() > bytes.len() - at && bytes.ends_with(&copies[0][at..]));
    }

    // The end of a batch that nobody was told of is nothing to keep.
    let folder = tempfile::tempdir().expect("a folder");
    lay(&whole, folder.path(), journal, Damage::Gone);
    let torn = [bytes.as_slice(), &bytes[..100]].concat();
    fs::write(folder.path().join(journal), &torn).expect("a file");
    let bench = Bench::open(folder.path());
    assert_eq!(bench.opened().sequence, 399);
    drop(bench);
    assert_eq!(copies(folder.path()), Vec::<Vec<u8>>::new());
    assert_eq!(Bench::open(folder.path()).opened().sequence, 399);
}
