//! The terminal of this command, while a visitor has it: bytes pass as they are, and the visitor's own terminal
//! makes of them what it wants.
//!
//! It is put back whenever this command does not have it: when it stops, is in the background, or ends.

use std::fs::File;
use std::io::{ErrorKind, IsTerminal, Read, stderr, stdin, stdout};
use std::os::fd::{AsFd, BorrowedFd};

use client::visit::flow::Sending;
use nix::unistd::getpgrp;
use sys::terminal::{self, Modes};
use wire::visit::Resize;

/// What it is left with at the end.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Leaves {
    /// What it had before.
    Own,
    /// What the visitor made of it, as if it had run here.
    Visitors,
}

pub(crate) struct Screen {
    file: File,
    leaves: Leaves,
    /// As it was.
    own: Modes,
    /// As the visitor has it over there.
    theirs: Modes,
    is_raw: bool,
    /// Others are in this command's group: they hear of Ctrl-C as well, and may write here.
    is_shared: bool,
}

impl Screen {
    /// The terminal among the standard streams.
    pub(crate) fn of_streams(leaves: Leaves) -> Option<Self> {
        let (input, output, errors) = (stdin(), stdout(), stderr());
        let mut streams = [input.as_fd(), output.as_fd(), errors.as_fd()].into_iter();
        let found = streams.find(IsTerminal::is_terminal)?.try_clone_to_owned().ok()?;
        Self::new(found.into(), leaves)
    }

    /// The same, or else the one that controls this process.
    pub(crate) fn open(leaves: Leaves) -> Option<Self> {
        let controlling = || File::options().read(true).write(true).open("/dev/tty").ok();
        Self::of_streams(leaves).or_else(|| Self::new(controlling()?, leaves))
    }

    fn new(file: File, leaves: Leaves) -> Option<Self> {
        let own = terminal::modes(&file).ok()?;
        Some(Self { file, leaves, own, theirs: own, is_raw: false, is_shared: false })
    }

    /// As it was when this began.
    pub(crate) fn modes(&self) -> wire::terminal::Modes {
        let Modes { flags, discipline, characters } = self.own;
        wire::terminal::Modes { flags, discipline, characters }
    }

    pub(crate) fn size(&self) -> Option<Resize> {
        let (rows, columns) = terminal::size(&self.file).ok()?;
        Some(Resize { rows, columns })
    }

    pub(super) fn file(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }

    /// Whether what is typed is for this process: to read in the background would stop it.
    pub(super) fn is_ours(&self) -> bool {
        is_ours(&self.file)
    }

    /// Bytes pass from now on, if it is this command's turn.
    pub(super) fn enter(&mut self) {
        if !self.is_ours() {
            // Whoever has it has put it in order.
            self.is_raw = false;
            return;
        }
        if self.is_raw {
            return;
        }
        let is_leader = getpgrp() == nix::unistd::getpid();
        let standing = || sys::standing::standing(sys::Pid::own());
        self.is_shared = !is_leader || standing().is_ok_and(|own| own.group_others > 0);
        self.is_raw = true;
        self.set(self.raw());
    }

    /// It is as the visitor has it, or as it was.
    pub(super) fn leave(&mut self) {
        let modes = match self.leaves {
            Leaves::Own => self.own,
            Leaves::Visitors => self.theirs,
        };
        self.leave_as(modes);
    }

    /// Whoever sits there can type to a shell.
    pub(super) fn leave_sane(&mut self) {
        let modes = match self.leaves {
            Leaves::Own => self.own,
            Leaves::Visitors => self.theirs.sane(),
        };
        self.leave_as(modes);
    }

    fn leave_as(&mut self, modes: Modes) {
        if std::mem::take(&mut self.is_raw) && self.is_ours() {
            self.set(modes);
        }
    }

    /// What the visitor has made of its terminal.
    pub(super) fn told(&mut self, modes: wire::terminal::Modes) {
        let wire::terminal::Modes { flags, discipline, characters } = modes;
        let before = self.raw();
        self.theirs = Modes { flags, discipline, characters };
        let now = self.raw();
        if self.is_raw && self.is_ours() && now != before {
            self.set(now);
        }
    }

    /// Where others write here too, ends of lines stay what they need.
    fn raw(&self) -> Modes {
        self.own.raw(self.is_shared && self.theirs.shapes_output())
    }

    fn set(&self, modes: Modes) {
        // A terminal that is gone is noticed when it is read.
        let _ = terminal::set_modes(&self.file, &modes);
    }

    /// Takes what was typed; returns the signals among it that the others in this group are to have.
    pub(super) fn read(&mut self, typed: &mut Sending, is_open: &mut bool) -> Vec<i32> {
        let mut piece = [0; 16 * 1024];
        let room = typed.room().min(piece.len());
        match self.file.read(&mut piece[..room]) {
            Ok(count @ 1..) => {
                typed.push(&piece[..count]);
                let signals = piece[..count].iter().filter_map(|byte| self.theirs.signal(*byte));
                if self.is_shared { signals.collect() } else { Vec::new() }
            }
            Err(error)
                if matches!(error.kind(), ErrorKind::Interrupted | ErrorKind::WouldBlock) =>
            {
                Vec::new()
            }
            // It was hung up.
            Ok(0) | Err(_) => {
                *is_open = false;
                typed.close();
                Vec::new()
            }
        }
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        self.leave_sane();
    }
}

/// Not in the background of it, if it controls this process.
pub(super) fn is_ours(terminal: &impl AsFd) -> bool {
    terminal::foreground(terminal).is_none_or(|group| group.0 == getpgrp().as_raw())
}
