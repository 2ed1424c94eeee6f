//! A worker's whole life: set up, then one task after the other until the node hangs up.
//!
//! ```text
//!  node's pipe --> frames --> runner --> results --> pipe to the node
//!                                  |          |
//!                                  v          v
//!                                 progress page: what runs, what is ready but not sent
//! ```
//!
//! Results of short tasks leave in batches: when nothing more is waiting, or the oldest has waited
//! for `HOLD_BACK`. What is held back lies in the progress page as well, so the node can fetch it
//! when the next task turns out to be long, or deadly.

use std::collections::{HashMap, VecDeque};
use std::fs::File;
use std::io::{self, PipeReader, PipeWriter, Write};
use std::num::NonZeroUsize;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::slice;

use bytes::{Bytes, BytesMut};
use sys::clock::monotonic_nanoseconds;
use sys::process::Exit;
use sys::shared::SharedBuffer;
use sys::socket::recv_with_fds;
use sys::spin::Spin;
use wire::Message;
use wire::limits::{INLINE_MAX, STREAM_CHUNK_MAX, STREAM_WINDOW, TEXT_MAX};
use wire::task::{Done, DoneHead, Input, Output, Program, Run, Status, Times, Window};
use wire::units::Span;
use wire::worker::{Buffer, HOLD_BACK, Jail, Need, Ready, Setup, progress};

use crate::attempt::Attempt;
use crate::core::Core;
use crate::jail;
use crate::jail::policy::{PROCESSES_MAX_STRICT, PROCESSES_MAX_USER};

/// Bytes of one read: many small tasks.
const READ: usize = 128 * 1024;

/// Descriptors that a core may have open.
const OPEN_FILES_MAX: u64 = 1024;

/// Why a worker ends early. The node sees only that it does; this is for its standard error.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    #[error("the node's pipes failed")]
    Socket { source: io::Error },
    #[error("the node sent a descriptor that cannot be used")]
    Descriptor { source: sys::Error },
    #[error("the node sent {what}")]
    Protocol { what: &'static str },
}

/// Serves the node at the other end of the pipes; `descriptors` brings what it shares. `group` is the
/// entrance of a control group that is entered before foreign code is loaded.
pub fn serve(
    reader: PipeReader,
    writer: PipeWriter,
    descriptors: UnixStream,
    group: Option<OwnedFd>,
) -> Result<(), ServeError> {
    let mut pipe = Pipe::new(reader, writer, descriptors);
    let Some((_, Message::Setup(setup))) = pipe.next()? else {
        return Err(ServeError::Protocol { what: "no set-up" });
    };
    let progress = pipe.take_shared()?;
    if progress.len() < progress::SIZE {
        return Err(ServeError::Protocol { what: "a progress page that is too small" });
    }
    let program = File::from(pipe.take_descriptor()?);

    let prepared = prepare(&setup, &program, &progress, (&pipe.reader, group));
    pipe.progress = Some(progress);
    let (mut core, gaps) = match prepared {
        Ok(prepared) => prepared,
        Err(reason) => {
            pipe.send(0, &Message::Ready(Ready::No { reason: cut(reason) }));
            return pipe.flush();
        }
    };
    drop(program);
    pipe.send(0, &Message::Ready(Ready::Yes { gaps }));
    pipe.flush()?;

    let mut attempt = Attempt::in_environment();
    let mut scratch = Vec::with_capacity(INLINE_MAX);
    let mut started = 0;
    while let Some((sequence, message)) = pipe.next()? {
        match message {
            Message::Run(run) => {
                started += 1;
                attempt.set(run.head.attempt);
                let since = pipe.begin(started);
                let result = match run.head.input {
                    Input::Stream => run_stream(&mut pipe, &mut core, sequence)?,
                    Input::Inline | Input::Bulk(_) => {
                        run_task(&mut pipe, &mut core, &mut scratch, &run)?
                    }
                };
                let now = pipe.pause();
                pipe.done(now, sequence, since, result);
                if pipe.oldest + HOLD_BACK.0 <= now {
                    pipe.flush()?;
                }
            }
            Message::Buffer(buffer) => pipe.buffer(buffer)?,
            // The rest of a stream whose task is over.
            Message::Data(_) | Message::End | Message::Window(_) => {}
            _ => return Err(ServeError::Protocol { what: "a message that no worker takes" }),
        }
    }
    Ok(())
}

/// Puts up the jail, then loads the program: foreign code runs in the jail from its first line.
fn prepare(
    setup: &Setup,
    program: &File,
    progress: &SharedBuffer,
    (node, group): (&PipeReader, Option<OwnedFd>),
) -> Result<(Core, Vec<String>), String> {
    if let Some(entrance) = group {
        sys::cgroup::enter(entrance).map_err(|error| chain(&error))?;
    }
    let (level, account, processes_max) = match setup.jail {
        Jail::None => (jail::Level::None, None, None),
        // Without an account they would be counted together with all others of the daemon's user.
        Jail::User { account } => (jail::Level::User, account, account.map(|_| PROCESSES_MAX_USER)),
        Jail::Strict { account } => (jail::Level::Strict, account, Some(PROCESSES_MAX_STRICT)),
    };
    let rules = jail::Rules {
        scratch: setup.scratch.clone().into(),
        writable: Vec::new(),
        user: account.map(|id| jail::User { uid: id, gid: id }),
        open_files_max: OPEN_FILES_MAX,
        file_bytes_max: None,
        processes_max,
    };
    let gaps = jail::apply(level, &rules).map_err(|error| chain(&error))?.gaps;
    // Who changes his user is for a moment not bound to die with the node, and in a pid namespace
    // nobody can see whether his parent is still there: its end of the pipe tells.
    if sys::socket::has_hung_up(node).map_err(|error| chain(&error))? {
        return Err("the node has hung up".to_owned());
    }
    if level == jail::Level::Strict {
        let tell = |exit| {
            let end = match exit {
                Exit::Code(code) => progress::END_CODE | u64::from(code as u32),
                Exit::Signal { signal, .. } => progress::END_SIGNAL | u64::from(signal as u32),
            };
            progress.store_u64(progress::END, end);
        };
        sys::process::stay_behind(tell).map_err(|error| chain(&error))?;
    }
    let Program::Core { name, .. } = &setup.program;
    let core = Core::load(program, name).map_err(|error| chain(&error))?;
    Ok((core, gaps))
}

/// An error and its causes, in one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

fn cut(mut text: String) -> String {
    if text.len() > TEXT_MAX {
        text.truncate(text.floor_char_boundary(TEXT_MAX));
    }
    text
}

/// A task's status, and its output: inline bytes, or a buffer's number and a length.
type TaskResult = (Status, Output, Bytes);

fn run_task(
    pipe: &mut Pipe,
    core: &mut Core,
    scratch: &mut Vec<u8>,
    run: &Run,
) -> Result<TaskResult, ServeError> {
    let mut lent = None;
    let input: &mut [u8] = match run.head.input {
        Input::Inline => {
            scratch.clear();
            scratch.extend_from_slice(&run.inline);
            scratch
        }
        Input::Bulk(length) => {
            let (number, buffer) = pipe.lent(&run.inline)?;
            let length = usize::try_from(length).unwrap_or(usize::MAX);
            if length > buffer.len() {
                return Err(ServeError::Protocol { what: "an input longer than its buffer" });
            }
            lent = Some(number);
            // SAFETY: the mapping is at least `length` bytes and lives in `pipe.buffers`, from
            // which nothing is removed while a task runs: `borrow` keeps every `Forget` for later. The node does not touch a buffer
            // between the task's RUN and its DONE; if it did all the same, the core would compute
            // with torn bytes and nothing else would depend on them.
            unsafe { slice::from_raw_parts_mut(buffer.as_ptr(), length) }
        }
        Input::Stream => unreachable!("streams have a function of their own"),
    };
    let ran = core.run(input, |output| pipe.take_output(output, lent));
    match ran {
        Ok((code, taken)) => {
            let (output, inline) = taken?;
            Ok((Status::Finished { code }, output, inline))
        }
        Err(error) => {
            let status = Status::Broken { reason: cut(chain(&error)) };
            Ok((status, Output::Inline, Bytes::new()))
        }
    }
}

/// A core takes its whole input at once, so a stream is collected until it ends; its output leaves
/// as fast as the client reads it.
fn run_stream(pipe: &mut Pipe, core: &mut Core, sequence: u64) -> Result<TaskResult, ServeError> {
    let mut input = Vec::new();
    loop {
        match pipe.next_of(sequence)? {
            Message::Data(bytes) => {
                input.extend_from_slice(&bytes);
                let bytes = bytes.len() as u64;
                pipe.send(sequence, &Message::Window(Window { bytes }));
            }
            Message::End => break,
            // The client reads on although nothing was sent yet: it may say so early.
            _ => {}
        }
    }
    let status = match core.run(&mut input, Bytes::copy_from_slice) {
        Ok((code, output)) => {
            pipe.send_stream(sequence, output)?;
            Status::Finished { code }
        }
        Err(error) => Status::Broken { reason: cut(chain(&error)) },
    };
    pipe.send(sequence, &Message::End);
    Ok((status, Output::Stream, Bytes::new()))
}

/// Both directions to the node, and the memory shared with it.
struct Pipe {
    reader: PipeReader,
    /// How it waits for the next task.
    spin: Spin,
    writer: PipeWriter,
    descriptors: UnixStream,
    /// Where the kernel puts what it reads; zeroed once.
    read: Vec<u8>,
    input: BytesMut,
    /// Messages that came while a result waited for its buffer.
    early: VecDeque<(u64, Message)>,
    output: BytesMut,
    /// When the oldest result in `output` was ready.
    oldest: u64,
    /// Bytes of `output`, all of them results, that the progress page shows.
    shown: usize,
    /// Batches sent so far.
    turn: u64,
    progress: Option<SharedBuffer>,
    buffers: HashMap<u32, SharedBuffer>,
}

impl Pipe {
    fn new(reader: PipeReader, writer: PipeWriter, descriptors: UnixStream) -> Self {
        Self {
            reader,
            spin: Spin::default(),
            writer,
            descriptors,
            read: vec![0; READ],
            input: BytesMut::with_capacity(READ),
            early: VecDeque::new(),
            output: BytesMut::with_capacity(READ),
            oldest: 0,
            shown: 0,
            turn: 0,
            progress: None,
            buffers: HashMap::new(),
        }
    }

    /// The next message; `None` when the node has hung up. Before it waits it sends what is held
    /// back.
    fn next(&mut self) -> Result<Option<(u64, Message)>, ServeError> {
        if let Some(early) = self.early.pop_front() {
            return Ok(Some(early));
        }
        self.receive()
    }

    fn receive(&mut self) -> Result<Option<(u64, Message)>, ServeError> {
        loop {
            let frame = wire::frame::take(&mut self.input, wire::limits::CONTROL_BODY_MAX)
                .map_err(|_| ServeError::Protocol { what: "a frame that is too long" })?;
            if let Some(frame) = frame {
                let message = wire::decode(frame)
                    .map_err(|_| ServeError::Protocol { what: "a frame that says nothing" })?;
                return Ok(Some(message));
            }
            self.flush()?;
            let count = match self.spin.read(&mut self.reader, &mut self.read) {
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(source) => return Err(ServeError::Socket { source }),
            };
            if count == 0 {
                return Ok(None);
            }
            self.input.extend_from_slice(&self.read[..count]);
        }
    }

    fn send(&mut self, channel: u64, message: &Message) {
        message.encode(channel, &mut self.output);
    }

    fn flush(&mut self) -> Result<(), ServeError> {
        if self.output.is_empty() {
            return Ok(());
        }
        self.writer.write_all(&self.output).map_err(|source| ServeError::Socket { source })?;
        self.output.clear();
        self.turn += 1;
        self.shown = 0;
        self.note(progress::UNSENT, 0);
        self.note(progress::TURN, self.turn);
        Ok(())
    }

    // Streams.

    /// The next message of a task's stream; what is not for it is kept for later.
    fn next_of(&mut self, sequence: u64) -> Result<Message, ServeError> {
        loop {
            match self.receive()? {
                Some((of, message @ (Message::Data(_) | Message::End | Message::Window(_))))
                    if of == sequence =>
                {
                    return Ok(message);
                }
                Some((_, Message::Data(_) | Message::End | Message::Window(_))) => {}
                Some(other) => self.early.push_back(other),
                None => return Err(ServeError::Protocol { what: "nothing: it hung up" }),
            }
        }
    }

    /// Sends an output in pieces, never more than the client's window.
    fn send_stream(&mut self, sequence: u64, mut output: Bytes) -> Result<(), ServeError> {
        let mut window = STREAM_WINDOW;
        while !output.is_empty() {
            if window == 0 {
                if let Message::Window(more) = self.next_of(sequence)? {
                    window = window.saturating_add(more.bytes);
                }
                continue;
            }
            let most = usize::try_from(window).unwrap_or(usize::MAX);
            let piece = output.split_to(output.len().min(STREAM_CHUNK_MAX).min(most));
            window -= piece.len() as u64;
            self.send(sequence, &Message::Data(piece));
        }
        Ok(())
    }

    // The progress page.

    fn note(&self, place: usize, value: u64) {
        if let Some(page) = &self.progress {
            page.store_u64(place, value);
        }
    }

    /// A task begins; returns when.
    fn begin(&self, started: u64) -> u64 {
        let now = monotonic_nanoseconds();
        self.note(progress::SINCE, now);
        self.note(progress::STARTED, started);
        now
    }

    /// No task runs; returns the time.
    fn pause(&self) -> u64 {
        self.note(progress::SINCE, 0);
        monotonic_nanoseconds()
    }

    /// Queues a result and shows it in the progress page, as far as it fits.
    fn done(&mut self, now: u64, sequence: u64, since: u64, (status, output, inline): TaskResult) {
        let start = self.output.len();
        if start == 0 {
            self.oldest = now;
        }
        let ran = Span(now - since);
        let times = Times { began: Span(since), ..Times::default() };
        let done = Done { head: DoneHead { status, ran, output, times }, inline };
        self.send(sequence, &Message::Done(done));
        let end = self.output.len();
        if start != self.shown || end > progress::SIZE - progress::RESULTS {
            // It is due at once: what cannot be shown in the page is not held back.
            self.oldest = 0;
        } else if let Some(page) = &self.progress
            && page.copy_in(progress::RESULTS + start, &self.output[start..end]).is_ok()
        {
            page.store_u64(progress::UNSENT, end as u64);
            self.shown = end;
        }
    }

    // Shared buffers.

    fn take_descriptor(&mut self) -> Result<OwnedFd, ServeError> {
        let mut byte = [0];
        let (_, descriptors) = recv_with_fds(&self.descriptors, &mut byte, 1)
            .map_err(|source| ServeError::Socket { source })?;
        let missing = ServeError::Protocol { what: "a frame without its descriptor" };
        descriptors.into_iter().next().ok_or(missing)
    }

    fn take_shared(&mut self) -> Result<SharedBuffer, ServeError> {
        let descriptor = self.take_descriptor()?;
        SharedBuffer::from_fd(descriptor).map_err(|source| ServeError::Descriptor { source })
    }

    fn buffer(&mut self, buffer: Buffer) -> Result<(), ServeError> {
        match buffer {
            Buffer::Take { number } => {
                let shared = self.take_shared()?;
                if self.buffers.insert(number, shared).is_some() {
                    return Err(ServeError::Protocol { what: "a buffer twice" });
                }
            }
            Buffer::Forget { number } => {
                self.buffers.remove(&number);
            }
            Buffer::Lend { .. } => {
                return Err(ServeError::Protocol { what: "a buffer that nobody asked for" });
            }
        }
        Ok(())
    }

    /// The buffer whose number is `inline`.
    fn lent(&self, inline: &[u8]) -> Result<(u32, &SharedBuffer), ServeError> {
        let number = inline.first_chunk().map(|bytes| u32::from_le_bytes(*bytes));
        let known = number.and_then(|number| Some((number, self.buffers.get(&number)?)));
        known.ok_or(ServeError::Protocol { what: "a buffer that was never sent" })
    }

    /// Takes a core's output out of its memory: into the message if it is small, else into the
    /// buffer that the input came in, else into one that the node lends.
    fn take_output(
        &mut self,
        bytes: &[u8],
        input: Option<u32>,
    ) -> Result<(Output, Bytes), ServeError> {
        if bytes.len() <= INLINE_MAX {
            return Ok((Output::Inline, Bytes::copy_from_slice(bytes)));
        }
        let fits = |number: &u32| self.buffers.get(number).is_some_and(|b| b.len() >= bytes.len());
        let number = match input.filter(fits) {
            Some(number) => number,
            None => self.borrow(bytes.len())?,
        };
        let unknown = ServeError::Protocol { what: "a buffer that was never sent" };
        let buffer = self.buffers.get(&number).ok_or(unknown)?;
        if buffer.len() < bytes.len() {
            return Err(ServeError::Protocol { what: "a buffer smaller than was asked for" });
        }
        // A core that answers with its input, where it lies, has done the copying.
        if !std::ptr::eq(bytes.as_ptr(), buffer.as_ptr()) {
            // SAFETY: the target is our mapping, long enough. The source is the core's output, which
            // may lie in the same mapping (a core may answer with a part of its input), so the copy
            // is one that allows overlap. The node looks at the buffer only after DONE.
            unsafe { std::ptr::copy(bytes.as_ptr(), buffer.as_ptr(), bytes.len()) };
        }
        let inline = Bytes::copy_from_slice(&number.to_le_bytes());
        Ok((Output::Bulk(bytes.len() as u64), inline))
    }

    /// Asks the node for a buffer and waits for it; tasks that come meanwhile are kept for later.
    fn borrow(&mut self, length: usize) -> Result<u32, ServeError> {
        let bytes = NonZeroUsize::new(length).map_or(0, |length| length.get() as u64);
        self.send(0, &Message::Need(Need { bytes }));
        self.flush()?;
        loop {
            match self.receive()? {
                Some((_, Message::Buffer(Buffer::Lend { number }))) => return Ok(number),
                // What is to be forgotten may be what the task's input lies in.
                Some((_, Message::Buffer(buffer @ Buffer::Take { .. }))) => self.buffer(buffer)?,
                Some(other) => self.early.push_back(other),
                None => return Err(ServeError::Protocol { what: "nothing: it hung up" }),
            }
        }
    }
}
