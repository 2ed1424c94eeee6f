//! Why a program could not be run here.

use std::io;

/// Why a program could not be run here: its file, its code, or the kernel is at fault.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("kernel refused to read the file of compute core {core:?}")]
    Unreadable { core: String, source: io::Error },
    #[error("compute core {core:?} is not a shared library; link it with -shared")]
    NotLibrary { core: String, source: object::read::Error },
    #[error("compute core {core:?} is {found}, not a shared library; link it with -shared")]
    NotShared { core: String, found: &'static str },
    #[error(
        "compute core {core:?} is built for {built_for}, this machine is {here}; \
         compile it for {here}"
    )]
    OtherMachine { core: String, built_for: String, here: &'static str },
    #[error(
        "compute core {core:?} is cut off: its file has {size} bytes and should have {wanted} \
         or more"
    )]
    CutOff { core: String, size: u64, wanted: u64 },
    #[error(
        "compute core {core:?} has no function {function}; export the three functions of \
         farcall_core.h, in C++ as extern \"C\""
    )]
    MissingFunction { core: String, function: &'static str },
    #[error("compute core {core:?} could not be loaded")]
    Load { core: String, source: libloading::Error },
    #[error("compute core {core:?} did not start: worker_init returned {code}")]
    Init { core: String, code: i32 },
    #[error("compute core {core:?} stored an impossible output: {size} bytes at {place}")]
    Output { core: String, size: u64, place: &'static str },
}
