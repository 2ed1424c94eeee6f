//! `include/farcall.h` is what cbindgen makes of the source. Where they differ, this writes it anew if it
//! is told to: `BLESS=1 cargo test -p farcall-capi --test header`.

#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, reason = "these are tests")]

use std::path::{Path, PathBuf};

/// In the order in which somebody reads the header.
const FILES: [&str; 11] = [
    "status",
    "cluster",
    "region",
    "page",
    "lock",
    "transaction",
    "watch",
    "sync",
    "mapping",
    "telefork",
    "copies",
];

const TITLE: &str = include_str!("../include/title.h");

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).to_owned()
}

fn generated() -> String {
    let config = cbindgen::Config::from_file(folder().join("cbindgen.toml")).unwrap();
    let mut builder = cbindgen::Builder::new().with_config(config).with_header(TITLE.trim_end());
    for file in FILES {
        builder = builder.with_src(folder().join(format!("src/{file}.rs")));
    }
    let mut text = Vec::new();
    builder.generate().unwrap().write(&mut text);
    String::from_utf8(text).unwrap()
}

#[test]
fn the_header_is_what_the_source_says() {
    let path = folder().join("include/farcall.h");
    let made = generated();
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(&path, &made).unwrap();
    }
    let kept = std::fs::read_to_string(&path).unwrap_or_default();
    let first = made.lines().zip(kept.lines()).find(|(made, kept)| made != kept);
    assert!(made == kept, "farcall.h is old, at {first:?}; make it with BLESS=1");
}

#[test]
fn every_entry_point_is_in_the_header() {
    let made = generated();
    for file in FILES {
        let source = std::fs::read_to_string(folder().join(format!("src/{file}.rs"))).unwrap();
        let exported = source.split("#[unsafe(no_mangle)]").skip(1);
        for function in exported {
            let name =
                function.split("fn ").nth(1).and_then(|rest| rest.split('(').next()).unwrap();
            assert!(made.contains(&format!("{name}(")), "{name} is not in the header");
        }
    }
    let modules = std::fs::read_to_string(folder().join("src/lib.rs")).unwrap();
    for module in modules.lines().filter_map(|line| line.strip_prefix("mod ")) {
        let module = module.trim_end_matches(';');
        assert!(FILES.contains(&module) || module == "border", "{module} is left out");
    }
}
