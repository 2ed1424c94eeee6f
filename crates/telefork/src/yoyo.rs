//! A process that goes elsewhere and comes back into itself: what its copy has changed in memory over there is
//! changed here, and it goes on under its own number.
//!
//! ```text
//!   caller                     its helper                          a copy, elsewhere
//!   go ── fork ──────────────▶ Journey::begin: the caller is
//!   stands still               frozen, its memory copied
//!      :                       hide, send ── image ──────────────▶ go returns Away: what is to be done is done
//!      :                                                           Away::home
//!      :                       Journey::land ◀── the differences ──── it is compared with what it was when it woke
//!   home returns ◀──────────── written, when all had come
//! ```
//!
//! A copy that wakes is forked at once, before it has changed a byte, and compared with that twin when it has
//! done: so what of it is of that host (its number, the processor it runs on) is no difference, and neither are
//! keys that were hidden before it left. The way back is an image, too, whose pages are differences: each bit
//! that is set is one that has changed (docs/image.md).
//!
//! The helper is a process: nobody can change the mappings of the process that he runs in under it, and what
//! is sent, printed and waited for meanwhile leaves no trace in the caller. Whatever fails before the first byte is
//! written leaves it as it was; were the helper to die while it writes, the caller would die, too.

use std::io::{Read, Write};
use std::mem::ManuallyDrop;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use sys::Pid;
use sys::park::{Split, Stood, allow_tracer, end, reap, split, stand, was_watch};

mod journey;
mod returning;
mod stopping;
mod difference;

pub use journey::Journey;
pub use returning::Returning;
pub use sys::park::Watch;

/// Words that a helper says at most.
const WORDS_MAX: u64 = 1 << 16;

/// Status of a copy that could not send home what it came to.
const MUTE: i32 = 70;

/// How long whoever sends home what a copy came to may take until the copy is stopped: its threads may take some
/// time to end.
const STOPPING: Duration = Duration::from_secs(60);

/// That this is the copy. Nothing of it is to be dropped over there.
#[derive(Debug)]
pub struct Away {
    /// What the copy was when it woke: a process that stands still.
    baseline: Pid,
    /// Of the original, with the line to it.
    helper: Pid,
    #[expect(dead_code, reason = "it is closed in the original")]
    line: UnixStream,
}

/// Why nobody went, or came back, in words: another process has found out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stayed(pub String);

/// Has a helper carry this process elsewhere. It returns in the copy there; here only if that could not be, or
/// came to nothing. `carry` runs in the helper, which is told who its caller is, and ends.
///
/// The helper is a fork: what another thread had locked at that moment is locked there for ever. So it is ended when
/// it takes longer than `patience`, unless `carry` stops its watch, or sets it anew as it goes on.
pub fn go(
    patience: Duration,
    carry: impl FnOnce(Pid, &Watch) -> Result<(), String>,
) -> Result<Away, Stayed> {
    let stayed = |error: &dyn std::error::Error| Stayed(error.to_string());
    let caller = Pid::own();
    let (line, its) = UnixStream::pair().map_err(|error| stayed(&error))?;
    let helper = match split().map_err(|error| stayed(&error))? {
        Split::Parent(helper) => helper,
        Split::Child => {
            drop(line);
            help(&its, patience, |watch| carry(caller, watch));
        }
    };
    drop(its);
    allow_tracer(Some(helper));
    // One that has ended is seen at once.
    let _ = (&line).write_all(&[1]);
    let stood = stand(line.as_fd());
    match stood {
        Stood::Away(baseline) => return Ok(Away { baseline, helper, line }),
        // Over there, where nobody is to go on.
        Stood::Unmade(errno) => {
            let source = std::io::Error::from_raw_os_error(errno);
            let _ = writeln!(
                std::io::stderr(),
                "the kernel of the node made no process beside the copy, which it needs to come back: {source}; \
                 see `ulimit -u` and the memory there"
            );
            end(MUTE)
        }
        Stood::Told | Stood::Alone | Stood::Back => {}
    }
    let mut words = String::new();
    let _ = (&line).take(WORDS_MAX).read_to_string(&mut words);
    let end = reap(helper);
    allow_tracer(None);
    if words.is_empty() {
        words = match was_watch(end) {
            true => format!(
                "the process that carries it came nowhere in {patience:?}: another thread may have held a lock when it \
                 was made, or the node takes nothing; end other threads, see `farcall status`, and try again"
            ),
            false => "the process that carries it has been killed; see `dmesg`".to_owned(),
        };
    }
    Err(Stayed(words))
}

/// The life of a process that does something for one that stands: it begins when that is ready.
fn help(
    caller: &UnixStream,
    patience: Duration,
    work: impl FnOnce(&Watch) -> Result<(), String>,
) -> ! {
    // Signals are for the caller.
    let watch = Watch::new();
    watch.set(patience);
    if !matches!((&*caller).read(&mut [0]), Ok(1)) {
        end(1);
    }
    let done = catch_unwind(AssertUnwindSafe(|| work(&watch)));
    let told = match done {
        Ok(Ok(())) => String::new(),
        Ok(Err(words)) => words,
        Err(_) => "what carries it has panicked".to_owned(),
    };
    let sent = (&*caller).write_all(&[&[1], told.as_bytes()].concat());
    if sent.is_err() && !told.is_empty() {
        // Nobody is left to say it.
        let _ = writeln!(std::io::stderr(), "{told}");
    }
    end(i32::from(!told.is_empty()))
}

impl Away {
    /// Ends the copy, and has the original go on from here with what it came to. `send` runs in a process of
    /// its own, which sends that.
    pub fn home(self, send: impl FnOnce(&Returning) -> Result<(), String>) {
        let this = ManuallyDrop::new(self);
        let (caller, baseline) = (Pid::own(), this.baseline);
        let Ok((line, its)) = UnixStream::pair() else { end(MUTE) };
        let worker = match split() {
            Ok(Split::Parent(worker)) => worker,
            Ok(Split::Child) => {
                drop(line);
                help(&its, STOPPING, |watch| send(&Returning::new(caller, baseline, watch)));
            }
            Err(_) => end(MUTE),
        };
        drop(its);
        allow_tracer(Some(worker));
        let _ = (&line).write_all(&[1]);
        // The original has no such descriptor.
        let line = ManuallyDrop::new(line);
        match stand(line.as_fd()) {
            Stood::Back => {}
            Stood::Told => {
                let mut words = String::new();
                let _ = (&*line).take(WORDS_MAX).read_to_string(&mut words);
                if words.is_empty() {
                    end(0);
                }
                let _ = writeln!(std::io::stderr(), "{words}");
                end(MUTE)
            }
            Stood::Alone | Stood::Away(_) | Stood::Unmade(_) => end(MUTE),
        }
        // Here, in the original.
        let this = ManuallyDrop::into_inner(this);
        reap(this.helper);
        allow_tracer(None);
    }
}
