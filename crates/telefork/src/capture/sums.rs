//! Sums of pages by their numbers, changed in place and kept close: they lie in the memory of processes that are
//! sent themselves, and there a page of them that changes is one more to send.

use std::collections::BTreeMap;
use std::ops::Range;

/// Pages that follow each other, with the sums of those that have one.
#[derive(Clone, Debug)]
struct Block {
    /// By bit: which have one.
    present: u64,
    sums: [u64; LEN as usize],
}

const LEN: u64 = u64::BITS as u64;

#[derive(Clone, Debug, Default)]
pub(super) struct Sums(BTreeMap<u64, Box<Block>>);

impl Sums {
    pub(super) fn get(&self, number: u64) -> Option<u64> {
        let block = self.0.get(&(number / LEN))?;
        let at = number % LEN;
        (block.present & 1 << at != 0).then(|| block.sums[at as usize])
    }

    pub(super) fn insert(&mut self, number: u64, sum: u64) {
        let empty = || Box::new(Block { present: 0, sums: [0; LEN as usize] });
        let block = self.0.entry(number / LEN).or_insert_with(empty);
        let at = number % LEN;
        block.present |= 1 << at;
        block.sums[at as usize] = sum;
    }

    pub(super) fn remove(&mut self, number: u64) {
        self.remove_all(number..number + 1);
    }

    /// Which of these pages have one.
    pub(super) fn within(&self, numbers: Range<u64>) -> Vec<u64> {
        let Some(blocks) = blocks(&numbers) else { return Vec::new() };
        let all = self.0.range(blocks).flat_map(|(first, block)| {
            let present = (0..LEN).filter(|at| block.present & 1 << at != 0);
            present.map(move |at| first * LEN + at)
        });
        all.filter(|number| numbers.contains(number)).collect()
    }

    pub(super) fn remove_all(&mut self, numbers: Range<u64>) {
        let Some(blocks) = blocks(&numbers) else { return };
        let mut empty = Vec::new();
        for (&first, block) in self.0.range_mut(blocks) {
            let from = numbers.start.saturating_sub(first * LEN).min(LEN);
            let to = numbers.end.saturating_sub(first * LEN).min(LEN);
            block.present &= !(below(to) & !below(from));
            if block.present == 0 {
                empty.push(first);
            }
        }
        for first in empty {
            self.0.remove(&first);
        }
    }
}

/// The bits of lower numbers.
fn below(at: u64) -> u64 {
    1_u64.checked_shl(at as u32).map_or(u64::MAX, |bit| bit - 1)
}

/// The blocks that numbers lie in.
fn blocks(numbers: &Range<u64>) -> Option<std::ops::RangeInclusive<u64>> {
    let last = numbers.end.checked_sub(1).filter(|last| *last >= numbers.start)?;
    Some(numbers.start / LEN..=last / LEN)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn sums_are_a_map_of_numbers(steps in prop::collection::vec((0..400_u64, 0..200_u64, 0..3_u8), 0..60)) {
            let (mut sums, mut map) = (Sums::default(), BTreeMap::new());
            for (at, other, step) in steps {
                match step {
                    0 => {
                        sums.insert(at, other);
                        map.insert(at, other);
                    }
                    1 => {
                        sums.remove(at);
                        map.remove(&at);
                    }
                    _ => {
                        sums.remove_all(at..at + other);
                        map.retain(|number, _| !(at..at + other).contains(number));
                    }
                }
                prop_assert_eq!(sums.get(at), map.get(&at).copied());
                let found = sums.within(at / 2..at + 70);
                let wanted: Vec<u64> = map.range(at / 2..at + 70).map(|(number, _)| *number).collect();
                prop_assert_eq!(found, wanted);
            }
            prop_assert_eq!(sums.within(0..u64::MAX).len(), map.len());
            sums.remove_all(0..u64::MAX);
            prop_assert!(sums.0.is_empty());
        }
    }
}
