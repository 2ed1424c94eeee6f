//! Regions of a real node, over its real connections: what their conversation says, word for word.

#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, reason = "these are tests")]

mod support;

use bytes::Bytes;
use support::raw::Raw;
use support::target::{Target, check_breach, check_forbidden};
use support::until;
use transport::Role;
use wire::Message;
use wire::frame::Kind;
use wire::hello::Purpose;
use wire::limits::{CONTROL_BODY_MAX, MEMORY_BODY_MAX, TRANSACTION_BYTES_MAX};
use wire::name::Name;
use wire::region::{
    Admission, Answer, Ask, Attach, Audience, Changes, Commit, Create, Drop, Durability, PageNo,
    Refusal, Request, SessionId, Style, Token, Version, Write,
};

const PAGE: u32 = 4096;

fn name(text: &str) -> Name {
    text.parse().unwrap()
}

fn create(region: &str) -> Create {
    Create {
        name: name(region),
        page_size: PAGE,
        pages: 1024,
        durability: Durability::None,
        style: Style::Transactional,
        audience: Audience::Cluster,
    }
}

/// A session on a connection.
struct Session {
    raw: Raw,
    number: u64,
}

impl Session {
    fn open(
        target: &Target,
        role: Role,
        who: &str,
        region: &str,
        session: u64,
    ) -> (Self, Admission) {
        let mut this = Self { raw: target.peer(role, who), number: 0 };
        this.raw.greet(Purpose::Memory);
        let admission = this.attach(region, session).unwrap();
        (this, admission)
    }

    fn attach(&mut self, region: &str, session: u64) -> Result<Admission, Refusal> {
        let attach = Attach { region: name(region), session: SessionId(session) };
        self.raw.put_message(0, &Message::Attach(attach));
        self.raw.find(|message| match message {
            Message::Attached(attached) => Some(attached.result.clone()),
            _ => None,
        })
    }

    fn put(&mut self, number: u64, request: Request, bytes: &[u8]) {
        let ask = Ask { answered: 0, request };
        self.raw.put_message(number, &Message::Request(ask, Bytes::copy_from_slice(bytes)));
    }

    /// Sends a request; returns its number.
    fn send(&mut self, request: Request, bytes: &[u8]) -> u64 {
        self.number += 1;
        self.put(self.number, request, bytes);
        self.number
    }

    #[track_caller]
    fn answer_to(&mut self, number: u64) -> (Answer, Bytes) {
        loop {
            match self.raw.next().expect("the connection ended before") {
                (channel, Message::Answer(answer, bytes)) => {
                    assert_eq!(channel, number);
                    return (answer, bytes);
                }
                // Heartbeats.
                (_, Message::Ping | Message::Pong) => {}
                other => panic!("{other:?}"),
            }
        }
    }

    #[track_caller]
    fn ask(&mut self, request: Request, bytes: &[u8]) -> (Answer, Bytes) {
        let number = self.send(request, bytes);
        self.answer_to(number)
    }
}

fn make(target: &Target, create: Create) -> Result<(), Refusal> {
    let (mut raw, _) = target.client("ann");
    raw.put_message(5, &Message::RegionCreate(create));
    raw.find(|message| match message {
        Message::RegionCreated(created) => Some(created.result.clone().map(|_| ())),
        _ => None,
    })
}

fn read(page: u64, known: u64) -> Request {
    Request::Read { page: PageNo(page), known: Version(known) }
}

fn lock(page: u64) -> Request {
    Request::Lock { page: PageNo(page), known: Version(1), wait: None }
}

fn update(page: u64, offset: u32) -> Request {
    Request::Update { page: PageNo(page), offset, if_version: None, at_least: Version(0) }
}

#[test]
fn pages_are_shared_by_clients_and_told_to_who_watches() {
    let target = Target::start();
    make(&target, create("genes")).unwrap();
    assert_eq!(make(&target, create("genes")), Err(Refusal::Exists));
    let (mut ann, admission) = Session::open(&target, Role::Client, "ann", "genes", 1);
    assert!(!admission.resumed);
    let (mut bob, _) = Session::open(&target, Role::Client, "bob", "genes", 2);
    let watch = bob.send(Request::Watch { first: PageNo(0), count: 10, from: None }, &[]);
    assert_eq!(bob.answer_to(watch).0, Answer::Watching { sequence: 0 });

    assert_eq!(ann.ask(update(3, 7), b"hello").0, Answer::Committed { version: Version(2) });
    let changed = bob.raw.find(|message| match message {
        Message::Changed(changed) => Some(changed.clone()),
        _ => None,
    });
    assert_eq!(changed.what, Changes::Pages(vec![(PageNo(3), Version(2))]));
    let (answer, bytes) = bob.ask(read(3, 0), &[]);
    assert_eq!(answer, Answer::Page { version: Version(2) });
    assert_eq!((bytes.len(), &bytes[7..12]), (PAGE as usize, &b"hello"[..]));
    assert_eq!(bob.ask(read(3, 2), &[]).0, Answer::Unchanged { version: Version(2) });

    // A transaction as large as one may be, on a connection whose frames else are short.
    let writes = (0..1024).map(|page| Write { page: PageNo(page), offset: 0, length: PAGE });
    let transact =
        Request::Transact { reads: vec![(PageNo(3), Version(2))], writes: writes.collect() };
    let bytes = vec![7; TRANSACTION_BYTES_MAX as usize];
    let (answer, _) = ann.ask(transact.clone(), &bytes);
    let Answer::Transacted { versions } = answer else { panic!("{answer:?}") };
    assert_eq!((versions.len(), versions[2], versions[3]), (1024, Version(2), Version(3)));
    let (answer, _) = ann.ask(transact, &bytes);
    assert!(matches!(answer, Answer::Conflict { .. }), "{answer:?}");
    assert_eq!(bob.ask(read(1023, 1), &[]).1[..], bytes[..PAGE as usize]);
}

#[test]
fn who_comes_back_has_its_locks_and_learns_what_became_of_its_requests() {
    let target = Target::start();
    make(&target, create("genes")).unwrap();
    let (mut ann, _) = Session::open(&target, Role::Client, "ann", "genes", 1);
    let (mut bob, _) = Session::open(&target, Role::Client, "bob", "genes", 2);
    let (answer, _) = ann.ask(lock(0), &[]);
    let Answer::Locked { token, .. } = answer else { panic!("{answer:?}") };
    let updated = ann.send(update(1, 0), b"once");
    assert_eq!(ann.answer_to(updated).0, Answer::Committed { version: Version(2) });
    let waits = bob.send(lock(0), &[]);

    // The line breaks, before the answers were read for all that the client knows.
    drop(ann);
    let (mut ann, admission) = Session::open(&target, Role::Client, "ann", "genes", 1);
    assert!(admission.resumed);
    ann.put(1, lock(0), &[]);
    assert_eq!(ann.answer_to(1).0, Answer::Locked { token, version: Version(1) });
    ann.put(updated, update(1, 0), b"once");
    assert_eq!(ann.answer_to(updated).0, Answer::Committed { version: Version(2) });
    assert_eq!(bob.ask_only_read(1), Version(2));

    // Its place cannot be taken by somebody else, who does not even learn of it.
    let mut eve = Session { raw: target.peer(Role::Client, "eve"), number: 0 };
    eve.raw.greet(Purpose::Memory);
    assert_eq!(eve.attach("genes", 1), Err(Refusal::NotYours));

    ann.number = updated;
    let unlock = Request::Unlock { page: PageNo(0), token, commit: Commit::Bytes { offset: 0 } };
    assert_eq!(ann.ask(unlock.clone(), b"ann").0, Answer::Committed { version: Version(2) });
    let (answer, bytes) = bob.answer_to(waits);
    let Answer::Locked { token: next, version } = answer else { panic!("{answer:?}") };
    assert!(next > token);
    assert_eq!((version, &bytes[..3]), (Version(2), &b"ann"[..]));
    let stale = Answer::Refused(Refusal::StaleToken { page: PageNo(0) });
    assert_eq!(ann.ask(unlock, b"late").0, stale);
    drop(bob);
    // Who is gone for good loses the lock when its lease is over, and not before.
    let waits = ann.send(lock(0), &[]);
    let mut tries = 0;
    until("the lease ends", || {
        tries += 1;
        ann.send(Request::Renew, &[]);
        let (channel, message) = ann.raw.next().unwrap();
        assert!(matches!(message, Message::Answer(..) | Message::Ping), "{message:?}");
        channel == waits
    });
    assert!(tries > 1, "the lease was over at once");
}

impl Session {
    /// While another answer is awaited.
    fn ask_only_read(&mut self, page: u64) -> Version {
        let (answer, _) = self.ask(read(page, 0), &[]);
        let Answer::Page { version } = answer else { panic!("{answer:?}") };
        version
    }
}

#[test]
fn what_is_no_request_is_refused_and_harms_nobody() {
    let target = Target::start();
    make(&target, create("genes")).unwrap();
    let kept = Create { durability: Durability::Replicated, ..create("kept") };
    assert!(matches!(make(&target, kept), Err(Refusal::NoVault { .. })));
    for bad in [Create { page_size: 100, ..create("bad") }, Create { pages: 0, ..create("bad") }] {
        assert!(matches!(make(&target, bad), Err(Refusal::OutOfBounds { .. })));
    }
    // Whoever has no certificate for it.
    let mut stranger = target.stranger();
    stranger.put_greeting(Purpose::Memory);
    check_forbidden("a stranger", &mut stranger);
    let mut node = target.peer(Role::Node, "other");
    node.put_greeting(Purpose::Memory);
    check_forbidden("a node", &mut node);
    // Long frames before there is a region, and longer ones than any request.
    for (region, length) in [(None, CONTROL_BODY_MAX + 1), (Some("genes"), MEMORY_BODY_MAX + 1)] {
        let mut session = Session { raw: target.peer(Role::Client, "eve"), number: 0 };
        session.raw.greet(Purpose::Memory);
        if let Some(region) = region {
            session.attach(region, 66).unwrap();
        }
        session.raw.put_frame(Kind::REQUEST, 1, length, b"some");
        check_breach("a bomb", &mut session.raw);
    }
    // What other connections say.
    let mut session = Session { raw: target.peer(Role::Client, "eve"), number: 0 };
    session.raw.greet(Purpose::Memory);
    session.raw.put_message(1, &Message::StatusAsk);
    check_breach("no request", &mut session.raw);

    let mut eve = Session { raw: target.peer(Role::Client, "eve"), number: 0 };
    eve.raw.greet(Purpose::Memory);
    assert_eq!(eve.attach("nothing", 9), Err(Refusal::NoSuchRegion));
    eve.attach("genes", 9).unwrap();
    let far = PageNo(1024);
    let bad = [
        (read(1024, 0), 0, Refusal::NoSuchPage { page: far, pages: 1024 }),
        (lock(1024), 0, Refusal::NoSuchPage { page: far, pages: 1024 }),
        (update(0, 4000), 97, Refusal::WrongLength { offset: 4000, length: 97, max: 4096 }),
        (
            update(0, u32::MAX),
            1,
            Refusal::WrongLength { offset: u32::MAX.into(), length: 1, max: 4096 },
        ),
        (
            Request::Unlock { page: PageNo(0), token: Token(u64::MAX), commit: Commit::Nothing },
            0,
            Refusal::StaleToken { page: PageNo(0) },
        ),
        (Request::Unwatch { watch: 77 }, 0, Refusal::NoSuchNumber { number: 77 }),
    ];
    for (request, length, refusal) in bad {
        assert_eq!(eve.ask(request, &vec![1; length]).0, Answer::Refused(refusal));
    }
    // A region that is another's cannot be dropped; its owner's can, and its connections end.
    let (mut other, _) = target.client("eve");
    other.put_message(1, &Message::RegionDrop(Drop { name: name("genes") }));
    let dropped = |message: &Message| match message {
        Message::RegionDropped(dropped) => Some(dropped.result.clone()),
        _ => None,
    };
    assert_eq!(other.find(dropped), Err(Refusal::NotYours));
    let (mut owner, _) = target.client("ann");
    owner.put_message(1, &Message::RegionDrop(Drop { name: name("genes") }));
    assert_eq!(owner.find(dropped), Ok(()));
    eve.raw.last_words();
    target.check_unharmed();
}

#[test]
fn answers_that_nobody_reads_are_not_piled_up() {
    let target = Target::start();
    let large = Create { page_size: 1 << 20, pages: 1, ..create("large") };
    make(&target, large).unwrap();
    let (mut eve, _) = Session::open(&target, Role::Client, "eve", "large", 1);
    assert_eq!(eve.ask(update(0, 0), b"x").0, Answer::Committed { version: Version(2) });
    for _ in 0..20_000 {
        eve.send(read(0, 0), &[]);
    }
    // It says all that, and reads nothing of 20 GB.
    for _ in 0..20 {
        eve.raw.connection.flush().unwrap();
        target.check_serves();
    }
    target.check_unharmed();
}
