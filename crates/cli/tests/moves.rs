//! Processes that move by their number: what whoever started them notices, and what is left when either
//! side is killed in the middle.

#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, reason = "these are tests")]

mod support;

use std::cell::RefCell;
use std::fs::File;
use std::io::{BufRead, BufReader, PipeReader, PipeWriter, Read, Write, pipe};
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use support::process::{children, is_alive};
use support::{Machine, Running, skipped, under, until};
use sys::process::{Exit, Spawn, Stderr};

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
    fn move_up_to(&self, pid: u32, moment: &str) -> Child {
        let words = format!("move {pid} --to there --nodes {}", self.address);
        let mut command = self.machine.command(words.split_whitespace());
        command.env("FARCALL_STOP_AT", moment);
        let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        until(&format!("the command is at `{moment}`"), || state(child.id()) == Some('T'));
        child
    }
}

fn number(of: &sys::process::Child) -> u32 {
    of.pid().0.unsigned_abs()
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

/// A program with nothing of ours but these two streams: a test may itself have been started with more.
fn begin(mut program: Spawn, input: OwnedFd, output: OwnedFd) -> sys::process::Child {
    program.stderr = Stderr::Null;
    program.descriptors = vec![(input, 0), (output, 1)];
    program.start().unwrap()
}

/// A shell with this script; its input and output.
fn shell(script: &str) -> (sys::process::Child, PipeWriter, BufReader<PipeReader>) {
    let mut program = Spawn::new("/bin/sh");
    program.args = vec!["-c".into(), script.into()];
    program.env = vec![("PATH".into(), "/usr/bin:/bin".into())];
    let ((input, typed), (said, output)) = (pipe().unwrap(), pipe().unwrap());
    (begin(program, input.into(), output.into()), typed, BufReader::new(said))
}

/// A process that counts, with its file and the numbers that it has said.
struct Counting<'a> {
    stage: &'a Stage,
    child: sys::process::Child,
    file: PathBuf,
    stop: PathBuf,
}

impl<'a> Counting<'a> {
    fn start(stage: &'a Stage, name: &str) -> Self {
        let file = stage.machine.path(format!("{name}.numbers"));
        let stop = stage.machine.path(format!("{name}.stop"));
        let said = File::create(stage.machine.path(format!("{name}.said"))).unwrap();
        let mut program = Spawn::new(&stage.program);
        program.args = vec![file.clone().into(), stop.clone().into()];
        let child = begin(program, File::open("/dev/null").unwrap().into(), said.into());
        let this = Self { stage, child, file, stop };
        until("it counts", || this.count() > 5);
        this
    }

    fn pid(&self) -> u32 {
        number(&self.child)
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
        let status = self.child.wait().unwrap();
        assert_eq!(status, Exit::Code(7));
        let numbers = std::fs::read_to_string(&self.file).unwrap();
        for (want, number) in (1..).zip(numbers.lines()) {
            assert_eq!(number, want.to_string());
        }
        let said = std::fs::read_to_string(self.file.with_extension("said")).unwrap();
        assert_eq!(said, numbers, "its output is what it wrote");
        until("nothing of it is left there", || self.stage.visitors().is_empty());
    }
}

impl Drop for Counting<'_> {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_process_moves_in_the_default_jail_and_its_shell_notices_nothing() {
    let stage = Stage::new("");
    let script = "while read line; do count=$((count + 1)); echo $count $line; done; exit 9";
    let (mut shell, mut input, output) = shell(script);
    let mut lines = output.lines();
    let pid = number(&shell);
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
    assert_eq!(shell.wait().unwrap(), Exit::Code(9));
    assert!(lines.next().is_none());
    until("nothing is left there", || !is_alive(visitors[0]) && stage.visitors().is_empty());

    // A signal of here ends it there, and whoever started it is told of that.
    let (mut ended, _input, output) = self::shell("echo begun; read line");
    assert_eq!(output.lines().next().unwrap().unwrap(), "begun");
    stage.run(&format!("move {} --to there", number(&ended))).says("runs on there now");
    until("it is there", || stage.visitors().len() == 1);
    signal(number(&ended), "TERM");
    let exit = ended.wait().unwrap();
    assert!(matches!(exit, Exit::Signal { signal: 15, .. }), "{exit:?}");
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
    let mut program = Spawn::new("/usr/bin/setpriv");
    let script = "while read line; do echo got $line; done; exit 9";
    let words = ORDINARY[1..].iter().copied().chain(["/bin/sh", "-c", script]);
    program.args = words.map(Into::into).collect();
    let ((input, mut typed), (said, output)) = (pipe().unwrap(), pipe().unwrap());
    let mut shell = begin(program, input.into(), output.into());
    let mut lines = BufReader::new(said).lines();
    typed.write_all(b"one\n").unwrap();
    assert_eq!(lines.next().unwrap().unwrap(), "got one");
    let moved = ordinary(&format!("move {} --to there --nodes {address}", number(&shell)));
    support::Ran::of({ moved }.output().unwrap()).says("runs on there now");
    typed.write_all(b"two\n").unwrap();
    assert_eq!(lines.next().unwrap().unwrap(), "got two");
    drop(typed);
    assert_eq!(shell.wait().unwrap(), Exit::Code(9));
}

#[test]
fn a_process_that_moved_keeps_its_terminal() {
    let stage = Stage::new("--jail none");
    let (file, stop) = (stage.machine.path("numbers"), stage.machine.path("stop"));
    let counting = [&stage.program, &file, &stop].map(|path| path.display().to_string()).join(" ");
    let mut program = Spawn::new("/usr/bin/script");
    let run = format!("trap : INT; {counting}; echo status $?; {counting}; echo status $?");
    program.args = ["-qec", &run, "/dev/null"].map(Into::into).to_vec();
    program.env = vec![("PATH".into(), "/usr/bin:/bin".into()), ("SHELL".into(), "/bin/sh".into())];
    let ((input, mut typed), (said, output)) = (pipe().unwrap(), pipe().unwrap());
    let mut terminal = begin(program, input.into(), output.into());
    let mut lines = BufReader::new(said).lines().map(|line| line.unwrap().trim().to_owned());
    for how in ["typed", "told"] {
        lines.find(|line| line == "3").unwrap();
        let shell = children(number(&terminal)).first().copied().unwrap();
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
    assert_eq!(terminal.wait().unwrap(), Exit::Code(0));
}

#[test]
fn what_cannot_move_is_refused_by_name_and_runs_on() {
    let stage = Stage::new("--jail none");
    // It has a child.
    let (mut shell, input, _output) = shell("cat; exit 3");
    let pid = number(&shell);
    until("it has a child", || children(pid).len() == 1);
    let ran = stage.run(&format!("move {pid} --to there"));
    ran.complains(&["error[E0709]", "children", "help:"]);
    drop(input);
    assert_eq!(shell.wait().unwrap(), Exit::Code(3));
    let counting = Counting::start(&stage, "counted");
    signal(counting.pid(), "STOP");
    until("it is stopped", || state(counting.pid()) == Some('T'));
    let ran = stage.run(&format!("move {} --to there", counting.pid()));
    ran.complains(&["error[E0709]", "stopped", "help:"]);
    signal(counting.pid(), "CONT");
    let ran = stage.run(&format!("move {} --to elsewhere", counting.pid()));
    ran.complains(&["error[E", "elsewhere", "help:"]);
    let ran = stage.run(&format!("move {} --to there --memory 1GiB", counting.pid()));
    ran.complains(&["error[E", "no control group", "help:"]);
    assert!(counting.check_one_runs());
    // It moves, and a stand-in is nothing that could move on.
    stage.run(&format!("move {} --to there", counting.pid())).says("runs on there now");
    let ran = stage.run(&format!("move {} --to there", counting.pid()));
    ran.complains(&["error[E0709]", "help:"]);
    assert!(!counting.check_one_runs());
    counting.check_end();
}

#[test]
fn whenever_the_command_is_killed_one_of_both_goes_on_and_no_number_is_lost() {
    let stage = Stage::new("--jail none");
    let moments = [
        ("begun", true),
        ("frozen", true),
        ("sent", true),
        ("built", true),
        ("held", true),
        ("woke", false),
        ("settled", false),
        ("replaced", false),
    ];
    for (moment, stays) in moments {
        let counting = Counting::start(&stage, moment);
        let mut command = stage.move_up_to(counting.pid(), moment);
        if moment == "woke" {
            until("it is woken", || stage.visitors().len() == 1);
        }
        signal(command.id(), "KILL");
        command.wait().unwrap();
        assert_eq!(counting.check_one_runs(), stays, "killed at `{moment}`");
        counting.check_end();
    }
}

#[test]
fn whenever_the_node_is_killed_before_the_commit_the_process_goes_on_here() {
    let stage = Stage::new("--jail none");
    for moment in ["begun", "frozen", "sent", "built", "held", "woke"] {
        let counting = Counting::start(&stage, moment);
        let pid = counting.pid();
        let mut command = if moment == "woke" {
            // What was to wake it never reaches it.
            let command = stage.move_up_to(pid, "held");
            stage.pads().into_iter().for_each(|pad| signal(pad, "STOP"));
            signal(command.id(), "CONT");
            command
        } else {
            stage.move_up_to(pid, moment)
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
