//! The right to answer the faults of other processes, kept by one that gives up its others.
//!
//! ```text
//!   /dev/userfaultfd, opened before ──▶ the process makes its descriptor of it     whoever it is
//!   keeper, split off before        ──▶ asks for forks to be told (CAP_SYS_PTRACE) of that descriptor alone
//! ```
//!
//! A descriptor for faults belongs to the memory of the process that makes it, which exists only when there is
//! an image to be read, and rights are given up before that. The kernel tells of forks, without which a child
//! would find wrong pages, only whoever has CAP_SYS_PTRACE when it asks. So a copy of this process keeps that
//! right, and no other: it takes descriptors, and asks the kernel that one thing of those that are for faults.

use std::fs::{File, read_link};
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;

use super::kernel::{self, Api, FEATURES_OF_CHANGES, UFFD_API, UFFDIO_API, USERFAULTFD_IOC_NEW};
use crate::socket::{pair, recv_with_fds, send_with_fds};
use crate::{Error, proc};

const DEVICE: &str = "/dev/userfaultfd";

/// What the kernel calls a descriptor for faults. No file's path begins like that.
const FAULTS: &str = "anon_inode:[userfaultfd]";

/// The right to answer the faults of processes that this one fills.
#[derive(Debug)]
pub struct Right {
    /// By which a process makes a descriptor for its faults without a right of its own.
    device: Option<OwnedFd>,
    keeper: Option<Keeper>,
}

/// A copy of this process that asks on its behalf. Dropped, it is gone.
#[derive(Debug)]
struct Keeper {
    socket: UnixStream,
    child: i32,
}

/// Whether this process has the right, and can keep it when it gives up the others (`gives_up`).
pub fn can_follow(gives_up: bool) -> Result<(), Error> {
    let device = device();
    let faults = match (&device, gives_up) {
        (Ok(device), _) => made(device),
        (Err(_), false) => kernel::make(),
        (Err(error), true) => Err(io::Error::from(error.kind())),
    };
    let faults = faults.map_err(Error::kernel("have other processes tell their page faults"))?;
    ask(&faults)
}

impl Right {
    /// Of a process with one thread, which may give up all other rights then, if it `gives_up` any.
    pub fn keep(gives_up: bool) -> Result<Self, Error> {
        let keeper = gives_up.then(Keeper::split_off).transpose()?;
        Ok(Self { device: device().ok(), keeper })
    }

    /// To be inherited by the process whose faults are to be answered.
    pub fn device(&self) -> Result<Option<OwnedFd>, Error> {
        let copy = self.device.as_ref().map(OwnedFd::try_clone).transpose();
        copy.map_err(Error::kernel("copy a descriptor"))
    }

    /// Has the kernel tell of forks and of changed memory, too.
    pub(super) fn ask(&self, faults: &OwnedFd) -> Result<(), Error> {
        match &self.keeper {
            None => ask(faults),
            Some(keeper) => keeper.ask(faults).map_err(refused),
        }
    }
}

/// How a process makes a descriptor for faults of `Right::device`.
pub(super) const MAKE_OF_DEVICE: u64 = USERFAULTFD_IOC_NEW;

fn device() -> io::Result<OwnedFd> {
    File::open(DEVICE).map(OwnedFd::from)
}

fn made(device: &OwnedFd) -> io::Result<OwnedFd> {
    // SAFETY: `device` is open for the call; this request takes flags alone.
    let made = unsafe {
        libc::ioctl(device.as_raw_fd(), USERFAULTFD_IOC_NEW, libc::O_CLOEXEC | libc::O_NONBLOCK)
    };
    kernel::descriptor(made)
}

fn ask(faults: &OwnedFd) -> Result<(), Error> {
    let mut api = Api { api: UFFD_API, features: FEATURES_OF_CHANGES, ioctls: 0 };
    kernel::call(faults, UFFDIO_API, &mut api).map_err(refused)
}

fn refused(source: io::Error) -> Error {
    Error::kernel("be told of forks and of changed memory")(source)
}

impl Keeper {
    fn split_off() -> Result<Self, Error> {
        let failed = Error::kernel("keep the right to answer page faults");
        let found = proc::own_threads()?;
        assert!(found == 1, "a process of {found} threads cannot be split");
        let (socket, far) = pair().map_err(Error::kernel("make a socket"))?;
        // SAFETY: the process has one thread, so no lock is held by one that the copy lacks.
        match unsafe { libc::fork() } {
            -1 => Err(failed(io::Error::last_os_error())),
            0 => {
                drop(socket);
                serve(far);
                // SAFETY: ends this process without running what the other one will run at its end.
                unsafe { libc::_exit(0) }
            }
            child => Ok(Self { socket, child }),
        }
    }

    fn ask(&self, faults: &OwnedFd) -> io::Result<()> {
        send_with_fds(&self.socket, &[0], &[faults.as_fd()])?;
        let mut answer = [0; 4];
        (&self.socket).read_exact(&mut answer)?;
        match i32::from_ne_bytes(answer) {
            0 => Ok(()),
            errno => Err(io::Error::from_raw_os_error(errno)),
        }
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        let _ = self.socket.shutdown(std::net::Shutdown::Both);
        // SAFETY: it takes no memory of ours; the child is ours, and has nothing more to wait for.
        while unsafe { libc::waitpid(self.child, std::ptr::null_mut(), 0) } < 0
            && io::Error::last_os_error().kind() == io::ErrorKind::Interrupted
        {}
    }
}

/// The keeper's life: until nobody has its socket's other end.
fn serve(socket: UnixStream) {
    if keep_one_right().is_err() {
        return;
    }
    // SAFETY: it takes numbers alone. What had the first one is not looked at again here.
    let Ok(first) = kernel::descriptor(unsafe { libc::dup2(socket.as_raw_fd(), 0) }) else {
        return;
    };
    // All others are closed: nothing here looks at any of them again, and this one is not closed twice.
    std::mem::forget(socket);
    // SAFETY: as above.
    unsafe { libc::syscall(libc::SYS_close_range, 1, libc::c_uint::MAX, 0) };
    let socket = UnixStream::from(first);
    while let Ok((1.., descriptors)) = recv_with_fds(&socket, &mut [0; 1], 1) {
        let answer = descriptors.first().map_or(libc::EBADF, answer);
        if (&socket).write_all(&answer.to_ne_bytes()).is_err() {
            return;
        }
    }
}

fn answer(descriptor: &OwnedFd) -> i32 {
    let path = format!("/proc/self/fd/{}", descriptor.as_raw_fd());
    if read_link(path).ok().as_deref() != Some(FAULTS.as_ref()) {
        return libc::EBADF;
    }
    let mut api = Api { api: UFFD_API, features: FEATURES_OF_CHANGES, ioctls: 0 };
    match kernel::call(descriptor, UFFDIO_API, &mut api) {
        Ok(()) => 0,
        Err(error) => error.raw_os_error().unwrap_or(libc::EINVAL),
    }
}

/// Gives up all capabilities but one.
fn keep_one_right() -> io::Result<()> {
    // From linux/capability.h.
    const VERSION: u32 = 0x2008_0522;
    const CAP_SYS_PTRACE: u32 = 1 << 19;
    let header = [VERSION, 0];
    // Effective, permitted, inheritable; then the same of the upper half.
    let kept = [CAP_SYS_PTRACE, CAP_SYS_PTRACE, 0, 0, 0, 0_u32];
    // SAFETY: both have the layouts that this version of the call reads, and are only read.
    let result = unsafe { libc::syscall(libc::SYS_capset, header.as_ptr(), kept.as_ptr()) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

#[cfg(test)]
mod tests;
