//! What is code, what is comment, what is neither.

use super::{split, tokens};

#[test]
fn comments_are_told_from_code() {
    check("a // b\nc /* d /* e */ f */ g", "a\nc g", "// b\n/* d /* e */ f */");
}

#[test]
fn strings_are_neither() {
    check(r#"a("// b \" unsafe") // c"#, "a( )", "// c");
    check(r###"a(r#"x "quoted" // y"#, br"z") // c"###, "a(,)", "// c");
}

#[test]
fn quotes_of_characters_and_lifetimes_are_told_apart() {
    check(r"f<'a>('\'', '\u{41}', '/', b'x') // c", "f<'a>( , , , b )", "// c");
}

#[test]
fn raw_identifiers_stay_code() {
    check("r#type // c", "r#type", "// c");
}

#[test]
fn double_colons_are_one_token() {
    let found: Vec<String> = tokens("a::b: &'c d").into_iter().map(|t| t.text).collect();
    assert_eq!(found, ["a", "::", "b", ":", "&", "'c", "d"]);
}

#[track_caller]
fn check(text: &str, want_code: &str, want_comments: &str) {
    let (code, comments) = split(text);
    assert_eq!(squeezed(&code), squeezed(want_code), "code of {text}");
    assert_eq!(squeezed(&comments), squeezed(want_comments), "comments of {text}");
    assert_eq!(code.matches('\n').count(), text.matches('\n').count(), "lines of {text}");
}

/// Without blanks, which stand for what was taken out.
fn squeezed(text: &str) -> String {
    text.chars().filter(|&c| c != ' ').collect()
}
