//! The memory of a process, kept: changed by images that say what has changed, forked, and finished.
//!
//! ```text
//!   Restore::base ──▶ Base ── change ──▶ Base ── fork ──▶ Base ── finish ──▶ Built
//!                      │                  │
//!                      └──── finish       └── it stays, for the next change
//! ```
//!
//! What finishes a process may come much later than its memory, and again for each fork of it: descriptors are
//! handed to it then, over a socket that it was started with.

use std::io::Read;
use std::net::Shutdown;
use std::ops::Range;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;

use sys::maps::Mapping;
use sys::ptrace::{Husk, Inherited, REMOTE_LEN, Remote, Session, Start};
use sys::{Pid, maps, process_memory, socket};
use wire::image::descriptor::Descriptor;
use wire::image::memory::{Backing, MappingKind, Place as Elsewhere, Run};
use wire::image::{ImageId, Reader, Section};

use super::batch::{Argument, Batch, MESSAGE_HEAD};
use super::execute::{self, Held, PATIENCE, Table};
use super::large::Large;
use super::memory::{self, BUFFER, Ground, PR_SET_VMA};
use super::nouns::{Destination, Map, PAGE, Source};
use super::pages::{Named, Place};
use super::plan::{Plan, plan};
use super::{Built, Descriptors, Memory, Restore, backing};
use crate::difference::{Difference, Step, difference};
use crate::files::{Arrived, Arriving, Overrides, Stdio};
use crate::{Description, Error, Refusal};

/// A stopped process that has the memory of an image and nothing else of it. Dropped, it is gone.
#[derive(Debug)]
pub struct Base {
    /// `None` once a change has failed: what it was it is not any more.
    husk: Option<Husk>,
    /// The image that it was last made or changed to.
    id: ImageId,
    description: Description,
    plan: Plan,
    here: Destination,
    /// The kernel's own that is not at a place of the image's.
    aside: Range<u64>,
    door: Door,
    terms: Terms,
    is_fork: bool,
    /// Of one that was forked: what calls need lies in it.
    inherited: Option<Inherited>,
}

/// The way by which descriptors come to it, and its number over there.
#[derive(Debug)]
struct Door {
    ours: UnixStream,
    theirs: i32,
}

/// What was asked for when it was begun.
#[derive(Debug, Clone, Copy)]
struct Terms {
    keeps_numbers: bool,
    session: Session,
    ends_with_builder: bool,
}

/// What a finished process has open.
#[derive(Debug)]
pub enum Holdings {
    /// Opened, or given, now.
    Now(Descriptors),
    /// Opened as their bytes came.
    Came(Opened),
}

/// Files of an image that came with a change.
#[derive(Debug)]
pub struct Opened(Arrived);

impl Restore {
    /// Makes the memory of the process of the next image on a stream, up to the image's end. Files that it
    /// takes along are read over. Of what is wished here, descriptors and memory that follows count for nothing.
    pub fn base<R: Read>(self, from: &mut Reader<R>) -> Result<Base, Error> {
        let (mut description, next) = Description::take(from)?;
        self.bind(&mut description);
        let (mapped, here) = self.destination(&description)?;
        let plan = plan(&description, &here)?;
        let (ours, theirs) = socket::pair().map_err(sys_error("make a socket for a process"))?;
        let session = self.session_of(&description);
        let mut descriptors = mapped;
        descriptors.push(theirs.into());
        let start = Start {
            program: sys::ptrace::Program::Own,
            descriptors: &descriptors,
            above: above(&description.descriptors),
            pid: self.keeps_numbers.then_some(Pid(description.process.pid)),
            session,
        };
        let mut husk = execute::start(backing::program(&description.process).as_ref(), start)?;
        drop(descriptors);
        let numbers = husk.numbers().to_vec();
        let found = maps::mappings(husk.pid())?;
        let taken: Vec<_> = found.iter().map(|mapping: &Mapping| mapping.range.clone()).collect();
        let room = plan.room(&taken)?;
        let main = &mut husk.tracee().threads_mut()[0];
        let mut remote = Remote::enter_at(main, room, PATIENCE)?;
        let ground = Ground { room, found: &found, numbers: &numbers };
        memory::make(&mut remote, &plan, &ground, Memory::Whole, next, from)?;
        let mut batch = Batch::default();
        let (door, files) = numbers.split_last().map_or((-1, &[][..]), |(door, it)| (*door, it));
        for number in files {
            batch.must("close files of", libc::SYS_close, &[(*number as u64).into()]);
        }
        batch.run(&mut remote)?;
        remote.finish()?;
        let staging = if plan.vdso.is_moved() { 0 } else { plan.vdso.staging() };
        let aside = room + REMOTE_LEN..room + REMOTE_LEN + staging;
        let Self { keeps_numbers, ends_with_builder, .. } = self;
        Ok(Base {
            husk: Some(husk),
            id: from.id(),
            description,
            plan,
            here,
            aside,
            door: Door { ours, theirs: door },
            terms: Terms { keeps_numbers, session, ends_with_builder },
            is_fork: false,
            inherited: None,
        })
    }
}

impl Base {
    /// The image upon which the next change has to be.
    pub fn id(&self) -> ImageId {
        self.id
    }

    /// Of the process as it is after the last change.
    pub fn description(&self) -> &Description {
        &self.description
    }

    pub fn pid(&self) -> Result<Pid, Error> {
        Ok(self.husk.as_ref().ok_or(Error::BaseGone)?.pid())
    }

    /// Makes it what the next image on a stream says, which is upon its own. What does not fit is refused
    /// before anything of it is touched; if the image breaks off later, the base is gone. Files that come with
    /// it are read over.
    pub fn change<R: Read>(&mut self, from: &mut Reader<R>) -> Result<(), Error> {
        self.change_with(from, |_, next, _| Ok(((), next)))
    }

    /// The same, and opens what the image says is open, for `finish`.
    pub fn change_and_open<R: Read>(
        &mut self,
        from: &mut Reader<R>,
        stdio: Stdio,
        overrides: &Overrides,
    ) -> Result<Opened, Error> {
        self.change_with(from, |descriptors, mut next, from| {
            let mut arriving = Arriving::new(descriptors, stdio, overrides)?;
            while let Some(Section::File(part)) = &next {
                arriving.part(part, from)?;
                next = from.next_section()?;
            }
            Ok((Opened(arriving.finish()?), next))
        })
    }

    fn change_with<R: Read, T>(
        &mut self,
        from: &mut Reader<R>,
        files: impl FnOnce(
            &[Descriptor],
            Option<Section>,
            &mut Reader<R>,
        ) -> Result<(T, Option<Section>), Error>,
    ) -> Result<T, Error> {
        let (mut description, upon, next) = Description::take_upon(from)?;
        if upon != Some(self.id) {
            return Err(Refusal::Upon { wanted: upon, found: self.id }.into());
        }
        if self.terms.ends_with_builder {
            super::bind_to_builder(&mut description);
        }
        if description.host != self.description.host {
            return Err(Refusal::OtherHost.into());
        }
        let old = &self.description.mappings;
        let difference = difference(old, &description.mappings).map_err(Refusal::Unchangeable)?;
        let mut here = self.here.clone();
        here.files = description.mappings.iter().map(|it| self.file_of(&it.kind)).collect();
        let plan = plan(&description, &here)?;
        let aside = &self.aside;
        if let Some(map) = plan.maps.iter().find(|it| overlap(&it.range, aside)) {
            let why = "the kernel's own is kept there; send all of the process anew";
            return Err(Refusal::Memory { at: map.range.start, why }.into());
        }
        let room = self.room(&plan)?;
        let (opened, next) = files(&description.descriptors, next, from)?;
        // From here on it is neither what it was nor what it is to be.
        let mut husk = self.husk.take().ok_or(Error::BaseGone)?;
        let main = &mut husk.tracee().threads_mut()[0];
        if let Some(inherited) = self.inherited.take() {
            // It may lie where something is to come.
            Remote::inherit(main, inherited, PATIENCE)?.finish()?;
        }
        let mut remote = Remote::enter_at(main, room, PATIENCE)?;
        step(&mut remote, &description, &plan, &difference)?;
        pages(&mut remote, &plan, &difference, next, from)?;
        remote.finish()?;
        self.husk = Some(husk);
        self.id = from.id();
        (self.description, self.plan, self.here) = (description, plan, here);
        Ok(opened)
    }

    /// Makes another one that has the same memory: a child of this process as this one is.
    pub fn fork(&mut self) -> Result<Self, Error> {
        let room = self.room(&self.plan)?;
        let husk = self.husk.as_mut().ok_or(Error::BaseGone)?;
        let main = &mut husk.tracee().threads_mut()[0];
        let mut remote = match self.inherited.take() {
            Some(inherited) => Remote::inherit(main, inherited, PATIENCE)?,
            None => Remote::enter_at(main, room, PATIENCE)?,
        };
        let mut batch = Batch::default();
        batch.must("fork", libc::SYS_clone, &[FORK.into()]);
        batch.run(&mut remote)?;
        let pid = remote.pid();
        let born = remote.born()?.pop().ok_or(Error::Unborn { pid })?;
        let inherited = remote.inherited();
        remote.finish()?;
        let mut forked = Husk::forked(husk, born)?;
        let inherited = unshare(pid, &mut forked, inherited, &self.plan.maps)?;
        let ours = self.door.ours.try_clone().map_err(sys_error("keep the way to a process"))?;
        Ok(Self {
            husk: Some(forked),
            id: self.id,
            description: self.description.clone(),
            plan: self.plan.clone(),
            here: self.here.clone(),
            aside: self.aside.clone(),
            door: Door { ours, theirs: self.door.theirs },
            // Its number is another already.
            terms: Terms { keeps_numbers: false, ..self.terms },
            is_fork: true,
            inherited,
        })
    }

    /// Gives it the rest of the process as the last image says it.
    pub fn finish(mut self, holdings: Holdings) -> Result<Built, Error> {
        let room = self.room(&self.plan)?;
        let mut husk = self.husk.take().ok_or(Error::BaseGone)?;
        let description = self.description;
        let path = &description.process.directory;
        let folder =
            backing::folder(path).map_err(|why| Refusal::Folder { path: path.clone(), why })?;
        let (table, made) = match holdings {
            Holdings::Came(Opened(mut arrived)) => (Table::arrived(&mut arrived), Some(arrived)),
            Holdings::Now(Descriptors::Dead(given)) => (Table::given(given), None),
            Holdings::Now(Descriptors::Opened(stdio, overrides)) => {
                let arriving = Arriving::new(&description.descriptors, stdio, &overrides)?;
                let mut arrived = arriving.finish()?;
                (Table::arrived(&mut arrived), Some(arrived))
            }
        };
        let mut handed = table.opened;
        handed.extend([backing::nothing()?, folder]);
        let main = &mut husk.tracee().threads_mut()[0];
        let mut remote = match self.inherited {
            Some(inherited) => Remote::inherit(main, inherited, PATIENCE)?,
            None => Remote::enter_at(main, room, PATIENCE)?,
        };
        let numbers = self.door.hand(&mut remote, handed)?;
        let mut batch = Batch::default();
        if self.is_fork {
            match self.terms.session {
                Session::Callers => {}
                Session::Group => {
                    batch.must("lead a group with", libc::SYS_setpgid, &[0.into(), 0.into()]);
                }
                Session::Own => batch.must("begin a session with", libc::SYS_setsid, &[]),
            }
        }
        // They came under the lowest numbers, which may be those of others.
        let wanted = table.numbers.iter().map(|it| it.number as i32);
        let highest = wanted.chain(numbers.iter().copied()).chain([self.door.theirs]).max();
        let first = above(&description.descriptors).max(highest.unwrap_or(2)) + 1;
        let moved: Vec<i32> = (first..).take(numbers.len()).collect();
        for (from, to) in numbers.iter().zip(&moved) {
            let args = [*from as u64, *to as u64, 0].map(Argument::from);
            batch.must("number a descriptor of", libc::SYS_dup3, &args);
            batch.must("close files of", libc::SYS_close, &[(*from as u64).into()]);
        }
        let [.., nothing, folder] = moved[..] else { unreachable!("both were handed over") };
        let closed = moved.iter().copied().chain([self.door.theirs]).collect();
        let all = table.numbers.into_iter().map(|it| (moved[it.opened], it)).collect();
        let held = Held { all, keeps_standard: table.keeps_standard, nothing, folder, closed };
        let keeps_numbers = self.terms.keeps_numbers;
        let (threads, sections) =
            execute::rest(&mut remote, &description, &self.plan, &held, keeps_numbers, batch)?;
        remote.finish()?;
        execute::load(&mut husk, &description, &self.plan, threads, sections)?;
        Ok(Built { husk, description, made, left: None })
    }

    /// Which of the files of its first image lies behind a mapping.
    fn file_of(&self, kind: &MappingKind) -> Option<usize> {
        let MappingKind::File(wanted) = kind else { return None };
        let is_same = |known: &Backing| {
            (&known.path, known.identity, &known.trust, known.deleted)
                == (&wanted.path, wanted.identity, &wanted.trust, wanted.deleted)
        };
        let known = self.description.mappings.iter().zip(&self.here.files);
        known.into_iter().find_map(|(mapping, file)| match &mapping.kind {
            MappingKind::File(known) if is_same(known) => *file,
            _ => None,
        })
    }

    /// Where calls can have what they need beside what there is and what is to be.
    fn room(&self, next: &Plan) -> Result<u64, Error> {
        let mut taken: Vec<Range<u64>> =
            self.plan.maps.iter().map(|map| map.range.clone()).collect();
        taken.extend(self.plan.vdso.moves().map(|(_, to)| to));
        taken.push(self.aside.clone());
        Ok(next.room(&taken)?)
    }
}

/// A process of its own whose parent is its maker's.
const FORK: u64 = (libc::CLONE_PARENT | libc::SIGCHLD) as u64;

impl Door {
    /// Has the process take these descriptors: the numbers that they have over there.
    fn hand(
        &mut self,
        remote: &mut Remote<'_>,
        descriptors: Vec<OwnedFd>,
    ) -> Result<Vec<i32>, Error> {
        let handed = self.try_hand(remote, descriptors);
        if handed.is_err() {
            // What is still on its way must not come to another fork: nobody goes through this door any more.
            let _ = self.ours.shutdown(Shutdown::Both);
        }
        handed
    }

    fn try_hand(
        &mut self,
        remote: &mut Remote<'_>,
        descriptors: Vec<OwnedFd>,
    ) -> Result<Vec<i32>, Error> {
        let mut numbers = Vec::with_capacity(descriptors.len());
        // No more at once than there is room for on the way, with any setting of it.
        for some in descriptors.chunks(HANDED_AT_ONCE) {
            let mut batch = Batch::default();
            let mut answers = Vec::new();
            for few in some.chunks(socket::DESCRIPTORS_MAX) {
                let numbers: Vec<_> = few.iter().map(|it| it.as_raw_fd()).collect();
                let raw: Vec<_> = few.iter().map(std::os::fd::AsFd::as_fd).collect();
                let sent = socket::send_with_fds(&self.ours, &[0], &raw);
                sent.map_err(sys_error("hand descriptors to a process"))?;
                let (message, control) = batch.message(numbers.len());
                let args = [(self.theirs as u64).into(), message, DONT_WAIT.into()];
                batch.must("take descriptors in", libc::SYS_recvmsg, &args);
                answers.push((control, few.len()));
            }
            batch.run(remote)?;
            for (control, count) in answers {
                let bytes = Batch::left(remote, control, MESSAGE_HEAD + 4 * count)?;
                let (head, told) = bytes.split_at(MESSAGE_HEAD);
                if head[..8] != ((MESSAGE_HEAD + 4 * count) as u64).to_le_bytes() {
                    let source = std::io::Error::from_raw_os_error(libc::EMFILE);
                    let action = "take descriptors in";
                    return Err(Error::Step { action, pid: remote.pid(), source });
                }
                numbers.extend(told.as_chunks().0.iter().map(|it| i32::from_le_bytes(*it)));
            }
        }
        Ok(numbers)
    }
}

const HANDED_AT_ONCE: usize = 128;
const DONT_WAIT: u64 = libc::MSG_DONTWAIT as u64;

/// A number above which a husk may have what it was started with.
fn above(descriptors: &[Descriptor]) -> i32 {
    descriptors.iter().map(|it| it.number).max().map_or(2, |number| number.max(2) as i32)
}

fn overlap(one: &Range<u64>, other: &Range<u64>) -> bool {
    one.start < other.end && other.start < one.end
}

/// Makes the mappings of the old image those of the new one.
fn step(
    remote: &mut Remote<'_>,
    of: &Description,
    plan: &Plan,
    difference: &Difference,
) -> Result<(), Error> {
    let mut batch = Batch::default();
    for step in &difference.steps {
        let span = |range: &Range<u64>| [range.start, range.end - range.start];
        match step {
            Step::Unmap(range) => {
                let args = span(range).map(Argument::from);
                batch.must("unmap memory of", libc::SYS_munmap, &args);
            }
            Step::Map { range, of: index } => {
                let start = of.mappings[*index].start;
                if let Some(map) = plan.map_at(start) {
                    memory::put_map(&mut batch, map, range, |_| -1);
                }
            }
            Step::Protect { range, .. } => {
                if let Some(map) = plan.map_at(range.start) {
                    let open = if map.is_kept_open { libc::PROT_WRITE as u64 } else { 0 };
                    let [start, len] = span(range);
                    let args = [start, len, map.protection() | open].map(Argument::from);
                    batch.must("protect memory of", libc::SYS_mprotect, &args);
                }
            }
            Step::Advise { range, advice } => {
                let [start, len] = span(range);
                let args = [start, len, *advice as u64].map(Argument::from);
                batch.may("advise on memory of", libc::SYS_madvise, &args);
            }
            Step::Name { range, name } => {
                let [start, len] = span(range);
                let name = match name {
                    Some(name) => batch.text(&name.0),
                    None => 0.into(),
                };
                let args = [PR_SET_VMA.into(), 0.into(), start.into(), len.into(), name];
                batch.may("name memory of", libc::SYS_prctl, &args);
            }
        }
        if batch.is_full() {
            batch.run(remote)?;
        }
    }
    batch.run(remote)?;
    Ok(())
}

/// Puts what changed to where it belongs, until the end mark.
fn pages<R: Read>(
    remote: &mut Remote<'_>,
    plan: &Plan,
    difference: &Difference,
    mut next: Option<Section>,
    from: &mut Reader<R>,
) -> Result<(), Error> {
    let pid = remote.pid();
    // What was there before has the pages that it has.
    let is_fresh = |map: &&Map| difference.fresh().any(|fresh| overlap(&fresh, &map.range));
    let fresh: Vec<Map> = plan.maps.iter().filter(is_fresh).cloned().collect();
    let mut large = Large::of(&fresh);
    let mut buffer = vec![0_u8; BUFFER];
    let mut guards = Vec::new();
    let mut named = [Named::default(), Named::default()];
    while let Some(section) = next {
        match section {
            Section::Pages(told) => {
                let length = from.left() as usize;
                from.read(&mut buffer[..length])?;
                large.before(&told.runs, remote)?;
                memory::fill(pid, plan, &told.runs, &buffer[..length], &mut Vec::new())?;
            }
            Section::Placed(told) => match told.place {
                Elsewhere::Zero => {
                    named[0].add(&told.runs)?;
                    clear(remote, plan, &told.runs, &mut buffer)?;
                }
                Elsewhere::Guard => {
                    named[1].add(&told.runs)?;
                    for run in &told.runs {
                        let pieces = plan.places.pieces(*run)?;
                        guards.extend(pieces.into_iter().map(|(range, _)| range));
                    }
                }
                Elsewhere::Known(_) => {
                    return Err(memory::elsewhere(&told.runs, "the one who was to have it"));
                }
                Elsewhere::Sender => return Err(memory::elsewhere(&told.runs, "the sender")),
            },
            Section::File(_) => {}
            Section::Host(_)
            | Section::Upon(_)
            | Section::Process(_)
            | Section::Thread(_)
            | Section::Mappings(_)
            | Section::Descriptors(_) => unreachable!("a reader gives none of these behind pages"),
        }
        next = from.next_section()?;
    }
    large.finish(remote)?;
    memory::guard(remote, &guards)
}

/// Makes pages 0, and usable if they were guards.
fn clear(
    remote: &mut Remote<'_>,
    plan: &Plan,
    runs: &[Run],
    buffer: &mut [u8],
) -> Result<(), Error> {
    let mut batch = Batch::default();
    let mut written = Vec::new();
    for run in runs {
        for (range, place) in plan.places.pieces(*run)? {
            let args = [range.start, range.end - range.start];
            let advise = |advice: u64| [args[0], args[1], advice].map(Argument::from);
            let action = "advise on memory of";
            match place {
                Place::Kept | Place::Nowhere | Place::Forbidden => continue,
                Place::Empty | Place::OverFile => {
                    batch.may(action, libc::SYS_madvise, &advise(MADV_GUARD_REMOVE));
                }
            }
            let is_own = plan.map_at(range.start).is_some_and(|it| it.source == Source::Anonymous);
            if is_own {
                batch.must(action, libc::SYS_madvise, &advise(libc::MADV_DONTNEED as u64));
            } else {
                written.push(range);
            }
            if batch.len() >= CALLS_AT_ONCE {
                batch.run(remote)?;
            }
        }
    }
    batch.run(remote)?;
    buffer.fill(0);
    for range in written {
        for at in range.clone().step_by(buffer.len()) {
            let length = (range.end - at).min(buffer.len() as u64);
            process_memory::write(remote.pid(), at, &buffer[..length as usize])?;
        }
    }
    Ok(())
}

/// From linux/mman.h (6.13).
const MADV_GUARD_REMOVE: u64 = 103;

const CALLS_AT_ONCE: usize = 256;

/// Gives a fork memory of its own where a fork shares it. Returns what calls still find in it.
fn unshare(
    from: Pid,
    husk: &mut Husk,
    inherited: Inherited,
    maps: &[Map],
) -> Result<Option<Inherited>, Error> {
    let is_shared = |map: &&Map| map.source == Source::SharedAnonymous;
    let shared: Vec<&Map> = maps.iter().filter(is_shared).collect();
    if shared.is_empty() {
        return Ok(Some(inherited));
    }
    let to = husk.pid();
    let main = &mut husk.tracee().threads_mut()[0];
    let mut remote = Remote::inherit(main, inherited, PATIENCE)?;
    let mut batch = Batch::default();
    for map in &shared {
        let args = [map.range.start, map.range.end - map.range.start].map(Argument::from);
        batch.must("unmap memory of", libc::SYS_munmap, &args);
        memory::put_map(&mut batch, map, &map.range, |_| -1);
        if batch.is_full() {
            batch.run(&mut remote)?;
        }
    }
    batch.run(&mut remote)?;
    remote.finish()?;
    let mut buffer = vec![0_u8; BUFFER];
    for map in shared {
        for at in map.range.clone().step_by(BUFFER) {
            let len = (map.range.end - at).min(BUFFER as u64) as usize;
            process_memory::read(from, at, &mut buffer[..len])?;
            for (page, bytes) in (at..).step_by(PAGE as usize).zip(buffer[..len].chunks(4096)) {
                if bytes.iter().any(|byte| *byte != 0) {
                    process_memory::write(to, page, bytes)?;
                }
            }
        }
    }
    Ok(None)
}

fn sys_error(action: &'static str) -> impl FnOnce(std::io::Error) -> Error {
    move |source| Error::Kernel(sys::Error::Kernel { action, source })
}
