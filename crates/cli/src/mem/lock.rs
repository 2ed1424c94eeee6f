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
        let ran = match command.spawn() {
            Err(error) => {
                // What is said of the command matters more than what becomes of a lock that
                // nobody has used.
                let _ = guard.rollback();
                return Ok(self.not_started(&error));
            }
            Ok(child) if self.filter => self.filtered(child, &mut guard)?,
            Ok(child) => Ran { status: self.attended(Running::of(child)?, &guard)?, bytes: None },
        };
        let given_back = match ran.bytes {
            Some(bytes) if ran.status.success() => {
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

    /// Gives the command the page and takes what it writes, filled up with zeros.
    fn filtered(&self, mut child: Child, guard: &mut Guard) -> anyhow::Result<Ran> {
        let size = guard.len();
        let mut page = guard.to_vec();
        if self.text {
            page.truncate(page.iter().rposition(|&byte| byte != 0).map_or(0, |last| last + 1));
        }
        let (stdin, stdout) = (child.stdin.take(), child.stdout.take());
        // A command that does not read its input must not hold up the one that reads its output.
        let feeder = std::thread::Builder::new().name("page".into()).spawn(move || {
            if let Some(mut stdin) = stdin {
                let _ = stdin.write_all(&page);
            }
        })?;
        let running = Running::of(child)?;
        let mut bytes = Vec::new();
        if let Some(stdout) = stdout {
            let mut rest = stdout.take(size as u64 + 1);
            rest.read_to_end(&mut bytes)?;
            // Its end is not to depend on how much of it fits.
            io::copy(&mut rest.into_inner(), &mut io::sink())?;
        }
        let status = self.attended(running, guard)?;
        let _ = feeder.join();
        if status.success() && bytes.len() > size {
            let what =
                format!("the command wrote more than the {size} bytes of page {}", self.page);
            return Err(complaint(&codes::E0606, what).help("nothing was changed").into());
        }
        bytes.resize(size, 0);
        Ok(Ran { status, bytes: Some(bytes) })
    }

    /// Waits for the command's end. That the lock is lost is said as soon as it is known here: whoever
    /// watches may want to end the command.
    fn attended(&self, running: Running, guard: &Guard) -> anyhow::Result<ExitStatus> {
        let (end, ended) = mpsc::channel();
        let waiter = std::thread::Builder::new().name("command".into());
        waiter.spawn(move || end.send(running.wait()))?;
        let mut is_told = false;
        loop {
            match ended.recv_timeout(LOOK) {
                Ok(status) => return status,
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

/// A command that has ended, and what the page is to be, if it says so.
struct Ran {
    status: ExitStatus,
    bytes: Option<Vec<u8>>,
}

/// As shells do: 128 and the signal's number.
fn as_shells_see(status: ExitStatus) -> ExitCode {
    let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal));
    ExitCode::from(code.and_then(|code| u8::try_from(code).ok()).unwrap_or(1))
}

/// A command, and who is told of signals while it runs: it, and not this program, which has a lock
/// to give back. What a terminal sends, everybody on it gets anyway.
struct Running {
    child: Child,
    pid: Arc<Mutex<Option<Pid>>>,
}

impl Running {
    fn of(child: Child) -> anyhow::Result<Self> {
        let pid = Pid::from_raw(i32::try_from(child.id())?);
        let pid = Arc::new(Mutex::new(Some(pid)));
        let (mut heard, signals) = UnixStream::pair()?;
        signal_hook::low_level::pipe::register(SIGTERM, signals)?;
        for terminal in [SIGINT, SIGHUP] {
            let (_, nobody) = UnixStream::pair()?;
            signal_hook::low_level::pipe::register(terminal, nobody)?;
        }
        let told = pid.clone();
        std::thread::Builder::new().name("signals".into()).spawn(move || {
            let mut byte = [0; 1];
            while heard.read_exact(&mut byte).is_ok() {
                if let Some(pid) = *told.lock().unwrap_or_else(PoisonError::into_inner) {
                    let _ = kill(pid, Signal::SIGTERM);
                }
            }
        })?;
        Ok(Self { child, pid })
    }

    fn wait(mut self) -> anyhow::Result<ExitStatus> {
        let pid = *self.pid.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(pid) = pid {
            // Its number is its own until it is reaped: nobody is told of signals after that.
            while let Err(nix::errno::Errno::EINTR) =
                waitid(Id::Pid(pid), WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT)
            {}
        }
        self.pid.lock().unwrap_or_else(PoisonError::into_inner).take();
        Ok(self.child.wait()?)
    }
}
