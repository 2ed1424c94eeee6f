//! High-water files: how far each region of an embedded store has surely come.
//!
//! A store that finds its journal damaged may cut it there and open, as if what followed had never
//! been. So after each group of commits that is on the disk, and before anybody is told, one sector
//! beside the store says how far they went: a region that comes back behind it is refused. The sector
//! needs no flush of its own: a process that dies leaves it in the kernel's hands, and after a power
//! cut it is at worst behind the store.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use wire::kept::{HIGH_WATER, HighWater, Stage};
use wire::name::Name;
use wire::region::RegionId;

#[derive(Debug)]
pub(crate) struct Water {
    path: PathBuf,
    file: File,
    pub(crate) mark: HighWater,
}

/// What a folder has: files that can be read, and those that cannot, with the reason.
pub(crate) type Listed = (Vec<Water>, Vec<(PathBuf, String)>);

impl Water {
    /// Of a region that is to be made, on the disk when this returns.
    pub(crate) fn create(folder: &Path, mark: HighWater) -> io::Result<Self> {
        Self::lay(OpenOptions::new().create_new(true), folder, mark)
    }

    /// Of a region that is to go, whatever its file is like; on the disk when this returns.
    pub(crate) fn leaving(folder: &Path, name: Name, id: RegionId) -> io::Result<Self> {
        let mark = HighWater { name, id, stage: Stage::Leaving, epoch: 0, sequence: 0 };
        Self::lay(OpenOptions::new().create(true), folder, mark)
    }

    fn lay(how: &mut OpenOptions, folder: &Path, mark: HighWater) -> io::Result<Self> {
        let path = folder.join(file_name(mark.id));
        let file = how.read(true).write(true).mode(0o600).open(&path)?;
        let water = Self { path, file, mark };
        water.file.set_len(HIGH_WATER as u64)?;
        water.write()?;
        water.file.sync_all()?;
        File::open(folder)?.sync_all()?;
        Ok(water)
    }

    /// All that are in a folder.
    pub(crate) fn list(folder: &Path) -> io::Result<Listed> {
        let (mut good, mut bad) = (Vec::new(), Vec::new());
        for entry in fs::read_dir(folder)? {
            let path = entry?.path();
            match Self::open(&path) {
                Ok(water) => good.push(water),
                Err(reason) => bad.push((path, reason)),
            }
        }
        good.sort_by(|a, b| a.mark.name.cmp(&b.mark.name));
        Ok((good, bad))
    }

    fn open(path: &Path) -> Result<Self, String> {
        let words = |error: io::Error| error.to_string();
        let file = OpenOptions::new().read(true).write(true).open(path).map_err(words)?;
        let length = file.metadata().map_err(words)?.len();
        if length != HIGH_WATER as u64 {
            return Err(format!("it has {length} bytes where {HIGH_WATER} should be"));
        }
        let mut bytes = [0; HIGH_WATER];
        file.read_exact_at(&mut bytes, 0).map_err(words)?;
        let mark = HighWater::decode(&bytes).map_err(|damaged| damaged.to_string())?;
        if path.file_name().is_none_or(|name| name != file_name(mark.id).as_str()) {
            return Err(format!("it is of another region, {}", mark.name));
        }
        Ok(Self { path: path.to_owned(), file, mark })
    }

    /// The region has come so far.
    pub(crate) fn rise(&mut self, epoch: u64, sequence: u64) -> io::Result<()> {
        self.mark.epoch = epoch;
        self.mark.sequence = sequence;
        self.write()
    }

    /// On the disk when this returns.
    pub(crate) fn enter(&mut self, stage: Stage) -> io::Result<()> {
        self.mark.stage = stage;
        self.write()?;
        self.file.sync_all()
    }

    pub(crate) fn remove(self) -> io::Result<()> {
        fs::remove_file(&self.path)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    fn write(&self) -> io::Result<()> {
        self.file.write_all_at(&self.mark.encode(), 0)
    }
}

fn file_name(id: RegionId) -> String {
    format!("{:016x}", id.0)
}
