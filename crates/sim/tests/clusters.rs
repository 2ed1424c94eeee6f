//! 300 simulated clusters keep their promises, and each planted bug is found among them.

use farcall_sim::{Bug, run};

const SEEDS: u64 = 300;

#[test]
fn clusters_of_every_seed_keep_their_promises() {
    for seed in 0..SEEDS {
        let report = run(seed, None, false);
        if let Some(violation) = report.violation {
            let log = report.log.join("\n");
            panic!("{log}\nseed {seed}: {violation}\nsee it all: farcall-sim --trace {seed}");
        }
    }
}

/// Among these seeds nodes do pass programs on, and where that fails they are sent after all.
#[test]
fn programs_pass_from_node_to_node() {
    let (mut asked, mut lent, mut sent) = (0, 0, 0);
    for seed in 0..40 {
        let log = run(seed, None, true).log;
        let count = |what: &str| log.iter().filter(|line| line.contains(what)).count();
        asked += count("kind: 54");
        lent += count("kind: 55");
        sent += count("kind: 50");
    }
    assert!(asked > 5 && lent > 5 && sent > asked, "{asked} asked, {lent} answered, {sent} sent");
}

#[test]
fn a_seed_is_the_same_story_every_time() {
    for seed in 0..20 {
        let (first, second) = (run(seed, None, false), run(seed, None, false));
        assert_eq!(first.hash, second.hash, "seed {seed}");
        assert_eq!(first.log, second.log, "seed {seed}");
    }
}

#[test]
fn a_lost_last_frame_is_found() {
    check(Bug::DropLastFrame);
}

#[test]
fn a_reused_attempt_number_is_found() {
    check(Bug::ReuseAttempt);
}

#[test]
fn a_reused_channel_is_found() {
    check(Bug::ReuseChannel);
}

#[test]
fn a_forgotten_returned_task_is_found() {
    check(Bug::ForgetReturned);
}

#[test]
fn a_result_delivered_twice_is_found() {
    check(Bug::DeliverTwice);
}

#[test]
fn a_lost_credit_is_found() {
    check(Bug::LoseCredit);
}

/// A planted bug breaks a promise within the seeds of the test run.
#[track_caller]
fn check(bug: Bug) {
    let found = (0..SEEDS).find(|&seed| run(seed, Some(bug), false).violation.is_some());
    assert!(found.is_some(), "{bug:?} breaks no promise within {SEEDS} seeds");
}
