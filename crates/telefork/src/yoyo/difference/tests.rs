//! Lists of mappings and what is between them.

use wire::image::text::Text;

use super::*;

const READ: Permissions = Permissions { read: true, write: false, execute: false };
const OPEN: Permissions = Permissions { read: true, write: true, execute: false };

fn own(range: Range<u64>, permissions: Permissions) -> Mapping {
    let (start, end) = (range.start << 12, range.end << 12);
    let (sharing, kind) = (Sharing::Private, MappingKind::Anonymous { name: None });
    Mapping { start, end, permissions, sharing, kind, flags: Vec::new() }
}

fn pages(range: Range<u64>) -> Range<u64> {
    range.start << 12..range.end << 12
}

#[test]
fn lists_that_are_split_otherwise_are_the_same() {
    let one = [own(1..5, OPEN), own(5..9, READ)];
    let other = [own(1..2, OPEN), own(2..5, OPEN), own(5..9, READ)];
    assert_eq!(difference(&one, &other, &(0..0)), Ok(Difference::default()));
}

#[test]
fn what_is_new_gone_or_permitted_otherwise_is_told_by_its_pages() {
    let one = [own(1..5, OPEN), own(10..20, OPEN)];
    let other = [own(3..7, READ), own(10..12, OPEN), own(15..20, OPEN)];
    let found = difference(&one, &other, &(0..0)).unwrap();
    assert_eq!(found.unmap, [pages(1..3), pages(12..15)]);
    assert_eq!(found.protect, [(pages(3..5), 1)]);
    assert_eq!(found.map, [(pages(5..7), 1)]);
}

#[test]
fn one_part_of_all_can_be_left_out() {
    let (one, other) = ([own(10..20, OPEN)], [own(7..21, OPEN)]);
    let found = difference(&one, &other, &pages(7..20)).unwrap();
    assert_eq!(found.map, [(pages(20..21), 3)]);
}

#[test]
fn memory_of_others_and_of_the_kernel_is_not_taken_away() {
    let shared = Mapping { sharing: Sharing::Shared, ..own(1..2, OPEN) };
    let kind = MappingKind::Special { name: Text::from("[vdso]") };
    let special = Mapping { kind, ..own(1..2, READ) };
    for (one, other) in [(vec![], vec![shared.clone()]), (vec![shared], vec![])] {
        assert!(difference(&one, &other, &(0..0)).is_err());
    }
    assert_eq!(difference(std::slice::from_ref(&special), &[], &(0..0)), Ok(Difference::default()));
    assert_eq!(difference(&[], std::slice::from_ref(&special), &(0..0)), Ok(Difference::default()));
    assert!(difference(&[own(1..2, OPEN)], &[special], &(0..0)).is_err());
}
