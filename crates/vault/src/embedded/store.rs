//! The store under the embedded vault: fjall, opened and asked so that neither damage nor a panic of
//! its own goes unnoticed.

use std::fmt;
use std::fs;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use fjall::{Database, Keyspace, KeyspaceCreateOptions, PersistMode};
use logic::regions::Opened;
use wire::kept::{Item, Key};
use wire::name::Name;
use wire::region::RegionId;

use crate::ledger::Ledger;

/// Memory for what the store has read: it is read once, when a region is opened.
const CACHE: u64 = 4 << 20;
/// Bytes of a region that are in the journal alone before they are written to tables.
const MEMTABLE: u64 = 32 << 20;
const THREADS: usize = 1;
/// Parts of a region that wait to be written to tables, and tables that wait to be merged: the store's
/// own bounds are 4 and 30, at which it would stop for good if the thread that does it had failed.
const SEALED_MAX: usize = 3;
const TABLES_MAX: usize = 24;
/// Groups with holes at the end of a journal: each has waited for `FLUSH` at most.
const TORN_MAX: usize = 256;
/// Nothing is written there yet.
const ROOM: [u8; 4096] = [0; 4096];
/// The last bytes of each batch in the store's journal.
const BATCH_END: &[u8] = b"FJL\x03";
/// A disk with less is called full: the store writes its tables in pieces of this size.
const FREE_MIN: u64 = 64 << 20;
/// Between looks at whether there is room.
const PAUSE: Duration = Duration::from_millis(5);

/// A region as the store has it.
pub(super) struct Loaded {
    pub(super) keyspace: Keyspace,
    pub(super) ledger: Ledger,
    pub(super) opened: Opened,
}

/// Opens the store. A power cut may leave holes in the last groups of the journal, which nobody was
/// told of. The store takes holes for damage and goes no further, so such groups are cut off, from the
/// end. Had they been acknowledged, the high-water files would know.
pub(super) fn open_store(path: &Path) -> Result<Database, Fault> {
    use fjall::{Error, JournalRecoveryError as Torn};
    let open = || {
        let builder = Database::builder(path).cache_size(CACHE).worker_threads(THREADS);
        guarded(|| builder.manual_journal_persist(true).open())
    };
    if path.join("lock").try_exists()? {
        // Whoever has it may be changing what is looked at here.
        let lock = fs::File::open(path.join("lock"))?;
        lock.try_lock().map_err(|_| Fault::Store(Error::Locked))?;
        check_manifests(&path.join("keyspaces"))?;
    }
    let mut opened = open();
    for attempt in 0..TORN_MAX {
        let Err(Fault::Store(Error::JournalRecovery(
            Torn::ChecksumMismatch | Torn::InsufficientLength,
        ))) = &opened
        else {
            break;
        };
        if !cut_tail(path, attempt == 0)? {
            break;
        }
        opened = open();
    }
    opened
}

/// The store writes checksums of its lists of tables and believes the lists without looking at them, to
/// the point of reserving whatever memory a damaged one asks for, which would end this process.
fn check_manifests(keyspaces: &Path) -> Result<(), Fault> {
    for keyspace in fs::read_dir(keyspaces)? {
        let keyspace = keyspace?.path();
        // The number of the list, its checksum, and the kind of the checksum.
        let Ok(current) = fs::read(keyspace.join("current")) else { continue };
        let damaged = || Fault::Damaged(keyspace.join("current"));
        let (number, rest) = current.split_first_chunk::<8>().ok_or_else(damaged)?;
        let (sum, kind) = rest.split_first_chunk::<16>().ok_or_else(damaged)?;
        if kind != [0] {
            return Err(damaged());
        }
        let list = keyspace.join(format!("v{}", u64::from_le_bytes(*number)));
        let bytes = fs::read(&list).map_err(|_| Fault::Damaged(list.clone()))?;
        if xxhash_rust::xxh3::xxh3_128(&bytes) != u128::from_le_bytes(*sum) {
            return Err(Fault::Damaged(list));
        }
    }
    Ok(())
}

/// Makes the last batch of the journal one without an end, which the store drops.
fn cut_tail(path: &Path, is_first: bool) -> io::Result<bool> {
    let number = |path: &PathBuf| path.file_stem()?.to_str()?.parse::<u64>().ok();
    let is_journal = |path: &PathBuf| path.extension().is_some_and(|kind| kind == "jnl");
    let entries = fs::read_dir(path)?.map(|entry| entry.map(|entry| entry.path()));
    let paths = entries.collect::<io::Result<Vec<_>>>()?;
    let Some(journal) = paths.into_iter().filter(is_journal).max_by_key(number) else {
        return Ok(false);
    };
    let mut bytes = fs::read(&journal)?;
    // Behind what was written there are megabytes of room.
    let room = bytes.rchunks(ROOM.len()).take_while(|chunk| **chunk == ROOM[..chunk.len()]);
    let room: usize = room.map(<[u8]>::len).sum();
    bytes.truncate(bytes.len() - room);
    let Some(end) = bytes.windows(BATCH_END.len()).rposition(|window| window == BATCH_END) else {
        return Ok(false);
    };
    if is_first {
        // Should it turn out to be damage, whoever mends it wants to see it as it was.
        fs::write(journal.with_extension("jnl.before"), &bytes)?;
    }
    let file = fs::File::options().write(true).open(&journal)?;
    file.set_len(end as u64)?;
    file.sync_all()?;
    Ok(true)
}

/// Everything that the store has of a region; none where it has no such region.
pub(super) fn read(
    store: &Database,
    id: RegionId,
) -> Result<Result<Option<Loaded>, String>, fjall::Error> {
    let name = keyspace_name(id);
    if !store.keyspace_exists(&name) {
        return Ok(Ok(None));
    }
    let keyspace = store.keyspace(&name, options)?;
    let mut items = Vec::new();
    for item in keyspace.iter() {
        let (key, value) = item.into_inner()?;
        items.push((key.to_vec(), Bytes::copy_from_slice(&value)));
    }
    Ok(match Ledger::load(items) {
        Ok((ledger, _)) if ledger.region.id != id => Err("it has another region there".to_owned()),
        Ok((ledger, opened)) => Ok(Some(Loaded { keyspace, ledger, opened })),
        Err(damage) => Err(damage.to_string()),
    })
}

/// The name of a region whose other records may be damaged.
pub(super) fn name_in(keyspace: &Keyspace) -> Option<Name> {
    let key = Key::Region.to_bytes();
    let value = guarded(|| keyspace.get(&key)).ok()??;
    match Item::decode(RegionId(0), &key, &Bytes::copy_from_slice(&value)) {
        Ok(Item::Region(region)) => Some(region.create.name),
        _ => None,
    }
}

/// Waits until the store has written older commits to its tables. Its own waiting would not end if the
/// thread that does this had failed; this does, since `persist` says so.
pub(super) fn make_room(store: &Database, keyspaces: &[Keyspace]) -> Result<(), fjall::Error> {
    let is_full = |keyspace: &Keyspace| {
        keyspace.sealed_memtable_count() >= SEALED_MAX || keyspace.l0_table_count() >= TABLES_MAX
    };
    while keyspaces.iter().any(is_full) {
        store.persist(PersistMode::Buffer)?;
        std::thread::sleep(PAUSE);
    }
    Ok(())
}

/// The folders, for a cluster: regions of another one's owners are nobody's here.
pub(super) fn prepare(folder: &Path, cluster: &str) -> Result<(), String> {
    let stamp = folder.join("cluster");
    let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(folder.join("water"));
    made.map_err(|error| Fault::from(error).at(folder))?;
    match fs::read(&stamp) {
        Ok(found) if found == cluster.as_bytes() => Ok(()),
        Ok(_) => Err(format!(
            "`{}` has regions of another cluster; give this node another data folder, or move that \
             folder away",
            folder.display()
        )),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            fs::write(&stamp, cluster).map_err(|error| Fault::from(error).at(&stamp))
        }
        Err(error) => Err(Fault::from(error).at(&stamp)),
    }
}

pub(super) fn keyspace_name(id: RegionId) -> String {
    format!("{:016x}", id.0)
}

pub(super) fn options() -> KeyspaceCreateOptions {
    KeyspaceCreateOptions::default().max_memtable_size(MEMTABLE).manual_journal_persist(true)
}

/// What went wrong in the store.
#[derive(Debug)]
pub(super) enum Fault {
    Store(fjall::Error),
    Panic(String),
    /// A file of the store is not what it wrote.
    Damaged(PathBuf),
}

impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Self {
        Self::Store(error.into())
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Store(fjall::Error::Io(error)) => error.fmt(f),
            Self::Store(fjall::Error::Storage(error)) => error.fmt(f),
            Self::Store(fjall::Error::Poisoned) => f.write_str("an earlier write failed"),
            Self::Store(error) => write!(f, "{error:?}"),
            Self::Panic(text) => f.write_str(text),
            Self::Damaged(path) => write!(f, "`{}` is damaged", path.display()),
        }
    }
}

impl Fault {
    /// In words, with what to do.
    pub(super) fn at(&self, path: &Path) -> String {
        let shown = path.display();
        let is_full = match self {
            Self::Store(fjall::Error::Io(error)) => error.kind() == io::ErrorKind::StorageFull,
            // The thread that writes tables does not say why it gave up.
            Self::Store(fjall::Error::Poisoned) => {
                sys::files::room(path).is_ok_and(|room| room.free < FREE_MIN)
            }
            Self::Store(_) | Self::Panic(_) | Self::Damaged(_) => false,
        };
        match self {
            Self::Store(fjall::Error::Locked) => format!(
                "another process uses `{shown}`; end that node, or give this one another data folder"
            ),
            _ if is_full => {
                format!("the disk of `{shown}` is full; make room there and start the node again")
            }
            _ => format!(
                "`{shown}` cannot be used: {self}; see that its disk works, then start the node again"
            ),
        }
    }
}

/// The store is asked to; should it panic over what it found on the disk, that is a fault like others.
pub(super) fn guarded<T>(ask: impl FnOnce() -> Result<T, fjall::Error>) -> Result<T, Fault> {
    match catch_unwind(AssertUnwindSafe(ask)) {
        Ok(result) => result.map_err(Fault::Store),
        Err(panic) => {
            let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
            let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
            Err(Fault::Panic(text.unwrap_or_else(|| "it is damaged".to_owned())))
        }
    }
}
