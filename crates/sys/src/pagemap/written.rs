//! Which pages have been written, where a userfaultfd has the kernel remember that (`uffd::Writes`).

use std::io;
use std::ops::Range;

use super::{
    IS_GUARD, IS_PRESENT, IS_SWAPPED, IS_TRACKED, IS_WRITTEN, IS_ZERO, Pagemap, Scan, Way,
    is_unknown, page_size, push,
};

/// What a look at anonymous memory has found, by address.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    /// Pages that the process has, other than the kernel's page of zeros.
    pub(crate) own: Vec<Range<u64>>,
    /// Those of them that were written since the last look that reset them. Where nobody tracks, all.
    pub(crate) written: Vec<Range<u64>>,
}

/// What becomes of the pages that are told as written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reset {
    Yes,
    No,
}

/// From linux/fs.h: what is told is protected in the same step; memory that nobody tracks is an error.
const PROTECT: u64 = 1 << 0;
const ALL_TRACKED: u64 = 1 << 1;

/// Where addresses of programs end, at the earliest.
const END: u64 = 1 << 47;

impl Pagemap {
    /// What of a tracked mapping was written. Fails (EPERM) where it is not tracked, and then nobody knows which
    /// of its pages were reset.
    pub(crate) fn written(&self, within: Range<u64>, reset: Reset) -> io::Result<Seen> {
        let protect = if reset == Reset::Yes { PROTECT } else { 0 };
        let guards = if self.way.get() == Way::Scan { IS_GUARD } else { 0 };
        // Nothing is asked for that takes a look at the page itself (whether it is a file's): this is the
        // walk that is made again and again.
        let scan = Scan {
            start: within.start,
            end: within.end,
            flags: ALL_TRACKED | protect,
            category_inverted: guards | IS_ZERO,
            category_mask: guards | IS_ZERO,
            category_anyof_mask: IS_PRESENT | IS_SWAPPED,
            return_mask: IS_WRITTEN,
            ..Scan::default()
        };
        let mut seen = Seen::default();
        self.ask(scan, |region| {
            push(&mut seen.own, region.start..region.end);
            if region.categories & IS_WRITTEN != 0 {
                push(&mut seen.written, region.start..region.end);
            }
        })?;
        Ok(seen)
    }

    /// Whether any memory of the process is tracked, by whomever. Looks at no page where none is. `None`: this
    /// kernel cannot tell.
    pub(crate) fn is_tracked(&self) -> io::Result<Option<bool>> {
        let scan = Scan {
            end: END - page_size(),
            max_pages: 1,
            category_mask: IS_TRACKED,
            return_mask: IS_TRACKED,
            ..Scan::default()
        };
        let mut is_tracked = false;
        match self.ask(scan, |_| is_tracked = true) {
            Ok(()) => Ok(Some(is_tracked)),
            Err(error) if is_unknown(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }
}
