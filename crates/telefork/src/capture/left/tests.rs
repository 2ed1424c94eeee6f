//! What stays is all but what is touched first.

use wire::image::memory::Permissions;

use super::*;

fn mapping(start: u64, pages: u64, kind: MappingKind) -> Mapping {
    let permissions = Permissions { read: true, write: true, execute: false };
    let end = start + pages * 4096;
    Mapping { start, end, permissions, sharing: Sharing::Private, kind, flags: Vec::new() }
}

#[test]
fn runs_are_as_long_as_their_counts_can_say() {
    let pages = u64::from(u32::MAX) + 10;
    let found: Vec<Run> = runs(&(0x1000..0x1000 + pages * 4096), 4096).collect();
    let first = Run { page: 1, count: u32::MAX };
    assert_eq!(found, [first, Run { page: 1 + u64::from(u32::MAX), count: 10 }]);
}

#[test]
fn small_shared_locked_and_foreign_memory_goes_along() {
    let heap = mapping(0x10_0000, 100, MappingKind::Heap);
    assert!(may_stay(&heap));
    assert!(!may_stay(&mapping(0x10_0000, 2, MappingKind::Heap)));
    assert!(!may_stay(&mapping(0x10_0000, 100, MappingKind::Guard)));
    assert!(!may_stay(&Mapping { sharing: Sharing::Shared, ..heap.clone() }));
    assert!(!may_stay(&Mapping { flags: vec![*b"hg", *b"lo"], ..heap }));
}
