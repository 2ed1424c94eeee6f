//! Which pages of a process go into an image, and putting them there.
//!
//! ```text
//!   anonymous memory              what was written of it, but pages that are all 0
//!   private, of a trusted file    what was written of it, zeros by name
//!   of any other file             all of it as far as the file goes
//!   shared memory                 all of it
//!   the vDSO                      all of it; nothing else of the kernel's
//! ```
//!
//! Bytes go through one small buffer, which stays in the processor's cache.

use std::io::Write;
use std::ops::Range;

use sys::Pid;
use sys::pagemap::{Pagemap, Wanted};
use sys::process_memory::{self, Piece};
use wire::image::memory::{Mapping, MappingKind, Pages, Place, Placed, Run, Sharing, Trust};
use wire::image::{Section, Writer};

use crate::{Description, Error};

/// Bytes that are read and put at once: half of what a processor's second cache has.
const CHUNK: usize = 1 << 19;

/// What was put.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Sent {
    /// Pages whose bytes went.
    pub pages: u64,
    /// Pages that were found to be all 0, and were not sent.
    pub zeros: u64,
}

/// Puts the pages of all mappings.
pub(super) fn send<W: Write>(
    pid: Pid,
    description: &Description,
    to: &mut Writer<W>,
) -> Result<Sent, Error> {
    let pagemap = Pagemap::open(pid)?;
    let page = u64::from(description.host.page_size);
    let mut sender = Sender::new(pid, page, to);
    for mapping in &description.mappings {
        match selection(mapping) {
            Selection::Nothing => {}
            Selection::Own { zeros } => {
                for range in pagemap.pages(mapping.start..mapping.end, Wanted::Own)? {
                    sender.put(range, zeros)?;
                }
            }
            Selection::All(zeros) => sender.put(mapping.start..mapping.end, zeros)?,
        }
    }
    sender.finish()
}

/// What is put of a mapping.
enum Selection {
    Nothing,
    Own { zeros: Zeros },
    All(Zeros),
}

/// What is done with a page that is all 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Zeros {
    /// Nothing: it is that without being told of.
    Omitted,
    /// It is named, since it hides the file's.
    Named,
}

fn selection(mapping: &Mapping) -> Selection {
    let own = Selection::Own { zeros: Zeros::Omitted };
    match (&mapping.kind, mapping.sharing) {
        (MappingKind::Guard, _) => Selection::Nothing,
        (MappingKind::Special { name }, _) if name.0 == b"[vdso]" => Selection::All(Zeros::Named),
        (MappingKind::Special { .. }, _) => Selection::Nothing,
        (MappingKind::Anonymous { .. }, Sharing::Shared) => Selection::All(Zeros::Omitted),
        (MappingKind::Anonymous { .. } | MappingKind::Heap | MappingKind::Stack, _) => own,
        (MappingKind::File(file), _) => match file.trust {
            Trust::No => Selection::All(Zeros::Omitted),
            Trust::Build(_) | Trust::Hash(_) => Selection::Own { zeros: Zeros::Named },
        },
    }
}

/// Collects ranges until a chunk is full.
struct Sender<'a, W> {
    pid: Pid,
    page: u64,
    to: &'a mut Writer<W>,
    waiting: Vec<Piece>,
    /// Whether zeros of the pieces are named.
    zeros: Zeros,
    len: usize,
    buffer: Vec<u8>,
    sent: Sent,
}

impl<'a, W: Write> Sender<'a, W> {
    fn new(pid: Pid, page: u64, to: &'a mut Writer<W>) -> Self {
        Self {
            pid,
            page,
            to,
            waiting: Vec::new(),
            zeros: Zeros::Omitted,
            len: 0,
            buffer: vec![0; CHUNK],
            sent: Sent::default(),
        }
    }

    fn put(&mut self, range: Range<u64>, zeros: Zeros) -> Result<(), Error> {
        if self.zeros != zeros {
            self.flush()?;
            self.zeros = zeros;
        }
        let mut at = range.start;
        while at < range.end {
            let len = (range.end - at).min((CHUNK - self.len) as u64);
            self.waiting.push(Piece { at, len: len as usize });
            self.len += len as usize;
            at += len;
            if self.len == CHUNK {
                self.flush()?;
            }
        }
        Ok(())
    }

    fn finish(mut self) -> Result<Sent, Error> {
        self.flush()?;
        Ok(self.sent)
    }

    fn flush(&mut self) -> Result<(), Error> {
        let pieces = std::mem::take(&mut self.waiting);
        let len = std::mem::take(&mut self.len);
        if len == 0 {
            return Ok(());
        }
        let mut buffer = std::mem::take(&mut self.buffer);
        process_memory::read_pieces(self.pid, &pieces, &mut buffer[..len])?;
        let result = self.sort(&pieces, &buffer[..len]);
        self.buffer = buffer;
        result
    }

    /// Puts pages with their bytes, and those that are all 0 by name.
    fn sort(&mut self, pieces: &[Piece], bytes: &[u8]) -> Result<(), Error> {
        let (mut full, mut zero) = (Vec::new(), Vec::new());
        let mut slices: Vec<&[u8]> = Vec::new();
        let (mut offset, mut from) = (0, 0);
        let addresses = pieces
            .iter()
            .flat_map(|piece| (piece.at..piece.at + piece.len as u64).step_by(self.page as usize));
        for at in addresses {
            let next = offset + self.page as usize;
            if is_zero(&bytes[offset..next]) {
                if from < offset {
                    slices.push(&bytes[from..offset]);
                }
                from = next;
                push(&mut zero, at / self.page);
            } else {
                push(&mut full, at / self.page);
            }
            offset = next;
        }
        if from < offset {
            slices.push(&bytes[from..offset]);
        }
        self.sent.pages += count(&full);
        self.sent.zeros += count(&zero);
        if !full.is_empty() {
            self.to.put(&Section::Pages(Pages { runs: full, names: Vec::new() }), &slices)?;
        }
        if !zero.is_empty() && self.zeros == Zeros::Named {
            self.to.put(&Section::Placed(Placed { runs: zero, place: Place::Zero }), &[])?;
        }
        Ok(())
    }
}

fn push(runs: &mut Vec<Run>, page: u64) {
    match runs.last_mut() {
        Some(last) if last.page + u64::from(last.count) == page => last.count += 1,
        _ => runs.push(Run { page, count: 1 }),
    }
}

fn count(runs: &[Run]) -> u64 {
    runs.iter().map(|run| u64::from(run.count)).sum()
}

/// Looks at words, and gives up at the first that is not 0.
fn is_zero(bytes: &[u8]) -> bool {
    let (words, rest) = bytes.as_chunks::<64>();
    rest.iter().all(|byte| *byte == 0) && words.iter().all(|word| *word == [0; 64])
}
