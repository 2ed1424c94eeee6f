//! A controller that says what it likes, and a node that serves it.

#![allow(clippy::unwrap_used, reason = "this is part of tests, though no test stands here")]

mod settlings;
mod rows;
mod bounds;
mod cores;
mod controllers;

use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use crate::support::{Machine, PATIENCE, Running};

pub(crate) const SPECIMEN: &str = "misbehaving/specimen.c";
pub(crate) const RECORDER: &str = "misbehaving/recorder.c";
pub(crate) const EDGES: &str = "misbehaving/edges.c";

/// A node that serves the protocol at one address.
pub(crate) struct Worker {
    pub(crate) node: Running,
    pub(crate) address: String,
    /// Where it speaks Farcall's own protocol.
    pub(crate) own: String,
}

impl Worker {
    pub(crate) fn start(machine: &Machine, words: &str) -> Self {
        let words = format!("--worker-v1 127.0.0.1:0 {words}");
        let (mut node, own) = machine.start_node(&words);
        let line = node.line_with("worker protocol v1 at ");
        let address = line.trim_start_matches("worker protocol v1 at ").to_owned();
        Self { node, address, own }
    }

    /// A connection that has said nothing yet.
    pub(crate) fn dial(&self) -> Peer<TcpStream> {
        Peer::over(TcpStream::connect(&self.address).unwrap())
    }

    /// One over which versions were exchanged.
    pub(crate) fn greet(&self) -> Peer<TcpStream> {
        let mut peer = self.dial();
        peer.greet();
        peer
    }

    /// One whose core is loaded.
    pub(crate) fn load(&self, library: &str) -> Peer<TcpStream> {
        let mut peer = self.greet();
        peer.load(library);
        peer
    }

    pub(crate) fn runs_a_job(&self, machine: &Machine) -> bool {
        let status = machine.run(&format!("status --nodes {} --json", self.own));
        status.stdout.contains("\"running\":1")
    }

    /// The processes that it has started.
    pub(crate) fn children(&self) -> usize {
        crate::support::process::children(self.node.child.id()).len()
    }
}

/// A node with the core, and a controller of it.
pub(crate) fn with(source: &str) -> (Machine, Worker, Peer<TcpStream>) {
    let machine = Machine::new();
    let worker = Worker::start(&machine, "");
    let peer = worker.load(&machine.core(source));
    (machine, worker, peer)
}

/// The other end of a connection.
#[derive(Debug)]
pub(crate) struct Peer<S> {
    pub(crate) stream: S,
    next: u64,
}

/// What a stream of bytes can do besides.
pub(crate) trait Stream: Read + Write {
    fn set(&self, patience: Duration);
}

impl Stream for TcpStream {
    fn set(&self, patience: Duration) {
        self.set_nodelay(true).unwrap();
        self.set_read_timeout(Some(patience)).unwrap();
    }
}

impl Stream for UnixStream {
    fn set(&self, patience: Duration) {
        self.set_read_timeout(Some(patience)).unwrap();
    }
}

impl Peer<TcpStream> {
    pub(crate) fn accept(listener: &TcpListener) -> Self {
        Self::over(listener.accept().unwrap().0)
    }

    /// Says that there is no more.
    pub(crate) fn half_close(&self) {
        self.stream.shutdown(std::net::Shutdown::Write).unwrap();
    }

    /// Writes the same again and again, as far as it is taken; so many bytes at most. Returns how many
    /// were.
    pub(crate) fn press(&mut self, bytes: &[u8], most: usize) -> usize {
        self.stream.set_nonblocking(true).unwrap();
        let (mut written, mut stuck) = (0, 0);
        // Stuck is who was so two hundred times in a row.
        while stuck < 200 && written < most {
            let from = written % bytes.len();
            let to = bytes.len().min(from + most - written);
            match self.stream.write(&bytes[from..to]) {
                Ok(count) => (written, stuck) = (written + count, 0),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    stuck += 1;
                    std::thread::park_timeout(Duration::from_millis(5));
                }
                Err(error) => panic!("after {written} bytes: {error}"),
            }
        }
        self.stream.set_nonblocking(false).unwrap();
        written
    }

    /// The same on another descriptor, for a thread of its own.
    pub(crate) fn twin(&self) -> Self {
        Self { stream: self.stream.try_clone().unwrap(), next: 0 }
    }
}

impl<S: Stream> Peer<S> {
    pub(crate) fn over(stream: S) -> Self {
        stream.set(PATIENCE);
        Self { stream, next: 100 }
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

    /// These bytes come next.
    #[track_caller]
    pub(crate) fn says(&mut self, want: &str) {
        let want = hex(want);
        let got = self.get(want.len());
        assert_eq!(got, want);
    }

    /// Sends, and expects these bytes.
    #[track_caller]
    pub(crate) fn asks(&mut self, question: &[u8], want: &str) {
        self.put(question);
        self.says(want);
    }

    /// The next answer: type, id, payload.
    #[track_caller]
    pub(crate) fn answer(&mut self) -> (u8, u64, Vec<u8>) {
        let head = self.get(17);
        let word = |at: usize| u64::from_le_bytes(head[at..at + 8].try_into().unwrap());
        (head[0], word(1), self.get(word(9) as usize))
    }

    /// The next answer is an error of this message.
    #[track_caller]
    pub(crate) fn error(&mut self, id: u64) -> String {
        let (kind, of, payload) = self.answer();
        let text = String::from_utf8(payload).unwrap();
        assert_eq!((kind, of), (0xff, id), "{text}");
        text
    }

    /// The next answer is the result of this message: exit code and output.
    #[track_caller]
    pub(crate) fn result(&mut self, id: u64) -> (i32, Vec<u8>) {
        let (kind, of, payload) = self.answer();
        let text = String::from_utf8_lossy(&payload[..payload.len().min(200)]).into_owned();
        assert_eq!((kind, of), (1, id), "{text}");
        let code = i32::from_le_bytes(payload[..4].try_into().unwrap());
        let length = u64::from_le_bytes(payload[4..12].try_into().unwrap());
        assert_eq!(length, payload.len() as u64 - 12);
        (code, payload[12..].to_vec())
    }

    #[track_caller]
    pub(crate) fn greet(&mut self) {
        self.put(&version(1, 1));
        assert_eq!(self.answer(), (1, 1, vec![1]));
    }

    #[track_caller]
    pub(crate) fn load(&mut self, library: &str) {
        self.put(&core(2, "core", &std::fs::read(library).unwrap()));
        assert_eq!(self.answer(), (1, 2, Vec::new()));
    }

    /// Why this file cannot be loaded.
    #[track_caller]
    pub(crate) fn cannot_load(&mut self, library: &[u8]) -> String {
        self.put(&core(2, "core", library));
        self.error(2)
    }

    /// Runs one job, and returns what it put out.
    #[track_caller]
    pub(crate) fn run(&mut self, input: impl AsRef<[u8]>) -> String {
        self.next += 1;
        self.put(&job(self.next, 0, input.as_ref()));
        let (code, output) = self.result(self.next);
        assert_eq!(code, 0);
        String::from_utf8(output).unwrap()
    }

    /// Runs one job that cannot be run, and returns why.
    #[track_caller]
    pub(crate) fn fails(&mut self, input: impl AsRef<[u8]>) -> String {
        self.next += 1;
        self.put(&job(self.next, 0, input.as_ref()));
        self.error(self.next)
    }

    /// Nothing more comes: the other side has ended its stream.
    #[track_caller]
    pub(crate) fn ends(&mut self) {
        let mut rest = Vec::new();
        match self.stream.read_to_end(&mut rest) {
            Ok(_) => assert!(rest.is_empty(), "and {} bytes more", rest.len()),
            // It dropped what it had not read.
            Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset),
        }
    }

    /// Nothing comes for a while.
    #[track_caller]
    pub(crate) fn is_silent(&mut self) {
        self.stream.set(Duration::from_millis(300));
        let error = self.stream.read(&mut [0]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::WouldBlock);
        self.stream.set(PATIENCE);
    }
}

// Messages.

pub(crate) fn message(kind: u8, id: u64, payload: &[u8]) -> Vec<u8> {
    let length = payload.len() as u64;
    [&[kind], &id.to_le_bytes()[..], &length.to_le_bytes(), payload].concat()
}

pub(crate) fn version(id: u64, version: u32) -> Vec<u8> {
    message(1, id, &version.to_le_bytes())
}

/// A String or a Blob.
pub(crate) fn counted(bytes: &[u8]) -> Vec<u8> {
    [&(bytes.len() as u64).to_le_bytes(), bytes].concat()
}

pub(crate) fn core(id: u64, name: &str, library: &[u8]) -> Vec<u8> {
    message(2, id, &[counted(name.as_bytes()), counted(library)].concat())
}

pub(crate) fn job(id: u64, job: u64, input: &[u8]) -> Vec<u8> {
    message(3, id, &[&job.to_le_bytes()[..], &counted(input)].concat())
}

pub(crate) fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<char> = text.chars().filter(|c| !c.is_whitespace()).collect();
    let byte = |pair: &[char]| u8::from_str_radix(&pair.iter().collect::<String>(), 16).unwrap();
    digits.chunks(2).map(byte).collect()
}
