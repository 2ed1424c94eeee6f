//! One job of `farcall core run` or `farcall retry`, from its first input to the last word on it.

use std::cell::RefCell;
use std::collections::HashMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::rc::Rc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::Context;
use client::{Cluster, JobId, TaskName, Trace};
use wire::name::Hash;

use super::failures::Failures;
use super::inputs::Inputs;
use super::results::Results;
use crate::cluster::Nodes;
use crate::errors::file;
use crate::interrupt::Interrupt;
use crate::progress::Progress;
use crate::record::order::{Order, Source};
use crate::record::show::Show;
use crate::record::{self, Beginning, Recorder};
use crate::terminal::tame;

/// Results after which the journal is read, however fast they come.
const OFTEN: u64 = 4096;

/// A job to be done.
pub(crate) struct Errand {
    pub(crate) library: PathBuf,
    pub(crate) inputs: Inputs,
    pub(crate) source: Source,
    pub(crate) nodes: Nodes,
    pub(crate) terms: Terms,
    pub(crate) shown: Shown,
    /// The job that it is to make good.
    pub(crate) again: Option<JobId>,
}

/// What its tasks may cost.
#[derive(Clone, Copy, Default)]
pub(crate) struct Terms {
    pub(crate) deadline: Option<Duration>,
    pub(crate) memory: Option<u64>,
    pub(crate) retries: Option<u32>,
}

/// Where results go, and what else is to be seen.
#[derive(Clone, Default)]
pub(crate) struct Shown {
    pub(crate) out: Option<PathBuf>,
    pub(crate) json: bool,
    pub(crate) stderr: bool,
    pub(crate) trace: Option<PathBuf>,
}

/// Inputs that cannot be had again, of tasks under way.
type Kept = Rc<RefCell<HashMap<u64, bytes::Bytes>>>;

impl Errand {
    pub(crate) fn run(self) -> anyhow::Result<ExitCode> {
        // 1. What is wrong here is said before anything is started.
        let mut results = match &self.shown.out {
            Some(folder) => Results::in_folder(folder, &self.inputs)?,
            None => Results::on_stdout(self.shown.json, self.inputs.is_single()),
        };
        let library = std::fs::read(&self.library);
        let library: bytes::Bytes =
            library.map_err(|error| file("read", &self.library, &error))?.into();
        let trace = self.shown.trace.as_deref().map(open_trace).transpose()?;
        let order = self.order(&library)?;

        // 2. The cluster, the core, and who writes down what becomes of it.
        let cluster = self.nodes.connect()?;
        let interrupt = Interrupt::watch(&cluster).context("cannot watch for Ctrl-C")?;
        let name = self.library.file_name().unwrap_or(self.library.as_os_str()).to_string_lossy();
        let mut core = cluster.core_from(&name, library);
        let Terms { deadline, memory, retries } = self.terms;
        core = deadline.into_iter().fold(core, |core, deadline| core.deadline(deadline));
        core = memory.into_iter().fold(core, |core, bytes| core.memory(bytes));
        core = retries.into_iter().fold(core, |core, retries| core.retries(retries));
        let id = core.job_id();
        let (names, trouble) = (self.inputs.names(), self.inputs.trouble());
        let progress = Progress::new("tasks", self.inputs.total());
        let show = self.shown.stderr.then(|| Show::new(progress.printer()));
        let total = self.inputs.total();
        let recorder =
            begin_record(&cluster, id, (&name, total), &order, trace, show).context("no thread")?;

        // 3. Tasks, as long as there are inputs and nobody has had enough.
        let kept = Kept::default();
        let keeps = !self.source.is_repeatable();
        let keep = kept.clone();
        let stop = interrupt.flag();
        let inputs = self.inputs.take_while(move |_| !stop.load(Ordering::SeqCst));
        let inputs = (1..).zip(inputs).map(move |(task, input)| {
            let input = bytes::Bytes::from(input);
            if keeps {
                keep.borrow_mut().insert(task, input.clone());
            }
            input
        });
        let mut failures = Failures::default();
        let mut first_failed = None;
        for (index, result) in core.map_unordered(inputs) {
            if interrupt.is_set() {
                break;
            }
            let (name, task) = (names.of(index), TaskName { job: id, task: index + 1 });
            let input = if keeps { kept.borrow_mut().remove(&task.task) } else { None };
            if let Err(failure) = &result {
                failures.add(index, &name, failure);
                first_failed = first_failed.min(Some(task)).or(Some(task));
                if let Some(input) = input {
                    recorder.keep_input(task.task, &input);
                }
            }
            // A reader that is gone wants no more results: what runs is cancelled, not complained of.
            if !results.put(index, Some(task), &name, result, |print| progress.aside(print))? {
                return Ok(ExitCode::FAILURE);
            }
            progress.one_more();
            tell_losses(&cluster, &progress);
            if index % OFTEN == 0 {
                recorder.look();
            }
        }
        tell_losses(&cluster, &progress);
        progress.finish();
        if interrupt.is_set() {
            return Ok(Interrupt::status());
        }

        // 4. What there is to say of it.
        results.finish()?;
        let missing = recorder.finish();
        if let Some(error) = trouble.take() {
            return Err(error.into());
        }
        failures.report(names.noun());
        match missing {
            Err(error) => {
                let path = self.shown.trace.unwrap_or_default();
                return Err(record::trace_complaint(&path, &error).into());
            }
            Ok(Some(missing)) => eprintln!("note: job {id}: {}", tame(&missing)),
            Ok(None) => {
                if let Some(task) = first_failed {
                    eprintln!(
                        "  help: `farcall why {task}` tells more, `farcall retry {id} --failed` \
                         runs what failed again"
                    );
                }
            }
        }
        Ok(if failures.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }

    /// Enough to do it again.
    fn order(&self, library: &bytes::Bytes) -> anyhow::Result<Order> {
        let absolute = |path: &Path| std::path::absolute(path).context("cannot find this folder");
        Ok(Order {
            library: absolute(&self.library)?,
            library_hash: Hash::of(library).to_string(),
            inputs: self.source.clone(),
            out: self.shown.out.as_deref().map(absolute).transpose()?,
            json: self.shown.json,
            deadline_ms: self.terms.deadline.map(|deadline| deadline.as_millis() as u64),
            memory: self.terms.memory,
            retries: self.terms.retries,
            nodes: self.nodes.named()?,
            again: self.again.map(|job| job.to_string()),
        })
    }
}

fn open_trace(path: &Path) -> anyhow::Result<Trace<File>> {
    let opened = File::create(path).and_then(Trace::new);
    Ok(opened.map_err(|error| record::trace_complaint(path, &error))?)
}

fn begin_record(
    cluster: &Cluster,
    id: JobId,
    (name, total): (&str, Option<u64>),
    order: &Order,
    trace: Option<Trace<File>>,
    show: Option<Show>,
) -> std::io::Result<Recorder> {
    let (name, reach) = (name.to_owned(), cluster.addresses());
    let beginning = Beginning { id, name, total, reach };
    Recorder::begin(beginning, order, cluster.journal(), trace, show)
}

/// Who waits for results is told when a node is lost, not only when that costs a task.
fn tell_losses(cluster: &Cluster, progress: &Progress) {
    for loss in cluster.losses() {
        let client::Loss { node, address, why } = loss;
        let words = format!("node {node} at {address} was lost: {why}");
        progress.aside(|| eprint!("{}", crate::errors::warning(&crate::codes::E0222, &words)));
    }
}
