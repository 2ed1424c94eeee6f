//! The one envelope: a 17-byte header, then a body.
//!
//! ```text
//!  0     1                 9                 17
//!  +-----+-----------------+-----------------+----------- - -
//!  |kind | channel  u64 LE | length   u64 LE | body
//!  +-----+-----------------+-----------------+----------- - -
//! ```
//!
//! It is the header of the worker socket protocol v1 (type, id, payload length), so a v1 peer's
//! first message is a frame here, and is answered in words it knows.

use bytes::{Buf, BufMut, Bytes, BytesMut};

/// Bytes of a header.
pub const HEADER: usize = 17;

/// What a frame is. The numbers are the protocol's; they are never given a second meaning.
pub struct Kind;

impl Kind {
    pub const VERSION: u8 = 0x01;

    pub const HELLO: u8 = 0x10;
    pub const WELCOME: u8 = 0x11;
    pub const PING: u8 = 0x12;
    pub const PONG: u8 = 0x13;
    pub const GOODBYE: u8 = 0x14;

    pub const DEFINE: u8 = 0x20;
    pub const CREDIT: u8 = 0x21;
    pub const RUN: u8 = 0x22;
    pub const DONE: u8 = 0x23;
    pub const CANCEL: u8 = 0x24;
    pub const TAKE_BACK: u8 = 0x25;
    pub const RETURNED: u8 = 0x26;
    pub const DATA: u8 = 0x27;
    pub const END: u8 = 0x28;
    pub const WINDOW: u8 = 0x29;
    pub const PAYLOAD: u8 = 0x2a;
    pub const LOG: u8 = 0x2e;
    pub const JOB: u8 = 0x2f;

    pub const HAVE: u8 = 0x30;
    pub const KNOWN: u8 = 0x31;
    pub const PUT: u8 = 0x32;
    pub const STORED: u8 = 0x33;
    pub const LEND: u8 = 0x34;
    pub const LENT: u8 = 0x35;
    pub const FETCH: u8 = 0x36;
    pub const FETCHED: u8 = 0x37;

    pub const MEMBERS: u8 = 0x40;
    pub const STATUS_ASK: u8 = 0x41;
    pub const STATUS: u8 = 0x42;
    pub const MEMBERS_ASK: u8 = 0x43;
    pub const WHY_ASK: u8 = 0x48;
    pub const WHY: u8 = 0x49;
    pub const JOBS_ASK: u8 = 0x4a;
    pub const JOBS: u8 = 0x4b;

    pub const JOIN: u8 = 0x50;
    pub const JOINED: u8 = 0x51;

    pub const SETUP: u8 = 0x60;
    pub const READY: u8 = 0x61;
    pub const BUFFER: u8 = 0x62;
    pub const NEED: u8 = 0x63;

    pub const REGION_CREATE: u8 = 0x70;
    pub const REGION_CREATED: u8 = 0x71;
    pub const REGIONS_ASK: u8 = 0x72;
    pub const REGIONS: u8 = 0x73;
    pub const REGION_DROP: u8 = 0x74;
    pub const REGION_DROPPED: u8 = 0x75;
    pub const ATTACH: u8 = 0x76;
    pub const ATTACHED: u8 = 0x77;
    pub const REQUEST: u8 = 0x78;
    pub const ANSWER: u8 = 0x79;
    pub const CHANGED: u8 = 0x7a;
    pub const RECALL: u8 = 0x7b;

    pub const BUILT: u8 = 0x80;
    pub const REFUSED: u8 = 0x81;
    pub const WAKE: u8 = 0x82;
    pub const WOKEN: u8 = 0x83;
    pub const STDIO: u8 = 0x84;
    pub const TAKEN: u8 = 0x85;
    pub const CLOSED: u8 = 0x86;
    pub const RESIZE: u8 = 0x88;
    pub const STOPPED: u8 = 0x89;
    pub const EXITED: u8 = 0x8a;
    pub const MODES: u8 = 0x8d;
    pub const VISITS_ASK: u8 = 0x8e;
    pub const VISITS: u8 = 0x8f;
    pub const CALL: u8 = 0x90;
    pub const IMAGE: u8 = 0x91;
}

/// A frame whose body is still bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    pub kind: u8,
    pub channel: u64,
    pub body: Bytes,
}

/// A header alone: what a bulk connection reads first, since it moves bodies without holding them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    pub kind: u8,
    pub channel: u64,
    pub length: u64,
}

/// A frame says that it is longer than this connection allows.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("a frame of kind {kind:#04x} announces {length} bytes; this connection allows {max}")]
pub struct TooLong {
    pub kind: u8,
    pub length: u64,
    pub max: u64,
}

impl Header {
    /// The header at the start of `input`, once all of it is there.
    pub fn peek(input: &[u8]) -> Option<Self> {
        let bytes: &[u8; HEADER] = input.first_chunk()?;
        let word = |at: usize| {
            let mut word = [0; 8];
            word.copy_from_slice(&bytes[at..at + 8]);
            u64::from_le_bytes(word)
        };
        Some(Self { kind: bytes[0], channel: word(1), length: word(9) })
    }

    pub fn put(&self, output: &mut BytesMut) {
        let mut bytes = [0; HEADER];
        bytes[0] = self.kind;
        bytes[1..9].copy_from_slice(&self.channel.to_le_bytes());
        bytes[9..].copy_from_slice(&self.length.to_le_bytes());
        output.put_slice(&bytes);
    }
}

/// Splits the next whole frame off `input`, without copying its body. `None`: more must arrive.
pub fn take(input: &mut BytesMut, body_max: u64) -> Result<Option<Frame>, TooLong> {
    let Some(Header { kind, channel, length }) = Header::peek(input) else { return Ok(None) };
    if length > body_max {
        return Err(TooLong { kind, length, max: body_max });
    }
    let Ok(length) = usize::try_from(length) else { return Ok(None) };
    if input.len() - HEADER < length {
        return Ok(None);
    }
    input.advance(HEADER);
    Ok(Some(Frame { kind, channel, body: input.split_to(length).freeze() }))
}

/// Appends a frame whose body is written by `body`, and fills in its length.
pub fn put(output: &mut BytesMut, kind: u8, channel: u64, body: impl FnOnce(&mut BytesMut)) {
    let start = output.len();
    Header { kind, channel, length: 0 }.put(output);
    body(output);
    let length = (output.len() - start - HEADER) as u64;
    output[start + 9..start + HEADER].copy_from_slice(&length.to_le_bytes());
}

#[cfg(test)]
mod tests;
