//! A visitor's streams, signals and end, as if it ran here.

use std::io::{ErrorKind, Read, Write, stderr, stdin, stdout};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use bytes::Bytes;
use client::memory::line::now;
use client::visit::Visit;
use client::visit::flow::{Piece, Receiving, Sending};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use signal_hook::consts::{SIGCONT, SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGTSTP, SIGUSR1, SIGUSR2};
use wire::Message;
use wire::hello::Goodbye;
use wire::visit::{Closed, Exited, Signal, Stdio, Taken};

use crate::codes;
use crate::errors::complaint;

/// What is passed on. Whatever else comes does here what it always does.
const SIGNALS: [i32; 8] = [SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2, SIGTSTP, SIGCONT];

struct Streams {
    input: Sending,
    /// There may be more to read.
    is_open: bool,
    outputs: [Receiving; 2],
}

/// Serves a visitor until it ends, and ends as it did.
pub(super) fn serve(visit: &mut Visit) -> anyhow::Result<ExitCode> {
    let signals = SIGNALS.iter().map(|&number| -> anyhow::Result<(i32, UnixStream)> {
        let (heard, ring) = UnixStream::pair()?;
        heard.set_nonblocking(true)?;
        signal_hook::low_level::pipe::register(number, ring)?;
        Ok((number, heard))
    });
    let signals: Vec<_> = signals.collect::<Result<_, _>>().context("cannot hear of signals")?;
    let mut streams =
        Streams { input: Sending::default(), is_open: true, outputs: Default::default() };
    loop {
        // 1. All that has come.
        while let Some(message) = visit.next(now()).map_err(|error| gone(visit, &error))? {
            if let Some(code) = streams.hear(visit, message)? {
                return Ok(code);
            }
        }
        // 2. What is here for the visitor.
        while visit.unsent() == 0
            && let Some(piece) = streams.input.poll_piece()
        {
            let message = match piece {
                Piece::Bytes { at, bytes } => {
                    Message::Stdio(Stdio { stream: 0, at }, Bytes::from(bytes))
                }
                Piece::Closed { at } => Message::Closed(Closed { stream: 0, at }),
            };
            visit.send(&message).map_err(|error| gone(visit, &error))?;
        }
        // 3. More of either.
        let (input, socket) = (stdin(), visit.socket());
        let mut wanted = PollFlags::POLLIN;
        wanted.set(PollFlags::POLLOUT, visit.unsent() > 0);
        let mut watched = vec![PollFd::new(socket.as_fd(), wanted)];
        watched
            .extend(signals.iter().map(|(_, heard)| PollFd::new(heard.as_fd(), PollFlags::POLLIN)));
        let reads = streams.is_open && streams.input.room() > 0 && visit.unsent() == 0;
        if reads {
            watched.push(PollFd::new(input.as_fd(), PollFlags::POLLIN));
        }
        let due = Duration::from(visit.poll_timeout().since(now())) + Duration::from_millis(1);
        let _ = poll(&mut watched, PollTimeout::try_from(due).unwrap_or(PollTimeout::MAX));
        let has_input = reads
            && watched.last().and_then(PollFd::revents).is_some_and(|flags| !flags.is_empty());
        drop(watched);
        if has_input {
            streams.read(&mut input.lock());
        }
        for (number, heard) in &signals {
            let mut bytes = [0; 16];
            let mut heard = heard;
            if heard.read(&mut bytes).is_ok_and(|count| count > 0) {
                let number = u8::try_from(*number).unwrap_or_default();
                let message = Message::Signal(Signal { number });
                visit.send(&message).map_err(|error| gone(visit, &error))?;
            }
        }
    }
}

fn gone(visit: &Visit, error: &client::memory::Error) -> anyhow::Error {
    complaint(&codes::E0708, format!("{} is gone, and the process with it", visit.node()))
        .note(error.to_string())
        .help("wake it again from its image, on another node")
        .into()
}

impl Streams {
    fn read(&mut self, input: &mut impl Read) {
        let mut piece = [0; 16 * 1024];
        let room = self.input.room().min(piece.len());
        match input.read(&mut piece[..room]) {
            Ok(count @ 1..) => self.input.push(&piece[..count]),
            Err(error)
                if matches!(error.kind(), ErrorKind::Interrupted | ErrorKind::WouldBlock) => {}
            Ok(0) | Err(_) => {
                self.is_open = false;
                self.input.close();
            }
        }
    }

    /// One message; how to end, if the visitor has.
    fn hear(&mut self, visit: &mut Visit, message: Message) -> anyhow::Result<Option<ExitCode>> {
        let nonsense = || anyhow::anyhow!("{} sent what makes no sense", visit.node());
        match message {
            Message::Stdio(Stdio { stream: stream @ 1..=2, at }, bytes) => {
                let output = &mut self.outputs[usize::from(stream) - 1];
                let known = output.arrived(at, bytes.len()).ok_or_else(nonsense)?;
                // Who does not read us any more is noticed by the visitor when it is told of SIGPIPE's kin.
                let written = match stream {
                    1 => stdout().write_all(&bytes[known..]).and_then(|()| stdout().flush()),
                    _ => stderr().write_all(&bytes[known..]),
                };
                if let Err(error) = written
                    && error.kind() == ErrorKind::BrokenPipe
                {
                    visit.send(&Message::Signal(Signal { number: 13 }))?;
                }
                output.done(bytes.len() - known);
                if let Some(bytes) = output.news() {
                    visit.send(&Message::Taken(Taken { stream, bytes }))?;
                }
            }
            Message::Taken(Taken { stream: 0, bytes }) => {
                self.input.taken(bytes).then_some(()).ok_or_else(nonsense)?;
            }
            Message::Stopped(_) => {
                let _ = nix::sys::signal::raise(nix::sys::signal::Signal::SIGSTOP);
            }
            Message::Exited(exited) => {
                visit.send(&Message::Goodbye(Goodbye::Leaving))?;
                visit.close();
                return Ok(Some(end(exited)));
            }
            _ => {}
        }
        Ok(None)
    }
}

/// As the visitor ended.
pub(super) fn end(exited: Exited) -> ExitCode {
    match exited {
        Exited::Code(code) => ExitCode::from(code as u8),
        Exited::Signal(number) => {
            // Not a dump of this process, which has done nothing wrong.
            let _ = sys::limits::set_limit(
                sys::Pid::own(),
                sys::limits::Resource::CoreDump,
                sys::limits::Limit::fixed(0),
            );
            let _ = signal_hook::low_level::emulate_default_handler(i32::from(number));
            ExitCode::from(128_u8.saturating_add(number))
        }
    }
}
