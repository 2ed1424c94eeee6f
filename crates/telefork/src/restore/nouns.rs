//! What plans are made of: the host that they are for, and the memory that they make.

use std::ops::Range;

use wire::image::host::Host;
use wire::image::memory::{Permissions, Sharing};
use wire::image::text::Text;

/// The host that a process is to be restored on, as far as plans depend on it.
#[derive(Clone, Debug)]
pub struct Destination {
    pub host: Host,
    /// The kernel's own mappings in a process here.
    pub specials: Vec<Special>,
    /// The lowest address that a program may map.
    pub lowest: u64,
    pub threads_max: usize,
    /// For each mapping of the image: which of the files that were opened and compared lies behind it.
    pub files: Vec<Option<usize>>,
    pub vdso: VdsoChoice,
    /// What a caller of `telefork` learns when it wakes.
    pub value: i32,
    pub strangers: Strangers,
}

/// One of the kernel's own mappings, beside the others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Special {
    pub name: Text,
    /// From the first of them.
    pub offset: u64,
    pub length: u64,
}

/// What becomes of descriptors above 2.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Strangers {
    /// They are opened here; a process that has one which cannot is refused.
    Opened,
    /// Their numbers are taken by what can be closed, and fails with EBADF when it is used.
    Dead,
}

/// Whose vDSO a process goes on with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VdsoChoice {
    /// This kernel's in the place of the other's, where they are the same.
    Compared,
    /// The image's, patched, as if this kernel had another one.
    Patched,
}

/// One mapping to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Map {
    pub range: Range<u64>,
    pub permissions: Permissions,
    pub source: Source,
    pub grows_down: bool,
    pub droppable: bool,
    pub no_reserve: bool,
    pub locked: bool,
    pub sealed: bool,
    /// It is made so that it can be written, and filled, and only then protected. What others share can be
    /// filled in no other way, and what is private only word by word where the file of a process's memory may not
    /// be opened (Landlock).
    pub is_kept_open: bool,
    /// What `madvise` is told, in its numbers.
    pub advice: Vec<i32>,
    pub name: Option<Text>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    Anonymous,
    SharedAnonymous,
    File { file: usize, offset: u64, sharing: Sharing },
}

impl Map {
    /// As `mmap` takes permissions.
    pub fn protection(&self) -> u64 {
        let flag = |is_set, flag: i32| if is_set { flag as u64 } else { 0 };
        flag(self.permissions.read, libc::PROT_READ)
            | flag(self.permissions.write, libc::PROT_WRITE)
            | flag(self.permissions.execute, libc::PROT_EXEC)
    }
}

/// What is advised when a process is whole: until then a fork of its memory must have it
/// (`MADV_DONTFORK`, `MADV_WIPEONFORK`).
pub(super) const AT_THE_END: [i32; 2] = [libc::MADV_DONTFORK, libc::MADV_WIPEONFORK];

/// Bytes of a page; hosts with others are refused.
pub(super) const PAGE: u64 = 4096;

/// A timer that tells one thread.
pub(super) const SIGEV_THREAD_ID: i32 = 4;
