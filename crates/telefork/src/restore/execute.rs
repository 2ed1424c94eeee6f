//! Obeys a plan: a husk becomes the process, up to the moment before it wakes.
//!
//! ```text
//!   begin   the husk is emptied; the kernel's own memory goes to its place, and all mappings are made
//!   pages   bytes go from the image into its memory
//!   finish  threads, and what the kernel keeps for each and for all; registers
//! ```

use std::io::Read;
use std::ops::Range;
use std::os::fd::OwnedFd;
use std::time::Duration;

use sys::maps::{self, Mapping};
use sys::ptrace::{
    Husk, Program, REMOTE_LEN, Registers, Remote, Session, SignalMask, Start, Stopped,
};
use sys::{Pid, process_memory};
use wire::image::memory::{Place as Elsewhere, Run, Sharing};
use wire::image::thread::Thread;
use wire::image::{Reader, Section};

use super::batch::{Argument, Batch};
use super::large::Large;
use super::nouns::Source;
use super::pages::{Named, Place};
use super::plan::Plan;
use super::settings;
use super::vdso::Vdso;
use super::x86_64::ADDRESSES_END;
use super::{Left, Memory};
use crate::files::{self, Number};
use crate::{Description, Error, Refusal};

/// How long one step of the husk may take: it has nothing to wait for.
const PATIENCE: Duration = Duration::from_secs(20);

/// Bytes that are on their way at once: they stay in the processor's cache.
const BUFFER: usize = 1 << 20;

/// What a husk is given beside its plan.
#[derive(Debug)]
pub(super) struct Gifts {
    pub(super) program: Option<OwnedFd>,
    pub(super) folder: OwnedFd,
    /// In the place of descriptors that are not restored.
    pub(super) nothing: OwnedFd,
    /// The files behind mappings, as the plan counts them.
    pub(super) mapped: Vec<OwnedFd>,
    pub(super) held: Table,
    pub(super) session: Session,
    pub(super) memory: Memory,
    /// Whether the numbers of processes and threads are to be kept where that can be.
    pub(super) keeps_numbers: bool,
}

/// Makes the process of an image whose description was taken from it. It does not run yet.
pub(super) fn execute<R: Read>(
    of: &Description,
    plan: &Plan,
    gifts: Gifts,
    next: Option<Section>,
    from: &mut Reader<R>,
) -> Result<(Husk, Option<Left>), Error> {
    let keeps_numbers = gifts.keeps_numbers;
    let memory = gifts.memory;
    let first = gifts.mapped.len();
    let Table { numbers, keeps_standard, .. } = &gifts.held;
    let held = Numbers { first, all: numbers.clone(), keeps_standard: *keeps_standard };
    let mut husk = start(of, gifts)?;
    let pid = husk.pid();
    let found = maps::mappings(pid)?;
    let taken: Vec<_> = found.iter().map(|mapping| mapping.range.clone()).collect();
    let base = plan.room(&taken)?;
    let numbers = husk.numbers().to_vec();

    let mut left = None;
    let mut threads = Vec::new();
    let mut sections = Vec::with_capacity(of.threads.len());
    let main = &mut husk.tracee().threads_mut()[0];
    {
        let mut remote = Remote::enter_at(main, base, PATIENCE)?;
        empty(&mut remote, plan, base, &found)?;
        build(&mut remote, of, plan, &numbers, &held)?;
        let arrived = pages(&mut remote, plan, memory, next, from)?;
        guard(&mut remote, &arrived.guards)?;
        if !arrived.left.is_empty() {
            left = Some(Left::new(&mut remote, arrived.left, from.id())?);
        }
        if let Vdso::Patched { specials, old } = &plan.vdso {
            let code = specials.iter().find(|special| special.name.0 == b"[vdso]");
            let here = base + REMOTE_LEN + code.map_or(0, |special| special.offset);
            process_memory::write(pid, old.range.start, &old.patched(arrived.kept, here)?)?;
        }
        for thread in &of.threads {
            sections.push(section(pid, thread)?);
        }
        make_threads(&mut remote, of, keeps_numbers, &mut threads)?;
        let numbers: Vec<Pid> =
            std::iter::once(pid).chain(threads.iter().map(Stopped::tid)).collect();
        for (thread, stopped) in of.threads[1..].iter().zip(&mut threads) {
            settings::of_thread(thread).run_in(stopped, &mut remote)?;
        }
        settings::of_thread(&of.threads[0]).run(&mut remote)?;
        settings::of_process(&mut remote, of, &plan.maps, &numbers)?;
        remote.finish()?;
    }
    for thread in threads {
        husk.tracee().adopt(thread);
    }
    for ((stopped, thread), (checked, section)) in husk
        .tracee()
        .threads_mut()
        .iter_mut()
        .zip(&of.threads)
        .zip(plan.registers.iter().zip(sections))
    {
        load(stopped, thread, &checked.general)?;
        patch(stopped, thread, section)?;
    }
    // Last: from now on nobody but who serves the pages may touch its memory.
    if let Some(left) = &left {
        left.register()?;
    }
    Ok((husk, left))
}

/// Starts the husk as the image's program if that is here, with the image's number if that is free.
fn start(of: &Description, gifts: Gifts) -> Result<Husk, Error> {
    let own = of.descriptors.iter().map(|descriptor| descriptor.number);
    let given = gifts.held.numbers.iter().map(|held| held.number);
    let above = own.chain(given).max().map_or(2, |number| number as i32);
    let mut descriptors = gifts.mapped;
    descriptors.extend(gifts.held.opened);
    descriptors.extend([gifts.nothing, gifts.folder]);
    let own = gifts.keeps_numbers.then_some(Pid(of.process.pid));
    // The first way that works; the last one's failure is told.
    let ways = [
        gifts.program.as_ref().zip(own).map(|(file, pid)| (Some(file), Some(pid))),
        gifts.program.as_ref().map(|file| (Some(file), None)),
        own.map(|pid| (None, Some(pid))),
    ];
    for (file, pid) in ways.into_iter().flatten() {
        let program = file.map_or(Program::Own, Program::File);
        let start =
            Start { program, descriptors: &descriptors, above, pid, session: gifts.session };
        if let Ok(husk) = Husk::start(start, PATIENCE) {
            return Ok(husk);
        }
    }
    let (program, session) = (Program::Own, gifts.session);
    let start = Start { program, descriptors: &descriptors, above, pid: None, session };
    Ok(Husk::start(start, PATIENCE)?)
}

/// Takes away all that the husk has in memory but the kernel's own, which goes to its place.
fn empty(remote: &mut Remote<'_>, plan: &Plan, base: u64, found: &[Mapping]) -> Result<(), Error> {
    let mut batch = Batch::default();
    let flags = (libc::MREMAP_MAYMOVE | libc::MREMAP_FIXED) as u64;
    let staging = base + REMOTE_LEN;
    for (special, mapping) in super::here::specials_of(found) {
        let args =
            [mapping.range.start, special.length, special.length, flags, staging + special.offset];
        batch.must("move the kernel's memory of", libc::SYS_mremap, &args.map(Argument::from));
    }
    let end = staging + plan.vdso.staging();
    for (from, to) in [(0, base), (end, ADDRESSES_END)] {
        batch.must("empty", libc::SYS_munmap, &[from.into(), (to - from).into()]);
    }
    for (special, to) in plan.vdso.moves() {
        let from = staging + special.offset;
        let args = [from, special.length, special.length, flags, to.start];
        batch.must("move the kernel's memory of", libc::SYS_mremap, &args.map(Argument::from));
    }
    batch.run(remote)?;
    remote.find_instruction()?;
    Ok(())
}

/// Makes all mappings.
fn build(
    remote: &mut Remote<'_>,
    of: &Description,
    plan: &Plan,
    numbers: &[i32],
    held: &Numbers,
) -> Result<(), Error> {
    let mut batch = Batch::default();
    for map in &plan.maps {
        let (flags, descriptor, offset) = match map.source {
            _ if map.droppable => (MAP_DROPPABLE | libc::MAP_ANONYMOUS, -1, 0),
            Source::Anonymous => (libc::MAP_PRIVATE | libc::MAP_ANONYMOUS, -1, 0),
            Source::SharedAnonymous => (libc::MAP_SHARED | libc::MAP_ANONYMOUS, -1, 0),
            Source::File { file, offset, sharing: Sharing::Private } => {
                (libc::MAP_PRIVATE, numbers[file], offset)
            }
            Source::File { file, offset, sharing: Sharing::Shared } => {
                (libc::MAP_SHARED, numbers[file], offset)
            }
        };
        let grows = if map.grows_down { libc::MAP_GROWSDOWN | libc::MAP_STACK } else { 0 };
        let reserve = if map.no_reserve { libc::MAP_NORESERVE } else { 0 };
        let flags = flags | libc::MAP_FIXED_NOREPLACE | grows | reserve;
        let (start, length) = (map.range.start, map.range.end - map.range.start);
        let args = [
            start,
            length,
            map.protection() | if map.is_kept_open { libc::PROT_WRITE as u64 } else { 0 },
            flags as u64,
            i64::from(descriptor) as u64,
            offset,
        ];
        batch.must("map memory in", libc::SYS_mmap, &args.map(Argument::from));
        for advice in &map.advice {
            let args = [start, length, *advice as u64];
            batch.may("advise on memory of", libc::SYS_madvise, &args.map(Argument::from));
        }
        if let Some(name) = &map.name {
            let name = batch.text(&name.0);
            let args = [PR_SET_VMA.into(), 0.into(), start.into(), length.into(), name];
            batch.may("name memory of", libc::SYS_prctl, &args);
        }
        if batch.is_full() {
            batch.run(remote)?;
        }
    }
    settings::of_memory(&mut batch, of);
    let [.., nothing, folder] = *numbers else { unreachable!("the husk was started with both") };
    for (number, close_on_exec) in &plan.dead {
        let flags = if *close_on_exec { libc::O_CLOEXEC } else { 0 };
        let args = [nothing as u64, u64::from(*number), flags as u64];
        batch.must("keep the number of a descriptor of", libc::SYS_dup3, &args.map(Argument::from));
    }
    held.put(&mut batch, numbers);
    batch.must("go to the folder of", libc::SYS_fchdir, &[(folder as u64).into()]);
    for number in numbers {
        batch.must("close files of", libc::SYS_close, &[(*number as u64).into()]);
    }
    batch.run(remote)?;
    Ok(())
}

/// What a process is to have open.
#[derive(Debug)]
pub(super) struct Table {
    opened: Vec<OwnedFd>,
    numbers: Vec<Number>,
    /// Whether it keeps the 0, 1 and 2 that it was started with.
    keeps_standard: bool,
}

impl Table {
    pub(super) fn given(given: Vec<(u32, OwnedFd)>) -> Self {
        let (numbers, opened): (Vec<u32>, _) = given.into_iter().unzip();
        let number = |(opened, number)| Number { number, close_on_exec: false, opened };
        let numbers = numbers.into_iter().enumerate().map(number).collect();
        Self { opened, numbers, keeps_standard: true }
    }

    pub(super) fn arrived(arrived: &mut files::Arrived) -> Self {
        let opened = std::mem::take(&mut arrived.opened);
        Self { opened, numbers: arrived.numbers.clone(), keeps_standard: false }
    }
}

/// Under which numbers it has that.
struct Numbers {
    /// Where the first of them stands among all that the husk was started with.
    first: usize,
    all: Vec<Number>,
    keeps_standard: bool,
}

impl Numbers {
    fn put(&self, batch: &mut Batch, started_with: &[i32]) {
        for number in &self.all {
            let from = started_with[self.first + number.opened] as u64;
            let flags = if number.close_on_exec { libc::O_CLOEXEC } else { 0 };
            let args = [from, u64::from(number.number), flags as u64];
            batch.must("number a descriptor of", libc::SYS_dup3, &args.map(Argument::from));
        }
        // Those that it was started with, and is not to have.
        let is_held = |number: &u32| self.all.iter().any(|it| it.number == *number);
        for number in (0..=2).filter(|number| !self.keeps_standard && !is_held(number)) {
            batch.may("close a descriptor of", libc::SYS_close, &[u64::from(number).into()]);
        }
    }
}

/// From linux/mman.h (6.11 and 6.13) and linux/prctl.h.
const MAP_DROPPABLE: i32 = 0x08;
const MADV_GUARD_INSTALL: u64 = 102;
const PR_SET_VMA: u64 = 0x5356_4d41;

/// What came behind a description.
struct Arrived {
    /// What is kept of the kernel's code.
    kept: Vec<u8>,
    /// Memory whose pages are still with the sender.
    left: Vec<Range<u64>>,
    /// Pages that raise SIGSEGV.
    guards: Vec<Range<u64>>,
}

/// Puts pages to where they belong, until the end mark.
fn pages<R: Read>(
    remote: &mut Remote<'_>,
    plan: &Plan,
    memory: Memory,
    mut next: Option<Section>,
    from: &mut Reader<R>,
) -> Result<Arrived, Error> {
    let pid = remote.pid();
    let mut large = Large::of(&plan.maps);
    let mut buffer = vec![0_u8; BUFFER];
    let (mut kept, mut left, mut guards) = (Vec::new(), Vec::new(), Vec::new());
    // Each page is told of once: so there are no more pieces than runs and mappings.
    let mut named = [Named::default(), Named::default(), Named::default()];
    while let Some(section) = next {
        match section {
            Section::Pages(told) => {
                let length = from.left() as usize;
                from.read(&mut buffer[..length])?;
                large.before(&told.runs, remote)?;
                fill(pid, plan, &told.runs, &buffer[..length], &mut kept)?;
            }
            Section::Placed(told) => match told.place {
                Elsewhere::Zero => {
                    named[0].add(&told.runs)?;
                    zero(pid, plan, &told.runs, &mut buffer)?;
                }
                Elsewhere::Guard => {
                    named[1].add(&told.runs)?;
                    for run in &told.runs {
                        guards
                            .extend(plan.places.pieces(*run)?.into_iter().map(|(range, _)| range));
                    }
                }
                Elsewhere::Known(_) => {
                    return Err(elsewhere(&told.runs, "the one who was to have it"));
                }
                Elsewhere::Sender if memory == Memory::Whole => {
                    return Err(elsewhere(&told.runs, "the sender"));
                }
                Elsewhere::Sender => {
                    named[2].add(&told.runs)?;
                    for run in &told.runs {
                        left.extend(plan.places.empty(*run)?);
                    }
                }
            },
            // Its bytes are read over: nothing here has such a file.
            Section::File(_) => {}
            Section::Host(_)
            | Section::Process(_)
            | Section::Thread(_)
            | Section::Mappings(_)
            | Section::Descriptors(_) => unreachable!("a reader gives none of these behind pages"),
        }
        next = from.next_section()?;
    }
    large.finish(remote)?;
    Ok(Arrived { kept, left, guards })
}

/// Has pages raise SIGSEGV (`MADV_GUARD_INSTALL`, Linux 6.13).
fn guard(remote: &mut Remote<'_>, guards: &[Range<u64>]) -> Result<(), Error> {
    let mut batch = Batch::default();
    for range in guards {
        let args = [range.start, range.end - range.start, MADV_GUARD_INSTALL];
        batch.must("guard memory of", libc::SYS_madvise, &args.map(Argument::from));
        if batch.is_full() {
            batch.run(remote)?;
        }
    }
    batch.run(remote)?;
    Ok(())
}

fn elsewhere(runs: &[Run], whom: &'static str) -> Error {
    Refusal::Elsewhere { page: runs.first().map_or(0, |run| run.page), whom }.into()
}

fn fill(
    pid: Pid,
    plan: &Plan,
    runs: &[Run],
    mut bytes: &[u8],
    kept: &mut Vec<u8>,
) -> Result<(), Error> {
    // What lies in one stretch is written with one call.
    let mut pieces = Vec::with_capacity(runs.len());
    let mut flat = Vec::new();
    let all = bytes;
    let mut is_plain = true;
    for run in runs {
        for (range, place) in plan.places.pieces(*run)? {
            let (piece, rest) = bytes.split_at((range.end - range.start) as usize);
            bytes = rest;
            match place {
                Place::Empty | Place::OverFile => {
                    pieces.push(process_memory::Piece { at: range.start, len: piece.len() });
                    flat.push(piece);
                    continue;
                }
                Place::Kept => kept.extend_from_slice(piece),
                Place::Nowhere | Place::Forbidden => {}
            }
            is_plain = false;
        }
    }
    if is_plain {
        process_memory::write_pieces(pid, &pieces, all)?;
    } else {
        for (piece, bytes) in pieces.iter().zip(flat) {
            process_memory::write(pid, piece.at, bytes)?;
        }
    }
    Ok(())
}

fn zero(pid: Pid, plan: &Plan, runs: &[Run], buffer: &mut [u8]) -> Result<(), Error> {
    buffer.fill(0);
    for run in runs {
        for (range, place) in plan.places.pieces(*run)? {
            match place {
                Place::OverFile => {
                    let mut at = range.start;
                    while at < range.end {
                        let length = (range.end - at).min(buffer.len() as u64);
                        process_memory::write(pid, at, &buffer[..length as usize])?;
                        at += length;
                    }
                }
                // The kernel's code is nowhere 0 for a whole page, and memory is already.
                Place::Empty | Place::Kept | Place::Nowhere | Place::Forbidden => {}
            }
        }
    }
    Ok(())
}

/// Starts the other threads, each with its number where that can be.
fn make_threads(
    remote: &mut Remote<'_>,
    of: &Description,
    keeps_numbers: bool,
    made: &mut Vec<Stopped>,
) -> Result<(), Error> {
    let others = &of.threads[1..];
    for some in others.chunks(THREADS_AT_ONCE) {
        let mut tids = vec![None; some.len()];
        if keeps_numbers {
            let mut batch = Batch::default();
            for thread in some {
                let arguments = batch.clone_arguments(THREAD, thread.tid);
                batch.may("start a thread of", libc::SYS_clone3, &[arguments, 88.into()]);
            }
            for (tid, result) in tids.iter_mut().zip(batch.try_run(remote)?) {
                *tid = result.ok();
            }
        }
        let mut batch = Batch::default();
        let missing: Vec<usize> = (0..some.len()).filter(|at| tids[*at].is_none()).collect();
        for _ in &missing {
            batch.must("start a thread of", libc::SYS_clone, &[THREAD.into()]);
        }
        for (at, tid) in missing.iter().zip(batch.run(remote)?) {
            tids[*at] = Some(tid);
        }
        let mut born = remote.born()?;
        for tid in tids.into_iter().flatten() {
            let Some(at) = born.iter().position(|thread| thread.tid().0 as u64 == tid) else {
                let source = std::io::Error::from_raw_os_error(libc::ESRCH);
                return Err(Error::Step { action: "find a thread of", pid: remote.pid(), source });
            };
            made.push(born.swap_remove(at));
        }
    }
    Ok(())
}

/// Their data has room in one batch.
const THREADS_AT_ONCE: usize = 256;

/// What threads share.
const THREAD: u64 = (libc::CLONE_VM
    | libc::CLONE_FS
    | libc::CLONE_FILES
    | libc::CLONE_SIGHAND
    | libc::CLONE_THREAD
    | libc::CLONE_SYSVSEM) as u64;

/// The critical section that a thread was in, if any: the kernel forgets it when it sees the thread
/// elsewhere, and then would not know that it was interrupted.
fn section(pid: Pid, thread: &Thread) -> Result<Option<[u8; 8]>, Error> {
    let Some(rseq) = thread.rseq else { return Ok(None) };
    let mut word = [0; 8];
    process_memory::read(pid, rseq.pointer + 8, &mut word)?;
    Ok(Some(word))
}

fn load(stopped: &mut Stopped, thread: &Thread, general: &[u8]) -> Result<(), Error> {
    // As long as this processor's, of which that of the image is a part.
    let mut extended = thread.registers.extended.clone();
    extended.resize(stopped.extended_state()?.len(), 0);
    stopped.set_extended_state(&extended)?;
    let registers = Registers::from_bytes(general);
    let Some(registers) = registers else { unreachable!("the plan has their length checked") };
    stopped.set_registers(&registers)?;
    stopped.set_signal_mask(SignalMask(thread.signal_mask))?;
    Ok(())
}

/// Puts right what the kernel and the C library say of a thread in its memory.
fn patch(stopped: &Stopped, thread: &Thread, section: Option<[u8; 8]>) -> Result<(), Error> {
    let pid = stopped.pid();
    if let (Some(rseq), Some(word)) = (thread.rseq, section.filter(|word| *word != [0; 8])) {
        process_memory::write(pid, rseq.pointer + 8, &word)?;
    }
    // glibc keeps the number where the kernel clears it.
    if thread.clear_tid != 0 && stopped.tid().0 != thread.tid {
        let mut found = [0; 4];
        let is_there = process_memory::read(pid, thread.clear_tid, &mut found).is_ok();
        if is_there && found == thread.tid.to_le_bytes() {
            process_memory::write(pid, thread.clear_tid, &stopped.tid().0.to_le_bytes())?;
        }
    }
    Ok(())
}
