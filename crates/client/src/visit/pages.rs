//! Pages that follow a process to where it visits: from one that stands still here.
//!
//! ```text
//!   lanes, before the image ─▶ send_ahead ─▶ serve: one thread sends all, one answers who waits ─▶ over
//! ```
//!
//! Elsewhere: the bytes (`wire::image::paging`), which of them when (`telefork::PageServer`).

use std::fmt;
use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use logic::link::Down;
use memory::Error;
use memory::line::{Line, Raw};
use telefork::lazy::PageServer;
use wire::hello::{Goodbye, Purpose};
use wire::visit::{Entry, Lane};

use super::{PATIENCE, STANDSTILL, Visit};

/// How long the other side may take, once all pages are sent, to say that they are in place.
const LAST: Duration = Duration::from_secs(60);
/// The same, once nothing more can be sent.
const CUT: Duration = Duration::from_secs(10);

/// The two connections that pages come over. Dropped, they are cut: what runs ahead of its pages ends.
#[derive(Debug)]
pub struct Lanes {
    stream: Raw,
    faults: Raw,
}

impl Visit {
    /// Makes the connections over which pages can follow the process: before its image is sent, which then may
    /// leave pages behind. `Err(reason)`: they cannot follow it to this node.
    pub fn lanes(&self) -> Result<Result<Lanes, String>, Error> {
        let lane = |lane| {
            let entry = Entry::Pages { visit: self.token, lane };
            let (line, _) =
                Line::dial_for(&self.way, &self.me, Purpose::Visit { entry }, PATIENCE)?;
            Ok(Raw::of(line, STANDSTILL))
        };
        let refused = |error| match error {
            Error::Down {
                source: Down::Goodbye(Goodbye::Full { reason } | Goodbye::Protocol { reason }),
                ..
            } => Ok(Err(reason)),
            error => Err(error),
        };
        let stream = match lane(Lane::Stream) {
            Ok(stream) => stream,
            Err(error) => return refused(error),
        };
        match lane(Lane::Faults) {
            Ok(faults) => Ok(Ok(Lanes { stream, faults })),
            Err(error) => refused(error),
        }
    }
}

/// Pages that follow. It goes on, on threads of its own, until all are there or cannot come.
pub struct Serving {
    shared: Arc<Shared>,
    sockets: [Arc<OwnedFd>; 2],
}

struct Shared {
    state: Mutex<State>,
    changed: Condvar,
    sent: AtomicU64,
}

#[derive(Default)]
struct State {
    /// Of the thread that sends all.
    sent_all: Option<Result<(), telefork::Error>>,
    has_sent: bool,
    /// Of the thread that answers: whether the other side has said that all is there.
    answered: Option<Result<bool, telefork::Error>>,
}

impl Lanes {
    /// Begins to send what an image has left behind.
    pub fn serve(self, server: PageServer) -> io::Result<Serving> {
        let state = Mutex::new(State::default());
        let shared = Shared { state, changed: Condvar::new(), sent: AtomicU64::new(0) };
        let shared = Arc::new(shared);
        let sockets = [self.stream.socket(), self.faults.socket()];
        // Dropped on the way out, it is cut, and so are the threads that have begun.
        let serving = Serving { shared: shared.clone(), sockets };
        let server = Arc::new(server);
        let (mut stream, mut faults) = (
            Counted { lane: self.stream, shared: shared.clone() },
            Counted { lane: self.faults, shared: shared.clone() },
        );
        let (sends, sending) = (server.clone(), shared.clone());
        let cut = serving.sockets.clone();
        thread::Builder::new().name("farcall-pages".into()).spawn(move || {
            let sent = sends.stream(&mut stream);
            drop(sends);
            let patience = if sent.is_ok() { LAST } else { CUT };
            let mut state = sending.lock();
            state.sent_all = Some(sent);
            state.has_sent = true;
            sending.changed.notify_all();
            let answered = sending
                .changed
                .wait_timeout_while(state, patience, |state| state.answered.is_none());
            drop(answered);
            // Whoever has said nothing by now is gone.
            shut(&cut);
        })?;
        let (answering, over) = (shared, serving.sockets.clone());
        thread::Builder::new().name("farcall-faults".into()).spawn(move || {
            let answered = server.answer(&mut faults);
            drop((server, faults));
            answering.lock().answered = Some(answered);
            answering.changed.notify_all();
            // Either all is there, or not all can come: nothing more is needed.
            shut(&over);
        })?;
        Ok(serving)
    }
}

impl Serving {
    /// Bytes that have been sent.
    pub fn sent(&self) -> u64 {
        self.shared.sent.load(Relaxed)
    }

    /// Cuts the connections: nobody needs the pages any more.
    pub fn cut(&self) {
        shut(&self.sockets);
    }

    /// Waits until nobody reads the process any more. `false`: somebody may, after so long.
    pub fn is_over_within(&self, patience: Duration) -> bool {
        let is_at_work = |state: &mut State| state.answered.is_none() || !state.has_sent;
        let waited =
            self.shared.changed.wait_timeout_while(self.shared.lock(), patience, is_at_work);
        !waited.unwrap_or_else(PoisonError::into_inner).1.timed_out()
    }

    /// Waits until it is over. `None`: it is not yet, after so long. An error says why not all pages are there;
    /// it is told once.
    pub fn wait(&self, patience: Duration) -> Option<Result<(), telefork::Error>> {
        let until = Instant::now() + patience;
        let mut state = self.shared.lock();
        loop {
            match state.answered.take() {
                Some(Ok(true)) => {
                    state.answered = Some(Ok(true));
                    return Some(Ok(()));
                }
                Some(answered) => {
                    state.answered = Some(Ok(false));
                    // What failed first says more than that the other side then hung up.
                    let sent = state.sent_all.take().and_then(Result::err);
                    let error = sent.or(answered.err()).unwrap_or(telefork::Error::NotFollowed);
                    return Some(Err(error));
                }
                None => {}
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return None;
            }
            let waited = self.shared.changed.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        self.cut();
    }
}

impl fmt::Debug for Serving {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Serving").field("sent", &self.sent()).finish_non_exhaustive()
    }
}

impl Shared {
    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn shut(sockets: &[Arc<OwnedFd>; 2]) {
    for socket in sockets {
        // The call is the same for sockets of every kind.
        if let Ok(socket) = socket.try_clone() {
            let _ = UnixStream::from(socket).shutdown(Shutdown::Both);
        }
    }
}

/// What goes over a lane is counted.
struct Counted {
    lane: Raw,
    shared: Arc<Shared>,
}

impl Read for Counted {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.lane.read(into)
    }
}

impl Write for Counted {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.lane.write(bytes)?;
        self.shared.sent.fetch_add(count as u64, Relaxed);
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.lane.flush()
    }
}
