//! What came of hidden bytes, in pages that came one by one.

use super::*;

fn hidden(ranges: &[Range<u64>]) -> Vec<Hidden> {
    ranges.iter().map(|range| Hidden { range: range.clone(), bits: None }).collect()
}

#[test]
fn what_has_changed_in_one_page_alone_is_known_of_all_that_was_hidden() {
    let mut all = hidden(&[0..4, 8..20, 30..34]);
    // The second lies across three pages, of which the middle one has not changed, and did not come.
    note(&mut all, &(0..10), &[0, 0, 0, 0, 0, 0, 0, 0, 5, 6]);
    note(&mut all, &(16..32), &[7, 0, 0, 8, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 0, 0]);
    assert_eq!(all[1].bits.as_deref(), Some(&[5, 6, 0, 0, 0, 0, 0, 0, 7, 0, 0, 8][..]));
    assert!(all[0].bits.is_none() && all[2].bits.is_none(), "{all:?}");
}
