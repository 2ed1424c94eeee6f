//! Why the kernel lets a process not be traced. It says only EPERM; the reason is looked for after.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;

use super::calls;
use super::stops::Task;
use crate::{Error, Pid, Untraceable};

/// What seizing a thread failed with, in words.
pub(super) fn explain(task: Task, source: io::Error) -> Error {
    let Task { pid, tid } = task;
    let why = match source.raw_os_error() {
        Some(libc::ESRCH) => Untraceable::Gone,
        Some(libc::EPERM) => reason(task),
        _ => return Error::Thread { action: "trace", pid, tid, source },
    };
    Error::Untraceable { pid, tid, why }
}

fn reason(task: Task) -> Untraceable {
    if task.pid == Pid::own() {
        return Untraceable::Own;
    }
    if is_over(task) {
        return Untraceable::Gone;
    }
    if let Some(tracer) = tracer(task) {
        return Untraceable::Traced(tracer);
    }
    // PF_KTHREAD of the flags in `stat`.
    if Status::of(task).is_some_and(|status| status.field("Kthread:") == Some("1")) {
        return Untraceable::Kernels;
    }
    let own = nix::unistd::geteuid().as_raw();
    let folder = fs::metadata(format!("/proc/{}", task.pid));
    let owner = folder.map(|folder| folder.uid());
    let real = Status::of(task).and_then(|status| status.field("Uid:")?.parse::<u32>().ok());
    if let Some(real) = real.filter(|&real| real != own && own != 0) {
        return Untraceable::OtherUser(real);
    }
    // The folder of a process that keeps its memory from others is root's.
    let is_kept = owner.is_ok_and(|owner| Some(owner) != real);
    let scope = fs::read_to_string("/proc/sys/kernel/yama/ptrace_scope");
    match scope.ok().and_then(|scope| scope.trim().parse().ok()) {
        Some(scope @ 1..) if !is_kept => Untraceable::Yama(scope),
        _ => Untraceable::Forbidden,
    }
}

/// Whether a thread has ended, or is about to.
pub(super) fn is_over(task: Task) -> bool {
    let state = Status::of(task);
    state.is_none_or(|status| matches!(status.field("State:"), Some("Z" | "X")))
}

/// Which thread traces this one.
pub(super) fn tracer(task: Task) -> Option<Pid> {
    let tracer = Status::of(task)?.field("TracerPid:")?.parse().ok()?;
    (tracer != 0).then_some(Pid(tracer))
}

/// Whether it is this thread that traces it.
pub(super) fn is_ours(task: Task) -> bool {
    tracer(task) == Some(calls::own_thread())
}

/// Whether some filter of the program's sees its system calls.
pub(super) fn is_filtered(task: Task) -> bool {
    Status::of(task).is_some_and(|status| !matches!(status.field("Seccomp:"), None | Some("0")))
}

/// Whether the program ignores a signal.
pub(super) fn ignores(task: Task, signal: i32) -> bool {
    let ignored =
        Status::of(task).and_then(|status| u64::from_str_radix(status.field("SigIgn:")?, 16).ok());
    ignored.is_some_and(|ignored| super::state::SignalMask(ignored).contains(signal))
}

/// The text of `/proc/PID/task/TID/status`. Its first line holds a name of the program's choice, in which
/// the kernel escapes line breaks.
struct Status(String);

impl Status {
    fn of(task: Task) -> Option<Self> {
        let path = format!("/proc/{}/task/{}/status", task.pid, task.tid);
        Some(Self(String::from_utf8_lossy(&fs::read(path).ok()?).into_owned()))
    }

    /// The first word of a field.
    fn field(&self, name: &str) -> Option<&str> {
        let rest = self.0.lines().find_map(|line| line.strip_prefix(name))?;
        rest.split_ascii_whitespace().next()
    }
}
