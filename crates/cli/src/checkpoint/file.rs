//! A file that has its name only once it is whole.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use crate::errors::{self, Complaint, reason};

/// Dropped before it is whole, nothing of it is left; where the file system knows files without a name, also
/// if this process is killed.
pub(super) struct Unfinished {
    pub(super) file: File,
    path: PathBuf,
    /// The name that it has, or will have for a moment.
    passing: PathBuf,
    is_named: bool,
}

impl Unfinished {
    pub(super) fn beside(path: &Path) -> Result<Self, Complaint> {
        let failed = |error: &io::Error| errors::file("write", path, error);
        let name = path.file_name().ok_or_else(|| failed(&io::ErrorKind::IsADirectory.into()))?;
        if fs::metadata(path).is_ok_and(|found| !found.is_file()) {
            return Err(failed(&io::Error::other("it is there, and is no regular file")));
        }
        let folder = match path.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder,
            _ => Path::new("."),
        };
        let passing = format!(".{}.{}", name.to_string_lossy(), std::process::id());
        let passing = folder.join(passing);
        let (file, is_named) = match sys::files::unnamed_in(folder) {
            Ok(file) => (file, false),
            Err(_) => {
                let made = sys::files::create_private(&passing);
                (made.map_err(|error| failed(&reason(error)))?, true)
            }
        };
        Ok(Self { file, path: path.to_owned(), passing, is_named })
    }

    /// It is on the disk, and has its name.
    pub(super) fn finish(self, stop: &AtomicBool) -> io::Result<()> {
        self.finish_with(stop, &|folder| File::open(folder)?.sync_all())
    }

    fn finish_with(
        mut self,
        stop: &AtomicBool,
        sync: &dyn Fn(&Path) -> io::Result<()>,
    ) -> io::Result<()> {
        self.file.sync_all()?;
        if stop.load(Ordering::Relaxed) {
            return Err(io::Error::other("interrupted"));
        }
        if !self.is_named {
            sys::handle::name(&self.file, &self.passing).map_err(reason)?;
            self.is_named = true;
        }
        let folder = self.passing.parent().unwrap_or(Path::new(".")).to_owned();
        // Where its name is not safe, it is none, and what had that name before has it again.
        if self.path.exists() && sys::handle::exchange(&self.passing, &self.path).is_ok() {
            return sync(&folder).inspect_err(|_| {
                let _ = sys::handle::exchange(&self.passing, &self.path);
            });
        }
        // On a file system without exchange: one that cannot keep names is found out before.
        if self.path.exists() {
            sync(&folder)?;
            fs::rename(&self.passing, &self.path)?;
            self.is_named = false;
            return sync(&folder);
        }
        fs::rename(&self.passing, &self.path)?;
        self.is_named = false;
        sync(&folder).inspect_err(|_| {
            let _ = fs::remove_file(&self.path);
        })
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        if self.is_named {
            let _ = fs::remove_file(&self.passing);
        }
    }
}

#[cfg(test)]
mod tests;
