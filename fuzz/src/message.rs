//! One frame of any kind and body.
//!
//! What decodes is encoded again, within the bound of a control connection if it came within it,
//! and decodes to the same.

use bytes::{Bytes, BytesMut};
use wire::frame::{self, Frame};

/// The first byte is the kind, the rest the body.
pub fn decode(bytes: &[u8]) {
    let Some((&kind, body)) = bytes.split_first() else { return };
    let frame = Frame { kind, channel: 7, body: Bytes::copy_from_slice(body) };
    if let Ok((channel, message)) = wire::decode(frame) {
        assert_eq!(channel, 7);
        let mut output = BytesMut::new();
        message.encode(channel, &mut output);
        let length = body.len() as u64;
        let again = frame::take(&mut output, length);
        let again = again.expect("what is encoded is no longer than what was decoded");
        let again = again.expect("what is encoded is whole");
        assert!(output.is_empty());
        assert_eq!(wire::decode(again), Ok((7, message)));
    }
}
