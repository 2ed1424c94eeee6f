//! Why a process cannot be captured or restored.

use std::io;
use std::path::PathBuf;

use sys::Pid;
use wire::image::text::Text;

/// Why a process cannot be captured or restored.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Kernel(#[from] sys::Error),
    #[error("the image cannot be used: {0}")]
    Image(#[from] wire::image::Error),
    #[error("process {pid} cannot be captured: at {at:#x} it has {objection}")]
    Mapping { pid: Pid, at: u64, objection: Objection },
    #[error(
        "process {pid} cannot be captured: its main thread has ended, and what is left cannot be told; \
         let the main thread wait for the others"
    )]
    Headless { pid: Pid },
}

impl Error {
    /// For `map_err`: the kernel refused a file, and this is what it was asked to do.
    pub(crate) fn file(
        action: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Kernel(sys::Error::File { action, path: path.into(), source })
    }

    /// A text of the kernel's that says not what it should.
    pub(crate) fn text(file: impl Into<String>, field: &'static str) -> Self {
        Self::Kernel(sys::Error::KernelText { file: file.into(), field })
    }
}

/// Why a mapping cannot travel, and what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Objection {
    #[error(
        "pages of hugetlbfs, which Farcall does not move; use transparent huge pages (madvise)"
    )]
    HugeFile,
    #[error("the memory of a device ({0}); end what uses the device first")]
    Device(Text),
    #[error(
        "the queues of io_uring, which belong to this kernel; start the program without io_uring"
    )]
    Ring,
    #[error("System V shared memory; use memory that is mapped without a name, or a file")]
    SystemV,
    #[error(
        "the file {0} mapped such that others see what is written; have it mapped private, or read and \
         write it instead"
    )]
    SharedFile(Text),
    #[error("a shadow stack; start the program with GLIBC_TUNABLES=glibc.cpu.x86_shstk=off")]
    ShadowStack,
    #[error("memory whose faults another process answers (userfaultfd); end that first")]
    Watched,
    #[error(
        "the kernel's own {0}, which this version does not know; ask for it with `farcall doctor`"
    )]
    Unknown(Text),
}
