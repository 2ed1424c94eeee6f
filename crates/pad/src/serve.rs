//! A pad's life: its first connection, the image, then one loop until the visit is over.

use std::io::{self, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;

use logic::visit::flow::Receiving;
use logic::visit::{Pad, PadEffect, PadEvent, Terms};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, kill, killpg};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{Pid, dup2_stderr, dup2_stdin, dup2_stdout};
use sys::clock::monotonic_nanoseconds;
use sys::uffd::Right;
use wire::Message;
use wire::limits::AWAY_PATIENCE;
use wire::units::Time;
use wire::visit::{
    Closed, Exited, Lane, PLAIN, SIGNALS, Stage, Stdio, TERMINAL, Taken, WITH_TERMINAL,
};
use worker::jail;

use crate::arrival::{Behind, Build, Built, chain};
use crate::calls;
use crate::control::{Error, connection, kernel};
use crate::follow::{Following, Lanes};
use crate::line::{Line, Over};
use crate::streams::{Nonsense, Streams};
use crate::tee::Chained;
use crate::terminal::Terminal;

/// How long the connections for pages may take through the node, when the image is here already.
const LANES: Duration = Duration::from_secs(10);

/// How long it may take until it is known why a visitor was killed.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// Descriptors that a visitor may have open.
const OPEN_FILES_MAX: u64 = 4096;

/// What a pad gives up before it reads an image.
#[derive(Clone, Debug)]
pub struct Rules {
    pub level: jail::Level,
    pub scratch: PathBuf,
    pub account: Option<u32>,
    /// Whether the memory of its visitor may follow it, which the node has tried.
    pub follow: bool,
    /// Is told what its jail lacks.
    pub notice: fn(&str),
}

/// Serves one visit, whose connections come over `control`.
pub fn serve(control: UnixStream, rules: &Rules, build: Build) -> Result<(), Error> {
    serve_chained(control, rules, build, Chained::default())
}

/// The same for a visit whose image comes from, or goes on to, another node.
pub fn serve_chained(
    control: UnixStream,
    rules: &Rules,
    build: Build,
    chained: Chained,
) -> Result<(), Error> {
    let Some((what @ (PLAIN | WITH_TERMINAL), first)) = connection(&control)? else {
        return Err(Error::NoConnection);
    };
    let terminal = (what == WITH_TERMINAL).then(|| Terminal::new(rules.account)).transpose();
    let writable = terminal.as_ref().ok().and_then(Option::as_ref).map(Terminal::writable);
    // Before the rights are given up, of which it keeps one.
    let right = rules.follow.then(|| Right::keep(rules.account.is_some())).transpose();
    let right = right.map_err(jail::Error::from)?;
    let report = jail::apply(
        rules.level,
        &jail::Rules {
            scratch: rules.scratch.clone(),
            writable: writable.unwrap_or_default(),
            user: rules.account.map(|id| jail::User { uid: id, gid: id }),
            open_files_max: OPEN_FILES_MAX,
            file_bytes_max: None,
            processes_max: None,
        },
    )?;
    for gap in report.gaps {
        (rules.notice)(&gap);
    }
    // A child that is to be filled is ours to trace from its first moment. Neighbours are kept out by their
    // accounts, or by Landlock, as before.
    sys::limits::dumpable().map_err(jail::Error::from)?;
    // Who changes his user is for a moment not bound to die with the node: its end of the socket tells.
    if sys::socket::has_hung_up(&control).map_err(kernel("look at the node's socket"))? {
        return Err(Error::NoConnection);
    }
    first.set_nonblocking(false).map_err(kernel("use a connection"))?;
    // One that says nothing must not hold its place for ever.
    let patience = Some(Duration::from(AWAY_PATIENCE));
    first.set_read_timeout(patience).map_err(kernel("use a connection"))?;
    if chained.from.is_none() && calls::are_meant(&first) {
        // No memory follows a copy.
        drop(right);
        return calls::serve(control, first);
    }
    Visit::begin(control, first, terminal)?.run(build, right, chained)
}

struct Visit {
    control: UnixStream,
    /// Says that a child of ours has changed.
    children: UnixStream,
    pad: Pad,
    line: Option<Line>,
    streams: Streams,
    /// Or why it cannot have the one that it is to have.
    terminal: Result<Option<Terminal>, sys::Error>,
    signals: Receiving,
    /// Those that it was told, a bit for each.
    told: u64,
    built: Option<Box<dyn Built>>,
    lanes: Lanes,
    /// What it has run ahead of.
    following: Option<Following>,
    /// Once it runs.
    visitor: Option<Pid>,
    /// How it ended.
    ended: Option<Exited>,
    /// All that it wrote, and its end, is on its way over the latest line.
    is_seen_off: bool,
    is_over: bool,
}

fn now() -> Time {
    Time(monotonic_nanoseconds())
}

impl Visit {
    fn begin(
        control: UnixStream,
        first: UnixStream,
        terminal: Result<Option<Terminal>, sys::Error>,
    ) -> Result<Self, Error> {
        let pipes = Streams::new().map_err(kernel("make pipes"))?;
        let (mut streams, [input, output, errors]) = pipes;
        give(&input, &output, &errors).map_err(|errno| kernel("place pipes")(errno.into()))?;
        if let Ok(Some(terminal)) = &terminal {
            let near = terminal.near().map_err(kernel("use a terminal"))?;
            streams.add_terminal(near).map_err(kernel("use a terminal"))?;
        }
        let signals = UnixStream::pair().map_err(kernel("make a socket"))?;
        let (children, ring) = signals;
        signal_hook::low_level::pipe::register(signal_hook::consts::SIGCHLD, ring)
            .map_err(kernel("hear of children"))?;
        children.set_nonblocking(true).map_err(kernel("use a socket"))?;
        let line = Some(Line::new(first).map_err(kernel("use a connection"))?);
        let pad = Pad::new(Terms::default());
        let signals = Receiving::default();
        Ok(Self {
            control,
            children,
            pad,
            line,
            streams,
            terminal,
            signals,
            told: 0,
            built: None,
            lanes: Lanes::default(),
            following: None,
            visitor: None,
            ended: None,
            is_seen_off: false,
            is_over: false,
        })
    }

    fn run(mut self, build: Build, right: Option<Right>, chained: Chained) -> Result<(), Error> {
        // 1. The image, without a buffer between: its reader takes not a byte beyond its end.
        let terminal = match &self.terminal {
            Ok(Some(terminal)) => terminal.far().map(Some).map_err(|error| chain(&error)),
            Ok(None) => Ok(None),
            Err(error) => Err(chain(error)),
        };
        let refused = |why| format!("there is no terminal for it: {why}; try another node");
        let terminal = terminal.map_err(refused);
        let built = self.line.as_mut().map(|line| line.image(build, right, terminal?, chained));
        let event = match built {
            Some(Ok(built)) if built.leaves_behind() && !self.await_lanes() => {
                drop(built);
                let reason = "the connections for its pages did not come; try again".to_owned();
                PadEvent::Failed { reason }
            }
            Some(Ok(built)) => {
                let pid = built.pid().0.unsigned_abs();
                self.built = Some(built);
                PadEvent::Built { pid }
            }
            Some(Err(reason)) => PadEvent::Failed { reason },
            None => PadEvent::Failed { reason: "nobody brought it; try again".to_owned() },
        };
        let _ = self.control.set_read_timeout(None);
        self.control.set_nonblocking(true).map_err(kernel("use the node's socket"))?;
        self.handle(event);
        // 2. Everything else.
        while !self.is_over {
            self.streams.turn(self.line.as_mut());
            self.tell_modes();
            self.see_off();
            self.flush();
            if !self.is_over {
                self.wait()?;
            }
        }
        Ok(())
    }

    /// Both were made before the image was sent, and may still be on their way through the node.
    fn await_lanes(&mut self) -> bool {
        let _ = self.control.set_read_timeout(Some(LANES));
        while !self.lanes.are_here() {
            let given = connection(&self.control)
                .map(|given| given.and_then(|(what, socket)| Some((Lane::of_byte(what)?, socket))));
            match given {
                Ok(Some((lane, socket))) => self.lanes.add(lane, socket),
                // Whoever makes another line has lost the one that the image came over.
                Ok(_) | Err(_) => return false,
            }
        }
        true
    }

    fn wait(&mut self) -> Result<(), Error> {
        let due = self.pad.poll_timeout().since(now());
        let timeout =
            PollTimeout::try_from(Duration::from(due).saturating_add(Duration::from_millis(1)));
        let mut watched = vec![PollFd::new(self.control.as_fd(), PollFlags::POLLIN)];
        watched.push(PollFd::new(self.children.as_fd(), PollFlags::POLLIN));
        let following = self.following.as_ref().map_or(self.children.as_fd(), Following::ring);
        watched.push(PollFd::new(following, PollFlags::POLLIN));
        if let Some(line) = &self.line {
            let mut wanted = PollFlags::POLLIN;
            wanted.set(PollFlags::POLLOUT, line.has_unsent());
            watched.push(PollFd::new(line.socket(), wanted));
        }
        if self.visitor.is_some() {
            let is_full = self.line.as_ref().is_some_and(Line::is_full);
            let outputs = self.streams.outputs().filter(|_| !is_full);
            watched.extend(outputs.map(|end| PollFd::new(end, PollFlags::POLLIN)));
            let inputs = self.streams.inputs();
            watched.extend(inputs.map(|end| PollFd::new(end, PollFlags::POLLOUT)));
        }
        match poll(&mut watched, timeout.unwrap_or(PollTimeout::MAX)) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(errno) => return Err(kernel("wait")(errno.into())),
        }
        let seen = |at: usize| {
            watched.get(at).and_then(PollFd::revents).is_some_and(|flags| !flags.is_empty())
        };
        let (node, children) = (seen(0), seen(1));
        let client = self.line.is_some() && seen(3);
        let followed = seen(2);
        drop(watched);
        if followed && let Some(following) = &mut self.following {
            following.hear();
            if following.failure(Duration::ZERO).is_none() {
                self.streams.reserve(false);
                self.following = None;
            }
        }
        if node {
            self.hear_node();
        }
        if children {
            self.reap();
        }
        if client {
            self.hear();
        }
        if self.pad.poll_timeout() <= now() {
            self.handle(PadEvent::Tick);
        }
        Ok(())
    }

    /// Another connection, or the node's end, with which ours comes.
    fn hear_node(&mut self) {
        match connection(&self.control) {
            Ok(Some((what, socket))) => {
                // Too late: it has what it needs, or never will.
                if let Some(lane) = Lane::of_byte(what) {
                    return self.lanes.add(lane, socket);
                }
                self.line = Line::new(socket).ok();
                let event = if self.line.is_some() { PadEvent::Returned } else { PadEvent::Lost };
                self.handle(event);
            }
            Ok(None) => {
                self.end();
                self.is_over = true;
            }
            Err(_) => {}
        }
    }

    fn hear(&mut self) {
        let Some(line) = &mut self.line else { return };
        let read = line.read();
        if self.pad.is_refused() {
            // The rest of an image, perhaps: it is heard out, so that its sender hears us.
            line.forget();
        }
        loop {
            let Some(line) = &mut self.line else { return };
            match line.take() {
                Ok(Some(message)) => self.handle(PadEvent::Message(message)),
                Ok(None) => break,
                Err(Over) => return self.lose(),
            }
        }
        if read.is_err() {
            self.lose();
        }
    }

    fn lose(&mut self) {
        self.line = None;
        self.handle(PadEvent::Lost);
    }

    fn flush(&mut self) {
        if let Some(line) = &mut self.line
            && line.flush().is_err()
        {
            self.lose();
        }
    }

    fn handle(&mut self, event: PadEvent) {
        self.pad.handle(now(), event);
        while let Some(effect) = self.pad.poll_effect() {
            self.carry_out(effect);
        }
    }

    fn carry_out(&mut self, effect: PadEffect) {
        match effect {
            PadEffect::Send(message) => {
                if let Some(line) = &mut self.line {
                    line.put(&message);
                }
            }
            PadEffect::Wake(wake) => {
                let Some(built) = self.built.take() else { return };
                let pid = Pid::from_raw(built.pid().0);
                if let Ok(Some(terminal)) = &self.terminal {
                    terminal.begin(pid, built.terminal_modes(), wake.terminal);
                }
                let event = match built.wake() {
                    Ok(behind) => {
                        self.visitor = Some(pid);
                        self.follow(behind);
                        // Its ends are its own now: ours would keep its pipes open.
                        let _ = let_go();
                        PadEvent::Awake
                    }
                    Err(reason) => PadEvent::NotAwake { reason },
                };
                self.pad.handle(now(), event);
            }
            PadEffect::Pass(message) => self.pass(message),
            PadEffect::Resume => {
                self.is_seen_off = false;
                if let Some(line) = &mut self.line {
                    let bytes = self.signals.again();
                    line.put(&Message::Taken(Taken { stream: SIGNALS, bytes }));
                    self.streams.resume(line);
                }
                if let Ok(Some(terminal)) = &mut self.terminal {
                    terminal.again();
                }
                self.tell_modes();
            }
            PadEffect::Unread => self.streams.throw_away(),
            PadEffect::Alone => self.streams.end_inputs(),
            PadEffect::HangUp => self.line = None,
            PadEffect::End => self.end(),
            PadEffect::Tell(stage) => self.tell(stage),
            PadEffect::Leave => self.is_over = true,
        }
    }

    /// It runs already: what it touches meanwhile waits.
    fn follow(&mut self, behind: Option<Box<dyn Behind>>) {
        let lanes = std::mem::take(&mut self.lanes);
        let Some(behind) = behind else { return };
        self.streams.reserve(true);
        match Following::start(behind, lanes) {
            Ok(following) => self.following = Some(following),
            Err(error) => {
                self.streams.say(&format!("its memory cannot follow it: {error}; it is ended"));
                if let Some(visitor) = self.visitor {
                    let _ = kill(visitor, Signal::SIGKILL);
                }
            }
        }
    }

    fn pass(&mut self, message: Message) {
        let terminal = self.terminal.as_ref().ok().and_then(Option::as_ref);
        let heard = match message {
            Message::Stdio(Stdio { stream: SIGNALS, at }, numbers) => self.signals(at, &numbers),
            Message::Resize(size) => {
                terminal.into_iter().for_each(|terminal| terminal.resize(size));
                Ok(())
            }
            message => {
                // Once: whoever comes back says it again.
                let hangs_up = matches!(message, Message::Closed(Closed { stream: TERMINAL, .. }))
                    && !self.streams.is_ended(TERMINAL);
                let heard = self.streams.hear(message);
                if let (Some(terminal), Some(visitor), true) = (terminal, self.visitor, hangs_up)
                    && self.ended.is_none()
                {
                    terminal.hang_up(visitor);
                }
                heard
            }
        };
        if let Err(Nonsense) = heard {
            self.lose();
        }
    }

    /// Signals for the visitor, each of them once.
    fn signals(&mut self, at: u64, numbers: &[u8]) -> Result<(), Nonsense> {
        let known = self.signals.arrived(at, numbers.len()).ok_or(Nonsense)?;
        let new = &numbers[known..];
        for number in new {
            if let (Ok(signal), Some(visitor)) =
                (Signal::try_from(i32::from(*number)), self.visitor)
                && self.ended.is_none()
            {
                self.told |= 1 << (signal as u32);
                // Its terminal stops all of a job, and a shell has all of it go on.
                let _ = match signal {
                    Signal::SIGCONT => killpg(visitor, signal).or_else(|_| kill(visitor, signal)),
                    signal => kill(visitor, signal),
                };
            }
        }
        self.signals.done(new.len());
        if let Some(line) = &mut self.line {
            let bytes = self.signals.again();
            line.put(&Message::Taken(Taken { stream: SIGNALS, bytes }));
        }
        Ok(())
    }

    /// What its terminal makes of bytes is known to its client before anything that follows.
    fn tell_modes(&mut self) {
        let has_begun = self.visitor.is_some() || self.ended.is_some();
        if let (Ok(Some(terminal)), Some(line), true) =
            (&mut self.terminal, &mut self.line, has_begun)
            && let Some(modes) = terminal.news()
        {
            line.put(&Message::Modes(modes));
        }
    }

    /// A node that cannot hear has ended, or is about to end this pad: it takes a byte for each stage.
    fn tell(&mut self, stage: Stage) {
        let _ = (&self.control).write(&[stage.byte()]);
    }

    /// Nothing of the visitor is left when this returns.
    fn end(&mut self) {
        self.built = None;
        if let Some(visitor) = self.visitor.filter(|_| self.ended.is_none()) {
            let _ = kill(visitor, Signal::SIGKILL);
            let _ = waitpid(visitor, None);
            self.visitor = None;
        }
        let _ = sys::process::end_adopted(&[]);
    }

    /// Hears of children that stopped or ended; those that the visitor left behind are ours as well.
    fn reap(&mut self) {
        let mut bytes = [0; 64];
        while io::Read::read(&mut self.children, &mut bytes).is_ok_and(|count| count > 0) {}
        let flags = WaitPidFlag::WNOHANG | WaitPidFlag::WUNTRACED | WaitPidFlag::WCONTINUED;
        // Before it runs, whoever builds it waits for it.
        while let Some(visitor) = self.visitor
            && self.ended.is_none()
        {
            match waitpid(visitor, Some(flags)) {
                Ok(WaitStatus::Exited(_, code)) => self.ended = Some(Exited::Code(code)),
                Ok(WaitStatus::Signaled(_, signal, _)) => {
                    self.ended = Some(Exited::Signal(signal as i32 as u8));
                }
                Ok(WaitStatus::Continued(_)) => self.handle(PadEvent::GoesOn),
                Ok(WaitStatus::Stopped(_, signal)) => {
                    self.streams.turn(self.line.as_mut());
                    self.tell_modes();
                    self.handle(PadEvent::Stopped { number: signal as i32 as u8 });
                }
                Err(Errno::EINTR) => {}
                Ok(_) | Err(_) => return,
            }
        }
    }

    /// The visitor has ended: when all that it wrote is on its way, so is its end. Until there is a line for that,
    /// both are kept.
    fn see_off(&mut self) {
        let Some(exited) = self.ended.filter(|_| !self.is_seen_off) else { return };
        self.handle(PadEvent::Ended(exited));
        if let Some(following) = self.following.take() {
            let is_killed = exited == Exited::Signal(9);
            match is_killed.then(|| following.failure(LAST_WORDS)).flatten() {
                Some(reason) => self
                    .streams
                    .say(&format!("its memory did not follow it: {reason}; it is ended")),
                None => self.streams.reserve(false),
            }
        }
        if self.line.is_none() {
            // Those that it left behind write nothing that is its own.
            let _ = sys::process::end_adopted(&[]);
            return;
        }
        // Whom its client has killed does not wait for its reader: it may have been killed before it wrote the rest.
        let is_killed = matches!(exited, Exited::Signal(by) if self.told & 1 << (by & 63) != 0);
        let mut is_sent = self.streams.finish(is_killed);
        if !is_sent {
            // What it has just become known to be the last of: nothing else would have it sent.
            self.streams.turn(self.line.as_mut());
            is_sent = self.streams.finish(is_killed);
        }
        if is_sent {
            self.tell_modes();
            self.visitor = None;
            self.is_seen_off = true;
            let _ = sys::process::end_adopted(&[]);
            self.handle(PadEvent::AllSent);
        }
    }
}

/// The visitor's ends of its streams become this process's own 0, 1 and 2, which it is born with.
fn give(input: &OwnedFd, output: &OwnedFd, errors: &OwnedFd) -> nix::Result<()> {
    dup2_stdin(input)?;
    dup2_stdout(output)?;
    dup2_stderr(errors)
}

fn let_go() -> io::Result<()> {
    let nothing = std::fs::OpenOptions::new().read(true).write(true).open("/dev/null")?;
    let nothing = OwnedFd::from(nothing);
    give(&nothing, &nothing, &nothing).map_err(io::Error::from)
}

impl Line {
    /// Reads the image off the socket, waiting for it.
    fn image(
        &mut self,
        build: Build,
        right: Option<Right>,
        terminal: Option<OwnedFd>,
        chained: Chained,
    ) -> Result<Box<dyn Built>, String> {
        let socket = self.waiting().map_err(|error| chain(&error))?;
        let built = chained.read(socket, build, right, terminal);
        self.not_waiting().map_err(|error| chain(&error))?;
        built
    }
}
