//! A process that is made to become another program: its number, parent, session and standard streams stay.

use std::ffi::CString;
use std::io;

use super::{OPEN, Remote};
use crate::ptrace::calls::{self, Resume};
use crate::ptrace::stops::{self, Patience, Stop, Task};
use crate::{Error, Untraceable, process_memory};

/// What a process is to become.
#[derive(Debug, Clone)]
pub struct Replacement {
    /// A path as the process itself sees it.
    pub program: CString,
    pub arguments: Vec<CString>,
    pub environment: Vec<CString>,
    /// Signals that are taken from it before, one for each entry. Those that come now wait for the program,
    /// which begins with all of them blocked.
    pub forgotten: Vec<i32>,
}

/// Descriptors from here on are closed.
const KEPT: u64 = 3;
/// `ITIMER_REAL`, `ITIMER_VIRTUAL`, `ITIMER_PROF`, and what they send: these go on over an exec.
const TIMERS: [(u64, i32); 3] = [(0, libc::SIGALRM), (1, libc::SIGVTALRM), (2, libc::SIGPROF)];

impl Remote<'_> {
    /// The program begins; `others` are the other threads of the process, which end by this. Where it fails
    /// the process has nothing open any more, and is to be ended.
    pub(in crate::ptrace) fn replace(
        &mut self,
        replacement: &Replacement,
        others: &[Task],
    ) -> Result<(), Error> {
        self.quieten(&replacement.forgotten)?;
        let Words { bytes, program, arguments, environment } = Words::of(replacement);
        let at = self.map(None, bytes.len() as u64, OPEN)?;
        // The pointers were counted from 0.
        let moved = |range: std::ops::Range<usize>, bytes: &mut [u8]| {
            for word in bytes[range].as_chunks_mut::<8>().0 {
                let offset = u64::from_ne_bytes(*word);
                *word = if offset == NONE { [0; 8] } else { (at + offset).to_ne_bytes() };
            }
        };
        let mut bytes = bytes;
        moved(arguments.clone(), &mut bytes);
        moved(environment.clone(), &mut bytes);
        process_memory::write(self.pid(), at, &bytes)?;
        let args = [
            at + program as u64,
            at + arguments.start as u64,
            at + environment.start as u64,
            0,
            0,
            0,
        ];
        self.exec(args, others)
    }

    /// Nothing of what it has begun reaches the program.
    fn quieten(&mut self, forgotten: &[i32]) -> Result<(), Error> {
        let scratch = self.scratch().start;
        // A timer of zeros, a span of zeros, and a set of one signal.
        let (zeros, set) = (scratch, scratch + 64);
        process_memory::write(self.pid(), zeros, &[0; 64])?;
        for (timer, _) in TIMERS {
            let _ = self.step(libc::SYS_setitimer, [timer, zeros, 0, 0, 0, 0])?;
        }
        for signal in TIMERS.map(|(_, signal)| signal).iter().chain(forgotten) {
            if !(1..=64).contains(signal) {
                continue;
            }
            let bit = 1_u64 << (signal - 1);
            process_memory::write(self.pid(), set, &bit.to_ne_bytes())?;
            // EAGAIN: it has come to nobody.
            let _ = self.step(libc::SYS_rt_sigtimedwait, [set, 0, zeros, 8, 0, 0])?;
        }
        // Before Linux 5.9 the program closes them itself, if it does.
        let last = u64::from(u32::MAX);
        let _ = self.step(libc::SYS_close_range, [KEPT, last, 0, 0, 0, 0])?;
        Ok(())
    }

    fn exec(&mut self, args: [u64; 6], others: &[Task]) -> Result<(), Error> {
        let task = self.thread.task;
        let failed =
            |action, source| Error::Thread { action, pid: task.pid, tid: task.tid, source };
        let mut registers = self.before.registers;
        registers.set_call(self.instruction, libc::SYS_execve as u64, args);
        self.thread.set_registers(&registers)?;
        let mut others = others.to_vec();
        let mut patience = Patience::of(self.patience);
        let mut has_begun = false;
        let go = |how| calls::resume(task.tid, how, 0).map_err(|error| failed("let go on", error));
        go(Resume::ToCall)?;
        loop {
            match stops::poll(task).map_err(|error| failed("wait for", error))? {
                None => patience.pause(),
                Some(Stop::Exec) => {
                    // Nothing of the old memory is left to be put in order.
                    self.is_over = true;
                    return Ok(());
                }
                Some(Stop::Call) if has_begun => {
                    let result = self.thread.registers()?.result();
                    let errno = i32::try_from(result.wrapping_neg()).unwrap_or(libc::ENOEXEC);
                    return Err(failed(
                        "start another program as",
                        io::Error::from_raw_os_error(errno),
                    ));
                }
                Some(Stop::Call) => {
                    has_begun = true;
                    go(Resume::ToCall)?;
                }
                Some(Stop::Gone) => {
                    self.is_over = true;
                    let why = Untraceable::Gone;
                    return Err(Error::Untraceable { pid: task.pid, tid: task.tid, why });
                }
                Some(_) => go(Resume::ToCall)?,
            }
            // The kernel waits until those that it ends are seen off by who traces them.
            let mut still = Vec::with_capacity(others.len());
            for other in others.drain(..) {
                let stop = stops::poll(other).map_err(|error| failed("wait for", error))?;
                if stop != Some(Stop::Gone) {
                    still.push(other);
                }
            }
            others = still;
            if patience.is_over() {
                return Err(Error::Unstoppable { pid: task.pid, tid: task.tid });
            }
        }
    }
}

/// What ends a list of pointers, before they are moved.
const NONE: u64 = u64::MAX;

/// The memory that `execve` is given; addresses in it count from 0.
struct Words {
    bytes: Vec<u8>,
    program: usize,
    arguments: std::ops::Range<usize>,
    environment: std::ops::Range<usize>,
}

impl Words {
    fn of(replacement: &Replacement) -> Self {
        let mut bytes = Vec::new();
        let mut put = |text: &CString| {
            let at = bytes.len();
            bytes.extend_from_slice(text.as_bytes_with_nul());
            at
        };
        let program = put(&replacement.program);
        let arguments: Vec<usize> = replacement.arguments.iter().map(&mut put).collect();
        let environment: Vec<usize> = replacement.environment.iter().map(&mut put).collect();
        bytes.resize(bytes.len().next_multiple_of(8), 0);
        let mut list = |of: &[usize]| {
            let start = bytes.len();
            let all = of.iter().map(|at| *at as u64).chain([NONE]);
            bytes.extend(all.flat_map(u64::to_ne_bytes));
            start..bytes.len()
        };
        let (arguments, environment) = (list(&arguments), list(&environment));
        Self { bytes, program, arguments, environment }
    }
}
