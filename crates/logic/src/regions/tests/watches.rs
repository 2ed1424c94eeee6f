//! Being told of commits.

use wire::region::Changes;

use super::*;

impl Home {
    /// Returns its number.
    #[track_caller]
    fn watches(&mut self, link: LinkId, first: u64, count: u64) -> u64 {
        let request = Request::Watch { first: PageNo(first), count, from: None };
        let (number, sent) = self.ask(link, request, &[]);
        assert!(matches!(sent[..], [(_, _, Sent::Answer(Answer::Watching { .. }, _))]), "{sent:?}");
        number
    }

    /// What an update of a page tells others.
    fn told(&mut self, page: u64) -> Vec<(LinkId, u64, Sent)> {
        let (_, mut sent) = self.ask(CAT, update(page, 0), b"x");
        sent.remove(0);
        sent
    }

    fn has_seen(&mut self, link: LinkId, watch: u64) -> Vec<(LinkId, u64, Sent)> {
        self.ask(link, Request::Seen { watch }, &[]).1
    }
}

fn changed(sequence: u64, pages: &[(u64, u64)]) -> Sent {
    let pages = pages.iter().map(|&(page, version)| (PageNo(page), Version(version))).collect();
    Sent::Changed(Changed { sequence, what: Changes::Pages(pages) })
}

fn resync(sequence: u64) -> Sent {
    Sent::Changed(Changed { sequence, what: Changes::Resync })
}

#[test]
fn who_watches_a_page_is_told_of_it_and_of_no_other() {
    let mut home = Home::new();
    let anns = home.watches(ANN, 2, 3);
    let bobs = home.watches(BOB, 4, 1);
    assert_eq!(home.told(1), []);
    assert_eq!(home.told(2), [(ANN, anns, changed(2, &[(2, 2)]))]);
    home.has_seen(ANN, anns);
    assert_eq!(
        home.told(4),
        [(ANN, anns, changed(3, &[(4, 2)])), (BOB, bobs, changed(3, &[(4, 2)]))]
    );
    home.check(BOB, Request::Unwatch { watch: bobs }, &[], Answer::Done);
    home.has_seen(ANN, anns);
    assert_eq!(home.told(4), [(ANN, anns, changed(4, &[(4, 3)]))]);
    assert_eq!(home.told(5), []);
}

#[test]
fn what_happens_while_news_are_unread_is_told_once_with_the_latest_version() {
    let mut home = Home::new();
    let watch = home.watches(ANN, 0, 8);
    assert_eq!(home.told(0).len(), 1);
    for page in [1, 2, 1, 0] {
        assert_eq!(home.told(page), []);
    }
    let all = changed(5, &[(0, 3), (1, 3), (2, 2)]);
    assert_eq!(home.has_seen(ANN, watch), [(ANN, watch, all)]);
    assert_eq!(home.has_seen(ANN, watch), []);
    // More than is kept.
    home.check(CAT, Request::Grow { pages: 10_000 }, &[], Answer::Grown { pages: 10_000 });
    let watch = home.watches(BOB, 0, u64::MAX);
    home.told(9_999);
    for page in 0..2000 {
        home.told(page);
    }
    assert_eq!(home.has_seen(BOB, watch), [(BOB, watch, resync(2007))]);
}

#[test]
fn a_transaction_is_told_at_once() {
    let mut home = Home::new();
    let watch = home.watches(ANN, 0, 8);
    let (_, sent) = home.ask(CAT, transact(&[], &[write(1, 0, 1), write(3, 0, 1)]), b"ab");
    assert_eq!(sent[1..], [(ANN, watch, changed(1, &[(1, 2), (3, 2)]))]);
}

#[test]
fn a_watch_begins_after_a_commit_that_is_remembered_or_says_that_it_does_not() {
    let mut home = Home::new();
    let from = |from| Request::Watch { first: PageNo(0), count: 4, from: Some(from) };
    for page in [0, 1, 5, 0] {
        home.told(page);
    }
    let (number, sent) = home.ask(ANN, from(1), &[]);
    assert_eq!(
        sent,
        [
            (ANN, number, answered(Answer::Watching { sequence: 4 })),
            (ANN, number, changed(4, &[(0, 3), (1, 2)])),
        ]
    );
    assert_eq!(home.ask(ANN, from(4), &[]).1.len(), 1, "nothing is new");
    // One that is not here, and was lost with an earlier time of the region.
    let (number, sent) = home.ask(ANN, from(77), &[]);
    assert_eq!(sent[1], (ANN, number, resync(4)));
    for _ in 0..5000 {
        home.answer(CAT, update(7, 0), b"x");
    }
    let (number, sent) = home.ask(BOB, from(3), &[]);
    assert_eq!(sent[1], (BOB, number, resync(5004)));
}

#[test]
fn news_that_were_lost_with_a_connection_are_told_again() {
    let mut home = Home::new();
    let (quiet, busy) = (home.watches(ANN, 7, 1), home.watches(ANN, 0, 4));
    assert_eq!(home.told(0).len(), 1);
    home.event(Event::Closed { link: ANN });
    assert_eq!(home.told(1), []);
    let sent = sent(home.attach(ANN, 0));
    assert_eq!(sent[1..], [(ANN, busy, changed(2, &[(0, 2), (1, 2)]))]);
    // Sent again, the request is the same watch.
    let watch = Request::Watch { first: PageNo(0), count: 4, from: None };
    assert_eq!(home.again(ANN, busy, watch, &[]).len(), 1);
    home.has_seen(ANN, busy);
    assert_eq!(home.told(0).len(), 1);
    assert_eq!(home.told(7), [(ANN, quiet, changed(4, &[(7, 2)]))]);
    // Nothing of a session that is over.
    home.ask(ANN, Request::Detach, &[]);
    assert_eq!(home.told(7), []);
}

#[test]
fn ranges_of_all_lengths_cover_their_pages_and_no_others() {
    let mut home = Home::new();
    home.check(CAT, Request::Grow { pages: 70 }, &[], Answer::Grown { pages: 70 });
    for first in 0..20 {
        for count in 1..40 {
            let watch = home.watches(ANN, first, count);
            for page in [
                first.saturating_sub(1),
                first,
                first + count / 2,
                first + count - 1,
                first + count,
            ] {
                let is_told = (first..first + count).contains(&page);
                assert_eq!(home.told(page).len(), usize::from(is_told), "{first} {count} {page}");
                home.has_seen(ANN, watch);
            }
            home.check(ANN, Request::Unwatch { watch }, &[], Answer::Done);
        }
    }
}
