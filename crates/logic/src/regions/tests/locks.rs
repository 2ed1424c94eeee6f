//! Locks, queues, leases, barriers.

use super::*;

fn locked(token: u64, version: u64) -> Answer {
    Answer::Locked { token: Token(token), version: Version(version) }
}

fn granted(token: Token) -> u64 {
    token.0 & 0xffff
}

#[test]
fn a_lock_brings_the_page_and_its_commit_changes_it() {
    let mut home = Home::new();
    home.check(BOB, update(0, 0), b"old", committed(2));
    let (answer, bytes) = home.answer(ANN, lock(0), &[]);
    let Answer::Locked { token, version } = answer else { panic!("{answer:?}") };
    assert_eq!((version, &bytes[..3]), (Version(2), &b"old"[..]));
    // Reading waits for nobody.
    assert_eq!(home.reads(BOB, 0).0, 2);
    home.check(ANN, commit(0, token), b"new", committed(3));
    assert_eq!(&home.reads(BOB, 0).1[..3], b"new");
    // It is given back.
    assert_eq!(home.refused(ANN, commit(0, token), b"x"), Refusal::StaleToken { page: PageNo(0) });
}

#[test]
fn waiters_get_the_page_in_the_order_of_asking_and_tokens_rise() {
    let mut home = Home::new();
    let first = home.locks(ANN, 3);
    let bobs = home.waits(BOB, lock(3), &[]);
    let cats = home.waits(CAT, lock(3), &[]);
    let anns = home.waits(ANN, lock(3), &[]);
    let mut token = first;
    for (holder, next, number) in [(ANN, BOB, bobs), (BOB, CAT, cats), (CAT, ANN, anns)] {
        let (_, sent) = home.ask(holder, unlock(3, token), &[]);
        assert_eq!(sent[0].2, answered(Answer::Released));
        let higher = Token(token.0 + 1);
        assert_eq!(sent[1], (next, number, Sent::Answer(locked(higher.0, 1), full(0))));
        token = higher;
    }
    assert_eq!((granted(first), granted(token)), (1, 4));
}

#[test]
fn the_answer_that_nobody_waits_for_is_not_hurried() {
    let mut home = Home::new();
    let token = home.locks(ANN, 3);
    home.waits(BOB, lock(3), &[]);
    let commit = Commit::Unawaited;
    let ask = Ask { answered: 0, request: Request::Unlock { page: PageNo(3), token, commit } };
    let bytes = Bytes::new();
    let event = Event::Request { link: ANN, channel: 9, ask: ask.clone(), bytes: bytes.clone() };
    home.regions.handle(home.now, event);
    let hurry = |effect| match effect {
        Effect::Send { link, .. } => (link, true),
        Effect::SendLater { link, channel, message } => {
            assert_eq!((channel, message), (9, Message::Answer(Answer::Released, Bytes::new())));
            (link, false)
        }
        other => panic!("{other:?}"),
    };
    let effects: Vec<_> = std::iter::from_fn(|| home.regions.poll_effect()).map(hurry).collect();
    assert_eq!(effects, [(ANN, false), (BOB, true)]);
    // The same once more, after the connection was lost: it was done.
    home.regions.handle(home.now, Event::Request { link: ANN, channel: 9, ask, bytes });
    let Some(Effect::Send { message: Message::Answer(answer, _), .. }) = home.regions.poll_effect()
    else {
        panic!("it is answered from memory");
    };
    assert_eq!(answer, Answer::Released);
}

#[test]
fn updates_and_transactions_wait_for_the_lock_in_the_same_queue() {
    let mut home = Home::new();
    let token = home.locks(ANN, 0);
    let updates = home.waits(BOB, update(0, 0), b"b");
    let transacts = home.waits(CAT, transact(&[], &[write(1, 0, 1), write(0, 1, 1)]), b"xc");
    let locks = home.waits(BOB, lock(0), &[]);
    let (number, sent) = home.ask(ANN, commit(0, token), b"..a");
    assert_eq!(sent[0], (ANN, number, answered(committed(2))));
    assert_eq!(sent[1], (BOB, updates, answered(committed(3))));
    let versions = vec![Version(2), Version(4)];
    assert_eq!(sent[2], (CAT, transacts, answered(Answer::Transacted { versions })));
    let Sent::Answer(Answer::Locked { version, .. }, bytes) = &sent[3].2 else { panic!() };
    assert_eq!((sent[3].1, *version, &bytes[..3]), (locks, Version(4), &b"bca"[..]));
}

#[test]
fn what_waits_is_looked_at_anew_when_its_turn_comes() {
    let mut home = Home::new();
    let token = home.locks(ANN, 0);
    home.waits(BOB, update_if(0, 1), b"b");
    let (_, sent) = home.ask(ANN, commit(0, token), b"a");
    let pages = vec![(PageNo(0), Version(2))];
    assert!(
        matches!(&sent[1].2, Sent::Answer(Answer::Conflict { pages: told }, _) if *told == pages)
    );
    // And what conflicts already need not wait.
    home.locks(ANN, 0);
    let (answer, _) = home.answer(BOB, update_if(0, 1), b"b");
    assert_eq!(answer, Answer::Conflict { pages });
}

#[test]
fn transactions_over_locked_pages_move_from_queue_to_queue_and_never_block_each_other() {
    let mut home = Home::new();
    let (anns, bobs) = (home.locks(ANN, 0), home.locks(BOB, 1));
    let forth = home.waits(CAT, transact(&[], &[write(0, 0, 1), write(1, 0, 1)]), b"12");
    let back = home.waits(CAT, transact(&[], &[write(1, 0, 1), write(0, 0, 1)]), b"34");
    let (_, sent) = home.ask(ANN, unlock(0, anns), &[]);
    assert_eq!(sent.len(), 1, "page 1 is still locked: {sent:?}");
    let (_, sent) = home.ask(BOB, unlock(1, bobs), &[]);
    let done: Vec<u64> = sent[1..].iter().map(|&(_, number, _)| number).collect();
    assert_eq!(done, [back, forth]);
    assert_eq!((home.reads(ANN, 0).1[0], home.reads(ANN, 1).1[0]), (b'1', b'2'));
}

#[test]
fn who_waits_only_so_long_is_told_when_it_was_in_vain_and_leaves_no_trace() {
    let mut home = Home::new();
    let token = home.locks(ANN, 0);
    home.check(BOB, lock_for(0, Span(0)), &[], Answer::Busy);
    let bobs = home.waits(BOB, lock_for(0, Span::from_millis(5)), &[]);
    assert_eq!(home.regions.poll_timeout(), Time(1) + Span::from_millis(5));
    let cats = home.waits(CAT, lock(0), &[]);
    assert_eq!(home.pass(Span::from_millis(4), &[]), []);
    assert_eq!(home.pass(Span::from_millis(1), &[]), [(BOB, bobs, answered(Answer::Busy))]);
    // Who does not want it any longer.
    let (number, sent) = home.ask(CAT, Request::Withdraw { request: cats }, &[]);
    assert_eq!(sent, [(CAT, cats, answered(Answer::Busy)), (CAT, number, answered(Answer::Done))]);
    home.check(ANN, unlock(0, token), &[], Answer::Released);
    home.locks(BOB, 0);
}

#[test]
fn a_silent_holder_loses_the_lock_and_its_late_writes_are_refused() {
    let mut home = Home::new();
    let token = home.locks(ANN, 0);
    let bobs = home.waits(BOB, lock_for(0, Span::from_secs(60)), &[]);
    // Whatever is heard of it renews its lease.
    assert_eq!(home.pass(Span::from_secs(2), &[ANN, BOB]), []);
    assert_eq!(home.pass(Span::from_secs(2), &[BOB]), []);
    let sent = home.pass(Span::from_secs(1), &[BOB]);
    let new = token.0 + 1;
    assert_eq!(sent, [(BOB, bobs, answered(locked(new, 1)))]);
    for late in [commit(0, token), unlock(0, token), commit(0, Token(new)), unlock(0, Token(new))] {
        assert_eq!(home.refused(ANN, late, b"late"), Refusal::StaleToken { page: PageNo(0) });
    }
    assert_eq!(home.reads(CAT, 0).0, 1);
    home.check(BOB, commit(0, Token(new)), b"b", committed(2));
}

#[test]
fn a_silent_waiter_loses_its_place() {
    let mut home = Home::new();
    let token = home.locks(ANN, 0);
    let bobs = home.waits(BOB, lock(0), &[]);
    let cats = home.waits(CAT, lock(0), &[]);
    home.pass(Span::from_secs(2), &[ANN, CAT]);
    let sent = home.pass(Span::from_secs(2), &[ANN, CAT]);
    assert_eq!(sent, [(BOB, bobs, answered(Answer::Busy))]);
    let (_, sent) = home.ask(ANN, unlock(0, token), &[]);
    assert_eq!((sent[1].0, sent[1].1), (CAT, cats));
}

#[test]
fn a_ring_of_sessions_that_wait_for_each_other_ends_with_the_spans_they_wait() {
    let mut home = Home::new();
    let (anns, _) = (home.locks(ANN, 0), home.locks(BOB, 1));
    home.waits(ANN, lock_for(1, Span::from_secs(1)), &[]);
    let bobs = home.waits(BOB, lock_for(0, Span::from_secs(60)), &[]);
    let sent = home.pass(Span::from_secs(1), &[ANN, BOB]);
    assert_eq!(sent.iter().map(|sent| sent.0).collect::<Vec<_>>(), [ANN]);
    let (_, sent) = home.ask(ANN, unlock(0, anns), &[]);
    assert_eq!((sent[1].0, sent[1].1), (BOB, bobs));
}

#[test]
fn a_barrier_lets_all_go_on_when_the_last_has_come() {
    let mut home = Home::new();
    let arrive = |parties| Request::Arrive { barrier: 5, parties };
    let first = home.waits(ANN, arrive(3), &[]);
    let again = home.waits(ANN, arrive(3), &[]);
    assert_eq!(home.refused(BOB, arrive(2), &[]), Refusal::OtherParties { parties: 3 });
    let (last, sent) = home.ask(BOB, arrive(3), &[]);
    let round = || answered(Answer::Arrived { round: 1 });
    assert_eq!(sent, [(ANN, first, round()), (ANN, again, round()), (BOB, last, round())]);
    // It begins anew, for as many as the first says; who is lost does not count.
    home.waits(CAT, arrive(2), &[]);
    home.pass(Span::from_secs(4), &[]);
    home.waits(ANN, arrive(2), &[]);
    let (_, sent) = home.ask(BOB, arrive(2), &[]);
    assert_eq!(sent.len(), 2);
}
