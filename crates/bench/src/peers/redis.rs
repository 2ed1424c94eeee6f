//! Redis: one server without persistence, and clients that speak RESP 2, with TLS 1.3 or without.

use std::fs;
use std::io::{self, Write};
use std::net::SocketAddr;

use rustls::pki_types::CertificateDer;

use super::line::Line;
use super::server::{Packaged, Server, nonsense};
use crate::error::Error;
use crate::folder::Folder;
use crate::raw::tls::NAME;
use crate::v1::free_address;

const REDIS: Packaged =
    Packaged { what: "Redis", program: "redis-server", package: "redis-server" };

/// Deletes a lock if it is still one's own: the recipe of Redis' manual.
const RELEASE: &[u8] = b"if redis.call('get',KEYS[1])==ARGV[1] then return redis.call('del',KEYS[1]) else return 0 end";

/// A running server.
pub(crate) struct Redis {
    address: SocketAddr,
    tls: SocketAddr,
    certificate: CertificateDer<'static>,
    _server: Server,
    _keys: Folder,
}

impl Redis {
    pub(crate) fn start() -> Result<Self, Error> {
        let (address, tls) = (free_address()?, free_address()?);
        let own = rcgen::generate_simple_self_signed(vec![NAME.to_owned()])?;
        let keys = Folder::new().map_err(Error::kernel("make a folder"))?;
        let (certificate, key) = (keys.path().join("certificate"), keys.path().join("key"));
        fs::write(&certificate, own.cert.pem()).map_err(Error::kernel("write a certificate"))?;
        fs::write(&key, own.signing_key.serialize_pem()).map_err(Error::kernel("write a key"))?;
        let options = [
            ("--bind", "127.0.0.1"),
            ("--save", ""),
            ("--appendonly", "no"),
            ("--port", &address.port().to_string()),
            ("--tls-port", &tls.port().to_string()),
            ("--tls-auth-clients", "no"),
            ("--tls-cert-file", &certificate.to_string_lossy()),
            ("--tls-ca-cert-file", &certificate.to_string_lossy()),
            ("--tls-key-file", &key.to_string_lossy()),
        ];
        let options: Vec<&str> = options.iter().flat_map(|(name, value)| [*name, *value]).collect();
        let server = REDIS.start(address, &options)?;
        let certificate = own.cert.der().clone();
        Ok(Self { address, tls, certificate, _server: server, _keys: keys })
    }

    pub(crate) fn client(&self) -> Result<Client, Error> {
        let line = Line::connect(self.address).map_err(Error::kernel("connect to Redis"))?;
        Ok(Client { line, number: Vec::new() })
    }

    pub(crate) fn client_tls(&self) -> Result<Client, Error> {
        let line = Line::connect_tls(self.tls, self.certificate.clone())?;
        Ok(Client { line, number: Vec::new() })
    }
}

/// One connection.
pub(crate) struct Client {
    line: Line,
    number: Vec<u8>,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Reply {
    Nil,
    Integer(i64),
    Bytes(Vec<u8>),
    Array(Vec<Reply>),
}

impl Client {
    pub(crate) fn get(&mut self, key: &[u8]) -> io::Result<Vec<u8>> {
        bytes(self.ask(&[b"GET", key])?)
    }

    pub(crate) fn set(&mut self, key: &[u8], value: &[u8]) -> io::Result<()> {
        self.ask(&[b"SET", key, value]).map(drop)
    }

    /// As many commands as `count`, `batch` in a write; `GET`s without a value, else `SET`s.
    pub(crate) fn pipelined(
        &mut self,
        key: &[u8],
        value: Option<&[u8]>,
        count: usize,
        batch: usize,
    ) -> io::Result<()> {
        for _ in 0..count.div_ceil(batch) {
            for _ in 0..batch {
                match value {
                    Some(value) => self.push(&[b"SET", key, value]),
                    None => self.push(&[b"GET", key]),
                }
            }
            self.line.flush()?;
            for _ in 0..batch {
                self.reply()?;
            }
        }
        Ok(())
    }

    /// Reads pages and writes what becomes of them, all at once or not at all; how often others
    /// were faster.
    pub(crate) fn transact(
        &mut self,
        keys: &[&[u8]],
        mut change: impl FnMut(&mut [Vec<u8>]),
    ) -> io::Result<u64> {
        let mut retries = 0;
        loop {
            let watch: Vec<&[u8]> =
                [&b"WATCH"[..]].into_iter().chain(keys.iter().copied()).collect();
            self.push(&watch);
            for key in keys {
                self.push(&[b"GET", key]);
            }
            self.line.flush()?;
            self.reply()?;
            let mut pages = Vec::with_capacity(keys.len());
            for _ in keys {
                pages.push(bytes(self.reply()?)?);
            }
            change(&mut pages);
            self.push(&[b"MULTI"]);
            for (key, page) in keys.iter().zip(&pages) {
                self.push(&[b"SET", key, page]);
            }
            self.push(&[b"EXEC"]);
            self.line.flush()?;
            // `MULTI` and each `SET` are answered, too.
            for _ in 0..=keys.len() {
                self.reply()?;
            }
            if self.reply()? != Reply::Nil {
                return Ok(retries);
            }
            retries += 1;
        }
    }

    /// Tries again without a pause until the lock is free; how often it was not.
    pub(crate) fn lock(&mut self, key: &[u8], me: &[u8]) -> io::Result<u64> {
        let mut retries = 0;
        while self.ask(&[b"SET", key, me, b"NX", b"PX", b"30000"])? == Reply::Nil {
            retries += 1;
        }
        Ok(retries)
    }

    pub(crate) fn unlock(&mut self, key: &[u8], me: &[u8]) -> io::Result<()> {
        match self.ask(&[b"EVAL", RELEASE, b"1", key, me])? {
            Reply::Integer(1) => Ok(()),
            other => Err(nonsense("Redis", other)),
        }
    }

    fn ask(&mut self, words: &[&[u8]]) -> io::Result<Reply> {
        self.push(words);
        self.line.flush()?;
        self.reply()
    }

    fn push(&mut self, words: &[&[u8]]) {
        self.put_count(b'*', words.len());
        for word in words {
            self.put_count(b'$', word.len());
            self.line.output.extend_from_slice(word);
            self.line.output.extend_from_slice(b"\r\n");
        }
    }

    fn put_count(&mut self, kind: u8, count: usize) {
        self.number.clear();
        // Writing into a vector cannot fail.
        let _ = write!(self.number, "{count}\r\n");
        self.line.output.push(kind);
        self.line.output.extend_from_slice(&self.number);
    }

    fn reply(&mut self) -> io::Result<Reply> {
        let line = self.line.line()?;
        let (&kind, rest) = line.split_first().ok_or_else(|| nonsense("Redis", "nothing"))?;
        if kind == b'+' {
            return Ok(Reply::Bytes(rest.to_vec()));
        }
        let number = std::str::from_utf8(rest).ok().and_then(|text| text.parse::<i64>().ok());
        match (kind, number) {
            (b':', Some(number)) => Ok(Reply::Integer(number)),
            (b'$' | b'*', Some(-1)) => Ok(Reply::Nil),
            (b'$', Some(count)) => {
                let mut bytes = Vec::new();
                self.line.take(count as usize, &mut bytes)?;
                self.line.end_of_line()?;
                Ok(Reply::Bytes(bytes))
            }
            (b'*', Some(count)) => {
                (0..count).map(|_| self.reply()).collect::<Result<_, _>>().map(Reply::Array)
            }
            _ => Err(nonsense("Redis", String::from_utf8_lossy(line))),
        }
    }
}

fn bytes(reply: Reply) -> io::Result<Vec<u8>> {
    match reply {
        Reply::Bytes(bytes) => Ok(bytes),
        other => Err(nonsense("Redis", other)),
    }
}
