//! The record of a job: what `farcall why`, `jobs`, `logs` and `retry` know when the job, its client
//! and its nodes are gone.
//!
//! ```text
//!  journal of the library ──> recorder thread, ten times a second ──> files (and the trace)
//! ```
//!
//! A task that went well costs 64 bytes, written in batches; nothing waits for the disk. A record
//! that cannot be written is no reason for a job to fail: it says so in one line, and goes on.
//!
//! Elsewhere: what stands in the files (`files`), reading them (`past`), which jobs are kept (`kept`),
//! showing what tasks write while they run (`show`).

mod logs;
pub(crate) mod show;
pub(crate) mod past;
pub(crate) mod kept;
pub(crate) mod order;
pub(crate) mod files;

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use client::{Ended, Entry, JobId, Journal, Trace};
use wire::record::{Attempt, NO_NODE};
use wire::units::Span;

use crate::errors::Complaint;
use files::{Cause, Failed, Job};
use logs::Logs;
use order::Order;
use show::Show;

/// How often the journal is read when nobody else does.
const PERIOD: Duration = Duration::from_millis(100);
/// How often `job.json` is written anew.
const WORD: Duration = Duration::from_secs(1);
/// Bytes of `attempts`: the times of a million tasks.
const ATTEMPTS_MAX: u64 = 64 << 20;
/// Bytes of `failures`.
const FAILURES_MAX: u64 = 16 << 20;
/// Bytes that gather before they are written, within a period.
const BATCH: usize = 256 * 1024;
/// Bytes of inputs that are kept since they cannot be had again, each with what a file costs.
const INPUTS_MAX: u64 = 64 << 20;

/// Writes down what happens to a job, from a thread of its own.
pub(crate) struct Recorder {
    shared: Arc<Shared>,
    thread: Option<std::thread::JoinHandle<()>>,
}

struct Shared {
    inner: Mutex<Inner>,
    wake: Condvar,
}

struct Inner {
    journal: Journal,
    id: JobId,
    record: Option<Record>,
    /// Why there is no record, or not all of it.
    trouble: Option<String>,
    trace: Option<Trace<File>>,
    trace_trouble: Option<io::Error>,
    show: Option<Show>,
    over: bool,
}

struct Record {
    folder: PathBuf,
    job: Job,
    begun: Instant,
    attempts: Batch,
    failures: Batch,
    logs: Logs,
    /// By node: its place in the job's list.
    nodes: HashMap<String, u16>,
    inputs_kept: u64,
    told: Instant,
    /// Locked as long as the job runs.
    _lock: File,
}

/// A file that grows up to a bound, a batch at a time.
struct Batch {
    file: File,
    waiting: Vec<u8>,
    left: u64,
}

impl Batch {
    fn open(path: &Path, most: u64) -> io::Result<Self> {
        Ok(Self { file: create(path)?, waiting: Vec::new(), left: most })
    }

    /// `false`: it is full.
    fn add(&mut self, bytes: &[u8]) -> io::Result<bool> {
        let Some(left) = self.left.checked_sub(bytes.len() as u64) else { return Ok(false) };
        self.left = left;
        self.waiting.extend_from_slice(bytes);
        if self.waiting.len() >= BATCH { self.flush().map(|()| true) } else { Ok(true) }
    }

    fn flush(&mut self) -> io::Result<()> {
        if !self.waiting.is_empty() {
            self.file.write_all(&self.waiting)?;
            self.waiting.clear();
        }
        Ok(())
    }
}

/// A new file that is this user's alone.
fn create(path: &Path) -> io::Result<File> {
    File::options().write(true).create_new(true).mode(0o600).open(path)
}

/// What is known of a job before it begins.
pub(crate) struct Beginning {
    pub(crate) id: JobId,
    pub(crate) name: String,
    pub(crate) total: Option<u64>,
    pub(crate) reach: Vec<String>,
}

impl Recorder {
    /// Begins a record, and a trace if one is wanted.
    pub(crate) fn begin(
        beginning: Beginning,
        order: &Order,
        journal: Journal,
        trace: Option<Trace<File>>,
        show: Option<Show>,
    ) -> io::Result<Self> {
        let id = beginning.id;
        let (record, trouble) = match Record::begin(beginning, order) {
            Ok(record) => (Some(record), None),
            Err(error) => {
                let folder = files::folder();
                (None, Some(format!("there is no record of it in {}: {error}", folder.display())))
            }
        };
        let (trace_trouble, over) = (None, false);
        let inner = Inner { journal, id, record, trouble, trace, trace_trouble, show, over };
        let shared = Arc::new(Shared { inner: Mutex::new(inner), wake: Condvar::new() });
        let other = shared.clone();
        let thread = std::thread::Builder::new().name("record".into()).spawn(move || {
            let mut inner = other.lock();
            while !inner.over {
                inner.look();
                let waited = other.wake.wait_timeout(inner, PERIOD);
                inner = waited.unwrap_or_else(PoisonError::into_inner).0;
            }
        })?;
        Ok(Self { shared, thread: Some(thread) })
    }

    /// Reads the journal now: where results come faster than the thread gets its turn.
    pub(crate) fn look(&self) {
        self.shared.lock().look();
    }

    /// Keeps the input of a task that failed, since it cannot be had again.
    pub(crate) fn keep_input(&self, task: u64, input: &[u8]) {
        let mut inner = self.shared.lock();
        let result = inner.record.as_mut().map(|record| record.keep_input(task, input));
        inner.judge(result.unwrap_or(Ok(())));
    }

    /// The job is over: what is missing in its record, in a line. `Err`: the trace is not whole.
    pub(crate) fn finish(mut self) -> io::Result<Option<String>> {
        self.stop();
        let mut inner = self.shared.lock();
        inner.look_last();
        let result = inner.record.as_mut().map(|record| record.finish());
        inner.judge(result.unwrap_or(Ok(())));
        if let Some(error) = inner.trace_trouble.take() {
            return Err(error);
        }
        inner.trace.take().map_or(Ok(()), Trace::finish)?;
        Ok(inner.trouble.take())
    }

    fn stop(&mut self) {
        self.shared.lock().over = true;
        self.shared.wake.notify_all();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Drop for Recorder {
    /// A job that is interrupted leaves what it has.
    fn drop(&mut self) {
        if self.thread.is_some() {
            self.stop();
            let mut inner = self.shared.lock();
            inner.look_last();
            if let Some(record) = &mut inner.record {
                let _ = record.write();
            }
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    /// Writes down what has happened since the last look.
    fn look(&mut self) {
        for entry in self.journal.take() {
            match (&mut self.show, &entry) {
                (Some(show), Entry::Wrote(wrote)) => show.wrote(wrote.task.task, &wrote.bytes),
                (Some(show), Entry::Ended(ended)) => show.ended(ended.task.task),
                (Some(_) | None, _) => {}
            }
            if let Some(trace) = &mut self.trace
                && let Err(error) = trace.add(&entry)
            {
                self.trace_trouble = Some(error);
                self.trace = None;
            }
            let result = self.record.as_mut().map(|record| record.add(self.id, &entry));
            self.judge(result.unwrap_or(Ok(())));
        }
        let result = self.record.as_mut().map(Record::turn);
        self.judge(result.unwrap_or(Ok(())));
    }

    fn look_last(&mut self) {
        self.look();
        if let Some(show) = &mut self.show {
            show.finish();
        }
    }

    /// After the first error nothing more is written: half a record is worse than its beginning.
    fn judge(&mut self, result: io::Result<()>) {
        if let Err(error) = result
            && let Some(record) = self.record.take()
        {
            let folder = record.folder.display();
            self.trouble = Some(format!("its record in {folder} is incomplete: {error}"));
        }
    }
}

impl Record {
    fn begin(beginning: Beginning, order: &Order) -> io::Result<Self> {
        let Beginning { id, name, total, reach } = beginning;
        // Nodes keep their files beside it, where their workers have to pass.
        fs::create_dir_all(crate::config::state_folder())?;
        fs::DirBuilder::new().recursive(true).mode(0o700).create(files::folder())?;
        kept::make_room();
        let folder = files::of(id);
        fs::DirBuilder::new().mode(0o700).create(&folder)?;
        let lock = create(&folder.join(files::LOCK))?;
        lock.try_lock().map_err(io::Error::other)?;
        let started = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let order = serde_json::to_vec(order).map_err(io::Error::other)?;
        create(&folder.join(files::ORDER))?.write_all(&order)?;
        let job = Job {
            format: files::FORMAT,
            id: id.to_string(),
            name,
            started: started.as_millis() as u64,
            took_ms: 0,
            total,
            done: 0,
            failed: 0,
            retried: 0,
            ended: false,
            reach,
            nodes: Vec::new(),
            gaps: Vec::new(),
        };
        let record = Self {
            attempts: Batch::open(&folder.join(files::ATTEMPTS), ATTEMPTS_MAX)?,
            failures: Batch::open(&folder.join(files::FAILURES), FAILURES_MAX)?,
            logs: Logs::open(&folder.join(files::LOGS))?,
            folder,
            job,
            begun: Instant::now(),
            nodes: HashMap::new(),
            inputs_kept: 0,
            told: Instant::now(),
            _lock: lock,
        };
        record.write()?;
        Ok(record)
    }

    fn add(&mut self, id: JobId, entry: &Entry) -> io::Result<()> {
        match entry {
            Entry::Ended(ended) if ended.task.job == id => self.ended(ended),
            Entry::Wrote(wrote) if wrote.task.job == id => {
                let was_room = self.logs.wrote(wrote)?;
                self.log_room(was_room);
                Ok(())
            }
            Entry::Lost(count) => {
                self.gap(&format!("{count} things that happened faster than they were written"));
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn ended(&mut self, ended: &Ended) -> io::Result<()> {
        let count = match (&ended.failure, ended.again) {
            (_, true) => &mut self.job.retried,
            (None, false) => &mut self.job.done,
            (Some(_), false) => &mut self.job.failed,
        };
        *count += 1;
        let node = ended.node.as_ref().map(|node| node.as_str());
        let attempt = Attempt {
            task: ended.task.task,
            ended: Span::from(ended.times.ended),
            queued: Span::from(ended.times.queued),
            transfer: Span::from(ended.times.transfer),
            waited: Span::from(ended.times.waited),
            ran: Span::from(ended.times.ran),
            away: Span::from(ended.times.away),
            worker: ended.worker,
            attempt: ended.attempt as u16,
            failed: ended.failure.is_some(),
            node: node.map_or(NO_NODE, |node| self.number(node)),
        };
        if !self.attempts.add(&attempt.to_bytes())? {
            self.gap("the times of tasks after the first million");
        }
        if let Some(why) = &ended.failure {
            let failed = Failed {
                task: ended.task.task,
                attempt: ended.attempt,
                again: ended.again,
                node: node.map(str::to_owned),
                worker: ended.worker,
                cause: Cause::from(why),
            };
            let mut line = serde_json::to_vec(&failed).map_err(io::Error::other)?;
            line.push(b'\n');
            if !self.failures.add(&line)? {
                self.gap("failures after the first 16 MiB of them");
            }
        }
        if !ended.again {
            let was_room = self.logs.ended(ended.task.task)?;
            self.log_room(was_room);
        }
        Ok(())
    }

    fn log_room(&mut self, was_room: bool) {
        if !was_room {
            self.gap("what tasks wrote after the first 64 MiB");
        }
    }

    /// A node's place in the list.
    fn number(&mut self, node: &str) -> u16 {
        if let Some(number) = self.nodes.get(node) {
            return *number;
        }
        let number = u16::try_from(self.nodes.len()).unwrap_or(NO_NODE);
        if number < NO_NODE {
            self.nodes.insert(node.to_owned(), number);
            self.job.nodes.push(node.to_owned());
        }
        number
    }

    fn gap(&mut self, what: &str) {
        if self.job.gaps.len() < 8 && !self.job.gaps.iter().any(|gap| gap == what) {
            self.job.gaps.push(what.to_owned());
        }
    }

    fn keep_input(&mut self, task: u64, input: &[u8]) -> io::Result<()> {
        self.inputs_kept += kept::cost(input.len() as u64);
        if self.inputs_kept > INPUTS_MAX {
            self.gap("inputs of failed tasks after the first 64 MiB");
            return Ok(());
        }
        let folder = self.folder.join(files::INPUTS);
        match fs::DirBuilder::new().mode(0o700).create(&folder) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            Ok(()) | Err(_) => {}
        }
        create(&folder.join(task.to_string()))?.write_all(input)
    }

    fn turn(&mut self) -> io::Result<()> {
        self.attempts.flush()?;
        self.failures.flush()?;
        self.logs.flush()?;
        if self.told.elapsed() >= WORD {
            self.write()?;
            self.told = Instant::now();
        }
        Ok(())
    }

    fn finish(&mut self) -> io::Result<()> {
        let was_room = self.logs.finish()?;
        self.log_room(was_room);
        self.turn()?;
        self.job.ended = true;
        self.job.took_ms = self.begun.elapsed().as_millis() as u64;
        self.write()
    }

    /// `job.json`, whole at any moment.
    fn write(&self) -> io::Result<()> {
        let job = Job { took_ms: self.begun.elapsed().as_millis() as u64, ..self.job.clone() };
        let text = serde_json::to_vec(&job).map_err(io::Error::other)?;
        let new = self.folder.join("job.new");
        fs::write(&new, text)?;
        fs::rename(&new, self.folder.join(files::JOB))
    }
}

/// The complaint about a trace that could not be written.
pub(crate) fn trace_complaint(path: &Path, error: &io::Error) -> Complaint {
    crate::errors::file("write", path, error)
}
