//! How findings are told, whatever they are.

use super::findings::{Findings, Good, Mark, Section, found};

fn findings() -> Findings {
    let mut section = Section::new("A", &[Good::Tasks, Good::Cluster]);
    section.add(found(Mark::Ok, "well ".repeat(30)));
    section
        .add(found(Mark::Fail, "the disk is\nfull").breaks(Good::Tasks).remedy("rm -r everything"));
    section.add(found(Mark::Warn, "slow").breaks(Good::Tasks));
    let mut all = Findings::default();
    all.add(section);
    all
}

#[test]
fn findings_fit_into_80_columns_with_their_remedies_on_lines_of_their_own() {
    let text = findings().in_words();
    assert!(text.lines().all(|line| line.len() <= 80), "{text}");
    assert!(text.contains("  fail  the disk is full\n          rm -r everything\n"), "{text}");
}

#[test]
fn the_end_says_what_works_and_why_not() {
    let text = findings().in_words();
    assert!(text.contains("\n  tasks: no, because the disk is full\n"), "{text}");
    assert!(text.contains("\n  other hosts: yes\n"), "{text}");
    assert!(!text.contains("strangers"), "what nobody looked at is not told: {text}");
    let json: serde_json::Value = serde_json::from_str(&findings().in_json()).unwrap();
    assert_eq!(json["works"]["tasks"], false);
    assert_eq!(json["works"]["other hosts"], true);
    assert_eq!(json["sections"][0]["findings"][1]["mark"], "fail");
    assert_eq!(json["sections"][0]["findings"][1]["remedy"], "rm -r everything");
}
