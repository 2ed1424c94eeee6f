//! Codes from where they are met to where they are explained, and manual pages as files.

#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, reason = "these are tests")]

mod support;

use serde_json::Value;
use support::Machine;

#[test]
fn an_error_names_the_command_that_explains_it_once() {
    let machine = Machine::new();
    let ran = machine.run("status --nodes nohost.invalid");
    let ran = ran.complains(&["error[E0101]", "  more: farcall explain E0101\n"]);
    assert_eq!(ran.stderr.matches("explain").count(), 1, "{}", ran.stderr);
    machine.run("explain E0101").says("an address that names no host").says("What to do:\n");
}

#[test]
fn failed_tasks_have_codes_in_words_and_in_json() {
    let machine = Machine::new();
    let specimen = machine.core("misbehaving/specimen.c");
    machine.write("in", "rc 7\ncrash\nrc 7\necho well\n");
    let ran = machine.run(&format!("core run {specimen} --lines in --retries 0"));
    let ran = ran.complains(&[
        "error[T0101]: 2 tasks failed: exit code 7 (lines 1, 3)\n",
        "error[T0102]: 1 task failed: signal 11 (segmentation fault) (line 2)\n",
        "  more: farcall explain T0101 T0102\n",
    ]);
    assert_eq!(ran.stderr.matches("farcall explain").count(), 1, "{}", ran.stderr);
    machine.run("explain T0101 T0102").says("T0101: ").says("T0102: ");
    let ran = machine.run(&format!("core run {specimen} --lines in --retries 0 --json"));
    let lines: Vec<Value> =
        ran.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let codes: Vec<&Value> = lines.iter().map(|line| &line["failure"]["code"]).collect();
    assert_eq!(codes, [&Value::from("T0101"), &"T0102".into(), &"T0101".into(), &Value::Null]);
}

#[test]
fn an_unknown_code_names_those_near_it() {
    let machine = Machine::new();
    machine.run("explain E0210").complains(&[
        "error[E0109]",
        "E0211",
        "help: run `farcall explain E0211`",
    ]);
    machine
        .run("explain nonsense")
        .complains(&["error[E0109]", "list them with `farcall explain`"]);
    machine.run("explain").says("E0201  no node can be reached\n").says("T0104  ");
}

#[test]
fn what_is_explained_can_be_read_by_machines() {
    let machine = Machine::new();
    let ran = machine.run("explain --json e0201 SIGKILL");
    let json: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(json["codes"][0]["code"], "E0201");
    assert_eq!(json["signals"][0]["number"], 9);
    for part in ["title", "means", "cause", "remedy", "example"] {
        assert!(json["codes"][0][part].as_str().is_some_and(|text| !text.is_empty()), "{json}");
    }
    let all: Value = serde_json::from_str(&machine.run("explain --json").stdout).unwrap();
    assert!(all["codes"].as_array().unwrap().len() > 40);
}

#[test]
fn pages_are_written_to_a_folder_or_printed_one_by_one() {
    let machine = Machine::new();
    let ran = machine.run("man pages/man1");
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let mut names: Vec<_> = std::fs::read_dir(machine.path("pages/man1"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    for name in ["farcall.1", "farcall-auth-join.1", "farcall-core-run.1", "farcall-node.1"] {
        assert!(names.iter().any(|found| found == name), "no {name} in {names:?}");
    }
    let node = std::fs::read_to_string(machine.path("pages/man1/farcall-node.1")).unwrap();
    assert_eq!(machine.run("man --page node").stdout, node);
    assert_eq!(machine.run("man --page farcall-node").stdout, node);
    machine.run("man --page core-run").says(".TH farcall-core-run 1");
    machine.run("man").says(".TH farcall 1");
    machine.run("man --page nonsense").complains(&["error[E0109]", "there is no page"]);
}
