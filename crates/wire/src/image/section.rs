//! One section, and what makes a sequence of them one image.

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::descriptor::{Descriptor, FilePart, Opened};
use super::error::Kind;
use super::host::Host;
use super::layout::ImageId;
use super::memory::{Mapping, MappingKind, Pages, Place, Placed, Run};
use super::process::Process;
use super::thread::Thread;
use crate::limits::{
    IMAGE_CHUNK_MAX, IMAGE_DESCRIPTORS_MAX, IMAGE_MAPPINGS_MAX, IMAGE_THREADS_MAX,
};

/// What one section tells: its front. `File` and `Pages` have a body as well.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Section {
    Host(Box<Host>),
    /// What is told is what changed since this image; the rest is as it says.
    Upon(ImageId),
    Process(Box<Process>),
    Thread(Box<Thread>),
    /// In the order of their addresses, over all sections of this kind.
    Mappings(Vec<Mapping>),
    /// In the order of their numbers, likewise.
    Descriptors(Vec<Descriptor>),
    File(FilePart),
    Pages(Pages),
    Placed(Placed),
}

impl Section {
    pub fn kind(&self) -> Kind {
        match self {
            Self::Host(_) => Kind::Host,
            Self::Upon(_) => Kind::Upon,
            Self::Process(_) => Kind::Process,
            Self::Thread(_) => Kind::Thread,
            Self::Mappings(_) => Kind::Mappings,
            Self::Descriptors(_) => Kind::Descriptors,
            Self::File(_) => Kind::File,
            Self::Pages(_) => Kind::Pages,
            Self::Placed(_) => Kind::Placed,
        }
    }

    pub fn front(&self) -> Vec<u8> {
        match self {
            Self::Host(host) => bytes(host),
            Self::Upon(image) => bytes(image),
            Self::Process(process) => bytes(process),
            Self::Thread(thread) => bytes(thread),
            Self::Mappings(mappings) => bytes(mappings),
            Self::Descriptors(descriptors) => bytes(descriptors),
            Self::File(part) => bytes(part),
            Self::Pages(pages) => bytes(pages),
            Self::Placed(placed) => bytes(placed),
        }
    }

    /// What a front of this kind tells: all of it, and in the one way in which it is written.
    pub fn from_front(kind: Kind, front: &[u8]) -> Option<Self> {
        let section = match kind {
            Kind::Host => Self::Host(value(front)?),
            Kind::Upon => Self::Upon(value(front)?),
            Kind::Process => Self::Process(value(front)?),
            Kind::Thread => Self::Thread(value(front)?),
            Kind::Mappings => Self::Mappings(value(front)?),
            Kind::Descriptors => Self::Descriptors(value(front)?),
            Kind::File => Self::File(value(front)?),
            Kind::Pages => Self::Pages(value(front)?),
            Kind::Placed => Self::Placed(value(front)?),
        };
        (section.front() == front).then_some(section)
    }
}

fn bytes(value: &impl Serialize) -> Vec<u8> {
    match postcard::to_stdvec(value) {
        Ok(bytes) => bytes,
        Err(error) => unreachable!("these shapes have no values that cannot be written: {error}"),
    }
}

fn value<T: DeserializeOwned>(front: &[u8]) -> Option<T> {
    match postcard::take_from_bytes(front) {
        Ok((value, [])) => Some(value),
        _ => None,
    }
}

/// How far an image has come. The writer and the reader ask the same one, so nothing is written that
/// is not read.
#[derive(Clone, Debug)]
pub(super) struct Sequence {
    id: ImageId,
    latest: Option<Kind>,
    page_size: u64,
    threads: usize,
    mappings: usize,
    mapped_to: u64,
    descriptors: usize,
    next_descriptor: u64,
}

type Why = &'static str;

impl Sequence {
    /// Nothing yet of this image.
    pub(super) fn of(id: ImageId) -> Self {
        Self {
            id,
            latest: None,
            page_size: 0,
            threads: 0,
            mappings: 0,
            mapped_to: 0,
            descriptors: 0,
            next_descriptor: 0,
        }
    }

    /// Takes the next section with so many bytes of body, or says what is wrong with it.
    pub(super) fn admit(&mut self, section: &Section, body: u64) -> Result<(), Why> {
        let kind = section.kind();
        self.follows(kind)?;
        if !matches!(kind, Kind::File | Kind::Pages) && body != 0 {
            return Err("sections of this kind have no body");
        }
        match section {
            Section::Host(host) => self.host(host)?,
            Section::Upon(image) if *image == self.id => {
                return Err("it says what changed since itself");
            }
            Section::Upon(_) => {}
            Section::Process(process) => check_process(process)?,
            Section::Thread(thread) => self.thread(thread)?,
            Section::Mappings(mappings) => self.mappings(mappings)?,
            Section::Descriptors(descriptors) => self.descriptors(descriptors)?,
            Section::File(part) => check_file(part, body)?,
            Section::Pages(pages) => self.pages(pages, body)?,
            Section::Placed(placed) => self.placed(placed)?,
        }
        self.latest = Some(kind);
        Ok(())
    }

    /// Whether an image may end here.
    pub(super) fn end(&self) -> Result<(), Why> {
        if self.threads == 0 { Err("it tells of no thread") } else { Ok(()) }
    }

    /// Whether the host was told of, and with it how large a page is.
    pub(super) fn knows_pages(&self) -> bool {
        self.page_size != 0
    }

    /// Takes any section as the next one: each by itself must still be right.
    pub(super) fn any_order(&mut self, kind: Kind) {
        self.latest = match kind {
            Kind::Host => None,
            Kind::Upon | Kind::Process => Some(Kind::Host),
            _ => Some(Kind::Thread),
        };
        (self.threads, self.mappings, self.mapped_to) = (0, 0, 0);
        (self.descriptors, self.next_descriptor) = (0, 0);
    }

    fn follows(&self, kind: Kind) -> Result<(), Why> {
        let fits = match (self.latest, kind) {
            (None, kind) => kind == Kind::Host,
            (Some(Kind::Host), kind) => matches!(kind, Kind::Upon | Kind::Process),
            (Some(Kind::Upon), kind) => kind == Kind::Process,
            (Some(Kind::Process), kind) => kind == Kind::Thread,
            (Some(latest), Kind::File | Kind::Pages | Kind::Placed) => latest >= Kind::Thread,
            (Some(latest), kind) => kind >= Kind::Thread && kind >= latest,
        };
        if fits { Ok(()) } else { Err("it comes at a place where it does not belong") }
    }

    fn host(&mut self, host: &Host) -> Result<(), Why> {
        if ![4096, 16 << 10, 64 << 10].contains(&host.page_size) {
            return Err("its pages have a size that no supported host has");
        }
        self.page_size = u64::from(host.page_size);
        Ok(())
    }

    fn thread(&mut self, thread: &Thread) -> Result<(), Why> {
        self.threads += 1;
        if self.threads > IMAGE_THREADS_MAX {
            return Err("it has more threads than are taken");
        }
        let registers = thread.registers.general.len() as u64;
        match thread.caller {
            Some(caller) if u64::from(caller.register) + 8 > registers => {
                Err("the caller's register lies outside of its registers")
            }
            _ if thread.tid <= 0 => Err("a thread has no number"),
            _ => Ok(()),
        }
    }

    fn mappings(&mut self, mappings: &[Mapping]) -> Result<(), Why> {
        self.mappings += mappings.len();
        if self.mappings > IMAGE_MAPPINGS_MAX {
            return Err("it has more mappings than are taken");
        }
        for mapping in mappings {
            let whole = [mapping.start, mapping.end].iter().all(|at| at % self.page_size == 0);
            if !whole || mapping.start >= mapping.end {
                return Err("a mapping is not of whole pages");
            }
            if mapping.start < self.mapped_to {
                return Err("mappings overlap, or are not in the order of their addresses");
            }
            match &mapping.kind {
                MappingKind::File(file) if file.offset % self.page_size != 0 => {
                    return Err("a mapping does not begin at a page of its file");
                }
                _ => self.mapped_to = mapping.end,
            }
        }
        Ok(())
    }

    fn descriptors(&mut self, descriptors: &[Descriptor]) -> Result<(), Why> {
        self.descriptors += descriptors.len();
        if self.descriptors > IMAGE_DESCRIPTORS_MAX {
            return Err("it has more descriptors than are taken");
        }
        for descriptor in descriptors {
            let number = u64::from(descriptor.number);
            if number < self.next_descriptor {
                return Err("descriptors are not in the order of their numbers");
            }
            self.next_descriptor = number + 1;
            match &descriptor.what {
                Opened::File(file) if file.offset > i64::MAX as u64 => {
                    return Err("a file's offset is beyond any file");
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn pages(&self, pages: &Pages, body: u64) -> Result<(), Why> {
        let count = self.count(&pages.runs)?;
        if body > IMAGE_CHUNK_MAX as u64 {
            return Err("it has more bytes than one section may");
        }
        if count.checked_mul(self.page_size) != Some(body) {
            return Err("its bytes are more or fewer than its pages");
        }
        if !pages.names.is_empty() && pages.names.len() as u64 != count {
            return Err("it has not one hash for each page");
        }
        Ok(())
    }

    fn placed(&self, placed: &Placed) -> Result<(), Why> {
        let count = self.count(&placed.runs)?;
        match &placed.place {
            Place::Known(names) if names.len() as u64 != count => {
                Err("it has not one hash for each page")
            }
            Place::Known(_) | Place::Zero | Place::Sender | Place::Guard => Ok(()),
        }
    }

    /// How many pages these runs are, which rise and do not touch what is no address.
    fn count(&self, runs: &[Run]) -> Result<u64, Why> {
        let (mut count, mut next) = (0_u64, 0_u64);
        for run in runs {
            if run.count == 0 || run.page < next {
                return Err("its runs of pages are empty, overlap, or are not in their order");
            }
            next = run.page.saturating_add(u64::from(run.count));
            if next > u64::MAX / self.page_size {
                return Err("a page lies beyond all addresses");
            }
            count += u64::from(run.count);
        }
        if count == 0 { Err("it tells of no page") } else { Ok(count) }
    }
}

fn check_process(process: &Process) -> Result<(), Why> {
    let signals: Vec<u8> = process.actions.iter().map(|action| action.signal).collect();
    if !signals.iter().all(|signal| (1..=64).contains(signal)) {
        return Err("it has an action for a signal that there is not");
    }
    if !signals.is_sorted_by(|one, next| one < next) {
        return Err("its signal actions are not in the order of their signals");
    }
    Ok(())
}

fn check_file(part: &FilePart, body: u64) -> Result<(), Why> {
    if body > IMAGE_CHUNK_MAX as u64 {
        return Err("it has more bytes than one section may");
    }
    match part.offset.checked_add(body) {
        Some(end) if end <= part.length && part.length <= i64::MAX as u64 => Ok(()),
        _ => Err("it goes beyond the end of its file"),
    }
}
