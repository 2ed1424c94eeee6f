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
    #[error("kernel refused to {action} {}", path.display())]
    File { action: &'static str, path: PathBuf, source: io::Error },
    #[error("cannot start {}: {step} failed", program.display())]
    Spawn { program: PathBuf, step: &'static str, source: io::Error },
    #[error("kernel's {file} does not say {field}")]
    KernelText { file: String, field: &'static str },
    #[error("process {pid} starts processes faster than they can be killed")]
    Untamed { pid: Pid },
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
            | Self::File { source, .. }
            | Self::Spawn { source, .. } => {
                matches!(source.raw_os_error(), Some(libc::ESRCH | libc::ENOENT))
            }
            Self::ParentGone => true,
            Self::KernelText { .. }
            | Self::Untamed { .. }
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
