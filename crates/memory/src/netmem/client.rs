//! A client: each call is one question and its answer.
//!
//! Copies of a client share what they have read. A page that is kept is used after the server has said
//! that its version is still the newest, which takes 13 bytes each way.

use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use socket2::{SockRef, TcpKeepalive};
use wire::netmem::{API, Answer, Command, HEADER, Header};

use super::error::Error;

/// A server's host that says nothing for so long is asked, and given up after three more questions.
const QUIET: Duration = Duration::from_secs(10);
const ASK: Duration = Duration::from_secs(5);
/// How long a server may take to be reached, and to say what it has.
const PATIENCE: Duration = Duration::from_secs(10);
/// What is reserved at once for bytes that a server has announced.
const RESERVED: usize = 64 * 1024;

/// One connection to a server of NetMem, for one thread; `try_clone` makes another.
#[derive(Debug)]
pub struct Client {
    /// None after a failure: what comes next on that stream nobody knows.
    stream: Option<TcpStream>,
    shared: Arc<Shared>,
}

/// What copies have in common; the last one frees it.
#[derive(Debug)]
struct Shared {
    address: SocketAddr,
    params: Params,
    /// Pages that were read or written, with the version that they had. Pages are entered as they
    /// come: how many there are is only the server's word.
    cache: Mutex<HashMap<u32, (i32, Bytes)>>,
}

/// What a server serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Params {
    /// Pages, numbered from 0.
    pub pages: u32,
    /// Bytes of each.
    pub length: u32,
}

/// A page as it was read or locked: a copy, to do with as you like.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// Its number.
    pub offset: u32,
    /// It rises with each commit.
    pub version: i32,
    /// All of its bytes.
    pub data: Vec<u8>,
}

impl Client {
    /// Connects, and looks what the server has and which version it speaks.
    pub fn connect(host: &str, port: u16) -> Result<Self, Error> {
        let unreachable = |source| Error::NoServerConnection { source };
        let stream = reach(host, port).map_err(unreachable)?;
        let address = stream.peer_addr().map_err(unreachable)?;
        prepare(&stream).map_err(unreachable)?;
        // What listens there may be anything, and wait for us to say more.
        stream.set_read_timeout(Some(PATIENCE)).map_err(unreachable)?;
        let params = Params { pages: 0, length: 0 };
        let cache = Mutex::default();
        let shared = Shared { address, params, cache };
        let mut client = Self { stream: Some(stream), shared: Arc::new(shared) };
        let params = client.params()?;
        let server_version = client.server_version()?;
        if server_version >> 16 != API {
            return Err(Error::NoCompatibleServerVersions { server: server_version });
        }
        if let Some(stream) = &client.stream {
            // A lock may take however long.
            stream.set_read_timeout(None).map_err(unreachable)?;
        }
        let shared = Shared { address, params, cache: Mutex::default() };
        client.shared = Arc::new(shared);
        Ok(client)
    }

    /// Another one, for another thread: it has a connection of its own and so takes locks for itself,
    /// and both share what either has read. No questions are asked.
    pub fn try_clone(&self) -> Result<Self, Error> {
        let unreachable = |source| Error::NoServerConnection { source };
        let address = &self.shared.address;
        let stream = TcpStream::connect_timeout(address, PATIENCE).map_err(unreachable)?;
        prepare(&stream).map_err(unreachable)?;
        Ok(Self { stream: Some(stream), shared: self.shared.clone() })
    }

    /// Ends the connection: its locks are free. Copies are not concerned.
    pub fn disconnect(&mut self) {
        self.stream = None;
    }

    /// Pages and their length, as the server says now.
    pub fn params(&mut self) -> Result<Params, Error> {
        match self.ask(&Command::Params, 0)? {
            Answer::Params { pages, length } => match (u32::try_from(pages), u32::try_from(length))
            {
                (Ok(pages @ 1..), Ok(length @ 1..)) => Ok(Params { pages, length }),
                _ => Err(Error::NoPagesInit),
            },
            _ => Err(self.nonsense()),
        }
    }

    /// A byte each for API major, API minor, server major, server minor: 0x00020002.
    pub fn server_version(&mut self) -> Result<i32, Error> {
        match self.ask(&Command::Version, 0)? {
            Answer::Version(version) => Ok(version),
            _ => Err(self.nonsense()),
        }
    }

    /// The last committed bytes of a page, whoever has its lock.
    pub fn read_page(&mut self, page: u32) -> Result<Page, Error> {
        let known = self.known(page);
        let (offset, version) = (number(page)?, known.0);
        self.fetch(page, &Command::Read { page: offset, version }, known)
    }

    /// Waits, however long, until no other connection has the page's lock, and takes it. A second time
    /// is answered at once. It is free again after `unlock_page`, `update_page`, or the end of this
    /// connection.
    pub fn lock_page(&mut self, page: u32) -> Result<Page, Error> {
        let known = self.known(page);
        let (offset, version) = (number(page)?, known.0);
        self.fetch(page, &Command::Lock { page: offset, version }, known)
    }

    /// Commits the page's data and gives its lock back. Data that is shorter than a page is filled up
    /// with zeros. Returns the new version, which the page has from then on.
    pub fn unlock_page(&mut self, page: &mut Page) -> Result<i32, Error> {
        let bytes = self.whole(&page.data)?;
        let command = Command::Unlock { page: number(page.offset)?, bytes: bytes.clone() };
        page.version = self.write(page.offset, &command, bytes)?;
        Ok(page.version)
    }

    /// Commits data to a page without locking it before; waits while another connection has its lock,
    /// and gives back one that this connection has. The version becomes `version` if that is higher
    /// than it was, and otherwise (-1, say) the next one; returns it. Data that is shorter than a page
    /// is filled up with zeros, not with what the page had.
    pub fn update_page(&mut self, page: u32, version: i32, data: &[u8]) -> Result<i32, Error> {
        let bytes = self.whole(data)?;
        let command = Command::Update { page: number(page)?, version, bytes: bytes.clone() };
        self.write(page, &command, bytes)
    }

    // What follows.

    fn cache(&self) -> MutexGuard<'_, HashMap<u32, (i32, Bytes)>> {
        // Each entry is replaced as a whole.
        self.shared.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is kept of a page; version 0 is nothing. It is looked up before the question and not
    /// guarded during it: another thread may wait for this page's lock in the meantime.
    fn known(&self, page: u32) -> (i32, Bytes) {
        self.cache().get(&page).cloned().unwrap_or_default()
    }

    fn fetch(&mut self, page: u32, command: &Command, known: (i32, Bytes)) -> Result<Page, Error> {
        let (version, bytes) = match self.ask(command, page)? {
            // Without bytes: those that were named.
            Answer::Page { page: of, version, bytes, .. } if number(page)? == of => {
                match bytes.is_empty() {
                    true if version == known.0 => known,
                    true => return Err(self.nonsense()),
                    false => {
                        // Perhaps another thread has kept a newer one: that would only be sent again.
                        self.cache().insert(page, (version, bytes.clone()));
                        (version, bytes)
                    }
                }
            }
            _ => return Err(self.nonsense()),
        };
        Ok(Page { offset: page, version, data: bytes.to_vec() })
    }

    fn write(&mut self, page: u32, command: &Command, bytes: Bytes) -> Result<i32, Error> {
        match self.ask(command, page)? {
            Answer::Written { version, .. } => {
                // The next read need not bring what was sent just now.
                self.cache().insert(page, (version, bytes));
                Ok(version)
            }
            _ => Err(self.nonsense()),
        }
    }

    /// All bytes of a page.
    fn whole(&self, data: &[u8]) -> Result<Bytes, Error> {
        let length = self.shared.params.length;
        if data.len() > length as usize {
            return Err(Error::TooLong { length: data.len(), page_length: length });
        }
        let mut bytes = data.to_vec();
        bytes.resize(length as usize, 0);
        Ok(bytes.into())
    }

    fn ask(&mut self, command: &Command, page: u32) -> Result<Answer, Error> {
        let Some(stream) = &mut self.stream else { return Err(Error::ClientDisconnected) };
        match converse(stream, command, self.shared.params.length) {
            Ok(Answer::NoSuchPage) => Err(Error::NoSuchPage { page }),
            Ok(Answer::NotLocked) => Err(Error::PageNotLocked { page }),
            Ok(answer) => Ok(answer),
            Err(source) => {
                self.stream = None;
                Err(Error::ServerDisconnected { source })
            }
        }
    }

    /// The server has answered what was not asked.
    fn nonsense(&mut self) -> Error {
        self.stream = None;
        Error::ServerDisconnected { source: invalid("an answer to another question") }
    }
}

fn converse(stream: &mut TcpStream, command: &Command, length: u32) -> io::Result<Answer> {
    let mut output = BytesMut::new();
    command.put(&mut output);
    stream.write_all(&output)?;
    let mut header = [0; HEADER];
    stream.read_exact(&mut header)?;
    let header = Header::peek(&header).ok_or_else(|| invalid("no header"))?;
    let count = Answer::data(&header, command.kind(), length).map_err(invalid)? as usize;
    let mut bytes = Vec::with_capacity(count.min(RESERVED));
    Read::take(&mut *stream, count as u64).read_to_end(&mut bytes)?;
    if bytes.len() < count {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(Answer::of(header, bytes.into()))
}

/// The first of a host's addresses where somebody is.
fn reach(host: &str, port: u16) -> io::Result<TcpStream> {
    let mut failed = io::Error::from(io::ErrorKind::AddrNotAvailable);
    for address in (host, port).to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, PATIENCE) {
            Ok(stream) => return Ok(stream),
            Err(error) => failed = error,
        }
    }
    Err(failed)
}

fn prepare(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let keepalive = TcpKeepalive::new().with_time(QUIET).with_interval(ASK).with_retries(3);
    SockRef::from(stream).set_tcp_keepalive(&keepalive)
}

fn number(page: u32) -> Result<i32, Error> {
    i32::try_from(page).map_err(|_| Error::NoSuchPage { page })
}

fn invalid(why: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}

#[cfg(test)]
mod tests;
