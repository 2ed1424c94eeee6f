//! One copy on its way: its image, its waking, its streams and its end.

use std::io::{self, Write};
use std::sync::Arc;
use std::time::Duration;

use ::telefork::Leaving;
use memory::Error;
use wire::Message;
use wire::hello::Goodbye;
use wire::units::Time;
use wire::visit::{Alone, Exited, Wake};

use super::error::TravelError;
use super::hearing::{Heard, Hearing};
use super::lazy;
use super::luggage::handed_on;
use super::trip::{Ended, Trip};
use crate::Cluster;
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
        Fate::Gone { why } => return Err(TravelError::Ended { node: node(), reason: why }),
        Fate::There { pid } => trip.wakes(pid),
    }
    Ok(())
}

/// Until its end.
pub(super) fn hear(
    cluster: &Cluster,
    visit: &mut Visit,
    trip: &Trip,
) -> Result<Ended, TravelError> {
    let node = || trip.node().to_owned();
    let gone = |source| TravelError::Lost { node: node(), source: Arc::new(source) };
    for message in handed_on(&cluster.driver().hands_on()) {
        visit.send(&message).map_err(gone)?;
    }
    let mut hearing = Hearing::new(trip.node(), None);
    loop {
        let Some(message) = visit.next(Time::NEVER).map_err(gone)? else { continue };
        match hearing.hear(message) {
            Heard::Nothing => {}
            Heard::Say(message) => visit.send(&message).map_err(gone)?,
            Heard::Ended(end) => {
                // The last word: a node that does not hear it keeps the status for a while.
                let _ = visit.send(&Message::Goodbye(Goodbye::Leaving));
                visit.close();
                return match end {
                    Err(TravelError::Killed { node, signal }) => {
                        let lost = lazy::loss(trip, Exited::Signal(signal));
                        Err(lost.unwrap_or(TravelError::Killed { node, signal }))
                    }
                    end => end,
                };
            }
        }
    }
}
