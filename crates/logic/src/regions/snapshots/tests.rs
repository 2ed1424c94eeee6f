//! What a snapshot shows, whatever is committed.

use super::*;

const ONE: SessionId = SessionId(1);
const TWO: SessionId = SessionId(2);

fn bytes(text: &'static str) -> Bytes {
    Bytes::from_static(text.as_bytes())
}

#[test]
fn a_snapshot_keeps_what_was_there_first_and_nothing_else() {
    let mut all = Snapshots::default();
    all.begin(ONE, 7, (PageNo(2), 3), 5).expect("there is room");
    assert_eq!(all.read(ONE, 7, PageNo(2)), Ok((Found::Current, 5)));
    all.replacing(PageNo(2), Version(1), &bytes("old"));
    all.replacing(PageNo(2), Version(2), &bytes("newer"));
    all.replacing(PageNo(9), Version(1), &bytes("elsewhere"));
    assert_eq!(all.read(ONE, 7, PageNo(2)), Ok((Found::Kept(Version(1), bytes("old")), 5)));
    assert_eq!(all.read(ONE, 7, PageNo(3)), Ok((Found::Current, 5)));
    assert_eq!(all.held(), 3, "the page that was written over, once");
    let outside = Refusal::NoSuchPage { page: PageNo(5), pages: 5 };
    assert_eq!(all.read(ONE, 7, PageNo(5)), Err(outside));
    assert_eq!(all.read(TWO, 7, PageNo(2)), Err(Refusal::NoSuchNumber { number: 7 }));
}

#[test]
fn a_later_snapshot_shows_the_later_state() {
    let mut all = Snapshots::default();
    all.begin(ONE, 1, (PageNo(0), 1), 5).expect("there is room");
    all.replacing(PageNo(0), Version(1), &bytes("a"));
    all.begin(TWO, 1, (PageNo(0), 1), 5).expect("there is room");
    all.replacing(PageNo(0), Version(2), &bytes("b"));
    assert_eq!(all.read(ONE, 1, PageNo(0)), Ok((Found::Kept(Version(1), bytes("a")), 5)));
    assert_eq!(all.read(TWO, 1, PageNo(0)), Ok((Found::Kept(Version(2), bytes("b")), 5)));
    all.lost(TWO);
    assert_eq!(all.held(), 1);
    assert!(all.end(ONE, 1));
    assert!(!all.end(ONE, 1), "it was over");
    assert_eq!(all.held(), 0);
}

#[test]
fn a_session_has_so_many_snapshots_and_begins_none_twice() {
    let mut all = Snapshots::default();
    for number in 0..SNAPSHOTS_OF_SESSION_MAX as u64 {
        all.begin(ONE, number, (PageNo(0), 1), 5).expect("there is room");
        all.begin(ONE, number, (PageNo(0), 1), 5).expect("it is the same");
    }
    let refused = all.begin(ONE, 99, (PageNo(0), 1), 5);
    assert!(matches!(refused, Err(Refusal::OutOfBounds { what: Bound::Snapshots, .. })));
    all.begin(TWO, 1, (PageNo(0), 1), 5).expect("another session has its own");
}
