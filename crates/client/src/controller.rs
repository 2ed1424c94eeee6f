//! Drives workers that speak the worker socket protocol of version 1, whoever made them.
//!
//! ```text
//!  inputs --> Crew --> writer thread --> worker --> reader thread --> Crew --> results
//!              ^ at most a window of jobs and bytes at each worker        |
//!              +-- inputs of a worker that is lost, once more ------------+
//! ```
//!
//! A [`Controller`] is one connection, over which versions were exchanged; who dialled makes no
//! difference. It asks and waits. A [`Crew`] keeps several busy: it writes and reads on threads of
//! their own, so that neither side ever waits for the other to read first, and answers are matched
//! by their ids, in whatever order they come. The protocol knows no certificates and no encryption.
//!
//! Elsewhere: the bytes (`wire::worker_v1`), the worker's side (`node`).

use std::collections::{HashMap, VecDeque};
use std::io::{self, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use sys::spin::Spin;
use wire::frame::{HEADER, Header};
use wire::limits::{PAYLOAD_MAX, STRANGER_PATIENCE};
use wire::worker_v1 as protocol;

use crate::error::{Error, chain};
use crate::outcome::{Failure, Output, Why};

/// Jobs at a worker before anything is known of them, and while they are long.
const WINDOW: usize = 2;
/// Jobs at a worker while they are short.
const WINDOW_MAX: usize = 256;
/// An answer that comes so soon is a short job's.
const SHORT: Duration = Duration::from_millis(5);
/// One that takes so long is a long one's.
const LONG: Duration = Duration::from_millis(100);
/// Bytes of inputs at a worker, beyond the first.
const AHEAD: usize = 64 << 20;
/// Attempts of a job whose worker was lost.
const ATTEMPTS: u32 = 3;
/// Bytes that are read at once.
const READ: usize = 256 * 1024;

/// One worker, over one connection. Asks one thing at a time; for many jobs see [`Crew`].
#[derive(Debug)]
pub struct Controller {
    worker: Arc<str>,
    reader: BufReader<Patient>,
    writer: Stream,
    next: u64,
}

/// What a worker says of a job that it ran.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// What the core returned; 0 is success.
    pub code: i32,
    /// Its output, whatever the code.
    pub output: Bytes,
}

#[derive(Debug)]
enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

/// Where workers dial in.
#[derive(Debug)]
pub enum Listener {
    /// At an address.
    Tcp(TcpListener),
    /// At a path.
    Unix(UnixListener),
}

impl Listener {
    /// Waits for the next worker, and exchanges versions with it. Whoever dials in and does not answer
    /// as a worker within 5 s is sent away, and the next one taken.
    pub fn accept(&self) -> Result<Controller, Error> {
        self.accept_and_tell(|_| {})
    }

    /// The same; `sent_away` hears of each who was sent away, and why.
    pub fn accept_and_tell(&self, mut sent_away: impl FnMut(&Error)) -> Result<Controller, Error> {
        loop {
            let (stream, from) = match self.next() {
                Ok(next) => next,
                // It was gone before its turn came.
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => continue,
                Err(error) => {
                    return Err(broken("that dials in", format!("did not come: {error}")));
                }
            };
            match Controller::over(stream, &from, Some(STRANGER_PATIENCE.into())) {
                Ok(controller) => return Ok(controller),
                Err(error) => sent_away(&error),
            }
        }
    }

    fn next(&self) -> io::Result<(Stream, String)> {
        match self {
            Self::Tcp(listener) => {
                let (stream, from) = listener.accept()?;
                Ok((Stream::Tcp(stream), from.to_string()))
            }
            Self::Unix(listener) => {
                let (stream, _) = listener.accept()?;
                Ok((Stream::Unix(stream), "the other end of the Unix socket".to_owned()))
            }
        }
    }
}

impl Controller {
    /// Dials a worker at `HOST:PORT` or `unix:PATH`, and exchanges versions.
    pub fn connect(address: &str) -> Result<Self, Error> {
        let stream = match address.strip_prefix("unix:") {
            Some(path) => UnixStream::connect(path).map(Stream::Unix),
            None => TcpStream::connect(address).map(Stream::Tcp),
        };
        let stream = stream.map_err(|error| {
            let what = format!(
                "cannot be reached ({error}); start it with `farcall node --worker-v1 {address}`"
            );
            broken(address, what)
        })?;
        // Whom we dial may be busy, and is waited for.
        Self::over(stream, address, None)
    }

    /// Exchanges versions, within so much time.
    fn over(stream: Stream, worker: &str, patience: Option<Duration>) -> Result<Self, Error> {
        let copy = stream.copy().map_err(|error| broken(worker, error.to_string()))?;
        let until = patience.map(|patience| Instant::now() + patience);
        let reader =
            BufReader::with_capacity(READ, Patient { stream, until, spin: Spin::default() });
        let mut this = Self { worker: worker.into(), reader, writer: copy, next: 1 };
        let id = this.name();
        let mut bytes = BytesMut::new();
        protocol::put_version(&mut bytes, id, protocol::VERSION);
        let payload = this.ask(id, &[&bytes])?;
        let payload = payload.map_err(|why| this.broke(format!("refused the greeting: {why}")))?;
        match protocol::accepted(&payload) {
            Ok(true) => {
                let calm = this.reader.get_mut().wait_for_ever();
                calm.map_err(|error| this.broke(error.to_string()))?;
                Ok(this)
            }
            Ok(false) => Err(this.broke(format!("does not speak version {}", protocol::VERSION))),
            Err(garbled) => Err(this.garbled(&garbled)),
        }
    }

    /// What the worker is called in messages: its address.
    pub fn worker(&self) -> &str {
        &self.worker
    }

    /// Has the worker load a compute core, in place of the one that it has. `name` is for people.
    pub fn load(&mut self, name: &str, library: &[u8]) -> Result<(), Error> {
        let id = self.name();
        let mut front = BytesMut::new();
        protocol::put_core(&mut front, id, name, library.len() as u64);
        let payload = self.ask(id, &[&front, library])?;
        let refused = |why| self.broke(format!("cannot load the compute core: {why}"));
        let payload = payload.map_err(refused)?;
        protocol::loaded(&payload).map_err(|garbled| self.garbled(&garbled))
    }

    /// Runs one job. The inner error is the worker's own words: why it could not be run.
    pub fn run(&mut self, input: &[u8]) -> Result<Result<Answer, String>, Error> {
        let id = self.name();
        let mut front = BytesMut::new();
        protocol::put_job(&mut front, id, id, input.len() as u64);
        match self.ask(id, &[&front, input])? {
            Ok(payload) => answer(payload).map(Ok).map_err(|garbled| self.garbled(&garbled)),
            Err(why) => Ok(Err(why)),
        }
    }

    /// A new message's id.
    fn name(&mut self) -> u64 {
        self.next += 1;
        self.next - 1
    }

    /// Sends a message and waits for its answer's payload, or the text of its error.
    fn ask(&mut self, id: u64, pieces: &[&[u8]]) -> Result<Result<Bytes, String>, Error> {
        let written = if pieces.iter().map(|piece| piece.len()).sum::<usize>() <= READ {
            // In two packets it would wake the worker twice.
            self.writer.write_all(&pieces.concat())
        } else {
            pieces.iter().try_for_each(|piece| self.writer.write_all(piece))
        };
        // Who refuses a message before its end may have said why.
        let read = read_answer(&mut self.reader);
        let (of, result) = match (written, read) {
            (_, Ok(answer)) => answer,
            (Err(error), Err(_)) => return Err(self.broke(format!("was lost: {error}"))),
            (Ok(()), Err(error)) => return Err(self.broke(error.to_string())),
        };
        if of != id {
            return Err(self.broke(format!("answered message {of}, which was not asked")));
        }
        Ok(result)
    }

    fn broke(&self, what: String) -> Error {
        broken(&self.worker, what)
    }

    fn garbled(&self, garbled: &protocol::Garbled) -> Error {
        self.broke(format!("broke the protocol with {garbled}"))
    }
}

impl Drop for Controller {
    fn drop(&mut self) {
        self.writer.end(Shutdown::Both);
    }
}

fn broken(worker: &str, what: String) -> Error {
    Error::Worker { worker: worker.to_owned(), what }
}

impl Stream {
    fn copy(&self) -> io::Result<Self> {
        match self {
            Self::Tcp(stream) => {
                stream.set_nodelay(true)?;
                stream.try_clone().map(Self::Tcp)
            }
            Self::Unix(stream) => stream.try_clone().map(Self::Unix),
        }
    }

    fn limit_reads(&self, time: Option<Duration>) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => stream.set_read_timeout(time),
            Self::Unix(stream) => stream.set_read_timeout(time),
        }
    }

    /// Ends what is left to say, or everything.
    fn end(&self, how: Shutdown) {
        // One that is gone already has nothing left to end.
        let _ = match self {
            Self::Tcp(stream) => stream.shutdown(how),
            Self::Unix(stream) => stream.shutdown(how),
        };
    }
}

/// Reads until a moment, however little at a time it gets.
#[derive(Debug)]
struct Patient {
    stream: Stream,
    until: Option<Instant>,
    spin: Spin,
}

impl Patient {
    fn wait_for_ever(&mut self) -> io::Result<()> {
        self.until = None;
        self.stream.limit_reads(None)
    }
}

impl Read for Patient {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let Some(until) = self.until else { return self.spin.read(&mut self.stream, buffer) };
        let late = || io::Error::new(io::ErrorKind::TimedOut, "it did not answer in time");
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(late());
        }
        self.stream.limit_reads(Some(left))?;
        let read = self.stream.read(buffer);
        read.map_err(|error| match error.kind() {
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => late(),
            _ => error,
        })
    }
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.read(buffer),
            Self::Unix(stream) => stream.read(buffer),
        }
    }
}

impl AsFd for Stream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Tcp(stream) => stream.as_fd(),
            Self::Unix(stream) => stream.as_fd(),
        }
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.write(bytes),
            Self::Unix(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Why no answer could be read.
#[derive(Debug, thiserror::Error)]
enum Lost {
    #[error("hung up")]
    HungUp,
    #[error("was lost: {0}")]
    Broken(#[from] io::Error),
    #[error("broke the protocol with {0}")]
    Garbled(#[from] protocol::Garbled),
    #[error("broke the protocol with an answer of {0} bytes")]
    TooLong(u64),
    #[error("answered message {0}, which was not asked")]
    Unasked(u64),
}

/// One answer: the id, and its payload or the text of its error.
fn read_answer(from: &mut impl Read) -> Result<(u64, Result<Bytes, String>), Lost> {
    let mut front = [0; HEADER];
    match from.read_exact(&mut front) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Err(Lost::HungUp),
        read => read?,
    }
    let Some(header) = Header::peek(&front) else { return Err(Lost::HungUp) };
    let kind = protocol::answer(&header)?;
    if header.length > PAYLOAD_MAX {
        return Err(Lost::TooLong(header.length));
    }
    // It grows with what arrives: a length is only a stranger's word.
    let mut payload = Vec::with_capacity(header.length.min(READ as u64) as usize);
    from.take(header.length).read_to_end(&mut payload)?;
    if payload.len() as u64 != header.length {
        return Err(Lost::HungUp);
    }
    let payload = match kind {
        protocol::Answer::Success => Ok(payload.into()),
        protocol::Answer::Error => Err(String::from_utf8_lossy(&payload).into_owned()),
    };
    Ok((header.channel, payload))
}

fn answer(mut payload: Bytes) -> Result<Answer, protocol::Garbled> {
    let code = protocol::result(&payload)?;
    Ok(Answer { code, output: payload.split_off(protocol::RESULT_FRONT) })
}

/// Runs a job for each input on several workers, each of which has its core loaded, and yields the
/// results as they come: each input's position with its output or failure.
///
/// A job whose worker is lost goes to another one, as long as there are any.
#[derive(Debug)]
pub struct Crew<I> {
    inputs: I,
    /// Inputs taken so far.
    taken: u64,
    /// Those of workers that were lost.
    again: VecDeque<Job>,
    hands: Vec<Hand>,
    events: Receiver<Event>,
    /// Kept so that `events` never ends by itself.
    _sender: Sender<Event>,
    /// Jobs for which nobody is left.
    given_up: VecDeque<(Job, String)>,
    exhausted: bool,
}

#[derive(Clone, Debug)]
struct Job {
    index: u64,
    attempt: u32,
    input: Arc<Vec<u8>>,
}

/// One worker of a crew.
#[derive(Debug)]
struct Hand {
    worker: Arc<str>,
    /// `None`: it is lost.
    orders: Option<Sender<(u64, Arc<Vec<u8>>)>>,
    /// Its connection, to be ended by.
    ender: Option<Stream>,
    next: u64,
    out: HashMap<u64, (Job, Instant)>,
    bytes: usize,
    window: usize,
}

#[derive(Debug)]
struct Event {
    hand: usize,
    what: What,
}

#[derive(Debug)]
enum What {
    Answered(u64, Result<Answer, String>),
    Lost(String),
}

impl<I: Iterator<Item = Vec<u8>>> Crew<I> {
    /// Begins with the first inputs when the first result is asked for.
    pub fn new(workers: Vec<Controller>, inputs: I) -> Self {
        let (sender, events) = mpsc::channel();
        let hands = workers.into_iter().enumerate();
        let hands = hands.map(|(hand, worker)| Hand::start(hand, worker, &sender)).collect();
        Self {
            inputs,
            taken: 0,
            again: VecDeque::new(),
            hands,
            events,
            _sender: sender,
            given_up: VecDeque::new(),
            exhausted: false,
        }
    }

    /// Gives each worker as many jobs as it may have, one after the other.
    fn feed(&mut self) {
        loop {
            let free = |hand: &&mut Hand| {
                hand.orders.is_some() && hand.out.len() < hand.window && hand.has_room()
            };
            let least = self.hands.iter_mut().filter(free).min_by_key(|hand| hand.out.len());
            let Some(hand) = least else { return };
            let job = match self.again.pop_front() {
                Some(job) => job,
                None if self.exhausted => return,
                None => match self.inputs.next() {
                    Some(input) => {
                        self.taken += 1;
                        Job { index: self.taken - 1, attempt: 1, input: Arc::new(input) }
                    }
                    None => {
                        self.exhausted = true;
                        return;
                    }
                },
            };
            hand.give(job);
        }
    }

    /// A worker is lost: its jobs go to others.
    fn lose(&mut self, hand: usize, why: &str) {
        let lost = &mut self.hands[hand];
        lost.orders = None;
        // One that broke the protocol is still there, and hears that it has no more to do.
        if let Some(ender) = lost.ender.take() {
            ender.end(Shutdown::Both);
        }
        let reason = format!("the worker at {} {why}", lost.worker);
        let mut jobs: Vec<Job> = lost.out.drain().map(|(_, (job, _))| job).collect();
        jobs.sort_by_key(|job| std::cmp::Reverse(job.index));
        for mut job in jobs {
            if job.attempt >= ATTEMPTS {
                self.given_up.push_back((job, reason.clone()));
            } else {
                job.attempt += 1;
                self.again.push_front(job);
            }
        }
        if self.hands.iter().all(|hand| hand.orders.is_none()) {
            let reason = format!("{reason}, and no other is left");
            self.given_up.extend(self.again.drain(..).map(|job| (job, reason.clone())));
        }
    }
}

impl<I: Iterator<Item = Vec<u8>>> Iterator for Crew<I> {
    type Item = (u64, Result<Output, Failure>);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some((job, reason)) = self.given_up.pop_front() {
                let why = Why::WorkerLost { reason };
                let (node, attempt, ran) = (None, job.attempt, Duration::ZERO);
                return Some((job.index, Err(Failure { why, node, attempt, ran, task: None })));
            }
            self.feed();
            if self.hands.iter().all(|hand| hand.out.is_empty()) {
                let nobody = self.hands.iter().all(|hand| hand.orders.is_none());
                let input = if nobody && !self.exhausted { self.inputs.next() } else { None };
                let input = Arc::new(input?);
                let job = Job { index: self.taken, attempt: 1, input };
                self.taken += 1;
                self.given_up.push_back((job, "no worker is left".to_owned()));
                continue;
            }
            let Event { hand, what } = self.events.recv().ok()?;
            match what {
                What::Lost(why) => self.lose(hand, &why),
                What::Answered(id, result) => {
                    if let Some(done) = self.hands[hand].take(id, result) {
                        return Some(done);
                    }
                    self.lose(hand, &Lost::Unasked(id).to_string());
                }
            }
        }
    }
}

impl Hand {
    fn start(hand: usize, controller: Controller, events: &Sender<Event>) -> Self {
        let worker = controller.worker.clone();
        let next = controller.next;
        let (orders, todo) = mpsc::channel();
        let hand_of = move |what| Event { hand, what };
        let ender = controller.writer.copy();
        let copied = controller.writer.copy().and_then(|w| Ok((w, controller.writer.copy()?)));
        let started = copied.and_then(|(writer, ender)| {
            thread::Builder::new().name("v1-write".into()).spawn(move || write(writer, &todo))?;
            let events = events.clone();
            thread::Builder::new().name("v1-read".into()).spawn(move || {
                let mut controller = controller;
                let why = read(&mut controller.reader, |id, answer| {
                    events.send(hand_of(What::Answered(id, answer))).is_ok()
                });
                // The writer may wait for a worker that reads no more.
                ender.end(Shutdown::Both);
                let _ = events.send(hand_of(What::Lost(why)));
            })
        });
        let (orders, ender) = match (started, ender) {
            (Ok(_), Ok(ender)) => (Some(orders), Some(ender)),
            _ => (None, None),
        };
        let (out, bytes, window) = (HashMap::new(), 0, WINDOW);
        Self { worker, orders, ender, next, out, bytes, window }
    }

    fn has_room(&self) -> bool {
        self.out.is_empty() || self.bytes < AHEAD
    }

    fn give(&mut self, job: Job) {
        let id = self.next;
        self.next += 1;
        self.bytes += job.input.len();
        if let Some(orders) = &self.orders {
            // Where the writer has failed, the reader says so.
            let _ = orders.send((id, job.input.clone()));
        }
        self.out.insert(id, (job, Instant::now()));
    }

    /// An answer. `None`: to nothing that was asked.
    fn take(
        &mut self,
        id: u64,
        result: Result<Answer, String>,
    ) -> Option<(u64, Result<Output, Failure>)> {
        let (job, since) = self.out.remove(&id)?;
        self.bytes -= job.input.len();
        let (ran, attempt) = (since.elapsed(), job.attempt);
        if ran < SHORT {
            self.window = (self.window * 2).min(WINDOW_MAX);
        } else if ran > LONG {
            self.window = WINDOW;
        }
        let why = match result {
            Ok(Answer { code: 0, output }) => {
                let output = Output::of_worker(output, self.worker.clone(), attempt, ran);
                return Some((job.index, Ok(output)));
            }
            Ok(Answer { code, output }) => Why::ExitCode { code, output },
            Err(reason) => Why::Reported { reason },
        };
        let node = Some(self.worker.to_string());
        Some((job.index, Err(Failure { why, node, attempt, ran, task: None })))
    }
}

/// Writes jobs until there are no more, or the connection fails.
fn write(mut to: Stream, todo: &Receiver<(u64, Arc<Vec<u8>>)>) {
    let mut bytes = BytesMut::with_capacity(READ);
    while let Ok(first) = todo.recv() {
        let mut next = Some(first);
        while let Some((id, input)) = next {
            protocol::put_job(&mut bytes, id, id, input.len() as u64);
            // Small ones leave together; a large one is not copied.
            if input.len() <= READ {
                bytes.extend_from_slice(&input);
            }
            let is_large = input.len() > READ;
            if (is_large || bytes.len() > READ) && to.write_all(&bytes.split()).is_err() {
                return;
            }
            if is_large && to.write_all(&input).is_err() {
                return;
            }
            next = todo.try_recv().ok();
        }
        if to.write_all(&bytes.split()).is_err() {
            return;
        }
    }
    // The worker hears that there is no more.
    to.end(Shutdown::Write);
}

/// Reads answers until `take` wants no more, or there are none. Returns why.
fn read(from: &mut impl Read, mut take: impl FnMut(u64, Result<Answer, String>) -> bool) -> String {
    loop {
        let answered = read_answer(from).and_then(|(id, result)| match result {
            Ok(payload) => Ok((id, Ok(answer(payload)?))),
            Err(words) => Ok((id, Err(words))),
        });
        match answered {
            Ok((id, answer)) => {
                if !take(id, answer) {
                    return "is not needed any more".to_owned();
                }
            }
            Err(lost) => return chain(&lost),
        }
    }
}

#[cfg(test)]
mod tests;
