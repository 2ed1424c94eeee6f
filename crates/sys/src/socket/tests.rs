//! Descriptors that travel, and those that are too many.

use std::fs::File;
use std::io::{Read, Write};

use nix::fcntl::{FcntlArg, FdFlag, fcntl};

use super::*;

#[test]
fn descriptors_arrive_with_their_bytes_and_close_on_exec() {
    let (here, there) = pair().unwrap();
    let (mut reader, writer) = std::io::pipe().unwrap();
    assert_eq!(send_with_fds(&here, b"take", &[writer.as_fd()]).unwrap(), 4);
    drop(writer);
    let mut buffer = [0; 16];
    let (n, mut descriptors) = recv_with_fds(&there, &mut buffer, 4).unwrap();
    assert_eq!((&buffer[..n], descriptors.len()), (&b"take"[..], 1));
    let mut writer = File::from(descriptors.remove(0));
    let flags = fcntl(&writer, FcntlArg::F_GETFD).unwrap();
    assert_eq!(flags, FdFlag::FD_CLOEXEC.bits());
    writer.write_all(b"through").unwrap();
    drop(writer);
    let mut text = String::new();
    reader.read_to_string(&mut text).unwrap();
    assert_eq!(text, "through");
}

#[test]
fn more_descriptors_than_asked_for_are_all_closed() {
    // Two descriptors would fit into the room of one, padded to a word.
    for (sent, max) in [(2, 1), (1, 0), (16, 15), (4, 1)] {
        let (here, there) = pair().unwrap();
        let (mut reader, writer) = std::io::pipe().unwrap();
        send_with_fds(&here, b"x", &vec![writer.as_fd(); sent]).unwrap();
        drop(writer);
        let error = recv_with_fds(&there, &mut [0; 4], max).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData, "{sent} for {max}: {error}");
        // The pipe ends only when every copy of its other end is closed.
        assert_eq!(reader.read(&mut [0; 1]).unwrap(), 0);
    }
}

#[test]
fn plain_bytes_need_no_room_for_descriptors() {
    let (here, there) = pair().unwrap();
    send_with_fds(&here, b"plain", &[]).unwrap();
    let mut buffer = [0; 16];
    let (n, descriptors) = recv_with_fds(&there, &mut buffer, 0).unwrap();
    assert_eq!((&buffer[..n], descriptors.len()), (&b"plain"[..], 0));
    drop(here);
    assert_eq!(recv_with_fds(&there, &mut buffer, 1).unwrap().0, 0);
}

#[test]
fn a_peer_that_is_gone_is_an_error_and_no_signal() {
    let (here, there) = pair().unwrap();
    drop(there);
    let error = send_with_fds(&here, b"x", &[]).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
}

#[test]
fn an_empty_non_blocking_socket_would_block() {
    let (here, _there) = pair().unwrap();
    here.set_nonblocking(true).unwrap();
    let error = recv_with_fds(&here, &mut [0; 4], 1).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
}

#[test]
fn the_peer_of_our_own_pair_is_ourselves() {
    let (here, _there) = pair().unwrap();
    let peer = peer_credentials(&here).unwrap();
    assert_eq!((peer.pid, peer.uid), (Pid::own(), nix::unistd::getuid().as_raw()));
}

#[test]
fn a_hang_up_is_seen_before_all_that_was_said_is_read() {
    let (reader, mut writer) = std::io::pipe().unwrap();
    assert!(!has_hung_up(&reader).unwrap(), "silent");
    writer.write_all(b"last words").unwrap();
    let other = writer.try_clone().unwrap();
    drop(writer);
    assert!(!has_hung_up(&reader).unwrap(), "somebody is left");
    drop(other);
    assert!(has_hung_up(&reader).unwrap());
    let (here, there) = pair().unwrap();
    assert!(!has_hung_up(&here).unwrap());
    drop(there);
    assert!(has_hung_up(&here).unwrap());
}
