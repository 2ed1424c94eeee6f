//! What is written is read, and nothing else is.

use proptest::prelude::*;

use super::*;

const ID: ImageId = ImageId(0x0123_4567_89ab_cdef);

#[test]
fn every_kind_is_read_as_it_was_written() {
    let request = Request { address: 0x7f00_0000_1000, len: 4096 };
    assert_eq!(Request::decode(&request.encode()), Some(request));
    let zero = Piece::Zero { address: 0x40_0000, len: 1 << 30 };
    let packed = Piece::Packed { address: 0x1000, len: 8192, packed: 8191, sum: 5 };
    for piece in [Piece::of(ID, 0x1000, &[7; 8192]), packed, zero, Piece::End] {
        assert_eq!(Piece::decode(&piece.encode()), Some(piece));
    }
}

#[test]
fn a_sum_is_of_one_image_and_one_address() {
    let bytes = [1; 4096];
    let here = sum(ID, 0x1000, &bytes);
    assert_ne!(here, sum(ID, 0x2000, &bytes));
    assert_ne!(here, sum(ImageId(1), 0x1000, &bytes));
}

#[test]
fn what_is_not_whole_pages_or_too_much_is_refused() {
    for (address, len) in [(1, 4096), (4096, 0), (4096, 100), (u64::MAX - 4095, 8192)] {
        assert_eq!(Request::decode(&Request { address, len }.encode()), None);
        assert_eq!(Piece::decode(&Piece::Zero { address, len }.encode()), None);
    }
    let len = IMAGE_CHUNK_MAX as u32 + 4096;
    assert_eq!(Piece::decode(&Piece::Bytes { address: 0, len, sum: 0 }.encode()), None);
    for (len, packed) in [(len, 8), (4096, 0), (4096, 4096), (100, 8)] {
        let piece = Piece::Packed { address: 4096, len, packed, sum: 0 };
        assert_eq!(Piece::decode(&piece.encode()), None, "{piece:?}");
    }
}

#[test]
fn what_is_packed_is_unpacked_to_exactly_what_it_was_or_not_at_all() {
    let memory: Vec<u8> = (0..64 << 10_u32).map(|at: u32| (at / 100 * (at % 3)) as u8).collect();
    let mut packed = Vec::new();
    let len = pack(&memory, &mut packed).unwrap();
    assert!(len < memory.len() / 4, "{len}");
    let mut found = vec![1; memory.len()];
    assert!(unpack(&packed[..len], &mut found));
    assert!(found == memory);
    // Cut off, of another length, and changed: never more than there is room for.
    assert!(!unpack(&packed[..len - 1], &mut found));
    assert!(!unpack(&packed[..len], &mut found[1..]));
    assert!(!unpack(&packed[..len], &mut [&memory[..], &[0]].concat()));
    for at in 0..len {
        let mut changed = packed[..len].to_vec();
        changed[at] ^= 0x55;
        let _ = unpack(&changed, &mut found);
    }
    // Nothing is gained where nothing comes again.
    let random = blake3::Hasher::new().finalize_xof();
    let mut noise = vec![0; 64 << 10];
    { random }.fill(&mut noise);
    assert_eq!(pack(&noise, &mut packed), None);
}

proptest! {
    #[test]
    fn whatever_is_read_would_be_written_so(head: [u8; HEAD], request: [u8; REQUEST]) {
        if let Some(piece) = Piece::decode(&head) {
            prop_assert_eq!(piece.encode(), head);
        }
        if let Some(read) = Request::decode(&request) {
            prop_assert_eq!(read.encode(), request);
        }
    }
}
