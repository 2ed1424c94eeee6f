//! Outputs whose readers are slow, or cannot be written to.

use std::io::pipe;

use nix::poll::PollFlags;

use super::*;

fn wait_for(outputs: &mut Outputs, wanted: impl Fn(&mut Outputs) -> bool) {
    while !wanted(outputs) {
        let mut watched = [PollFd::new(outputs.heard(), PollFlags::POLLIN)];
        poll(&mut watched, PollTimeout::from(30_000_u16)).unwrap();
        outputs.look();
    }
}

#[test]
fn who_is_not_read_waits_alone_and_loses_nothing() {
    let (mut reader, writer) = pipe().unwrap();
    let (mut other, second) = pipe().unwrap();
    let mut outputs = Outputs::new().unwrap();
    outputs.add(1, &writer);
    outputs.add(2, &second);
    drop((writer, second));
    // More than a pipe takes.
    let bytes: Vec<u8> = (0..200_000_u32).map(|at| (at % 251) as u8).collect();
    outputs.put(1, &bytes).unwrap();
    outputs.put(2, b"heard").unwrap();
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
    outputs.put(1, b"some").unwrap();
    wait_for(&mut outputs, |outputs| outputs.are_done());
    let output = outputs.of(1).unwrap();
    assert_eq!(output.failure().map(|error| error.kind()), Some(ErrorKind::StorageFull));
    assert!(output.failure().is_none());
    outputs.put(1, b"more").unwrap();
    wait_for(&mut outputs, |outputs| outputs.are_done());
    assert!(outputs.of(1).unwrap().failure().is_none());
}
