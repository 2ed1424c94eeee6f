//! Which pages of another process are there: told by the kernel's page tables, without touching a page.
//!
//! Newer kernels (6.7) answer with ranges (`PAGEMAP_SCAN`), and skip what is not there in one step. Older ones
//! tell of each page with eight bytes; they do not say which pages are the kernel's one page of zeros, so those
//! are told as present there. The process should be stopped: pages of one that runs come and go.

use std::cell::Cell;
use std::fs::File;
use std::io;
use std::mem::size_of;
use std::ops::Range;
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;

use crate::ranges::push;
use crate::{Error, Pid};

mod written;

pub(crate) use written::{Reset, Seen};

/// What there is in a range, as ranges of addresses in their order; those of one kind that touch are one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Found {
    /// Pages that the process alone has written: of anonymous memory, and of private mappings of files those
    /// that are not the file's any more.
    pub own: Vec<Range<u64>>,
    /// Pages that raise SIGSEGV when they are touched (`MADV_GUARD_INSTALL`), told by kernels from 6.15 on.
    pub guards: Vec<Range<u64>>,
}

/// The page tables of one process.
#[derive(Debug)]
pub struct Pagemap {
    of: Pid,
    file: File,
    way: Cell<Way>,
}

/// How the kernel can be asked, as far as is known: the best first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Scan,
    /// It tells ranges, and does not know guards: to it they are swapped pages.
    ScanWithoutGuards,
    EachPage,
}

/// From linux/fs.h.
#[repr(C)]
#[derive(Debug, Default)]
struct Scan {
    size: u64,
    flags: u64,
    start: u64,
    end: u64,
    walk_end: u64,
    regions: u64,
    regions_len: u64,
    max_pages: u64,
    category_inverted: u64,
    category_mask: u64,
    category_anyof_mask: u64,
    return_mask: u64,
}

const _: () = assert!(size_of::<Scan>() == 96);

/// From linux/fs.h.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default)]
struct Region {
    start: u64,
    end: u64,
    categories: u64,
}

const _: () = assert!(size_of::<Region>() == 24);

/// `_IOWR('f', 16, struct pm_scan_arg)`.
const PAGEMAP_SCAN: libc::Ioctl = 0xc060_6610;

const IS_TRACKED: u64 = 1 << 0;
const IS_WRITTEN: u64 = 1 << 1;
const IS_FILE: u64 = 1 << 2;
const IS_PRESENT: u64 = 1 << 3;
const IS_SWAPPED: u64 = 1 << 4;
const IS_ZERO: u64 = 1 << 5;
const IS_GUARD: u64 = 1 << 8;

/// Ranges that are asked for at once.
const REGIONS: usize = 512;

/// Bits of the eight bytes of one page.
const PRESENT: u64 = 1 << 63;
const SWAPPED: u64 = 1 << 62;
const FILE_OR_SHARED: u64 = 1 << 61;
const GUARD: u64 = 1 << 58;

const ENTRY: u64 = 8;

/// Pages that are read of at once.
const ENTRIES: usize = 1 << 13;

impl Pagemap {
    pub fn open(of: Pid) -> Result<Self, Error> {
        let path = format!("/proc/{of}/pagemap");
        let file = File::open(&path).map_err(Error::file("open", &path))?;
        Ok(Self { of, file, way: Cell::new(Way::Scan) })
    }

    /// What there is between two addresses, which are of whole pages.
    pub fn look(&self, within: Range<u64>) -> Result<Found, Error> {
        loop {
            let mut found = Found::default();
            let range = within.clone();
            let (result, next) = match self.way.get() {
                Way::Scan => (self.scan(range, IS_GUARD, &mut found), Way::ScanWithoutGuards),
                Way::ScanWithoutGuards => (self.scan(range, 0, &mut found), Way::EachPage),
                Way::EachPage => (self.read(range, &mut found), Way::EachPage),
            };
            match result {
                Ok(()) => return Ok(found),
                Err(error) if self.way.get() != next && is_unknown(&error) => self.way.set(next),
                Err(source) => {
                    let action = "tell which pages are there of";
                    return Err(Error::Process { action, pid: self.of, source });
                }
            }
        }
    }

    fn scan(&self, within: Range<u64>, told: u64, found: &mut Found) -> io::Result<()> {
        let scan = Scan {
            start: within.start,
            end: within.end,
            category_inverted: IS_FILE | IS_ZERO,
            category_mask: IS_FILE | IS_ZERO,
            // To the kernel, guards are pages that are swapped.
            category_anyof_mask: IS_PRESENT | IS_SWAPPED,
            // Only what differs in these is told apart, so this is as few ranges as there are.
            return_mask: told | IS_FILE,
            ..Scan::default()
        };
        self.ask(scan, |region| {
            let range = region.start..region.end;
            let is_guard = region.categories & IS_GUARD != 0;
            push(if is_guard { &mut found.guards } else { &mut found.own }, range);
        })
    }

    /// Has the kernel tell all regions that are asked for, in as many calls as it takes.
    fn ask(&self, mut scan: Scan, mut each: impl FnMut(&Region)) -> io::Result<()> {
        let mut regions = [Region::default(); REGIONS];
        scan.size = size_of::<Scan>() as u64;
        scan.regions = regions.as_mut_ptr() as u64;
        scan.regions_len = REGIONS as u64;
        while scan.start < scan.end {
            // SAFETY: the kernel reads and writes one `pm_scan_arg`, which is ours and has its layout, and
            // writes at most `regions_len` ranges to `regions`, which has as many and is ours as well.
            let result = unsafe { libc::ioctl(self.file.as_raw_fd(), PAGEMAP_SCAN, &raw mut scan) };
            let Ok(count) = usize::try_from(result) else {
                return Err(io::Error::last_os_error());
            };
            regions[..count.min(REGIONS)].iter().for_each(&mut each);
            let was_enough = scan.max_pages != 0 && count > 0;
            if scan.walk_end <= scan.start || was_enough {
                break;
            }
            scan.start = scan.walk_end;
        }
        Ok(())
    }

    fn read(&self, within: Range<u64>, found: &mut Found) -> io::Result<()> {
        let page = page_size();
        let mut entries = vec![0_u8; ENTRIES * ENTRY as usize];
        let mut at = within.start;
        while at < within.end {
            let pages = ((within.end - at) / page).min(ENTRIES as u64);
            let bytes = &mut entries[..(pages * ENTRY) as usize];
            let read = self.file.read_at(bytes, at / page * ENTRY)?;
            // It ends with the addresses of programs; what is above is the kernel's.
            if read < ENTRY as usize {
                break;
            }
            for entry in bytes[..read].chunks_exact(ENTRY as usize) {
                let mut word = [0; ENTRY as usize];
                word.copy_from_slice(entry);
                let word = u64::from_ne_bytes(word);
                let is_there = word & (PRESENT | SWAPPED) != 0 && word & FILE_OR_SHARED == 0;
                if word & GUARD != 0 {
                    push(&mut found.guards, at..at + page);
                } else if is_there {
                    push(&mut found.own, at..at + page);
                }
                at += page;
            }
        }
        Ok(())
    }
}

/// Whether the kernel tells of many pages at once (PAGEMAP_SCAN, 6.7); otherwise each is looked at.
pub fn is_quick() -> Result<bool, Error> {
    let own = Pagemap::open(Pid::own())?;
    own.look(0..page_size())?;
    Ok(own.way.get() != Way::EachPage)
}

/// Bytes of a page here.
pub fn page_size() -> u64 {
    // SAFETY: it takes no pointer.
    let size = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    u64::try_from(size).unwrap_or(4096)
}

/// The kernel does not know the call, or what it is asked for.
fn is_unknown(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ENOTTY | libc::EINVAL))
}

#[cfg(test)]
mod tests;
