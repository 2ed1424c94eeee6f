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
    #[error("the process cannot be restored here: {0}")]
    Refused(#[from] crate::Refusal),
    #[error(
        "the stream ended before an image began; name a stream or file that `telefork_to` writes"
    )]
    NoImage,
    #[error("process {pid} was ended by signal {signal}; see its own output for why")]
    Killed { pid: Pid, signal: i32 },
    #[error("kernel refused to {action} the process that is restored as {pid}")]
    Step { action: &'static str, pid: Pid, source: io::Error },
    #[error("process {pid} cannot be captured: at {at:#x} it has {objection}")]
    Mapping { pid: Pid, at: u64, objection: Objection },
    #[error(
        "process {pid} cannot be captured: its main thread has ended, and what is left cannot be told; \
         let the main thread wait for the others"
    )]
    Headless { pid: Pid },
    #[error(
        "process {pid} cannot be copied while it goes on: it is the first of its pid namespace, and would \
         have to wait for the copy; capture it stopped, without leaving it running meanwhile"
    )]
    FirstProcess { pid: Pid },
    #[error(
        "this kernel does not tell where a thread's number is cleared, without which nobody could wait for its \
         end; use one built with CONFIG_CHECKPOINT_RESTORE"
    )]
    NoTidAddress,
    #[error("process {pid} said that it had made a copy, and there is none; try again")]
    Unborn { pid: Pid },
    #[error(
        "process {pid} has no descriptor {number}; `ls -l /proc/{pid}/fd` lists those that it has"
    )]
    NoDescriptor { pid: i32, number: u32 },
    #[error(
        "descriptor {number} ({name}) cannot be reopened: only files and folders with a path can; let it be `drop`"
    )]
    NotReopened { number: u32, name: String },
    #[error(
        "descriptor {number} ({path}) cannot be taken along, since its file cannot be read; run this as its owner or as root, or capture with --fd {number}=drop"
    )]
    Unreadable { number: u32, path: Text, source: sys::Error },
    #[error(
        "the file of descriptor {number} ({path}) changes while it is captured: another process writes it; end that one, or capture with --fd {number}=reopen"
    )]
    Changing { number: u32, path: Text },
    #[error("descriptor {number} ({path}) cannot be opened: {}", numbered(why, *number))]
    Unopened { number: u32, path: Text, why: Box<Unopened> },
    #[error(
        "memory cannot follow its process here, which needs CAP_SYS_PTRACE; run this as root, or have all of \
         the memory sent before"
    )]
    NotLazy(#[source] sys::Error),
    #[error(
        "what is kept of the process was lost with a change that broke off; send all of the process anew"
    )]
    BaseGone,
    #[error(
        "what puts pages in place failed by a mistake of its own; report it, and have all of the memory sent before"
    )]
    Panicked,
    #[error("where the copy runs, not all of its pages came; its output, or its node, says why")]
    NotFollowed,
    #[error("the connection that carries pages broke; the copy cannot go on without them")]
    Pages(#[source] std::io::Error),
    #[error(
        "what carries pages sent something else; both sides must be the same version of Farcall"
    )]
    PageHead,
    #[error("the page at {address:#x} was damaged on its way; the copy cannot go on without it")]
    PageSum { address: u64 },
    #[error(
        "this process has read a private key of another kind than P-256, which would not be found in a copy to be \
         left out; make keys with `farcall auth`, or send the copy from a process without that key"
    )]
    UnknownKey,
    #[error(
        "a secret that is to stay here lies at {address:#x}, in memory that is shared; have the program take it \
         out of there, since zeros would reach the others, too"
    )]
    SharedSecret { address: u64 },
    #[error(
        "process {pid} changed what a fork copies of its memory (MADV_DONTFORK, MADV_WIPEONFORK) while it was \
         captured; try again"
    )]
    Readvised { pid: Pid },
    #[error(
        "process {pid} has another thread ({name}, {tid}), under which memory would change; end it before, or use \
         `fork_call`, which only brings a result back"
    )]
    Threads { pid: Pid, tid: Pid, name: String },
    #[error("thread {tid} ({name}) of process {pid} does not come to rest; try again")]
    Restless { pid: Pid, tid: Pid, name: String },
    #[error(
        "process {pid} has memory at {at:#x} that others share or that forks do not copy: what is changed of it \
         elsewhere would not come back; map it private, or use `fork_call`"
    )]
    Shared { pid: Pid, at: u64 },
    #[error(
        "what came back cannot be taken: {why}; nothing was changed; compare the versions of Farcall"
    )]
    NotBack { why: &'static str },
    #[error("a page at {address:#x} was asked for, which was not left behind")]
    NotLeft { address: u64 },
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

/// Why a descriptor of an image cannot be opened here, and what to do: N is its number.
#[derive(Debug, thiserror::Error)]
pub enum Unopened {
    #[error(
        "there is no such file here; put it there, or leave the descriptor out with --fd N=drop"
    )]
    Missing(#[source] sys::Error),
    #[error(
        "the kernel does not let it be opened; check its permissions, or leave it out with --fd N=drop"
    )]
    Refused(#[source] sys::Error),
    #[error(
        "something else than was captured is there; move that away, or leave the descriptor out with --fd N=drop"
    )]
    OtherKind,
    #[error("it is a device that not every host has; leave it out with --fd N=drop")]
    ForeignDevice,
    #[error(
        "a file with other bytes is there, and the process would write into it; move that file away, or take \
         it as it is with --fd N=reopen"
    )]
    OtherBytes,
    #[error(
        "the file here has other bytes, and the image has none of its own; copy it here, or take it as it is with --fd N=reopen"
    )]
    OtherHash,
    #[error(
        "it cannot be made here; make its folder, check the permissions, or leave it out with --fd N=drop"
    )]
    Unmade(#[source] sys::Error),
    #[error(
        "its path is no path from the root; take the checkpoint again with this version of Farcall"
    )]
    Pathless,
    #[error("it cannot travel: {0}")]
    Unsupported(String),
    #[error(
        "its bytes are not as the image's own description of it; take the checkpoint again with this version of Farcall"
    )]
    Forged,
    #[error("its bytes cannot be read or written here; check the disk")]
    Disk(#[source] std::io::Error),
}

/// What is said of any descriptor as N is said of this one.
fn numbered(why: &Unopened, number: u32) -> String {
    why.to_string().replace("--fd N=", &format!("--fd {number}="))
}
