//! A stream of frames, in pieces of any size.
//!
//! However the stream is cut, the same frames come out; none is longer than the bound; put together
//! again they are the bytes that went in.

use bytes::{BufMut, BytesMut};
use wire::frame::{self, Frame, HEADER, Header, TooLong};

/// The first byte chooses the bound, the second the size of the pieces.
pub fn split(bytes: &[u8]) {
    let [bound, piece, stream @ ..] = bytes else { return };
    let body_max = u64::from(*bound) * 16;
    let whole = frames(stream, stream.len().max(1), body_max);
    let pieces = frames(stream, usize::from(*piece).max(1), body_max);
    assert_eq!(whole.0, pieces.0, "the cuts show");
    assert_eq!(whole.1, pieces.1, "the cuts show in the error");
    if let Some(TooLong { length, max, .. }) = whole.1 {
        assert!(length > max);
    }

    let mut again = BytesMut::new();
    for Frame { kind, channel, body } in &whole.0 {
        assert!(body.len() as u64 <= body_max);
        frame::put(&mut again, *kind, *channel, |output| output.put_slice(body));
    }
    assert!(stream.starts_with(&again), "frames are not what went in");
    let rest = &stream[again.len()..];
    match Header::peek(rest) {
        None => assert!(rest.len() < HEADER),
        Some(next) if next.length > body_max => assert!(whole.1.is_some()),
        Some(next) => assert!(((rest.len() - HEADER) as u64) < next.length, "a frame was kept"),
    }
}

fn frames(stream: &[u8], piece: usize, body_max: u64) -> (Vec<Frame>, Option<TooLong>) {
    let mut input = BytesMut::new();
    let mut frames = Vec::new();
    for piece in stream.chunks(piece) {
        input.extend_from_slice(piece);
        loop {
            match frame::take(&mut input, body_max) {
                Ok(Some(frame)) => frames.push(frame),
                Ok(None) => break,
                Err(error) => return (frames, Some(error)),
            }
        }
    }
    (frames, None)
}
