//! CRIU beside it, where it can be had: the same process dumped into a folder in memory and restored from it, as its
//! manual says, against what this library takes for it.

use std::fs::{self, File};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use telefork::restore::Memory;

use super::Moves;
use super::journey::{Over, travel_still};
use crate::error::Error;
use crate::folder::Folder;
use crate::turns::Measurement;

/// MiB of the process.
const SIZE: u64 = 1024;
const CRIU: &str = "CRIU's dump and restore";
/// How long it may take until a process has its memory.
const PATIENCE: Duration = Duration::from_secs(60);

pub(super) fn measurements(moves: Moves<'_>) -> Vec<Measurement<'_>> {
    vec![moves.all(&["criu.ours", "criu.both"], |moves| {
        // It needs its own leave of the kernel, and knows each kernel's own memory: it says itself whether it can.
        run(&["check"], Path::new("/"))?;
        let args = ["heap", "1024", "small"];
        let ours = travel_still(moves, &args, SIZE, Memory::Whole, Over::Unix)?;
        Ok(vec![ours, both(moves, &args)?])
    })]
}

/// Microseconds of both commands.
fn both(moves: &Moves<'_>, args: &[&str]) -> Result<f64, Error> {
    moves.program.warm(3 * SIZE)?;
    let folder = Folder::new_in(Path::new("/dev/shm")).map_err(Error::kernel("make a folder"))?;
    let said = folder.path().join("said");
    let output = File::create(&said).map_err(Error::kernel("make a file"))?;
    // In a session of its own, with no descriptor of this one: such it takes without more being said.
    let mut subject = Command::new("setsid");
    subject.arg(moves.program.path()).args(args);
    subject.stdin(Stdio::null()).stdout(output).stderr(Stdio::null());
    let mut subject = subject.spawn().map_err(Error::kernel("start a process"))?;
    let pid = subject.id().to_string();
    let measured = heard(&said).and_then(|()| {
        let begin = Instant::now();
        run(&["dump", "--tree", &pid], folder.path())?;
        // What is dumped is killed.
        subject.wait().map_err(Error::kernel("wait for a process"))?;
        run(&["restore", "--restore-detached", "--pidfile", "pid"], folder.path())?;
        Ok(begin.elapsed().as_secs_f64() * 1e6)
    });
    let _ = subject.kill();
    let _ = subject.wait();
    let restored = fs::read_to_string(folder.path().join("pid")).ok();
    if let Some(restored) = restored.and_then(|text| text.trim().parse().ok()) {
        let _ = sys::process::kill_tree(sys::Pid(restored));
    }
    measured
}

/// It has its memory.
fn heard(said: &Path) -> Result<(), Error> {
    let until = Instant::now() + PATIENCE;
    while Instant::now() < until {
        if fs::read_to_string(said).is_ok_and(|text| text.starts_with("ready")) {
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    Err(Error::Answer { who: "a process", answer: String::new() })
}

/// One command of it. If it fails it cannot be measured here, for the reason that it gives.
fn run(words: &[&str], images: &Path) -> Result<(), Error> {
    let absent = |why| Error::Absent { what: CRIU, why };
    let mut criu = Command::new("criu");
    criu.args(words);
    if words != ["check"] {
        criu.arg("--images-dir").arg(images);
    }
    let ended = criu.stdin(Stdio::null()).output();
    let ended = ended.map_err(|error| absent(format!("`criu` cannot be started: {error}")))?;
    if ended.status.success() {
        return Ok(());
    }
    let text = String::from_utf8_lossy(&[&ended.stderr[..], &ended.stdout].concat()).into_owned();
    let is_reason = |line: &&str| line.starts_with("Error") && !line.contains("exited, status");
    let why = text.lines().find(is_reason).or(text.lines().last()).unwrap_or_default();
    Err(absent(format!("`criu {}` says `{}`", words[0], why.trim())))
}
