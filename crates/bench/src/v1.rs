//! A controller of the worker socket protocol v1 over a blocking socket, and nothing else.
//!
//! It is written from the protocol's paper and shares no code with the worker that it measures.
//! Every message has one header: type (1 byte), id (8), length of what follows (8), little-endian.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use crate::error::Error;

const VERSION: u8 = 1;
const CORE: u8 = 2;
const JOB: u8 = 3;
const SUCCESS: u8 = 1;
const ERROR: u8 = 0xff;
const HEADER: usize = 17;
/// In a job's answer before the output: the core's code (4 bytes) and the output's length (8).
const OUTPUT_AT: usize = 12;
/// How long the worker may take to listen.
const PATIENCE: Duration = Duration::from_secs(5);

pub(crate) struct Controller {
    stream: TcpStream,
    next: u64,
}

/// An address on loopback that nobody listens at.
pub(crate) fn free_address() -> Result<SocketAddr, Error> {
    let bound = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|it| it.local_addr());
    bound.map_err(Error::kernel("find a free port"))
}

impl Controller {
    /// Connects, agrees on the version and sends a core.
    pub(crate) fn start(worker: SocketAddr, library: &[u8]) -> Result<Self, Error> {
        let mut this = Self { stream: connect(worker)?, next: 1 };
        let accepted = this.ask(VERSION, &1u32.to_le_bytes())?;
        if accepted != [1] {
            return Err(nonsense(format!("to version 1 it answers {accepted:?}")));
        }
        let mut core = Vec::with_capacity(library.len() + 20);
        put_blob(&mut core, b"echo");
        put_blob(&mut core, library);
        match this.ask(CORE, &core)?.as_slice() {
            [] => Ok(this),
            other => Err(nonsense(format!("to a core it answers {} bytes", other.len()))),
        }
    }

    fn ask(&mut self, kind: u8, payload: &[u8]) -> Result<Vec<u8>, Error> {
        let mut message = Vec::with_capacity(HEADER + payload.len());
        let id = self.put_header(&mut message, kind, payload.len());
        message.extend_from_slice(payload);
        self.stream.write_all(&message).map_err(Error::kernel("write to a v1 worker"))?;
        self.read_answer(id)
    }

    fn read_answer(&mut self, id: u64) -> Result<Vec<u8>, Error> {
        let read = |this: &mut Self, bytes: &mut [u8]| {
            this.stream.read_exact(bytes).map_err(Error::kernel("read from a v1 worker"))
        };
        let mut header = [0; HEADER];
        read(self, &mut header)?;
        let (kind, got, length) = split(&header);
        let mut payload = vec![0; length];
        read(self, &mut payload)?;
        check(kind, got, id, &payload)?;
        Ok(payload)
    }

    /// Nanoseconds of each of `count` jobs, one after the other.
    pub(crate) fn latency(&mut self, input: &[u8], count: usize) -> Result<Vec<u64>, Error> {
        let mut job = Vec::new();
        let mut answer = vec![0; HEADER + OUTPUT_AT + input.len()];
        let mut nanoseconds = Vec::with_capacity(count);
        for _ in 0..count {
            let start = Instant::now();
            job.clear();
            let id = self.put_job(&mut job, input);
            self.turn_round(&job, &mut answer).map_err(Error::kernel("run a v1 job"))?;
            nanoseconds.push(start.elapsed().as_nanos() as u64);
            check_answer(&answer, id, input)?;
        }
        Ok(nanoseconds)
    }

    fn turn_round(&mut self, job: &[u8], answer: &mut [u8]) -> io::Result<()> {
        self.stream.write_all(job)?;
        self.stream.read_exact(answer)
    }

    /// Time of `count` jobs, `in_flight` of them on the way. As many are sent in one write as answers
    /// came in one read.
    pub(crate) fn pipelined(
        &mut self,
        input: &[u8],
        count: usize,
        in_flight: usize,
    ) -> Result<Duration, Error> {
        let size = HEADER + OUTPUT_AT + input.len();
        let mut jobs = Vec::new();
        let mut answers = vec![0; size * in_flight];
        let (mut sent, mut done, mut filled) = (0, 0, 0);
        let mut awaited = self.next;
        let start = Instant::now();
        while done < count {
            jobs.clear();
            while sent < count && sent < done + in_flight {
                self.put_job(&mut jobs, input);
                sent += 1;
            }
            self.stream.write_all(&jobs).map_err(Error::kernel("send v1 jobs"))?;
            let read = self.stream.read(&mut answers[filled..]);
            match read.map_err(Error::kernel("read answers of v1"))? {
                0 => return Err(nonsense("it closed the connection".to_owned())),
                more => filled += more,
            }
            let whole = filled - filled % size;
            for answer in answers[..whole].chunks(size) {
                check_answer(answer, awaited, input)?;
                (awaited, done) = (awaited + 1, done + 1);
            }
            answers.copy_within(whole..filled, 0);
            filled -= whole;
        }
        Ok(start.elapsed())
    }

    fn put_job(&mut self, output: &mut Vec<u8>, input: &[u8]) -> u64 {
        let id = self.put_header(output, JOB, 16 + input.len());
        // The job's own number is for logs; it is not the message's.
        output.extend_from_slice(&(id + 1_000_000).to_le_bytes());
        put_blob(output, input);
        id
    }

    fn put_header(&mut self, output: &mut Vec<u8>, kind: u8, length: usize) -> u64 {
        let id = self.next;
        self.next += 1;
        output.push(kind);
        output.extend_from_slice(&id.to_le_bytes());
        output.extend_from_slice(&(length as u64).to_le_bytes());
        id
    }
}

fn connect(worker: SocketAddr) -> Result<TcpStream, Error> {
    let until = Instant::now() + PATIENCE;
    loop {
        match TcpStream::connect(worker) {
            Ok(stream) => {
                stream.set_nodelay(true).map_err(Error::kernel("set up a socket"))?;
                return Ok(stream);
            }
            Err(error)
                if error.kind() == io::ErrorKind::ConnectionRefused && Instant::now() < until =>
            {
                std::thread::sleep(Duration::from_millis(10));
            }
            Err(source) => return Err(Error::Kernel { action: "connect to a v1 worker", source }),
        }
    }
}

fn put_blob(output: &mut Vec<u8>, bytes: &[u8]) {
    output.extend_from_slice(&(bytes.len() as u64).to_le_bytes());
    output.extend_from_slice(bytes);
}

fn split(header: &[u8]) -> (u8, u64, usize) {
    let word = |at: usize| {
        let mut word = [0; 8];
        word.copy_from_slice(&header[at..at + 8]);
        u64::from_le_bytes(word)
    };
    (header[0], word(1), word(9) as usize)
}

/// A whole answer to a job: the header, the code, the output.
fn check_answer(answer: &[u8], id: u64, input: &[u8]) -> Result<(), Error> {
    let (kind, got, length) = split(answer);
    if length + HEADER != answer.len() {
        // Most likely an error; as much of its text as is here.
        let text = String::from_utf8_lossy(&answer[HEADER..]).into_owned();
        return Err(nonsense(format!("type {kind:#04x}, {length} bytes: {text}")));
    }
    check(kind, got, id, &answer[HEADER..])?;
    let (code, output) = (&answer[HEADER..HEADER + 4], &answer[HEADER + OUTPUT_AT..]);
    // Both ends: comparing all of a large one would time memory, not the way.
    let end = input.len().min(64);
    let same =
        output[..end] == input[..end] && output[output.len() - end..] == input[input.len() - end..];
    match code == [0; 4] && same {
        true => Ok(()),
        false => Err(nonsense(format!("code {code:?}, or the answer is not the question"))),
    }
}

fn check(kind: u8, got: u64, id: u64, payload: &[u8]) -> Result<(), Error> {
    match kind {
        SUCCESS if got == id => Ok(()),
        ERROR => Err(nonsense(String::from_utf8_lossy(payload).into_owned())),
        _ => Err(nonsense(format!("type {kind:#04x} with id {got} to message {id}"))),
    }
}

fn nonsense(answer: String) -> Error {
    Error::Answer { who: "the v1 worker", answer }
}

#[cfg(test)]
mod tests;
