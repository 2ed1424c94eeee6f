//! What two looks have found is one list again.

use super::union;

#[test]
fn ranges_that_meet_become_one() {
    assert_eq!(union(&[], &[]), []);
    assert_eq!(union(&[1..3, 7..9], &[3..4, 8..12]), [1..4, 7..12]);
    assert_eq!(union(&[1..9, 30..31], &[2..3, 20..21]), [1..9, 20..21, 30..31]);
}
