//! Workers' scratch folders: one for each, below one of the node's, and the way to them.

use std::fs::{self, DirBuilder, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};

use crate::Error;
use crate::options::Jail;

/// Makes the folder for the folders of this node's workers, and clears away what another node left.
///
/// Where the daemon is root, workers have accounts of their own. They must be able to pass through the
/// folder, though not to list it; a folder above it that lets nobody pass is said now, not by each task.
pub(crate) fn make_all(data: &Path, jail: Jail) -> Result<PathBuf, Error> {
    let failed = |source| Error::Data { path: data.to_owned(), source };
    let scratch = data.join("scratch");
    let _ = fs::remove_dir_all(&scratch);
    fs::create_dir_all(&scratch).map_err(failed)?;
    let scratch = scratch.canonicalize().map_err(failed)?;
    fs::set_permissions(&scratch, Permissions::from_mode(0o711)).map_err(failed)?;
    if jail == Jail::User
        && sys::limits::is_root()
        && let Some(closed) = closed_above(&scratch)
    {
        return Err(Error::Closed { path: data.to_owned(), closed });
    }
    Ok(scratch)
}

/// The first folder on the way that only its owner and his group may enter.
fn closed_above(scratch: &Path) -> Option<PathBuf> {
    let is_closed = |way: &&Path| {
        fs::metadata(way).is_ok_and(|folder| folder.permissions().mode() & 0o001 == 0)
    };
    scratch.ancestors().skip(1).filter(is_closed).last().map(Path::to_owned)
}

/// Makes one worker's folder, for its account alone.
pub(crate) fn make(path: &Path, account: Option<u32>) -> io::Result<()> {
    DirBuilder::new().mode(0o700).create(path)?;
    match account {
        Some(account) => chown(path, Some(account), Some(account)),
        None => Ok(()),
    }
}
