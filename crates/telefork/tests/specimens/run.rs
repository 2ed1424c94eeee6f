//! One run of one specimen, in a folder of its own.

use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use sys::Pid;
use tempfile::TempDir;

use crate::Outcome;
use crate::build::Built;
use crate::table::{Kind, Specimen};

/// Nothing here lasts that long where nothing is broken.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

/// A specimen that has set itself up and works.
#[derive(Debug)]
pub(crate) struct Run {
    folder: TempDir,
    /// The number of the latest file that what is said goes into.
    outputs: u32,
    child: Child,
    command: Built,
    pub kind: Kind,
    spoiled: bool,
    /// The process that is the subject.
    pub pid: Pid,
}

/// How a run came to its end.
#[derive(Debug)]
struct Ended {
    is_success: bool,
    output: String,
}

impl Run {
    pub(crate) fn start(specimen: &Specimen, built: &Built) -> Self {
        Self::begin(specimen, built, false)
    }

    /// One that will damage its own subject.
    pub(crate) fn start_spoiled(specimen: &Specimen, built: &Built) -> Self {
        Self::begin(specimen, built, true)
    }

    fn begin(specimen: &Specimen, built: &Built, spoiled: bool) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let output = new_output(&folder, 0);
        let child = command(built, &folder, spoiled, output).spawn().unwrap();
        let (kind, command) = (specimen.kind, built.clone());
        let mut run = Self { folder, outputs: 0, child, command, kind, spoiled, pid: Pid(0) };
        run.pid = run.until_ready(specimen);
        run
    }

    #[track_caller]
    fn until_ready(&mut self, specimen: &Specimen) -> Pid {
        let told = self.path("ready");
        let mut pid = None;
        until(specimen.source, || {
            let text = fs::read_to_string(&told).unwrap_or_default();
            pid = text.trim().parse().ok();
            let has_ended = pid.is_none() && self.child.try_wait().unwrap().is_some();
            assert!(!has_ended, "{} never was ready: {}", specimen.source, self.output());
            pid.is_some()
        });
        Pid(pid.unwrap())
    }

    /// It was ended: its number is free from now on.
    pub(crate) fn bury(&mut self) {
        self.child.wait().unwrap();
    }

    /// The same specimen goes on as another process, whose end is told by this child of ours.
    pub(crate) fn goes_on_as(&mut self, pid: Pid, told_by: Child) {
        self.child.wait().unwrap();
        self.child = told_by;
        self.pid = pid;
    }

    /// Standard output and error of who wakes it: files of their own, since nobody else writes into what
    /// is captured.
    pub(crate) fn next_output(&mut self) -> File {
        self.outputs += 1;
        new_output(&self.folder, self.outputs)
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// What it and its checks have said so far.
    fn output(&self) -> String {
        let files = (0..=self.outputs).map(|number| self.path(&format!("output-{number}")));
        files.map(|file| String::from_utf8_lossy(&fs::read(file).unwrap()).into_owned()).collect()
    }

    /// One that ends by itself has a reason that it says: else it would count as one that was moved.
    pub(crate) fn check_skipped(&self) -> Result<(), String> {
        let output = self.output();
        let is_skipped = output.starts_with("skipped: ");
        is_skipped.then_some(()).ok_or_else(|| format!("it ended before it was moved: {output}"))
    }

    /// Tells it to end, and waits for that.
    fn end(&mut self) -> Ended {
        fs::write(self.path("end"), "").unwrap();
        let mut status = None;
        until("it ends", || {
            status = self.child.try_wait().unwrap();
            status.is_some()
        });
        let mut is_success = status.unwrap().success();
        if is_success && self.kind == Kind::Checked {
            let output = self.next_output();
            let mut check = command(&self.command, &self.folder, self.spoiled, output);
            is_success = check.arg("check").status().unwrap().success();
        }
        Ended { is_success, output: self.output() }
    }

    pub(crate) fn end_well(mut self) -> Outcome {
        let Ended { is_success, output } = self.end();
        if is_success && output.starts_with("skipped: ") {
            eprint!("{output}");
            return Outcome::Skipped;
        }
        // A terminal ends its lines in another way, and a pad has begun the line.
        let is_well = is_success && output.lines().any(|line| line.trim_end().ends_with("well"));
        if is_well { Outcome::Works } else { Outcome::Wrong(output) }
    }

    /// As one must that was spoiled.
    pub(crate) fn end_differently(mut self) -> Outcome {
        let Ended { is_success, output } = self.end();
        if is_success && output.starts_with("skipped: ") {
            return Outcome::Skipped;
        }
        let has_seen = !is_success && output.contains("differs: ");
        if has_seen { Outcome::Works } else { Outcome::Wrong(format!("it saw nothing: {output}")) }
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        // It may be the child of a process that is a child of ours: first the grandchild.
        if matches!(self.child.try_wait(), Ok(None)) {
            let _ = kill(nix::unistd::Pid::from_raw(self.pid.0), Signal::SIGKILL);
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Closes what this process has inherited itself: pipes and sockets of whoever runs the tests.
const WITH_NOTHING_OPEN: &str = "\
for path in /proc/self/fd/*; do number=${path##*/}; ((number > 2)) && exec {number}>&-; done; exec \"$0\" \"$@\"";

fn command(built: &Built, folder: &TempDir, spoiled: bool, output: File) -> Command {
    let mut command = Command::new("bash");
    command.arg("-c").arg(WITH_NOTHING_OPEN);
    command.args(&built.command).arg(folder.path()).current_dir(folder.path());
    command.stdin(Stdio::null()).stdout(output.try_clone().unwrap()).stderr(output);
    command.env_remove("SPOIL");
    if spoiled {
        command.env("SPOIL", "1");
    }
    command
}

fn new_output(folder: &TempDir, number: u32) -> File {
    let path = folder.path().join(format!("output-{number}"));
    File::options().append(true).create_new(true).open(path).unwrap()
}

/// Asks until the answer is yes.
#[track_caller]
pub(crate) fn until(what: &str, mut ask: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !ask() {
        assert!(Instant::now() < end, "never: {what}");
        // Nothing tells when the answer changes. The pause only leaves the processor to those whom
        // it depends on; no outcome does.
        thread::park_timeout(Duration::from_millis(2));
    }
}

/// `Z` also of one that is gone.
pub(crate) fn state(pid: Pid) -> char {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").map_or('Z', |(_, rest)| rest.chars().next().unwrap())
}
