//! The visitor's standard streams: pipes here, counted bytes towards its client.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, ErrorKind, Read, Write, pipe};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use bytes::Bytes;
use logic::visit::flow::{Piece, Receiving, Sending};
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use wire::Message;
use wire::visit::{Closed, Stdio, Taken};

use crate::line::Line;

/// What its client sent makes no sense.
pub(crate) struct Nonsense;

pub(crate) struct Streams {
    /// To the visitor; `None`: there is nothing more to read there.
    input: Option<File>,
    waiting: VecDeque<u8>,
    receiving: Receiving,
    input_ends: Option<u64>,
    /// From the visitor: 1 and 2.
    outputs: [Output; 2],
    /// Nobody will ever read it.
    is_thrown_away: bool,
}

struct Output {
    from: Option<File>,
    sending: Sending,
    /// The pad may still have something to say when the visitor has closed it.
    is_reserved: bool,
}

impl Streams {
    /// The streams, and the visitor's ends of them: 0, 1 and 2.
    pub(crate) fn new() -> io::Result<(Self, [OwnedFd; 3])> {
        let (input, to_visitor) = pipe()?;
        let (from_1, output_1) = pipe()?;
        let (from_2, output_2) = pipe()?;
        let near = |end: OwnedFd| -> io::Result<File> {
            fcntl(end.as_fd(), FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
            Ok(File::from(end))
        };
        let output = |from: OwnedFd| -> io::Result<Output> {
            let from = Some(near(from)?);
            Ok(Output { from, sending: Sending::default(), is_reserved: false })
        };
        let this = Self {
            input: Some(near(to_visitor.into())?),
            waiting: VecDeque::new(),
            receiving: Receiving::default(),
            input_ends: None,
            outputs: [output(from_1.into())?, output(from_2.into())?],
            is_thrown_away: false,
        };
        Ok((this, [input.into(), output_1.into(), output_2.into()]))
    }

    /// Where to wait until the visitor takes more.
    pub(crate) fn input(&self) -> Option<BorrowedFd<'_>> {
        self.input.as_ref().filter(|_| !self.waiting.is_empty()).map(AsFd::as_fd)
    }

    /// Where to wait until the visitor has written.
    pub(crate) fn outputs(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        let wanted = self.outputs.iter().filter(|output| self.has_room(output));
        wanted.filter_map(|output| output.from.as_ref()).map(AsFd::as_fd)
    }

    fn has_room(&self, output: &Output) -> bool {
        self.is_thrown_away || output.sending.room() > 0
    }

    /// Something about the streams from the client.
    pub(crate) fn hear(&mut self, message: Message) -> Result<(), Nonsense> {
        match message {
            Message::Stdio(Stdio { stream: 0, at }, bytes) => {
                let known = self.receiving.arrived(at, bytes.len()).ok_or(Nonsense)?;
                self.waiting.extend(&bytes[known..]);
            }
            Message::Closed(Closed { stream: 0, at }) => {
                if !self.receiving.is_whole(at) {
                    return Err(Nonsense);
                }
                self.input_ends = Some(at);
            }
            Message::Taken(Taken { stream: stream @ 1..=2, bytes }) => {
                let output = &mut self.outputs[usize::from(stream) - 1];
                if !output.sending.taken(bytes) {
                    return Err(Nonsense);
                }
            }
            _ => return Err(Nonsense),
        }
        Ok(())
    }

    /// Moves what can be moved between the pipes and the line.
    pub(crate) fn turn(&mut self, line: Option<&mut Line>) {
        self.feed();
        self.drain();
        if let Some(line) = line {
            if let Some(bytes) = self.receiving.news() {
                line.put(&Message::Taken(Taken { stream: 0, bytes }));
            }
            self.put(line, Line::is_full);
        }
    }

    fn feed(&mut self) {
        while let Some(input) = &mut self.input {
            if self.waiting.is_empty() {
                if self.input_ends.is_some() {
                    self.input = None;
                }
                return;
            }
            let (front, _) = self.waiting.as_slices();
            match input.write(front) {
                Ok(count) => {
                    self.waiting.drain(..count);
                    self.receiving.done(count);
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                // The visitor has closed its end: what comes is for nobody.
                Err(_) => self.input = None,
            }
        }
        let lost = self.waiting.len();
        self.waiting.clear();
        self.receiving.done(lost);
    }

    /// Takes what the visitor has written, as far as there is room.
    fn drain(&mut self) {
        let mut piece = [0; 16 * 1024];
        for output in &mut self.outputs {
            while let Some(from) = &mut output.from {
                let room = if self.is_thrown_away { piece.len() } else { output.sending.room() };
                let room = room.min(piece.len());
                if room == 0 {
                    break;
                }
                match from.read(&mut piece[..room]) {
                    Ok(0) => {
                        output.from = None;
                        if !output.is_reserved {
                            output.sending.close();
                        }
                    }
                    Ok(_) if self.is_thrown_away => {}
                    Ok(count) => output.sending.push(&piece[..count]),
                    Err(error) if error.kind() == ErrorKind::Interrupted => {}
                    Err(_) => break,
                }
            }
        }
    }

    fn put(&mut self, line: &mut Line, is_enough: fn(&Line) -> bool) {
        for (stream, output) in (1..).zip(&mut self.outputs) {
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
        line.put(&Message::Taken(Taken { stream: 0, bytes: self.receiving.again() }));
        for output in &mut self.outputs {
            output.sending.again();
        }
        // At most two windows, and all of it: the visitor's end may come right behind.
        self.put(line, |_| false);
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

    /// Nobody is there: there is nothing to read, and what is written goes nowhere.
    pub(crate) fn throw_away(&mut self) {
        self.input = None;
        self.is_thrown_away = true;
    }

    /// The visitor has ended: what others, whom it started, write from now on is not its own.
    /// `true`: all of it is on its way.
    pub(crate) fn finish(&mut self) -> bool {
        self.input = None;
        self.drain();
        for output in &mut self.outputs {
            let is_drained = self.is_thrown_away || output.sending.room() > 0;
            if output.from.is_some() && is_drained {
                output.from = None;
                output.sending.close();
            }
        }
        self.is_thrown_away || self.outputs.iter().all(|output| output.sending.is_sent())
    }
}
