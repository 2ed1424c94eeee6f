//! A folder and processes for one test. Waits for lines, never for time to pass.

#![forbid(unsafe_code)]
#![allow(dead_code, reason = "each test file uses its part")]
#![allow(clippy::unwrap_used, reason = "this is part of tests, though no test stands here")]

pub(crate) mod sharing;
pub(crate) mod session;
pub(crate) mod target;
pub(crate) mod teleserver;
pub(crate) mod hosts;
pub(crate) mod line;
pub(crate) mod middle;
pub(crate) mod raw;
pub(crate) mod process;

use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Output, Stdio};
use std::time::{Duration, Instant};

pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// A machine for one test: its own credentials, state and runtime folders.
pub(crate) struct Machine {
    folder: tempfile::TempDir,
}

impl Machine {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("run")).unwrap();
        Self { folder }
    }

    pub(crate) fn path(&self, name: impl AsRef<Path>) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, text: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        std::fs::write(&path, text).unwrap();
        path
    }

    pub(crate) fn home(&self) -> PathBuf {
        self.path("home")
    }

    /// `farcall` with these words, in the machine's folder.
    pub(crate) fn command<S: AsRef<OsStr>>(&self, words: impl IntoIterator<Item = S>) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_farcall"));
        command.args(words).current_dir(self.folder.path());
        command.env("FARCALL_HOME", self.home());
        command.env("XDG_STATE_HOME", self.path("state"));
        command.env("XDG_RUNTIME_DIR", self.path("run"));
        command.env_remove("FARCALL_NODES");
        command.stdin(Stdio::null());
        command
    }

    /// Runs it to its end. `words` are parted by blanks.
    #[track_caller]
    pub(crate) fn run(&self, words: &str) -> Ran {
        Ran::of(self.command(words.split_whitespace()).output().unwrap())
    }

    #[track_caller]
    pub(crate) fn run_with_input(&self, words: &str, input: &str) -> Ran {
        let mut command = self.command(words.split_whitespace());
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        Ran::of(child.wait_with_output().unwrap())
    }

    /// Starts it and keeps it until the test ends.
    pub(crate) fn start(&self, words: &str) -> Running {
        Running::of(&mut self.command(words.split_whitespace()))
    }

    /// Starts a node on a port of its own; returns its address, too.
    pub(crate) fn start_node(&self, words: &str) -> (Running, String) {
        let mut node = self.start(&format!("node --listen 127.0.0.1:0 {words}"));
        let line = node.line_with("listening at 127.");
        (node, line.trim_start_matches("listening at ").to_owned())
    }

    /// A node that was started in another way; its address, too.
    pub(crate) fn adopt(&self, mut child: Child) -> (Running, String) {
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let mut node = Running { child, stdout };
        let line = node.line_with("listening at 127.");
        (node, line.trim_start_matches("listening at ").to_owned())
    }

    /// Compiles one of the example cores.
    pub(crate) fn core(&self, source: &str) -> String {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let name = Path::new(source).file_stem().unwrap().to_str().unwrap();
        let library = self.path(format!("lib{name}.so"));
        let is_cpp = source.ends_with(".cpp");
        let mut command = Command::new(if is_cpp { "c++" } else { "cc" });
        command.arg(if is_cpp { "-std=c++17" } else { "-std=gnu11" });
        command.args(["-O1", "-shared", "-fPIC", "-I"]);
        command.arg(root.join("crates/core-abi/include")).arg("-o").arg(&library);
        command.arg(root.join("examples/cores").join(source)).args(["-lm", "-pthread"]);
        assert!(command.status().unwrap().success());
        library.to_str().unwrap().to_owned()
    }

    /// Builds one of the example cores that are Rust packages.
    pub(crate) fn rust_core(&self, name: &str) -> String {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let mut command = Command::new(env!("CARGO"));
        command.args(["build", "--quiet", "--release", "--offline", "--manifest-path"]);
        command.arg(root.join("examples/cores").join(name).join("Cargo.toml"));
        command.arg("--target-dir").arg(self.path("rust"));
        assert!(command.status().unwrap().success());
        self.path(format!("rust/release/lib{name}.so")).to_str().unwrap().to_owned()
    }
}

/// Says that something was not tested, and why, past the test's captured output.
pub(crate) fn skipped(why: &str) {
    let _ = writeln!(std::io::stderr(), "skipped: {why}");
}

/// A command that another one starts, in the end.
pub(crate) fn under(words: &[&str], command: &Command) -> Command {
    let mut all = Command::new(words[0]);
    all.args(&words[1..]).arg(command.get_program()).args(command.get_args());
    all.stdin(Stdio::null());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => all.env(name, value),
            None => all.env_remove(name),
        };
    }
    if let Some(folder) = command.get_current_dir() {
        all.current_dir(folder);
    }
    all
}

/// A command that has ended.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Ran {
    pub(crate) fn of(output: Output) -> Self {
        Self {
            code: output.status.code(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// It went well, and said this.
    #[track_caller]
    pub(crate) fn says(self, part: &str) -> Self {
        assert_eq!(self.code, Some(0), "{self:?}");
        assert!(self.stdout.contains(part), "no {part:?} in {}", self.stdout);
        self
    }

    /// It failed, and these words say why.
    #[track_caller]
    pub(crate) fn complains(self, parts: &[&str]) -> Self {
        assert_eq!(self.code, Some(1), "{self:?}");
        for part in parts {
            assert!(self.stderr.contains(part), "no {part:?} in {}", self.stderr);
        }
        self
    }
}

/// A command that still runs; it is killed with the test.
pub(crate) struct Running {
    pub(crate) child: Child,
    stdout: BufReader<ChildStdout>,
}

impl Running {
    pub(crate) fn of(command: &mut Command) -> Self {
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        Self { child, stdout }
    }

    /// The rest of what it says, and how it ends.
    pub(crate) fn finish(mut self) -> Ran {
        let mut stderr = self.child.stderr.take().unwrap();
        let reader = std::thread::spawn(move || {
            let mut text = String::new();
            let _ = std::io::Read::read_to_string(&mut stderr, &mut text);
            text
        });
        let mut stdout = String::new();
        std::io::Read::read_to_string(&mut self.stdout, &mut stdout).unwrap();
        let stderr = reader.join().unwrap();
        Ran { code: self.child.wait().unwrap().code(), stdout, stderr }
    }

    /// The next line of its output that has these words in it.
    #[track_caller]
    pub(crate) fn line_with(&mut self, part: &str) -> String {
        let mut line = String::new();
        loop {
            line.clear();
            if self.stdout.read_line(&mut line).unwrap() == 0 {
                let mut words = String::new();
                if let Some(stderr) = &mut self.child.stderr {
                    let _ = std::io::Read::read_to_string(stderr, &mut words);
                }
                panic!("it ended without a line with {part:?}: {words}");
            }
            if line.contains(part) {
                return line.trim_end().to_owned();
            }
        }
    }

    pub(crate) fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-s", name, &pid]).status().unwrap().success());
    }

    /// Its exit status.
    pub(crate) fn end(mut self) -> Option<i32> {
        self.child.wait().unwrap().code()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Asks until the answer is yes.
#[track_caller]
pub(crate) fn until(what: &str, mut ask: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !ask() {
        assert!(Instant::now() < end, "never: {what}");
        // Nothing tells when the answer changes. The pause only leaves the processor to those whom
        // it depends on; no outcome does.
        std::thread::park_timeout(Duration::from_millis(2));
    }
}
