//! A worker at its pipes, from the node's side.
#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

use std::fs::File;
use std::io::{Read, Write};
use std::num::NonZeroUsize;
use std::os::fd::AsFd;

use bytes::BytesMut;
use farcall_worker::serve::serve;
use sys::shared::SharedBuffer;
use sys::socket::{pair, send_with_fds};
use wire::Message;
use wire::limits::CONTROL_BODY_MAX;
use wire::name::Hash;
use wire::task::Program;
use wire::worker::{Jail, Ready, Setup, progress};

/// What a worker says that is to load a file which is no library.
fn refusal(node_stays: bool) -> String {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("library");
    std::fs::write(&file, "no library").unwrap();
    let library = File::open(&file).unwrap();
    let page = NonZeroUsize::new(progress::SIZE).unwrap();
    let page = SharedBuffer::create("progress", page).unwrap();
    let (near, far) = pair().unwrap();
    send_with_fds(&near, &[0], &[page.fd()]).unwrap();
    send_with_fds(&near, &[0], &[library.as_fd()]).unwrap();

    let (from_node, mut to_worker) = std::io::pipe().unwrap();
    let (mut from_worker, to_node) = std::io::pipe().unwrap();
    let program = Program::Core { library: Hash::of(b"no library"), name: "none.so".to_owned() };
    let scratch = folder.path().to_str().unwrap().to_owned();
    let setup = Setup { program, jail: Jail::None, scratch, memory: 0 };
    let mut bytes = BytesMut::new();
    Message::Setup(setup).encode(0, &mut bytes);
    to_worker.write_all(&bytes).unwrap();
    let _stays = node_stays.then_some(to_worker);
    serve(from_node, to_node, far, None).unwrap();

    let mut said = Vec::new();
    from_worker.read_to_end(&mut said).unwrap();
    let frame = wire::frame::take(&mut BytesMut::from(&said[..]), CONTROL_BODY_MAX);
    match wire::decode(frame.unwrap().unwrap()).unwrap() {
        (_, Message::Ready(Ready::No { reason })) => reason,
        other => panic!("{other:?}"),
    }
}

#[test]
fn nothing_is_loaded_for_a_node_that_is_gone() {
    assert_eq!(refusal(false), "the node has hung up");
    let reason = refusal(true);
    assert!(!reason.contains("hung up"), "{reason}");
}
