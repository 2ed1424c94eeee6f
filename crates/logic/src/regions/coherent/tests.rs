//! The home's decisions, as scripts. Orders that nobody would write down are in `mapped::tests`.

use super::*;

const A: SessionId = SessionId(1);
const B: SessionId = SessionId(2);
const C: SessionId = SessionId(3);
const PAGE: PageNo = PageNo(5);

fn page_of(byte: u8) -> Bytes {
    Bytes::from(vec![byte; COHERENT_PAGE as usize])
}

fn effects(home: &mut Directory) -> Vec<Effect> {
    std::iter::from_fn(|| home.poll_effect()).collect()
}

fn recall(session: SessionId, keep: Access, version: u64) -> Effect {
    Effect::Recall { session, recall: Recall { page: PAGE, keep, version: Version(version) } }
}

fn grant(
    session: SessionId,
    request: u64,
    access: Access,
    version: u64,
    rest: (bool, Option<Bytes>),
) -> Effect {
    let hold = if rest.0 { COHERENT_HOLD } else { Span(0) };
    Effect::Grant {
        session,
        request,
        grant: Grant { access, version: Version(version), hold, bytes: rest.1 },
    }
}

const FRESH: bool = false;
const TAKEN: bool = true;

#[test]
fn a_page_that_nobody_has_is_granted_at_once_and_without_a_hold() {
    let mut home = Directory::new();
    home.fetch(A, 1, PAGE, Access::Read, Version(0));
    assert_eq!(effects(&mut home), [grant(A, 1, Access::Read, 1, (FRESH, Some(page_of(0))))]);
    assert_eq!(home.written(), 0, "a page that is only read takes no memory");
    home.fetch(A, 2, PAGE, Access::Write, Version(1));
    assert_eq!(effects(&mut home), [grant(A, 2, Access::Write, 2, (FRESH, None))]);
    assert_eq!((home.written(), home.moves()), (1, 0));
}

#[test]
fn a_writer_is_asked_to_become_a_reader_and_its_bytes_go_on() {
    let mut home = Directory::new();
    home.fetch(A, 1, PAGE, Access::Write, Version(0));
    effects(&mut home);
    home.fetch(B, 1, PAGE, Access::Read, Version(0));
    assert_eq!(effects(&mut home), [recall(A, Access::Read, 2)]);
    home.yielded(A, PAGE, Access::Read, Version(2), page_of(7));
    assert_eq!(effects(&mut home), [grant(B, 1, Access::Read, 2, (TAKEN, Some(page_of(7))))]);
    home.fetch(A, 2, PAGE, Access::Write, Version(2));
    assert_eq!(effects(&mut home), [recall(B, Access::Nothing, 2)]);
    home.yielded(B, PAGE, Access::Nothing, Version(2), Bytes::new());
    assert_eq!(effects(&mut home), [grant(A, 2, Access::Write, 3, (TAKEN, None))]);
    assert_eq!(home.moves(), 2);
}

#[test]
fn all_readers_are_asked_and_all_are_waited_for() {
    let mut home = Directory::new();
    for session in [A, B, C] {
        home.fetch(session, 1, PAGE, Access::Read, Version(0));
    }
    effects(&mut home);
    home.fetch(C, 2, PAGE, Access::Write, Version(1));
    assert_eq!(effects(&mut home), [recall(A, Access::Nothing, 1), recall(B, Access::Nothing, 1)]);
    home.yielded(B, PAGE, Access::Nothing, Version(1), Bytes::new());
    assert_eq!(effects(&mut home), []);
    home.yielded(A, PAGE, Access::Nothing, Version(1), Bytes::new());
    assert_eq!(effects(&mut home), [grant(C, 2, Access::Write, 2, (TAKEN, None))]);
}

#[test]
fn an_upgrade_that_lost_its_copy_on_the_way_brings_the_bytes() {
    let mut home = Directory::new();
    home.fetch(A, 1, PAGE, Access::Read, Version(0));
    home.fetch(B, 1, PAGE, Access::Read, Version(0));
    effects(&mut home);
    home.fetch(A, 2, PAGE, Access::Write, Version(1));
    // B asked with its copy in hand; by the time it is its turn the copy is gone.
    home.fetch(B, 2, PAGE, Access::Write, Version(1));
    assert_eq!(effects(&mut home), [recall(B, Access::Nothing, 1)]);
    home.yielded(B, PAGE, Access::Nothing, Version(1), Bytes::new());
    assert_eq!(
        effects(&mut home),
        [grant(A, 2, Access::Write, 2, (TAKEN, None)), recall(A, Access::Nothing, 2)]
    );
    home.yielded(A, PAGE, Access::Nothing, Version(2), page_of(9));
    assert_eq!(effects(&mut home), [grant(B, 2, Access::Write, 4, (TAKEN, Some(page_of(9))))]);
}

#[test]
fn those_who_wait_are_served_in_their_order() {
    let mut home = Directory::new();
    home.fetch(A, 1, PAGE, Access::Write, Version(0));
    home.fetch(B, 1, PAGE, Access::Read, Version(0));
    home.fetch(C, 1, PAGE, Access::Write, Version(0));
    home.fetch(A, 2, PAGE, Access::Read, Version(0));
    effects(&mut home);
    home.yielded(A, PAGE, Access::Read, Version(2), page_of(1));
    assert_eq!(
        effects(&mut home),
        [
            grant(B, 1, Access::Read, 2, (TAKEN, Some(page_of(1)))),
            recall(A, Access::Nothing, 2),
            recall(B, Access::Nothing, 2)
        ]
    );
    assert_eq!(home.waiting(), 2);
}

#[test]
fn a_lost_writer_leaves_what_it_sent_last_and_the_others_go_on() {
    let mut home = Directory::new();
    home.fetch(A, 1, PAGE, Access::Write, Version(0));
    home.fetch(B, 1, PAGE, Access::Write, Version(0));
    home.yielded(A, PAGE, Access::Nothing, Version(2), page_of(4));
    home.fetch(C, 1, PAGE, Access::Read, Version(0));
    effects(&mut home);
    home.lost(B);
    assert_eq!(effects(&mut home), [grant(C, 1, Access::Read, 5, (FRESH, Some(page_of(4))))]);
    // Whatever the lost one still says is late.
    home.yielded(B, PAGE, Access::Nothing, Version(4), page_of(66));
    home.fetch(A, 2, PAGE, Access::Read, Version(0));
    assert_eq!(effects(&mut home), [grant(A, 2, Access::Read, 5, (FRESH, Some(page_of(4))))]);
}

#[test]
fn a_lost_waiter_and_a_lost_reader_hold_nobody_up() {
    let mut home = Directory::new();
    home.fetch(A, 1, PAGE, Access::Read, Version(0));
    home.fetch(B, 1, PAGE, Access::Write, Version(0));
    home.fetch(C, 1, PAGE, Access::Write, Version(0));
    effects(&mut home);
    home.lost(B);
    assert_eq!(effects(&mut home), []);
    home.lost(A);
    assert_eq!(effects(&mut home), [grant(C, 1, Access::Write, 3, (FRESH, Some(page_of(0))))]);
}

#[test]
fn after_a_broken_connection_recalls_and_grants_are_said_again() {
    let mut home = Directory::new();
    home.fetch(A, 1, PAGE, Access::Write, Version(0));
    home.fetch(B, 1, PAGE, Access::Read, Version(0));
    effects(&mut home);
    home.resumed(A);
    assert_eq!(effects(&mut home), [recall(A, Access::Read, 2)]);
    home.yielded(A, PAGE, Access::Read, Version(2), page_of(3));
    effects(&mut home);
    // The same again, since A cannot know that it arrived: nothing happens.
    home.yielded(A, PAGE, Access::Read, Version(2), page_of(99));
    assert_eq!(effects(&mut home), []);
    // B's grant was lost; it asks under the same number.
    home.fetch(B, 1, PAGE, Access::Read, Version(0));
    assert_eq!(effects(&mut home), [grant(B, 1, Access::Read, 2, (FRESH, Some(page_of(3))))]);
}

#[test]
fn a_yield_of_an_older_copy_is_no_answer() {
    let mut home = Directory::new();
    home.fetch(A, 1, PAGE, Access::Write, Version(0));
    home.fetch(B, 1, PAGE, Access::Write, Version(0));
    home.yielded(A, PAGE, Access::Nothing, Version(2), page_of(1));
    home.fetch(A, 2, PAGE, Access::Write, Version(0));
    home.yielded(B, PAGE, Access::Nothing, Version(4), page_of(2));
    home.fetch(B, 2, PAGE, Access::Read, Version(0));
    effects(&mut home);
    home.yielded(A, PAGE, Access::Nothing, Version(2), page_of(1));
    assert_eq!(effects(&mut home), [], "A has version 6 now, and has not answered for it");
    home.yielded(A, PAGE, Access::Read, Version(6), page_of(3));
    assert_eq!(effects(&mut home), [grant(B, 2, Access::Read, 6, (TAKEN, Some(page_of(3))))]);
}

#[test]
fn hot_pages_are_those_that_went_to_and_fro() {
    let mut home = Directory::new();
    home.fetch(A, 1, PageNo(1), Access::Write, Version(0));
    for round in 0..3_u64 {
        let (from, to) = if round.is_multiple_of(2) { (A, B) } else { (B, A) };
        home.fetch(to, 10 + round, PAGE, Access::Write, Version(0));
        home.yielded(from, PAGE, Access::Nothing, Version(2 * round), page_of(1));
    }
    home.fetch(C, 1, PAGE, Access::Read, Version(0));
    let hot = home.hot(10);
    assert_eq!(hot, [Hot { page: PAGE, traffic: 2, waiting: 1, holders: vec![B] }]);
}

#[test]
fn a_session_that_has_nothing_takes_no_room() {
    let mut home = Directory::new();
    home.fetch(A, 1, PAGE, Access::Write, Version(0));
    home.yielded(A, PAGE, Access::Nothing, Version(2), page_of(1));
    assert!(home.places.is_empty());
}
