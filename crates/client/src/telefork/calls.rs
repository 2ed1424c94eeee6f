//! Copies that share what their node has of this process's memory: a connection to each node, and a thread that
//! has it.
//!
//! ```text
//!   calling thread               the road's thread                          the node's pad
//!   fork, hold ── job ─────────▶ keys wiped; CALL, IMAGE ... ────────────▶  changes what it keeps, forks it
//!   goes on                      WOKEN  ◀─────────────────────────────────  it runs
//!   handle  ◀──────────────────  STDIO, EXITED  ◀─────────────────────────
//! ```
//!
//! Images are sent one after another, each upon the one before; where one cannot be, or what is kept is lost,
//! everything is sent again. Where as many copies run as one road takes, another one is made: its node keeps the
//! memory once more. A connection that is lost ends all its copies, and their handles say so.
//!
//! Elsewhere: what changed (`telefork::capture`), what a copy says (`hearing`).

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::io::{self, Write};
use std::ops::{Deref, Range};
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::mpsc::{Receiver, Sender, TryRecvError, channel};
use std::thread;
use std::time::Duration;

use ::telefork::Leaving;
use ::telefork::capture::{Changes, Told};
use bytes::Bytes;
use memory::Error;
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token, Waker};
use sys::ranges::union;
use wire::Message;
use wire::answer::Mark;
use wire::hello::Goodbye;
use wire::limits::{CALL_PIECE_MAX, CALLS_MAX};
use wire::visit::{Call, CallImage};

use super::error::TravelError;
use super::hearing::{Heard, Hearing};
use super::luggage::{Forms, begin, handed_on};
use super::trip::{Ended, Trip};
use super::watch::{Key, Watch};
use crate::Cluster;
use crate::driver::{State, now};
use crate::error::chain;
use crate::visit::{Visit, WayTo, after};

/// How long a node may take to build what it has been sent.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long nothing may move while an image is written.
const STANDSTILL: Duration = Duration::from_secs(30);
/// Bytes that are queued before the socket is waited for. What is written for sending is memory of this process,
/// which goes with the next copy.
const QUEUED: usize = 64 * 1024;

const LINE: Token = Token(0);
const JOBS: Token = Token(1);

/// The roads of a cluster. Dropped, all that runs on them ends.
#[derive(Debug, Default)]
struct Roads {
    roads: HashMap<Key, Road>,
    places: HashMap<Key, Places>,
    watch: Watch,
}

impl Drop for Roads {
    fn drop(&mut self) {
        for (_, Road { jobs, waker }) in self.roads.drain() {
            drop(jobs);
            // It looks whether anybody is left.
            let _ = waker.wake();
        }
    }
}

fn roads(state: &mut State) -> &mut Roads {
    let kept = state.beside.get_or_insert_with(|| Box::new(Roads::default()));
    kept.downcast_mut().expect("nothing else is kept there")
}

/// The way to the thread that has the connection to a node.
#[derive(Debug, Clone)]
struct Road {
    jobs: Sender<Job>,
    waker: Arc<Waker>,
}

/// A copy that is to go.
pub(super) struct Job {
    pub(super) leaving: Leaving,
    pub(super) forms: Forms,
    pub(super) trip: Unsent,
    pub(super) mark: Option<Mark>,
    /// Whether it wakes; otherwise its memory is only sent.
    pub(super) wakes: bool,
    /// Whether all of it has been searched for keys already.
    pub(super) is_wiped: bool,
    /// Where something may have been written since the last one that went there; `None` where nobody knows.
    pub(super) changed: Option<Vec<Range<u64>>>,
    /// Nodes that end with the cluster are there as long as its copies are.
    pub(super) cluster: Cluster,
    /// Of one that wakes and is no call.
    pub(super) place: Option<Arc<Place>>,
}

/// The trip of one that is to go.
pub(super) struct Unsent(pub(super) Arc<Trip>);

impl Deref for Unsent {
    type Target = Arc<Trip>;
    fn deref(&self) -> &Arc<Trip> {
        &self.0
    }
}

impl Drop for Unsent {
    /// Nobody waits for one that nobody sends any more: it may have come as its road ended.
    fn drop(&mut self) {
        let reason = "the connection ended before it was sent; send it again".to_owned();
        let node = self.0.node().to_owned();
        self.0.ends_if_leaving(TravelError::Refused { node, reason });
    }
}

impl Job {
    /// It is of no more use, whatever the kernel says.
    fn end(self) {
        let _ = self.leaving.end();
    }
}

/// What can have been written since a copy last went to a node: to be asked before the next one is made, and
/// again behind that, with nothing made in between.
pub(super) fn look(cluster: &Cluster) {
    roads(&mut cluster.driver().state()).watch.look();
}

/// What to send of a copy that was just made.
pub(super) fn changed(cluster: &Cluster, road: &Key) -> Option<Vec<Range<u64>>> {
    roads(&mut cluster.driver().state()).watch.take(road)
}

/// A place for a copy that runs for as long as it likes, where something is kept at its node, or is on its way
/// there: on the first road that has one, which may be a new one. `None`: it goes alone.
pub(super) fn place(cluster: &Cluster, node: &str) -> Option<Place> {
    let mut state = cluster.driver().state();
    let Roads { roads, places, .. } = roads(&mut state);
    if !roads.contains_key(&(node.to_owned(), 0)) {
        return None;
    }
    (0..).find_map(|number| places.entry((node.to_owned(), number)).or_default().take(number))
}

/// Copies on one road that are no calls; the rest of what a node takes is for those. Calls wait for their turn, as
/// they end soon; who waited for another copy might wait for ever.
const COPIES_MAX: usize = CALLS_MAX - 16;

/// How many copies of a road are no calls.
#[derive(Debug, Clone, Default)]
struct Places(Arc<AtomicUsize>);

impl Places {
    fn take(&self, road: u32) -> Option<Place> {
        let next = |taken| (taken < COPIES_MAX).then_some(taken + 1);
        self.0.fetch_update(Relaxed, Relaxed, next).ok()?;
        Some(Place { road, taken: self.0.clone() })
    }
}

/// Taken until it is dropped.
#[derive(Debug)]
pub(super) struct Place {
    /// The number of its road.
    pub(super) road: u32,
    taken: Arc<AtomicUsize>,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.taken.fetch_sub(1, Relaxed);
    }
}

/// The way to a node to which there is no road yet. It is waited for; nothing is to be held meanwhile.
pub(super) fn way(cluster: &Cluster, key: &Key) -> Result<Option<WayTo>, TravelError> {
    if roads(&mut cluster.driver().state()).roads.contains_key(key) {
        return Ok(None);
    }
    let unsent = |source| TravelError::Unsent { node: key.0.clone(), source };
    cluster.way_to(&key.0).map(Some).map_err(unsent)
}

/// Sends a copy down the road to its node, which is made if there is none.
pub(super) fn go(
    cluster: &Cluster,
    key: &Key,
    mut way: Option<WayTo>,
    mut job: Job,
) -> Result<(), TravelError> {
    let (node, _) = key;
    loop {
        let road = roads(&mut cluster.driver().state()).roads.get(key).cloned();
        let road = match road {
            Some(road) => road,
            None => {
                let unsent = |source| TravelError::Unsent { node: node.clone(), source };
                let known = way.take().map_or_else(|| cluster.way_to(node), Ok);
                let road = start(node, known.map_err(unsent)?)?;
                // Another thread may have been quicker.
                let mut state = cluster.driver().state();
                roads(&mut state).roads.entry(key.clone()).or_insert(road).clone()
            }
        };
        match road.jobs.send(job) {
            Ok(()) => {
                // It looks when it is awake, too.
                let _ = road.waker.wake();
                return Ok(());
            }
            // It has ended with its connection: the next one is another.
            Err(unsent) => {
                job = unsent.0;
                roads(&mut cluster.driver().state()).roads.remove(key);
            }
        }
    }
}

fn start(node: &str, way: WayTo) -> Result<Road, TravelError> {
    let refused = |source| TravelError::NoThread { source };
    let poll = Poll::new().map_err(refused)?;
    let waker = Arc::new(Waker::new(poll.registry(), JOBS).map_err(refused)?);
    let (jobs, todo) = channel();
    let node = node.to_owned();
    let started = thread::Builder::new().name("farcall-calls".into()).spawn(|| {
        if let Some(carrier) = Carrier::open(node, way, poll, todo) {
            carrier.run();
        }
    });
    started.map_err(refused)?;
    Ok(Road { jobs, waker })
}

/// Where something may have been written that did in one of these.
fn both(before: Option<Vec<Range<u64>>>, now: Option<Vec<Range<u64>>>) -> Option<Vec<Range<u64>>> {
    Some(union(&before?, &now?))
}

/// The thread of a road.
struct Carrier {
    node: String,
    visit: Visit,
    poll: Poll,
    todo: Receiver<Job>,
    waiting: VecDeque<Job>,
    running: BTreeMap<u64, Running>,
    /// What the node has of this process.
    told: Option<Told>,
    /// Where something may have been written since; `None` where nobody knows.
    changed: Option<Vec<Range<u64>>>,
    /// One that was sent, and is ending.
    ending: Option<Leaving>,
    /// The highest channel that was used.
    latest: u64,
    /// Nobody sends jobs any more.
    closed: bool,
}

/// A copy at the node.
struct Running {
    trip: Heeded,
    hearing: Hearing,
    cluster: Cluster,
    /// Given back when it has ended.
    _place: Option<Arc<Place>>,
}

/// The trip of one that runs.
struct Heeded(Arc<Trip>);

impl Drop for Heeded {
    /// Whatever became of the thread, nobody waits for what nobody hears.
    fn drop(&mut self) {
        let node = self.0.node().to_owned();
        self.0.ends_if_not_over(TravelError::Doubt { node });
    }
}

/// What the node said of an image.
enum Verdict {
    /// By its number there.
    Taken(u32),
    Refused(String),
}

impl Carrier {
    /// Opens the visit for the first copy. The node waits for its first byte, and not for long: what takes its time
    /// comes before that.
    fn open(node: String, way: WayTo, poll: Poll, todo: Receiver<Job>) -> Option<Self> {
        // Whoever made this road beside another one has dropped it.
        let mut first: Job = todo.recv().ok()?;
        let secrets: Vec<&[u8]> = first.forms.iter().map(|form| &form[..]).collect();
        let wiped = first.leaving.wipe(&secrets);
        let wiped = wiped.map_err(|error| TravelError::Unwiped { reason: chain(&error) });
        let opened = wiped.and_then(|_| {
            let unsent = |source| TravelError::Unsent { node: node.clone(), source };
            let visit = way.begin(begin()).map_err(unsent)?;
            let socket = visit.socket().as_raw_fd();
            let registered =
                poll.registry().register(&mut SourceFd(&socket), LINE, Interest::READABLE);
            registered.map_err(|source| TravelError::NoThread { source })?;
            Ok(visit)
        });
        let visit = match opened {
            Ok(visit) => visit,
            Err(error) => {
                first.trip.ends(Err(error));
                first.end();
                return None;
            }
        };
        first.is_wiped = true;
        Some(Self {
            node,
            visit,
            poll,
            todo,
            waiting: VecDeque::from([first]),
            running: BTreeMap::new(),
            told: None,
            changed: None,
            ending: None,
            latest: 0,
            closed: false,
        })
    }

    fn run(mut self) {
        let lost = loop {
            // What came while an image went lies here already, and no socket tells of it.
            if let Err(error) = self.hear() {
                break Arc::new(error);
            }
            self.collect();
            if self.closed && self.waiting.is_empty() && self.running.is_empty() {
                let _ = self.visit.send(&Message::Goodbye(Goodbye::Leaving));
                self.visit.close();
                return;
            }
            if self.running.len() < CALLS_MAX
                && let Some(job) = self.waiting.pop_front()
            {
                match self.carry(&job) {
                    Ok(()) => {}
                    Err(Trouble::Of(error)) => job.trip.ends(Err(error)),
                    Err(Trouble::Lost(source)) => {
                        let source = Arc::new(source);
                        job.trip.ends(Err(self.lost(&source)));
                        break source;
                    }
                }
                self.see_off(job.leaving);
                continue;
            }
            if let Err(error) = self.wait() {
                break Arc::new(error);
            }
        };
        self.visit.close();
        for running in self.running.values() {
            running.trip.0.ends(Err(self.lost(&lost)));
        }
        // From here on, who sends a job is told that nobody takes it.
        let Self { todo, waiting, node, .. } = self;
        let left = waiting.into_iter().chain(todo.try_iter());
        for job in left {
            let (node, source) = (node.clone(), lost.clone());
            job.trip.ends(Err(TravelError::Lost { node, source }));
        }
    }

    /// Its memory takes a while to be free, and nobody waits for that but the next one.
    fn see_off(&mut self, mut leaving: Leaving) {
        leaving.begin_end();
        self.ending = Some(leaving);
    }

    fn lost(&self, source: &Arc<Error>) -> TravelError {
        TravelError::Lost { node: self.node.clone(), source: source.clone() }
    }

    fn collect(&mut self) {
        loop {
            match self.todo.try_recv() {
                Ok(job) => self.waiting.push_back(job),
                Err(TryRecvError::Empty) => return,
                Err(TryRecvError::Disconnected) => {
                    self.closed = true;
                    return;
                }
            }
        }
    }

    /// Until something has come.
    fn wait(&mut self) -> Result<(), Error> {
        let due = Duration::from(self.visit.poll_timeout().since(now()));
        let mut events = Events::with_capacity(4);
        match self.poll.poll(&mut events, Some(due)) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(source) => return Err(Error::Kernel { action: "wait at a socket", source }),
        }
        Ok(())
    }

    /// All that has come.
    fn hear(&mut self) -> Result<(), Error> {
        loop {
            while let Some((channel, message)) = self.visit.next_on(now())? {
                self.pass(channel, message)?;
            }
            if !self.visit.has_more()? {
                return Ok(());
            }
        }
    }

    /// What a copy says.
    fn pass(&mut self, channel: u64, message: Message) -> Result<(), Error> {
        let Some(running) = self.running.get_mut(&channel) else { return Ok(()) };
        match running.hearing.hear(message) {
            Heard::Nothing => {}
            Heard::Say(message) => self.visit.send_on(channel, &message)?,
            Heard::Ended(end) => self.ends(channel, end),
        }
        Ok(())
    }

    fn ends(&mut self, channel: u64, end: Result<Ended, TravelError>) {
        if let Some(Running { trip, cluster, .. }) = self.running.remove(&channel) {
            drop(cluster);
            if self.running.is_empty() {
                // Behind the last call nothing of it is left.
                self.ending = None;
            }
            trip.0.ends(end);
        }
    }

    /// Sends one copy, and hears whether it runs.
    fn carry(&mut self, job: &Job) -> Result<(), Trouble> {
        let secrets: Vec<&[u8]> = job.forms.iter().map(|form| &form[..]).collect();
        // What did not go with others goes with this one.
        self.changed = both(self.changed.take(), job.changed.clone());
        let unwiped = |error| TravelError::Unwiped { reason: chain(&error) };
        if let (Some(told), Some(changed)) = (&self.told, &self.changed) {
            job.leaving.wipe_near(&secrets, told, changed).map_err(unwiped)?;
        }
        if self.told.is_some() && self.changed.is_none() {
            job.leaving.wipe(&secrets).map_err(unwiped)?;
        }
        if self.told.is_some()
            && let Some(Verdict::Taken(_)) = self.send(job, CallImage::Changes)?
        {
            return Ok(());
        }
        // There is nothing that it could be upon, or nothing any more.
        if !job.is_wiped {
            job.leaving.wipe(&secrets).map_err(unwiped)?;
        }
        match self.send(job, CallImage::Whole)? {
            Some(Verdict::Taken(_)) => Ok(()),
            Some(Verdict::Refused(reason)) => {
                Err(TravelError::Refused { node: self.node.clone(), reason }.into())
            }
            None => Err(TravelError::Nonsense { node: self.node.clone() }.into()),
        }
    }

    /// Sends one image; `None`: it cannot be of changes, and nothing was sent.
    fn send(&mut self, job: &Job, image: CallImage) -> Result<Option<Verdict>, Trouble> {
        // What it is now is not known until the node has said so.
        let before = self.told.take();
        let number = job.trip.number().cast_signed();
        self.latest += 1;
        let channel = self.latest;
        let call = Call { image, wakes: job.wakes };
        let mut pour = Pour::new(&mut self.visit, channel, call, &job.trip);
        let sent = match (image, before) {
            (CallImage::Whole, _) | (CallImage::Changes, None) => {
                job.leaving.send_told(number, &mut pour).map(|(_, told)| Some(told))
            }
            (CallImage::Changes, Some(before)) => {
                let changed = self.changed.as_deref();
                let changes = job.leaving.send_changes(number, before, changed, &mut pour);
                changes.map(|changes| match changes {
                    Changes::Sent(_, told) => Some(told),
                    Changes::SendAll(_) => None,
                })
            }
        };
        if let Some(lost) = pour.lost.take() {
            return Err(Trouble::Lost(lost));
        }
        let told = match sent {
            Ok(Some(told)) => told,
            Ok(None) => return Ok(None),
            Err(source) => {
                pour.break_off()?;
                return Err(TravelError::Unmade { source }.into());
            }
        };
        pour.end()?;
        let verdict = self.verdict(channel)?;
        match &verdict {
            Verdict::Taken(pid) => {
                self.told = Some(told);
                self.changed = Some(Vec::new());
                if job.wakes {
                    job.trip.wakes(*pid);
                    // A node that refuses learns nothing to link with.
                    for message in handed_on(&job.cluster.driver().hands_on()) {
                        self.visit.send_on(channel, &message)?;
                    }
                    let hearing = Hearing::new(&self.node, job.mark);
                    let (trip, cluster) = (Heeded(job.trip.0.clone()), job.cluster.clone());
                    let running = Running { trip, hearing, cluster, _place: job.place.clone() };
                    self.running.insert(channel, running);
                } else {
                    job.trip.ends(Ok(Ended { status: 0, answer: None }));
                }
            }
            Verdict::Refused(_) => {}
        }
        Ok(Some(verdict))
    }

    fn verdict(&mut self, of: u64) -> Result<Verdict, Trouble> {
        let until = after(PATIENCE);
        loop {
            let Some((channel, message)) = self.visit.next_on(until)? else {
                let seconds = PATIENCE.as_secs();
                return Err(Trouble::Lost(Error::Silent { node: self.node.clone(), seconds }));
            };
            match message {
                Message::Woken(woken) if channel == of => return Ok(Verdict::Taken(woken.pid)),
                Message::Built(built) if channel == of => return Ok(Verdict::Taken(built.pid)),
                Message::Refused(refused) if channel == of || channel == 0 => {
                    return Ok(Verdict::Refused(refused.reason));
                }
                message => self.pass(channel, message)?,
            }
        }
    }
}

/// Why a copy did not go.
enum Trouble {
    /// It alone.
    Of(TravelError),
    /// All of them.
    Lost(Error),
}

impl From<TravelError> for Trouble {
    fn from(error: TravelError) -> Self {
        Self::Of(error)
    }
}

impl From<Error> for Trouble {
    fn from(error: Error) -> Self {
        Self::Lost(error)
    }
}

/// An image on its way, in pieces. Nothing is said of it before its first byte.
struct Pour<'a> {
    visit: &'a mut Visit,
    channel: u64,
    call: Option<Call>,
    trip: &'a Trip,
    piece: Vec<u8>,
    lost: Option<Error>,
}

impl<'a> Pour<'a> {
    fn new(visit: &'a mut Visit, channel: u64, call: Call, trip: &'a Trip) -> Self {
        let piece = Vec::with_capacity(CALL_PIECE_MAX);
        Self { visit, channel, call: Some(call), trip, piece, lost: None }
    }

    fn put_piece(&mut self) -> Result<(), Error> {
        if let Some(call) = self.call.take() {
            self.visit.put_on(self.channel, &Message::Call(call));
        }
        let piece = std::mem::replace(&mut self.piece, Vec::with_capacity(CALL_PIECE_MAX));
        self.trip.has_sent(piece.len());
        self.visit.put_on(self.channel, &Message::Image(Bytes::from(piece)));
        self.visit.drain(QUEUED, STANDSTILL)
    }

    fn end(mut self) -> Result<(), Error> {
        if !self.piece.is_empty() {
            self.put_piece()?;
        }
        self.visit.drain(0, STANDSTILL)
    }

    /// What has come is not to be waited for any longer.
    fn break_off(mut self) -> Result<(), Error> {
        if self.call.is_none() {
            self.piece.clear();
            self.put_piece()?;
            // The node says that it has lost what it had: nobody waits for that.
            self.visit.drain(0, STANDSTILL)?;
        }
        Ok(())
    }
}

impl Write for Pour<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = bytes.len().min(CALL_PIECE_MAX - self.piece.len());
        self.piece.extend_from_slice(&bytes[..count]);
        if self.piece.len() == CALL_PIECE_MAX
            && let Err(error) = self.put_piece()
        {
            self.lost = Some(error);
            return Err(io::Error::other("the connection was lost"));
        }
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
