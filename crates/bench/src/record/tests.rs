//! Medians, ratios and verdicts.

use super::*;

#[test]
fn a_ratio_is_of_one_round() {
    // Both were four times as slow in two rounds, but only one of them at the same time.
    let verdict = judge(&[10.0, 40.0, 40.0, 10.0, 10.0], &[20.0, 80.0, 20.0, 80.0, 20.0]);
    assert_eq!(verdict, (Some(2.0), Verdict::Holds));
}

#[test]
fn three_round_trips_are_the_most() {
    assert_eq!(judge(&[10.0], &[30.0]).1, Verdict::Holds);
    assert_eq!(judge(&[10.0], &[30.1]).1, Verdict::Missed);
}

#[test]
fn a_difference_is_of_one_round() {
    let strict = |values: &[f64]| {
        let mut record = Record::default();
        for (none, strict) in [20_000.0, 90_000.0, 20_000.0].iter().zip(values) {
            record.add(&["start.none"], &[*none]);
            record.add(&["start.strict"], &[*strict]);
        }
        record.verdict(find("start.strict"))
    };
    assert_eq!(strict(&[34_000.0, 104_000.0, 34_000.0]), Verdict::Holds);
    assert_eq!(strict(&[36_000.0, 90_000.0, 36_000.0]), Verdict::Missed);
}

#[test]
fn without_a_reference_nobody_knows() {
    assert_eq!(judge(&[], &[30.0]), (None, Verdict::Unknown));
}

#[test]
fn a_failure_in_a_late_round_takes_the_early_ones_with_it() {
    let mut record = Record::default();
    record.add(&["ours.noop.many"], &[500_000.0]);
    record.leave_out(&["ours.noop.many"], Fate::Failed("the node died".to_owned()));
    assert_eq!(record.summary("ours.noop.many"), None);
    assert!(record.has_failures());
    assert!(!record.floors_hold());
}

#[test]
fn a_skipped_figure_is_no_failure_and_holds_nothing() {
    let mut record = Record::default();
    record.leave_out(&["ours.noop.many"], Fate::Skipped("not here".to_owned()));
    assert!(!record.has_failures());
    assert!(!record.floors_hold());
}

/// Ratio and verdict of a no-op task's p50.
fn judge(raw: &[f64], ours: &[f64]) -> (Option<f64>, Verdict) {
    let mut record = Record::default();
    for &value in raw {
        record.add(&["raw.tcp.p50"], &[value]);
    }
    for &value in ours {
        record.add(&["ours.noop.p50"], &[value]);
    }
    let figure = find("ours.noop.p50");
    (record.ratio(figure).map(|summary| summary.median), record.verdict(figure))
}
