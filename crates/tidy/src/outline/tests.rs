//! What is found in a file, and where it is said to stand.

use super::{Outline, outline};
use crate::tokens::{split, tokens};

#[test]
fn use_trees_are_expanded() {
    check_paths(
        "use std::{fs, io::{self, Read as R}, net::*}; fn f() { a::b::<C>(d) }",
        &["std::fs", "std::io", "std::io::Read", "std::net::*", "a::b", "C", "d"],
    );
}

#[test]
fn modules_know_what_they_stand_in() {
    let found = read("mod a; mod b { mod c {} } #[cfg(test)] mod tests { use super::x; } mod d;");
    let mods: Vec<_> =
        found.mods.iter().map(|m| (m.inside.join("/"), m.name.as_str(), m.test)).collect();
    let none = String::new;
    assert_eq!(
        mods,
        [
            (none(), "a", false),
            (none(), "b", false),
            ("b".into(), "c", false),
            (none(), "tests", true),
            (none(), "d", false)
        ]
    );
    let path = found.paths.iter().find(|p| p.segments == ["super", "x"]).unwrap();
    assert_eq!((path.inside.join("/"), path.test), ("tests".into(), true));
}

#[test]
fn published_names_are_known_with_their_alias() {
    let found = read("pub use a::{B, c::D as E}; use f::G; pub(crate) use h::I; pub fn j() {}");
    let names: Vec<_> = found.paths.iter().filter_map(|p| p.published.as_deref()).collect();
    assert_eq!(names, ["B", "E", "I"]);
}

#[test]
fn functions_know_their_length() {
    let found = read("fn one() {}\nfn three(x: [u8; 2])\n{\n}\ntrait T { fn none(&self); }");
    let lengths: Vec<_> = found.functions.iter().map(|f| (f.name.as_str(), f.lines)).collect();
    assert_eq!(lengths, [("one", 1), ("three", 3)]);
}

#[track_caller]
fn check_paths(text: &str, want: &[&str]) {
    let found: Vec<String> = read(text).paths.iter().map(|p| p.segments.join("::")).collect();
    assert_eq!(found, want, "paths of {text}");
}

fn read(text: &str) -> Outline {
    outline(&tokens(&split(text).0))
}
