//! Files that only their owner may touch: how they are opened, replaced and locked.
//!
//! Nothing is read through a symbolic link, from someone else's file, or from one that others can
//! read or write. A file is replaced whole, by a rename, under the folder's lock.

use crate::error::Error;
use std::fs::{self, DirBuilder, File, Metadata, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// Longest file read here. A certificate is under 1 KiB; the token store has its own, lower bound.
const FILE_MAX: u64 = 64 * 1024;

/// A folder with mode 0700 that belongs to this user.
#[derive(Clone, Debug)]
pub(crate) struct PrivateFolder {
    path: PathBuf,
}

impl PrivateFolder {
    /// Opens the folder, making it and its parents where they are missing.
    pub(crate) fn create(path: &Path) -> Result<Self, Error> {
        DirBuilder::new().recursive(true).mode(0o700).create(path).or_else(|source| {
            // A dangling link, or a file: `open` says which.
            match fs::symlink_metadata(path) {
                Ok(_) => Ok(()),
                Err(_) => Err(Error::File { action: "create folder", path: path.into(), source }),
            }
        })?;
        Self::open(path)?.ok_or_else(|| Error::File {
            action: "open folder",
            path: path.into(),
            source: io::ErrorKind::NotFound.into(),
        })
    }

    /// Opens the folder if it is there.
    pub(crate) fn open(path: &Path) -> Result<Option<Self>, Error> {
        let metadata = match fs::symlink_metadata(path) {
            Ok(metadata) => metadata,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => {
                return Err(Error::File { action: "look at", path: path.into(), source });
            }
        };
        if metadata.is_symlink() {
            return Err(Error::SymbolicLink { path: path.into() });
        }
        if !metadata.is_dir() {
            return Err(Error::WrongKind { path: path.into(), wanted: "a folder" });
        }
        check_owner(path, &metadata, 0o700)?;
        Ok(Some(Self { path: path.to_owned() }))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Reads a file whole; `None` if there is none.
    pub(crate) fn read(&self, name: &str) -> Result<Option<Zeroizing<Vec<u8>>>, Error> {
        let path = self.path.join(name);
        let mut options = OpenOptions::new();
        // O_NONBLOCK: a FIFO in the file's place must not hold us up before it is refused.
        options.read(true).custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK);
        let file = match open(&options, &path, "open") {
            Err(Error::File { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                return Ok(None);
            }
            result => result?,
        };
        let failed = |source| Error::File { action: "read", path: path.clone(), source };
        let length = file.metadata().map_err(failed)?.len();
        if length > FILE_MAX {
            return Err(Error::Damaged { path, what: "it is far too long" });
        }
        // One allocation of the final size: a growing one would leave copies of a key behind.
        let mut bytes = Zeroizing::new(vec![0; usize::try_from(length).unwrap_or(0)]);
        (&file).read_exact(&mut bytes).map_err(failed)?;
        Ok(Some(bytes))
    }

    /// Takes the folder's lock, which lasts until it is dropped. Waits for another process that
    /// holds it, which it does for the time of a few small writes.
    pub(crate) fn lock(&self) -> Result<LockedFolder<'_>, Error> {
        let path = self.path.join("lock");
        let mut options = OpenOptions::new();
        options
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK);
        let file = open(&options, &path, "open")?;
        file.lock().map_err(|source| Error::File { action: "lock", path, source })?;
        Ok(LockedFolder { folder: self, _lock: file })
    }
}

/// The folder while nobody else changes it.
pub(crate) struct LockedFolder<'a> {
    folder: &'a PrivateFolder,
    _lock: File,
}

impl LockedFolder<'_> {
    /// Puts `bytes` in the file's place: whoever reads sees the old file or the new one.
    pub(crate) fn replace(&self, name: &str, bytes: &[u8]) -> Result<(), Error> {
        let path = self.folder.path.join(name);
        let fresh = self.folder.path.join(format!(".{name}.new"));
        // One that a crash left behind; under the lock nobody is writing it.
        match fs::remove_file(&fresh) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(Error::File { action: "remove", path: fresh, source: error });
            }
            _ => (),
        }
        let write = || -> io::Result<()> {
            let mut options = OpenOptions::new();
            let mut file = options.write(true).create_new(true).mode(0o600).open(&fresh)?;
            file.write_all(bytes)?;
            file.sync_all()?;
            fs::rename(&fresh, &path)?;
            File::open(&self.folder.path)?.sync_all()
        };
        write().map_err(|source| Error::File { action: "write", path: path.clone(), source })
    }
}

fn open(options: &OpenOptions, path: &Path, action: &'static str) -> Result<File, Error> {
    let file = options.open(path).map_err(|source| match source.raw_os_error() {
        Some(libc::ELOOP) => Error::SymbolicLink { path: path.into() },
        _ => Error::File { action, path: path.into(), source },
    })?;
    let metadata = file.metadata().map_err(|source| Error::File {
        action: "look at",
        path: path.into(),
        source,
    })?;
    if !metadata.is_file() {
        return Err(Error::WrongKind { path: path.into(), wanted: "a regular file" });
    }
    check_owner(path, &metadata, 0o600)?;
    Ok(file)
}

fn check_owner(path: &Path, metadata: &Metadata, wanted: u32) -> Result<(), Error> {
    let (owner, user) = (metadata.uid(), nix::unistd::geteuid().as_raw());
    if owner != user {
        return Err(Error::ForeignOwner { path: path.into(), owner, user });
    }
    let mode = metadata.mode() & 0o7777;
    if mode & 0o077 != 0 {
        return Err(Error::LooseMode { path: path.into(), mode, wanted });
    }
    Ok(())
}
