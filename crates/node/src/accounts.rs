//! The accounts (uids) that a root node's workers run as: a block for each node of a host.
//!
//! No two nodes may share one: workers of one account could signal each other, and read each other's
//! files. A node holds its block by the lock of a file that all nodes of the host know.

use std::fs::{DirBuilder, File, OpenOptions};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

/// No account that people or programs are given lies here, by any custom that is known.
const FIRST: u32 = 1_984_000_000;
/// More than a node has workers, those included that are about to end.
const BLOCK: u32 = 1 << 16;
const BLOCKS: u32 = 2048;
const LOCKS: &str = "/run/farcall-accounts";

pub(crate) struct Accounts {
    first: u32,
    /// Held for as long as the node lives.
    _lock: Option<File>,
}

impl Accounts {
    /// A block that no other node of this host has. One data folder mostly gets the same one; where
    /// no lock can be had, that is all there is.
    pub(crate) fn take(scratch: &Path) -> Self {
        let wanted = wanted(scratch);
        let lock = |block: u32| Some((block, lock(Path::new(LOCKS), block)?));
        let tried = (0..BLOCKS).map(|step| (wanted + step) % BLOCKS);
        let found = sys::limits::is_root().then(|| tried.into_iter().find_map(lock)).flatten();
        let (block, lock) = found.map_or((wanted, None), |(block, lock)| (block, Some(lock)));
        Self { first: FIRST + block * BLOCK, _lock: lock }
    }

    pub(crate) fn of(&self, worker: u32) -> u32 {
        self.first + worker % BLOCK
    }
}

fn wanted(scratch: &Path) -> u32 {
    let hash = blake3::hash(scratch.as_os_str().as_encoded_bytes());
    let [a, b, c, d, ..] = *hash.as_bytes();
    u32::from_le_bytes([a, b, c, d]) % BLOCKS
}

/// The lock of a block; `None` if another node has it, or it cannot be had.
fn lock(folder: &Path, block: u32) -> Option<File> {
    // It may be there already, and whatever else is wrong the file shows.
    let _ = DirBuilder::new().mode(0o700).create(folder);
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(false).mode(0o600);
    let file = options.open(folder.join(block.to_string())).ok()?;
    file.try_lock().ok()?;
    Some(file)
}

#[cfg(test)]
mod tests;
