//! An image becomes a process here, and wakes.
//!
//! ```text
//!   Reader ──▶ Description ──▶ plan (pure) ──▶ execute ──▶ Built ──▶ wake
//! ```
//!
//! Everything that can be refused is refused by the plan, before there is a process; what is built is
//! killed with the thread that builds it, and runs only when the image's end was read and it is told to wake.
//!
//! Elsewhere: the image to the byte (`wire::image`), the husk that is filled (`sys::ptrace`).

use std::io::Read;
use std::ops::Range;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;

use sys::Pid;
use sys::ptrace::{Husk, Remote, Session, Stopped};
use sys::uffd::{Pager, Right};
use wire::image::{ImageId, Reader, Section};

use crate::files::{self, Arriving, Overrides, Stdio};
use crate::lazy::{self, Followed};
use crate::{Description, Error, Refusal};
use execute::Table;

mod base;
mod execute;
mod memory;
mod large;
mod settings;
mod batch;
mod here;
mod backing;
mod plan;
mod vdso;
mod pages;
mod compare;
mod nouns;
mod x86_64;

pub use base::{Base, Holdings, Opened};
pub use compare::compare;
pub use nouns::{Destination, Map, Source, Special, Strangers, VdsoChoice};
pub use plan::{Plan, plan};
pub(crate) use x86_64::{answer_caller, name_caller};

/// How a process is restored.
#[derive(Debug)]
pub struct Restore {
    /// What the caller of `telefork` learns, if one called.
    pub value: i32,
    /// Whether the numbers of the process and its threads are kept where the kernel lets us and they are
    /// free; otherwise new ones are given, and the C library's records of them put right.
    pub keeps_numbers: bool,
    pub session: Session,
    /// Whether one that led a process group leads one in the caller's session.
    pub keeps_group: bool,
    pub vdso: VdsoChoice,
    pub descriptors: Descriptors,
    pub memory: Memory,
    /// By which its missing pages are answered; without one, by the rights of this process.
    pub right: Option<Right>,
    /// Whether it is killed when the thread ends that built it, if it has not asked for another signal then.
    pub ends_with_builder: bool,
}

/// What a restored process has open.
#[derive(Debug)]
pub enum Descriptors {
    /// What its image says, opened or made here; these in the place of streams and terminals that stayed.
    Opened(Stdio, Overrides),
    /// 0, 1 and 2 of the process that restores it, and these under their numbers. The numbers of all others are
    /// taken by what can be closed, and fails with EBADF when it is used.
    Dead(Vec<(u32, OwnedFd)>),
}

/// When the memory of a process has to be here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Memory {
    /// Before it wakes: an image that leaves pages behind is refused.
    Whole,
    /// Pages that an image leaves behind come while it runs. Needs CAP_SYS_PTRACE.
    Following,
}

impl Default for Restore {
    fn default() -> Self {
        let (session, vdso) = (Session::Callers, VdsoChoice::Compared);
        let descriptors = Descriptors::Opened(Stdio::Inherit, Overrides::none());
        let memory = Memory::Whole;
        Self {
            value: 0,
            keeps_numbers: true,
            session,
            keeps_group: true,
            vdso,
            descriptors,
            memory,
            right: None,
            ends_with_builder: false,
        }
    }
}

/// A process that is whole and does not run. Dropped, it is killed, and nothing of it is left.
#[derive(Debug)]
pub struct Built {
    husk: Husk,
    description: Description,
    /// Files that were made for it: they go again with this.
    made: Option<files::Arrived>,
    left: Option<Left>,
}

/// A process that runs: a child of this one.
#[derive(Debug)]
pub struct Awake {
    pub pid: Pid,
    /// Becomes readable when it ends.
    pub pidfd: OwnedFd,
    /// The memory that is still to come: whoever touches it waits until it is served.
    pub left: Option<Left>,
}

/// Memory of a process that its image left behind.
#[derive(Debug)]
pub struct Left {
    pager: Pager,
    ranges: Vec<Range<u64>>,
    image: ImageId,
}

impl Restore {
    /// Makes the process of the next image on a stream, up to the image's end.
    pub fn build<R: Read>(self, from: &mut Reader<R>) -> Result<Built, Error> {
        let (mut description, mut next) = Description::take(from)?;
        self.bind(&mut description);
        let (mapped, here) = self.destination(&description)?;
        let session = self.session_of(&description);
        let plan = plan(&description, &here)?;
        let path = &description.process.directory;
        let folder =
            backing::folder(path).map_err(|why| Refusal::Folder { path: path.clone(), why })?;
        let (held, made) = match self.descriptors {
            Descriptors::Dead(given) => (Table::given(given), None),
            Descriptors::Opened(stdio, overrides) => {
                let mut arriving = Arriving::new(&description.descriptors, stdio, &overrides)?;
                while let Some(Section::File(part)) = &next {
                    arriving.part(part, from)?;
                    next = from.next_section()?;
                }
                let mut arrived = arriving.finish()?;
                (Table::arrived(&mut arrived), Some(arrived))
            }
        };
        let gifts = execute::Gifts {
            program: backing::program(&description.process),
            folder,
            nothing: backing::nothing()?,
            mapped,
            held,
            session,
            memory: self.memory,
            right: self.right,
            keeps_numbers: self.keeps_numbers,
        };
        let (husk, left) = execute::execute(&description, &plan, gifts, next, from)?;
        Ok(Built { husk, description, made, left })
    }

    fn bind(&self, description: &mut Description) {
        if self.ends_with_builder {
            bind_to_builder(description);
        }
    }

    /// This host, with the files behind the mappings of a process, opened.
    fn destination(&self, description: &Description) -> Result<(Vec<OwnedFd>, Destination), Error> {
        let mapped = backing::Files::open(&description.mappings);
        let strangers = match self.descriptors {
            Descriptors::Opened(..) => Strangers::Opened,
            Descriptors::Dead(_) => Strangers::Dead,
        };
        let here = here::destination(mapped.of, self.vdso, self.value, strangers)?;
        Ok((mapped.opened, here))
    }

    fn session_of(&self, description: &Description) -> Session {
        match self.session {
            Session::Callers if self.keeps_group && description.process.session.leads_group => {
                Session::Group
            }
            session => session,
        }
    }
}

/// It is killed when who built it ends, if it has not asked for another signal then.
fn bind_to_builder(description: &mut Description) {
    let attributes = &mut description.process.attributes;
    if attributes.parent_death_signal == 0 {
        attributes.parent_death_signal = libc::SIGKILL.unsigned_abs();
    }
}

impl Built {
    pub fn pid(&self) -> Pid {
        self.husk.pid()
    }

    pub fn description(&self) -> &Description {
        &self.description
    }

    /// The first of its threads that has another number than it had, and that number; the process's own first.
    pub fn renumbered(&mut self) -> Option<(Pid, Pid)> {
        let here = self.husk.tracee().threads().iter().map(Stopped::tid);
        let there = self.description.threads.iter().map(|thread| Pid(thread.tid));
        there.zip(here).find(|(there, here)| there != here)
    }

    /// Whether some of its memory is still to come.
    pub fn leaves_behind(&self) -> bool {
        self.left.is_some()
    }

    /// Lets it run.
    pub fn wake(self) -> Result<Awake, Error> {
        let pid = self.husk.pid();
        let pidfd = self.husk.wake()?;
        if let Some(made) = self.made {
            made.keep();
        }
        Ok(Awake { pid, pidfd, left: self.left })
    }
}

impl Left {
    fn new(
        remote: &mut Remote<'_>,
        ranges: Vec<Range<u64>>,
        image: ImageId,
        right: Option<&Right>,
        device: Option<u64>,
    ) -> Result<Self, Error> {
        let pager = match right {
            None => Pager::make_in(remote),
            Some(right) => Pager::make_by(remote, right, device),
        };
        let pager = pager.map_err(Error::NotLazy)?;
        Ok(Self { pager, ranges, image })
    }

    fn register(&self) -> Result<(), Error> {
        let each = |range: &Range<u64>| self.pager.register(range.start, range.end - range.start);
        Ok(self.ranges.iter().try_for_each(each)?)
    }

    /// Serves it until all of it is here; see [`lazy::follow`].
    pub fn follow(
        self,
        stream: &UnixStream,
        faults: &UnixStream,
        lose: impl FnOnce(),
    ) -> Result<Followed, Error> {
        lazy::follow(self.pager, self.ranges, self.image, stream, faults, lose)
    }
}
