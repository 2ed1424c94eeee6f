//! Folders that are hard to remove.

use std::fs::File;
use std::os::unix::fs::symlink;

use super::*;

/// A scratch folder with one worker's folder in it.
fn place() -> (tempfile::TempDir, Scratch, PathBuf) {
    let data = tempfile::tempdir().unwrap();
    let scratch = make_all(data.path(), Jail::None).unwrap();
    let worker = scratch.folder().join("1");
    make(&worker, None).unwrap();
    (data, scratch, worker)
}

/// Removes it as a node does that ends, whatever time the thread takes.
#[track_caller]
fn check_removed(data: &Path, mut scratch: Scratch, worker: &Path) {
    scratch.remove(worker);
    assert!(!worker.exists());
    scratch.queue = None;
    let _ = scratch.end.recv();
    scratch.close();
    assert_eq!(fs::read_dir(data).unwrap().count(), 0);
}

#[test]
fn a_chain_of_folders_deeper_than_any_stack_is_removed() {
    const DEEP: usize = 20_000;
    let (data, scratch, worker) = place();
    // By renaming: no path is ever long.
    let pieces = data.path().join("piece");
    fs::create_dir(&pieces).unwrap();
    for _ in 0..DEEP {
        let next = data.path().join("next");
        fs::create_dir(&next).unwrap();
        fs::rename(&pieces, next.join("d")).unwrap();
        fs::rename(&next, &pieces).unwrap();
    }
    fs::rename(&pieces, worker.join("d")).unwrap();
    check_removed(data.path(), scratch, &worker);
}

#[test]
fn many_files_are_removed_without_anyone_waiting() {
    let (data, scratch, worker) = place();
    for number in 0..20_000 {
        File::create(worker.join(number.to_string())).unwrap();
    }
    check_removed(data.path(), scratch, &worker);
}

#[test]
fn a_link_is_removed_and_not_what_it_leads_to() {
    let (data, scratch, worker) = place();
    let other = tempfile::tempdir().unwrap();
    File::create(other.path().join("kept")).unwrap();
    symlink(other.path(), worker.join("link")).unwrap();
    fs::create_dir(worker.join("closed")).unwrap();
    symlink(other.path(), worker.join("closed/link")).unwrap();
    fs::set_permissions(worker.join("closed"), Permissions::from_mode(0o000)).unwrap();
    check_removed(data.path(), scratch, &worker);
    assert!(other.path().join("kept").exists());
}

#[test]
fn what_a_killed_node_left_is_removed_by_the_next() {
    let data = tempfile::tempdir().unwrap();
    for left in ["scratch/1/deep/er", "dead/41/deep", "dead/7"] {
        fs::create_dir_all(data.path().join(left)).unwrap();
    }
    let scratch = make_all(data.path(), Jail::None).unwrap();
    assert_eq!(fs::read_dir(scratch.folder()).unwrap().count(), 0);
    let worker = scratch.folder().join("1");
    make(&worker, None).unwrap();
    check_removed(data.path(), scratch, &worker);
}
