//! A visitor's terminal: a pseudo-terminal that controls the pad's session, and so the visitor, its child.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use nix::sys::signal::{Signal, killpg};
use nix::unistd::{Pid, getpgid};
use sys::terminal::{claim, foreground, give, open, set_size};
use telefork::files;
use wire::terminal::Modes;
use wire::visit::Resize;

pub(crate) struct Terminal {
    near: File,
    /// Held, so that a visitor may close all of it and open it anew.
    far: File,
    path: PathBuf,
    told: Option<Modes>,
}

impl Terminal {
    /// A new one. The caller leads a session that has none. What is done so before there is a jail is not
    /// done under its rules.
    pub(crate) fn new(owner: Option<u32>) -> Result<Self, sys::Error> {
        let sys::terminal::Pair { near, terminal: far, path } = open(owner)?;
        claim(&far)?;
        Ok(Self { near, far, path, told: None })
    }

    /// What has to be writable for who opens it by a name.
    pub(crate) fn writable(&self) -> Vec<PathBuf> {
        let all = [Path::new("/dev/tty"), &self.path];
        all.into_iter().filter(|path| path.exists()).map(Path::to_owned).collect()
    }

    pub(crate) fn near(&self) -> io::Result<File> {
        self.near.try_clone()
    }

    pub(crate) fn far(&self) -> io::Result<OwnedFd> {
        self.far.try_clone().map(OwnedFd::from)
    }

    /// It is this process's, which has not run yet. From then on the pad is in the background of it.
    pub(crate) fn begin(&self, of: Pid, modes: Option<Modes>, size: Option<Resize>) {
        // What it looks like is no reason not to run.
        if let Some(size) = size {
            self.resize(size);
        }
        if let Some(modes) = modes {
            let _ = files::set_modes(&self.far, &modes);
        }
        if let Ok(group) = getpgid(Some(of)) {
            let _ = give(&self.far, sys::Pid(group.as_raw()));
        }
    }

    /// The kernel tells whoever has it.
    pub(crate) fn resize(&self, size: Resize) {
        let _ = set_size(&self.near, size.rows, size.columns);
    }

    /// Its modes, if the client does not know them yet.
    pub(crate) fn news(&mut self) -> Option<Modes> {
        let modes = files::modes(&self.near);
        if modes == self.told {
            return None;
        }
        self.told = modes;
        modes
    }

    /// Somebody else is to be told, who knows nothing.
    pub(crate) fn again(&mut self) {
        self.told = None;
    }

    /// The other end is gone: whoever has it is told what the kernel would.
    pub(crate) fn hang_up(&self, visitor: Pid) {
        let own = getpgid(Some(visitor)).ok();
        let shown = foreground(&self.near).map(|group| Pid::from_raw(group.0));
        for group in own.into_iter().chain(shown.filter(|group| own != Some(*group))) {
            let _ = killpg(group, Signal::SIGHUP);
            let _ = killpg(group, Signal::SIGCONT);
        }
    }
}
