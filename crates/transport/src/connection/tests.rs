//! Connections over real sockets: handshakes, refusals, cuts, back-pressure.

use super::*;
use crate::{Authority, Credentials, Name, Role};
use bytes::BufMut;
use mio::net::{TcpListener, TcpStream};
use mio::{Events, Poll};
use std::io::{Read, Write};
use std::time::{Duration, SystemTime};

const LEFT: Token = Token(0);
const RIGHT: Token = Token(1);

#[test]
fn both_sides_learn_who_the_other_is() {
    let authority = authority();
    let mut pair = Pair::tls(&node(&authority), &client(&authority));
    pair.until_ready().unwrap();
    let seen = |connection: &Connection| {
        let peer = connection.peer().unwrap();
        (peer.name.to_string(), peer.role)
    };
    assert_eq!(seen(&pair.left), ("alpha".into(), Role::Node));
    assert_eq!(seen(&pair.right), ("laptop".into(), Role::Client));
}

#[test]
fn bytes_arrive_in_order_and_whole_both_ways() {
    let authority = authority();
    let mut pair = Pair::tls(&node(&authority), &client(&authority));
    // Queued before the handshake, and longer than any one record, read or piece.
    let long = pattern(3_000_001);
    pair.left.output().put_slice(&long);
    pair.right.output().put_slice(b"short");
    pair.until(|left, right| left.input.len() == 5 && right.input.len() == long.len()).unwrap();
    assert_eq!(pair.left.input()[..], b"short"[..]);
    assert!(pair.right.input()[..] == long[..]);
}

#[test]
fn every_length_around_a_record_and_a_piece_arrives_exactly() {
    let authority = authority();
    let mut pair = Pair::tls(&node(&authority), &client(&authority));
    for edge in [1, RECORD_MAX, SMALL_READ, PIECE_MAX, READ_MAX] {
        for len in edge.saturating_sub(1)..=edge + 1 {
            let bytes = pattern(len);
            pair.left.output().put_slice(&bytes);
            pair.until(|_, right| right.input.len() >= len).unwrap();
            assert!(pair.right.input().split()[..] == bytes[..], "{len} bytes");
        }
    }
}

#[test]
fn frames_are_split_off_without_disturbing_the_rest() {
    let authority = authority();
    let mut pair = Pair::tls(&node(&authority), &client(&authority));
    let bytes = pattern(100_000);
    pair.left.output().put_slice(&bytes);
    let mut frames = Vec::new();
    pair.until(|_, right| {
        while right.input.len() >= 1000 {
            frames.push(right.input().split_to(1000).freeze());
        }
        frames.len() == 100
    })
    .unwrap();
    assert!(frames.concat() == bytes);
}

#[test]
fn sending_from_the_callers_memory_keeps_the_order() {
    let authority = authority();
    let mut pair = Pair::tls(&node(&authority), &client(&authority));
    pair.until_ready().unwrap();
    let bytes = pattern(2_000_000);
    pair.left.output().put_slice(&bytes[..10]);
    let mut sent = 10;
    pair.until(|left, right| {
        sent += left.send(&bytes[sent..]).unwrap();
        right.input.len() == bytes.len()
    })
    .unwrap();
    assert!(pair.right.input()[..] == bytes[..]);
}

#[test]
fn one_byte_at_a_time_is_enough() {
    let authority = authority();
    let mut wire = Wire::tls(&node(&authority), &client(&authority));
    wire.left.output().put_slice(b"ping");
    wire.pump(1, |_, _| (), |_, right| right.input.len() == 4);
    wire.right.output().put_slice(b"pong");
    wire.pump(1, |_, _| (), |left, _| left.input.len() == 4);
    assert_eq!(wire.left.input()[..], b"pong"[..]);
    assert!(wire.left.partial.is_empty() && wire.right.partial.is_empty());
}

#[test]
fn messages_split_over_many_records_do_not_disturb_sending() {
    let authority = authority();
    let mut listen = ListenTls::new(&node(&authority)).unwrap();
    let mut dial = dial(&client(&authority));
    listen.crumble();
    dial.crumble();
    let mut wire = Wire::dialled(&listen, &dial);
    // The tickets follow the handshake; while each is only partly there, something is sent.
    let mut sent = 0;
    wire.right.output().put_slice(b"after the tickets");
    let error = wire.pump(
        1,
        |_, _| (),
        |left, right| {
            if left.is_ready() && left.input.is_empty() {
                left.output().put_u8(7);
                sent += 1;
            }
            !left.input.is_empty() && right.input.len() == sent
        },
    );
    assert!(error.is_none(), "{error:?}");
    assert!(sent > 100, "only {sent} bytes were sent meanwhile");
}

#[test]
fn crumbs_that_never_make_a_message_are_cut_off() {
    let (listener, address) = listener();
    let stranger = std::net::TcpStream::connect(address).unwrap();
    stranger.set_nonblocking(true).unwrap();
    let (stream, from) = accept(&listener);
    let listen = ListenTls::new(&node(&authority())).unwrap();
    let mut right = Connection::accept(stream, from, &listen).unwrap();
    // Records of one byte each, of a handshake message that claims the greatest length.
    let mut crumbs: Vec<u8> = Vec::new();
    for byte in [1, 0, 0xff, 0xff].into_iter().chain(std::iter::repeat_n(0, 60_000)) {
        crumbs.extend_from_slice(&[22, 3, 3, 0, 1, byte]);
    }
    let mut rest = &crumbs[..];
    let error = loop {
        if let Ok(count) = (&stranger).write(rest) {
            rest = &rest[count..];
        }
        match right.read() {
            Ok(_) => assert!(right.partial.len() <= PARTIAL_MAX),
            Err(error) => break error,
        }
    };
    assert!(matches!(error, Error::PeerGarbled { .. }), "{error:?}");
}

#[test]
fn a_changed_byte_is_noticed_by_both() {
    let authority = authority();
    let mut wire = Wire::tls(&node(&authority), &client(&authority));
    wire.pump(4096, |_, _| (), |left, right| left.is_ready() && right.is_ready());
    wire.left.output().put_slice(b"pay 10");
    let flip = |towards, bytes: &mut [u8]| {
        if towards == RIGHT {
            *bytes.last_mut().unwrap() ^= 1;
        }
    };
    let error = wire.pump(4096, flip, |_, _| false);
    assert!(matches!(error, Some(Error::PeerGarbled { .. })), "{error:?}");
    // It stays failed, and the other side is told why.
    assert!(matches!(wire.right.read(), Err(Error::PeerGarbled { .. })));
    assert!(matches!(wire.right.flush(), Err(Error::PeerGarbled { .. })));
    wire.to_right.set_nonblocking(false).unwrap();
    let mut alert = [0; 256];
    let count = wire.to_right.read(&mut alert).unwrap();
    wire.from_left.write_all(&alert[..count]).unwrap();
    let error = loop {
        if let Err(error) = wire.left.read() {
            break error;
        }
    };
    assert!(matches!(error, Error::RefusedByPeer { .. }), "{error:?}");
    assert!(wire.right.input.is_empty());
}

#[test]
fn other_authoritys_node_is_refused() {
    let (ours, theirs) = (authority(), authority());
    check_refused(&ListenTls::new(&node(&theirs)).unwrap(), &dial(&client(&ours)), Side::Left);
}

#[test]
fn other_authoritys_client_is_refused() {
    // The client trusts our authority, but shows a certificate that another signed.
    let (ours, theirs) = (authority(), authority());
    let mut stranger = client(&theirs);
    stranger.trust(ours.certificate().clone());
    check_refused(&ListenTls::new(&node(&ours)).unwrap(), &dial(&stranger), Side::Right);
}

#[test]
fn expired_certificates_are_refused_on_both_sides() {
    let authority = Authority::create(now() - 3 * YEAR).unwrap();
    let expired = |role| authority.issue(role, &"old".parse::<Name>().unwrap(), now() - 2 * YEAR);
    let old_node = ListenTls::new(&expired(Role::Node).unwrap()).unwrap();
    check_refused(&old_node, &dial(&client(&authority)), Side::Left);
    let old_client = dial(&expired(Role::Client).unwrap());
    check_refused(&ListenTls::new(&node(&authority)).unwrap(), &old_client, Side::Right);
}

#[test]
fn what_a_copy_was_handed_on_is_refused_after_its_day_and_by_another_authoritys_nodes() {
    let (ours, theirs) = (authority(), authority());
    let delegated = |days| {
        let name = "laptop".parse::<Name>().unwrap();
        let words = ours.delegate(&name, now() - days * crate::DELEGATION_VALIDITY).unwrap();
        let body = &words[wire::delegation::LENGTH..];
        dial(&Credentials::of_delegation(body).unwrap().unwrap())
    };
    let listen = ListenTls::new(&node(&ours)).unwrap();
    Pair::dialled(&listen, &delegated(0)).until_ready().unwrap();
    check_refused(&listen, &delegated(2), Side::Right);
    check_refused(&ListenTls::new(&node(&theirs)).unwrap(), &delegated(0), Side::Left);
}

#[test]
fn client_that_answers_as_a_node_is_refused() {
    let authority = authority();
    let impostor = ListenTls::new(&client(&authority)).unwrap();
    check_refused(&impostor, &dial(&client(&authority)), Side::Left);
    let impostor = ListenTls::new(&issue(&authority, Role::Admin, "root")).unwrap();
    check_refused(&impostor, &DialTls::join(authority.fingerprint()).unwrap(), Side::Left);
}

#[test]
fn peer_without_a_certificate_is_a_stranger() {
    let authority = authority();
    let listen = ListenTls::new(&node(&authority)).unwrap();
    let mut pair = Pair::dialled(&listen, &DialTls::join(authority.fingerprint()).unwrap());
    pair.until_ready().unwrap();
    assert_eq!(pair.right.peer(), None);
    assert_eq!(pair.left.peer().unwrap().name.as_str(), "alpha");
}

#[test]
fn join_believes_only_the_authority_that_the_token_names() {
    let authority = authority();
    let listen = ListenTls::new(&node(&authority)).unwrap();
    let other = DialTls::join(self::authority().fingerprint()).unwrap();
    check_refused(&listen, &other, Side::Left);
    // Showing the right authority beside a certificate that it did not sign does not help.
    let mut impostor = node(&self::authority());
    impostor.show(authority.certificate().clone());
    let listen = ListenTls::new(&impostor).unwrap();
    check_refused(&listen, &DialTls::join(authority.fingerprint()).unwrap(), Side::Left);
}

#[test]
fn stream_that_ends_without_goodbye_is_an_error_even_with_its_last_bytes() {
    let authority = authority();
    let mut pair = Pair::tls(&node(&authority), &client(&authority));
    pair.until_ready().unwrap();
    pair.right.output().put_slice(b"last words");
    assert_eq!(pair.right.flush().unwrap(), FlushOutcome::Done);
    // What a killed process leaves: the kernel ends the stream, nobody says goodbye.
    pair.right.socket.shutdown().unwrap();
    let error = pair.until(|_, _| false).unwrap_err();
    assert!(matches!(error, Error::Truncated { .. }), "{error}");
    assert_eq!(pair.left.input()[..], b"last words"[..]);
}

#[test]
fn goodbye_ends_the_stream_and_leaves_the_other_direction_open() {
    let authority = authority();
    let mut pair = Pair::tls(&node(&authority), &client(&authority));
    pair.until_ready().unwrap();
    pair.right.output().put_slice(b"last words");
    pair.right.close();
    pair.until(|left, _| left.read().unwrap() == ReadOutcome::Closed).unwrap();
    assert_eq!(pair.left.input()[..], b"last words"[..]);
    pair.left.output().put_slice(b"answer");
    pair.until(|_, right| right.input.len() == 6).unwrap();
    pair.right.output().put_slice(b"too late");
    assert!(matches!(pair.right.flush(), Err(Error::Closed { .. })));
}

#[test]
fn unread_peer_blocks_the_sender_and_bounds_its_records() {
    let authority = authority();
    let mut pair = Pair::tls(&node(&authority), &client(&authority));
    pair.until_ready().unwrap();
    // More than the kernel's buffers on both sides hold.
    let bytes = pattern(32 << 20);
    pair.left.output().put_slice(&bytes);
    for _ in 0..100 {
        assert_eq!(pair.left.flush().unwrap(), FlushOutcome::Blocked);
        assert!(pair.left.records.len() <= SCRATCH_LEN, "{} records", pair.left.records.len());
    }
    assert!(pair.left.unsent() > 16 << 20);
    let mut got = 0;
    pair.until(|_, right| {
        let input = right.input().split();
        assert!(input[..] == bytes[got..got + input.len()]);
        got += input.len();
        got == bytes.len()
    })
    .unwrap();
    assert_eq!(pair.left.unsent(), 0);
}

#[test]
fn idle_connection_holds_little() {
    let authority = authority();
    let mut pair = Pair::tls(&node(&authority), &client(&authority));
    let exchange = |pair: &mut Pair, len: usize| {
        pair.left.output().put_slice(&pattern(len));
        pair.until(|_, right| right.input.len() == len).unwrap();
        pair.right.input().clear();
        pair.right.output().put_slice(&pattern(len));
        pair.until(|left, _| left.input.len() == len).unwrap();
        pair.left.input().clear();
    };
    exchange(&mut pair, 1 << 20);
    for _ in 0..=QUIET_READS {
        exchange(&mut pair, 64);
    }
    for end in [&pair.left, &pair.right] {
        let held = end.input.capacity() + end.output.capacity();
        assert!(held + end.partial.capacity() + end.records.capacity() < 16 * 1024, "{held}");
    }
}

#[test]
fn unix_socket_carries_plain_bytes_and_a_plain_end() {
    let (left, right) = mio::net::UnixStream::pair().unwrap();
    let mut pair = Pair::of(Connection::plain(left), Connection::plain(right));
    assert!(pair.left.is_ready() && pair.left.peer().is_none());
    let name = "local".parse::<Name>().unwrap();
    pair.left.set_peer(Peer { name, role: Role::Admin, fingerprint: None });
    assert_eq!(pair.left.peer().unwrap().role, Role::Admin);
    let bytes = pattern(3_000_000);
    pair.left.output().put_slice(&bytes);
    pair.until(|_, right| right.input.len() == bytes.len()).unwrap();
    assert!(pair.right.input()[..] == bytes[..]);
    pair.left.close();
    pair.until(|_, right| right.read().unwrap() == ReadOutcome::Closed).unwrap();
}

#[test]
fn what_speaks_no_tls_is_turned_away() {
    let (listener, address) = listener();
    let mut stranger = std::net::TcpStream::connect(address).unwrap();
    stranger.write_all(b"GET / HTTP/1.1\r\nHost: node\r\n\r\n").unwrap();
    let (stream, from) = accept(&listener);
    let listen = ListenTls::new(&node(&authority())).unwrap();
    let mut right = Connection::accept(stream, from, &listen).unwrap();
    let mut poll = Poll::new().unwrap();
    poll.registry().register(&mut right, RIGHT, Interest::READABLE).unwrap();
    poll.poll(&mut Events::with_capacity(1), None).unwrap();
    let error = right.read().unwrap_err();
    assert!(matches!(error, Error::PeerGarbled { .. }), "{error}");
    // It hears why, as TLS says it, before the end.
    drop(right);
    let mut alert = Vec::new();
    stranger.read_to_end(&mut alert).unwrap();
    assert_eq!(alert.first(), Some(&21), "an alert record");
}

#[test]
fn nobody_listening_is_said_so() {
    let (listener, address) = listener();
    drop(listener);
    let left = Connection::dial(address, &dial(&client(&authority())));
    let mut poll = Poll::new().unwrap();
    let error = left
        .and_then(|mut left| {
            let both = Interest::READABLE | Interest::WRITABLE;
            poll.registry().register(&mut left, LEFT, both).unwrap();
            poll.poll(&mut Events::with_capacity(1), None).unwrap();
            left.read()
        })
        .unwrap_err();
    assert!(matches!(error, Error::Unreachable { .. }) && error.is_retryable(), "{error}");
}

// Helpers

const YEAR: Duration = Duration::from_secs(365 * 24 * 60 * 60);

fn now() -> SystemTime {
    SystemTime::now()
}

fn authority() -> Authority {
    Authority::create(now()).unwrap()
}

fn issue(authority: &Authority, role: Role, name: &str) -> Credentials {
    authority.issue(role, &name.parse::<Name>().unwrap(), now()).unwrap()
}

fn node(authority: &Authority) -> Credentials {
    issue(authority, Role::Node, "alpha")
}

fn client(authority: &Authority) -> Credentials {
    issue(authority, Role::Client, "laptop")
}

fn dial(credentials: &Credentials) -> DialTls {
    DialTls::new(credentials).unwrap()
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
    Left,
    Right,
}

/// `judge` does not trust the other side and says so; the other side is told.
#[track_caller]
fn check_refused(listen: &ListenTls, dial: &DialTls, judge: Side) {
    let mut pair = Pair::dialled(listen, dial);
    let first = pair.until(|_, _| false).unwrap_err();
    assert!(matches!(first, Error::PeerNotTrusted { .. }), "{first:?}");
    let (judging, judged) = match judge {
        Side::Left => (&pair.left, &mut pair.right),
        Side::Right => (&pair.right, &mut pair.left),
    };
    assert!(judging.peer().is_none() && !judging.is_ready());
    let second = loop {
        match judged.read() {
            Ok(ReadOutcome::Closed) => panic!("a goodbye instead of a refusal"),
            Ok(_) => std::thread::yield_now(),
            Err(error) => break error,
        }
    };
    assert!(matches!(second, Error::RefusedByPeer { .. }), "{second:?}");
    assert!(first.is_refusal() && second.is_refusal());
}

fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|i| (i * 31 + i / 251) as u8).collect()
}

/// Two ends in one thread, driven by one poll. `left` dials, `right` answers.
struct Pair {
    poll: Poll,
    left: Connection,
    right: Connection,
}

impl Pair {
    fn tls(answering: &Credentials, dialling: &Credentials) -> Self {
        Self::dialled(&ListenTls::new(answering).unwrap(), &DialTls::new(dialling).unwrap())
    }

    fn dialled(listen: &ListenTls, dial: &DialTls) -> Self {
        let (listener, address) = listener();
        let left = Connection::dial(address, dial).unwrap();
        let (stream, from) = accept(&listener);
        Self::of(left, Connection::accept(stream, from, listen).unwrap())
    }

    fn of(mut left: Connection, mut right: Connection) -> Self {
        let poll = Poll::new().unwrap();
        let both = Interest::READABLE | Interest::WRITABLE;
        poll.registry().register(&mut left, LEFT, both).unwrap();
        poll.registry().register(&mut right, RIGHT, both).unwrap();
        Self { poll, left, right }
    }

    fn until_ready(&mut self) -> Result<(), Error> {
        self.until(|left, right| left.is_ready() && right.is_ready())
    }

    /// Drives both ends by the rules in the module's head until `enough`.
    fn until(
        &mut self,
        mut enough: impl FnMut(&mut Connection, &mut Connection) -> bool,
    ) -> Result<(), Error> {
        let mut events = Events::with_capacity(8);
        drive(&mut self.left)?;
        drive(&mut self.right)?;
        while !enough(&mut self.left, &mut self.right) {
            self.poll.poll(&mut events, Some(Duration::from_secs(10))).unwrap();
            assert!(!events.is_empty(), "nothing moves any more");
            for event in &events {
                let end = if event.token() == LEFT { &mut self.left } else { &mut self.right };
                end.observe(event);
                drive(end)?;
            }
        }
        Ok(())
    }
}

fn drive(end: &mut Connection) -> Result<(), Error> {
    while end.read()? == ReadOutcome::More {}
    end.flush()?;
    Ok(())
}

fn listener() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

fn accept(listener: &TcpListener) -> (TcpStream, SocketAddr) {
    // The dial has begun, so the kernel has the connection at once or very soon.
    loop {
        match listener.accept() {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => std::thread::yield_now(),
            result => return result.unwrap(),
        }
    }
}

/// Two ends with a wire between them that the test holds.
struct Wire {
    left: Connection,
    right: Connection,
    from_left: std::net::TcpStream,
    to_right: std::net::TcpStream,
}

impl Wire {
    fn tls(answering: &Credentials, dialling: &Credentials) -> Self {
        Self::dialled(&ListenTls::new(answering).unwrap(), &dial(dialling))
    }

    fn dialled(listen: &ListenTls, dial: &DialTls) -> Self {
        let ((outer, outer_address), (inner, inner_address)) = (listener(), listener());
        let left = Connection::dial(outer_address, dial).unwrap();
        let from_left = std::net::TcpStream::from(accept(&outer).0);
        let to_right = std::net::TcpStream::connect(inner_address).unwrap();
        let (stream, from) = accept(&inner);
        let right = Connection::accept(stream, from, listen).unwrap();
        for end in [&from_left, &to_right] {
            end.set_nonblocking(true).unwrap();
            end.set_nodelay(true).unwrap();
        }
        Self { left, right, from_left, to_right }
    }

    /// Carries `step` bytes at a time, through `change`, until `enough` or an error.
    fn pump(
        &mut self,
        step: usize,
        mut change: impl FnMut(Token, &mut [u8]),
        mut enough: impl FnMut(&mut Connection, &mut Connection) -> bool,
    ) -> Option<Error> {
        let mut buffer = vec![0; step];
        while !enough(&mut self.left, &mut self.right) {
            for end in [&mut self.left, &mut self.right] {
                if let Err(error) = drive(end) {
                    return Some(error);
                }
            }
            let ways =
                [(&self.from_left, &self.to_right, RIGHT), (&self.to_right, &self.from_left, LEFT)];
            for (mut from, mut to, towards) in ways {
                if let Ok(count) = from.read(&mut buffer) {
                    change(towards, &mut buffer[..count]);
                    to.write_all(&buffer[..count]).unwrap();
                }
            }
        }
        None
    }
}
