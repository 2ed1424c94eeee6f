//! Calls: copies of one client's process that share what is kept of its memory, each on a channel of its own.
//!
//! ```text
//!   CALL, IMAGE ... ──▶ the base is made, or changed ── fork ──▶ a copy: three pipes, woken
//!   STDIO, EXITED  ◀── what it writes, and its end
//! ```
//!
//! One loop, which stands still while an image comes: copies run on meanwhile. What ends the connection ends all
//! of them; what a copy does to itself is its own affair.
//!
//! Elsewhere: memory that is kept (`telefork::restore::Base`), what is said (`wire::visit`).

use std::collections::{BTreeMap, VecDeque};
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::Instant;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, kill};
use nix::sys::socket::{MsgFlags, recv};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use sys::ptrace::Session;
use telefork::files::{Overrides, Stdio};
use telefork::restore::{Base, Descriptors, Holdings, Restore};
use wire::Message;
use wire::frame::Kind;
use wire::image::Reader;
use wire::limits::{AWAY_PATIENCE, CALLS_MAX};
use wire::units::Span;
use wire::visit::{Built, Call, CallImage, Exited, Refused, Stage, Stopped, Woken};

use crate::arrival::chain;
use crate::control::{Error, connection, kernel};
use crate::line::{Line, Over};
use crate::streams::{Nonsense, Streams};

/// Whether calls come over a connection, and not one process: its first byte says so.
pub(crate) fn are_meant(first: &UnixStream) -> bool {
    let mut byte = [0];
    let seen = recv(first.as_raw_fd(), &mut byte, MsgFlags::MSG_PEEK);
    seen == Ok(1) && byte[0] == Kind::CALL
}

/// Serves the calls of one client.
pub(crate) fn serve(control: UnixStream, first: UnixStream) -> Result<(), Error> {
    first.set_write_timeout(Some(AWAY_PATIENCE.into())).map_err(kernel("use a connection"))?;
    let line = Line::new(first).map_err(kernel("use a connection"))?;
    control.set_nonblocking(true).map_err(kernel("use the node's socket"))?;
    let (base, copies, later) = (None, BTreeMap::new(), VecDeque::new());
    let mut calls =
        Calls { control, line, base, copies, later, latest: 0, told: None, is_over: false };
    while !calls.is_over {
        calls.turn();
        if !calls.is_over {
            calls.wait()?;
        }
    }
    calls.end();
    Ok(())
}

struct Calls {
    control: UnixStream,
    line: Line,
    base: Option<Base>,
    /// Those that run, by their channels.
    copies: BTreeMap<u64, Copy>,
    /// What came while an image did.
    later: VecDeque<(u64, Message)>,
    /// The highest channel that was used.
    latest: u64,
    /// What the node was told last.
    told: Option<Stage>,
    is_over: bool,
}

struct Copy {
    pid: Pid,
    /// Becomes readable when it ends.
    pidfd: OwnedFd,
    streams: Streams,
    ended: Option<Exited>,
}

impl Calls {
    /// Moves all that can be moved.
    fn turn(&mut self) {
        let mut gone = Vec::new();
        for (channel, copy) in &mut self.copies {
            self.line.channel = *channel;
            copy.streams.turn(Some(&mut self.line));
            if let Some(exited) = copy.ended {
                // What others hold open that it has left behind does not end by itself.
                copy.streams.finish(false);
                copy.streams.turn(Some(&mut self.line));
                if !copy.streams.finish(false) {
                    continue;
                }
                self.line.put(&Message::Exited(exited));
                gone.push(*channel);
            }
        }
        if !gone.is_empty() {
            gone.iter().for_each(|channel| drop(self.copies.remove(channel)));
            // Whose child one is that was left behind nobody can say: it may be of a copy that still runs.
            if self.copies.is_empty() {
                self.end_strangers();
            }
        }
        let stage = if self.copies.is_empty() { Stage::Idle } else { Stage::Runs };
        if self.told != Some(stage) {
            self.told = Some(stage);
            // For its slots, and for people who look.
            let _ = (&self.control).write(&[stage.byte()]);
        }
        if self.line.flush().is_err() {
            self.is_over = true;
        }
    }

    fn wait(&mut self) -> Result<(), Error> {
        let mut wanted = PollFlags::POLLIN;
        wanted.set(PollFlags::POLLOUT, self.line.has_unsent());
        let mut watched = vec![
            PollFd::new(self.control.as_fd(), PollFlags::POLLIN),
            PollFd::new(self.line.socket(), wanted),
        ];
        let is_full = self.line.is_full();
        let mut ends = Vec::with_capacity(self.copies.len());
        for (channel, copy) in &self.copies {
            if copy.ended.is_none() {
                ends.push((*channel, watched.len()));
                watched.push(PollFd::new(copy.pidfd.as_fd(), PollFlags::POLLIN));
            }
            let outputs = copy.streams.outputs().filter(|_| !is_full);
            watched.extend(outputs.map(|end| PollFd::new(end, PollFlags::POLLIN)));
            let inputs = copy.streams.inputs();
            watched.extend(inputs.map(|end| PollFd::new(end, PollFlags::POLLOUT)));
        }
        // One that was stopped by a signal is told of, and its descriptor does not say so.
        let timeout = if ends.is_empty() { PollTimeout::NONE } else { PollTimeout::from(LOOK) };
        match poll(&mut watched, timeout) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(errno) => return Err(kernel("wait")(errno.into())),
        }
        let seen = |at: usize| {
            watched.get(at).and_then(PollFd::revents).is_some_and(|flags| !flags.is_empty())
        };
        let (node, client) = (seen(0), seen(1));
        drop(watched);
        for (channel, _) in ends {
            self.look_at(channel);
        }
        if node {
            match connection(&self.control) {
                // There is nothing to return to: it is closed.
                Ok(Some(_)) | Err(_) => {}
                Ok(None) => self.is_over = true,
            }
        }
        if client {
            self.hear();
        }
        Ok(())
    }

    /// Whether a copy has ended, or stands still.
    fn look_at(&mut self, channel: u64) {
        let Some(copy) = self.copies.get_mut(&channel) else { return };
        match waitpid(copy.pid, Some(WaitPidFlag::WNOHANG | WaitPidFlag::WUNTRACED)) {
            Ok(WaitStatus::Exited(_, code)) => copy.ended = Some(Exited::Code(code)),
            Ok(WaitStatus::Signaled(_, signal, _)) => {
                copy.ended = Some(Exited::Signal(signal as i32 as u8));
            }
            Ok(WaitStatus::Stopped(_, signal)) => {
                self.line.channel = channel;
                self.line.put(&Message::Stopped(Stopped { number: signal as i32 as u8 }));
            }
            Ok(_) | Err(_) => {}
        }
    }

    fn hear(&mut self) {
        let read = self.line.read();
        while !self.is_over {
            let next = match self.later.pop_front() {
                Some(next) => Ok(Some(next)),
                None => self.line.take_any(),
            };
            match next {
                Ok(Some((channel, message))) => self.handle(channel, message),
                Ok(None) => break,
                Err(Over) => self.is_over = true,
            }
        }
        if read.is_err() {
            self.is_over = true;
        }
    }

    fn handle(&mut self, channel: u64, message: Message) {
        match message {
            Message::Call(call) if channel > self.latest => {
                self.latest = channel;
                self.call(channel, call);
            }
            Message::Goodbye(_) => self.is_over = true,
            // Of one that was refused.
            Message::Image(_) if channel <= self.latest => {}
            message @ (Message::Stdio(..) | Message::Taken(_) | Message::Closed(_)) => {
                // What is said of one that has just ended crosses its end.
                if let Some(copy) = self.copies.get_mut(&channel)
                    && let Err(Nonsense) = copy.streams.hear(message)
                {
                    self.is_over = true;
                }
            }
            _ => self.is_over = true,
        }
    }

    fn call(&mut self, channel: u64, call: Call) {
        let taken = self.take(channel, call.image).and_then(|()| {
            if !call.wakes {
                let base = self.base.as_ref().ok_or_else(lost)?;
                let pid = base.pid().map_err(|error| chain(&error))?.0.unsigned_abs();
                return Ok(Message::Built(Built { pid, lease: Span::default() }));
            }
            let copy = self.wake()?;
            let pid = copy.pid.as_raw().unsigned_abs();
            self.copies.insert(channel, copy);
            Ok(Message::Woken(Woken { pid }))
        });
        let answer = taken.unwrap_or_else(|reason| {
            // Both sides must mean the same by the next one.
            self.base = None;
            Message::Refused(Refused { reason })
        });
        self.line.channel = channel;
        self.line.put(&answer);
    }

    /// Takes an image, as it comes.
    fn take(&mut self, channel: u64, image: CallImage) -> Result<(), String> {
        let mut pieces = Pieces {
            line: &mut self.line,
            later: &mut self.later,
            channel,
            piece: bytes::Bytes::new(),
        };
        pieces.line.waiting().map_err(|error| chain(&error))?;
        let read = Reader::new(&mut pieces).map_err(|error| chain(&error));
        let taken = read.and_then(|reader| {
            let mut reader = reader.ok_or("no image came; try again")?;
            match image {
                CallImage::Changes => {
                    let base = self.base.as_mut().ok_or_else(lost)?;
                    base.change(&mut reader).map_err(|error| chain(&error))
                }
                CallImage::Whole => {
                    // There is not room for both.
                    self.base = None;
                    let restore = Restore {
                        keeps_numbers: false,
                        ends_with_builder: true,
                        session: Session::Group,
                        ..Restore::default()
                    };
                    let base = restore.base(&mut reader).map_err(|error| chain(&error))?;
                    self.base = Some(base);
                    Ok(())
                }
            }
        });
        self.line.not_waiting().map_err(|error| chain(&error))?;
        taken
    }

    /// A copy of what is kept, which runs.
    fn wake(&mut self) -> Result<Copy, String> {
        if self.copies.len() >= CALLS_MAX {
            let words = format!("{CALLS_MAX} copies run there already; wait for one of them");
            return Err(words);
        }
        let base = self.base.as_mut().ok_or_else(lost)?;
        let (streams, ends) = Streams::new().map_err(|error| chain(&error))?;
        let opened = Descriptors::Opened(Stdio::Given(ends), Overrides::none());
        let awake = base
            .fork()
            .and_then(|fork| fork.finish(Holdings::Now(opened)))
            .and_then(telefork::restore::Built::wake)
            .map_err(|error| chain(&error))?;
        Ok(Copy { pid: Pid::from_raw(awake.pid.0), pidfd: awake.pidfd, streams, ended: None })
    }

    /// What copies have left behind that have all ended.
    fn end_strangers(&self) {
        let known = self.base.as_ref().and_then(|base| base.pid().ok());
        let _ = sys::process::end_adopted(known.as_slice());
    }

    /// Nothing is left when this returns.
    fn end(&mut self) {
        self.base = None;
        for copy in self.copies.values().filter(|copy| copy.ended.is_none()) {
            let _ = kill(copy.pid, Signal::SIGKILL);
        }
        for copy in self.copies.values().filter(|copy| copy.ended.is_none()) {
            let _ = waitpid(copy.pid, None);
        }
        self.copies.clear();
        let _ = sys::process::end_adopted(&[]);
    }
}

/// How often copies are looked at in vain: how late it is told that one was stopped, in milliseconds.
const LOOK: u16 = 500;

/// What is said of other copies while an image comes.
const LATER_MAX: usize = 16 * CALLS_MAX;

fn lost() -> String {
    "nothing is kept of the process there; send all of it".to_owned()
}

/// The pieces of an image, as one stream.
struct Pieces<'a> {
    line: &'a mut Line,
    later: &'a mut VecDeque<(u64, Message)>,
    channel: u64,
    piece: bytes::Bytes,
}

impl Read for Pieces<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let over = || io::Error::from(ErrorKind::ConnectionReset);
        while self.piece.is_empty() {
            match self.line.take_any().map_err(|Over| over())? {
                Some((channel, Message::Image(piece))) if channel == self.channel => {
                    if piece.is_empty() {
                        return Ok(0);
                    }
                    self.piece = piece;
                }
                // Images come one after another.
                Some((_, Message::Call(_) | Message::Image(_))) => return Err(over()),
                Some(_) if self.later.len() >= LATER_MAX => return Err(over()),
                Some(other) => self.later.push_back(other),
                None => {
                    self.line.flush().map_err(|Over| over())?;
                    let begun = Instant::now();
                    self.line.read().map_err(|Over| over())?;
                    // Nothing came for as long as a read waits.
                    if begun.elapsed() >= AWAY_PATIENCE.into() {
                        return Err(over());
                    }
                }
            }
        }
        let count = into.len().min(self.piece.len());
        into[..count].copy_from_slice(&self.piece.split_to(count));
        Ok(count)
    }
}
