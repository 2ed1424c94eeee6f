//! Descriptors of other processes: which there are, what the kernel says of each, and copies of them.
//!
//! Needs the right to trace the process, and does not stop it: what is told is as of now.

use std::cmp::Ordering;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};

use nix::sys::statfs::statfs;

use crate::process::pidfd;
use crate::{Error, Pid};

/// From linux/kcmp.h: whether two descriptors are of one open file.
const KCMP_FILE: libc::c_int = 0;

/// One descriptor, as `/proc` tells of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    pub number: u32,
    /// What the kernel calls it: a path, or `pipe:[123]`, `anon_inode:[eventpoll]` and the like.
    pub name: Vec<u8>,
    pub offset: u64,
    /// Flags of `open`, without `O_CLOEXEC`.
    pub flags: u32,
    pub close_on_exec: bool,
    /// Somebody holds a lock of the file through it.
    pub is_locked: bool,
    pub node: Node,
    /// What kind of file system it is on: a magic number of the kernel.
    pub file_system: u64,
}

/// The file behind a descriptor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Node {
    /// Type and rights, as `stat` tells them.
    pub mode: u32,
    pub device: u64,
    pub inode: u64,
    /// Of a device: which one.
    pub special: u64,
    pub links: u64,
    pub owner: u32,
    pub size: u64,
    /// Nanoseconds since 1970.
    pub modified: i64,
}

impl Node {
    pub fn of(found: &fs::Metadata) -> Self {
        Self {
            mode: found.mode(),
            device: found.dev(),
            inode: found.ino(),
            special: found.rdev(),
            links: found.nlink(),
            owner: found.uid(),
            size: found.size(),
            modified: found
                .mtime()
                .saturating_mul(1_000_000_000)
                .saturating_add(found.mtime_nsec()),
        }
    }

    /// `S_IFREG` and its like.
    pub fn kind(&self) -> u32 {
        self.mode & libc::S_IFMT
    }

    /// Major and minor number of the device that it is.
    pub fn numbers(&self) -> (u32, u32) {
        (libc::major(self.special), libc::minor(self.special))
    }
}

/// All descriptors of a process, by number. Those that are closed meanwhile are left out.
pub fn list(of: Pid) -> Result<Vec<Listed>, Error> {
    let folder = format!("/proc/{of}/fd");
    let mut found = Vec::new();
    for entry in fs::read_dir(&folder).map_err(Error::file("list", &folder))? {
        let entry = entry.map_err(Error::file("list", &folder))?;
        let Some(number) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        match one(of, number) {
            Ok(listed) => found.push(listed),
            Err(error) if error.is_gone() => (),
            Err(error) => return Err(error),
        }
    }
    found.sort_unstable_by_key(|listed| listed.number);
    Ok(found)
}

fn one(of: Pid, number: u32) -> Result<Listed, Error> {
    let path = format!("/proc/{of}/fd/{number}");
    let name = fs::read_link(&path).map_err(Error::file("read", &path))?.into_os_string();
    let node = Node::of(&fs::metadata(&path).map_err(Error::file("look at", &path))?);
    let system = statfs(path.as_str()).map_err(Error::file("look at", &path))?;
    let about = format!("/proc/{of}/fdinfo/{number}");
    let text = fs::read(&about).map_err(Error::file("read", &about))?;
    let missing = |field| Error::KernelText { file: about.clone(), field };
    let told = Told::parse(&text).ok_or_else(|| missing("offset and flags"))?;
    Ok(Listed {
        number,
        name: name.into_vec(),
        offset: told.offset,
        flags: told.flags & !(libc::O_CLOEXEC as u32),
        close_on_exec: told.flags & libc::O_CLOEXEC as u32 != 0,
        is_locked: told.is_locked,
        node,
        file_system: system.filesystem_type().0 as u64,
    })
}

#[derive(Debug, PartialEq, Eq)]
struct Told {
    offset: u64,
    flags: u32,
    is_locked: bool,
}

impl Told {
    /// The text of `fdinfo`: `pos:\t12`, `flags:\t0100002`, and more.
    fn parse(text: &[u8]) -> Option<Self> {
        let field = |name: &[u8]| {
            let mut lines = text.split(|&byte| byte == b'\n');
            let value = lines.find_map(|line| line.strip_prefix(name))?;
            str::from_utf8(value.trim_ascii()).ok()
        };
        // Some files count their offset in a signed number that wraps.
        let offset = field(b"pos:")?;
        let offset = offset.parse().or_else(|_| offset.parse().map(i64::cast_unsigned)).ok()?;
        let flags = u32::from_str_radix(field(b"flags:")?, 8).ok()?;
        Some(Self { offset, flags, is_locked: field(b"lock:").is_some() })
    }
}

/// The order that the kernel gives two descriptors of a process: equal if they share offset and flags,
/// as `dup` makes them. It means nothing else, and is the same until the process ends.
/// `None` if it has closed one of them.
pub fn compare(of: Pid, one: u32, other: u32) -> Result<Option<Ordering>, Error> {
    let (pid, one, other) = (of.0, libc::c_ulong::from(one), libc::c_ulong::from(other));
    // SAFETY: `kcmp` takes five numbers and touches no memory of ours.
    let said = unsafe { libc::syscall(libc::SYS_kcmp, pid, pid, KCMP_FILE, one, other) };
    Ok(Some(match said {
        0 => Ordering::Equal,
        1 => Ordering::Less,
        2 => Ordering::Greater,
        _ => {
            let source = io::Error::last_os_error();
            if source.raw_os_error() == Some(libc::EBADF) {
                return Ok(None);
            }
            return Err(Error::Process { action: "compare descriptors of", pid: of, source });
        }
    }))
}

/// A copy of a descriptor: it shares offset and flags with the original.
pub fn copy(of: Pid, number: u32) -> Result<OwnedFd, Error> {
    let failed = |action, source| Error::Process { action, pid: of, source };
    let process = pidfd::open(of).map_err(|source| failed("open", source))?;
    let process =
        process.ok_or_else(|| failed("open", io::Error::from_raw_os_error(libc::ESRCH)))?;
    let (holder, number) = (process.as_raw_fd(), number.cast_signed());
    // SAFETY: `pidfd_getfd` takes three numbers and touches no memory of ours; `process` is open.
    let taken = unsafe { libc::syscall(libc::SYS_pidfd_getfd, holder, number, 0) };
    if taken < 0 {
        return Err(failed("take a descriptor of", io::Error::last_os_error()));
    }
    // SAFETY: the kernel just made this descriptor for us; no one else knows its number yet.
    Ok(unsafe { OwnedFd::from_raw_fd(taken as i32) })
}

/// The file behind a descriptor, also one that has no name any more, opened anew to be read: with an
/// offset of its own.
pub fn open(of: Pid, number: u32) -> Result<File, Error> {
    let path = format!("/proc/{of}/fd/{number}");
    OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY)
        .open(&path)
        .map_err(Error::file("open", path))
}

#[cfg(test)]
mod tests;
