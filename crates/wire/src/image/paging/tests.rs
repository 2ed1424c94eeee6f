//! What is written is read, and nothing else is.

use proptest::prelude::*;

use super::*;

const ID: ImageId = ImageId(0x0123_4567_89ab_cdef);

#[test]
fn every_kind_is_read_as_it_was_written() {
    let request = Request { address: 0x7f00_0000_1000, len: 4096 };
    assert_eq!(Request::decode(&request.encode()), Some(request));
    let zero = Piece::Zero { address: 0x40_0000, len: 1 << 30 };
    for piece in [Piece::of(ID, 0x1000, &[7; 8192]), zero, Piece::End] {
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
