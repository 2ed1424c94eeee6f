//! What cannot have happened is refused, and named.

#![forbid(unsafe_code)]

use farcall_verdict::{Act, Fact, History, Kind, Op, Put, judge};

const PAGE: usize = 16;

/// A page that holds this number and nothing else.
fn bytes(tag: u64) -> Vec<u8> {
    [tag.to_le_bytes(), [0; 8]].concat()
}

fn op(begin: u64, end: u64, act: Act) -> Op {
    Op { who: 0, begin, end: Some(end), act }
}

fn fact(page: u64, version: u64, tag: u64) -> Fact {
    Fact::new(page, version, &bytes(tag))
}

fn read(begin: u64, end: u64, pages: &[Fact]) -> Op {
    op(begin, end, Act::Read { pages: pages.to_vec() })
}

/// `reads`: page and version; `writes`: page, its new version, what it holds then.
fn commit(begin: u64, end: u64, reads: &[(u64, u64)], writes: &[(u64, u64, u64)]) -> Op {
    under(None, begin, end, reads, writes)
}

fn under(
    token: Option<u64>,
    begin: u64,
    end: u64,
    reads: &[(u64, u64)],
    writes: &[(u64, u64, u64)],
) -> Op {
    let reads = reads.iter().map(|(page, version)| Fact::bare(*page, *version)).collect();
    let puts = writes.iter().map(|(page, _, tag)| Put::new(*page, 0, &tag.to_le_bytes()));
    let versions = writes.iter().map(|(page, version, _)| (*page, *version)).collect();
    op(begin, end, Act::Commit { reads, writes: puts.collect(), versions, token })
}

/// A commit whose outcome nobody knows.
fn lost(begin: u64, reads: &[(u64, u64)], writes: &[(u64, u64)]) -> Op {
    let writes: Vec<_> = writes.iter().map(|(page, tag)| (*page, 0, *tag)).collect();
    let mut op = commit(begin, 0, reads, &writes);
    op.end = None;
    if let Act::Commit { versions, .. } = &mut op.act {
        versions.clear();
    }
    op
}

fn grant(begin: u64, end: u64, page: u64, version: u64, token: u64, queued: u64) -> Op {
    let page = Fact::bare(page, version);
    op(begin, end, Act::Grant { page, token, queued: Some(queued) })
}

#[track_caller]
fn refused(ops: &[Op], kind: Kind, words: &str) {
    let history = History { page_size: PAGE, ops: ops.to_vec() };
    let violation = judge(&history).expect_err("it was believed");
    assert_eq!(violation.kind, kind, "{violation}");
    assert!(violation.to_string().contains(words), "no {words:?} in {violation}");
    assert!(!violation.ops.is_empty() && violation.ops.iter().all(|op| *op < ops.len()));
}

#[track_caller]
fn believed(ops: &[Op]) {
    let history = History { page_size: PAGE, ops: ops.to_vec() };
    judge(&history).unwrap_or_else(|violation| panic!("{violation}"));
}

#[test]
fn a_lost_update() {
    let both = [commit(0, 9, &[(3, 1)], &[(3, 2, 7)]), commit(0, 9, &[(3, 1)], &[(3, 3, 8)])];
    refused(
        &both,
        Kind::LostUpdate,
        "a lost update: page 3: a commit saw version 1 and made version 3",
    );
}

#[test]
fn two_who_both_became_the_same_version() {
    let both = [commit(0, 9, &[(3, 1)], &[(3, 2, 7)]), commit(0, 9, &[(3, 1)], &[(3, 2, 8)])];
    refused(&both, Kind::VersionRepeated, "two commits made version 2 of page 3");
}

#[test]
fn a_version_that_comes_again_with_other_bytes() {
    let ops = [
        commit(0, 1, &[], &[(3, 2, 7)]),
        read(2, 3, &[fact(3, 2, 7)]),
        // The node was started again, and the commit was gone.
        lost(4, &[], &[(3, 8)]),
        read(6, 7, &[fact(3, 2, 8)]),
    ];
    refused(&ops, Kind::VersionRepeated, "page 3 was seen with two contents as version 2");
}

#[test]
fn a_version_that_goes_back() {
    let ops = [commit(2, 3, &[], &[(3, 3, 8)]), commit(4, 5, &[], &[(3, 2, 7)])];
    refused(
        &ops,
        Kind::VersionWentBack,
        "version 2 was committed by one who began when version 3 was known",
    );
}

#[test]
fn a_version_that_was_seen_before_it_was_written() {
    let ops = [read(0, 1, &[fact(3, 2, 7)]), commit(2, 3, &[], &[(3, 2, 7)])];
    refused(&ops, Kind::VersionWentBack, "began when version 2 was known");
}

#[test]
fn a_stale_read() {
    let ops = [commit(0, 1, &[], &[(3, 2, 7)]), read(2, 3, &[fact(3, 1, 0)])];
    refused(
        &ops,
        Kind::StaleRead,
        "a stale read: page 3: version 1 was seen by one who began when version 2",
    );
    // At the same time it is none, and from a cache that may be old neither.
    believed(&[commit(0, 3, &[], &[(3, 2, 7)]), read(2, 3, &[fact(3, 1, 0)])]);
    let cached = op(2, 3, Act::Seen { pages: vec![fact(3, 1, 0)] });
    believed(&[commit(0, 1, &[], &[(3, 2, 7)]), cached]);
}

#[test]
fn an_acknowledged_write_that_is_gone() {
    let ops = [
        commit(0, 1, &[], &[(3, 2, 7)]),
        commit(2, 3, &[], &[(3, 3, 8)]),
        read(9, 10, &[fact(3, 2, 7)]),
    ];
    refused(&ops, Kind::StaleRead, "version 3 was known");
}

#[test]
fn bytes_that_nobody_has_written() {
    let ops = [commit(0, 1, &[], &[(3, 2, 7)]), read(2, 3, &[fact(3, 2, 8)])];
    refused(&ops, Kind::WrongBytes, "wrong bytes: page 3: version 2");
    let mut torn = bytes(7);
    torn[15] = 1;
    let ops = [commit(0, 1, &[], &[(3, 2, 7)]), read(2, 3, &[Fact::new(3, 2, &torn)])];
    refused(&ops, Kind::WrongBytes, "version 2");
}

#[test]
fn a_commit_of_nobody() {
    refused(&[read(2, 3, &[fact(3, 2, 8)])], Kind::Phantom, "no commit can have made version 2");
    // One that was begun too late, one that names another version, one that writes something else.
    let seen = read(2, 3, &[fact(3, 2, 8)]);
    refused(&[seen.clone(), lost(4, &[], &[(3, 8)])], Kind::Phantom, "version 2");
    refused(&[seen.clone(), lost(0, &[(3, 2)], &[(3, 8)])], Kind::Phantom, "version 2");
    refused(&[seen.clone(), lost(0, &[], &[(3, 9)])], Kind::Phantom, "version 2");
    believed(&[seen, lost(0, &[], &[(3, 8)])]);
}

#[test]
fn a_request_that_was_carried_out_twice() {
    let ops = [
        commit(0, 1, &[], &[(3, 2, 7)]),
        commit(2, 3, &[], &[(3, 3, 8)]),
        read(9, 10, &[fact(3, 4, 7)]),
    ];
    refused(&ops, Kind::DoubleApplication, "version 4 is what an earlier commit had written");
    let ops = [
        lost(0, &[], &[(3, 7)]),
        read(2, 3, &[fact(3, 2, 7)]),
        commit(4, 5, &[], &[(3, 3, 8)]),
        read(9, 10, &[fact(3, 4, 7)]),
    ];
    refused(&ops, Kind::DoubleApplication, "carried out twice");
    // At once, so that nobody has seen the first time.
    let ops = [commit(0, 1, &[], &[(3, 2, 7)]), read(2, 3, &[fact(3, 3, 7)])];
    refused(&ops, Kind::DoubleApplication, "version 3");
}

#[test]
fn a_torn_transaction() {
    let both = commit(0, 9, &[], &[(3, 2, 7), (4, 2, 7)]);
    let half = read(0, 9, &[fact(3, 2, 7), fact(4, 1, 0)]);
    refused(&[both.clone(), half], Kind::TornTransaction, "saw page 4 as it was before #0");
    // Page by page, one after the other.
    let new = read(1, 2, &[fact(3, 2, 7)]);
    let old = read(3, 4, &[fact(4, 1, 0)]);
    refused(&[both, new.clone(), old.clone()], Kind::TornTransaction, "a torn transaction");
    // Half of it took place, and nobody knows of the rest.
    let unknown = lost(0, &[], &[(3, 7), (4, 7)]);
    refused(&[unknown.clone(), new, old], Kind::TornTransaction, "a torn transaction");
    let neither = read(5, 6, &[fact(3, 1, 0), fact(4, 1, 0)]);
    believed(&[unknown, neither]);
}

#[test]
fn write_skew() {
    let ops = [
        commit(0, 9, &[(3, 1), (4, 1)], &[(3, 2, 7)]),
        commit(0, 9, &[(3, 1), (4, 1)], &[(4, 2, 8)]),
    ];
    refused(&ops, Kind::WriteSkew, "write skew (G2)");
}

#[test]
fn a_circular_flow_of_information() {
    // G1c: each has read what the other wrote.
    let ops = [commit(0, 9, &[(4, 2)], &[(3, 2, 7)]), commit(0, 9, &[(3, 2)], &[(4, 2, 8)])];
    refused(&ops, Kind::CircularCommits, "commits in a circle (G1c)");
    // G0: each wrote over the other.
    let ops =
        [commit(0, 9, &[], &[(3, 2, 7), (4, 3, 7)]), commit(0, 9, &[], &[(3, 3, 8), (4, 2, 8)])];
    refused(&ops, Kind::CircularCommits, "wrote page 3 before");
}

#[test]
fn a_long_fork() {
    let ops = [
        commit(0, 9, &[], &[(3, 2, 7)]),
        commit(0, 9, &[], &[(4, 2, 8)]),
        read(0, 9, &[fact(3, 2, 7), fact(4, 1, 0)]),
        read(0, 9, &[fact(3, 1, 0), fact(4, 2, 8)]),
    ];
    refused(&ops, Kind::WriteSkew, "saw page");
}

#[test]
fn an_order_against_the_clock() {
    let ops = [
        commit(0, 10, &[], &[(3, 2, 7)]),
        read(1, 2, &[fact(3, 2, 7)]),
        commit(3, 4, &[], &[(4, 2, 8)]),
        read(1, 20, &[fact(4, 2, 8), fact(3, 1, 0)]),
    ];
    refused(&ops, Kind::OutOfTime, "ended before the beginning of");
}

#[test]
fn a_token_that_goes_back() {
    let ops = [grant(0, 1, 3, 1, 5, 0), grant(2, 3, 4, 1, 4, 2)];
    refused(&ops, Kind::TokenWentBack, "token 4 was given to one who asked when token 5 was known");
    let ops = [grant(0, 1, 3, 1, 5, 0), grant(0, 1, 4, 1, 5, 0)];
    refused(&ops, Kind::TokenWentBack, "token 5 was given twice");
}

#[test]
fn a_lost_holder_that_writes() {
    let ops =
        [grant(0, 1, 3, 1, 1, 0), grant(2, 3, 3, 1, 2, 2), under(Some(1), 4, 5, &[], &[(3, 2, 7)])];
    refused(&ops, Kind::StaleToken, "a commit under token 1 came after token 2 was granted");
    // It does not know itself that it did.
    let mut late = lost(4, &[(3, 1)], &[(3, 7)]);
    if let Act::Commit { token, .. } = &mut late.act {
        *token = Some(1);
    }
    let seen = read(6, 7, &[fact(3, 2, 7)]);
    refused(&[ops[0].clone(), ops[1].clone(), late, seen], Kind::StaleToken, "token 2");
}

#[test]
fn two_holders_of_one_lock() {
    let release = op(4, 5, Act::Release { page: 3, token: 1 });
    let ops = [grant(0, 1, 3, 1, 1, 0), grant(2, 3, 3, 1, 2, 2), release.clone()];
    refused(&ops, Kind::TwoHolders, "token 2 was granted while token 1 held the lock");
    believed(&[grant(0, 1, 3, 1, 1, 0), grant(2, 5, 3, 1, 2, 2), release]);
}

#[test]
fn a_lock_out_of_turn() {
    let ops = [grant(0, 9, 3, 1, 2, 1), grant(0, 9, 3, 1, 1, 5)];
    refused(
        &ops,
        Kind::OutOfTurn,
        "who came at 5 was granted the lock (token 1) before who came at 1",
    );
}

#[test]
fn outcomes_that_nobody_knows_may_come_late_or_never() {
    let ops = [
        lost(0, &[], &[(3, 7)]),
        lost(0, &[], &[(3, 8)]),
        commit(5, 6, &[], &[(3, 2, 9)]),
        read(7, 8, &[fact(3, 2, 9)]),
        read(100, 101, &[fact(3, 3, 8)]),
    ];
    believed(&ops);
}

#[test]
fn a_hundred_unknown_outcomes_are_no_reason_to_give_up() {
    let mut ops: Vec<Op> = (0..100).map(|n| lost(0, &[], &[(3, 100 + n)])).collect();
    ops.push(commit(5, 6, &[], &[(3, 61, 9)]));
    ops.push(read(7, 8, &[fact(3, 62, 150)]));
    believed(&ops);
}
