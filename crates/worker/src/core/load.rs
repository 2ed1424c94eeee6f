//! Brings a library into memory through its descriptor.
//!
//! `dlopen` wants a path, and a file that arrived from another host has none, or one that
//! somebody may replace between the check and the load. `/proc/self/fd/N` names the open file
//! itself.

use std::fs::File;
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicUsize, Ordering};

use libloading::os::unix::{Library, RTLD_LOCAL, RTLD_NOW};

use super::elf::Function;
use crate::Error;

/// How many libraries this process has loaded.
static LOADS: AtomicUsize = AtomicUsize::new(0);

/// The same file with a position of its own: other workers may hold the descriptor we got, and
/// share its position with us.
pub(super) fn reopen(file: &File, name: &str) -> Result<File, Error> {
    File::open(format!("/proc/self/fd/{}", file.as_raw_fd()))
        .map_err(|source| Error::Unreadable { core: name.to_owned(), source })
}

/// Loads the library, which runs its constructors.
pub(super) fn open(file: &File, name: &str) -> Result<Library, Error> {
    // The loader takes a path that it has seen for a library that it still holds, and it may
    // hold one for ever (thread-local destructors, `-z nodelete`). Descriptors are used again,
    // so each load spells the path in its own way.
    let detour = "./".repeat(LOADS.fetch_add(1, Ordering::Relaxed));
    let path = format!("/proc/self/fd/{detour}{}", file.as_raw_fd());

    // SAFETY: the library's constructors run here and can do anything, as can all the rest of
    // it: that is what a compute core is, and why this process is a jailed worker that owns
    // nothing but its task. `file` stays open during the call, so the path names it.
    unsafe { Library::open(Some(path), RTLD_NOW | RTLD_LOCAL) }
        .map_err(|source| Error::Load { core: name.to_owned(), source })
}

/// The address of a function of the library; good until the library is dropped.
pub(super) fn function<F: Copy>(
    library: &Library,
    function: Function,
    name: &str,
) -> Result<F, Error> {
    // SAFETY: `F` is the type that `farcall_core.h` gives the function of this name. That the
    // library means the same by it cannot be checked; if not, it crashes this worker.
    let symbol = unsafe { library.get::<F>(function.0) };
    symbol
        .map(|symbol| *symbol)
        .map_err(|_| Error::MissingFunction { core: name.to_owned(), function: function.0 })
}
