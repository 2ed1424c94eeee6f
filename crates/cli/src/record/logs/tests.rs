//! Logs that have room for so many bytes, and what is said of those that they have not.

use client::{JobId, TaskName};

use super::*;

fn logs(folder: &tempfile::TempDir, room: u64) -> Logs {
    let batch = Batch::open(&folder.path().join("logs"), room).unwrap();
    Logs { batch, writers: HashMap::new(), late: VecDeque::new() }
}

fn wrote(task: u64, attempt: u32, bytes: usize) -> Wrote {
    let task = TaskName { job: JobId(7), task };
    Wrote { task, attempt, node: None, skipped: 0, bytes: vec![b'x'; bytes].into() }
}

const FIRST: usize = FIRST_MAX as usize;

#[test]
fn last_words_for_which_there_is_no_room_are_missed() {
    let folder = tempfile::tempdir().unwrap();
    // Room for the first bytes, and not for the last.
    let mut logs = logs(&folder, FIRST_MAX + 1024);
    assert!(logs.wrote(&wrote(1, 1, FIRST)).unwrap());
    assert!(logs.wrote(&wrote(1, 1, FIRST)).unwrap(), "kept in memory until it has ended");
    assert!(!logs.ended(1).unwrap());
    assert!(logs.ended(2).unwrap(), "it said nothing");
}

#[test]
fn the_same_where_another_attempt_or_the_end_of_the_job_cuts_them_off() {
    let folder = tempfile::tempdir().unwrap();
    let mut logs = logs(&folder, FIRST_MAX + 1024);
    assert!(logs.wrote(&wrote(1, 1, 2 * FIRST)).unwrap());
    assert!(!logs.wrote(&wrote(1, 2, 1)).unwrap());
    assert!(!logs.wrote(&wrote(1, 2, 2 * FIRST)).unwrap());
    assert!(!logs.finish().unwrap());
}

#[test]
fn with_room_for_all_nothing_is_missed() {
    let folder = tempfile::tempdir().unwrap();
    let mut logs = logs(&folder, 1 << 20);
    assert!(logs.wrote(&wrote(1, 1, 2 * FIRST)).unwrap());
    assert!(logs.ended(1).unwrap());
    assert!(logs.wrote(&wrote(2, 1, 2 * FIRST)).unwrap());
    assert!(logs.finish().unwrap());
}
