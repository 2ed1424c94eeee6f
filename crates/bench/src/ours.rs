//! Farcall as the benchmarks see it: what `tasks` asks of the public library.
//!
//! One node with two workers stays up for the whole run, jailed as by default; its no-op program
//! answers the input's 64 bytes. Warming up, repeating and percentiles are the caller's.

use std::collections::{BTreeSet, VecDeque};
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use client::{Cluster, Core, Handle, Local};

use crate::error::Error;
use crate::setting::Setting;

/// A running cluster and its client.
pub trait Ours {
    /// Nanoseconds of each of `tasks` no-op tasks of 64 bytes, one after the other, with TLS.
    fn latency(&mut self, tasks: usize) -> Result<Vec<u64>, Error>;

    /// Time of one job of `tasks` no-op tasks of 64 bytes, submit to last result, with TLS.
    fn throughput(&mut self, tasks: usize) -> Result<Duration, Error>;

    /// Time of `tasks` tasks, each 1 MiB in and the same 1 MiB out, with TLS.
    fn echo_1mib_tls(&mut self, tasks: usize) -> Result<Duration, Error>;

    /// The same on the Unix socket.
    fn echo_1mib_unix(&mut self, tasks: usize) -> Result<Duration, Error>;

    /// Bytes of a 64 MiB core that move to three nodes when it is used for the second time. A
    /// core the nodes have never seen is used once before, inside this call.
    fn core_second_use(&mut self) -> Result<u64, Error>;

    /// Bytes of client memory that each of `tasks` queued tasks costs beyond its input.
    fn queued_task_memory(&mut self, tasks: usize) -> Result<f64, Error>;
}

/// Tasks of 1 MiB that are under way at once.
const ECHO_WINDOW: usize = 8;
const MIB: usize = 1 << 20;
const CORE_SIZE: usize = 64 * MIB;

/// Starts the cluster and waits until it can run a task.
pub fn start(_setting: &Setting) -> Result<Box<dyn Ours>, Error> {
    let library = compile(include_str!("ours/echo.c"))?;
    let tls = Local::new().slots(2).tls().start().map_err(ours("start a node with TLS"))?;
    let unix = Local::new().slots(2).start().map_err(ours("start a node"))?;
    let (echo, unix_echo) =
        (tls.core_from("echo", library.clone()), unix.core_from("echo", library.clone()));
    for core in [&echo, &unix_echo] {
        core.run(&b"warm"[..]).map_err(ours("run the first task"))?;
    }
    Ok(Box::new(Farcall { _tls: tls, _unix: unix, echo, unix_echo, library }))
}

pub(crate) fn ours<E: std::error::Error + Send + Sync + 'static>(
    what: &'static str,
) -> impl FnOnce(E) -> Error {
    move |source| Error::Ours { what, source: Box::new(source) }
}

pub(crate) fn compile(source_text: &str) -> Result<Vec<u8>, Error> {
    let failed = |why: String| Error::Absent { what: "a compute core", why };
    let folder = std::env::temp_dir().join(format!("farcall-bench-{}", std::process::id()));
    fs::create_dir_all(&folder).map_err(|error| failed(error.to_string()))?;
    let (source, library) = (folder.join("core.c"), folder.join("libcore.so"));
    let compile = |source: &Path, library: &Path| -> Result<Vec<u8>, String> {
        fs::write(source, source_text).map_err(|error| error.to_string())?;
        let mut cc = Command::new("cc");
        cc.args(["-O2", "-shared", "-fPIC", "-o"]).arg(library).arg(source);
        match cc.status() {
            Ok(status) if status.success() => fs::read(library).map_err(|error| error.to_string()),
            Ok(status) => Err(format!("cc ended with {status}")),
            Err(error) => Err(format!("cc: {error}")),
        }
    };
    let bytes = compile(&source, &library).map_err(failed);
    let _ = fs::remove_dir_all(&folder);
    bytes
}

struct Farcall {
    _tls: Cluster,
    _unix: Cluster,
    echo: Core,
    unix_echo: Core,
    library: Vec<u8>,
}

/// Runs tasks of 1 MiB, some at a time, and looks at each answer.
fn echo_1mib(core: &Core, tasks: usize) -> Result<Duration, Error> {
    let input = bytes::Bytes::from((0..MIB).map(|i| (i * 31) as u8).collect::<Vec<u8>>());
    let start = Instant::now();
    let mut under_way = VecDeque::new();
    for _ in 0..tasks {
        if under_way.len() == ECHO_WINDOW {
            check_echo(&mut under_way, &input)?;
        }
        under_way.push_back(core.submit(input.clone()));
    }
    while !under_way.is_empty() {
        check_echo(&mut under_way, &input)?;
    }
    Ok(start.elapsed())
}

fn check_echo(under_way: &mut VecDeque<Handle>, input: &[u8]) -> Result<(), Error> {
    let Some(handle) = under_way.pop_front() else { return Ok(()) };
    let output = handle.join().map_err(ours("run a task of 1 MiB"))?;
    // Both ends and the length: comparing all of it would time memory, not the way.
    let ends = output[..64] == input[..64] && output[MIB - 64..] == input[MIB - 64..];
    assert!(output.len() == MIB && ends, "the answer is not the question");
    Ok(())
}

fn resident() -> Result<u64, Error> {
    let memory = sys::proc::memory(sys::Pid::own()).map_err(ours("measure memory"))?;
    Ok(memory.map_or(0, |memory| memory.resident))
}

impl Ours for Farcall {
    fn latency(&mut self, tasks: usize) -> Result<Vec<u64>, Error> {
        let input = bytes::Bytes::from_static(&[7; 64]);
        let mut times = Vec::with_capacity(tasks);
        for _ in 0..tasks {
            let start = Instant::now();
            let output = self.echo.run(input.clone()).map_err(ours("run a task"))?;
            times.push(start.elapsed().as_nanos() as u64);
            assert_eq!(output[..], input[..]);
        }
        Ok(times)
    }

    fn throughput(&mut self, tasks: usize) -> Result<Duration, Error> {
        let input = bytes::Bytes::from_static(&[7; 64]);
        let start = Instant::now();
        let mut done = 0;
        for result in self.echo.map((0..tasks).map(|_| input.clone())) {
            let output = result.map_err(ours("run a task"))?;
            assert_eq!(output.len(), 64);
            done += 1;
        }
        assert_eq!(done, tasks);
        Ok(start.elapsed())
    }

    fn echo_1mib_tls(&mut self, tasks: usize) -> Result<Duration, Error> {
        echo_1mib(&self.echo, tasks)
    }

    fn echo_1mib_unix(&mut self, tasks: usize) -> Result<Duration, Error> {
        echo_1mib(&self.unix_echo, tasks)
    }

    fn core_second_use(&mut self) -> Result<u64, Error> {
        const NODES: u32 = 3;
        // What stands behind the last section of a library is never read by the loader.
        let mut library = self.library.clone();
        let mut noise = Instant::now().elapsed().subsec_nanos() | 1;
        while library.len() < CORE_SIZE {
            noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            library.extend_from_slice(&noise.to_le_bytes());
        }
        let cluster = Local::new().nodes(NODES).slots(1).tls().start();
        let cluster = cluster.map_err(ours("start three nodes"))?;
        let use_everywhere = || -> Result<(), Error> {
            let core = cluster.core_from("large", library.clone());
            let until = Instant::now() + Duration::from_secs(60);
            let mut seen = BTreeSet::new();
            while seen.len() < NODES as usize && Instant::now() < until {
                for (_, result) in core.map_unordered([&b"x"[..]; 64]) {
                    seen.insert(result.map_err(ours("use a large core"))?.node().to_owned());
                }
            }
            assert_eq!(seen.len(), NODES as usize, "not all nodes were used: {seen:?}");
            Ok(())
        };
        use_everywhere()?;
        let first = cluster.uploaded();
        assert_eq!(first, u64::from(NODES) * library.len() as u64);
        use_everywhere()?;
        Ok(cluster.uploaded() - first)
    }

    fn queued_task_memory(&mut self, tasks: usize) -> Result<f64, Error> {
        let cluster = Local::new().slots(1).start().map_err(ours("start a node"))?;
        let sleeper = cluster.core_from("sleep", compile(include_str!("ours/sleep.c"))?);
        let mut handles = Vec::with_capacity(tasks);
        handles.push(sleeper.submit(bytes::Bytes::new()));
        let before = resident()?;
        handles.extend((1..tasks).map(|_| sleeper.submit(bytes::Bytes::new())));
        let after = resident()?;
        // The handles are the caller's way to his results, so they count; they were reserved but
        // not touched before.
        Ok(after.saturating_sub(before) as f64 / tasks as f64)
    }
}
