//! The image on its way to the node, the bar that says how far it is, and who wants it to go no further.

use std::cell::Cell;
use std::io::Write;

use client::visit::Visit;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use wire::visit::Round;

use crate::progress::Progress;
use crate::visitor::{Heard, moment};

/// Bytes of an image that are sent at once.
const PIECE: usize = 1 << 20;

/// An image that was not sent to its end.
pub(super) struct Unsent {
    /// The node has said something instead of taking it.
    pub(super) is_said: bool,
    pub(super) source: anyhow::Error,
}

/// Whether somebody has asked this command to end.
pub(super) struct Interrupts {
    heard: Heard,
    have_come: Cell<bool>,
}

impl Interrupts {
    pub(super) fn new() -> anyhow::Result<Self> {
        let heard = Heard::of(&[SIGINT, SIGTERM, SIGHUP])?;
        Ok(Self { heard, have_come: Cell::new(false) })
    }

    pub(super) fn have_come(&self) -> bool {
        if !self.heard.take().is_empty() {
            self.have_come.set(true);
        }
        self.have_come.get()
    }
}

/// Has somebody put an image onto a visit, behind the byte of its round if it is one of several. Returns what
/// comes back, and the image's bytes. Who is interrupted sends no more of it.
pub(super) fn send<T>(
    visit: &mut Visit,
    round: Option<Round>,
    progress: &Progress,
    interrupts: &Interrupts,
    put: impl FnOnce(&mut dyn Write) -> anyhow::Result<T>,
) -> Result<(T, u64), Unsent> {
    let mut is_said = false;
    let mut bytes = 0;
    let pour = Pour { visit, is_said: &mut is_said, bytes: &mut bytes, progress, interrupts };
    let mut pour = std::io::BufWriter::with_capacity(PIECE, pour);
    let sent = (|| -> anyhow::Result<T> {
        if let Some(round) = round {
            pour.write_all(&[round.byte()])?;
        }
        let made = put(&mut pour)?;
        pour.flush()?;
        Ok(made)
    })();
    drop(pour.into_parts());
    match sent {
        Ok(made) => Ok((made, bytes)),
        Err(source) => Err(Unsent { is_said, source }),
    }
}

struct Pour<'a> {
    visit: &'a mut Visit,
    is_said: &'a mut bool,
    bytes: &'a mut u64,
    progress: &'a Progress,
    interrupts: &'a Interrupts,
}

impl Write for Pour<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        if *self.is_said {
            return Err(std::io::Error::other("the node has said something"));
        }
        moment("pours");
        if self.interrupts.have_come() {
            return Err(std::io::Error::other("interrupted"));
        }
        match self.visit.pour_unless(bytes, &mut || self.interrupts.have_come()) {
            Ok(true) => {
                *self.bytes += bytes.len() as u64;
                self.progress.more(bytes.len());
                Ok(bytes.len())
            }
            Ok(false) => {
                *self.is_said = !self.interrupts.have_come();
                Err(std::io::Error::other("the node has said something"))
            }
            Err(error) => Err(std::io::Error::other(error)),
        }
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
