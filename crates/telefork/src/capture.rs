//! A process as it stands: stopped, described, and its pages put into an image.
//!
//! ```text
//!   freeze ──▶ Frozen ──▶ describe ──▶ Description ──▶ send: the pages that must go
//!                │
//!                ├─ twin: it goes on at once, and its copy is sent · end: it is no more
//!                └─ release: it goes on as if nothing had happened
//! ```
//!
//! What the kernel tells from outside is read from `/proc` and by `ptrace`; the rest the process is made to ask
//! for itself (`calls`), and nothing of that stays in it. A call that was interrupted by the freezing is told
//! such that it is made again where the copy wakes.
//!
//! Elsewhere: descriptors and their files (`files`), what cannot travel (`preflight`).

use std::io::Write;
use std::ops::Range;
use std::time::Duration;

use sys::ptrace::{Call, Hold, Remote, Replacement, Tracee};
use sys::{Pid, maps, proc};
use wire::image::Writer;

use crate::difference::{Difference, Unchangeable};
use crate::files::{Held, Overrides};
use crate::lazy::PageServer;
use crate::{Description, Error, files, host};
use left::Left;
use pages::Kept;
use since::Since;
use twin::Doomed;

mod changes;
mod process;
mod thread;
mod twin;
mod since;
mod secrets;
mod pages;
mod left;
mod search;
mod ranges;
mod sums;
pub mod mappings;
mod interrupted;
mod calls;
mod told;

pub use changes::{Part, send_running};
pub use mappings::{Carry, Look};
pub use pages::Sent;
pub(crate) use ranges::merged;
pub use since::Told;

/// How long one run of injected calls may take: all are such that the kernel answers at once.
const CALLS_PATIENCE: Duration = Duration::from_secs(10);

/// Bytes in memory of a process from which on it takes long (some ms) to be told the flags of its mappings:
/// the kernel visits each page for that.
const LARGE: u64 = 64 << 20;

/// A process all of whose threads stand still. Dropped, it goes on.
#[derive(Debug)]
pub struct Frozen {
    tracee: Tracee,
    /// What was known of its mappings before it was stopped.
    look: Option<Look>,
    /// What is read of the files that are mapped.
    carry: Carry,
    /// What was wished of single descriptors.
    overrides: Overrides,
    /// Somebody here tracks what it writes.
    is_tracked: bool,
    held: Option<Hold>,
}

impl Frozen {
    /// Stops all threads of a process. Fails, and lets it go on, if one does not stop within `patience`.
    /// A large one is looked at before, while it still runs.
    pub fn freeze(pid: Pid, patience: Duration) -> Result<Self, Error> {
        let is_large = proc::memory(pid)?.is_some_and(|memory| memory.resident > LARGE);
        Self::freeze_known(pid, is_large.then(|| Look::at(pid)).transpose()?, patience)
    }

    /// The same of one that was looked at, however large it is.
    pub fn freeze_known(pid: Pid, look: Option<Look>, patience: Duration) -> Result<Self, Error> {
        let tracee = Tracee::seize(pid, patience)?;
        let (carry, overrides) = (Carry::default(), Overrides::none());
        let frozen = Self { tracee, look, carry, overrides, is_tracked: false, held: None };
        // Its number is the process's, and so is what only it can be asked for.
        if frozen.tracee.threads()[0].tid() != pid {
            return Err(Error::Headless { pid });
        }
        Ok(frozen)
    }

    /// Which mapped files are carried along. Set before `describe`.
    pub fn set_carry(&mut self, carry: Carry) {
        self.carry = carry;
    }

    /// Which descriptors are dropped, or opened anew. Set before `describe`.
    pub fn set_overrides(&mut self, overrides: Overrides) {
        self.overrides = overrides;
    }

    pub fn pid(&self) -> Pid {
        self.tracee.pid()
    }

    /// All that is to be known of it but the bytes of its pages.
    pub fn describe(&mut self) -> Result<Description, Error> {
        let descriptors = files::describe(self.pid(), &self.overrides)?;
        Ok(Description { descriptors, ..self.describe_closed(Next::GoesOn)? })
    }

    /// The same as if it had nothing open.
    pub(crate) fn describe_closed(&mut self, next: Next) -> Result<Description, Error> {
        let pid = self.pid();
        let mut found = match &self.look {
            None => maps::detailed(pid)?,
            Some(look) => look.complete(maps::mappings(pid)?),
        };
        if self.is_tracked {
            changes::untold(&mut found);
        }
        mappings::leave_tracking(pid, &mut found)?;
        if let Some((at, objection)) = mappings::objections(&found).next() {
            return Err(Error::Mapping { pid, at, objection });
        }
        let mut files = mappings::Files::new(pid, self.carry);
        let mappings = mappings::describe(&found, &mut files)?;
        let host = host::of(pid, &found, files.c_library(&found))?;
        let mut outside = Some(process::Outside::read(pid)?);
        let mut threads = Vec::with_capacity(self.tracee.threads().len());
        let mut process = None;
        for stopped in self.tracee.threads_mut() {
            let seen = thread::Seen::read(stopped)?;
            let mut remote = Remote::enter(stopped, CALLS_PATIENCE)?;
            threads.push(seen.ask(&mut remote)?);
            if let Some(outside) = outside.take() {
                process = Some(outside.ask(&mut remote)?);
            }
            match next {
                Next::GoesOn => remote.finish()?,
                Next::Ends => {
                    outlive_parent(&mut remote)?;
                    remote.stay();
                }
            }
        }
        let Some(mut process) = process else { return Err(Error::Headless { pid }) };
        process.pending = thread::shared_pending(&self.tracee.threads()[0])?;
        process.stopped = self.tracee.job_stop().map_or(0, |signal| signal as u8);
        Ok(Description { host, process, threads, mappings, descriptors: Vec::new() })
    }

    /// Puts its files that are taken along, and then its pages. It was described so.
    pub fn send<W: Write>(
        &self,
        description: &Description,
        to: &mut Writer<W>,
    ) -> Result<Sent, Error> {
        files::hold(self.pid(), &description.descriptors)?.send(to)?;
        self.send_pages(description, to)
    }

    /// Puts its pages alone, for who deals with its files otherwise.
    pub fn send_pages<W: Write>(
        &self,
        description: &Description,
        to: &mut Writer<W>,
    ) -> Result<Sent, Error> {
        pages::send(self.pid(), description, &Kept::default(), &Left::default(), to)
    }

    /// The same as `send`; also returns what whoever reads it has then, so that changes can be sent later.
    pub fn send_told<W: Write>(
        &self,
        description: &Description,
        to: &mut Writer<W>,
    ) -> Result<(Sent, Told), Error> {
        files::hold(self.pid(), &description.descriptors)?.send(to)?;
        since::send(self.pid(), description, None, to)
    }

    /// Puts a description, its files, and of its pages what has changed since a receiver was told: an image
    /// upon that one. `changed` are the pages that can have been written since, in the order of their
    /// addresses, if somebody has watched; else all are read and compared. `difference` is what `told` says of
    /// this description.
    pub fn send_changes<W: Write>(
        &self,
        description: &Description,
        told: Told,
        difference: &Difference,
        changed: Option<&[Range<u64>]>,
        to: &mut Writer<W>,
    ) -> Result<(Sent, Told), Error> {
        description.put_upon(told.id(), to)?;
        files::hold(self.pid(), &description.descriptors)?.send(to)?;
        since::send(self.pid(), description, Some(Since { told, difference, changed }), to)
    }

    /// Puts its files, and of its pages only what a copy touches first. The rest stays behind, with this
    /// process: it is to stand still, and to be served, until the copy has all of it.
    pub fn send_ahead<W: Write>(
        &self,
        description: &Description,
        to: &mut Writer<W>,
    ) -> Result<PageServer, Error> {
        files::hold(self.pid(), &description.descriptors)?.send(to)?;
        send_ahead(self.pid(), description, &Kept::default(), to)
    }

    /// Lets it go on, and keeps a copy of its memory as it was: a stopped process that nobody sees end. It
    /// was described so. What a fork does not copy, shared memory and files that it may write, is copied first.
    pub fn twin(mut self, description: &Description) -> Result<Twin, Error> {
        let kept = Kept::read(self.pid(), description)?;
        let mut files = files::hold(self.pid(), &description.descriptors)?;
        files.copy_written()?;
        let adopts = description.process.attributes.child_subreaper;
        let was_looked_at = self.look.is_some();
        let (pid, mut copy) = (self.pid(), twin::make(&mut self.tracee, adopts)?);
        self.release()?;
        if was_looked_at
            && !mappings::is_copied_as_told(&maps::detailed(copy.process().pid())?, description)
        {
            return Err(Error::Readvised { pid });
        }
        // Else whoever reads from a pipe of the original would not see its end.
        twin::close_descriptors(&mut copy)?;
        Ok(Twin { copy, kept, files })
    }

    /// A copy of its memory as it is, while it stays frozen. It was described so.
    pub(crate) fn shadow(&mut self, description: &Description) -> Result<Twin, Error> {
        let kept = Kept::read(self.pid(), description)?;
        let files = files::hold(self.pid(), &description.descriptors)?;
        let adopts = description.process.attributes.child_subreaper;
        let mut copy = twin::make(&mut self.tracee, adopts)?;
        twin::close_descriptors(&mut copy)?;
        Ok(Twin { copy, kept, files })
    }

    /// All its threads, for who changes it.
    pub(crate) fn tracee(&mut self) -> &mut Tracee {
        &mut self.tracee
    }

    /// Keeps a copy of its memory for whoever serves what an image has left behind: this goes away meanwhile, and
    /// never runs again as what it is, whatever comes out.
    pub fn twin_behind(&mut self, description: &Description) -> Result<Behind, Error> {
        for thread in self.tracee.threads_mut() {
            thread.kill_with_tracer()?;
        }
        let adopts = description.process.attributes.child_subreaper;
        let mut copy = twin::make(&mut self.tracee, adopts)?;
        twin::close_descriptors(&mut copy)?;
        let pid = copy.process().pid();
        Ok(Behind { copy, pid })
    }

    /// Has it stay stopped when this is dropped, and even if this process is killed. Until then nobody sees it.
    pub fn hold(&mut self) -> Result<(), Error> {
        if self.held.is_none() {
            self.held = Some(self.tracee.hold()?);
        }
        Ok(())
    }

    /// Has it end with the thread that holds it, as soon as it is described as what [`Next::Ends`].
    pub(crate) fn bind_to_tracer(&mut self) -> Result<(), Error> {
        let mut threads = self.tracee.threads_mut().iter_mut();
        Ok(threads.try_for_each(|thread| thread.kill_with_tracer())?)
    }

    /// Lets it go on.
    pub fn release(mut self) -> Result<(), Error> {
        if let Some(hold) = self.held.take() {
            self.tracee.let_loose(hold)?;
        }
        Ok(self.tracee.detach()?)
    }

    /// Has another program go on in its place, under its number and with its standard streams. Where that
    /// cannot be it is ended: it never runs again as what it was.
    pub fn replace(self, by: &Replacement) -> Result<(), Error> {
        Ok(self.tracee.replace(by, CALLS_PATIENCE)?)
    }

    /// Ends it.
    pub fn end(self) -> Result<(), Error> {
        Ok(self.tracee.kill()?)
    }
}

/// What becomes of a process that is described.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Next {
    GoesOn,
    /// It never runs again, and ends with the thread that holds it, whichever has made it.
    Ends,
}

fn outlive_parent(remote: &mut Remote<'_>) -> Result<(), Error> {
    let args = [libc::PR_SET_PDEATHSIG as u64, 0, 0, 0, 0, 0];
    remote.run(&[Call { number: libc::SYS_prctl, args }])?;
    Ok(())
}

/// Puts zeros over these bytes wherever they lie in what would be sent of a process that stands still and was
/// described so; returns how often they did.
pub(crate) fn wipe(
    pid: Pid,
    description: &Description,
    secrets: &[&[u8]],
    within: Option<&[Range<u64>]>,
) -> Result<u64, Error> {
    secrets::wipe(pid, description, secrets, within)
}

/// Puts the pages of a process that stands still, held by another one, and that has no files to be taken along.
pub(crate) fn send_parked<W: Write>(
    pid: Pid,
    description: &Description,
    to: &mut Writer<W>,
) -> Result<Sent, Error> {
    pages::send(pid, description, &Kept::default(), &Left::default(), to)
}

/// The same, for who is to be sent changes later.
pub(crate) fn send_parked_told<W: Write>(
    pid: Pid,
    description: &Description,
    to: &mut Writer<W>,
) -> Result<(Sent, Told), Error> {
    since::send(pid, description, None, to)
}

/// Puts a description of such a process, and what has changed since `told`; see [`Frozen::send_changes`].
pub(crate) fn send_parked_changes<W: Write>(
    pid: Pid,
    description: &Description,
    told: Told,
    changed: Option<&[Range<u64>]>,
    to: &mut Writer<W>,
) -> Result<Changes, Error> {
    let difference = match told.until(description) {
        Ok(difference) => difference,
        Err(unchangeable) => return Ok(Changes::SendAll(unchangeable)),
    };
    description.put_upon(told.id(), to)?;
    let since = Since { told, difference: &difference, changed };
    let (sent, told) = since::send(pid, description, Some(since), to)?;
    Ok(Changes::Sent(sent, told))
}

/// The same, of the pages only what a copy touches first.
pub(crate) fn send_parked_ahead<W: Write>(
    pid: Pid,
    description: &Description,
    to: &mut Writer<W>,
) -> Result<PageServer, Error> {
    send_ahead(pid, description, &Kept::default(), to)
}

fn send_ahead<W: Write>(
    pid: Pid,
    description: &Description,
    kept: &Kept,
    to: &mut Writer<W>,
) -> Result<PageServer, Error> {
    let left = Left::of(pid, description)?;
    pages::send(pid, description, kept, &left, to)?;
    left.put(description, to)?;
    Ok(PageServer::new(pid, to.id(), left.ranges))
}

/// What became of changes that were to be sent.
#[derive(Debug)]
pub enum Changes {
    Sent(Sent, Told),
    /// Nothing was written: an image of everything has to be sent.
    SendAll(Unchangeable),
}

/// A copy of a process that has gone on. Dropped, it ends, and nothing of it stays.
#[derive(Debug)]
pub struct Twin {
    copy: Doomed,
    /// What it has not of the original.
    kept: Kept,
    files: Held,
}

impl Twin {
    pub fn pid(&mut self) -> Pid {
        self.copy.process().pid()
    }

    /// Puts files and pages of the original as they were when it was described.
    pub fn send<W: Write>(
        &mut self,
        description: &Description,
        to: &mut Writer<W>,
    ) -> Result<Sent, Error> {
        self.files.send(to)?;
        pages::send(self.pid(), description, &self.kept, &Left::default(), to)
    }

    /// Puts files, and of the pages only what a copy touches first; see [`Frozen::send_ahead`].
    pub fn send_ahead<W: Write>(
        &mut self,
        description: &Description,
        to: &mut Writer<W>,
    ) -> Result<PageServer, Error> {
        self.files.send(to)?;
        send_ahead(self.pid(), description, &self.kept, to)
    }

    /// Puts other bytes over these wherever they lie in what would be sent of it; returns where. What is kept of it
    /// has zeros.
    pub(crate) fn hide(
        &mut self,
        description: &Description,
        secrets: &[&[u8]],
        beneath: &[u8],
    ) -> Result<Vec<Range<u64>>, Error> {
        self.kept.wipe(secrets);
        secrets::hide(self.pid(), description, secrets, beneath)
    }

    /// Only when this returns is its memory free.
    pub fn end(self) -> Result<(), Error> {
        self.copy.end()
    }
}

/// The memory of a process that has gone ahead of it. Dropped, it is gone.
#[derive(Debug)]
pub struct Behind {
    copy: Doomed,
    pid: Pid,
}

impl Behind {
    pub fn pid(&self) -> Pid {
        self.pid
    }

    /// Only when this returns is its memory free.
    pub fn end(self) -> Result<(), Error> {
        self.copy.end()
    }
}

#[cfg(test)]
mod tests;
