//! Why an image is not restored here. Each says what, and what to do next.

use wire::image::ImageId;
use wire::image::text::Text;

use crate::difference::Unchangeable;

/// Why an image is not restored here; found before there is a process.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("the process is of another kind of processor; restore it on a host of its own kind")]
    Architecture,
    #[error("pages have {image} bytes there and {here} here; restore it on a host with the same")]
    PageSize { image: u32, here: u32 },
    #[error(
        "this processor lacks {feature}, which the process may use; restore it on a host with {feature}, or start \
         the program with GLIBC_TUNABLES=glibc.cpu.hwcaps=-{feature} next time"
    )]
    Feature { feature: &'static str },
    #[error(
        "the kernel here does not keep {state} for programs, and the process uses it; restore it on a host \
         whose kernel does"
    )]
    State { state: &'static str },
    #[error(
        "this processor lays {state} out in another way than that of the image; restore it on a host with the \
         same kind of processor"
    )]
    StateLayout { state: &'static str },
    #[error("{what} of {who} is not what any process has: {why}; take the checkpoint again")]
    Forged { what: &'static str, who: String, why: &'static str },
    #[error("memory at {at:#x} cannot be made here: {why}")]
    Memory { at: u64, why: &'static str },
    #[error(
        "the process leaves no room for what restoring needs ({need} bytes at once); restore it with a \
         build that needs less"
    )]
    NoRoom { need: u64 },
    #[error(
        "the process has mapped {path}, and here {why}; copy the same file to this path, then restore again"
    )]
    Backing { path: Text, why: &'static str },
    #[error(
        "the process works in the folder {path}, and here {why}; make the folder, then restore again"
    )]
    Folder { path: Text, why: &'static str },
    #[error("the process lives under another root, {root}; restore it from inside of that root")]
    Root { root: Text },
    #[error("descriptor {number} is a number that no process has; take the image again")]
    Number { number: u32 },
    #[error(
        "the process has {found} threads, and this host allows {max}; raise kernel.threads-max or pids.max"
    )]
    Threads { found: usize, max: usize },
    #[error("page {page:#x} lies in no memory of the process; take the checkpoint again")]
    Page { page: u64 },
    #[error("page {page:#x} is told of twice; take the checkpoint again")]
    Twice { page: u64 },
    #[error(
        "page {page:#x} is with {whom}, and this way of restoring asks nobody; take a whole checkpoint"
    )]
    Elsewhere { page: u64, whom: &'static str },
    #[error(
        "the kernel's own code in the image is not whole, and the kernel here has another; take the checkpoint again"
    )]
    Vdso,
    #[error(
        "the image says only what has changed since another one was taken; take a whole checkpoint"
    )]
    Changes,
    #[error(
        "it is upon {}, and what is here is of image {:016x}; send all of the process anew",
        named(*wanted), found.0
    )]
    Upon { wanted: Option<ImageId>, found: ImageId },
    #[error("it comes from another host than what it is upon; send all of the process anew")]
    OtherHost,
    #[error("{0}; send all of the process anew")]
    Unchangeable(#[from] Unchangeable),
}

fn named(image: Option<ImageId>) -> String {
    image.map_or("no image".to_owned(), |image| format!("image {:016x}", image.0))
}
