//! Orders of modules that are right and wrong.

use super::*;
use crate::snippets::check;

const LIB: &str = "//! Story.\npub mod high;\nmod low;\npub use low::Thing;\n";

#[test]
fn downward_uses_pass() {
    let good = [
        ("crates/a/src/lib.rs", LIB),
        (
            "crates/a/src/high.rs",
            "mod part; use crate::low::x; use crate::{low, Thing}; use part::P;",
        ),
        (
            "crates/a/src/high/part.rs",
            "use super::Own; use crate::low; fn f() { super::super::low::g() }",
        ),
        (
            "crates/a/src/low.rs",
            "use std::high; mod inner { use super::*; } #[cfg(test)] mod tests { use crate::high; }",
        ),
    ];
    check(modules_use_only_those_below, &good, &[]);
}

#[test]
fn upward_uses_are_found_however_they_are_spelled() {
    for text in [
        "use crate::high::x;",
        "use crate::{low::y, high::{x, z}};",
        "use super::high;",
        "fn f() { crate::high::g() }",
        "mod inner { use super::super::high::x; }",
        "fn f() { self::super::high::g() }",
    ] {
        let bad = [
            ("crates/a/src/lib.rs", LIB),
            ("crates/a/src/high.rs", ""),
            ("crates/a/src/low.rs", text),
        ];
        let found = modules_use_only_those_below(&Repo::of(bad));
        assert!(!found.is_empty(), "`{text}` passed");
        assert_eq!(found[0].what, "`low` uses `high`, which is declared above it");
    }
}

#[test]
fn a_name_published_by_a_module_above_is_found() {
    let bad = [
        ("crates/a/src/lib.rs", "mod high; mod low; pub use high::Thing as Other;"),
        ("crates/a/src/low.rs", "use std::io;\nuse crate::Other;"),
    ];
    let want = ["crates/a/src/low.rs:2: `low` uses `high`, which is declared above it"];
    check(modules_use_only_those_below, &bad, &want);
}

#[test]
fn siblings_inside_a_module_have_an_order_too() {
    let bad = [
        ("crates/a/src/main.rs", "mod x;"),
        ("crates/a/src/x/mod.rs", "mod one; mod two;"),
        ("crates/a/src/x/two.rs", "use super::one::y;"),
    ];
    let want = ["crates/a/src/x/two.rs:1: `two` uses `one`, which is declared above it"];
    check(modules_use_only_those_below, &bad, &want);
}

#[test]
fn taking_everything_from_above_is_found() {
    let bad = [("crates/a/src/lib.rs", LIB), ("crates/a/src/low.rs", "use crate::*;")];
    let want = ["crates/a/src/low.rs:1: `crate::*` takes everything from around this file"];
    check(modules_use_only_those_below, &bad, &want);
}

#[test]
fn lib_rs_may_list_but_not_do() {
    let rule = lib_rs_is_a_table_of_contents;
    let good = "//! Story.\n#![forbid(unsafe_code)]\n#[cfg(test)]\nmod a;\npub(crate) mod b;\npub use a::{B, C};\n";
    check(rule, &[("crates/a/src/lib.rs", good)], &[]);
    let bad = "use std::io;\npub fn f() { g(); }\nmod tests { fn x() {} }\npub struct S(u8);\nmacro_rules! m { () => {} }\nmod good;\n";
    let want = [
        "crates/a/src/lib.rs:1: `use` in lib.rs",
        "crates/a/src/lib.rs:2: `fn` in lib.rs",
        "crates/a/src/lib.rs:3: `mod` in lib.rs",
        "crates/a/src/lib.rs:4: `struct` in lib.rs",
        "crates/a/src/lib.rs:5: `macro_rules` in lib.rs",
    ];
    check(rule, &[("crates/a/src/lib.rs", bad)], &want);
}
