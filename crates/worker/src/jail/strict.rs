//! Level `strict`: a host of its own, with next to nothing on it.
//!
//! The process is born into new namespaces and is the first of its pid namespace. Here it builds a
//! root folder in memory from the tables of `policy`, moves there, and gives up its rights; what
//! remains of the host's is read-only and common to all: libraries and programs.
//!
//! ```text
//!  /usr /lib /lib64 /bin /sbin    the host's, read-only, without setuid and devices
//!  /etc/…                         what the loader needs, read-only
//!  /dev/null, zero, full, random  and no other device
//!  /proc                          of its own pid namespace, processes only
//!  /scratch                       its own, in memory, of bounded size; also /tmp and /dev/shm
//! ```
//!
//! Where the daemon is root, it does this as root and becomes the worker's account afterwards; where
//! it is not, as root of a user namespace. In the end both are an ordinary user, alone in a user
//! namespace that owns nothing.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use sys::Pid;
use sys::limits;
use sys::namespace::{self as ns, Shown};

use super::policy::{
    DEVICES, HOST_NAME, INSIDE_USER, LINKS, ROOT_BYTES, ROOT_FILES, SCRATCH, SCRATCH_BYTES,
    SCRATCH_FILES, VIEW,
};
use super::{Error, Report, Rules};

/// Leaves the host's view, and its users. To be followed by what every level does.
pub(super) fn leave_host(rules: &Rules, report: &mut Report) -> Result<(), Error> {
    let made_by_root = rules.user.is_some();
    let root = &rules.scratch;
    ns::part_mounts()?;
    // What is made here is for all to see, whatever the mask.
    sys::files::set_creation_mask(0o022);
    ns::mount_memory(root, ROOT_BYTES, ROOT_FILES, None)?;
    for (path, _reason) in VIEW {
        view(root, Path::new(path))?;
    }
    for (path, _reason) in DEVICES {
        if Path::new(path).exists() {
            let at = place(root, Path::new(path))?;
            File::create(&at).map_err(building(&at))?;
            ns::show(Path::new(path), &at, Shown::Device)?;
        }
    }
    let proc = folder(root, Path::new("/proc"))?;
    ns::mount_proc(&proc)?;
    let scratch = folder(root, Path::new(SCRATCH))?;
    let owner = rules.user.map(|user| (user.uid, user.gid));
    ns::mount_memory(&scratch, SCRATCH_BYTES, SCRATCH_FILES, owner)?;
    for (path, to, _reason) in LINKS {
        let at = place(root, Path::new(path))?;
        symlink(to, &at).map_err(building(&at))?;
    }
    ns::freeze(root)?;
    ns::enter_root(root)?;
    ns::set_host_name(HOST_NAME)?;

    if let Some(user) = rules.user {
        limits::set_user(user.uid, user.gid)?;
        // The kernel forgets this wish when the user changes. The daemon has no number here, gone or
        // not: `serve` looks afterwards whether it has hung up.
        limits::die_with_parent(Pid(0))?;
    }
    if let Err(error) = ns::own_user(INSIDE_USER) {
        if !made_by_root {
            return Err(error.into());
        }
        // An account that is no user's, without any right, is what remains.
        report.gaps.push(format!("workers have no user namespace of their own: {error}"));
    }
    ns::drop_capabilities()?;
    Ok(())
}

/// Shows one of the host's files or folders at the same path; a link becomes the same link.
fn view(root: &Path, path: &Path) -> Result<(), Error> {
    let Ok(found) = fs::symlink_metadata(path) else { return Ok(()) };
    let at = place(root, path)?;
    if found.is_symlink() {
        let to = fs::read_link(path).map_err(building(path))?;
        return symlink(to, &at).map_err(building(&at));
    }
    if found.is_dir() {
        fs::create_dir(&at).map_err(building(&at))?;
    } else {
        File::create(&at).map_err(building(&at))?;
    }
    Ok(ns::show(path, &at, Shown::ReadOnly)?)
}

/// Where a path of the jail lies while its root is being built; its folder exists.
fn place(root: &Path, path: &Path) -> Result<PathBuf, Error> {
    let at = root.join(path.strip_prefix("/").unwrap_or(path));
    let above = at.parent().unwrap_or(root);
    fs::create_dir_all(above).map_err(building(above))?;
    Ok(at)
}

fn folder(root: &Path, path: &Path) -> Result<PathBuf, Error> {
    let at = place(root, path)?;
    fs::create_dir_all(&at).map_err(building(&at))?;
    Ok(at)
}

fn building(path: &Path) -> impl FnOnce(io::Error) -> Error {
    let path = path.to_owned();
    move |source| Error::View { path, source }
}
