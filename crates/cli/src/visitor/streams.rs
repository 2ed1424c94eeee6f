//! A visitor's streams, signals and end, as if it ran here.

use std::io::{ErrorKind, IsTerminal, Read, Write, stderr, stdin, stdout};
use std::os::fd::AsFd;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use bytes::Bytes;
use client::memory::Error;
use client::memory::line::now;
use client::visit::Visit;
use client::visit::flow::{Piece, Sending};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, kill, raise};
use signal_hook::consts::{
    SIGALRM, SIGCONT, SIGHUP, SIGINT, SIGIO, SIGPROF, SIGQUIT, SIGTERM, SIGTSTP, SIGUSR1, SIGUSR2,
    SIGVTALRM, SIGWINCH, SIGXCPU,
};
use wire::Message;
use wire::hello::Goodbye;
use wire::visit::{self, Closed, Exited, Stdio, TERMINAL, Taken};

use super::outputs::Outputs;
use super::screen::{Screen, is_ours};
use super::{Heard, Unreached, Waiting, is_over, moment, reach};
use crate::codes;
use crate::errors::complaint;

/// What is heard of: all of it is passed on but SIGWINCH, which tells of a size. Whatever else comes does here
/// what it always does.
pub(crate) const SIGNALS: [i32; 14] = [
    SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2, SIGTSTP, SIGCONT, SIGALRM, SIGVTALRM,
    SIGPROF, SIGIO, SIGXCPU, SIGWINCH,
];
/// Those by which somebody wants an end.
pub(super) const ENDING: [i32; 4] = [SIGINT, SIGTERM, SIGHUP, SIGQUIT];

/// How long nothing is waited for that nobody tells of: who is in the foreground of the terminal.
const LOOK: Duration = Duration::from_millis(500);

/// How long what a killed visitor wrote may take to be written.
const KILLED: Duration = Duration::from_secs(1);

/// What of this command a visitor has.
pub(crate) struct Served {
    pub(crate) screen: Option<Screen>,
    /// It has a terminal there, whether or not this command still has one.
    pub(crate) has_terminal: bool,
    /// Its standard input is this command's, and no file that it took along.
    pub(crate) has_input: bool,
    /// What it drew is on another screen: it is asked to draw anew.
    pub(crate) is_redrawn: bool,
    /// Signals that came before there was a connection to pass them on over.
    pub(crate) early: Vec<i32>,
}

/// Something that goes to the visitor.
struct Going {
    stream: u8,
    sending: Sending,
    /// There may be more.
    is_open: bool,
    /// On a new connection, until the node has said how much of it it has.
    is_resuming: bool,
}

impl Going {
    fn new(stream: u8) -> Self {
        Self { stream, sending: Sending::default(), is_open: true, is_resuming: false }
    }

    fn has_room(&self) -> bool {
        self.is_open && self.sending.room() > 0
    }

    fn send(&mut self, visit: &mut Visit) -> Result<(), Error> {
        while !self.is_resuming
            && visit.unsent() == 0
            && let Some(piece) = self.sending.poll_piece()
        {
            let stream = self.stream;
            let message = match piece {
                Piece::Bytes { at, bytes } => {
                    Message::Stdio(Stdio { stream, at }, Bytes::from(bytes))
                }
                Piece::Closed { at } => Message::Closed(Closed { stream, at }),
            };
            visit.send(&message)?;
        }
        Ok(())
    }
}

struct Streams {
    input: Going,
    typed: Going,
    signals: Signals,
    outputs: Outputs,
    screen: Option<Screen>,
}

/// Signals that have come: for the visitor, unless this command has sent them itself.
struct Signals {
    going: Going,
    /// Those that this command has sent to its own group: they are not passed on.
    own: Vec<i32>,
    /// Those that are passed on, a bit for each.
    passed: u64,
    is_resized: bool,
}

impl Signals {
    fn keep(&mut self, came: Vec<i32>) {
        for number in came {
            if number == SIGWINCH {
                self.is_resized = true;
            } else if let Some(at) = self.own.iter().position(|known| *known == number) {
                self.own.swap_remove(at);
            } else if self.going.sending.room() > 0 {
                self.passed |= 1 << (number & 63);
                self.going.sending.push(&[u8::try_from(number).unwrap_or_default()]);
            }
        }
    }
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
    served: Served,
    patience: Duration,
) -> anyhow::Result<ExitCode> {
    let mut streams = Streams::new(served)?;
    loop {
        let turn = match streams.turn(visit, heard) {
            Ok(turn) => turn,
            Err(error) => match error.downcast::<Error>() {
                Ok(_) => Turn::Lost,
                Err(error) => return Err(error),
            },
        };
        match turn {
            Turn::Goes => {}
            Turn::Ended(exited) => {
                streams.write_out(heard, exited);
                // Before this ends, however it does.
                if let Some(mut screen) = streams.screen.take() {
                    screen.leave();
                }
                return Ok(end(exited));
            }
            Turn::Lost => {
                moment("lost");
                streams.reach(visit, heard, Instant::now() + patience)?;
                streams.again(visit)?;
            }
        }
    }
}

impl Streams {
    fn new(served: Served) -> anyhow::Result<Self> {
        let Served { screen, has_terminal, has_input, is_redrawn, early } = served;
        let mut outputs = Outputs::new()?;
        outputs.add(1, stdout());
        outputs.add(2, stderr());
        match &screen {
            Some(screen) => outputs.add(TERMINAL, screen.file()),
            None if has_terminal => outputs.add(TERMINAL, sys::files::null()?),
            None => {}
        }
        let mut input = Going::new(0);
        // What is typed is the terminal's, once.
        input.is_open = has_input && (screen.is_none() || !stdin().is_terminal());
        let (typed, mut going) = (Going::new(TERMINAL), Going::new(visit::SIGNALS));
        if is_redrawn {
            going.sending.push(&[SIGWINCH as u8]);
        }
        let mut signals = Signals { going, own: Vec::new(), passed: 0, is_resized: false };
        signals.keep(early);
        Ok(Self { input, typed, signals, outputs, screen })
    }

    /// Until there is a connection again. Signals wait for it; who insists is told what is known.
    fn reach(&mut self, visit: &mut Visit, heard: &Heard, until: Instant) -> anyhow::Result<()> {
        let (node, mut waiting) = (visit.node().to_owned(), Waiting::default());
        let mut is_unwanted = || {
            // Ctrl-C is heard meanwhile: nobody reads what is typed.
            self.screen.iter_mut().for_each(Screen::leave_sane);
            waiting.is_over(heard, &node)
        };
        let reached = reach(visit, until, &mut is_unwanted);
        self.signals.keep(waiting.came());
        reached.map_err(|unreached| lost(visit, &unreached))
    }

    /// On a new connection, whose first words are the node's.
    fn again(&mut self, visit: &mut Visit) -> anyhow::Result<()> {
        for going in [&mut self.input, &mut self.typed, &mut self.signals.going] {
            going.is_resuming = true;
        }
        self.signals.is_resized = self.screen.is_some();
        for output in self.outputs.all() {
            let bytes = output.receiving.again();
            output.is_closed = false;
            // Should it be lost as well, the next turn sees that.
            let _ = visit.send(&Message::Taken(Taken { stream: output.stream, bytes }));
        }
        Ok(())
    }

    /// One round: what has come, what is here to be sent, and waiting for more of either.
    fn turn(&mut self, visit: &mut Visit, heard: &Heard) -> anyhow::Result<Turn> {
        if let Some(screen) = &mut self.screen {
            screen.enter();
        }
        // 1. All that has come. Who was let go on is not stopped by what came before that.
        self.signals.keep(heard.take());
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
        self.tell_written(visit)?;
        // 2. What is here for the visitor.
        self.signals.keep(heard.take());
        self.signals.going.send(visit)?;
        if let Some(screen) = &self.screen {
            if std::mem::take(&mut self.signals.is_resized)
                && let Some(size) = screen.size()
            {
                visit.send(&Message::Resize(size))?;
            }
            self.typed.send(visit)?;
        }
        self.input.send(visit)?;
        // 3. More of either.
        self.wait(visit, heard);
        Ok(Turn::Goes)
    }

    fn wait(&mut self, visit: &Visit, heard: &Heard) {
        let (input, socket) = (stdin(), visit.socket());
        let is_idle = visit.unsent() == 0;
        let mut flags = PollFlags::POLLIN;
        flags.set(PollFlags::POLLOUT, !is_idle);
        let mut watched = vec![PollFd::new(socket.as_fd(), flags)];
        watched.extend(heard.rings().map(|ring| PollFd::new(ring.as_fd(), PollFlags::POLLIN)));
        watched.push(PollFd::new(self.outputs.heard(), PollFlags::POLLIN));
        let wants_input = self.input.has_room() && is_idle;
        let wants_typed = self.screen.is_some() && self.typed.has_room() && is_idle;
        let reads_input = wants_input && (!input.is_terminal() || is_ours(&input));
        let shown = self.screen.as_ref().filter(|screen| wants_typed && screen.is_ours());
        let first = watched.len();
        let mut ends = Vec::new();
        if reads_input {
            watched.push(PollFd::new(input.as_fd(), PollFlags::POLLIN));
            ends.push(0);
        }
        if let Some(screen) = shown {
            watched.push(PollFd::new(screen.file(), PollFlags::POLLIN));
            ends.push(TERMINAL);
        }
        let mut due = Duration::from(visit.poll_timeout().since(now())) + Duration::from_millis(1);
        if wants_input != reads_input || self.screen.is_some() {
            due = due.min(LOOK);
        }
        let _ = poll(&mut watched, PollTimeout::try_from(due).unwrap_or(PollTimeout::MAX));
        let came = watched[first..].iter().map(|end| end.revents().is_some_and(|f| !f.is_empty()));
        let came: Vec<u8> =
            ends.into_iter().zip(came).filter(|(_, it)| *it).map(|(e, _)| e).collect();
        drop(watched);
        if came.contains(&0) {
            self.read(&mut input.lock());
        }
        if came.contains(&TERMINAL)
            && let Some(screen) = &mut self.screen
        {
            for signal in screen.read(&mut self.typed.sending, &mut self.typed.is_open) {
                // As the terminal would have told them; it tells us as well.
                if let Ok(signal) = Signal::try_from(signal)
                    && kill(nix::unistd::Pid::from_raw(0), signal).is_ok()
                {
                    self.signals.own.push(signal as i32);
                }
            }
        }
    }

    /// Tells the node what was written here, and what never can be.
    fn tell_written(&mut self, visit: &mut Visit) -> anyhow::Result<()> {
        self.outputs.look();
        for output in self.outputs.all() {
            let stream = output.stream;
            if let Some(error) = output.failure() {
                output.is_closed = true;
                if stream != 2 && error.kind() != ErrorKind::BrokenPipe {
                    let what = "what the process writes cannot be written here";
                    complain(&mut self.screen, what, &error);
                }
                match stream {
                    TERMINAL => self.typed.sending.close(),
                    // It is told by its own next write, as by any pipe.
                    stream => visit.send(&Message::Closed(Closed { stream, at: 0 }))?,
                }
            }
            if let Some(bytes) = output.receiving.news() {
                visit.send(&Message::Taken(Taken { stream, bytes }))?;
            }
        }
        Ok(())
    }

    /// It has ended: what it wrote is written, unless somebody does not want to wait for that.
    fn write_out(&mut self, heard: &Heard, exited: Exited) {
        // Whom this command has killed does not wait for his reader.
        let is_killed =
            matches!(exited, Exited::Signal(by) if self.signals.passed & 1 << (by & 63) != 0);
        let until = is_killed.then(|| Instant::now() + KILLED);
        loop {
            self.outputs.look();
            let is_unwanted = heard.take().iter().any(|number| ENDING.contains(number));
            let is_over = until.is_some_and(|until| Instant::now() >= until);
            if self.outputs.are_done() || is_unwanted || is_over {
                break;
            }
            let mut watched = vec![PollFd::new(self.outputs.heard(), PollFlags::POLLIN)];
            watched.extend(heard.rings().map(|ring| PollFd::new(ring.as_fd(), PollFlags::POLLIN)));
            let timeout = until.and_then(|_| PollTimeout::try_from(KILLED).ok());
            let _ = poll(&mut watched, timeout.unwrap_or(PollTimeout::NONE));
        }
        for output in self.outputs.all() {
            if let Some(error) = output.failure()
                && error.kind() != ErrorKind::BrokenPipe
            {
                complain(&mut self.screen, "what the process wrote is lost", &error);
            }
        }
    }

    fn read(&mut self, input: &mut impl Read) {
        let mut piece = [0; 16 * 1024];
        let room = self.input.sending.room().min(piece.len());
        match input.read(&mut piece[..room]) {
            Ok(count @ 1..) => self.input.sending.push(&piece[..count]),
            Err(error)
                if matches!(error.kind(), ErrorKind::Interrupted | ErrorKind::WouldBlock) => {}
            Ok(0) | Err(_) => {
                self.input.is_open = false;
                self.input.sending.close();
            }
        }
    }

    /// One message; how the visitor ended, if it has.
    fn hear(&mut self, visit: &mut Visit, message: Message) -> anyhow::Result<Option<Exited>> {
        let nonsense = || anyhow::anyhow!("{} sent what makes no sense", visit.node());
        match message {
            Message::Stdio(Stdio { stream, at }, bytes) => {
                let output = self.outputs.of(stream).ok_or_else(nonsense)?;
                let known = output.receiving.arrived(at, bytes.len()).ok_or_else(nonsense)?;
                self.outputs.put(stream, &bytes[known..])?;
            }
            Message::Taken(Taken { stream, bytes }) => {
                let all = [&mut self.input, &mut self.typed, &mut self.signals.going];
                let going = all.into_iter().find(|going| going.stream == stream);
                let going = going.ok_or_else(nonsense)?;
                going.sending.taken(bytes).then_some(()).ok_or_else(nonsense)?;
                if std::mem::take(&mut going.is_resuming) {
                    going.sending.again();
                }
            }
            Message::Modes(modes) => {
                if let Some(screen) = &mut self.screen {
                    screen.told(modes);
                }
            }
            // Unless it is on its way to go on.
            Message::Stopped(_) if !self.signals.going.sending.holds(SIGCONT as u8) => {
                if let Some(screen) = &mut self.screen {
                    screen.leave();
                }
                let _ = raise(Signal::SIGSTOP);
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

/// Lines begin where they should: the next turn has the terminal raw again.
fn complain(screen: &mut Option<Screen>, what: &str, error: &std::io::Error) {
    screen.iter_mut().for_each(Screen::leave);
    // What cannot be written to may be where this goes, too.
    let _ = writeln!(stderr(), "error: {what}: {error}");
}

/// The connection is lost for good, which says more or less of the process.
fn lost(visit: &Visit, unreached: &Unreached) -> anyhow::Error {
    let node = visit.node();
    let what = match unreached {
        Unreached::Gone(error) if is_over(error) => {
            format!("the process that moved to {node} is no more")
        }
        Unreached::Gone(_) => format!("{node} is gone, and the process with it"),
        Unreached::Unknown(_) => {
            format!("{node} cannot be reached, and the process may run on there")
        }
    };
    let error = match unreached {
        Unreached::Gone(error) => Some(error),
        Unreached::Unknown(error) => error.as_ref(),
    };
    let help = match unreached {
        Unreached::Gone(error) if is_over(error) => "look at what it has done",
        Unreached::Gone(_) => "start it again, or wake it from an image of it if there is one",
        Unreached::Unknown(_) => "see with `farcall ps`, once the node can be reached",
    };
    let lost = complaint(&codes::E0708, what).help(help);
    match error {
        Some(error) => lost.note(error.to_string()).into(),
        None => lost.into(),
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
