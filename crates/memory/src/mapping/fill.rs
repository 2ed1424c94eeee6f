//! The thread that fills a mapping: a fault is a request, its answer the page.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use sys::uffd::{FaultMemory, Installed, PAGE};
use wire::Message;
use wire::limits::SESSION_KEPT;
use wire::region::{Answer, Ask, PageNo, Request};
use wire::units::{Span, Time};

use super::SNAPSHOT;
use crate::error::Error;
use crate::line::{Line, now};
use crate::view::{Fate, Session};

/// The node keeps the session for twice as long.
const AWAY_MAX: Span = Span(SESSION_KEPT.0 / 2);

pub(super) struct Filler {
    memory: Arc<FaultMemory>,
    fate: Arc<Fate>,
    session: Session,
    /// The region's page at the start of the memory, and bytes of each.
    first: u64,
    page_size: usize,
    next: u64,
    /// Pages that are asked for, and by which request.
    asked: BTreeMap<u64, u64>,
    pages: HashMap<u64, Page>,
    away_since: Time,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Page {
    Asked,
    Here,
}

impl Filler {
    pub(super) fn new(
        memory: &Arc<FaultMemory>,
        fate: &Arc<Fate>,
        session: Session,
        (first, page_size): (u64, usize),
    ) -> Self {
        Self {
            memory: memory.clone(),
            fate: fate.clone(),
            session,
            first,
            page_size,
            next: SNAPSHOT + 1,
            asked: BTreeMap::new(),
            pages: HashMap::new(),
            away_since: Time(0),
        }
    }

    /// Until the bell rings; or why no further page can be had.
    pub(super) fn run(mut self) -> Result<(), String> {
        let served = self.serve();
        if let Some(line) = &mut self.session.line {
            // The snapshot ends with its session. Best effort: a node that does not hear it ends the
            // session by itself.
            line.put(self.next, &message(self.next - 1, Request::Detach));
            let _ = line.flush();
        }
        served.map_err(|error| error.to_string())
    }

    fn serve(&mut self) -> Result<(), Error> {
        let mut faults = Vec::new();
        loop {
            let ready = self
                .session
                .wait(&self.memory, &self.fate.bell, Time::NEVER)
                .map_err(|source| Error::Kernel { action: "wait", source })?;
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
            self.flush();
            self.redial()?;
        }
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
        if let Some(line) = &mut self.session.line {
            let read = Request::ReadSnapshot { snapshot: SNAPSHOT, page };
            line.put(request, &message(answered, read));
        }
    }

    /// Takes in what the node says; an error is for good.
    fn hear(&mut self) -> Result<(), Error> {
        let Some(mut line) = self.session.line.take() else { return Ok(()) };
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
        self.session.line = Some(line);
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
                Err(Error::refused(self.session.place.region.as_str(), line.node(), refusal))
            }
            _ => {
                let (node, what) = (line.node().to_owned(), "no page of a snapshot");
                Err(Error::Protocol { node, what: what.to_owned() })
            }
        }
    }

    fn flush(&mut self) {
        if let Some(line) = &mut self.session.line
            && line.tick(now()).and_then(|()| line.flush()).is_err()
        {
            self.away();
        }
    }

    fn away(&mut self) {
        self.session.away();
        self.away_since = now();
    }

    /// Comes back to the session, whose snapshot the node keeps as long as it.
    fn redial(&mut self) -> Result<(), Error> {
        if !self.session.is_due() {
            return Ok(());
        }
        if now().since(self.away_since) >= AWAY_MAX {
            let (place, seconds) = (&self.session.place, Duration::from(AWAY_MAX).as_secs());
            return Err(Error::Silent { node: place.target.to_string(), seconds });
        }
        if self.session.redial(AWAY_MAX)? {
            let asked: Vec<(u64, u64)> = self.asked.iter().map(|(r, p)| (*r, *p)).collect();
            for (request, page) in asked {
                self.ask(request, page);
            }
            self.flush();
        }
        Ok(())
    }
}

fn message(answered: u64, request: Request) -> Message {
    Message::Request(Ask { answered, request }, Bytes::new())
}
