//! Files opened so that nobody can slip another one under the name.
//!
//! Everything is opened close-on-exec and never through a symbolic link in the last component;
//! checks look at the open descriptor, not at the name again.

use std::ffi::{CString, OsStr};
use std::fs::{File, OpenOptions, Permissions};
use std::io::Write;
use std::ops::Range;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

use nix::fcntl::{FcntlArg, OFlag, SealFlag, fcntl, openat, renameat};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::stat::{Mode, umask};
use nix::sys::statfs::{TMPFS_MAGIC, statfs};
use nix::unistd::{UnlinkatFlags, Whence, lseek, unlinkat};

use crate::Error;

/// Looks at a folder before giving up on one that is filled as fast as it is emptied.
const PASSES_MAX: usize = 64;

/// From linux/magic.h.
const RAMFS_MAGIC: i64 = 0x8584_58f6;

/// What an opened file is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// An existing file, to be read.
    Read,
    /// An existing folder, to open more beneath it.
    Folder,
    /// A file of ours alone (mode 0600) that did not exist before.
    CreateNew,
    /// A file of ours alone (mode 0600), new or emptied.
    Replace,
    /// The same, new or continued at its end.
    Append,
    /// A file for anybody whom the user's mask lets see it, new or emptied.
    Output,
}

impl Purpose {
    fn flags(self) -> OFlag {
        let purpose = match self {
            // A FIFO put in the file's place must not hold us until someone writes to it.
            Self::Read => OFlag::O_RDONLY | OFlag::O_NONBLOCK,
            Self::Folder => OFlag::O_RDONLY | OFlag::O_DIRECTORY,
            Self::CreateNew => OFlag::O_RDWR | OFlag::O_CREAT | OFlag::O_EXCL,
            Self::Replace => OFlag::O_RDWR | OFlag::O_CREAT | OFlag::O_TRUNC,
            Self::Append => OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_APPEND,
            Self::Output => OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_TRUNC | OFlag::O_NONBLOCK,
        };
        purpose | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC
    }

    fn mode(self) -> Mode {
        let own = Mode::S_IRUSR | Mode::S_IWUSR;
        match self {
            Self::Read | Self::Folder | Self::CreateNew | Self::Replace | Self::Append => own,
            Self::Output => own | Mode::S_IRGRP | Mode::S_IWGRP | Mode::S_IROTH | Mode::S_IWOTH,
        }
    }
}

/// Opens `name`, one component without slashes, in the folder `at`.
pub fn open_in(at: &impl AsFd, name: impl AsRef<OsStr>, purpose: Purpose) -> Result<File, Error> {
    let name = name.as_ref();
    let text = || name.to_string_lossy().into_owned();
    let refuse = |why| Err(Error::CallerName { text: text(), why });
    match name.as_bytes() {
        b"" => return refuse("it is empty"),
        b"." | b".." => return refuse("it names a folder above or itself"),
        bytes if bytes.contains(&b'/') => return refuse("it holds a slash"),
        bytes if bytes.contains(&0) => return refuse("it holds a NUL"),
        _ => (),
    }
    openat(at, name, purpose.flags(), purpose.mode())
        .map(File::from)
        .map_err(Error::file("open", &text()))
}

/// Opens a folder by its path; the last component must not be a symbolic link.
pub fn folder(path: &Path) -> Result<File, Error> {
    OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NOFOLLOW | libc::O_DIRECTORY)
        .open(path)
        .map_err(Error::file("open folder", path))
}

/// A folder of ours alone, in which others' folders are removed whatever they hold.
///
/// Only descriptors are followed, never a link: who still has one of those folders open cannot have
/// anything else removed.
#[derive(Debug)]
pub struct Burial {
    at: File,
}

impl Burial {
    pub fn open(path: &Path) -> Result<Self, Error> {
        Ok(Self { at: folder(path)? })
    }

    /// Removes what is called `name` here. Each folder in it is moved here first, under a name of
    /// `fresh`, which nothing here has; it is to be removed next.
    pub fn bury(&self, name: &str, mut fresh: impl FnMut() -> String) -> Result<(), Error> {
        if unlinkat(&self.at, name, UnlinkatFlags::NoRemoveDir).is_ok() {
            return Ok(());
        }
        let opened = open_in(&self.at, name, Purpose::Folder).or_else(|_| {
            unlock(&self.at, OsStr::new(name))?;
            open_in(&self.at, name, Purpose::Folder)
        });
        let below = match opened {
            Err(error) if error.is_gone() => return Ok(()),
            opened => opened?,
        };
        // A listing may pass over what comes next when what came before is removed.
        for _ in 0..PASSES_MAX {
            let mut found = false;
            let listing = format!("/proc/self/fd/{}", below.as_fd().as_raw_fd());
            for entry in std::fs::read_dir(listing).map_err(Error::file("remove", name))? {
                let entry = entry.map_err(Error::file("remove", name))?;
                let inner = entry.file_name();
                found = true;
                if entry.file_type().map_err(Error::file("remove", name))?.is_dir() {
                    let to = fresh();
                    renameat(&below, inner.as_os_str(), &self.at, to.as_str()).or_else(|_| {
                        // To be moved it must be open to its owner, and so must the folder it is in.
                        let _ = below.set_permissions(Permissions::from_mode(0o700));
                        unlock(&below, &inner)?;
                        renameat(&below, inner.as_os_str(), &self.at, to.as_str())
                            .map_err(Error::file("remove", name))
                    })?;
                } else {
                    let flags = UnlinkatFlags::NoRemoveDir;
                    unlinkat(&below, inner.as_os_str(), flags).or_else(|_| {
                        let _ = below.set_permissions(Permissions::from_mode(0o700));
                        unlinkat(&below, inner.as_os_str(), flags)
                            .map_err(Error::file("remove", name))
                    })?;
                }
            }
            if !found {
                break;
            }
        }
        unlinkat(&self.at, name, UnlinkatFlags::RemoveDir).map_err(Error::file("remove", name))
    }
}

/// Opens a folder to its owner, and nobody else.
fn unlock(at: &impl AsFd, name: &OsStr) -> Result<(), Error> {
    let flags = OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    let held = openat(at, name, flags, Mode::empty()).map_err(Error::file("open to us", name))?;
    let path = format!("/proc/self/fd/{}", held.as_raw_fd());
    std::fs::set_permissions(path, Permissions::from_mode(0o700))
        .map_err(Error::file("open to us", name))
}

/// A file without a name on the file system of the folder `at`; it vanishes with its descriptor.
pub fn unnamed_in(at: &Path) -> Result<File, Error> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .mode(0o600)
        .custom_flags(libc::O_TMPFILE)
        .open(at)
        .map_err(Error::file("make an unnamed file in", at))
}

/// A file in memory, empty, which may be sealed. `name` only shows in `/proc`. It cannot be
/// executed where the kernel knows that flag (6.3), though a library in it can be loaded.
pub fn in_memory(name: &str) -> Result<File, Error> {
    let refuse = |_| Error::CallerName { text: name.to_owned(), why: "it holds a NUL" };
    let label = CString::new(name).map_err(refuse)?;
    let basic = MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING;
    let newer = basic | MFdFlags::from_bits_retain(libc::MFD_NOEXEC_SEAL);
    memfd_create(label.as_c_str(), newer)
        .or_else(|_| memfd_create(label.as_c_str(), basic))
        .map(File::from)
        .map_err(Error::kernel("make a file in memory"))
}

/// A file in memory that can be executed, with these bytes.
pub fn executable_in_memory(name: &str, bytes: &[u8]) -> Result<OwnedFd, Error> {
    let refuse = |_| Error::CallerName { text: name.to_owned(), why: "it holds a NUL" };
    let label = CString::new(name).map_err(refuse)?;
    let newer = MFdFlags::MFD_CLOEXEC | MFdFlags::from_bits_retain(libc::MFD_EXEC);
    // The flag is known from 6.3 on; before, every such file can be executed.
    let made = memfd_create(label.as_c_str(), newer)
        .or_else(|_| memfd_create(label.as_c_str(), MFdFlags::MFD_CLOEXEC));
    let mut file = made.map(File::from).map_err(Error::kernel("make a program in memory"))?;
    file.write_all(bytes).map_err(Error::kernel("write a program in memory"))?;
    // A program that somebody has open for writing is not executed.
    let path = format!("/proc/self/fd/{}", file.as_raw_fd());
    let again = File::open(&path).map_err(Error::file("open", &path))?;
    Ok(again.into())
}

/// Makes a file of [`in_memory`] final: whoever has it can read it, and nobody can change it.
pub fn seal(file: &File) -> Result<(), Error> {
    let seals = SealFlag::F_SEAL_SHRINK | SealFlag::F_SEAL_GROW | SealFlag::F_SEAL_WRITE;
    fcntl(file, FcntlArg::F_ADD_SEALS(seals | SealFlag::F_SEAL_SEAL))
        .map(|_| ())
        .map_err(Error::kernel("seal a file in memory"))
}

/// Opens a file that only we may read or write: keys, tokens, sockets' cookies.
pub fn open_private(path: &Path) -> Result<File, Error> {
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK)
        .open(path)
        .map_err(|source| match source.raw_os_error() {
            Some(libc::ELOOP) => {
                Error::NotPrivate { path: path.to_owned(), why: "it is a symbolic link" }
            }
            _ => Error::File { action: "open", path: path.to_owned(), source },
        })?;
    check_private(&file, path)?;
    Ok(file)
}

/// Checks an open file: regular, owned by us, without any right for group or others.
/// `path` is for the message only.
pub fn check_private(file: &File, path: &Path) -> Result<(), Error> {
    let found = file.metadata().map_err(Error::file("look at", path))?;
    let refuse = |why| Err(Error::NotPrivate { path: path.to_owned(), why });
    if !found.is_file() {
        return refuse("it is not a regular file");
    }
    if found.uid() != nix::unistd::geteuid().as_raw() {
        return refuse("another user owns it");
    }
    if found.mode() & 0o077 != 0 {
        return refuse("its mode lets group or others in; it should be 0600");
    }
    Ok(())
}

/// Makes a file of ours alone (mode 0600, whatever the umask) that must not exist yet.
pub fn create_private(path: &Path) -> Result<File, Error> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .create_new(true)
        .mode(0o600)
        .custom_flags(libc::O_NOFOLLOW)
        .open(path)
        .map_err(Error::file("create", path))
}

/// What a file system has left, and what it forbids.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Room {
    /// Bytes that a user who is not root may still write.
    pub free: u64,
    /// Files that may still be made; `None` where they are not counted.
    pub files: Option<u64>,
    pub read_only: bool,
    /// Nothing in it can be executed, nor loaded as a library.
    pub no_exec: bool,
}

/// Of the file system that a path is on.
pub fn room(path: &Path) -> Result<Room, Error> {
    let found = nix::sys::statvfs::statvfs(path)
        .map_err(Error::file("look at the file system of", path))?;
    let has = |flag| found.flags().contains(flag);
    Ok(Room {
        free: found.blocks_available().saturating_mul(found.fragment_size()),
        files: (found.files() > 0).then_some(found.files_available()),
        read_only: has(nix::sys::statvfs::FsFlags::ST_RDONLY),
        no_exec: has(nix::sys::statvfs::FsFlags::ST_NOEXEC),
    })
}

/// Whether the files of this folder are in memory, and never on a disk.
pub fn is_memory(path: &Path) -> Result<bool, Error> {
    let kind = statfs(path).map_err(Error::file("look at the file system of", path))?;
    let kind = kind.filesystem_type();
    Ok(kind == TMPFS_MAGIC || kind.0 == RAMFS_MAGIC)
}

/// Rights that new files of this process never get. For the whole process, so: at its start.
pub fn set_creation_mask(without: u32) {
    umask(Mode::from_bits_truncate(without));
}

/// The parts of a file that are not holes, within a range. A file system that knows no holes has none.
pub fn data(file: &File, within: Range<u64>) -> Result<Vec<Range<u64>>, Error> {
    let refuse = Error::kernel::<nix::Error>;
    let seek = |at: u64, whence| match lseek(file, at.try_into().unwrap_or(i64::MAX), whence) {
        Ok(found) => Ok(Some((found as u64).min(within.end))),
        // There is nothing from here to the end.
        Err(nix::Error::ENXIO) => Ok(None),
        Err(error) => Err(refuse("look for holes in a file")(error)),
    };
    let mut found = Vec::new();
    let mut at = within.start;
    while at < within.end {
        let Some(start) = seek(at, Whence::SeekData)?.filter(|start| *start < within.end) else {
            break;
        };
        let end = seek(start, Whence::SeekHole)?.unwrap_or(within.end);
        found.push(start..end);
        at = end.max(start + 1);
    }
    Ok(found)
}

/// `/dev/null`, for reading and writing.
pub fn null() -> Result<File, Error> {
    let path = Path::new("/dev/null");
    OpenOptions::new().read(true).write(true).open(path).map_err(Error::file("open", path))
}

/// Another descriptor of the same open file, with a number of at least `lowest`.
pub(crate) fn duplicate_above(
    file: &impl AsFd,
    lowest: i32,
) -> Result<std::os::fd::OwnedFd, Error> {
    let number = nix::fcntl::fcntl(file, nix::fcntl::FcntlArg::F_DUPFD_CLOEXEC(lowest))
        .map_err(Error::kernel("duplicate a descriptor"))?;
    // SAFETY: the kernel just made this descriptor for us; no one else knows its number yet.
    Ok(unsafe { std::os::fd::OwnedFd::from_raw_fd(number) })
}

#[cfg(test)]
mod tests;
