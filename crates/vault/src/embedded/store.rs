//! The store under the embedded vault: fjall, opened and asked so that neither damage nor a panic of
//! its own goes unnoticed.

use std::fmt;
use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::DirBuilderExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use fjall::{Database, Keyspace, KeyspaceCreateOptions, PersistMode};
use logic::regions::Opened;
use wire::kept::{Item, Key};
use wire::name::Name;
use wire::region::RegionId;

use super::journal;
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

/// Opens the store, if neither its lists of tables nor its journals are damaged in a way that it would
/// not say.
pub(super) fn open_store(path: &Path) -> Result<Database, Fault> {
    if path.join("lock").try_exists()? {
        // Whoever has it may be changing what is looked at here.
        let lock = fs::File::open(path.join("lock"))?;
        lock.try_lock().map_err(|_| Fault::Store(fjall::Error::Locked))?;
        check_manifests(&path.join("keyspaces"))?;
    }
    if path.try_exists()?
        && let Some(journal) = journal::mend(path)?
    {
        return Err(Fault::Damaged(journal));
    }
    let builder = Database::builder(path).cache_size(CACHE).worker_threads(THREADS);
    let opened = guarded(|| builder.manual_journal_persist(true).open())?;
    if let Some(folder) = path.parent() {
        fs::File::open(folder)?.sync_all()?;
    }
    Ok(opened)
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

/// Everything that the store has of a region; none where it has no such region.
pub(super) fn read(
    store: &Database,
    id: RegionId,
    is_ending: &AtomicBool,
) -> Result<Result<Option<Loaded>, String>, fjall::Error> {
    let name = keyspace_name(id);
    if !store.keyspace_exists(&name) {
        return Ok(Ok(None));
    }
    let keyspace = store.keyspace(&name, options)?;
    let mut items = Vec::new();
    for item in keyspace.iter() {
        if is_ending.load(Ordering::Relaxed) {
            return Ok(Err("this node is ending".to_owned()));
        }
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

/// The folders, for a cluster: regions of another one's owners are nobody's here. They are on the disk
/// when this returns.
pub(super) fn prepare(folder: &Path, cluster: &str) -> Result<(), String> {
    let stamp = folder.join("cluster");
    let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(folder.join("water"));
    made.map_err(|error| Fault::from(error).at(folder))?;
    match fs::read(&stamp) {
        Ok(found) if found == cluster.as_bytes() => return Ok(()),
        // A file system may lose the bytes of a file that was never flushed, and keep its name.
        Ok(found) if found.is_empty() => {}
        Ok(_) => {
            return Err(format!(
                "`{}` has regions of another cluster; give this node another data folder, or move that \
                 folder away",
                folder.display()
            ));
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(Fault::from(error).at(&stamp)),
    }
    write_stamp(folder, &stamp, cluster).map_err(|error| Fault::from(error).at(&stamp))
}

fn write_stamp(folder: &Path, stamp: &Path, cluster: &str) -> io::Result<()> {
    let draft = folder.join("cluster.new");
    let mut file = fs::File::create(&draft)?;
    file.write_all(cluster.as_bytes())?;
    file.sync_all()?;
    fs::rename(&draft, stamp)?;
    fs::File::open(folder)?.sync_all()?;
    match folder.parent() {
        Some(parent) if parent.as_os_str().is_empty() => fs::File::open(".")?.sync_all(),
        Some(parent) => fs::File::open(parent)?.sync_all(),
        None => Ok(()),
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
