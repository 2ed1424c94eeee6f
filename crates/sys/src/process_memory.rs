//! Memory of other processes, copied in and out.
//!
//! Large pieces go by `process_vm_readv` and `process_vm_writev`. Those obey the permissions of pages:
//! what is mapped read-only cannot be written, and what has no permission cannot be read. There the rest
//! goes through `/proc/PID/mem`, which asks only whether the process may be traced, and where that file may
//! not be written (Landlock forbids it like any other) word by word, which takes its tracer. The process
//! should be stopped: one that runs changes its memory meanwhile.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::ptr;

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

/// Asks the kernel to lay memory of this process into large pages, as far as whole pages of it are there. To be
/// asked before it is touched.
pub fn lay_large(memory: &mut [u8]) -> Result<(), Error> {
    let page = crate::pagemap::page_size() as usize;
    let range = memory.as_mut_ptr_range();
    let (start, end) = (range.start.addr().next_multiple_of(page), range.end.addr() / page * page);
    if start >= end {
        return Ok(());
    }
    let at = range.start.map_addr(|_| start);
    // SAFETY: the range is within memory that is borrowed, and this advice changes nothing of what is in it.
    let done = unsafe { libc::madvise(at.cast(), end - start, libc::MADV_HUGEPAGE) };
    if done != 0 {
        return Err(Error::kernel("lay memory into large pages")(io::Error::last_os_error()));
    }
    Ok(())
}

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
    let mut slow = Slow { of, way: None };
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
                .after(next, File::options().read(true), |way, len| match way {
                    Way::File(file) => file.read_at(&mut rest[..len], next.at),
                    Way::Words => Err(io::Error::from_raw_os_error(libc::EACCES)),
                })
                .map_err(|source| memory("read", of, next, source))?,
        };
        left.advance(copied);
    }
    Ok(())
}

/// Puts `from`, which has the length of all pieces together, to one piece after the other.
pub fn write_pieces(of: Pid, pieces: &[Piece], from: &[u8]) -> Result<(), Error> {
    assert_eq!(total(pieces), Some(from.len()), "bytes are not as many as the pieces have");
    let mut slow = Slow { of, way: None };
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
                .after(next, File::options().read(true).write(true), |way, len| match way {
                    Way::File(file) => file.write_at(&rest[..len], next.at),
                    Way::Words => poke(of, next.at, &rest[..len]),
                })
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
    way: Option<Way>,
}

enum Way {
    File(File),
    /// The file may not be opened so.
    Words,
}

impl Slow {
    /// After the fast way has copied nothing: some bytes of the piece the slow way.
    fn after(
        &mut self,
        piece: Piece,
        open: &OpenOptions,
        copy: impl FnOnce(&Way, usize) -> io::Result<usize>,
    ) -> io::Result<usize> {
        let refused = io::Error::last_os_error();
        // Any other reason (the process is gone, or may not be traced) is the same for both ways.
        if refused.raw_os_error() != Some(libc::EFAULT) {
            return Err(refused);
        }
        let way = match &mut self.way {
            Some(way) => way,
            None => {
                let way = match open.open(format!("/proc/{}/mem", self.of)) {
                    Ok(file) => Way::File(file),
                    Err(error) if error.raw_os_error() == Some(libc::EACCES) => Way::Words,
                    Err(error) => return Err(error),
                };
                self.way.insert(way)
            }
        };
        match copy(way, piece.len.min(SLOW_BYTES))? {
            // The memory of a process that has ended is empty.
            0 => Err(io::Error::from_raw_os_error(libc::ESRCH)),
            copied => Ok(copied),
        }
    }
}

/// Writes word by word, as the tracer of the process's main thread. Returns how many bytes, at least one.
fn poke(of: Pid, at: u64, from: &[u8]) -> io::Result<usize> {
    let mut done = 0;
    while done < from.len() {
        let here = at.saturating_add(done as u64);
        // Aligned words lie in one page each.
        let within = (here % WORD as u64) as usize;
        let count = (WORD - within).min(from.len() - done);
        let place = here - within as u64;
        let written = word_of(of, place, count).and_then(|mut word| {
            word[within..within + count].copy_from_slice(&from[done..done + count]);
            let place = ptr::without_provenance_mut::<libc::c_void>(place as usize);
            let value = ptr::without_provenance_mut::<libc::c_void>(usize::from_ne_bytes(word));
            // SAFETY: the kernel writes a word of the other process's memory, after it has checked that this
            // thread traces it; nothing of ours is touched.
            let result = unsafe { libc::ptrace(libc::PTRACE_POKEDATA, of.0, place, value) };
            if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
        });
        match written {
            Ok(()) => done += count,
            Err(_) if done > 0 => return Ok(done),
            Err(error) => return Err(error),
        }
    }
    Ok(done)
}

/// What is in a word of which so many bytes are to be changed.
fn word_of(of: Pid, place: u64, changed: usize) -> io::Result<[u8; WORD]> {
    let mut word = [0; WORD];
    if changed < WORD {
        let mut into = 0_usize;
        let place = ptr::without_provenance_mut::<libc::c_void>(place as usize);
        // SAFETY: the bare call (libc's own returns the word instead) writes one word to `into`, ours alone;
        // what it reads is the other process's, which the kernel checks.
        let result = unsafe {
            libc::syscall(libc::SYS_ptrace, libc::PTRACE_PEEKDATA, of.0, place, &raw mut into)
        };
        if result < 0 {
            return Err(io::Error::last_os_error());
        }
        word = into.to_ne_bytes();
    }
    Ok(word)
}

/// What is written at once word by word.
const WORD: usize = size_of::<usize>();

#[cfg(test)]
mod tests;
