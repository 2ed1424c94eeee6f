//! The vectors, and what is none.

use super::*;

#[track_caller]
fn check(bytes: &[u8], want: Result<Request, Nonsense>) {
    let header = Header::peek(bytes).expect("a header");
    let payload = &bytes[crate::frame::HEADER..];
    let mut got = Ok(None);
    // However little has arrived, it is never misread, and the front is enough.
    for end in 0..=payload.len().min(FRONT_MAX) {
        got = open(&header, &payload[..end]);
        if !matches!(got, Ok(None)) {
            break;
        }
    }
    assert_eq!(got, want.map(Some));
}

fn message(kind: u8, payload: &[&[u8]]) -> Vec<u8> {
    let payload = payload.concat();
    let mut bytes = BytesMut::new();
    put(&mut bytes, kind, 3, |body| body.put_slice(&payload));
    bytes.to_vec()
}

#[test]
fn requests_are_read_by_their_front() {
    let mut bytes = BytesMut::new();
    put_version(&mut bytes, 1, 1);
    check(&bytes, Ok(Request::Version(1)));

    bytes.clear();
    put_core(&mut bytes, 2, "sum", 4);
    bytes.put_slice(b"\x7fELF");
    let library = Blob { start: 19, length: 4 };
    check(&bytes, Ok(Request::Core { name: "sum".to_owned(), library }));

    bytes.clear();
    put_job(&mut bytes, 3, 42, 3);
    bytes.put_slice(b"abc");
    check(&bytes, Ok(Request::Job { job: 42, input: Blob { start: 16, length: 3 } }));
}

#[test]
fn what_does_not_fill_its_payload_is_told_by_name() {
    let n = |number: u64| number.to_le_bytes();
    let cut = |what| Err(Nonsense::CutOff { what });
    check(&message(0x7f, &[b"abc"]), Err(Nonsense::UnknownType { kind: 0x7f }));
    check(&message(1, &[b"abc"]), Err(Nonsense::VersionLength { length: 3 }));
    check(&message(3, &[&n(1)]), cut("the numbers of a job"));
    check(&message(3, &[&n(1), &n(4), b"abc"]), cut("the job's input"));
    check(&message(3, &[&n(1), &n(u64::MAX), b"abc"]), cut("the job's input"));
    let trailing = Nonsense::Trailing { what: "the job's input", extra: 2 };
    check(&message(3, &[&n(1), &n(1), b"abc"]), Err(trailing));
    check(&message(2, &[b"abc"]), cut("the name of the core"));
    check(&message(2, &[&n(9), b"abc"]), cut("the name of the core"));
    check(&message(2, &[&n(u64::MAX), b"abc"]), cut("the name of the core"));
    check(&message(2, &[&n(3), b"abc"]), cut("the library"));
    check(&message(2, &[&n(3), b"abc", &n(1)]), cut("the library"));
    let trailing = Nonsense::Trailing { what: "the library", extra: 1 };
    check(&message(2, &[&n(3), b"abc", &n(1), b"xy"]), Err(trailing));
    check(&message(2, &[&n(3), b"a\xffc", &n(0)]), Err(Nonsense::NameNotText));
    let long = vec![b'a'; NAME_MAX as usize + 1];
    let too_long = Nonsense::NameTooLong { length: NAME_MAX + 1 };
    check(&message(2, &[&n(NAME_MAX + 1), &long, &n(0)]), Err(too_long));
    let longest = "a".repeat(NAME_MAX as usize);
    let library = Blob { start: NAME_MAX + 16, length: 1 };
    let fits = message(2, &[&n(NAME_MAX), longest.as_bytes(), &n(1), b"x"]);
    check(&fits, Ok(Request::Core { name: longest, library }));
}

#[test]
fn answers_are_read_or_refused() {
    assert_eq!(accepted(&[1]), Ok(true));
    assert_eq!(accepted(&[0]), Ok(false));
    assert_eq!(accepted(&[2]), Err(Garbled::Version));
    assert_eq!(accepted(&[]), Err(Garbled::Version));
    assert_eq!(loaded(&[]), Ok(()));
    assert_eq!(loaded(&[0]), Err(Garbled::Loaded { length: 1 }));
    let mut bytes = BytesMut::new();
    put_result(&mut bytes, 3, -7, 3);
    bytes.put_slice(b"xyz");
    let payload = &bytes[crate::frame::HEADER..];
    assert_eq!(result(payload), Ok(-7));
    assert_eq!(result(&payload[..payload.len() - 1]), Err(Garbled::Result));
    assert_eq!(result(&payload[..3]), Err(Garbled::Result));
    assert_eq!(result(&[]), Err(Garbled::Result));
    let header = |kind| Header { kind, channel: 0, length: 0 };
    assert_eq!(answer(&header(1)), Ok(Answer::Success));
    assert_eq!(answer(&header(0xff)), Ok(Answer::Error));
    assert_eq!(answer(&header(2)), Err(Garbled::UnknownType { kind: 2 }));
}
