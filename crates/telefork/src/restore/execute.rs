//! Obeys a plan: a husk becomes the process, up to the moment before it wakes.
//!
//! ```text
//!   memory  mappings and pages (`memory`)
//!   rest    descriptors, threads, and what the kernel keeps for each and for all; registers
//! ```

use std::io::Read;
use std::os::fd::OwnedFd;
use std::time::Duration;

use sys::maps;
use sys::ptrace::{Husk, Program, Registers, Remote, Session, SignalMask, Start, Stopped};
use sys::uffd::Right;
use sys::{Pid, process_memory};
use wire::image::thread::Thread;
use wire::image::{Reader, Section};

use super::batch::{Argument, Batch};
use super::memory::Ground;
use super::plan::Plan;
use super::{Left, Memory, memory, settings};
use crate::files::{self, Number};
use crate::{Description, Error};

/// How long one step of the husk may take: it has nothing to wait for.
pub(super) const PATIENCE: Duration = Duration::from_secs(20);

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
    pub(super) right: Option<Right>,
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
    let Gifts { mapped, held, nothing, folder, right, .. } = gifts;
    let device = right.as_ref().map(Right::device).transpose()?.flatten();
    let has_device = device.is_some();
    let first = mapped.len();
    let Table { opened, numbers: held, keeps_standard } = held;
    let mut descriptors = mapped;
    descriptors.extend(opened);
    descriptors.extend(device);
    descriptors.extend([nothing, folder]);
    let own = of.descriptors.iter().map(|descriptor| descriptor.number);
    let given = held.iter().map(|held| held.number);
    let above = own.chain(given).max().map_or(2, |number| number as i32);
    let start = Start {
        program: Program::Own,
        descriptors: &descriptors,
        above,
        pid: gifts.keeps_numbers.then_some(Pid(of.process.pid)),
        session: gifts.session,
    };
    let mut husk = self::start(gifts.program.as_ref(), start)?;
    let found = maps::mappings(husk.pid())?;
    let taken: Vec<_> = found.iter().map(|mapping| mapping.range.clone()).collect();
    let room = plan.room(&taken)?;
    let numbers = husk.numbers().to_vec();
    let held = Held {
        all: held.into_iter().map(|it| (numbers[first + it.opened], it)).collect(),
        keeps_standard,
        nothing: numbers[numbers.len() - 2],
        folder: numbers[numbers.len() - 1],
        closed: numbers.clone(),
    };
    let device = has_device.then(|| numbers[numbers.len() - 3] as u64);

    let mut left = None;
    let main = &mut husk.tracee().threads_mut()[0];
    let (threads, sections) = {
        let mut remote = Remote::enter_at(main, room, PATIENCE)?;
        let ground = Ground { room, found: &found, numbers: &numbers };
        let ranges = memory::make(&mut remote, plan, &ground, gifts.memory, next, from)?;
        if !ranges.is_empty() {
            left = Some(Left::new(&mut remote, ranges, from.id(), right.as_ref(), device)?);
        }
        let made = rest(&mut remote, of, plan, &held, gifts.keeps_numbers, Batch::default())?;
        remote.finish()?;
        made
    };
    load(&mut husk, of, plan, threads, sections)?;
    // Last: from now on nobody but who serves the pages may touch its memory.
    if let Some(left) = &left {
        left.register()?;
    }
    Ok((husk, left))
}

/// Starts a husk as this program if it can be, with the number that is asked for if that is free.
pub(super) fn start(program: Option<&OwnedFd>, start: Start<'_>) -> Result<Husk, Error> {
    let own = start.pid;
    // The first way that works; the last one's failure is told.
    let ways = [
        program.zip(own).map(|(file, pid)| (Some(file), Some(pid))),
        program.map(|file| (Some(file), None)),
        own.map(|pid| (None, Some(pid))),
    ];
    let as_asked = |program, pid| Start {
        program,
        descriptors: start.descriptors,
        above: start.above,
        pid,
        session: start.session,
    };
    for (file, pid) in ways.into_iter().flatten() {
        let program = file.map_or(Program::Own, Program::File);
        if let Ok(husk) = Husk::start(as_asked(program, pid), PATIENCE) {
            return Ok(husk);
        }
    }
    Ok(Husk::start(as_asked(Program::Own, None), PATIENCE)?)
}

/// The restartable sequences that threads were in.
type Sections = Vec<Option<[u8; 8]>>;

/// Gives a husk with the memory of a process all else of it, but what is loaded at last. `first` is called
/// before. Returns its other threads.
pub(super) fn rest(
    remote: &mut Remote<'_>,
    of: &Description,
    plan: &Plan,
    held: &Held,
    keeps_numbers: bool,
    first: Batch,
) -> Result<(Vec<Stopped>, Sections), Error> {
    let pid = remote.pid();
    let mut batch = first;
    settings::of_memory(&mut batch, of);
    held.put(&mut batch, plan);
    batch.run(remote)?;
    let mut sections = Vec::with_capacity(of.threads.len());
    for thread in &of.threads {
        sections.push(section(pid, thread)?);
    }
    let mut threads = Vec::new();
    make_threads(remote, of, keeps_numbers, &mut threads)?;
    let numbers: Vec<Pid> = std::iter::once(pid).chain(threads.iter().map(Stopped::tid)).collect();
    for (thread, stopped) in of.threads[1..].iter().zip(&mut threads) {
        settings::of_thread(thread).run_in(stopped, remote)?;
    }
    settings::of_thread(&of.threads[0]).run(remote)?;
    settings::of_process(remote, of, &plan.maps, &numbers)?;
    Ok((threads, sections))
}

/// The registers of all threads, and what is put right in memory by their numbers.
pub(super) fn load(
    husk: &mut Husk,
    of: &Description,
    plan: &Plan,
    threads: Vec<Stopped>,
    sections: Sections,
) -> Result<(), Error> {
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
        load_thread(stopped, thread, &checked.general)?;
        patch(stopped, thread, section)?;
    }
    Ok(())
}

/// What a process is to have open.
#[derive(Debug)]
pub(super) struct Table {
    pub(super) opened: Vec<OwnedFd>,
    pub(super) numbers: Vec<Number>,
    /// Whether it keeps the 0, 1 and 2 that it was started with.
    pub(super) keeps_standard: bool,
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

/// Under which numbers a husk has what it is to have.
#[derive(Debug)]
pub(super) struct Held {
    /// Each with the number that it has now.
    pub(super) all: Vec<(i32, Number)>,
    pub(super) keeps_standard: bool,
    pub(super) nothing: i32,
    pub(super) folder: i32,
    /// What it is not to keep.
    pub(super) closed: Vec<i32>,
}

impl Held {
    fn put(&self, batch: &mut Batch, plan: &Plan) {
        for (number, close_on_exec) in &plan.dead {
            let flags = if *close_on_exec { libc::O_CLOEXEC } else { 0 };
            let args = [self.nothing as u64, u64::from(*number), flags as u64].map(Argument::from);
            batch.must("keep the number of a descriptor of", libc::SYS_dup3, &args);
        }
        for (from, number) in &self.all {
            let flags = if number.close_on_exec { libc::O_CLOEXEC } else { 0 };
            let args = [*from as u64, u64::from(number.number), flags as u64].map(Argument::from);
            batch.must("number a descriptor of", libc::SYS_dup3, &args);
        }
        // Those that it was started with, and is not to have.
        let is_held = |number: &u32| self.all.iter().any(|(_, it)| it.number == *number);
        for number in (0..=2).filter(|number| !self.keeps_standard && !is_held(number)) {
            batch.may("close a descriptor of", libc::SYS_close, &[u64::from(number).into()]);
        }
        batch.must("go to the folder of", libc::SYS_fchdir, &[(self.folder as u64).into()]);
        for number in &self.closed {
            batch.must("close files of", libc::SYS_close, &[(*number as u64).into()]);
        }
    }
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

fn load_thread(stopped: &mut Stopped, thread: &Thread, general: &[u8]) -> Result<(), Error> {
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
