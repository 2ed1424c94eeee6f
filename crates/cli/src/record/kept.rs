//! Which jobs are kept: the latest, up to a number and a size. What runs is never removed.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use client::JobId;

use super::files;

/// Records that are kept.
const JOBS_MAX: usize = 100;
/// Bytes of all of them.
const BYTES_MAX: u64 = 512 << 20;

/// The folders that are records, the latest first.
pub(crate) fn records() -> Vec<(JobId, PathBuf)> {
    let entries = fs::read_dir(files::folder()).into_iter().flatten().flatten();
    let mut found: Vec<(SystemTime, JobId, PathBuf)> = entries
        .filter_map(|entry| {
            let id: JobId = entry.file_name().to_str()?.parse().ok()?;
            // Nothing else that lies here is ours to read, or to remove.
            let lock = fs::symlink_metadata(entry.path().join(files::LOCK)).ok()?;
            let is_record = lock.is_file() && *entry.file_name() == *id.to_string();
            is_record.then_some((lock.modified().ok()?, id, entry.path()))
        })
        .collect();
    found.sort_by_key(|(made, ..)| std::cmp::Reverse(*made));
    found.into_iter().map(|(_, id, path)| (id, path)).collect()
}

/// Removes the oldest records, so that there is room for one more. What cannot be removed stays.
pub(super) fn make_room() {
    let mut bytes = 0;
    for (position, (_, path)) in records().into_iter().enumerate() {
        bytes += size(&path);
        let surplus = position + 1 >= JOBS_MAX || bytes > BYTES_MAX;
        if surplus && !files::is_running(&path) {
            let _ = fs::remove_dir_all(&path);
        }
    }
}

fn size(folder: &Path) -> u64 {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.metadata().ok()).map(|seen| seen.len()).sum()
}
