//! The steps are right if they make the one list of the other, and nothing is kept that is not the same.

use proptest::prelude::*;
use wire::image::memory::{Backing, FileIdentity, Trust};

use super::*;

const PAGE: u64 = 4096;

fn mapping(start: u64, end: u64, kind: MappingKind) -> Mapping {
    let permissions = Permissions { read: true, write: true, execute: false };
    let (start, end) = (start * PAGE, end * PAGE);
    Mapping { start, end, permissions, sharing: Sharing::Private, kind, flags: Vec::new() }
}

fn plain(start: u64, end: u64) -> Mapping {
    mapping(start, end, MappingKind::Anonymous { name: None })
}

fn file(start: u64, end: u64, offset: u64) -> Mapping {
    let (path, identity) = (Text::from("/lib/x"), FileIdentity::default());
    let backing =
        Backing { path, offset: offset * PAGE, identity, deleted: false, trust: Trust::No };
    mapping(start, end, MappingKind::File(backing))
}

fn special(start: u64, end: u64) -> Mapping {
    mapping(start, end, MappingKind::Special { name: Text::from("[vdso]") })
}

fn steps(from: &[Mapping], to: &[Mapping]) -> Vec<Step> {
    difference(from, to).expect("it can be changed").steps
}

#[test]
fn nothing_is_done_where_nothing_differs() {
    let all = [plain(1, 4), file(4, 6, 0), special(9, 10)];
    assert_eq!(steps(&all, &all), []);
}

#[test]
fn memory_comes_goes_grows_and_shrinks() {
    let of = |start, end| start * PAGE..end * PAGE;
    assert_eq!(steps(&[], &[plain(1, 4)]), [Step::Map { range: of(1, 4), of: 0 }]);
    assert_eq!(steps(&[plain(1, 4)], &[]), [Step::Unmap(of(1, 4))]);
    let heap = |end| mapping(1, end, MappingKind::Heap);
    assert_eq!(steps(&[heap(4)], &[heap(7)]), [Step::Map { range: of(4, 7), of: 0 }]);
    assert_eq!(steps(&[heap(7)], &[heap(4)]), [Step::Unmap(of(4, 7))]);
    let stack = |start| mapping(start, 9, MappingKind::Stack);
    assert_eq!(steps(&[stack(5)], &[stack(3)]), [Step::Map { range: of(3, 5), of: 0 }]);
    // A library that is let go of.
    assert_eq!(steps(&[file(1, 4, 0)], &[]), [Step::Unmap(of(1, 4))]);
}

#[test]
fn memory_in_the_place_of_a_file_is_new() {
    let range = PAGE..4 * PAGE;
    let wanted = [Step::Unmap(range.clone()), Step::Map { range, of: 0 }];
    assert_eq!(steps(&[file(1, 4, 0)], &[plain(1, 4)]), wanted);
    let shared = Mapping { sharing: Sharing::Shared, ..plain(1, 4) };
    assert_eq!(steps(&[plain(1, 4)], &[shared]), wanted);
}

#[test]
fn what_cannot_be_made_is_named() {
    let grows = Mapping { flags: vec![*b"gd"], ..plain(1, 4) };
    for (from, to, at) in [
        (vec![], file(1, 4, 0), 1),
        (vec![plain(1, 4)], file(1, 4, 0), 1),
        (vec![file(1, 4, 0)], file(1, 4, 1), 1),
        (vec![file(1, 4, 0)], file(1, 5, 0), 4),
        (vec![special(1, 2)], special(2, 3), 1),
        (vec![special(1, 3)], special(1, 2), 1),
        (vec![plain(1, 4)], grows, 1),
    ] {
        let found = difference(&from, &[to]).expect_err("it cannot be changed");
        assert_eq!(found.at, at * PAGE);
    }
}

#[test]
fn advice_is_given_and_taken_back() {
    let with = |flags: &[&[u8; 2]]| Mapping {
        flags: flags.iter().map(|flag| **flag).collect(),
        ..plain(1, 2)
    };
    let advice = |from: &[&[u8; 2]], to: &[&[u8; 2]]| {
        let advice = |step| match step {
            Step::Advise { advice, .. } => advice,
            other => panic!("{other:?}"),
        };
        steps(&[with(from)], &[with(to)]).into_iter().map(advice).collect::<Vec<i32>>()
    };
    assert_eq!(advice(&[], &[b"hg"]), [libc::MADV_HUGEPAGE]);
    assert_eq!(advice(&[b"hg"], &[]), [libc::MADV_NOHUGEPAGE]);
    assert_eq!(advice(&[b"hg"], &[b"nh"]), [libc::MADV_NOHUGEPAGE]);
    assert_eq!(advice(&[b"dd"], &[b"mg"]), [libc::MADV_DODUMP, libc::MADV_MERGEABLE]);
    // What a fork does to memory is for when there are none to come.
    assert_eq!(advice(&[b"dc"], &[b"wf"]), []);
}

/// What a page is, as far as it matters here.
#[derive(Clone, Debug, PartialEq)]
struct Page {
    /// What was put into it, or `None` for what its mapping begins with.
    filled: bool,
    is_file: bool,
    write: bool,
}

const PAGES: u64 = 24;

fn pages(mappings: &[Mapping], filled: bool) -> Vec<Option<Page>> {
    let mut pages = vec![None; PAGES as usize];
    for mapping in mappings {
        for page in mapping.start / PAGE..mapping.end / PAGE {
            let is_file = matches!(mapping.kind, MappingKind::File(_));
            let write = mapping.permissions.write;
            pages[page as usize] = Some(Page { filled, is_file, write });
        }
    }
    pages
}

fn mappings() -> impl Strategy<Value = Vec<Mapping>> {
    let one = (0..4_u64, 1..6_u64, any::<bool>(), 0..5_u8);
    proptest::collection::vec(one, 0..8).prop_map(|all| {
        let (mut at, mut found) = (0, Vec::new());
        for (gap, len, write, kind) in all {
            let (start, end) = (at + gap, (at + gap + len).min(PAGES));
            if start >= end {
                break;
            }
            at = end;
            let mut mapping = match kind {
                0 => file(start, end, start),
                1 => mapping(start, end, MappingKind::Heap),
                _ => plain(start, end),
            };
            mapping.permissions.write = write;
            found.push(mapping);
        }
        found
    })
}

proptest! {
    #[test]
    fn what_is_done_makes_one_list_of_the_other(from in mappings(), to in mappings()) {
        let Ok(difference) = difference(&from, &to) else {
            // Only of a file that was not there.
            let is_new = |page: (&Option<Page>, &Option<Page>)| {
                let is_file = |page: &Option<Page>| page.as_ref().is_some_and(|it| it.is_file);
                is_file(page.1) && !is_file(page.0)
            };
            prop_assert!(pages(&from, true).iter().zip(&pages(&to, true)).any(is_new));
            return Ok(());
        };
        let mut made = pages(&from, true);
        let of = |range: &Range<u64>| (range.start / PAGE) as usize..(range.end / PAGE) as usize;
        for step in &difference.steps {
            match step {
                Step::Unmap(range) => made[of(range)].fill(None),
                Step::Map { range, of: index } => {
                    for page in of(range) {
                        prop_assert!(made[page].is_none(), "nothing is mapped over");
                        let write = to[*index].permissions.write;
                        made[page] = Some(Page { filled: false, is_file: false, write });
                    }
                }
                Step::Protect { range, permissions } => {
                    for page in of(range) {
                        made[page].as_mut().expect("it is mapped").write = permissions.write;
                    }
                }
                Step::Advise { .. } | Step::Name { .. } => {}
            }
        }
        let fresh: Vec<_> = difference.fresh().collect();
        for (number, (made, wanted)) in made.iter().zip(pages(&to, true)).enumerate() {
            let at = number as u64 * PAGE;
            let is_fresh = fresh.iter().any(|range| range.contains(&at));
            let wanted = wanted.map(|page| Page { filled: !is_fresh, ..page });
            prop_assert_eq!(made, &wanted, "page {}", number);
        }
    }
}
