//! 300 simulated regions keep their promises, and each planted bug is found among them.

#![forbid(unsafe_code)]

use farcall_sim::regions::{Bug, run};

const SEEDS: u64 = 300;

#[test]
fn regions_of_every_seed_keep_their_promises() {
    let (mut commits, mut transactions, mut grants, mut unknown, mut proven) = (0, 0, 0, 0, 0);
    for seed in 0..SEEDS {
        let (report, figures) = run(seed, None, false);
        if let Some(violation) = report.violation {
            let log = report.log.join("\n");
            panic!(
                "{log}\nseed {seed}: {violation}\nsee it all: farcall-sim regions --trace {seed}"
            );
        }
        commits += figures.commits;
        transactions += figures.transactions;
        grants += figures.grants;
        unknown += figures.unknown;
        proven += figures.proven;
    }
    // They were put to the test.
    let all = format!(
        "{commits} commits, {transactions} of several pages, {grants} locks; {unknown} commits of \
         unknown outcome, {proven} of them proven"
    );
    eprintln!("{all}");
    assert!(commits > 20_000 && transactions > 5000 && grants > 3000, "{all}");
    assert!(unknown > 500 && proven > 30, "{all}");
}

#[test]
fn a_seed_is_the_same_story_every_time() {
    for seed in 0..20 {
        let (first, second) = (run(seed, None, false), run(seed, None, false));
        assert_eq!(first.0.hash, second.0.hash, "seed {seed}");
        assert_eq!(first.0.log, second.0.log, "seed {seed}");
        assert_eq!(first.1, second.1, "seed {seed}");
    }
}

#[test]
fn a_commit_that_is_told_before_it_is_kept_is_found() {
    check(Bug::SkipDurableWait, &["stale read", "version", "wrong bytes", "nobody"]);
}

#[test]
fn an_old_token_that_passes_is_found() {
    check(Bug::IgnoreToken, &["lost update", "lost lock", "two held"]);
}

#[test]
fn outcomes_that_are_forgotten_are_found() {
    check(Bug::ForgetOutcomes, &["twice", "nobody", "conflict", "lost"]);
}

#[test]
fn a_request_that_is_carried_out_again_is_found() {
    check(Bug::ApplyAgain, &["twice", "nobody"]);
}

#[test]
fn a_transaction_that_is_half_kept_is_found() {
    check(Bug::HalfTransaction, &["version", "stale", "ring", "accounts", "item"]);
}

#[test]
fn a_transaction_that_is_half_committed_is_found() {
    check(Bug::SplitTransaction, &["have [", "torn"]);
}

#[test]
fn a_lost_waiter_is_found() {
    check(Bug::LoseWaiter, &["never ended"]);
}

#[test]
fn a_version_that_is_used_again_is_found() {
    check(Bug::ReuseVersion, &["version"]);
}

#[test]
fn a_stale_read_is_found() {
    check(Bug::StaleRead, &["stale read"]);
}

#[test]
fn news_that_get_lost_are_found() {
    check(Bug::LoseNews, &["its watch ends at version"]);
}

#[test]
fn a_condition_that_is_not_looked_at_is_found() {
    check(Bug::IgnoreCondition, &["lost update"]);
}

#[test]
fn one_who_is_overtaken_in_the_line_for_a_lock_is_found() {
    check(Bug::Overtake, &["out of turn"]);
}

/// A planted bug breaks a promise within the seeds of the test run, and one of those breaks is named as
/// it should be.
#[track_caller]
fn check(bug: Bug, words: &[&str]) {
    let mut others = 0;
    for seed in 0..SEEDS {
        let Some(violation) = run(seed, Some(bug), false).0.violation else { continue };
        let first = violation.lines().next().unwrap_or_default();
        if words.iter().any(|word| first.contains(word)) {
            eprintln!("{bug:?}: seed {seed}, after {others} others: {first}");
            return;
        }
        others += 1;
    }
    panic!("{bug:?}: of {SEEDS} seeds {others} break a promise, none is called {words:?}");
}
