//! What is too much, too long, or somebody else's: refused, and nothing else is harmed.

use wire::limits::*;
use wire::region::Access;

use super::*;

fn out_of(what: Bound, value: u64, max: u64) -> Refusal {
    Refusal::OutOfBounds { what, value, max }
}

#[test]
fn numbers_beyond_the_page_or_the_region_are_refused_by_name() {
    let mut home = Home::new();
    let no_page = |page| Refusal::NoSuchPage { page: PageNo(page), pages: 8 };
    let wrong = |offset, length| Refusal::WrongLength { offset, length, max: PAGE as u64 };
    let changed = Write { page: PageNo(0), offset: 0, length: 3 };
    let cases = [
        (read(8, 0), 0, no_page(8)),
        (lock(u64::MAX), 0, no_page(u64::MAX)),
        (update(8, 0), 1, no_page(8)),
        (unlock(8, Token(0)), 0, no_page(8)),
        (transact(&[(8, 1)], &[]), 0, no_page(8)),
        (transact(&[], &[write(9, 0, 0)]), 0, no_page(9)),
        (Request::Watch { first: PageNo(8), count: 1, from: None }, 0, no_page(8)),
        (update(0, 0), PAGE + 1, wrong(0, PAGE as u64 + 1)),
        (update(0, PAGE as u32), 1, wrong(PAGE as u64, 1)),
        (update(0, u32::MAX), 2, wrong(u32::MAX.into(), 2)),
        (transact(&[], &[write(0, 60, 5)]), 5, wrong(60, 5)),
        (transact(&[], &[changed]), 2, Refusal::WrongLength { offset: 0, length: 2, max: 3 }),
        (transact(&[], &[]), 1, Refusal::WrongLength { offset: 0, length: 1, max: 0 }),
        (
            Request::Watch { first: PageNo(0), count: 0, from: None },
            0,
            out_of(Bound::Pages, 0, PAGES_MAX),
        ),
        (Request::Grow { pages: PAGES_MAX + 1 }, 0, out_of(Bound::Pages, PAGES_MAX + 1, PAGES_MAX)),
        (
            Request::Arrive { barrier: 0, parties: 0 },
            0,
            out_of(Bound::Parties, 0, WAITING_MAX as u64),
        ),
        (Request::Unwatch { watch: 1 }, 0, Refusal::NoSuchNumber { number: 1 }),
        (
            Request::Update {
                page: PageNo(0),
                offset: 0,
                if_version: None,
                at_least: Version(u64::MAX),
            },
            1,
            out_of(Bound::Version, u64::MAX, VERSION_ASKED_MAX),
        ),
        (
            transact(&[(0, 2)], &[]),
            0,
            Refusal::VersionAhead { page: PageNo(0), version: Version(1) },
        ),
        (
            Request::Fetch { page: PageNo(0), access: Access::Write, has: Version(0) },
            0,
            Refusal::WrongStyle { style: Style::Transactional },
        ),
    ];
    for (request, length, refusal) in cases {
        let words = format!("{request:?}");
        assert_eq!(home.refused(ANN, request, &vec![1; length]), refusal, "{words}");
    }
    // A piece of a coherent page that nobody has is nobody's.
    let yielded = Request::Yielded { page: PageNo(0), kept: Access::Nothing, version: Version(0) };
    assert_eq!(home.ask(ANN, yielded, &full(1)).1, []);
    let Answer::Stat(about) = home.answer(BOB, Request::Stat, &[]).0 else { panic!() };
    assert_eq!((about.written, about.sequence, about.locks, about.waiting), (0, 0, 0, 0));
}

#[test]
fn a_lock_is_given_back_by_its_owner_with_its_token_and_by_nobody_else() {
    let mut home = Home::new();
    let token = home.locks(ANN, 0);
    let stale = Refusal::StaleToken { page: PageNo(0) };
    for (who, token) in
        [(BOB, token), (ANN, Token(token.0 - 1)), (ANN, Token(token.0 + 1)), (ANN, Token(0))]
    {
        assert_eq!(home.refused(who, unlock(0, token), &[]), stale);
        assert_eq!(home.refused(who, commit(0, token), b"x"), stale);
    }
    // Bytes that do not fit are refused, and the lock is still held.
    let refused = home.refused(ANN, commit(0, token), &[1; PAGE + 1]);
    assert!(matches!(refused, Refusal::WrongLength { .. }));
    home.check(ANN, commit(0, token), b"a", committed(2));
}

#[test]
fn a_region_is_made_within_its_bounds_or_refused() {
    let mut home = Home::new();
    let good = create(1, Durability::None);
    let size = PAGE_SIZE_MAX.into();
    let other = |name: &str| Create { name: super::name(name), ..good.clone() };
    let cases = [
        (good.clone(), Refusal::Exists),
        (Create { page_size: 32, ..other("a") }, out_of(Bound::PageSize, 32, size)),
        (Create { page_size: 100, ..other("a") }, out_of(Bound::PageSize, 100, size)),
        (Create { page_size: 1 << 21, ..other("a") }, out_of(Bound::PageSize, 1 << 21, size)),
        (Create { pages: 0, ..other("a") }, out_of(Bound::Pages, 0, PAGES_MAX)),
        (
            Create { pages: PAGES_MAX + 1, ..other("a") },
            out_of(Bound::Pages, PAGES_MAX + 1, PAGES_MAX),
        ),
    ];
    for (create, refusal) in cases {
        let sent = sent(home.create(create));
        let created = Box::new(Created { result: Err(refusal) });
        assert_eq!(sent, [(CONTROL, 0, Sent::Other(Message::RegionCreated(created)))]);
    }
    for number in 1..REGIONS_MAX as u64 {
        let create = other(&format!("r{number}"));
        let id = RegionId(1000 + number);
        home.event(Event::Create { link: CONTROL, channel: 0, owner: owner("ann"), create, id });
    }
    let sent = sent(home.create(other("more")));
    let [(.., Sent::Other(Message::RegionCreated(created)))] = &sent[..] else { panic!() };
    let max = REGIONS_MAX as u64;
    assert_eq!(created.result, Err(out_of(Bound::Regions, max + 1, max)));
    // The list fits into a frame all the same.
    let listed = super::sent(home.event(Event::RegionsAsk {
        link: CONTROL,
        channel: 0,
        owner: owner("bob"),
    }));
    let [(.., Sent::Other(Message::Regions(regions)))] = &listed[..] else { panic!() };
    assert_eq!(regions.regions.len() + regions.more as usize, REGIONS_MAX);
    let mut bytes = bytes::BytesMut::new();
    Message::Regions(regions.clone()).encode(0, &mut bytes);
    assert!((bytes.len() as u64) < CONTROL_BODY_MAX);
}

#[test]
fn pages_that_nobody_wrote_cost_nothing_and_memory_has_its_bound_over_all_regions() {
    let options = Options { held_max: 200_000, ..Options::default() };
    let mut home =
        Home::with(options, Create { page_size: 1 << 16, ..create(1 << 32, Durability::None) });
    home.check(ANN, update(0, 0), b"a", committed(2));
    home.check(ANN, update(1, 0), b"a", committed(2));
    let held = home.regions.figures().bytes;
    let full = out_of(Bound::Memory, held + (1 << 16), 200_000);
    assert_eq!(home.refused(ANN, update(2, 0), b"a"), full);
    let two = transact(&[], &[write(0, 0, 1), write(2, 0, 1)]);
    let with_versions = out_of(Bound::Memory, held + (1 << 16) + 2 * 8, 200_000);
    assert_eq!(home.refused(BOB, two, b"ab"), with_versions);
    // What is there goes on: reading, writing, locking.
    home.check(ANN, update(1, 0), b"b", committed(3));
    let token = home.locks(BOB, 2);
    assert_eq!(home.refused(BOB, commit(2, token), b"c"), full);
    home.check(BOB, unlock(2, token), &[], Answer::Released);
    assert_eq!(home.reads(CAT, 0).0, 2);
    // A region that is dropped gives back what it had.
    let drop = Drop { name: name("genes") };
    let effects = home.event(Event::Drop { link: CONTROL, channel: 0, owner: owner("ann"), drop });
    let closed = effects.iter().filter(|effect| matches!(effect, Effect::Close { .. })).count();
    assert_eq!((closed, home.regions.figures().bytes), (3, 0));
}

#[test]
fn what_waits_counts_as_memory_until_it_is_done() {
    let options = Options { held_max: 40_000, ..Options::default() };
    let mut home = Home::with(options, create(8, Durability::None));
    let token = home.locks(ANN, 0);
    let mut waiting = 0;
    loop {
        let (_, sent) = home.ask(BOB, update(0, 0), &full(1));
        if !sent.is_empty() {
            assert!(matches!(
                sent[0].2,
                Sent::Answer(Answer::Refused(Refusal::OutOfBounds { .. }), _)
            ));
            break;
        }
        waiting += 1;
    }
    assert_eq!(waiting, 40_000 / PAGE);
    // There is room again when they are carried out, though none of them is kept apart.
    let (_, sent) = home.ask(ANN, unlock(0, token), &[]);
    assert!(sent.len() > waiting / 2, "{}", sent.len());
    let Answer::Stat(about) = home.answer(CAT, Request::Stat, &[]).0 else { panic!() };
    assert_eq!(about.waiting, 0);
}

#[test]
fn the_lists_of_a_transaction_that_waits_or_is_remembered_count_as_memory() {
    let options = Options { held_max: 4 << 20, ..Options::default() };
    let mut home = Home::with(options, create(8, Durability::None));
    home.check(BOB, update(0, 0), b"a", committed(2));
    let token = home.locks(ANN, 0);
    let before = home.regions.figures().bytes;
    let reads: Vec<(u64, u64)> = (0..TRANSACTION_PAGES_MAX as u64).map(|_| (1, 1)).collect();
    let writes: Vec<Write> = reads.iter().map(|_| write(0, 0, 0)).collect();
    home.waits(BOB, transact(&reads, &writes), &[]);
    assert_eq!(home.regions.figures().bytes - before, 2 * 16 * TRANSACTION_PAGES_MAX as u64);
    let (_, sent) = home.ask(ANN, unlock(0, token), &[]);
    assert_eq!(sent[1].2, answered(Answer::Transacted { versions: vec![Version(3)] }));
    assert_eq!(home.regions.figures().bytes - before, size_of::<Version>() as u64);
    // Its client has the answer; or the session is over.
    let ask = Ask { answered: 3, request: Request::Renew };
    home.event(Event::Request { link: BOB, channel: 3, ask, bytes: Bytes::new() });
    assert_eq!(home.regions.figures().bytes, before);
}

#[test]
fn of_requests_under_way_watches_locks_and_barriers_there_are_only_so_many() {
    let mut home = Home::with(Options::default(), create(1 << 21, Durability::None));
    home.locks(ANN, 0);
    for _ in 0..REQUESTS_MAX {
        home.waits(BOB, lock(0), &[]);
    }
    let max = REQUESTS_MAX as u64;
    assert_eq!(home.refused(BOB, lock(0), &[]), out_of(Bound::Requests, max + 1, max));
    assert!(matches!(home.refused(BOB, read(0, 0), &[]), Refusal::OutOfBounds { .. }));

    for _ in 0..WATCHES_OF_SESSION_MAX {
        home.answer(CAT, Request::Watch { first: PageNo(0), count: u64::MAX, from: None }, &[]);
    }
    let refused = home.refused(CAT, Request::Watch { first: PageNo(0), count: 1, from: None }, &[]);
    let max = WATCHES_OF_SESSION_MAX as u64;
    assert_eq!(refused, out_of(Bound::Watches, max + 1, max));

    for page in 1..LOCKS_MAX as u64 {
        home.locks(ANN, page);
    }
    let max = LOCKS_MAX as u64;
    assert_eq!(home.refused(ANN, lock(max), &[]), out_of(Bound::Locks, max + 1, max));
    // All of them are gone when their session is over, at once.
    home.ask(ANN, Request::Detach, &[]);
    let Answer::Stat(about) = home.answer(CAT, Request::Stat, &[]).0 else { panic!() };
    assert_eq!((about.locks, about.waiting), (1, REQUESTS_MAX as u32 - 1));
}

#[test]
fn many_that_conflict_at_once_do_not_bring_more_pages_than_may_be_unsent() {
    let large = Create { page_size: 1 << 20, ..create(8, Durability::None) };
    let mut home = Home::with(Options::default(), large);
    let token = home.locks(ANN, 0);
    for _ in 0..100 {
        home.waits(BOB, update_if(0, 1), b"x");
    }
    let (_, sent) = home.ask(ANN, commit(0, token), b"a");
    let bytes = |(_, _, sent): &(LinkId, u64, Sent)| match sent {
        Sent::Answer(Answer::Conflict { pages }, bytes) if pages.len() == 1 => bytes.len() as u64,
        _ => 0,
    };
    assert_eq!((sent.len(), sent.iter().map(bytes).sum()), (101, TRANSACTION_BYTES_MAX));
}

#[test]
fn transactions_have_their_bounds() {
    let options = Options { keeps: vec![Durability::Replicated], ..Options::default() };
    let mut home = Home::with(options, create(1 << 20, Durability::Replicated));
    home.event(Event::Renewed { until: Time::NEVER });
    home.attach(ANN, 0);
    let writes = |count: u64| (0..count).map(|page| write(page, 0, 0)).collect::<Vec<_>>();
    let pages = TRANSACTION_PAGES_MAX as u64;
    let reads: Vec<(u64, u64)> = (0..=pages).map(|page| (page, 1)).collect();
    assert_eq!(
        home.refused(ANN, transact(&reads, &[]), &[]),
        out_of(Bound::TransactionPages, pages + 1, pages)
    );
    let fewer = REPLICATED_PAGES_MAX as u64;
    assert_eq!(
        home.refused(ANN, transact(&[], &writes(fewer + 1)), &[]),
        out_of(Bound::TransactionPages, fewer + 1, fewer)
    );
    // Many writes of one page are one page.
    let many: Vec<Write> = (0..1000).map(|at| write(0, at % 64, 1)).collect();
    home.waits(ANN, transact(&[], &many), &[1; 1000]);
    let wide = Create { page_size: 1 << 20, ..create(1 << 20, Durability::None) };
    let mut home = Home::with(Options::default(), wide);
    assert_eq!(
        home.refused(ANN, transact(&[], &writes(65)), &[]),
        out_of(Bound::TransactionBytes, 65 << 20, TRANSACTION_COPIED_MAX)
    );
    let more = vec![0; TRANSACTION_BYTES_MAX as usize + 1];
    assert!(matches!(home.refused(ANN, transact(&[], &[]), &more), Refusal::OutOfBounds { .. }));
}

#[test]
fn a_coherent_region_has_no_requests_for_bytes_and_no_durability() {
    let coherent =
        Create { style: Style::Coherent, page_size: 4096, ..create(8, Durability::None) };
    let mut home = Home::with(Options::default(), coherent.clone());
    let wrong = Refusal::WrongStyle { style: Style::Coherent };
    for request in [read(0, 0), update(0, 0), transact(&[], &[])] {
        assert_eq!(home.refused(ANN, request, &[]), wrong);
    }
    let watch = Request::Watch { first: PageNo(0), count: 1, from: None };
    assert_eq!(home.refused(ANN, watch, &[]), wrong);
    // Locks are numbers.
    let token = home.locks(ANN, 0);
    home.waits(BOB, lock(0), &[]);
    assert_eq!(home.refused(ANN, commit(0, token), b"a"), wrong);
    let (number, sent) = home.ask(ANN, unlock(0, token), &[]);
    assert_eq!(sent[0], (ANN, number, answered(Answer::Released)));
    assert!(matches!(&sent[1].2, Sent::Answer(Answer::Locked { .. }, bytes) if bytes.is_empty()));
    home.check(ANN, Request::Arrive { barrier: 0, parties: 1 }, &[], Answer::Arrived { round: 1 });

    let options = Options { keeps: vec![Durability::Sync], ..Options::default() };
    let mut home = Home { regions: Regions::new(options), ..home };
    let sent = super::sent(home.create(Create { durability: Durability::Sync, ..coherent }));
    let created = Box::new(Created { result: Err(wrong) });
    assert_eq!(sent, [(CONTROL, 0, Sent::Other(Message::RegionCreated(created)))]);
}
