//! What a reader sees of a run.

use super::*;

#[test]
fn a_row_shows_measure_reference_ratio_floor_and_verdict() {
    let text = table(&record(), Effort::FULL, &machine());
    let line = text.lines().find(|line| line.contains("one no-op task, TLS, jailed, p50"));
    let line = line.expect("the row").split_whitespace().collect::<Vec<_>>().join(" ");
    let want = "| 30.00 µs | 30.00 – 30.00 | raw.tcp.p50 12.00 | 2.50× | ≤ 3× | yes |";
    assert!(line.ends_with(want), "{line}");
}

#[test]
fn what_is_missing_is_said_with_its_reason() {
    let text = table(&record(), Effort::FULL, &machine());
    assert!(text.contains("SKIPPED: no network: tonic.echo"), "{text}");
}

#[test]
fn json_has_every_round() {
    let json: serde_json::Value =
        serde_json::from_str(&json(&record(), Effort::FULL, &machine())).unwrap();
    let ours = &json["figures"][1];
    assert_eq!(ours["name"], "ours.noop.p50");
    assert_eq!(ours["values"], serde_json::json!([30.0]));
    assert_eq!(ours["median"], 30.0);
    assert_eq!(ours["floor"]["ratio_at_most"], 3.0);
    assert_eq!(ours["verdict"], "holds");
    assert_eq!(json["figures"][2]["missing"]["fate"], "skipped");
}

#[test]
fn thousands_are_grouped() {
    let text = [0, 12, 999, 1_000, 400_000, 1_234_567].map(grouped).join(" ");
    assert_eq!(text, "0 12 999 1,000 400,000 1,234,567");
}

fn record() -> Record {
    let mut record = Record::default();
    record.add(&["raw.tcp.p50", "ours.noop.p50"], &[12.0, 30.0]);
    record.leave_out(&["tonic.echo"], Fate::Skipped("no network".to_owned()));
    record
}

fn machine() -> Machine {
    Machine { processor: "any".to_owned(), cores: 2, kernel: "6".to_owned(), load_before: 0.0 }
}
