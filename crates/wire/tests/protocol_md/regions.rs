//! The vectors of regions, as they are built in Rust.

use bytes::Bytes;
use farcall_wire::Message::{self, Answer as A, Request as R};
use farcall_wire::name::Name;
use farcall_wire::region::{
    About, Access, Admission, Answer, Ask, Attach, Attached, Audience, Bound, Changed, Changes,
    Commit, Create, Created, Drop, Dropped, Durability, HotPage, PageNo, Recall, Refusal, RegionId,
    Regions, Request, SessionId, Style, Token, Version, Write,
};
use farcall_wire::units::Span;

fn about() -> About {
    About {
        id: RegionId(300),
        name: name("genes"),
        owner: name("me"),
        page_size: 4096,
        pages: 1024,
        durability: Durability::Sync,
        style: Style::Transactional,
        audience: Audience::Cluster,
        written: 6,
        sequence: 17,
        sessions: 2,
        watches: 1,
        locks: 1,
        waiting: 3,
        moves: 0,
    }
}

pub(crate) fn messages() -> Vec<(&'static str, u64, Message)> {
    let mut all = conversation();
    all.extend(requests().into_iter().map(|(name, request, bytes)| {
        (name, 5, R(Ask { answered: 4, request }, Bytes::from_static(bytes)))
    }));
    all.extend(
        answers()
            .into_iter()
            .map(|(name, answer, bytes)| (name, 5, A(answer, Bytes::from_static(bytes)))),
    );
    all.extend(
        refusals()
            .into_iter()
            .map(|(name, refusal)| (name, 5, A(Answer::Refused(refusal), Bytes::new()))),
    );
    all
}

fn conversation() -> Vec<(&'static str, u64, Message)> {
    let create = Create {
        name: name("genes"),
        page_size: 4096,
        pages: 1024,
        durability: Durability::Sync,
        style: Style::Transactional,
        audience: Audience::Cluster,
    };
    let private =
        Create { durability: Durability::None, audience: Audience::Owner, ..create.clone() };
    let admission =
        Admission { about: about(), resumed: true, epoch: 1, lease: Span::from_secs(3) };
    let created = |result| Message::RegionCreated(Box::new(Created { result }));
    let attached = |result| Message::Attached(Box::new(Attached { result }));
    let dropped = |result| Message::RegionDropped(Dropped { result });
    let attach = Attach { region: name("genes"), session: SessionId(u64::MAX) };
    let pages = Changes::Pages(vec![(PageNo(2), Version(7)), (PageNo(300), Version(3))]);
    vec![
        ("region-create", 9, Message::RegionCreate(create)),
        ("region-create-private", 9, Message::RegionCreate(private)),
        ("region-created", 9, created(Ok(about()))),
        ("region-created-not", 9, created(Err(Refusal::Exists))),
        ("regions-ask", 9, Message::RegionsAsk),
        ("regions", 9, Message::Regions(Regions { regions: vec![about()], more: 0 })),
        ("region-drop", 9, Message::RegionDrop(Drop { name: name("genes") })),
        ("region-dropped", 9, dropped(Ok(()))),
        ("region-dropped-not", 9, dropped(Err(Refusal::NotYours))),
        ("attach", 0, Message::Attach(attach)),
        ("attached", 0, attached(Ok(admission))),
        ("attached-not", 0, attached(Err(Refusal::NoSuchRegion))),
        ("changed", 5, Message::Changed(Changed { sequence: 17, what: pages })),
        ("changed-resync", 5, Message::Changed(Changed { sequence: 17, what: Changes::Resync })),
        (
            "recall",
            0,
            Message::Recall(Recall { page: PageNo(2), keep: Access::Read, version: Version(7) }),
        ),
    ]
}

fn requests() -> Vec<(&'static str, Request, &'static [u8])> {
    let (page, known, token) = (PageNo(2), Version(7), Token(300));
    let wait = Some(Span::from_secs(1));
    let writes = vec![
        Write { page: PageNo(2), offset: 0, length: 2 },
        Write { page: PageNo(3), offset: 16, length: 1 },
    ];
    let bytes = Commit::Bytes { offset: 0 };
    let none: &[u8] = b"";
    vec![
        ("request-read", Request::Read { page, known }, none),
        ("request-lock", Request::Lock { page, known, wait: None }, none),
        ("request-lock-for", Request::Lock { page, known, wait }, none),
        (
            "request-unlock-unawaited",
            Request::Unlock { page, token, commit: Commit::Unawaited },
            none,
        ),
        ("request-unlock", Request::Unlock { page, token, commit: Commit::Nothing }, none),
        ("request-commit", Request::Unlock { page, token, commit: bytes }, b"abc"),
        (
            "request-update",
            Request::Update { page, offset: 16, if_version: None, at_least: Version(0) },
            b"abc",
        ),
        (
            "request-update-if",
            Request::Update { page, offset: 0, if_version: Some(known), at_least: Version(9) },
            b"abc",
        ),
        ("request-transact", Request::Transact { reads: vec![(page, known)], writes }, b"abc"),
        ("request-watch", Request::Watch { first: page, count: 4, from: None }, none),
        ("request-watch-from", Request::Watch { first: page, count: 4, from: Some(17) }, none),
        ("request-unwatch", Request::Unwatch { watch: 3 }, none),
        ("request-seen", Request::Seen { watch: 3 }, none),
        ("request-grow", Request::Grow { pages: 2048 }, none),
        ("request-stat", Request::Stat, none),
        ("request-hot", Request::Hot { count: 10 }, none),
        ("request-arrive", Request::Arrive { barrier: 1, parties: 3 }, none),
        ("request-withdraw", Request::Withdraw { request: 3 }, none),
        ("request-renew", Request::Renew, none),
        ("request-fetch", Request::Fetch { page, access: Access::Write, has: known }, none),
        (
            "request-yielded",
            Request::Yielded { page, kept: Access::Read, version: Version(7) },
            b"abc",
        ),
        ("request-detach", Request::Detach, none),
    ]
}

fn answers() -> Vec<(&'static str, Answer, &'static [u8])> {
    let (page, version, token) = (PageNo(2), Version(8), Token(300));
    let hot = HotPage { page, traffic: 300, waiting: 1, holders: vec![(name("me"), SessionId(1))] };
    let none: &[u8] = b"";
    vec![
        ("answer-unchanged", Answer::Unchanged { version }, none),
        ("answer-page", Answer::Page { version }, b"abc"),
        ("answer-locked", Answer::Locked { token, version }, b"abc"),
        ("answer-busy", Answer::Busy, none),
        ("answer-committed", Answer::Committed { version }, none),
        ("answer-released", Answer::Released, none),
        ("answer-transacted", Answer::Transacted { versions: vec![version, Version(2)] }, none),
        ("answer-conflict", Answer::Conflict { pages: vec![(page, version)] }, b"abc"),
        ("answer-watching", Answer::Watching { sequence: 17 }, none),
        ("answer-grown", Answer::Grown { pages: 2048 }, none),
        ("answer-stat", Answer::Stat(Box::new(about())), none),
        ("answer-hot", Answer::Hot(vec![hot]), none),
        ("answer-arrived", Answer::Arrived { round: 1 }, none),
        ("answer-done", Answer::Done, none),
        (
            "answer-granted",
            Answer::Granted { access: Access::Write, version, hold: Span(50_000) },
            b"abc",
        ),
    ]
}

fn refusals() -> Vec<(&'static str, Refusal)> {
    let page = PageNo(2);
    let bound = Refusal::OutOfBounds { what: Bound::Memory, value: 300, max: 200 };
    vec![
        ("refused-no-such-page", Refusal::NoSuchPage { page, pages: 2 }),
        ("refused-wrong-length", Refusal::WrongLength { offset: 4095, length: 2, max: 4096 }),
        ("refused-stale-token", Refusal::StaleToken { page }),
        ("refused-version-ahead", Refusal::VersionAhead { page, version: Version(8) }),
        ("refused-wrong-style", Refusal::WrongStyle { style: Style::Coherent }),
        ("refused-out-of-bounds", bound),
        ("refused-no-such-number", Refusal::NoSuchNumber { number: 3 }),
        ("refused-other-parties", Refusal::OtherParties { parties: 3 }),
        ("refused-unkept", Refusal::Unkept { reason: "no".into() }),
        ("refused-no-vault", Refusal::NoVault { reason: "no".into() }),
    ]
}

fn name(text: &str) -> Name {
    text.parse().expect("a name")
}
