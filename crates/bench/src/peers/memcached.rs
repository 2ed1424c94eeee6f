//! memcached: one server with one thread, and clients that speak its text protocol.

use std::io::{self, Write};
use std::net::SocketAddr;

use super::line::Line;
use super::server::{Packaged, Server, nonsense};
use crate::error::Error;
use crate::v1::free_address;

const MEMCACHED: Packaged =
    Packaged { what: "memcached", program: "memcached", package: "memcached" };

/// A running server.
pub(crate) struct Memcached {
    address: SocketAddr,
    _server: Server,
}

impl Memcached {
    pub(crate) fn start() -> Result<Self, Error> {
        let address = free_address()?;
        let port = address.port().to_string();
        // As root it wants to be told whom to become; as anybody else it ignores that.
        let arguments =
            ["-u", "nobody", "-l", "127.0.0.1", "-p", &port, "-U", "0", "-t", "1", "-m", "256"];
        Ok(Self { address, _server: MEMCACHED.start(address, &arguments)? })
    }

    pub(crate) fn client(&self) -> Result<Client, Error> {
        let line = Line::connect(self.address).map_err(Error::kernel("connect to memcached"))?;
        Ok(Client { line, page: Vec::new() })
    }
}

/// One connection.
pub(crate) struct Client {
    line: Line,
    page: Vec<u8>,
}

impl Client {
    pub(crate) fn get(&mut self, key: &str) -> io::Result<usize> {
        // Writing into a vector cannot fail.
        let _ = write!(self.line.output, "get {key}\r\n");
        self.line.flush()?;
        self.take_value()?;
        Ok(self.page.len())
    }

    pub(crate) fn set(&mut self, key: &str, value: &[u8]) -> io::Result<()> {
        self.put(&format!("set {key} 0 0 {}", value.len()), value);
        self.line.flush()?;
        self.expect(b"STORED")
    }

    /// As many commands as `count`, `batch` in a write; `get`s without a value, else `set`s.
    pub(crate) fn pipelined(
        &mut self,
        key: &str,
        value: Option<&[u8]>,
        count: usize,
        batch: usize,
    ) -> io::Result<()> {
        let set = value.map(|value| (format!("set {key} 0 0 {}", value.len()), value));
        for _ in 0..count.div_ceil(batch) {
            for _ in 0..batch {
                match &set {
                    Some((head, value)) => self.put(head, value),
                    None => drop(write!(self.line.output, "get {key}\r\n")),
                }
            }
            self.line.flush()?;
            for _ in 0..batch {
                match value {
                    Some(_) => self.expect(b"STORED")?,
                    None => drop(self.take_value()?),
                }
            }
        }
        Ok(())
    }

    /// Reads a page and writes what becomes of it if nobody else has; how often others were faster.
    pub(crate) fn change(&mut self, key: &str, change: impl Fn(&mut [u8])) -> io::Result<u64> {
        let mut retries = 0;
        loop {
            let _ = write!(self.line.output, "gets {key}\r\n");
            self.line.flush()?;
            let unique = self.take_value()?;
            let mut page = std::mem::take(&mut self.page);
            change(&mut page);
            self.put(&format!("cas {key} 0 0 {} {unique}", page.len()), &page);
            self.page = page;
            self.line.flush()?;
            match self.line.line()? {
                b"STORED" => return Ok(retries),
                b"EXISTS" => retries += 1,
                other => return Err(nonsense("memcached", String::from_utf8_lossy(other))),
            }
        }
    }

    /// The page that `get` or `change` met last.
    pub(crate) fn page(&self) -> &[u8] {
        &self.page
    }

    pub(crate) fn lock(&mut self, key: &str) -> io::Result<()> {
        self.put(&format!("add {key} 0 30 1"), b"1");
        self.line.flush()?;
        self.expect(b"STORED")
    }

    pub(crate) fn unlock(&mut self, key: &str) -> io::Result<()> {
        let _ = write!(self.line.output, "delete {key}\r\n");
        self.line.flush()?;
        self.expect(b"DELETED")
    }

    fn put(&mut self, head: &str, value: &[u8]) {
        self.line.output.extend_from_slice(head.as_bytes());
        self.line.output.extend_from_slice(b"\r\n");
        self.line.output.extend_from_slice(value);
        self.line.output.extend_from_slice(b"\r\n");
    }

    fn expect(&mut self, word: &[u8]) -> io::Result<()> {
        match self.line.line()? {
            line if line == word => Ok(()),
            line => Err(nonsense("memcached", String::from_utf8_lossy(line))),
        }
    }

    /// `VALUE KEY FLAGS BYTES [UNIQUE]`, the bytes, `END`; returns the unique number, 0 without.
    fn take_value(&mut self) -> io::Result<u64> {
        let line = self.line.line()?;
        let text = String::from_utf8_lossy(line);
        let mut words = text.split(' ').skip(3);
        let number = |word: Option<&str>| word.and_then(|word| word.parse::<u64>().ok());
        let count = number(words.next()).ok_or_else(|| nonsense("memcached", &text))?;
        let unique = number(words.next()).unwrap_or(0);
        self.line.take(count as usize, &mut self.page)?;
        self.line.end_of_line()?;
        self.expect(b"END")?;
        Ok(unique)
    }
}
