//! What strangers, and peers that mean ill, can do to a node: nothing but waste their own time.
//!
//! Each test attacks a real node over TCP, and ends with an honest client's task.

#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, reason = "these are tests")]

mod support;

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::time::{Duration, Instant, SystemTime};

use client::Cluster;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use support::middle::Middle;
use support::process::{children, descriptors, kill};
use support::raw::Raw;
use support::target::{Target, check_breach, check_closed, check_forbidden};
use support::{Machine, PATIENCE, until};
use transport::{Credentials, DialTls, ListenTls, Role};
use wire::Message;
use wire::blob::{Have, Put};
use wire::frame::Kind;
use wire::hello::{Goodbye, Purpose};
use wire::limits::{
    BULKS_MAX, CONTROL_BODY_MAX, HEARTBEAT, STRANGER_BODY_MAX, STRANGER_PATIENCE, STRANGERS_MAX,
};
use wire::member::{Member, State};
use wire::name::{Hash, TaskName};
use wire::task::{
    Credit, Define, Done, DoneHead, Input, Output, PayloadHead, Program, Returned, Run, RunHead,
    Status, TakeBack, Times,
};
use wire::units::Span;

/// Lengths that a frame might claim.
const BOMBS: [u64; 4] = [u32::MAX as u64, 1 << 63, u64::MAX, CONTROL_BODY_MAX + 1];
/// A list of 2^60 elements, as postcard writes its length.
const COUNT: [u8; 9] = [0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x10];

// Case 1.

#[test]
fn lengths_beyond_all_bounds_are_refused_before_anything_is_kept() {
    let target = Target::start();
    for bomb in BOMBS {
        let mut plain = target.tcp();
        plain.write_all(&[&[1][..], &[0; 8], &bomb.to_le_bytes()].concat()).unwrap();
        check_closed(&plain);
    }
    for bomb in BOMBS.into_iter().chain([STRANGER_BODY_MAX + 1]) {
        for kind in [Kind::VERSION, Kind::HELLO, Kind::JOIN] {
            let mut raw = target.stranger();
            raw.put_frame(kind, 0, bomb, b"some");
            check_breach("a stranger's bomb", &mut raw);
            let mut raw = target.peer(Role::Client, "eve");
            raw.put_frame(kind, 0, bomb, b"some");
            check_breach("a bomb before the greeting", &mut raw);
        }
    }
    for bomb in BOMBS {
        for kind in [Kind::RUN, Kind::PUT, Kind::DEFINE, Kind::DATA, 0xff] {
            let (mut raw, _) = target.client("eve");
            raw.put_frame(kind, 1, bomb, b"some");
            check_breach("a client's bomb", &mut raw);
        }
    }
    target.check_unharmed();
}

#[test]
fn payloads_beyond_all_bounds_are_refused_before_anything_is_kept() {
    let target = Target::start();
    for bomb in &BOMBS[1..3] {
        let (mut raw, _) = target.client("eve");
        let hash = Hash([7; 32]);
        raw.put_message(1, &Message::Put(Put { hash, length: *bomb }, b"some"[..].into()));
        let refused = raw.find(|message| match message {
            Message::Stored(stored) => Some(stored.refused.clone()),
            _ => None,
        });
        assert!(refused.is_some());
        raw.put_message(2, &run(Input::Bulk(*bomb)));
        check_breach("an input that nobody can hold", &mut raw);
    }
    let head = |total, offset| PayloadHead { total, offset }.to_bytes();
    let pieces: [(u64, &[u8]); 8] = [
        (u64::MAX, &head(4, 0)),
        (1 << 63, &head(4, 0)),
        (16 + (1 << 18) + 1, &head(1 << 30, 0)),
        (15, &head(4, 0)[..15]),
        (16 + 4, &[&head(u64::MAX, 0)[..], b"some"].concat()),
        (16 + 4, &[&head(1 << 63, 0)[..], b"some"].concat()),
        (16 + 4, &[&head(4, u64::MAX)[..], b"some"].concat()),
        (16 + 4, &[&head(3, 0)[..], b"some"].concat()),
    ];
    for (length, piece) in pieces {
        let (mut control, token) = target.client("eve");
        let mut bulk = target.peer(Role::Client, "eve");
        bulk.greet(Purpose::Bulk { link: token });
        bulk.put_frame(Kind::PAYLOAD, 3, length, piece);
        let begin = Instant::now();
        check_breach("a payload's bomb", &mut bulk);
        assert!(begin.elapsed() < Duration::from(HEARTBEAT), "only the heartbeat has ended it");
        // Its link has lost a payload, and ends.
        check_breach("the link of a payload's bomb", &mut control);
    }
    // Whoever announces much and sends little holds no memory by it.
    let mut waiting = Vec::new();
    for channel in 0..64 {
        let (control, token) = target.client("eve");
        let mut bulk = target.peer(Role::Client, "eve");
        bulk.greet(Purpose::Bulk { link: token });
        let piece = [&head(1 << 34, 0)[..], b"some"].concat();
        bulk.put_frame(Kind::PAYLOAD, channel, 20, &piece);
        bulk.turn();
        waiting.push((control, bulk));
    }
    target.check_unharmed();
}

#[test]
fn a_link_has_a_bounded_number_of_bulk_connections() {
    let target = Target::start();
    let before = descriptors(target.pid());
    let (mut control, token) = target.client("eve");
    let mut bulks = Vec::new();
    for _ in 0..BULKS_MAX {
        let mut bulk = target.peer(Role::Client, "eve");
        bulk.greet(Purpose::Bulk { link: token });
        bulks.push(bulk);
    }
    control.put_message(0, &Message::Ping);
    control.find(|message| matches!(message, Message::Pong).then_some(()));
    let mut bulk = target.peer(Role::Client, "eve");
    bulk.put_greeting(Purpose::Bulk { link: token });
    for raw in [&mut bulk, &mut control].into_iter().chain(&mut bulks) {
        raw.last_words();
    }
    until("all are gone", || descriptors(target.pid()) <= before);
    target.check_unharmed();
}

fn run(input: Input) -> Message {
    let name = TaskName::default();
    let head = RunHead { program: 0, attempt: 1, deadline: Span(0), input, name };
    Message::Run(Run { head, inline: b""[..].into() })
}

// Case 2.

#[test]
fn a_million_frames_are_a_million_frames() {
    let target = Target::start();
    let (mut raw, _) = target.client("eve");
    let mut answers = 0;
    for batch in 0..100 {
        for n in 0..10_000 {
            // Empty ones, about tasks that never were, and ones of one byte, each of which is answered.
            raw.put_message(batch * 10_000 + n, &Message::Cancel);
            raw.put_message(n, &Message::TakeBack(TakeBack { count: 0 }));
        }
        while answers < (batch + 1) * 10_000 {
            let (_, message) = raw.next().expect("it still listens");
            answers += u64::from(matches!(message, Message::Returned(_)));
        }
    }
    target.check_unharmed();
}

#[test]
fn frames_may_be_split_at_every_byte() {
    let target = Target::start();
    let mut raw = target.peer(Role::Client, "eve");
    raw.put_greeting(Purpose::Client);
    raw.put_message(9, &Message::StatusAsk);
    let bytes = raw.connection.output().split();
    for byte in bytes {
        raw.put(&[byte]);
        while !raw.turn() {}
    }
    let channel = loop {
        let (channel, message) = raw.next().expect("it is let in");
        if matches!(message, Message::Status(_)) {
            break channel;
        }
    };
    assert_eq!(channel, 9);
    target.check_unharmed();
}

#[test]
fn bytes_left_over_end_the_connection() {
    let target = Target::start();
    for (kind, body) in
        [(Kind::PING, &b"x"[..]), (Kind::TAKE_BACK, b"\x00x"), (Kind::STATUS_ASK, b"\x00")]
    {
        let (mut raw, _) = target.client("eve");
        raw.put_frame(kind, 0, body.len() as u64, body);
        check_breach("a byte too many", &mut raw);
    }
    target.check_unharmed();
}

// Case 3.

#[test]
fn other_versions_are_told_no_and_other_words_end_the_connection() {
    let target = Target::start();
    for version in [0, 1, 3, u32::MAX] {
        let mut raw = target.peer(Role::Client, "eve");
        raw.put_message(0, &Message::Version(version));
        assert_eq!(raw.last_words(), [Message::VersionAnswer { accepted: false }], "{version}");
    }
    for kind in [0x00, 0x02, 0x2b, 0x7f, 0xff, Kind::PAYLOAD] {
        let mut raw = target.peer(Role::Client, "eve");
        raw.put_frame(kind, 0, 4, b"some");
        assert_eq!(raw.last_words(), []);
        let (mut raw, _) = target.client("eve");
        raw.put_frame(kind, 0, 4, b"some");
        check_breach("an unknown kind", &mut raw);
    }
    // A purpose, a program and an input that do not exist.
    for (kind, body) in [
        (Kind::HELLO, &b"\x01x\x01y\x09"[..]),
        (Kind::DEFINE, b"\x00\x09"),
        (Kind::RUN, b"\x00\x01\x00\x09"),
    ] {
        let (mut raw, _) = target.client("eve");
        raw.put_frame(kind, 0, body.len() as u64, body);
        check_breach("an unknown variant", &mut raw);
    }
    target.check_unharmed();
}

#[test]
fn what_comes_out_of_order_ends_the_connection() {
    let target = Target::start();
    let early = [run(Input::Inline), Message::StatusAsk, Message::Ping, done(), Message::Cancel];
    for message in &early {
        for with_version in [false, true] {
            let mut raw = target.peer(Role::Client, "eve");
            if with_version {
                raw.put_message(0, &Message::Version(wire::hello::VERSION));
            }
            raw.put_message(1, message);
            let last = raw.last_words().pop();
            let told = matches!(last, Some(Message::Goodbye(Goodbye::Protocol { .. })));
            assert!(told, "{message:?}: {last:?}");
        }
    }
    let (mut raw, _) = target.client("eve");
    raw.put_greeting(Purpose::Client);
    check_breach("a second greeting", &mut raw);
    let (mut raw, _) = target.client("eve");
    raw.put_message(1, &run(Input::Inline));
    check_breach("a task of a program that was not defined", &mut raw);
    let (mut raw, _) = target.client("eve");
    raw.put_message(0, &define(7));
    check_breach("a program whose turn it is not", &mut raw);
    let (mut raw, _) = target.client("eve");
    raw.put_message(0, &define(0));
    for channel in 0..5000 {
        raw.put_message(channel, &run(Input::Bulk(1 << 20)));
    }
    for channel in 5000..10_000 {
        raw.put_message(channel, &run(Input::Inline));
    }
    check_breach("tasks without credit", &mut raw);
    target.check_unharmed();
}

fn define(number: u32) -> Message {
    let program = Program::Core { library: Hash([7; 32]), name: "x".to_owned() };
    Message::Define(Define { number, program, memory: 0 })
}

fn done() -> Message {
    let (status, output) = (Status::Finished { code: 0 }, Output::Inline);
    let head = DoneHead { status, ran: Span(0), output, times: Times::default() };
    Message::Done(Done { head, inline: b"forged"[..].into() })
}

// Case 4.

#[test]
fn lists_that_claim_to_be_endless_are_not_believed() {
    let target = Target::start();
    let after = |head: &[u8]| [head, &COUNT, b"rest"].concat();
    let bodies = [
        (Kind::RETURNED, after(b"")),
        (Kind::MEMBERS, after(b"")),
        (Kind::HELLO, after(b"")),
        (Kind::HELLO, after(b"\x01x")),
        (Kind::WELCOME, after(b"")),
        (Kind::GOODBYE, after(b"\x03")),
        (Kind::DEFINE, after(&[&[0, 0][..], &[7; 32]].concat())),
        (Kind::STORED, after(&[&[7; 32][..], &[1]].concat())),
        (Kind::STATUS, after(b"")),
        (Kind::JOIN, after(&[&[7; 16][..], b"\x01x"].concat())),
        (Kind::JOINED, after(b"\x00")),
        (Kind::READY, after(b"\x00")),
        // A length that never ends.
        (Kind::RETURNED, vec![0xff; 64]),
        // As many elements as the frame can just hold: it is a message, and no client's.
        (Kind::RETURNED, [&[0x80, 0x80, 0x04][..], &[0; 65536]].concat()),
    ];
    for (kind, body) in &bodies {
        let (mut client, _) = target.client("eve");
        let mut node = target.peer(Role::Node, "mallory");
        node.greet(Purpose::Node { member: member("mallory") });
        let mut others = [target.stranger(), target.peer(Role::Client, "eve")];
        for raw in others.iter_mut().chain([&mut client]) {
            raw.put_frame(*kind, 0, body.len() as u64, body);
            check_breach("an endless list", raw);
        }
        node.put_frame(*kind, 0, body.len() as u64, body);
        if body.len() < 100 {
            check_breach("a node's endless list", &mut node);
        }
    }
    target.check_unharmed();
}

fn member(name: &str) -> Member {
    let addresses = vec!["127.0.0.1:1".to_owned()];
    Member { name: name.parse().unwrap(), life: 1, addresses, slots: 1, state: State::Here }
}

// Case 5.

#[test]
fn those_who_say_nothing_are_few_and_soon_gone() {
    let target = Target::start();
    let before = descriptors(target.pid());
    let begin = Instant::now();
    let idle: Vec<TcpStream> = (0..300).map(|_| target.tcp()).collect();
    let mut halves: Vec<TcpStream> = (0..3).map(|_| target.tcp()).collect();
    for half in &mut halves {
        half.shutdown(Shutdown::Write).unwrap();
        check_closed(half);
    }
    // Those who have finished TLS, with a certificate or without, and then say nothing.
    let mut mute = [target.stranger(), target.peer(Role::Client, "eve")];
    while mute.iter().any(|raw| !raw.connection.is_ready() && raw.end.is_none()) {
        for raw in &mut mute {
            raw.turn();
        }
    }
    target.check_serves();
    let most = before + STRANGERS_MAX + 16;
    assert!(descriptors(target.pid()) <= most, "{} descriptors", descriptors(target.pid()));

    // One byte of a TLS record at a time, as long as it is let.
    let mut slow = target.tcp();
    slow.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
    let record = [0x16, 3, 1, 0x3f, 0xff].into_iter().chain(std::iter::repeat(1));
    for byte in record {
        let is_over = slow.write_all(&[byte]).is_err()
            || matches!(slow.read(&mut [0; 64]), Ok(0))
            || begin.elapsed() > PATIENCE;
        if is_over {
            break;
        }
    }
    for stream in &idle {
        let end = (&mut &*stream).read(&mut [0; 64]);
        assert!(matches!(end, Ok(0) | Err(_)), "{end:?}");
    }
    for raw in &mut mute {
        raw.last_words();
    }
    let took = begin.elapsed();
    assert!(took < Duration::from(STRANGER_PATIENCE) * 4, "they had {took:?}");
    until("all are gone", || descriptors(target.pid()) <= before + 8);
    target.check_unharmed();
}

#[test]
fn who_never_reads_is_not_read_from() {
    let target = Target::start();
    let (mut raw, _) = target.client("eve");
    let mut batch = bytes::BytesMut::new();
    for _ in 0..4096 {
        Message::StatusAsk.encode(0, &mut batch);
    }
    // The other side's answers are never taken: at some point it must stop to take questions.
    let (mut sent, mut waiting) = (0, None);
    while sent < 64 << 20 {
        match raw.connection.send(&batch) {
            Ok(0) => {
                let since = *waiting.get_or_insert_with(Instant::now);
                if since.elapsed() > Duration::from_secs(1) {
                    break;
                }
                std::thread::yield_now();
            }
            Ok(count) => {
                sent += count;
                waiting = None;
            }
            Err(error) => panic!("{error}"),
        }
    }
    assert!(sent < 64 << 20, "it swallowed {sent} bytes of questions");
    target.check_unharmed();
}

// Case 6.

#[test]
fn a_recorded_session_is_worth_nothing() {
    let target = Target::start();
    let middle = Middle::start(&target.address, |_| usize::MAX);
    let cluster = Cluster::connect_with([&middle.address], &target.machine.home()).unwrap();
    // A program of another name has a worker of its own, which a replay would start again.
    let library = std::fs::read(&target.specimen).unwrap();
    let core = cluster.core_from("recorded", library);
    assert_eq!(core.run("echo recorded").unwrap().as_ref(), b"recorded");
    drop((core, cluster));
    for worker in children(target.pid()) {
        kill(worker);
    }
    until("no worker is left", || children(target.pid()).is_empty());

    let heard = middle.heard.lock().unwrap().clone();
    assert!(heard.iter().any(|bytes| bytes.len() > 1000), "something was recorded");
    for bytes in &heard {
        let mut replay = target.tcp();
        let _ = replay.write_all(bytes);
        check_closed(&replay);
        // Two sessions cut and pasted together.
        let mut replay = target.tcp();
        let _ = replay.write_all(&[&bytes[..bytes.len() / 2], &heard[0][..]].concat());
        check_closed(&replay);
        // What it says itself, said back to it.
        let mut mirror = target.tcp();
        let _ = mirror.write_all(bytes);
        let said = check_closed(&mirror);
        let mut mirror = target.tcp();
        let _ = mirror.write_all(&said);
        let _ = mirror.shutdown(Shutdown::Write);
        check_closed(&mirror);
    }
    assert!(children(target.pid()).is_empty(), "a replay has run something");
    target.check_unharmed();
}

#[test]
fn a_session_that_is_cut_between_records_is_no_session_that_has_ended() {
    let target = Target::start();
    for records in 1..12 {
        let middle = Middle::start(&target.address, move |_| records);
        let tls = DialTls::new(&target.issue(Role::Client, "eve")).unwrap();
        let mut raw = Raw::dial(&middle.address, &tls);
        raw.put_greeting(Purpose::Client);
        // Each answer is a record, until the cut.
        while raw.end.is_none() {
            raw.put_message(0, &Message::Ping);
            while raw.end.is_none() && !matches!(raw.next(), Some((_, Message::Pong)) | None) {}
        }
        assert!(matches!(raw.end, Some(Err(_))), "after {records} records: {:?}", raw.end);
    }
    // Real clients go on: every connection lasts a little longer than the one before it.
    let middle = Middle::start(&target.address, |at| 8 + 4 * at);
    let cluster = Cluster::connect_with([&middle.address], &target.machine.home()).unwrap();
    let core = cluster.core(&target.specimen).unwrap().retries(1000);
    for (n, result) in core.map((0..200).map(|n| format!("echo {n}"))).enumerate() {
        assert_eq!(result.unwrap().as_ref(), n.to_string().as_bytes());
    }
    target.check_unharmed();
}

// Case 7.

/// Trusts the node, as nobody does who has no business with it, and shows another authority's
/// certificate.
fn impostor(target: &Target, other: &Machine) -> rustls::ClientConfig {
    let file = |machine: &Machine, name| std::fs::read(machine.home().join(name)).unwrap();
    let mut roots = rustls::RootCertStore::empty();
    let authority = file(&target.machine, "authority.pem");
    roots.add(CertificateDer::from_pem_slice(&authority).unwrap()).unwrap();
    let pem = file(other, "client.pem");
    let chain = vec![CertificateDer::from_pem_slice(&pem).unwrap()];
    let key = PrivateKeyDer::from_pem_slice(&pem).unwrap();
    let provider = rustls::crypto::aws_lc_rs::default_provider().into();
    let builder = rustls::ClientConfig::builder_with_provider(provider);
    let builder = builder.with_protocol_versions(&[&rustls::version::TLS13]).unwrap();
    let builder = builder.with_root_certificates(roots);
    let mut config = builder.with_client_auth_cert(chain, key).unwrap();
    config.alpn_protocols = vec![b"farcall/2".to_vec()];
    config
}

/// Shakes hands, speaks, and listens; what it hears.
fn speak(target: &Target, config: rustls::ClientConfig) -> Result<Vec<u8>, std::io::Error> {
    let name = ServerName::try_from("node.farcall").unwrap();
    let session = rustls::ClientConnection::new(config.into(), name).unwrap();
    let mut stream = rustls::StreamOwned::new(session, target.tcp());
    let mut greeting = bytes::BytesMut::new();
    Message::Version(wire::hello::VERSION).encode(0, &mut greeting);
    stream.write_all(&greeting)?;
    let mut heard = vec![0; 18];
    stream.read_exact(&mut heard)?;
    Ok(heard)
}

#[test]
fn certificates_of_another_authority_are_refused_however_often_they_are_shown() {
    let target = Target::start();
    let other = Machine::new();
    other.run("auth init").says("");
    let own = speak(&target, impostor(&target, &target.machine)).unwrap();
    assert_eq!(own[17], 1, "the attack itself works, with the right certificate");
    for _ in 0..300 {
        let heard = speak(&target, impostor(&target, &other));
        assert!(heard.is_err(), "it was answered: {heard:?}");
    }
    // Other users' clients, who would not believe the node either.
    let ran = other.run(&format!("status --nodes {}", target.address));
    ran.complains(&["showed a certificate that this side does not accept"]);
    target.check_unharmed();
    let log = target.log();
    assert!(log.lines().count() <= 3, "the attack fills the log: {log}");
}

// Case 8.

#[test]
fn a_certificate_is_good_for_its_own_role_and_name_alone() {
    let target = Target::start();
    let node = || Purpose::Node { member: member("mallory") };
    let check = |what, mut raw: Raw, purpose| {
        raw.put_greeting(purpose);
        check_forbidden(what, &mut raw);
    };
    check("a node as a client", target.peer(Role::Node, "mallory"), Purpose::Client);
    check("a client as a node", target.peer(Role::Client, "mallory"), node());
    check("an admin as a node", target.peer(Role::Admin, "mallory"), node());
    check("a node as another one", target.peer(Role::Node, "eve"), node());
    check("a stranger as a client", target.stranger(), Purpose::Client);
    check("a stranger as a node", target.stranger(), node());

    // A link belongs to the certificate that opened it.
    let (_alice, token) = target.client("alice");
    for link in [token, token ^ 1, 0, 1, u64::MAX] {
        check("another's link", target.peer(Role::Client, "eve"), Purpose::Bulk { link });
        check("another's link", target.peer(Role::Node, "alice"), Purpose::Bulk { link });
        check("another's link", target.peer(Role::Admin, "alice"), Purpose::Bulk { link });
        check("a stranger's bulk", target.stranger(), Purpose::Bulk { link });
    }
    target.check_unharmed();
}

#[test]
fn a_client_that_talks_as_a_node_or_a_worker_is_sent_away() {
    let target = Target::start();
    let (hash, channels) = (Hash([7; 32]), vec![1, 2]);
    let messages = [
        done(),
        Message::Credit(Credit { limit: 9 }),
        Message::Returned(Returned { channels }),
        Message::Known(wire::blob::Known { hash, here: true }),
        Message::Stored(wire::blob::Stored { hash, refused: None }),
        Message::Ready(wire::worker::Ready::Yes { gaps: Vec::new() }),
        Message::Buffer(wire::worker::Buffer::Take { number: 1 }),
        Message::Need(wire::worker::Need { bytes: u64::MAX }),
        Message::Join(wire::join::Join {
            secret: [0; 16],
            name: "eve".parse().unwrap(),
            request: Vec::new(),
        }),
        Message::VersionAnswer { accepted: true },
    ];
    for message in &messages {
        let (mut raw, _) = target.client("eve");
        raw.put_message(1, message);
        let last = raw.last_words().pop();
        let told = matches!(last, Some(Message::Goodbye(Goodbye::Protocol { .. })));
        assert!(told, "{message:?}: {last:?}");
    }
    // A node runs no tasks: what it asks for is passed over, or ends its link.
    let before = children(target.pid());
    let mut node = target.peer(Role::Node, "mallory");
    node.greet(Purpose::Node { member: member("mallory") });
    node.put_message(0, &define(0));
    node.put_message(1, &run(Input::Inline));
    node.put_message(0, &Message::Ping);
    while !matches!(node.next(), Some((_, Message::Pong)) | None) {}
    assert_eq!(children(target.pid()), before);
    target.check_unharmed();
}

#[test]
fn the_hash_of_anothers_program_opens_nothing() {
    let target = Target::start();
    let hash = Hash::of(&std::fs::read(&target.specimen).unwrap());
    let (mut raw, _) = target.client("eve");
    raw.find(|message| matches!(message, Message::Credit(_)).then_some(()));
    raw.put_message(1, &Message::Have(Have { hash }));
    let here = raw.find(|message| match message {
        Message::Known(known) => Some(known.here),
        _ => None,
    });
    assert!(!here, "it tells eve what others have");
    let program = Program::Core { library: hash, name: "x".to_owned() };
    raw.put_message(0, &Message::Define(Define { number: 0, program, memory: 0 }));
    raw.put_message(2, &run(Input::Inline));
    // She hears what she would hear if nobody had it, and her task was never begun.
    let back = raw.find(|message| match message {
        Message::Returned(returned) => Some(returned.channels.clone()),
        Message::Known(known) => {
            assert!(!known.here, "it tells eve what others have");
            None
        }
        Message::Done(done) => panic!("{done:?}"),
        _ => None,
    });
    assert_eq!(back, [2]);
    target.check_unharmed();
    // Nor does it cost others what is theirs.
    let blobs = target.machine.path("state/farcall/target/blobs").join(hash.to_string());
    assert!(blobs.exists(), "eve has had it cleared away");
}

/// A client is not to believe what answers with these.
#[track_caller]
fn check_distrusted(target: &Target, shown: &Credentials) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let tls = ListenTls::new(shown).unwrap();
    std::thread::spawn(move || {
        loop {
            let mut raw = Raw::accept(&listener, &tls);
            assert!(raw.next().is_none(), "it was greeted");
        }
    });
    let ran = target.machine.run(&format!("status --nodes {address}"));
    ran.complains(&["showed a certificate that this side does not accept"]);
}

#[test]
fn a_client_believes_nobody_but_a_node() {
    let target = Target::start();
    check_distrusted(&target, &target.issue(Role::Client, "target"));
    check_distrusted(&target, &target.issue(Role::Admin, "target"));
    target.check_unharmed();
}

// Case 9.

#[test]
fn certificates_past_their_time_are_refused_by_both_sides() {
    let target = Target::start();
    let year = Duration::from_secs(366 * 24 * 60 * 60);
    let name = "late".parse::<transport::Name>().unwrap();
    let old = |role| target.authority().issue(role, &name, SystemTime::now() - year).unwrap();
    let mut raw = Raw::dial(&target.address, &DialTls::new(&old(Role::Client)).unwrap());
    raw.put_greeting(Purpose::Client);
    assert_eq!(raw.last_words(), []);
    assert!(matches!(&raw.end, Some(Err(error)) if error.is_refusal()), "{:?}", raw.end);
    check_distrusted(&target, &old(Role::Node));
    target.check_unharmed();
}

#[test]
fn keys_that_others_could_read_or_replace_are_refused() {
    use std::os::unix::fs::{PermissionsExt, symlink};
    for role in ["node", "client"] {
        let machine = Machine::new();
        machine.run("auth init").says("");
        let (_node, address) = machine.start_node("--name a");
        let words = if role == "node" {
            "node --listen 127.0.0.1:0 --name a --data other".to_owned()
        } else {
            format!("status --nodes {address}")
        };
        let file = machine.home().join(format!("{role}.pem"));
        machine.run(&format!("status --nodes {address}")).says("a");
        for mode in [0o644, 0o640, 0o602] {
            std::fs::set_permissions(&file, std::fs::Permissions::from_mode(mode)).unwrap();
            machine.run(&words).complains(&["error[E0305]", "so others can use it", "chmod 600"]);
        }
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
        std::fs::rename(&file, machine.path("elsewhere")).unwrap();
        symlink(machine.path("elsewhere"), &file).unwrap();
        machine.run(&words).complains(&["is a symbolic link"]);
    }
}

// Case 10.

#[test]
fn those_who_speak_something_else_are_soon_rid_of() {
    let target = Target::start();
    let before = descriptors(target.pid());
    // TLS 1.2 without extensions, and what a browser's TLS 1.3 begins with.
    let old_tls =
        [&[0x16, 3, 1, 0, 45, 1, 0, 0, 41, 3, 3][..], &[7; 32], &[0, 0, 2, 0xc0, 0x2f, 1, 0]]
            .concat();
    let greetings: [&[u8]; 8] = [
        b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"SSH-2.0-OpenSSH_9.9\r\n",
        b"EHLO example.org\r\n",
        b"\x00\x00\x00\x85\xffSMBr\x00\x00\x00\x00",
        &[0; 64],
        &[0xff; 70_000],
        &old_tls,
    ];
    for greeting in greetings {
        let mut stream = target.tcp();
        let _ = stream.write_all(greeting);
        let said = check_closed(&stream);
        assert!(said.len() < 100, "{} bytes for a stranger", said.len());
    }
    let mut other_protocol = impostor(&target, &target.machine);
    other_protocol.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    speak(&target, other_protocol.clone()).expect_err("it is no web server");
    other_protocol.alpn_protocols.clear();
    speak(&target, other_protocol).expect_err("it speaks no protocol without a name");
    // A port scanner.
    for _ in 0..500 {
        drop(target.tcp());
    }
    until("all are gone", || descriptors(target.pid()) <= before + 8);
    target.check_unharmed();
    let log = target.log();
    assert!(log.lines().count() <= 3, "strangers fill the log: {log}");
}
