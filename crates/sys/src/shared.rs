//! Memory that two processes write.
//!
//! ```text
//!   daemon   SharedBuffer ─┐                    ┌─ SharedBuffer   worker
//!                          └── one sealed memfd ┘
//! ```
//!
//! The other side may be hostile. It cannot shrink the memory under us (that would be SIGBUS): the
//! size is sealed, and a descriptor from outside is checked for its seals before it is mapped. It
//! can change any byte at any moment, so no `&[u8]` of this memory exists: bytes are copied in and
//! out, and a copy is looked at only after it was made. Who may write when is agreed in `wire`.

use std::fs::File;
use std::io;
use std::num::NonZeroUsize;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::BufMut;
use nix::fcntl::{FcntlArg, SealFlag, fcntl};
use nix::sys::mman::{MapFlags, ProtFlags, mmap, munmap};

use crate::{Error, files};

/// Without these the peer could take pages away that we have mapped.
const SEALS: SealFlag =
    SealFlag::F_SEAL_SHRINK.union(SealFlag::F_SEAL_GROW).union(SealFlag::F_SEAL_SEAL);

/// A piece of memory of fixed size, shared with whoever has its descriptor.
#[derive(Debug)]
pub struct SharedBuffer {
    start: NonNull<u8>,
    len: NonZeroUsize,
    file: OwnedFd,
}

// SAFETY: the mapping is not bound to a thread; it is unmapped once, by the one owner.
unsafe impl Send for SharedBuffer {}
// SAFETY: the bytes are shared with another process anyway, and every access is made as if by it:
// through raw pointers or atomics, never a reference. Two copies at once can mix their bytes, as
// they can with the other process's; no code here depends on what the bytes are.
unsafe impl Sync for SharedBuffer {}

impl SharedBuffer {
    /// Makes `len` zero bytes; `name` shows in `/proc`. Pages cost memory once touched.
    pub fn create(name: &str, len: NonZeroUsize) -> Result<Self, Error> {
        let file = files::in_memory(name)?;
        file.set_len(len.get() as u64).map_err(Error::kernel("size shared memory"))?;
        fcntl(&file, FcntlArg::F_ADD_SEALS(SEALS)).map_err(Error::kernel("seal shared memory"))?;
        Self::map(file.into(), len)
    }

    /// Maps memory that a peer made, if its size is sealed. The caller bounds [`Self::len`].
    pub fn from_fd(descriptor: OwnedFd) -> Result<Self, Error> {
        // Files that know no seals answer EINVAL.
        let seals = fcntl(&descriptor, FcntlArg::F_GET_SEALS).map_err(|_| Error::PeerUnsealed)?;
        // Seals are never taken back; F_SEAL_SEAL itself protects nothing that matters here.
        let needed = SealFlag::F_SEAL_SHRINK | SealFlag::F_SEAL_GROW;
        if !SealFlag::from_bits_retain(seals).contains(needed) {
            return Err(Error::PeerUnsealed);
        }
        let file = File::from(descriptor);
        let found = file.metadata().map_err(Error::kernel("size a peer's memory"))?.len();
        let len = usize::try_from(found).ok().and_then(NonZeroUsize::new);
        Self::map(file.into(), len.ok_or(Error::PeerSize { found })?)
    }

    fn map(file: OwnedFd, len: NonZeroUsize) -> Result<Self, Error> {
        let access = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
        // SAFETY: a mapping at an address of the kernel's choice replaces no memory that exists.
        // The file keeps its size (it is sealed), so every byte of the mapping stays backed.
        let start = unsafe { mmap(None, len, access, MapFlags::MAP_SHARED, &file, 0) }
            .map_err(Error::kernel("map shared memory"))?
            .cast();
        Ok(Self { start, len, file })
    }

    #[expect(
        clippy::len_without_is_empty,
        reason = "it is never empty: the kernel maps no 0 bytes"
    )]
    pub fn len(&self) -> usize {
        self.len.get()
    }

    /// The descriptor, to be sent to the peer.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }

    /// Where the memory begins, for foreign code that takes pointers. Valid while `self` lives.
    pub fn as_ptr(&self) -> *mut u8 {
        self.start.as_ptr()
    }

    /// Writes `source` at `offset`.
    pub fn copy_in(&self, offset: usize, source: &[u8]) -> Result<(), Error> {
        let target = self.at(offset, source.len())?;
        // SAFETY: `at` checked that the target lies in our mapping, which lives as long as `self`;
        // `source` is a borrow of other memory, since no reference to a mapping is ever given out.
        unsafe { copy(source.as_ptr(), target, source.len()) };
        Ok(())
    }

    /// Reads as many bytes as `target` holds, from `offset`.
    pub fn copy_out(&self, offset: usize, target: &mut [u8]) -> Result<(), Error> {
        let source = self.at(offset, target.len())?;
        // SAFETY: as in `copy_in`, the other way round; `target` is borrowed mutably.
        unsafe { copy(source, target.as_mut_ptr(), target.len()) };
        Ok(())
    }

    /// Appends `len` bytes from `offset` to a `Vec<u8>`, a `BytesMut` or another buffer, into its
    /// spare room, which the caller should have reserved. Panics if a bounded buffer is too small.
    pub fn copy_out_to(
        &self,
        offset: usize,
        len: usize,
        target: &mut impl BufMut,
    ) -> Result<(), Error> {
        let mut source = self.at(offset, len)?.cast_const();
        assert!(target.remaining_mut() >= len, "the buffer has no room for {len} bytes");
        let mut left = len;
        while left > 0 {
            let room = target.chunk_mut();
            let n = room.len().min(left);
            // SAFETY: `source` and the `n <= left` bytes after it lie in the range that `at`
            // checked; `room` is at least `n` bytes long and borrowed mutably from `target`.
            unsafe { copy(source, room.as_mut_ptr(), n) };
            // SAFETY: the copy just initialised `n` bytes of the room that `target` gave.
            unsafe { target.advance_mut(n) };
            // SAFETY: `n <= left`, so this stays inside the range, or one past its end.
            source = unsafe { source.add(n) };
            left -= n;
        }
        Ok(())
    }

    /// Reads from a socket to `offset`, at most `len` bytes; returns how many. 0 is the stream's end.
    /// Bytes of a long payload are copied once this way, by the kernel.
    pub fn read_from(&self, from: &impl AsFd, offset: usize, len: usize) -> io::Result<usize> {
        let target = self.at(offset, len).map_err(io::Error::other)?;
        let from = from.as_fd().as_raw_fd();
        // SAFETY: `at` checked that the kernel writes inside our mapping, which lives as long as
        // `self`; no reference to that memory exists.
        again(|| unsafe { libc::read(from, target.cast(), len) })
    }

    /// Writes to a socket from `offset`, at most `len` bytes; returns how many.
    pub fn write_to(&self, to: &impl AsFd, offset: usize, len: usize) -> io::Result<usize> {
        let source = self.at(offset, len).map_err(io::Error::other)?;
        let to = to.as_fd().as_raw_fd();
        // SAFETY: as in `read_from`; the kernel only reads. A peer that hung up is an error and no
        // signal.
        again(|| unsafe { libc::send(to, source.cast(), len, libc::MSG_NOSIGNAL) })
    }

    /// Reads a word; what the peer wrote before it stored the word is then visible.
    pub fn load_u64(&self, offset: usize) -> u64 {
        self.word(offset).load(Ordering::Acquire)
    }

    /// Writes a word; a peer that loads it then sees what was copied in before.
    pub fn store_u64(&self, offset: usize, value: u64) {
        self.word(offset).store(value, Ordering::Release);
    }

    /// Offsets of words are our own constants: a wrong one is our bug, so it panics.
    fn word(&self, offset: usize) -> &AtomicU64 {
        assert!(offset.is_multiple_of(8), "the word at {offset} is not aligned");
        let word = self.at(offset, 8).unwrap_or_else(|error| panic!("{error}"));
        // SAFETY: the word lies in our mapping, which starts on a page, and is aligned; it lives as
        // long as `self`. An atomic may be written by others, the peer included, at any time.
        unsafe { AtomicU64::from_ptr(word.cast()) }
    }

    fn at(&self, offset: usize, len: usize) -> Result<*mut u8, Error> {
        let size = self.len();
        match offset.checked_add(len) {
            // SAFETY: `offset <= size`, so the result is in the mapping or one past its end.
            Some(end) if end <= size => Ok(unsafe { self.start.as_ptr().add(offset) }),
            _ => Err(Error::OutOfBounds { offset, len, size }),
        }
    }
}

impl AsFd for SharedBuffer {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd()
    }
}

impl Drop for SharedBuffer {
    fn drop(&mut self) {
        // SAFETY: the mapping was made with this address and length; no reference to it outlives
        // `self`. Whoever kept the raw pointer was told how long it is valid.
        let _ = unsafe { munmap(self.start.cast(), self.len()) };
    }
}

fn again(mut call: impl FnMut() -> isize) -> io::Result<usize> {
    loop {
        if let Ok(count) = usize::try_from(call()) {
            return Ok(count);
        }
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
    }
}

/// `memcpy`, kept out of line.
///
/// The other process may write while this reads. No hardware and no `memcpy` minds: each byte
/// arrives as it was before or after. What could go wrong is a compiler that, knowing the copy and
/// seeing no writer, reads the *source* again after the caller has checked the copy. Here it sees
/// neither the source's kind nor the copy's use, so that it has to keep them apart.
///
/// # Safety
/// `source` and `target` are valid for `len` bytes and do not overlap.
#[inline(never)]
unsafe fn copy(source: *const u8, target: *mut u8, len: usize) {
    // SAFETY: the caller's promise is this call's.
    unsafe { ptr::copy_nonoverlapping(source, target, len) };
}

#[cfg(test)]
mod tests;
