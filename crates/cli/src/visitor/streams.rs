//! A visitor's streams, signals and end, as if it ran here.

use std::io::{ErrorKind, IsTerminal, Read, Write, stderr, stdin, stdout};
use std::os::fd::AsFd;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use bytes::Bytes;
use client::memory::Error;
use client::memory::line::now;
use client::visit::Visit;
use client::visit::flow::{Piece, Receiving, Sending};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use signal_hook::consts::{SIGCONT, SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGTSTP, SIGUSR1, SIGUSR2};
use wire::Message;
use wire::hello::Goodbye;
use wire::visit::{Closed, Exited, Signal, Stdio, Taken};

use super::{Heard, moment, reach};
use crate::codes;
use crate::errors::complaint;

/// What is passed on. Whatever else comes does here what it always does.
pub(crate) const SIGNALS: [i32; 8] =
    [SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2, SIGTSTP, SIGCONT];

/// How long nothing is waited for that nobody tells of: who is in the foreground of the terminal.
const LOOK: Duration = Duration::from_millis(500);

struct Streams {
    input: Sending,
    /// There may be more to read.
    is_open: bool,
    outputs: [Receiving; 2],
    /// On a new connection, until the node has said how much of the input it has.
    is_resuming: bool,
}

/// What became of one connection.
enum Turn {
    Goes,
    Lost,
    Ended(Exited),
}

/// Serves a visitor until it ends, and ends as it did. A connection that is lost is made again for so long.
pub(crate) fn serve(
    visit: &mut Visit,
    heard: &Heard,
    patience: Duration,
) -> anyhow::Result<ExitCode> {
    let mut streams = Streams {
        input: Sending::default(),
        is_open: true,
        outputs: Default::default(),
        is_resuming: false,
    };
    let mut wanted = heard.take();
    loop {
        let turn = match streams.turn(visit, heard, &mut wanted) {
            Ok(turn) => turn,
            Err(error) => match error.downcast::<Error>() {
                Ok(_) => Turn::Lost,
                Err(error) => return Err(error),
            },
        };
        match turn {
            Turn::Goes => {}
            Turn::Ended(exited) => return Ok(end(exited)),
            Turn::Lost => {
                moment("lost");
                let mut kept = Vec::new();
                let ends = [SIGINT, SIGTERM, SIGHUP, SIGQUIT];
                let stops = std::cell::RefCell::new(&mut kept);
                let is_unwanted = || {
                    let came = heard.take();
                    let is_unwanted = came.iter().any(|number| ends.contains(number));
                    stops.borrow_mut().extend(came);
                    is_unwanted
                };
                let until = Instant::now() + patience;
                reach(visit, until, &is_unwanted).map_err(|error| gone(visit, &error))?;
                wanted.extend(kept);
                streams.again(visit)?;
            }
        }
    }
}

impl Streams {
    /// On a new connection, whose first words are the node's.
    fn again(&mut self, visit: &mut Visit) -> anyhow::Result<()> {
        self.is_resuming = true;
        for (stream, output) in (1..).zip(&mut self.outputs) {
            let bytes = output.again();
            // Should it be lost as well, the next turn sees that.
            let _ = visit.send(&Message::Taken(Taken { stream, bytes }));
        }
        Ok(())
    }

    /// One round: what has come, what is here to be sent, and waiting for more of either.
    fn turn(
        &mut self,
        visit: &mut Visit,
        heard: &Heard,
        wanted: &mut Vec<i32>,
    ) -> anyhow::Result<Turn> {
        // 1. All that has come.
        while let Some(message) = visit.next(now())? {
            if let Message::Refused(_) = message {
                let what = format!("the process on {} has never run there", visit.node());
                let help = "see with `farcall ps` what does";
                return Err(complaint(&codes::E0708, what).help(help).into());
            }
            if let Some(exited) = self.hear(visit, message)? {
                return Ok(Turn::Ended(exited));
            }
        }
        // 2. What is here for the visitor.
        for number in wanted.drain(..) {
            let number = u8::try_from(number).unwrap_or_default();
            visit.send(&Message::Signal(Signal { number }))?;
        }
        while !self.is_resuming
            && visit.unsent() == 0
            && let Some(piece) = self.input.poll_piece()
        {
            let message = match piece {
                Piece::Bytes { at, bytes } => {
                    Message::Stdio(Stdio { stream: 0, at }, Bytes::from(bytes))
                }
                Piece::Closed { at } => Message::Closed(Closed { stream: 0, at }),
            };
            visit.send(&message)?;
        }
        // 3. More of either.
        let (input, socket) = (stdin(), visit.socket());
        let mut flags = PollFlags::POLLIN;
        flags.set(PollFlags::POLLOUT, visit.unsent() > 0);
        let mut watched = vec![PollFd::new(socket.as_fd(), flags)];
        watched.extend(heard.rings().map(|ring| PollFd::new(ring.as_fd(), PollFlags::POLLIN)));
        let has_room = self.is_open && self.input.room() > 0 && visit.unsent() == 0;
        let is_ours = !has_room || is_in_foreground();
        let reads = has_room && is_ours;
        if reads {
            watched.push(PollFd::new(input.as_fd(), PollFlags::POLLIN));
        }
        let mut due = Duration::from(visit.poll_timeout().since(now())) + Duration::from_millis(1);
        if !is_ours {
            due = due.min(LOOK);
        }
        let _ = poll(&mut watched, PollTimeout::try_from(due).unwrap_or(PollTimeout::MAX));
        let has_input = reads
            && watched.last().and_then(PollFd::revents).is_some_and(|flags| !flags.is_empty());
        drop(watched);
        if has_input {
            self.read(&mut input.lock());
        }
        wanted.extend(heard.take());
        Ok(Turn::Goes)
    }
}

/// Whether what is typed is for this process: to read from a terminal in the background would stop it.
fn is_in_foreground() -> bool {
    let input = stdin();
    !input.is_terminal()
        || nix::unistd::tcgetpgrp(&input).is_ok_and(|group| group == nix::unistd::getpgrp())
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

    /// One message; how the visitor ended, if it has.
    fn hear(&mut self, visit: &mut Visit, message: Message) -> anyhow::Result<Option<Exited>> {
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
                if std::mem::take(&mut self.is_resuming) {
                    self.input.again();
                }
            }
            Message::Stopped(_) => {
                let _ = nix::sys::signal::raise(nix::sys::signal::Signal::SIGSTOP);
            }
            Message::Exited(exited) => {
                // The node forgets its end in time even if it does not hear us.
                let _ = visit.send(&Message::Goodbye(Goodbye::Leaving));
                visit.close();
                return Ok(Some(exited));
            }
            _ => {}
        }
        Ok(None)
    }
}

/// As the visitor ended.
pub(crate) fn end(exited: Exited) -> ExitCode {
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
