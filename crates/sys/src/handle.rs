//! Files that were found and not opened yet: looked at first, then opened as what they are.
//!
//! Opening a name can hang (a FIFO) or do something (a device). A handle does neither, and what is
//! opened by it is what was looked at, whatever has come under the name meanwhile.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::ops::Range;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use nix::fcntl::{AT_FDCWD, AtFlags, OFlag, RenameFlags, renameat2};
use nix::sys::stat::Mode;
use nix::sys::statfs::fstatfs;
use nix::unistd::{Whence, linkat, lseek};

use crate::Error;
use crate::descriptors::Node;

/// Whether a name that is a symbolic link is gone after.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Links {
    Followed,
    Refused,
}

/// A file that is held and not opened.
#[derive(Debug)]
pub struct Handle {
    held: File,
    node: Node,
}

impl Handle {
    pub fn of(path: &Path, links: Links) -> Result<Self, Error> {
        let follow = match links {
            Links::Followed => 0,
            Links::Refused => libc::O_NOFOLLOW,
        };
        let held = OpenOptions::new().read(true).custom_flags(libc::O_PATH | follow).open(path);
        let held = held.map_err(Error::file("find", path))?;
        let node = Node::of(&held.metadata().map_err(Error::file("look at", path))?);
        Ok(Self { held, node })
    }

    pub fn node(&self) -> Node {
        self.node
    }

    /// A magic number of the kernel.
    pub fn file_system(&self) -> Result<u64, Error> {
        let found = fstatfs(&self.held).map_err(Error::kernel("look at a file system"))?;
        Ok(found.filesystem_type().0 as u64)
    }

    /// Opens it with these flags of `open`, which make and empty nothing.
    pub fn open(&self, flags: u32) -> Result<File, Error> {
        reopen(&self.held, flags)
    }
}

/// Opens the file of a descriptor once more, with flags and an offset of its own.
pub fn reopen(file: &impl AsFd, flags: u32) -> Result<File, Error> {
    let makes = libc::O_CREAT | libc::O_EXCL | libc::O_TRUNC | libc::O_NOFOLLOW;
    let flags = flags.cast_signed() & !makes | libc::O_CLOEXEC | libc::O_NOCTTY;
    let path = format!("/proc/self/fd/{}", file.as_fd().as_raw_fd());
    let flags = OFlag::from_bits_retain(flags);
    let opened = nix::fcntl::open(path.as_str(), flags, Mode::empty());
    opened.map(File::from).map_err(Error::kernel("open a file again"))
}

/// Gives an unnamed file a name, which must not be taken.
pub fn name(file: &File, path: &Path) -> Result<(), Error> {
    let own = format!("/proc/self/fd/{}", file.as_raw_fd());
    linkat(AT_FDCWD, own.as_str(), AT_FDCWD, path, AtFlags::AT_SYMLINK_FOLLOW)
        .map_err(Error::file("make", path))
}

/// Has two names of files change places, at once. Not every file system can.
pub fn exchange(one: &Path, other: &Path) -> Result<(), Error> {
    renameat2(AT_FDCWD, one, AT_FDCWD, other, RenameFlags::RENAME_EXCHANGE)
        .map_err(Error::file("rename", one))
}

/// Takes a name away, if it is still that of this file.
pub fn unname(file: &File, path: &Path) -> Result<(), Error> {
    let ours = Node::of(&file.metadata().map_err(Error::file("look at", path))?);
    let there = fs::symlink_metadata(path).map_err(Error::file("look at", path))?;
    let there = Node::of(&there);
    if (ours.device, ours.inode) != (there.device, there.inode) {
        return Ok(());
    }
    fs::remove_file(path).map_err(Error::file("remove", path))
}

/// The next bytes of a file at or behind `from` that are no hole; `None` if only a hole follows. The
/// offset of this descriptor moves.
pub fn next_data(file: &File, from: u64) -> io::Result<Option<Range<u64>>> {
    let seek = |at: u64, to| lseek(file, at.cast_signed(), to).map(i64::cast_unsigned);
    let start = match seek(from, Whence::SeekData) {
        Ok(start) => start,
        Err(nix::errno::Errno::ENXIO) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    Ok(Some(start..seek(start, Whence::SeekHole)?))
}

#[cfg(test)]
mod tests;
