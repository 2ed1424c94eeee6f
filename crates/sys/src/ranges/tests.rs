//! Against sets of numbers, for all lists in few numbers.

use std::collections::BTreeSet;

use super::*;

const NUMBERS: u64 = 7;

/// Every set of the first numbers.
fn sets() -> impl Iterator<Item = BTreeSet<u64>> {
    (0..1_u64 << NUMBERS).map(|bits| (0..NUMBERS).filter(|at| bits >> at & 1 == 1).collect())
}

fn list(of: &BTreeSet<u64>) -> Vec<Range<u64>> {
    let mut found = Vec::new();
    of.iter().for_each(|at| push(&mut found, *at..at + 1));
    found
}

#[test]
fn lists_are_joined_and_subtracted_as_sets_are() {
    for (one, other) in sets().flat_map(|one| sets().map(move |other| (one.clone(), other))) {
        assert_eq!(union(&list(&one), &list(&other)), list(&(&one | &other)));
        assert_eq!(subtract(&list(&one), &list(&other)), list(&(&one - &other)));
    }
}

#[test]
fn parts_are_the_whole_range_and_say_what_is_in_the_list() {
    for set in sets() {
        for (start, end) in
            (0..NUMBERS).flat_map(|start| (start..=NUMBERS).map(move |end| (start, end)))
        {
            let mut at = start;
            for (part, is_in) in parts(start..end, &list(&set)) {
                assert_eq!(part.start, at);
                assert!(part.clone().all(|number| set.contains(&number) == is_in));
                at = part.end;
            }
            assert_eq!(at, end);
        }
    }
}
