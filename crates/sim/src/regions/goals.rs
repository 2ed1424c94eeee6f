//! What clients want with several pages: what they read for it, what they commit on that, and what must
//! hold of it at every moment.

use std::collections::BTreeMap;
use std::ops::Range;

use verdict::Fact;

use crate::regions::pages::{BANK, LINE, RING, number, pointing, successor};

const PLACES: u64 = LINE.end - LINE.start - 1;

#[derive(Clone, Debug)]
pub(crate) enum Goal {
    Count(u64),
    Pay { from: u64, to: u64 },
    Turn(u64),
    Look(Range<u64>),
    Push,
    Pop,
}

/// What the goal needs next.
pub(crate) enum Next {
    Read(Vec<u64>),
    Commit { reads: Vec<u64>, writes: Vec<(u64, u64)> },
    Look,
    Nothing,
}

pub(crate) fn next(goal: &Goal, got: &BTreeMap<u64, Fact>) -> Next {
    let bytes = |page: u64| got.get(&page).and_then(|fact| fact.bytes.as_deref());
    let missing = |pages: &[u64]| -> Vec<u64> {
        pages.iter().copied().filter(|page| bytes(*page).is_none()).collect()
    };
    let commit = |reads: &[u64], writes: &[(u64, u64)]| Next::Commit {
        reads: reads.to_vec(),
        writes: writes.to_vec(),
    };
    let value = |page: u64| bytes(page).map_or(0, number);
    match goal {
        Goal::Count(page) => match missing(&[*page]) {
            none if none.is_empty() => commit(&[*page], &[(*page, value(*page).wrapping_add(1))]),
            pages => Next::Read(pages),
        },
        Goal::Pay { from, to } if from == to => Next::Nothing,
        Goal::Pay { from, to } => match missing(&[*from, *to]) {
            none if none.is_empty() => {
                let writes =
                    [(*from, value(*from).wrapping_sub(5)), (*to, value(*to).wrapping_add(5))];
                commit(&[*from, *to], &writes)
            }
            pages => Next::Read(pages),
        },
        Goal::Turn(start) => {
            let mut chain = vec![*start];
            while chain.len() < 4 {
                let last = chain[chain.len() - 1];
                let Some(bytes) = bytes(last) else { return Next::Read(vec![last]) };
                chain.push(successor(last, bytes));
            }
            let (a, b, c, d) = (chain[0], chain[1], chain[2], chain[3]);
            // a b c d becomes a c b d. What was read at several moments may be no ring at all.
            if b == a || c == a || c == b || d == b || d == c {
                return Next::Nothing;
            }
            let writes = [(a, pointing(a, c)), (c, pointing(c, b)), (b, pointing(b, d))];
            commit(&[a, b, c], &writes)
        }
        Goal::Look(range) => {
            let all: Vec<u64> = range.clone().collect();
            match missing(&all) {
                none if none.is_empty() => Next::Look,
                pages => Next::Read(pages),
            }
        }
        Goal::Push | Goal::Pop => {
            let Some(bytes_of_line) = bytes(LINE.start) else {
                return Next::Read(vec![LINE.start]);
            };
            let line = number(bytes_of_line);
            let (put, taken) = (line >> 32, line & 0xffff_ffff);
            if matches!(goal, Goal::Push) {
                if put - taken == PLACES {
                    return Next::Nothing;
                }
                let place = LINE.start + 1 + put % PLACES;
                let writes = [(place, put + 1), (LINE.start, ((put + 1) << 32) | taken)];
                return commit(&[LINE.start], &writes);
            }
            let place = LINE.start + 1 + taken % PLACES;
            if put == taken {
                return Next::Nothing;
            }
            if bytes(place).is_none() {
                return Next::Read(vec![place]);
            }
            commit(&[LINE.start, place], &[(LINE.start, line + 1)])
        }
    }
}

/// What holds at every moment holds in what was seen of one.
pub(crate) fn broken(pages: &[Fact]) -> Option<String> {
    let of = |page: u64| {
        pages.iter().find(|fact| fact.page == page).and_then(|fact| fact.bytes.as_deref())
    };
    if let Some(first) = pages.first() {
        if first.page == BANK.start {
            let sum = BANK.filter_map(of).fold(0_u64, |sum, b| sum.wrapping_add(number(b)));
            if sum != 0 {
                return Some(format!("the accounts sum up to {sum}"));
            }
        }
        if first.page == RING.start {
            let (mut at, mut steps) = (RING.start, 0);
            while let Some(bytes) = of(at).filter(|_| steps < 100) {
                at = successor(at, bytes);
                steps += 1;
                if at == RING.start {
                    break;
                }
            }
            if steps != RING.end - RING.start {
                return Some(format!("the ring is closed after {steps} steps"));
            }
        }
        if first.page == LINE.start {
            let line = of(LINE.start).map_or(0, number);
            let (put, taken) = (line >> 32, line & 0xffff_ffff);
            let lost = (taken..put)
                .find(|item| of(LINE.start + 1 + item % PLACES).map(number) != Some(item + 1));
            if let Some(item) = lost {
                return Some(format!("item {item} of the line is lost"));
            }
        }
    }
    None
}
