//! A copy leaves: made by the calling thread, sent and heard by one of ours.

use std::io::{Write, stderr, stdout};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use ::telefork::{Departed, Departing, Leaving, Location};
use memory::Error;
use transport::Secrets;
use wire::answer::Mark;

use super::calls::{self, Job, Place, Unsent};
use super::chain as chains;
use super::error::TravelError;
use super::hearing::Printing;
use super::lazy;
use super::luggage::{Forms, begin};
use super::passage::{Pour, Stopped, hear, pour, wake};
use super::trip::{Ended, Trip};
use crate::Cluster;
use crate::copied::{self, Input};
use crate::driver::{Held, hold_all};
use crate::error::chain;
use crate::visit::{Lanes, Visit};

/// Where a copy was made.
#[derive(Debug)]
pub(super) enum Left {
    Parent(Vec<Arc<Trip>>),
    Child(u32),
}

/// Makes a copy for each of these nodes. With a mark, each is to answer behind it.
pub(super) fn leave(
    cluster: &Cluster,
    nodes: &[String],
    mark: Option<Mark>,
) -> Result<Left, TravelError> {
    cluster.driver().check_linked()?;
    let trips: Vec<Arc<Trip>> =
        (0..).zip(nodes).map(|(number, node)| Arc::new(Trip::new(node.clone(), number))).collect();
    // Calls share what their node has of us, and so does who goes where something is kept.
    if let [node] = nodes
        && let [trip] = &trips[..]
    {
        let going = match mark {
            Some(mark) => Some(Going::Calls(mark)),
            None => calls::place(cluster, node).map(Going::Stays),
        };
        if let Some(going) = going {
            return Ok(match leave_by_road(cluster, trip, going)? {
                None => Left::Parent(trips),
                Some(number) => Left::Child(number),
            });
        }
    }
    // In the copy nobody else has it.
    let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let (departed, forms) =
        part(Input::HandedOn).map_err(|source| TravelError::Unmade { source })?;
    drop(turn);
    let departing = match departed {
        Departed::Child(number) => return Ok(Left::Child(number.cast_unsigned())),
        Departed::Parent(departing) => departing,
    };
    let (ready, held) = sync_channel(1);
    let sender = Sender { cluster: cluster.clone(), trips: trips.clone() };
    let started = thread::Builder::new()
        .name("farcall-send".into())
        .spawn(move || sender.run(departing, &forms, &ready));
    started.map_err(|source| TravelError::NoThread { source })?;
    // Until it is held it ends with the calling thread, which may be about to end.
    match held.recv() {
        Ok(Ok(())) | Err(_) => Ok(Left::Parent(trips)),
        Ok(Err(source)) => Err(TravelError::Unmade { source }),
    }
}

/// Why no memory follows one that goes by road.
const SHARES: &str = "it shares what its node has kept of this process, and all that has changed since comes before \
                      it wakes; send it through a cluster that has made no calls there";

/// One copy is made and put on its road at a time.
static TURN: Mutex<()> = Mutex::new(());

/// What a copy that goes by road is for.
enum Going {
    /// It answers behind this, and ends.
    Calls(Mark),
    /// It runs for as long as it likes.
    Stays(Place),
    /// It does not wake.
    Prepares,
}

/// Makes a copy whose memory is only sent; `None` where it wakes.
pub(super) fn prepare(cluster: &Cluster, node: &str) -> Result<Option<Arc<Trip>>, TravelError> {
    cluster.driver().check_linked()?;
    let trip = Arc::new(Trip::new(node.to_owned(), 0));
    Ok(leave_by_road(cluster, &trip, Going::Prepares)?.is_none().then_some(trip))
}

/// Sends a copy to where others of this process are, or will be. The copy's number, in the copy.
fn leave_by_road(
    cluster: &Cluster,
    trip: &Arc<Trip>,
    going: Going,
) -> Result<Option<u32>, TravelError> {
    let road = match &going {
        Going::Stays(place) => place.road,
        Going::Calls(_) | Going::Prepares => 0,
    };
    let key = (trip.node().to_owned(), road);
    let way = calls::way(cluster, &key)?;
    // Copies go in the order in which they are made, with what was written between them.
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    calls::look(cluster);
    let (departed, forms) =
        part(Input::HandedOn).map_err(|source| TravelError::Unmade { source })?;
    let departing = match departed {
        Departed::Child(number) => return Ok(Some(number.cast_unsigned())),
        Departed::Parent(departing) => departing,
    };
    // Until it is held it ends with the calling thread, which may be about to end.
    let leaving = departing.hold().map_err(|source| TravelError::Unmade { source })?;
    let trip = trip.clone();
    let (mark, place, wakes) = match going {
        Going::Calls(mark) => (Some(mark), None, true),
        Going::Stays(place) => (None, Some(Arc::new(place)), true),
        Going::Prepares => (None, None, false),
    };
    if place.is_some() {
        trip.comes_whole(SHARES.to_owned());
    }
    let changed = calls::changed(cluster, &key);
    let job = Job {
        leaving,
        forms,
        trip: Unsent(trip),
        mark,
        wakes,
        is_wiped: false,
        changed,
        cluster: cluster.clone(),
        place,
    };
    calls::go(cluster, &key, way, job)?;
    Ok(None)
}

/// Makes one copy, with all locks of the library in the hands of the calling thread: in the copy it is the
/// only one, and gives them back as here. Its input is its own, or what it is handed on to link by itself.
fn part(input: Input) -> Result<(Departed, Forms), ::telefork::Error> {
    // These first: who holds them may be about to use a cluster.
    let (mut output, _errors) = (stdout().lock(), stderr().lock());
    let _printing = Printing::hold();
    let mut own = copied::hold();
    let secrets = Secrets::hold();
    if !secrets.are_all() {
        return Err(::telefork::Error::UnknownKey);
    }
    let forms = secrets.forms();
    // Else both would write what is left. A closed output takes nothing anyway.
    let _ = output.flush();
    let (departed, wakers) = hold_all(|drivers| {
        let departed = ::telefork::depart();
        let mut wakers = Vec::new();
        if let Ok(Departed::Child(_)) = departed {
            own.begin_anew(input);
            wakers.extend(drivers.iter_mut().flat_map(Held::leave_behind));
        }
        (departed, wakers)
    });
    wakers.into_iter().for_each(std::task::Waker::wake);
    Ok((departed?, forms))
}

/// As `telefork::telefork_to`, with this process's private keys left out.
pub(super) fn write_copy(to: &mut impl Write) -> Result<Location, ::telefork::Error> {
    // In the copy nobody else has it.
    let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let (departed, forms) = part(Input::Own)?;
    drop(turn);
    let departing = match departed {
        Departed::Child(value) => return Ok(Location::Child(value)),
        Departed::Parent(departing) => departing,
    };
    let leaving = departing.hold()?;
    leaving.wipe(&forms.iter().map(|form| &form[..]).collect::<Vec<_>>())?;
    leaving.write(to)?;
    leaving.end()?;
    Ok(Location::Parent)
}

/// The thread that sends.
struct Sender {
    cluster: Cluster,
    trips: Vec<Arc<Trip>>,
}

impl Sender {
    fn run(
        self,
        departing: Departing,
        forms: &Forms,
        ready: &SyncSender<Result<(), ::telefork::Error>>,
    ) {
        let mut leaving = match departing.hold() {
            Ok(leaving) => leaving,
            Err(error) => {
                let _ = ready.send(Err(error));
                return;
            }
        };
        let _ = ready.send(Ok(()));
        let secrets: Vec<&[u8]> = forms.iter().map(|form| &form[..]).collect();
        let wiped = leaving.wipe(&secrets);
        let mut alone = None;
        let is_chained = wiped.is_ok() && chains::can(&self.cluster, &self.trips);
        let left = match is_chained {
            true => chains::send_all(&self.cluster, &mut leaving, self.trips.clone()),
            false => self.trips.clone(),
        };
        for trip in &left {
            let sent = match &wiped {
                Ok(_) => send(&self.cluster, &mut leaving, trip, !is_chained),
                Err(error) => Err(TravelError::Unwiped { reason: chain(error) }),
            };
            match sent {
                Err(error) => trip.ends(Err(error)),
                Ok(visit) if self.trips.len() == 1 && trip.serving().is_none() => {
                    alone = Some(visit);
                }
                Ok(visit) => self.follow_beside(visit, trip),
            }
        }
        lazy::see_off(self.trips.iter().map(|trip| &**trip));
        // It is of no more use, whatever the kernel says.
        let _ = leaving.end();
        let Self { cluster, trips } = self;
        if let (Some(mut visit), Some(trip)) = (alone, trips.first()) {
            let end = follow(&cluster, &mut visit, trip);
            drop(cluster);
            trip.ends(end);
        }
    }

    /// Hears one of several on a thread of its own.
    fn follow_beside(&self, mut visit: Visit, trip: &Arc<Trip>) {
        let (cluster, of) = (self.cluster.clone(), trip.clone());
        let started = thread::Builder::new().name("farcall-copy".into()).spawn(move || {
            let end = follow(&cluster, &mut visit, &of);
            drop(cluster);
            of.ends(end);
        });
        // Its visit was dropped, so it never wakes.
        if let Err(source) = started {
            if let Some(serving) = trip.serving() {
                serving.cut();
            }
            trip.ends(Err(TravelError::NoThread { source }));
        }
    }
}

/// Sends one image. Whoever refuses it says so in what follows.
fn send(
    cluster: &Cluster,
    leaving: &mut Leaving,
    trip: &Trip,
    is_lazy: bool,
) -> Result<Visit, TravelError> {
    let unsent = |source| TravelError::Unsent { node: trip.node().to_owned(), source };
    let mut visit = cluster.visit(trip.node(), begin()).map_err(unsent)?;
    let lanes = if is_lazy { lanes(&visit, trip).map_err(unsent)? } else { None };
    let number = trip.number().cast_signed();
    let Some(lanes) = lanes else {
        pour(leaving, Some(number), trip, &mut visit)?;
        return Ok(visit);
    };
    let mut pour = Pour { visit: &mut visit, trip, stopped: None };
    let sent = leaving.send_ahead(number, &mut pour);
    let server = match (sent, pour.stopped) {
        (Ok(server), _) => server,
        (Err(_), Some(Stopped::Heard)) => return Ok(visit),
        (Err(_), Some(Stopped::Lost(source))) => return Err(unsent(source)),
        (Err(source), None) => return Err(TravelError::Unmade { source }),
    };
    trip.follows(lanes.serve(server).map_err(|source| TravelError::NoThread { source })?);
    Ok(visit)
}

/// What its memory can follow it over, if it can.
fn lanes(visit: &Visit, trip: &Trip) -> Result<Option<Lanes>, Error> {
    match visit.lanes()? {
        Ok(lanes) => Ok(Some(lanes)),
        Err(why) => {
            lazy::say_whole(trip.node(), &why);
            trip.comes_whole(why);
            Ok(None)
        }
    }
}

/// From the end of the image to the end of the copy.
fn follow(cluster: &Cluster, visit: &mut Visit, trip: &Trip) -> Result<Ended, TravelError> {
    let ended = wake(visit, trip).and_then(|()| hear(cluster, visit, trip));
    // However it ended, it needs no more pages.
    if let Some(serving) = trip.serving() {
        serving.cut();
    }
    ended
}
