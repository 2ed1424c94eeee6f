//! Bars and holders, as they are read.

use wire::region::{PageNo, SessionId};

use super::*;

#[test]
fn a_bar_is_as_long_as_its_share_and_never_vanishes() {
    let check = |measure, most, letters| assert_eq!(bar(measure, most).len(), letters);
    check(100.0, 100.0, 24);
    check(50.0, 100.0, 12);
    check(0.001, 100.0, 1);
    check(0.0, 100.0, 0);
    check(0.0, 0.0, 0);
}

#[test]
fn holders_are_named_and_the_rest_counted() {
    let page = |holders: u64| HotPage {
        page: PageNo(1),
        traffic: 1,
        waiting: 0,
        holders: (0..holders).map(|n| ("ann".parse().unwrap(), SessionId(n))).collect(),
    };
    assert_eq!(holders(&page(0)), "nobody");
    assert_eq!(holders(&page(2)), "ann/0000, ann/0001");
    assert_eq!(holders(&page(5)), "ann/0000, ann/0001, ann/0002, 2 more");
}

#[test]
fn a_rate_is_what_came_since_the_look_before() {
    let at = Instant::now();
    let before = Before { at, traffic: HashMap::from([(1, 10)]) };
    let page = |page, traffic| HotPage { page: PageNo(page), traffic, waiting: 0, holders: vec![] };
    let later = at + Duration::from_secs(2);
    assert_eq!(measure(&page(1, 30), Some(&before), later), 10.0);
    assert_eq!(
        measure(&page(2, 30), Some(&before), later),
        0.0,
        "how many came since, nobody knows"
    );
    assert_eq!(measure(&page(1, 30), None, later), 30.0);
}

#[test]
fn looks_have_bounds() {
    assert_eq!(every("1s"), Ok(Duration::from_secs(1)));
    assert!(every("1ms").is_err() && every("48h").is_err());
}
