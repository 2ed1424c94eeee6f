//! The bytes of files that are taken along, held while the process is stopped and sent when there is time.
//!
//! A file that somebody else changes meanwhile is an error: what would arrive never was. Holding takes a
//! descriptor for each file and copies nothing, unless the process goes on before all is sent.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Seek, SeekFrom, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::path::Path;

use sys::Pid;
use sys::descriptors::Node;
use wire::image::descriptor::{Content, Descriptor, FileNo, FilePart, OpenFile, Opened};
use wire::image::memory::FileIdentity;
use wire::image::text::Text;
use wire::image::{Section, Writer};
use wire::limits::IMAGE_CHUNK_MAX;
use wire::name::Hash;

use super::regular;
use crate::Error;

/// Bytes that are read at once: few enough to stay in a processor's cache.
const STEP: usize = 256 << 10;
const _: () = assert!(STEP <= IMAGE_CHUNK_MAX);

/// Files that are taken along, open.
#[derive(Debug)]
pub struct Held(Vec<HeldFile>);

#[derive(Debug)]
struct HeldFile {
    of: FileNo,
    number: u32,
    path: Text,
    length: u64,
    /// What it must still be when it was sent; `None` for a copy, which nobody else knows.
    identity: Option<FileIdentity>,
    is_written: bool,
    file: File,
    /// A descriptor that shares its offset with the process must not be moved.
    can_seek: bool,
    deleted: bool,
}

/// Opens what these descriptors want to be taken along. The process is stopped.
pub fn hold(pid: Pid, descriptors: &[Descriptor]) -> Result<Held, Error> {
    let mut held: Vec<HeldFile> = Vec::new();
    for descriptor in descriptors {
        let Some((open, of)) = shipped(descriptor) else { continue };
        let is_written = regular::writes(descriptor.flags);
        if let Some(known) = held.iter_mut().find(|known| known.of == of) {
            known.is_written |= is_written;
            continue;
        }
        let number = descriptor.number;
        let (file, can_seek) = match sys::descriptors::open(pid, number) {
            Ok(file) => (file, true),
            // It was opened with rights that are gone; only that descriptor still has them.
            Err(_) if descriptor.flags.cast_signed() & libc::O_ACCMODE != libc::O_WRONLY => {
                (File::from(sys::descriptors::copy(pid, number)?), false)
            }
            Err(source) => {
                return Err(Error::Unreadable { number, path: open.path.clone(), source });
            }
        };
        let (path, length) = (open.path.clone(), open.identity.size);
        let identity = Some(open.identity);
        let deleted = open.deleted;
        held.push(HeldFile {
            of,
            number,
            path,
            length,
            identity,
            is_written,
            file,
            can_seek,
            deleted,
        });
    }
    held.iter().try_for_each(HeldFile::check)?;
    Ok(Held(held))
}

/// Sends all that these descriptors want to be taken along. The process stays stopped.
pub fn send<W: Write>(
    pid: Pid,
    descriptors: &[Descriptor],
    to: &mut Writer<W>,
) -> Result<(), Error> {
    hold(pid, descriptors)?.send(to)
}

fn shipped(descriptor: &Descriptor) -> Option<(&OpenFile, FileNo)> {
    match &descriptor.what {
        Opened::File(open @ OpenFile { content: Content::Shipped(of), .. }) => Some((open, *of)),
        _ => None,
    }
}

impl Held {
    /// Bytes that are to be sent at most.
    pub fn length(&self) -> u64 {
        self.0.iter().map(|held| held.length).sum()
    }

    /// Copies those that the process itself may write, so that it can go on before they are sent.
    pub fn copy_written(&mut self) -> Result<(), Error> {
        for held in self.0.iter_mut().filter(|held| held.is_written) {
            let folder = Path::new(OsStr::from_bytes(&held.path.0)).parent();
            let copy = regular::unnamed(folder)?;
            let copied = held.data(|from, range, file| {
                if from {
                    (&*file).seek(SeekFrom::Start(range.start))?;
                    (&copy).seek(SeekFrom::Start(range.start))?;
                    let length = range.end - range.start;
                    return match io::copy(&mut io::Read::take(file, length), &mut &copy)? {
                        copied if copied == length => Ok(()),
                        _ => Err(io::ErrorKind::UnexpectedEof.into()),
                    };
                }
                let mut bytes = vec![0; STEP];
                steps(range, |at, length| {
                    file.read_exact_at(&mut bytes[..length], at)?;
                    copy.write_all_at(&bytes[..length], at)
                })
            });
            copied.map_err(|source| held.unread(source))?;
            copy.set_len(held.length).map_err(|source| held.unread(source))?;
            held.check()?;
            (held.file, held.can_seek, held.identity) = (copy, true, None);
        }
        Ok(())
    }

    /// Puts all of them into an image.
    pub fn send<W: Write>(&self, to: &mut Writer<W>) -> Result<(), Error> {
        let mut bytes = vec![0; STEP];
        for held in &self.0 {
            let mut failed = None;
            let sent = held.data(|_, range, file| {
                steps(range, |at, length| {
                    let bytes = &mut bytes[..length];
                    file.read_exact_at(bytes, at)?;
                    let part = FilePart { file: held.of, offset: at, length: held.length };
                    to.put(&Section::File(part), &[bytes]).map_err(|error| {
                        failed = Some(error);
                        io::ErrorKind::Other.into()
                    })
                })
            });
            if let Some(error) = failed {
                return Err(error.into());
            }
            sent.map_err(|source| held.unread(source))?;
            held.check()?;
        }
        Ok(())
    }
}

impl HeldFile {
    /// Goes through the file without its holes: `with` gets whether the file may be sought in.
    fn data(
        &self,
        mut with: impl FnMut(bool, std::ops::Range<u64>, &File) -> io::Result<()>,
    ) -> io::Result<()> {
        let mut at = 0;
        while at < self.length {
            let range = match self.can_seek {
                true => sys::handle::next_data(&self.file, at)?,
                false => Some(at..self.length),
            };
            let Some(range) = range.filter(|range| range.start < self.length) else { break };
            at = range.end.min(self.length);
            with(self.can_seek, range.start..at, &self.file)?;
        }
        Ok(())
    }

    fn check(&self) -> Result<(), Error> {
        let Some(identity) = self.identity else { return Ok(()) };
        let found = self.file.metadata().map_err(|source| self.unread(source))?;
        let Node { device, inode, size, modified, .. } = Node::of(&found);
        if (FileIdentity { device, inode, size, modified }) == identity {
            return Ok(());
        }
        Err(Error::Changing { number: self.number, path: self.path.clone() })
    }

    fn unread(&self, source: io::Error) -> Error {
        if source.kind() == io::ErrorKind::UnexpectedEof {
            return Error::Changing { number: self.number, path: self.path.clone() };
        }
        let source = sys::Error::Kernel { action: "read a file that is to be taken along", source };
        Error::Unreadable { number: self.number, path: self.path.clone(), source }
    }
}

/// The range in steps.
fn steps(
    range: std::ops::Range<u64>,
    mut with: impl FnMut(u64, usize) -> io::Result<()>,
) -> io::Result<()> {
    let mut at = range.start;
    while at < range.end {
        let length = (range.end - at).min(STEP as u64) as usize;
        with(at, length)?;
        at += length as u64;
    }
    Ok(())
}

/// A file that need not be sent if the destination has it: told before an image is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offer {
    pub file: FileNo,
    pub path: Text,
    pub length: u64,
    pub hash: Hash,
    pub is_written: bool,
}

impl Held {
    /// What could be left out, of files of at least so many bytes: hashing is worth it only for large ones.
    pub fn offers(&self, least: u64) -> Result<Vec<Offer>, Error> {
        let large =
            self.0.iter().filter(|held| held.length >= least && held.can_seek && !held.deleted);
        large
            .map(|held| {
                let rewound = (&held.file).seek(SeekFrom::Start(0));
                let hash = rewound.and_then(|_| regular::hash_of(&held.file));
                let hash = hash.map_err(|source| held.unread(source))?;
                let (path, length) = (held.path.clone(), held.length);
                Ok(Offer { file: held.of, path, length, hash, is_written: held.is_written })
            })
            .collect()
    }

    /// Leaves out what the destination does not want.
    pub fn leave_out(&mut self, unwanted: &BTreeSet<FileNo>) {
        self.0.retain(|held| !unwanted.contains(&held.of));
    }
}

/// The destination's answer: those of which it has not the same bytes under the same path.
pub fn wanted(offers: &[Offer]) -> BTreeSet<FileNo> {
    let has = |offer: &Offer| {
        let own = regular::own(0, &offer.path, offer.is_written).ok()?;
        let same = own.node().size == offer.length;
        let file = own.open(libc::O_RDONLY as u32).ok().filter(|_| same)?;
        regular::has_hash(&file, offer.hash).ok()
    };
    offers.iter().filter(|offer| has(offer) != Some(true)).map(|offer| offer.file).collect()
}

/// Makes descriptors say that what is not wanted is the same there.
pub fn withhold(descriptors: &mut [Descriptor], offers: &[Offer], wanted: &BTreeSet<FileNo>) {
    for descriptor in descriptors {
        let Opened::File(OpenFile { content, deleted: false, .. }) = &mut descriptor.what else {
            continue;
        };
        let Content::Shipped(of) = *content else { continue };
        if let Some(offer) = offers.iter().find(|offer| offer.file == of && !wanted.contains(&of)) {
            *content = Content::Same(offer.hash);
        }
    }
}
