//! What a pad needs of a process that was built: its number, and that it wakes.

use std::io::Read;
use std::os::unix::net::UnixStream;

use sys::Pid;
use sys::uffd::Right;
use telefork::restore::{self, Left, Memory, Restore};
use wire::image::Reader;

/// A process that stands ready and has not run an instruction. Dropped, nothing of it is left. It has the
/// pad's own 0, 1 and 2 for its standard streams, and is the pad's child, in a process group of its own: in the
/// pad's, which nobody in its session looks after, the kernel would drop the signals that stop programs.
pub trait Built {
    fn pid(&self) -> Pid;
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

/// Makes a process of the image that comes; with a right, its memory may follow it.
pub type Build = fn(&mut dyn Read, Option<Right>) -> Result<Box<dyn Built>, String>;

impl Built for restore::Built {
    fn pid(&self) -> Pid {
        restore::Built::pid(self)
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

/// A process of an image of `telefork`.
pub fn build(from: &mut dyn Read, right: Option<Right>) -> Result<Box<dyn Built>, String> {
    let reader = Reader::new(from).map_err(|error| chain(&error))?;
    let mut reader = reader.ok_or("no image came; try again")?;
    // The numbers of processes are this host's own: a visitor gets the next one that is free.
    // A node that is killed takes its pads along, and they their visitors: what it does not know does not run.
    let memory = if right.is_some() { Memory::Following } else { Memory::Whole };
    let restore = Restore {
        keeps_numbers: false,
        ends_with_builder: true,
        memory,
        right,
        ..Restore::default()
    };
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
