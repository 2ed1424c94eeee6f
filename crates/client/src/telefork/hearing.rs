//! What a copy that runs says, until it ends: its output, and its answer if it is a call.

use std::io::{Write, stderr, stdout};

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
                    // Who does not read our errors misses the copy's, too.
                    _ => drop(stderr().write_all(new)),
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

/// Who does not read our output misses the copy's, too.
pub(super) fn print(bytes: &[u8]) {
    if !bytes.is_empty() {
        let mut output = stdout().lock();
        let _ = output.write_all(bytes).and_then(|()| output.flush());
    }
}
