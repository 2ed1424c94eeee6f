//! A process goes to the node while it runs: all of its memory first, then what it has written meanwhile, until
//! that is little. It stands still for a moment in each round, to be described, and for the last one.

use std::time::{Duration, Instant};

use client::visit::Visit;
use sys::tracking::{Changed, Tracker};
use sys::{Pid, proc};
use telefork::Description;
use telefork::capture::{Frozen, Look, Part, Told, send_running};
use telefork::files::Overrides;
use wire::image::Writer;
use wire::visit::Round;

use super::PATIENCE;
use super::sent::{Interrupts, Unsent, send};
use crate::progress::Progress;
use crate::visitor::moment;

/// Rounds while it runs.
const ROUNDS_MAX: usize = 8;
/// So little is as soon sent as another round is begun.
const LITTLE: u64 = 1 << 19;

/// What of a process is at the node, and how it came there.
pub(super) struct Ahead {
    pid: Pid,
    tracker: Option<Tracker>,
    told: Option<Told>,
    pub(super) rounds: Vec<Sent>,
    /// The node has said something: there is no use in sending more.
    pub(super) is_said: bool,
}

pub(super) struct Sent {
    pub(super) bytes: u64,
    pub(super) pages: u64,
    /// How long the process stood still for it.
    pub(super) stood: Duration,
}

impl Ahead {
    pub(super) fn new(pid: Pid) -> Self {
        Self { pid, tracker: None, told: None, rounds: Vec::new(), is_said: false }
    }

    /// Whether the kernel says what was written; else pages are compared.
    pub(super) fn is_tracked(&self) -> bool {
        self.tracker.is_some()
    }

    /// All rounds while it runs. `look` is at each description, and says what stands in the way; it ends
    /// early where somebody interrupts it.
    pub(super) fn go(
        &mut self,
        overrides: &Overrides,
        visit: &mut Visit,
        look: &dyn Fn(&mut Description) -> anyhow::Result<()>,
        interrupts: &Interrupts,
    ) -> anyhow::Result<()> {
        while self.wants_more() && !interrupts.have_come() {
            let (frozen, begun) = self.freeze(overrides)?;
            let (description, changed) = self.describe(frozen, look)?.let_go()?;
            let stood = begun.elapsed();
            moment("tracked");
            let memory = proc::memory(self.pid)?.map_or(0, |memory| memory.resident);
            let expected = changed.as_ref().map_or(memory, Changed::bytes);
            let name = format!("round {}", self.rounds.len() + 1);
            let progress = Progress::of_bytes(&name, expected);
            match self.send(&description, changed, visit, &progress, interrupts) {
                Ok((bytes, pages)) => self.rounds.push(Sent { bytes, pages, stood }),
                Err(Unsent { is_said: true, .. }) => self.is_said = true,
                Err(Unsent { source, .. }) => return Err(source),
            }
            moment("round");
        }
        Ok(())
    }

    /// Until little is left, or it stops shrinking.
    fn wants_more(&self) -> bool {
        let sent = |from_last: usize| {
            let at = self.rounds.len().checked_sub(from_last)?;
            self.rounds.get(at).map(|round| round.bytes)
        };
        let is_little = sent(1).is_some_and(|bytes| bytes <= LITTLE);
        let has_stopped = match (sent(2), sent(1)) {
            (Some(before), Some(last)) => last > before / 4 * 3,
            _ => false,
        };
        !self.is_said && self.rounds.len() < ROUNDS_MAX && !is_little && !has_stopped
    }

    /// Stops it, and says since when it stands still.
    pub(super) fn freeze(&mut self, overrides: &Overrides) -> anyhow::Result<(Frozen, Instant)> {
        let look = Look::at(self.pid)?;
        let begun = Instant::now();
        let mut frozen = Frozen::freeze_known(self.pid, Some(look), PATIENCE)?;
        frozen.set_overrides(overrides.clone());
        match &self.tracker {
            Some(_) => frozen.set_tracked(),
            None if self.rounds.is_empty() => match frozen.track() {
                Ok(tracker) => self.tracker = Some(tracker),
                Err(telefork::Error::Kernel(
                    error @ (sys::Error::NoTracking { .. } | sys::Error::TrackedAlready { .. }),
                )) => {
                    eprintln!("note: {error}: all pages are compared in each round");
                }
                Err(error) => return Err(error.into()),
            },
            None => {}
        }
        Ok((frozen, begun))
    }

    /// What it is now, and what was written since the last round. All that changes it comes before.
    pub(super) fn describe(
        &mut self,
        mut frozen: Frozen,
        look: &dyn Fn(&mut Description) -> anyhow::Result<()>,
    ) -> anyhow::Result<Standing> {
        let mut description = frozen.describe()?;
        look(&mut description)?;
        let changed = self.tracker.as_mut().map(Tracker::changed).transpose()?;
        Ok(Standing { frozen, description, changed })
    }

    fn send(
        &mut self,
        description: &Description,
        changed: Option<Changed>,
        visit: &mut Visit,
        progress: &Progress,
        interrupts: &Interrupts,
    ) -> Result<(u64, u64), Unsent> {
        let changed = changed.map(|changed| changed.everywhere());
        let difference = self.told.as_ref().and_then(|told| told.until(description).ok());
        let known = self.told.take().zip(difference.as_ref());
        let (round, part) = match known {
            None => (Round::Whole, Part::All),
            Some((told, difference)) => {
                let changed = changed.as_deref();
                (Round::Changes, Part::Changes { told, difference, changed })
            }
        };
        let pid = self.pid;
        let ((sent, told), bytes) = send(visit, Some(round), progress, interrupts, |to| {
            let mut writer = Writer::new(to, telefork::image_id()?);
            let made = send_running(pid, description, part, &mut writer)?;
            writer.finish()?;
            Ok(made)
        })?;
        self.told = Some(told);
        Ok((bytes, sent.pages))
    }

    /// The last round, of a process that stands still.
    pub(super) fn finish(
        &mut self,
        standing: &Standing,
        visit: &mut Visit,
        progress: &Progress,
        interrupts: &Interrupts,
    ) -> Result<(u64, u64), Unsent> {
        let Standing { frozen, description, changed } = standing;
        let changed = changed.as_ref().map(Changed::everywhere);
        let difference = self.told.as_ref().and_then(|told| told.until(description).ok());
        let known = self.told.take().zip(difference.as_ref());
        let round = if known.is_some() { Round::LastChanges } else { Round::LastWhole };
        let (sent, bytes) = send(visit, Some(round), progress, interrupts, |to| {
            let mut writer = Writer::new(to, telefork::image_id()?);
            let sent = match known {
                Some((told, difference)) => {
                    let changed = changed.as_deref();
                    frozen.send_changes(description, told, difference, changed, &mut writer)?.0
                }
                None => {
                    description.put(&mut writer)?;
                    frozen.send(description, &mut writer)?
                }
            };
            writer.finish()?;
            Ok(sent)
        })?;
        Ok((bytes, sent.pages))
    }
}

/// A process that stands still, with what is known of it.
pub(super) struct Standing {
    pub(super) frozen: Frozen,
    pub(super) description: Description,
    changed: Option<Changed>,
}

impl Standing {
    fn let_go(self) -> anyhow::Result<(Description, Option<Changed>)> {
        self.frozen.release()?;
        Ok((self.description, self.changed))
    }

    /// Of one that nobody has tracked.
    pub(super) fn of(frozen: Frozen, description: Description) -> Self {
        Self { frozen, description, changed: None }
    }
}
