//! Who is told of which jobs, and how many are kept.

use wire::job::Wait;

use super::*;

fn job(id: u64, closed: bool) -> Job {
    let (name, wait) = ("sum".to_owned(), Wait::Nothing);
    let id = JobId(id);
    Job { id, name, queued: 0, next: 0, running: 0, done: 0, failed: 0, retried: 0, wait, closed }
}

fn name(text: &str) -> Name {
    text.parse().unwrap()
}

#[test]
fn one_sees_ones_own_jobs_and_an_admin_sees_all() {
    let mut heard = Hearsay::default();
    heard.hear(Time(0), LinkId(0), &name("ann"), job(1, false)).unwrap();
    heard.hear(Time(1), LinkId(1), &name("bob"), job(2, false)).unwrap();
    let ids = |owner: Option<&Name>| -> Vec<u64> {
        heard.all(Time(5), owner).jobs.iter().map(|heard| heard.job.id.0).collect()
    };
    assert_eq!(ids(Some(&name("ann"))), [1]);
    assert_eq!(ids(None), [2, 1]);
    assert!(heard.find(Time(5), JobId(2), Some(&name("ann"))).is_none());
}

#[test]
fn another_owners_word_on_a_number_does_not_touch_ours() {
    let mut heard = Hearsay::default();
    heard.hear(Time(0), LinkId(0), &name("ann"), job(1, false)).unwrap();
    heard.hear(Time(1), LinkId(1), &name("bob"), job(1, true)).unwrap();
    assert!(!heard.find(Time(5), JobId(1), Some(&name("ann"))).unwrap().job.closed);
}

#[test]
fn words_are_bounded_for_each_link_and_for_what_is_over() {
    let mut heard = Hearsay::default();
    for id in 0..10_000 {
        heard.hear(Time(id), LinkId(0), &name("ann"), job(id, false)).unwrap();
    }
    assert_eq!((heard.live.len(), heard.past.len()), (JOBS_OF_LINK_MAX, JOBS_KEPT));
    assert!(heard.find(Time(0), JobId(9_999), None).is_some_and(|heard| heard.attached));
    assert!(heard.find(Time(0), JobId(9_900), None).is_some_and(|heard| !heard.attached));
    assert!(heard.find(Time(0), JobId(1), None).is_none());
    heard.link_down(LinkId(0));
    assert_eq!((heard.live.len(), heard.past.len()), (0, JOBS_KEPT));
    let told = heard.all(Time(0), None);
    assert_eq!((told.jobs.len(), told.more as usize), (JOBS_TOLD_MAX, JOBS_KEPT - JOBS_TOLD_MAX));
    assert_eq!(told.jobs[0].job.id, JobId(9_999), "the latest first");
    let long = Job { name: "x".repeat(PROGRAM_NAME_MAX + 1), ..job(1, false) };
    assert!(heard.hear(Time(0), LinkId(0), &name("ann"), long).is_err());
}

#[test]
fn a_client_that_comes_back_by_another_link_is_heard_once() {
    let mut heard = Hearsay::default();
    heard.hear(Time(0), LinkId(0), &name("ann"), job(1, false)).unwrap();
    heard.link_down(LinkId(0));
    heard.hear(Time(1), LinkId(5), &name("ann"), job(1, false)).unwrap();
    let told = heard.all(Time(1), None);
    assert_eq!((told.jobs.len(), told.jobs[0].attached), (1, true));
}
