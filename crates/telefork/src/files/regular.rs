//! Regular files: taken along as they are here, and opened there as the destination's own if that has the same bytes.

use std::collections::btree_map::Entry;
use std::ffi::OsStr;
use std::fs::File;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use sys::Pid;
use sys::descriptors::{Listed, Node};
use sys::handle::{Handle, Links};
use wire::image::descriptor::{Content, DescriptorKind, FileNo, OpenFile, Opened};
use wire::image::memory::FileIdentity;
use wire::image::text::Text;
use wire::name::Hash;

use super::unsupported::unsupported;
use super::{Context, Override};
use crate::{Error, Unopened};

/// Flags of `open` that an open file keeps, and that mean the same on any host.
const KEPT: u32 = (libc::O_ACCMODE
    | libc::O_APPEND
    | libc::O_NONBLOCK
    | libc::O_DIRECT
    | libc::O_SYNC
    | libc::O_DSYNC
    | libc::O_NOATIME
    | libc::O_PATH) as u32;

/// The magic number of `/proc` (linux/magic.h), whose names lead to other things than files.
const PROC: u64 = 0x9fa0;

/// Where a file without a name goes that may not be beside its former one.
const TEMPORARY: [&str; 2] = ["/var/tmp", "/tmp"];

pub(super) fn refuse(number: u32, path: &Text, why: Unopened) -> Error {
    Error::Unopened { number, path: path.clone(), why: Box::new(why) }
}

pub(super) fn path_of(number: u32, path: &Text) -> Result<&Path, Error> {
    if path.0.first() != Some(&b'/') || path.0.contains(&0) {
        return Err(refuse(number, path, Unopened::Pathless));
    }
    Ok(Path::new(OsStr::from_bytes(&path.0)))
}

/// Whether the path that the kernel tells still leads to the file.
pub(super) fn leads_to_it(listed: &Listed, pid: Pid) -> bool {
    let mut path = format!("/proc/{pid}/root").into_bytes();
    path.extend_from_slice(&listed.name);
    let there = std::fs::symlink_metadata(OsStr::from_bytes(&path));
    let there = there.map(|there| Node::of(&there));
    there.is_ok_and(|there| (there.device, there.inode) == (listed.node.device, listed.node.inode))
}

pub(super) fn describe(listed: &Listed, context: Context<'_>) -> Result<Opened, Error> {
    if listed.is_locked && context.wish.is_none() {
        let why = format!(
            "a file that is locked through this descriptor, and the lock does not travel yet; let the program \
             give it up, or open the file without it with --fd {}=reopen",
            listed.number
        );
        return Ok(unsupported(DescriptorKind::Other, why));
    }
    let deleted = listed.node.links == 0 || !leads_to_it(listed, context.pid);
    let Node { device, inode, size, modified, .. } = listed.node;
    let identity = FileIdentity { device, inode, size, modified };
    let reopened = context.wish == Some(Override::Reopen);
    if deleted && reopened {
        return Err(Error::NotReopened {
            number: listed.number,
            name: super::unsupported::shown(&listed.name),
        });
    }
    // Through a descriptor that only names its file no byte is read or written.
    let only_names = listed.flags & libc::O_PATH as u32 != 0;
    let content = if reopened || (only_names && !deleted) {
        Content::There
    } else {
        let next = FileNo(context.shipped.len() as u32);
        Content::Shipped(match context.shipped.entry((device, inode)) {
            Entry::Occupied(known) => *known.get(),
            Entry::Vacant(new) => *new.insert(next),
        })
    };
    let name = listed.name.strip_suffix(b" (deleted)").filter(|_| deleted);
    Ok(Opened::File(OpenFile {
        path: Text(name.unwrap_or(&listed.name).to_vec()),
        offset: listed.offset.min(i64::MAX as u64),
        identity,
        deleted,
        mode: listed.node.mode & 0o7777,
        content,
    }))
}

/// Whether this file is to be written through a descriptor with these flags.
pub(super) fn writes(flags: u32) -> bool {
    let path = libc::O_PATH as u32;
    flags & path == 0 && flags.cast_signed() & libc::O_ACCMODE != libc::O_RDONLY
}

/// The destination's own file under this path, looked at and not opened. Who would write through a
/// symbolic link would write something else than was named.
pub(super) fn own(number: u32, path: &Text, writes: bool) -> Result<Handle, Error> {
    let links = if writes { Links::Refused } else { Links::Followed };
    let found = Handle::of(path_of(number, path)?, links);
    let found = found.map_err(|source| refuse(number, path, Unopened::Missing(source)))?;
    if found.node().kind() != libc::S_IFREG || found.file_system()? == PROC {
        return Err(refuse(number, path, Unopened::OtherKind));
    }
    Ok(found)
}

/// Whether a file has this hash.
pub(super) fn has_hash(file: &File, hash: Hash) -> std::io::Result<bool> {
    Ok(hash_of(file)? == hash)
}

pub(super) fn hash_of(file: &File) -> std::io::Result<Hash> {
    let mut hasher = blake3::Hasher::new();
    hasher.update_reader(file)?;
    Ok(Hash(*hasher.finalize().as_bytes()))
}

/// Opens what is held with the flags of an image, those that mean something here.
pub(super) fn open(
    number: u32,
    path: &Text,
    flags: u32,
    opening: impl Fn(u32) -> Result<File, sys::Error>,
) -> Result<File, Error> {
    let flags = flags & KEPT;
    let quiet = libc::O_NOATIME as u32;
    // Only a file's owner may leave its time of access alone; nobody else sees a difference.
    let opened = opening(flags).or_else(|error| match flags & quiet {
        0 => Err(error),
        _ => opening(flags & !quiet),
    });
    opened.map_err(|source| refuse(number, path, Unopened::Refused(source)))
}

/// A file without a name, beside where it was if that can be.
pub(super) fn unnamed(beside: Option<&Path>) -> Result<File, Error> {
    let places = beside.into_iter().chain(TEMPORARY.iter().map(Path::new));
    for place in places {
        if let Ok(file) = sys::files::unnamed_in(place) {
            return Ok(file);
        }
    }
    Ok(sys::files::in_memory("farcall-file")?)
}
