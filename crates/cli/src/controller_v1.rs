//! `farcall controller-v1`: drives workers of the worker socket protocol v1, ours or anybody's.
//!
//! Inputs, results and failures are those of `farcall core run` (`core`). Elsewhere: the protocol's
//! other side (`client::Crew`), serving it (`node`).

use std::net::TcpListener;
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use client::{Controller, Crew, Listener};
use node::Endpoint;

use crate::codes;
use crate::core::failures::Failures;
use crate::core::inputs::Inputs;
use crate::core::results::Results;
use crate::endpoint::endpoint;
use crate::errors::{complaint, file, warning};
use crate::progress::Progress;

/// Run a compute core on workers of the worker socket protocol v1
///
/// Each worker is sent the library, then a job for each input, several ahead. Results, failures and
/// the exit status are those of `farcall core run`. The protocol knows no certificates and no
/// encryption: for other hosts `farcall core run` is the better choice, or a tunnel.
#[derive(Args)]
#[command(after_help = "\
Examples:
  farcall controller-v1 --worker 127.0.0.1:4115 ./libsum.so a.txt b.txt
  seq 1 1000 | farcall controller-v1 --worker unix:/run/w1 --worker unix:/run/w2 \\
                       ./libsum.so --lines -
  farcall controller-v1 --listen 127.0.0.1:4116 --workers 2 ./libsum.so *.txt --out sums
                                                wait for two workers that dial in
A worker of this kind is
  farcall node --worker-v1 127.0.0.1:4115           or, dialling out,
  farcall node --worker-v1-connect 127.0.0.1:4116")]
pub(crate) struct ControllerV1 {
    /// A worker to dial, HOST:PORT or unix:PATH; may be given several times
    #[arg(long, value_name = "ADDR", required_unless_present = "listen")]
    worker: Vec<String>,
    /// Let workers dial in at HOST:PORT or unix:PATH
    #[arg(long, value_name = "ADDR")]
    listen: Option<String>,
    /// How many workers to wait for that dial in
    #[arg(long, value_name = "N", default_value_t = 1, requires = "listen",
          value_parser = clap::value_parser!(u32).range(1..=1024))]
    workers: u32,
    /// Listen to other hosts, too: whoever is there gets the library and the inputs
    #[arg(long, requires = "listen")]
    anyone: bool,
    /// The compute core, a shared library (.so)
    #[arg(value_name = "LIB")]
    library: PathBuf,
    /// Files; the bytes of each are the input of a job
    #[arg(value_name = "INPUT", required_unless_present = "lines", conflicts_with = "lines")]
    files: Vec<PathBuf>,
    /// A file of inputs, one in each line; `-` is standard input
    #[arg(long, value_name = "FILE")]
    lines: Option<PathBuf>,
    /// Write each result to a file in DIR, named as its input, or by the number of its line
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Print a JSON object for each job instead of its result
    #[arg(long, conflicts_with = "out")]
    json: bool,
}

impl ControllerV1 {
    pub(crate) fn run(self) -> anyhow::Result<ExitCode> {
        let inputs = match &self.lines {
            Some(file) => Inputs::lines(file)?,
            None => Inputs::files(self.files.clone())?,
        };
        let mut results = match &self.out {
            Some(folder) => Results::in_folder(folder, &inputs)?,
            None => Results::on_stdout(self.json, inputs.is_single()),
        };
        let library =
            std::fs::read(&self.library).map_err(|error| file("read", &self.library, &error))?;
        let name = self.library.file_name().unwrap_or(self.library.as_os_str()).to_string_lossy();

        let mut workers = Vec::new();
        for address in &self.worker {
            workers.push(Controller::connect(address)?);
        }
        if let Some(place) = &self.listen {
            let listener = listen(place, self.anyone)?;
            for _ in 0..self.workers {
                workers.push(listener.accept_and_tell(|error| {
                    eprint!("{}", warning(&codes::E0206, &format!("{error}, and was sent away")));
                })?);
            }
            if let Some(path) = place.strip_prefix("unix:") {
                // Nobody listens there any more.
                let _ = std::fs::remove_file(path);
            }
        }
        for worker in &mut workers {
            worker.load(&name, &library)?;
        }

        let (names, trouble) = (inputs.names(), inputs.trouble());
        let progress = Progress::new("jobs", inputs.total());
        let mut failures = Failures::default();
        for (index, result) in Crew::new(workers, inputs) {
            let name = names.of(index);
            if let Err(failure) = &result {
                failures.add(index, &name, failure);
            }
            // A reader that is gone wants no more results.
            if !results.put(index, None, &name, result, |print| progress.aside(print))? {
                return Ok(ExitCode::FAILURE);
            }
            progress.one_more();
        }
        progress.finish();
        results.finish()?;
        if let Some(error) = trouble.take() {
            return Err(error.into());
        }
        failures.report(names.noun());
        Ok(if failures.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

fn listen(place: &str, anyone: bool) -> anyhow::Result<Listener> {
    let failed = |error: std::io::Error| {
        complaint(&codes::E0211, format!("cannot listen at {place}"))
            .note(error.to_string())
            .help("choose another place with --listen")
    };
    match endpoint(place, anyone, "--anyone")? {
        Endpoint::Tcp(address) => {
            let listener = TcpListener::bind(address).map_err(failed)?;
            // The port may be of the kernel's choice.
            eprintln!("listening at {}", listener.local_addr()?);
            Ok(Listener::Tcp(listener))
        }
        Endpoint::Unix(path) => {
            remove_stale(&path);
            Ok(Listener::Unix(UnixListener::bind(path).map_err(failed)?))
        }
    }
}

/// Removes a socket that another controller left behind; what answers, and what is no socket, stays.
fn remove_stale(path: &Path) {
    let is_socket = std::fs::symlink_metadata(path).is_ok_and(|at| at.file_type().is_socket());
    if is_socket && UnixStream::connect(path).is_err() {
        let _ = std::fs::remove_file(path);
    }
}
