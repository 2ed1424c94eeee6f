//! Where a visitor's output goes here. Each has a thread that may wait for its reader; nobody else does.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use client::visit::flow::Receiving;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

/// Bytes that are written at once.
const PIECE: usize = 64 * 1024;

pub(super) struct Outputs {
    /// Readable when something was written, or cannot be.
    heard: UnixStream,
    ring: UnixStream,
    all: Vec<Output>,
}

pub(super) struct Output {
    pub(super) stream: u8,
    pub(super) receiving: Receiving,
    /// Bytes that were handed on and are not written yet.
    waiting: usize,
    to: Option<OwnedFd>,
    shared: Arc<Shared>,
    /// Its reader is gone, and the visitor's node knows.
    pub(super) is_closed: bool,
}

struct Shared {
    state: Mutex<State>,
    more: Condvar,
}

#[derive(Default)]
struct State {
    queue: VecDeque<u8>,
    /// Done with since this was last asked.
    written: usize,
    failure: Option<io::Error>,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Outputs {
    pub(super) fn new() -> io::Result<Self> {
        let (heard, ring) = UnixStream::pair()?;
        heard.set_nonblocking(true)?;
        ring.set_nonblocking(true)?;
        Ok(Self { heard, ring, all: Vec::new() })
    }

    pub(super) fn add(&mut self, stream: u8, to: impl AsFd) {
        let shared = Arc::new(Shared { state: Mutex::default(), more: Condvar::new() });
        // What is not open is not written to; should it be, that fails below.
        let to = to.as_fd().try_clone_to_owned().ok();
        let receiving = Receiving::default();
        self.all.push(Output { stream, receiving, waiting: 0, to, shared, is_closed: false });
    }

    pub(super) fn of(&mut self, stream: u8) -> Option<&mut Output> {
        self.all.iter_mut().find(|output| output.stream == stream)
    }

    pub(super) fn all(&mut self) -> impl Iterator<Item = &mut Output> {
        self.all.iter_mut()
    }

    /// Hands bytes on.
    pub(super) fn put(&mut self, stream: u8, bytes: &[u8]) -> io::Result<()> {
        let ring = &self.ring;
        let Some(output) = self.all.iter_mut().find(|output| output.stream == stream) else {
            return Ok(());
        };
        output.waiting += bytes.len();
        output.shared.state().queue.extend(bytes);
        output.shared.more.notify_one();
        match output.to.take() {
            Some(to) => {
                let (shared, ring) = (output.shared.clone(), ring.try_clone()?);
                let thread = std::thread::Builder::new().name("output".to_owned());
                thread.spawn(move || run(&shared, &File::from(to), &ring))?;
                Ok(())
            }
            None => Ok(()),
        }
    }

    pub(super) fn heard(&self) -> BorrowedFd<'_> {
        self.heard.as_fd()
    }

    /// Counts what was written since.
    pub(super) fn look(&mut self) {
        while (&self.heard).read(&mut [0; 64]).is_ok_and(|count| count > 0) {}
        for output in &mut self.all {
            let written = std::mem::take(&mut output.shared.state().written);
            output.waiting -= written;
            output.receiving.done(written);
        }
    }

    /// All that came was written, or never can be.
    pub(super) fn are_done(&self) -> bool {
        self.all.iter().all(|output| output.waiting == 0)
    }
}

impl Output {
    /// Why it cannot be written to, told once.
    pub(super) fn failure(&mut self) -> Option<io::Error> {
        self.shared.state().failure.take()
    }
}

fn run(shared: &Shared, to: &File, ring: &UnixStream) {
    let (mut piece, mut is_broken) = (Vec::new(), false);
    loop {
        {
            let mut state = shared.state();
            while state.queue.is_empty() {
                state = shared.more.wait(state).unwrap_or_else(PoisonError::into_inner);
            }
            let count = state.queue.len().min(PIECE);
            piece.clear();
            piece.extend(state.queue.drain(..count));
        }
        // To whom nothing can be written nothing is: the rest only counts.
        let failure = if is_broken { None } else { write(to, &piece).err() };
        is_broken |= failure.is_some();
        let mut state = shared.state();
        state.written += piece.len();
        state.failure = state.failure.take().or(failure);
        drop(state);
        // If it is full it rings already.
        let mut ring = ring;
        let _ = ring.write(&[0]);
    }
}

/// All of it, however long it takes; also where whoever shares it has made it not wait.
fn write(mut to: &File, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match to.write(bytes) {
            Ok(0) => return Err(ErrorKind::WriteZero.into()),
            Ok(count) => bytes = &bytes[count..],
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                let mut watched = [PollFd::new(to.as_fd(), PollFlags::POLLOUT)];
                let _ = poll(&mut watched, PollTimeout::NONE);
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
