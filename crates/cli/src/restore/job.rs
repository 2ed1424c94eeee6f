//! Whose turn at the terminal it is: this command's or that of the process that it has woken.
//!
//! A process that led a group of its own leads one again, and then has the terminal as this command had it. In
//! a pipeline or a script it stays in this command's group, which has it already.

use std::fs::File;

use nix::unistd::{Pid, getpgrp, tcgetpgrp, tcsetpgrp};
use wire::terminal::Modes;

pub(super) struct Job {
    terminal: Option<File>,
    own: Pid,
    /// The group of the process, where it has one of its own.
    group: Option<Pid>,
}

/// Whether nobody else is in this command's group.
pub(super) fn is_alone() -> bool {
    getpgrp() == nix::unistd::getpid()
        && sys::standing::standing(sys::Pid::own()).is_ok_and(|own| own.group_others == 0)
}

impl Job {
    pub(super) fn new(process: Pid) -> Self {
        let group = nix::unistd::getpgid(Some(process)).ok();
        let own = getpgrp();
        Self { terminal: File::open("/dev/tty").ok(), own, group: group.filter(|&it| it != own) }
    }

    pub(super) fn has_terminal(&self) -> bool {
        self.terminal.is_some()
    }

    pub(super) fn has_own_group(&self) -> bool {
        self.group.is_some()
    }

    /// Gives the process the terminal, if it is this command's to give. SIGTTOU is blocked.
    pub(super) fn give(&self) {
        self.pass(Some(self.own), self.group);
    }

    /// The terminal is as the process had its own, if it has this one. SIGTTOU is blocked.
    pub(super) fn shape(&self, modes: &Modes) {
        if let Some(terminal) = &self.terminal
            && tcgetpgrp(terminal).is_ok_and(|has| has == self.own || Some(has) == self.group)
        {
            let _ = telefork::files::set_modes(terminal, modes);
        }
    }

    pub(super) fn take(&self) {
        self.pass(self.group, Some(self.own));
    }

    fn pass(&self, from: Option<Pid>, to: Option<Pid>) {
        if let (Some(terminal), Some(to)) = (&self.terminal, to.filter(|_| self.group.is_some()))
            && tcgetpgrp(terminal).ok() == from
        {
            let _ = tcsetpgrp(terminal, to);
        }
    }
}
