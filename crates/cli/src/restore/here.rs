//! A process wakes on this host: its terminal, its signals and its end are this command's.
//!
//! Signals are blocked and read, so that who sent each is known: what the terminal sends to its job, the
//! process in the same group has heard already.

use std::cell::{Cell, RefCell};
use std::fs::File;
use std::io::{self, BufReader, IsTerminal, Read};
use std::os::fd::AsFd;
use std::path::Path;
use std::process::ExitCode;

use anyhow::Context;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal, kill, raise};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use telefork::files::Stdio;
use telefork::restore::{Built, Descriptors, Restore};
use wire::image::{Error::Foreign, Reader};
use wire::visit::Exited;

use super::job::{self, Job};
use crate::codes;
use crate::errors::{self, complaint};
use crate::image;
use crate::preflight::Wishes;
use crate::progress::Progress;
use crate::visitor;

/// What is passed on.
const FORWARDED: [Signal; 8] = [
    Signal::SIGINT,
    Signal::SIGTERM,
    Signal::SIGHUP,
    Signal::SIGQUIT,
    Signal::SIGUSR1,
    Signal::SIGUSR2,
    Signal::SIGTSTP,
    Signal::SIGWINCH,
];
/// Those that end a command which does not hear of them.
const ENDING: [Signal; 4] = [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP, Signal::SIGQUIT];
/// Where the kernel says who made a signal: itself, for a terminal.
const BY_KERNEL: i32 = 0x80;

pub(super) fn run(path: &Path, wishes: &Wishes, keep_numbers: bool) -> anyhow::Result<ExitCode> {
    let file = File::open(path).map_err(|error| errors::file("open", path, &error))?;
    let length = file.metadata().map_or(0, |found| found.len());
    let signals = Signals::hold().context("cannot hear of signals")?;
    let progress = Progress::of_bytes("read", length);
    let built = build(path, file, wishes, keep_numbers, &signals, &progress);
    progress.finish();
    if let Some(signal) = signals.ending.get() {
        drop(built);
        return Ok(visitor::end(Exited::Signal(signal as i32 as u8)));
    }
    serve(built?, &signals)
}

fn build(
    path: &Path,
    file: File,
    wishes: &Wishes,
    keep_numbers: bool,
    signals: &Signals,
    progress: &Progress,
) -> anyhow::Result<Built> {
    let shown = path.display().to_string();
    let from = BufReader::new(Heeded { file, signals, progress });
    let reader = Reader::new(from).map_err(|error| image::refused(&shown, &error))?;
    let mut reader = reader.ok_or_else(|| image::refused(&shown, &Foreign))?;
    let descriptors = Descriptors::Opened(Stdio::Inherit, wishes.overrides());
    let restore = Restore { descriptors, keeps_group: job::is_alone(), ..Restore::default() };
    let mut built = restore.build(&mut reader).map_err(|error| match error {
        telefork::Error::Image(error) => anyhow::Error::from(image::refused(&shown, &error)),
        error => error.into(),
    })?;
    if let Some((there, new)) = built.renumbered() {
        if keep_numbers {
            let what = format!("number {there} of {shown} cannot be had here");
            let help = "restore it where numbers are free: unshare --user --map-root-user --pid --fork \
                        --mount-proc farcall restore FILE --keep-numbers";
            return Err(complaint(&codes::E0727, what).help(help).into());
        }
        // For people: in a script this is the process's own output.
        if io::stderr().is_terminal() {
            let what = "locks of the kinds error-checking, recursive and robust that are held now need the old one";
            eprintln!("note: {there} has the number {new} here; {what} (--keep-numbers)");
        }
    }
    Ok(built)
}

/// Until the process has ended; then as it did.
fn serve(built: Built, signals: &Signals) -> anyhow::Result<ExitCode> {
    let process = Pid::from_raw(built.pid().0);
    let job = Job::new(process);
    job.give();
    let modes = built.terminal_modes();
    if let Some(modes) = &modes {
        job.shape(modes);
    }
    let woken = built.wake();
    if woken.is_err() {
        job.take();
    }
    woken?;
    if modes.is_some() {
        // What it drew is on another screen.
        let _ = kill(process, Signal::SIGWINCH);
    }
    loop {
        let early = signals.early.take();
        for (signal, by_kernel) in early.into_iter().chain(std::iter::from_fn(|| signals.next())) {
            match signal {
                Signal::SIGCONT => {
                    job.give();
                    let _ = kill(process, Signal::SIGCONT);
                }
                signal if FORWARDED.contains(&signal) && (!by_kernel || job.has_own_group()) => {
                    let _ = kill(process, signal);
                }
                _ => {}
            }
        }
        let flags = WaitPidFlag::WNOHANG | WaitPidFlag::WUNTRACED;
        match waitpid(process, Some(flags)) {
            Ok(WaitStatus::Exited(_, code)) => {
                job.take();
                return Ok(visitor::end(Exited::Code(code)));
            }
            Ok(WaitStatus::Signaled(_, signal, _)) => {
                job.take();
                return Ok(visitor::end(Exited::Signal(signal as i32 as u8)));
            }
            // Without a terminal nobody would let this command go on again.
            Ok(WaitStatus::Stopped(..)) if job.has_terminal() => {
                job.take();
                let _ = raise(Signal::SIGSTOP);
            }
            Ok(WaitStatus::StillAlive) => signals.wait(),
            Ok(_) | Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno).context("cannot wait for the process"),
        }
    }
}

struct Signals {
    heard: SignalFd,
    /// One that came before there was a process to pass it on to.
    ending: Cell<Option<Signal>>,
    /// The others that came before.
    early: RefCell<Vec<(Signal, bool)>>,
}

impl Signals {
    /// Threads that are made from now on do not hear of them either.
    fn hold() -> nix::Result<Self> {
        let mut all: SigSet = FORWARDED.into_iter().collect();
        all.extend([Signal::SIGCHLD, Signal::SIGCONT, Signal::SIGTTOU]);
        all.thread_block()?;
        let flags = SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC;
        let heard = SignalFd::with_flags(&all, flags)?;
        Ok(Self { heard, ending: Cell::default(), early: RefCell::default() })
    }

    /// One that has come, and whether the kernel made it.
    fn next(&self) -> Option<(Signal, bool)> {
        let told = self.heard.read_signal().ok()??;
        let signal = Signal::try_from(i32::try_from(told.ssi_signo).ok()?).ok()?;
        Some((signal, told.ssi_code == BY_KERNEL))
    }

    fn wait(&self) {
        let mut watched = [PollFd::new(self.heard.as_fd(), PollFlags::POLLIN)];
        let _ = poll(&mut watched, PollTimeout::NONE);
    }
}

/// A file that is read until a signal asks to end.
struct Heeded<'a> {
    file: File,
    signals: &'a Signals,
    progress: &'a Progress,
}

impl Read for Heeded<'_> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        while let Some(heard) = self.signals.next() {
            if ENDING.contains(&heard.0) {
                self.signals.ending.set(Some(heard.0));
                return Err(io::Error::other("interrupted"));
            }
            self.signals.early.borrow_mut().push(heard);
        }
        let count = self.file.read(bytes)?;
        self.progress.more(count);
        Ok(count)
    }
}
