//! Unix stream sockets that carry descriptors and tell who is at the other end.
//!
//! These wrap single calls on possibly non-blocking sockets, so errors are plain `io::Error`, whose
//! `WouldBlock` a loop expects. A signal in between is no error: the call is made again.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll, ppoll};
use nix::sys::time::TimeSpec;

use crate::{Error, Pid};

/// Descriptors in one message. The kernel would take 253; a message of ours carries a few.
pub const DESCRIPTORS_MAX: usize = 16;

/// Two connected stream sockets, both closed by `exec`.
pub fn pair() -> io::Result<(UnixStream, UnixStream)> {
    UnixStream::pair()
}

/// The one ancillary message that is ever sent: descriptors. Laid out as the kernel reads it.
#[repr(C)]
struct Rights {
    header: libc::cmsghdr,
    numbers: [i32; DESCRIPTORS_MAX],
}

const HEADER: usize = size_of::<libc::cmsghdr>();
const _: () = assert!(size_of::<Rights>() == HEADER + 4 * DESCRIPTORS_MAX);
// The kernel aligns the data that follows a header to a word: here it is without padding.
const _: () = assert!(HEADER.is_multiple_of(size_of::<usize>()));

impl Rights {
    fn empty() -> Self {
        // SAFETY: all fields are integers, for which zero is a value (some libcs have a private
        // padding field, so it cannot be written out).
        let mut rights = unsafe { MaybeUninit::<Self>::zeroed().assume_init() };
        rights.numbers = [-1; DESCRIPTORS_MAX];
        rights
    }
}

/// Sends bytes, and `descriptors` with the first of them. Returns how many bytes were taken: the
/// rest is sent without the descriptors. Nothing is raised when the peer is gone but an error.
pub fn send_with_fds(
    socket: &impl AsFd,
    bytes: &[u8],
    descriptors: &[BorrowedFd<'_>],
) -> io::Result<usize> {
    assert!(descriptors.len() <= DESCRIPTORS_MAX, "more descriptors than one message carries");
    assert!(!bytes.is_empty(), "descriptors travel with bytes");
    let mut rights = Rights::empty();
    rights.header.cmsg_level = libc::SOL_SOCKET;
    rights.header.cmsg_type = libc::SCM_RIGHTS;
    rights.header.cmsg_len = (HEADER + 4 * descriptors.len()) as _;
    for (slot, descriptor) in rights.numbers.iter_mut().zip(descriptors) {
        *slot = descriptor.as_raw_fd();
    }
    // The kernel does not write through this pointer when it sends.
    let mut piece =
        libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() };
    let mut message = message(&mut piece, &mut rights, descriptors.len());
    let socket = socket.as_fd().as_raw_fd();
    // SAFETY: `message` points to one piece, which spans the borrowed `bytes` and is only read, and
    // to `rights`, whose length it gives; all of them live through the call.
    again(|| unsafe { libc::sendmsg(socket, &raw mut message, libc::MSG_NOSIGNAL) })
}

/// Receives bytes, and at most `descriptors_max` descriptors that came with them, all of them
/// closed by `exec`. No bytes mean that the peer closed.
///
/// If more came, that is an error ([`Error::PeerDescriptors`] inside `InvalidData`), and all are
/// closed: the stream is then of no use, since bytes were lost with them.
pub fn recv_with_fds(
    socket: &impl AsFd,
    buffer: &mut [u8],
    descriptors_max: usize,
) -> io::Result<(usize, Vec<OwnedFd>)> {
    assert!(descriptors_max <= DESCRIPTORS_MAX, "more descriptors than one message carries");
    let mut rights = Rights::empty();
    let mut piece = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
    let mut message = message(&mut piece, &mut rights, descriptors_max);
    let socket = socket.as_fd().as_raw_fd();
    // SAFETY: the kernel writes only into the piece, which spans `buffer`, borrowed mutably for
    // the whole call, and into `rights`, at most as much as `message` says that it may.
    let n = again(|| unsafe { libc::recvmsg(socket, &raw mut message, libc::MSG_CMSG_CLOEXEC) })?;
    let mut descriptors = Vec::new();
    // Both stay zero unless the kernel wrote a message; so does -1 in every number it left out.
    if rights.header.cmsg_level == libc::SOL_SOCKET && rights.header.cmsg_type == libc::SCM_RIGHTS {
        for &number in rights.numbers.iter().take_while(|&&number| number >= 0) {
            // SAFETY: the kernel made this descriptor for this message; nobody else knows it.
            descriptors.push(unsafe { OwnedFd::from_raw_fd(number) });
        }
    }
    if message.msg_flags & libc::MSG_CTRUNC != 0 {
        // What did not fit was closed by the kernel, what did fit is closed here.
        let error = Error::PeerDescriptors { max: descriptors_max };
        return Err(io::Error::new(io::ErrorKind::InvalidData, error));
    }
    Ok((n, descriptors))
}

/// The header of one message with one piece of bytes and room for `count` descriptors.
///
/// The room is given to the byte: with a word's padding the kernel would fit in one too many.
fn message(piece: &mut libc::iovec, rights: &mut Rights, count: usize) -> libc::msghdr {
    // SAFETY: all fields are integers and pointers, for which zero is a value (some libcs have
    // private padding fields, so it cannot be written out).
    let mut message = unsafe { MaybeUninit::<libc::msghdr>::zeroed().assume_init() };
    message.msg_iov = piece;
    message.msg_iovlen = 1;
    if count > 0 {
        message.msg_control = std::ptr::from_mut(rights).cast();
        message.msg_controllen = (HEADER + 4 * count) as _;
    }
    message
}

fn again(mut call: impl FnMut() -> isize) -> io::Result<usize> {
    loop {
        if let Ok(n) = usize::try_from(call()) {
            return Ok(n);
        }
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
    }
}

/// Who is at the other end, as the kernel noted it when the connection was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Credentials {
    pub pid: Pid,
    pub uid: u32,
    pub gid: u32,
}

/// Who is at the other end of a connected Unix socket.
pub fn peer_credentials(socket: &impl AsFd) -> io::Result<Credentials> {
    let mut found = libc::ucred { pid: 0, uid: 0, gid: 0 };
    let mut len = size_of::<libc::ucred>() as libc::socklen_t;
    let socket = socket.as_fd().as_raw_fd();
    // SAFETY: the kernel writes at most `len` bytes, the size of `found`, and the new length into
    // `len`; both are ours alone during the call.
    let result = unsafe {
        libc::getsockopt(
            socket,
            libc::SOL_SOCKET,
            libc::SO_PEERCRED,
            (&raw mut found).cast(),
            &raw mut len,
        )
    };
    if result != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(Credentials { pid: Pid(found.pid), uid: found.uid, gid: found.gid })
}

/// Whether nobody is left at the other end of a pipe or socket, at this moment. What was written
/// before may still be there to be read.
pub fn has_hung_up(end: &impl AsFd) -> io::Result<bool> {
    let mut polled = [PollFd::new(end.as_fd(), PollFlags::empty())];
    poll(&mut polled, PollTimeout::ZERO)?;
    let gone = PollFlags::POLLHUP | PollFlags::POLLERR;
    Ok(polled[0].revents().is_some_and(|seen| seen.intersects(gone)))
}

/// What may be done with a socket now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Readiness {
    /// Bytes are there, or the end, or an error.
    pub readable: bool,
    /// Bytes are taken.
    pub writable: bool,
}

/// Waits until `socket` can be read, or written if that is wanted too, at most so long. Neither: the
/// time is over, or a signal came.
pub fn wait(socket: &impl AsFd, for_writing: bool, timeout: Duration) -> io::Result<Readiness> {
    let mut wanted = PollFlags::POLLIN;
    wanted.set(PollFlags::POLLOUT, for_writing);
    let mut polled = [PollFd::new(socket.as_fd(), wanted)];
    match ppoll(&mut polled, Some(TimeSpec::from_duration(timeout)), None) {
        Ok(_) => {}
        Err(Errno::EINTR) => return Ok(Readiness::default()),
        Err(error) => return Err(error.into()),
    }
    let seen = polled[0].revents().unwrap_or(PollFlags::empty());
    let broken = seen.intersects(PollFlags::POLLHUP | PollFlags::POLLERR | PollFlags::POLLNVAL);
    Ok(Readiness {
        readable: broken || seen.contains(PollFlags::POLLIN),
        writable: broken || seen.contains(PollFlags::POLLOUT),
    })
}

#[cfg(test)]
mod tests;
