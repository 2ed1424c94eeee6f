//! A process on its way to a node and there: until it is known where it runs, and then its streams.

mod streams;
mod screen;
mod outputs;

use std::io::IsTerminal;
use std::os::unix::net::UnixStream;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

use client::memory::Error;
use client::visit::{Fate, Keeper, Source, SourceEvent, Visit, lost, settle};
use wire::limits::VISIT_TEXT_MAX;

use crate::codes;
use crate::errors::{Complaint, complaint};

pub(crate) use screen::{Leaves, Screen};
pub(crate) use streams::{SIGNALS, Served, end, serve};

/// How long a node may take to build what it has been sent.
const PATIENCE: Duration = Duration::from_secs(60);

/// A process that moves: its connection, if there is one, and how there is another one.
pub(crate) struct Passage<'a> {
    pub(crate) visit: Option<Visit>,
    pub(crate) again: &'a mut dyn FnMut() -> Result<Visit, Error>,
    /// The original is to stay stopped from here.
    pub(crate) hold: &'a mut dyn FnMut() -> anyhow::Result<()>,
    /// Whether nobody wants it to move any more.
    pub(crate) is_unwanted: &'a dyn Fn() -> bool,
}

impl Passage<'_> {
    /// Until it is known where the process is.
    pub(crate) fn settle(&mut self, source: &mut Source) -> anyhow::Result<Fate> {
        settle(self, source, PATIENCE)
    }
}

impl Keeper for Passage<'_> {
    type Error = anyhow::Error;

    fn visit(&mut self) -> Option<&mut Visit> {
        self.visit.as_mut()
    }

    fn again(&mut self) -> Result<(), Error> {
        match &mut self.visit {
            Some(visit) => visit.again(),
            None => {
                self.visit = Some((self.again)()?);
                Ok(())
            }
        }
    }

    fn hold(&mut self) -> anyhow::Result<()> {
        (self.hold)()
    }

    fn woke(&mut self) {
        moment("woke");
    }

    fn is_unwanted(&self) -> bool {
        (self.is_unwanted)()
    }
}

/// It does not run on the node.
pub(crate) fn not_there(what: &str, node: &str, why: &str) -> Complaint {
    let (reason, help) = why.split_once("; ").unwrap_or((why, "try another node"));
    complaint(&codes::E0706, format!("{what} does not wake on {node}: {reason}")).help(help)
}

/// It ran on the node, and is over before anybody here heard of it.
pub(crate) fn gone(what: &str, node: &str, why: &str) -> Complaint {
    let (reason, help) = why.split_once("; ").unwrap_or((why, "look at what it has done"));
    complaint(&codes::E0734, format!("{what} is lost on {node}: {reason}")).help(help)
}

/// Text that a node is told, no longer than that may be.
pub(crate) fn cut(mut text: String) -> String {
    text.truncate(text.floor_char_boundary(VISIT_TEXT_MAX));
    text
}

/// A moment at which a build for tests can be made to stop itself, so that something ends just then.
pub(crate) fn moment(name: &str) {
    if cfg!(debug_assertions) && std::env::var_os("FARCALL_STOP_AT").is_some_and(|at| at == name) {
        let _ = nix::sys::signal::raise(nix::sys::signal::Signal::SIGSTOP);
    }
}

/// Hears of signals instead of being ended by them.
pub(crate) struct Heard(Vec<(i32, UnixStream)>);

impl Heard {
    pub(crate) fn of(numbers: &[i32]) -> anyhow::Result<Self> {
        let heard = numbers.iter().map(|&number| -> anyhow::Result<(i32, UnixStream)> {
            let (heard, ring) = UnixStream::pair()?;
            heard.set_nonblocking(true)?;
            signal_hook::low_level::pipe::register(number, ring)?;
            Ok((number, heard))
        });
        Ok(Self(heard.collect::<Result<_, _>>()?))
    }

    pub(crate) fn rings(&self) -> impl Iterator<Item = &UnixStream> {
        self.0.iter().map(|(_, heard)| heard)
    }

    /// Those that have come since the last time.
    pub(crate) fn take(&self) -> Vec<i32> {
        let came = |heard: &UnixStream| {
            let mut heard = heard;
            std::io::Read::read(&mut heard, &mut [0; 64]).is_ok_and(|count| count > 0)
        };
        self.0.iter().filter(|(_, heard)| came(heard)).map(|(number, _)| *number).collect()
    }
}

/// How often it is looked whether somebody who waits for a connection still wants it.
const LOOK: Duration = Duration::from_millis(100);

/// Why a visit was not reached again.
enum Unreached {
    /// It is no more.
    Gone(Error),
    /// Nobody could say; with what was said last, if anything was.
    Unknown(Option<Error>),
}

/// Tries to reach a visit again until `until`, as long as somebody wants that still.
fn reach(
    visit: &mut Visit,
    until: Instant,
    is_unwanted: &mut dyn FnMut() -> bool,
) -> Result<(), Unreached> {
    let (mut refusals, mut last) = (0, None);
    visit.close();
    loop {
        let way = visit.way_back();
        match beside(move || way.go(), is_unwanted) {
            Beside::Done(Ok(reached)) => {
                *visit = reached;
                return Ok(());
            }
            Beside::Done(Err(error)) => {
                // Where nobody listens any more, the node has ended, and its visitors with it.
                refusals = if is_refused(&error) { refusals + 1 } else { 0 };
                if is_over(&error) || refusals >= 3 {
                    return Err(Unreached::Gone(error));
                }
                last = Some(error);
            }
            Beside::NotDone => {}
            Beside::Unwanted => return Err(Unreached::Unknown(last)),
        }
        if !pause(until, is_unwanted) {
            return Err(Unreached::Unknown(last));
        }
    }
}

/// What became of something that is done on a thread of its own.
pub(crate) enum Beside<T> {
    Done(T),
    /// There is no thread for it now.
    NotDone,
    /// Nobody wants it any more; what comes of it is for nobody.
    Unwanted,
}

/// Does something that may take long on a thread of its own.
pub(crate) fn beside<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
    is_unwanted: &mut dyn FnMut() -> bool,
) -> Beside<T> {
    let (done, outcome) = mpsc::channel();
    let thread = std::thread::Builder::new().name("connecting".to_owned());
    let started = thread.spawn(move || {
        let _ = done.send(work());
    });
    if started.is_err() {
        return Beside::NotDone;
    }
    loop {
        match outcome.recv_timeout(LOOK) {
            Ok(outcome) => return Beside::Done(outcome),
            Err(RecvTimeoutError::Disconnected) => return Beside::NotDone,
            Err(RecvTimeoutError::Timeout) if is_unwanted() => return Beside::Unwanted,
            Err(RecvTimeoutError::Timeout) => {}
        }
    }
}

/// A second between two tries. `false`: there is to be no other one.
pub(crate) fn pause(until: Instant, is_unwanted: &mut dyn FnMut() -> bool) -> bool {
    let next = Instant::now() + Duration::from_secs(1);
    while Instant::now() < next {
        if Instant::now() >= until || is_unwanted() {
            return false;
        }
        std::thread::park_timeout(LOOK);
    }
    true
}

/// Signals that come while there is no connection: they are kept for the process. Who insists on an end does not
/// wait for it.
#[derive(Default)]
pub(crate) struct Waiting {
    came: Vec<i32>,
    asked: usize,
}

impl Waiting {
    /// Takes those that have come; whether nobody wants to wait any more.
    pub(crate) fn is_over(&mut self, heard: &Heard, node: &str) -> bool {
        let came = heard.take();
        let ending = came.iter().filter(|number| streams::ENDING.contains(number)).count();
        // For people: in a script this is the process's own output.
        if self.asked == 0 && ending > 0 && std::io::stderr().is_terminal() {
            eprintln!(
                "note: {node} is not reached: this goes to the process when it is; once more leaves it alone"
            );
        }
        self.asked += ending;
        self.came.extend(came);
        self.asked > 1
    }

    pub(crate) fn came(self) -> Vec<i32> {
        self.came
    }
}

/// There is no such visit any more.
pub(crate) fn is_over(error: &Error) -> bool {
    matches!(lost(error), SourceEvent::Absent { .. } | SourceEvent::Over { .. })
}

fn is_refused(error: &Error) -> bool {
    use std::io::ErrorKind::{ConnectionRefused, NotFound};
    let mut next: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = next {
        let io = error.downcast_ref::<std::io::Error>();
        if io.is_some_and(|io| matches!(io.kind(), ConnectionRefused | NotFound)) {
            return true;
        }
        next = error.source();
    }
    false
}
