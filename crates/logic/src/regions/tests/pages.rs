//! Reading, updating, transactions.

use super::*;

#[test]
fn a_page_that_was_never_written_is_zeros_of_version_1() {
    let mut home = Home::new();
    assert_eq!(home.reads(ANN, 7), (1, full(0)));
    home.check(ANN, read(7, 1), &[], Answer::Unchanged { version: Version(1) });
    assert_eq!(home.regions.figures().bytes, 0);
}

#[test]
fn an_update_is_read_by_everybody_and_moves_nothing_where_it_is_known() {
    let mut home = Home::new();
    home.check(ANN, update(2, 4), b"abc", committed(2));
    let mut want = vec![0; PAGE];
    want[4..7].copy_from_slice(b"abc");
    assert_eq!(home.reads(BOB, 2), (2, Bytes::from(want.clone())));
    home.check(BOB, read(2, 2), &[], Answer::Unchanged { version: Version(2) });
    home.check(BOB, update(2, 63), b"z", committed(3));
    want[63] = b'z';
    assert_eq!(home.reads(ANN, 2), (3, Bytes::from(want)));
}

#[test]
fn bytes_that_somebody_still_reads_stay_as_they_were() {
    let mut home = Home::new();
    home.check(ANN, update(0, 0), &full(1), committed(2));
    let (_, old) = home.reads(BOB, 0);
    home.check(ANN, update(0, 0), &full(2), committed(3));
    home.check(ANN, update(0, 1), &[9], committed(4));
    assert_eq!(old, full(1));
    let (_, newer) = home.reads(BOB, 0);
    assert_eq!(newer[..3], [2, 9, 2]);
}

#[test]
fn an_update_of_another_version_changes_nothing_and_tells_the_new_one() {
    let mut home = Home::new();
    home.check(ANN, update_if(1, 1), b"first", committed(2));
    let (answer, bytes) = home.answer(BOB, update_if(1, 1), b"second");
    assert_eq!(answer, Answer::Conflict { pages: vec![(PageNo(1), Version(2))] });
    assert_eq!(&bytes[..5], b"first");
    assert_eq!(
        home.refused(BOB, update_if(1, 3), b"third"),
        Refusal::VersionAhead { page: PageNo(1), version: Version(2) }
    );
    assert_eq!(home.reads(BOB, 1).0, 2);
}

#[test]
fn a_version_that_is_asked_for_is_given_if_it_is_higher() {
    let mut home = Home::new();
    let asked = |version| Request::Update {
        page: PageNo(0),
        offset: 0,
        if_version: None,
        at_least: Version(version),
    };
    home.check(ANN, asked(100), b"a", committed(100));
    home.check(ANN, asked(7), b"b", committed(101));
}

#[test]
fn a_transaction_commits_all_of_it_or_nothing() {
    let mut home = Home::new();
    let writes = [write(0, 0, 2), write(3, 10, 3), write(0, 1, 1)];
    let both = transact(&[(0, 1), (3, 1), (5, 1)], &writes);
    let versions = vec![Version(2), Version(2)];
    home.check(ANN, both.clone(), b"ababcx", Answer::Transacted { versions });
    assert_eq!(&home.reads(ANN, 0).1[..3], b"ax\0");
    assert_eq!(&home.reads(ANN, 3).1[9..14], b"\0abc\0");
    // What it read is old now.
    let (answer, bytes) = home.answer(BOB, both, b"zzzzzz");
    let pages = vec![(PageNo(0), Version(2)), (PageNo(3), Version(2))];
    assert_eq!(answer, Answer::Conflict { pages });
    assert_eq!((bytes.len(), &bytes[..2], &bytes[74..77]), (2 * PAGE, &b"ax"[..], &b"abc"[..]));
    assert_eq!((home.reads(BOB, 0).0, home.reads(BOB, 3).0), (2, 2));
}

#[test]
fn a_transaction_that_writes_nothing_only_asks_whether_all_is_as_it_was() {
    let mut home = Home::new();
    home.check(ANN, transact(&[(0, 1)], &[]), &[], Answer::Transacted { versions: Vec::new() });
    home.check(ANN, update(0, 0), b"a", committed(2));
    let pages = vec![(PageNo(0), Version(2))];
    assert_eq!(home.answer(BOB, transact(&[(0, 1)], &[]), &[]).0, Answer::Conflict { pages });
}

#[test]
fn a_region_grows_and_does_not_shrink() {
    let mut home = Home::new();
    assert_eq!(
        home.refused(ANN, read(8, 0), &[]),
        Refusal::NoSuchPage { page: PageNo(8), pages: 8 }
    );
    home.check(ANN, Request::Grow { pages: 1 << 32 }, &[], Answer::Grown { pages: 1 << 32 });
    home.check(ANN, Request::Grow { pages: 9 }, &[], Answer::Grown { pages: 1 << 32 });
    let last = (1 << 32) - 1;
    home.check(ANN, update(last, 0), b"far", committed(2));
    assert_eq!(home.reads(BOB, last).0, 2);
    assert!(home.regions.figures().bytes < 3 << 20, "{:?}", home.regions.figures());
}

#[test]
fn what_a_region_is_can_be_asked_on_both_kinds_of_connection() {
    let mut home = Home::new();
    home.check(ANN, update(1, 0), b"a", committed(2));
    let (answer, _) = home.answer(BOB, Request::Stat, &[]);
    let Answer::Stat(about) = answer else { panic!("{answer:?}") };
    assert_eq!((about.written, about.sequence, about.sessions, about.pages), (1, 1, 3, 8));
    let listed = home.event(Event::RegionsAsk { link: CONTROL, channel: 4, owner: owner("bob") });
    let [(CONTROL, 4, Sent::Other(Message::Regions(regions)))] = &sent(listed)[..] else {
        panic!()
    };
    assert_eq!((&regions.regions[..], regions.more), (&[*about][..], 0));
}

#[test]
fn the_pages_with_most_traffic_are_told_with_who_has_them() {
    let mut home = Home::new();
    for (page, times) in [(0, 1), (1, 9), (2, 3)] {
        for _ in 0..times {
            home.answer(ANN, update(page, 0), b"a");
        }
    }
    home.locks(BOB, 1);
    home.waits(CAT, lock(1), &[]);
    let (answer, _) = home.answer(ANN, Request::Hot { count: 2 }, &[]);
    let Answer::Hot(hot) = answer else { panic!("{answer:?}") };
    assert_eq!(hot.len(), 2);
    assert_eq!((hot[0].page, hot[0].traffic, hot[0].waiting), (PageNo(1), 9, 1));
    assert_eq!(hot[0].holders, [(name("bob"), SessionId(1))]);
    assert_eq!((hot[1].page, hot[1].traffic, hot[1].holders.len()), (PageNo(2), 3, 0));
}
