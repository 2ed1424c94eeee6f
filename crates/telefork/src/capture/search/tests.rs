//! Bytes in one piece and in many.

#![expect(clippy::single_range_in_vec_init, reason = "a list of one range is what is meant")]

use super::*;

fn found(secrets: &[&[u8]], pieces: &[(u64, &[u8])]) -> Vec<Range<u64>> {
    let mut search = Search::new(secrets);
    let mut found = Vec::new();
    for (at, bytes) in pieces {
        search.room(*at, bytes.len()).copy_from_slice(bytes);
        found.extend(search.found());
    }
    found
}

#[test]
fn what_lies_across_pieces_that_touch_is_found_once() {
    let secrets: [&[u8]; 2] = [b"secret", b"key"];
    assert_eq!(
        found(&secrets, &[(10, b"a sec"), (15, b"ret, "), (20, b"a key")]),
        [12..18, 22..25]
    );
    assert_eq!(found(&secrets, &[(10, b"s"), (11, b"e"), (12, b"cre"), (15, b"t")]), [10..16]);
    assert_eq!(found(&secrets, &[(10, b"a key"), (15, b" "), (16, b" secret")]), [12..15, 17..23]);
    assert_eq!(found(&secrets, &[(10, b"a sec"), (16, b"ret")]), []);
}

#[test]
fn an_empty_secret_is_none_and_a_secret_may_be_longer_than_a_piece() {
    assert!(Search::new(&[]).is_for_nothing() && Search::new(&[b""]).is_for_nothing());
    assert_eq!(found(&[b"", b"key"], &[(0, b"a key"), (5, b"s")]), [2..5]);
    let long: Vec<u8> = (0..100_000_u32).flat_map(u32::to_le_bytes).collect();
    let mut pieces: Vec<(u64, &[u8])> = vec![(7, b"before")];
    pieces.extend((13..).step_by(1000).zip(long.chunks(1000)));
    assert_eq!(found(&[&long], &pieces), [13..13 + long.len() as u64]);
}
