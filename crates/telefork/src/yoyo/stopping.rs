//! When a process that stands can be looked at as a whole: nobody is in the midst of changing its memory.

use std::time::{Duration, Instant};

use sys::Pid;
use sys::ptrace::Registers;

use crate::Error;
use crate::capture::Frozen;

/// What is believed to be in use below a stack's end: no function writes farther.
pub(super) const RED_ZONE: u64 = 128;

/// How long threads may take until all of them rest, or have ended.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long a thread that has just begun may still have the name of who started it.
const NAMELESS: Duration = Duration::from_secs(2);

/// Until they are looked at again.
const PAUSE: Duration = Duration::from_millis(1);
const PAUSE_MAX: Duration = Duration::from_millis(50);

/// The call in which a process stands.
const READ: u64 = libc::SYS_read as u64;

/// A thread that waits for a process which has the same memory, and which is not seen.
const KEEPER: &[u8] = b"farcall-keep";

/// What is asked of all threads but the one that stands.
pub(super) enum Others<'a> {
    /// These, by their names.
    MustBe(&'a dyn Fn(&[u8]) -> bool),
    /// They are about to end.
    MustEnd,
}

/// Stops a process whose main thread stands, once all its threads are in calls that the kernel makes again, or
/// ends for the stop: so none of them is in the midst of changing memory.
pub(super) fn stop(pid: Pid, others: Others<'_>) -> Result<(Frozen, Registers), Error> {
    let (until, named) = (Instant::now() + PATIENCE, Instant::now() + NAMELESS);
    let mut pause = PAUSE;
    loop {
        let mut frozen = Frozen::freeze(pid, PATIENCE)?;
        let (mut restless, mut main, mut program) = (None, None, Vec::new());
        for (at, thread) in frozen.tracee().threads().iter().enumerate() {
            let registers = thread.registers()?;
            let call = registers.interrupted_call();
            if at == 0 {
                main = (call == Some(READ)).then_some(registers);
                program = thread.name()?;
                continue;
            }
            let (tid, name) = (thread.tid(), thread.name()?);
            let is_late = Instant::now() >= until;
            let text = || String::from_utf8_lossy(&name).into_owned();
            let may_stay = match &others {
                Others::MustBe(own)
                    if !own(&name) && (name != program || Instant::now() >= named) =>
                {
                    return Err(Error::Threads { pid, tid, name: text() });
                }
                Others::MustEnd if is_late => {
                    return Err(Error::Threads { pid, tid, name: text() });
                }
                Others::MustBe(own) => {
                    let rests = call.or(registers.ended_call()).is_some();
                    rests && own(&name) && name != KEEPER
                }
                Others::MustEnd => false,
            };
            if !may_stay {
                restless = Some((tid, text()));
            }
        }
        match (restless, main) {
            (None, Some(registers)) => {
                // Its library may watch what it writes; what goes over there is not watched.
                frozen.set_tracked();
                return Ok((frozen, registers));
            }
            (Some((tid, name)), _) if Instant::now() >= until => {
                return Err(Error::Restless { pid, tid, name });
            }
            (None, None) if Instant::now() >= until => {
                return Err(Error::Restless { pid, tid: pid, name: "main".to_owned() });
            }
            _ => {}
        }
        frozen.release()?;
        // Whoever is stopped again at once comes nowhere.
        std::thread::park_timeout(pause);
        pause = (pause * 2).min(PAUSE_MAX);
    }
}
