//! What a process sees of its host: namespaces, and the steps from a copy of the host's view to one
//! of its own.
//!
//! A process starts in new namespaces (`process::Spawn`); then, from inside and of one thread, it
//! builds a root of its own ([`mount_memory`], [`show`], [`mount_proc`]), moves there for good
//! ([`enter_root`]) and gives up the rights that it did this with ([`own_user`],
//! [`drop_capabilities`]).

use std::ffi::{CString, c_int, c_void};
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::ptr;

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, unshare};
use nix::sys::prctl;
use nix::unistd::{chdir, pivot_root, sethostname};

use crate::{Error, limits};

/// Namespaces to be born into: pid, mount, network, ipc, uts and cgroup, without the host's
/// processes, interfaces and shared memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Namespaces {
    /// Made by root, who may.
    ByRoot,
    /// Made by an ordinary user, who is root (uid 0) in a user namespace around them.
    ByUser,
}

impl Namespaces {
    /// What the calling process would use.
    pub fn for_own_user() -> Self {
        if limits::is_root() { Self::ByRoot } else { Self::ByUser }
    }

    pub(crate) fn flags(self) -> c_int {
        let common = libc::CLONE_NEWPID
            | libc::CLONE_NEWNS
            | libc::CLONE_NEWNET
            | libc::CLONE_NEWIPC
            | libc::CLONE_NEWUTS
            | libc::CLONE_NEWCGROUP;
        match self {
            Self::ByRoot => common,
            Self::ByUser => common | libc::CLONE_NEWUSER,
        }
    }
}

/// From now on mounts made here are not seen by the host, nor the host's here.
pub fn part_mounts() -> Result<(), Error> {
    let flags = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
    let none = None::<&Path>;
    mount(none, "/", none, flags, none).map_err(Error::kernel("part the mounts from the host's"))
}

/// Mounts an empty file system in memory, of bounded size.
pub fn mount_memory(
    at: &Path,
    bytes: u64,
    files: u64,
    owner: Option<(u32, u32)>,
) -> Result<(), Error> {
    let mut options = format!("size={bytes},nr_inodes={files},mode=0755");
    if let Some((uid, gid)) = owner {
        options += &format!(",uid={uid},gid={gid}");
    }
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
    mount(Some("tmpfs"), at, Some("tmpfs"), flags, Some(options.as_str()))
        .map_err(Error::file("mount memory at", at))
}

/// What of a file or folder that is shown may be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shown {
    /// Read and executed: no device works there, no setuid bit counts.
    ReadOnly,
    /// One device, with all that its own mode allows.
    Device,
}

/// Shows a file or folder of the host, and all that is mounted beneath it, at another place.
pub fn show(from: &Path, at: &Path, shown: Shown) -> Result<(), Error> {
    let none = None::<&Path>;
    mount(Some(from), at, none, MsFlags::MS_BIND | MsFlags::MS_REC, none)
        .map_err(Error::file("show", from))?;
    let attributes = match shown {
        Shown::ReadOnly => libc::MOUNT_ATTR_RDONLY | libc::MOUNT_ATTR_NODEV,
        Shown::Device => libc::MOUNT_ATTR_NOEXEC,
    };
    restrict(at, attributes | libc::MOUNT_ATTR_NOSUID)
}

/// Makes a mount, and those beneath it, read-only.
pub fn freeze(at: &Path) -> Result<(), Error> {
    restrict_only(at, libc::MOUNT_ATTR_RDONLY, 0)
}

fn restrict(at: &Path, attributes: u64) -> Result<(), Error> {
    restrict_only(at, attributes, libc::AT_RECURSIVE)
}

/// From Linux 5.12 on; it only adds to what the mount has, as the kernel demands of strangers'
/// mounts.
fn restrict_only(at: &Path, attributes: u64, flags: c_int) -> Result<(), Error> {
    let path = CString::new(at.as_os_str().as_bytes())
        .map_err(|_| Error::CallerName { text: at.display().to_string(), why: "it holds a NUL" })?;
    let wanted =
        libc::mount_attr { attr_set: attributes, attr_clr: 0, propagation: 0, userns_fd: 0 };
    let size = size_of::<libc::mount_attr>();
    // SAFETY: the kernel reads a NUL-terminated path and one `mount_attr`; both live through the
    // call. No memory of ours changes.
    let result = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            libc::AT_FDCWD,
            path.as_ptr(),
            flags,
            &raw const wanted,
            size,
        )
    };
    match result {
        0 => Ok(()),
        _ => Err(Error::file("restrict the mount at", at)(io::Error::last_os_error())),
    }
}

/// Mounts a `/proc` of the own pid namespace that tells of processes and nothing else of the host.
pub fn mount_proc(at: &Path) -> Result<(), Error> {
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    mount(Some("proc"), at, Some("proc"), flags, Some("subset=pid"))
        .map_err(Error::file("mount proc at", at))
}

/// Makes the mount at `root` the root folder for good, and lets go of the host's.
pub fn enter_root(root: &Path) -> Result<(), Error> {
    chdir(root).map_err(Error::file("enter", root))?;
    // The old root ends up over the new one, at the same place, and is taken off there.
    pivot_root(".", ".").map_err(Error::file("make a root of", root))?;
    umount2(".", MntFlags::MNT_DETACH).map_err(Error::kernel("let go of the host's files"))?;
    chdir("/").map_err(Error::kernel("enter the new root"))
}

/// What the own uts namespace calls the host.
pub fn set_host_name(name: &str) -> Result<(), Error> {
    sethostname(name).map_err(Error::kernel("name the namespace"))
}

/// Moves into a user namespace in which nobody exists but the calling process's user, by the number
/// `inside`. The process has all rights there, which count for nothing that was made before.
pub fn own_user(inside: u32) -> Result<(), Error> {
    let (uid, gid) = (nix::unistd::geteuid(), nix::unistd::getegid());
    unshare(CloneFlags::CLONE_NEWUSER).map_err(Error::kernel("make a user namespace"))?;
    // The maps belong to root while the process is not dumpable, as it is after a change of user.
    prctl::set_dumpable(true).map_err(Error::kernel("be able to map users"))?;
    write_map("setgroups", "deny")?;
    write_map("uid_map", &format!("{inside} {uid} 1"))?;
    write_map("gid_map", &format!("{inside} {gid} 1"))
}

fn write_map(name: &str, text: &str) -> Result<(), Error> {
    let path = format!("/proc/self/{name}");
    fs::write(&path, text).map_err(Error::file("write to", path))
}

/// Gives up every capability for good: no program that is executed gets one back.
pub fn drop_capabilities() -> Result<(), Error> {
    // Until the kernel knows no further one.
    for capability in 0..64 {
        // SAFETY: takes two numbers; no memory is involved.
        let result = unsafe { libc::prctl(libc::PR_CAPBSET_DROP, capability as libc::c_ulong) };
        if result != 0 {
            let error = io::Error::last_os_error();
            if error.raw_os_error() == Some(libc::EINVAL) {
                break;
            }
            return Err(Error::kernel("give up a capability")(error));
        }
    }
    /// `_LINUX_CAPABILITY_VERSION_3`, with two words for each of three sets.
    #[repr(C)]
    struct Header {
        version: u32,
        pid: c_int,
    }
    let header = Header { version: 0x2008_0522, pid: 0 };
    let nothing = [0_u32; 6];
    // SAFETY: the kernel reads a header and, as its version says, six words; both live through the
    // call.
    let result = unsafe {
        libc::syscall(
            libc::SYS_capset,
            ptr::from_ref(&header).cast::<c_void>(),
            nothing.as_ptr().cast::<c_void>(),
        )
    };
    match result {
        0 => Ok(()),
        _ => Err(Error::kernel("give up capabilities")(io::Error::last_os_error())),
    }
}
