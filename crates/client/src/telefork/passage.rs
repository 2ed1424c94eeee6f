//! One copy on its way: its image, its waking, its streams and its end.

use std::fs;
use std::io::{self, Write, stderr, stdout};
use std::time::Duration;

use ::telefork::Leaving;
use bytes::Bytes;
use memory::Error;
use wire::Message;
use wire::answer::{Finder, Mark};
use wire::hello::Goodbye;
use wire::limits::{STDIO_CHUNK_MAX, VISIT_TEXT_MAX};
use wire::units::Time;
use wire::visit::{Alone, Begin, Closed, Exited, Stdio, Taken, Wake};

use super::error::TravelError;
use super::lazy;
use super::trip::{Ended, Trip};
use crate::Cluster;
use crate::copied::Words;
use crate::visit::flow::Receiving;
use crate::visit::{Fate, Source, Terms, Visit, settle};

/// How long a node may take to build what it has been sent.
pub(super) const PATIENCE: Duration = Duration::from_secs(60);

/// Writes a whole image, in which the copy has this number, if it has one of its own.
pub(super) fn pour(
    leaving: &mut Leaving,
    number: Option<i32>,
    trip: &Trip,
    visit: &mut Visit,
) -> Result<(), TravelError> {
    let mut pour = Pour { visit, trip, stopped: None };
    let sent = leaving.send(number, &mut pour);
    match (sent, pour.stopped) {
        (Ok(()), _) | (Err(_), Some(Stopped::Heard)) => Ok(()),
        (Err(_), Some(Stopped::Lost(source))) => {
            Err(TravelError::Unsent { node: trip.node().to_owned(), source })
        }
        (Err(source), None) => Err(TravelError::Unmade { source }),
    }
}

/// What the node is told for people.
pub(super) fn begin() -> Begin {
    let read = |path| fs::read_to_string(path).unwrap_or_default().trim_end().to_owned();
    let cut = |mut text: String| {
        text.truncate(text.floor_char_boundary(VISIT_TEXT_MAX));
        text
    };
    Begin {
        from: cut(read("/proc/sys/kernel/hostname")),
        pid: std::process::id(),
        command: cut(read("/proc/self/comm")),
        memory: 0,
        terminal: false,
    }
}

/// The image on its way.
pub(super) struct Pour<'a> {
    pub(super) visit: &'a mut Visit,
    pub(super) trip: &'a Trip,
    pub(super) stopped: Option<Stopped>,
}

pub(super) enum Stopped {
    /// The node has said something instead of taking more.
    Heard,
    Lost(Error),
}

impl Write for Pour<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let stopped = match self.visit.pour(bytes) {
            Ok(true) => {
                self.trip.has_sent(bytes.len());
                return Ok(bytes.len());
            }
            Ok(false) => Stopped::Heard,
            Err(error) => Stopped::Lost(error),
        };
        self.stopped = Some(stopped);
        Err(io::Error::other("the node takes no more of the image"))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// From the end of the image until the copy runs.
pub(super) fn wake(visit: &mut Visit, trip: &Trip) -> Result<(), TravelError> {
    let node = || trip.node().to_owned();
    let wake = Wake { alone: Alone::Ends, terminal: None };
    let Ok(fate) = settle(visit, &mut Source::new(Terms::default(), wake), PATIENCE);
    match fate {
        Fate::Here { why } => return Err(TravelError::Refused { node: node(), reason: why }),
        Fate::Doubt => return Err(TravelError::Doubt { node: node() }),
        Fate::There { pid } => trip.wakes(pid),
    }
    Ok(())
}

/// Until its end.
pub(super) fn hear(
    cluster: &Cluster,
    visit: &mut Visit,
    trip: &Trip,
    mark: Option<Mark>,
) -> Result<Ended, TravelError> {
    let node = || trip.node().to_owned();
    let gone = |source| TravelError::Lost { node: node(), source };
    hand_on(visit, &cluster.driver().hands_on()).map_err(gone)?;
    let mut outputs = [Receiving::default(), Receiving::default()];
    let mut finder = mark.map(Finder::new);
    let mut trouble = None;
    loop {
        let Some(message) = visit.next(Time::NEVER).map_err(gone)? else { continue };
        match message {
            Message::Stdio(Stdio { stream: stream @ 1..=2, at }, bytes) => {
                let output = &mut outputs[usize::from(stream) - 1];
                let known = output.arrived(at, bytes.len());
                let known = known.ok_or_else(|| TravelError::Nonsense { node: node() })?;
                let new = &bytes[known..];
                match (stream, &mut finder) {
                    (1, Some(finder)) if trouble.is_none() => match finder.push(new) {
                        Ok(own) => print(&own),
                        Err(error) => trouble = Some(error),
                    },
                    (1, Some(_)) => {}
                    (1, None) => print(new),
                    // Who does not read our errors misses the copy's, too.
                    _ => drop(stderr().write_all(new)),
                }
                output.done(bytes.len() - known);
                if let Some(bytes) = output.news() {
                    visit.send(&Message::Taken(Taken { stream, bytes })).map_err(gone)?;
                }
            }
            Message::Exited(exited) => {
                // The last word: a node that does not hear it keeps the status for a while.
                let _ = visit.send(&Message::Goodbye(Goodbye::Leaving));
                visit.close();
                let answer = finder.and_then(|finder| {
                    let (own, answer) = finder.finish();
                    print(&own);
                    trouble.map(Err).or(answer)
                });
                return match exited {
                    Exited::Code(status) => Ok(Ended { status, answer }),
                    Exited::Signal(signal) => Err(lazy::loss(trip, exited)
                        .unwrap_or_else(|| TravelError::Killed { node: node(), signal })),
                };
            }
            _ => {}
        }
    }
}

/// All that a copy has to read: what it links to the cluster with. It comes once the copy runs, which waits for it
/// when it needs it.
fn hand_on(visit: &mut Visit, words: &Words) -> Result<(), Error> {
    let mut at = 0;
    for piece in words.chunks(STDIO_CHUNK_MAX) {
        let bytes = Bytes::copy_from_slice(piece);
        visit.send(&Message::Stdio(Stdio { stream: 0, at }, bytes))?;
        at += piece.len() as u64;
    }
    visit.send(&Message::Closed(Closed { stream: 0, at }))
}

/// Who does not read our output misses the copy's, too.
pub(super) fn print(bytes: &[u8]) {
    let mut output = stdout().lock();
    let _ = output.write_all(bytes).and_then(|()| output.flush());
}
