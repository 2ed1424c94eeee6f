//! What is understood, and what is refused.

use super::*;

#[test]
fn spans_are_read_as_people_write_them() {
    let check = |text, millis: Option<u64>| {
        assert_eq!(duration(text).ok(), millis.map(Duration::from_millis), "{text}");
    };
    check("10s", Some(10_000));
    check("500ms", Some(500));
    check("1.5s", Some(1500));
    check("2min", Some(120_000));
    check("1h30m", Some(5_400_000));
    check("2min 2s", Some(122_000));
    for wrong in ["", "10", "s", "10 parsecs", "-1s", "1..2s", "ten s", "99999999999999999999d"] {
        check(wrong, None);
    }
}

#[test]
fn sizes_are_read_as_people_write_them() {
    let check = |text, bytes: Option<u64>| assert_eq!(size(text).ok(), bytes, "{text}");
    check("512M", Some(512 << 20));
    check("2G", Some(2 << 30));
    check("64KiB", Some(64 << 10));
    check("1.5g", Some(3 << 29));
    check("4096", Some(4096));
    for wrong in ["", "M", "0", "12X", "-1M", "1e99G", "99999999T9"] {
        check(wrong, None);
    }
}

#[test]
fn spans_and_sizes_are_spelled_short() {
    let spell = |millis| super::spell(Duration::from_millis(millis));
    assert_eq!(spell(840), "0.84 s");
    assert_eq!(spell(12_340), "12.3 s");
    assert_eq!(spell(245_000), "4 min 05 s");
    assert_eq!(spell(12_000_000), "3 h 20 min");
    assert_eq!(spell_size(17), "17 B");
    assert_eq!(spell_size(16_640), "16.2 KiB");
    assert_eq!(count(1, "task") + &count(2, "task"), "1 task2 tasks");
}
