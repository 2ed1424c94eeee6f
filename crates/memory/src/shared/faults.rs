//! The thread that answers the faults of one mapping. It waits at the kernel's descriptor and at its
//! own socket in one call, and does what `Mapped` decides.
//!
//! It touches the memory only to copy a page out that is here and protected, and shares no lock with
//! the threads it serves.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use logic::regions::mapped::{Effect, Event, Mapped};
use sys::uffd::{Fault, FaultKind, FaultMemory, Installed, PAGE};
use wire::Message;
use wire::region::{Access, Answer, PageNo};

use super::Counted;
use crate::error::Error;
use crate::line::now;
use crate::view::{Fate, Session};

pub(super) struct Server {
    pub(super) memory: Arc<FaultMemory>,
    pub(super) fate: Arc<Fate>,
    pub(super) counted: Arc<Counted>,
    pub(super) session: Session,
    pub(super) copy: Mapped,
}

/// Whether the thread goes on.
enum Turn {
    On,
    Closed,
    /// Why the memory is lost.
    Lost(String),
}

impl Server {
    /// Until everything is given back; or why the memory is lost.
    pub(super) fn run(mut self) -> Result<(), String> {
        match self.serve() {
            Ok(Turn::On | Turn::Closed) => Ok(()),
            Ok(Turn::Lost(why)) => Err(why),
            Err(error) => Err(error.to_string()),
        }
    }

    fn serve(&mut self) -> Result<Turn, Error> {
        let mut faults = Vec::new();
        let mut is_closing = false;
        loop {
            // 1. What is due, before anything else is believed: this process may have stood still.
            if self.copy.poll_timeout() <= now() {
                self.copy.handle(now(), Event::Tick);
            }
            match self.obey()? {
                Turn::On => {}
                over => return Ok(over),
            }
            self.counted.tell(self.copy.traffic());
            self.flush();

            // 2. Wait.
            let ready = self
                .session
                .wait(&self.memory, &self.fate.bell, self.copy.poll_timeout())
                .map_err(|source| Error::Kernel { action: "wait", source })?;

            // 3. What came.
            if ready.rung && !is_closing {
                self.fate.bell.hear();
                is_closing = true;
                self.copy.handle(now(), Event::Close);
            }
            if ready.writable {
                self.flush();
            }
            if ready.readable {
                self.listen();
            }
            match self.obey()? {
                Turn::On => {}
                over => return Ok(over),
            }
            if ready.faults {
                faults.clear();
                self.memory.faults(&mut faults).map_err(|source| Error::Faults { source })?;
                for fault in &faults {
                    self.copy.handle(now(), event(*fault));
                }
            }
            if self.session.is_due() {
                let asked = now();
                if self.session.redial(self.copy.poll_timeout().since(asked))? {
                    self.copy.handle(now(), Event::Resumed { asked });
                }
            }
        }
    }

    /// Reads what the node says.
    fn listen(&mut self) {
        if let Err(error) = self.hear() {
            self.away(&error);
        }
    }

    fn hear(&mut self) -> Result<(), Error> {
        let at = now();
        let Some(line) = &mut self.session.line else { return Ok(()) };
        line.read(at)?;
        line.tick(at)?;
        while let Some((request, message)) = line.take()? {
            let event = match message {
                Message::Recall(recall) => Event::Recalled(recall),
                Message::Answer(Answer::Granted { access, version, hold }, bytes) => {
                    let bytes = (!bytes.is_empty()).then_some(bytes);
                    if bytes.as_ref().is_some_and(|bytes| bytes.len() != PAGE) {
                        let (node, what) = (line.node().to_owned(), "a page of another size");
                        return Err(Error::Protocol { node, what: what.to_owned() });
                    }
                    Event::Granted { request, access, version, hold, bytes }
                }
                Message::Answer(Answer::Refused(refusal), _) => Event::Refused { request, refusal },
                Message::Answer(Answer::Done, _) => Event::Done { request },
                _ => continue,
            };
            self.copy.handle(now(), event);
        }
        Ok(())
    }

    fn flush(&mut self) {
        let Some(line) = &mut self.session.line else { return };
        let result = line.tick(now()).and_then(|()| line.flush());
        if let Err(error) = result {
            self.away(&error);
        }
    }

    /// The connection is lost; what it was, is not told to anybody while the session can come back.
    fn away(&mut self, _error: &Error) {
        self.session.away();
        self.copy.handle(now(), Event::Away);
    }

    /// Carries out what was decided.
    fn obey(&mut self) -> Result<Turn, Error> {
        let kernel = |source| Error::Faults { source };
        while let Some(effect) = self.copy.poll_effect() {
            match effect {
                Effect::Send { request, ask, bytes } => {
                    if let Some(line) = &mut self.session.line {
                        line.put(request, &Message::Request(ask, bytes));
                    }
                }
                Effect::Install { page, bytes, access } => {
                    let how = match access {
                        Access::Write => Installed::Open,
                        Access::Read | Access::Nothing => Installed::Protected,
                    };
                    self.memory.install(index(page), &bytes, how).map_err(kernel)?;
                }
                Effect::Open { page } => self.memory.open(index(page)).map_err(kernel)?,
                Effect::Discard { page } => self.memory.discard(index(page)).map_err(kernel)?,
                Effect::Wake { page } => self.memory.wake(index(page)).map_err(kernel)?,
                Effect::TakeBack { page, keep } => {
                    let bytes = self.take_back(index(page), keep).map_err(kernel)?;
                    self.copy.handle(now(), Event::TakenBack { page, bytes });
                }
                Effect::Closed => return Ok(Turn::Closed),
                Effect::Broken(why) => return Ok(Turn::Lost(why.to_string())),
            }
        }
        Ok(Turn::On)
    }

    /// Protected first, so that no write falls between the copy and its sending.
    fn take_back(&self, page: usize, keep: Access) -> Result<Bytes, sys::Error> {
        self.memory.protect(page)?;
        let mut bytes = BytesMut::zeroed(PAGE);
        self.memory.copy_out(page * PAGE, &mut bytes)?;
        if keep == Access::Nothing {
            self.memory.discard(page)?;
        }
        Ok(bytes.freeze())
    }
}

fn event(fault: Fault) -> Event {
    let access = match fault.kind {
        FaultKind::Read => Access::Read,
        FaultKind::Write => Access::Write,
    };
    Event::Fault { page: PageNo(fault.page as u64), access }
}

/// Pages come from faults in the memory, or are asked for by them: they are in it.
fn index(page: PageNo) -> usize {
    usize::try_from(page.0).unwrap_or(usize::MAX / PAGE)
}
