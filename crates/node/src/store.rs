//! The node's blobs, as files named by their hash.
//!
//! ```text
//! blobs/cluster         the authority in whose certificates the owners' names stand
//! blobs/HASH            the bytes, under this name only when they are whole and checked
//! blobs/HASH.owners     who may use them, a name in each line
//! ```
//!
//! A node that is started again uses what it kept, once it has checked the bytes: a power cut may
//! have torn them. Owners are names of one cluster; under another authority they are other people, so
//! the blobs of another cluster are cleared away.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use sys::files::{Purpose, open_in};
use wire::name::{Hash, Name};

/// Bytes that are read of a file at once.
const PIECE: usize = 256 * 1024;
/// Longest list of owners that is read back.
const OWNERS_MAX: u64 = 1 << 20;

#[derive(Debug)]
pub(crate) struct Store {
    path: PathBuf,
    folder: File,
    /// Uploads so far.
    attempts: AtomicU64,
}

/// What became of a blob that was here before the node started.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Found {
    Good { hash: Hash, length: u64, owners: Vec<Name> },
    Bad { hash: Hash },
}

impl Store {
    /// Opens the blobs of a node of this cluster.
    pub(crate) fn open(data: &Path, cluster: &str) -> io::Result<Self> {
        let path = data.join("blobs");
        // Whatever else stands there, a link above all, is not followed.
        let is_folder = match fs::symlink_metadata(&path) {
            Ok(there) => Some(there.is_dir()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(error),
        };
        if is_folder == Some(false) {
            fs::remove_file(&path)?;
        }
        if is_folder == Some(true) && !is_of(&File::open(&path)?, cluster) {
            fs::remove_dir_all(&path)?;
        }
        fs::create_dir_all(&path)?;
        let folder = File::open(&path)?;
        // Workers get descriptors; nobody else has a reason to look.
        folder.set_permissions(fs::Permissions::from_mode(0o700))?;
        if !is_of(&folder, cluster) {
            let mut stamp = open_in(&folder, "cluster", Purpose::Replace).map_err(other)?;
            stamp.write_all(cluster.as_bytes())?;
        }
        Ok(Self { path, folder, attempts: AtomicU64::new(0) })
    }

    fn path(&self, hash: &Hash) -> PathBuf {
        self.path.join(hash.to_string())
    }

    /// Notes that one more may use a blob. Should that fail, he sends it again after the next start.
    pub(crate) fn own(&self, hash: &Hash, owner: &Name) {
        if let Ok(mut file) = open_in(&self.folder, owners_of(hash), Purpose::Append) {
            let _ = file.write_all(format!("{owner}\n").as_bytes());
        }
    }

    /// What is here before anything is stored; files that were never whole are cleared away.
    pub(crate) fn list(&self) -> Vec<Hash> {
        let Ok(entries) = fs::read_dir(&self.path) else { return Vec::new() };
        let mut hashes = Vec::new();
        for name in entries.flatten().filter_map(|entry| entry.file_name().into_string().ok()) {
            match name.parse() {
                Ok(hash) => hashes.push(hash),
                Err(_) if name.ends_with(".partial") => {
                    let _ = fs::remove_file(self.path.join(name));
                }
                Err(_) => {}
            }
        }
        hashes
    }

    /// Whether a blob of an earlier start is still what it was. It may take long.
    pub(crate) fn check(&self, hash: Hash) -> Found {
        self.read_back(hash).unwrap_or(Found::Bad { hash })
    }

    fn read_back(&self, hash: Hash) -> Result<Found, sys::Error> {
        let owners = open_in(&self.folder, owners_of(&hash), Purpose::Read)?;
        let owners = io::read_to_string(owners.take(OWNERS_MAX)).unwrap_or_default();
        let owners: Vec<Name> = owners.lines().filter_map(|line| line.parse().ok()).collect();
        let mut file = open_in(&self.folder, hash.to_string(), Purpose::Read)?;
        let (mut hasher, mut length) = (blake3::Hasher::new(), 0);
        let mut piece = vec![0; PIECE];
        while let Ok(count @ 1..) = file.read(&mut piece) {
            hasher.update(&piece[..count]);
            length += count as u64;
        }
        let is_good = *hasher.finalize().as_bytes() == hash.0 && !owners.is_empty();
        Ok(if is_good { Found::Good { hash, length, owners } } else { Found::Bad { hash } })
    }

    /// Stores what `pieces` yields, if it has this hash.
    pub(crate) fn put<'a>(
        &self,
        hash: &Hash,
        pieces: impl Iterator<Item = std::borrow::Cow<'a, [u8]>>,
    ) -> Result<(), String> {
        let path = self.path(hash);
        // Two uploads of one blob may be under way at once, and one of them may be a lie.
        let attempt = self.attempts.fetch_add(1, Ordering::Relaxed);
        let partial = path.with_extension(format!("{attempt}.partial"));
        let write = || -> io::Result<blake3::Hash> {
            let mut hasher = blake3::Hasher::new();
            let mut file = File::create(&partial)?;
            for piece in pieces {
                hasher.update(&piece);
                file.write_all(&piece)?;
            }
            Ok(hasher.finalize())
        };
        let result = match write() {
            Ok(found) if *found.as_bytes() == hash.0 => {
                fs::rename(&partial, &path).map_err(|error| self.cannot_store(hash, &error))
            }
            Ok(found) => Err(format!("the bytes have the hash {found}, not {hash}")),
            Err(error) => Err(self.cannot_store(hash, &error)),
        };
        if result.is_err() {
            let _ = fs::remove_file(&partial);
        }
        result
    }

    fn cannot_store(&self, hash: &Hash, error: &io::Error) -> String {
        let folder = self.path.display();
        format!(
            "cannot store blob {hash} in {folder}: {error}; make room there, or start the node with another --data"
        )
    }

    pub(crate) fn file(&self, hash: &Hash) -> Result<File, sys::Error> {
        open_in(&self.folder, hash.to_string(), Purpose::Read)
    }

    pub(crate) fn delete(&self, hash: &Hash) {
        let _ = fs::remove_file(self.path(hash));
        let _ = fs::remove_file(self.path.join(owners_of(hash)));
    }
}

fn owners_of(hash: &Hash) -> String {
    format!("{hash}.owners")
}

fn is_of(folder: &File, cluster: &str) -> bool {
    let stamp = open_in(folder, "cluster", Purpose::Read).ok();
    let stamp = stamp.and_then(|file| io::read_to_string(file.take(PIECE as u64)).ok());
    stamp.as_deref() == Some(cluster)
}

fn other(error: sys::Error) -> io::Error {
    io::Error::other(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Pieces of which the second comes only after `between` was done.
    fn put(
        store: &Store,
        hash: &Hash,
        pieces: [&[u8]; 2],
        between: impl Fn(),
    ) -> Result<(), String> {
        let pieces = pieces.into_iter().enumerate().map(|(at, piece)| {
            if at == 1 {
                between();
            }
            piece.into()
        });
        store.put(hash, pieces)
    }

    fn open(folder: &tempfile::TempDir) -> Store {
        Store::open(folder.path(), "here").unwrap()
    }

    fn files(folder: &tempfile::TempDir) -> usize {
        fs::read_dir(folder.path().join("blobs")).unwrap().count()
    }

    #[test]
    fn a_lie_told_while_a_blob_arrives_does_not_touch_it() {
        let folder = tempfile::tempdir().unwrap();
        let store = open(&folder);
        let before = files(&folder);
        let hash = Hash::of(b"truth");
        let lie = || assert!(put(&store, &hash, [b"lie", b"s"], || ()).is_err());
        put(&store, &hash, [b"tru", b"th"], lie).unwrap();
        assert_eq!(std::io::read_to_string(store.file(&hash).unwrap()).unwrap(), "truth");
        assert_eq!(files(&folder), before + 1, "what was refused is not kept");
    }

    #[test]
    fn what_was_kept_is_found_again_for_its_owners_and_what_is_torn_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let (me, you): (Name, Name) = ("me".parse().unwrap(), "you".parse().unwrap());
        let [good, torn, nobodys] = [b"good", b"torn", b"lost"].map(|bytes| Hash::of(bytes));
        let store = open(&folder);
        for (hash, bytes) in [(good, b"good"), (torn, b"torn"), (nobodys, b"lost")] {
            put(&store, &hash, [bytes, b""], || ()).unwrap();
        }
        store.own(&good, &me);
        store.own(&good, &you);
        store.own(&torn, &me);
        fs::write(store.path(&torn), "tor").unwrap();
        fs::write(store.path(&good).with_extension("7.partial"), "go").unwrap();
        drop(store);

        let store = open(&folder);
        let mut listed = store.list();
        listed.sort();
        let mut all = vec![good, torn, nobodys];
        all.sort();
        assert_eq!(listed, all);
        let owners = vec![me, you];
        assert_eq!(store.check(good), Found::Good { hash: good, length: 4, owners });
        assert_eq!(store.check(torn), Found::Bad { hash: torn });
        assert_eq!(store.check(nobodys), Found::Bad { hash: nobodys });
        assert!(!store.path(&good).with_extension("7.partial").exists());
    }

    #[test]
    fn blobs_of_another_cluster_are_cleared_away() {
        let folder = tempfile::tempdir().unwrap();
        let (store, hash) = (open(&folder), Hash::of(b"bytes"));
        put(&store, &hash, [b"by", b"tes"], || ()).unwrap();
        store.own(&hash, &"me".parse().unwrap());
        drop(store);
        assert_eq!(Store::open(folder.path(), "elsewhere").unwrap().list(), []);
        assert_eq!(open(&folder).list(), []);
    }

    #[test]
    fn a_link_in_the_place_of_a_file_or_of_the_folder_is_not_followed() {
        let folder = tempfile::tempdir().unwrap();
        let (aside, hash) = (tempfile::tempdir().unwrap(), Hash::of(b"bytes"));
        let secret = aside.path().join("secret");
        fs::write(&secret, "bytes").unwrap();
        let store = open(&folder);
        std::os::unix::fs::symlink(&secret, store.path(&hash)).unwrap();
        std::os::unix::fs::symlink(&secret, store.path.join(owners_of(&hash))).unwrap();
        assert!(store.file(&hash).is_err());
        store.own(&hash, &"me".parse().unwrap());
        assert_eq!(store.check(hash), Found::Bad { hash });
        put(&store, &hash, [b"by", b"tes"], || ()).unwrap();
        assert_eq!(std::io::read_to_string(store.file(&hash).unwrap()).unwrap(), "bytes");
        drop(store);

        let blobs = folder.path().join("blobs");
        fs::remove_dir_all(&blobs).unwrap();
        std::os::unix::fs::symlink(aside.path(), &blobs).unwrap();
        let store = open(&folder);
        put(&store, &hash, [b"by", b"tes"], || ()).unwrap();
        assert_eq!(fs::read_to_string(&secret).unwrap(), "bytes", "it is as it was");
        assert_eq!(fs::read_dir(aside.path()).unwrap().count(), 1);
    }
}
