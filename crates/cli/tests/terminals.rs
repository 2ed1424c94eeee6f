//! Processes that move with a terminal: editors, jobs of shells, and what a terminal is left with.

#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, reason = "these are tests")]

mod support;

use std::fs::File;
use std::io::{Read, Write};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use support::process::{children, is_alive};
use support::{Machine, PATIENCE, Running, until};
use sys::terminal::{Pair, modes, open, set_size};

/// Closes what this process has inherited itself: pipes and sockets of whoever runs the tests.
const WITH_NOTHING_OPEN: &str = "\
for path in /proc/self/fd/*; do number=${path##*/}; ((number > 2)) && exec {number}>&-; done
PS1='ready> ' exec bash --norc --noprofile -i";

struct Stage {
    machine: Machine,
    node: Running,
    address: String,
}

impl Stage {
    fn new(words: &str) -> Self {
        let machine = Machine::new();
        let typing = machine.path("typing");
        let source = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/typing.c");
        let mut compiler = Command::new("cc");
        compiler.args(["-O1", "-o"]).arg(&typing).arg(source);
        assert!(compiler.status().unwrap().success());
        let (node, address) = machine.start_node(&format!("--name there --slots 1 {words}"));
        Self { machine, node, address }
    }

    fn moves(&self, pid: u32) {
        let words = format!("move {pid} --to there --nodes {}", self.address);
        self.machine.run(&words).says("runs on there now");
    }

    fn visitors(&self) -> Vec<u32> {
        let ran = self.machine.run(&format!("ps --json --nodes {}", self.address)).says("visitors");
        let told: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
        let told = told["visitors"].as_array().unwrap().iter();
        told.map(|one| one["pid"].as_u64().unwrap() as u32).collect()
    }
}

/// A terminal with a shell that has jobs, as somebody sits at it.
struct Seat {
    near: File,
    terminal: File,
    said: Arc<Mutex<String>>,
    shell: Child,
}

impl Seat {
    /// A shell in the machine's folder.
    fn new(stage: &Stage) -> Self {
        let farcall = stage.machine.command([""; 0]);
        let mut command = Command::new("setsid");
        command.args(["-c", "bash", "-c", WITH_NOTHING_OPEN]);
        for (name, value) in farcall.get_envs() {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        command.current_dir(stage.machine.path("")).env("TERM", "dumb");
        Self::with(command)
    }

    fn with(mut command: Command) -> Self {
        let Pair { near, terminal, .. } = open(None).unwrap();
        set_size(&near, 24, 80).unwrap();
        let end = || Stdio::from(terminal.try_clone().unwrap());
        let shell = command.stdin(end()).stdout(end()).stderr(end()).spawn().unwrap();
        let said = Arc::new(Mutex::new(String::new()));
        let (mut from, to) = (near.try_clone().unwrap(), said.clone());
        std::thread::spawn(move || {
            let mut piece = [0; 4096];
            while let Ok(count @ 1..) = from.read(&mut piece) {
                to.lock().unwrap().push_str(&String::from_utf8_lossy(&piece[..count]));
            }
        });
        Self { near, terminal, said, shell }
    }

    fn types(&self, text: &str) {
        (&self.near).write_all(text.as_bytes()).unwrap();
    }

    /// Waits until these words come, behind those that were waited for before.
    fn says(&self, words: &str) {
        let begun = Instant::now();
        until(&format!("the terminal shows `{words}`"), || {
            let mut said = self.said.lock().unwrap();
            let found = said.find(words).map(|at| at + words.len());
            if let Some(end) = found {
                said.drain(..end);
            }
            assert!(
                found.is_some() || begun.elapsed() < PATIENCE - Duration::from_secs(1),
                "not `{words}`: {said:?}"
            );
            found.is_some()
        });
    }

    /// The one job of the shell.
    fn job(&self) -> u32 {
        let mut found = None;
        until("the shell has a job", || {
            found = children(self.shell.id()).first().copied();
            found.is_some()
        });
        found.unwrap()
    }

    /// The last key of the job: its shell is back.
    fn ends(&self, key: &str) {
        self.types(key);
        self.says("ready> ");
        self.asks("echo status $?", "status 7");
    }

    /// The shell is asked for what it knows, and says it.
    fn asks(&self, words: &str, answer: &str) {
        self.types(words);
        self.types("\r");
        self.says(answer);
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let _ = self.shell.kill();
        let _ = self.shell.wait();
    }
}

fn state(pid: u32) -> Option<char> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    text.rsplit_once(") ")?.1.chars().next()
}

#[test]
fn an_editor_moves_and_its_keys_its_size_and_the_shell_behind_it_are_as_before() {
    // In the default jail.
    let stage = Stage::new("");
    let seat = Seat::new(&stage);
    seat.asks("./typing raw", "begins 24 80");
    stage.moves(seat.job());
    // Each key at once, and none of them a signal.
    seat.types("a");
    seat.says("key 61\r\n");
    seat.types("\x03\x1a\x04");
    seat.says("key 03\r\nkey 1a\r\nkey 04\r\n");
    seat.types("t");
    seat.says("now 11\r\nnow 24 80\r\n");
    set_size(&seat.near, 30, 100).unwrap();
    seat.says("size 30 100\r\n");
    seat.ends("q");
    until("the terminal is the shell's", || modes(&seat.terminal).unwrap().signal(3).is_some());
    seat.asks("stty -a | tr ' ' '\\n' | grep -cx -e icanon -e echo -e onlcr -e isig", "4");
    until("nothing is left there", || stage.visitors().is_empty());
}

#[test]
fn a_job_that_moved_hears_of_its_terminal_and_stops_and_goes_on_as_its_shell_says() {
    let stage = Stage::new("--jail none");
    let seat = Seat::new(&stage);
    seat.asks("./typing", "begins 24 80");
    let job = seat.job();
    stage.moves(job);
    // The line is edited there, and what is typed is shown.
    seat.types("ab\x7fc\r");
    ["key 61", "key 63", "key 0a"].into_iter().for_each(|key| seat.says(key));
    seat.types("\x03");
    seat.says("int\r");
    seat.types("\x1a");
    seat.says("Stopped");
    assert_eq!(state(job), Some('T'));
    seat.asks("echo $((40 + 2))", "42");
    seat.asks("fg", "cont");
    seat.types("d\r");
    seat.says("key 64");
    // A signal that somebody sends comes once, as one of the terminal does.
    assert!(Command::new("kill").args(["-INT", &job.to_string()]).status().unwrap().success());
    seat.says("int\r");
    seat.ends("q\r");
    let said = seat.said.lock().unwrap().clone();
    assert!(!said.contains("int\r"), "{said}");
}

#[test]
fn a_stopped_job_moves_and_stays_stopped_until_its_shell_lets_it_go_on() {
    let stage = Stage::new("--jail none");
    let seat = Seat::new(&stage);
    seat.asks("./typing raw", "begins");
    let job = seat.job();
    assert!(Command::new("kill").args(["-STOP", &job.to_string()]).status().unwrap().success());
    seat.says("Stopped");
    stage.moves(job);
    let visitor = stage.visitors()[0];
    until("it stands still there", || state(visitor) == Some('T'));
    assert_eq!(state(job), Some('T'), "so does what stands in for it");
    seat.asks("echo $((40 + 2))", "42");
    seat.asks("fg", "cont");
    seat.types("x");
    seat.says("key 78");
    seat.ends("q");
}

#[test]
fn an_editor_s_image_wakes_in_another_terminal_on_a_node() {
    let stage = Stage::new("");
    let seat = Seat::new(&stage);
    seat.asks("./typing raw", "begins 24 80");
    let words = format!("checkpoint {} -o typing.image", seat.job());
    stage.machine.run(&words).says("has ended here");
    drop(seat);
    let seat = Seat::new(&stage);
    set_size(&seat.near, 50, 132).unwrap();
    let farcall = env!("CARGO_BIN_EXE_farcall");
    for on in [format!("--on there --nodes {}", stage.address), String::new()] {
        seat.types(&format!("{farcall} restore typing.image {on}\r"));
        // It is told to draw anew, for a screen of another size.
        seat.says("size 50 132\r\n");
        seat.types("\x03t");
        seat.says("key 03\r\nkey 74\r\nnow 11\r\n");
        seat.ends("q");
        seat.asks("stty -a | tr ' ' '\\n' | grep -cx -e icanon -e echo -e onlcr -e isig", "4");
    }
}

#[test]
fn a_terminal_is_put_back_when_the_node_is_gone_and_a_visitor_ends_with_its_terminal() {
    let stage = Stage::new("--jail none");
    let seat = Seat::new(&stage);
    seat.asks("./typing raw", "begins");
    stage.moves(seat.job());
    let visitor = stage.visitors()[0];
    // Its seat is gone.
    drop(seat);
    until("it is told", || !is_alive(visitor));
    let seat = Seat::new(&stage);
    seat.asks("./typing raw", "begins");
    stage.moves(seat.job());
    seat.types("a");
    seat.says("key 61");
    stage.node.signal("KILL");
    seat.says("error[E0708]");
    seat.asks("stty -a | tr ' ' '\\n' | grep -cx -e icanon -e echo -e onlcr -e isig", "4");
}
