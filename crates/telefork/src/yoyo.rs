//! A process that goes elsewhere and comes back into itself: what its copy has changed in memory over there is
//! changed here, and it goes on under its own number.
//!
//! ```text
//!   caller                     its helper                          a copy, elsewhere
//!   go ── fork ──────────────▶ Journey::begin: the caller is
//!   stands still               frozen, its memory copied
//!      :                       wipe, send ── image ──────────────▶ go returns Away: what is to be done is done
//!      :                                                           Away::home
//!      :                       Journey::land ◀── the differences ──── it is compared with what it was when it woke
//!   home returns ◀──────────── written, when all had come
//! ```
//!
//! A copy that wakes is forked at once, before it has changed a byte, and compared with that twin when it has
//! done: so what of it is of that host (its number, the processor it runs on) is no difference, and neither are
//! bytes that were wiped before it left. The way back is an image, too, whose pages are differences: each bit
//! that is set is one that has changed (docs/image.md).
//!
//! The helper is a process: nobody can change the mappings of the process that he runs in under it, and what
//! is sent, printed and waited for meanwhile leaves no trace in the caller. Whatever fails before the first byte is
//! written leaves it as it was; were the helper to die while it writes, the caller would die, too.

use std::io::{Read, Write};
use std::mem::{self, ManuallyDrop};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::panic::{AssertUnwindSafe, catch_unwind};

use sys::Pid;
use sys::park::{SignalsBlocked, Split, Stood, allow_tracer, end, reap, split, stand};

mod journey;
mod returning;
mod difference;

pub use journey::Journey;
pub use returning::Returning;

/// Words that a helper says at most.
const WORDS_MAX: u64 = 1 << 16;

/// Status of a copy that could not send home what it came to.
const MUTE: i32 = 70;

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
pub fn go(carry: impl FnOnce(Pid) -> Result<(), String>) -> Result<Away, Stayed> {
    let stayed = |error: &dyn std::error::Error| Stayed(error.to_string());
    let caller = Pid::own();
    let (line, its) = UnixStream::pair().map_err(|error| stayed(&error))?;
    let helper = match split().map_err(|error| stayed(&error))? {
        Split::Parent(helper) => helper,
        Split::Child => {
            drop(line);
            help(&its, || carry(caller));
        }
    };
    drop(its);
    allow_tracer(Some(helper));
    // One that has ended is seen at once.
    let _ = (&line).write_all(&[1]);
    let stood = stand(line.as_fd());
    match stood {
        Stood::Away(baseline) => return Ok(Away { baseline, helper, line }),
        Stood::Told | Stood::Alone | Stood::Back => {}
    }
    let mut words = String::new();
    let _ = (&line).take(WORDS_MAX).read_to_string(&mut words);
    reap(helper);
    allow_tracer(None);
    if words.is_empty() {
        words = "the process that carries it has been killed; see `dmesg`".to_owned();
    }
    Err(Stayed(words))
}

/// The life of a process that does something for one that stands: it begins when that is ready.
fn help(caller: &UnixStream, work: impl FnOnce() -> Result<(), String>) -> ! {
    // They are for the caller.
    mem::forget(SignalsBlocked::new());
    if !matches!((&*caller).read(&mut [0]), Ok(1)) {
        end(1);
    }
    let done = catch_unwind(AssertUnwindSafe(work));
    let told = match done {
        Ok(Ok(())) => String::new(),
        Ok(Err(words)) => words,
        Err(_) => "what carries it has panicked".to_owned(),
    };
    let _ = (&*caller).write_all(&[&[1], told.as_bytes()].concat());
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
                help(&its, || send(&Returning::new(caller, baseline)));
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
            Stood::Alone | Stood::Away(_) => end(MUTE),
        }
        // Here, in the original.
        let this = ManuallyDrop::into_inner(this);
        reap(this.helper);
        allow_tracer(None);
    }
}
