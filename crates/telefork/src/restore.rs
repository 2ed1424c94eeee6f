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

use std::collections::BTreeSet;
use std::io::Read;
use std::ops::Range;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;

use sys::Pid;
use sys::ptrace::{Husk, Remote, Session};
use sys::uffd::Pager;
use wire::image::{ImageId, Reader};

use crate::lazy::{self, Followed};
use crate::{Description, Error};

mod execute;
mod settings;
mod batch;
mod here;
mod backing;
mod plan;
mod vdso;
mod pages;
mod compare;
mod x86_64;
mod refusal;

pub use compare::compare;
pub use plan::{Destination, Plan, Special, Strangers, VdsoChoice, plan};
pub use refusal::Refusal;
pub(crate) use x86_64::name_caller;

/// How a process is restored.
#[derive(Clone, Debug)]
pub struct Restore {
    /// What the caller of `telefork` learns, if one called.
    pub value: i32,
    /// Whether the numbers of the process and its threads are kept where the kernel lets us and they are
    /// free; otherwise new ones are given, and the C library's records of them put right.
    pub keeps_numbers: bool,
    pub session: Session,
    pub vdso: VdsoChoice,
    pub strangers: Strangers,
    pub memory: Memory,
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
        let (strangers, memory) = (Strangers::Refused, Memory::Whole);
        Self { value: 0, keeps_numbers: true, session, vdso, strangers, memory }
    }
}

/// A process that is whole and does not run. Dropped, it is killed, and nothing of it is left.
#[derive(Debug)]
pub struct Built {
    husk: Husk,
    description: Description,
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

/// Descriptors that are the restorer's own.
const GIVEN: [u32; 3] = [0, 1, 2];

impl Restore {
    /// Makes the process of the next image on a stream, up to the image's end.
    pub fn build<R: Read>(&self, from: &mut Reader<R>) -> Result<Built, Error> {
        let (description, next) = Description::take(from)?;
        let files = backing::Files::open(&description.mappings);
        let given = BTreeSet::from(GIVEN);
        let here = here::destination(files.of, self.vdso, self.value, given, self.strangers)?;
        let plan = plan(&description, &here)?;
        let path = &description.process.directory;
        let folder =
            backing::folder(path).map_err(|why| Refusal::Folder { path: path.clone(), why })?;
        let gifts = execute::Gifts {
            program: backing::program(&description.process),
            folder,
            nothing: backing::nothing()?,
            files: files.opened,
            session: self.session,
            memory: self.memory,
            keeps_numbers: self.keeps_numbers,
        };
        let (husk, left) = execute::execute(&description, &plan, gifts, next, from)?;
        Ok(Built { husk, description, left })
    }
}

impl Built {
    pub fn pid(&self) -> Pid {
        self.husk.pid()
    }

    pub fn description(&self) -> &Description {
        &self.description
    }

    /// Lets it run.
    pub fn wake(self) -> Result<Awake, Error> {
        let pid = self.husk.pid();
        Ok(Awake { pid, pidfd: self.husk.wake()?, left: self.left })
    }
}

impl Left {
    fn new(
        remote: &mut Remote<'_>,
        ranges: Vec<Range<u64>>,
        image: ImageId,
    ) -> Result<Self, Error> {
        let pager = Pager::make_in(remote).map_err(Error::NotLazy)?;
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

#[cfg(test)]
mod tests;
