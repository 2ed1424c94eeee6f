//! `farcall move`, as it is typed, of a process to a node of its own.

use std::process::{Command, Stdio};
use std::time::Instant;

use super::Moves;
use crate::daemon::{self, Daemon};
use crate::error::Error;

/// What a move by the command came to.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moved {
    /// Microseconds from the command's start until the process ran over there.
    pub(super) after: f64,
    /// Microseconds for which the process stood still.
    pub(super) still: f64,
}

/// Moves a new process of these arguments over TLS. What it says over there comes back here.
pub(super) fn command(moves: &Moves<'_>, args: &[&str]) -> Result<Moved, Error> {
    let flags = ["--jail", "none", "--listen", "127.0.0.1:0"];
    let node = Daemon::start(moves.setting, "a process that moves to a node", &flags)?;
    let mut subject = moves.program.start(args)?;
    let pid = subject.pid().to_string();
    let begin = sys::clock::monotonic_nanoseconds();
    let mut moving = node.command(moves.setting, &["move", &pid, "--to", "bench"]);
    let ended = moving.stderr(Stdio::piped()).output();
    let ended = ended.map_err(Error::kernel("start `farcall move`"))?;
    if !ended.status.success() {
        let answer = String::from_utf8_lossy(&ended.stderr).into_owned();
        return Err(Error::Answer { who: "`farcall move`", answer });
    }
    let [_, still] = subject.said("woke")?;
    let [at] = subject.said("at")?;
    Ok(Moved { after: (at - begin as i64) as f64 / 1e3, still: still as f64 / 1e3 })
}

/// Microseconds of a `farcall` that does nothing.
pub(super) fn nothing(moves: &Moves<'_>) -> Result<f64, Error> {
    let begin = Instant::now();
    let mut version = Command::new(daemon::program(moves.setting));
    let ended = version.arg("--version").stdout(Stdio::null()).status();
    ended.map_err(Error::kernel("start `farcall`"))?;
    Ok(begin.elapsed().as_secs_f64() * 1e6)
}
