//! The head of a piece of a payload.

use wire::task::{PAYLOAD_HEAD, PayloadHead};

/// A head is read from the first bytes, or there are too few.
pub fn peek(bytes: &[u8]) {
    match PayloadHead::peek(bytes) {
        None => assert!(bytes.len() < PAYLOAD_HEAD),
        Some(head) => assert_eq!(head.to_bytes(), bytes[..PAYLOAD_HEAD]),
    }
}
