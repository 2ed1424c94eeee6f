//! Compared with a table that has one entry for each page.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

/// Addresses here are numbers of pages: nothing depends on their size.
const SPACE: u64 = 48;

#[derive(Clone, Debug)]
enum Step {
    Settled(Range<u64>),
    Dropped(Range<u64>),
    Unmapped(Range<u64>),
    Moved { from: u64, to: u64, len: u64 },
}

fn range() -> impl Strategy<Value = Range<u64>> {
    (0..SPACE, 1..10_u64).prop_map(|(start, len)| start..start + len)
}

fn step() -> impl Strategy<Value = Step> {
    let moved = (0..SPACE, 0..4_u64, 1..10_u64).prop_map(|(from, far, len)| Step::Moved {
        from,
        to: 1000 + far * 20,
        len,
    });
    prop_oneof![
        range().prop_map(Step::Settled),
        range().prop_map(Step::Dropped),
        range().prop_map(Step::Unmapped),
        moved
    ]
}

proptest! {
    #[test]
    fn every_page_is_awaited_where_it_is_now(
        left in prop::collection::btree_set(0..SPACE, 0..30),
        steps in prop::collection::vec(step(), 0..25),
    ) {
        let mut missing = Missing::new(left.iter().map(|&page| page..page + 1));
        // Where a page is now: the address that it had, and whether it is to come.
        let mut table: BTreeMap<u64, (u64, bool)> =
            left.iter().map(|&page| (page, (page, true))).collect();
        for step in steps {
            match step {
                Step::Settled(range) => {
                    missing.settled(&range);
                    for (source, absent) in table.values_mut() {
                        *absent &= !range.contains(source);
                    }
                }
                Step::Dropped(range) => {
                    missing.dropped(&range);
                    for (at, (_, absent)) in &mut table {
                        *absent &= !range.contains(at);
                    }
                }
                Step::Unmapped(range) => {
                    missing.unmapped(&range);
                    table.retain(|at, _| !range.contains(at));
                }
                Step::Moved { from, to, len } => {
                    // What is moved replaces what was there, of which the kernel tells before.
                    missing.unmapped(&(to..to + len));
                    table.retain(|at, _| !(to..to + len).contains(at));
                    missing.moved(from, to, len);
                    for page in 0..len {
                        if let Some(entry) = table.remove(&(from + page)) {
                            table.insert(to + page, entry);
                        }
                    }
                }
            }
            for at in (0..SPACE + 10).chain(1000..1100) {
                let wanted = table.get(&at).filter(|(_, absent)| *absent);
                prop_assert_eq!(missing.source_of(at), wanted.map(|(source, _)| *source));
            }
            let mut arriving: Vec<(u64, u64)> = Vec::new();
            for part in missing.arriving(&(0..SPACE)) {
                let pages = part.source.clone().zip(part.at..);
                arriving.extend(pages.map(|(source, at)| (at, source)));
            }
            arriving.sort_unstable();
            let wanted = table.iter().filter(|(_, (_, absent))| *absent);
            let wanted: Vec<(u64, u64)> =
                wanted.map(|(&at, &(source, _))| (at, source)).collect();
            prop_assert_eq!(arriving, wanted);
        }
    }
}
