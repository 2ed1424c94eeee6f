//! What is written comes back, and what cannot be read is refused by its place.

use super::*;

#[test]
fn digits_come_back_as_the_bytes_that_they_were_made_of() {
    let all: Vec<u8> = (0..=255).collect();
    assert_eq!(of_hex(&hex(&all)).unwrap(), all);
    assert_eq!(of_hex("00 fF\n7a\t").unwrap(), [0, 0xff, 0x7a]);
    assert_eq!(of_hex("").unwrap(), [0u8; 0]);
}

#[test]
fn what_is_no_digit_is_named_by_its_place_and_steers_no_terminal() {
    let check = |text: &str, note: &str| {
        let error = of_hex(text).unwrap_err();
        let words = format!("{error:?}");
        assert!(words.contains(note), "{words}");
        assert!(!words.contains('\u{1b}'), "{words}");
    };
    check("00g0", "`g` at 2 is no");
    check("0 0", "` ` at 1 is no");
    check("000", "the last byte has one digit");
    check("00\u{1b}[2J", "`·` at 2 is no");
}

#[test]
fn an_object_that_was_printed_can_be_read() {
    let object = Object { page: 3, version: 7, offset: 8, length: 2, hex: hex(b"ab") };
    let given = of_json(&serde_json::to_string(&object).unwrap()).unwrap();
    assert_eq!(given, Given { bytes: b"ab".to_vec(), offset: Some(8) });
    assert_eq!(of_json(r#"{"hex":"00"}"#).unwrap().offset, Some(0));
    for wrong in ["", "{}", r#"{"hex":3}"#, r#"{"hex":"0"}"#, r#"{"hex":"00","offset":-1}"#] {
        assert!(of_json(wrong).is_err(), "{wrong}");
    }
}

#[test]
fn a_dump_has_offsets_bytes_and_letters_and_says_a_repeated_line_once() {
    let mut page = b"hello\x1b[2J\xff world, how are".to_vec();
    page.resize(96, 0);
    assert_eq!(
        dump(&page, 4096),
        "00001000  68 65 6c 6c 6f 1b 5b 32  4a ff 20 77 6f 72 6c 64  |hello.[2J. world|\n\
         00001010  2c 20 68 6f 77 20 61 72  65 00 00 00 00 00 00 00  |, how are.......|\n\
         00001020  00 00 00 00 00 00 00 00  00 00 00 00 00 00 00 00  |................|\n\
         *\n\
         00001050  00 00 00 00 00 00 00 00  00 00 00 00 00 00 00 00  |................|\n"
    );
    assert_eq!(
        dump(b"ab", 0),
        "00000000  61 62                                             |ab|\n"
    );
    assert_eq!(dump(b"", 0), "");
}

#[test]
fn text_ends_where_the_zeros_begin_and_steers_no_terminal() {
    assert_eq!(text(b"two\nlines\0\0\0"), "two\nlines\n");
    assert_eq!(text(b"a\0b\x1b[31m\x00"), "a·b·[31m\n");
    assert_eq!(text(b"\0\0"), "\n");
    assert_eq!(text(b"\xff"), "\u{fffd}\n");
}
