//! Workers' scratch folders: one for each, below one of the node's, and the way to them.
//!
//! ```text
//!  data/scratch/N     a worker's, while it lives
//!  data/dead/N        what is to be removed, by a thread of its own
//! ```
//!
//! A dead worker's folder may hold a million files, or folders nested by the ten thousand. So the
//! loop only moves it away, and the thread moves each folder it meets in there up beside it: no path
//! is long, no stack deep, and a handful of descriptors is enough.

use std::fs::{self, DirBuilder, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;
use std::time::Duration;

use sys::files::Burial;

use crate::Error;
use crate::options::Jail;

/// How long a node that ends waits for its workers' files to be gone.
const FAREWELL: Duration = Duration::from_secs(2);

/// The folder of this node's workers' folders, and where those of the dead go.
pub(crate) struct Scratch {
    folder: PathBuf,
    dead: PathBuf,
    /// The next name in `dead`.
    next: Arc<AtomicU64>,
    /// Names there, for the thread; `None`: there is none.
    queue: Option<Sender<u64>>,
    /// Hung up when the thread has ended.
    end: Receiver<()>,
}

/// Makes the folder for the folders of this node's workers, and clears away what another node left.
///
/// Where the daemon is root, workers have accounts of their own. They must be able to pass through the
/// folder, though not to list it; a folder above it that lets nobody pass is said now, not by each task.
pub(crate) fn make_all(data: &Path, jail: Jail) -> Result<Scratch, Error> {
    let failed = |source| Error::Data { path: data.to_owned(), source };
    let (folder, dead) = (data.join("scratch"), data.join("dead"));
    make_real(&folder).map_err(failed)?;
    make_real(&dead).map_err(failed)?;
    let (folder, dead) =
        (folder.canonicalize().map_err(failed)?, dead.canonicalize().map_err(failed)?);
    fs::set_permissions(&folder, Permissions::from_mode(0o711)).map_err(failed)?;
    // Nobody but the node goes in there, or moves anything.
    fs::set_permissions(&dead, Permissions::from_mode(0o700)).map_err(failed)?;
    if jail == Jail::User
        && sys::limits::is_root()
        && let Some(closed) = closed_above(&folder)
    {
        return Err(Error::Closed { path: data.to_owned(), closed });
    }
    Scratch::open(folder, dead).map_err(failed)
}

impl Scratch {
    fn open(folder: PathBuf, dead: PathBuf) -> io::Result<Self> {
        let left = fs::read_dir(&dead)?.flatten();
        let left: Vec<u64> =
            left.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
        let next = Arc::new(AtomicU64::new(left.iter().max().map_or(0, |last| last + 1)));
        let burial = Burial::open(&dead).map_err(io::Error::other)?;
        let (queue, names) = mpsc::channel();
        let (ended, end) = mpsc::channel();
        let numbers = next.clone();
        let work = move || {
            let _ended = ended;
            bury_all(&burial, &names, &numbers);
        };
        thread::Builder::new().name("scratch".into()).spawn(work)?;
        let this = Self { folder, dead, next, queue: Some(queue), end };
        left.into_iter().for_each(|name| this.bury(name));
        for entry in fs::read_dir(&this.folder)?.flatten() {
            this.remove(&entry.path());
        }
        Ok(this)
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Has a folder removed; here it is gone at once. One that cannot be moved is the next node's.
    pub(crate) fn remove(&self, path: &Path) {
        let name = self.next.fetch_add(1, Ordering::Relaxed);
        let at = self.dead.join(name.to_string());
        let moved = fs::rename(path, &at).or_else(|_| {
            // Who owns it may have closed it to himself.
            fs::set_permissions(path, Permissions::from_mode(0o700))?;
            fs::rename(path, &at)
        });
        if moved.is_ok() {
            self.bury(name);
        }
    }

    fn bury(&self, name: u64) {
        if let Some(queue) = &self.queue {
            let _ = queue.send(name);
        }
    }

    /// Waits for a moment until nothing is left, and removes both folders if that is so.
    pub(crate) fn close(&mut self) {
        self.queue = None;
        let _ = self.end.recv_timeout(FAREWELL);
        let _ = fs::remove_dir(&self.folder);
        let _ = fs::remove_dir(&self.dead);
    }
}

/// Removes what it is told, until nobody can tell it any more.
fn bury_all(burial: &Burial, names: &Receiver<u64>, next: &AtomicU64) {
    // What could not be removed, for want of descriptors, say: tried again with the next one.
    let mut later = Vec::new();
    while let Ok(name) = names.recv() {
        let mut left = std::mem::take(&mut later);
        left.push(name);
        while let Some(name) = left.pop() {
            let fresh = || {
                let name = next.fetch_add(1, Ordering::Relaxed);
                left.push(name);
                name.to_string()
            };
            if burial.bury(&name.to_string(), fresh).is_err() {
                later.push(name);
            }
        }
    }
}

/// Makes a folder unless it is there. A link in its place goes: what it leads to is not to be cleared.
fn make_real(folder: &Path) -> io::Result<()> {
    if fs::symlink_metadata(folder).is_ok_and(|there| !there.is_dir()) {
        fs::remove_file(folder)?;
    }
    fs::create_dir_all(folder)
}

/// The first folder on the way that only its owner and his group may enter.
fn closed_above(scratch: &Path) -> Option<PathBuf> {
    let is_closed = |way: &&Path| {
        fs::metadata(way).is_ok_and(|folder| folder.permissions().mode() & 0o001 == 0)
    };
    scratch.ancestors().skip(1).filter(is_closed).last().map(Path::to_owned)
}

/// Makes one worker's folder, for its account alone.
pub(crate) fn make(path: &Path, account: Option<u32>) -> io::Result<()> {
    DirBuilder::new().mode(0o700).create(path)?;
    match account {
        Some(account) => chown(path, Some(account), Some(account)),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests;
