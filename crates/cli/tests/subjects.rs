//! Programs that know nothing of Farcall go back and forth between two nodes while they work, and say at their
//! end what they say when they have never moved.
//!
//! Each reads numbers, a few after each move, and works on them: so it is moved in the middle of its work, or
//! while it waits for its input, and its input follows it.

#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, reason = "these are tests")]

mod support;

use std::fs::File;
use std::io::{Write, pipe};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use support::{Machine, Running, skipped, until};
use sys::process::{Exit, Spawn, Stderr};

/// There and back so often.
const ROUNDS: usize = 10;
/// The same in `cargo xtask soak`: a hundred journeys.
const ROUNDS_SOAK: usize = 50;
/// Of what is large: 125 MB of a file that it has open and mapped go along each time.
const ROUNDS_LARGE: usize = 1;
/// Numbers between two moves.
const LINES: usize = 60;

struct Subject {
    name: &'static str,
    rounds: usize,
    words: Vec<String>,
    /// What it says goes there; of those that write a file of their own, that.
    output: PathBuf,
}

struct Stage {
    machine: Machine,
    nodes: [Running; 2],
    addresses: String,
}

impl Stage {
    fn new() -> Self {
        let machine = Machine::new();
        let (here, first) = machine.start_node("--name back --slots 2 --jail none");
        let (there, second) = machine.start_node("--name there --slots 2 --jail none");
        Self { machine, nodes: [here, there], addresses: format!("{first},{second}") }
    }

    fn source(name: &str) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/subjects").join(name)
    }

    /// The first of these programs that is here.
    fn tool(name: &str, paths: &[&str]) -> Option<String> {
        let found = paths.iter().find(|path| Path::new(path).exists());
        if found.is_none() {
            skipped(&format!("{name} is not on this machine"));
        }
        found.map(|path| (*path).to_owned())
    }

    fn built(&self, command: &mut Command) {
        let built =
            command.current_dir(self.machine.path("")).stdin(Stdio::null()).output().unwrap();
        assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    }

    /// Runs it, with what it is to do between its pieces of input; returns what came out.
    fn run(&self, subject: &Subject, mut between: impl FnMut(usize, u32)) -> Vec<u8> {
        let _ = std::fs::remove_file(&subject.output);
        let said = File::create(self.machine.path("said")).unwrap();
        let (input, mut typed) = pipe().unwrap();
        let mut program = Spawn::new(&subject.words[0]);
        program.args = subject.words[1..].iter().map(Into::into).collect();
        program.env = [("PATH", "/usr/bin:/bin"), ("LC_ALL", "C"), ("HOME", "/"), ("GOGC", "off")]
            .map(|(name, value)| (name.into(), value.into()))
            .into();
        // (Without its collector a Go program has no timers, and so no epoll instance, which does not travel yet.)
        program.stderr = Stderr::Null;
        program.descriptors = vec![(OwnedFd::from(input), 0), (said.into(), 1)];
        let mut child = program.start().unwrap();
        let mut number = 7_u64;
        for round in 0..2 * subject.rounds {
            let mut lines = String::new();
            for _ in 0..LINES {
                number = (number * 1_103_515_245 + 12_345) % 100_000_007;
                lines.push_str(&format!("{number}\n"));
            }
            typed.write_all(lines.as_bytes()).unwrap();
            between(round, child.pid().0.unsigned_abs());
        }
        drop(typed);
        let mut end = None;
        until(&format!("{} ends", subject.name), || {
            end = child.try_wait().unwrap();
            end.is_some()
        });
        assert_eq!(end, Some(Exit::Code(0)), "{}", subject.name);
        std::fs::read(&subject.output).unwrap()
    }

    fn check(&self, subject: &Subject) {
        let want = self.run(subject, |_, _| {});
        assert!(want.len() > 20, "{} has said nothing", subject.name);
        let mut at = None;
        let found = self.run(subject, |round, pid| {
            let to = ["there", "back"][round % 2];
            let words = format!("move {} --to {to} --nodes {}", at.unwrap_or(pid), self.addresses);
            let ran = self.machine.run(&words);
            assert_eq!(ran.code, Some(0), "{}, move {round}: {}", subject.name, ran.stderr);
            let number = ran.stdout.trim().rsplit(' ').next().unwrap();
            at = Some(number.parse::<u32>().unwrap_or_else(|_| panic!("{}", ran.stdout)));
        });
        assert!(
            want == found,
            "{} says something else after it has moved:\n{}\n{}",
            subject.name,
            String::from_utf8_lossy(&want),
            String::from_utf8_lossy(&found)
        );
    }

    fn end(self) {
        for node in self.nodes {
            node.signal("TERM");
            assert_eq!(node.end(), Some(0));
        }
    }
}

fn goes_back_and_forth(
    subject: impl FnOnce(&Stage) -> Option<(&'static str, Vec<String>, &'static str)>,
) {
    let stage = Stage::new();
    if let Some((name, words, output)) = subject(&stage) {
        let output = stage.machine.path(output);
        let rounds = match std::env::var_os("FARCALL_SOAK") {
            Some(_) => ROUNDS_SOAK,
            None if name == "Java" => ROUNDS_LARGE,
            None => ROUNDS,
        };
        stage.check(&Subject { name, rounds, words, output });
    }
    stage.end();
}

fn text(path: PathBuf) -> String {
    path.into_os_string().into_string().unwrap()
}

#[test]
fn cpython_computes_the_same_after_twenty_moves() {
    goes_back_and_forth(|_| {
        let python = Stage::tool("CPython", &["/usr/bin/python3"])?;
        Some(("CPython", vec![python, "-S".into(), text(Stage::source("chain.py"))], "said"))
    });
}

#[test]
fn bash_counts_the_same_after_twenty_moves() {
    goes_back_and_forth(|_| {
        let bash = Stage::tool("bash", &["/usr/bin/bash", "/bin/bash"])?;
        Some(("bash", vec![bash, "--norc".into(), text(Stage::source("count.sh"))], "said"))
    });
}

#[test]
fn sort_sorts_the_same_after_twenty_moves() {
    goes_back_and_forth(|stage| {
        let sort = Stage::tool("sort", &["/usr/bin/sort", "/bin/sort"])?;
        // So little memory that it keeps pieces in files, which it removes at its end.
        let folder = stage.machine.path("pieces");
        std::fs::create_dir(&folder).unwrap();
        let output = text(stage.machine.path("sorted"));
        let words = ["-n", "-S", "8k", "--parallel=1", "-T", &text(folder), "-o", &output];
        let words = std::iter::once(sort.as_str()).chain(words).map(str::to_owned).collect();
        Some(("sort", words, "sorted"))
    });
}

#[test]
fn gzip_packs_the_same_after_twenty_moves() {
    goes_back_and_forth(|_| {
        let gzip = Stage::tool("gzip", &["/usr/bin/gzip", "/bin/gzip"])?;
        Some(("gzip", vec![gzip, "-9nc".into()], "said"))
    });
}

#[test]
fn a_rust_program_with_a_pool_of_threads_says_the_same_after_twenty_moves() {
    goes_back_and_forth(|stage| {
        let rustc = std::env::var("RUSTC").unwrap_or_else(|_| "rustc".to_owned());
        let program = text(stage.machine.path("pool"));
        let source = Stage::source("pool.rs");
        stage.built(Command::new(rustc).args(["-O", "--edition=2024", "-o", &program]).arg(source));
        Some(("a pool of Rust's threads", vec![program], "said"))
    });
}

#[test]
fn a_go_program_says_the_same_after_twenty_moves() {
    goes_back_and_forth(|stage| {
        let go = Stage::tool("Go", &["/usr/bin/go", "/usr/local/go/bin/go"])?;
        let program = text(stage.machine.path("pool"));
        let mut command = Command::new(go);
        command.args(["build", "-o", &program]).arg(Stage::source("pool.go"));
        let cache = stage.machine.path("cache");
        stage.built(command.env("GOCACHE", cache).env("GO111MODULE", "off").env("HOME", "/"));
        Some(("Go", vec![program], "said"))
    });
}

#[test]
fn a_java_program_says_the_same_after_it_was_there_and_back() {
    goes_back_and_forth(|stage| {
        let java = Stage::tool("Java", &["/usr/bin/java"])?;
        let javac = Stage::tool("Java's compiler", &["/usr/bin/javac"])?;
        let folder = text(stage.machine.path(""));
        stage.built(Command::new(javac).args(["-d", &folder]).arg(Stage::source("Pool.java")));
        // Without figures for others in a file that it maps and writes.
        let words = [
            "-XX:-UsePerfData",
            "-Xmx32m",
            "-XX:+UseSerialGC",
            "-Xshare:off",
            "-cp",
            &folder,
            "Pool",
        ];
        let words = std::iter::once(java.as_str()).chain(words).map(str::to_owned).collect();
        Some(("Java", words, "said"))
    });
}
