//! What a copy that runs says, until it ends: its output, and its answer if it is a call.

use std::fs::File;
use std::io::{Write, stderr, stdout};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::{Mutex, MutexGuard, PoisonError};

use wire::Message;
use wire::answer::{Finder, Mark, Unreadable};
use wire::visit::{Exited, Stdio, Taken};

use super::error::TravelError;
use super::trip::Ended;
use crate::visit::flow::Receiving;

/// One copy that is heard.
#[derive(Debug)]
pub(super) struct Hearing {
    node: String,
    outputs: [Receiving; 2],
    finder: Option<Finder>,
    trouble: Option<Unreadable>,
}

/// What follows from a message.
#[derive(Debug)]
pub(super) enum Heard {
    /// To be said to the copy.
    Say(Message),
    Nothing,
    Ended(Result<Ended, TravelError>),
}

impl Hearing {
    pub(super) fn new(node: &str, mark: Option<Mark>) -> Self {
        let outputs = [Receiving::default(), Receiving::default()];
        Self { node: node.to_owned(), outputs, finder: mark.map(Finder::new), trouble: None }
    }

    pub(super) fn hear(&mut self, message: Message) -> Heard {
        match message {
            Message::Stdio(Stdio { stream: stream @ 1..=2, at }, bytes) => {
                let output = &mut self.outputs[usize::from(stream) - 1];
                let Some(known) = output.arrived(at, bytes.len()) else {
                    return Heard::Ended(Err(TravelError::Nonsense { node: self.node.clone() }));
                };
                let new = &bytes[known..];
                match (stream, &mut self.finder) {
                    (1, Some(finder)) if self.trouble.is_none() => match finder.push(new) {
                        Ok(own) => print(&own),
                        Err(error) => self.trouble = Some(error),
                    },
                    (1, Some(_)) => {}
                    (1, None) => print(new),
                    _ => print_error(new),
                }
                output.done(bytes.len() - known);
                match output.news() {
                    Some(bytes) => Heard::Say(Message::Taken(Taken { stream, bytes })),
                    None => Heard::Nothing,
                }
            }
            Message::Exited(exited) => {
                let trouble = self.trouble.take();
                let answer = self.finder.take().and_then(|finder| {
                    let (own, answer) = finder.finish();
                    print(&own);
                    trouble.map(Err).or(answer)
                });
                Heard::Ended(match exited {
                    Exited::Code(status) => Ok(Ended { status, answer }),
                    Exited::Signal(signal) => {
                        Err(TravelError::Killed { node: self.node.clone(), signal })
                    }
                })
            }
            _ => Heard::Nothing,
        }
    }
}

/// Held by whoever prints what copies say. The locks of `stdout` and `stderr` will not do: whoever waits for a call
/// may hold them, and would wait for ever. So what this process has in its buffers is no part of the order: it is
/// as if another process printed.
static PRINTING: Mutex<()> = Mutex::new(());

/// Nobody prints meanwhile: a copy of this process that is made now can. Not to be held by one who prints but with
/// [`Printing`].
pub(super) struct Printing {
    _held: MutexGuard<'static, ()>,
}

impl Printing {
    pub(super) fn hold() -> Self {
        Self { _held: PRINTING.lock().unwrap_or_else(PoisonError::into_inner) }
    }
}

/// To our standard output, of which the copy's is part.
pub(super) fn print(bytes: &[u8]) {
    let _printing = Printing::hold();
    print_held(bytes);
}

/// The same to our standard error.
pub(super) fn print_error(bytes: &[u8]) {
    let _printing = Printing::hold();
    print_error_held(bytes);
}

/// [`print`] for one who has the lock.
pub(super) fn print_held(bytes: &[u8]) {
    write(stdout().as_fd(), bytes);
}

/// [`print_error`] for one who has the lock.
pub(super) fn print_error_held(bytes: &[u8]) {
    write(stderr().as_fd(), bytes);
}

/// Who does not read what we print misses the copy's, too.
fn write(to: BorrowedFd<'_>, bytes: &[u8]) {
    if !bytes.is_empty()
        && let Ok(own) = to.try_clone_to_owned()
    {
        let _ = File::from(own).write_all(bytes);
    }
}
