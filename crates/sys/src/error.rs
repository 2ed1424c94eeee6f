//! Why a call failed, named for whose fault it was.

use std::io;
use std::path::PathBuf;

use crate::Pid;

/// Why a call failed. The kernel's own reason is the source.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("kernel refused to {action}")]
    Kernel { action: &'static str, source: io::Error },
    #[error("kernel refused to {action} process {pid}")]
    Process { action: &'static str, pid: Pid, source: io::Error },
    #[error("kernel refused to {action} thread {tid} of process {pid}")]
    Thread { action: &'static str, pid: Pid, tid: Pid, source: io::Error },
    #[error("cannot {action} the memory of process {pid} at {at:#x}")]
    Memory { action: &'static str, pid: Pid, at: u64, source: io::Error },
    #[error("process {pid} (thread {tid}) cannot be traced: {why}")]
    Untraceable { pid: Pid, tid: Pid, why: Untraceable },
    #[error(
        "thread {tid} of process {pid} did not stop in time: it waits in the kernel for what cannot be \
         interrupted, as in `vfork` or for a dead disk or network file system; try again later"
    )]
    Unstoppable { pid: Pid, tid: Pid },
    #[error("system calls cannot be run in thread {tid} of process {pid}: {why}")]
    Uncallable { pid: Pid, tid: Pid, why: Uncallable },
    #[error("kernel refused to {action} {}", path.display())]
    File { action: &'static str, path: PathBuf, source: io::Error },
    #[error("cannot start {}: {step} failed", program.display())]
    Spawn { program: PathBuf, step: &'static str, source: io::Error },
    #[error("kernel's {file} does not say {field}")]
    KernelText { file: String, field: &'static str },
    #[error("process {pid} starts processes faster than they can be killed")]
    Untamed { pid: Pid },
    #[error(
        "the kernel does not tell which pages are written (it needs Linux 6.7 with userfaultfd and \
         PAGEMAP_SCAN); compare pages instead"
    )]
    NoTracking { source: io::Error },
    #[error("somebody else tracks what process {pid} writes, and only one can; end that first")]
    TrackedAlready { pid: Pid },
    #[error("the process that started this one is gone")]
    ParentGone,
    #[error("{} is not private: {why}", path.display())]
    NotPrivate { path: PathBuf, why: &'static str },
    #[error("{text:?} cannot name what it should: {why}")]
    CallerName { text: String, why: &'static str },
    #[error("peer's descriptor is not memory sealed at a fixed size")]
    PeerUnsealed,
    #[error("peer's memory has {found} bytes, which cannot be mapped")]
    PeerSize { found: u64 },
    #[error("peer sent more than {max} descriptors at once")]
    PeerDescriptors { max: usize },
    #[error("bytes {offset}..{offset}+{len} lie outside the {size} bytes of shared memory")]
    OutOfBounds { offset: usize, len: usize, size: usize },
    #[error("memory here has pages of {found} bytes, not 4096")]
    PageSize { found: i64 },
}

/// Why a process cannot be traced, and what to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Untraceable {
    #[error("it has ended, or never was; look with `ps` for the number that is meant")]
    Gone,
    #[error("it is this process; ask from another one")]
    Own,
    #[error("thread {0} traces it already; end that debugger or tracer first")]
    Traced(Pid),
    #[error("it is a thread of the kernel; name a program's process")]
    Kernels,
    #[error("it belongs to user {0}; run this as that user, or as root")]
    OtherUser(u32),
    #[error(
        "the host lets only root trace what it did not start (Yama's ptrace_scope is {0}); \
         run this as root, let the process call prctl(PR_SET_PTRACER), or set kernel.yama.ptrace_scope to 0"
    )]
    Yama(u32),
    #[error(
        "the kernel forbids it: the process has more rights than this one, or keeps its memory from \
         others (PR_SET_DUMPABLE); run this as root, or in the container that the process is in"
    )]
    Forbidden,
}

/// Why no system call can be run in a thread, and what to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Uncallable {
    #[error("seccomp filters its system calls; start the program without a filter")]
    Seccomp,
    #[error("it runs 32-bit code; only 64-bit programs can be handled")]
    Narrow,
    #[error("it has no vDSO to borrow an instruction from; start the host without vdso=0")]
    NoVdso,
    #[error("one took too long and was interrupted; the calls after it were not made")]
    Slow,
    #[error("signal {0} came out of one of them; memory that they needed may be gone")]
    Fault(i32),
}

/// Whether the host had too little of something (processes, memory, descriptors, namespaces), which
/// may be over soon.
pub fn is_shortage(error: &io::Error) -> bool {
    let few = [libc::EAGAIN, libc::ENOMEM, libc::EMFILE, libc::ENFILE, libc::ENOSPC];
    error.raw_os_error().is_some_and(|code| few.contains(&code))
}

impl Error {
    /// The process or file is gone: a retry cannot help, and for a kill nothing is left to do.
    pub fn is_gone(&self) -> bool {
        match self {
            Self::Kernel { source, .. }
            | Self::Process { source, .. }
            | Self::Thread { source, .. }
            | Self::Memory { source, .. }
            | Self::File { source, .. }
            | Self::Spawn { source, .. } => {
                matches!(source.raw_os_error(), Some(libc::ESRCH | libc::ENOENT))
            }
            Self::ParentGone | Self::Untraceable { why: Untraceable::Gone, .. } => true,
            Self::Untraceable { .. }
            | Self::Unstoppable { .. }
            | Self::Uncallable { .. }
            | Self::KernelText { .. }
            | Self::Untamed { .. }
            | Self::NoTracking { .. }
            | Self::TrackedAlready { .. }
            | Self::NotPrivate { .. }
            | Self::CallerName { .. }
            | Self::PeerUnsealed
            | Self::PeerSize { .. }
            | Self::PeerDescriptors { .. }
            | Self::OutOfBounds { .. }
            | Self::PageSize { .. } => false,
        }
    }

    /// For `map_err`: the kernel refused, and this is what it was asked to do.
    pub(crate) fn kernel<E: Into<io::Error>>(action: &'static str) -> impl FnOnce(E) -> Self {
        move |source| Self::Kernel { action, source: source.into() }
    }

    pub(crate) fn process<E: Into<io::Error>>(
        action: &'static str,
        pid: Pid,
    ) -> impl FnOnce(E) -> Self {
        move |source| Self::Process { action, pid, source: source.into() }
    }

    pub(crate) fn file<E: Into<io::Error>>(
        action: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(E) -> Self {
        move |source| Self::File { action, path: path.into(), source: source.into() }
    }
}
