//! Open descriptors, and the files that are taken along.

use serde::{Deserialize, Serialize};

use super::memory::FileIdentity;
use super::text::Text;
use crate::name::Hash;
use crate::terminal::Modes;

/// One number of the table of descriptors.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Descriptor {
    pub number: u32,
    pub close_on_exec: bool,
    /// Descriptors with the same one share offset and flags, as `dup` makes them.
    pub description: u32,
    /// Flags of `open`, without those that only make a file.
    pub flags: u32,
    pub what: Opened,
}

/// What a descriptor is of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Opened {
    File(OpenFile),
    Folder {
        path: Text,
    },
    /// One that any host has under this path: `/dev/null` and its like.
    Device {
        path: Text,
    },
    /// The controlling terminal, passed on to where the process came from.
    Terminal {
        path: Text,
        /// As they were; `None` where they could not be asked for.
        modes: Option<Modes>,
    },
    /// One end of something whose other end stays: its bytes are passed on.
    Stdio {
        direction: Direction,
    },
    /// What cannot travel, for the report of a preflight. No image with one can be restored as it is.
    Unsupported {
        kind: DescriptorKind,
        /// What it is and what to do, in words.
        why: String,
    },
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenFile {
    pub path: Text,
    pub offset: u64,
    pub identity: FileIdentity,
    pub deleted: bool,
    /// Its rights, for where it is made anew.
    pub mode: u32,
    pub content: Content,
}

/// What a regular file holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Content {
    /// The destination must have the same path with these bytes.
    Same(Hash),
    /// They come in the sections of this file, in their order.
    Shipped(FileNo),
    /// Whatever the destination has under this path: somebody has wished it so.
    There,
}

/// The number of a file that is taken along.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct FileNo(pub u32);

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Direction {
    Read,
    Write,
    Both,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum DescriptorKind {
    Pipe,
    Socket,
    Event,
    Epoll,
    Timer,
    Signal,
    Watch,
    Memory,
    Process,
    Ring,
    Device,
    Other,
}

/// A piece of a file that is taken along; its bytes follow. Holes are left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FilePart {
    pub file: FileNo,
    pub offset: u64,
    /// Of the whole file.
    pub length: u64,
}
