//! Processes that move by their number: what whoever started them notices, and what is left when either
//! side is killed in the middle.

#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, reason = "these are tests")]

mod support;

use std::cell::RefCell;
use std::fs::File;
use std::io::{BufRead, BufReader, PipeReader, PipeWriter, Read, Write, pipe};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use support::process::{children, is_alive};
use support::{Machine, Running, skipped, under, until};

/// A machine with a node, and a program that counts.
struct Stage {
    machine: Machine,
    node: RefCell<Option<Running>>,
    address: String,
    program: PathBuf,
}

impl Stage {
    fn new(words: &str) -> Self {
        let machine = Machine::new();
        let program = machine.path("counting");
        let source = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/counting.c");
        let mut compiler = Command::new("cc");
        compiler.args(["-O1", "-pthread", "-o"]).arg(&program).arg(source);
        assert!(compiler.status().unwrap().success());
        let (node, address) = machine.start_node(&format!("--name there --slots 1 {words}"));
        Self { machine, node: RefCell::new(Some(node)), address, program }
    }

    fn run(&self, words: &str) -> support::Ran {
        self.machine.run(&format!("{words} --nodes {}", self.address))
    }

    fn visitors(&self) -> Vec<u32> {
        let ran = self.run("ps --json").says("visitors");
        let told: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
        let told = told["visitors"].as_array().unwrap().iter();
        let runs = told.filter(|one| one["state"] == "runs");
        runs.map(|one| one["pid"].as_u64().unwrap() as u32).collect()
    }

    fn pads(&self) -> Vec<u32> {
        let node = self.node.borrow().as_ref().unwrap().child.id();
        children(node).into_iter().filter(|pid| words_of(*pid).contains("\0pad\0")).collect()
    }

    /// The node is killed, and another one is there in its place.
    fn replace_node(&self) {
        let pads = self.pads();
        let node = self.node.take().unwrap();
        node.signal("KILL");
        drop(node);
        until("its pads are gone", || !pads.iter().any(|pad| is_alive(*pad)));
        let words = format!("node --name there --slots 1 --jail none --listen {}", self.address);
        let mut node = self.machine.start(&words);
        node.line_with("listening at 127.");
        self.node.replace(Some(node));
    }

    /// `farcall move`, stopped at a moment.
    fn move_up_to(&self, pid: u32, how: &str, moment: &str) -> Child {
        let words = format!("move {pid} --to there {how} --nodes {}", self.address);
        let mut command = self.machine.command(words.split_whitespace());
        command.env("FARCALL_STOP_AT", moment);
        let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        until(&format!("the command is at `{moment}`"), || state(child.id()) == Some('T'));
        child
    }
}

fn words_of(pid: u32) -> String {
    let words = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    String::from_utf8_lossy(&words).into_owned()
}

fn state(pid: u32) -> Option<char> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    text.rsplit_once(") ")?.1.chars().next()
}

fn signal(pid: u32, name: &str) {
    assert!(Command::new("kill").args(["-s", name, &pid.to_string()]).status().unwrap().success());
}

/// Closes what this process has inherited itself, and becomes the program that follows.
const WITH_NOTHING_OPEN: &str = "\
for path in /proc/self/fd/*; do number=${path##*/}; ((number > 2)) && exec {number}>&-; done; exec \"$@\"";

/// A program with nothing of ours but these two streams: a test may itself have been started with more. It is
/// not bound to end with us, as none is that people move.
fn begin(words: &[&str], input: impl Into<Stdio>, output: impl Into<Stdio>) -> Subject {
    begin_with(words, input, output, Stdio::null())
}

fn begin_with(
    words: &[&str],
    input: impl Into<Stdio>,
    output: impl Into<Stdio>,
    errors: impl Into<Stdio>,
) -> Subject {
    let mut command = Command::new("bash");
    command.args(["-c", WITH_NOTHING_OPEN, "bash"]).args(words).process_group(0);
    command.stdin(input).stdout(output).stderr(errors);
    command.env_clear().env("PATH", "/usr/bin:/bin").env("SHELL", "/bin/sh");
    Subject(command.spawn().unwrap())
}

/// What moves.
struct Subject(Child);

impl Subject {
    fn pid(&self) -> u32 {
        self.0.id()
    }

    fn code(&mut self) -> Option<i32> {
        self.0.wait().unwrap().code()
    }
}

impl Drop for Subject {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A shell with this script; its input and output.
fn shell(script: &str) -> (Subject, PipeWriter, BufReader<PipeReader>) {
    let ((input, typed), (said, output)) = (pipe().unwrap(), pipe().unwrap());
    (begin(&["/bin/sh", "-c", script], input, output), typed, BufReader::new(said))
}

/// Memory of a process that is sent while it runs.
const MEBIBYTES: &str = "24";

/// A process that counts, with its file and the numbers that it has said.
struct Counting<'a> {
    stage: &'a Stage,
    child: Subject,
    file: PathBuf,
    stop: PathBuf,
}

impl<'a> Counting<'a> {
    fn start(stage: &'a Stage, name: &str) -> Self {
        Self::start_with(stage, name, &[])
    }

    /// With MiB of memory that it changes all the time.
    fn start_large(stage: &'a Stage, name: &str) -> Self {
        Self::start_with(stage, name, &[MEBIBYTES])
    }

    fn start_with(stage: &'a Stage, name: &str, words: &[&str]) -> Self {
        let file = stage.machine.path(format!("{name}.numbers"));
        let stop = stage.machine.path(format!("{name}.stop"));
        let said = File::create(stage.machine.path(format!("{name}.said"))).unwrap();
        let paths = [&stage.program, &file, &stop].map(|path| path.to_str().unwrap());
        let words = [&paths[..], words].concat();
        let errors = File::create(stage.machine.path(format!("{name}.errors"))).unwrap();
        let child = begin_with(&words, Stdio::null(), said, errors);
        let this = Self { stage, child, file, stop };
        until("it counts", || this.count() > 5);
        this
    }

    fn pid(&self) -> u32 {
        self.child.pid()
    }

    fn count(&self) -> usize {
        std::fs::read_to_string(&self.file).unwrap_or_default().lines().count()
    }

    /// What the original is now runs, and is the program still.
    fn is_here(&self) -> bool {
        let exe = std::fs::read_link(format!("/proc/{}/exe", self.pid()));
        exe.is_ok_and(|exe| exe == self.stage.program)
            && !matches!(state(self.pid()), Some('T' | 't' | 'Z') | None)
    }

    /// Exactly one goes on; returns whether it is this one.
    fn check_one_runs(&self) -> bool {
        until("one of both is settled", || self.is_here() != (self.stage.visitors().len() == 1));
        let before = self.count();
        until("it goes on counting", || self.count() > before + 10);
        let (here, there) = (self.is_here(), self.stage.visitors().len());
        assert_eq!(usize::from(here) + there, 1, "here {here}, there {there}");
        here
    }

    /// It is told to end; whoever started it gets its status, and no number is missing or there twice.
    fn check_end(mut self) {
        std::fs::write(&self.stop, "").unwrap();
        assert_eq!(self.child.code(), Some(7));
        let numbers = std::fs::read_to_string(&self.file).unwrap();
        for (want, number) in (1..).zip(numbers.lines()) {
            assert_eq!(number, want.to_string());
        }
        let said = std::fs::read_to_string(self.file.with_extension("said")).unwrap();
        assert_eq!(said, numbers, "its output is what it wrote");
        until("nothing of it is left there", || self.stage.visitors().is_empty());
    }
}

#[test]
fn a_process_moves_in_the_default_jail_and_its_shell_notices_nothing() {
    let stage = Stage::new("");
    let script = "while read line; do count=$((count + 1)); echo $count $line; done; exit 9";
    let (mut shell, mut input, output) = shell(script);
    let mut lines = output.lines();
    let pid = shell.pid();
    input.write_all(b"one\n").unwrap();
    assert_eq!(lines.next().unwrap().unwrap(), "1 one");

    let moved = stage.run(&format!("move {pid} --to there")).says("runs on there now");
    assert!(moved.stdout.contains(&format!("process {pid}")), "{moved:?}");
    assert!(words_of(pid).starts_with("farcall\0stand-in\0"), "{}", words_of(pid));
    let visitors = stage.visitors();
    assert_eq!(visitors.len(), 1);
    assert!(is_alive(visitors[0]));
    input.write_all(b"two\nthree\n").unwrap();
    assert_eq!(lines.next().unwrap().unwrap(), "2 two");
    assert_eq!(lines.next().unwrap().unwrap(), "3 three");
    drop(input);
    assert_eq!(shell.code(), Some(9));
    assert!(lines.next().is_none());
    until("nothing is left there", || !is_alive(visitors[0]) && stage.visitors().is_empty());

    // A signal of here ends it there, and whoever started it is told of that.
    let (mut ended, _input, output) = self::shell("echo begun; read line");
    assert_eq!(output.lines().next().unwrap().unwrap(), "begun");
    stage.run(&format!("move {} --to there", ended.pid())).says("runs on there now");
    until("it is there", || stage.visitors().len() == 1);
    signal(ended.pid(), "TERM");
    assert_eq!(ended.0.wait().unwrap().signal(), Some(15));
    until("nothing is left there", || stage.visitors().is_empty());
}

/// What runs a command as a user who is nobody else's.
const ORDINARY: [&str; 4] = ["setpriv", "--reuid=1984", "--regid=1984", "--clear-groups"];

#[test]
fn an_ordinary_user_s_process_moves_to_an_ordinary_user_s_node() {
    let machine = Machine::new();
    let folder = machine.path("");
    let given = Command::new("chown").args(["-R", "1984:1984"]).arg(&folder).output().unwrap();
    let ordinary = |words: &str| {
        let mut command = under(&ORDINARY, &machine.command(words.split_whitespace()));
        command.current_dir(&folder).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    };
    let tried = ordinary("--version").output();
    if !given.status.success() || !tried.is_ok_and(|tried| tried.status.success()) {
        return skipped("an ordinary user's node: only root becomes another user, with setpriv");
    }
    let node = ordinary("node --listen 127.0.0.1:0 --name there --slots 1").spawn().unwrap();
    let (_node, address) = machine.adopt(node);
    let script = "while read line; do echo got $line; done; exit 9";
    let words: Vec<&str> = ORDINARY.into_iter().chain(["/bin/sh", "-c", script]).collect();
    let ((input, mut typed), (said, output)) = (pipe().unwrap(), pipe().unwrap());
    let mut shell = begin(&words, input, output);
    let mut lines = BufReader::new(said).lines();
    typed.write_all(b"one\n").unwrap();
    assert_eq!(lines.next().unwrap().unwrap(), "got one");
    // Its node may not answer the faults of others, and says so before anything is stopped.
    let words = format!("move {} --to there --nodes {address}", shell.pid());
    let ran = support::Ran::of(ordinary(&format!("{words} --lazy")).output().unwrap());
    ran.complains(&["error[E0728]", "cannot follow it", "run the node as root", "goes on here"]);
    let moved = ordinary(&words);
    support::Ran::of({ moved }.output().unwrap()).says("runs on there now");
    typed.write_all(b"two\n").unwrap();
    assert_eq!(lines.next().unwrap().unwrap(), "got two");
    drop(typed);
    assert_eq!(shell.code(), Some(9));
}

#[test]
fn a_process_that_moved_keeps_its_terminal() {
    let stage = Stage::new("--jail none");
    let (file, stop) = (stage.machine.path("numbers"), stage.machine.path("stop"));
    let counting = [&stage.program, &file, &stop].map(|path| path.display().to_string()).join(" ");
    let run = format!("trap : INT; {counting}; echo status $?; {counting}; echo status $?");
    let ((input, mut typed), (said, output)) = (pipe().unwrap(), pipe().unwrap());
    let mut terminal = begin(&["script", "-qec", &run, "/dev/null"], input, output);
    let mut lines = BufReader::new(said).lines().map(|line| line.unwrap().trim().to_owned());
    for how in ["typed", "told"] {
        lines.find(|line| line == "3").unwrap();
        let shell = children(terminal.pid()).first().copied().unwrap();
        let pid = children(shell).first().copied().unwrap();
        stage.run(&format!("move {pid} --to there")).says("runs on there now");
        let moved = std::fs::read_to_string(&file).unwrap().lines().count();
        let later = (moved + 20).to_string();
        lines.find(|line| *line == later).unwrap();
        // Ctrl-C ends it there, and its shell is told so; or it ends by itself.
        match how {
            "typed" => typed.write_all(b"\x03").unwrap(),
            _ => std::fs::write(&stop, "").unwrap(),
        }
        let status = lines.find(|line| line.contains("status")).unwrap();
        let want = if how == "typed" { "status 130" } else { "status 7" };
        assert!(status.ends_with(want), "{status}");
        until("nothing of it is left there", || stage.visitors().is_empty());
    }
    drop(typed);
    assert_eq!(terminal.code(), Some(0));
}

#[test]
fn short_input_that_is_a_file_goes_along_and_is_one_there() {
    let stage = Stage::new("--jail none");
    let (text, go) = (stage.machine.write("text", "one\ntwo\nthree\n"), stage.machine.path("go"));
    let script = format!(
        "read a; echo $a; while [ ! -e {} ]; do :; done
        test -f /proc/self/fd/0 && echo a file; while read b; do echo $b; done; exit 4",
        go.display()
    );
    let (said, output) = pipe().unwrap();
    let input = File::open(&text).unwrap();
    let mut shell = begin(&["/bin/sh", "-c", &script], input, output);
    let mut lines = BufReader::new(said).lines();
    assert_eq!(lines.next().unwrap().unwrap(), "one");
    let moved = stage.run(&format!("move {} --to there", shell.pid())).says("runs on there now");
    assert!(moved.stderr.contains("its input") && moved.stderr.contains("text"), "{moved:?}");
    std::fs::write(go, "").unwrap();
    let rest: Vec<String> = lines.map(|line| line.unwrap()).collect();
    assert_eq!((rest.join(" "), shell.code()), ("a file two three".to_owned(), Some(4)));
}

#[test]
fn who_does_not_read_what_a_moved_process_writes_keeps_nobody_from_ending_it() {
    let stage = Stage::new("--jail none");
    let (mut shell, mut input, mut output) = shell("read a; while :; do echo $a; done");
    stage.run(&format!("move {} --to there", shell.pid())).says("runs on there now");
    input.write_all(b"word\n").unwrap();
    let mut line = String::new();
    output.read_line(&mut line).unwrap();
    // Nobody reads on: pipes fill up to here, and it is told of a signal all the same.
    let visitor = stage.visitors()[0];
    until("it waits", || state(visitor) == Some('S'));
    signal(shell.pid(), "TERM");
    assert_eq!(shell.0.wait().unwrap().signal(), Some(15));
    // A reader who goes is noticed by the process itself.
    let (mut other, mut input, output) = self::shell("read a; while echo $a; do :; done; exit 6");
    stage.run(&format!("move {} --to there", other.pid())).says("runs on there now");
    drop(output);
    input.write_all(b"word\n").unwrap();
    assert_eq!(other.0.wait().unwrap().signal(), Some(13));
}

// TF-9.
#[test]
fn what_cannot_move_is_refused_by_name_and_runs_on() {
    let stage = Stage::new("--jail none");
    // It has a child.
    let (mut shell, input, _output) = shell("cat; exit 3");
    let pid = shell.pid();
    until("it has a child", || children(pid).len() == 1);
    let ran = stage.run(&format!("move {pid} --to there"));
    ran.complains(&["error[E0709]", "children", "help:"]);
    drop(input);
    assert_eq!(shell.code(), Some(3));
    let counting = Counting::start(&stage, "counted");
    let ran = stage.run(&format!("move {} --to elsewhere", counting.pid()));
    ran.complains(&["error[E", "elsewhere", "help:"]);
    let ran = stage.run(&format!("move {} --to there --memory 1073741824", counting.pid()));
    ran.complains(&["error[E", "no control group", "help:"]);
    assert!(counting.check_one_runs());
    // It moves, and a stand-in is nothing that could move on.
    stage.run(&format!("move {} --to there", counting.pid())).says("runs on there now");
    let ran = stage.run(&format!("move {} --to there", counting.pid()));
    ran.complains(&["error[E0709]", "help:"]);
    assert!(!counting.check_one_runs());
    counting.check_end();
}

/// Moments of a move at which one of both is killed, and whether the process goes on here when it is the command.
const MOMENTS: [(&str, bool); 8] = [
    ("begun", true),
    ("frozen", true),
    ("sent", true),
    ("built", true),
    ("held", true),
    ("woke", false),
    ("settled", false),
    ("replaced", false),
];

/// Those that only a move in rounds has.
const MOMENTS_OF_ROUNDS: [(&str, bool); 2] = [("tracked", true), ("round", true)];

fn kill_the_command(how: &str, moments: impl Iterator<Item = (&'static str, bool)>) {
    let stage = Stage::new("--jail none");
    for (moment, stays) in moments {
        let counting = match how {
            "" => Counting::start(&stage, moment),
            _ => Counting::start_large(&stage, moment),
        };
        let mut command = stage.move_up_to(counting.pid(), how, moment);
        if moment == "woke" {
            until("it is woken", || stage.visitors().len() == 1);
        }
        signal(command.id(), "KILL");
        command.wait().unwrap();
        assert_eq!(counting.check_one_runs(), stays, "killed at `{moment}`");
        counting.check_end();
    }
}

/// By its number, or as `kill -9 %1` does: the whole process group.
fn kill_as_a_shell_does(command: &Child, time: u32) {
    let whom = if time.is_multiple_of(2) { "" } else { "-" };
    let words =
        ["-s".to_owned(), "KILL".to_owned(), "--".to_owned(), format!("{whom}{}", command.id())];
    assert!(Command::new("kill").args(words).status().unwrap().success());
}

#[test]
fn a_move_that_is_killed_at_any_moment_leaves_one_process() {
    let stage = Stage::new("--jail none");
    let kills = if std::env::var_os("FARCALL_SOAK").is_some() { 300 } else { 12 };
    // How long one takes on this machine now.
    let counting = Counting::start(&stage, "whole");
    let begun = Instant::now();
    stage.run(&format!("move {} --to there", counting.pid())).says("runs on there now");
    let whole = begun.elapsed();
    counting.check_end();
    let mut here = 0;
    for kill in 0..kills {
        let counting = Counting::start(&stage, &format!("kill-{kill}"));
        let words = format!("move {} --to there --nodes {}", counting.pid(), stage.address);
        let mut command = stage.machine.command(words.split_whitespace());
        command.stdout(Stdio::null()).stderr(Stdio::null()).process_group(0);
        let mut command = command.spawn().unwrap();
        // From its beginning to a little after its end, in steps that no stage of it follows.
        std::thread::park_timeout(whole * (kill * 389 % 600) / 500);
        kill_as_a_shell_does(&command, kill);
        command.wait().unwrap();
        here += u32::from(counting.check_one_runs());
        counting.check_end();
    }
    eprintln!("{kills} kills: it went on here {here} times, there {} times", kills - here);
}

/// What `/proc` tells of each thread of a process, under these names.
fn told_of_threads(pid: u32, names: &[&str]) -> Vec<String> {
    let threads = std::fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    let paths = threads.map(|thread| thread.unwrap().path().join("status"));
    let texts: Vec<String> = paths.map(|path| std::fs::read_to_string(path).unwrap()).collect();
    let lines = texts.iter().flat_map(|text| text.lines());
    let is_named = |line: &&str| names.iter().any(|name| line.starts_with(name));
    lines.filter(is_named).map(str::to_owned).collect()
}

/// What lies where in its memory, and which signals its threads block or have waiting.
fn kept_of(pid: u32) -> (String, Vec<String>) {
    let maps = std::fs::read_to_string(format!("/proc/{pid}/maps")).unwrap();
    (maps, told_of_threads(pid, &["SigPnd:", "ShdPnd:", "SigBlk:", "SigIgn:", "SigCgt:"]))
}

#[test]
fn a_checkpoint_that_is_killed_at_any_moment_leaves_a_process_that_goes_on() {
    let stage = Stage::new("--jail none");
    let kills = if std::env::var_os("FARCALL_SOAK").is_some() { 300 } else { 12 };
    let counting = Counting::start(&stage, "kept");
    let image = stage.machine.path("kept.image");
    let checkpoint = || {
        let mut command = stage.machine.command(["checkpoint", "--leave-running", "-o"]);
        command.arg(&image).arg(counting.pid().to_string());
        command.stdout(Stdio::null()).stderr(Stdio::null()).process_group(0).spawn().unwrap()
    };
    let begun = Instant::now();
    assert!(checkpoint().wait().unwrap().success());
    let whole = begun.elapsed();
    let before = kept_of(counting.pid());
    for kill in 0..kills {
        let mut command = checkpoint();
        std::thread::park_timeout(whole * (kill * 389 % 600) / 500);
        kill_as_a_shell_does(&command, kill);
        command.wait().unwrap();
        let counted = counting.count();
        until("it goes on counting", || counting.count() > counted + 2);
        // What traces it ends, too.
        until("nobody traces it", || {
            let tracers = told_of_threads(counting.pid(), &["TracerPid:"]);
            tracers.iter().all(|line| line == "TracerPid:\t0")
        });
        assert_eq!(kept_of(counting.pid()), before, "kill {kill}");
    }
    assert!(checkpoint().wait().unwrap().success());
    counting.check_end();
}

fn kill_the_node(how: &str, moments: impl Iterator<Item = &'static str>) {
    let stage = Stage::new("--jail none");
    for moment in moments {
        let counting = match how {
            "" => Counting::start(&stage, moment),
            _ => Counting::start_large(&stage, moment),
        };
        let pid = counting.pid();
        let mut command = if moment == "woke" {
            // What was to wake it never reaches it.
            let command = stage.move_up_to(pid, how, "held");
            stage.pads().into_iter().for_each(|pad| signal(pad, "STOP"));
            signal(command.id(), "CONT");
            command
        } else {
            stage.move_up_to(pid, how, moment)
        };
        stage.replace_node();
        if moment != "woke" {
            signal(command.id(), "CONT");
        }
        assert!(!command.wait().unwrap().success(), "at `{moment}`");
        let mut said = String::new();
        command.stderr.take().unwrap().read_to_string(&mut said).unwrap();
        assert!(said.contains("error[E"), "at `{moment}`: {said}");
        assert!(counting.check_one_runs(), "killed at `{moment}`");
        counting.check_end();
    }
}

#[test]
fn whenever_the_command_is_killed_one_of_both_goes_on_and_no_number_is_lost() {
    kill_the_command("", MOMENTS.into_iter());
}

#[test]
fn whenever_the_node_is_killed_before_the_commit_the_process_goes_on_here() {
    kill_the_node("", MOMENTS.into_iter().take(6).map(|(moment, _)| moment));
}

#[test]
fn what_ran_there_and_is_lost_does_not_go_on_here() {
    let stage = Stage::new("--jail none");
    let counting = Counting::start(&stage, "woke");
    let mut command = stage.move_up_to(counting.pid(), "", "woke");
    until("it is woken", || stage.visitors().len() == 1);
    let visitor = stage.visitors()[0];
    stage.pads().into_iter().for_each(|pad| signal(pad, "KILL"));
    until("it is gone", || !is_alive(visitor) && stage.visitors().is_empty());
    // Its guardian asks what became of it.
    signal(command.id(), "KILL");
    command.wait().unwrap();
    let (errors, mut counting) = (counting.file.with_extension("errors"), counting);
    assert_eq!(counting.child.code(), Some(1), "whoever started it is told that it failed");
    let errors = std::fs::read_to_string(errors).unwrap();
    assert!(errors.contains("error[E0708]") && errors.contains("is no more"), "{errors}");
}

#[test]
fn a_move_is_interrupted_also_while_its_node_takes_nothing() {
    let stage = Stage::new("--jail none");
    for how in ["", "--pre-copy"] {
        let counting = Counting::start_large(&stage, &format!("pours{how}"));
        let moment = if how.is_empty() { "frozen" } else { "begun" };
        let mut command = stage.move_up_to(counting.pid(), how, moment);
        let pads = stage.pads();
        pads.iter().for_each(|pad| signal(*pad, "STOP"));
        signal(command.id(), "INT");
        signal(command.id(), "CONT");
        assert_eq!(command.wait().unwrap().code(), Some(1));
        let mut said = String::new();
        command.stderr.take().unwrap().read_to_string(&mut said).unwrap();
        assert!(said.contains("it was interrupted") && said.contains("it goes on here"), "{said}");
        pads.iter().for_each(|pad| signal(*pad, "CONT"));
        assert!(counting.check_one_runs());
        counting.check_end();
    }
}

#[test]
fn a_stand_in_hears_while_it_waits_for_its_node() {
    let stage = Stage::new("--jail none");
    let script = "trap 'echo usr' USR1; trap 'exit 9' TERM; echo go; while :; do :; done";
    let (mut shell, _input, mut output) = shell(script);
    let mut line = String::new();
    output.read_line(&mut line).unwrap();
    let mut command = stage.move_up_to(shell.pid(), "", "settled");
    let visitor = stage.visitors()[0];
    stage.node.borrow().as_ref().unwrap().signal("STOP");
    signal(command.id(), "CONT");
    until("it is a stand-in that hears", || {
        words_of(shell.pid()).contains("stand-in") && hears(shell.pid(), 10)
    });
    // It has no connection yet.
    signal(shell.pid(), "USR1");
    signal(shell.pid(), "TERM");
    stage.node.borrow().as_ref().unwrap().signal("CONT");
    output.read_line(&mut line).unwrap();
    assert_eq!((line.as_str(), shell.code()), ("go\nusr\n", Some(9)));
    assert!(command.wait().unwrap().success());
    until("it is gone", || !is_alive(visitor));

    // Where nobody listens it is left by who insists.
    let words = "stand-in --on nobody --visit 7 --nodes 127.0.0.1:1";
    let mut command = stage.machine.command(words.split_whitespace());
    let mut waits = command.stderr(Stdio::piped()).spawn().unwrap();
    until("it hears", || hears(waits.id(), 2));
    until("it ends", || {
        let ended = waits.try_wait().unwrap().is_some();
        if !ended {
            signal(waits.id(), "INT");
        }
        ended
    });
    let mut said = String::new();
    waits.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    assert!(said.contains("error[E0708]"), "{said}");
}

/// Whether a process has a handler for a signal.
fn hears(pid: u32, number: u32) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigCgt:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    mask.is_some_and(|mask| mask & 1 << (number - 1) != 0)
}

#[test]
fn whenever_the_command_is_killed_in_rounds_one_of_both_goes_on_with_its_memory() {
    kill_the_command("--pre-copy", MOMENTS_OF_ROUNDS.into_iter().chain(MOMENTS));
}

#[test]
fn whenever_the_node_is_killed_in_rounds_before_the_commit_the_process_goes_on_here() {
    let moments = MOMENTS_OF_ROUNDS.into_iter().chain(MOMENTS.into_iter().take(6));
    kill_the_node("--pre-copy", moments.map(|(moment, _)| moment));
}

#[test]
fn memory_goes_while_its_process_runs_there_and_back() {
    let stage = Stage::new("--jail none");
    let (_other, address) = stage.machine.start_node("--name back --slots 1 --jail none");
    let counting = Counting::start_large(&stage, "rounds");
    let all = MEBIBYTES.parse::<u64>().unwrap() << 20;
    let mut at = u64::from(counting.pid());
    for to in ["there", "back", "there", "back"] {
        let nodes = format!("{},{address}", stage.address);
        let ran =
            stage.machine.run(&format!("move {at} --to {to} --nodes {nodes} --pre-copy --json"));
        assert_eq!(ran.code, Some(0), "{ran:?}");
        let told: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
        let rounds = told["rounds"].as_array().unwrap();
        assert!(rounds[0]["bytes"].as_u64().unwrap() > all / 2, "{told}");
        assert!(told["bytes"].as_u64().unwrap() < all / 4, "the rest is little: {told}");
        assert!(told["stood_still_ms"].as_f64().unwrap() > 0.0, "{told}");
        at = told["as"].as_u64().unwrap();
        let before = counting.count();
        until("it goes on counting", || counting.count() > before);
    }
    let ran = stage
        .machine
        .run(&format!("move {at} --to there --nodes {},{address} --pre-copy", stage.address));
    ran.says("it stood still for").says("went while it ran");
    counting.check_end();
}

#[test]
fn back_and_forth_ten_times_is_as_if_it_had_never_moved() {
    let stage = Stage::new("--jail none");
    let (_other, address) = stage.machine.start_node("--name back --slots 1 --jail none");
    let counting = Counting::start(&stage, "travelling");
    let mut at = counting.pid();
    for round in 0..20 {
        let (to, nodes) = (["there", "back"][round % 2], format!("{},{address}", stage.address));
        let ran = stage.machine.run(&format!("move {at} --to {to} --nodes {nodes}"));
        let ran = ran.says(&format!("runs on {to} now"));
        let number = ran.stdout.trim().rsplit(' ').next().unwrap();
        at = number.parse().unwrap();
        let before = counting.count();
        until("it goes on counting", || counting.count() > before);
    }
    std::fs::write(&counting.stop, "").unwrap();
    counting.check_end();
}

/// Whether memory can follow to a node of this machine, said aloud.
fn follows(stage: &Stage) -> bool {
    let may = sys::uffd::can_follow(sys::limits::is_root()).is_ok();
    if !may {
        skipped(&format!("{}: its kernel answers nobody's page faults", stage.address));
    }
    may
}

#[test]
fn a_process_moves_ahead_of_its_memory_and_back_as_if_it_had_never_moved() {
    let stage = Stage::new("--jail none");
    if !follows(&stage) {
        return;
    }
    let (_other, address) = stage.machine.start_node("--name back --slots 1 --jail none");
    let counting = Counting::start_large(&stage, "ahead");
    let all = MEBIBYTES.parse::<u64>().unwrap() << 20;
    let mut at = u64::from(counting.pid());
    for (to, how) in [("there", ""), ("back", " --json"), ("there", ""), ("back", " --json")] {
        let nodes = format!("{},{address}", stage.address);
        let ran = stage.machine.run(&format!("move {at} --to {to} --nodes {nodes} --lazy{how}"));
        assert!(ran.stderr.contains("is lost if this host"), "{ran:?}");
        if how.is_empty() {
            let ran = ran.says(&format!("runs on {to} now"));
            assert!(ran.stdout.contains("all memory of process"), "{ran:?}");
            let number = ran.stdout.split("now, as ").nth(1).unwrap().split(';').next().unwrap();
            at = number.parse().unwrap();
        } else {
            assert_eq!(ran.code, Some(0), "{ran:?}");
            let told: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
            assert!(told["bytes"].as_u64().unwrap() < all / 4, "it went ahead of it: {told}");
            assert!(told["followed_bytes"].as_u64().unwrap() > all / 16, "{told}");
            at = told["as"].as_u64().unwrap();
        }
        let before = counting.count();
        until("it goes on counting", || counting.count() > before + 10);
    }
    std::fs::write(&counting.stop, "").unwrap();
    counting.check_end();
}

/// How the original, which is a stand-in by then, ends, and what it says.
fn end_of(mut counting: Counting<'_>) -> (Option<i32>, String) {
    let exit = counting.child.0.wait().unwrap().signal();
    let errors = std::fs::read_to_string(counting.file.with_extension("errors")).unwrap();
    (exit, errors)
}

#[test]
fn whoever_is_lost_while_memory_follows_the_process_is_lost_by_name_and_runs_nowhere() {
    let stage = Stage::new("--jail none");
    if !follows(&stage) {
        return;
    }
    for moment in ["held", "woke", "settled", "replaced", "follows"] {
        let counting = Counting::start_large(&stage, moment);
        let pid = counting.pid();
        let mut command = stage.move_up_to(pid, "--lazy", moment);
        if moment == "woke" {
            until("it is woken", || stage.visitors().len() == 1);
        }
        signal(command.id(), "KILL");
        command.wait().unwrap();
        if moment == "held" {
            // It was not committed: it goes on here.
            assert!(counting.check_one_runs());
            drop(counting);
            continue;
        }
        let (exit, errors) = end_of(counting);
        assert_eq!(exit, Some(9), "at `{moment}`");
        assert!(errors.contains("its memory did not follow it"), "at `{moment}`: {errors:?}");
        until("nothing of it is left there", || stage.visitors().is_empty());
    }
    let counting = Counting::start_large(&stage, "node");
    let mut command = stage.move_up_to(counting.pid(), "--lazy", "follows");
    stage.node.borrow().as_ref().unwrap().signal("KILL");
    signal(command.id(), "CONT");
    assert!(!command.wait().unwrap().success());
    let mut said = String::new();
    command.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    assert!(said.contains("error[E0729]"), "{said}");
    assert!(!counting.is_here(), "what is there now is the stand-in");
}
