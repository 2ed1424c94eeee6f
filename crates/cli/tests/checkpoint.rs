//! Processes become files and go on from them: what is kept, what is refused, and what a failure leaves.

#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, reason = "these are tests")]

mod support;

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::Value;
use support::process::children;
use support::{Machine, Ran, skipped, until};

/// Closes what this process has inherited itself: pipes and sockets of whoever runs the tests.
const WITH_NOTHING_OPEN: &str = "\
for path in /proc/self/fd/*; do number=${path##*/}; ((number > 2)) && exec {number}>&-; done; eval \"$0\"";

/// Says a number, waits for a file of that name, and so on; nothing here starts another process.
const COUNTING: &str = "for ((i = 1; i <= 10; i++)); do
    echo $i; echo $i >&3; while [[ ! -e go-$i ]]; do :; done; done; exit 7";

/// Says that it stands and waits; what it says of signals goes to its output.
const LISTENING: &str = "trap 'echo usr1' USR1; trap 'echo int; exit 9' INT
    echo ready; while :; do :; done";

/// A script of bash in the machine's folder, in a process group of its own.
struct Script(Child);

impl Drop for Script {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Script {
    fn start(machine: &Machine, words: &str) -> Self {
        let mut command = Command::new("bash");
        command.args(["-c", WITH_NOTHING_OPEN, words]).current_dir(machine.path(""));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        Self(command.process_group(0).spawn().unwrap())
    }

    /// One that has said `ready`, and more when it is awake.
    fn ready(machine: &Machine, words: &str) -> Self {
        let mut this = Self::start(machine, words);
        let mut line = String::new();
        BufReader::new(this.0.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line, "ready\n");
        this
    }

    fn pid(&self) -> u32 {
        self.0.id()
    }

    fn checkpoint(&self, machine: &Machine, more: &str) -> Ran {
        machine.run(&format!("checkpoint {} {more}", self.pid()))
    }

    /// It runs as if nothing had happened.
    #[track_caller]
    fn runs_on(&self) {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap();
        assert!(status.contains("TracerPid:\t0\n"), "{status}");
        assert!(!status.contains("State:\tt") && !status.contains("State:\tZ"), "{status}");
    }
}

/// What is in the machine's folder beside what it always has.
fn files(machine: &Machine) -> Vec<String> {
    let all = fs::read_dir(machine.path("")).unwrap();
    let names = all.map(|one| one.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> =
        names.filter(|name| !["run", "home", "state"].contains(&name.as_str())).collect();
    names.sort();
    names
}

/// `farcall restore` with nothing but its streams open.
fn restoring(machine: &Machine, words: &str) -> Child {
    let mut command = machine.command(["restore"]);
    command.args(words.split_whitespace()).process_group(0);
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

fn ended(child: Child) -> Ran {
    Ran::of(child.wait_with_output().unwrap())
}

fn signal(pid: u32, name: &str) {
    assert!(Command::new("kill").args(["-s", name, &pid.to_string()]).status().unwrap().success());
}

fn numbers(text: &str) -> Vec<u32> {
    text.lines().map(|line| line.parse().unwrap()).collect()
}

// TF-14.
#[test]
fn a_shell_that_counts_is_copied_in_the_middle_and_the_copy_counts_on() {
    let machine = Machine::new();
    let counted = machine.path("counted");
    let read = |path: &Path| fs::read_to_string(path).unwrap_or_default();
    let go = |numbers: std::ops::RangeInclusive<u32>| {
        numbers.for_each(|number| drop(machine.write(&format!("go-{number}"), "")));
    };
    let mut script = Script::start(&machine, &format!("exec 3> counted; {COUNTING}"));
    go(1..=4);
    until("it has counted to five", || read(&counted).ends_with("5\n"));
    let ran = script.checkpoint(&machine, "-o count.image --leave-running");
    ran.says("is in count.image").says("goes on after");
    // The original ends as it would have.
    go(5..=10);
    let mut said = String::new();
    script.0.stdout.take().unwrap().read_to_string(&mut said).unwrap();
    assert_eq!(script.0.wait().unwrap().code(), Some(7));
    let all: Vec<u32> = (1..=10).collect();
    assert_eq!((numbers(&said), numbers(&read(&counted))), (all.clone(), all.clone()));
    // Nothing is written into a file that is not as it was.
    let parts = ["E0723", "counted", "--fd 3=reopen"];
    machine.run("restore count.image").complains(&parts);
    assert_eq!(numbers(&read(&counted)), all);
    // Moved away, it is made anew as it was, and filled on.
    fs::rename(&counted, machine.path("elsewhere")).unwrap();
    let ran = ended(restoring(&machine, "count.image"));
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(7), "6\n7\n8\n9\n10\n"), "{ran:?}");
    assert_eq!(numbers(&read(&counted)), all);
    // As it is: it stands behind five numbers and writes there.
    let ran = ended(restoring(&machine, "count.image --fd 3=reopen"));
    assert_eq!((ran.code, numbers(&read(&counted))), (Some(7), all), "{ran:?}");
}

#[test]
fn a_process_ends_when_its_image_is_whole_and_several_go_on_from_it_at_once() {
    let machine = Machine::new();
    let mut script = Script::ready(
        &machine,
        "echo ready; while [[ ! -e go ]]; do :; done; read -r x < go; echo \"saw $x\"; exit 3",
    );
    let told = script.checkpoint(&machine, "-o one.image --json");
    let told: Value = serde_json::from_str(&told.stdout).unwrap_or_else(|_| panic!("{told:?}"));
    let length = fs::metadata(machine.path("one.image")).unwrap().len();
    assert_eq!((&told["pid"], &told["bytes"]), (&script.pid().into(), &length.into()));
    assert_eq!((&told["file"], &told["runs_on"]), (&"one.image".into(), &false.into()));
    assert_eq!(script.0.wait().unwrap().signal(), Some(9));
    assert_eq!(files(&machine), ["one.image"]);
    machine.run("image one.image --verify").says("every byte");
    let both = [restoring(&machine, "one.image"), restoring(&machine, "one.image")];
    machine.write("new", "the word\n");
    fs::rename(machine.path("new"), machine.path("go")).unwrap();
    for ran in both.map(ended) {
        assert_eq!((ran.code, ran.stdout.as_str()), (Some(3), "saw the word\n"), "{ran:?}");
    }
}

#[test]
fn what_cannot_travel_is_named_and_the_process_is_left_alone() {
    let machine = Machine::new();
    let script = Script::ready(
        &machine,
        "mkfifo fifo; exec 5<> fifo; rm fifo; echo ready; while :; do :; done",
    );
    let ran = script.checkpoint(&machine, "-o no.image");
    ran.complains(&["E0701", "descriptor 5: a pipe", "--fd 5=drop"]);
    script.checkpoint(&machine, "-o run").complains(&["E0701"]);
    script.checkpoint(&machine, "-o run --fd 5=drop").complains(&["E0401", "no regular file"]);
    script.checkpoint(&machine, "-o no/where --fd 5=drop").complains(&["E0401", "no/where"]);
    script.runs_on();
    assert_eq!(files(&machine), [""; 0]);
    script.checkpoint(&machine, "-o yes.image --fd 5=drop").says("has ended here");
    assert_eq!(machine.run("checkpoint 0 -o x").code, Some(2));
    assert_eq!(machine.run("checkpoint 1").code, Some(2));
}

/// A small file system that goes with the test.
struct Small(PathBuf);

impl Drop for Small {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

#[test]
fn a_disk_that_is_full_costs_neither_the_process_nor_an_older_image() {
    let machine = Machine::new();
    fs::create_dir(machine.path("small")).unwrap();
    let mut mount = Command::new("mount");
    mount.args(["-t", "tmpfs", "-o", "size=128k", "none"]).arg(machine.path("small"));
    if !mount.output().is_ok_and(|ran| ran.status.success()) {
        return skipped("only root mounts a file system");
    }
    let _small = Small(machine.path("small"));
    machine.write("small/old.image", "older");
    let script = Script::ready(&machine, LISTENING);
    for more in ["", "--leave-running"] {
        for name in ["old", "new"] {
            let ran = script.checkpoint(&machine, &format!("-o small/{name}.image {more}"));
            ran.complains(&["E0720", "runs on", "No space left"]);
            script.runs_on();
        }
    }
    let left: Vec<_> = fs::read_dir(machine.path("small")).unwrap().collect();
    assert_eq!(left.len(), 1, "{left:?}");
    assert_eq!(fs::read(machine.path("small/old.image")).unwrap(), b"older");
}

#[test]
fn a_checkpoint_that_is_interrupted_or_killed_leaves_the_process_and_no_file() {
    let machine = Machine::new();
    // So much that writing it takes longer than a signal to arrive.
    let script = Script::ready(
        &machine,
        "printf -v text '%0100000000d' 7; text+=$text; echo ready; while :; do :; done",
    );
    for (name, code) in [("INT", Some(130)), ("TERM", Some(130)), ("KILL", None)] {
        let words = format!("checkpoint {} -o large.image", script.pid());
        let mut command = machine.command(words.split_whitespace());
        let child = command.stderr(Stdio::piped()).spawn().unwrap();
        let stat = format!("/proc/{}/stat", script.pid());
        until("it stands still", || fs::read_to_string(&stat).unwrap().contains(") t "));
        signal(child.id(), name);
        let ran = ended(child);
        assert_eq!(ran.code, code, "{ran:?}");
        until("it goes on", || !fs::read_to_string(&stat).unwrap().contains(") t "));
        script.runs_on();
        assert_eq!(files(&machine), [""; 0], "{name}");
    }
}

#[test]
fn a_restored_process_hears_the_signals_of_its_command_and_ends_it_as_it_ends() {
    let machine = Machine::new();
    let script = Script::ready(&machine, LISTENING);
    script.checkpoint(&machine, "-o listen.image").says("has ended here");
    let woken = || {
        let mut child = restoring(&machine, "listen.image");
        let mut output = BufReader::new(child.stdout.take().unwrap());
        // From then on it hears of signals, and keeps them for the process.
        until("it has a child", || !children(child.id()).is_empty());
        signal(child.id(), "USR1");
        let mut line = String::new();
        output.read_line(&mut line).unwrap();
        assert_eq!(line, "usr1\n");
        (child, output)
    };
    let (mut child, mut output) = woken();
    signal(child.id(), "INT");
    let mut rest = String::new();
    output.read_to_string(&mut rest).unwrap();
    assert_eq!((rest.as_str(), child.wait().unwrap().code()), ("int\n", Some(9)));
    for (name, number) in [("TERM", 15), ("HUP", 1), ("USR2", 12)] {
        let (mut child, _) = woken();
        signal(child.id(), name);
        assert_eq!(child.wait().unwrap().signal(), Some(number), "{name}");
    }
}

#[test]
fn a_stopped_process_is_stopped_in_its_image_too() {
    let machine = Machine::new();
    let script = Script::ready(&machine, LISTENING);
    let state = |pid: u32, letter: &str| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        stat.contains(&format!(") {letter} "))
    };
    signal(script.pid(), "STOP");
    until("it is stopped", || state(script.pid(), "T"));
    script.checkpoint(&machine, "-o stopped.image --leave-running").says("goes on");
    assert!(state(script.pid(), "T"), "it was not let go on");
    let mut child = restoring(&machine, "stopped.image");
    let mut output = BufReader::new(child.stdout.take().unwrap());
    until("it wakes stopped", || {
        children(child.id()).first().is_some_and(|process| state(*process, "T"))
    });
    signal(child.id(), "CONT");
    signal(child.id(), "USR1");
    let mut line = String::new();
    output.read_line(&mut line).unwrap();
    assert_eq!(line, "usr1\n");
    signal(child.id(), "TERM");
    assert_eq!(child.wait().unwrap().signal(), Some(15));
}

#[test]
fn an_image_that_is_cut_off_or_altered_is_refused_and_nothing_of_it_runs() {
    let machine = Machine::new();
    let script = Script::ready(&machine, "echo ready; while :; do echo alive > alive; done");
    script.checkpoint(&machine, "-o whole.image").says("has ended here");
    let _ = fs::remove_file(machine.path("alive"));
    let whole = fs::read(machine.path("whole.image")).unwrap();
    let mut bad = Vec::new();
    for part in [0, 1, 5, 9, 12, 15] {
        let at = whole.len() / 16 * part;
        bad.push((format!("cut at {at}"), whole[..at].to_vec()));
        let mut altered = whole.clone();
        altered[at + 1] ^= 4;
        bad.push((format!("altered behind {at}"), altered));
    }
    bad.push(("without its last byte".to_owned(), whole[..whole.len() - 1].to_vec()));
    for (what, bytes) in bad {
        machine.write("bad.image", bytes);
        let ran = ended(restoring(&machine, "bad.image"));
        assert_eq!(ran.code, Some(1), "{what}: {ran:?}");
        assert!(ran.stderr.contains("error[E070") && ran.stderr.contains("bad.image"), "{ran:?}");
        assert!(ran.stdout.is_empty() && !machine.path("alive").exists(), "{what}: {ran:?}");
    }
}

#[test]
fn numbers_that_are_taken_are_refused_to_who_insists_on_them() {
    let machine = Machine::new();
    let script = Script::ready(&machine, "echo ready; while [[ ! -e go ]]; do :; done; exit 5");
    // It goes on, and so has its number.
    script.checkpoint(&machine, "-o n.image --leave-running").says("goes on");
    machine.run("restore n.image --keep-numbers").complains(&["E0727", &script.pid().to_string()]);
    script.runs_on();
    machine.write("go", "");
    assert_eq!(ended(restoring(&machine, "n.image")).code, Some(5));
    // The remedy that is told.
    let free = ["unshare", "--user", "--map-root-user", "--pid", "--fork", "--mount-proc"];
    let command = machine.command(["restore", "n.image", "--keep-numbers"]);
    let ran = Ran::of(support::under(&free, &command).process_group(0).output().unwrap());
    if ran.stderr.starts_with("unshare: ") {
        return skipped("this machine has no namespaces of users");
    }
    assert_eq!(ran.code, Some(5), "{ran:?}");
}

#[test]
fn a_restored_job_has_the_terminal() {
    if Command::new("script").arg("--version").output().is_err() {
        return skipped("this machine has no `script`, which makes terminals");
    }
    let machine = Machine::new();
    let script = Script::ready(
        &machine,
        "trap 'echo int; exit 9' INT; echo ready
        while [[ ! -e go ]]; do :; done; read -r word < /dev/tty; echo \"read $word\"
        while :; do :; done",
    );
    script.checkpoint(&machine, "-o job.image").says("has ended here");
    machine.write("go", "");
    let farcall = env!("CARGO_BIN_EXE_farcall");
    let mut terminal = Command::new("script");
    terminal.args(["-qec", &format!("exec {farcall} restore job.image"), "/dev/null"]);
    terminal.current_dir(machine.path("")).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = terminal.spawn().unwrap();
    let (mut input, output) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
    let mut output = BufReader::new(output).lines().map(|line| line.unwrap());
    input.write_all(b"word\n").unwrap();
    assert!(
        output.any(|line| line.contains("read word")),
        "who is in the background reads nothing"
    );
    input.write_all(b"\x03").unwrap();
    assert!(output.any(|line| line.contains("int")), "the terminal's signal");
    assert_eq!(child.wait().unwrap().code(), Some(9));
}

#[test]
fn what_the_readme_shows_is_what_happens() {
    let readme = concat!(env!("CARGO_MANIFEST_DIR"), "/../../README.md");
    let readme = fs::read_to_string(readme).unwrap();
    let mut blocks =
        readme.split("```console\n").skip(1).map(|rest| rest.split("```").next().unwrap());
    let block = blocks.find(|block| block.contains("farcall checkpoint")).unwrap();
    let (mut script, mut wanted) = (String::new(), String::new());
    for line in block.lines() {
        match line.strip_prefix("$ ") {
            Some(command) => script += &format!("{command}\n"),
            None => wanted += &format!("{line}\n"),
        }
    }
    let machine = Machine::new();
    let folder = Path::new(env!("CARGO_BIN_EXE_farcall")).parent().unwrap();
    let path = format!("{}:{}", folder.display(), std::env::var("PATH").unwrap());
    let mut shell = Command::new("bash");
    // Not a shell that says of each of its children how it was ended.
    shell.args(["-c", WITH_NOTHING_OPEN, "exec sh -c \"$SCRIPT\" 2>&1"]).env("SCRIPT", script);
    shell.current_dir(machine.path("")).env("PATH", path).process_group(0);
    let ran = Ran::of(shell.stdin(Stdio::null()).output().unwrap());
    // Numbers of processes and sizes are others each time.
    let masked = |text: &str| -> String {
        let lines = text.lines().map(|line| match line.contains("process") {
            true => line.chars().filter(|c| !c.is_ascii_digit()).collect(),
            false => line.to_owned(),
        });
        lines.collect::<Vec<_>>().join("\n")
    };
    assert_eq!(masked(&ran.stdout), masked(&wanted), "{ran:?}");
}
