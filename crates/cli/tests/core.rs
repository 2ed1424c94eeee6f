//! `farcall core run`, as its users see it.

#![forbid(unsafe_code)]

mod support;

use support::{Machine, until};

const SPECIMEN: &str = "misbehaving/specimen.c";

#[test]
fn a_file_is_a_task_and_results_come_in_the_order_of_the_files() {
    let machine = Machine::new();
    let sum = machine.core("sum.c");
    machine.write("a.txt", "1 2 3");
    machine.write("b.txt", "4 5 6");
    let ran = machine.run(&format!("core run {sum} a.txt b.txt"));
    assert_eq!((ran.code, &*ran.stdout, &*ran.stderr), (Some(0), "6\n15\n", ""));
    let alone = machine.run(&format!("core run {sum} a.txt"));
    assert_eq!(alone.stdout, "6", "the bytes of one result, and no other");
}

#[test]
fn a_line_is_a_task_and_standard_input_has_lines_too() {
    let machine = Machine::new();
    let sum = machine.core("sum.c");
    let lines: String = (0..2000).map(|n| format!("{n} 1\n")).collect();
    let want: String = (1..2001).map(|n| format!("{n}\n")).collect();
    let ran = machine.run_with_input(&format!("core run {sum} --lines -"), &lines);
    assert_eq!((ran.code, ran.stdout), (Some(0), want.clone()));
    machine.write("in.txt", lines);
    let ran = machine.run(&format!("core run {sum} --lines in.txt"));
    assert_eq!(ran.stdout, want);
}

#[test]
fn results_go_to_files_named_as_their_inputs() {
    let machine = Machine::new();
    let sum = machine.core("sum.c");
    machine.write("a.txt", "1 2 3");
    machine.run(&format!("core run {sum} a.txt --out sums")).says("");
    assert_eq!(std::fs::read_to_string(machine.path("sums/a.txt")).unwrap(), "6");
    machine.write("lines", "1 1\n2 2\n");
    machine.run(&format!("core run {sum} --lines lines --out by-line")).says("");
    assert_eq!(std::fs::read_to_string(machine.path("by-line/2")).unwrap(), "4");

    std::fs::create_dir(machine.path("other")).unwrap();
    machine.write("other/a.txt", "1");
    machine
        .run(&format!("core run {sum} a.txt other/a.txt --out sums"))
        .complains(&["error[E0104]", "a.txt and other/a.txt would have the same result file"]);
}

#[test]
fn failures_are_grouped_by_reason_and_the_status_says_that_there_were_some() {
    let machine = Machine::new();
    let specimen = machine.core(SPECIMEN);
    machine.write("in", "echo one\ncrash\necho two\nrc 7\nabort\ncrash\nexit 3\nrc 7 said\n");
    let ran = machine.run(&format!("core run {specimen} --lines in"));
    assert_eq!(ran.stdout, "one\ntwo\n");
    let ran = ran.complains(&[
        "2 tasks failed: signal 11 (segmentation fault) (lines 2, 6)\n",
        "2 tasks failed: exit code 7 (lines 4, 8)\n",
        "1 task failed: signal 6 (abort) (line 5)\n",
        "1 task failed: it called exit(3) (line 7)\n",
    ]);
    assert!(!ran.stderr.contains('\u{1b}'), "no escape codes in a file");
}

#[test]
fn limits_of_time_and_memory_are_kept_and_named() {
    let machine = Machine::new();
    let specimen = machine.core(SPECIMEN);
    machine.write("in", "echo one\nhang\n");
    machine
        .run(&format!("core run {specimen} --lines in --deadline 200ms"))
        .complains(&["1 task failed: time limit of 0.20 s (line 2)"]);
    machine.write("in", "leak 256\n");
    machine
        .run(&format!("core run {specimen} --lines in --memory 64M"))
        .complains(&["1 task failed: out of memory, limit 64.0 MiB, peak ", " MiB (line 1)"]);
}

#[test]
fn json_has_an_object_for_each_task() {
    let machine = Machine::new();
    let specimen = machine.core(SPECIMEN);
    machine.write("in", "echo one\ncrash\necho \u{e9}\nrc 7 said\n");
    let ran = machine.run(&format!("core run {specimen} --lines in --json"));
    assert_eq!(ran.code, Some(1));
    let lines: Vec<serde_json::Value> =
        ran.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 4);
    assert_eq!(lines[0]["output"], "one");
    assert_eq!(lines[0]["node"], "local-1");
    assert_eq!(lines[0]["attempt"], 1);
    assert!(lines[0]["ms"].as_f64().unwrap() >= 0.0);
    assert_eq!(lines[1]["failure"]["kind"], "signal");
    assert_eq!((&lines[1]["index"], &lines[1]["input"]), (&1.into(), &"2".into()));
    assert_eq!(lines[2]["output"], "\u{e9}");
    assert_eq!(lines[3]["failure"]["kind"], "exit code");
    assert_eq!(lines[3]["output"], "said");
}

#[test]
fn bytes_that_are_no_text_come_as_base64_in_json_and_unchanged_otherwise() {
    let machine = Machine::new();
    let specimen = machine.core(SPECIMEN);
    machine.write("in", b"echo \xff\xfe\x1b[2J");
    let ran = machine.run(&format!("core run {specimen} in --json"));
    let line: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(line["output_base64"], "//4bWzJK");
    let raw = machine.command(["core", "run", &specimen, "in"]).output().unwrap();
    assert_eq!(raw.stdout, b"\xff\xfe\x1b[2J");
}

#[test]
fn what_cannot_be_read_is_named_before_anything_is_started() {
    let machine = Machine::new();
    let sum = machine.core("sum.c");
    machine.write("a.txt", "1");
    machine
        .run(&format!("core run {sum} a.txt missing.txt"))
        .complains(&["error[E0401]: cannot read missing.txt\n  note: No such file"]);
    machine.run("core run ./none.so a.txt").complains(&["cannot read ./none.so"]);
    std::fs::create_dir(machine.path("folder")).unwrap();
    machine.run(&format!("core run {sum} folder")).complains(&["folder is a folder"]);
    machine.write("no.so", "no library");
    machine.run("core run no.so a.txt").complains(&["1 task failed: refused: "]);
}

#[test]
fn ctrl_c_cancels_and_leaves_nothing_behind() {
    let machine = Machine::new();
    let specimen = machine.core(SPECIMEN);
    let (_node, address) = machine.start_node("--name a --slots 1");
    machine.write("in", "stderr begun\nhang\nhang\n");
    let job = machine.start(&format!("core run {specimen} --lines in --nodes {address}"));
    let status = || machine.run(&format!("status --nodes {address} --json")).stdout;
    let running = |text: &str| {
        let all: serde_json::Value = serde_json::from_str(text).unwrap();
        let clients = all["nodes"][0]["clients"].as_array().cloned().unwrap_or_default();
        clients.iter().map(|c| c["running"].as_u64().unwrap()).sum::<u64>()
    };
    until("the task runs", || running(&status()) == 1);
    job.signal("INT");
    assert_eq!(job.end(), Some(130));
    until("nothing runs", || running(&status()) == 0);
}

#[test]
fn an_embedded_cluster_goes_away_with_its_job() {
    let machine = Machine::new();
    let sum = machine.core("sum.c");
    machine.write("a.txt", "1 2 3");
    std::fs::create_dir(machine.path("tmp")).unwrap();
    let mut command = machine.command(["core", "run", &sum, "a.txt"]);
    assert_eq!(command.env("TMPDIR", machine.path("tmp")).output().unwrap().stdout, b"6");
    assert_eq!(std::fs::read_dir(machine.path("tmp")).unwrap().count(), 0);
}

#[test]
fn a_reader_that_has_seen_enough_ends_the_job() {
    let machine = Machine::new();
    let sum = machine.core("sum.c");
    machine.write("in", "1\n".repeat(200_000));
    let command =
        format!("{} core run {sum} --lines in | head -n 1", env!("CARGO_BIN_EXE_farcall"));
    let mut shell = std::process::Command::new("sh");
    shell.args(["-c", &command]).current_dir(machine.path(""));
    shell.env("FARCALL_HOME", machine.home()).env_remove("FARCALL_NODES");
    let output = shell.output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "1\n");
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
}
