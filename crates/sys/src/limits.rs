//! Resource limits, and the switches of the own process that cannot be turned back.

use std::ptr;

use nix::sys::prctl;
use nix::sys::signal::Signal;
use nix::unistd::{Gid, Uid, setgroups, setresgid, setresuid};

use crate::{Error, Pid};

/// What a limit counts, in its unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resource {
    /// Bytes of a core dump.
    CoreDump,
    /// Highest number of a descriptor, plus one.
    OpenFiles,
    /// Processes and threads of the same real uid, wherever they were started. Root has no limit.
    Processes,
    /// Bytes of one file; writing beyond is SIGXFSZ.
    FileSize,
    /// Bytes of address space.
    AddressSpace,
    /// Seconds on processors; the soft limit is SIGXCPU.
    ProcessorSeconds,
    /// Bytes of the main thread's stack.
    Stack,
    /// Bytes that may be locked into memory.
    LockedMemory,
}

impl Resource {
    fn number(self) -> u32 {
        match self {
            Self::CoreDump => libc::RLIMIT_CORE,
            Self::OpenFiles => libc::RLIMIT_NOFILE,
            Self::Processes => libc::RLIMIT_NPROC,
            Self::FileSize => libc::RLIMIT_FSIZE,
            Self::AddressSpace => libc::RLIMIT_AS,
            Self::ProcessorSeconds => libc::RLIMIT_CPU,
            Self::Stack => libc::RLIMIT_STACK,
            Self::LockedMemory => libc::RLIMIT_MEMLOCK,
        }
    }
}

/// A limit: `soft` holds now, and its owner may raise it up to `hard`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limit {
    pub soft: u64,
    pub hard: u64,
}

impl Limit {
    pub const UNLIMITED: u64 = libc::RLIM_INFINITY;

    /// Holds now and cannot be raised again (but by root).
    pub fn fixed(value: u64) -> Self {
        Self { soft: value, hard: value }
    }
}

/// A limit of a process.
pub fn limit(of: Pid, resource: Resource) -> Result<Limit, Error> {
    let mut found = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the kernel writes one `rlimit` to `found`, ours alone during the call; the null
    // pointer says that nothing is to be set.
    let result =
        unsafe { libc::prlimit(of.0, resource.number() as _, ptr::null(), &raw mut found) };
    check_limit(result, "read a limit of", of)?;
    Ok(Limit { soft: found.rlim_cur, hard: found.rlim_max })
}

/// All limits of a process, by their number in the kernel.
pub fn all(of: Pid) -> Result<Vec<(u32, Limit)>, Error> {
    let mut all = Vec::new();
    // The kernel refuses the first number that it does not have.
    for number in 0..64_u32 {
        let mut found = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
        // SAFETY: the kernel writes one `rlimit` to `found`, ours alone during the call; the null pointer
        // says that nothing is to be set.
        let result = unsafe { libc::prlimit(of.0, number as _, ptr::null(), &raw mut found) };
        match check_limit(result, "read a limit of", of) {
            Ok(()) => all.push((number, Limit { soft: found.rlim_cur, hard: found.rlim_max })),
            Err(Error::Process { source, .. }) if source.raw_os_error() == Some(libc::EINVAL) => {
                break;
            }
            Err(error) => return Err(error),
        }
    }
    Ok(all)
}

/// Sets a limit of a process. Others' need the same user or root.
pub fn set_limit(of: Pid, resource: Resource, limit: Limit) -> Result<(), Error> {
    let wanted = libc::rlimit { rlim_cur: limit.soft, rlim_max: limit.hard };
    // SAFETY: the kernel only reads `wanted`, which lives through the call; the null pointer says
    // that the former limit is not asked for.
    let result =
        unsafe { libc::prlimit(of.0, resource.number() as _, &raw const wanted, ptr::null_mut()) };
    check_limit(result, "set a limit of", of)
}

fn check_limit(result: i32, action: &'static str, pid: Pid) -> Result<(), Error> {
    match result {
        0 => Ok(()),
        _ => Err(Error::process(action, pid)(std::io::Error::last_os_error())),
    }
}

/// Raises the own number of open files to what is allowed; returns it.
pub fn raise_open_files() -> Result<u64, Error> {
    let own = Pid::own();
    let Limit { hard, .. } = limit(own, Resource::OpenFiles)?;
    set_limit(own, Resource::OpenFiles, Limit::fixed(hard))?;
    Ok(hard)
}

/// From now on no program started from here gains rights by setuid bits or file capabilities.
pub fn no_new_privileges() -> Result<(), Error> {
    prctl::set_no_new_privs().map_err(Error::kernel("forbid new privileges"))
}

/// From now on no process of the same user can trace this one or read its memory, and no core is
/// dumped. An `exec` takes this back.
pub fn not_dumpable() -> Result<(), Error> {
    prctl::set_dumpable(false).map_err(Error::kernel("forbid dumps and tracing"))
}

/// Undoes `not_dumpable`, and what a change of user does of it: the calling process's children can be traced
/// before they execute something.
pub fn dumpable() -> Result<(), Error> {
    prctl::set_dumpable(true).map_err(Error::kernel("allow tracing"))
}

/// The effective user of the calling process.
pub fn own_user() -> u32 {
    nix::unistd::geteuid().as_raw()
}

/// The calling process has the rights of root (in its user namespace).
pub fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}

/// Becomes another user for good, with no supplementary groups: only root can. All threads follow.
///
/// The kernel then forgets the wish to die with the parent: call [`die_with_parent`] again.
pub fn set_user(uid: u32, gid: u32) -> Result<(), Error> {
    let (uid, gid) = (Uid::from_raw(uid), Gid::from_raw(gid));
    setgroups(&[]).map_err(Error::kernel("leave all groups"))?;
    setresgid(gid, gid, gid).map_err(Error::kernel("change the group"))?;
    setresuid(uid, uid, uid).map_err(Error::kernel("change the user"))
}

/// Has the kernel kill this process when the thread that started it ends, and checks that `parent`
/// was still there afterwards, so that no moment remains in which it could end unnoticed.
pub fn die_with_parent(parent: Pid) -> Result<(), Error> {
    prctl::set_pdeathsig(Signal::SIGKILL).map_err(Error::kernel("die with the parent"))?;
    if Pid::parent() == parent { Ok(()) } else { Err(Error::ParentGone) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn open_files_are_raised_to_the_hard_limit() {
        let raised = raise_open_files().unwrap();
        let now = limit(Pid::own(), Resource::OpenFiles).unwrap();
        assert_eq!(now, Limit { soft: raised, hard: raised });
    }

    #[test]
    fn a_limit_that_was_set_is_read_back() {
        let own = Pid::own();
        let hard = limit(own, Resource::CoreDump).unwrap().hard;
        set_limit(own, Resource::CoreDump, Limit { soft: 0, hard }).unwrap();
        assert_eq!(limit(own, Resource::CoreDump).unwrap(), Limit { soft: 0, hard });
    }

    #[test]
    fn a_process_that_is_gone_is_named_as_gone() {
        let error = limit(Pid(i32::MAX), Resource::CoreDump).unwrap_err();
        assert!(error.is_gone(), "{error}");
    }

    #[test]
    fn a_parent_that_is_another_process_counts_as_gone() {
        // The test's real parent outlives it or not; our own number is surely not our parent's.
        assert!(matches!(die_with_parent(Pid::own()), Err(Error::ParentGone)));
        prctl::set_pdeathsig(None).unwrap();
    }
}
