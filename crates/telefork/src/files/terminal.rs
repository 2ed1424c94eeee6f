//! Terminals: the one that controls the process, or is a standard stream, is passed on to where it came from.

use std::fs::OpenOptions;
use std::io::IsTerminal;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;

use sys::Pid;
use sys::descriptors::Listed;
use wire::image::descriptor::{DescriptorKind, Opened};
use wire::image::text::Text;
use wire::terminal::Modes;

use super::Context;
use super::unsupported::unsupported;
use crate::Error;

/// `None` for what is no terminal.
pub(super) fn describe(listed: &Listed, context: &Context<'_>) -> Option<Opened> {
    let (major, minor) = listed.node.numbers();
    match (major, minor) {
        (5, 2) => {
            return Some(unsupported(
                DescriptorKind::Device,
                "the master of a pseudo-terminal, whose other side stays; end what runs in that terminal",
            ));
        }
        // Pseudo-terminals, consoles and serial lines, /dev/tty and /dev/console.
        (136..=143 | 4 | 5, _) => {}
        _ => return None,
    }
    let controls = (major, minor) == (5, 0) || context.terminal == Some(listed.node.special);
    Some(if controls || context.is_standard {
        // This one would be the caller's own.
        let is_by_role = (major, minor) == (5, 0);
        let modes = if is_by_role { None } else { open(context.pid, listed.number) };
        Opened::Terminal { path: Text(listed.name.clone()), modes }
    } else {
        let why = format!(
            "a terminal that is neither the process's own nor a standard stream; leave it out with --fd {}=drop",
            listed.number
        );
        unsupported(DescriptorKind::Device, why)
    })
}

/// Its modes, if it lets itself be opened by whoever asks.
fn open(pid: Pid, number: u32) -> Option<Modes> {
    let mut options = OpenOptions::new();
    options.read(true).custom_flags(libc::O_NOCTTY | libc::O_NONBLOCK);
    modes(&options.open(format!("/proc/{pid}/fd/{number}")).ok()?)
}

/// The modes of a terminal; `None` for what is none.
pub fn modes(of: &impl AsFd) -> Option<Modes> {
    let sys::terminal::Modes { flags, discipline, characters } = sys::terminal::modes(of).ok()?;
    Some(Modes { flags, discipline, characters })
}

/// Sets them. Who is in the background of his terminal is stopped by this.
pub fn set_modes(of: &impl AsFd, modes: &Modes) -> Result<(), Error> {
    let Modes { flags, discipline, characters } = *modes;
    Ok(sys::terminal::set_modes(of, &sys::terminal::Modes { flags, discipline, characters })?)
}

/// Which of three streams stands for a terminal under a number beyond them: one that is a terminal.
pub(super) fn among(streams: &[OwnedFd; 3]) -> &OwnedFd {
    streams.iter().find(|stream| stream.is_terminal()).unwrap_or(&streams[0])
}
