//! Mappings, and where the bytes of their pages are.

use serde::{Deserialize, Serialize};

use super::host::BuildId;
use super::text::Text;
use crate::name::Hash;

/// One range of addresses, whole pages of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mapping {
    pub start: u64,
    /// The first byte behind it.
    pub end: u64,
    pub permissions: Permissions,
    pub sharing: Sharing,
    pub kind: MappingKind,
    /// The two letters of each flag that `smaps` tells: `hg`, `dd`, `wf` and so on.
    pub flags: Vec<[u8; 2]>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Permissions {
    pub read: bool,
    pub write: bool,
    pub execute: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Sharing {
    Private,
    Shared,
}

/// What a mapping is of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum MappingKind {
    /// With the name that `prctl(PR_SET_VMA)` gave it, or none.
    Anonymous {
        name: Option<Text>,
    },
    Heap,
    Stack,
    File(Backing),
    /// The kernel's own: `[vdso]`, `[vvar]`, `[vvar_vclock]`, `[vsyscall]`, `[uprobes]`, by its name.
    Special {
        name: Text,
    },
    /// Reserved, and not to be touched.
    Guard,
}

/// The file behind a mapping.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Backing {
    pub path: Text,
    /// In bytes, of the mapping's first one.
    pub offset: u64,
    pub identity: FileIdentity,
    pub deleted: bool,
    pub trust: Trust,
}

/// Which file it is on its own host. Two mappings of one file have the same.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct FileIdentity {
    pub device: u64,
    pub inode: u64,
    pub size: u64,
    /// Nanoseconds since 1970.
    pub modified: i64,
}

/// Whether a destination may take its own file's bytes for pages that the image does not tell of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Trust {
    /// It may not: every present page is told of.
    No,
    /// If its file hashes to this.
    Hash(Hash),
    /// If its file has this build id and the size of `identity`.
    Build(BuildId),
}

/// Pages that follow each other. A page's number is its address divided by the page size.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Run {
    pub page: u64,
    pub count: u32,
}

/// Pages whose bytes follow: those of the first run, then those of the second, and so on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pages {
    pub runs: Vec<Run>,
    /// The hash of each page, or none at all where nobody asked for them. Whoever keeps a page under
    /// its hash computes that from the bytes that came.
    pub names: Vec<Hash>,
}

/// Present pages whose bytes are not in the image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Placed {
    pub runs: Vec<Run>,
    pub place: Place,
}

/// Where the bytes of a present page are, if not in the image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Place {
    /// All of them are 0.
    Zero,
    /// The receiver has them, under these hashes: one for each page.
    Known(Vec<Hash>),
    /// With the sender, who is asked for them.
    Sender,
    /// Nowhere: to touch it is an error (`MADV_GUARD_INSTALL`), whatever its mapping permits.
    Guard,
}
