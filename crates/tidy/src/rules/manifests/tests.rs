//! Manifests that are right and wrong.

use super::*;
use crate::snippets::check;

#[test]
fn a_foreign_dependency_without_a_reason_is_found() {
    let text = "[workspace.dependencies]
wire = { path = \"crates/wire\" }
good = \"1\"      # names of blobs
long = { version = \"1\", features = [
  \"a\",
] } # names of blobs
bare = \"1\"
mute = \"1\" # 
";
    let want = ["Cargo.toml:7: `bare` states no reason", "Cargo.toml:8: `mute` states no reason"];
    check(foreign_dependencies_state_their_reason, &[("Cargo.toml", text)], &want);
}

#[test]
fn versions_of_their_own_and_absent_lints_are_found() {
    let good = "[lints]\nworkspace = true\n[dependencies]\na = { workspace = true }\n";
    let bad = "[dev-dependencies]\na = \"1\"\nb.workspace = true\n";
    let files = [("crates/x/Cargo.toml", good), ("crates/y/Cargo.toml", bad)];
    let want = [
        "crates/y/Cargo.toml:2: `a` does not say `workspace = true`",
        "crates/y/Cargo.toml:1: the workspace's lints are not taken",
    ];
    check(members_inherit_from_the_workspace, &files, &want);
}

#[test]
fn the_codec_outside_wire_is_found() {
    let text = "[dependencies]\npostcard.workspace = true\n";
    let files = [("crates/wire/Cargo.toml", text), ("crates/node/Cargo.toml", text)];
    check(only_wire_has_the_codec, &files, &["crates/node/Cargo.toml:2: `node` uses `postcard`"]);
}
