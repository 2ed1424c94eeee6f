//! `farcall jobs`: the jobs of this user, from their records, and those that nodes have heard of.

use std::collections::BTreeSet;
use std::process::ExitCode;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use clap::Args;
use client::{Cluster, JobReport};
use serde_json::{Value, json};

use crate::cluster::Nodes;
use crate::record::kept;
use crate::record::past::Past;
use crate::status::{row, table, trimmed};
use crate::terminal;
use crate::values::spell;

/// How long nodes may take to answer.
const PATIENCE: Duration = Duration::from_secs(3);

/// Show jobs: those that ended, and those that run
///
/// From the records on this machine and, where nodes are named, from what clients anywhere have told
/// them. One sees one's own jobs; an admin sees everybody's.
#[derive(Args)]
#[command(after_help = "\
Examples:
  farcall jobs
  farcall jobs --nodes host-a            also those that were started elsewhere
  farcall jobs --json | jq '.jobs[] | select(.failed > 0).id'")]
pub(crate) struct Jobs {
    #[command(flatten)]
    nodes: Nodes,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// A job, wherever it is known from.
struct Known {
    id: String,
    name: String,
    owner: Option<String>,
    /// How long ago it began, or was heard of.
    ago: Duration,
    state: &'static str,
    queued: Option<u64>,
    running: Option<u64>,
    done: u64,
    failed: u64,
    total: Option<u64>,
    took: Option<Duration>,
}

impl Jobs {
    pub(crate) fn run(self) -> anyhow::Result<ExitCode> {
        let mut jobs = recorded();
        let seen: BTreeSet<String> = jobs.iter().map(|job| job.id.clone()).collect();
        let heard = self.heard()?;
        jobs.extend(heard.into_iter().filter(|job| !seen.contains(&job.id.to_string())).map(told));
        jobs.sort_by_key(|job| job.ago);
        let text = if self.json { terminal::json_line(&in_json(&jobs)) } else { in_table(&jobs) };
        terminal::say(&text)?;
        Ok(ExitCode::SUCCESS)
    }

    /// What nodes have heard. One that cannot be reached is no reason to say nothing at all.
    fn heard(&self) -> anyhow::Result<Vec<JobReport>> {
        let mut named = self.nodes.named()?;
        let asked = !named.is_empty();
        if !asked && let Ok(own) = crate::status::own_node() {
            named.push(own);
        }
        if named.is_empty() {
            return Ok(Vec::new());
        }
        match Cluster::connect(&named) {
            Ok(cluster) => Ok(cluster.jobs(PATIENCE)),
            Err(error) if asked => {
                crate::errors::show(&error.into());
                eprintln!("note: only the records on this machine are shown");
                Ok(Vec::new())
            }
            Err(_) => Ok(Vec::new()),
        }
    }
}

/// Records that cannot be read are said, and passed over.
fn recorded() -> Vec<Known> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let read = |id| match Past::open(id) {
        Ok(past) => past,
        Err(complaint) => {
            crate::errors::show(&complaint.into());
            None
        }
    };
    let pasts = kept::records().into_iter().filter_map(|(id, _)| read(id));
    let known = |past: Past| Known {
        state: past.state(),
        took: Some(past.took()),
        owner: None,
        ago: now.saturating_sub(Duration::from_millis(past.job.started)),
        queued: None,
        running: None,
        done: past.job.done,
        failed: past.job.failed,
        total: past.job.total,
        id: past.job.id,
        name: past.job.name,
    };
    pasts.map(known).collect()
}

fn told(report: JobReport) -> Known {
    Known {
        state: report.state(),
        id: report.id.to_string(),
        name: report.name,
        owner: Some(report.owner),
        ago: report.ago,
        queued: Some(report.queued),
        running: Some(report.running),
        done: report.done,
        failed: report.failed,
        total: None,
        took: None,
    }
}

fn in_table(jobs: &[Known]) -> String {
    if jobs.is_empty() {
        return "no jobs yet; `farcall core run` begins one\n".to_owned();
    }
    let titles = ["JOB", "NAME", "OWNER", "BEGAN", "STATE", "DONE", "FAILED", "OF", "TOOK"];
    let mut all = table(&titles, 5..9);
    for job in jobs {
        let of = job.total.or(sum(job)).map_or("?".to_owned(), |total| total.to_string());
        let took = job.took.map_or(String::new(), spell);
        let (done, failed) = (job.done.to_string(), job.failed.to_string());
        let began = format!("{} ago", spell(job.ago));
        let owner = job.owner.as_deref().unwrap_or("you");
        row(&mut all, [&job.id, &job.name, owner, &began, job.state, &done, &failed, &of, &took]);
    }
    trimmed(&all.to_string())
}

/// Tasks so far, where nobody knows how many there will be.
fn sum(job: &Known) -> Option<u64> {
    let parts = [job.queued?, job.running?, job.done, job.failed];
    Some(parts.into_iter().fold(0, u64::saturating_add))
}

fn in_json(jobs: &[Known]) -> Value {
    let job = |job: &Known| {
        json!({
            "id": job.id,
            "name": job.name,
            "owner": job.owner,
            "seconds_ago": job.ago.as_secs_f64(),
            "state": job.state,
            "queued": job.queued,
            "running": job.running,
            "done": job.done,
            "failed": job.failed,
            "total": job.total,
            "seconds": job.took.map(|took| took.as_secs_f64()),
        })
    };
    json!({ "jobs": jobs.iter().map(job).collect::<Vec<_>>() })
}
