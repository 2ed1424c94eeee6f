//! Coming back, and being carried out once.

use super::*;

#[test]
fn who_comes_back_finds_its_locks_and_the_old_connection_is_closed() {
    let mut home = Home::new();
    let token = home.locks(ANN, 0);
    let number = home.numbers[&ANN];
    let new = LinkId(5);
    home.numbers.insert(new, number);
    let attach = Attach { region: name("genes"), session: SessionId(0) };
    let effects = home.event(Event::Attach { link: new, owner: owner("ann"), attach });
    let closed = effects.iter().any(|e| matches!(e, Effect::Close { link } if *link == ANN));
    assert!(closed, "{effects:?}");
    let (0, Sent::Attached(Attached { result: Ok(admission) })) = sent(effects)
        .into_iter()
        .map(|(_, channel, sent)| (channel, sent))
        .next()
        .expect("an answer")
    else {
        panic!()
    };
    assert!(admission.resumed);
    // What the old connection still says is nobody's.
    assert_eq!(home.ask(ANN, unlock(0, token), &[]).1, []);
    home.event(Event::Closed { link: ANN });
    home.check(new, commit(0, token), b"a", committed(2));
}

#[test]
fn a_lock_that_is_asked_for_again_is_the_same_lock() {
    let mut home = Home::new();
    home.locks(BOB, 0);
    let number = home.waits(ANN, lock(0), &[]);
    // Twice under way is once under way.
    assert_eq!(home.again(ANN, number, lock(0), &[]), []);
    home.event(Event::Closed { link: BOB });
    home.event(Event::Closed { link: ANN });
    // It is granted while its session is away: the other's lease ends first.
    home.pass(Span::from_secs(2), &[]);
    home.attach(ANN, 0);
    let sent = home.pass(Span::from_secs(2), &[ANN]);
    let [(ANN, _, Sent::Answer(Answer::Locked { token, .. }, _))] = &sent[..] else {
        panic!("{sent:?}")
    };
    let again = home.again(ANN, number, lock(0), &[]);
    let [(_, _, Sent::Answer(Answer::Locked { token: same, .. }, _))] = &again[..] else {
        panic!("{again:?}")
    };
    assert_eq!(token, same);
    // Another request of the same session is another thread, and waits.
    home.waits(ANN, lock(0), &[]);
}

#[test]
fn a_request_that_comes_again_is_carried_out_once_and_answered_the_same() {
    let mut home = Home::new();
    let requests = [
        (update(0, 0), &b"a"[..], committed(2)),
        (
            transact(&[(1, 1)], &[write(1, 0, 1)]),
            b"b",
            Answer::Transacted { versions: vec![Version(2)] },
        ),
        (Request::Arrive { barrier: 0, parties: 1 }, b"", Answer::Arrived { round: 1 }),
    ];
    for (request, bytes, answer) in requests {
        let (number, sent) = home.ask(ANN, request.clone(), bytes);
        assert_eq!(sent, [(ANN, number, answered(answer.clone()))]);
        home.event(Event::Closed { link: ANN });
        home.attach(ANN, 0);
        assert_eq!(home.again(ANN, number, request, bytes), [(ANN, number, answered(answer))]);
    }
    let token = home.locks(ANN, 3);
    let (number, _) = home.ask(ANN, unlock(3, token), &[]);
    assert_eq!(
        home.again(ANN, number, unlock(3, token), &[]),
        [(ANN, number, answered(Answer::Released))]
    );
    assert_eq!((home.reads(BOB, 0).0, home.reads(BOB, 1).0), (2, 2));
}

#[test]
fn what_waited_while_its_session_was_away_is_carried_out_once() {
    let mut home = Home::new();
    let token = home.locks(BOB, 0);
    let number = home.waits(ANN, update(0, 0), b"a");
    home.event(Event::Closed { link: ANN });
    home.check(BOB, unlock(0, token), &[], Answer::Released);
    home.attach(ANN, 0);
    assert_eq!(
        home.again(ANN, number, update(0, 0), b"a"),
        [(ANN, number, answered(committed(2)))]
    );
    assert_eq!(home.reads(BOB, 0).0, 2);
}

#[test]
fn outcomes_are_kept_until_their_client_says_that_it_knows_them() {
    let mut home = Home::new();
    home.check(ANN, update(0, 0), b"a", committed(2));
    let ask = Ask { answered: 2, request: read(0, 2) };
    home.event(Event::Request { link: ANN, channel: 2, ask, bytes: Bytes::new() });
    let refused = answered(Answer::Refused(Refusal::NoSuchNumber { number: 1 }));
    assert_eq!(home.again(ANN, 1, update(0, 0), b"a"), [(ANN, 1, refused)]);
    assert_eq!(home.reads(BOB, 0).0, 2);
    // Nobody says of a request that was not made yet that he knows what became of it.
    let ask = Ask { answered: u64::MAX, request: update(0, 0) };
    home.event(Event::Request { link: ANN, channel: 3, ask, bytes: Bytes::new() });
    assert_eq!(home.again(ANN, 3, update(0, 0), b""), [(ANN, 3, answered(committed(3)))]);
}

#[test]
fn while_one_request_waits_for_long_others_are_not_remembered_without_end() {
    let mut home = Home::new();
    home.locks(BOB, 0);
    home.waits(ANN, lock(0), &[]);
    for _ in 0..10_000 {
        home.answer(ANN, update(1, 0), b"a");
    }
    // From the latest on, until one is carried out again.
    let remembered = (2..=10_001).rev().take_while(|&number| {
        let before = home.reads(BOB, 1).0;
        home.again(ANN, number, update(1, 0), b"a");
        home.reads(BOB, 1).0 == before
    });
    let count = remembered.count();
    // As many as may be under way are remembered for sure.
    assert!((1024..4096).contains(&count), "{count}");
}

#[test]
fn a_session_is_forgotten_when_it_was_away_for_long_and_not_while_it_is_here() {
    let mut home = Home::new();
    home.check(ANN, update(0, 0), b"a", committed(2));
    home.event(Event::Closed { link: ANN });
    home.pass(Span::from_secs(119), &[]);
    home.attach(ANN, 0);
    assert_eq!(home.again(ANN, 1, update(0, 0), b"a"), [(ANN, 1, answered(committed(2)))]);
    home.pass(Span::from_secs(1000), &[]);
    home.event(Event::Closed { link: ANN });
    home.pass(Span::from_secs(121), &[]);
    let sent = sent(home.attach(ANN, 0));
    let [(ANN, 0, Sent::Attached(Attached { result: Ok(admission) }))] = &sent[..] else {
        panic!()
    };
    assert!(!admission.resumed);
    assert_eq!(home.regions.poll_timeout(), Time::NEVER);
}

#[test]
fn a_session_is_its_owners_and_a_private_region_too() {
    let mut home = Home::new();
    let attach = Attach { region: name("genes"), session: SessionId(0) };
    let effects = home.event(Event::Attach { link: LinkId(5), owner: owner("eve"), attach });
    let turned = Attached { result: Err(Refusal::NotYours) };
    assert_eq!(sent(effects), [(LinkId(5), 0, Sent::Attached(turned))]);
    // `eve` did not close the connection of `ann`.
    home.reads(ANN, 0);

    let private = Create { audience: Audience::Owner, ..create(8, Durability::None) };
    let mut home = Home { regions: Regions::new(Options::default()), ..home };
    home.create(private);
    for (who, is_admin, may) in [("ann", false, true), ("eve", false, false), ("eve", true, true)] {
        let owner = Owner { name: name(who), is_admin };
        let attach = Attach { region: name("genes"), session: SessionId(9 + u64::from(is_admin)) };
        let effects = home.event(Event::Attach { link: LinkId(5), owner: owner.clone(), attach });
        let [(_, 0, Sent::Attached(Attached { result }))] = &sent(effects)[..] else { panic!() };
        assert_eq!(result.is_ok(), may, "{who}");
        let listed = sent(home.event(Event::RegionsAsk { link: CONTROL, channel: 0, owner }));
        let [(.., Sent::Other(Message::Regions(regions)))] = &listed[..] else { panic!() };
        assert_eq!(regions.regions.len(), usize::from(may));
        home.event(Event::Closed { link: LinkId(5) });
    }
}

#[test]
fn who_detaches_frees_everything_at_once() {
    let mut home = Home::new();
    home.locks(ANN, 0);
    let bobs = home.waits(BOB, lock(0), &[]);
    home.waits(ANN, update(0, 0), b"a");
    let (number, sent) = home.ask(ANN, Request::Detach, &[]);
    assert_eq!(sent[0], (ANN, number, answered(Answer::Done)));
    assert_eq!((sent[1].0, sent[1].1), (BOB, bobs));
    // It has no session any more.
    let effects = home.event(Event::Request {
        link: ANN,
        channel: number + 1,
        ask: Ask { answered: 0, request: read(0, 0) },
        bytes: Bytes::new(),
    });
    assert!(matches!(effects[..], [Effect::Close { link: ANN }]), "{effects:?}");
    // Bytes of what waited are not counted for ever.
    let Answer::Stat(about) = home.answer(BOB, Request::Stat, &[]).0 else { panic!() };
    assert_eq!((about.sessions, about.waiting, home.regions.figures().bytes), (2, 0, 0));
}

#[test]
fn a_bare_peer_locks_as_one_thread_and_is_gone_with_its_connection() {
    let mut home = Home::new();
    let (one, two) = (LinkId(11), LinkId(12));
    for link in [one, two] {
        let sent = sent(home.event(Event::AttachBare { link, region: name("genes") }));
        assert!(matches!(&sent[..], [(_, 0, Sent::Attached(Attached { result: Ok(_) }))]));
    }
    let token = home.locks(one, 0);
    assert_eq!(home.locks(one, 0), token, "it is locked already");
    let twos = home.waits(two, lock(0), &[]);
    // Silence costs it nothing.
    assert_eq!(home.pass(Span::from_secs(1000), &[]), []);
    // Who has the lock writes and gives it back.
    let (number, sent) = home.ask(one, update(0, 0), b"a");
    assert_eq!(sent[0], (one, number, answered(committed(2))));
    assert_eq!((sent[1].0, sent[1].1), (two, twos));
    let ones = home.waits(one, lock(0), &[]);
    let sent = super::sent(home.event(Event::Closed { link: two }));
    assert_eq!((sent.len(), sent[0].0, sent[0].1), (1, one, ones));
    assert_eq!(home.reads(ANN, 0).0, 2);
}
