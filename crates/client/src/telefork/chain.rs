//! Copies on several nodes for one sending: the image goes to the first, and from each node on to the next.
//!
//! ```text
//!   here ── image ──▶ first ──▶ second ──▶ third          over TLS, each fetching from the one before
//!     ├── visit ───────┘          │          │
//!     ├── visit ──────────────────┘          │            BUILT, WAKE, streams: as of any copy
//!     └── visit ─────────────────────────────┘
//! ```
//!
//! What a node reads it passes on while it builds. If one refuses or dies in the middle those behind it are cut off,
//! and never wake: they get another chain, and after `ROUNDS` of them the image from here, one after the other.
//! Memory that follows is for one copy: copies of a chain have all of it before they wake.
//!
//! Elsewhere: who may fetch which image (`logic::node::visits`), how it is passed on (`pad::tee`, `node::chain`).

use std::sync::Arc;
use std::sync::mpsc::{Sender as Reports, channel};
use std::thread;

use ::telefork::Leaving;
use memory::Error;
use wire::blob::Permit;
use wire::name::Name;
use wire::visit::Chained;

use super::error::TravelError;
use super::luggage::begin;
use super::passage::{hear, pour, wake};
use super::trip::Trip;
use crate::Cluster;
use crate::nodes::Target;
use crate::visit::{Visit, WayTo};

/// Chains that are tried before those who are left are sent to one after the other.
const ROUNDS: usize = 3;

/// Why no memory follows these.
const WHOLE: &str =
    "it is one of several, whose image goes from node to node whole; name one node alone";

/// What became of one copy of a chain: which, and whether it is to be sent again.
type Report = (usize, bool);

/// Nodes reach each other where this one reaches them: not at a Unix socket.
pub(super) fn can(cluster: &Cluster, trips: &[Arc<Trip>]) -> bool {
    let state = cluster.driver().state();
    let is_apart = |trip: &Arc<Trip>| {
        let found = state.nodes.find_up(Some(trip.node()));
        found.is_none_or(|at| matches!(state.nodes.target_of(at), Target::Tcp(_)))
    };
    trips.len() > 1 && trips.iter().all(is_apart)
}

/// Sends an image to these nodes; returns those that it did not come to, for another node's sake perhaps.
pub(super) fn send_all(
    cluster: &Cluster,
    leaving: &mut Leaving,
    mut trips: Vec<Arc<Trip>>,
) -> Vec<Arc<Trip>> {
    for _ in 0..ROUNDS {
        if trips.len() > 1 {
            trips = round(cluster, leaving, trips);
        }
    }
    trips
}

/// One chain. The first of it ends here, in one way or the other.
fn round(cluster: &Cluster, leaving: &mut Leaving, trips: Vec<Arc<Trip>>) -> Vec<Arc<Trip>> {
    let mut opened: Vec<(Arc<Trip>, Visit)> = Vec::new();
    let mut before: Option<(Name, Permit)> = None;
    // An absent name is waited for, and a pad that has been opened waits for its first byte: all names come first.
    let mut ways: Vec<(Arc<Trip>, WayTo)> = Vec::new();
    for trip in trips {
        match cluster.way_to(trip.node()) {
            Ok(way) => ways.push((trip, way)),
            Err(source) => trip.ends(Err(unsent_to(&trip, source))),
        }
    }
    let count = ways.len();
    for (at, (trip, way)) in ways.into_iter().enumerate() {
        let onward = (at + 1 < count).then(permit);
        let (begin, number, from) = (begin(), trip.number(), before.clone());
        let visit = way.begin_chained(Chained { begin, number, from, onward });
        match visit {
            Ok(visit) => {
                trip.comes_whole(WHOLE.to_owned());
                let name = visit.node().parse::<Name>().ok();
                before = name.zip(onward);
                opened.push((trip, visit));
            }
            Err(source) => trip.ends(Err(unsent_to(&trip, source))),
        }
    }
    let Some((first, visit)) = opened.first_mut() else { return Vec::new() };
    let sent = pour(leaving, None, first, visit);
    let (reports, reported) = channel();
    let mut left: Vec<Arc<Trip>> = Vec::new();
    let mut unsent = sent.err();
    let all: Vec<Arc<Trip>> = opened.iter().map(|(trip, _)| trip.clone()).collect();
    for (at, (trip, visit)) in opened.into_iter().enumerate() {
        match unsent.take() {
            Some(error) => trip.ends(Err(error)),
            None => settle_beside(cluster, visit, trip, at, &reports),
        }
    }
    drop(reports);
    // Until it is known that nobody needs it any more the image can be had from here.
    left.extend(reported.iter().filter(|(_, again)| *again).map(|(at, _)| all[at].clone()));
    left.sort_by_key(|trip| trip.number());
    left
}

fn unsent_to(trip: &Trip, source: Error) -> TravelError {
    TravelError::Unsent { node: trip.node().to_owned(), source }
}

/// Wakes and hears one copy on a thread of its own.
fn settle_beside(
    cluster: &Cluster,
    mut visit: Visit,
    trip: Arc<Trip>,
    at: usize,
    reports: &Reports<Report>,
) {
    let (cluster, of, reports) = (cluster.clone(), trip.clone(), reports.clone());
    let started = thread::Builder::new().name("farcall-copy".into()).spawn(move || {
        let awake = wake(&mut visit, &of);
        // What the first one says is about itself; those behind it may have been cut off.
        let again = at > 0 && matches!(awake, Err(TravelError::Refused { .. }));
        let _ = reports.send((at, again));
        drop(reports);
        if again {
            return;
        }
        let end = awake.and_then(|()| hear(&cluster, &mut visit, &of));
        drop(cluster);
        of.ends(end);
    });
    if let Err(source) = started {
        trip.ends(Err(TravelError::NoThread { source }));
    }
}

/// One that nobody can guess.
fn permit() -> Permit {
    let mut bytes = [0; 16];
    let halves = [transport::random_u64(), transport::random_u64()].map(u64::to_le_bytes);
    bytes.as_chunks_mut().0.copy_from_slice(&halves);
    Permit(bytes)
}
