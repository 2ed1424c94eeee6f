//! What nodes say is a stranger's word, its numbers too.

use super::*;

fn job(numbers: [u64; 4], closed: bool) -> JobReport {
    let [queued, running, done, failed] = numbers;
    JobReport {
        id: client::JobId(7),
        name: "a.so".to_owned(),
        owner: "me".to_owned(),
        queued,
        next: 0,
        running,
        done,
        failed,
        retried: u64::MAX,
        wait: "a node",
        closed,
        attached: true,
        ago: Duration::MAX,
    }
}

#[test]
fn no_numbers_of_a_node_are_too_large_to_be_told() {
    let task = TaskName { job: client::JobId(7), task: u64::MAX };
    let tell = |numbers, closed| of_job(task, &job(numbers, closed)).in_words();
    assert!(tell([u64::MAX; 4], true).contains("it has ended, or is on its way"));
    assert!(tell([u64::MAX, 1, 0, 0], true).contains("it has ended, or is on its way"));
    assert!(tell([0, 0, 1, 1], true).contains("its job has ended"));
    assert!(tell([0, 1, 0, 1], false).contains("has 2 tasks so far"));
    assert_eq!(job([u64::MAX, 1, 0, 0], true).state(), "running");
    assert_eq!(job([0, 0, 0, 0], true).state(), "ended");
    let failed =
        Failed { task: 1, attempt: 1, again: true, node: None, worker: 0, cause: Cause::NodeLost };
    assert!(earlier(&[failed], Some(u32::MAX))[0].contains("at most 4294967295"));
}
