//! Why a process cannot be captured or restored.

use wire::image::text::Text;

/// Why a process cannot be captured or restored.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Kernel(#[from] sys::Error),
    #[error("the image cannot be used: {0}")]
    Image(#[from] wire::image::Error),
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
