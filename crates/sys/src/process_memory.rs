//! Memory of other processes, copied in and out.
//!
//! Large pieces go by `process_vm_readv` and `process_vm_writev`. Those obey the permissions of pages:
//! what is mapped read-only cannot be written, and what has no permission cannot be read. There the rest
//! goes through `/proc/PID/mem`, which asks only whether the process may be traced. The process should be
//! stopped: one that runs changes its memory meanwhile.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use crate::{Error, Pid};

/// So many bytes at an address of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Piece {
    pub at: u64,
    pub len: usize,
}

/// Pieces in one call: the kernel takes no more (UIO_MAXIOV).
const PIECES_MAX: usize = 1024;

/// Bytes that go through `/proc/PID/mem` before the fast way is tried again: mostly it is a few pages of
/// relocations that are read-only, and the next page is not.
const SLOW_BYTES: usize = 1 << 16;

/// Fills `into` with what lies at an address of a process.
pub fn read(of: Pid, at: u64, into: &mut [u8]) -> Result<(), Error> {
    let piece = Piece { at, len: into.len() };
    read_pieces(of, &[piece], into)
}

/// Puts `from` to an address of a process. Where it fails, what lies before has been written.
pub fn write(of: Pid, at: u64, from: &[u8]) -> Result<(), Error> {
    let piece = Piece { at, len: from.len() };
    write_pieces(of, &[piece], from)
}

/// Fills `into`, which has the length of all pieces together, with one piece after the other.
pub fn read_pieces(of: Pid, pieces: &[Piece], into: &mut [u8]) -> Result<(), Error> {
    assert_eq!(total(pieces), Some(into.len()), "bytes are not as many as the pieces have");
    let mut slow = Slow { of, file: None };
    let mut left = Left::of(pieces);
    while let Some(next) = left.first() {
        let rest = &mut into[left.done..];
        let local = libc::iovec { iov_base: rest.as_mut_ptr().cast(), iov_len: rest.len() };
        let remote = left.vectors();
        // SAFETY: the kernel writes only through `local`, which spans exactly `rest`, borrowed mutably for
        // the call, and no more bytes than `remote` counts, which are as many. What `remote` names is the
        // other process's memory, which the kernel checks.
        let copied = unsafe {
            libc::process_vm_readv(
                of.0,
                &local,
                1,
                remote.as_ptr(),
                remote.len() as libc::c_ulong,
                0,
            )
        };
        let copied = match usize::try_from(copied) {
            Ok(copied) if copied > 0 => copied,
            _ => slow
                .after(next, |file, len| file.read_at(&mut rest[..len], next.at))
                .map_err(|source| memory("read", of, next, source))?,
        };
        left.advance(copied);
    }
    Ok(())
}

/// Puts `from`, which has the length of all pieces together, to one piece after the other.
pub fn write_pieces(of: Pid, pieces: &[Piece], from: &[u8]) -> Result<(), Error> {
    assert_eq!(total(pieces), Some(from.len()), "bytes are not as many as the pieces have");
    let mut slow = Slow { of, file: None };
    let mut left = Left::of(pieces);
    while let Some(next) = left.first() {
        let rest = &from[left.done..];
        let local = libc::iovec { iov_base: rest.as_ptr().cast_mut().cast(), iov_len: rest.len() };
        let remote = left.vectors();
        // SAFETY: the kernel only reads through `local`, which spans exactly `rest`, borrowed for the
        // call. What `remote` names is the other process's memory, which the kernel checks.
        let copied = unsafe {
            libc::process_vm_writev(
                of.0,
                &local,
                1,
                remote.as_ptr(),
                remote.len() as libc::c_ulong,
                0,
            )
        };
        let copied = match usize::try_from(copied) {
            Ok(copied) if copied > 0 => copied,
            _ => slow
                .after(next, |file, len| file.write_at(&rest[..len], next.at))
                .map_err(|source| memory("write", of, next, source))?,
        };
        left.advance(copied);
    }
    Ok(())
}

fn total(pieces: &[Piece]) -> Option<usize> {
    pieces.iter().try_fold(0_usize, |sum, piece| sum.checked_add(piece.len))
}

fn memory(action: &'static str, pid: Pid, piece: Piece, source: io::Error) -> Error {
    Error::Memory { action, pid, at: piece.at, source }
}

/// What is still to be copied.
struct Left<'a> {
    pieces: &'a [Piece],
    /// Bytes of the first piece that are copied.
    within: usize,
    /// Bytes of all pieces that are copied.
    done: usize,
}

impl<'a> Left<'a> {
    fn of(pieces: &'a [Piece]) -> Self {
        let mut left = Self { pieces, within: 0, done: 0 };
        left.advance(0);
        left
    }

    /// The rest of the piece that is next.
    fn first(&self) -> Option<Piece> {
        let first = self.pieces.first()?;
        // An address past the end of all is one that the kernel refuses.
        let at = first.at.saturating_add(self.within as u64);
        Some(Piece { at, len: first.len - self.within })
    }

    fn vectors(&self) -> Vec<libc::iovec> {
        let next = self.first().into_iter().chain(self.pieces.iter().skip(1).copied());
        next.take(PIECES_MAX)
            .map(|piece| libc::iovec {
                iov_base: std::ptr::without_provenance_mut(piece.at as usize),
                iov_len: piece.len,
            })
            .collect()
    }

    fn advance(&mut self, copied: usize) {
        self.done += copied;
        self.within += copied;
        while let Some(first) = self.pieces.first().filter(|first| first.len <= self.within) {
            self.within -= first.len;
            self.pieces = &self.pieces[1..];
        }
    }
}

/// The way that does not ask for the permissions of pages.
struct Slow {
    of: Pid,
    file: Option<File>,
}

impl Slow {
    /// After the fast way has copied nothing: some bytes of the piece the slow way.
    fn after(
        &mut self,
        piece: Piece,
        copy: impl FnOnce(&File, usize) -> io::Result<usize>,
    ) -> io::Result<usize> {
        let refused = io::Error::last_os_error();
        // Any other reason (the process is gone, or may not be traced) is the same for both ways.
        if refused.raw_os_error() != Some(libc::EFAULT) {
            return Err(refused);
        }
        let file = match &mut self.file {
            Some(file) => file,
            None => {
                let path = format!("/proc/{}/mem", self.of);
                self.file.insert(File::options().read(true).write(true).open(path)?)
            }
        };
        match copy(file, piece.len.min(SLOW_BYTES))? {
            // The memory of a process that has ended is empty.
            0 => Err(io::Error::from_raw_os_error(libc::ESRCH)),
            copied => Ok(copied),
        }
    }
}

#[cfg(test)]
mod tests;
