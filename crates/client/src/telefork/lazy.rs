//! Copies that wake before their memory has come: it follows from the twin, which stands still here meanwhile.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use wire::visit::Exited;

use super::error::TravelError;
use super::hearing::print_error;
use super::trip::Trip;

/// How often whoever keeps a twin looks after it.
const LOOK: Duration = Duration::from_secs(3600);

/// How long it may take until it is known why a copy was killed whose pages were on their way.
const LAST_WORDS: Duration = Duration::from_secs(2);

const SIGKILL: u8 = 9;

/// Not all nodes let memory follow. That it does not is no failure, and is said once.
pub(super) fn say_whole(node: &str, why: &str) {
    static IS_SAID: AtomicBool = AtomicBool::new(false);
    if !IS_SAID.swap(true, Relaxed) {
        let words =
            format!("farcall: copies wake on {node} only when all their memory is there: {why}\n");
        print_error(words.as_bytes());
    }
}

/// Until the pages of these are there, or nobody needs them.
pub(super) fn see_off<'a>(trips: impl Iterator<Item = &'a Trip>) {
    for serving in trips.filter_map(Trip::serving) {
        while !serving.is_over_within(LOOK) {}
    }
}

/// Why a copy ended so, if it is for its pages.
pub(super) fn loss(trip: &Trip, exited: Exited) -> Option<TravelError> {
    let serving = trip.serving().filter(|_| exited == Exited::Signal(SIGKILL))?;
    let source = serving.wait(LAST_WORDS)?.err()?;
    Some(TravelError::NotFollowed { node: trip.node().to_owned(), source })
}
