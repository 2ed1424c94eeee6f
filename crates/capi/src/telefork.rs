//! Processes that send copies of themselves: over any stream, into any file.

use std::ffi::c_int;
use std::mem::MaybeUninit;

use client::telefork_to;
use telefork::{Location, Pid, telepad, wait_for_exit};

use crate::border::{descriptor, put, room};
use crate::status::farcall_status::{self, FARCALL_OK};
use crate::status::{Failure, guard};

/// Where farcall_telefork_to has returned.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct farcall_location {
    /// 0 in the process that called, 1 in a copy that has just woken.
    pub is_copy: i32,
    /// In a copy: the value that it was woken with. Else 0.
    pub value: i32,
}

/// Writes an image of this process to a descriptor, a file or a stream that blocks, and goes on. It returns
/// once here, and once in each copy that is woken from the image, as fork() does: `location` tells which.
///
/// Of several threads only the calling one is in a copy; locks that others hold stay locked there. A copy has
/// this process's memory, all of it but the private keys that this library has read: give its image only to
/// whom you would give the rest. It has standard input, output and error of who wakes it; of other descriptors it has only the numbers: using one
/// fails (EBADF) until it is opened again. What the copy finds in the buffers of stdio it writes, too:
/// call fflush(NULL) before. Of this library it uses only what it makes itself.
///
/// If this fails, part of an image may have been written, and there is no copy. Who writes into a pipe or a
/// file gets the signals of write(); a socket whose reader is gone raises none.
#[unsafe(no_mangle)]
pub extern "C" fn farcall_telefork_to(
    fd: c_int,
    location: Option<&mut MaybeUninit<farcall_location>>,
) -> farcall_status {
    guard(|| {
        let location = room(location, "location")?;
        location.write(match telefork_to(&mut descriptor(fd)?)? {
            Location::Parent => farcall_location { is_copy: 0, value: 0 },
            Location::Child(value) => farcall_location { is_copy: 1, value },
        });
        Ok(FARCALL_OK)
    })
}

/// Wakes a copy from the image that comes from a descriptor, a file or a stream that blocks: a child of this
/// process, which goes on where farcall_telefork_to was called, with this value. What follows the image stays
/// in the stream. An image runs as whatever it says, with all that this process may do: take it only from
/// whom you would take a program.
#[unsafe(no_mangle)]
pub extern "C" fn farcall_telepad(
    fd: c_int,
    value: i32,
    pid: Option<&mut MaybeUninit<i32>>,
) -> farcall_status {
    guard(|| {
        let pid = room(pid, "place for the process's number")?;
        pid.write(telepad(&mut descriptor(fd)?, value)?.0);
        Ok(FARCALL_OK)
    })
}

/// Waits until a child that farcall_telepad has woken ends, and brings its exit status, unless `status` is
/// null. FARCALL_KILLED if a signal has ended it.
#[unsafe(no_mangle)]
pub extern "C" fn farcall_wait_for_exit(
    pid: i32,
    status: Option<&mut MaybeUninit<i32>>,
) -> farcall_status {
    guard(|| {
        if pid <= 0 {
            return Err(Failure::argument(format!("no process has the number {pid}")));
        }
        put(status, wait_for_exit(Pid(pid))?);
        Ok(FARCALL_OK)
    })
}
