//! Tests that are right and wrong.

use super::*;
use crate::snippets::check;

#[test]
fn an_ignored_test_is_found_however_it_is_spelled() {
    let bad = "#[test]\n#[ignore]\nfn a() {}\n#[ignore = \"slow\"]\nfn b() {}\n#[cfg_attr(miri, ignore)]\nfn c() {}";
    let good = "// #[ignore]\n#[derive(Debug)]\nstruct S { ignore: u8 }\nfn ignore() {}\n#[test] fn d() { ignore(); let ignore = 1; }";
    let want = [
        "crates/a/src/x.rs:2: an ignored test",
        "crates/a/src/x.rs:4: an ignored test",
        "crates/a/src/x.rs:6: an ignored test",
    ];
    check(no_test_is_ignored, &[("crates/a/src/x.rs", bad), ("crates/a/tests/y.rs", good)], &want);
}

#[test]
fn sleep_outside_tests_or_with_a_reason_passes() {
    let escaped = format!(
        "fn f() {{\n // {SLEEP_ESCAPE} the limit on wall time\n // is what is measured.\n sleep(d);\n}}"
    );
    let good = [
        ("crates/a/src/x.rs", "fn f() { thread::sleep(d); }"),
        ("crates/a/tests/x.rs", escaped.as_str()),
        ("crates/a/tests/y.rs", "fn f() { Command::new(\"sleep\"); \"sleep(\"; sleepy(); }"),
    ];
    check(no_test_sleeps, &good, &[]);
}

#[test]
fn sleep_in_a_test_is_found() {
    let unreasoned = format!("fn f() {{\n // {SLEEP_ESCAPE}\n sleep(d); }}");
    let bad = [
        ("crates/a/src/x.rs", "#[cfg(test)]\nmod tests {\n fn f() { std::thread::sleep(d); } }"),
        ("crates/a/src/y/tests.rs", "fn f() { thread::sleep(d) }"),
        ("crates/a/tests/x.rs", unreasoned.as_str()),
    ];
    let want = [
        "crates/a/src/x.rs:3: a test sleeps",
        "crates/a/src/y/tests.rs:1: a test sleeps",
        "crates/a/tests/x.rs:3: a test sleeps",
    ];
    check(no_test_sleeps, &bad, &want);
}

#[test]
fn every_decoder_needs_a_target_that_decodes() {
    let decoder = "impl A {\n pub fn decode(bytes: &[u8]) {} }";
    let files = |target: &'static str, manifest: &'static str| {
        [
            ("crates/wire/src/image/head.rs", decoder),
            ("crates/wire/src/units.rs", "fn encode() {}\nfn decode_part() {}"),
            ("crates/node/src/x.rs", decoder),
            ("fuzz/fuzz_targets/image_head.rs", target),
            ("fuzz/Cargo.toml", manifest),
        ]
    };
    let rule = every_decoder_has_a_fuzz_target;
    let (calls, entered) = ("fn f() { A::decode(x); }", "[[bin]]\nname = \"image_head\"\n");
    check(rule, &files(calls, entered), &[]);
    let at = "crates/wire/src/image/head.rs:2:";
    let path = "fuzz/fuzz_targets/image_head.rs";
    check(rule, &files("// decode", entered), &[&format!("{at} `{path}` never calls a decoder")]);
    check(
        rule,
        &files(calls, ""),
        &[&format!("{at} `image_head` is no target of fuzz/Cargo.toml")],
    );
    check(rule, &files(calls, entered)[..1], &[&format!("{at} decoder without `{path}`")]);
}
