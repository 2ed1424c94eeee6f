//! What goes with any copy: what its node is told of it, what is kept out of it, what it has to read.

use std::fs;

use bytes::Bytes;
use wire::Message;
use wire::limits::{STDIO_CHUNK_MAX, VISIT_TEXT_MAX};
use wire::visit::{Begin, Closed, Stdio};

use crate::copied::Words;

/// Bytes of keys, which are not to be seen even here.
pub(super) type Forms = Vec<zeroize::Zeroizing<Vec<u8>>>;

/// What the node is told for people.
pub(super) fn begin() -> Begin {
    let read = |path| fs::read_to_string(path).unwrap_or_default().trim_end().to_owned();
    let cut = |mut text: String| {
        text.truncate(text.floor_char_boundary(VISIT_TEXT_MAX));
        text
    };
    Begin {
        from: cut(read("/proc/sys/kernel/hostname")),
        pid: std::process::id(),
        command: cut(read("/proc/self/comm")),
        memory: 0,
        terminal: false,
    }
}

/// All that a copy has to read: what it links to the cluster with. It comes once the copy runs, which waits for it
/// when it needs it.
pub(super) fn handed_on(words: &Words) -> Vec<Message> {
    let (mut at, mut messages) = (0, Vec::new());
    for piece in words.chunks(STDIO_CHUNK_MAX) {
        let bytes = Bytes::copy_from_slice(piece);
        messages.push(Message::Stdio(Stdio { stream: 0, at }, bytes));
        at += piece.len() as u64;
    }
    messages.push(Message::Closed(Closed { stream: 0, at }));
    messages
}
