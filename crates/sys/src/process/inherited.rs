//! Takes over descriptors that a process was started with.

use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};

use nix::fcntl::{FcntlArg, FdFlag, fcntl};

use crate::Error;

/// The descriptor that the parent gave us as `number`, from now on closed by `exec`.
///
/// To be called once for each number, at the start of the program, before it opens anything itself:
/// then nothing else in the process can own the number.
pub fn inherited(number: RawFd) -> Result<OwnedFd, Error> {
    // SAFETY: `fcntl` below fails for a number that is not open, and then nothing is closed (see
    // `into_raw`). One that is open at the start of a program was made for it by its parent, and
    // belongs to no object of this process yet.
    let fd = unsafe { OwnedFd::from_raw_fd(number) };
    let set = fcntl(&fd, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC));
    match set {
        Ok(_) => Ok(fd),
        Err(error) => {
            let _not_ours = std::os::fd::IntoRawFd::into_raw_fd(fd).as_raw_fd();
            Err(Error::kernel("take over an inherited descriptor")(error))
        }
    }
}
