//! `docs/protocol.md` says what this crate does: every vector, every kind, every limit.

#[path = "protocol_md/regions.rs"]
mod regions;
#[path = "protocol_md/visits.rs"]
mod visits;
#[path = "../../../fuzz/src/seeds.rs"]
pub mod seeds;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use bytes::{Bytes, BytesMut};
use farcall_wire::blob::{Fetch, Fetched, Have, Known, Lend, Lent, Permit, Put, Stored};
use farcall_wire::frame::{self, Frame, HEADER, Kind};
use farcall_wire::hello::{Goodbye, Hello, Purpose, VERSION, Welcome};
use farcall_wire::job;
use farcall_wire::join::{Join, Joined};
use farcall_wire::member::{Member, Members, State};
use farcall_wire::name::{Hash, JobId, Name, TaskName};
use farcall_wire::status::{Report, User, Worker};
use farcall_wire::task::{
    Credit, Define, Done, DoneHead, Input, Output, PAYLOAD_HEAD, PayloadHead, Program, Returned,
    Run, RunHead, Status, TakeBack, Times, Window,
};
use farcall_wire::units::Span;
use farcall_wire::visit::Entry;
use farcall_wire::worker::{Buffer, HOLD_BACK, Jail, Need, Ready, Setup, progress};
use farcall_wire::{Message, decode, limits, netmem, worker_v1};

const PAPER: &str = include_str!("../../../docs/protocol.md");

#[test]
fn vectors_are_what_the_code_reads_and_writes() {
    let vectors = seeds::vectors(PAPER).expect("every vector is one");
    let written: BTreeMap<&str, &[u8]> =
        vectors.iter().map(|vector| (vector.name.as_str(), &vector.bytes[..])).collect();
    assert_eq!(written.len(), vectors.len(), "two vectors have one name");
    let mut missing = String::new();
    for (name, channel, message) in messages() {
        let mut bytes = BytesMut::new();
        message.encode(channel, &mut bytes);
        if written.get(name) != Some(&&bytes[..]) {
            missing += &block(name, &bytes);
        }
    }
    assert!(missing.is_empty(), "docs/protocol.md should say:\n{missing}");

    let built: BTreeMap<_, _> =
        messages().into_iter().map(|(name, channel, message)| (name, (channel, message))).collect();
    for vector in &vectors {
        let frame = whole(&vector.bytes);
        assert_eq!(says(frame.clone()), vector.says, "vector {}", vector.name);
        match built.get(vector.name.as_str()) {
            Some(message) => assert_eq!(decode(frame).as_ref(), Ok(message), "{}", vector.name),
            // Pieces of payloads are no messages: bulk connections move them unseen.
            None => assert_eq!(frame.kind, Kind::PAYLOAD, "{} is not built here", vector.name),
        }
    }
}

#[test]
fn vectors_of_version_1_are_what_the_code_reads_and_writes() {
    let vectors = seeds::vectors_v1(PAPER).expect("every vector is one");
    let names: Vec<&str> = vectors.iter().map(|vector| vector.name.as_str()).collect();
    let built = messages_v1();
    let known: Vec<&str> = built.iter().map(|(name, ..)| *name).collect();
    assert_eq!(names, known, "the vectors of docs/protocol.md and those that are built here");
    for (vector, (name, bytes, says)) in vectors.iter().zip(&built) {
        assert_eq!(vector.bytes, bytes[..], "vector {name}");
        assert_eq!(vector.says, *says, "vector {name}");
    }
}

#[test]
fn vectors_of_netmem_are_what_the_code_reads_and_writes() {
    let vectors = seeds::vectors_netmem(PAPER).expect("every vector is one");
    let names: Vec<&str> = vectors.iter().map(|vector| vector.name.as_str()).collect();
    let built = messages_netmem();
    let known: Vec<&str> = built.iter().map(|(name, ..)| *name).collect();
    assert_eq!(names, known, "the vectors of docs/protocol.md and those that are built here");
    for (vector, (name, bytes, says)) in vectors.iter().zip(&built) {
        assert_eq!(vector.bytes, bytes[..], "vector {name}");
        assert_eq!(vector.says, *says, "vector {name}");
    }
}

/// The vectors of NetMem, as they are built in Rust, and what is read there of pages of 8 bytes.
fn messages_netmem() -> Vec<(&'static str, BytesMut, String)> {
    use netmem::{Answer as A, Command as C, Type};
    let asked = |name, command: C| {
        let mut bytes = BytesMut::new();
        command.put(&mut bytes);
        let says = C::take(&mut bytes.clone(), 8).expect("a right length").expect("all of it");
        assert_eq!(says, command);
        (name, bytes, format!("{says:?}"))
    };
    let answered = |name, of: u8, answer: A| {
        let mut bytes = BytesMut::new();
        answer.put(&mut bytes);
        let header = netmem::Header::peek(&bytes).expect("a header");
        let data = A::data(&header, of, 8).expect("an answer to this");
        let rest = bytes.clone().split_off(netmem::HEADER).freeze();
        assert_eq!(rest.len() as u32, data);
        let says = A::of(header, rest);
        assert_eq!(says, answer);
        (name, bytes, format!("{says:?}"))
    };
    let page = |kind, bytes| A::Page { kind, page: 2, version: 1, bytes };
    let data = Bytes::from_static;
    let stray = netmem::Header { kind: 77, offset: 1, length: 2, version: 3 };
    // Its length is of no data.
    let unknown = {
        let mut bytes = BytesMut::new();
        stray.put(&mut bytes);
        let says = C::take(&mut bytes.clone(), 8).expect("no data").expect("all of it");
        ("netmem-unknown", bytes, format!("{says:?}"))
    };
    vec![
        asked("netmem-version", C::Version),
        answered("netmem-versions", Type::VERSION, A::Version(netmem::VERSIONS)),
        asked("netmem-params", C::Params),
        answered("netmem-params-six", Type::PARAMS, A::Params { pages: 6, length: 40 }),
        asked("netmem-read", C::Read { page: 2, version: 0 }),
        answered("netmem-changed", Type::READ, page(Type::READ, data(b"abcdefgh"))),
        answered("netmem-unchanged", Type::READ, page(Type::READ, Bytes::new())),
        asked("netmem-lock", C::Lock { page: 2, version: 1 }),
        answered("netmem-locked", Type::LOCK, page(Type::LOCK, Bytes::new())),
        asked("netmem-unlock", C::Unlock { page: 2, bytes: data(b"ABCDEFGH") }),
        answered(
            "netmem-unlocked",
            Type::UNLOCK,
            A::Written { kind: Type::UNLOCK, page: 2, version: 2 },
        ),
        asked("netmem-update", C::Update { page: 1, version: -1, bytes: data(b"12345678") }),
        answered(
            "netmem-updated",
            Type::UPDATE,
            A::Written { kind: Type::UPDATE, page: 1, version: 2 },
        ),
        answered("netmem-no-such-page", Type::READ, A::NoSuchPage),
        answered("netmem-not-locked", Type::UNLOCK, A::NotLocked),
        unknown,
        answered("netmem-unknown-answer", 77, A::Unknown(netmem::Header { length: 0, ..stray })),
    ]
}

/// The vectors of the worker socket protocol v1, as they are built in Rust, and what is read there.
fn messages_v1() -> Vec<(&'static str, BytesMut, String)> {
    let build = |put: &dyn Fn(&mut BytesMut), rest: &[u8]| {
        let mut bytes = BytesMut::new();
        put(&mut bytes);
        bytes.extend_from_slice(rest);
        bytes
    };
    let request = |put: &dyn Fn(&mut BytesMut), rest: &[u8]| {
        let bytes = build(put, rest);
        let header = frame::Header::peek(&bytes).expect("a header");
        let says = worker_v1::open(&header, &bytes[HEADER..]).expect("sense").expect("a front");
        (bytes, format!("id {}, {says:?}", header.channel))
    };
    let answer = |put: &dyn Fn(&mut BytesMut), rest: &[u8], read: fn(&[u8]) -> String| {
        let bytes = build(put, rest);
        let header = frame::Header::peek(&bytes).expect("a header");
        let kind = worker_v1::answer(&header).expect("an answer");
        let says = format!("id {}, {kind:?}, {}", header.channel, read(&bytes[HEADER..]));
        (bytes, says)
    };
    let version = |payload: &[u8]| match worker_v1::accepted(payload).expect("yes or no") {
        true => "accepted".to_owned(),
        false => "refused".to_owned(),
    };
    let loaded = |payload: &[u8]| format!("{:?}", worker_v1::loaded(payload).expect("nothing"));
    let result = |payload: &[u8]| {
        let code = worker_v1::result(payload).expect("a result");
        let output = String::from_utf8_lossy(&payload[worker_v1::RESULT_FRONT..]).into_owned();
        format!("code {code}, output {output:?}")
    };
    let text = |payload: &[u8]| format!("{:?}", String::from_utf8_lossy(payload));
    let none = "no compute core loaded";
    use worker_v1 as v1;
    let named = |name, (bytes, says)| (name, bytes, says);
    vec![
        named("v1-version", request(&|o| v1::put_version(o, 1, 1), b"")),
        named("v1-accepted", answer(&|o| v1::put_version_answer(o, 1, true), b"", version)),
        named("v1-refused", answer(&|o| v1::put_version_answer(o, 1, false), b"", version)),
        named("v1-core", request(&|o| v1::put_core(o, 2, "sum", 4), b"\x7fELF")),
        named("v1-loaded", answer(&|o| v1::put_loaded(o, 2), b"", loaded)),
        named("v1-job", request(&|o| v1::put_job(o, 3, 0x2a, 3), b"abc")),
        named("v1-result", answer(&|o| v1::put_result(o, 3, 0, 3), b"xyz", result)),
        named("v1-result-code", answer(&|o| v1::put_result(o, 3, -7, 0), b"", result)),
        named("v1-error", answer(&|o| v1::put_error(o, 3, none), b"", text)),
    ]
}

#[test]
fn every_kind_has_its_row_and_its_vector() {
    let kinds = constants(include_str!("../src/frame.rs"), ": u8 = ");
    let of_code: BTreeSet<(String, u8)> =
        kinds.iter().map(|(name, value)| (name.clone(), number(value) as u8)).collect();
    assert!(of_code.contains(&("RUN".to_owned(), Kind::RUN)), "{of_code:?}");
    let of_paper: BTreeSet<(String, u8)> = rows()
        .filter(|row| row[0].starts_with("0x"))
        .map(|row| (row[1].trim_matches('`').to_owned(), number(row[0]) as u8))
        .collect();
    assert_eq!(of_paper, of_code, "the rows of docs/protocol.md and the kinds in frame.rs");

    let vectors = seeds::vectors(PAPER).expect("every vector is one");
    let shown: BTreeSet<u8> = vectors.iter().map(|vector| vector.bytes[0]).collect();
    let absent = of_code.iter().filter(|(_, kind)| !shown.contains(kind));
    assert_eq!(absent.collect::<Vec<_>>(), Vec::<&(String, u8)>::new(), "kinds without a vector");
}

#[test]
fn every_limit_has_its_row() {
    let of_code: BTreeSet<String> = constants(include_str!("../src/limits.rs"), ": ")
        .into_iter()
        .map(|(name, _)| name)
        // Those of images are in docs/image.md: the test `image` looks there.
        .filter(|name| !name.starts_with("IMAGE_"))
        .collect();
    let values = values();
    let listed: BTreeSet<String> = values.keys().map(|name| (*name).to_owned()).collect();
    let others = ["VERSION", "HEADER", "PAYLOAD_HEAD", "HOLD_BACK", "STARTED", "SINCE", "UNSENT"];
    let others =
        others.iter().chain(&["TURN", "END", "RESULTS", "SIZE"]).map(|name| (*name).to_owned());
    let expected: BTreeSet<String> = of_code.into_iter().chain(others).collect();
    assert_eq!(listed, expected, "`values` here and the constants of wire::limits");

    let mut of_paper = BTreeMap::new();
    for row in rows().filter(|row| row.len() >= 3 && !row[0].starts_with("0x")) {
        let name = row[0].trim_matches('`');
        if name.chars().all(|c| c.is_ascii_uppercase() || c == '_') && !name.is_empty() {
            let unit = match row[2] {
                "s" => 1_000_000_000,
                "ms" => 1_000_000,
                "µs" => 1000,
                _ => 1,
            };
            of_paper.insert(name, number(row[1]) * unit);
        }
    }
    assert_eq!(of_paper, values, "the rows of docs/protocol.md and the values in the code");
}

/// Every value that the paper names, spans in nanoseconds.
fn values() -> BTreeMap<&'static str, u64> {
    macro_rules! limits {
        ($($name:ident)*) => { [$((stringify!($name), limits::$name as u64)),*] };
    }
    let mut all: BTreeMap<_, _> = limits![
        CONTROL_BODY_MAX INLINE_MAX STRANGER_BODY_MAX STRANGERS_MAX BULKS_MAX BULK_CHUNK_MAX
        PAYLOAD_MAX PAYLOADS_HELD_MAX STREAM_WINDOW STREAM_CHUNK_MAX CREDITS_MAX AHEAD_MAX PROGRAMS_MAX
        PROGRAM_NAME_MAX POISON_KILLS ATTEMPTS_MAX MEMBERS_MAX LINKS_MAX HEARTBEATS_MISSED_MAX STDERR_TAIL TEXT_MAX
        UNSENT_MAX BLOBS_KEPT PASS_ON_MIN PASS_ON_TO_MAX PERMITS_MAX FETCHES_MAX LENDINGS_MAX FETCH_RATE_MIN
        LOG_BURST LOG_RATE ENDED_KEPT FAILURES_KEPT FAILURE_TEXT_MAX
        JOBS_OF_LINK_MAX JOBS_KEPT JOBS_TOLD_MAX JOB_NODES_MAX CONTROLLERS_MAX BOUND_MAX READ_AHEAD READ_AHEAD_EACH
        READ_AHEAD_CORE READ_AHEAD_LARGE
        LIBRARIES_HELD_MAX INPUTS_HELD_MAX HTTP_HEAD_MAX HTTP_CONNECTIONS_MAX
        NETMEM_CONNECTIONS_MAX NETMEM_UNSENT_MAX NETMEM_LOCKS_MAX
        MEMORY_BODY_MAX PAGE_SIZE_MIN PAGE_SIZE_MAX PAGES_MAX REGIONS_HELD_MAX REGIONS_MAX REGIONS_TOLD_MAX
        SESSIONS_MAX REQUESTS_MAX TRANSACTION_PAGES_MAX TRANSACTION_BYTES_MAX TRANSACTION_COPIED_MAX
        REPLICATED_PAGES_MAX REPLICATED_BYTES_MAX WATCHES_OF_SESSION_MAX WATCHES_MAX CHANGES_KEPT CHANGES_KEPT_MAX COMMITS_KEPT
        WAITING_MAX LOCKS_MAX BARRIERS_MAX HOT_KEPT HOT_TOLD_MAX BACKLOG_MAX VERSION_ASKED_MAX CACHE_WATCHES_MAX CACHE_HELD_MAX
        VISITS_MAX VISITS_OVER_MAX VISIT_TEXT_MAX STDIO_WINDOW STDIO_CHUNK_MAX CALLS_MAX
        CALL_PIECE_MAX ANSWER_MAX DELEGATION_MAX RETURN_MAX
    ]
    .into();
    all.extend([
        ("STRANGER_PATIENCE", limits::STRANGER_PATIENCE.0),
        ("HEARTBEAT", limits::HEARTBEAT.0),
        ("PERMIT_PATIENCE", limits::PERMIT_PATIENCE.0),
        ("FETCH_SILENCE", limits::FETCH_SILENCE.0),
        ("JOB_PERIOD", limits::JOB_PERIOD.0),
        ("UNREAD_PATIENCE", limits::UNREAD_PATIENCE.0),
        ("ARRIVAL_PATIENCE", limits::ARRIVAL_PATIENCE.0),
        ("FAREWELL_PATIENCE", limits::FAREWELL_PATIENCE.0),
        ("UNLOADING", limits::UNLOADING.0),
        ("LEASE", limits::LEASE.0),
        ("SESSION_KEPT", limits::SESSION_KEPT.0),
        ("AWAY_PATIENCE", limits::AWAY_PATIENCE.0),
        ("COHERENT_HOLD", limits::COHERENT_HOLD.0),
        ("COHERENT_HOLD_MAX", limits::COHERENT_HOLD_MAX.0),
        ("COHERENT_PAGE", u64::from(limits::COHERENT_PAGE)),
        ("YIELDS_UNHEARD_MAX", limits::YIELDS_UNHEARD_MAX as u64),
        ("SNAPSHOTS_OF_SESSION_MAX", limits::SNAPSHOTS_OF_SESSION_MAX as u64),
        ("SNAPSHOTS_MAX", limits::SNAPSHOTS_MAX as u64),
        ("SNAPSHOTS_HELD_MAX", limits::SNAPSHOTS_HELD_MAX),
        ("VISIT_LEASE", limits::VISIT_LEASE.0),
        ("VISIT_KEPT", limits::VISIT_KEPT.0),
        ("VISIT_WAITS", limits::VISIT_WAITS.0),
        ("VISIT_DOUBT", limits::VISIT_DOUBT.0),
        ("HOLD_BACK", HOLD_BACK.0),
        ("VERSION", VERSION.into()),
        ("HEADER", HEADER as u64),
        ("PAYLOAD_HEAD", PAYLOAD_HEAD as u64),
        ("STARTED", progress::STARTED as u64),
        ("SINCE", progress::SINCE as u64),
        ("UNSENT", progress::UNSENT as u64),
        ("TURN", progress::TURN as u64),
        ("END", progress::END as u64),
        ("RESULTS", progress::RESULTS as u64),
        ("SIZE", progress::SIZE as u64),
    ]);
    all
}

/// The paper's vectors, as they are built in Rust.
fn messages() -> Vec<(&'static str, u64, Message)> {
    use Message as M;
    let hash = Hash(std::array::from_fn(|at| at as u8));
    let permit = Permit([0x22; 16]);
    let member = Member {
        name: name("b"),
        life: 1_700_000_000,
        addresses: vec!["10.0.0.2:4114".into(), "[::1]:4114".into()],
        slots: 8,
        state: State::Here,
    };
    let leaving = Member { state: State::Leaving, addresses: Vec::new(), ..member.clone() };
    let hello = |purpose| M::Hello(Hello { agent: "x 1".into(), name: name("me"), purpose });
    let run = |program, attempt, deadline, input, inline| {
        let name = task_name();
        let head = RunHead { program, attempt, deadline: Span(deadline), input, name };
        M::Run(Run { head, inline: Bytes::from_static(inline) })
    };
    let done = |status, ran, output, inline| {
        M::Done(Done { head: DoneHead { status, ran: Span(ran), output, times: times() }, inline })
    };
    let ended = |status| done(status, 2_000_000, Output::Inline, Bytes::new());
    let core = Program::Core { library: hash, name: "sum".into() };
    let account = Some(1_984_000_000);
    let mut all = vec![
        ("version", 0, M::Version(VERSION)),
        ("version-accepted", 0, M::VersionAnswer { accepted: true }),
        ("version-refused", 0, M::VersionAnswer { accepted: false }),
        ("hello-client", 0, hello(Purpose::Client)),
        ("hello-node", 0, hello(Purpose::Node { member: member.clone() })),
        ("hello-bulk", 0, hello(Purpose::Bulk { link: u64::MAX })),
        ("hello-join", 0, hello(Purpose::Join)),
        ("hello-fetch", 0, hello(Purpose::Fetch { hash, permit })),
        ("hello-memory", 0, hello(Purpose::Memory)),
        ("hello-visit", 0, hello(Purpose::Visit { entry: Entry::Begin(visits::begin()) })),
        ("hello-visit-return", 0, hello(Purpose::Visit { entry: Entry::Return { visit: 300 } })),
        ("hello-visit-pages", 0, hello(Purpose::Visit { entry: visits::pages() })),
        (
            "hello-visit-chained",
            0,
            hello(Purpose::Visit { entry: Entry::Chained(visits::chained(permit)) }),
        ),
        ("hello-visit-onward", 0, hello(Purpose::Visit { entry: Entry::Onward { permit } })),
        (
            "welcome",
            0,
            M::Welcome(Welcome { agent: "x 1".into(), node: name("b"), link: 300, slots: 8 }),
        ),
        ("ping", 0, M::Ping),
        ("pong", 0, M::Pong),
        ("goodbye-leaving", 0, M::Goodbye(Goodbye::Leaving)),
        ("goodbye-version", 0, M::Goodbye(Goodbye::Version { speaks: 2 })),
        ("goodbye-forbidden", 0, M::Goodbye(Goodbye::Forbidden { reason: "no".into() })),
        ("goodbye-protocol", 0, M::Goodbye(Goodbye::Protocol { reason: "no".into() })),
        ("goodbye-full", 0, M::Goodbye(Goodbye::Full { reason: "no".into() })),
        ("goodbye-absent", 0, M::Goodbye(Goodbye::Absent { reason: "no".into() })),
        ("goodbye-over", 0, M::Goodbye(Goodbye::Over { reason: "no".into() })),
        ("define", 0, M::Define(Define { number: 0, program: core.clone(), memory: 1 << 30 })),
        ("credit", 0, M::Credit(Credit { limit: 300 })),
        ("run-inline", 5, run(0, 1, 0, Input::Inline, b"hello")),
        ("run-deadline", 5, run(1, 2, 1_500_000_000, Input::Inline, b"")),
        ("run-bulk", 6, run(0, 1, 0, Input::Bulk(1 << 20), b"")),
        ("run-stream", 7, run(0, 1, 0, Input::Stream, b"")),
        (
            "done-inline",
            5,
            done(Status::Finished { code: 0 }, 1000, Output::Inline, Bytes::from_static(b"42")),
        ),
        ("done-bulk", 6, done(Status::Finished { code: 0 }, 1000, Output::Bulk(5), Bytes::new())),
        ("done-stream", 7, done(Status::Finished { code: 0 }, 1000, Output::Stream, Bytes::new())),
        ("done-finished", 5, ended(Status::Finished { code: -3 })),
        ("done-crashed", 5, ended(Status::Crashed { signal: 11, stderr: "oops\n".into() })),
        ("done-exited", 5, ended(Status::Exited { code: 3, stderr: String::new() })),
        ("done-out-of-memory", 5, ended(Status::OutOfMemory { peak: 300, limit: 200 })),
        ("done-time-limit", 5, ended(Status::TimeLimit { limit: Span(1_000_000) })),
        ("done-cancelled", 5, ended(Status::Cancelled)),
        ("done-refused", 5, ended(Status::Refused { reason: "no".into() })),
        ("done-broken", 5, ended(Status::Broken { reason: "no".into() })),
        ("done-worker-lost", 5, ended(Status::WorkerLost { reason: "no".into() })),
        ("cancel", 5, M::Cancel),
        ("take-back", 0, M::TakeBack(TakeBack { count: 3 })),
        ("take-back-all", 0, M::TakeBack(TakeBack { count: u32::MAX })),
        ("returned", 0, M::Returned(Returned { channels: vec![9, 300] })),
        ("data", 7, M::Data(Bytes::from_static(b"abc"))),
        ("end", 7, M::End),
        ("window", 7, M::Window(Window { bytes: limits::STREAM_WINDOW })),
        (
            "log",
            0,
            M::Log(
                job::Log { name: task_name(), attempt: 1, skipped: 0 },
                Bytes::from_static(b"oops\n"),
            ),
        ),
        ("job", 0, M::Job(a_job())),
        ("have", 0, M::Have(Have { hash })),
        ("known", 0, M::Known(Known { hash, here: true })),
        ("put-inline", 8, M::Put(Put { hash, length: 3 }, Bytes::from_static(b"abc"))),
        ("put-bulk", 9, M::Put(Put { hash, length: 1 << 20 }, Bytes::new())),
        ("stored", 8, M::Stored(Stored { hash, refused: None })),
        ("stored-refused", 8, M::Stored(Stored { hash, refused: Some("no".into()) })),
        ("lend", 8, M::Lend(Lend { hash, to: name("b") })),
        ("lent", 8, M::Lent(Lent { hash, permit: Some(permit) })),
        ("lent-not", 8, M::Lent(Lent { hash, permit: None })),
        ("fetch", 8, M::Fetch(Fetch { hash, length: 1 << 20, from: name("a"), permit })),
        ("fetched", 8, M::Fetched(Fetched { hash, failed: None })),
        ("fetched-not", 8, M::Fetched(Fetched { hash, failed: Some("no".into()) })),
        ("members", 0, M::Members(Members { members: vec![leaving, member] })),
        ("members-ask", 0, M::MembersAsk),
        ("status-ask", 0, M::StatusAsk),
        ("status", 0, M::Status(report())),
        ("why-ask", 0, M::WhyAsk(job::WhyAsk { name: task_name() })),
        ("why-absent", 0, why(job::Now::Absent, Vec::new(), None)),
        ("why-arriving", 0, why(job::Now::Arriving { since: Span(5) }, Vec::new(), None)),
        ("why-loading", 0, waiting(job::Hold::Loading { workers: 1 })),
        ("why-busy", 0, waiting(job::Hold::Busy { slots: 8, own: 1, others: 7 })),
        (
            "why-working",
            0,
            why(
                job::Now::Working {
                    since: Span(300),
                    before: 0,
                    ran: Span(200),
                    worker: 3,
                    pid: 4242,
                    memory: 1 << 20,
                    attempt: 2,
                },
                vec![job::Ended {
                    attempt: 1,
                    status: Status::Crashed { signal: 11, stderr: "oops\n".into() },
                    ran: Span(1000),
                    times: times(),
                    ago: Span(1_000_000),
                }],
                Some(heard()),
            ),
        ),
        ("jobs-ask", 0, M::JobsAsk),
        ("jobs", 0, M::Jobs(job::Jobs { jobs: vec![heard()], more: 0 })),
        (
            "join",
            0,
            M::Join(Join { secret: [0x11; 16], name: name("me"), request: vec![0x30, 0x82] }),
        ),
        (
            "joined-welcome",
            0,
            M::Joined(Joined::Welcome { certificate: vec![0x30, 1], authority: vec![0x30, 2] }),
        ),
        ("joined-refused", 0, M::Joined(Joined::Refused { reason: "no".into() })),
        (
            "setup",
            0,
            M::Setup(Setup {
                program: core,
                jail: Jail::User { account },
                scratch: "/s".into(),
                memory: 0,
            }),
        ),
        (
            "setup-strict",
            0,
            M::Setup(Setup {
                program: Program::Core { library: Hash::of(b""), name: "sum".into() },
                jail: Jail::Strict { account: None },
                scratch: "/s".into(),
                memory: 1 << 20,
            }),
        ),
        ("ready", 0, M::Ready(Ready::Yes { gaps: vec!["no".into()] })),
        ("ready-not", 0, M::Ready(Ready::No { reason: "no".into() })),
        ("buffer-take", 0, M::Buffer(Buffer::Take { number: 1 })),
        ("buffer-lend", 0, M::Buffer(Buffer::Lend { number: 1 })),
        ("buffer-forget", 0, M::Buffer(Buffer::Forget { number: 1 })),
        ("need", 0, M::Need(Need { bytes: 1 << 20 })),
    ];
    all.extend(regions::messages());
    all.extend(visits::messages());
    all
}

fn task_name() -> TaskName {
    TaskName { job: JobId(300), task: 17 }
}

fn times() -> Times {
    Times { transfer: Span(0), waited: Span(300), began: Span(2_000_000), worker: 3 }
}

fn a_job() -> job::Job {
    job::Job {
        id: JobId(300),
        name: "sum".into(),
        queued: 5,
        next: 13,
        running: 8,
        done: 4,
        failed: 1,
        retried: 2,
        wait: job::Wait::Credits,
        closed: false,
    }
}

fn heard() -> job::Heard {
    job::Heard { job: a_job(), owner: name("me"), attached: true, ago: Span(1_000_000) }
}

fn why(now: job::Now, ended: Vec<job::Ended>, job: Option<job::Heard>) -> Message {
    Message::Why(Box::new(job::Why { name: task_name(), now, ended, job }))
}

fn waiting(hold: job::Hold) -> Message {
    why(job::Now::Waiting { since: Span(5), before: 2, hold }, Vec::new(), None)
}

fn report() -> Report {
    Report {
        node: name("b"),
        agent: "x 1".into(),
        up: Span(1_000_000_000),
        slots: 8,
        visitors: 1,
        users: vec![User { name: name("me"), running: 1, waiting: 2, done: 3 }],
        workers: vec![Worker {
            pid: 4242,
            program: "sum".into(),
            user: name("me"),
            tasks: 3,
            done: 3,
        }],
        blobs: 1,
        blob_bytes: 300,
        members: Vec::new(),
    }
}

fn name(text: &str) -> Name {
    text.parse().expect("a name")
}

#[track_caller]
fn whole(bytes: &[u8]) -> Frame {
    let mut input = BytesMut::from(bytes);
    let frame = frame::take(&mut input, limits::CONTROL_BODY_MAX);
    let frame = frame.expect("within the bound").expect("a whole frame");
    assert!(input.is_empty(), "bytes after the frame");
    frame
}

/// What a frame says, in the words of the paper.
fn says(frame: Frame) -> String {
    if frame.kind == Kind::PAYLOAD {
        let head = PayloadHead::peek(&frame.body).expect("a head");
        let rest = frame.body.slice(PAYLOAD_HEAD..);
        return format!("channel {}, {head:?}, {rest:?}", frame.channel);
    }
    let (channel, message) = decode(frame).expect("a message");
    format!("channel {channel}, {message:?}")
}

/// A vector as it is to be written.
fn block(name: &str, bytes: &[u8]) -> String {
    let hex = |bytes: &[u8]| {
        bytes.iter().fold(String::new(), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        })
    };
    let (kind, rest) = bytes.split_at(1);
    let (channel, rest) = rest.split_at(8);
    let (length, body) = rest.split_at(8);
    let mut text = format!("{} {} {}", hex(kind), hex(channel), hex(length));
    for line in body.chunks(24) {
        let words: Vec<String> = line.chunks(4).map(hex).collect();
        let _ = write!(text, "\n      {}", words.join(" "));
    }
    let says = says(whole(bytes));
    format!("```vector\nname: {name}\nhex:  {text}\nsays: {says}\n```\n")
}

/// `pub const NAME<of>VALUE;` of a source file.
fn constants(source: &str, of: &str) -> Vec<(String, String)> {
    let lines = source.lines().filter_map(|line| line.trim().strip_prefix("pub const "));
    let split = lines.filter_map(|line| line.trim_end_matches(';').split_once(of));
    split.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

/// The rows of all tables, by their cells.
fn rows() -> impl Iterator<Item = Vec<&'static str>> {
    let rows = PAPER.lines().filter_map(|line| line.strip_prefix('|')?.strip_suffix('|'));
    rows.map(|row| row.split('|').map(str::trim).collect())
}

#[track_caller]
fn number(text: &str) -> u64 {
    let text = text.replace('_', "");
    let parsed = match text.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16),
        None => text.parse(),
    };
    parsed.unwrap_or_else(|_| panic!("{text:?} is no number"))
}
