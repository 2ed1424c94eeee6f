//! `farcall mem lock`: a command that runs while nobody else has a page's lock.
//!
//! ```text
//!   lock ──granted──> the command runs, with the token ──ends──> unlock: still ours?
//!                     its end is ours                            no: LOST, by name
//! ```
//!
//! Like `flock` and `timeout`, it ends as its command ends, and keeps numbers above 123 for itself.

use std::ffi::OsString;
use std::io::{self, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, ExitCode, ExitStatus, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::bail;
use clap::Args;
use client::memory::{Error, Guard};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{Id, WaitPidFlag, waitid};
use nix::unistd::Pid;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

use super::place::{self, Place};
use crate::codes;
use crate::errors::{self, complaint};
use crate::values;

/// The lock was not granted in time.
const BUSY: u8 = 124;
/// The lock was lost while the command ran.
const LOST: u8 = 125;
/// The command may not be executed, or is not there.
const NOT_EXECUTABLE: u8 = 126;
const NOT_FOUND: u8 = 127;
/// How often it is looked whether the lock is still held.
const LOOK: Duration = Duration::from_millis(500);

/// Run a command while nobody else has the lock of a page
///
/// Locks are granted in the order of asking. The command finds the lock's token in FARCALL_TOKEN: a
/// number that rises with every grant, by which whatever it changes elsewhere can tell a holder that
/// lost its lock from the one that has it. FARCALL_REGION, FARCALL_PAGE and FARCALL_VERSION say what is
/// locked. The exit status is the command's; 124: the lock was not granted within --wait; 125: it was
/// lost while the command ran, because this host was stopped or cut off for longer than the lease (3 s);
/// 126 and 127: the command could not be started.
///
/// Others, `farcall mem update` within the command too, wait with changes to the page until it ends. To
/// change the page under its own lock, say --filter: then the command reads the page's bytes on its
/// standard input, and what it writes to standard output takes their place, unless it fails. The rest of
/// the page is zero then.
#[derive(Args)]
#[command(after_help = "\
Examples:
  farcall mem lock genes 3 -- ./alone.sh
  farcall mem lock genes 3 --wait 10s -- sh -c 'echo token $FARCALL_TOKEN'
  farcall mem lock genes 3 --wait 0s -- ./alone.sh || echo 'somebody else is at it'
  farcall mem lock count 0 --filter --text -- awk '{ print $1 + 1 }'")]
pub(crate) struct Lock {
    #[command(flatten)]
    place: Place,
    /// The page's number, from 0
    #[arg(value_name = "PAGE", value_parser = place::page)]
    page: u64,
    /// Give up if it takes longer than this, like 10s; 0s does not wait at all [default: wait]
    #[arg(long, value_name = "TIME", value_parser = values::duration)]
    wait: Option<Duration>,
    /// The command's standard input is the page, and its standard output becomes the page
    #[arg(long)]
    filter: bool,
    /// With --filter: the page without the zeros at its end
    #[arg(long, requires = "filter")]
    text: bool,
    /// The command and its arguments
    #[arg(value_name = "COMMAND", last = true, required = true)]
    command: Vec<OsString>,
}

impl Lock {
    pub(crate) fn run(self) -> anyhow::Result<ExitCode> {
        let (_cluster, region) = self.place.open()?;
        if self.filter && region.is_coherent() {
            let what = format!("{} is coherent: its pages are used as memory", self.place.name);
            return Err(complaint(&codes::E0610, what)
                .help("run the command without --filter")
                .into());
        }
        let page = region.page(self.page);
        let granted = match self.wait {
            None => Some(page.lock()?),
            Some(wait) => page.lock_for(wait)?,
        };
        let Some(mut guard) = granted else { return Ok(self.busy()) };
        let mut command = Command::new(&self.command[0]);
        command.args(&self.command[1..]);
        command.env("FARCALL_TOKEN", guard.token().0.to_string());
        command.env("FARCALL_REGION", region.name());
        command.env("FARCALL_PAGE", self.page.to_string());
        command.env("FARCALL_VERSION", guard.version().0.to_string());
        if self.filter {
            command.stdin(Stdio::piped()).stdout(Stdio::piped());
        }
        // Before there is a command: one that outlives this program would run without the lock.
        let signals = signals()?;
        let mut running = match command.spawn() {
            Ok(child) => Running::of(child),
            Err(error) => {
                // What is said of the command matters more than what becomes of a lock that
                // nobody has used.
                let _ = guard.rollback();
                return Ok(self.not_started(&error));
            }
        };
        running.pass_on(signals)?;
        if self.filter {
            running.feed(self.input(&guard))?;
        }
        let ran = self.attended(running, &guard)?;
        if ran.status.success() && ran.bytes.as_ref().is_some_and(|bytes| bytes.len() > guard.len())
        {
            let what = format!(
                "the command wrote more than the {} bytes of page {}",
                guard.len(),
                self.page
            );
            return Err(complaint(&codes::E0606, what).help("nothing was changed").into());
        }
        let given_back = match ran.bytes {
            Some(mut bytes) if ran.status.success() => {
                bytes.resize(guard.len(), 0);
                guard.bytes_mut().copy_from_slice(&bytes);
                guard.commit().map(drop)
            }
            Some(_) | None => guard.rollback(),
        };
        match given_back {
            Ok(()) => Ok(as_shells_see(ran.status)),
            Err(Error::LostLock { .. }) => Ok(self.lost(ran.status)),
            Err(error) => Err(error.into()),
        }
    }

    /// What a filter reads.
    fn input(&self, guard: &Guard) -> Vec<u8> {
        let mut page = guard.to_vec();
        if self.text {
            page.truncate(page.iter().rposition(|&byte| byte != 0).map_or(0, |last| last + 1));
        }
        page
    }

    /// Waits for the command's end. That the lock is lost is said as soon as it is known here: whoever
    /// watches may want to end the command.
    fn attended(&self, running: Running, guard: &Guard) -> anyhow::Result<Ran> {
        let (end, ended) = mpsc::channel();
        let waiter = std::thread::Builder::new().name("command".into());
        let size = guard.len();
        waiter.spawn(move || end.send(running.end(size)))?;
        let mut is_told = false;
        loop {
            match ended.recv_timeout(LOOK) {
                Ok(ran) => return Ok(ran?),
                Err(RecvTimeoutError::Disconnected) => bail!("nobody waits for the command"),
                Err(RecvTimeoutError::Timeout) if is_told || guard.is_held() => (),
                Err(RecvTimeoutError::Timeout) => {
                    is_told = true;
                    let words = format!(
                        "the lock of page {} is lost, and the command still runs; \
                         others may have the lock now",
                        self.page
                    );
                    eprint!("{}", errors::warning(&codes::E0609, &words));
                }
            }
        }
    }

    fn busy(&self) -> ExitCode {
        let what = format!("somebody else has the lock of page {}", self.page);
        let waited = self.wait.map_or_else(String::new, values::spell);
        let busy = complaint(&codes::E0608, what)
            .note(format!("waited for {waited}; the command was not run"))
            .help(format!("`farcall mem hot {}` says who holds it", self.place.name));
        errors::show(&busy.into());
        ExitCode::from(BUSY)
    }

    fn lost(&self, status: ExitStatus) -> ExitCode {
        let what = format!("the lock of page {} was lost while the command ran", self.page);
        let lost = complaint(&codes::E0609, what)
            .note(format!("the command ended with {status}; somebody else may have had the lock"))
            .help("do it again; what it changed elsewhere may have to be looked at");
        errors::show(&lost.into());
        ExitCode::from(LOST)
    }

    fn not_started(&self, error: &io::Error) -> ExitCode {
        let name = self.command[0].to_string_lossy();
        let failed = complaint(&codes::E0617, format!("cannot start {name}"))
            .note(error.to_string())
            .help("name a program in PATH, or the path of one");
        errors::show(&failed.into());
        let is_missing = error.kind() == io::ErrorKind::NotFound;
        ExitCode::from(if is_missing { NOT_FOUND } else { NOT_EXECUTABLE })
    }
}

/// A command that has ended, and what it wrote, if it is a filter: what a page has, and one byte more if
/// there was more.
struct Ran {
    status: ExitStatus,
    bytes: Option<Vec<u8>>,
}

/// As shells do: 128 and the signal's number.
fn as_shells_see(status: ExitStatus) -> ExitCode {
    let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal));
    ExitCode::from(code.and_then(|code| u8::try_from(code).ok()).unwrap_or(1))
}

/// From now on signals do not end this program, which will have a command and a lock to give back. SIGTERM
/// is read here instead; what a terminal sends, everybody on it gets anyway.
fn signals() -> io::Result<UnixStream> {
    let (heard, signals) = UnixStream::pair()?;
    signal_hook::low_level::pipe::register(SIGTERM, signals)?;
    for terminal in [SIGINT, SIGHUP] {
        signal_hook::flag::register(terminal, Arc::default())?;
    }
    Ok(heard)
}

/// A command that runs. Where this is dropped before it has ended, it is killed: it is not to run without
/// the lock.
struct Running {
    child: Child,
    /// None once its number may be another's.
    pid: Arc<Mutex<Option<Pid>>>,
}

impl Running {
    fn of(child: Child) -> Self {
        let pid = Pid::from_raw(child.id().cast_signed());
        Self { child, pid: Arc::new(Mutex::new(Some(pid))) }
    }

    /// Passes SIGTERM on, also one that came before there was a command.
    fn pass_on(&self, mut signals: UnixStream) -> io::Result<()> {
        let told = self.pid.clone();
        std::thread::Builder::new().name("signals".into()).spawn(move || {
            let mut byte = [0; 1];
            while signals.read_exact(&mut byte).is_ok() {
                if let Some(pid) = *told.lock().unwrap_or_else(PoisonError::into_inner) {
                    let _ = kill(pid, Signal::SIGTERM);
                }
            }
        })?;
        Ok(())
    }

    /// Writes to its standard input, on a thread: one that does not read it must not hold up whoever reads
    /// what it writes.
    fn feed(&mut self, bytes: Vec<u8>) -> io::Result<()> {
        let stdin = self.child.stdin.take();
        std::thread::Builder::new().name("page".into()).spawn(move || {
            if let Some(mut stdin) = stdin {
                let _ = stdin.write_all(&bytes);
            }
        })?;
        Ok(())
    }

    /// Waits for its end, and takes what it writes until then, if that comes here.
    fn end(mut self, size: usize) -> io::Result<Ran> {
        let mut bytes = None;
        if let Some(stdout) = self.child.stdout.take() {
            let mut rest = stdout.take(size as u64 + 1);
            rest.read_to_end(bytes.insert(Vec::new()))?;
            // Its end is not to depend on how much of it fits.
            io::copy(&mut rest.into_inner(), &mut io::sink())?;
        }
        let pid = *self.pid.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(pid) = pid {
            // Its number is its own until it is reaped: nobody is told of signals after that.
            while let Err(nix::errno::Errno::EINTR) =
                waitid(Id::Pid(pid), WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT)
            {}
        }
        Ok(Ran { status: self.reap()?, bytes })
    }

    fn reap(&mut self) -> io::Result<ExitStatus> {
        self.pid.lock().unwrap_or_else(PoisonError::into_inner).take();
        self.child.wait()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Neither does anything to one that is reaped already.
        let _ = self.child.kill();
        let _ = self.reap();
    }
}
