//! What is remembered of tasks, how long, and for whom.

use wire::name::JobId;

use super::*;

fn name(task: u64) -> TaskName {
    TaskName { job: JobId(7), task }
}

fn end(history: &mut History, task: u64, attempt: u32, status: &Status) {
    history.link_up(LinkId(3), &"ann".parse().unwrap());
    let spent = (Span(5), Times::default());
    history.ended(Time(task), LinkId(3), name(task), attempt, status, spent);
}

#[test]
fn a_failure_is_remembered_longer_than_a_million_successes_take() {
    let mut history = History::default();
    let crashed = Status::Crashed { signal: 11, stderr: "oh".to_owned() };
    end(&mut history, 3, 1, &crashed);
    for task in 10..100_010 {
        end(&mut history, task, 1, &Status::Finished { code: 0 });
    }
    assert_eq!(history.find(Time(9), name(3), None)[0].status, crashed);
    assert_eq!(history.find(Time(9), name(100_009), None).len(), 1);
    assert_eq!(history.find(Time(9), name(10), None), []);
    assert_eq!(history.successes.len(), ENDED_KEPT);
}

#[test]
fn failures_are_bounded_in_number_and_in_length() {
    let mut history = History::default();
    let loud = Status::Crashed { signal: 6, stderr: "é".repeat(100_000) };
    for task in 0..2 * FAILURES_KEPT as u64 {
        end(&mut history, task, 1, &loud);
    }
    assert_eq!(history.failures.len(), FAILURES_KEPT);
    let last = &history.find(Time(0), name(2 * FAILURES_KEPT as u64 - 1), None)[0];
    let Status::Crashed { stderr, .. } = &last.status else { panic!("{last:?}") };
    assert!(stderr.len() <= FAILURE_TEXT_MAX);
}

#[test]
fn attempts_come_latest_first_and_to_their_owner_alone() {
    let mut history = History::default();
    end(&mut history, 1, 1, &Status::WorkerLost { reason: "x".to_owned() });
    end(&mut history, 1, 2, &Status::Finished { code: 0 });
    let attempts = |owner: Option<&Name>| -> Vec<u32> {
        history.find(Time(9), name(1), owner).iter().map(|ended| ended.attempt).collect()
    };
    assert_eq!(attempts(None), [2, 1]);
    assert_eq!(attempts(Some(&"ann".parse().unwrap())), [2, 1]);
    assert_eq!(attempts(Some(&"bob".parse().unwrap())), Vec::<u32>::new());
}
