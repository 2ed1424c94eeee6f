//! What clients of a region that mean ill, or make mistakes, can do to its home and to each other:
//! each attempt is refused by name, nothing else is changed by it, and the others go on.
//!
//! Floods are as large as a test run allows; with FARCALL_SOAK=1 they are as large as the bounds.

#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, reason = "these are tests")]

mod support;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use support::process::{descriptors, memory};
use support::session::{Session, create, make, make_on};
use support::target::{Target, check_breach, check_forbidden};
use support::until;
use transport::Role;
use wire::Message;
use wire::frame::Kind;
use wire::hello::Purpose;
use wire::limits::{
    LOCKS_MAX, MEMORY_BODY_MAX, PAGES_MAX, REGIONS_MAX, REQUESTS_MAX, SESSIONS_MAX,
    TRANSACTION_BYTES_MAX, TRANSACTION_PAGES_MAX, VERSION_ASKED_MAX, WATCHES_OF_SESSION_MAX,
};
use wire::region::{
    Answer, Attach, Bound, Commit, PageNo, Refusal, Request, SessionId, Token, Version, Write,
};
use wire::units::Span;

const PAGE: u32 = 4096;

fn is_long() -> bool {
    std::env::var_os("FARCALL_SOAK").is_some()
}

fn target() -> Target {
    let target = Target::start();
    make(&target, create("genes", PAGE, 1 << 24)).unwrap();
    target
}

fn lock(page: u64, wait: Option<Span>) -> Request {
    Request::Lock { page: PageNo(page), known: Version(1), wait }
}

fn unlock(page: u64, token: Token) -> Request {
    Request::Unlock { page: PageNo(page), token, commit: Commit::Bytes { offset: 0 } }
}

fn update(page: u64, offset: u32) -> Request {
    Request::Update { page: PageNo(page), offset, if_version: None, at_least: Version(0) }
}

fn write(page: u64, offset: u32, length: u32) -> Write {
    Write { page: PageNo(page), offset, length }
}

#[track_caller]
fn locked(session: &mut Session, page: u64) -> Token {
    match session.ask(lock(page, None), &[]).0 {
        Answer::Locked { token, .. } => token,
        answer => panic!("{answer:?}"),
    }
}

/// Asks many things, some hundred at a time; how often each answer came.
fn flood(
    session: &mut Session,
    requests: impl IntoIterator<Item = Request>,
) -> BTreeMap<String, u64> {
    let mut count: BTreeMap<String, u64> = BTreeMap::new();
    let mut open = 0;
    let mut take = |session: &mut Session, open: &mut u64| {
        let (_, answer, _) = session.next_answer();
        *open -= 1;
        let words = match answer {
            Answer::Refused(Refusal::OutOfBounds { what, .. }) => format!("{what:?}"),
            Answer::Refused(refusal) => format!("{refusal:?}"),
            answer => {
                let words = format!("{answer:?}");
                words.split([' ', '(']).next().unwrap_or_default().to_owned()
            }
        };
        *count.entry(words).or_default() += 1;
    };
    for request in requests {
        session.send(request, &[]);
        open += 1;
        while open >= REQUESTS_MAX as u64 / 2 {
            take(session, &mut open);
            session.answered = session.number - open;
        }
    }
    while open > 0 {
        take(session, &mut open);
    }
    session.answered = session.number;
    count
}

/// A stranger to the attack commits and reads, at once.
#[track_caller]
fn check_others(target: &Target) {
    let mut honest = Session::open(target, "honest", "genes", 0x600d);
    let begun = Instant::now();
    let page = (1 << 24) - 1;
    let Answer::Committed { version } = honest.ask(update(page, 0), b"honest").0 else { panic!() };
    let (read, bytes) = honest.page(page);
    assert_eq!((read, &bytes[..6]), (version.0, &b"honest"[..]));
    assert_eq!(honest.ask(Request::Detach, &[]).0, Answer::Done);
    assert!(begun.elapsed() < Duration::from_secs(10), "others wait for {:?}", begun.elapsed());
}

#[test]
fn a_token_that_is_old_forged_or_somebody_elses_writes_nothing_and_frees_nothing() {
    let target = target();
    let mut ann = Session::open(&target, "ann", "genes", 1);
    let mut bob = Session::open(&target, "bob", "genes", 2);
    let stale = Refusal::StaleToken { page: PageNo(7) };
    let old = locked(&mut ann, 7);
    assert_eq!(ann.ask(unlock(7, old), b"first").0, Answer::Committed { version: Version(2) });
    // After the release, and after the next grant.
    assert_eq!(ann.refused(unlock(7, old), b"late"), stale);
    let held = locked(&mut bob, 7);
    assert!(held > old);
    for token in [old, held, Token(held.0 + 1), Token(0), Token(u64::MAX)] {
        assert_eq!(ann.refused(unlock(7, token), b"stolen"), stale, "{token:?}");
        let nothing = Commit::Nothing;
        let release = Request::Unlock { page: PageNo(7), token, commit: nothing };
        assert_eq!(ann.refused(release, &[]), stale, "{token:?}");
    }
    // The token of one page is none for another.
    let other = locked(&mut bob, 8);
    assert_eq!(bob.refused(unlock(7, other), b"wrong page"), stale);
    assert_eq!(ann.ask(lock(7, Some(Span(0))), &[]).0, Answer::Busy, "it is held still");
    assert_eq!(bob.ask(unlock(7, held), b"second").0, Answer::Committed { version: Version(3) });
    assert_eq!(&ann.page(7).1[..6], b"second");
    check_others(&target);
    target.check_unharmed();
}

#[test]
fn versions_neither_go_back_nor_come_from_the_future() {
    let target = target();
    let mut ann = Session::open(&target, "ann", "genes", 1);
    let at_least = |version| Request::Update {
        page: PageNo(3),
        offset: 0,
        if_version: None,
        at_least: Version(version),
    };
    assert_eq!(ann.ask(at_least(100), b"a").0, Answer::Committed { version: Version(100) });
    // What is asked for is below what is there.
    for version in [0, 1, 99, 100] {
        let Answer::Committed { version: made } = ann.ask(at_least(version), b"b").0 else {
            panic!("{version}")
        };
        assert!(made.0 > 100, "{version} made {made:?}");
    }
    let (now, _) = ann.page(3);
    for version in [VERSION_ASKED_MAX + 1, 1 << 63, u64::MAX] {
        let refusal = ann.refused(at_least(version), b"c");
        let bound =
            Refusal::OutOfBounds { what: Bound::Version, value: version, max: VERSION_ASKED_MAX };
        assert_eq!(refusal, bound);
    }
    // Named as known, or as a condition, what was never there is not believed.
    for version in [now + 1, 1 << 40, u64::MAX] {
        let known = Request::Read { page: PageNo(3), known: Version(version) };
        let (answer, bytes) = ann.ask(known, &[]);
        assert!(
            matches!(answer, Answer::Page { version } if version.0 == now)
                || matches!(answer, Answer::Refused(Refusal::VersionAhead { .. })),
            "{answer:?}"
        );
        assert!(bytes.is_empty() || bytes[0] == b'b');
        let set = Request::Update {
            page: PageNo(3),
            offset: 0,
            if_version: Some(Version(version)),
            at_least: Version(0),
        };
        let changes = [
            (set, 1),
            (
                Request::Transact {
                    reads: vec![(PageNo(3), Version(version))],
                    writes: vec![write(3, 0, 1)],
                },
                1,
            ),
        ];
        for (request, length) in changes {
            let answer = ann.ask(request, &b"x"[..length]).0;
            let refused = matches!(
                answer,
                Answer::Conflict { .. } | Answer::Refused(Refusal::VersionAhead { .. })
            );
            assert!(refused, "{version}: {answer:?}");
        }
    }
    let (after, bytes) = ann.page(3);
    assert_eq!((after, bytes[0]), (now, b'b'));
    check_others(&target);
    target.check_unharmed();
}

#[test]
fn bytes_that_do_not_fit_change_no_page() {
    let target = target();
    let mut ann = Session::open(&target, "ann", "genes", 1);
    ann.ask(update(3, 0), b"before");
    let page = vec![b'x'; PAGE as usize + 1];
    let pieces: [(u32, &[u8]); 6] = [
        (0, &page),
        (1, &page[1..]),
        (PAGE, b"x"),
        (PAGE - 1, b"xx"),
        (u32::MAX, b"x"),
        (u32::MAX - 1, &page),
    ];
    for (offset, bytes) in pieces {
        let refusal = ann.refused(update(3, offset), bytes);
        assert!(matches!(refusal, Refusal::WrongLength { .. }), "{offset}: {refusal:?}");
    }
    let token = locked(&mut ann, 3);
    let commit = Commit::Bytes { offset: 4090 };
    let refusal = ann.refused(Request::Unlock { page: PageNo(3), token, commit }, b"too long");
    assert!(matches!(refusal, Refusal::WrongLength { .. }), "{refusal:?}");
    // A refused commit has not given the lock back.
    let commit = Commit::Nothing;
    assert_eq!(
        ann.ask(Request::Unlock { page: PageNo(3), token, commit }, &[]).0,
        Answer::Released
    );

    let transactions: [(&[Write], &[u8]); 6] = [
        (&[write(3, 0, 2), write(4, 4095, 2)], b"xxxx"),
        (&[write(3, 0, 2), write(4, 0, 2)], b"xxx"),
        (&[write(3, 0, 2), write(4, 0, 2)], b"xxxxx"),
        (&[write(3, 0, u32::MAX), write(4, 0, 4)], b"xxx"),
        (&[write(3, u32::MAX, 1)], b"x"),
        (&[write(3, 0, 1), write(1 << 24, 0, 1)], b"xx"),
    ];
    for (writes, bytes) in transactions {
        let refusal =
            ann.refused(Request::Transact { reads: vec![], writes: writes.to_vec() }, bytes);
        let known = matches!(refusal, Refusal::WrongLength { .. } | Refusal::NoSuchPage { .. });
        assert!(known, "{writes:?}: {refusal:?}");
    }
    for page in [1 << 24, PAGES_MAX, u64::MAX] {
        let refusal = ann.refused(update(page, 0), b"x");
        assert_eq!(refusal, Refusal::NoSuchPage { page: PageNo(page), pages: 1 << 24 });
    }
    let (version, bytes) = ann.page(3);
    assert_eq!((version, &bytes[..6]), (2, &b"before"[..]));
    assert_eq!(ann.page(4).0, 1);
    check_others(&target);
    target.check_unharmed();
}

/// They are allowed, in order: the later one is what is there, and the page has one new version.
#[test]
fn writes_of_one_transaction_that_overlap_are_done_one_after_the_other() {
    let target = target();
    let mut ann = Session::open(&target, "ann", "genes", 1);
    let writes = vec![write(3, 0, 6), write(4, 0, 1), write(3, 2, 2), write(3, 3, 4)];
    let transact = Request::Transact { reads: vec![], writes };
    let answer = ann.ask(transact, b"aaaaaa-bbcccc").0;
    assert_eq!(answer, Answer::Transacted { versions: vec![Version(2), Version(2)] });
    let (version, bytes) = ann.page(3);
    assert_eq!((version, &bytes[..8]), (2, &b"aabcccc\0"[..]));
    target.check_unharmed();
}

#[test]
fn a_ring_of_lockers_is_undone_by_their_waits_and_by_the_lease() {
    let target = target();
    let mut ring: Vec<Session> =
        (0..3).map(|n| Session::open(&target, "ring", "genes", 1 + n)).collect();
    let tokens: Vec<Token> = (0..3).map(|n| locked(&mut ring[n], n as u64)).collect();
    // Each waits for the next one's; the second does not wait for ever.
    let waits = [None, Some(Span::from_millis(100)), None];
    let numbers: Vec<u64> =
        (0..3).map(|n| ring[n].send(lock((n as u64 + 1) % 3, waits[n]), &[])).collect();
    for session in &mut ring {
        session.raw.turn();
    }
    assert_eq!(ring[1].answer_to(numbers[1]).0, Answer::Busy);
    assert!(matches!(ring[1].ask(unlock(1, tokens[1]), b"x").0, Answer::Committed { .. }));
    assert!(matches!(ring[0].answer_to(numbers[0]).0, Answer::Locked { .. }));
    // The third waits for the first, who says nothing any more: its lease ends.
    drop(ring.remove(0));
    let third = &mut ring[1];
    let begun = Instant::now();
    let answer = loop {
        // It is there, and says so: what it holds it keeps.
        third.send(Request::Renew, &[]);
        let (channel, answer, _) = third.next_answer();
        if channel == numbers[2] {
            break answer;
        }
        assert!(begun.elapsed() < Duration::from_secs(30), "the lease never ends");
    };
    assert!(matches!(answer, Answer::Locked { .. }), "{answer:?}");
    assert!(matches!(third.ask(unlock(2, tokens[2]), b"x").0, Answer::Committed { .. }));
    check_others(&target);
    target.check_unharmed();
}

#[test]
fn a_flood_of_locks_is_bounded_and_ends_with_its_session() {
    let target = target();
    let mut eve = Session::open(&target, "eve", "genes", 1);
    let before = memory(target.pid());
    // Twice as many as a region may have, where there is time.
    let count = if is_long() { 2 * LOCKS_MAX as u64 } else { 100_000 };
    let answers = flood(&mut eve, (0..count).map(|page| lock(page % (1 << 23), Some(Span(0)))));
    let granted = answers.get("Locked").copied().unwrap_or(0);
    let grown = memory(target.pid()) - before;
    let told: u64 = answers.values().sum();
    assert_eq!(told, count, "{answers:?}");
    assert!(granted <= LOCKS_MAX as u64 && granted >= count.min(LOCKS_MAX as u64), "{answers:?}");
    // A lock is some numbers; it holds no page.
    assert!(grown < 32 << 10 || grown * 1024 / granted < 512, "{grown} KiB for {granted} locks");
    check_others(&target);
    // All of them on one page, that somebody has: in line, as many as one session may have asked.
    let mut bob = Session::open(&target, "bob", "genes", 2);
    let more = REQUESTS_MAX as u64 + 100;
    for _ in 0..more {
        bob.send(lock(0, None), &[]);
    }
    for _ in 0..100 {
        let (_, answer, _) = bob.next_answer();
        let bound =
            matches!(answer, Answer::Refused(Refusal::OutOfBounds { what: Bound::Requests, .. }));
        assert!(bound, "{answer:?}");
    }
    check_others(&target);
    // Whoever is gone holds nothing.
    assert_eq!(eve.ask(Request::Detach, &[]).0, Answer::Done);
    let (_, answer, _) = bob.next_answer();
    assert!(matches!(answer, Answer::Locked { .. }), "{answer:?}");
    check_others(&target);
}

#[test]
fn a_flood_of_watches_is_bounded_and_costs_others_nothing() {
    let target = target();
    let sessions = if is_long() { 80 } else { 3 };
    let watch = || Request::Watch { first: PageNo(0), count: 1 << 24, from: None };
    let mut eves = Vec::new();
    let mut sum = BTreeMap::new();
    for n in 0..sessions {
        let mut eve = Session::open(&target, "eve", "genes", 1 + n);
        let more = WATCHES_OF_SESSION_MAX + 10;
        for (words, count) in flood(&mut eve, std::iter::repeat_with(watch).take(more)) {
            *sum.entry(words).or_insert(0) += count;
        }
        eves.push(eve);
    }
    let watching = sum["Watching"];
    assert!(watching <= wire::limits::WATCHES_MAX as u64, "{sum:?}");
    assert!(sum["Watches"] >= 10 * sessions, "{sum:?}");
    // Nobody reads what they are told, or says that it was seen.
    let mut bob = Session::open(&target, "bob", "genes", 0xb0b);
    let before = memory(target.pid());
    for page in 0..500 {
        let answer = bob.ask(update(page, 0), b"news").0;
        assert!(matches!(answer, Answer::Committed { .. }), "{answer:?}");
    }
    let grown = memory(target.pid()).saturating_sub(before);
    // For each watch the pages that it has not been told of, with versions.
    let allowed = (24 << 10) + watching * 500 * 64 / 1024;
    assert!(grown < allowed, "{grown} KiB, {allowed} are enough");
    check_others(&target);
    drop(eves);
    until("the watches end with their sessions", || {
        let Answer::Stat(about) = bob.ask(Request::Stat, &[]).0 else { panic!() };
        about.watches == 0 || about.sessions > 1 && is_long_kept(&about)
    });
    check_others(&target);
}

/// Sessions that are away are kept for minutes, with their watches.
fn is_long_kept(about: &wire::region::About) -> bool {
    about.watches <= about.sessions * WATCHES_OF_SESSION_MAX as u32
}

#[test]
fn a_session_belongs_to_its_owner_alone() {
    let target = target();
    let mut ann = Session::open(&target, "ann", "genes", 77);
    let token = locked(&mut ann, 5);
    let mut eve = Session::greet(&target, Role::Client, "eve");
    assert_eq!(eve.attach("genes", 77).unwrap_err(), Refusal::NotYours);
    // An admin may see much, but is not ann.
    let mut admin = Session::greet(&target, Role::Admin, "root");
    assert_eq!(admin.attach("genes", 77).unwrap_err(), Refusal::NotYours);
    // The owner is not disturbed by any of it, and can come back.
    assert_eq!(ann.ask(unlock(5, token), b"ann").0, Answer::Committed { version: Version(2) });
    let token = locked(&mut ann, 5);
    let mut again = Session::greet(&target, Role::Client, "ann");
    assert!(again.attach("genes", 77).unwrap().resumed);
    again.number = ann.number;
    assert!(ann.raw.last_words().len() < 3, "its old connection is closed");
    assert_eq!(again.ask(unlock(5, token), b"too").0, Answer::Committed { version: Version(3) });
    check_others(&target);
    target.check_unharmed();
}

#[test]
fn whoever_asks_before_attach_or_in_the_wrong_place_is_sent_away() {
    let target = target();
    // Before ATTACH.
    let mut eve = Session::greet(&target, Role::Client, "eve");
    eve.send(update(3, 0), b"early");
    check_breach("a request before ATTACH", &mut eve.raw);
    // A region that is not there is refused, and another may be asked for; then not again.
    let mut eve = Session::greet(&target, Role::Client, "eve");
    assert_eq!(eve.attach("none", 1).unwrap_err(), Refusal::NoSuchRegion);
    eve.attach("genes", 1).unwrap();
    assert_eq!(eve.page(3).0, 1, "what came early was not carried out");
    let attach = wire::region::Attach { region: "genes".parse().unwrap(), session: SessionId(2) };
    eve.raw.put_message(0, &Message::Attach(attach));
    check_breach("a second ATTACH", &mut eve.raw);
    // After DETACH.
    let mut eve = Session::open(&target, "eve", "genes", 3);
    assert_eq!(eve.ask(Request::Detach, &[]).0, Answer::Done);
    eve.send(update(3, 0), b"late");
    check_breach("a request after DETACH", &mut eve.raw);
    // On a control connection, and words of others on this one.
    let (mut control, _) = target.client("eve");
    let ask = wire::region::Ask { answered: 0, request: Request::Renew };
    control.put_message(1, &Message::Request(ask, bytes::Bytes::new()));
    check_breach("a request on a control connection", &mut control);
    for message in [Message::StatusAsk, Message::MembersAsk, Message::RegionsAsk, Message::Cancel] {
        let mut eve = Session::open(&target, "eve", "genes", 4);
        eve.raw.put_message(1, &message);
        check_breach("another conversation", &mut eve.raw);
    }
    // Nobody but clients.
    let mut node = target.peer(Role::Node, "other");
    node.put_greeting(Purpose::Memory);
    check_forbidden("a node's certificate", &mut node);
    let mut stranger = target.stranger();
    stranger.put_greeting(Purpose::Memory);
    check_forbidden("a stranger", &mut stranger);
    check_others(&target);
    target.check_unharmed();
}

#[test]
fn transactions_and_bodies_beyond_the_bounds_are_refused_before_they_are_kept() {
    let target = target();
    let mut ann = Session::open(&target, "ann", "genes", 1);
    let reads = |count: usize| (0..count as u64).map(|page| (PageNo(page), Version(1))).collect();
    let writes =
        |count: usize, length| (0..count as u64).map(|page| write(page, 0, length)).collect();
    let too_many = TRANSACTION_PAGES_MAX + 1;
    let bound = |what, value: u64, max: u64| Refusal::OutOfBounds { what, value, max };
    let pages = bound(Bound::TransactionPages, too_many as u64, TRANSACTION_PAGES_MAX as u64);
    let transact = Request::Transact { reads: reads(too_many), writes: vec![] };
    assert_eq!(ann.refused(transact, &[]), pages);
    let transact = Request::Transact { reads: vec![], writes: writes(too_many, 1) };
    assert_eq!(ann.refused(transact, &vec![1; too_many]), pages);
    let bytes = vec![1; TRANSACTION_BYTES_MAX as usize + 1];
    let count = bytes.len() / PAGE as usize;
    let mut all: Vec<Write> = writes(count, PAGE);
    all.push(write(count as u64, 0, 1));
    let refusal = ann.refused(Request::Transact { reads: vec![], writes: all }, &bytes);
    let max = TRANSACTION_BYTES_MAX;
    assert_eq!(refusal, bound(Bound::TransactionBytes, max + 1, max));
    assert_eq!(ann.page(0).0, 1);

    let before = memory(target.pid());
    for length in [MEMORY_BODY_MAX + 1, u64::from(u32::MAX), 1 << 63, u64::MAX] {
        let mut eve = Session::open(&target, "eve", "genes", 2);
        eve.raw.put_frame(Kind::REQUEST, 1, length, b"some");
        check_breach("a body beyond the bound", &mut eve.raw);
        // Before ATTACH it is less.
        let mut eve = Session::greet(&target, Role::Client, "eve");
        eve.raw.put_frame(Kind::REQUEST, 1, length, b"some");
        check_breach("a body before ATTACH", &mut eve.raw);
    }
    // Many who announce much and send little hold no memory by it.
    let waiting: Vec<Session> = (0..32)
        .map(|n| {
            let mut eve = Session::open(&target, "eve", "genes", 10 + n);
            eve.raw.put_frame(Kind::REQUEST, 1, MEMORY_BODY_MAX, b"some");
            eve.raw.turn();
            eve
        })
        .collect();
    let grown = memory(target.pid()).saturating_sub(before);
    assert!(grown < 32 << 10, "{grown} KiB for {} announcements", waiting.len());
    // Lists that claim to be longer than the frame.
    let mut eve = Session::open(&target, "eve", "genes", 3);
    let claims = [0, 4, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f];
    eve.raw.put_frame(Kind::REQUEST, 1, claims.len() as u64, &claims);
    check_breach("a list of 2^63 pages", &mut eve.raw);
    check_others(&target);
}

#[test]
fn answers_that_nobody_reads_hold_up_nobody_but_their_asker() {
    let target = target();
    let mut eve = Session::open(&target, "eve", "genes", 1);
    eve.ask(update(0, 0), b"large");
    let before = memory(target.pid());
    let count = if is_long() { 1_000_000 } else { 100_000 };
    let read = Request::Read { page: PageNo(0), known: Version(0) };
    // 400 MB of answers to 3 MB of requests.
    for n in 0..count {
        eve.send(read.clone(), &[]);
        if n % 1000 == 0 {
            let _ = eve.raw.connection.flush();
        }
    }
    let end = Instant::now() + Duration::from_secs(1);
    while Instant::now() < end {
        let _ = eve.raw.connection.flush();
        check_others(&target);
    }
    let grown = memory(target.pid()).saturating_sub(before);
    assert!(grown < 64 << 10, "{grown} KiB of unread answers");
    // Read after all, they are all there.
    for _ in 0..count / 10 {
        let (_, answer, bytes) = eve.next_answer();
        assert!(matches!(answer, Answer::Page { .. }), "{answer:?}");
        assert_eq!(bytes.len(), PAGE as usize);
    }
    check_others(&target);
}

#[test]
fn reads_right_behind_an_attach_bring_no_more_pages_than_others() {
    let target = target();
    make(&target, create("wide", 1 << 20, 8)).unwrap();
    make(&target, create("narrow", 64, 8)).unwrap();
    let before = memory(target.pid());
    let attach = |region: &str| {
        let attach = Attach { region: region.parse().unwrap(), session: SessionId(7) };
        Message::Attach(attach)
    };
    let read = Request::Read { page: PageNo(0), known: Version(0) };
    // Half a gigabyte of answers each, before whose questions nobody knew how large pages are; or
    // knew it of another region.
    for regions in [&["wide"][..], &["narrow", "wide"][..]] {
        let mut eve = Session::greet(&target, Role::Client, "eve");
        for (at, region) in regions.iter().enumerate() {
            if at > 0 {
                eve.send(Request::Detach, &[]);
            }
            eve.raw.put_message(0, &attach(region));
        }
        for _ in 0..512 {
            eve.send(read.clone(), &[]);
        }
        let end = Instant::now() + Duration::from_secs(1);
        while Instant::now() < end {
            let _ = eve.raw.connection.flush();
            check_others(&target);
        }
        let grown = memory(target.pid()).saturating_sub(before);
        assert!(grown < 128 << 10, "{grown} KiB of unread answers");
    }
    target.check_unharmed();
}

#[test]
fn sessions_and_regions_without_number_are_bounded() {
    let target = target();
    let before = memory(target.pid());
    let open = descriptors(target.pid());
    let count = if is_long() { SESSIONS_MAX as u64 + 100 } else { 200 };
    let mut refused = 0;
    for n in 0..count {
        let mut eve = Session::greet(&target, Role::Client, "eve");
        match eve.attach("genes", 1000 + n) {
            Ok(_) => {}
            Err(Refusal::OutOfBounds { what: Bound::Sessions, .. }) => refused += 1,
            Err(refusal) => panic!("{refusal:?}"),
        }
    }
    let is_full = count > SESSIONS_MAX as u64;
    assert_eq!(refused > 0, is_full, "{refused} of {count}");
    until("their connections are closed", || descriptors(target.pid()) <= open + 2);
    let grown = memory(target.pid()).saturating_sub(before);
    assert!(grown < 24 << 10 || grown * 1024 / count < 4096, "{grown} KiB for {count} sessions");

    let (mut raw, _) = target.client("eve");
    let wrong =
        [(0, 1), (3, 1), (32, 1), (96, 1), (1 << 21, 1), (1 << 31, 1), (64, 0), (64, u64::MAX)];
    for (page_size, pages) in wrong {
        let refusal = make_on(&mut raw, create("odd", page_size, pages)).unwrap_err();
        let known =
            matches!(refusal, Refusal::OutOfBounds { what: Bound::PageSize | Bound::Pages, .. });
        assert!(known, "{page_size} × {pages}: {refusal:?}");
    }
    for n in 0..REGIONS_MAX - 1 {
        make_on(&mut raw, create(&format!("r{n}"), 1 << 20, PAGES_MAX)).unwrap();
    }
    let refusal = make_on(&mut raw, create("beyond", 64, 1)).unwrap_err();
    let (value, max) = (REGIONS_MAX as u64 + 1, REGIONS_MAX as u64);
    assert_eq!(refusal, Refusal::OutOfBounds { what: Bound::Regions, value, max });
    let grown = memory(target.pid()).saturating_sub(before);
    assert!(is_full || grown < 32 << 10, "{grown} KiB for regions of which nothing is written");
    if !is_full {
        check_others(&target);
    }
}
