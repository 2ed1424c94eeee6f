//! Code that touches, and code that only looks like it.

use super::*;
use crate::snippets::check;

#[test]
fn pure_machines_pass() {
    let good = [
        (
            "crates/logic/src/a.rs",
            "// std::fs\nuse std::collections::VecDeque; use std::time::Duration; use core::net::IpAddr; const S: &str = \"std::net\"; fn rand(sys: u8) {}",
        ),
        ("crates/node/src/a.rs", "use std::fs;"),
        ("crates/logic/Cargo.toml", "[dependencies]\nwire.workspace = true\n"),
    ];
    check(logic_touches_nothing, &good, &[]);
}

#[test]
fn machines_that_reach_outside_are_found() {
    let bad = [
        ("crates/logic/Cargo.toml", "[dependencies]\nmio.workspace = true\n"),
        (
            "crates/logic/src/a.rs",
            "use std::{fs, io,\n net::TcpStream};\nuse std::time::Instant;\nfn f() { time::SystemTime::now(); }\nfn g() { rand::random(); }\n",
        ),
    ];
    let want = [
        "crates/logic/src/a.rs:1: `std::fs` in `logic`",
        "crates/logic/src/a.rs:2: `std::net::TcpStream` in `logic`",
        "crates/logic/src/a.rs:3: `std::time::Instant` in `logic`",
        "crates/logic/src/a.rs:4: `time::SystemTime::now` in `logic`",
        "crates/logic/src/a.rs:5: `rand::random` in `logic`",
        "crates/logic/Cargo.toml:2: `logic` depends on `mio`",
    ];
    check(logic_touches_nothing, &bad, &want);
}

#[test]
fn programs_tests_and_named_exceptions_may_speak() {
    let text = "fn f() { println!(\"x\"); std::env::var(\"X\"); }";
    let tests = "#[cfg(test)] mod tests { fn f() { println!(\"x\"); } }";
    let good = [
        ("crates/cli/src/lib.rs", text),
        ("crates/sim/src/main.rs", text),
        ("crates/node/build.rs", text),
        ("crates/node/tests/a.rs", text),
        ("crates/node/src/a.rs", tests),
        ("crates/client/src/local.rs", "fn f() { std::env::var_os(\"X\"); }"),
        (
            "crates/node/src/b.rs",
            "// println!\nfn f() { env!(\"X\"); writeln!(out, \"println!\"); exit(); }",
        ),
    ];
    check(libraries_stay_silent, &good, &[]);
}

#[test]
fn libraries_that_speak_are_found() {
    let bad = [
        ("crates/client/src/local.rs", "fn f() { println!(); }"),
        (
            "crates/node/src/a.rs",
            "use std::{env, process::exit};\nfn f() {\n println!(\"x\");\n env::var(\"X\");\n std::eprintln!(); }",
        ),
    ];
    let want = [
        "crates/client/src/local.rs:1: `println!` in library `client`",
        "crates/node/src/a.rs:1: `process::exit` in library `node`",
        "crates/node/src/a.rs:3: `println!` in library `node`",
        "crates/node/src/a.rs:4: `env::var` in library `node`",
        "crates/node/src/a.rs:5: `eprintln!` in library `node`",
    ];
    check(libraries_stay_silent, &bad, &want);
}
