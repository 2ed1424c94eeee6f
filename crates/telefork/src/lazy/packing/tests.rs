//! What a line of known speed makes of pieces.

use wire::image::ImageId;
use wire::image::paging::{sum, unpack};

use super::*;

const ID: ImageId = ImageId(3);
const PIECE: usize = 128 << 10;

fn after(pace: &mut Pace, bytes: u64, rate: u64) -> bool {
    pace.sent(bytes, Duration::from_micros(bytes * 1_000_000 / rate));
    pace.is_slow
}

#[test]
fn a_line_is_slow_by_what_it_takes_and_fast_again_when_it_takes_more() {
    let mut pace = Pace::default();
    assert!(!after(&mut pace, WINDOW, SLOW * 2));
    // The buffers of a slow line take the first of it at once.
    assert!(!after(&mut pace, WINDOW / 2, SLOW * 100));
    assert!(after(&mut pace, WINDOW / 2, SLOW / 3));
    assert!(after(&mut pace, WINDOW, SLOW / 2));
    assert!(!after(&mut pace, WINDOW, SLOW * 2));
    // Not before there is enough to know it by, and not as late as a very slow line would make it.
    assert!(!after(&mut pace, WINDOW / 16, SLOW / 3));
    assert!(after(&mut pace, 1000, 3000));
}

/// Sends this memory, and what came out of it: bytes on the line, and the memory.
fn sent(packing: &mut Packing, memory: &[u8]) -> (usize, Vec<u8>) {
    let mut line = Vec::new();
    for (at, bytes) in memory.chunks(PIECE).enumerate() {
        let mut buffer = [&[0; HEAD], bytes].concat();
        let piece = Piece::of(ID, (at * PIECE) as u64, bytes);
        packing.send(piece, &mut buffer, &mut line).unwrap();
    }
    let (mut found, mut rest) = (vec![0; memory.len()], &line[..]);
    while let Some((head, bytes)) = rest.split_first_chunk() {
        let (address, len, follow, told) = match Piece::decode(head).unwrap() {
            Piece::Bytes { address, len, sum } => (address, len, len, sum),
            Piece::Packed { address, len, packed, sum } => (address, len, packed, sum),
            other => panic!("{other:?}"),
        };
        let into = &mut found[address as usize..][..len as usize];
        match follow == len {
            true => into.copy_from_slice(&bytes[..len as usize]),
            false => assert!(unpack(&bytes[..follow as usize], into)),
        }
        assert_eq!(sum(ID, address, into), told);
        rest = &bytes[follow as usize..];
    }
    (line.len(), found)
}

/// One that stays as slow, or as fast, whatever this machine does meanwhile.
fn of_speed(is_slow: bool) -> Packing {
    let pace = Pace { is_slow, took: Duration::ZERO, bytes: 0 };
    Packing { pace: Some(pace), packed: Vec::new() }
}

#[test]
fn the_same_memory_is_clearly_fewer_bytes_on_a_slow_line_and_all_of_it_on_a_fast_one() {
    let words = b"pages of a process are seldom noise: ";
    let memory: Vec<u8> = words.iter().copied().cycle().take(8 * PIECE).collect();
    let (slow, found) = sent(&mut of_speed(true), &memory);
    assert!(found == memory && slow < memory.len() / 4, "{slow}");
    let (fast, found) = sent(&mut of_speed(false), &memory);
    assert!(found == memory);
    assert_eq!(fast, memory.len() + 8 * HEAD);
    let (never, _) = sent(&mut Packing::never(), &memory);
    assert_eq!(never, fast);
}

#[test]
fn noise_goes_as_it_is_whatever_the_line() {
    let mut noise = vec![0; 4 * PIECE];
    let mut word = 1_u64;
    for bytes in noise.chunks_mut(8) {
        word = word.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        bytes.copy_from_slice(&(word ^ word >> 29).to_le_bytes());
    }
    let (bytes, found) = sent(&mut of_speed(true), &noise);
    assert!(found == noise);
    assert_eq!(bytes, noise.len() + 4 * HEAD);
}
