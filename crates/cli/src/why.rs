//! `farcall why`: what a task waits for, what ended it, or where its time went.
//!
//! ```text
//!  the record of its job: it has ended ─────────────────────┐
//!  the nodes: it is there, was there, or waits at a client ─┴─> a story: a sentence, times, a step
//! ```
//!
//! Elsewhere: putting a story into words (`story`), what failures mean (`cause`).

mod story;
mod cause;

use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use client::{Cluster, JobReport, Place, TaskName, TaskReport};
use wire::record::Attempt;

use crate::cluster::Nodes;
use crate::codes;
use crate::errors::{Complaint, complaint};
use crate::record::files::{Cause, Failed};
use crate::record::order::Order;
use crate::record::past::{Past, Target};
use crate::terminal;
use crate::values::{count, fine, spell_size};
use story::{Story, Times};

/// How long nodes may take to answer.
const PATIENCE: Duration = Duration::from_secs(3);
/// Attempts beyond the first, where nobody said otherwise.
const RETRIES: u32 = 2;

/// Say why a task waits, failed, or took so long
///
/// Of a task that has ended, from the record of its job; of one that has not, from the nodes. `core
/// run` and `jobs` show the names of jobs; their tasks are numbered from 1 in the order of the inputs,
/// so the task of the fourth line is JOB.4. The beginning of a job's name is enough.
#[derive(Args)]
#[command(after_help = "\
Examples:
  farcall why k3f9qx2.17
  farcall why k3f9.17 --json | jq .slow_because
  farcall why k3f9qx2.17 --nodes host-a      a task of a job that runs on another host")]
pub(crate) struct Why {
    /// A task: a job's name, a dot and the task's number
    #[arg(value_name = "JOB.TASK")]
    target: String,
    #[command(flatten)]
    nodes: Nodes,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

impl Why {
    pub(crate) fn run(self) -> anyhow::Result<ExitCode> {
        let target = Target::find(&self.target)?;
        let task = target.task()?;
        let past = Past::open(task.job)?;
        let recorded = past.as_ref().map(|past| from_record(past, task)).transpose()?.flatten();
        let story = match recorded {
            Some(story) => story,
            None => self.ask_nodes(task, past.as_ref())?,
        };
        let text = if self.json { terminal::json_line(&story.in_json()) } else { story.in_words() };
        terminal::say(&text)?;
        Ok(ExitCode::SUCCESS)
    }

    /// Asks whoever may know.
    fn ask_nodes(&self, task: TaskName, past: Option<&Past>) -> anyhow::Result<Story> {
        let mut named = self.nodes.nodes.clone();
        if named.is_empty() {
            named = past.map(|past| past.job.reach.clone()).unwrap_or_default();
        }
        if named.is_empty() {
            named = self.nodes.named()?;
        }
        if named.is_empty() {
            let own = crate::status::own_node();
            named = vec![own.map_err(|_| unknown(task, "no record on this machine knows it"))?];
        }
        let reports = match Cluster::connect(&named) {
            Ok(cluster) => cluster.why(task, PATIENCE),
            // Its client is there, and its nodes are not: that is the answer.
            Err(error) => match past.filter(|past| past.running) {
                Some(past) => return Ok(without_nodes(task, past, &error)),
                None => return Err(error.into()),
            },
        };
        let mut story = match story_of(task, &reports) {
            // Nodes hear of a job when it is no longer a short one.
            Err(_) if past.is_some_and(|past| past.running) => {
                let verdict = "it waits in its client's queue, and no node has heard of it yet";
                Story::new(task, "waiting", verdict.to_owned())
            }
            story => story?,
        };
        if let Some(past) = past {
            story.input = past.order()?.inputs.name(task.task);
            story.earlier = earlier(&of_task(past, task)?, past.order()?.retries);
        }
        Ok(story)
    }
}

// What the record says.

/// `None`: it has not ended, as far as the record goes.
fn from_record(past: &Past, task: TaskName) -> Result<Option<Story>, Complaint> {
    let order = past.order()?;
    let is_beyond = past.job.total.is_some_and(|total| task.task > total);
    let Some(input) = order.inputs.name(task.task).filter(|_| !is_beyond) else {
        return Err(no_such(past, task));
    };
    let (attempts, median) = past.attempts(task.task)?;
    let failures = of_task(past, task)?;
    let is_over = |failed: &Failed| !failed.again;
    let last_failed = failures.last().filter(|failed| is_over(failed));
    let ended = attempts.last().filter(|last| !last.failed || last_failed.is_some());
    if ended.is_none() && last_failed.is_none() {
        return match (past.running, past.job.ended) {
            (true, _) => Ok(None),
            (false, true) if past.job.gaps.is_empty() => Err(no_such(past, task)),
            (false, true) => {
                let verdict = "it went well, as far as the record goes: it lacks the task's times";
                let mut story = Story::new(task, "done", verdict.to_owned());
                story.input = Some(input);
                Ok(Some(story))
            }
            (false, false) => {
                let verdict = "it had not ended when its client was interrupted";
                let mut story = Story::new(task, "interrupted", verdict.to_owned());
                story.input = Some(input);
                story.earlier = earlier(&failures, order.retries);
                story.next = Some("run the job again".to_owned());
                Ok(Some(story))
            }
        };
    }
    let mut story = match last_failed {
        Some(failed) => of_failure(task, failed, &order),
        None => of_success(past, task, ended),
    };
    story.input = Some(input);
    story.earlier =
        earlier(&failures[..failures.len() - usize::from(last_failed.is_some())], order.retries);
    story.median = median;
    story.times = ended.map(Times::from);
    Ok(Some(story))
}

fn of_success(past: &Past, task: TaskName, last: Option<&Attempt>) -> Story {
    let place = last.map_or(String::new(), |last| place_of(past, last));
    let again = last.filter(|last| last.attempt > 1);
    let again = again.map_or(String::new(), |last| format!(" at attempt {}", last.attempt));
    Story::new(task, "done", format!("it went well{place}{again}"))
}

fn of_failure(task: TaskName, failed: &Failed, order: &Order) -> Story {
    let most = order.retries.unwrap_or(RETRIES).saturating_add(1);
    let node = failed.node.as_ref();
    let place = node.map_or(String::new(), |node| format!(" on {node}, worker {}", failed.worker));
    let attempt = format!("attempt {} of at most {most}", failed.attempt);
    let what = cause::words(&failed.cause);
    let mut story = Story::new(task, "failed", format!("it failed{place}, {attempt}: {what}"));
    story.cause = Some(failed.cause.clone());
    story.next = Some(cause::next_step(&failed.cause, task));
    story
}

fn place_of(past: &Past, attempt: &Attempt) -> String {
    match past.job.nodes.get(usize::from(attempt.node)) {
        Some(node) => format!(" on {node}, worker {}", attempt.worker),
        None => String::new(),
    }
}

fn of_task(past: &Past, task: TaskName) -> Result<Vec<Failed>, Complaint> {
    let failures = past.failures()?.into_iter();
    Ok(failures.filter(|failed| failed.task == task.task).collect())
}

/// The attempts before the last, a line each.
fn earlier(failures: &[Failed], retries: Option<u32>) -> Vec<String> {
    let most = retries.unwrap_or(RETRIES).saturating_add(1);
    let line = |failed: &Failed| {
        let node = failed.node.as_deref().unwrap_or("no node");
        let what = cause::words(&failed.cause);
        format!("attempt {} of at most {most} on {node}: {what}", failed.attempt)
    };
    failures.iter().map(line).collect()
}

fn without_nodes(task: TaskName, past: &Past, error: &client::Error) -> Story {
    let verdict = "it waits: its client runs, and no node can be reached".to_owned();
    let mut story = Story::new(task, "waiting", verdict);
    story.details.push(error.to_string());
    story.next = Some(format!("start a node at {}", past.job.reach.join(" or ")));
    story
}

fn no_such(past: &Past, task: TaskName) -> Complaint {
    let ended = past.job.done.saturating_add(past.job.failed);
    let known = past.job.total.unwrap_or(ended);
    complaint(&codes::E0502, format!("job {} has no task {}", past.id, task.task))
        .note(format!("it has {}", count(known, "task")))
        .help("tasks are numbered from 1 in the order of the inputs")
}

fn unknown(task: TaskName, why: &str) -> Complaint {
    complaint(&codes::E0502, format!("nobody knows a task {task}"))
        .note(why)
        .help("name a node of its cluster with --nodes HOST; `farcall jobs` shows the jobs")
}

// What the nodes say.

fn story_of(task: TaskName, reports: &[TaskReport]) -> Result<Story, Complaint> {
    let here = reports.iter().find(|report| report.place != Place::Absent);
    if let Some(report) = here {
        return Ok(of_place(task, report));
    }
    let jobs = reports.iter().filter_map(|report| report.job.as_ref());
    let job = jobs.min_by_key(|job| (!job.attached, job.ago));
    let latest = reports.iter().filter_map(|report| Some((report, report.ended.first()?)));
    let latest = latest.min_by_key(|(_, ended)| ended.ago);
    let waits_again =
        job.is_some_and(|job| job.queued > 0 && task.task >= job.next && job.next > 0);
    match (latest, job) {
        // Its client tries again what went wrong: it may wait for that.
        (Some((report, ended)), _) if !(waits_again && ended.failure.is_some()) => {
            let node = &report.node;
            let (state, what) = match &ended.failure {
                None => ("done", "it went well".to_owned()),
                Some(why) => ("failed", format!("it failed: {}", cause::words(&Cause::from(why)))),
            };
            let (attempt, worker) = (ended.attempt, ended.worker);
            let ago = fine(ended.ago);
            let verdict =
                format!("{what}, on {node}, worker {worker}, attempt {attempt}, {ago} ago");
            let mut story = Story::new(task, state, verdict);
            story.cause = ended.failure.as_ref().map(Cause::from);
            story.times = Some(Times::at_node(ended));
            Ok(story)
        }
        (_, Some(job)) => Ok(of_job(task, job)),
        (_, None) => {
            Err(unknown(task, "the nodes that answered know nothing of it, or it is not yours"))
        }
    }
}

fn of_place(task: TaskName, report: &TaskReport) -> Story {
    let node = &report.node;
    match report.place {
        Place::Working { before: 0, ran, worker, pid, memory, attempt, .. } => {
            let memory = match memory {
                0 => String::new(),
                bytes => format!(", {} at its peak", spell_size(bytes)),
            };
            let ran = fine(ran);
            let verdict = format!(
                "it runs on {node} since {ran}: worker {worker}, process {pid}{memory}, attempt {attempt}"
            );
            Story::new(task, "running", verdict)
        }
        Place::Working { since, before, worker, .. } => {
            let verdict = format!(
                "it waits on {node} since {}: worker {worker} has it and does {} first",
                fine(since),
                count(u64::from(before), "task")
            );
            Story::new(task, "waiting", verdict)
        }
        Place::Arriving { since } => {
            let verdict =
                format!("it waits for its input, which travels to {node} since {}", fine(since));
            Story::new(task, "travelling", verdict)
        }
        Place::Loading { since, workers } => {
            let workers = count(u64::from(workers), "worker");
            let verdict = format!(
                "it waits on {node} since {} for its program: {workers} of it being started",
                fine(since)
            );
            Story::new(task, "waiting", verdict)
        }
        Place::Waiting { since, before, slots, own, others } => {
            let verdict = format!(
                "it waits on {node} since {} for a slot: of {}, {own} have tasks of yours and {others} \
                 of others, and {} of yours go before it",
                fine(since),
                count(u64::from(slots), "slot"),
                count(u64::from(before), "task")
            );
            let mut story = Story::new(task, "waiting", verdict);
            story.next =
                Some("more nodes or slots would help: `farcall node` on another host".to_owned());
            story
        }
        _ => {
            Story::new(task, "unknown", format!("{node} says of it what this program cannot read"))
        }
    }
}

/// No node has it: it is where its client says.
fn of_job(task: TaskName, job: &JobReport) -> Story {
    let ago = fine(job.ago);
    // A stranger's numbers.
    let parts = [job.done, job.failed, job.running, job.queued];
    let seen = parts.into_iter().fold(0, u64::saturating_add);
    if !job.attached && !job.closed {
        let verdict = "it had not ended when its client was last heard of".to_owned();
        let mut story = Story::new(task, "client gone", verdict);
        story.details.push(format!("that was {ago} ago"));
        return story;
    }
    if job.queued > 0 && job.next > 0 && task.task >= job.next {
        let before = (task.task - job.next).min(job.queued - 1);
        let before = match before {
            0 => "it is the first of its job".to_owned(),
            before => format!("about {} of its job go before it", count(before, "task")),
        };
        let verdict = format!("it waits in its client's queue for {}; {before}", job.wait);
        let mut story = Story::new(task, "waiting", verdict);
        story.details.push(format!("its client said so {ago} ago"));
        if job.wait.starts_with("a node") {
            story.next = Some("start a node, or look at `farcall status`".to_owned());
        }
        return story;
    }
    let (state, verdict) = if job.closed && job.queued == 0 && job.running == 0 {
        ("ended", "its job has ended, and nobody remembers this task".to_owned())
    } else if task.task > seen {
        (
            "unknown",
            format!("its job has {} so far, and this is not one of them", count(seen, "task")),
        )
    } else {
        ("between", "it has ended, or is on its way between its client and a node".to_owned())
    };
    let mut story = Story::new(task, state, verdict);
    story.details.push(format!(
        "its client said {ago} ago: {} queued, {} at nodes, {} done, {} failed",
        job.queued, job.running, job.done, job.failed
    ));
    story
}

#[cfg(test)]
mod tests;
