//! A process as it stands: stopped, described, and its pages put into an image.
//!
//! ```text
//!   freeze ──▶ Frozen ──▶ describe ──▶ Description ──▶ send: the pages that must go
//!                │
//!                └─ release: it goes on as if nothing had happened · end: it is no more
//! ```
//!
//! What the kernel tells from outside is read from `/proc` and by `ptrace`; the rest the process is made to ask
//! for itself (`calls`), and nothing of that stays in it. A call that was interrupted by the freezing is told
//! such that it is made again where the copy wakes.
//!
//! Elsewhere: descriptors and their files (`files`), what cannot travel (`preflight`).

use std::io::Write;
use std::time::Duration;

use sys::Pid;
use sys::maps;
use sys::ptrace::{Remote, Tracee};
use wire::image::Writer;

use crate::{Description, Error, host};

mod process;
mod thread;
mod pages;
pub mod mappings;
mod interrupted;
mod calls;
mod told;

pub use mappings::Carry;
pub use pages::Sent;

/// How long one run of injected calls may take: all are such that the kernel answers at once.
const CALLS_PATIENCE: Duration = Duration::from_secs(10);

/// A process all of whose threads stand still. Dropped, it goes on.
#[derive(Debug)]
pub struct Frozen {
    tracee: Tracee,
    /// What is read of the files that are mapped.
    carry: Carry,
}

impl Frozen {
    /// Stops all threads of a process. Fails, and lets it go on, if one does not stop within `patience`.
    pub fn freeze(pid: Pid, patience: Duration) -> Result<Self, Error> {
        let tracee = Tracee::seize(pid, patience)?;
        let frozen = Self { tracee, carry: Carry::default() };
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

    pub fn pid(&self) -> Pid {
        self.tracee.pid()
    }

    /// All that is to be known of it but the bytes of its pages.
    pub fn describe(&mut self) -> Result<Description, Error> {
        let pid = self.pid();
        let found = maps::detailed(pid)?;
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
            remote.finish()?;
        }
        let Some(mut process) = process else { return Err(Error::Headless { pid }) };
        process.pending = thread::shared_pending(&self.tracee.threads()[0])?;
        Ok(Description { host, process, threads, mappings, descriptors: Vec::new() })
    }

    /// Puts the pages of a process that was described so.
    pub fn send<W: Write>(
        &self,
        description: &Description,
        to: &mut Writer<W>,
    ) -> Result<Sent, Error> {
        pages::send(self.pid(), description, to)
    }

    /// Lets it go on.
    pub fn release(self) -> Result<(), Error> {
        Ok(self.tracee.detach()?)
    }

    /// Ends it.
    pub fn end(self) -> Result<(), Error> {
        Ok(self.tracee.kill()?)
    }
}

#[cfg(test)]
mod tests;
