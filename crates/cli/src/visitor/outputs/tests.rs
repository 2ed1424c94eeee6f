//! Outputs whose readers are slow, or cannot be written to.

use std::io::pipe;

use nix::fcntl::{FcntlArg, fcntl};
use nix::poll::PollFlags;

use super::*;

fn wait_for(outputs: &mut Outputs, wanted: impl Fn(&mut Outputs) -> bool) {
    while !wanted(outputs) {
        let mut watched = [PollFd::new(outputs.heard(), PollFlags::POLLIN)];
        poll(&mut watched, PollTimeout::from(30_000_u16)).unwrap();
        outputs.look();
    }
}

/// Bytes of a stream come, from there on.
fn come(outputs: &mut Outputs, stream: u8, at: u64, bytes: &[u8]) {
    let output = outputs.of(stream).unwrap();
    assert_eq!(output.receiving.arrived(at, bytes.len()), Some(0));
    outputs.put(stream, bytes).unwrap();
}

#[test]
fn who_is_not_read_waits_alone_and_loses_nothing() {
    let (mut reader, writer) = pipe().unwrap();
    let (mut other, second) = pipe().unwrap();
    let mut outputs = Outputs::new().unwrap();
    outputs.add(1, &writer);
    outputs.add(2, &second);
    // More than the pipe takes.
    fcntl(&writer, FcntlArg::F_SETPIPE_SZ(4096)).unwrap();
    drop((writer, second));
    let bytes: Vec<u8> = (0..60_000_u32).map(|at| (at % 251) as u8).collect();
    come(&mut outputs, 1, 0, &bytes);
    come(&mut outputs, 2, 0, b"heard");
    let mut read = [0; 5];
    other.read_exact(&mut read).unwrap();
    assert_eq!(&read, b"heard");
    assert!(!outputs.are_done(), "nobody has read it");
    let mut all = vec![0; bytes.len()];
    reader.read_exact(&mut all).unwrap();
    assert!(all == bytes);
    wait_for(&mut outputs, |outputs| outputs.are_done());
}

#[test]
fn what_cannot_be_written_is_told_once_and_counts_as_done() {
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let mut outputs = Outputs::new().unwrap();
    outputs.add(1, &full);
    come(&mut outputs, 1, 0, b"some");
    wait_for(&mut outputs, |outputs| outputs.are_done());
    let output = outputs.of(1).unwrap();
    assert_eq!(output.failure().map(|error| error.kind()), Some(ErrorKind::StorageFull));
    assert!(output.failure().is_none());
    come(&mut outputs, 1, 4, b"more");
    wait_for(&mut outputs, |outputs| outputs.are_done());
    assert!(outputs.of(1).unwrap().failure().is_none());
}
