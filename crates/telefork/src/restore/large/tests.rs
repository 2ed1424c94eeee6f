//! Where large pages are asked for, and where not.

use super::*;

fn over(range: Range<u64>) -> Large {
    Large { may: vec![range], has: 0..0, changed: Vec::new() }
}

/// What is asked for before each of these runs of bytes is filled.
fn asked(large: &mut Large, runs: &[Range<u64>]) -> Vec<Range<u64>> {
    let mut found = Vec::new();
    for range in runs {
        let count = ((range.end - range.start) / PAGE) as u32;
        if let Some(ahead) = large.next(&Run { page: range.start / PAGE, count }) {
            large.has = ahead.clone();
            found.push(ahead);
        }
    }
    found
}

const MIB: u64 = 1 << 20;

#[test]
fn dense_memory_has_them_ever_further_ahead() {
    let mut large = over(MIB..400 * MIB + PAGE);
    let pieces: Vec<_> = (2..800).map(|half| half * MIB / 2..(half + 1) * MIB / 2).collect();
    let found = asked(&mut large, &pieces);
    let lens: Vec<u64> = found.iter().map(|range| (range.end - range.start) / MIB).collect();
    assert_eq!(lens, [2, 4, 8, 16, 32, 64, 64, 64, 64, 64, 16]);
    assert!(found.windows(2).all(|two| two[0].end == two[1].start), "{found:?}");
    assert_eq!((found[0].start, found[10].end), (2 * MIB, 400 * MIB));
    assert_eq!(large.changed, vec![MIB..400 * MIB + PAGE]);
}

#[test]
fn far_islands_have_little_around_them() {
    let mut large = over(0..1 << 40);
    let islands: Vec<_> = (1..50).map(|at| at * 100 * MIB..at * 100 * MIB + 32 * PAGE).collect();
    let found = asked(&mut large, &islands);
    assert!(found.iter().all(|range| range.end - range.start == LARGE), "{found:?}");
}

#[test]
fn what_does_not_begin_a_large_page_or_lies_elsewhere_has_none() {
    let mut large = over(10 * MIB..20 * MIB);
    let found = asked(&mut large, &[11 * MIB..11 * MIB + 512 * PAGE / 4, 30 * MIB..31 * MIB]);
    assert_eq!(found, []);
    assert_eq!(large.changed, []);
}
