//! The visitor's standard streams: pipes and a terminal here, counted bytes towards its client.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, ErrorKind, Read, Write, pipe};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use bytes::Bytes;
use logic::visit::flow::{Piece, Receiving, Sending};
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use wire::Message;
use wire::visit::{Closed, Stdio, TERMINAL, Taken};

use crate::line::Line;

/// What its client sent makes no sense.
pub(crate) struct Nonsense;

pub(crate) struct Streams {
    /// To the visitor: 0, and its terminal's.
    inputs: Vec<Input>,
    /// From the visitor: 1 and 2, and its terminal's.
    outputs: Vec<Output>,
    /// Nobody reads it: so many bytes were thrown away for that.
    unread: Option<u64>,
    /// What the pad has to say among the visitor's errors, when there is room for it.
    note: Option<String>,
}

struct Input {
    stream: u8,
    /// `None`: there is nothing more to read there.
    to: Option<File>,
    waiting: VecDeque<u8>,
    receiving: Receiving,
    ends: Option<u64>,
}

struct Output {
    stream: u8,
    from: Option<File>,
    sending: Sending,
    /// The pad may still have something to say when the visitor has closed it.
    is_reserved: bool,
}

/// An end that never waits.
fn near(end: OwnedFd) -> io::Result<File> {
    fcntl(end.as_fd(), FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
    Ok(File::from(end))
}

impl Input {
    fn new(stream: u8, to: OwnedFd) -> io::Result<Self> {
        let (waiting, receiving) = (VecDeque::new(), Receiving::default());
        Ok(Self { stream, to: Some(near(to)?), waiting, receiving, ends: None })
    }

    fn feed(&mut self) {
        while let Some(to) = &mut self.to {
            if self.waiting.is_empty() {
                if self.ends.is_some() {
                    self.to = None;
                }
                return;
            }
            let (front, _) = self.waiting.as_slices();
            match to.write(front) {
                Ok(count) => {
                    self.waiting.drain(..count);
                    self.receiving.done(count);
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                // The visitor has closed its end: what comes is for nobody.
                Err(_) => self.to = None,
            }
        }
        let lost = self.waiting.len();
        self.waiting.clear();
        self.receiving.done(lost);
    }
}

impl Output {
    fn new(stream: u8, from: OwnedFd) -> io::Result<Self> {
        Ok(Self {
            stream,
            from: Some(near(from)?),
            sending: Sending::default(),
            is_reserved: false,
        })
    }

    fn end(&mut self) {
        if self.from.take().is_some() && !self.is_reserved {
            self.sending.close();
        }
    }
}

impl Streams {
    /// The streams, and the visitor's ends of them: 0, 1 and 2.
    pub(crate) fn new() -> io::Result<(Self, [OwnedFd; 3])> {
        let (input, to_visitor) = pipe()?;
        let (from_1, output_1) = pipe()?;
        let (from_2, output_2) = pipe()?;
        let this = Self {
            inputs: vec![Input::new(0, to_visitor.into())?],
            outputs: vec![Output::new(1, from_1.into())?, Output::new(2, from_2.into())?],
            unread: None,
            note: None,
        };
        Ok((this, [input.into(), output_1.into(), output_2.into()]))
    }

    /// Beside them a terminal, of which this is the near end.
    pub(crate) fn add_terminal(&mut self, near: File) -> io::Result<()> {
        self.inputs.push(Input::new(TERMINAL, near.try_clone()?.into())?);
        self.outputs.push(Output::new(TERMINAL, near.into())?);
        Ok(())
    }

    /// Where to wait until the visitor takes more.
    pub(crate) fn inputs(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        let wanted = self.inputs.iter().filter(|input| !input.waiting.is_empty());
        wanted.filter_map(|input| input.to.as_ref()).map(AsFd::as_fd)
    }

    /// Where to wait until the visitor has written.
    pub(crate) fn outputs(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        let wanted = self.outputs.iter().filter(|output| self.has_room(output));
        wanted.filter_map(|output| output.from.as_ref()).map(AsFd::as_fd)
    }

    fn has_room(&self, output: &Output) -> bool {
        self.unread.is_some() || output.sending.room() > 0
    }

    /// Something about the streams from the client.
    pub(crate) fn hear(&mut self, message: Message) -> Result<(), Nonsense> {
        match message {
            Message::Stdio(Stdio { stream, at }, bytes) => {
                let input = self.input(stream).ok_or(Nonsense)?;
                let known = input.receiving.arrived(at, bytes.len()).ok_or(Nonsense)?;
                input.waiting.extend(&bytes[known..]);
            }
            Message::Closed(Closed { stream: stream @ (0 | TERMINAL), at }) => {
                let input = self.input(stream).ok_or(Nonsense)?;
                if !input.receiving.is_whole(at) {
                    return Err(Nonsense);
                }
                input.ends = Some(at);
            }
            // Nobody reads it any more: the visitor is told so when it writes, as by any pipe.
            Message::Closed(Closed { stream, .. }) => self.output(stream).ok_or(Nonsense)?.end(),
            Message::Taken(Taken { stream, bytes }) => {
                let output = self.output(stream).ok_or(Nonsense)?;
                if !output.sending.taken(bytes) {
                    return Err(Nonsense);
                }
            }
            _ => return Err(Nonsense),
        }
        Ok(())
    }

    /// Whether its client has said that no more comes.
    pub(crate) fn is_ended(&self, stream: u8) -> bool {
        self.inputs.iter().any(|input| input.stream == stream && input.ends.is_some())
    }

    fn input(&mut self, stream: u8) -> Option<&mut Input> {
        self.inputs.iter_mut().find(|input| input.stream == stream)
    }

    fn output(&mut self, stream: u8) -> Option<&mut Output> {
        self.outputs.iter_mut().find(|output| output.stream == stream)
    }

    /// Moves what can be moved between the visitor and the line.
    pub(crate) fn turn(&mut self, line: Option<&mut Line>) {
        self.inputs.iter_mut().for_each(Input::feed);
        self.drain();
        if let Some(line) = line {
            for input in &mut self.inputs {
                if let Some(bytes) = input.receiving.news() {
                    line.put(&Message::Taken(Taken { stream: input.stream, bytes }));
                }
            }
            self.put(line, Line::is_full);
        }
    }

    /// Takes what the visitor has written, as far as there is room.
    fn drain(&mut self) {
        let mut piece = [0; 16 * 1024];
        self.put_note();
        for output in &mut self.outputs {
            while let Some(from) = &mut output.from {
                let room = if self.unread.is_some() { piece.len() } else { output.sending.room() };
                let room = room.min(piece.len());
                if room == 0 {
                    break;
                }
                match from.read(&mut piece[..room]) {
                    Ok(0) => output.end(),
                    Ok(count) => match &mut self.unread {
                        Some(unread) => *unread += count as u64,
                        None => output.sending.push(&piece[..count]),
                    },
                    Err(error) if error.kind() == ErrorKind::Interrupted => {}
                    Err(_) => break,
                }
            }
        }
    }

    fn put(&mut self, line: &mut Line, is_enough: fn(&Line) -> bool) {
        for output in &mut self.outputs {
            let stream = output.stream;
            while !is_enough(line) {
                match output.sending.poll_piece() {
                    Some(Piece::Bytes { at, bytes }) => {
                        line.put(&Message::Stdio(Stdio { stream, at }, Bytes::from(bytes)));
                    }
                    Some(Piece::Closed { at }) => {
                        line.put(&Message::Closed(Closed { stream, at }));
                    }
                    None => break,
                }
            }
        }
    }

    /// On a new line: where everything is, and whatever may not have arrived.
    pub(crate) fn resume(&mut self, line: &mut Line) {
        if let Some(unread) = self.unread.take().filter(|unread| *unread > 0) {
            let words = "that it wrote while nobody was connected are lost";
            self.note = Some(format!("farcall: {unread} bytes {words}\n"));
            self.put_note();
        }
        for input in &mut self.inputs {
            let bytes = input.receiving.again();
            line.put(&Message::Taken(Taken { stream: input.stream, bytes }));
        }
        for output in &mut self.outputs {
            output.sending.again();
        }
        // At most a window each, and all of it: the visitor's end may come right behind.
        self.put(line, |_| false);
    }

    fn put_note(&mut self) {
        let errors = &mut self.outputs[1];
        // Who has closed it, or it was closed to him, has no place for this.
        let is_open = errors.from.is_some();
        if let Some(text) =
            self.note.take_if(|text| !is_open || errors.sending.room() >= text.len())
            && is_open
        {
            errors.sending.push(text.as_bytes());
        }
    }

    /// Whether the pad may have something to say among the visitor's errors.
    pub(crate) fn reserve(&mut self, is_reserved: bool) {
        let errors = &mut self.outputs[1];
        errors.is_reserved = is_reserved;
        if !is_reserved && errors.from.is_none() {
            errors.sending.close();
        }
    }

    /// What the pad has to say of it, for which there is a place among its errors.
    pub(crate) fn say(&mut self, words: &str) {
        self.drain();
        let text = format!("farcall: {words}\n");
        let errors = &mut self.outputs[1];
        // Who has not read a whole window reads its status.
        if errors.is_reserved && errors.sending.room() >= text.len() {
            errors.sending.push(text.as_bytes());
        }
        self.reserve(false);
    }

    /// Nobody is there: what is written goes nowhere until somebody comes back, who is told how much that was.
    pub(crate) fn throw_away(&mut self) {
        self.unread = self.unread.or(Some(0));
    }

    /// There is nothing more to read.
    pub(crate) fn end_inputs(&mut self) {
        self.inputs.iter_mut().for_each(|input| input.to = None);
    }

    /// The visitor has ended: what others, whom it started, write from now on is not its own.
    /// One that was killed is not waited for. `true`: all of it is on its way.
    pub(crate) fn finish(&mut self, is_killed: bool) -> bool {
        self.end_inputs();
        self.drain();
        for output in &mut self.outputs {
            if is_killed || (output.sending.room() > 0 && self.note.is_none()) {
                output.end();
            }
        }
        self.outputs.iter().all(|output| output.sending.is_sent())
    }
}
