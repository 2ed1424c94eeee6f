//! Every rule of the house style, applied to this repository.

#![forbid(unsafe_code)]

use std::io::{self, Write};
use std::path::Path;

use farcall_tidy::rules::{manifests, map, modules, purity, size, sources, testing};
use farcall_tidy::{Finding, Repo};

#[test]
fn crates_are_flat_and_named_as_their_folder() {
    check(map::crates_are_flat_and_named_as_their_folder);
}

#[test]
fn dependencies_point_down() {
    check(map::dependencies_point_down);
}

#[test]
fn architecture_names_every_crate() {
    check(map::architecture_names_every_crate);
}

#[test]
fn papers_name_only_what_exists() {
    check(map::papers_name_only_what_exists);
}

#[test]
fn foreign_dependencies_state_their_reason() {
    check(manifests::foreign_dependencies_state_their_reason);
}

#[test]
fn members_inherit_from_the_workspace() {
    check(manifests::members_inherit_from_the_workspace);
}

#[test]
fn only_wire_has_the_codec() {
    check(manifests::only_wire_has_the_codec);
}

#[test]
fn modules_use_only_those_below() {
    check(modules::modules_use_only_those_below);
}

#[test]
fn lib_rs_is_a_table_of_contents() {
    check(modules::lib_rs_is_a_table_of_contents);
}

#[test]
fn logic_touches_nothing() {
    check(purity::logic_touches_nothing);
}

#[test]
fn libraries_stay_silent() {
    check(purity::libraries_stay_silent);
}

#[test]
fn files_open_with_a_head_comment() {
    check(sources::files_open_with_a_head_comment);
}

#[test]
fn unsafe_stays_in_its_crates() {
    check(sources::unsafe_stays_in_its_crates);
}

#[test]
fn debts_name_their_issue() {
    check(sources::debts_name_their_issue);
}

#[test]
fn no_file_names_a_private_folder() {
    check(sources::no_file_names_a_private_folder);
}

#[test]
fn no_test_is_ignored() {
    check(testing::no_test_is_ignored);
}

#[test]
fn no_test_sleeps() {
    check(testing::no_test_sleeps);
}

#[test]
fn every_decoder_has_a_fuzz_target() {
    check(testing::every_decoder_has_a_fuzz_target);
}

#[test]
fn no_file_is_two() {
    check(size::no_file_is_two);
}

/// Written past the test harness, which would swallow the words of a test that passes.
#[test]
fn what_is_worth_a_look_is_printed() {
    for finding in size::worth_a_look(&repository()) {
        writeln!(io::stderr(), "worth a look: {finding}").expect("standard error is open");
    }
}

#[track_caller]
fn check(rule: fn(&Repo) -> Vec<Finding>) {
    let repo = repository();
    assert!(repo.files.contains_key("Cargo.toml"), "this is not the root of the repository");
    let found: Vec<String> = rule(&repo).iter().map(Finding::to_string).collect();
    assert!(found.is_empty(), "{} against the house style:\n{}", found.len(), found.join("\n"));
}

fn repository() -> Repo {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    Repo::load(&root).expect("the repository is readable")
}
