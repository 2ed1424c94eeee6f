//! Lengths below and above the limits.

use super::*;
use crate::snippets::check;

#[test]
fn a_file_above_the_maximum_fails_and_one_above_the_noted_length_does_not() {
    let (noted, long) = ("//\n".repeat(FILE_LINES_MAX), "//\n".repeat(FILE_LINES_MAX + 1));
    let files = [("a.rs", noted.as_str()), ("b.rs", long.as_str()), ("c.md", long.as_str())];
    check(no_file_is_two, &files, &["b.rs:1: 901 lines; the most is 900"]);
}

#[test]
fn long_files_long_functions_and_hash_maps_in_machines_are_worth_a_look() {
    let function = format!("fn short() {{}}\nfn long() {{{}}}", "\n".repeat(FUNCTION_LINES_NOTED));
    let file = "//\n".repeat(FILE_LINES_NOTED + 1);
    let files = [
        ("a.rs", function.as_str()),
        ("b.rs", file.as_str()),
        ("crates/logic/src/c.rs", "use std::collections::HashMap;"),
    ];
    let found: Vec<String> = worth_a_look(&Repo::of(files)).into_iter().map(|f| f.what).collect();
    assert_eq!(found[..3], ["`long` has 71 lines", "501 lines", "a hash map in a machine"]);
    assert!(found[3..].iter().all(|what| what.starts_with("an exception for")), "{found:?}");
}
