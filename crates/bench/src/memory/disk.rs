//! What a disk can do by itself: a page written and asked for durably, again and again.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::{Duration, Instant};

use super::PAGE;
use crate::error::Error;
use crate::ours::ours;

/// So many pages are there before the first is written, as in a journal that is used again.
const PAGES: u64 = 1024;

/// A file in the folder that is to be measured.
pub(super) struct Disk {
    file: File,
    next: u64,
}

impl Disk {
    /// Absent where the folder is memory: an `fdatasync` there costs nothing and keeps nothing.
    pub(super) fn start(folder: &Path) -> Result<Self, Error> {
        if sys::files::is_memory(folder).map_err(ours("ask what a folder is on"))? {
            let why = format!("{} is in memory (tmpfs); build on a disk", folder.display());
            return Err(Error::Absent { what: "the disk", why });
        }
        let make = || {
            let file = File::create(folder.join("fdatasync"))?;
            for page in 0..PAGES {
                file.write_all_at(&[0; PAGE], page * PAGE as u64)?;
            }
            file.sync_all()?;
            Ok(Self { file, next: 0 })
        };
        make().map_err(Error::kernel("make a file to write to"))
    }

    /// Writes on the disk in a second, one after the other.
    pub(super) fn rate(&mut self, time: Duration) -> Result<f64, Error> {
        let start = Instant::now();
        let mut count = 0_u32;
        while start.elapsed() < time {
            self.next = (self.next + 1) % PAGES;
            self.file
                .write_all_at(&[7; PAGE], self.next * PAGE as u64)
                .and_then(|()| self.file.sync_data())
                .map_err(Error::kernel("write to the disk"))?;
            count += 1;
        }
        Ok(f64::from(count) / start.elapsed().as_secs_f64())
    }
}
