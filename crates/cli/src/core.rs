//! `farcall core`: runs compute cores, shared libraries with the three functions of
//! `farcall_core.h`.
//!
//! ```text
//!  inputs ──> tasks, as many at once as the nodes take ──> results ──> files, or standard output
//!                                                            └──────> failures, grouped at the end
//! ```
//!
//! Standard output carries results and nothing else. Elsewhere: a job from beginning to end
//! (`errand`), where inputs come from (`inputs`), what becomes of outputs (`results`), what is said of
//! failures (`failures`).

mod errand;
pub(crate) mod results;
pub(crate) mod inputs;
pub(crate) mod failures;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Subcommand};

use crate::cluster::Nodes;
use crate::record::order::Source;
use crate::values;
pub(crate) use errand::{Errand, Shown, Terms};
pub(crate) use inputs::Inputs;

/// Run compute cores: shared libraries, shipped to the nodes that run them
#[derive(Subcommand)]
#[command(after_help = "Example:\n  farcall core run ./libsum.so a.txt b.txt")]
pub(crate) enum Core {
    Run(Run),
}

/// Run a compute core, once for each input
///
/// The library is shipped once to each node. Results go to standard output in the order of the
/// inputs: with one input file exactly as they are; with several, or with lines, each ends in a
/// newline, which is added where the core left it out. Failures are grouped by reason on standard
/// error, and the exit status is 1 if there was any. Ctrl-C cancels everywhere. A record of the job is
/// kept, of which `farcall jobs`, `why`, `logs` and `retry` know.
#[derive(Args)]
#[command(after_help = "\
Examples:
  farcall core run ./libsum.so a.txt b.txt              a task for each file
  farcall core run ./libsum.so *.txt --out sums         a result file for each input
  seq 1 1000 | farcall core run ./libsum.so --lines -   a task for each line
  farcall core run ./libsim.so *.in --nodes host-a,host-b --deadline 10s --memory 512M
  farcall core run ./libsum.so --lines in.txt --json | jq .ms
  farcall core run ./libsum.so *.txt --trace job.json   where the time goes, as a picture")]
pub(crate) struct Run {
    /// The compute core, a shared library (.so)
    #[arg(value_name = "LIB")]
    library: PathBuf,
    /// Files; the bytes of each are the input of a task
    #[arg(value_name = "INPUT", required_unless_present = "lines", conflicts_with = "lines")]
    files: Vec<PathBuf>,
    /// A file of inputs, one in each line; `-` is standard input
    #[arg(long, value_name = "FILE")]
    lines: Option<PathBuf>,
    /// Write each result to a file in DIR, named as its input, or by the number of its line
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    #[command(flatten)]
    nodes: Nodes,
    /// How long a task may run, like 10s or 2min
    #[arg(long, value_name = "TIME", value_parser = values::duration)]
    deadline: Option<Duration>,
    /// How much memory a task may use, like 512M or 2G
    #[arg(long, value_name = "SIZE", value_parser = values::size)]
    memory: Option<u64>,
    /// Attempts beyond the first, when a node or a worker is lost [default: 2]
    #[arg(long, value_name = "N")]
    retries: Option<u32>,
    /// Print a JSON object for each task instead of its result
    #[arg(long, conflicts_with = "out")]
    json: bool,
    /// Show what tasks write to their standard error as it comes, with the task's number before each
    /// line (`farcall logs` shows it afterwards)
    #[arg(long)]
    show_stderr: bool,
    /// Write a trace of the job, to be opened in https://ui.perfetto.dev or chrome://tracing
    #[arg(long, value_name = "FILE")]
    trace: Option<PathBuf>,
}

impl Run {
    pub(crate) fn run(self) -> anyhow::Result<ExitCode> {
        let (inputs, source) = match &self.lines {
            Some(file) => (Inputs::lines(file)?, Source::of_lines(file)),
            None => (Inputs::files(self.files.clone())?, Source::of_files(&self.files)),
        };
        let errand = Errand {
            library: self.library,
            inputs,
            source,
            nodes: self.nodes,
            terms: Terms { deadline: self.deadline, memory: self.memory, retries: self.retries },
            shown: Shown {
                out: self.out,
                json: self.json,
                stderr: self.show_stderr,
                trace: self.trace,
            },
            again: None,
        };
        errand.run()
    }
}

impl Core {
    pub(crate) fn run(self) -> anyhow::Result<ExitCode> {
        let Self::Run(run) = self;
        run.run()
    }
}
