//! A process that stands still while its copy is away: frozen, sent, and given what the copy came to.

use std::io::Write;
use std::mem;
use std::ops::Range;
use std::time::Duration;

use sys::park::{AWAY, BACK};
use sys::ptrace::{Call, REMOTE_LEN, Registers, Remote};
use sys::{Pid, maps, process_memory};
use wire::image::memory::{Mapping, MappingKind, Run, Sharing};
use wire::image::process::Timer;
use wire::image::{Reader, Section, Writer};

use super::difference::{Difference, difference};
use super::stopping::{Others, RED_ZONE, stop};
use crate::call::{described, image_id, strangers, stream};
use crate::capture::{Frozen, Next, Twin};
use crate::{Description, Error};

/// Mapping and unmapping take long where there is much.
const CALLS_PATIENCE: Duration = Duration::from_secs(60);

/// Bytes that the kernel writes for a restartable sequence, whatever a thread has registered.
const RSEQ: u64 = 32;

/// What forks do not copy is kept whole, as far as it is this small: no key is cut in two.
const KEPT_MAX: u64 = 1 << 17;

/// Where memory for calls is looked for.
const LOWEST: u64 = 1 << 32;

/// A process that stands, and a copy of its memory. Dropped, it goes on as if nothing had happened.
#[derive(Debug)]
pub struct Journey {
    frozen: Frozen,
    twin: Twin,
    /// Of its one thread that goes.
    registers: Registers,
    description: Description,
    /// Where the copy has other bytes, in their order.
    hidden: Vec<Hidden>,
}

/// Bytes that did not leave.
#[derive(Debug)]
struct Hidden {
    range: Range<u64>,
    /// What has changed of those that the copy had in their place, if anything has.
    bits: Option<Vec<u8>>,
}

impl Journey {
    /// Freezes a process that stands. Its other threads must be `own`, by their names: those stand still, too,
    /// and do not go.
    pub fn begin(caller: Pid, own: impl Fn(&[u8]) -> bool) -> Result<Self, Error> {
        let (mut frozen, registers) = stop(caller, Others::MustBe(&own))?;
        let mut description = described(&mut frozen, Next::GoesOn)?;
        description.descriptors = strangers(caller, stream)?;
        for mapping in &description.mappings {
            let (at, len) = (mapping.start, mapping.end - mapping.start);
            let is_kernels = matches!(mapping.kind, MappingKind::Special { .. });
            let is_shared = mapping.sharing == Sharing::Shared && mapping.permissions.write;
            let is_unforked = [b"dc", b"wf"].iter().any(|flag| mapping.flags.contains(flag));
            if !is_kernels && (is_shared || is_unforked && len > KEPT_MAX) {
                return Err(Error::Shared { pid: caller, at });
            }
        }
        description.threads.truncate(1);
        for thread in &mut description.threads {
            thread.registers.general = registers.with_result(AWAY as u64).to_bytes();
            thread.caller = None;
            // They come when it is back.
            thread.pending.clear();
        }
        let process = &mut description.process;
        process.pending.clear();
        process.timers.clear();
        process.interval_timers = [Timer::default(); 3];
        process.attributes.parent_death_signal = libc::SIGKILL as _;
        let twin = frozen.shadow(&description)?;
        Ok(Self { frozen, twin, registers, description, hidden: Vec::new() })
    }

    /// Puts other bytes over these in the copy of its memory. They are drawn at random, so that whatever is written
    /// there in the copy, zeros too, is seen to be different: then what was hidden is not in use any more.
    pub fn hide(&mut self, secrets: &[&[u8]]) -> Result<(), Error> {
        let beneath = image_id()?.0.to_le_bytes();
        let hidden = self.twin.hide(&self.description, secrets, &beneath)?;
        self.hidden = hidden.into_iter().map(|range| Hidden { range, bits: None }).collect();
        Ok(())
    }

    /// Sends its copy.
    pub fn send(&mut self, to: &mut impl Write) -> Result<(), Error> {
        let mut writer = Writer::new(to, image_id()?);
        self.description.put(&mut writer)?;
        self.twin.send(&self.description, &mut writer)?;
        writer.finish()?;
        Ok(())
    }

    /// Gives it what the copy came to, and lets it go on with that. All of it is looked through before anything
    /// is changed. Should the kernel refuse a change in the middle, the process is ended: it must not go on half.
    pub fn land(mut self, image: &[u8]) -> Result<(), Error> {
        let landing = self.look_through(image)?;
        for thread in self.frozen.tracee().threads_mut() {
            thread.kill_with_tracer()?;
        }
        self.map(&landing)?;
        let changed = self.change(&landing, image);
        match changed {
            Ok(()) => self.frozen.release(),
            Err(error) => {
                self.frozen.end()?;
                Err(error)
            }
        }
    }

    /// What is to be done, if all that came makes sense.
    fn look_through(&self, image: &[u8]) -> Result<Landing, Error> {
        let refuse = |why| Error::NotBack { why };
        let mut reader = Reader::new(image)?.ok_or(Error::NoImage)?;
        let (there, mut next) = Description::take(&mut reader)?;
        if there.host.page_size != self.description.host.page_size {
            return Err(refuse("its pages have another size"));
        }
        let page = u64::from(there.host.page_size);
        let [thread] = &there.threads[..] else { return Err(refuse("it has not one thread")) };
        let registers = Registers::from_bytes(&thread.registers.general)
            .ok_or(refuse("its registers are not those of this architecture"))?;
        if registers.rip != self.registers.rip {
            return Err(refuse("it does not stand where it stood"));
        }
        let stack_of = |mappings: &[Mapping], at: u64| {
            let found = mappings.iter().find(|mapping| mapping.start <= at && at < mapping.end);
            found.filter(|it| it.permissions.write).map(|mapping| mapping.start..mapping.end)
        };
        let here = &self.description.mappings;
        let stack = stack_of(here, self.registers.rsp).filter(|it| it.contains(&registers.rsp));
        let grown = stack_of(&there.mappings, registers.rsp);
        let (Some(stack), Some(grown)) = (stack, grown) else {
            return Err(refuse("its stack is not where it was"));
        };
        let but = stack.start.min(grown.start)..stack.end.max(grown.end);
        let difference = difference(here, &there.mappings, &but).map_err(refuse)?;
        let heap = heap(&self.description, &there, page);
        let mut places: Vec<Range<u64>> = there
            .mappings
            .iter()
            .filter(|it| it.sharing == Sharing::Private)
            .filter(|it| !matches!(it.kind, MappingKind::Special { .. }))
            .map(|mapping| mapping.start..mapping.end)
            .filter(|it| it.end <= but.start || but.end <= it.start)
            .collect();
        places.push(stack.clone());
        places.sort_unstable_by_key(|range| range.start);
        while let Some(section) = next {
            let Section::Pages(pages) = section else {
                return Err(refuse("it tells of what is no difference"));
            };
            if !pages.runs.iter().all(|run| lies_within(&range_of(run, page), &places)) {
                return Err(refuse("a page lies in no memory of its own"));
            }
            // Its bytes are read over, and compared with their sum.
            next = reader.next_section()?;
        }
        let room = room(here, &there.mappings).ok_or(refuse("there is no room left"))?;
        let mut registers_home = registers.with_result(BACK as u64);
        let own = self.registers;
        registers_home.fs_base = own.fs_base;
        registers_home.gs_base = own.gs_base;
        registers_home.eflags = own.eflags;
        [
            (registers_home.cs, registers_home.ss, registers_home.ds),
            (registers_home.es, registers_home.fs, registers_home.gs),
        ] = [(own.cs, own.ss, own.ds), (own.es, own.fs, own.gs)];
        Ok(Landing {
            registers: registers_home,
            difference,
            heap,
            room,
            dead: stack.start..registers.rsp.saturating_sub(RED_ZONE),
            page,
        })
    }

    /// Makes what memory is to be new; where the kernel refuses some, all is as before.
    fn map(&mut self, landing: &Landing) -> Result<(), Error> {
        let pid = self.frozen.pid();
        let main = &mut self.frozen.tracee().threads_mut()[0];
        let mut remote = Remote::enter_at(main, landing.room, CALLS_PATIENCE)?;
        let mut calls = Vec::new();
        if let Heap::Grows { to, .. } = landing.heap {
            calls.push((Call { number: libc::SYS_brk, args: [to, 0, 0, 0, 0, 0] }, to));
        }
        for (range, protection) in landing.mapped() {
            let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED_NOREPLACE;
            let len = range.end - range.start;
            let args = [range.start, len, protection, flags as u64, u64::MAX, 0];
            calls.push((Call { number: libc::SYS_mmap, args }, range.start));
        }
        let only: Vec<Call> = calls.iter().map(|(call, _)| *call).collect();
        let results = remote.run(&only)?;
        let is_done = |((_, wanted), result): (&(Call, u64), &std::io::Result<u64>)| {
            result.as_ref().is_ok_and(|found| found == wanted)
        };
        let failed = calls.iter().zip(&results).position(|pair| !is_done(pair));
        if let Some(failed) = failed {
            let mut undo: Vec<Call> = calls[..failed]
                .iter()
                .filter(|(call, _)| call.number == libc::SYS_mmap)
                .map(|(call, _)| unmapping(call.args[0], call.args[1]))
                .collect();
            if let Heap::Grows { from, .. } = landing.heap {
                undo.push(Call { number: libc::SYS_brk, args: [from, 0, 0, 0, 0, 0] });
            }
            // Those behind the one that failed were made, too.
            let others = calls[failed + 1..].iter().zip(&results[failed + 1..]);
            undo.extend(
                others
                    .filter(|(_, result)| result.is_ok())
                    .filter(|((call, _), _)| call.number == libc::SYS_mmap)
                    .map(|((call, _), _)| unmapping(call.args[0], call.args[1])),
            );
            remote.run(&undo)?;
            remote.finish()?;
            let source = match results.into_iter().nth(failed) {
                Some(Err(source)) => source,
                _ => std::io::Error::from_raw_os_error(libc::ENOMEM),
            };
            let action = "map the memory that came back for";
            return Err(Error::Kernel(sys::Error::Process { action, pid, source }));
        }
        Ok(remote.finish()?)
    }

    /// Writes what is different, unmaps what is no more, and has it go on there.
    fn change(&mut self, landing: &Landing, image: &[u8]) -> Result<(), Error> {
        let mut reader = Reader::new(image)?.ok_or(Error::NoImage)?;
        let (_, mut next) = Description::take(&mut reader)?;
        while let Some(section) = next {
            if let Section::Pages(pages) = section {
                for run in &pages.runs {
                    let range = range_of(run, landing.page);
                    let mut bits = vec![0; (range.end - range.start) as usize];
                    reader.read(&mut bits)?;
                    self.write(range, &bits, landing)?;
                }
            }
            next = reader.next_section()?;
        }
        self.write_hidden(landing.page)?;
        let pid = self.frozen.pid();
        let main = &mut self.frozen.tracee().threads_mut()[0];
        let mut remote = Remote::enter_at(main, landing.room, CALLS_PATIENCE)?;
        let mut calls: Vec<Call> = Vec::new();
        for (range, protection) in &landing.difference.protect {
            let args = [range.start, range.end - range.start, *protection, 0, 0, 0];
            calls.push(Call { number: libc::SYS_mprotect, args });
        }
        if let Heap::Shrinks { to } = landing.heap {
            calls.push(Call { number: libc::SYS_brk, args: [to, 0, 0, 0, 0, 0] });
        }
        let unmap = landing.difference.unmap.iter();
        calls.extend(unmap.map(|range| unmapping(range.start, range.end - range.start)));
        for result in remote.run(&calls)? {
            let action = "change the mappings of";
            result.map_err(|source| sys::Error::Process { action, pid, source })?;
        }
        remote.finish()?;
        self.frozen.tracee().threads_mut()[0].set_registers(&landing.registers)?;
        Ok(())
    }

    /// What of a range has left; where there was nothing that could, what is here now.
    fn left(&mut self, range: &Range<u64>, now: &[u8], page: u64) -> Result<Vec<u8>, Error> {
        let twin = self.twin.pid();
        let mut was = now.to_vec();
        if process_memory::read(twin, range.start, &mut was).is_ok() {
            return Ok(was);
        }
        // A range may begin in memory that has left, and end in what is new.
        let page = page as usize;
        let pages = (range.start..).step_by(page);
        for (at, (was, now)) in pages.zip(was.chunks_mut(page).zip(now.chunks(page))) {
            if process_memory::read(twin, at, was).is_err() {
                was.copy_from_slice(now);
            }
        }
        match maps::mappings(twin)?.is_empty() {
            false => Ok(was),
            true => Err(Error::Unborn { pid: twin }),
        }
    }

    /// Changes bits in memory: to what they are over there, whatever was wiped from what left.
    fn write(&mut self, range: Range<u64>, bits: &[u8], landing: &Landing) -> Result<(), Error> {
        let pid = self.frozen.pid();
        let mut now = vec![0; bits.len()];
        process_memory::read(pid, range.start, &mut now)?;
        let was = self.left(&range, &now, landing.page)?;
        let kernels = self.description.threads.first().and_then(|thread| thread.rseq);
        let kernels = kernels.map_or(0..0, |rseq| {
            rseq.pointer..rseq.pointer.saturating_add(u64::from(rseq.size).max(RSEQ))
        });
        let mut is_changed = false;
        for (at, ((now, was), bits)) in (range.start..).zip(now.iter_mut().zip(&was).zip(bits)) {
            if *bits != 0 && !kernels.contains(&at) && !landing.dead.contains(&at) {
                *now = was ^ bits;
                is_changed = true;
            }
        }
        note(&mut self.hidden, &range, bits);
        if is_changed {
            process_memory::write(pid, range.start, &now)?;
        }
        Ok(())
    }

    /// What was hidden is as it is over there where some of it has changed, in whichever page: all of it, or nothing.
    fn write_hidden(&mut self, page: u64) -> Result<(), Error> {
        let pid = self.frozen.pid();
        for hidden in mem::take(&mut self.hidden) {
            let Some(bits) = hidden.bits else { continue };
            let mut now = vec![0; bits.len()];
            process_memory::read(pid, hidden.range.start, &mut now)?;
            let was = self.left(&hidden.range, &now, page)?;
            let is: Vec<u8> = was.iter().zip(&bits).map(|(was, bits)| was ^ bits).collect();
            process_memory::write(pid, hidden.range.start, &is)?;
        }
        Ok(())
    }
}

/// Keeps what has changed of hidden bytes, of those that lie in a range.
fn note(hidden: &mut [Hidden], range: &Range<u64>, bits: &[u8]) {
    let first = hidden.partition_point(|it| it.range.end <= range.start);
    for it in hidden[first..].iter_mut().take_while(|it| it.range.start < range.end) {
        let (start, end) = (it.range.start.max(range.start), it.range.end.min(range.end));
        let came = &bits[(start - range.start) as usize..(end - range.start) as usize];
        if came.iter().all(|bits| *bits == 0) {
            continue;
        }
        let len = (it.range.end - it.range.start) as usize;
        let kept = it.bits.get_or_insert_with(|| vec![0; len]);
        kept[(start - it.range.start) as usize..][..came.len()].copy_from_slice(came);
    }
}

fn unmapping(start: u64, len: u64) -> Call {
    Call { number: libc::SYS_munmap, args: [start, len, 0, 0, 0, 0] }
}

/// What is to be done to a process.
#[derive(Debug)]
struct Landing {
    registers: Registers,
    difference: Difference,
    heap: Heap,
    /// Where calls can have their memory.
    room: u64,
    /// Below the end of its stack.
    dead: Range<u64>,
    page: u64,
}

/// What becomes of the program break.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Heap {
    Stays,
    Grows { from: u64, to: u64, start: u64, end: u64 },
    Shrinks { to: u64 },
}

fn heap(here: &Description, there: &Description, page: u64) -> Heap {
    let [was, is] = [here.process.marks, there.process.marks];
    if was.break_start != is.break_start || was.break_now == is.break_now {
        return Heap::Stays;
    }
    if is.break_now < was.break_now {
        return Heap::Shrinks { to: is.break_now.max(was.break_start) };
    }
    let (start, end) =
        (was.break_now.next_multiple_of(page), is.break_now.saturating_add(page - 1) / page * page);
    Heap::Grows { from: was.break_now, to: is.break_now, start, end }
}

impl Landing {
    /// Ranges that the growing heap does not cover.
    fn mapped(&self) -> Vec<(Range<u64>, u64)> {
        let (from, to) = match self.heap {
            Heap::Grows { start, end, .. } => (start, end),
            Heap::Stays | Heap::Shrinks { .. } => (0, 0),
        };
        let mut found = Vec::new();
        for (range, protection) in &self.difference.map {
            for part in [range.start..range.end.min(from), range.start.max(to)..range.end] {
                if part.start < part.end {
                    found.push((part, *protection));
                }
            }
        }
        found
    }
}

fn range_of(run: &Run, page: u64) -> Range<u64> {
    let start = run.page.saturating_mul(page);
    start..start.saturating_add(u64::from(run.count).saturating_mul(page))
}

/// Whether a range lies in these, which are in their order, with nothing between.
fn lies_within(range: &Range<u64>, places: &[Range<u64>]) -> bool {
    let mut at = range.start;
    let first = places.partition_point(|place| place.end <= range.start);
    for place in &places[first..] {
        if place.start > at {
            return false;
        }
        at = place.end;
        if at >= range.end {
            return true;
        }
    }
    false
}

/// An address at which neither has anything.
fn room(here: &[Mapping], there: &[Mapping]) -> Option<u64> {
    let mut all: Vec<Range<u64>> =
        here.iter().chain(there).map(|mapping| mapping.start..mapping.end).collect();
    all.sort_unstable_by_key(|range| range.start);
    let mut at = LOWEST;
    for range in all {
        if range.start >= at.checked_add(REMOTE_LEN)? {
            return Some(at);
        }
        at = at.max(range.end);
    }
    None
}

#[cfg(test)]
mod tests;
