//! Headers, lengths, and what is not believed.

use super::*;

fn input(parts: &[&[u8]]) -> BytesMut {
    BytesMut::from(&parts.concat()[..])
}

fn header(kind: u8, offset: i32, length: i32, version: i32) -> Vec<u8> {
    let mut bytes = BytesMut::new();
    Header { kind, offset, length, version }.put(&mut bytes);
    bytes.to_vec()
}

#[test]
fn integers_are_big_endian_and_signed() {
    let bytes = header(5, 1, 8, -1);
    assert_eq!(bytes, [5, 0, 0, 0, 1, 0, 0, 0, 8, 0xff, 0xff, 0xff, 0xff]);
    let again = Header::peek(&bytes).unwrap();
    assert_eq!(again, Header { kind: 5, offset: 1, length: 8, version: -1 });
    assert_eq!(Header::peek(&bytes[..12]), None);
}

#[test]
fn a_command_is_taken_when_all_of_it_is_there() {
    let whole = [&header(5, 1, 4, 7)[..], b"abcd"].concat();
    for cut in 0..whole.len() {
        assert_eq!(Command::take(&mut input(&[&whole[..cut]]), 4), Ok(None), "cut at {cut}");
    }
    let mut both = input(&[&whole, &header(2, 3, 99, 4)]);
    let update = Command::Update { page: 1, version: 7, bytes: Bytes::from_static(b"abcd") };
    assert_eq!(Command::take(&mut both, 4), Ok(Some(update)));
    // A length where there is no data means nothing.
    assert_eq!(Command::take(&mut both, 4), Ok(Some(Command::Read { page: 3, version: 4 })));
    assert!(both.is_empty());
}

#[test]
fn a_wrong_length_is_seen_in_the_header_alone() {
    for kind in [Type::UNLOCK, Type::UPDATE] {
        for length in [0, 1, 39, 41, 4096, i32::MAX, -1, i32::MIN] {
            let mut bytes = input(&[&header(kind, 0, length, 0)]);
            assert_eq!(Command::take(&mut bytes, 40), Err(WrongLength { length, page: 40 }));
        }
    }
}

#[test]
fn what_is_not_known_keeps_its_header() {
    let mut bytes = input(&[&header(77, 1, 2, 3)]);
    let header = Header { kind: 77, offset: 1, length: 2, version: 3 };
    assert_eq!(Command::take(&mut bytes, 8), Ok(Some(Command::Unknown(header))));
    let mut answer = BytesMut::new();
    Answer::Unknown(header).put(&mut answer);
    assert_eq!(Header::peek(&answer), Some(Header { length: 0, ..header }));
}

#[test]
fn an_answer_is_believed_only_where_it_fits_the_question() {
    let of = |kind, length, version| Header { kind, offset: 0, length, version };
    assert_eq!(Answer::data(&of(2, 0, 1), 2, 8), Ok(0));
    assert_eq!(Answer::data(&of(3, 8, 1), 3, 8), Ok(8));
    assert_eq!(Answer::data(&of(100, 0, 0), 2, 8), Ok(0));
    assert_eq!(Answer::data(&of(101, 0, 0), 4, 8), Ok(0));
    let garbled = [
        (of(3, 0, 1), 2, Garbled::Type { kind: 3, asked: 2 }),
        (of(100, 0, 1), 1, Garbled::Type { kind: 100, asked: 1 }),
        (of(2, 7, 1), 2, Garbled::Length { length: 7, page: 8 }),
        (of(2, i32::MAX, 1), 2, Garbled::Length { length: i32::MAX, page: 8 }),
        (of(2, -1, 1), 2, Garbled::Length { length: -1, page: 8 }),
        (of(4, 8, 1), 4, Garbled::Length { length: 8, page: 8 }),
        (of(1, 8, 1), 1, Garbled::Length { length: 8, page: 8 }),
        (of(2, 8, 0), 2, Garbled::Version { version: 0 }),
        (of(5, 0, -1), 5, Garbled::Version { version: -1 }),
    ];
    for (header, asked, why) in garbled {
        assert_eq!(Answer::data(&header, asked, 8), Err(why));
    }
}
