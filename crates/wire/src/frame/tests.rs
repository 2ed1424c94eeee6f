//! Frames survive any split of the stream, and lengths are believed only up to the bound.

use bytes::{BufMut, BytesMut};

use super::*;

#[test]
fn the_version_exchange_is_the_seeds_to_the_byte() {
    let mut out = BytesMut::new();
    put(&mut out, Kind::VERSION, 1, |body| body.put_u32_le(1));
    let want = [1, 1, 0, 0, 0, 0, 0, 0, 0, 4, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0];
    assert_eq!(&out[..], want);
}

#[test]
fn a_frame_split_at_every_byte_arrives_once() {
    let mut whole = BytesMut::new();
    put(&mut whole, Kind::DATA, 7, |body| body.put_slice(b"payload"));
    put(&mut whole, Kind::END, 7, |_| ());
    for cut in 0..whole.len() {
        let mut input = BytesMut::from(&whole[..cut]);
        let mut frames = Vec::new();
        while let Some(frame) = take(&mut input, 100).unwrap() {
            frames.push(frame);
        }
        input.extend_from_slice(&whole[cut..]);
        while let Some(frame) = take(&mut input, 100).unwrap() {
            frames.push(frame);
        }
        assert_eq!(frames.len(), 2, "cut at {cut}");
        assert_eq!(&frames[0].body[..], b"payload");
        assert!(input.is_empty());
    }
}

#[test]
fn a_length_over_the_bound_is_refused_before_its_body_arrives() {
    for length in [101, u32::MAX as u64, 1 << 63, u64::MAX] {
        let mut input = BytesMut::new();
        Header { kind: Kind::RUN, channel: 1, length }.put(&mut input);
        assert_eq!(take(&mut input, 100), Err(TooLong { kind: Kind::RUN, length, max: 100 }));
    }
}
