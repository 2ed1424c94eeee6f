//! Memory that follows a visitor: on threads of its own, while the pad's loop serves its streams.

use std::io::{Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;
use std::{io, thread};

use nix::sys::signal::{Signal, kill};
use sys::Pid;
use wire::visit::Lane;

use crate::arrival::Behind;

/// Nothing came for so long of what is sent without being asked for: whoever sends it is gone.
const SILENCE: Duration = Duration::from_secs(60);

/// The connections that pages come over, as far as they are here.
#[derive(Default)]
pub(crate) struct Lanes {
    stream: Option<UnixStream>,
    faults: Option<UnixStream>,
}

impl Lanes {
    pub(crate) fn add(&mut self, lane: Lane, socket: UnixStream) {
        match lane {
            Lane::Stream => self.stream = Some(socket),
            Lane::Faults => self.faults = Some(socket),
        }
    }

    pub(crate) fn are_here(&self) -> bool {
        self.stream.is_some() && self.faults.is_some()
    }
}

/// What follows a visitor.
pub(crate) struct Following {
    /// Rung at the end.
    rung: UnixStream,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    end: Mutex<Option<Result<(), String>>>,
    changed: Condvar,
}

impl Following {
    /// Serves it from now on. Whoever is among our children then is the visitor, or was started by it.
    pub(crate) fn start(behind: Box<dyn Behind>, lanes: Lanes) -> io::Result<Self> {
        let (Some(stream), Some(faults)) = (lanes.stream, lanes.faults) else {
            return Err(io::Error::from(io::ErrorKind::NotConnected));
        };
        for socket in [&stream, &faults] {
            socket.set_nonblocking(false)?;
        }
        stream.set_read_timeout(Some(SILENCE))?;
        let (rung, mut ring) = UnixStream::pair()?;
        rung.set_nonblocking(true)?;
        let shared = Arc::new(Shared::default());
        let told = shared.clone();
        let follow = move || {
            let followed =
                catch_unwind(AssertUnwindSafe(|| behind.follow(&stream, &faults, &mut lose)));
            let followed = followed.unwrap_or_else(|_| {
                lose();
                Err("what puts its pages in place failed; report it".to_owned())
            });
            *told.end.lock().unwrap_or_else(PoisonError::into_inner) = Some(followed);
            told.changed.notify_all();
            // Nobody hears it when the pad leaves.
            let _ = ring.write_all(&[0]);
        };
        thread::Builder::new().name("pages".into()).spawn(follow)?;
        Ok(Self { rung, shared })
    }

    /// Readable once it is over.
    pub(crate) fn ring(&self) -> BorrowedFd<'_> {
        self.rung.as_fd()
    }

    /// Takes note of the ring.
    pub(crate) fn hear(&mut self) {
        let _ = self.rung.read(&mut [0; 8]);
    }

    /// Why not all of it came, if it is over so, or is within so long.
    pub(crate) fn failure(&self, patience: Duration) -> Option<String> {
        let end = self.shared.end.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.shared.changed.wait_timeout_while(end, patience, |end| end.is_none());
        let (end, _) = waited.unwrap_or_else(PoisonError::into_inner);
        end.as_ref()?.as_ref().err().cloned()
    }
}

/// Ends the visitor and whoever it has started; the pad's loop hears of that as of any other end.
fn lose() {
    let children = || sys::proc::children(Pid::own()).unwrap_or_default();
    // First at once: a tree is stopped before it is killed, and whoever looks after the visitor would be stopped,
    // too.
    for child in children() {
        let _ = kill(nix::unistd::Pid::from_raw(child.0), Signal::SIGKILL);
    }
    for child in children() {
        let _ = sys::process::kill_tree(child);
    }
}
