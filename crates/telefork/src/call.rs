//! A process that sends a copy of itself: `fork` whose child wakes where, and when, the image is read.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::time::Duration;

use sys::park::{Parked, park};
use sys::process::Exit;
use sys::{Pid, ptrace};
use wire::image::descriptor::{Descriptor, DescriptorKind, Opened};
use wire::image::{ImageId, Reader, Writer};

use crate::Error;
use crate::capture::Frozen;
use crate::restore::{Descriptors, Restore, name_caller};

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
/// The copy has this process's memory and its standard input, output and error from who wakes it. Of other
/// descriptors it has the numbers: they can be closed, and using them fails (EBADF).
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
    description.descriptors = strangers(twin.pid())?;
    // The copy is not the twin, which must not outlive us.
    description.process.attributes.parent_death_signal = 0;
    let mut writer = Writer::new(to, image_id()?);
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
    telepad_with(from, value, Vec::new())
}

/// The same, and the copy has some descriptors of ours under these numbers; by them it can send itself on
/// or back.
pub fn telepad_with(
    from: &mut impl Read,
    value: i32,
    given: Vec<(u32, OwnedFd)>,
) -> Result<Pid, Error> {
    let Some(mut reader) = Reader::new(from)? else { return Err(Error::NoImage) };
    let restore = Restore { value, descriptors: Descriptors::Dead(given), ..Restore::default() };
    Ok(restore.build(&mut reader)?.wake()?.pid)
}

/// Waits for the end of a child that `telepad` has woken: its exit code. Death by a signal is an error.
pub fn wait_for_exit(child: Pid) -> Result<i32, Error> {
    match ptrace::wait_for_child(child)? {
        Exit::Code(code) => Ok(code),
        Exit::Signal { signal, .. } => Err(Error::Killed { pid: child, signal }),
    }
}

/// All that the copy has open beside what `telepad` gives it: there it can be closed, and not be used.
fn strangers(twin: Pid) -> Result<Vec<Descriptor>, Error> {
    let path = format!("/proc/{twin}/fd");
    let listed = fs::read_dir(&path).map_err(Error::file("read", &path))?;
    let numbers = listed.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let mut numbers: Vec<u32> = numbers.collect();
    numbers.sort_unstable();
    let descriptor = |number| Descriptor {
        number,
        close_on_exec: true,
        description: number,
        flags: 0,
        what: Opened::Unsupported {
            kind: DescriptorKind::Other,
            why: "a copy made by telefork_to begins without it; open what it needs again"
                .to_owned(),
        },
    };
    Ok(numbers.into_iter().map(descriptor).collect())
}

/// A number for an image that no other one has.
pub fn image_id() -> Result<ImageId, Error> {
    random().map(ImageId)
}

/// A number that no other image has.
fn random() -> Result<u64, Error> {
    let path = "/dev/urandom";
    let mut bytes = [0; 8];
    let read = File::open(path).and_then(|mut file| file.read_exact(&mut bytes));
    read.map_err(Error::file("read", path))?;
    Ok(u64::from_le_bytes(bytes))
}
