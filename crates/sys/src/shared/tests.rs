//! Shared memory that neither side can pull away from under the other.

use bytes::BytesMut;

use super::*;

fn buffer(len: usize) -> SharedBuffer {
    SharedBuffer::create("test", NonZeroUsize::new(len).unwrap()).unwrap()
}

/// The same memory, mapped again as the peer does.
fn other_side(buffer: &SharedBuffer) -> SharedBuffer {
    SharedBuffer::from_fd(buffer.fd().try_clone_to_owned().unwrap()).unwrap()
}

#[test]
fn what_one_side_writes_the_other_reads() {
    let here = buffer(5000);
    let there = other_side(&here);
    assert_eq!(there.len(), 5000);
    here.copy_in(4990, b"0123456789").unwrap();
    let mut copy = [0; 4];
    there.copy_out(4992, &mut copy).unwrap();
    assert_eq!(&copy, b"2345");
    there.store_u64(8, 0x0123_4567_89ab_cdef);
    assert_eq!(here.load_u64(8), 0x0123_4567_89ab_cdef);
}

#[test]
fn bytes_are_appended_to_any_buffer() {
    let here = buffer(100_000);
    let pattern: Vec<u8> = (0..100_000_u32).map(|n| (n % 251) as u8).collect();
    here.copy_in(0, &pattern).unwrap();
    let mut vec = b"head".to_vec();
    here.copy_out_to(1, 99_999, &mut vec).unwrap();
    assert!(vec.starts_with(b"head") && vec[4..] == pattern[1..]);
    let mut frame = BytesMut::with_capacity(10);
    here.copy_out_to(0, 100_000, &mut frame).unwrap();
    assert_eq!(frame, pattern);
    let mut room = [0; 3];
    here.copy_out_to(7, 3, &mut room.as_mut_slice()).unwrap();
    assert_eq!(room, pattern[7..10]);
}

#[test]
fn copies_outside_the_memory_are_refused() {
    let here = buffer(4096);
    for (offset, len) in [(4096, 1), (4000, 97), (0, 4097), (usize::MAX, 2), (usize::MAX, 1)] {
        let refused = |result: Result<(), Error>| {
            assert!(matches!(result, Err(Error::OutOfBounds { .. })), "{offset} {len}");
        };
        refused(here.copy_in(offset, &vec![0; len]));
        refused(here.copy_out(offset, &mut vec![0; len]));
        refused(here.copy_out_to(offset, len, &mut Vec::new()));
    }
    here.copy_in(4096, b"").unwrap();
}

#[test]
#[should_panic(expected = "lie outside")]
fn a_word_outside_the_memory_is_our_bug() {
    buffer(4096).load_u64(4096);
}

#[test]
#[should_panic(expected = "not aligned")]
fn a_word_across_two_words_is_our_bug() {
    buffer(4096).store_u64(4, 1);
}

#[test]
fn memory_of_ours_cannot_be_resized_by_the_peer() {
    let here = buffer(8192);
    let peer = File::from(here.fd().try_clone_to_owned().unwrap());
    assert!(peer.set_len(0).is_err());
    assert!(peer.set_len(1 << 20).is_err());
    here.copy_in(8000, b"still there").unwrap();
}

#[test]
fn unsealed_memory_is_refused() {
    let refused = |file: File| {
        let error = SharedBuffer::from_fd(file.into()).unwrap_err();
        assert!(matches!(error, Error::PeerUnsealed), "{error}");
    };
    let sized = || {
        let file = files::in_memory("unsealed").unwrap();
        file.set_len(4096).unwrap();
        file
    };
    refused(sized());
    let grows = sized();
    fcntl(&grows, FcntlArg::F_ADD_SEALS(SealFlag::F_SEAL_SHRINK)).unwrap();
    refused(grows);
    refused(files::null().unwrap());
    refused(File::open("/proc/self/exe").unwrap());
    refused(File::from(OwnedFd::from(std::io::pipe().unwrap().0)));
}

#[test]
fn sealed_memory_without_bytes_is_refused() {
    let file = files::in_memory("empty").unwrap();
    fcntl(&file, FcntlArg::F_ADD_SEALS(SEALS)).unwrap();
    let error = SharedBuffer::from_fd(file.into()).unwrap_err();
    assert!(matches!(error, Error::PeerSize { found: 0 }), "{error}");
}

#[test]
fn a_word_publishes_what_was_copied_before_it() {
    let here = buffer(4096);
    let there = other_side(&here);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for round in 1..=1000_u64 {
                here.copy_in(64, &round.to_le_bytes()).unwrap();
                here.store_u64(0, round);
                while here.load_u64(8) != round {
                    std::thread::yield_now();
                }
            }
        });
        for round in 1..=1000_u64 {
            while there.load_u64(0) != round {
                std::thread::yield_now();
            }
            let mut copy = [0; 8];
            there.copy_out(64, &mut copy).unwrap();
            assert_eq!(u64::from_le_bytes(copy), round);
            there.store_u64(8, round);
        }
    });
}
