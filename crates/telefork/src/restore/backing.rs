//! The files behind mappings: opened and compared by the restorer, on the very descriptor that is then
//! mapped. A path of an image is only ever opened to be read.

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::Read;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use sys::handle::{Handle, Links};
use wire::image::memory::{Backing, Mapping, MappingKind, Sharing, Trust};
use wire::image::process::Process;
use wire::image::text::Text;
use wire::name::Hash;

use crate::{Error, elf};

/// Bytes of a file that are hashed to compare it; larger ones are told by their build id, or travel.
const HASHED_MAX: u64 = 64 << 20;

/// Programs that run with other rights than those of who starts them are not started for this.
const SET_ID: u32 = libc::S_ISUID | libc::S_ISGID;

/// File systems whose files the kernel makes up (linux/magic.h): proc, sysfs.
const KERNELS: [u64; 2] = [0x9fa0, 0x6265_6572];

/// Files that lie behind mappings of an image, and are the same here.
#[derive(Debug, Default)]
pub(super) struct Files {
    pub(super) opened: Vec<OwnedFd>,
    /// For each mapping, which of those it is.
    pub(super) of: Vec<Option<usize>>,
}

impl Files {
    pub(super) fn open(mappings: &[Mapping]) -> Self {
        let mut files = Self::default();
        let mut known: HashMap<_, Option<usize>> = HashMap::new();
        for mapping in mappings {
            let MappingKind::File(backing) = &mapping.kind else {
                files.of.push(None);
                continue;
            };
            // What is shared and written is others' business, too: that is not taken up again.
            let is_shared = mapping.sharing == Sharing::Shared && mapping.permissions.write;
            let key = (&backing.path.0, backing.identity, told(&backing.trust), backing.deleted);
            let file = match known.get(&key) {
                _ if is_shared => None,
                Some(file) => *file,
                None => {
                    let file = open_same(backing).map(|file| {
                        files.opened.push(file.into());
                        files.opened.len() - 1
                    });
                    known.insert(key, file);
                    file
                }
            };
            files.of.push(file);
        }
        files
    }
}

/// Whom to trust, as what can be looked up.
fn told(trust: &Trust) -> (u8, &[u8]) {
    match trust {
        Trust::No => (0, &[]),
        Trust::Hash(hash) => (1, &hash.0),
        Trust::Build(id) => (2, &id.0),
    }
}

/// The file at the path, if it holds what the image means.
fn open_same(backing: &Backing) -> Option<File> {
    if backing.deleted || backing.trust == Trust::No {
        return None;
    }
    let file = open(&backing.path, backing.identity.size)?;
    let is_same = match &backing.trust {
        Trust::No => false,
        Trust::Build(id) => elf::build_id(&file).as_ref() == Some(id),
        Trust::Hash(hash) => hash_of(&file, backing.identity.size) == Some(*hash),
    };
    is_same.then_some(file)
}

/// The image's program, if it is here and may be started by who restores.
pub(super) fn program(of: &Process) -> Option<OwnedFd> {
    let file = open(&of.executable.path, of.executable.identity.size)?;
    let is_same = match (&of.executable.build_id, &of.executable.hash) {
        (Some(id), _) => elf::build_id(&file).as_ref() == Some(id),
        (None, Some(hash)) => hash_of(&file, of.executable.identity.size) == Some(*hash),
        (None, None) => false,
    };
    let mode = file.metadata().ok()?.mode();
    (is_same && mode & SET_ID == 0).then(|| file.into())
}

/// A folder, to be gone to.
pub(super) fn folder(path: &Text) -> Result<OwnedFd, &'static str> {
    let flags = libc::O_PATH | libc::O_DIRECTORY;
    let path = Path::new(std::ffi::OsStr::from_bytes(&path.0));
    if !path.is_absolute() {
        return Err("its path is not known");
    }
    let opened = OpenOptions::new().read(true).custom_flags(flags).open(path);
    opened.map(OwnedFd::from).map_err(|_| "it is not there, or may not be entered")
}

/// What can be closed and is good for nothing else.
pub(super) fn nothing() -> Result<OwnedFd, Error> {
    let path = "/dev/null";
    let opened = OpenOptions::new().read(true).custom_flags(libc::O_PATH).open(path);
    opened.map(OwnedFd::from).map_err(Error::file("open", path))
}

/// A regular file of this size.
fn open(path: &Text, size: u64) -> Option<File> {
    let path = Path::new(std::ffi::OsStr::from_bytes(&path.0));
    let is_kernels = ["/proc", "/sys", "/dev"].iter().any(|folder| path.starts_with(folder));
    if !path.is_absolute() || is_kernels {
        return None;
    }
    // Looked at before it is opened: opening a device or a FIFO does something.
    let found = Handle::of(path, Links::Followed).ok()?;
    let is_file = found.node().kind() == libc::S_IFREG && found.node().size == size;
    let is_kernels = KERNELS.contains(&found.file_system().ok()?);
    (is_file && !is_kernels).then(|| found.open(libc::O_RDONLY.unsigned_abs()).ok())?
}

fn hash_of(file: &File, size: u64) -> Option<Hash> {
    if size > HASHED_MAX {
        return None;
    }
    let mut bytes = Vec::new();
    let read = file.take(size + 1).read_to_end(&mut bytes).ok()?;
    (read as u64 == size).then(|| Hash::of(&bytes))
}
