//! What a worker gives up before it loads the first byte of foreign code.
//!
//! Three parties build the jail. The spawner gives the process a session of its own, no descriptors
//! but those it needs, the environment of [`environment`], and its death with the daemon. The
//! daemon makes the scratch folder and hands it to the worker's user. This module does the rest,
//! from inside, in the order in which one step needs the rights that a later one takes away.
//!
//! Level `user`, as it is here:
//! - *Privileges*: none are gained by setuid programs; another user when the daemon is root.
//! - *Neighbours*: workers of one user cannot trace or read each other (not dumpable), nor signal
//!   anyone outside their own jail, the daemon included (Landlock, from Linux 6.12).
//! - *Files*: all that the user may read can be read. Written is only beneath the scratch folder,
//!   what the node's owner adds, and the devices that keep nothing: `/dev/null`, `/dev/zero`,
//!   `/dev/full`. Not `/dev/shm` nor `/tmp`: what is left there outlives the task and is open to
//!   its neighbours. `TMPDIR` is the scratch folder; unnamed shared memory (`memfd_create`, `mmap`)
//!   works. Not `/dev/tty`: there is no terminal in a session of its own.
//! - *Limits*: no core dumps, bounded open files, and what else the rules say.
//!
//! A program that is executed in the jail keeps all of this but "not dumpable", which `exec` takes
//! back. Memory and processes are limited from outside, by control groups (`node::groups`). Not limited
//! are the network, processor time and disk.
//!
//! Level `strict` comes before that: a view of its own (`strict`), and a list of system calls
//! (`calls`), by the tables of [`policy`].
//!
//! What this host cannot do is told in the [`Report`], never skipped in silence.

mod strict;
mod calls;
mod abilities;
pub mod policy;

use std::ffi::{OsStr, OsString};
use std::io;
use std::path::{Path, PathBuf};

use landlock::{
    ABI, AccessFs, BitFlags, CompatLevel, Compatible, LandlockStatus, PathBeneath, PathFd, Ruleset,
    RulesetAttr, RulesetCreatedAttr, Scope,
};
use sys::Pid;
use sys::limits::{self, Limit, Resource};

pub use abilities::{Ability, AbilityState, abilities, strict_is_possible};

/// How much a worker gives up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// Nothing: foreign code may do what the daemon's user may.
    None,
    /// What this module's head tells.
    User,
    /// The same, in namespaces of its own, which the process must have been started in.
    Strict,
}

/// What differs from worker to worker.
#[derive(Debug, Clone)]
pub struct Rules {
    /// The worker's own folder, its working directory. It belongs to the worker's user already.
    pub scratch: PathBuf,
    /// More files and folders to write to, by the node's owner: data folders, a GPU's devices.
    pub writable: Vec<PathBuf>,
    /// Whom to become, when the daemon is root.
    pub user: Option<User>,
    pub open_files_max: u64,
    /// Bytes of one file.
    pub file_bytes_max: Option<u64>,
    /// Processes and threads *of the user* (the kernel counts per uid, whoever started them, or
    /// per user namespace), so it is for workers that have one of these of their own. It does not
    /// bind root.
    pub processes_max: Option<u64>,
}

/// A user, by numbers: the worker looks up no names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct User {
    pub uid: u32,
    pub gid: u32,
}

/// What the jail lacks on this host, one line each; empty if nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    pub gaps: Vec<String>,
}

/// Why a worker is not jailed. It must not run foreign code then.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot jail a worker")]
    Kernel(#[from] sys::Error),
    #[error("cannot enter the scratch folder {}", path.display())]
    Scratch { path: PathBuf, source: io::Error },
    #[error("cannot open {}, which the jail should let be written", path.display())]
    Writable { path: PathBuf, source: landlock::PathFdError },
    #[error("cannot limit where files are written")]
    Landlock(#[from] landlock::RulesetError),
    #[error("cannot build the view of a strict worker at {}", path.display())]
    View { path: PathBuf, source: io::Error },
    #[error("cannot limit the system calls")]
    Calls(#[from] seccompiler::Error),
    #[error("the jail would hold one of {found} threads: it must be applied before others start")]
    Threads { found: usize },
}

/// For programs that look for others, if the daemon has no `PATH` itself.
const PATH_DEFAULT: &str = "/usr/local/bin:/usr/bin:/bin";

/// A worker's whole environment: `PATH`, `LANG` and `TZ` of the daemon (whose environment is
/// `daemons`), `HOME` and `TMPDIR` in the scratch folder. The spawner adds `FARCALL_…` variables
/// about the task; the daemon's own are left out, since there can be secrets among them.
pub fn environment(
    scratch: &Path,
    daemons: impl IntoIterator<Item = (OsString, OsString)>,
) -> Vec<(OsString, OsString)> {
    let kept = ["PATH", "LANG", "TZ"].map(OsStr::new);
    let mut environment: Vec<_> =
        daemons.into_iter().filter(|(name, _)| kept.contains(&name.as_os_str())).collect();
    if environment.iter().all(|(name, _)| name != "PATH") {
        environment.push(("PATH".into(), PATH_DEFAULT.into()));
    }
    environment.push(("HOME".into(), scratch.into()));
    environment.push(("TMPDIR".into(), scratch.into()));
    environment
}

/// Jails the calling process, for good. To be called from its only thread.
///
/// At level `strict` it is the first process of its pid namespace, and has to start another one for
/// foreign code (`sys::process::stay_behind`).
pub fn apply(level: Level, rules: &Rules) -> Result<Report, Error> {
    let mut report = Report::default();
    if level == Level::None {
        enter(&rules.scratch)?;
        return Ok(report);
    }
    // Landlock and the list of system calls hold the calling thread and those it starts, not its
    // siblings.
    let found = sys::proc::own_threads()?;
    if found != 1 {
        return Err(Error::Threads { found });
    }
    limit(rules, &mut report)?;
    let scratch = match level {
        Level::None | Level::User => {
            limit_processes(rules, &mut report)?;
            change_user(rules.user, &mut report)?;
            rules.scratch.as_path()
        }
        Level::Strict => {
            strict::leave_host(rules, &mut report)?;
            // Only now: in a user namespace of its own nobody else's processes are counted.
            limit_processes(rules, &mut report)?;
            Path::new(policy::SCRATCH)
        }
    };
    sys::files::set_creation_mask(0o077);
    limits::no_new_privileges()?;
    limits::not_dumpable()?;
    // Only now, as the user who has to be able to.
    enter(scratch)?;
    limit_writing(scratch, &rules.writable, &mut report)?;
    if level == Level::Strict {
        calls::apply()?;
    }
    Ok(report)
}

fn enter(scratch: &Path) -> Result<(), Error> {
    std::env::set_current_dir(scratch)
        .map_err(|source| Error::Scratch { path: scratch.to_owned(), source })
}

fn limit(rules: &Rules, report: &mut Report) -> Result<(), Error> {
    // Not 0: a program that the kernel hands dumps to gets them all the same then. It gets none at
    // 1, and a file of one byte is none either.
    limits::set_limit(Pid::own(), Resource::CoreDump, Limit::fixed(1))?;
    limit_one(Resource::OpenFiles, "open files", Some(rules.open_files_max), report)?;
    limit_one(Resource::FileSize, "bytes of a file", rules.file_bytes_max, report)
}

fn limit_processes(rules: &Rules, report: &mut Report) -> Result<(), Error> {
    limit_one(Resource::Processes, "processes", rules.processes_max, report)
}

fn limit_one(
    resource: Resource,
    name: &str,
    value: Option<u64>,
    report: &mut Report,
) -> Result<(), Error> {
    let (own, Some(value)) = (Pid::own(), value) else { return Ok(()) };
    // Raising a hard limit takes root: what the daemon has is then all there is.
    let hard = limits::limit(own, resource)?.hard;
    limits::set_limit(own, resource, Limit::fixed(value.min(hard)))?;
    if hard < value {
        report.gaps.push(format!("the host allows {hard} {name}, not {value}"));
    }
    Ok(())
}

fn change_user(user: Option<User>, report: &mut Report) -> Result<(), Error> {
    let gap = match (user, sys::limits::is_root()) {
        (Some(user), true) => {
            let parent = Pid::parent();
            limits::set_user(user.uid, user.gid)?;
            // The kernel forgets this wish when the user changes.
            limits::die_with_parent(parent)?;
            return Ok(());
        }
        (None, false) => return Ok(()),
        (Some(user), false) => {
            format!("only root can run workers as user {}: they run as the daemon's", user.uid)
        }
        (None, true) => "workers run as root, since no other user is set for them".to_owned(),
    };
    report.gaps.push(gap);
    Ok(())
}

/// Landlock, as much of it as the kernel knows.
fn limit_writing(scratch: &Path, writable: &[PathBuf], report: &mut Report) -> Result<(), Error> {
    // The newest version this was tested with; the crate leaves out what the kernel lacks.
    let writing = AccessFs::from_write(ABI::V6);
    let mut ruleset = Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(writing)?
        .scope(Scope::Signal)?
        .create()?;
    let paths = [scratch].into_iter().chain(writable.iter().map(PathBuf::as_path));
    for path in paths {
        ruleset = ruleset.add_rule(beneath(path, writing)?)?;
    }
    // A host without one of them (a bare container) does not miss the right to write to it.
    let sinks = policy::SINKS.map(|(sink, _reason)| Path::new(sink));
    for sink in sinks.into_iter().filter(|sink| sink.exists()) {
        ruleset = ruleset.add_rule(beneath(sink, writing)?)?;
    }
    report.gaps.extend(gaps(ruleset.restrict_self()?.landlock));
    Ok(())
}

fn beneath(path: &Path, access: BitFlags<AccessFs>) -> Result<PathBeneath<PathFd>, Error> {
    let refused = |source| Error::Writable { path: path.to_owned(), source };
    let opened = PathFd::new(path).map_err(refused)?;
    // Rights to make or remove entries mean nothing for a file, and the kernel refuses them.
    let access = if path.is_dir() { access } else { access & AccessFs::from_file(ABI::V6) };
    Ok(PathBeneath::new(opened, access))
}

/// What is missing, by the kernel's version of Landlock.
fn gaps(landlock: LandlockStatus) -> Vec<String> {
    let version = match landlock {
        LandlockStatus::Available { effective_abi, .. } => effective_abi,
        LandlockStatus::NotEnabled => {
            let line = "files can be written anywhere: Landlock is switched off (boot option lsm=)";
            return vec![line.to_owned()];
        }
        LandlockStatus::NotImplemented => {
            let line = "files can be written anywhere: the kernel has no Landlock (Linux 5.13)";
            return vec![line.to_owned()];
        }
    };
    let since = [
        (ABI::V2, "files cannot be moved between folders of the scratch folder (Linux 5.19 can)"),
        (ABI::V3, "files outside the scratch folder can be truncated (not from Linux 6.2 on)"),
        (ABI::V5, "ioctl is not limited on devices that can be read (from Linux 6.10 on it is)"),
        (ABI::V6, "processes of the same user can be signalled (not from Linux 6.12 on)"),
    ];
    since.iter().filter(|(abi, _)| version < *abi).map(|(_, line)| (*line).to_owned()).collect()
}

#[cfg(test)]
mod tests;
