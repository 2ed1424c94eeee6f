//! Images: a captured process with its memory, as a file or as a stream.
//!
//! ```text
//! host (| upon) | process | thread ... | mappings ... | descriptors ... | pages, parts of files ... | index | end
//! ```
//!
//! A `Writer` puts sections onto anything that can be written, a `Reader` takes them from anything
//! that can be read; both hold one section's front at most, and page bytes go from where they are
//! straight to where they belong. What a destination has to compare and to plan with comes first. In a
//! file the same bytes can also be read in any order, by the `Index` at their end.
//!
//! An image that is upon another says only what has changed since that one was taken: whoever has the process
//! as the other one tells it makes it the process of this one.
//!
//! Pages that are 0 are only named; pages that a receiver has are named by their BLAKE3 hash, if
//! sender and receiver deal in those: hashing costs five times what the sums against damage do.
//!
//! Elsewhere: the layout to the byte (`layout`, `docs/image.md`), what makes sections one image
//! (`section`), capturing and waking a process.

pub mod paging;
mod reader;
mod writer;
mod section;
mod layout;
mod error;

pub mod descriptor;
pub mod thread;
pub mod process;
pub mod memory;
pub mod host;
pub mod text;

use std::io::{Read, Seek};

pub use error::{Error, Kind, Location, Part};
pub use layout::{Entry, ImageId, VERSION};
pub use reader::{Index, Reader};
pub use section::Section;
pub use writer::Writer;

use host::Host;
use memory::{Place, Run};
use process::Process;

/// What is in an image, without its bytes: for people who ask.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Summary {
    pub id: ImageId,
    /// The image since which it says the changes, if it is not one by itself.
    pub upon: Option<ImageId>,
    /// Bytes of the whole image.
    pub length: u64,
    pub host: Host,
    pub process: Process,
    pub threads: u64,
    pub mappings: u64,
    /// Bytes of addresses that are mapped.
    pub mapped: u64,
    pub descriptors: u64,
    pub pages: PageCounts,
    /// Bytes of files that are taken along.
    pub file_bytes: u64,
    /// In the order of their kinds.
    pub parts: Vec<PartSummary>,
}

/// Pages, by where their bytes are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PageCounts {
    pub carried: u64,
    pub zero: u64,
    pub known: u64,
    pub with_sender: u64,
    /// Pages that are not to be touched.
    pub guards: u64,
}

/// What the sections of one kind come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PartSummary {
    pub kind: Kind,
    pub sections: u64,
    /// Bytes of them all, sums and heads included.
    pub bytes: u64,
}

impl Summary {
    /// Of the image that begins here in a file, which is then behind it; `None` at the end of the file.
    /// Everything is verified but the bytes of pages and files, over which it jumps.
    pub fn decode(file: impl Read + Seek) -> Result<Option<Self>, Error> {
        let Some(mut reader) = Reader::new(file)? else { return Ok(None) };
        let (mut host, mut process, mut parts) = (None, None, Vec::<PartSummary>::new());
        let mut upon = None;
        let (mut threads, mut mappings, mut mapped, mut descriptors) = (0, 0, 0, 0);
        let (mut pages, mut file_bytes) = (PageCounts::default(), 0);
        let mut began = reader.offset();
        while let Some(section) = reader.next_section()? {
            let kind = section.kind();
            match section {
                Section::Host(told) => host = Some(*told),
                Section::Upon(image) => upon = Some(image),
                Section::Process(told) => process = Some(*told),
                Section::Thread(_) => threads += 1,
                Section::Mappings(told) => {
                    mappings += told.len() as u64;
                    mapped += told.iter().map(|mapping| mapping.end - mapping.start).sum::<u64>();
                }
                Section::Descriptors(told) => descriptors += told.len() as u64,
                Section::File(_) => file_bytes += reader.left(),
                Section::Pages(told) => pages.carried += count(&told.runs),
                Section::Placed(told) => {
                    let place = match told.place {
                        Place::Zero => &mut pages.zero,
                        Place::Known(_) => &mut pages.known,
                        Place::Sender => &mut pages.with_sender,
                        Place::Guard => &mut pages.guards,
                    };
                    *place = place.saturating_add(count(&told.runs));
                }
            }
            reader.skip()?;
            let bytes = reader.offset() - began;
            began = reader.offset();
            match parts.iter_mut().find(|part| part.kind == kind) {
                Some(part) => (part.sections, part.bytes) = (part.sections + 1, part.bytes + bytes),
                None => parts.push(PartSummary { kind, sections: 1, bytes }),
            }
        }
        let (Some(host), Some(process)) = (host, process) else {
            unreachable!("no image ends without a host and a process")
        };
        parts.sort_by_key(|part| part.kind);
        let (id, length) = (reader.id(), reader.offset());
        Ok(Some(Self {
            id,
            upon,
            length,
            host,
            process,
            threads,
            mappings,
            mapped,
            descriptors,
            pages,
            file_bytes,
            parts,
        }))
    }
}

fn count(runs: &[Run]) -> u64 {
    runs.iter().map(|run| u64::from(run.count)).sum()
}
