//! What is mapped: told for an image, or why it cannot travel.

use std::collections::{HashMap, HashSet};
use std::fs::{File, Metadata};
use std::ops::Range;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use sys::Pid;
use sys::maps::{self, Content, Flags, Presence};
use sys::tracking;
use wire::image::host::BuildId;
use wire::image::memory::{
    Backing, FileIdentity, Mapping, MappingKind, Permissions, Sharing, Trust,
};
use wire::image::text::Text;

use crate::{Description, Error, Objection, elf};

/// Which mapped files travel with the image, whole as far as they are mapped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Carry {
    /// Those that another host may not have: all but programs and libraries, with a build id, of a
    /// distribution (below `/usr`, `/lib` or `/bin`).
    #[default]
    Uncommon,
    /// All: the image needs no file to be where it wakes.
    All,
    /// All but programs and libraries with a build id, wherever they are: for hosts with the same files.
    NoPrograms,
}

/// The flags of a process's mappings at some moment before it is frozen. To tell them the kernel visits each
/// page, 40 ms for a GiB of small ones, so the process should run meanwhile.
///
/// A mapping that is frozen has the flags of the one that was there, if both are of the same: mappings grow and
/// are split, and keep their flags. What a program advises between the look and the freezing is lost; that
/// can cost speed over there, and what a later fork of it shares.
#[derive(Debug, Clone)]
pub struct Look {
    mappings: Vec<maps::Mapping>,
}

impl Look {
    /// Takes it now.
    pub fn at(pid: Pid) -> Result<Self, Error> {
        Ok(Self { mappings: maps::detailed(pid)? })
    }

    /// The one that lies there, or the next one, which has grown downwards.
    fn known(&self, mapping: &maps::Mapping) -> Option<&maps::Mapping> {
        let at = self.mappings.partition_point(|known| known.range.end <= mapping.range.start);
        self.mappings.get(at).filter(|known| is_same(known, mapping))
    }

    /// Gives mappings the flags that they had.
    pub(super) fn complete(&self, mut found: Vec<maps::Mapping>) -> Vec<maps::Mapping> {
        for mapping in &mut found {
            let known = self.known(mapping);
            mapping.flags = Some(known.and_then(|known| known.flags).unwrap_or_default());
        }
        found
    }
}

/// Whether a fork has all that it was told to have, and nothing of it was emptied. The flags that were told may
/// be older than the fork.
pub(super) fn is_copied_as_told(fork: &[maps::Mapping], told: &Description) -> bool {
    told.mappings.iter().filter(|mapping| !is_not_copied(mapping)).all(|mapping| {
        let mut at = mapping.start;
        let first = fork.partition_point(|known| known.range.end <= at);
        for known in &fork[first..] {
            let is_emptied = known.flags.is_some_and(|flags| flags.contains(Flags::WIPED_ON_FORK));
            if known.range.start > at || is_emptied || at >= mapping.end {
                break;
            }
            at = known.range.end;
        }
        at >= mapping.end
    })
}

fn is_not_copied(mapping: &Mapping) -> bool {
    mapping.flags.contains(b"dc")
        || mapping.flags.contains(b"wf")
        || matches!(mapping.kind, MappingKind::Special { .. } | MappingKind::Guard)
}

fn is_same(known: &maps::Mapping, found: &maps::Mapping) -> bool {
    let overlaps = known.range.start < found.range.end && found.range.start < known.range.end;
    let of = |mapping: &maps::Mapping| {
        (mapping.sharing, mapping.device, mapping.inode, mapping.content.clone())
    };
    overlaps && of(known) == of(found)
}

/// What a process has the kernel remember of its own writes is nothing that a copy needs: it begins without.
pub fn leave_tracking(pid: Pid, found: &mut [maps::Mapping]) -> Result<(), Error> {
    for mapping in found {
        let watched = mapping.flags.filter(|flags| flags.contains(Flags::FAULTS_WRITES));
        if let Some(flags) = watched
            && tracking::is_tracked(pid, &mapping.range)?
        {
            mapping.flags = Some(flags.without(Flags::FAULTS_WRITES));
        }
    }
    Ok(())
}

/// All mappings that cannot travel, each with its address.
pub fn objections(mappings: &[maps::Mapping]) -> impl Iterator<Item = (u64, Objection)> {
    mappings.iter().filter_map(|mapping| Some((mapping.range.start, objection(mapping)?)))
}

/// Why one mapping cannot travel, if so. Without its flags not all of it is seen.
pub fn objection(mapping: &maps::Mapping) -> Option<Objection> {
    let has = |flag| mapping.flags.is_some_and(|flags| flags.contains(flag));
    let name = |bytes: &[u8]| Text(bytes.to_vec());
    if has(Flags::SHADOW_STACK) {
        return Some(Objection::ShadowStack);
    }
    if has(Flags::FAULTS_ABSENT) || has(Flags::FAULTS_WRITES) {
        return Some(Objection::Watched);
    }
    if mapping.is_kernels() {
        return None;
    }
    match &mapping.content {
        Content::Special(path) => return Some(Objection::Unknown(name(path))),
        Content::File(path) if path.starts_with(b"anon_inode:[io_uring]") => {
            return Some(Objection::Ring);
        }
        Content::File(path)
            if path.starts_with(b"/SYSV") && mapping.path()?.1 == Presence::SaidDeleted =>
        {
            return Some(Objection::SystemV);
        }
        Content::File(path) if path.starts_with(b"/anon_hugepage") => {
            return Some(Objection::HugeFile);
        }
        _ if has(Flags::HUGE_FILE) => return Some(Objection::HugeFile),
        _ => {}
    }
    let (path, _) = mapping.path()?;
    let is_device = path.starts_with(b"/dev/")
        && !path.starts_with(b"/dev/shm/")
        && !path.starts_with(b"/dev/zero");
    if has(Flags::DEVICE) || has(Flags::PLAIN_FRAMES) || is_device {
        return Some(Objection::Device(name(path)));
    }
    let is_written = mapping.sharing == maps::Sharing::Shared && mapping.permissions.write;
    (is_written && shared_memory(mapping).is_none()).then(|| Objection::SharedFile(name(path)))
}

/// Memory that processes can share and that is in no file: its name, if a program gave it one.
pub(super) fn shared_memory(mapping: &maps::Mapping) -> Option<Option<Text>> {
    match mapping.path()? {
        (b"/dev/zero", Presence::SaidDeleted) => Some(None),
        (path, Presence::SaidDeleted) => Some(Some(Text(path.strip_prefix(b"/memfd:")?.to_vec()))),
        _ => None,
    }
}

/// The files that a process has mapped, each looked at once.
#[derive(Debug)]
pub(super) struct Files {
    pid: Pid,
    carry: Carry,
    known: HashMap<(u64, u64), Known>,
    /// Shared memory of which some part is mapped at several places.
    several: HashSet<(u64, u64)>,
}

/// Objects of which some part is mapped at several places. Parts that do not overlap are what one mapping
/// becomes that was split.
fn several(found: &[maps::Mapping]) -> HashSet<(u64, u64)> {
    let is_shared = |mapping: &&maps::Mapping| {
        mapping.sharing == maps::Sharing::Shared && shared_memory(mapping).is_some()
    };
    let mut parts: Vec<_> = found
        .iter()
        .filter(is_shared)
        .map(|mapping| {
            let len = mapping.range.end - mapping.range.start;
            (key(mapping), mapping.offset, mapping.offset.saturating_add(len))
        })
        .collect();
    parts.sort_unstable();
    let overlap = parts.windows(2).filter(|pair| pair[0].0 == pair[1].0 && pair[1].1 < pair[0].2);
    overlap.map(|pair| pair[0].0).collect()
}

/// Device and inode.
fn key(mapping: &maps::Mapping) -> (u64, u64) {
    (libc::makedev(mapping.device.major, mapping.device.minor), mapping.inode)
}

#[derive(Debug, Clone)]
struct Known {
    identity: FileIdentity,
    build_id: Option<BuildId>,
}

impl Files {
    pub(super) fn new(pid: Pid, carry: Carry) -> Self {
        Self { pid, carry, known: HashMap::new(), several: HashSet::new() }
    }

    /// The build of the C library that is loaded, if one is.
    pub(super) fn c_library(&mut self, mappings: &[maps::Mapping]) -> Option<BuildId> {
        let is_library = |mapping: &&maps::Mapping| {
            let name =
                mapping.path().and_then(|(path, _)| path.rsplit(|byte| *byte == b'/').next());
            name.is_some_and(|name| {
                [&b"libc.so"[..], b"libc-2.", b"ld-musl-"].iter().any(|it| name.starts_with(it))
            })
        };
        let library = mappings.iter().find(is_library)?;
        self.look(library).build_id
    }

    fn look(&mut self, mapping: &maps::Mapping) -> Known {
        let key = key(mapping);
        if let Some(known) = self.known.get(&key) {
            return known.clone();
        }
        let found = self.open(mapping).and_then(|file| {
            let about = file.metadata().ok()?;
            Some(Known { identity: identity(&about), build_id: elf::build_id(&file) })
        });
        let unseen = FileIdentity { device: key.0, inode: key.1, size: 0, modified: 0 };
        let known = found.unwrap_or(Known { identity: unseen, build_id: None });
        self.known.insert(key, known.clone());
        known
    }

    /// The very file that is mapped; `None` where only its path is left, and that is another one.
    fn open(&self, mapping: &maps::Mapping) -> Option<File> {
        let Range { start, end } = mapping.range.clone();
        // Only for those who may restore processes; it is the file whatever has become of its name.
        if let Ok(file) =
            open(Path::new(&format!("/proc/{}/map_files/{start:x}-{end:x}", self.pid)))
        {
            return Some(file);
        }
        let (path, Presence::Named) = mapping.path()? else { return None };
        let file = open(&beneath_root(self.pid, path)).ok()?;
        let about = file.metadata().ok()?;
        // File systems in layers tell one number of a device here and another one there.
        (about.ino() == mapping.inode).then_some(file)
    }
}

/// Opens a file that is only looked at: no device is woken, no pipe waited for.
fn open(path: &Path) -> std::io::Result<File> {
    let about = std::fs::metadata(path)?;
    if !about.is_file() {
        return Err(std::io::ErrorKind::InvalidInput.into());
    }
    File::options().read(true).custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY).open(path)
}

fn beneath_root(pid: Pid, path: &[u8]) -> PathBuf {
    let mut found = PathBuf::from(format!("/proc/{pid}/root"));
    let path = unescaped(path);
    found.push(std::ffi::OsStr::from_bytes(path.strip_prefix(b"/").unwrap_or(&path)));
    found
}

/// The kernel writes a line break of a path as `\012`.
fn unescaped(path: &[u8]) -> Vec<u8> {
    let mut found = Vec::with_capacity(path.len());
    let mut rest = path;
    while let Some((first, after)) = rest.split_first() {
        match rest.strip_prefix(b"\\012") {
            Some(after) => {
                found.push(b'\n');
                rest = after;
            }
            None => {
                found.push(*first);
                rest = after;
            }
        }
    }
    found
}

pub(super) fn identity(about: &Metadata) -> FileIdentity {
    let modified = about.mtime().saturating_mul(1_000_000_000).saturating_add(about.mtime_nsec());
    FileIdentity { device: about.dev(), inode: about.ino(), size: about.size(), modified }
}

/// All mappings, for an image.
pub(super) fn describe(found: &[maps::Mapping], files: &mut Files) -> Result<Vec<Mapping>, Error> {
    files.several = several(found);
    Ok(found.iter().map(|mapping| told(mapping, files)).collect())
}

fn told(found: &maps::Mapping, files: &mut Files) -> Mapping {
    let permissions = Permissions {
        read: found.permissions.read,
        write: found.permissions.write,
        execute: found.permissions.execute,
    };
    let sharing = match found.sharing {
        maps::Sharing::Private => Sharing::Private,
        maps::Sharing::Shared => Sharing::Shared,
    };
    let flags = found.flags.map(Flags::letters).unwrap_or_default();
    let Range { start, end } = found.range.clone();
    Mapping { start, end, permissions, sharing, kind: kind(found, files), flags }
}

fn kind(found: &maps::Mapping, files: &mut Files) -> MappingKind {
    let special = |name: &[u8]| MappingKind::Special { name: Text(name.to_vec()) };
    match &found.content {
        Content::Anonymous => MappingKind::Anonymous { name: None },
        Content::Named(name) => MappingKind::Anonymous { name: Some(Text(name.clone())) },
        Content::Heap => MappingKind::Heap,
        Content::Stack => MappingKind::Stack,
        Content::Vdso => special(b"[vdso]"),
        Content::Vsyscall => special(b"[vsyscall]"),
        Content::Uprobes => special(b"[uprobes]"),
        Content::Vvar(name) | Content::Special(name) => special(name),
        Content::File(path) => file(found, path, files),
    }
}

fn file(found: &maps::Mapping, path: &[u8], files: &mut Files) -> MappingKind {
    if let (Some(name), maps::Sharing::Shared) = (shared_memory(found), found.sharing)
        && !files.several.contains(&key(found))
    {
        return MappingKind::Anonymous { name };
    }
    // A private mapping of it is anonymous memory.
    if path == b"/dev/zero" {
        return MappingKind::Anonymous { name: None };
    }
    let known = files.look(found);
    let (path, presence) = found.path().unwrap_or((path, Presence::Named));
    let deleted = presence == Presence::SaidDeleted;
    let is_common =
        [&b"/usr/"[..], b"/lib", b"/bin/", b"/sbin/"].iter().any(|it| path.starts_with(it));
    let is_carried = match files.carry {
        Carry::Uncommon => !is_common,
        Carry::All => true,
        Carry::NoPrograms => false,
    };
    let trust = match known.build_id {
        Some(build_id) if !is_carried && !deleted => Trust::Build(build_id),
        _ => Trust::No,
    };
    let path = match (shared_memory(found), found.sharing) {
        // One kind of name for all such memory.
        (Some(name), maps::Sharing::Shared) => {
            Text([b"/memfd:", &name.unwrap_or_default().0[..]].concat())
        }
        _ => Text(unescaped(path)),
    };
    MappingKind::File(Backing {
        path,
        offset: found.offset,
        identity: known.identity,
        deleted,
        trust,
    })
}

#[cfg(test)]
mod tests;
