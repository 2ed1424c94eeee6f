//! The calls of userfaultfd, with their numbers and shapes.

use std::io;
use std::mem::size_of;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::ptr;

use nix::errno::Errno;

use crate::Error;

/// A descriptor for faults, and whether it also serves the kernel's own accesses. That needs the right
/// to `/dev/userfaultfd`, or CAP_SYS_PTRACE, or `vm.unprivileged_userfaultfd`; without, what the kernel
/// gives to everybody: threads alone.
pub(super) fn open() -> Result<(OwnedFd, bool), Error> {
    let flags = libc::O_CLOEXEC | libc::O_NONBLOCK;
    let opened = match std::fs::File::open("/dev/userfaultfd") {
        Ok(device) => {
            // SAFETY: `device` is open for the call; this request takes flags alone.
            let fd = unsafe { libc::ioctl(device.as_raw_fd(), USERFAULTFD_IOC_NEW, flags) };
            descriptor(fd)
        }
        Err(error) => Err(error),
    };
    // SAFETY: the call takes flags alone and returns a descriptor or an error.
    let full = opened
        .or_else(|_| descriptor(unsafe { libc::syscall(libc::SYS_userfaultfd, flags) } as i32));
    let (faults, serves_kernel) = match full {
        Ok(faults) => (faults, true),
        Err(error) if error.raw_os_error() == Some(libc::EPERM) => {
            let flags = flags | UFFD_USER_MODE_ONLY;
            // SAFETY: as above.
            let made = unsafe { libc::syscall(libc::SYS_userfaultfd, flags) } as i32;
            (descriptor(made).map_err(Error::kernel("serve page faults"))?, false)
        }
        Err(error) => return Err(Error::kernel("serve page faults")(error)),
    };
    let mut api = Api { api: UFFD_API, features: FEATURE_PAGEFAULT_FLAG_WP, ioctls: 0 };
    call(&faults, UFFDIO_API, &mut api).map_err(Error::kernel("write-protect pages"))?;
    Ok((faults, serves_kernel))
}

/// A descriptor that everybody may have: it serves no access of the kernel's.
pub(super) fn open_for_threads() -> io::Result<OwnedFd> {
    let flags = libc::O_CLOEXEC | libc::O_NONBLOCK | UFFD_USER_MODE_ONLY;
    // SAFETY: the call takes flags alone and returns a descriptor or an error.
    descriptor(unsafe { libc::syscall(libc::SYS_userfaultfd, flags) } as i32)
}

/// A descriptor for faults that also serves the kernel's own accesses, by a right of this process.
pub(super) fn make() -> io::Result<OwnedFd> {
    let flags = libc::O_CLOEXEC | libc::O_NONBLOCK;
    // SAFETY: the call takes flags alone and returns a descriptor or an error.
    descriptor(unsafe { libc::syscall(libc::SYS_userfaultfd, flags) } as i32)
}

pub(super) fn descriptor(made: i32) -> io::Result<OwnedFd> {
    if made < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel just made this descriptor for us; nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(made) })
}

pub(super) fn call<T: Argument>(
    faults: &OwnedFd,
    request: u64,
    argument: &mut T,
) -> io::Result<()> {
    // SAFETY: `argument` is of the type that the request takes (each has one, checked in size below),
    // and ours alone during the call. Addresses in it lie in a mapping that was checked, or are the
    // source of a copy, which the kernel only reads, and checks itself.
    let result = unsafe { libc::ioctl(faults.as_raw_fd(), request, ptr::from_mut(argument)) };
    Errno::result(result).map(drop).map_err(Into::into)
}

/// What the kernel's requests take. Only the structs below.
pub(super) trait Argument {}

#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub(super) struct Range {
    pub(super) start: u64,
    pub(super) len: u64,
}

#[repr(C)]
pub(super) struct Api {
    pub(super) api: u64,
    pub(super) features: u64,
    pub(super) ioctls: u64,
}

#[repr(C)]
pub(super) struct Register {
    pub(super) range: Range,
    pub(super) mode: u64,
    pub(super) ioctls: u64,
}

#[repr(C)]
pub(super) struct Copy {
    pub(super) dst: u64,
    pub(super) src: u64,
    pub(super) len: u64,
    pub(super) mode: u64,
    pub(super) copy: i64,
}

#[repr(C)]
pub(super) struct Zero {
    pub(super) range: Range,
    pub(super) mode: u64,
    pub(super) zeroed: i64,
}

#[repr(C)]
pub(super) struct Protect {
    pub(super) range: Range,
    pub(super) mode: u64,
}

impl Argument for Range {}
impl Argument for Api {}
impl Argument for Register {}
impl Argument for Copy {}
impl Argument for Zero {}
impl Argument for Protect {}

const _: () = assert!(size_of::<Range>() == 16 && size_of::<Api>() == 24);
const _: () = assert!(size_of::<Register>() == 32 && size_of::<Copy>() == 40);
const _: () = assert!(size_of::<Protect>() == 24 && size_of::<Zero>() == 32);

// From linux/userfaultfd.h, whose numbers are for ever.
pub(super) const UFFD_API: u64 = 0xaa;
pub(super) const UFFD_USER_MODE_ONLY: i32 = 1;
pub(super) const FEATURE_PAGEFAULT_FLAG_WP: u64 = 1;
/// Writes to protected pages are let through at once, and the kernel remembers which these were.
/// The kernel remembers writes (WP_ASYNC), also where there was no page (WP_UNPOPULATED).
pub(crate) const FEATURES_OF_WRITES: u64 = 1 << 15 | 1 << 13;
pub(super) const REGISTER_MISSING: u64 = 1;
pub(super) const REGISTER_WP: u64 = 2;
/// Nobody is woken; of pages of 0 likewise.
pub(super) const COPY_QUIETLY: u64 = 1;
pub(super) const COPY_WP: u64 = 2;
pub(super) const PROTECT_WP: u64 = 1;
/// Forks, moved memory, dropped memory, unmapped memory.
pub(super) const FEATURES_OF_CHANGES: u64 = 1 << 1 | 1 << 2 | 1 << 3 | 1 << 6;
pub(super) const EVENT_PAGEFAULT: u8 = 0x12;
pub(super) const EVENT_FORK: u8 = 0x13;
pub(super) const EVENT_REMAP: u8 = 0x14;
pub(super) const EVENT_REMOVE: u8 = 0x15;
pub(super) const EVENT_UNMAP: u8 = 0x16;
pub(super) const FLAG_WRITE: u64 = 1;
pub(super) const FLAG_WP: u64 = 2;
/// Bytes of `struct uffd_msg`.
pub(super) const MESSAGE: usize = 32;
pub(super) const USERFAULTFD_IOC_NEW: u64 = request(NONE, 0x00, 0);
pub(super) const UFFDIO_API: u64 = request(READ | WRITE, 0x3f, size_of::<Api>());
pub(super) const UFFDIO_REGISTER: u64 = request(READ | WRITE, 0x00, size_of::<Register>());
pub(super) const UFFDIO_UNREGISTER: u64 = request(READ, 0x01, size_of::<Range>());
pub(super) const UFFDIO_WAKE: u64 = request(READ, 0x02, size_of::<Range>());
pub(super) const UFFDIO_COPY: u64 = request(READ | WRITE, 0x03, size_of::<Copy>());
pub(super) const UFFDIO_ZEROPAGE: u64 = request(READ | WRITE, 0x04, size_of::<Zero>());
pub(super) const UFFDIO_WRITEPROTECT: u64 = request(READ | WRITE, 0x06, size_of::<Protect>());

const NONE: u64 = 0;
const WRITE: u64 = 1;
const READ: u64 = 2;

/// The number of a request, as `_IOC` in asm-generic/ioctl.h makes it.
const fn request(direction: u64, number: u64, size: usize) -> u64 {
    direction << 30 | (size as u64) << 16 | UFFD_API << 8 | number
}
