//! Who traces a copy of this process: another process with our memory (`sys::beside`), so that the program that
//! we are in is not told of the copy's stops, nor of its end.
//!
//! Its thread here sleeps meanwhile, and is there so that the keeper has a stack, and an end when we end.

use std::sync::mpsc::{Sender, channel};
use std::thread::JoinHandle;

use sys::park::Twin;
use sys::{Pid, beside, thread};

use super::{PATIENCE, described};
use crate::capture::{Frozen, Look, Next};
use crate::{Description, Error};

/// A copy that is held. Dropped, it is gone.
#[derive(Debug)]
pub(super) struct Kept {
    description: Description,
    /// Nobody waits for the copy any more.
    over: Option<Sender<()>>,
    keeper: Option<JoinHandle<Result<(), Error>>>,
    twin: Twin,
}

impl Kept {
    /// Has a copy held, and described.
    pub(super) fn hold(twin: Twin) -> Result<Self, Error> {
        let pid = twin.pid();
        let (tell, told) = channel();
        let (over, ended) = channel::<()>();
        let keeper = thread::spawn("farcall-keep", move || {
            // What it is told through outlives it here: even if it is killed, we hear.
            let (tell, ended) = (tell, ended);
            beside::run(|| {
                // It stands still: what is seen now holds.
                let look = Look::at(pid)?;
                let mut frozen = Frozen::freeze_known(pid, Some(look), PATIENCE)?;
                frozen.bind_to_tracer()?;
                let _ = tell.send(described(&mut frozen, Next::Ends)?);
                let _ = ended.recv();
                frozen.end()
            })?
        });
        let keeper = keeper.map_err(|source| {
            Error::Kernel(sys::Error::Kernel { action: "start a thread", source })
        })?;
        match told.recv() {
            Ok(description) => {
                Ok(Self { description, over: Some(over), keeper: Some(keeper), twin })
            }
            Err(_) => match joined(keeper) {
                Ok(()) => Err(Error::Unborn { pid }),
                Err(error) => Err(error),
            },
        }
    }

    pub(super) fn pid(&self) -> Pid {
        self.twin.pid()
    }

    pub(super) fn description(&self) -> &Description {
        &self.description
    }

    /// It ends by itself from now on.
    pub(super) fn begin_end(&mut self) {
        drop(self.over.take());
    }

    /// Only when this returns is its memory free.
    pub(super) fn end(mut self) -> Result<(), Error> {
        drop(self.over.take());
        self.keeper.take().map_or(Ok(()), joined)
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        // Whoever wants to know calls `end`. A panic there has been told of, and is not to be one in the midst of
        // another.
        drop(self.over.take());
        if let Some(keeper) = self.keeper.take() {
            let _ = keeper.join();
        }
    }
}

fn joined(keeper: JoinHandle<Result<(), Error>>) -> Result<(), Error> {
    keeper.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}
