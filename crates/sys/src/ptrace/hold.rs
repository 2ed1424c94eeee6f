//! A stopped process that stays stopped without us, and one that goes on as another program.

use std::time::Duration;

use super::Tracee;
use super::calls::{self, Resume};
use super::remote::{Remote, Replacement};
use super::state::SignalMask;
use super::stops::{Patience, Stop, Task};
use crate::Error;
use crate::process::Finishing;

/// How long a thread takes that is let go up to a signal that waits for it.
const PATIENCE: Duration = Duration::from_secs(5);

/// That a process is held; `Tracee::let_loose` takes it away.
#[derive(Debug)]
pub struct Hold {
    /// Somebody else's stop is not ours to take away.
    is_ours: bool,
}

impl Tracee {
    /// The signal that had stopped it as a shell's job is, if one had. Let go of, it stays stopped.
    pub fn job_stop(&self) -> Option<i32> {
        self.seized.job_stop()
    }

    /// From now on it does not go on when it is let go of, or when the tracing thread ends: a SIGSTOP waits
    /// for it, which the kernel looks at before it makes another step. Nobody sees that before.
    pub fn hold(&mut self) -> Result<Hold, Error> {
        let is_ours = self.job_stop().is_none() && !self.has_stop()?;
        if is_ours {
            let pid = self.pid();
            calls::signal_process(pid, libc::SIGSTOP).map_err(Error::process("hold", pid))?;
        }
        Ok(Hold { is_ours })
    }

    /// It goes on again when it is let go of.
    pub fn let_loose(&mut self, hold: Hold) -> Result<(), Error> {
        if !hold.is_ours || !self.has_stop()? {
            return Ok(());
        }
        let _finishing = Finishing::begin();
        // One thread is let go up to the signal, which then comes to nobody.
        let thread = &mut self.threads[0];
        let (task, mask) = (thread.task, thread.signal_mask()?);
        thread.set_signal_mask(SignalMask::ALL)?;
        let mut patience = Patience::of(PATIENCE);
        loop {
            calls::resume(task.tid, Resume::Run, 0).map_err(thread.refused("let go on"))?;
            match patience.wait(task).map_err(thread.refused("wait for"))? {
                Some(Stop::Signal(libc::SIGSTOP)) => break,
                Some(Stop::Gone) => return Ok(()),
                Some(_) => {}
                None => return Err(Error::Unstoppable { pid: task.pid, tid: task.tid }),
            }
        }
        thread.set_signal_mask(mask)
    }

    /// Has it become another program, and lets it go on as that. Whatever fails, and should this process end
    /// meanwhile, it never runs again as what it was: then it is killed.
    pub fn replace(mut self, by: &Replacement, patience: Duration) -> Result<(), Error> {
        let _finishing = Finishing::begin();
        let replaced = self.exec(by, patience);
        match replaced {
            Ok(()) => self.detach(),
            Err(error) => {
                self.kill()?;
                Err(error)
            }
        }
    }

    fn exec(&mut self, by: &Replacement, patience: Duration) -> Result<(), Error> {
        for thread in &mut self.threads {
            thread.kill_with_tracer()?;
        }
        let others: Vec<Task> = self.threads[1..].iter().map(|thread| thread.task).collect();
        let main = &mut self.threads[0];
        let mut remote = Remote::enter(main, patience)?;
        remote.replace(by, &others)?;
        drop(remote);
        calls::trace_only(main.tid()).map_err(main.refused("let go of"))
    }

    /// Whether a SIGSTOP waits for it.
    fn has_stop(&self) -> Result<bool, Error> {
        let pending = self.threads[0].pending()?;
        Ok(pending.process.iter().any(|info| info.signal() == libc::SIGSTOP))
    }
}
