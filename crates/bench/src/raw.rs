//! The raw references: two processes, a socket, blocking reads and writes, nothing else.
//!
//! ```text
//!  this process ══ TCP, TLS or Unix ══ child              echo, records, answers
//!  this process ══ TCP or TLS ══ child ══ Unix ══ child   relay: two bare hops
//! ```
//!
//! The child is this benchmark's own executable; its end of the socket is its standard input, so
//! it ends when we close ours.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::error::Error;
use crate::reaped::Reaped;
use crate::setting::Setting;

pub(crate) mod tls;

/// Bytes of a small message, the same as in every peer.
pub const SMALL: usize = 64;
/// Small messages on the way at a time, when they are pipelined. So many fit into the buffers of
/// one socket: neither end can block the other while both write.
const IN_FLIGHT: usize = 1024;

/// Messages that are answered in one write.
const ANSWERS_MAX: usize = 256;

/// What carries the first hop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Transport {
    Tcp,
    Tls,
    Unix,
}

/// What the child does with what it reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Work {
    /// Reads a whole message, then writes it back.
    Echo,
    /// Passes a whole message on to a process of its own, then the answer back.
    Relay,
    /// Writes back what it has read, one message a write.
    Records,
    /// Answers each whole message with one of another size: those that came in one read, in one
    /// write.
    Answers,
    /// Reads a whole message into memory that it has had before, then answers with its first bytes.
    Keep,
}

/// Bytes of a message, and of what comes back for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sizes {
    pub ask: usize,
    pub answer: usize,
}

/// A socket with a child at its other end.
pub struct Pair {
    stream: Box<dyn Stream>,
    _child: Reaped,
}

trait Stream: Read + Write {}
impl<S: Read + Write> Stream for S {}

impl Pair {
    /// Starts the child, connects and, with TLS, shakes hands. `bytes` is a message.
    pub fn start(
        setting: &Setting,
        transport: Transport,
        work: Work,
        bytes: usize,
    ) -> Result<Self, Error> {
        Self::start_sized(setting, transport, work, Sizes { ask: bytes, answer: bytes })
    }

    /// The same where what comes back has another size than what was sent.
    pub fn answering(setting: &Setting, transport: Transport, sizes: Sizes) -> Result<Self, Error> {
        Self::start_sized(setting, transport, Work::Answers, sizes)
    }

    /// The same where the child has memory for a whole message, which it has touched.
    pub fn keeping(setting: &Setting, transport: Transport, sizes: Sizes) -> Result<Self, Error> {
        Self::start_sized(setting, transport, Work::Keep, sizes)
    }

    fn start_sized(
        setting: &Setting,
        transport: Transport,
        work: Work,
        sizes: Sizes,
    ) -> Result<Self, Error> {
        let program = &setting.executable;
        match transport {
            Transport::Unix => {
                let (near, far) = UnixStream::pair().map_err(Error::kernel("pair sockets"))?;
                let child = spawn(program, transport, work, sizes, far.into())?;
                Ok(Self { stream: Box::new(near), _child: child })
            }
            Transport::Tcp => {
                let (near, far) = loopback().map_err(Error::kernel("connect on loopback"))?;
                let child = spawn(program, transport, work, sizes, far.into())?;
                Ok(Self { stream: Box::new(near), _child: child })
            }
            Transport::Tls => {
                let (near, far) = loopback().map_err(Error::kernel("connect on loopback"))?;
                let child = spawn(program, transport, work, sizes, far.into())?;
                Ok(Self { stream: Box::new(tls::accept(near)?), _child: child })
            }
        }
    }

    /// Nanoseconds of each of `count` messages, sent and received whole, one after the other.
    pub fn ping_pong(&mut self, bytes: usize, count: usize) -> Result<Vec<u64>, Error> {
        let mut message = vec![7; bytes];
        let mut nanoseconds = Vec::with_capacity(count);
        for _ in 0..count {
            let start = Instant::now();
            self.round_trip(&mut message).map_err(Error::kernel("echo a message"))?;
            nanoseconds.push(start.elapsed().as_nanos() as u64);
        }
        Ok(nanoseconds)
    }

    fn round_trip(&mut self, message: &mut [u8]) -> io::Result<()> {
        self.stream.write_all(message)?;
        self.stream.flush()?;
        self.stream.read_exact(message)
    }

    /// Nanoseconds of each of `count` messages, sent and answered, one after the other.
    pub fn ask_each(&mut self, sizes: Sizes, count: usize) -> Result<Vec<u64>, Error> {
        let (ask, mut answer) = (vec![7; sizes.ask], vec![0; sizes.answer]);
        let mut nanoseconds = Vec::with_capacity(count);
        for _ in 0..count {
            let start = Instant::now();
            self.turn_round(&ask, &mut answer).map_err(Error::kernel("ask a reference"))?;
            nanoseconds.push(start.elapsed().as_nanos() as u64);
        }
        Ok(nanoseconds)
    }

    fn turn_round(&mut self, ask: &[u8], answer: &mut [u8]) -> io::Result<()> {
        self.stream.write_all(ask)?;
        self.stream.flush()?;
        self.stream.read_exact(answer)
    }

    /// Time of `count` messages, `in_flight` of them on the way. As many are sent in one write as
    /// answers came in one read.
    pub fn ask_many(
        &mut self,
        sizes: Sizes,
        count: usize,
        in_flight: usize,
    ) -> Result<Duration, Error> {
        let start = Instant::now();
        self.keep_asking(sizes, count, in_flight).map_err(Error::kernel("pipeline asking"))?;
        Ok(start.elapsed())
    }

    fn keep_asking(&mut self, sizes: Sizes, count: usize, in_flight: usize) -> io::Result<()> {
        let asks = vec![7; sizes.ask * in_flight];
        let mut answers = vec![0; sizes.answer * in_flight];
        let (mut sent, mut received) = (0, 0);
        while received < count * sizes.answer {
            let done = received / sizes.answer;
            let more = count.min(done + in_flight) - sent;
            if more > 0 {
                self.stream.write_all(&asks[..more * sizes.ask])?;
                self.stream.flush()?;
                sent += more;
            }
            received += match self.stream.read(&mut answers)? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                count => count,
            };
        }
        Ok(())
    }

    /// Time of `count` small messages, `per_write` in a write, `IN_FLIGHT` on the way.
    pub fn pipelined(&mut self, count: usize, per_write: usize) -> Result<Duration, Error> {
        let start = Instant::now();
        self.pump(count.next_multiple_of(per_write) * SMALL, per_write * SMALL)
            .map_err(Error::kernel("pipeline messages"))?;
        Ok(start.elapsed())
    }

    fn pump(&mut self, total: usize, unit: usize) -> io::Result<()> {
        let output = vec![3; unit];
        let mut input = vec![0; IN_FLIGHT * SMALL];
        let (mut sent, mut received) = (0, 0);
        while received < total {
            while sent < total && sent + unit <= received + IN_FLIGHT * SMALL {
                self.stream.write_all(&output)?;
                self.stream.flush()?;
                sent += unit;
            }
            received += match self.stream.read(&mut input)? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                count => count,
            };
        }
        Ok(())
    }
}

/// Both ends of a fresh TCP connection on loopback.
fn loopback() -> io::Result<(TcpStream, TcpStream)> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let far = TcpStream::connect(listener.local_addr()?)?;
    let (near, _) = listener.accept()?;
    near.set_nodelay(true)?;
    far.set_nodelay(true)?;
    Ok((near, far))
}

fn spawn(
    program: &Path,
    transport: Transport,
    work: Work,
    sizes: Sizes,
    socket: OwnedFd,
) -> Result<Reaped, Error> {
    let transport = match transport {
        Transport::Tcp => "tcp",
        Transport::Tls => "tls",
        Transport::Unix => "unix",
    };
    let work = match work {
        Work::Echo => "echo",
        Work::Relay => "relay",
        Work::Records => "records",
        Work::Answers => "answers",
        Work::Keep => "keep",
    };
    Command::new(program)
        .args(["child", transport, work, &sizes.ask.to_string(), &sizes.answer.to_string()])
        .stdin(Stdio::from(socket))
        .spawn()
        .map(Reaped)
        .map_err(Error::kernel("start the other end of a reference"))
}

/// The child's whole life: serves its standard input until the other end closes it.
pub fn child(program: &Path, transport: Transport, work: Work, sizes: Sizes) -> Result<(), Error> {
    let socket = io::stdin()
        .as_fd()
        .try_clone_to_owned()
        .map_err(Error::kernel("take the socket from standard input"))?;
    match transport {
        Transport::Unix => serve(UnixStream::from(socket), program, work, sizes),
        Transport::Tcp => serve(TcpStream::from(socket), program, work, sizes),
        Transport::Tls => serve(tls::connect(socket.into())?, program, work, sizes),
    }
}

fn serve<S: Read + Write>(
    mut stream: S,
    program: &Path,
    work: Work,
    sizes: Sizes,
) -> Result<(), Error> {
    let bytes = sizes.ask;
    let served = match work {
        Work::Echo => echo(&mut stream, bytes),
        Work::Records => records(&mut stream, bytes),
        Work::Answers => answers(&mut stream, sizes),
        Work::Keep => keep(&mut stream, sizes),
        Work::Relay => {
            let (mut near, far) = UnixStream::pair().map_err(Error::kernel("pair sockets"))?;
            let _worker = spawn(program, Transport::Unix, Work::Echo, sizes, far.into())?;
            relay(&mut stream, &mut near, bytes)
        }
    };
    match served {
        Err(error) if is_end(&error) => Ok(()),
        other => other.map_err(Error::kernel("serve a reference")),
    }
}

/// The other end closed, with or without a farewell.
fn is_end(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionReset, UnexpectedEof};
    matches!(error.kind(), BrokenPipe | ConnectionReset | UnexpectedEof)
}

fn echo<S: Read + Write>(stream: &mut S, bytes: usize) -> io::Result<()> {
    let mut message = vec![0; bytes];
    loop {
        stream.read_exact(&mut message)?;
        stream.write_all(&message)?;
        stream.flush()?;
    }
}

fn relay<S: Read + Write>(client: &mut S, worker: &mut UnixStream, bytes: usize) -> io::Result<()> {
    let mut message = vec![0; bytes];
    loop {
        client.read_exact(&mut message)?;
        worker.write_all(&message)?;
        worker.read_exact(&mut message)?;
        client.write_all(&message)?;
        client.flush()?;
    }
}

fn records<S: Read + Write>(stream: &mut S, bytes: usize) -> io::Result<()> {
    let mut buffer = vec![0; IN_FLIGHT * SMALL];
    let mut filled = 0;
    loop {
        filled += match stream.read(&mut buffer[filled..])? {
            0 => return Ok(()),
            count => count,
        };
        let whole = filled - filled % bytes;
        for record in buffer[..whole].chunks(bytes) {
            stream.write_all(record)?;
            stream.flush()?;
        }
        buffer.copy_within(whole..filled, 0);
        filled -= whole;
    }
}

fn keep<S: Read + Write>(stream: &mut S, sizes: Sizes) -> io::Result<()> {
    let mut message = vec![1; sizes.ask];
    loop {
        stream.read_exact(&mut message)?;
        stream.write_all(&message[..sizes.answer])?;
        stream.flush()?;
    }
}

fn answers<S: Read + Write>(stream: &mut S, sizes: Sizes) -> io::Result<()> {
    let mut buffer = vec![0; ANSWERS_MAX * sizes.ask];
    let answers = vec![3; ANSWERS_MAX * sizes.answer];
    let mut filled = 0;
    loop {
        filled += match stream.read(&mut buffer[filled..])? {
            0 => return Ok(()),
            count => count,
        };
        let whole = filled / sizes.ask;
        if whole > 0 {
            stream.write_all(&answers[..whole * sizes.answer])?;
            stream.flush()?;
        }
        buffer.copy_within(whole * sizes.ask..filled, 0);
        filled -= whole * sizes.ask;
    }
}
