//! Maps that are right, and each way in which one goes wrong.

use super::*;
use crate::snippets::check;

const LAYERS: &str =
    "[workspace.metadata.layers]\norder = [[\"top\"], [\"a\", \"b\"], [\"low\"]]\n";

#[test]
fn folders_and_packages_of_one_name_pass() {
    let rule = crates_are_flat_and_named_as_their_folder;
    let good = [
        ("crates/client/Cargo.toml", "[package]\nname = \"farcall\"\n"),
        ("crates/core-abi/Cargo.toml", "[package]\nname = \"farcall-core-abi\"\n"),
        (
            "Cargo.toml",
            "[workspace.dependencies]\nclient = { path = \"crates/client\" }\nserde = \"1\"\n",
        ),
    ];
    check(rule, &good, &[]);
}

#[test]
fn wrong_names_and_nested_crates_are_found() {
    let rule = crates_are_flat_and_named_as_their_folder;
    let bad = [
        ("Cargo.toml", "[workspace.dependencies]\nnet = { path = \"crates/a\" }\n"),
        ("crates/a/Cargo.toml", "[package]\nname = \"a\"\n"),
        ("crates/a/src/utils.rs", ""),
        ("crates/a/sub/Cargo.toml", "[package]\nname = \"farcall-sub\"\n"),
        ("crates/loose/notes.txt", ""),
        ("crates/utils/Cargo.toml", "[package]\nname = \"farcall-utils\"\n"),
    ];
    let want = [
        "crates/a/Cargo.toml:2: the package in folder `a` is not named `farcall-a`",
        "crates/loose/Cargo.toml:1: missing",
        "crates/utils/Cargo.toml:1: `utils` names no subject",
        "crates/a/sub/Cargo.toml:1: a crate inside a crate",
        "crates/a/src/utils.rs:1: module `utils` names no subject",
        "Cargo.toml:2: `net` stands for `crates/a`",
    ];
    check(rule, &bad, &want);
}

#[test]
fn downward_and_listed_dependencies_pass() {
    let root = format!("{LAYERS}[workspace.metadata.layers.beside]\na = [\"b\"]\n");
    let good = [
        ("Cargo.toml", root.as_str()),
        ("crates/top/Cargo.toml", "[dependencies]\nlow.workspace = true\nserde = \"1\"\n"),
        ("crates/a/Cargo.toml", "[dependencies]\nb.workspace = true\n"),
        ("crates/b/Cargo.toml", "[dev-dependencies]\ntop.workspace = true\n"),
        ("crates/low/Cargo.toml", ""),
    ];
    check(dependencies_point_down, &good, &[]);
}

#[test]
fn upward_and_sideways_dependencies_are_found() {
    let bad = [
        ("Cargo.toml", LAYERS),
        ("crates/top/Cargo.toml", ""),
        ("crates/a/Cargo.toml", "[target.'cfg(unix)'.dependencies]\nb.workspace = true\n"),
        ("crates/b/Cargo.toml", "[build-dependencies]\ntop.workspace = true\n"),
        ("crates/new/Cargo.toml", ""),
    ];
    let want = [
        "Cargo.toml:2: layer of `low`, which is not in `crates`",
        "crates/a/Cargo.toml:2: `a` uses its neighbour `b`",
        "crates/b/Cargo.toml:2: `b` uses `top` of a layer above",
        "crates/new/Cargo.toml:1: `new` has no layer",
    ];
    check(dependencies_point_down, &bad, &want);
    check(dependencies_point_down, &[("Cargo.toml", "")], &["Cargo.toml:1: missing"]);
}

#[test]
fn architecture_must_exist_and_name_each_crate() {
    let rule = architecture_names_every_crate;
    let crates = [("crates/a/x", ""), ("crates/b/x", ""), ("crates/c/x", "")];
    let with = |text| [crates[0], crates[1], crates[2], ("ARCHITECTURE.md", text)];
    check(rule, &with("`a`, then `b::link`, see crates/c/x."), &[]);
    check(
        rule,
        &with("`a` b crates/cc"),
        &["ARCHITECTURE.md:1: crate `b` is not named", "ARCHITECTURE.md:1: crate `c` is not named"],
    );
    check(rule, &crates, &["ARCHITECTURE.md:1: missing"]);
}

#[test]
fn papers_may_not_name_what_is_gone() {
    let rule = papers_name_only_what_exists;
    let files = [
        ("crates/a/src/lib.rs", ""),
        (
            "README.md",
            "crates/a/, `crates/a/src/lib.rs`.\ncrates/<noun> crates/* https://crates/x\n",
        ),
        ("docs/x.md", "see crates/a\nand crates/b/src\n"),
        ("CHANGELOG.md", "crates/old is gone"),
    ];
    check(rule, &files, &["docs/x.md:2: `crates/b/src` does not exist"]);
}
