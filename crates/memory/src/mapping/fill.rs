//! The thread that fills a mapping: a fault is a request, its answer the page.

use std::collections::{BTreeMap, HashMap};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use sys::uffd::{FaultMemory, Installed, PAGE, SocketWanted};
use wire::Message;
use wire::limits::SESSION_KEPT;
use wire::region::{Answer, Ask, PageNo, Request, SessionId};
use wire::units::{Span, Time};

use super::{SNAPSHOT, State};
use crate::error::Error;
use crate::line::{Line, now};
use crate::shared::{Place, attach};

/// Between two attempts to reach the node again.
const REDIAL: Span = Span::from_millis(50);
const REDIAL_PATIENCE: Duration = Duration::from_secs(1);

/// The node keeps the session for twice as long.
const AWAY_MAX: Span = Span(SESSION_KEPT.0 / 2);

pub(super) struct Filler {
    memory: Arc<FaultMemory>,
    state: Arc<State>,
    place: Place,
    session: SessionId,
    line: Option<Line>,
    /// The region's page at the start of the memory, and bytes of each.
    first: u64,
    page_size: usize,
    next: u64,
    /// Pages that are asked for, and by which request.
    asked: BTreeMap<u64, u64>,
    pages: HashMap<u64, Page>,
    away_since: Time,
    redial_at: Time,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Page {
    Asked,
    Here,
}

impl Filler {
    pub(super) fn new(
        memory: &Arc<FaultMemory>,
        state: &Arc<State>,
        place: Place,
        (session, line): (SessionId, Line),
        (first, page_size): (u64, usize),
    ) -> Self {
        Self {
            memory: memory.clone(),
            state: state.clone(),
            place,
            session,
            line: Some(line),
            first,
            page_size,
            next: SNAPSHOT + 1,
            asked: BTreeMap::new(),
            pages: HashMap::new(),
            away_since: Time(0),
            redial_at: Time(0),
        }
    }

    pub(super) fn run(mut self) {
        if let Err(error) = self.serve() {
            let _ = self.state.lost.set(error.to_string());
            if let Err(error) = self.memory.withdraw() {
                panic!("memory that cannot be filled cannot be taken away: {error}");
            }
        }
        if let Some(line) = &mut self.line {
            // The snapshot ends with its session. Best effort: a node that does not hear it ends the
            // session by itself.
            line.put(self.next, &message(self.next - 1, Request::Detach));
            let _ = line.flush();
        }
    }

    fn serve(&mut self) -> Result<(), Error> {
        let mut faults = Vec::new();
        loop {
            let ready = self.wait().map_err(|source| Error::Kernel { action: "wait", source })?;
            if ready.rung {
                return Ok(());
            }
            if ready.readable {
                self.hear()?;
            }
            if ready.faults {
                faults.clear();
                self.memory.faults(&mut faults).map_err(|source| Error::Faults { source })?;
                for fault in &faults {
                    self.fault(fault.page)?;
                }
            }
            self.flush()?;
            self.redial()?;
        }
    }

    fn wait(&self) -> std::io::Result<sys::uffd::Ready> {
        let (until, socket, wanted) = match &self.line {
            Some(line) if line.is_blocked() => {
                (line.poll_timeout(), Some(line.socket()), SocketWanted::ReadWrite)
            }
            Some(line) => (line.poll_timeout(), Some(line.socket()), SocketWanted::Read),
            None => (self.redial_at, None, SocketWanted::Read),
        };
        let socket = socket.as_ref().map(|socket| (socket.as_fd(), wanted));
        self.memory.wait(&self.state.bell, socket, until.since(now()).into())
    }

    fn fault(&mut self, touched: usize) -> Result<(), Error> {
        let page = (touched * PAGE / self.page_size) as u64;
        match self.pages.get(&page) {
            Some(Page::Asked) => Ok(()),
            Some(Page::Here) => {
                self.memory.wake(touched).map_err(|source| Error::Faults { source })
            }
            None => {
                self.pages.insert(page, Page::Asked);
                self.asked.insert(self.next, page);
                self.ask(self.next, page);
                self.next += 1;
                Ok(())
            }
        }
    }

    fn ask(&mut self, request: u64, page: u64) {
        let answered = self.asked.first_key_value().map_or(self.next, |(first, _)| *first) - 1;
        let page = PageNo(self.first + page);
        if let Some(line) = &mut self.line {
            let read = Request::ReadSnapshot { snapshot: SNAPSHOT, page };
            line.put(request, &message(answered, read));
        }
    }

    /// Takes in what the node says; an error is for good.
    fn hear(&mut self) -> Result<(), Error> {
        let Some(mut line) = self.line.take() else { return Ok(()) };
        if line.read(now()).and_then(|()| line.tick(now())).is_err() {
            self.away();
            return Ok(());
        }
        loop {
            match line.take() {
                Ok(Some((request, Message::Answer(answer, bytes)))) => {
                    self.answered(&line, request, answer, &bytes)?;
                }
                Ok(Some(_)) => {}
                Ok(None) => break,
                Err(_) => {
                    self.away();
                    return Ok(());
                }
            }
        }
        self.line = Some(line);
        Ok(())
    }

    fn answered(
        &mut self,
        line: &Line,
        request: u64,
        answer: Answer,
        bytes: &Bytes,
    ) -> Result<(), Error> {
        let Some(page) = self.asked.remove(&request) else { return Ok(()) };
        match answer {
            Answer::Page { .. } if bytes.len() == self.page_size => {
                let first = page as usize * (self.page_size / PAGE);
                for (at, bytes) in bytes.chunks_exact(PAGE).enumerate() {
                    self.memory
                        .install(first + at, bytes, Installed::Open)
                        .map_err(|source| Error::Faults { source })?;
                }
                self.pages.insert(page, Page::Here);
                Ok(())
            }
            Answer::Refused(refusal) => {
                Err(Error::refused(self.place.region.as_str(), line.node(), refusal))
            }
            _ => {
                let (node, what) = (line.node().to_owned(), "no page of a snapshot");
                Err(Error::Protocol { node, what: what.to_owned() })
            }
        }
    }

    fn flush(&mut self) -> Result<(), Error> {
        if let Some(line) = &mut self.line
            && line.tick(now()).and_then(|()| line.flush()).is_err()
        {
            self.away();
        }
        Ok(())
    }

    fn away(&mut self) {
        self.line = None;
        self.away_since = now();
        self.redial_at = self.away_since;
    }

    /// Comes back to the session, whose snapshot the node keeps as long as it.
    fn redial(&mut self) -> Result<(), Error> {
        if self.line.is_some() || now() < self.redial_at {
            return Ok(());
        }
        let region = self.place.region.to_string();
        match attach(&self.place, self.session, REDIAL_PATIENCE) {
            Ok((line, admission)) if admission.resumed => {
                self.line = Some(line);
                let asked: Vec<(u64, u64)> = self.asked.iter().map(|(r, p)| (*r, *p)).collect();
                for (request, page) in asked {
                    self.ask(request, page);
                }
                self.flush()
            }
            Ok((line, _)) => Err(Error::Ended { region, node: line.node().to_owned() }),
            Err(error) if error.is_away() && now().since(self.away_since) < AWAY_MAX => {
                self.redial_at = now() + REDIAL;
                Ok(())
            }
            Err(error) => Err(error),
        }
    }
}

fn message(answered: u64, request: Request) -> Message {
    Message::Request(Ask { answered, request }, Bytes::new())
}
