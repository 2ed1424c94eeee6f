//! A copy of a frozen process that the kernel makes by `fork`, so that the process itself can go on at once.
//!
//! ```text
//!   original ── clone(VM) ──▶ helper ── clone ──▶ twin        the twin's pages are those of this moment
//!      │                        ╳ ends                         its parent has ended: the nearest reaper
//!      └─ waits for the helper, and goes on                    above has adopted it
//! ```
//!
//! Were the twin a child of the original, that would be told of its end, and have to wait for it. The helper
//! is one, but tells nobody when it ends (its exit signal is 0), and the original waits for it before it goes on.
//! Helper and twin never run code of the program, and the kernel kills them should the tracing thread end.

use std::time::Duration;

use sys::Pid;
use sys::ptrace::{Call, Remote, Stopped, Tracee};

use super::CALLS_PATIENCE;
use super::told::Told;
use crate::Error;

/// What the helper shares with the original: all that would cost time to copy.
const HELPER: u64 = (libc::CLONE_VM | libc::CLONE_FS | libc::CLONE_FILES) as u64;

/// A fork takes some 40 ms for a GiB of small pages; the largest hosts have a few TiB.
const FORK_PATIENCE: Duration = Duration::from_secs(600);

const ADOPTING: u64 = libc::PR_SET_CHILD_SUBREAPER as u64;

/// A process that is nobody's: it ends with this.
#[derive(Debug)]
pub(super) struct Doomed(Option<Tracee>);

impl Doomed {
    fn new(mut thread: Stopped) -> Result<Self, Error> {
        let guarded = thread.kill_with_tracer();
        let doomed = Self(Some(Tracee::born(thread)));
        guarded?;
        Ok(doomed)
    }

    pub(super) fn process(&mut self) -> &mut Tracee {
        self.0.as_mut().expect("it is there until it is ended, which consumes this")
    }

    /// Only when this returns is its memory free.
    pub(super) fn end(mut self) -> Result<(), Error> {
        match self.0.take() {
            Some(process) => Ok(process.kill_orphan()?),
            None => Ok(()),
        }
    }
}

impl Drop for Doomed {
    fn drop(&mut self) {
        if let Some(process) = self.0.take() {
            // Whoever wants to know calls `end`.
            let _ = process.kill_orphan();
        }
    }
}

/// Makes a twin of a process, which stays frozen. `adopts`: the process has asked to adopt orphans.
pub(super) fn make(original: &mut Tracee, adopts: bool) -> Result<Doomed, Error> {
    let pid = original.pid();
    if is_first_of_namespace(pid)? {
        return Err(Error::FirstProcess { pid });
    }
    let mut remote = Remote::enter(&mut original.threads_mut()[0], CALLS_PATIENCE)?;
    let number = call(&mut remote, "start a helper in", libc::SYS_clone, [HELPER, 0, 0, 0])?;
    let born = remote.born()?.pop().ok_or(Error::Unborn { pid })?;
    let mut helper = Doomed::new(born)?;
    let twin = fork(&mut helper);
    // The twin is orphaned when the helper ends, and must not be adopted by the original.
    let adopt = |remote: &mut Remote<'_>, whether| {
        let action = "change who adopts the children of";
        call(remote, action, libc::SYS_prctl, [ADOPTING, whether, 0, 0]).map(|_| ())
    };
    let stopped = if adopts { adopt(&mut remote, 0) } else { Ok(()) };
    let ended = helper.end();
    let resumed = if adopts { adopt(&mut remote, 1) } else { Ok(()) };
    let all = [number, 0, libc::__WALL as u64, 0];
    let reaped = call(&mut remote, "wait for the helper of", libc::SYS_wait4, all);
    let finished = remote.finish();
    let twin = twin?;
    stopped.and(ended).and(resumed)?;
    reaped?;
    finished?;
    Ok(twin)
}

fn fork(helper: &mut Doomed) -> Result<Doomed, Error> {
    let helper = helper.process();
    let pid = helper.pid();
    let mut remote = Remote::enter(&mut helper.threads_mut()[0], FORK_PATIENCE)?;
    call(&mut remote, "fork", libc::SYS_clone, [0; 4])?;
    let born = remote.born()?.pop().ok_or(Error::Unborn { pid })?;
    let twin = Doomed::new(born)?;
    // Its memory is the original's too, and nothing is to stay in that.
    remote.finish()?;
    Ok(twin)
}

/// The twin lets go of all descriptors.
pub(super) fn close_descriptors(twin: &mut Doomed) -> Result<(), Error> {
    let mut remote = Remote::enter(&mut twin.process().threads_mut()[0], CALLS_PATIENCE)?;
    let all = [0, u64::from(u32::MAX), 0, 0];
    call(&mut remote, "close the descriptors of", libc::SYS_close_range, all)?;
    Ok(remote.finish()?)
}

fn call(
    remote: &mut Remote<'_>,
    action: &'static str,
    number: i64,
    [a, b, c, d]: [u64; 4],
) -> Result<u64, Error> {
    let pid = remote.pid();
    let result = remote.run(&[Call { number, args: [a, b, c, d, 0, 0] }])?.pop();
    let result = result.ok_or(Error::Unborn { pid })?;
    result.map_err(|source| Error::Kernel(sys::Error::Process { action, pid, source }))
}

/// Whoever is number 1 in its namespace adopts all orphans there.
fn is_first_of_namespace(pid: Pid) -> Result<bool, Error> {
    let status = Told::read(pid, "status")?;
    // Outermost first. Kernels without namespaces do not tell.
    Ok(status
        .numbers("NSpid:", 10)
        .is_ok_and(|numbers| numbers.len() > 1 && numbers.last() == Some(&1)))
}
