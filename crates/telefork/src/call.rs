//! A process that sends a copy of itself: `fork` whose child wakes where, and when, the image is read.

use std::io::{Read, Write};
use std::time::Duration;

use sys::park::{Parked, park};
use sys::process::Exit;
use sys::{Pid, ptrace};
use wire::image::{ImageId, Reader, Writer};

use crate::capture::Frozen;
use crate::restore::{Restore, name_caller};
use crate::{Error};

/// Where `telefork_to` returns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Location {
    /// In the process that called, once the image is written.
    Parent,
    /// In a copy that has just woken, with the number that `telepad` gave it.
    Child(i32),
}

/// A twin waits for nothing: it stops at once.
const PATIENCE: Duration = Duration::from_secs(10);

/// Writes an image of this process onto a stream or into a file, and goes on; each copy that is woken from it
/// goes on here, too. Of several threads only the calling one is in the copy.
///
/// The copy has this process's memory; files that it has open beside its standard input, output and
/// error are not yet taken along.
pub fn telefork_to(to: &mut impl Write) -> Result<Location, Error> {
    let twin = match park()? {
        Parked::Woken(value) => return Ok(Location::Child(value)),
        Parked::Parent(twin) => twin,
    };
    let mut frozen = Frozen::freeze(twin.pid(), PATIENCE)?;
    let mut description = frozen.describe()?;
    for thread in &mut description.threads {
        name_caller(thread);
    }
    // The copy is not the twin, which must not outlive us.
    description.process.attributes.parent_death_signal = 0;
    let mut writer = Writer::new(to, ImageId(sys::clock::random()?));
    description.put(&mut writer)?;
    frozen.send(&description, &mut writer)?;
    frozen.end()?;
    drop(twin);
    writer.finish()?;
    Ok(Location::Parent)
}

/// Wakes a copy from an image: it returns from its `telefork_to` with this value, as a child of this
/// process. What follows the image on the stream stays there.
pub fn telepad(from: &mut impl Read, value: i32) -> Result<Pid, Error> {
    let Some(mut reader) = Reader::new(from)? else { return Err(Error::NoImage) };
    let built = Restore { value, ..Restore::default() }.build(&mut reader)?;
    Ok(built.wake()?.pid)
}

/// Waits for the end of a child that `telepad` has woken: its exit code. Death by a signal is an error.
pub fn wait_for_exit(child: Pid) -> Result<i32, Error> {
    match ptrace::wait_for_child(child)? {
        Exit::Code(code) => Ok(code),
        Exit::Signal { signal, .. } => Err(Error::Killed { pid: child, signal }),
    }
}
