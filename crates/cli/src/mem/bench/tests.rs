//! Figures, from the times that they are made of.

use super::*;

fn measure(nanos: impl IntoIterator<Item = u64>) -> Measure {
    let took = nanos.into_iter().map(Duration::from_nanos).collect();
    Measure { what: "x".to_owned(), took, whole: None }
}

#[test]
fn a_percentile_is_the_time_that_so_many_did_not_exceed() {
    let hundred = measure(1..=100);
    assert_eq!(hundred.at(0.5), Duration::from_nanos(50));
    assert_eq!(hundred.at(0.99), Duration::from_nanos(99));
    assert_eq!(hundred.at(1.0), Duration::from_nanos(100));
    assert_eq!(measure([7]).at(0.5), Duration::from_nanos(7));
    assert_eq!(measure([]).at(0.5), Duration::ZERO);
}

#[test]
fn a_rate_counts_what_was_done_over_the_time_that_it_took() {
    assert_eq!(measure([1_000_000; 10]).rate().round(), 1000.0);
    let batch = Measure { whole: Some((640, Duration::from_secs(2))), ..measure([1]) };
    assert_eq!(batch.rate(), 320.0);
}

#[test]
fn figures_are_spelled_short() {
    assert_eq!(spell(Duration::from_nanos(85)), "85 ns");
    assert_eq!(spell(Duration::from_nanos(17_340)), "17.3 µs");
    assert_eq!(spell(Duration::from_micros(4200)), "4.20 ms");
    assert_eq!(thousands(1_234_567.4), "1,234,567");
    assert_eq!(thousands(999.0), "999");
    assert_eq!(thousands(1000.0), "1,000");
}
