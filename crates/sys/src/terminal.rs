//! Terminals: a pair of a new pseudo-terminal, and what the kernel keeps of any: size, modes, and whose it is.

use std::fs::{File, OpenOptions};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::{OpenOptionsExt, fchown};
use std::path::PathBuf;

use crate::{Error, Pid};

/// A pseudo-terminal: what is written to one end is typed at the other.
#[derive(Debug)]
pub struct Pair {
    /// Where whoever shows it reads and writes.
    pub near: File,
    /// The terminal itself.
    pub terminal: File,
    pub path: PathBuf,
}

/// Characters that a terminal knows apart.
pub const CHARACTERS: usize = 19;

/// What a terminal makes of its bytes: the kernel's `termios`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Modes {
    /// Of input, output, the line and its editing.
    pub flags: [u32; 4],
    pub discipline: u8,
    pub characters: [u8; CHARACTERS],
}

const INPUT: usize = 0;
const OUTPUT: usize = 1;
const LOCAL: usize = 3;

impl Modes {
    /// All bytes pass as they are, at once. `shapes_output` is what becomes of the end of a line.
    #[must_use]
    pub fn raw(mut self, shapes_output: bool) -> Self {
        self.flags[INPUT] &= libc::IUTF8;
        if !shapes_output {
            self.flags[OUTPUT] &= !libc::OPOST;
        }
        let edits = libc::ECHO | libc::ECHONL | libc::ICANON | libc::ISIG | libc::IEXTEN;
        self.flags[LOCAL] &= !edits;
        self.characters[libc::VMIN] = 1;
        self.characters[libc::VTIME] = 0;
        self
    }

    /// As a shell expects it, whatever it was.
    #[must_use]
    pub fn sane(mut self) -> Self {
        self.flags[INPUT] |= libc::ICRNL;
        self.flags[OUTPUT] |= libc::OPOST | libc::ONLCR;
        let edits = libc::ECHO | libc::ECHOE | libc::ECHOK | libc::ICANON;
        self.flags[LOCAL] |= edits | libc::ISIG | libc::IEXTEN;
        self
    }

    /// Whether ends of lines become what a screen needs.
    pub fn shapes_output(&self) -> bool {
        self.flags[OUTPUT] & libc::OPOST != 0
    }

    /// The signal that this character is, where it is one.
    pub fn signal(&self, typed: u8) -> Option<i32> {
        let hears = self.flags[LOCAL] & libc::ISIG != 0 && typed != 0;
        let all = [
            (libc::VINTR, libc::SIGINT),
            (libc::VQUIT, libc::SIGQUIT),
            (libc::VSUSP, libc::SIGTSTP),
        ];
        let found = all.into_iter().find(|(at, _)| self.characters[*at] == typed);
        found.filter(|_| hears).map(|(_, signal)| signal)
    }
}

/// A new pseudo-terminal, which controls nobody yet. `owner` may open it by its name.
pub fn open(owner: Option<u32>) -> Result<Pair, Error> {
    let mut both = OpenOptions::new();
    both.read(true).write(true).custom_flags(libc::O_NOCTTY);
    let near = both.open("/dev/ptmx").map_err(Error::file("open", "/dev/ptmx"))?;
    let mut number: libc::c_uint = 0;
    let unlock: libc::c_int = 0;
    ask(&near, libc::TIOCSPTLCK, (&raw const unlock).cast_mut().cast(), "unlock a terminal")?;
    ask(&near, libc::TIOCGPTN, (&raw mut number).cast(), "ask for the number of a terminal")?;
    let path = PathBuf::from(format!("/dev/pts/{number}"));
    let terminal = both.open(&path).map_err(Error::file("open", &path))?;
    if let Some(owner) = owner {
        fchown(&terminal, Some(owner), None).map_err(Error::file("give away", &path))?;
    }
    Ok(Pair { near, terminal, path })
}

/// Makes it the controlling terminal of this session, which the caller leads and which has none.
pub fn claim(terminal: &impl AsFd) -> Result<(), Error> {
    ask(terminal, libc::TIOCSCTTY, std::ptr::null_mut(), "take a terminal")
}

/// Rows and columns.
pub fn size(terminal: &impl AsFd) -> Result<(u16, u16), Error> {
    let mut size = libc::winsize { ws_row: 0, ws_col: 0, ws_xpixel: 0, ws_ypixel: 0 };
    ask(terminal, libc::TIOCGWINSZ, (&raw mut size).cast(), "ask for the size of a terminal")?;
    Ok((size.ws_row, size.ws_col))
}

pub fn set_size(terminal: &impl AsFd, rows: u16, columns: u16) -> Result<(), Error> {
    let size = libc::winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
    let at = (&raw const size).cast_mut().cast();
    ask(terminal, libc::TIOCSWINSZ, at, "set the size of a terminal")
}

pub fn modes(terminal: &impl AsFd) -> Result<Modes, Error> {
    let mut modes = Modes { flags: [0; 4], discipline: 0, characters: [0; CHARACTERS] };
    ask(terminal, libc::TCGETS, (&raw mut modes).cast(), "ask for the modes of a terminal")?;
    Ok(modes)
}

/// Who is in the background of his terminal is stopped by this.
pub fn set_modes(terminal: &impl AsFd, modes: &Modes) -> Result<(), Error> {
    let at = std::ptr::from_ref(modes).cast_mut().cast();
    ask(terminal, libc::TCSETS, at, "set the modes of a terminal")
}

/// The process group that has it, where it is the caller's controlling terminal, or one of his making.
pub fn foreground(terminal: &impl AsFd) -> Option<Pid> {
    let mut group: libc::pid_t = 0;
    let asked = ask(terminal, libc::TIOCGPGRP, (&raw mut group).cast(), "ask who has a terminal");
    asked.ok().filter(|()| group > 0).map(|()| Pid(group))
}

/// Gives it to a process group of the caller's session.
pub fn give(terminal: &impl AsFd, group: Pid) -> Result<(), Error> {
    let at = (&raw const group.0).cast_mut().cast();
    ask(terminal, libc::TIOCSPGRP, at, "give a terminal to a job")
}

/// One call about a terminal. `at` is of the size and kind that the request says, or null where it says none.
fn ask(
    terminal: &impl AsFd,
    request: libc::c_ulong,
    at: *mut libc::c_void,
    action: &'static str,
) -> Result<(), Error> {
    let number = terminal.as_fd().as_raw_fd();
    loop {
        // SAFETY: all callers are above; each passes, for its request, a live value of the type that the
        // kernel reads or writes: an int, a number, a `winsize`, or `Modes`, which is laid out as its `termios`.
        if unsafe { libc::ioctl(number, request as _, at) } >= 0 {
            return Ok(());
        }
        let source = std::io::Error::last_os_error();
        if source.kind() != std::io::ErrorKind::Interrupted {
            return Err(Error::Kernel { action, source });
        }
    }
}

#[cfg(test)]
mod tests;
