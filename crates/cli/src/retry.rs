//! `farcall retry`: runs again what failed, as a job of its own.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use wire::name::Hash;

use crate::cluster::Nodes;
use crate::codes;
use crate::core::{Errand, Inputs, Shown, Terms};
use crate::errors::{Complaint, complaint};
use crate::record::order::{Known, Now, Order, Source};
use crate::record::past::{Past, Target};
use crate::terminal::tame_line;
use crate::values::{self, count};

/// Names that are said; the rest are counted.
const NAMED: usize = 8;

/// Run again what failed, as a new job
///
/// With the same core, inputs and options, as far as they are still there: what has changed since is
/// said and used as it is now, what has vanished is said and left out. Results go where those of the
/// first job went.
#[derive(Args)]
#[command(after_help = "\
Examples:
  farcall retry k3f9qx2 --failed                  all tasks of the job that failed
  farcall retry k3f9qx2 --failed --memory 2G      the same, with more memory
  farcall retry k3f9qx2.17                        one task, failed or not")]
pub(crate) struct Retry {
    /// A job, or one of its tasks
    #[arg(value_name = "JOB[.TASK]")]
    target: String,
    /// All tasks of the job that failed
    #[arg(long)]
    failed: bool,
    #[command(flatten)]
    nodes: Nodes,
    /// Another limit of time than before, like 10s or 2min
    #[arg(long, value_name = "TIME", value_parser = values::duration)]
    deadline: Option<Duration>,
    /// Another limit of memory than before, like 512M or 2G
    #[arg(long, value_name = "SIZE", value_parser = values::size)]
    memory: Option<u64>,
    /// Show what tasks write to their standard error
    #[arg(long)]
    show_stderr: bool,
    /// Write a trace of the job
    #[arg(long, value_name = "FILE")]
    trace: Option<PathBuf>,
}

impl Retry {
    pub(crate) fn run(self) -> anyhow::Result<ExitCode> {
        let target = Target::find(&self.target)?;
        let past = Past::need(target.job)?;
        // Its inputs are read as they are needed: the new record shall not take its place meanwhile.
        let _held = past.hold();
        let order = past.order()?;
        let tasks = self.tasks(target, &past)?;
        check_library(&order)?;
        let (inputs, source) = again(&past, &order, &tasks)?;
        let nodes = if self.nodes.nodes.is_empty() {
            Nodes { nodes: order.nodes.clone() }
        } else {
            self.nodes
        };
        let deadline = order.deadline_ms.map(Duration::from_millis);
        let errand = Errand {
            library: order.library,
            inputs,
            source,
            nodes,
            terms: Terms {
                deadline: self.deadline.or(deadline),
                memory: self.memory.or(order.memory),
                retries: order.retries,
            },
            shown: Shown {
                out: order.out,
                json: order.json,
                stderr: self.show_stderr,
                trace: self.trace,
            },
            again: Some(past.id),
        };
        errand.run()
    }

    /// Which tasks are to be run, in order.
    fn tasks(&self, target: Target, past: &Past) -> Result<Vec<u64>, Complaint> {
        let id = past.id;
        match (target.task, self.failed) {
            (Some(task), _) => Ok(vec![task]),
            (None, false) => Err(complaint(&codes::E0504, format!("`{id}` is a whole job"))
                .help(format!("`farcall retry {id} --failed` runs what failed again"))),
            (None, true) => {
                let failed = past.failed()?;
                if failed.is_empty() {
                    let running = if past.running { " so far" } else { "" };
                    return Err(complaint(
                        &codes::E0504,
                        format!("no task of {id} has failed{running}"),
                    )
                    .help(format!("`farcall why {id}.1` tells of one of its tasks")));
                }
                Ok(failed)
            }
        }
    }
}

fn check_library(order: &Order) -> Result<(), Complaint> {
    let bytes = std::fs::read(&order.library)
        .map_err(|error| crate::errors::file("read", &order.library, &error))?;
    if Hash::of(&bytes).to_string() != order.library_hash {
        let library = order.library.display();
        eprintln!(
            "note: {} has changed since, and is run as it is now",
            tame_line(&library.to_string())
        );
    }
    Ok(())
}

/// The inputs of these tasks, as far as they can be had again.
fn again(past: &Past, order: &Order, tasks: &[u64]) -> Result<(Inputs, Source), Complaint> {
    let unknown = |task: u64| {
        complaint(&codes::E0502, format!("{} has no task {task}", past.id))
            .help("its tasks are numbered from 1 in the order of its inputs")
    };
    if let Some(task) = tasks.iter().find(|task| order.inputs.name(**task).is_none()) {
        return Err(unknown(*task));
    }
    let at = |task: u64| task as usize - 1;
    match &order.inputs {
        Source::Files(files) => {
            let chosen: Vec<&Known> = tasks.iter().map(|task| &files[at(*task)]).collect();
            let here = |known: &&&Known| known.now() != Now::Gone;
            let (there, gone): (Vec<&Known>, Vec<&Known>) =
                chosen.into_iter().partition(|known| here(&known));
            let changed = there.iter().filter(|known| known.now() == Now::Changed);
            say("has changed since, and is taken as it is now", changed.map(|known| path(known)));
            say("is not there any more, and is left out", gone.iter().map(|known| path(known)));
            if there.is_empty() {
                return Err(complaint(&codes::E0505, "none of the inputs is there any more")
                    .help("put them back and try again"));
            }
            let paths: Vec<PathBuf> = there.iter().map(|known| known.path.clone()).collect();
            let source = Source::of_files(&paths);
            Ok((Inputs::files(paths)?, source))
        }
        Source::Lines { file, chosen } => {
            if file.now() == Now::Changed {
                say("has changed since: its lines are taken as they are now", [path(file)]);
            }
            let number = |task: &u64| chosen.as_ref().map_or(*task, |lines| lines[at(*task)]);
            let lines: Vec<u64> = tasks.iter().map(number).collect();
            let source =
                Source::Lines { file: Known::see(&file.path), chosen: Some(lines.clone()) };
            Ok((Inputs::chosen(&file.path, lines)?, source))
        }
        Source::Stdin | Source::Kept { .. } => {
            let kept = |task: &u64| past.inputs().join(task.to_string());
            let (there, gone): (Vec<u64>, Vec<u64>) =
                tasks.iter().partition(|task| kept(task).is_file());
            let names = gone.iter().filter_map(|task| order.inputs.name(*task));
            say("was not kept, and is left out", names);
            if there.is_empty() {
                return Err(complaint(&codes::E0505, "these inputs came from standard input")
                    .note("only those of tasks that failed are kept")
                    .help("run the job again"));
            }
            let line = |task: &u64| match &order.inputs {
                Source::Kept { lines, .. } => lines[at(*task)],
                Source::Files(_) | Source::Lines { .. } | Source::Stdin => *task,
            };
            let lines: Vec<u64> = there.iter().map(line).collect();
            let source = Source::Kept { folder: past.inputs(), lines: lines.clone() };
            Ok((Inputs::kept(there.iter().map(kept).collect(), lines), source))
        }
    }
}

fn path(known: &Known) -> String {
    known.path.display().to_string()
}

/// One line on what is not as it was, if there is any.
fn say(what: &str, names: impl IntoIterator<Item = String>) {
    let names: Vec<String> = names.into_iter().map(|name| tame_line(&name)).collect();
    if names.is_empty() {
        return;
    }
    let shown = names[..names.len().min(NAMED)].join(", ");
    let more = match names.len().saturating_sub(NAMED) {
        0 => String::new(),
        more => format!(" and {}", count(more as u64, "more input")),
    };
    eprintln!("note: {shown}{more}: {what}");
}
