//! Durable regions: nothing is told before it is kept, and all of it is known after a restart.

use wire::limits::REQUESTS_MAX;
use wire::region::Changes;

use super::*;

fn durable(durability: Durability) -> Home {
    let options = Options { keeps: vec![durability], ..Options::default() };
    Home::with(options, create(8, durability))
}

impl Home {
    /// Asks; returns what was sent, and the batches for the vault.
    fn commits(
        &mut self,
        link: LinkId,
        request: Request,
        bytes: &[u8],
    ) -> (Vec<(LinkId, u64, Sent)>, Vec<Batch>) {
        let number = self.numbers.entry(link).or_default();
        *number += 1;
        let ask = Ask { answered: 0, request };
        let (channel, bytes) = (*number, Bytes::copy_from_slice(bytes));
        let mut effects = self.event(Event::Request { link, channel, ask, bytes });
        let kept = effects.extract_if(.., |effect| matches!(effect, Effect::Keep(_)));
        let batches = kept.filter_map(|effect| match effect {
            Effect::Keep(batch) => Some(batch),
            _ => None,
        });
        let batches = batches.collect();
        (sent(effects), batches)
    }

    fn kept(&mut self, sequence: u64) -> Vec<(LinkId, u64, Sent)> {
        sent(self.event(Event::Kept { id: RegionId(7), sequence }))
    }
}

#[test]
fn a_commit_is_answered_and_read_and_told_when_it_is_kept() {
    let mut home = durable(Durability::Sync);
    let watch = Request::Watch { first: PageNo(0), count: 8, from: None };
    let (watch, _) = home.ask(CAT, watch, &[]);
    let (sent, batches) = home.commits(ANN, update(0, 0), b"a");
    assert_eq!(sent, []);
    let mut bytes = vec![0; PAGE];
    bytes[0] = b'a';
    let written = Written { page: PageNo(0), version: Version(2), bytes: bytes.into() };
    let (session, owner) = (SessionId(0), name("ann"));
    let outcome = Outcome { session, owner, request: 1, answer: committed(2) };
    let batch = Batch {
        region: RegionId(7),
        sequence: 1,
        grown: None,
        written: vec![written],
        outcome: Some(outcome),
        forgotten: Vec::new(),
        dropped: Vec::new(),
    };
    assert_eq!(batches, [batch]);
    // It is in force, and nobody hears of it.
    let bobs = home.waits(BOB, read(0, 0), &[]);
    let locks = home.waits(BOB, lock(0), &[]);
    home.reads(BOB, 1);
    let Answer::Stat(about) = home.answer(CAT, Request::Stat, &[]).0 else { panic!() };
    assert_eq!(about.sequence, 0);
    let (_, batches) = home.commits(ANN, update(1, 0), b"b");
    assert_eq!(batches[0].sequence, 2);

    let sent = home.kept(1);
    assert_eq!(sent[0], (ANN, 1, answered(committed(2))));
    assert!(
        matches!(&sent[1], (BOB, number, Sent::Answer(Answer::Page { .. }, _)) if *number == bobs)
    );
    assert!(
        matches!(&sent[2], (BOB, number, Sent::Answer(Answer::Locked { .. }, _)) if *number == locks)
    );
    let what = Changes::Pages(vec![(PageNo(0), Version(2))]);
    assert_eq!(sent[3], (CAT, watch, Sent::Changed(Changed { sequence: 1, what })));
    assert_eq!(sent.len(), 4);
    assert_eq!(home.kept(2).len(), 1);
    assert_eq!(home.kept(1), [], "an older one is no news");
    assert_eq!(home.kept(99), [], "nor is one that was never made");
}

#[test]
fn an_async_region_does_not_wait_for_its_vault() {
    let mut home = durable(Durability::Async);
    let (sent, batches) = home.commits(ANN, update(0, 0), b"a");
    assert_eq!((sent.len(), batches.len()), (1, 1));
    assert_eq!(home.reads(BOB, 0).0, 2);
}

#[test]
fn who_writes_faster_than_the_vault_keeps_has_to_wait() {
    let options = Options { keeps: vec![Durability::Async], ..Options::default() };
    let create = Create { page_size: 1 << 20, ..create(8, Durability::Async) };
    let mut home = Home::with(options, create);
    let mut at_once = 0;
    while !home.commits(ANN, update(0, 0), b"a").0.is_empty() {
        at_once += 1;
    }
    assert_eq!(at_once, 64);
    assert_eq!(home.kept(64).len(), 1);
    assert_eq!(home.commits(ANN, update(0, 0), b"a").0.len(), 1);
    home.kept(66);
    // What was kept is not counted any more.
    assert!(home.regions.figures().bytes < 2 << 20, "{:?}", home.regions.figures());
}

#[test]
fn growing_is_a_commit() {
    let mut home = durable(Durability::Sync);
    let (sent, batches) = home.commits(ANN, Request::Grow { pages: 20 }, &[]);
    assert_eq!((sent.len(), batches[0].grown, batches[0].written.len()), (0, Some(20), 0));
    let reads = home.waits(BOB, read(19, 0), &[]);
    let sent = home.kept(1);
    assert_eq!(sent[0], (ANN, 1, answered(Answer::Grown { pages: 20 })));
    assert_eq!(sent[1].1, reads);
}

#[test]
fn a_request_that_comes_again_before_it_is_kept_is_answered_once_and_then_again_the_same() {
    let mut home = durable(Durability::Sync);
    home.commits(ANN, update(0, 0), b"a");
    assert_eq!(home.again(ANN, 1, update(0, 0), b"a"), []);
    home.event(Event::Closed { link: ANN });
    home.attach(ANN, 0);
    assert_eq!(home.again(ANN, 1, update(0, 0), b"a"), []);
    assert_eq!(home.kept(1), [(ANN, 1, answered(committed(2)))]);
    assert_eq!(home.again(ANN, 1, update(0, 0), b"a"), [(ANN, 1, answered(committed(2)))]);
}

#[test]
fn what_clients_know_is_forgotten_in_the_vault_too() {
    let mut home = durable(Durability::Sync);
    home.commits(ANN, update(0, 0), b"a");
    home.kept(1);
    let ask = Ask { answered: 2, request: update(0, 0) };
    let bytes = Bytes::from_static(b"b");
    let effects = home.event(Event::Request { link: ANN, channel: 2, ask, bytes });
    let [Effect::Keep(batch)] = &effects[..] else { panic!("{effects:?}") };
    assert_eq!(batch.forgotten, [(SessionId(0), 1)]);
    // A session that is over, all of it.
    home.kept(2);
    home.numbers.insert(ANN, 2);
    home.ask(ANN, Request::Detach, &[]);
    let (_, batches) = home.commits(BOB, update(0, 0), b"c");
    assert_eq!(batches[0].forgotten, [(SessionId(0), u64::MAX)]);
}

#[test]
fn a_region_that_is_opened_again_has_its_pages_and_knows_what_it_has_done() {
    let options = Options { keeps: vec![Durability::Sync], ..Options::default() };
    let mut home = Home { regions: Regions::new(options), now: Time(1), numbers: BTreeMap::new() };
    // Nobody has it here: its vault is asked, once for all that come.
    let effects = home.attach(ANN, 0);
    assert!(matches!(&effects[..], [Effect::Open { name }] if name.as_str() == "genes"));
    assert!(home.attach(BOB, 1).is_empty());
    let session = SessionId(0);
    let opened = |epoch| Opened {
        id: RegionId(7),
        owner: name("ann"),
        create: create(8, Durability::Sync),
        epoch: Epoch { number: epoch },
        sequence: 41,
        pages: 10,
        written: vec![Written { page: PageNo(9), version: Version(5), bytes: full(3) }],
        outcomes: vec![Outcome { session, owner: name("ann"), request: 6, answer: committed(5) }],
    };
    let result = Ok(Box::new(opened(3)));
    let attached = sent(home.event(Event::Opened { name: name("genes"), result }));
    let resumed = attached.iter().map(|(_, _, sent)| match sent {
        Sent::Attached(Attached { result: Ok(admission) }) => (admission.resumed, admission.epoch),
        other => panic!("{other:?}"),
    });
    assert_eq!(resumed.collect::<Vec<_>>(), [(true, 3), (false, 3)]);
    assert_eq!(home.reads(BOB, 9), (5, full(3)));
    assert_eq!(home.again(ANN, 6, update(9, 0), b"x"), [(ANN, 6, answered(committed(5)))]);
    // Whoever had a lock may not know yet that it is lost. Tokens of earlier times are lower than any
    // of this one.
    home.check(BOB, lock_for(0, Span(0)), &[], Answer::Busy);
    let locks = home.waits(BOB, lock_for(0, Span::from_secs(60)), &[]);
    assert_eq!(home.pass(Span(LEASE.0 - 1), &[BOB]), []);
    let sent = home.pass(Span(1), &[BOB]);
    let [(BOB, number, Sent::Answer(Answer::Locked { token, .. }, _))] = &sent[..] else {
        panic!("{sent:?}")
    };
    assert_eq!((*number, token.0 >> 44), (locks, 3));
    home.numbers.insert(ANN, 6);
    let (_, batches) = home.commits(ANN, update(9, 0), b"y");
    assert_eq!((batches[0].sequence, batches[0].written[0].version), (42, Version(6)));

    // It cannot be opened so often that tokens would not rise.
    let mut home = Home {
        regions: Regions::new(Options { keeps: vec![Durability::Sync], ..Options::default() }),
        ..home
    };
    home.attach(ANN, 0);
    let result = Ok(Box::new(opened(1 << 20)));
    let sent = super::sent(home.event(Event::Opened { name: name("genes"), result }));
    assert!(matches!(
        &sent[..],
        [(_, _, Sent::Attached(Attached { result: Err(Refusal::Unkept { .. }) }))]
    ));
}

#[test]
fn versions_that_were_told_and_lost_are_not_given_to_other_bytes() {
    let options = Options { keeps: vec![Durability::Async], ..Options::default() };
    let mut home = Home { regions: Regions::new(options), now: Time(1), numbers: BTreeMap::new() };
    home.attach(ANN, 0);
    let opened = Opened {
        id: RegionId(7),
        owner: name("ann"),
        create: create(8, Durability::Async),
        epoch: Epoch { number: 2 },
        sequence: 1,
        pages: 8,
        written: vec![Written { page: PageNo(0), version: Version(5), bytes: full(3) }],
        outcomes: Vec::new(),
    };
    home.event(Event::Opened { name: name("genes"), result: Ok(Box::new(opened)) });
    let Answer::Committed { version } =
        home.commits(ANN, update(0, 0), b"a").0.remove(0).2.answer()
    else {
        panic!()
    };
    // Page 0 may have had any version above 5, and was told so.
    assert!(version.0 >= 1 << 40, "{version:?}");
    // None of a later opening can be asked for.
    let asks = |at_least| Request::Update {
        page: PageNo(0),
        offset: 0,
        if_version: None,
        at_least: Version(at_least),
    };
    let refused = home.refused(ANN, asks(2 << 40), b"a");
    assert!(matches!(refused, Refusal::OutOfBounds { what: Bound::Version, .. }), "{refused:?}");
    let (sent, _) = home.commits(ANN, asks((1 << 40) + 9), b"a");
    assert_eq!(sent[0].2, answered(committed((1 << 40) + 9)));
}

impl Sent {
    fn answer(self) -> Answer {
        let Self::Answer(answer, _) = self else { panic!("{self:?}") };
        answer
    }
}

#[test]
fn a_region_that_is_lost_says_nothing_more_and_is_looked_for_anew() {
    let mut home = durable(Durability::Sync);
    home.commits(ANN, update(0, 0), b"a");
    let effects = home.event(Event::Lost { id: RegionId(7), reason: "no space".to_owned() });
    // Whether it was committed is not known, and nobody says that it was not.
    let closed = effects.iter().filter(|effect| matches!(effect, Effect::Close { .. })).count();
    assert_eq!((closed, effects.len()), (3, 3));
    assert_eq!(home.regions.figures().bytes, 0);
    assert_eq!(home.kept(1), []);
    let effects = home.attach(LinkId(5), 0);
    assert!(matches!(effects[..], [Effect::Open { .. }]), "{effects:?}");
    let result = Err(Refusal::Unkept { reason: "no space".to_owned() });
    let sent = sent(home.event(Event::Opened { name: name("genes"), result: result.clone() }));
    let [(LinkId(5), 0, Sent::Attached(Attached { result: Err(refusal) }))] = &sent[..] else {
        panic!()
    };
    assert_eq!(Err(refusal.clone()), result.map(|_: Box<Opened>| ()));
}

#[test]
fn what_a_vault_says_of_those_who_are_gone_reaches_nobody() {
    let options = Options { keeps: vec![Durability::Sync], ..Options::default() };
    let mut home = Home { regions: Regions::new(options), now: Time(1), numbers: BTreeMap::new() };
    let effects = home.create(create(8, Durability::Sync));
    assert!(matches!(effects[..], [Effect::Make { .. }]), "{effects:?}");
    // The name is taken from now on.
    let again = sent(home.create(create(8, Durability::None)));
    let exists = Box::new(Created { result: Err(Refusal::Exists) });
    assert_eq!(again, [(CONTROL, 0, Sent::Other(Message::RegionCreated(exists)))]);
    home.event(Event::Closed { link: CONTROL });
    let made = Event::Made { id: RegionId(7), result: Ok(Epoch { number: 1 }) };
    assert!(home.event(made).is_empty());
    assert_eq!(home.attach(ANN, 0).len(), 1);

    home.event(Event::Attach {
        link: BOB,
        owner: owner("bob"),
        attach: Attach { region: name("other"), session: SessionId(1) },
    });
    home.event(Event::Closed { link: BOB });
    let result = Err(Refusal::NoSuchRegion);
    assert!(home.event(Event::Opened { name: name("other"), result }).is_empty());
}

#[test]
fn a_durable_region_that_is_dropped_is_removed_from_its_vault() {
    let mut home = durable(Durability::Sync);
    let drop = Drop { name: name("genes") };
    let owner = Owner { name: name("eve"), is_admin: true };
    let effects = home.event(Event::Drop { link: CONTROL, channel: 0, owner, drop });
    assert!(effects.iter().any(|e| matches!(e, Effect::Remove { id } if *id == RegionId(7))));
}

impl Home {
    /// Another node cannot be home for so long.
    fn renew(&mut self, span: Span) {
        let until = self.now + span;
        self.event(Event::Renewed { until });
    }
}

#[test]
fn a_home_that_may_have_been_deposed_answers_nobody() {
    let lease = Span::from_secs(4);
    let mut home = durable(Durability::Replicated);
    // Nobody has said yet that it is ours.
    assert!(matches!(home.attach(ANN, 1)[..], [Effect::Close { link: ANN }]));
    home.renew(lease);
    home.attach(ANN, 1);
    home.attach(BOB, 2);
    home.check(ANN, read(0, 1), &[], Answer::Unchanged { version: Version(1) });
    let token = home.locks(ANN, 3);
    let wait = Span::from_secs(1);
    let waiting = home.waits(BOB, lock_for(3, wait), &[]);

    // As after a stop of the whole process: its clock has gone on.
    home.now = home.now + lease;
    assert_eq!(home.pass(Span(0), &[]), []);
    let ask = Ask { answered: 0, request: read(0, 0) };
    for request in [read(0, 0), unlock(3, token)] {
        let (link, ask) = (ANN, Ask { request, ..ask.clone() });
        let effects = home.event(Event::Request { link, channel: 9, ask, bytes: Bytes::new() });
        assert!(matches!(effects[..], [Effect::Close { link: ANN }]), "{effects:?}");
    }
    assert!(matches!(home.attach(CAT, 3)[..], [Effect::Close { link: CAT }]));

    // It was ours all the time.
    home.renew(lease);
    let sent = home.pass(Span::from_millis(100), &[]);
    assert_eq!(sent, [(BOB, waiting, answered(Answer::Busy))]);
    home.check(ANN, read(0, 1), &[], Answer::Unchanged { version: Version(1) });
}

#[test]
fn a_region_that_cannot_be_opened_is_dropped_by_admins_alone() {
    let mut home = durable(Durability::Sync);
    let damaged = || Refusal::Unkept { reason: "damaged".to_owned() };
    home.event(Event::Opened { name: name("notes"), result: Err(damaged()) });
    let mut drop = |is_admin| {
        let (link, channel, drop) = (CONTROL, 1, Drop { name: name("notes") });
        let owner = Owner { is_admin, ..owner("ann") };
        home.event(Event::Drop { link, channel, owner, drop })
    };
    let dropped = |effect: &Effect| match effect {
        Effect::Send { message: Message::RegionDropped(dropped), .. } => dropped.result.clone(),
        other => panic!("{other:?}"),
    };
    let effects = drop(false);
    assert_eq!(effects.iter().map(dropped).collect::<Vec<_>>(), [Err(damaged())]);
    let effects = drop(true);
    assert_eq!(dropped(&effects[0]), Ok(()));
    assert!(matches!(&effects[1], Effect::Discard { name: gone } if *gone == name("notes")));
    assert_eq!(dropped(&drop(true)[0]), Err(Refusal::NoSuchRegion));
}

#[test]
fn a_commit_that_has_no_answer_yet_is_not_pushed_out_by_what_needs_no_vault() {
    let mut home = durable(Durability::Sync);
    home.commits(ANN, update(0, 0), b"a");
    for _ in 0..=2 * REQUESTS_MAX {
        let token = home.locks(ANN, 1);
        home.check(ANN, unlock(1, token), &[], Answer::Released);
    }
    home.event(Event::Closed { link: ANN });
    assert_eq!(home.kept(1), []);
    home.attach(ANN, 0);
    assert_eq!(home.again(ANN, 1, update(0, 0), b"a"), [(ANN, 1, answered(committed(2)))]);
}

#[test]
fn what_a_home_remembers_no_longer_its_vault_forgets_too() {
    let mut home = durable(Durability::Async);
    for _ in 0..2 * REQUESTS_MAX {
        let (_, batches) = home.commits(ANN, update(0, 0), b"a");
        assert_eq!(batches[0].dropped, []);
        home.kept(batches[0].sequence);
    }
    let (_, batches) = home.commits(ANN, update(0, 0), b"a");
    assert_eq!(batches[0].dropped, [(SessionId(0), 1)]);
}

#[test]
fn of_what_was_committed_before_an_opening_nothing_is_dropped_while_it_may_be_asked_for() {
    let options = Options { keeps: vec![Durability::Async], ..Options::default() };
    let mut home = Home { regions: Regions::new(options), now: Time(1), numbers: BTreeMap::new() };
    home.attach(ANN, 0);
    let all = 2 * REQUESTS_MAX as u64;
    // The lowest number may have waited for long, and be the latest commit.
    let outcome = |request| {
        let (session, owner, answer) = (SessionId(0), name("ann"), committed(5));
        Outcome { session, owner, request, answer }
    };
    let opened = Opened {
        id: RegionId(7),
        owner: name("ann"),
        create: create(8, Durability::Async),
        epoch: Epoch { number: 2 },
        sequence: 5000,
        pages: 8,
        written: Vec::new(),
        outcomes: (2..2 + all).map(outcome).collect(),
    };
    home.event(Event::Opened { name: name("genes"), result: Ok(Box::new(opened)) });
    let again = |home: &mut Home| home.again(ANN, 2, update(0, 0), b"a");
    let (_, batches) = home.commits(ANN, update(0, 0), b"a");
    assert_eq!((batches[0].outcome.as_ref().map(|outcome| outcome.request)), Some(1));
    assert_eq!(again(&mut home), [(ANN, 2, answered(committed(5)))]);
    home.numbers.insert(ANN, 2 + all);
    for _ in 1..all {
        let (_, batches) = home.commits(ANN, update(0, 0), b"a");
        assert_eq!(batches[0].dropped, []);
        home.kept(batches[0].sequence);
    }
    let (_, batches) = home.commits(ANN, update(0, 0), b"a");
    assert_eq!(batches[0].dropped.len() as u64, all);
}

#[test]
fn a_region_is_gone_when_its_vault_says_so() {
    let mut home = durable(Durability::Sync);
    let drop = |home: &mut Home| {
        let (link, channel, drop) = (CONTROL, 1, Drop { name: name("genes") });
        home.event(Event::Drop { link, channel, owner: owner("ann"), drop })
    };
    let effects = drop(&mut home);
    assert!(matches!(effects.last(), Some(Effect::Remove { id: RegionId(7) })), "{effects:?}");
    assert_eq!(sent(effects), []);
    // Its name is neither free nor found.
    let refused = Attached { result: Err(Refusal::NoSuchRegion) };
    assert_eq!(sent(home.attach(ANN, 0)), [(ANN, 0, Sent::Attached(refused))]);
    let created = Box::new(Created { result: Err(Refusal::Exists) });
    let again = sent(home.create(create(8, Durability::Sync)));
    assert_eq!(again, [(CONTROL, 0, Sent::Other(Message::RegionCreated(created)))]);
    let dropped = |result| [(CONTROL, 1, Sent::Other(Message::RegionDropped(Dropped { result })))];
    let removed = Event::Removed { id: RegionId(7), result: Ok(()) };
    assert_eq!(sent(home.event(removed)), dropped(Ok(())));
    assert_eq!(sent(drop(&mut home)), dropped(Err(Refusal::NoSuchRegion)));

    let mut home = durable(Durability::Sync);
    drop(&mut home);
    let reason = || "no space".to_owned();
    let effects = home.event(Event::Lost { id: RegionId(7), reason: reason() });
    assert_eq!(sent(effects), dropped(Err(Refusal::Unkept { reason: reason() })));
}

#[test]
fn who_comes_while_a_region_is_made_enters_when_it_is() {
    let options = Options { keeps: vec![Durability::Sync], ..Options::default() };
    let mut home = Home { regions: Regions::new(options), now: Time(1), numbers: BTreeMap::new() };
    home.create(create(8, Durability::Sync));
    assert!(home.attach(ANN, 0).is_empty());
    let made = |result| Event::Made { id: RegionId(7), result };
    let sent = super::sent(home.event(made(Ok(Epoch { number: 1 }))));
    assert!(matches!(&sent[1], (ANN, 0, Sent::Attached(Attached { result: Ok(_) }))), "{sent:?}");

    // Where it could not be made, the vault may have one of that name.
    let options = Options { keeps: vec![Durability::Sync], ..Options::default() };
    let mut home = Home { regions: Regions::new(options), ..home };
    home.create(create(8, Durability::Sync));
    home.attach(ANN, 0);
    let effects = home.event(made(Err(Refusal::Exists)));
    assert!(matches!(effects.last(), Some(Effect::Open { .. })), "{effects:?}");
}

#[test]
fn a_region_without_a_vault_does_not_hide_one_that_a_vault_has() {
    let options = || Options { keeps: vec![Durability::Sync], ..Options::default() };
    let mut home =
        Home { regions: Regions::new(options()), now: Time(1), numbers: BTreeMap::new() };
    let created = |sent: &[(LinkId, u64, Sent)]| match sent {
        [(CONTROL, 0, Sent::Other(Message::RegionCreated(created))), ..] => {
            created.result.clone().map(|about| about.durability)
        }
        other => panic!("{other:?}"),
    };
    let opened = |result| Event::Opened { name: name("genes"), result };
    let effects = home.create(create(8, Durability::None));
    assert!(matches!(&effects[..], [Effect::Open { .. }]), "{effects:?}");
    assert!(home.attach(ANN, 0).is_empty());
    let sent = super::sent(home.event(opened(Err(Refusal::NoSuchRegion))));
    assert_eq!((created(&sent), sent.len()), (Ok(Durability::None), 2));

    let mut home = Home { regions: Regions::new(options()), ..home };
    home.create(create(8, Durability::None));
    let found = |id, number| Opened {
        id: RegionId(id),
        owner: name("ann"),
        create: create(8, Durability::Sync),
        epoch: Epoch { number },
        sequence: 1,
        pages: 8,
        written: Vec::new(),
        outcomes: Vec::new(),
    };
    let sent = super::sent(home.event(opened(Ok(Box::new(found(5, 2))))));
    assert_eq!(created(&sent), Err(Refusal::Exists));
    // A vault gives up what cannot be opened here.
    let effects = home.event(opened(Ok(Box::new(found(6, 2)))));
    assert!(matches!(&effects[..], [Effect::Shut { id: RegionId(6) }]), "{effects:?}");
}

#[test]
fn a_refusal_tells_nothing_that_is_not_kept() {
    let mut home = durable(Durability::Sync);
    home.commits(ANN, update(0, 0), b"a");
    home.commits(ANN, Request::Grow { pages: 20 }, &[]);
    let Answer::Stat(about) = home.answer(CAT, Request::Stat, &[]).0 else { panic!() };
    assert_eq!(about.pages, 8);
    home.waits(BOB, update_if(0, 9), b"b");
    home.waits(BOB, read(30, 0), &[]);
    home.waits(CAT, update_if(0, 1), b"c");
    let sent = home.kept(2);
    let answers: Vec<_> = sent.into_iter().map(|(_, _, sent)| sent.answer()).collect();
    let ahead = Refusal::VersionAhead { page: PageNo(0), version: Version(2) };
    let no_page = Refusal::NoSuchPage { page: PageNo(30), pages: 20 };
    for answer in [Answer::Refused(ahead), Answer::Refused(no_page)] {
        assert!(answers.contains(&answer), "{answers:?}");
    }
    let Answer::Stat(about) = home.answer(CAT, Request::Stat, &[]).0 else { panic!() };
    assert_eq!(about.pages, 20);
}

#[test]
fn a_home_that_may_have_been_deposed_drops_nothing() {
    let mut home = durable(Durability::Replicated);
    home.now = home.now + Span::from_secs(60);
    let (link, channel, drop) = (CONTROL, 1, Drop { name: name("genes") });
    let effects = home.event(Event::Drop { link, channel, owner: owner("ann"), drop });
    let [Effect::Send { message: Message::RegionDropped(dropped), .. }] = &effects[..] else {
        panic!("{effects:?}")
    };
    assert!(matches!(dropped.result, Err(Refusal::NoVault { .. })));
}
