//! `farcall core`: runs compute cores, shared libraries with the three functions of
//! `farcall_core.h`.
//!
//! ```text
//!  inputs ──> tasks, as many at once as the nodes take ──> results ──> files, or standard output
//!                                                            └──────> failures, grouped at the end
//! ```
//!
//! Standard output carries results and nothing else. Elsewhere: where inputs come from (`inputs`),
//! what becomes of outputs (`results`), what is said of failures (`failures`).

pub(crate) mod results;
pub(crate) mod inputs;
pub(crate) mod failures;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::Context;
use clap::{Args, Subcommand};

use crate::cluster::Nodes;
use crate::interrupt::Interrupt;
use crate::progress::Progress;
use crate::values;
use failures::Failures;
use inputs::Inputs;
use results::Results;

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
/// error, and the exit status is 1 if there was any. Ctrl-C cancels everywhere.
#[derive(Args)]
#[command(after_help = "\
Examples:
  farcall core run ./libsum.so a.txt b.txt              a task for each file
  farcall core run ./libsum.so *.txt --out sums         a result file for each input
  seq 1 1000 | farcall core run ./libsum.so --lines -   a task for each line
  farcall core run ./libsim.so *.in --nodes host-a,host-b --deadline 10s --memory 512M
  farcall core run ./libsum.so --lines in.txt --json | jq .ms")]
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
}

impl Run {
    pub(crate) fn run(self) -> anyhow::Result<ExitCode> {
        // What is wrong here is said before anything is started.
        let inputs = match &self.lines {
            Some(file) => Inputs::lines(file)?,
            None => Inputs::files(self.files)?,
        };
        let mut results = match &self.out {
            Some(folder) => Results::in_folder(folder, &inputs)?,
            None => Results::on_stdout(self.json, inputs.is_single()),
        };
        std::fs::File::open(&self.library)
            .map_err(|error| crate::errors::file("read", &self.library, &error))?;
        let cluster = self.nodes.connect()?;
        let interrupt = Interrupt::watch(&cluster).context("cannot watch for Ctrl-C")?;
        let mut core = cluster.core(&self.library)?;
        if let Some(deadline) = self.deadline {
            core = core.deadline(deadline);
        }
        if let Some(memory) = self.memory {
            core = core.memory(memory);
        }
        if let Some(retries) = self.retries {
            core = core.retries(retries);
        }

        let names = inputs.names();
        let trouble = inputs.trouble();
        let progress = Progress::new("tasks", inputs.total());
        let stop = interrupt.flag();
        let inputs = inputs.take_while(move |_| !stop.load(Ordering::SeqCst));
        let mut failures = Failures::default();
        for (index, result) in core.map_unordered(inputs) {
            if interrupt.is_set() {
                break;
            }
            let name = names.of(index);
            if let Err(failure) = &result {
                failures.add(index, &name, failure);
            }
            // A reader that is gone wants no more results: what runs is cancelled, not complained of.
            if !results.put(index, &name, result, |print| progress.aside(print))? {
                return Ok(ExitCode::FAILURE);
            }
            progress.one_more();
            tell_losses(&cluster, &progress);
        }
        tell_losses(&cluster, &progress);
        progress.finish();
        if interrupt.is_set() {
            return Ok(Interrupt::status());
        }
        results.finish()?;
        if let Some(error) = trouble.take() {
            return Err(error.into());
        }
        failures.report(names.noun());
        Ok(if failures.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

/// Who waits for results is told when a node is lost, not only when that costs a task.
fn tell_losses(cluster: &client::Cluster, progress: &Progress) {
    for loss in cluster.losses() {
        let client::Loss { node, address, why } = loss;
        let words = format!("node {node} at {address} was lost: {why}");
        progress.aside(|| eprint!("{}", crate::errors::warning(&crate::codes::E0222, &words)));
    }
}

impl Core {
    pub(crate) fn run(self) -> anyhow::Result<ExitCode> {
        let Self::Run(run) = self;
        run.run()
    }
}
