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

/// Removes the oldest records, so that there is room for one more. What cannot be removed stays, and
/// so does what somebody uses.
pub(super) fn make_room() {
    let mut bytes = 0_u64;
    for (position, (_, path)) in records().into_iter().enumerate() {
        if bytes <= BYTES_MAX {
            bytes = bytes.saturating_add(size(&path));
        }
        let surplus = position + 1 >= JOBS_MAX || bytes > BYTES_MAX;
        if surplus && let Some(_alone) = files::lock_alone(&path) {
            let _ = fs::remove_dir_all(&path);
        }
    }
}

/// What a file of so many bytes costs, its place in the file system included: a million empty ones
/// are not for free.
pub(super) fn cost(bytes: u64) -> u64 {
    bytes.saturating_add(4096)
}

/// A record with its inputs.
fn size(folder: &Path) -> u64 {
    let of = |folder: &Path| {
        let entries = fs::read_dir(folder).into_iter().flatten().flatten();
        let costs = entries.filter_map(|entry| Some(cost(entry.metadata().ok()?.len())));
        costs.fold(0, u64::saturating_add)
    };
    of(folder).saturating_add(of(&folder.join(files::INPUTS)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_as_large_as_it_is_with_its_inputs_however_small_they_are() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join(files::LOGS), [7; 10_000]).unwrap();
        let alone = size(folder.path());
        assert_eq!(alone, cost(10_000));
        let inputs = folder.path().join(files::INPUTS);
        fs::create_dir(&inputs).unwrap();
        for task in 0..100 {
            fs::write(inputs.join(task.to_string()), "").unwrap();
        }
        fs::write(inputs.join("large"), [7; 1 << 20]).unwrap();
        assert!(size(folder.path()) >= alone + 100 * cost(0) + (1 << 20));
    }
}
