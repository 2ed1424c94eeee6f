//! A process that sends a copy of itself: `fork` whose child wakes where, and when, the image is read.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::ops::Range;
use std::os::fd::OwnedFd;
use std::time::Duration;

use sys::park::{Parked, Twin, park};
use sys::process::Exit;
use sys::{Pid, ptrace};
use wire::image::descriptor::{Descriptor, DescriptorKind, Direction, Opened};
use wire::image::text::Text;
use wire::image::{ImageId, Reader, Writer};

use crate::capture::{self, Changes, Frozen, Next, Sent, Told};
use crate::lazy::PageServer;
use crate::restore::{Descriptors, Restore, answer_caller, name_caller};
use crate::{Description, Error};
use keeper::Kept;

mod keeper;

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
    let twin = match depart()? {
        Departed::Child(value) => return Ok(Location::Child(value)),
        Departed::Parent(twin) => twin,
    };
    let leaving = twin.hold()?;
    leaving.write(to)?;
    leaving.end()?;
    Ok(Location::Parent)
}

/// Where `depart` returns.
#[derive(Debug)]
pub enum Departed {
    /// In the process that called.
    Parent(Departing),
    /// In a copy that has just woken, with its number.
    Child(i32),
}

/// A copy of this process as it was, which stands still. Dropped, it is gone.
#[derive(Debug)]
pub struct Departing(Twin);

/// A copy that is held, and can be sent by whichever thread. Dropped, or with this process, it is gone.
#[derive(Debug)]
pub struct Leaving {
    kept: Kept,
}

/// Makes a copy of this process that is sent later, by whichever thread: `telefork_to` in two steps. Until it
/// is held, it ends with the calling thread.
pub fn depart() -> Result<Departed, Error> {
    Ok(match park()? {
        Parked::Woken(value) => Departed::Child(value),
        Parked::Parent(twin) => Departed::Parent(Departing(twin)),
    })
}

impl Departing {
    /// Has it held: from now on it ends only when this does.
    pub fn hold(self) -> Result<Leaving, Error> {
        Ok(Leaving { kept: Kept::hold(self.0)? })
    }
}

impl Leaving {
    /// Puts zeros over these bytes wherever they lie in what would be sent of it; returns how often they did.
    pub fn wipe(&self, secrets: &[&[u8]]) -> Result<u64, Error> {
        capture::wipe(self.kept.pid(), self.kept.description(), secrets, None)
    }

    /// The same where only changes are to be sent to who was told so: near these ranges, and in mappings that are
    /// new since.
    pub fn wipe_near(
        &self,
        secrets: &[&[u8]],
        told: &Told,
        changed: &[Range<u64>],
    ) -> Result<u64, Error> {
        // Of whom all is to be sent again, all is looked at.
        let Ok(difference) = told.until(self.kept.description()) else { return self.wipe(secrets) };
        let near = capture::merged(changed.iter().cloned().chain(difference.fresh()).collect());
        capture::wipe(self.kept.pid(), self.kept.description(), secrets, Some(&near))
    }

    /// Writes an image of it, for a process that is woken as any other. The copy returns from `depart` with
    /// this number; without one, with what whoever restores it says (`Restore::value`). It has 0, 1 and 2 of
    /// whoever restores it, and of other descriptors the dead numbers.
    pub fn send(&mut self, number: Option<i32>, to: &mut impl Write) -> Result<(), Error> {
        let description = self.described(number)?;
        send(&self.kept, &description, to)
    }

    /// The same, for who is to be sent changes later.
    pub fn send_told(&self, number: i32, to: &mut impl Write) -> Result<(Sent, Told), Error> {
        let description = self.described(Some(number))?;
        let mut writer = Writer::new(to, image_id()?);
        description.put(&mut writer)?;
        let sent = capture::send_parked_told(self.kept.pid(), &description, &mut writer)?;
        writer.finish()?;
        Ok(sent)
    }

    /// Writes an image of what has changed since somebody was told of another copy of this process; see
    /// [`Frozen::send_changes`].
    pub fn send_changes(
        &self,
        number: i32,
        told: Told,
        changed: Option<&[Range<u64>]>,
        to: &mut impl Write,
    ) -> Result<Changes, Error> {
        let description = self.described(Some(number))?;
        let mut writer = Writer::new(to, image_id()?);
        let sent = capture::send_parked_changes(
            self.kept.pid(),
            &description,
            told,
            changed,
            &mut writer,
        )?;
        if let Changes::Sent(..) = sent {
            writer.finish()?;
        }
        Ok(sent)
    }

    /// The same, and its memory stays behind but for what it touches first: it is to be served, and this to be
    /// kept, until all of it is there.
    pub fn send_ahead(&mut self, number: i32, to: &mut impl Write) -> Result<PageServer, Error> {
        let description = self.described(Some(number))?;
        let mut writer = Writer::new(to, image_id()?);
        description.put(&mut writer)?;
        let server = capture::send_parked_ahead(self.kept.pid(), &description, &mut writer)?;
        writer.finish()?;
        Ok(server)
    }

    fn described(&self, number: Option<i32>) -> Result<Description, Error> {
        let mut description = self.kept.description().clone();
        description.descriptors = strangers(self.kept.pid(), stream)?;
        // Its pad may be killed with its node, and then nobody else would end it.
        description.process.attributes.parent_death_signal = libc::SIGKILL as _;
        if let Some(number) = number {
            description.threads.iter_mut().for_each(|thread| answer_caller(thread, number));
        }
        Ok(description)
    }

    /// Writes an image of it as `telefork_to` does: for a `telepad`, which gives it its number.
    pub fn write(&self, to: &mut impl Write) -> Result<(), Error> {
        let mut description = self.kept.description().clone();
        description.descriptors = strangers(self.kept.pid(), |_| None)?;
        send(&self.kept, &description, to)
    }

    /// Has it end by itself; who calls `end` waits for that.
    pub fn begin_end(&mut self) {
        self.kept.begin_end();
    }

    /// Only when this returns is its memory free.
    pub fn end(self) -> Result<(), Error> {
        self.kept.end()
    }
}

/// A parked copy, but for its descriptors.
pub(crate) fn described(frozen: &mut Frozen, next: Next) -> Result<Description, Error> {
    let mut description = frozen.describe_closed(next)?;
    for thread in &mut description.threads {
        name_caller(thread);
    }
    // The copy is not the twin, which must not outlive us.
    description.process.attributes.parent_death_signal = 0;
    Ok(description)
}

fn send(kept: &Kept, description: &Description, to: &mut impl Write) -> Result<(), Error> {
    let mut writer = Writer::new(to, image_id()?);
    description.put(&mut writer)?;
    capture::send_parked(kept.pid(), description, &mut writer)?;
    writer.finish()?;
    Ok(())
}

/// What a copy that goes to a pad has open.
pub(crate) fn stream(number: u32) -> Option<Opened> {
    Some(match number {
        0 => Opened::Stdio { direction: Direction::Read },
        1 | 2 => Opened::Stdio { direction: Direction::Write },
        // With O_PATH: it can be closed, and using it fails.
        _ => Opened::Device { path: Text::from("/dev/null") },
    })
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

/// All that the copy has open beside what it is given: there it can be closed, and not be used.
pub(crate) fn strangers(
    twin: Pid,
    known: impl Fn(u32) -> Option<Opened>,
) -> Result<Vec<Descriptor>, Error> {
    let path = format!("/proc/{twin}/fd");
    let listed = fs::read_dir(&path).map_err(Error::file("read", &path))?;
    let numbers = listed.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let mut numbers: Vec<u32> = numbers.collect();
    numbers.sort_unstable();
    let descriptor = |number| {
        let unknown = || Opened::Unsupported {
            kind: DescriptorKind::Other,
            why: "a copy made by telefork_to begins without it; open what it needs again"
                .to_owned(),
        };
        let what = known(number).unwrap_or_else(unknown);
        let is_stream = matches!(what, Opened::Stdio { .. });
        let flags = if matches!(what, Opened::Device { .. }) { libc::O_PATH } else { 0 };
        Descriptor {
            number,
            close_on_exec: !is_stream,
            description: number,
            flags: flags.cast_unsigned(),
            what,
        }
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
