//! What is understood, and what is refused.

use super::*;

#[test]
fn a_region_is_a_name_or_a_name_at_a_node() {
    for good in ["genes", "genes@host-a", "_x.1"] {
        assert_eq!(region(good).unwrap(), good);
    }
    for wrong in ["", "@", "genes@", "@host-a", "a b", "a@b@c", "../x", "a\u{1b}[2J"] {
        let error = region(wrong).unwrap_err();
        assert!(!error.contains('\u{1b}'), "{error}");
    }
}

#[test]
fn numbers_of_pages_have_bounds() {
    assert_eq!(page("0"), Ok(0));
    assert_eq!(page("4294967295"), Ok(4_294_967_295));
    for wrong in ["", "-1", "4294967296", "99999999999999999999999", "1.5", "x"] {
        assert!(page(wrong).is_err(), "{wrong}");
    }
    assert_eq!(pages("4294967296"), Ok(4_294_967_296));
    assert!(pages("0").is_err() && pages("4294967297").is_err());
}

#[test]
fn a_page_has_a_power_of_two_of_bytes() {
    assert_eq!(page_size("4K"), Ok(4096));
    assert_eq!(page_size("64"), Ok(64));
    assert_eq!(page_size("1M"), Ok(1 << 20));
    for wrong in ["0", "32", "100", "2M", "x"] {
        assert!(page_size(wrong).is_err(), "{wrong}");
    }
}

#[test]
fn pages_are_one_several_or_all_from_one_on() {
    assert_eq!(span("7"), Ok(Span { first: 7, last: Some(7) }));
    assert_eq!(span("0-99"), Ok(Span { first: 0, last: Some(99) }));
    assert_eq!(span("100-"), Ok(Span { first: 100, last: None }));
    for wrong in ["", "-", "-3", "9-3", "1-2-3", "x-y", "0-4294967296"] {
        assert!(span(wrong).is_err(), "{wrong}");
    }
}
