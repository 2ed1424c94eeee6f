//! Finds and ends the descendants of a process.
//!
//! Stop, list, stop what was listed, list again, until nothing new is found; then kill, and look
//! again, since a process of many threads can fork in the instant before it stops. What was missed
//! has the root as its parent by then (it is a subreaper, and only stopped), so the next look finds
//! it. The root is killed last.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::OwnedFd;

use nix::sys::prctl;

use super::pidfd;
use crate::{Error, Pid, clock, proc};

/// Looks at the tree before giving up on one that grows as fast as it is cut.
const PASSES_MAX: usize = 64;
/// Processes stopped at once; each costs a descriptor. More are found by the next pass.
const STOPPED_MAX: usize = 512;
/// For what was killed to be gone, per pass. Usually that takes microseconds.
const DEATH_WAIT_MILLISECONDS: u64 = 15;

/// Makes the calling process the parent of all descendants that lose theirs. For life.
pub fn become_subreaper() -> Result<(), Error> {
    prctl::set_child_subreaper(true).map_err(Error::kernel("adopt orphans"))
}

/// Kills a process and its descendants, whatever their session, group or (as root) user. Nothing
/// is reaped. Waits for their ends, up to a second when they resist.
///
/// The caller must know that the number still is the process's: being its parent is enough.
pub fn kill_tree(root: Pid) -> Result<(), Error> {
    let refused = |source: io::Error| Error::Process { action: "kill", pid: root, source };
    let Some(held) = pidfd::open(root).map_err(refused)? else { return Ok(()) };
    pidfd::signal(&held, libc::SIGSTOP).map_err(refused)?;
    let descendants = kill_descendants(root);
    pidfd::signal(&held, libc::SIGKILL).map_err(refused)?;
    pidfd::wait_for_end(&held, DEATH_WAIT_MILLISECONDS as u16);
    descendants
}

/// Kills and reaps children of the calling process that it did not start: orphans it adopted.
/// Returns how many. One that does not die at once is reaped by the next call.
///
/// `known` must name every child that was started on purpose, by whatever part of the program.
pub fn end_adopted(known: &[Pid]) -> Result<usize, Error> {
    let mut ended = 0;
    for pid in proc::children(Pid::own())? {
        if known.contains(&pid) {
            continue;
        }
        let refused = |source: io::Error| Error::Process { action: "end orphan", pid, source };
        kill_tree(pid)?;
        let Some(held) = pidfd::open(pid).map_err(refused)? else { continue };
        pidfd::wait(&held, libc::WNOHANG).map_err(refused)?;
        ended += 1;
    }
    Ok(ended)
}

fn kill_descendants(root: Pid) -> Result<(), Error> {
    for _ in 0..PASSES_MAX {
        let stopped = stop_descendants(root)?;
        if stopped.is_empty() {
            return Ok(());
        }
        for (&pid, held) in &stopped {
            pidfd::signal(held, libc::SIGKILL).map_err(Error::process("kill", pid))?;
        }
        let start = clock::monotonic_nanoseconds();
        for held in stopped.values() {
            let waited = (clock::monotonic_nanoseconds() - start) / 1_000_000;
            let left = DEATH_WAIT_MILLISECONDS.saturating_sub(waited);
            pidfd::wait_for_end(held, left as u16);
        }
    }
    Err(Error::Untamed { pid: root })
}

/// Stops what lives beneath `root`, up to a bound, and holds it.
fn stop_descendants(root: Pid) -> Result<BTreeMap<Pid, OwnedFd>, Error> {
    let mut stopped = BTreeMap::new();
    loop {
        let before = stopped.len();
        let parents: Vec<Pid> = [root].into_iter().chain(stopped.keys().copied()).collect();
        for parent in parents {
            let children = match proc::children(parent) {
                Err(error) if error.is_gone() => continue,
                listed => listed?,
            };
            for pid in children {
                if stopped.len() == STOPPED_MAX {
                    return Ok(stopped);
                }
                if stopped.contains_key(&pid) {
                    continue;
                }
                if let Some(held) = stop_child(pid, parent)? {
                    stopped.insert(pid, held);
                }
            }
        }
        if stopped.len() == before {
            return Ok(stopped);
        }
    }
}

/// Holds and stops one process, if it still is what the list said, and alive.
fn stop_child(pid: Pid, parent: Pid) -> Result<Option<OwnedFd>, Error> {
    let refused = |source: io::Error| Error::Process { action: "stop", pid, source };
    // First hold it, then look: the number cannot become another's unnoticed in between.
    let Some(held) = pidfd::open(pid).map_err(refused)? else { return Ok(None) };
    match proc::kinship(pid) {
        Ok(kin) if kin.parent == parent && !kin.is_dead => (),
        Ok(_) => return Ok(None),
        Err(error) if error.is_gone() => return Ok(None),
        Err(error) => return Err(error),
    }
    pidfd::signal(&held, libc::SIGSTOP).map_err(refused)?;
    Ok(Some(held))
}
