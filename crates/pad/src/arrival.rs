//! What a pad needs of a process that was built: its number, and that it wakes.

use std::io::Read;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;

use sys::Pid;
use sys::ptrace::Session;
use sys::uffd::Right;
use telefork::files::{Overrides, Stdio};
use telefork::restore::{self, Descriptors, Left, Memory, Restore};
use wire::image::Reader;
use wire::terminal::Modes;
use wire::visit::Round;

use crate::rounds;

/// A process that stands ready and has not run an instruction. Dropped, nothing of it is left. It has the
/// pad's own 0, 1 and 2 for its standard streams, and is the pad's child, in a process group of its own: in the
/// pad's, which nobody in its session looks after, the kernel would drop the signals that stop programs.
pub trait Built {
    fn pid(&self) -> Pid;
    /// Those that its terminal had, where it had one and they are known.
    fn terminal_modes(&self) -> Option<Modes> {
        None
    }
    /// Whether some of its memory is still to come.
    fn leaves_behind(&self) -> bool;
    /// It runs; or it never will, and is gone. What comes back is the memory that is to follow it.
    fn wake(self: Box<Self>) -> Result<Option<Box<dyn Behind>>, String>;
}

/// Memory of a visitor that has not come yet: whoever touches it waits until it is served.
pub trait Behind: Send {
    /// Serves it until all of it is here. If not all can come, the visitor is lost: `lose` ends it.
    fn follow(
        self: Box<Self>,
        stream: &UnixStream,
        faults: &UnixStream,
        lose: &mut dyn FnMut(),
    ) -> Result<(), String>;
}

/// Makes a process of the image that comes; of its caller, if one called and was not answered, with this number.
/// With a right, its memory may follow it; it has this terminal where it had one.
pub type Build =
    fn(&mut dyn Read, u32, Option<Right>, Option<OwnedFd>) -> Result<Box<dyn Built>, String>;

impl Built for restore::Built {
    fn pid(&self) -> Pid {
        restore::Built::pid(self)
    }

    fn terminal_modes(&self) -> Option<Modes> {
        restore::Built::terminal_modes(self)
    }

    fn leaves_behind(&self) -> bool {
        restore::Built::leaves_behind(self)
    }

    fn wake(self: Box<Self>) -> Result<Option<Box<dyn Behind>>, String> {
        let awake = restore::Built::wake(*self).map_err(|error| chain(&error))?;
        Ok(awake.left.map(|left| Box::new(left) as Box<dyn Behind>))
    }
}

impl Behind for Left {
    fn follow(
        self: Box<Self>,
        stream: &UnixStream,
        faults: &UnixStream,
        lose: &mut dyn FnMut(),
    ) -> Result<(), String> {
        Left::follow(*self, stream, faults, lose).map(drop).map_err(|error| chain(&error))
    }
}

/// How visitors are restored. The numbers of processes are this host's own: a visitor gets the next one that is
/// free. A node that is killed takes its pads along, and they their visitors: what it does not know does not run.
fn restoring() -> Restore {
    Restore {
        keeps_numbers: false,
        ends_with_builder: true,
        // Whatever it led before: in the pad's own group it could not be stopped, and would be told with us.
        session: Session::Group,
        ..Restore::default()
    }
}

/// A process of an image of `telefork`, or of several in rounds.
pub fn build(
    from: &mut dyn Read,
    number: u32,
    right: Option<Right>,
    terminal: Option<OwnedFd>,
) -> Result<Box<dyn Built>, String> {
    let stdio = terminal.map_or(Stdio::Inherit, Stdio::Terminal);
    let mut first = [0];
    let count = from.read(&mut first).map_err(|error| chain(&error))?;
    if let Some(round) = Round::of_byte(first[0]).filter(|_| count > 0) {
        let built = rounds::build(round, from, restoring, stdio).map_err(|error| chain(&*error))?;
        return Ok(Box::new(built));
    }
    let reader = Reader::new(first[..count].chain(from)).map_err(|error| chain(&error))?;
    let mut reader = reader.ok_or("no image came; try again")?;
    let memory = if right.is_some() { Memory::Following } else { Memory::Whole };
    let descriptors = Descriptors::Opened(stdio, Overrides::none());
    let value = number.cast_signed();
    let restore = Restore { value, memory, right, descriptors, ..restoring() };
    let built = restore.build(&mut reader).map_err(|error| chain(&error))?;
    Ok(Box::new(built))
}

/// An error and its causes, in one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let words = cause.to_string();
        // Some say what they are made of themselves.
        if !text.contains(&words) {
            text = format!("{text}: {words}");
        }
        source = cause.source();
    }
    text
}
