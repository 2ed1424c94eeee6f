//! Reads records: of jobs that run, have ended, or were cut off in the middle of a line.
//!
//! A record is a file that anything may have happened to. One that says nonsense is an error by
//! name; the end of one that was cut off is passed over.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read};
use std::path::PathBuf;
use std::time::Duration;

use client::{JobId, TaskName};
use serde::de::DeserializeOwned;
use wire::record::{ATTEMPT, Attempt};

use super::files::{self, Failed, Job, Piece};
use super::kept;
use super::order::Order;
use crate::codes;
use crate::errors::{Complaint, complaint};

/// Bytes of a line of JSON; the longest is a failure with its last words.
const LINE_MAX: u64 = 256 * 1024;
/// Bytes of `order.json`: as many files as a command line can name.
const ORDER_MAX: u64 = 64 << 20;
/// Bytes of a piece of standard error.
const PIECE_MAX: u64 = 1 << 20;

/// The record of one job.
pub(crate) struct Past {
    pub(crate) id: JobId,
    folder: PathBuf,
    pub(crate) job: Job,
    pub(crate) running: bool,
}

/// What a command was given: a job, or a task of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    pub(crate) job: JobId,
    pub(crate) task: Option<u64>,
}

impl Target {
    /// Reads `JOB` or `JOB.TASK`, where JOB may be the beginning of the name of a recorded job, as
    /// long as there is only one.
    pub(crate) fn find(text: &str) -> Result<Self, Complaint> {
        let wrong = |_| {
            complaint(&codes::E0501, format!("`{text}` names no job and no task"))
                .help("write JOB or JOB.TASK, like k3f9qx2.17; `farcall jobs` shows the jobs")
        };
        let (job, task) = match text.split_once('.') {
            Some((job, task)) => (job, Some(task.parse().map_err(|_| wrong(()))?)),
            None => (text, None),
        };
        let id: JobId = job.parse().map_err(|_| wrong(()))?;
        let lower = job.to_ascii_lowercase();
        let mut named = kept::records().into_iter().map(|(id, _)| id);
        let found: Vec<JobId> = match named.find(|known| *known == id) {
            Some(exact) => vec![exact],
            None => {
                let begins = |id: &JobId| id.to_string().starts_with(&lower);
                kept::records().into_iter().map(|(id, _)| id).filter(begins).collect()
            }
        };
        match found[..] {
            [one] => Ok(Self { job: one, task }),
            [] => Ok(Self { job: id, task }),
            [..] => {
                let names: Vec<String> = found.iter().map(JobId::to_string).collect();
                Err(complaint(&codes::E0501, format!("`{job}` begins the names of several jobs"))
                    .note(names.join(", "))
                    .help("write more of the name"))
            }
        }
    }

    /// The task, where one is needed.
    pub(crate) fn task(self) -> Result<TaskName, Complaint> {
        let Self { job, task } = self;
        task.map(|task| TaskName { job, task }).ok_or_else(|| {
            complaint(&codes::E0502, format!("`{job}` is a job, and a task is needed"))
                .help(format!("write one of its tasks, like {job}.1"))
        })
    }
}

impl Past {
    /// The record of a job, if there is one.
    pub(crate) fn open(id: JobId) -> Result<Option<Self>, Complaint> {
        let folder = files::of(id);
        if fs::symlink_metadata(folder.join(files::LOCK)).is_err() {
            return Ok(None);
        }
        let job: Job = read_json(&folder, files::JOB, LINE_MAX * 16)?;
        if job.format != files::FORMAT || job.id != id.to_string() {
            return Err(broken(&folder, files::JOB, "it is of another version or another job"));
        }
        let running = files::is_running(&folder);
        Ok(Some(Self { id, folder, job, running }))
    }

    /// The same, where there has to be one.
    pub(crate) fn need(id: JobId) -> Result<Self, Complaint> {
        Self::open(id)?.ok_or_else(|| {
            complaint(&codes::E0501, format!("there is no record of a job {id}"))
                .note(format!("records are in {}", files::folder().display()))
                .help("`farcall jobs` shows those that there are")
        })
    }

    pub(crate) fn order(&self) -> Result<Order, Complaint> {
        read_json(&self.folder, files::ORDER, ORDER_MAX)
    }

    pub(crate) fn state(&self) -> &'static str {
        match (self.job.ended, self.running) {
            (true, _) if self.job.failed > 0 => "failed",
            (true, _) => "done",
            (false, true) => "running",
            (false, false) => "interrupted",
        }
    }

    pub(crate) fn took(&self) -> Duration {
        Duration::from_millis(self.job.took_ms)
    }

    /// The attempts at a task in the order in which they ended, and how long the job's tasks that
    /// went well ran: the middle one of them.
    pub(crate) fn attempts(
        &self,
        task: u64,
    ) -> Result<(Vec<Attempt>, Option<Duration>), Complaint> {
        let mut reader = BufReader::with_capacity(1 << 20, self.file(files::ATTEMPTS)?);
        let (mut found, mut ran) = (Vec::new(), Vec::new());
        let mut bytes = [0; ATTEMPT];
        loop {
            match reader.read_exact(&mut bytes) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => break,
                Err(error) => {
                    return Err(broken(&self.folder, files::ATTEMPTS, &error.to_string()));
                }
            }
            let attempt = Attempt::from_bytes(&bytes);
            if !attempt.failed {
                ran.push(attempt.ran.0);
            }
            if attempt.task == task {
                found.push(attempt);
            }
        }
        let middle = ran.len() / 2;
        let median = (!ran.is_empty()).then(|| *ran.select_nth_unstable(middle).1);
        Ok((found, median.map(Duration::from_nanos)))
    }

    pub(crate) fn failures(&self) -> Result<Vec<Failed>, Complaint> {
        let mut reader = BufReader::new(self.file(files::FAILURES)?);
        let mut failures = Vec::new();
        while let Some(line) = self.line(&mut reader, files::FAILURES)? {
            failures.push(self.parse(&line, files::FAILURES)?);
        }
        Ok(failures)
    }

    /// The tasks that failed for good, by number.
    pub(crate) fn failed(&self) -> Result<Vec<u64>, Complaint> {
        let failures = self.failures()?;
        let mut failed: Vec<u64> =
            failures.iter().filter(|failed| !failed.again).map(|failed| failed.task).collect();
        failed.sort_unstable();
        failed.dedup();
        Ok(failed)
    }

    /// What tasks wrote, piece by piece.
    pub(crate) fn logs(
        &self,
        mut each: impl FnMut(&Piece, &[u8]) -> io::Result<()>,
    ) -> Result<io::Result<()>, Complaint> {
        let mut reader = BufReader::new(self.file(files::LOGS)?);
        while let Some(line) = self.line(&mut reader, files::LOGS)? {
            let piece: Piece = self.parse(&line, files::LOGS)?;
            if piece.bytes > PIECE_MAX {
                return Err(broken(&self.folder, files::LOGS, "a piece that is too long"));
            }
            let mut bytes = Vec::new();
            let read = reader.by_ref().take(piece.bytes + 1).read_to_end(&mut bytes);
            read.map_err(|error| broken(&self.folder, files::LOGS, &error.to_string()))?;
            if bytes.len() as u64 == piece.bytes + 1 {
                bytes.pop();
            }
            if let Err(error) = each(&piece, &bytes) {
                return Ok(Err(error));
            }
        }
        Ok(Ok(()))
    }

    /// Where the inputs of failed tasks are that cannot be had again.
    pub(crate) fn inputs(&self) -> PathBuf {
        self.folder.join(files::INPUTS)
    }

    /// Keeps the record from being removed as long as this lives.
    pub(crate) fn hold(&self) -> Option<File> {
        files::hold(&self.folder)
    }

    fn file(&self, name: &str) -> Result<File, Complaint> {
        let path = self.folder.join(name);
        File::open(&path).map_err(|error| broken(&self.folder, name, &error.to_string()))
    }

    /// The next whole line.
    fn line(&self, reader: &mut impl BufRead, name: &str) -> Result<Option<Vec<u8>>, Complaint> {
        let mut line = Vec::new();
        let read = reader.by_ref().take(LINE_MAX).read_until(b'\n', &mut line);
        read.map_err(|error| broken(&self.folder, name, &error.to_string()))?;
        match line.pop() {
            Some(b'\n') => Ok(Some(line)),
            Some(_) if line.len() as u64 + 1 == LINE_MAX => {
                Err(broken(&self.folder, name, "a line that is too long"))
            }
            Some(_) | None => Ok(None),
        }
    }

    fn parse<T: DeserializeOwned>(&self, line: &[u8], name: &str) -> Result<T, Complaint> {
        serde_json::from_slice(line).map_err(|error| broken(&self.folder, name, &error.to_string()))
    }
}

fn read_json<T: DeserializeOwned>(
    folder: &std::path::Path,
    name: &str,
    most: u64,
) -> Result<T, Complaint> {
    let failed = |error: &dyn std::fmt::Display| broken(folder, name, &error.to_string());
    let file = File::open(folder.join(name)).map_err(|error| failed(&error))?;
    let mut bytes = Vec::new();
    file.take(most).read_to_end(&mut bytes).map_err(|error| failed(&error))?;
    serde_json::from_slice(&bytes).map_err(|error| failed(&error))
}

fn broken(folder: &std::path::Path, name: &str, why: &str) -> Complaint {
    complaint(&codes::E0503, format!("the record {} cannot be read", folder.join(name).display()))
        .note(why)
        .help(format!("remove {} if it is of no use", folder.display()))
}
