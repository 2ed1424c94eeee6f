//! System calls that another process makes for us, without noticing.
//!
//! ```text
//!   enter    signals are blocked; the vDSO's `syscall` instruction is borrowed, one step at a time, to
//!            map two pieces of memory: the stub (read, execute) and the list (read, write)
//!   run      the list is written, the stub makes all its calls, and traps; results are read
//!   finish   the memory is unmapped; registers, mask and restartable sequence are as they were
//! ```
//!
//! The trap is a signal, and the kernel forces it: a program that ignores SIGTRAP would not ignore it any
//! more, and a SIGTRAP that waits would be taken for it. Then, and where a policy forbids the stub, each
//! call is made by the borrowed instruction alone: slower (two stops for each), and without a signal.
//!
//! Signals that come meanwhile wait until the end. The call that was interrupted by stopping the thread is
//! made again by the kernel when the thread goes on, since it sees the registers that it has left there.

use std::io;
use std::ops::Range;
use std::time::Duration;

use super::calls::{self, Resume};
use super::refusal;
use super::state::{SignalInfo, SignalMask};
use super::stops::{Patience, Stop, Task};
use super::thread::Stopped;
use super::x86_64::{Registers, STUB, SYSCALL, TRAP};
use crate::maps::{self, Content};
use crate::process::Finishing;
use crate::{Error, Pid, Uncallable, Untraceable, process_memory};

mod replace;

pub use replace::Replacement;

/// A system call by its number. Addresses among its arguments are the other process's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Call {
    pub number: i64,
    pub args: [u64; 6],
}

/// Calls that one run of the stub makes; more are several runs.
const CALLS_MAX: usize = 512;

/// Bytes of a call in the list: number, arguments, result.
const ENTRY: usize = 64;

const STUB_LEN: u64 = 4096;
const LIST_LEN: u64 = (CALLS_MAX * ENTRY) as u64;
/// What callers may use for what their calls point to.
const SCRATCH_LEN: u64 = 1 << 16;

/// What all of it takes.
pub const REMOTE_LEN: u64 = LIST_LEN + SCRATCH_LEN + STUB_LEN;

/// How long a thread that was interrupted in a call that took too long is waited for.
const INTERRUPTING: Duration = Duration::from_secs(1);

/// The largest error number: results above `-ERROR_MAX` are errors.
const ERROR_MAX: u64 = 4095;

const OPEN: u64 = (libc::PROT_READ | libc::PROT_WRITE) as u64;
const CODE: u64 = (libc::PROT_READ | libc::PROT_EXEC) as u64;
const PRIVATE: u64 = (libc::MAP_PRIVATE | libc::MAP_ANONYMOUS) as u64;

/// A stopped thread that makes calls. Dropped, it is what it was before, as far as that still can be. So it is if
/// the command is killed that works behind itself: see `process::work_behind`.
///
/// The other threads of its process stay stopped meanwhile. Its calls must not wait for long, and must not
/// be `vfork`, `execve` or `exit`, nor change this memory.
#[derive(Debug)]
pub struct Remote<'a> {
    thread: &'a mut Stopped,
    /// How long one run of the stub, or one call made without it, may take.
    pub patience: Duration,
    before: Before,
    /// Where in its vDSO a `syscall` instruction stands.
    instruction: u64,
    stub: Option<u64>,
    list: Option<u64>,
    /// The program ignores SIGTRAP.
    ignores_trap: bool,
    /// Signals that could not be kept from it, and are to come again.
    owed: Vec<SignalInfo>,
    born: Vec<Pid>,
    is_over: bool,
    /// Dropped after the rest.
    _finishing: Finishing,
}

/// What a process that a call has forked has of these preparations in its own memory.
#[derive(Debug, Clone, Copy)]
pub struct Inherited {
    instruction: u64,
    stub: Option<u64>,
    list: Option<u64>,
}

/// What is put back.
#[derive(Debug)]
struct Before {
    registers: Registers,
    mask: SignalMask,
    /// The critical section that it is in: address of the word, and the word. The kernel clears the word
    /// when it sees the thread elsewhere, and then would not know that the section was interrupted.
    section: Option<(u64, u64)>,
}

impl<'a> Remote<'a> {
    /// Prepares a thread, whose calls may take as long as `patience`.
    pub fn enter(thread: &'a mut Stopped, patience: Duration) -> Result<Self, Error> {
        Self::enter_somewhere(thread, None, patience)
    }

    /// The same with what calls need at this address, where `REMOTE_LEN` bytes are free: for who changes
    /// what else is mapped.
    pub fn enter_at(thread: &'a mut Stopped, at: u64, patience: Duration) -> Result<Self, Error> {
        Self::enter_somewhere(thread, Some(at), patience)
    }

    fn enter_somewhere(
        thread: &'a mut Stopped,
        at: Option<u64>,
        patience: Duration,
    ) -> Result<Self, Error> {
        let finishing = Finishing::begin();
        let Task { pid, tid } = thread.task;
        let refuse = |why| Error::Uncallable { pid, tid, why };
        let registers = thread.registers()?;
        if !registers.is_wide() {
            return Err(refuse(Uncallable::Narrow));
        }
        if refusal::is_filtered(thread.task) {
            return Err(refuse(Uncallable::Seccomp));
        }
        let instruction = borrowed(pid)?.ok_or_else(|| refuse(Uncallable::NoVdso))?;
        let section = match thread.rseq()? {
            Some(rseq) => Some((rseq.at + 8, word(pid, rseq.at + 8)?)),
            None => None,
        };
        let before = Before { registers, mask: thread.signal_mask()?, section };
        thread.set_signal_mask(SignalMask::ALL)?;
        let ignores_trap = refusal::ignores(thread.task, libc::SIGTRAP);
        let mut remote = Self {
            thread,
            patience,
            before,
            instruction,
            stub: None,
            list: None,
            ignores_trap,
            owed: Vec::new(),
            born: Vec::new(),
            is_over: false,
            _finishing: finishing,
        };
        remote.list = Some(remote.map(at, LIST_LEN + SCRATCH_LEN, OPEN)?);
        let behind = at.map(|at| at + LIST_LEN + SCRATCH_LEN);
        remote.stub = remote.map(behind, STUB_LEN, CODE).ok();
        if let Some(stub) = remote.stub {
            let mut code = vec![TRAP; STUB_LEN as usize];
            code[..STUB.len()].copy_from_slice(&STUB);
            if process_memory::write(pid, stub, &code).is_err() {
                remote.unmap(stub, STUB_LEN)?;
                remote.stub = None;
            }
        }
        Ok(remote)
    }

    /// The same of a process that a call of another has forked: what calls need is in its memory already.
    pub fn inherit(
        thread: &'a mut Stopped,
        from: Inherited,
        patience: Duration,
    ) -> Result<Self, Error> {
        let finishing = Finishing::begin();
        let before =
            Before { registers: thread.registers()?, mask: thread.signal_mask()?, section: None };
        thread.set_signal_mask(SignalMask::ALL)?;
        let ignores_trap = refusal::ignores(thread.task, libc::SIGTRAP);
        Ok(Self {
            thread,
            patience,
            before,
            instruction: from.instruction,
            stub: from.stub,
            list: from.list,
            ignores_trap,
            owed: Vec::new(),
            born: Vec::new(),
            is_over: false,
            _finishing: finishing,
        })
    }

    /// What a process that is forked now has.
    pub fn inherited(&self) -> Inherited {
        Inherited { instruction: self.instruction, stub: self.stub, list: self.list }
    }

    pub fn pid(&self) -> Pid {
        self.thread.pid()
    }

    /// Memory of the other process that calls may point to: read and write it by `process_memory`.
    pub fn scratch(&self) -> Range<u64> {
        let start = self.list.map_or(0, |list| list + LIST_LEN);
        start..start + SCRATCH_LEN
    }

    /// Makes the calls one after the other, also after one that fails. Each has a result; the whole fails
    /// only if the thread cannot be made to call.
    pub fn run(&mut self, calls: &[Call]) -> Result<Vec<io::Result<u64>>, Error> {
        let mut results = Vec::with_capacity(calls.len());
        for some in calls.chunks(CALLS_MAX) {
            match self.stub.filter(|_| !self.ignores_trap) {
                Some(stub) if !self.minds_traps(some)? => {
                    self.run_list(stub, some, &mut results)?
                }
                _ => {
                    for call in some {
                        results.push(self.step(call.number, call.args)?);
                    }
                    self.ignores_trap = refusal::ignores(self.thread.task, libc::SIGTRAP);
                }
            }
        }
        Ok(results)
    }

    /// The same in another thread of this process, one that its calls have started. That keeps its registers
    /// and its mask.
    pub fn run_in(
        &mut self,
        thread: &mut Stopped,
        calls: &[Call],
    ) -> Result<Vec<io::Result<u64>>, Error> {
        let registers = thread.registers()?;
        let mask = thread.signal_mask()?;
        thread.set_signal_mask(SignalMask::ALL)?;
        let mut other = Remote {
            patience: self.patience,
            before: Before { registers, mask, section: None },
            instruction: self.instruction,
            stub: self.stub,
            list: self.list,
            ignores_trap: self.ignores_trap,
            owed: Vec::new(),
            born: Vec::new(),
            // What it borrows is not its own to take away.
            is_over: true,
            _finishing: Finishing::begin(),
            thread,
        };
        let results = other.run(calls)?;
        other.thread.set_registers(&registers)?;
        other.thread.set_signal_mask(mask)?;
        Ok(results)
    }

    /// To be called when the kernel's own memory (the vDSO) has been moved.
    pub fn find_instruction(&mut self) -> Result<(), Error> {
        let Task { pid, tid } = self.thread.task;
        let why = Uncallable::NoVdso;
        self.instruction = borrowed(pid)?.ok_or(Error::Uncallable { pid, tid, why })?;
        Ok(())
    }

    /// The threads and processes that its calls have started, each stopped before its first instruction:
    /// it has the registers and the blocked signals of this one, and must be given its own.
    /// Those that nobody has taken at the end are let go.
    pub fn born(&mut self) -> Result<Vec<Stopped>, Error> {
        let mut found = Vec::new();
        while let Some(tid) = self.born.pop() {
            let pid = self.thread.pid();
            let is_thread = std::fs::exists(format!("/proc/{pid}/task/{tid}")).unwrap_or(false);
            let task = Task { pid: if is_thread { pid } else { tid }, tid };
            let mut patience = Patience::of(self.patience);
            match patience.wait(task).map_err(self.thread.refused("wait for the child of"))? {
                Some(Stop::Gone) => {}
                Some(_) => found.push(Stopped::new(task)),
                None => return Err(Error::Unstoppable { pid: task.pid, tid }),
            }
        }
        found.reverse();
        Ok(found)
    }

    /// Leaves all that calls need where it is, in a process that never goes on as what it was.
    pub fn stay(mut self) {
        self.is_over = true;
    }

    /// Leaves nothing behind: the thread is as it was when it was entered.
    pub fn finish(mut self) -> Result<(), Error> {
        self.leave()
    }

    /// Whether these calls, now, are better made without the trap.
    fn minds_traps(&self, calls: &[Call]) -> Result<bool, Error> {
        let sets_action = |call: &Call| {
            call.number == libc::SYS_rt_sigaction
                && call.args[0] == libc::SIGTRAP as u64
                && call.args[1] != 0
        };
        let pending = self.thread.pending()?;
        let mut waiting = pending.thread.iter().chain(&pending.process);
        let waits = waiting.any(|info| info.signal() == libc::SIGTRAP);
        Ok(waits || calls.iter().any(sets_action))
    }

    /// The calls of one list.
    fn run_list(
        &mut self,
        stub: u64,
        calls: &[Call],
        results: &mut Vec<io::Result<u64>>,
    ) -> Result<(), Error> {
        let list = self.list.unwrap_or(0);
        let mut bytes = Vec::with_capacity(calls.len() * ENTRY);
        for call in calls {
            let words = [call.number as u64].into_iter().chain(call.args).chain([0]);
            bytes.extend(words.flat_map(u64::to_ne_bytes));
        }
        process_memory::write(self.pid(), list, &bytes)?;
        let mut registers = self.before.registers;
        registers.set_list(stub, list, calls.len() as u64);
        self.thread.set_registers(&registers)?;
        self.thread.set_signal_mask(SignalMask::ALL.without(libc::SIGTRAP))?;
        self.go(Resume::Run, Until::ListEnd)?;
        self.thread.set_signal_mask(SignalMask::ALL)?;
        process_memory::read(self.pid(), list, &mut bytes)?;
        for entry in bytes.chunks_exact(ENTRY) {
            let mut word = [0; 8];
            word.copy_from_slice(&entry[ENTRY - 8..]);
            results.push(outcome(u64::from_ne_bytes(word)));
        }
        Ok(())
    }

    /// One call by the borrowed instruction.
    fn step(&mut self, number: i64, args: [u64; 6]) -> Result<io::Result<u64>, Error> {
        let mut registers = self.before.registers;
        registers.set_call(self.instruction, number as u64, args);
        self.thread.set_registers(&registers)?;
        self.go(Resume::ToCall, Until::Call)?;
        self.go(Resume::ToCall, Until::Call)?;
        Ok(outcome(self.thread.registers()?.result()))
    }

    fn map(&mut self, at: Option<u64>, len: u64, protection: u64) -> Result<u64, Error> {
        let none = u64::MAX;
        let flags = PRIVATE | at.map_or(0, |_| libc::MAP_FIXED_NOREPLACE as u64);
        self.step(libc::SYS_mmap, [at.unwrap_or(0), len, protection, flags, none, 0])?
            .map_err(self.thread.refused("map memory for calls in"))
    }

    fn unmap(&mut self, at: u64, len: u64) -> Result<(), Error> {
        self.step(libc::SYS_munmap, [at, len, 0, 0, 0, 0])?
            .map(|_| ())
            .map_err(self.thread.refused("unmap the memory for calls in"))
    }

    /// Lets the thread go on until the stop that is meant.
    fn go(&mut self, how: Resume, until: Until) -> Result<(), Error> {
        let task = self.thread.task;
        let refuse = |why| Error::Uncallable { pid: task.pid, tid: task.tid, why };
        let mut patience = Patience::of(self.patience);
        loop {
            calls::resume(task.tid, how, 0).map_err(self.thread.refused("let go on"))?;
            let stop = patience.wait(task).map_err(self.thread.refused("wait for"))?;
            let Some(stop) = stop else {
                return Err(self.interrupt(refuse(Uncallable::Slow)));
            };
            match (stop, until) {
                (Stop::Call, Until::Call) | (Stop::Trap { .. }, Until::Trap) => return Ok(()),
                (Stop::Gone, _) => {
                    self.is_over = true;
                    let why = Untraceable::Gone;
                    return Err(Error::Untraceable { pid: task.pid, tid: task.tid, why });
                }
                (Stop::Signal(libc::SIGTRAP), until) => {
                    let info = calls::signal_info(task.tid)
                        .map_err(self.thread.refused("read the signal of"))?;
                    match until {
                        Until::ListEnd if info.code() == libc::SI_KERNEL => return Ok(()),
                        _ => self.owed.push(info),
                    }
                }
                // It cannot be blocked.
                (Stop::Signal(libc::SIGSTOP), _) => {
                    let info = calls::signal_info(task.tid)
                        .map_err(self.thread.refused("read the signal of"))?;
                    self.owed.push(info);
                }
                // All others are blocked: this one was forced.
                (Stop::Signal(signal), _) => return Err(refuse(Uncallable::Fault(signal))),
                (Stop::Clone | Stop::Fork, _) => {
                    let born = calls::newborn(task.tid)
                        .map_err(self.thread.refused("ask for the child of"))?;
                    self.born.push(born);
                }
                (Stop::Call | Stop::Exec | Stop::Trap { .. }, _) => {}
            }
            // Any stop ends the interruption that was asked for.
            if matches!(until, Until::Trap) {
                calls::interrupt(task.tid).map_err(self.thread.refused("stop"))?;
            }
        }
    }

    /// Stops the thread in a call that takes too long.
    fn interrupt(&mut self, error: Error) -> Error {
        let task = self.thread.task;
        let mut patience = Patience::of(INTERRUPTING);
        if calls::interrupt(task.tid).is_ok() && matches!(patience.wait(task), Ok(Some(_))) {
            return error;
        }
        // It is let go of when the tracing thread ends.
        self.is_over = true;
        Error::Unstoppable { pid: task.pid, tid: task.tid }
    }

    fn leave(&mut self) -> Result<(), Error> {
        if std::mem::replace(&mut self.is_over, true) {
            return Ok(());
        }
        let cleaned = self.clean();
        // What follows is done even if that failed: the thread must go on with what is its own.
        let tid = self.thread.tid();
        calls::interrupt(tid).map_err(self.thread.refused("stop"))?;
        // The kernel makes an interrupted call again only on the way out of such a stop.
        let trapped = self.go(Resume::Run, Until::Trap);
        self.thread.set_registers(&self.before.registers)?;
        self.thread.set_signal_mask(self.before.mask)?;
        if let Some((at, section)) = self.before.section
            && word(self.pid(), at)? != section
        {
            process_memory::write(self.pid(), at, &section.to_ne_bytes())?;
        }
        if self.owed.iter().any(|info| info.signal() == libc::SIGSTOP) {
            calls::signal_process(self.pid(), libc::SIGSTOP)
                .map_err(self.thread.refused("stop again"))?;
        }
        cleaned.and(trapped)
    }

    /// Takes away what was put into the process.
    fn clean(&mut self) -> Result<(), Error> {
        for born in self.born()? {
            calls::resume(born.tid(), Resume::Untraced, 0).map_err(born.refused("let go of"))?;
        }
        self.queue_owed()?;
        if let Some(stub) = self.stub.take() {
            self.unmap(stub, STUB_LEN)?;
        }
        if let Some(list) = self.list.take() {
            self.unmap(list, LIST_LEN + SCRATCH_LEN)?;
        }
        Ok(())
    }

    /// The thread sends itself the signals that it would have had: only so they look the same.
    fn queue_owed(&mut self) -> Result<(), Error> {
        let traps = self.owed.iter().filter(|info| info.signal() == libc::SIGTRAP);
        let traps: Vec<SignalInfo> = traps.copied().collect();
        for info in traps {
            let at = self.scratch().start;
            process_memory::write(self.pid(), at, &info.0)?;
            // As it numbers itself.
            let process = self.step(libc::SYS_getpid, [0; 6])?.unwrap_or(0);
            let thread = self.step(libc::SYS_gettid, [0; 6])?.unwrap_or(0);
            let args = [process, thread, libc::SIGTRAP as u64, at, 0, 0];
            self.step(libc::SYS_rt_tgsigqueueinfo, args)?
                .map_err(self.thread.refused("queue a signal of"))?;
        }
        Ok(())
    }
}

impl Drop for Remote<'_> {
    fn drop(&mut self) {
        // Whoever wants to know calls `finish`.
        let _ = self.leave();
    }
}

/// The stop that is meant.
#[derive(Debug, Clone, Copy)]
enum Until {
    Call,
    ListEnd,
    Trap,
}

fn outcome(result: u64) -> io::Result<u64> {
    match result.wrapping_neg() {
        error @ 1..=ERROR_MAX => Err(io::Error::from_raw_os_error(error as i32)),
        _ => Ok(result),
    }
}

/// Where in the vDSO of a process a `syscall` instruction stands; nothing of its own is changed for it.
fn borrowed(pid: Pid) -> Result<Option<u64>, Error> {
    let maps = maps::mappings(pid)?;
    let Some(vdso) = maps.into_iter().find(|mapping| mapping.content == Content::Vdso) else {
        return Ok(None);
    };
    let mut code = vec![0; (vdso.range.end - vdso.range.start) as usize];
    process_memory::read(pid, vdso.range.start, &mut code)?;
    let offset = code.windows(SYSCALL.len()).position(|bytes| bytes == SYSCALL);
    Ok(offset.map(|offset| vdso.range.start + offset as u64))
}

fn word(pid: Pid, at: u64) -> Result<u64, Error> {
    let mut bytes = [0; 8];
    process_memory::read(pid, at, &mut bytes)?;
    Ok(u64::from_ne_bytes(bytes))
}
