//! Which memory a process has mapped, and what lies there.
//!
//! The text is the kernel's, yet names inside it are chosen by whoever made the file or named the
//! memory: a name is only believed to be the kernel's own (`[vdso]`) where no file can be behind it, and
//! parsing never panics. What is read of a process that runs may be torn: stop it first.

use std::fs::{self, File};
use std::io::{Read, Seek};
use std::ops::Range;

use crate::{Error, Pid};

/// A range of addresses that is mapped in one way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mapping {
    pub range: Range<u64>,
    pub permissions: Permissions,
    pub sharing: Sharing,
    /// Where in the file it begins, in bytes.
    pub offset: u64,
    pub device: Device,
    /// 0 where there is no file.
    pub inode: u64,
    pub content: Content,
    /// Only told by `detailed`.
    pub flags: Option<Flags>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Permissions {
    pub read: bool,
    pub write: bool,
    pub execute: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sharing {
    /// What is written stays in this process.
    Private,
    /// What is written is seen by all who map it.
    Shared,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Device {
    pub major: u32,
    pub minor: u32,
}

/// What lies in a mapping.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    Anonymous,
    /// Anonymous, and the program gave it this name.
    Named(Vec<u8>),
    /// A path as the kernel writes it: a line break is `\012`, and ` (deleted)` follows one that is gone.
    File(Vec<u8>),
    Heap,
    /// Of the main thread.
    Stack,
    /// The kernel's code for system calls that need none.
    Vdso,
    /// The kernel's data for that code: `[vvar]`, `[vvar_vclock]`, and what others there will be.
    Vvar(Vec<u8>),
    Vsyscall,
    Uprobes,
    /// Of the kernel's making, and unknown here.
    Special(Vec<u8>),
}

/// The flags of a mapping that say how it can be captured, as `smaps` names them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Flags(u32);

const FLAGS: [(&[u8; 2], Flags); 17] = [
    (b"dd", Flags::NOT_DUMPED),
    (b"dc", Flags::NOT_FORKED),
    (b"wf", Flags::WIPED_ON_FORK),
    (b"gd", Flags::GROWS_DOWN),
    (b"lo", Flags::LOCKED),
    (b"um", Flags::FAULTS_ABSENT),
    (b"uw", Flags::FAULTS_WRITES),
    (b"hg", Flags::LARGE_PAGES),
    (b"nh", Flags::NO_LARGE_PAGES),
    (b"io", Flags::DEVICE),
    (b"pf", Flags::PLAIN_FRAMES),
    (b"dp", Flags::DROPPABLE),
    (b"ss", Flags::SHADOW_STACK),
    (b"sl", Flags::SEALED),
    (b"ht", Flags::HUGE_FILE),
    (b"nr", Flags::NOT_RESERVED),
    (b"mg", Flags::MERGEABLE),
];

impl Flags {
    pub const NOT_DUMPED: Self = Self(1);
    pub const NOT_FORKED: Self = Self(1 << 1);
    pub const WIPED_ON_FORK: Self = Self(1 << 2);
    pub const GROWS_DOWN: Self = Self(1 << 3);
    pub const LOCKED: Self = Self(1 << 4);
    /// Some userfaultfd is told of pages that are absent.
    pub const FAULTS_ABSENT: Self = Self(1 << 5);
    /// Some userfaultfd is told of writes to protected pages.
    pub const FAULTS_WRITES: Self = Self(1 << 6);
    pub const LARGE_PAGES: Self = Self(1 << 7);
    pub const NO_LARGE_PAGES: Self = Self(1 << 8);
    /// Registers of a device: reading them may do something.
    pub const DEVICE: Self = Self(1 << 9);
    /// Frames that the kernel does not manage as pages.
    pub const PLAIN_FRAMES: Self = Self(1 << 10);
    /// The kernel may drop the content at any time.
    pub const DROPPABLE: Self = Self(1 << 11);
    pub const SHADOW_STACK: Self = Self(1 << 12);
    /// It cannot be unmapped, moved or changed until the process ends.
    pub const SEALED: Self = Self(1 << 13);
    /// Of hugetlbfs.
    pub const HUGE_FILE: Self = Self(1 << 14);
    /// The kernel has not promised that there will be memory for it.
    pub const NOT_RESERVED: Self = Self(1 << 15);
    /// The kernel may keep equal pages once.
    pub const MERGEABLE: Self = Self(1 << 16);

    /// Whether all of `other` are set.
    pub fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// The two letters of each that is set, as the kernel writes them.
    pub fn letters(self) -> Vec<[u8; 2]> {
        let set = FLAGS.iter().filter(|(_, flag)| self.contains(*flag));
        set.map(|(letters, _)| **letters).collect()
    }

    /// Both.
    #[must_use]
    pub fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// `rd wr mr mw me ac`: those that matter here are kept.
    fn parse(text: &[u8]) -> Self {
        let words = text.split(u8::is_ascii_whitespace);
        let known = words.filter_map(|word| FLAGS.iter().find(|(name, _)| *name == word));
        known.fold(Self::default(), |all, (_, flag)| all.with(*flag))
    }
}

impl Mapping {
    /// The kernel made it, and its place is all there is to know: it is in every process.
    pub fn is_kernels(&self) -> bool {
        match &self.content {
            Content::Vdso | Content::Vvar(_) | Content::Vsyscall | Content::Uprobes => true,
            Content::Special(_)
            | Content::Anonymous
            | Content::Named(_)
            | Content::File(_)
            | Content::Heap
            | Content::Stack => false,
        }
    }

    /// The path without the kernel's ` (deleted)`, and whether that was there. A file can be called
    /// so: only its device and inode tell for certain.
    pub fn path(&self) -> Option<(&[u8], Presence)> {
        let Content::File(path) = &self.content else { return None };
        Some(match path.strip_suffix(b" (deleted)") {
            Some(path) => (path, Presence::SaidDeleted),
            None => (path, Presence::Named),
        })
    }
}

/// Whether the kernel says that a file has lost its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Presence {
    Named,
    SaidDeleted,
}

/// The mappings of a process, to be read again and again. Of the program that it runs when this is opened: when
/// it has ended, or has become another one, there are none.
#[derive(Debug)]
pub struct Maps {
    path: String,
    file: File,
}

impl Maps {
    pub fn open(of: Pid) -> Result<Self, Error> {
        let path = format!("/proc/{of}/maps");
        let file = File::open(&path).map_err(Error::file("open", &path))?;
        Ok(Self { path, file })
    }

    /// All of them now, by address, without flags.
    pub fn read(&mut self) -> Result<Vec<Mapping>, Error> {
        let mut text = Vec::new();
        let result = self.file.rewind().and_then(|()| self.file.read_to_end(&mut text));
        match result {
            Ok(_) => {}
            Err(error) if error.raw_os_error() == Some(libc::ESRCH) => return Ok(Vec::new()),
            Err(error) => return Err(Error::file("read", &self.path)(error)),
        }
        let path = || self.path.clone();
        parse(&text).ok_or_else(|| Error::KernelText { file: path(), field: "a mapping" })
    }
}

/// All mappings of a process, by address, without flags: fast.
pub fn mappings(of: Pid) -> Result<Vec<Mapping>, Error> {
    let path = format!("/proc/{of}/maps");
    let text = fs::read(&path).map_err(Error::file("read", &path))?;
    parse(&text).ok_or(Error::KernelText { file: path, field: "a mapping" })
}

/// The same with flags. Takes the kernel long: it looks at every page.
pub fn detailed(of: Pid) -> Result<Vec<Mapping>, Error> {
    let path = format!("/proc/{of}/smaps");
    let text = fs::read(&path).map_err(Error::file("read", &path))?;
    let found =
        parse(&text).ok_or_else(|| Error::KernelText { file: path.clone(), field: "a mapping" })?;
    if found.iter().any(|mapping| mapping.flags.is_none()) {
        return Err(Error::KernelText { file: path, field: "VmFlags" });
    }
    Ok(found)
}

/// The text of `maps` or of `smaps`; `None` where a line is neither a mapping nor about one.
fn parse(text: &[u8]) -> Option<Vec<Mapping>> {
    let mut found: Vec<Mapping> = Vec::new();
    for line in text.split(|&byte| byte == b'\n').filter(|line| !line.is_empty()) {
        if let Some(mapping) = parse_mapping(line) {
            found.push(mapping);
            continue;
        }
        // A field of the mapping above: `Rss:      4 kB`.
        let colon = line.iter().position(|&byte| byte == b':')?;
        let (name, value) = line.split_at_checked(colon)?;
        if name.iter().any(|byte| !byte.is_ascii_alphanumeric() && *byte != b'_') {
            return None;
        }
        let mapping = found.last_mut()?;
        if name == b"VmFlags" {
            mapping.flags = Some(Flags::parse(value.get(1..)?));
        }
    }
    Some(found)
}

/// `START-END rwxp OFFSET MAJOR:MINOR INODE      NAME`, numbers without prefix, all but INODE hexadecimal.
fn parse_mapping(line: &[u8]) -> Option<Mapping> {
    let mut rest = line;
    let (start, end) = split_number(next_word(&mut rest)?, b'-')?;
    let &[read, write, execute, shared] = next_word(&mut rest)? else { return None };
    let offset = number(next_word(&mut rest)?, 16)?;
    let (major, minor) = split_number(next_word(&mut rest)?, b':')?;
    let inode = number(next_word(&mut rest)?, 10)?;
    let device = Device { major: major.try_into().ok()?, minor: minor.try_into().ok()? };
    // The name begins after spaces that fill the column; no name begins with one.
    let name = rest.trim_ascii_start();
    (start < end).then_some(())?;
    Some(Mapping {
        range: start..end,
        permissions: Permissions {
            read: flag(read, b'r')?,
            write: flag(write, b'w')?,
            execute: flag(execute, b'x')?,
        },
        sharing: match shared {
            b'p' => Sharing::Private,
            b's' => Sharing::Shared,
            _ => return None,
        },
        offset,
        device,
        inode,
        content: content(name, device, inode),
        flags: None,
    })
}

fn content(name: &[u8], device: Device, inode: u64) -> Content {
    if name.is_empty() {
        return Content::Anonymous;
    }
    let has_file = inode != 0 || device != Device::default() || !name.starts_with(b"[");
    if has_file {
        return named(name).unwrap_or_else(|| Content::File(name.to_vec()));
    }
    match name {
        b"[heap]" => Content::Heap,
        b"[stack]" => Content::Stack,
        b"[vdso]" => Content::Vdso,
        b"[vsyscall]" => Content::Vsyscall,
        b"[uprobes]" => Content::Uprobes,
        name if name.starts_with(b"[vvar") => Content::Vvar(name.to_vec()),
        name => named(name).unwrap_or_else(|| Content::Special(name.to_vec())),
    }
}

/// `[anon:NAME]`, or for shared memory `[anon_shmem:NAME]`; a path begins with `/`.
fn named(name: &[u8]) -> Option<Content> {
    let inner = name.strip_prefix(b"[anon:").or_else(|| name.strip_prefix(b"[anon_shmem:"))?;
    Some(Content::Named(inner.strip_suffix(b"]")?.to_vec()))
}

fn next_word<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let end = rest.iter().position(|&byte| byte == b' ').unwrap_or(rest.len());
    let (word, after) = rest.split_at_checked(end)?;
    *rest = after.get(1..).unwrap_or_default();
    Some(word)
}

fn split_number(word: &[u8], at: u8) -> Option<(u64, u64)> {
    let middle = word.iter().position(|&byte| byte == at)?;
    Some((number(word.get(..middle)?, 16)?, number(word.get(middle + 1..)?, 16)?))
}

fn number(word: &[u8], radix: u32) -> Option<u64> {
    // `from_str_radix` takes a sign, which the kernel never writes.
    word.first().filter(|first| first.is_ascii_hexdigit())?;
    u64::from_str_radix(str::from_utf8(word).ok()?, radix).ok()
}

fn flag(found: u8, set: u8) -> Option<bool> {
    match found {
        b'-' => Some(false),
        found if found == set => Some(true),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
