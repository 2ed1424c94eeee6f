//! A process that is sent while it runs: what it writes is tracked, and told in the next round.
//!
//! ```text
//!   stands still   track, describe, changed     a moment: nothing is copied
//!   runs           send_running                 torn pages are written pages: they are told again
//!   stands still   describe, changed, send_changes      the last round
//! ```
//!
//! Elsewhere: which pages a process writes (`sys::tracking`), what is told of them (`since`).

use std::io::Write;
use std::ops::Range;

use sys::Pid;
use sys::maps::{Flags, Mapping};
use sys::ptrace::Remote;
use sys::tracking::Tracker;
use wire::image::Writer;

use super::pages::Sent;
use super::since::{self, Since, Stands, Told};
use super::{CALLS_PATIENCE, Frozen};
use crate::difference::Difference;
use crate::{Description, Error};

/// What is sent of a process.
#[derive(Debug)]
pub enum Part<'a> {
    All,
    /// What has changed since a receiver was told, by what it says of the description; of pages those that
    /// can have been written, if somebody has watched.
    Changes {
        told: Told,
        difference: &'a Difference,
        changed: Option<&'a [Range<u64>]>,
    },
}

impl Frozen {
    /// Begins to track what it writes. Before it is described: that it is tracked is not told then.
    pub fn track(&mut self) -> Result<Tracker, Error> {
        let mut remote = Remote::enter(&mut self.tracee.threads_mut()[0], CALLS_PATIENCE)?;
        let tracker = Tracker::of(&mut remote);
        remote.finish()?;
        self.is_tracked = tracker.is_ok();
        Ok(tracker?)
    }

    /// It is tracked since it was frozen before.
    pub fn set_tracked(&mut self) {
        self.is_tracked = true;
    }
}

/// Puts a process that was described and has gone on since, without its files: what it may write meanwhile has
/// to be told in another round.
pub fn send_running<W: Write>(
    pid: Pid,
    description: &Description,
    part: Part<'_>,
    to: &mut Writer<W>,
) -> Result<(Sent, Told), Error> {
    let since = match part {
        Part::All => {
            description.put(to)?;
            None
        }
        Part::Changes { told, difference, changed } => {
            description.put_upon(told.id(), to)?;
            Some(Since { told, difference, changed })
        }
    };
    since::send_of(pid, description, since, Stands::Not, to)
}

/// That somebody tracks them is nothing of the mappings' own.
pub(super) fn untold(found: &mut [Mapping]) {
    for flags in found.iter_mut().filter_map(|mapping| mapping.flags.as_mut()) {
        *flags = flags.without(Flags::FAULTS_WRITES);
    }
}
