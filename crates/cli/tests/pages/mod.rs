//! Servers of both kinds, and a peer that says what it likes.

#![allow(clippy::unwrap_used, reason = "this is part of tests, though no test stands here")]

mod rows;
mod defects;
mod bounds;

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

use client::netmem::{Client, Server};

use crate::support::{Machine, PATIENCE, Running};

/// A node that serves one region, or a server of this program's own.
pub(crate) struct Place {
    pub(crate) port: u16,
    pub(crate) node: Option<Running>,
    _server: Option<Server>,
    _machine: Option<Machine>,
}

impl Place {
    pub(crate) fn node(pages: u32, length: u32) -> Self {
        Self::node_with(&format!("--netmem-pages {pages} --netmem-page-size {length}"))
    }

    pub(crate) fn node_with(words: &str) -> Self {
        let machine = Machine::new();
        let (mut node, _) = machine.start_node(&format!("--netmem 127.0.0.1:0 {words}"));
        let port = port_of(&node.line_with("netmem at "));
        Self { port, node: Some(node), _server: None, _machine: Some(machine) }
    }

    pub(crate) fn inside(pages: u32, length: u32) -> Self {
        let server = Server::new(pages, length).unwrap();
        let port = server.start(0).unwrap().port();
        Self { port, node: None, _server: Some(server), _machine: None }
    }

    pub(crate) fn client(&self) -> Client {
        Client::connect("127.0.0.1", self.port).unwrap()
    }

    pub(crate) fn raw(&self) -> Raw {
        Raw::over(TcpStream::connect(("127.0.0.1", self.port)).unwrap())
    }
}

/// The port in "netmem at ADDR serves region NAME".
pub(crate) fn port_of(line: &str) -> u16 {
    let address = line.split_whitespace().nth(2).unwrap();
    address.rsplit_once(':').unwrap().1.parse().unwrap()
}

/// Does the same with both kinds of servers.
#[track_caller]
pub(crate) fn both(pages: u32, length: u32, test: impl Fn(&Place)) {
    test(&Place::inside(pages, length));
    test(&Place::node(pages, length));
}

/// A connection, and nothing of a client.
#[derive(Debug)]
pub(crate) struct Raw {
    pub(crate) stream: TcpStream,
}

impl Raw {
    pub(crate) fn over(stream: TcpStream) -> Self {
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Self { stream }
    }

    pub(crate) fn put(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).unwrap();
    }

    #[track_caller]
    pub(crate) fn get(&mut self, count: usize) -> Vec<u8> {
        let mut bytes = vec![0; count];
        self.stream.read_exact(&mut bytes).unwrap();
        bytes
    }

    /// Sends, and expects these bytes and no others yet.
    #[track_caller]
    pub(crate) fn asks(&mut self, question: &str, want: &str) {
        self.put(&hex(question));
        self.says(want);
    }

    #[track_caller]
    pub(crate) fn says(&mut self, want: &str) {
        let want = hex(want);
        let got = self.get(want.len());
        assert_eq!(got, want);
        self.has_no_more();
    }

    /// Nothing lies in the socket.
    #[track_caller]
    pub(crate) fn has_no_more(&mut self) {
        self.stream.set_nonblocking(true).unwrap();
        let error = self.stream.peek(&mut [0]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::WouldBlock);
        self.stream.set_nonblocking(false).unwrap();
    }

    /// One command and its answer: type, offset, version, data.
    #[track_caller]
    pub(crate) fn ask(
        &mut self,
        (kind, offset, version): (u8, i32, i32),
        data: &[u8],
    ) -> (u8, i32, i32, Vec<u8>) {
        self.put(&command(kind, offset, version, data));
        self.answer()
    }

    #[track_caller]
    pub(crate) fn answer(&mut self) -> (u8, i32, i32, Vec<u8>) {
        let head = self.get(13);
        let field = |at: usize| i32::from_be_bytes(head[at..at + 4].try_into().unwrap());
        let data = self.get(field(5) as usize);
        (head[0], field(1), field(9), data)
    }

    /// Nothing comes for a while.
    #[track_caller]
    pub(crate) fn is_silent(&mut self) {
        self.stream.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
        let error = self.stream.peek(&mut [0]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::WouldBlock);
        self.stream.set_read_timeout(Some(PATIENCE)).unwrap();
    }

    /// It has no more to say.
    pub(crate) fn half_close(&self) {
        self.stream.shutdown(Shutdown::Write).unwrap();
    }

    /// Nothing more comes: the server has ended the connection.
    #[track_caller]
    pub(crate) fn ends(&mut self) {
        let mut rest = Vec::new();
        match self.stream.read_to_end(&mut rest) {
            Ok(_) => assert!(rest.is_empty(), "and {} bytes more", rest.len()),
            // It dropped what it had not read.
            Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset),
        }
    }

    /// The same, in order: no reset.
    #[track_caller]
    pub(crate) fn ends_cleanly(&mut self) {
        assert_eq!(self.stream.read(&mut [0]).unwrap(), 0);
    }
}

pub(crate) fn command(kind: u8, offset: i32, version: i32, data: &[u8]) -> Vec<u8> {
    header(kind, offset, data.len() as i32, version, data)
}

pub(crate) fn header(kind: u8, offset: i32, length: i32, version: i32, data: &[u8]) -> Vec<u8> {
    let fields = [offset.to_be_bytes(), length.to_be_bytes(), version.to_be_bytes()];
    [&[kind], &fields.concat()[..], data].concat()
}

pub(crate) fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<char> = text.chars().filter(|c| !c.is_whitespace()).collect();
    let byte = |pair: &[char]| u8::from_str_radix(&pair.iter().collect::<String>(), 16).unwrap();
    digits.chunks(2).map(byte).collect()
}

/// Numbers that look random, the same in every run (splitmix64).
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % bound
    }
}
