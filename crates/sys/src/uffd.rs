//! Memory whose page faults are answered by this process itself (userfaultfd).
//!
//! ```text
//!   a thread touches a page that is absent, or protected     the thread that serves
//!     stops in the kernel ─────────── fault ────────────────▶ faults()
//!     goes on             ◀── install, open, wake ───────────
//! ```
//!
//! The memory is anonymous and private: its only pages are those that were installed. Whoever serves
//! must not touch a page that may be absent, or it waits for itself; so nothing here touches the memory
//! but `copy_out`, `copy_in` and whoever has the pointer. Others write it at any moment, so there is no
//! reference to its bytes: it is words that are atomics, and copied as such.
//!
//! Memory of another process is `Pager`; which pages are written is `tracking`.
//!
//! Large pages are off here, since a fault is about one page; a forked child does not get the memory,
//! since nobody would answer its faults.

use std::io;
use std::mem::size_of;
use std::num::NonZeroUsize;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::ptr::{self, NonNull};
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::eventfd::{EfdFlags, EventFd};
use nix::sys::time::TimeSpec;

use crate::Error;

mod writes;
#[cfg(target_arch = "x86_64")]
mod pager;
mod right;
mod kernel;

pub(crate) use kernel::FEATURES_OF_WRITES;
#[cfg(target_arch = "x86_64")]
pub use pager::{Event, Filled, Pager, Stopped};
pub use right::{Right, can_follow};
pub(crate) use writes::Writes;

use kernel::{
    Argument, COPY_WP, Copy, EVENT_PAGEFAULT, FLAG_WP, FLAG_WRITE, MESSAGE, PROTECT_WP, Protect,
    REGISTER_MISSING, REGISTER_WP, Range, Register, UFFDIO_COPY, UFFDIO_REGISTER,
    UFFDIO_UNREGISTER, UFFDIO_WAKE, UFFDIO_WRITEPROTECT, call, open,
};

/// What one fault is about. On other hosts (64 KiB on some arm64) this memory cannot be had.
pub const PAGE: usize = 4096;

/// Bytes of an atomic.
const WORD: usize = size_of::<AtomicU64>();

/// Messages that are read at once.
const FAULTS_READ: usize = 32;

/// Times that an installation is tried again while the process changes its memory map.
const INSTALLS_MAX: u32 = 100_000;

/// Pages that are absent until they are installed.
#[derive(Debug)]
pub struct FaultMemory {
    start: NonNull<u8>,
    len: NonZeroUsize,
    faults: OwnedFd,
    serves_kernel: bool,
}

// SAFETY: the mapping is not bound to a thread; it is unmapped once, by the one owner.
unsafe impl Send for FaultMemory {}
// SAFETY: any thread may touch the memory at any time, since every access that is made here is one of an
// atomic word, always the same words, so that no two of them race; there is no reference to bytes. Whoever
// uses the pointer answers for its accesses. The calls to the kernel may be made by several threads at once.
unsafe impl Sync for FaultMemory {}

/// A thread waits for a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Its number in the memory.
    pub page: usize,
    pub kind: FaultKind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FaultKind {
    Read,
    /// To an absent page or to a protected one.
    Write,
}

/// Whether an installed page may be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Installed {
    Open,
    Protected,
}

/// Wakes a thread that serves faults.
#[derive(Debug)]
pub struct Bell(EventFd);

/// What `wait` has seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ready {
    pub faults: bool,
    pub readable: bool,
    pub writable: bool,
    pub rung: bool,
}

impl Bell {
    pub fn new() -> Result<Self, Error> {
        EventFd::from_value_and_flags(0, EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)
            .map(Self)
            .map_err(Error::kernel("make an event descriptor"))
    }

    pub fn ring(&self) {
        // It fails only when it was rung 2^64 times and never heard.
        let _ = self.0.write(1);
    }

    /// Heard: it is silent until it is rung again.
    pub fn hear(&self) {
        let _ = self.0.read();
    }
}

impl FaultMemory {
    /// Reserves so many bytes, all absent, at an address of the kernel's choice or at this one, if
    /// nothing else is there. The caller's `len` is whole pages.
    pub fn reserve(len: NonZeroUsize, at: Option<usize>) -> Result<Self, Error> {
        let page = nix::unistd::sysconf(nix::unistd::SysconfVar::PAGE_SIZE).ok().flatten();
        if page != Some(PAGE as i64) || !len.get().is_multiple_of(PAGE) {
            return Err(Error::PageSize { found: page.unwrap_or(0) });
        }
        let (faults, serves_kernel) = open()?;
        let start = map(len, at)?;
        let memory = Self { start, len, faults, serves_kernel };
        memory.keep_absent()?;
        memory.advise(libc::MADV_NOHUGEPAGE, "turn off large pages")?;
        memory.advise(libc::MADV_DONTFORK, "keep memory from forked children")?;
        let mut register =
            Register { range: memory.whole(), mode: REGISTER_MISSING | REGISTER_WP, ioctls: 0 };
        memory.ioctl(UFFDIO_REGISTER, &mut register, "register memory for its faults")?;
        Ok(memory)
    }

    #[expect(
        clippy::len_without_is_empty,
        reason = "it is never empty: the kernel maps no 0 bytes"
    )]
    pub fn len(&self) -> usize {
        self.len.get()
    }

    /// Whether absent pages are also filled for the kernel: where not, a system call with a pointer to
    /// one fails with EFAULT.
    pub fn serves_kernel(&self) -> bool {
        self.serves_kernel
    }

    /// Where the memory begins, for whoever touches it as memory. Valid while `self` lives.
    pub fn as_ptr(&self) -> *mut u8 {
        self.start.as_ptr()
    }

    /// Waits for faults, for the bell, and for a socket, at most so long. None of them: the time is
    /// over, or a signal came.
    pub fn wait(
        &self,
        bell: &Bell,
        socket: Option<(BorrowedFd<'_>, SocketWanted)>,
        timeout: Duration,
    ) -> io::Result<Ready> {
        let mut polled = [
            PollFd::new(self.faults.as_fd(), PollFlags::POLLIN),
            PollFd::new(bell.0.as_fd(), PollFlags::POLLIN),
            PollFd::new(self.faults.as_fd(), PollFlags::empty()),
        ];
        let mut count = 2;
        if let Some((socket, wanted)) = socket {
            let mut flags = PollFlags::POLLIN;
            flags.set(PollFlags::POLLOUT, wanted == SocketWanted::ReadWrite);
            polled[2] = PollFd::new(socket, flags);
            count = 3;
        }
        match ppoll(&mut polled[..count], Some(TimeSpec::from_duration(timeout)), None) {
            Ok(_) => {}
            Err(Errno::EINTR) => return Ok(Ready::default()),
            Err(error) => return Err(error.into()),
        }
        let seen = |at: usize| polled[at].revents().unwrap_or(PollFlags::empty());
        let broken = PollFlags::POLLHUP | PollFlags::POLLERR | PollFlags::POLLNVAL;
        let is_broken = count == 3 && seen(2).intersects(broken);
        Ok(Ready {
            faults: seen(0).contains(PollFlags::POLLIN),
            rung: seen(1).contains(PollFlags::POLLIN),
            readable: count == 3 && (is_broken || seen(2).contains(PollFlags::POLLIN)),
            writable: count == 3 && (is_broken || seen(2).contains(PollFlags::POLLOUT)),
        })
    }

    /// Appends the faults that have come, without waiting. A fault may be over by now.
    pub fn faults(&self, into: &mut Vec<Fault>) -> Result<(), Error> {
        let mut bytes = [0; FAULTS_READ * MESSAGE];
        let read = match nix::unistd::read(&self.faults, &mut bytes) {
            Ok(read) => read,
            Err(Errno::EAGAIN | Errno::EINTR) => return Ok(()),
            Err(error) => return Err(Error::kernel("read page faults")(error)),
        };
        for message in bytes[..read].chunks_exact(MESSAGE) {
            let word = |at: usize| {
                let mut word = [0; 8];
                word.copy_from_slice(&message[at..at + 8]);
                u64::from_ne_bytes(word)
            };
            let (event, flags, address) = (message[0], word(8), word(16) as usize);
            // No other event was asked for.
            if let (EVENT_PAGEFAULT, Some(offset)) =
                (event, address.checked_sub(self.start.as_ptr().addr()))
            {
                let writes = flags & (FLAG_WRITE | FLAG_WP) != 0;
                let kind = if writes { FaultKind::Write } else { FaultKind::Read };
                into.push(Fault { page: offset / PAGE, kind });
            }
        }
        Ok(())
    }

    /// Puts a page in place and wakes who waits for it. One that is there already stays as it is.
    pub fn install(&self, page: usize, bytes: &[u8], how: Installed) -> Result<(), Error> {
        let range = self.range(page)?;
        if bytes.len() != PAGE {
            return Err(Error::OutOfBounds { offset: page * PAGE, len: bytes.len(), size: PAGE });
        }
        let mode = if how == Installed::Protected { COPY_WP } else { 0 };
        for _ in 0..INSTALLS_MAX {
            let (src, len) = (bytes.as_ptr().addr() as u64, PAGE as u64);
            let mut copy = Copy { dst: range.start, src, len, mode, copy: 0 };
            match self.ioctl(UFFDIO_COPY, &mut copy, "install a page") {
                Ok(()) => return Ok(()),
                Err(error) => match code(&error) {
                    // The process is changing its memory map: nothing was copied.
                    Some(libc::EAGAIN) => std::thread::yield_now(),
                    // It is there. Whoever waits for it was perhaps woken before it waited.
                    Some(libc::EEXIST) => return self.wake(page),
                    _ => return Err(error),
                },
            }
        }
        Err(Error::kernel("install a page")(Errno::EAGAIN))
    }

    /// From now on nobody writes the page: when this returns, every write that began is over.
    pub fn protect(&self, page: usize) -> Result<(), Error> {
        let mut protect = Protect { range: self.range(page)?, mode: PROTECT_WP };
        self.ioctl(UFFDIO_WRITEPROTECT, &mut protect, "protect a page")
    }

    /// Lets the page be written, and wakes who waits for that.
    pub fn open(&self, page: usize) -> Result<(), Error> {
        let mut protect = Protect { range: self.range(page)?, mode: 0 };
        self.ioctl(UFFDIO_WRITEPROTECT, &mut protect, "let a page be written")
    }

    /// Takes the page away, and wakes who waits to write it: it finds the page absent, and says so.
    pub fn discard(&self, page: usize) -> Result<(), Error> {
        let range = self.range(page)?;
        let address = ptr::without_provenance_mut::<libc::c_void>(range.start as usize);
        // SAFETY: `range` checked that the page lies in our own anonymous mapping. Its bytes are lost,
        // which is what is asked for; no reference to them exists, and whoever has the pointer meets a
        // fault that is served.
        let result = unsafe { libc::madvise(address, PAGE, libc::MADV_DONTNEED) };
        Errno::result(result).map_err(Error::kernel("discard a page"))?;
        self.wake(page)
    }

    /// Wakes who waits for the page: it tries again.
    pub fn wake(&self, page: usize) -> Result<(), Error> {
        let mut range = self.range(page)?;
        self.ioctl(UFFDIO_WAKE, &mut range, "wake who waits for a page")
    }

    /// Takes all memory away at once and for good: who touches it, or waits for it, gets SIGSEGV.
    pub fn withdraw(&self) -> Result<(), Error> {
        // SAFETY: the range is our own mapping, whole. Nothing of it is referenced; a thread that
        // touches it through the pointer is ended by a signal, as the docs say.
        let result =
            unsafe { libc::mprotect(self.start.as_ptr().cast(), self.len(), libc::PROT_NONE) };
        Errno::result(result).map_err(Error::kernel("take memory away"))?;
        let mut range = self.whole();
        self.ioctl(UFFDIO_UNREGISTER, &mut range, "wake who waits for memory")
    }

    /// Reads as many bytes as `target` holds, from `offset`. Waits where a page is absent. Others may
    /// write meanwhile: each word is as before or after.
    pub fn copy_out(&self, offset: usize, target: &mut [u8]) -> Result<(), Error> {
        self.at(offset, target.len())?;
        let head = target.len().min(offset.next_multiple_of(WORD) - offset);
        let (head, rest) = target.split_at_mut(head);
        let (words, tail) = rest.as_chunks_mut();
        let mut word = offset - offset % WORD;
        if !head.is_empty() {
            let first = offset % WORD;
            head.copy_from_slice(&self.load(word)?[first..first + head.len()]);
            word += WORD;
        }
        for target in words {
            *target = self.load(word)?;
            word += WORD;
        }
        if !tail.is_empty() {
            tail.copy_from_slice(&self.load(word)?[..tail.len()]);
        }
        Ok(())
    }

    /// Writes `source` at `offset`. Waits where a page is absent or protected.
    pub fn copy_in(&self, offset: usize, source: &[u8]) -> Result<(), Error> {
        self.at(offset, source.len())?;
        let (head, rest) =
            source.split_at(source.len().min(offset.next_multiple_of(WORD) - offset));
        let (words, tail) = rest.as_chunks();
        let mut word = offset - offset % WORD;
        if !head.is_empty() {
            self.store_part(word, offset % WORD, head)?;
            word += WORD;
        }
        for source in words {
            self.atomic(word)?.store(u64::from_ne_bytes(*source), Relaxed);
            word += WORD;
        }
        if !tail.is_empty() {
            self.store_part(word, 0, tail)?;
        }
        Ok(())
    }

    fn load(&self, word: usize) -> Result<[u8; WORD], Error> {
        Ok(self.atomic(word)?.load(Relaxed).to_ne_bytes())
    }

    /// Writes some bytes of a word. Others may write its other bytes meanwhile, which stay theirs.
    fn store_part(&self, word: usize, first: usize, source: &[u8]) -> Result<(), Error> {
        let word = self.atomic(word)?;
        // No look before: a page that is absent would be fetched to read, and then once more to write.
        let mut seen = 0_u64;
        loop {
            let mut bytes = seen.to_ne_bytes();
            bytes[first..first + source.len()].copy_from_slice(source);
            match word.compare_exchange_weak(seen, u64::from_ne_bytes(bytes), Relaxed, Relaxed) {
                Ok(_) => return Ok(()),
                Err(other) => seen = other,
            }
        }
    }

    /// A word of the memory, which others write too. `offset` is a multiple of 8.
    pub fn atomic(&self, offset: usize) -> Result<&AtomicU64, Error> {
        if !offset.is_multiple_of(8) {
            return Err(Error::OutOfBounds { offset, len: 8, size: self.len() });
        }
        let word = self.at(offset, 8)?;
        // SAFETY: the word lies in our mapping, which starts on a page, and is aligned; the reference
        // lives no longer than `self`. An atomic may be written by others at any time.
        Ok(unsafe { AtomicU64::from_ptr(word.cast()) })
    }

    fn at(&self, offset: usize, len: usize) -> Result<*mut u8, Error> {
        let size = self.len();
        match offset.checked_add(len) {
            // SAFETY: `offset <= size`, so the result is in the mapping or one past its end.
            Some(end) if end <= size => Ok(unsafe { self.start.as_ptr().add(offset) }),
            _ => Err(Error::OutOfBounds { offset, len, size }),
        }
    }

    fn whole(&self) -> Range {
        Range { start: self.start.as_ptr().addr() as u64, len: self.len() as u64 }
    }

    fn range(&self, page: usize) -> Result<Range, Error> {
        let offset = page.saturating_mul(PAGE);
        let start = self.at(offset, PAGE)?;
        Ok(Range { start: start.addr() as u64, len: PAGE as u64 })
    }

    /// A process may have asked that all its memory, that of the future too, is there and stays there
    /// (`mlockall`). Here pages of zeros would stand in for those that nobody fetched.
    fn keep_absent(&self) -> Result<(), Error> {
        let access = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: the range is our own fresh mapping, which nobody has touched.
        let unlocked = unsafe { libc::munlock(self.start.as_ptr().cast(), self.len()) };
        Errno::result(unlocked).map_err(Error::kernel("unlock memory"))?;
        // SAFETY: as above. It was mapped without access, so that nothing filled it before.
        let opened = unsafe { libc::mprotect(self.start.as_ptr().cast(), self.len(), access) };
        Errno::result(opened).map(drop).map_err(Error::kernel("open memory"))
    }

    fn advise(&self, advice: i32, action: &'static str) -> Result<(), Error> {
        // SAFETY: the range is our own fresh mapping; neither advice changes its bytes.
        let result = unsafe { libc::madvise(self.start.as_ptr().cast(), self.len(), advice) };
        match Errno::result(result) {
            // A kernel without large pages has none to turn off.
            Err(Errno::EINVAL) if advice == libc::MADV_NOHUGEPAGE => Ok(()),
            result => result.map(drop).map_err(Error::kernel(action)),
        }
    }

    fn ioctl<T: Argument>(
        &self,
        request: u64,
        argument: &mut T,
        action: &'static str,
    ) -> Result<(), Error> {
        call(&self.faults, request, argument).map_err(Error::kernel(action))
    }
}

impl Drop for FaultMemory {
    fn drop(&mut self) {
        // SAFETY: the mapping was made with this address and length; no reference to it outlives
        // `self`. Whoever kept the raw pointer was told how long it is valid.
        let _ = unsafe { libc::munmap(self.start.as_ptr().cast(), self.len()) };
    }
}

/// What a socket is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SocketWanted {
    Read,
    ReadWrite,
}

/// Addresses, without access to them.
fn map(len: NonZeroUsize, at: Option<usize>) -> Result<NonNull<u8>, Error> {
    let mut flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
    if at.is_some() {
        flags |= libc::MAP_FIXED_NOREPLACE;
    }
    let hint = ptr::without_provenance_mut(at.unwrap_or(0));
    // SAFETY: without an address the kernel chooses a free one; with one, it refuses if anything is
    // there (`NOREPLACE`). So no memory that exists is replaced.
    let start = unsafe { libc::mmap(hint, len.get(), libc::PROT_NONE, flags, -1, 0) };
    if start == libc::MAP_FAILED {
        return Err(Error::kernel("reserve memory")(io::Error::last_os_error()));
    }
    let start = NonNull::new(start.cast::<u8>())
        .ok_or_else(|| Error::kernel("reserve memory")(Errno::EINVAL))?;
    if at.is_some_and(|at| at != start.as_ptr().addr()) {
        // A kernel before 4.17 takes the address as a hint.
        // SAFETY: the mapping was just made, with this length, and nobody knows it.
        unsafe { libc::munmap(start.as_ptr().cast(), len.get()) };
        return Err(Error::kernel("reserve memory at its address")(Errno::EEXIST));
    }
    Ok(start)
}

fn code(error: &Error) -> Option<i32> {
    match error {
        Error::Kernel { source, .. } => source.raw_os_error(),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
