//! `farcall mem`, as its users see it: on a terminal, in scripts, beside one another.

#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, reason = "these are tests")]

mod support;

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;
use support::{Machine, Ran, Running, under, until};

/// The program of the guide.
const PROGRAM: &str = include_str!("../../client/examples/genes.rs");

/// A machine with a node of its own, which every command finds by itself, and a region.
fn with_region(options: &str) -> (Machine, Running) {
    let machine = Machine::new();
    let (node, _) = machine.start_node("--name host-a");
    machine.run(&format!("mem create genes --pages 100 {options}")).says("genes on host-a");
    (machine, node)
}

fn json(ran: &Ran) -> Value {
    assert_eq!(ran.code, Some(0), "{ran:?}");
    serde_json::from_str(&ran.stdout).unwrap_or_else(|error| panic!("{error}: {ran:?}"))
}

/// It ended with this status and these words.
#[track_caller]
fn ends(ran: Ran, code: i32, parts: &[&str]) {
    assert_eq!(ran.code, Some(code), "{ran:?}");
    for part in parts {
        assert!(ran.stderr.contains(part), "no {part:?} in {}", ran.stderr);
    }
}

#[test]
fn what_was_written_is_read_in_each_form() {
    let (machine, _node) = with_region("--page-size 64");
    machine.run("mem update genes 3 --text hello --offset 4").says("page 3: version 2\n");
    let raw = machine.command(["mem", "read", "genes", "3"]).output().unwrap().stdout;
    assert_eq!((raw.len(), &raw[..9]), (64, &b"\0\0\0\0hello"[..]));
    machine.run("mem read genes 3 --offset 4 --text").says("hello\n");
    machine
        .run("mem read genes 3 --hex")
        .says("page 3, version 2\n00000000  00 00 00 00 68 65 6c 6c");
    let read = json(&machine.run("mem read genes 3 --offset 4 --length 5 --json"));
    assert_eq!(
        (&read["page"], &read["version"], &read["hex"]),
        (&3.into(), &2.into(), &"68656c6c6f".into())
    );
    assert_eq!(machine.run("mem read genes 99 --offset 60").stdout, "\0\0\0\0");

    let unchanged = machine.run("mem read genes 3 --known 2");
    assert_eq!((unchanged.code, &*unchanged.stdout), (Some(0), ""));
    assert_eq!(json(&machine.run("mem read genes 3 --known 2 --json"))["unchanged"], true);
    assert_eq!(machine.run("mem read genes 3 --known 1").stdout.len(), 64);
}

#[test]
fn bytes_come_from_text_digits_files_pipes_and_what_read_has_printed() {
    let (machine, _node) = with_region("--page-size 64");
    let first = |page: u32| machine.run(&format!("mem read genes {page} --length 4 --text")).stdout;
    machine.run("mem update genes 0 --hex 61-").complains(&["error[E0615]", "`-` at 2"]);
    machine.run("mem update genes 0 --hex 6162").says("version 2");
    machine.run_with_input("mem update genes 1 --hex -", "61 62\n63\n").says("version 2");
    machine.run_with_input("mem update genes 2", "abcd").says("version 2");
    machine.write("page", "file");
    machine.run("mem write genes 4 --file page").says("version 2");
    let object = machine.run("mem read genes 2 --length 3 --offset 1 --json").stdout;
    machine.run_with_input("mem update genes 5 --from-json -", &object).says("version 2");
    assert_eq!([first(0), first(1), first(2), first(4)], ["ab\n", "abc\n", "abcd\n", "file\n"]);
    assert_eq!(machine.run("mem read genes 5 --offset 1 --text").stdout, "bcd\n");
    machine
        .run_with_input("mem write genes 5 --from-json -", &object)
        .complains(&["error[E0615]", "farcall mem update"]);

    // A whole page is written: what was there before and is not given is zero.
    machine.run("mem write genes 2 --text x").says("version 3");
    assert_eq!(machine.run("mem read genes 2 --length 4").stdout, "x\0\0\0");
    let long = "x".repeat(65);
    for command in ["write genes 2", "update genes 2", "update genes 2 --offset 64 --text y"] {
        machine.run_with_input(&format!("mem {command}"), &long).complains(&["error[E0606]"]);
    }
    machine.run("mem read genes 2 --offset 60 --length 5").complains(&["error[E0606]"]);
}

#[test]
fn a_write_that_found_another_version_says_which_and_has_a_status_of_its_own() {
    let (machine, _node) = with_region("");
    machine.run("mem update genes 3 --text one --if-version 1 --json").says("\"version\":2");
    let conflict = machine.run("mem update genes 3 --text two --if-version 1");
    ends(conflict, 3, &["error[E0607]: page 3 has version 2", "had version 1"]);
    let conflict = machine.run("mem write genes 3 --text two --if-version 1 --json");
    assert_eq!(conflict.code, Some(3));
    let told: Value = serde_json::from_str(&conflict.stdout).unwrap();
    assert_eq!((&told["conflict"], &told["version"]), (&true.into(), &2.into()));
    machine.run("mem read genes 3 --length 3").says("one");
}

#[test]
fn regions_are_made_listed_grown_and_dropped() {
    let (machine, _node) = with_region("--page-size 64K --private");
    machine.run("mem create genes --pages 1").complains(&["error[E0602]", "genes", "host-a"]);
    machine
        .run("mem create other --pages 5 --on host-a")
        .says("other on host-a: 5 pages of 4.0 KiB");
    let list = machine.run("mem list").says("genes").says("other").says("none, private");
    assert!(list.stdout.starts_with("REGION"), "{list:?}");
    let list = json(&machine.run("mem list --json"));
    assert_eq!(list["regions"].as_array().unwrap().len(), 2, "{list}");
    machine.run("mem update genes@host-a 7 --text x").says("version 2");
    let stat = json(&machine.run("mem stat genes --json"));
    assert_eq!(
        (&stat["written"], &stat["pages"], &stat["page_size"]),
        (&1.into(), &100.into(), &65536.into())
    );
    machine
        .run("mem stat genes")
        .says("  pages       100 of 64.0 KiB\n")
        .says("  written     1 page (64.0 KiB)\n");
    machine.run("mem update genes 100 --text x").complains(&["error[E0605]", "100 pages"]);
    machine.run("mem grow genes 200").says("genes has 200 pages\n");
    machine.run("mem grow genes 50").says("genes has 200 pages\n");
    machine.run("mem update genes 199 --text x").says("version 2");
    machine.run("mem drop genes").complains(&["error[E0616]", "2 pages of data", "--yes"]);
    machine.run("mem drop genes --yes").says("");
    machine.run("mem read genes 0").complains(&["error[E0601]", "genes"]);
    machine.run("mem drop genes --yes").complains(&["error[E0601]"]);
}

#[test]
fn arguments_out_of_bounds_are_refused_before_anything_is_asked() {
    let machine = Machine::new();
    for words in [
        "read genes 4294967296",
        "read genes -1",
        "read ../genes 0",
        "read genes@ 0",
        "create genes --pages 0",
        "create genes --pages 1 --page-size 100",
        "create genes --pages 1 --durability maybe",
        "create genes --pages 1 --replicated --coherent",
        "watch genes 9-3",
        "hot genes --every 1ms",
        "lock genes 0",
        "lock genes 0 --text -- true",
        "write genes 0 --text a --hex 00",
        "bench genes --local",
        "bench genes --page-size 64",
        "bench genes --durability sync",
    ] {
        let ran = machine.run(&format!("mem {words}"));
        assert_eq!(ran.code, Some(2), "{words}: {ran:?}");
    }
    machine.run("mem list").complains(&["error[E0201]", "no node of this user runs"]);
}

#[test]
fn nothing_that_pages_hold_steers_a_terminal() {
    let (machine, _node) = with_region("");
    machine.run("mem update genes 0 --hex 1b5b324a0a1b5d303b").says("version 2");
    for form in ["--hex", "--text", "--json"] {
        let shown = machine.run(&format!("mem read genes 0 {form}")).stdout;
        assert!(!shown.contains('\u{1b}'), "{form}: {shown}");
    }
    let ran = Ran::of(machine.command(["mem", "read", "\u{1b}[2J", "0"]).output().unwrap());
    assert!(ran.code == Some(2) && !ran.stderr.contains('\u{1b}'), "{ran:?}");
}

#[test]
fn a_command_runs_under_a_lock_and_its_end_is_ours() {
    let (machine, _node) = with_region("");
    let run = |words: &[&str]| {
        let words = ["mem", "lock", "genes", "3"].iter().chain(words);
        Ran::of(machine.command(words).output().unwrap())
    };
    let said = run(&[
        "--",
        "sh",
        "-c",
        "echo $FARCALL_REGION $FARCALL_PAGE $FARCALL_VERSION $FARCALL_TOKEN",
    ]);
    let words: Vec<&str> = said.stdout.split_whitespace().collect();
    assert_eq!(words[..3], ["genes", "3", "1"], "{said:?}");
    let token: u64 = words[3].parse().unwrap();
    let next: u64 = run(&["--", "sh", "-c", "echo $FARCALL_TOKEN"]).stdout.trim().parse().unwrap();
    assert!(next > token, "{next} after {token}");
    ends(run(&["--", "sh", "-c", "exit 7"]), 7, &[]);
    ends(run(&["--", "sh", "-c", "kill -9 $$"]), 137, &[]);
    ends(run(&["--", "/nowhere/to/be/found"]), 127, &["error[E0617]"]);
    ends(run(&["--", "/"]), 126, &["error[E0617]"]);
    ends(run(&["--wait", "0s", "--", "true"]), 0, &[]);
    assert_eq!(json(&machine.run("mem stat genes --json"))["commits"], 0);
}

#[test]
fn a_lock_that_somebody_holds_is_waited_for_as_long_as_one_likes() {
    let (machine, _node) = with_region("");
    let mut holder =
        machine.command(["mem", "lock", "genes", "3", "--", "sh", "-c", "echo held; read line"]);
    let mut holder = Running::of(holder.stdin(Stdio::piped()));
    holder.line_with("held");
    let busy = machine.run("mem lock genes 3 --wait 0s -- echo never");
    assert_eq!(busy.stdout, "");
    ends(busy, 124, &["error[E0608]", "farcall mem hot genes"]);
    ends(machine.run("mem lock genes 3 --wait 100ms -- true"), 124, &["waited for 0.10 s"]);
    machine.run("mem lock genes 4 -- echo another").says("another");
    let waiter = machine.start("mem lock genes 3 -- echo granted");
    until("the waiter waits", || json(&machine.run("mem stat genes --json"))["waiting"] == 1);
    drop(holder.child.stdin.take());
    waiter.finish().says("granted");
    ends(holder.finish(), 1, &[]);
}

#[test]
fn a_filter_changes_the_page_under_its_lock() {
    let (machine, _node) = with_region("--page-size 64");
    let filter = |script: &str| {
        let words = ["mem", "lock", "genes", "0", "--filter", "--text", "--", "sh", "-c", script];
        Ran::of(machine.command(words).output().unwrap())
    };
    machine.run("mem write genes 0 --text 41").says("version 2");
    filter("read n; echo $((n + 1))").says("");
    machine.run("mem read genes 0 --text").says("42\n");
    let failed = filter("echo nonsense; exit 9");
    ends(failed, 9, &[]);
    let long = filter("head -c 65 /dev/zero");
    ends(long, 1, &["error[E0606]", "more than the 64 bytes"]);
    machine.run("mem read genes 0 --text").says("42\n");
    filter("true").says("");
    assert_eq!(machine.run("mem read genes 0").stdout, "\0".repeat(64));
}

#[test]
fn counting_processes_under_a_lock_lose_no_count() {
    let (machine, _node) = with_region("--page-size 64");
    let add = "read n; echo $((n + 1))";
    let words = ["mem", "lock", "genes", "0", "--filter", "--text", "--", "sh", "-c", add];
    let many: Vec<Running> = (0..8).map(|_| Running::of(&mut machine.command(words))).collect();
    many.into_iter().for_each(|one| drop(one.finish().says("")));
    machine.run("mem read genes 0 --text").says("8\n");
}

#[test]
fn a_lock_that_is_lost_while_its_command_runs_is_said_by_name() {
    let (machine, _node) = with_region("");
    let mut holder =
        machine.command(["mem", "lock", "genes", "3", "--", "sh", "-c", "echo held; read line"]);
    let mut holder = Running::of(holder.stdin(Stdio::piped()));
    holder.line_with("held");
    holder.signal("STOP");
    // Granted once the lease is over.
    machine.run("mem lock genes 3 -- echo granted").says("granted");
    holder.signal("CONT");
    drop(holder.child.stdin.take());
    ends(holder.finish(), 125, &["error[E0609]: the lock of page 3 was lost"]);
}

#[test]
fn a_filter_whose_lock_is_lost_is_told_before_its_command_ends() {
    let (machine, _node) = with_region("");
    assert!(Command::new("mkfifo").arg(machine.path("go")).status().unwrap().success());
    let script = "echo held >&2; read line < go";
    let words = ["mem", "lock", "genes", "3", "--filter", "--", "sh", "-c", script];
    let mut holder = Running::of(&mut machine.command(words));
    let mut told = BufReader::new(holder.child.stderr.take().unwrap()).lines().map(Result::unwrap);
    assert_eq!(told.next().unwrap(), "held");
    holder.signal("STOP");
    machine.run("mem lock genes 3 -- echo granted").says("granted");
    holder.signal("CONT");
    let warning = told.next().unwrap();
    assert!(warning.contains("E0609") && warning.contains("still runs"), "{warning}");
    std::fs::write(machine.path("go"), "\n").unwrap();
    let rest: String = told.collect();
    assert!(rest.contains("error[E0609]: the lock of page 3 was lost"), "{rest}");
    assert_eq!(holder.end(), Some(125));
    assert_eq!(json(&machine.run("mem stat genes --json"))["commits"], 0);
}

#[test]
fn a_signal_does_not_leave_a_command_without_its_lock() {
    let (machine, _node) = with_region("");
    // The first thing that the command does is what a terminal does at Ctrl-C, and at its end.
    let script = "kill -INT $PPID; kill -HUP $PPID; echo alive; read line";
    let words = ["mem", "lock", "genes", "3", "--", "sh", "-c", script];
    let mut holder = Running::of(machine.command(words).stdin(Stdio::piped()));
    holder.line_with("alive");
    ends(machine.run("mem lock genes 3 --wait 0s -- true"), 124, &["error[E0608]"]);
    // SIGTERM is passed on.
    holder.signal("TERM");
    ends(holder.finish(), 128 + 15, &[]);
    machine.run("mem lock genes 3 --wait 0s -- echo free").says("free");
}

#[test]
fn a_watch_goes_on_where_its_region_grows() {
    let (machine, _node) = with_region("");
    let all = machine.start("mem watch genes --count 1");
    let rest = machine.start("mem watch genes 50- --count 1");
    until("both watch", || json(&machine.run("mem stat genes --json"))["watches"] == 2);
    machine.run("mem grow genes 200").says("200 pages");
    machine.run("mem update genes 150 --text x").says("version 2");
    assert_eq!([all.finish().stdout, rest.finish().stdout], ["150 2\n", "150 2\n"]);
}

#[test]
fn commits_are_told_as_they_come() {
    let (machine, _node) = with_region("");
    let mut all = machine.start("mem watch genes --json --count 2");
    let some = machine.start("mem watch genes 5-9 --count 1");
    until("both watch", || json(&machine.run("mem stat genes --json"))["watches"] == 2);
    machine.run("mem update genes 4 --text x").says("version 2");
    assert_eq!(all.line_with("page"), r#"{"page":4,"version":2}"#);
    machine.run("mem update genes 7 --text x").says("version 2");
    assert_eq!(some.finish().says("").stdout, "7 2\n");
    assert_eq!(all.finish().says("").stdout, "{\"page\":7,\"version\":2}\n");
}

#[test]
fn hot_pages_have_the_longest_bars_and_name_who_holds_them() {
    let (machine, _node) = with_region("");
    machine.run("mem hot genes").says("no page has had any traffic yet");
    for _ in 0..4 {
        machine.run("mem update genes 7 --text x").says("version");
    }
    machine.run("mem update genes 8 --text x").says("version");
    let mut holder =
        machine.command(["mem", "lock", "genes", "7", "--", "sh", "-c", "echo held; read line"]);
    let mut holder = Running::of(holder.stdin(Stdio::piped()));
    holder.line_with("held");
    let hot = machine.run("mem hot genes").says("genes on host-a\n");
    let line = |page: &str| {
        let mut lines = hot.stdout.lines().map(str::trim_start);
        lines.find(|line| line.starts_with(page)).unwrap_or_else(|| panic!("{hot:?}")).to_owned()
    };
    let bar = |page| line(page).matches('#').count();
    assert!(bar("7") == 24 && bar("8") == 6, "{hot:?}");
    assert!(line("8").contains("nobody") && !line("7").contains("nobody"), "{hot:?}");
    let looks = machine.run("mem hot genes --every 50ms --count 3 --json");
    assert_eq!(looks.stdout.lines().count(), 3, "{looks:?}");
    let look: Value = serde_json::from_str(looks.stdout.lines().next().unwrap()).unwrap();
    assert_eq!((&look["pages"][0]["page"], &look["pages"][0]["traffic"]), (&7.into(), &4.into()));
    machine.run("mem hot genes --every 50ms --count 2 --top 1").says("A SECOND");
}

#[test]
fn a_cluster_measures_itself_and_leaves_nothing_behind() {
    let machine = Machine::new();
    // Without any node, on one of its own.
    let bench = machine
        .run("mem bench --rounds 100")
        .says("transaction, 3 pages")
        .says("a node started here");
    assert!(bench.stdout.contains("each 100 times"), "{bench:?}");
    let (_node, _) = machine.start_node("--name host-a");
    let bench = json(&machine.run("mem bench --rounds 100 --json --page-size 64"));
    assert_eq!(bench["node"], "host-a");
    for measure in bench["measures"].as_array().unwrap() {
        assert!(measure["per_second"].as_f64().unwrap() > 0.0, "{bench}");
    }
    assert_eq!(json(&machine.run("mem list --json"))["regions"], Value::Array(Vec::new()));
    machine.run("mem create genes --pages 10").says("genes");
    machine.run("mem bench genes --rounds 100").says("read, unchanged");
    assert_eq!(json(&machine.run("mem stat genes --json"))["commits"], 0);
}

/// The blocks of a paper in this language.
fn blocks(paper: &str, language: &str) -> Vec<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let text = std::fs::read_to_string(root.join(paper)).unwrap();
    let begin = format!("```{language}\n");
    let blocks = text.split(&begin).skip(1);
    blocks.map(|rest| rest.split("```").next().unwrap().to_owned()).collect()
}

/// Runs what stands behind `$`, and compares what is said with the lines below.
fn replay(console: &str) {
    let machine = Machine::new();
    let (_node, _) = machine.start_node("--name host-a");
    let folder = Path::new(env!("CARGO_BIN_EXE_farcall")).parent().unwrap();
    let path = format!("{}:{}", folder.display(), std::env::var("PATH").unwrap());
    for step in console.split("$ ").filter(|step| step.starts_with("farcall")) {
        let (line, want) = step.split_once('\n').unwrap();
        // The shell has what `farcall` would have.
        let script = format!("exec 2>&1; {line}");
        let mut shell = under(&["sh", "-c", &script], &machine.command(["unused"]));
        let got = Ran::of(shell.env("PATH", &path).output().unwrap()).stdout;
        if line.starts_with("farcall mem bench") {
            assert!(got.contains("transaction, 3 pages"), "{line}: {got}");
        } else {
            assert_eq!(got, want, "{line}");
        }
    }
}

#[test]
fn what_the_papers_show_is_what_happens() {
    let console = &blocks("docs/memory.md", "console")[0];
    assert!(console.contains("farcall mem lock"), "{console}");
    replay(console);
    let readme = blocks("README.md", "console");
    replay(readme.iter().find(|block| block.contains("farcall mem create")).unwrap());
}

#[test]
fn the_program_of_the_guide_is_compiled_and_runs() {
    let shown = &PROGRAM[PROGRAM.find("use farcall").unwrap()..];
    assert!(blocks("docs/memory.md", "rust").iter().any(|block| block == shown));
    let readme = blocks("README.md", "rust");
    let shown = readme.iter().filter(|block| PROGRAM.contains(block.as_str()));
    assert_eq!(shown.count(), 2, "README.md shows two pieces of it");
    let (machine, _node) = with_region("");
    let profile = Path::new(env!("CARGO_BIN_EXE_farcall")).parent().unwrap();
    let mut example = Command::new(env!("CARGO"));
    example.args(["run", "--quiet", "--offline", "-p", "farcall", "--example", "genes"]);
    if profile.ends_with("release") {
        example.arg("--release");
    }
    example.env("CARGO_TARGET_DIR", profile.parent().unwrap());
    example.env("FARCALL_NODES", machine.path("run/farcall.sock"));
    Ran::of(example.output().unwrap()).says("version 2: [104, 101, 108, 108, 111]\n1\n");
    machine.run("mem read genes 4 --text").says("Hello\n");
}
