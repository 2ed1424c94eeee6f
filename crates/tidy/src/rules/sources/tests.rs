//! Files that are right and wrong.

use super::*;
use crate::snippets::check;

#[test]
fn a_file_without_a_head_comment_is_found() {
    let files = [
        ("a.rs", "\n//! Decides.\nmod x;"),
        ("b.rs", "#![allow(x)]\n//! Late."),
        ("c.rs", "//!\n//! Empty first line."),
        ("d.rs", "// Not a head."),
        ("e.txt", "text"),
    ];
    let want = ["b.rs:1: no head comment", "c.rs:1: no head comment", "d.rs:1: no head comment"];
    check(files_open_with_a_head_comment, &files, &want);
}

#[test]
fn unsafe_where_it_belongs_passes() {
    let good = [
        ("crates/sys/src/lib.rs", "fn f() { unsafe { g() } }"),
        (
            "crates/node/src/lib.rs",
            "#![forbid(unsafe_code)] // unsafe\nconst S: &str = \"unsafe\";",
        ),
        ("crates/node/src/part.rs", "fn unsafe_looking() {}"),
        ("fuzz/fuzz_targets/hello.rs", "fn f() {}"),
    ];
    check(unsafe_stays_in_its_crates, &good, &[]);
}

#[test]
fn unsafe_elsewhere_is_found() {
    let bad = [
        ("crates/node/src/lib.rs", "#![deny(unsafe_code)]"),
        ("crates/node/src/main.rs", "// #![forbid(unsafe_code)]"),
        ("crates/node/tests/a.rs", "fn f() {\n unsafe { g() } }"),
        ("examples/core/lib.rs", "unsafe fn f() {}"),
    ];
    let want = [
        "crates/node/src/lib.rs:1: `unsafe` is not forbidden",
        "crates/node/src/main.rs:1: `unsafe` is not forbidden",
        "crates/node/tests/a.rs:2: `unsafe`",
        "examples/core/lib.rs:1: `unsafe`",
    ];
    check(unsafe_stays_in_its_crates, &bad, &want);
}

#[test]
fn a_debt_without_its_issue_is_found() {
    let [debt, other, _] = DEBTS;
    let good = format!("// {debt}(#12): later\nconst S: &str = \"{debt}\";\nlet {debt}S = 1;");
    let bad = format!("fn f() {{}} // {debt}: later\n/* {debt}(soon) */\n// {other}(#12)");
    let header = format!("int x; /* {debt} */");
    let files = [("a.rs", good.as_str()), ("b.rs", bad.as_str()), ("c.h", header.as_str())];
    let want = [
        format!("b.rs:1: `{debt}` without an issue"),
        format!("b.rs:2: `{debt}` without an issue"),
        format!("b.rs:3: `{other}` without an issue"),
        format!("c.h:1: `{debt}` without an issue"),
    ];
    check(debts_name_their_issue, &files, &want.each_ref().map(String::as_str));
}

#[test]
fn a_private_folder_is_found() {
    let [home, _, root, _] = PRIVATE_ROOTS;
    let bad = format!("cd {home}ann/x\n\"{root}.cargo\"");
    let good = format!("https://site.org{home}page\n$HOME/x ~{home}x {home}you/scene.toml");
    let files = [("README.md", bad.as_str()), ("docs/a.md", good.as_str())];
    let want = [
        format!("README.md:1: an absolute path under `{home}`"),
        format!("README.md:2: an absolute path under `{root}`"),
    ];
    check(no_file_names_a_private_folder, &files, &want.each_ref().map(String::as_str));
}
