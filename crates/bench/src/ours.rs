//! Farcall as the benchmarks see it: what `tasks` asks of the public library.
//!
//! One node with two workers stays up for the whole run, jailed as by default; its no-op program
//! answers the input's 64 bytes. Warming up, repeating and percentiles are the caller's.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use client::{Cluster, Core, Local};

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

/// Starts the cluster and waits until it can run a task.
pub fn start(_setting: &Setting) -> Result<Box<dyn Ours>, Error> {
    let library = echo_core()?;
    let tls = Local::new().slots(2).tls().start().map_err(ours("start a node with TLS"))?;
    let echo = tls.core_from("echo", library);
    echo.run(&b"warm"[..]).map_err(ours("run the first task"))?;
    Ok(Box::new(Farcall { _tls: tls, echo }))
}

fn ours<E: std::error::Error + Send + Sync + 'static>(
    what: &'static str,
) -> impl FnOnce(E) -> Error {
    move |source| Error::Ours { what, source: Box::new(source) }
}

/// A core that answers its input, as small as C can make it.
fn echo_core() -> Result<Vec<u8>, Error> {
    const SOURCE: &str = include_str!("ours/echo.c");
    let failed = |why: String| Error::Absent { what: "the echo core", why };
    let folder = std::env::temp_dir().join(format!("farcall-bench-{}", std::process::id()));
    fs::create_dir_all(&folder).map_err(|error| failed(error.to_string()))?;
    let (source, library) = (folder.join("echo.c"), folder.join("libecho.so"));
    let compile = |source: &Path, library: &Path| -> Result<Vec<u8>, String> {
        fs::write(source, SOURCE).map_err(|error| error.to_string())?;
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
    echo: Core,
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

    fn echo_1mib_tls(&mut self, _tasks: usize) -> Result<Duration, Error> {
        Err(Error::Absent { what: "1 MiB payloads", why: "not built yet".to_owned() })
    }

    fn echo_1mib_unix(&mut self, _tasks: usize) -> Result<Duration, Error> {
        Err(Error::Absent { what: "1 MiB payloads", why: "not built yet".to_owned() })
    }

    fn core_second_use(&mut self) -> Result<u64, Error> {
        Err(Error::Absent { what: "shipping", why: "not built yet".to_owned() })
    }

    fn queued_task_memory(&mut self, _tasks: usize) -> Result<f64, Error> {
        Err(Error::Absent { what: "memory", why: "not built yet".to_owned() })
    }
}
