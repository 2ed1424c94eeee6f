//! tonic (gRPC): two server processes, and a client process that obeys lines and times calls.
//!
//! The package is `peers/tonic` beside this crate's sources; its head comment describes the lines.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

use crate::error::Error;
use crate::reaped::Reaped;
use crate::setting::Setting;

const MANIFEST: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/peers/tonic/Cargo.toml");
const PACKAGE: &str = "farcall-bench-peer-tonic";
const SERVERS: usize = 2;

/// Running servers and their client.
pub struct Tonic {
    client: Process,
    // They end when their standard input does: with this value.
    _servers: Vec<Process>,
}

impl Tonic {
    /// Builds the peer unless it is built, then starts it.
    pub fn start(setting: &Setting) -> Result<Self, Error> {
        let program = build(setting)?;
        let mut servers = Vec::new();
        let mut client = vec!["client".to_owned()];
        for _ in 0..SERVERS {
            let mut server = Process::start(&program, &["server".to_owned()])?;
            client.push(server.read_line()?);
            servers.push(server);
        }
        Ok(Self { client: Process::start(&program, &client)?, _servers: servers })
    }

    /// Nanoseconds of each of `calls` calls, one after the other, to one server.
    pub fn latency(&mut self, calls: usize, bytes: usize) -> Result<Vec<u64>, Error> {
        self.client.ask(&format!("latency {calls} {bytes}"))
    }

    /// Time of `calls` calls, `in_flight` at a time, spread over the servers.
    pub fn rate(
        &mut self,
        calls: usize,
        in_flight: usize,
        bytes: usize,
    ) -> Result<Duration, Error> {
        let answer = self.client.ask(&format!("rate {calls} {in_flight} {bytes}"))?;
        Ok(Duration::from_nanos(answer.iter().sum()))
    }
}

fn build(setting: &Setting) -> Result<PathBuf, Error> {
    let target_dir = setting.peers_dir.join("tonic");
    let built = Command::new(&setting.cargo)
        .args(["build", "--release", "--locked", "--manifest-path", MANIFEST, "--target-dir"])
        .arg(&target_dir)
        .stdin(Stdio::null())
        .output();
    let absent = |why| Error::Absent { what: "tonic", why };
    match built {
        Ok(output) if output.status.success() => Ok(target_dir.join("release").join(PACKAGE)),
        Ok(output) => Err(absent(format!(
            "its build ended with {}: {}",
            output.status,
            complaint(&output.stderr)
        ))),
        Err(error) => Err(absent(format!("cannot run {}: {error}", setting.cargo.display()))),
    }
}

/// The end of what cargo said: its last causes, on one line.
fn complaint(stderr: &[u8]) -> String {
    let text = String::from_utf8_lossy(stderr);
    let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    lines[lines.len().saturating_sub(4)..].join("; ")
}

/// A process of the peer, spoken to by lines.
struct Process {
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
    _child: Reaped,
}

impl Process {
    fn start(program: &Path, args: &[String]) -> Result<Self, Error> {
        let mut child = Command::new(program)
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(Error::kernel("start tonic"))?;
        let stdin = child.stdin.take().expect("piped above");
        let stdout = BufReader::new(child.stdout.take().expect("piped above"));
        Ok(Self { stdin, stdout, _child: Reaped(child) })
    }

    fn ask(&mut self, command: &str) -> Result<Vec<u64>, Error> {
        writeln!(self.stdin, "{command}").map_err(Error::kernel("ask tonic"))?;
        let answer = self.read_line()?;
        let numbers: Result<Vec<u64>, _> = answer.split(' ').map(str::parse).collect();
        numbers.map_err(|_| Error::Answer { who: "tonic", answer })
    }

    fn read_line(&mut self) -> Result<String, Error> {
        let mut line = String::new();
        self.stdout.read_line(&mut line).map_err(Error::kernel("hear tonic"))?;
        Ok(line.trim_end().to_owned())
    }
}
