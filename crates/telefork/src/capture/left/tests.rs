//! What stays is all but what is touched first.

use wire::image::memory::Permissions;

use super::*;

fn mapping(start: u64, pages: u64, kind: MappingKind) -> Mapping {
    let permissions = Permissions { read: true, write: true, execute: false };
    let end = start + pages * 4096;
    Mapping { start, end, permissions, sharing: Sharing::Private, kind, flags: Vec::new() }
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
