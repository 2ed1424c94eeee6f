//! Which pages of a process have changed since the last look.
//!
//! ```text
//!   Tracker::own ─┐                    changed: all that is there          the first look
//!   Tracker::of ──┴──▶ Tracker ──────▶ changed: written, gone              since the look before
//!                                      peek: the same, and the look before stays the one
//! ```
//!
//! It is about the *own* pages of private mappings: those that the process alone has written. What shows in a
//! mapping where it has no own page is 0, or the file's. Shared mappings, and what others write to a mapped
//! file, are not seen here.
//!
//! Nothing that changed is told as unchanged: the kernel's own writes (`read` into a page), those of other
//! threads and of debuggers, pages that were swapped out and back, dropped and written anew, moved, unmapped and
//! mapped again at the same place. Mappings that appear later are told whole at the next look, and tracked
//! from then on. Forked children are not tracked. Told may be more than has changed.
//!
//! The own pages of private mappings of files (a library's data) are told apart: they are to be compared. To track
//! them would be dearer for the process, which would meet its files' pages one by one; and where such a page is
//! protected, `MADV_GUARD_INSTALL` never returns (seen with 6.18). Likewise what another userfaultfd watches.
//!
//! What it cannot see is what a device writes straight into a page: a read with `O_DIRECT` that is under way
//! during a look, or io_uring. Where there are such files, look while the process stands still: no read is under way
//! then. The same goes for other processes that write into this one just then (`process_vm_writev`).
//!
//! What it costs (best of seven, two busy virtual cores, 6.18; a look is what the kernel takes for its part):
//!
//! ```text
//!                              100 MiB               1 GiB
//!                           4 KiB    2 MiB        4 KiB    2 MiB    pages
//!   the first look        0.93 ms  0.01 ms      9.8 ms  0.10 ms
//!   nothing was written   0.26 ms  0.00 ms      2.7 ms  0.03 ms
//!   1 % was, at random    0.28 ms  0.28 ms      3.1 ms  3.1 ms
//!   the first write to a page after a look, for the process: 1.2 µs; to a large one 3 to 10 µs
//! ```
//!
//! The first write to a large page after a look splits it into small ones, for good: 1 % of all pages written at
//! random left none of 50 and 3 of 512. They are made large again by the kernel's own daemon only where all of
//! one was written since the last look.
//!
//! With other threads running, and a copy (fork) as what is sent: `changed`, copy, `peek`; then all that either
//! tells is sent, as it is in the copy. Nothing is lost between them, and what `peek` told is told again.

use std::io;
use std::mem;
use std::ops::Range;

use crate::maps::{Device, Mapping, Maps, Sharing};
use crate::pagemap::{Pagemap, Reset, Seen};
use crate::ranges::{parts, push, subtract, union};
use crate::uffd::{FEATURES_OF_WRITES, Writes};
use crate::{Error, Pid};

/// Tracks one process while it lives. Dropped, nothing of it stays there.
#[derive(Debug)]
pub struct Tracker {
    of: Pid,
    writes: Writes,
    pagemap: Pagemap,
    maps: Maps,
    /// What is tracked, as of the last look.
    tracked: Vec<Range<u64>>,
    /// The own pages, as of the last look.
    known: Vec<Range<u64>>,
}

/// What a look has found, by address, in whole pages.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Changed {
    /// Own pages that may differ from what they were.
    pub written: Vec<Range<u64>>,
    /// Own pages that nobody tracks, each time all of them. Who wants to know compares their bytes.
    pub untracked: Vec<Range<u64>>,
    /// Where there were own pages and are none: the memory is unmapped, or it is 0, or the file's, or a guard.
    pub gone: Vec<Range<u64>>,
}

impl Changed {
    /// Wherever something may differ: for who reads from a copy that was made at another moment.
    pub fn everywhere(&self) -> Vec<Range<u64>> {
        union(&union(&self.written, &self.untracked), &self.gone)
    }

    /// Bytes of the pages that were written.
    pub fn bytes(&self) -> u64 {
        self.written.iter().map(|range| range.end - range.start).sum()
    }
}

/// Whether this kernel can do it, for this user. [`Error::NoTracking`] is no.
pub fn probe() -> Result<(), Error> {
    let writes = Writes::own()?;
    prepare(Pid::own(), writes).map(drop)
}

/// Whether writes to this mapping are remembered by the kernel and nothing else: nobody is asked about them, and
/// a copy without that is as good.
pub fn is_tracked(of: Pid, mapping: &Range<u64>) -> Result<bool, Error> {
    let first = mapping.start..mapping.start + crate::pagemap::page_size();
    Ok(Pagemap::open(of)?.written(first, Reset::No).is_ok())
}

/// Whether a descriptor of a process is by which it tracks itself, and does nothing else.
pub fn is_tracker(of: Pid, descriptor: u32) -> bool {
    let about = std::fs::read_to_string(format!("/proc/{of}/fdinfo/{descriptor}"));
    let about = about.unwrap_or_default();
    // `API: aa:8000a000:80000000000001ff`, of which the second are the features, and above them a bit of the kernel's.
    let features = about.lines().find_map(|line| line.strip_prefix("API:")?.split(':').nth(1));
    let features = features.and_then(|text| u64::from_str_radix(text, 16).ok());
    features.is_some_and(|features| features & !INITIALIZED == FEATURES_OF_WRITES)
}

/// Set in fdinfo once it is in use (fs/userfaultfd.c).
const INITIALIZED: u64 = 1 << 31;

fn prepare(of: Pid, writes: Writes) -> Result<Tracker, Error> {
    let action = "tell which pages are written by";
    let pagemap = Pagemap::open(of)?;
    // That also finds out how it can be asked.
    pagemap.look(0..crate::pagemap::page_size())?;
    match pagemap.is_tracked().map_err(Error::process(action, of))? {
        Some(_) => {}
        None => {
            let source = io::Error::from_raw_os_error(libc::ENOTTY);
            return Err(Error::NoTracking { source });
        }
    }
    let maps = Maps::open(of)?;
    Ok(Tracker { of, writes, pagemap, maps, tracked: Vec::new(), known: Vec::new() })
}

impl Tracker {
    /// Of the own process. Nothing is tracked before the first look.
    pub fn own() -> Result<Self, Error> {
        prepare(Pid::own(), Writes::own()?)?.alone()
    }

    /// Of another process, which may go on when this returns.
    #[cfg(target_arch = "x86_64")]
    pub fn of(remote: &mut crate::ptrace::Remote<'_>) -> Result<Self, Error> {
        let writes = Writes::make_in(remote)?;
        prepare(remote.pid(), writes)?.alone()
    }

    /// Two would take away each other's findings.
    fn alone(self) -> Result<Self, Error> {
        let action = "tell who tracks";
        match self.pagemap.is_tracked().map_err(Error::process(action, self.of))? {
            Some(false) => Ok(self),
            _ => Err(Error::TrackedAlready { pid: self.of }),
        }
    }

    pub fn pid(&self) -> Pid {
        self.of
    }

    /// What has changed since this was called last; the first time, all that is there. Fails with
    /// [`Error::is_gone`] when the process has ended, or runs another program. After any failure, the next look
    /// tells all that is there.
    pub fn changed(&mut self) -> Result<Changed, Error> {
        // Lost where this fails, so that all is told anew.
        let before = mem::take(&mut self.tracked);
        let look = self.look(&before, Reset::Yes)?;
        self.tracked = look.tracked;
        if look.has_begun {
            self.let_go_of_files()?;
        }
        let own = union(&look.own, &look.changed.untracked);
        let gone = subtract(&mem::replace(&mut self.known, own), &self.known);
        Ok(Changed { gone, ..look.changed })
    }

    /// What `changed` would tell now, which it goes on to tell.
    pub fn peek(&mut self) -> Result<Changed, Error> {
        let before = mem::take(&mut self.tracked);
        let look = self.look(&before, Reset::No);
        self.tracked = before;
        let look = look?;
        let gone = subtract(&self.known, &union(&look.own, &look.changed.untracked));
        Ok(Changed { gone, ..look.changed })
    }

    /// Has the next look tell all that is there, as the first one did.
    pub fn forget(&mut self) {
        self.tracked.clear();
    }

    fn look(&mut self, before: &[Range<u64>], reset: Reset) -> Result<Look, Error> {
        let action = "tell which pages are written by";
        let mappings = self.maps.read()?;
        if mappings.is_empty() {
            let ended = io::Error::from_raw_os_error(libc::ESRCH);
            return Err(Error::process(action, self.of)(ended));
        }
        let mut look = Look::default();
        // Of a process that runs, the list may tell of some memory twice.
        let mut end = 0;
        for mapping in mappings.iter().filter(|it| is_private(it)) {
            let range = mapping.range.start.max(end)..mapping.range.end.max(end);
            end = range.end;
            if is_of_file(mapping) {
                let own = self.pagemap.look(range)?.own;
                own.into_iter().for_each(|range| push(&mut look.changed.untracked, range));
                continue;
            }
            for (part, was_tracked) in parts(range, before) {
                let seen = was_tracked.then(|| self.pagemap.written(part.clone(), reset).ok());
                match seen.flatten() {
                    Some(seen) => {
                        look.add(seen);
                        push(&mut look.tracked, part);
                    }
                    None => self.whole(part, reset, &mut look)?,
                }
            }
        }
        Ok(look)
    }

    /// In a process that runs, a file may have come to where memory was read of, before that was registered.
    fn let_go_of_files(&mut self) -> Result<(), Error> {
        for mapping in self.maps.read()?.iter().filter(|it| is_private(it) && is_of_file(it)) {
            if parts(mapping.range.clone(), &self.tracked).iter().any(|(_, is_tracked)| *is_tracked)
            {
                // It fails where it has gone again.
                let _ = self.writes.unregister(&mapping.range);
            }
        }
        Ok(())
    }

    /// Memory that is new here, or may be: all that is there is told.
    fn whole(&self, part: Range<u64>, reset: Reset, look: &mut Look) -> Result<(), Error> {
        let is_tracked = reset == Reset::Yes && self.begin(&part);
        let own = self.pagemap.look(part.clone())?.own;
        look.has_begun |= is_tracked;
        if is_tracked {
            push(&mut look.tracked, part);
        }
        match is_tracked || reset == Reset::No {
            true => look.add(Seen { written: own.clone(), own }),
            false => own.into_iter().for_each(|range| push(&mut look.changed.untracked, range)),
        }
        Ok(())
    }

    /// From now on, what is written there is told by the next look. Not so, where another userfaultfd watches,
    /// or where it is another mapping by now.
    fn begin(&self, part: &Range<u64>) -> bool {
        if self.writes.register(part).is_err() {
            return false;
        }
        let Ok(seen) = self.pagemap.written(part.clone(), Reset::Yes) else { return false };
        // Older kernels move pages with the mark that they are protected to where nothing heeds it. There it
        // says nothing.
        subtract(&seen.own, &seen.written).iter().all(|marked| {
            self.writes.unprotect(marked).is_ok()
                && self.pagemap.written(marked.clone(), Reset::Yes).is_ok()
        })
    }
}

/// What a look has found, but for what has gone.
#[derive(Debug, Default)]
struct Look {
    changed: Changed,
    /// What is tracked from now on.
    tracked: Vec<Range<u64>>,
    /// Some of that was not before.
    has_begun: bool,
    /// The own pages that are tracked.
    own: Vec<Range<u64>>,
}

impl Look {
    fn add(&mut self, seen: Seen) {
        seen.own.into_iter().for_each(|range| push(&mut self.own, range));
        seen.written.into_iter().for_each(|range| push(&mut self.changed.written, range));
    }
}

fn is_private(mapping: &Mapping) -> bool {
    mapping.sharing == Sharing::Private && !mapping.is_kernels()
}

fn is_of_file(mapping: &Mapping) -> bool {
    mapping.inode != 0 || mapping.device != Device::default()
}

#[cfg(test)]
mod tests;
