//! The thread that answers the faults of one mapping. It waits at the kernel's descriptor and at its
//! own socket in one call, and does what `Mapped` decides.
//!
//! It touches the memory only to copy a page out that is here and protected, and shares no lock with
//! the threads it serves.

use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use logic::regions::mapped::{Effect, Event, Mapped};
use sys::uffd::{Fault, FaultKind, FaultMemory, Installed, PAGE, SocketWanted};
use wire::Message;
use wire::region::{Access, Answer, PageNo, SessionId};
use wire::units::{Span, Time};

use super::{Ended, Place, State, attach};
use crate::error::Error;
use crate::line::{Line, now};

/// Between two attempts to reach the node again.
const REDIAL: Span = Span::from_millis(50);

/// How long the node may take to let the session in again, each time.
const REDIAL_PATIENCE: Duration = Duration::from_secs(1);

pub(super) struct Server {
    pub(super) memory: Arc<FaultMemory>,
    pub(super) state: Arc<State>,
    pub(super) place: Place,
    pub(super) session: SessionId,
    pub(super) line: Option<Line>,
    pub(super) copy: Mapped,
    pub(super) redial_at: Time,
}

/// Whether the thread goes on.
enum Turn {
    On,
    Over(Ended),
}

impl Server {
    pub(super) fn run(mut self) {
        let ended = self.serve().unwrap_or_else(|error| Ended::Lost(error.to_string()));
        if let Ended::Lost(_) = ended
            && let Err(error) = self.memory.withdraw()
        {
            // Whoever touches what is absent would wait for ever, and others have what is here.
            panic!("memory that is lost cannot be taken away: {error}");
        }
        let _ = self.state.ended.set(ended);
    }

    fn serve(&mut self) -> Result<Ended, Error> {
        let mut faults = Vec::new();
        let mut is_closing = false;
        loop {
            // 1. What is due, before anything else is believed: this process may have stood still.
            if self.copy.poll_timeout() <= now() {
                self.copy.handle(now(), Event::Tick);
            }
            if let Turn::Over(ended) = self.obey()? {
                return Ok(ended);
            }
            self.state.tell(self.copy.traffic());
            self.flush();

            // 2. Wait.
            let ready = self.wait().map_err(|source| Error::Kernel { action: "wait", source })?;

            // 3. What came.
            if ready.rung && !is_closing {
                self.state.bell.hear();
                is_closing = true;
                self.copy.handle(now(), Event::Close);
            }
            if ready.writable {
                self.flush();
            }
            if ready.readable {
                self.listen();
            }
            if let Turn::Over(ended) = self.obey()? {
                return Ok(ended);
            }
            if ready.faults {
                faults.clear();
                self.memory.faults(&mut faults).map_err(|source| Error::Faults { source })?;
                for fault in &faults {
                    self.copy.handle(now(), event(*fault));
                }
            }
            if self.line.is_none() && now() >= self.redial_at {
                self.redial();
            }
        }
    }

    fn wait(&self) -> std::io::Result<sys::uffd::Ready> {
        let mut until = self.copy.poll_timeout();
        let socket = match &self.line {
            Some(line) => {
                until = until.min(line.poll_timeout());
                Some(line.socket())
            }
            None => {
                until = until.min(self.redial_at);
                None
            }
        };
        let wanted = match &self.line {
            Some(line) if line.is_blocked() => SocketWanted::ReadWrite,
            Some(_) | None => SocketWanted::Read,
        };
        let socket = socket.as_ref().map(|socket| (socket.as_fd(), wanted));
        self.memory.wait(&self.state.bell, socket, until.since(now()).into())
    }

    /// Reads what the node says.
    fn listen(&mut self) {
        if let Err(error) = self.hear() {
            self.away(&error);
        }
    }

    fn hear(&mut self) -> Result<(), Error> {
        let at = now();
        let Some(line) = &mut self.line else { return Ok(()) };
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
        let Some(line) = &mut self.line else { return };
        let result = line.tick(now()).and_then(|()| line.flush());
        if let Err(error) = result {
            self.away(&error);
        }
    }

    /// The connection is lost; what it was, is not told to anybody while the session can come back.
    fn away(&mut self, _error: &Error) {
        self.line = None;
        self.redial_at = now();
        self.copy.handle(now(), Event::Away);
    }

    /// Comes back to the session, if the node still knows it.
    fn redial(&mut self) {
        let asked = now();
        let left = Duration::from(self.copy.poll_timeout().since(asked));
        let patience = REDIAL_PATIENCE.min(left.max(Duration::from_millis(1)));
        match attach(&self.place, self.session, patience) {
            Ok((line, admission)) if admission.resumed => {
                self.line = Some(line);
                self.copy.handle(now(), Event::Resumed { asked });
            }
            // Another life of the node, or of the region: nothing here is of it. The lease ends by
            // itself, without this session being asked for again.
            Ok(_) => self.redial_at = Time::NEVER,
            Err(error) if error.is_away() => self.redial_at = now() + REDIAL,
            Err(_) => self.redial_at = Time::NEVER,
        }
    }

    /// Carries out what was decided.
    fn obey(&mut self) -> Result<Turn, Error> {
        let kernel = |source| Error::Faults { source };
        while let Some(effect) = self.copy.poll_effect() {
            match effect {
                Effect::Send { request, ask, bytes } => {
                    if let Some(line) = &mut self.line {
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
                Effect::Closed => return Ok(Turn::Over(Ended::Closed)),
                Effect::Broken(why) => return Ok(Turn::Over(why.into())),
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
