//! What becomes of many small writes into one page.

use super::*;

fn starts(touched: &Touched) -> Vec<(usize, usize)> {
    touched.joined().into_iter().map(|(start, piece)| (start, piece.len())).collect()
}

#[test]
fn writes_that_touch_are_one() {
    let mut touched = Touched::default();
    for at in 0..5000_usize {
        touched.put(at * 8, &at.to_le_bytes());
    }
    assert_eq!(starts(&touched), [(0, 40_000)]);
    let mut touched = Touched::default();
    touched.put(10, b"aaaa");
    touched.put(20, b"bbbb");
    assert_eq!(starts(&touched), [(10, 4), (20, 4)], "what lies between is not known");
    touched.put(12, b"cccccccccc");
    assert_eq!(touched.joined(), [(10, &b"aaccccccccccbb"[..])]);
    touched.put(11, b"d");
    assert_eq!(touched.joined(), [(10, &b"adccccccccccbb"[..])]);
    touched.put(24, b"e");
    touched.put(8, b"ff");
    assert_eq!(touched.joined(), [(8, &b"ffadccccccccccbbe"[..])]);
}

#[test]
fn writes_into_a_page_that_was_read_take_along_what_lies_between() {
    let bytes = Bytes::from((0..=255).collect::<Vec<u8>>());
    let mut touched = Touched { read: Some((Version(1), bytes)), ..Touched::default() };
    touched.put(100, b"x");
    touched.put(4, b"y");
    touched.put(8, b"z");
    assert_eq!(touched.joined(), [(4, &b"y\x05\x06\x07z"[..]), (100, b"x")]);
}
