//! Compared with a plain set of numbers.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

#[derive(Clone, Debug)]
enum Step {
    Insert(Range<u64>),
    Take(Range<u64>),
}

fn range() -> impl Strategy<Value = Range<u64>> {
    (0..40_u64, 0..12_u64).prop_map(|(start, len)| start..start + len)
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![range().prop_map(Step::Insert), range().prop_map(Step::Take)]
}

proptest! {
    #[test]
    fn ranges_are_the_set_that_they_stand_for(steps in prop::collection::vec(step(), 0..60)) {
        let (mut ranges, mut numbers) = (Ranges::default(), BTreeSet::new());
        for step in steps {
            match step {
                Step::Insert(range) => {
                    ranges.insert(range.clone());
                    numbers.extend(range);
                }
                Step::Take(range) => {
                    let taken: Vec<u64> = ranges.take(&range).into_iter().flatten().collect();
                    let wanted: Vec<u64> =
                        range.filter(|number| numbers.remove(number)).collect();
                    prop_assert_eq!(taken, wanted);
                }
            }
            let all: Vec<u64> = ranges.within(&(0..u64::MAX)).into_iter().flatten().collect();
            prop_assert_eq!(all, numbers.iter().copied().collect::<Vec<_>>());
            for at in 0..60 {
                prop_assert_eq!(ranges.contains(at), numbers.contains(&at));
            }
            // The fewest: no two of them touch.
            let ends: Vec<_> = ranges.0.iter().collect();
            prop_assert!(ends.windows(2).all(|two| two[0].1 < two[1].0));
            for from in 0..60 {
                let next = ranges.next(from).map(|next| next.start);
                prop_assert_eq!(next, numbers.range(from..).next().copied());
            }
        }
    }
}
