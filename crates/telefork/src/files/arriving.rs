//! Opens what an image says was open, and makes what the destination has not.
//!
//! A file that comes with its bytes is compared with the destination's own as they come. If one byte is
//! other, one that is only read becomes a copy without a name, and one that is written is refused: nobody
//! writes into a file that has other bytes. What is made has no name before all of it is there, and none
//! after if `Arrived::keep` is not reached.

use std::collections::BTreeMap;
use std::fs::{File, Permissions};
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use sys::descriptors::Node;
use sys::handle::{Handle, Links};
use wire::image::Reader;
use wire::image::descriptor::{Content, Descriptor, FileNo, FilePart, OpenFile, Opened};
use wire::image::text::Text;

use super::regular::{path_of, refuse, unnamed};
use super::{Overrides, Stdio, device, folder, regular, terminal};
use crate::{Error, Unopened};

const STEP: usize = 256 << 10;

/// Descriptors of an image, while its bytes arrive.
#[derive(Debug)]
pub struct Arriving {
    descriptors: Vec<Descriptor>,
    files: BTreeMap<FileNo, Coming>,
    streams: [OwnedFd; 3],
    /// In the place of terminals.
    terminal: Option<OwnedFd>,
    made: Made,
}

/// What a restored process is to have open.
#[derive(Debug)]
pub struct Arrived {
    /// Each is to be taken under some numbers; those of one description share it.
    pub opened: Vec<OwnedFd>,
    pub numbers: Vec<Number>,
    made: Made,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Number {
    pub number: u32,
    pub close_on_exec: bool,
    /// Its place in `opened`.
    pub opened: usize,
}

/// A file whose bytes come.
#[derive(Debug)]
struct Coming {
    /// A descriptor of it, for errors.
    number: u32,
    file: OpenFile,
    is_written: bool,
    at: u64,
    state: State,
}

#[derive(Debug)]
enum State {
    /// The destination's own, the same as far as bytes have come.
    Own { handle: Handle, file: File },
    /// A copy, which has no name (yet).
    Copy(File),
}

/// Names that were made here: they go again with this.
#[derive(Debug, Default)]
struct Made(Vec<(File, PathBuf)>);

impl Drop for Made {
    fn drop(&mut self) {
        for (file, path) in &self.0 {
            // Nobody is left to be told, and what is not ours stays.
            let _ = sys::handle::unname(file, path);
        }
    }
}

impl Arriving {
    /// Looks at all that is to be opened; refuses what can be seen to be wrong now, and makes no name.
    pub fn new(
        descriptors: &[Descriptor],
        stdio: Stdio,
        overrides: &Overrides,
    ) -> Result<Self, Error> {
        let kept = overrides.apply(descriptors)?;
        let mut shipped = BTreeMap::<FileNo, (u32, &OpenFile, bool)>::new();
        for descriptor in &kept {
            let number = descriptor.number;
            match &descriptor.what {
                Opened::Unsupported { why, .. } => {
                    let name = Text::from("not a file");
                    return Err(refuse(number, &name, Unopened::Unsupported(why.clone())));
                }
                Opened::File(file @ OpenFile { content: Content::Shipped(of), .. }) => {
                    let writes = regular::writes(descriptor.flags);
                    let (_, known, is_written) =
                        shipped.entry(*of).or_insert((number, file, false));
                    let seen = |file: &OpenFile| (file.identity, file.path.clone(), file.deleted);
                    if seen(known) != seen(file) {
                        return Err(refuse(number, &file.path, Unopened::Forged));
                    }
                    *is_written |= writes;
                }
                Opened::File(_)
                | Opened::Folder { .. }
                | Opened::Device { .. }
                | Opened::Terminal { .. }
                | Opened::Stdio { .. } => {}
            }
        }
        let mut files = BTreeMap::new();
        for (of, (number, file, is_written)) in shipped {
            files.insert(of, Coming::begin(number, file.clone(), is_written)?);
        }
        let ((streams, terminal), made) = (stdio.open()?, Made::default());
        Ok(Self { descriptors: kept, files, streams, terminal, made })
    }

    /// Takes a part of a file, whose bytes are the body of the section that the reader has just given.
    pub fn part<R: Read>(&mut self, part: &FilePart, from: &mut Reader<R>) -> Result<(), Error> {
        // Of a file that is dropped or reopened: its bytes are verified, and not used.
        let Some(coming) = self.files.get_mut(&part.file) else { return Ok(()) };
        if part.length != coming.file.identity.size || part.offset < coming.at {
            return Err(coming.refuse(Unopened::Forged));
        }
        coming.hole_to(part.offset)?;
        let mut bytes = vec![0; STEP.min(from.left() as usize)];
        while from.left() > 0 {
            let bytes = &mut bytes[..STEP.min(from.left() as usize)];
            from.read(bytes)?;
            coming.take(bytes)?;
        }
        Ok(())
    }

    /// All bytes have come: opens everything, and gives what was made its names.
    pub fn finish(mut self) -> Result<Arrived, Error> {
        let mut files = BTreeMap::new();
        for (of, coming) in std::mem::take(&mut self.files) {
            files.insert(of, coming.finish(&mut self.made)?);
        }
        let (mut opened, mut numbers) = (Vec::new(), Vec::new());
        let mut places = BTreeMap::<u32, usize>::new();
        for descriptor in &self.descriptors {
            let number = descriptor.number;
            let passed_on =
                matches!(descriptor.what, Opened::Terminal { .. } | Opened::Stdio { .. });
            // Streams that shared an offset here need not be one there: each has its own.
            let known = places.get(&descriptor.description).filter(|_| !passed_on).copied();
            let place = match known {
                Some(place) => place,
                None => {
                    opened.push(self.open(descriptor, &files)?);
                    opened.len() - 1
                }
            };
            places.entry(descriptor.description).or_insert(place);
            let close_on_exec = descriptor.close_on_exec;
            numbers.push(Number { number, close_on_exec, opened: place });
        }
        Ok(Arrived { opened, numbers, made: self.made })
    }

    fn open(
        &self,
        descriptor: &Descriptor,
        files: &BTreeMap<FileNo, Whole>,
    ) -> Result<OwnedFd, Error> {
        let (number, flags) = (descriptor.number, descriptor.flags);
        let file = match &descriptor.what {
            Opened::File(file) => {
                let opened = self.open_file(descriptor, file, files)?;
                // Through a descriptor that only names its file there is no offset.
                if flags & libc::O_PATH as u32 == 0 {
                    let sought = io::Seek::seek(&mut &opened, io::SeekFrom::Start(file.offset));
                    sought.map_err(|source| refuse(number, &file.path, Unopened::Disk(source)))?;
                }
                opened
            }
            Opened::Folder { path } => folder::open(number, path, flags)?,
            Opened::Device { path } => device::open(number, path, flags)?,
            Opened::Stdio { .. } | Opened::Terminal { .. } => return self.stream(descriptor),
            Opened::Unsupported { .. } => unreachable!("refused at first sight"),
        };
        Ok(file.into())
    }

    fn open_file(
        &self,
        descriptor: &Descriptor,
        file: &OpenFile,
        files: &BTreeMap<FileNo, Whole>,
    ) -> Result<File, Error> {
        let (number, flags, path) = (descriptor.number, descriptor.flags, &file.path);
        match file.content {
            Content::Shipped(of) => match &files[&of] {
                Whole::Own(handle) => {
                    regular::open(number, path, flags, |flags| handle.open(flags))
                }
                Whole::Copy(copy) => {
                    regular::open(number, path, flags, |flags| sys::handle::reopen(copy, flags))
                }
            },
            Content::There => {
                let own = regular::own(number, path, regular::writes(flags))?;
                regular::open(number, path, flags, |flags| own.open(flags))
            }
            Content::Same(hash) => {
                let own = regular::own(number, path, regular::writes(flags))?;
                let other = || refuse(number, path, Unopened::OtherHash);
                if own.node().size != file.identity.size {
                    return Err(other());
                }
                let read = own.open(libc::O_RDONLY as u32);
                let read =
                    read.map_err(|source| refuse(number, path, Unopened::Refused(source)))?;
                match regular::has_hash(&read, hash) {
                    Ok(true) => regular::open(number, path, flags, |flags| own.open(flags)),
                    Ok(false) => Err(other()),
                    Err(source) => Err(refuse(number, path, Unopened::Disk(source))),
                }
            }
        }
    }

    /// What stands for a stream or terminal that stayed: the one of its number, or of the number that it
    /// shares an offset with.
    fn stream(&self, descriptor: &Descriptor) -> Result<OwnedFd, Error> {
        let mut same =
            self.descriptors.iter().filter(|one| one.description == descriptor.description);
        let standard = match descriptor.number {
            number @ 0..=2 => Some(number),
            _ => same.find(|one| one.number <= 2).map(|one| one.number),
        };
        let terminal = self.terminal.as_ref();
        let is_terminal = matches!(descriptor.what, Opened::Terminal { .. });
        let stream = match standard {
            _ if is_terminal && terminal.is_some() => terminal.unwrap_or(&self.streams[0]),
            Some(number) => &self.streams[number as usize],
            None => terminal::among(&self.streams),
        };
        let failed = |source| sys::Error::Kernel { action: "duplicate a standard stream", source };
        Ok(stream.try_clone().map_err(failed)?)
    }
}

impl Arrived {
    /// The process has all of it and runs: what was made stays.
    pub fn keep(mut self) {
        self.made.0.clear();
    }
}

/// A file that has come.
#[derive(Debug)]
enum Whole {
    Own(Handle),
    Copy(File),
}

impl Coming {
    fn begin(number: u32, file: OpenFile, is_written: bool) -> Result<Self, Error> {
        let state = Self::first(number, &file, is_written)?;
        Ok(Self { number, file, is_written, at: 0, state })
    }

    fn first(number: u32, file: &OpenFile, is_written: bool) -> Result<State, Error> {
        let path = path_of(number, &file.path)?;
        if file.deleted {
            return Ok(State::Copy(unnamed(path.parent())?));
        }
        let other = match regular::own(number, &file.path, is_written) {
            Ok(handle) if handle.node().size == file.identity.size => {
                match handle.open(libc::O_RDONLY as u32) {
                    Ok(file) => return Ok(State::Own { handle, file }),
                    Err(source) => Unopened::Refused(source),
                }
            }
            Ok(_) => Unopened::OtherBytes,
            Err(Error::Unopened { why, .. }) => match *why {
                Unopened::Missing(source) if source.is_gone() && is_written => {
                    // It will have a name, so it has to be on that file system.
                    let folder = path.parent().unwrap_or(Path::new("/"));
                    let made = sys::files::unnamed_in(folder);
                    let made =
                        made.map_err(|why| refuse(number, &file.path, Unopened::Unmade(why)));
                    return made.map(State::Copy);
                }
                why => why,
            },
            Err(error) => return Err(error),
        };
        if is_written {
            return Err(refuse(number, &file.path, other));
        }
        Ok(State::Copy(unnamed(None)?))
    }

    fn refuse(&self, why: Unopened) -> Error {
        refuse(self.number, &self.file.path, why)
    }

    fn disk(&self) -> impl Fn(io::Error) -> Error + use<> {
        let (number, path) = (self.number, self.file.path.clone());
        move |source| refuse(number, &path, Unopened::Disk(source))
    }

    /// All bytes up to here are 0.
    fn hole_to(&mut self, end: u64) -> Result<(), Error> {
        if let State::Own { file, .. } = &self.state
            && !is_zero(file, self.at, end).map_err(self.disk())?
        {
            self.copy_own()?;
        }
        self.at = end;
        Ok(())
    }

    fn take(&mut self, bytes: &[u8]) -> Result<(), Error> {
        if let State::Own { file, .. } = &self.state
            && !is_same(file, self.at, bytes).map_err(self.disk())?
        {
            self.copy_own()?;
        }
        if let State::Copy(copy) = &self.state {
            copy.write_all_at(bytes, self.at).map_err(self.disk())?;
        }
        self.at += bytes.len() as u64;
        Ok(())
    }

    /// The destination's own file was the same as far as here, and is not from here on.
    fn copy_own(&mut self) -> Result<(), Error> {
        if self.is_written {
            return Err(self.refuse(Unopened::OtherBytes));
        }
        let State::Own { file, .. } = &self.state else { return Ok(()) };
        let copy = unnamed(None)?;
        let (mut bytes, mut at) = (vec![0; STEP], 0);
        while at < self.at {
            let length = (self.at - at).min(STEP as u64) as usize;
            let bytes = &mut bytes[..length];
            file.read_exact_at(bytes, at).map_err(self.disk())?;
            if bytes.iter().any(|&byte| byte != 0) {
                copy.write_all_at(bytes, at).map_err(self.disk())?;
            }
            at += length as u64;
        }
        self.state = State::Copy(copy);
        Ok(())
    }

    fn finish(mut self, made: &mut Made) -> Result<Whole, Error> {
        let length = self.file.identity.size;
        self.hole_to(length)?;
        let failed = self.disk();
        let (number, deleted, is_written) = (self.number, self.file.deleted, self.is_written);
        let copy = match self.state {
            State::Own { handle, .. } => return Ok(Whole::Own(handle)),
            State::Copy(copy) => copy,
        };
        copy.set_len(length).map_err(&failed)?;
        let mode = Permissions::from_mode(self.file.mode & 0o777);
        copy.set_permissions(mode).map_err(&failed)?;
        if let Some(time) = time(self.file.identity.modified) {
            copy.set_modified(time).map_err(&failed)?;
        }
        if deleted || !is_written {
            return Ok(Whole::Copy(copy));
        }
        let path = path_of(number, &self.file.path)?;
        let unmade = |source| refuse(number, &self.file.path, Unopened::Unmade(source));
        sys::handle::name(&copy, path).map_err(unmade)?;
        let again = Handle::of(path, Links::Refused);
        let ours = Node::of(&copy.metadata().map_err(&failed)?);
        made.0.push((copy, path.to_owned()));
        // Opened by its name, so that the kernel tells that name of it.
        let again = again.map_err(unmade)?;
        if (again.node().device, again.node().inode) != (ours.device, ours.inode) {
            return Err(refuse(number, &self.file.path, Unopened::OtherKind));
        }
        Ok(Whole::Own(again))
    }
}

fn time(nanoseconds: i64) -> Option<SystemTime> {
    let since = Duration::from_nanos(u64::try_from(nanoseconds).ok()?);
    SystemTime::UNIX_EPOCH.checked_add(since)
}

fn is_same(file: &File, at: u64, wanted: &[u8]) -> io::Result<bool> {
    let mut found = vec![0; wanted.len()];
    match file.read_exact_at(&mut found, at) {
        Ok(()) => Ok(found == wanted),
        // It was cut meanwhile.
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(error),
    }
}

fn is_zero(file: &File, mut at: u64, end: u64) -> io::Result<bool> {
    let mut bytes = vec![0; STEP];
    while at < end {
        let Some(data) = sys::handle::next_data(file, at)? else { return Ok(true) };
        at = data.start;
        let stop = data.end.min(end);
        while at < stop {
            let bytes = &mut bytes[..(stop - at).min(STEP as u64) as usize];
            file.read_exact_at(bytes, at)?;
            if bytes.iter().any(|&byte| byte != 0) {
                return Ok(false);
            }
            at += bytes.len() as u64;
        }
    }
    Ok(true)
}
