//! All threads of a process that are traced, and what each does: the bookkeeping of stopping them all.

use std::fs;
use std::io;
use std::marker::PhantomData;
use std::time::Duration;

use super::calls::{self, Resume};
use super::refusal;
use super::stops::{self, Patience, Stop, Task};
use crate::process::Finishing;
use crate::{Error, Pid, Untraceable};

/// How long the memory of one that was killed is waited for: it takes some 0.1 s for a GiB of small pages, and
/// the largest hosts have a few TiB.
const ENDING: Duration = Duration::from_secs(600);

/// How long those that run are waited for when they are let go: they stop at once, or they cannot be
/// stopped, and then the kernel lets go of them when the tracing thread ends.
const LETTING_GO: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(super) struct Seized {
    pid: Pid,
    threads: Vec<Thread>,
    /// Processes that this one has started: the kernel traces them too, and they are to be let go.
    strangers: Vec<Task>,
    stays: PhantomData<*const ()>,
}

#[derive(Debug)]
struct Thread {
    task: Task,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Running,
    /// With its whole process by this signal, or only by us.
    Stopped {
        job: Option<i32>,
    },
    Gone,
}

impl Seized {
    /// Nothing of a process yet.
    pub(super) fn nobody(pid: Pid) -> Self {
        Self { pid, threads: Vec::new(), strangers: Vec::new(), stays: PhantomData }
    }

    /// All threads of a process, stopped.
    pub(super) fn seize(pid: Pid, patience: Duration) -> Result<Self, Error> {
        let mut seized = Self::nobody(pid);
        let mut over = Vec::new();
        let mut patience = Patience::of(patience);
        // Those that run start new ones while the list is read; once all that are known stand still, a
        // list without a new one is whole.
        loop {
            let fresh = tasks(pid)?.into_iter().filter(|task| {
                !over.contains(task) && !seized.threads.iter().any(|thread| thread.task == *task)
            });
            let fresh: Vec<Task> = fresh.collect();
            if fresh.is_empty() {
                break;
            }
            for task in fresh {
                match calls::seize(task.tid) {
                    Ok(()) => seized.add(task),
                    Err(error) if error.raw_os_error() == Some(libc::ESRCH) => over.push(task),
                    // One that was started by a thread that is seized is seized from birth.
                    Err(_) if refusal::is_ours(task) => seized.add(task),
                    Err(_) if refusal::is_over(task) => over.push(task),
                    Err(error) => return Err(refusal::explain(task, error)),
                }
            }
            seized.stop_within(&mut patience)?;
            if patience.is_over() {
                return Err(Error::Unstoppable { pid, tid: pid });
            }
        }
        seized.threads.retain(|thread| thread.state != State::Gone);
        if seized.threads.is_empty() {
            return Err(Error::Untraceable { pid, tid: pid, why: Untraceable::Gone });
        }
        seized.threads.sort_by_key(|thread| (thread.task.tid != pid, thread.task.tid));
        Ok(seized)
    }

    pub(super) fn pid(&self) -> Pid {
        self.pid
    }

    /// Those that stand still.
    pub(super) fn stopped(&self) -> impl Iterator<Item = Task> {
        let is_stopped = |thread: &&Thread| matches!(thread.state, State::Stopped { .. });
        self.threads.iter().filter(is_stopped).map(|thread| thread.task)
    }

    /// The signal that had stopped it as a shell's job is, if one had.
    pub(super) fn job_stop(&self) -> Option<i32> {
        self.threads.iter().find_map(|thread| match thread.state {
            State::Stopped { job } => job,
            State::Running | State::Gone => None,
        })
    }

    /// One more that stands still.
    pub(super) fn adopt(&mut self, task: Task) {
        self.threads.push(Thread { task, state: State::Stopped { job: None } });
    }

    fn add(&mut self, task: Task) {
        if !self.threads.iter().any(|thread| thread.task == task) {
            self.threads.push(Thread { task, state: State::Running });
        }
    }

    /// Stops all that run, also those that they start meanwhile.
    pub(super) fn stop(&mut self, patience: Duration) -> Result<(), Error> {
        self.stop_within(&mut Patience::of(patience))?;
        self.threads.retain(|thread| thread.state != State::Gone);
        let (pid, why) = (self.pid, Untraceable::Gone);
        if self.threads.is_empty() {
            return Err(Error::Untraceable { pid, tid: pid, why });
        }
        Ok(())
    }

    fn stop_within(&mut self, patience: &mut Patience) -> Result<(), Error> {
        for thread in self.threads.iter().filter(|thread| thread.state == State::Running) {
            calls::interrupt(thread.task.tid)
                .or_else(unless_gone)
                .map_err(refused("stop", thread.task))?;
        }
        loop {
            let before = self.running();
            self.each_stop(Purpose::Stop)?;
            let Some(tid) = self.running().or(self.strangers.first().map(|task| task.tid)) else {
                return Ok(());
            };
            if patience.is_over() {
                return Err(Error::Unstoppable { pid: self.pid, tid });
            }
            if before == Some(tid) {
                self.forget_ended_main(patience);
                patience.pause();
            } else {
                patience.renew();
            }
        }
    }

    fn running(&self) -> Option<Pid> {
        let running = self.threads.iter().find(|thread| thread.state == State::Running);
        running.map(|thread| thread.task.tid)
    }

    /// A main thread that has ended before the others neither stops nor is reported until they end.
    fn forget_ended_main(&mut self, patience: &Patience) {
        let main = self.threads.iter_mut().find(|thread| thread.task.tid == self.pid);
        let main = main.filter(|main| main.state == State::Running && patience.is_long());
        if let Some(main) = main.filter(|main| refusal::is_over(main.task)) {
            main.state = State::Gone;
        }
    }

    /// Hands on what has come.
    pub(super) fn watch(&mut self) -> Result<(), Error> {
        self.each_stop(Purpose::Watch)
    }

    fn each_stop(&mut self, purpose: Purpose) -> Result<(), Error> {
        // A signal that was seen here and not delivered yet would be lost with us.
        let _finishing = Finishing::begin();
        // The list grows while it is walked.
        let mut at = 0;
        while let Some(thread) = self.threads.get(at) {
            let task = thread.task;
            if thread.state == State::Running
                && let Some(stop) = stops::poll(task).map_err(refused("wait for", task))?
            {
                self.threads[at].state = self.after(task, stop, purpose)?;
            }
            at += 1;
        }
        let strangers = std::mem::take(&mut self.strangers);
        for task in strangers {
            match stops::poll(task).map_err(refused("wait for", task))? {
                None => self.strangers.push(task),
                Some(Stop::Gone) => {}
                Some(stop) => {
                    let signal = if let Stop::Signal(signal) = stop { signal } else { 0 };
                    calls::resume(task.tid, Resume::Untraced, signal)
                        .or_else(unless_gone)
                        .map_err(refused("let go of", task))?;
                }
            }
        }
        Ok(())
    }

    /// What a thread does after a stop: it stays, or goes on.
    fn after(&mut self, task: Task, stop: Stop, purpose: Purpose) -> Result<State, Error> {
        let mut how = (Resume::Run, 0);
        match stop {
            Stop::Gone => return Ok(State::Gone),
            Stop::Trap { job } => match purpose {
                Purpose::Stop => return Ok(State::Stopped { job }),
                Purpose::Watch if job.is_some() => how = (Resume::Listen, 0),
                Purpose::Watch => {}
            },
            // It is delivered: the handler has not begun when the thread stops next.
            Stop::Signal(signal) => how = (Resume::Run, signal),
            Stop::Clone | Stop::Fork => match calls::newborn(task.tid) {
                Ok(born) => self.born(born),
                Err(error) => unless_gone(error).map_err(refused("ask for the child of", task))?,
            },
            Stop::Call | Stop::Exec => {}
        }
        let again = match purpose {
            // Any stop ends the interruption that was asked for.
            Purpose::Stop => calls::interrupt(task.tid).or_else(unless_gone),
            Purpose::Watch => Ok(()),
        };
        again
            .and_then(|()| calls::resume(task.tid, how.0, how.1).or_else(unless_gone))
            .map_err(refused("let go on", task))?;
        Ok(State::Running)
    }

    fn born(&mut self, tid: Pid) {
        match fs::exists(format!("/proc/{}/task/{tid}", self.pid)) {
            Ok(true) => self.add(Task { pid: self.pid, tid }),
            _ => self.strangers.push(Task { pid: tid, tid }),
        }
    }

    /// Lets all go on, and stays their tracer.
    pub(super) fn resume(&mut self) -> Result<(), Error> {
        for thread in &mut self.threads {
            let how = match thread.state {
                State::Stopped { job: Some(_) } => Resume::Listen,
                State::Stopped { job: None } => Resume::Run,
                State::Running | State::Gone => continue,
            };
            calls::resume(thread.task.tid, how, 0)
                .or_else(unless_gone)
                .map_err(refused("let go on", thread.task))?;
            thread.state = State::Running;
        }
        Ok(())
    }

    /// Lets all go on, untraced.
    pub(super) fn detach(&mut self) -> Result<(), Error> {
        self.let_go(LETTING_GO).map(drop)
    }

    /// The same of one that was killed: waits until nothing of it is left.
    pub(super) fn bury(&mut self) -> Result<(), Error> {
        let pid = self.pid;
        match self.let_go(ENDING)? {
            None => Ok(()),
            Some(tid) => Err(Error::Unstoppable { pid, tid }),
        }
    }

    /// Lets all go on, untraced; returns one of those that were about to end and have not.
    fn let_go(&mut self, ending_patience: Duration) -> Result<Option<Pid>, Error> {
        let stopped = self.stop_within(&mut Patience::of(LETTING_GO));
        let mut result = Ok(());
        let mut ending = Vec::new();
        for thread in self.threads.drain(..).filter(|thread| thread.state != State::Gone) {
            match calls::resume(thread.task.tid, Resume::Untraced, 0) {
                Ok(()) => {}
                Err(error) if error.raw_os_error() == Some(libc::ESRCH) => ending.push(thread.task),
                Err(error) => result = Err(refused("let go of", thread.task)(error)),
            }
        }
        // Those that were killed while they stood still: their parent hears of it only after us, and the
        // main thread is the last.
        let mut patience = Patience::of(ending_patience);
        let mut left = None;
        for task in ending.into_iter().rev() {
            loop {
                match patience.wait(task) {
                    Ok(Some(stop)) => {
                        let is_let_go = || calls::resume(task.tid, Resume::Untraced, 0).is_ok();
                        if stop == Stop::Gone || is_let_go() {
                            break;
                        }
                    }
                    Ok(None) => {
                        left = Some(task.tid);
                        break;
                    }
                    Err(_) => break,
                }
            }
        }
        stopped.and(result).map(|()| left)
    }
}

impl Drop for Seized {
    fn drop(&mut self) {
        // Nothing more can be done for it here; the end of this thread frees what is left.
        let _ = self.detach();
    }
}

/// Why stops are looked at.
#[derive(Debug, Clone, Copy)]
enum Purpose {
    /// To have all stand still.
    Stop,
    /// To let all run as if nobody looked.
    Watch,
}

/// The threads of a process now, the main one first.
fn tasks(pid: Pid) -> Result<Vec<Task>, Error> {
    let path = format!("/proc/{pid}/task");
    let gone = |_| Error::Untraceable { pid, tid: pid, why: Untraceable::Gone };
    let listing = fs::read_dir(&path).map_err(gone)?;
    let tids = listing.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    Ok(tids.map(|tid| Task { pid, tid: Pid(tid) }).collect())
}

/// A thread that has ended, or is about to, needs nothing: waiting for it tells so.
fn unless_gone(error: io::Error) -> io::Result<()> {
    if error.raw_os_error() == Some(libc::ESRCH) { Ok(()) } else { Err(error) }
}

fn refused(action: &'static str, task: Task) -> impl FnOnce(io::Error) -> Error {
    move |source| Error::Thread { action, pid: task.pid, tid: task.tid, source }
}
