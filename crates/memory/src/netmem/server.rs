//! A server inside a program: a thread with a loop of its own, and the pages at hand.
//!
//! ```text
//!   sockets --> peers (logic::netmem) --> one region (logic::regions) <-- this program's threads
//! ```
//!
//! The thread sleeps until a socket is ready. Who uses the pages from within does it under the same
//! lock, each time as one more session of the region, and wakes the thread if it has something to send.

mod turn;

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

use bytes::Bytes;
use logic::LinkId;
use wire::limits::PAGE_SIZE_MAX;
use wire::region::{Answer, Commit, PageNo, Refusal, Request, Token, Version};

use super::client::{Page, Params};
use super::error::Error;
use turn::{Port, State};

/// Pages that others reach over NetMem. At its end the port is closed and the pages are gone.
#[derive(Debug)]
pub struct Server {
    shared: Arc<Shared>,
    running: Mutex<Option<Running>>,
}

#[derive(Debug)]
struct Shared {
    params: Params,
    state: Mutex<State>,
    /// Somebody of this program was answered.
    answered: Condvar,
}

#[derive(Debug)]
struct Running {
    thread: JoinHandle<()>,
    address: SocketAddr,
}

/// One page of a server, for the program that it runs in.
#[derive(Clone, Copy, Debug)]
pub struct ServerPage<'a> {
    server: &'a Server,
    offset: u32,
}

/// A page that is locked: a copy of its bytes, to change and to commit. Dropped, it gives the lock
/// back, and the page is as it was.
#[derive(Debug)]
pub struct Locked<'a> {
    session: Session<'a>,
    offset: u32,
    token: Token,
    version: i32,
    data: Vec<u8>,
}

impl Server {
    /// So many pages of so many bytes, all zero, with version 1. Pages that nobody writes take no
    /// memory.
    pub fn new(pages: u32, length: u32) -> Result<Self, Error> {
        let is_possible =
            (1..=i32::MAX as u32).contains(&pages) && (1..=PAGE_SIZE_MAX).contains(&length);
        if !is_possible {
            return Err(Error::NoPagesInit);
        }
        let params = Params { pages, length };
        let state = Mutex::new(State::new(params)?);
        let shared = Shared { params, state, answered: Condvar::new() };
        Ok(Self { shared: Arc::new(shared), running: Mutex::default() })
    }

    /// Serves them on this host at a port; 0 is one of the system's choice. Returns where. Only
    /// programs of this host get there: there is no authentication.
    pub fn start(&self, port: u16) -> io::Result<SocketAddr> {
        self.start_at((Ipv4Addr::LOCALHOST, port).into())
    }

    /// The same at any address. Whoever reaches it can read and write all pages.
    pub fn start_at(&self, address: SocketAddr) -> io::Result<SocketAddr> {
        let mut running = self.running();
        if running.is_some() {
            return Err(io::Error::new(io::ErrorKind::AddrInUse, "the server runs already"));
        }
        let port = Port::open(address)?;
        let address = port.address;
        self.state().start(&port)?;
        let shared = self.shared.clone();
        let serve = move || turn::serve(&shared.state, &shared.answered, port);
        let thread = thread::Builder::new().name("netmem".to_owned()).spawn(serve)?;
        *running = Some(Running { thread, address });
        Ok(address)
    }

    /// Where it serves, if it does.
    pub fn address(&self) -> Option<SocketAddr> {
        self.running().as_ref().map(|running| running.address)
    }

    /// Closes the port and all connections; their locks are free. The pages stay, and may be served
    /// again.
    pub fn stop(&self) {
        self.state().stop();
        self.join();
    }

    /// Waits until somebody stops it.
    pub fn join(&self) {
        let running = self.running().take();
        if let Some(running) = running {
            // It does not panic; if it did, there is nothing left to be waited for.
            let _ = running.thread.join();
        }
    }

    /// Pages and their length.
    pub fn params(&self) -> Params {
        self.shared.params
    }

    /// One of the pages, from 0. Whether there is one of that number, its use says.
    pub fn page(&self, offset: u32) -> ServerPage<'_> {
        ServerPage { server: self, offset }
    }

    fn running(&self) -> MutexGuard<'_, Option<Running>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // A machine that has panicked has a bug; what it says then is not worse than nothing.
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop();
    }
}

impl<'a> ServerPage<'a> {
    /// The last committed bytes, whoever has the lock.
    pub fn read(self) -> Result<Page, Error> {
        let request = Request::Read { page: self.number(), known: Version(0) };
        match Session::open(self.server)?.ask(request, Bytes::new())? {
            (Answer::Page { version }, bytes) => Ok(self.copy(version, &bytes)),
            (answer, _) => Err(self.error(answer)),
        }
    }

    /// Waits, however long, until nobody else has the page's lock, and takes it.
    pub fn lock(self) -> Result<Locked<'a>, Error> {
        let mut session = Session::open(self.server)?;
        let request = Request::Lock { page: self.number(), known: Version(0), wait: None };
        match session.ask(request, Bytes::new())? {
            (Answer::Locked { token, version }, bytes) => {
                let Page { version, data, .. } = self.copy(version, &bytes);
                Ok(Locked { session, offset: self.offset, token, version, data })
            }
            (answer, _) => Err(self.error(answer)),
        }
    }

    /// Commits bytes without locking the page before; waits while somebody has its lock. The version
    /// becomes `version` if that is higher than it was, and otherwise (-1, say) the next one; returns
    /// it. What is shorter than a page is filled up with zeros.
    pub fn update(self, version: i32, data: &[u8]) -> Result<i32, Error> {
        let bytes = whole(data, self.server.params().length)?;
        let (page, offset, if_version) = (self.number(), 0, None);
        let at_least = Version(version.max(0) as u64);
        let request = Request::Update { page, offset, if_version, at_least };
        match Session::open(self.server)?.ask(request, bytes)? {
            (Answer::Committed { version }, _) => Ok(logic::netmem::field(version)),
            (answer, _) => Err(self.error(answer)),
        }
    }

    fn number(self) -> PageNo {
        PageNo(self.offset.into())
    }

    fn copy(self, version: Version, bytes: &[u8]) -> Page {
        let data = bytes[..self.server.params().length as usize].to_vec();
        Page { offset: self.offset, version: logic::netmem::field(version), data }
    }

    fn error(self, answer: Answer) -> Error {
        error(self.offset, answer)
    }
}

impl Locked<'_> {
    /// The page's version, until it is committed.
    pub fn version(&self) -> i32 {
        self.version
    }

    /// Commits these bytes in place of the page's and gives the lock back; returns the new version.
    /// What is shorter than a page is filled up with zeros.
    pub fn unlock(mut self, data: &[u8]) -> Result<i32, Error> {
        let bytes = whole(data, self.session.server.params().length)?;
        let (page, token) = (PageNo(self.offset.into()), self.token);
        let commit = Commit::Bytes { offset: 0 };
        match self.session.ask(Request::Unlock { page, token, commit }, bytes)? {
            (Answer::Committed { version }, _) => Ok(logic::netmem::field(version)),
            (answer, _) => Err(error(self.offset, answer)),
        }
    }

    /// Commits what this copy has become and gives the lock back; returns the new version.
    pub fn commit(mut self) -> Result<i32, Error> {
        let data = std::mem::take(&mut self.data);
        self.unlock(&data)
    }
}

impl Deref for Locked<'_> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.data
    }
}

impl DerefMut for Locked<'_> {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.data
    }
}

/// A session of this program, as if it were one more connection.
#[derive(Debug)]
struct Session<'a> {
    server: &'a Server,
    link: LinkId,
    asked: u64,
}

impl<'a> Session<'a> {
    fn open(server: &'a Server) -> Result<Self, Error> {
        let link = server.state().enter().ok_or(Error::NoPagesInit)?;
        Ok(Self { server, link, asked: 0 })
    }

    fn ask(&mut self, request: Request, bytes: Bytes) -> Result<(Answer, Bytes), Error> {
        let shared = &self.server.shared;
        let mut state = self.server.state();
        self.asked += 1;
        state.ask(self.link, self.asked, request, bytes);
        shared.answered.notify_all();
        loop {
            if let Some(answer) = state.take_answer(self.link) {
                return Ok(answer);
            }
            state = shared.answered.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl Drop for Session<'_> {
    fn drop(&mut self) {
        self.server.state().leave(self.link);
        self.server.shared.answered.notify_all();
    }
}

/// All bytes of a page of this length.
pub(super) fn whole(data: &[u8], length: u32) -> Result<Bytes, Error> {
    if data.len() > length as usize {
        return Err(Error::TooLong { length: data.len(), page_length: length });
    }
    let mut bytes = data.to_vec();
    bytes.resize(length as usize, 0);
    Ok(bytes.into())
}

fn error(page: u32, answer: Answer) -> Error {
    match answer {
        Answer::Refused(Refusal::StaleToken { .. }) => Error::PageNotLocked { page },
        Answer::Refused(Refusal::NoSuchPage { .. }) => Error::NoSuchPage { page },
        // The one bound that is left: memory.
        _ => Error::NoPagesInit,
    }
}

#[cfg(test)]
mod tests;
