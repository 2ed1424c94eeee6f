//! The node's blobs, as files named by their hash.
//!
//! A file appears under its name only when its bytes are whole and checked. What was here before the
//! node started is cleared away: whose it was is not known any more.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use wire::name::Hash;

#[derive(Debug)]
pub(crate) struct Store {
    folder: PathBuf,
    /// Uploads so far.
    attempts: AtomicU64,
}

impl Store {
    pub(crate) fn open(data: &Path) -> io::Result<Self> {
        let folder = data.join("blobs");
        match fs::remove_dir_all(&folder) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => fs::create_dir_all(&folder)?,
        }
        // Workers get descriptors; nobody else has a reason to look.
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o700))?;
        Ok(Self { folder, attempts: AtomicU64::new(0) })
    }

    fn path(&self, hash: &Hash) -> PathBuf {
        self.folder.join(hash.to_string())
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
            Ok(found) if *found.as_bytes() == hash.0 => fs::rename(&partial, &path)
                .map_err(|error| format!("cannot store blob {hash}: {error}")),
            Ok(found) => Err(format!("the bytes have the hash {found}, not {hash}")),
            Err(error) => Err(format!("cannot store blob {hash}: {error}")),
        };
        if result.is_err() {
            let _ = fs::remove_file(&partial);
        }
        result
    }

    pub(crate) fn file(&self, hash: &Hash) -> io::Result<File> {
        File::open(self.path(hash))
    }

    pub(crate) fn delete(&self, hash: &Hash) {
        let _ = fs::remove_file(self.path(hash));
    }
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

    #[test]
    fn a_lie_told_while_a_blob_arrives_does_not_touch_it() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        let hash = Hash::of(b"truth");
        let lie = || assert!(put(&store, &hash, [b"lie", b"s"], || ()).is_err());
        put(&store, &hash, [b"tru", b"th"], lie).unwrap();
        assert_eq!(std::io::read_to_string(store.file(&hash).unwrap()).unwrap(), "truth");
        let left = fs::read_dir(folder.path().join("blobs")).unwrap().count();
        assert_eq!(left, 1, "what was refused is not kept");
    }
}
