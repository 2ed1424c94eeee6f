//! A process that moves to a node: the client's connection for it.
//!
//! `Cluster::visit` opens it; the image is written, then messages go both ways. What they mean, and when a
//! process is where, is for `logic::visit` to say: whoever drives one drives a [`Source`] with it.

use std::convert::Infallible;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use memory::Error;
use memory::line::{Line, Target as Way, now};
use wire::Message;
use wire::hello::{Goodbye, Purpose};
use wire::name::Name;
use wire::units::{Span, Time};
#[cfg(target_arch = "x86_64")]
use wire::visit::Chained;
use wire::visit::{Begin, Entry, Visit as Told};

use crate::Cluster;
use crate::regions::way;

#[cfg(target_arch = "x86_64")]
mod pages;

#[cfg(target_arch = "x86_64")]
pub use pages::{Lanes, Serving};

pub use logic::visit::{Fate, Source, SourceEffect, SourceEvent, Terms, flow};

/// How long a node may take to answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long nothing may move while an image is written.
const STANDSTILL: Duration = Duration::from_secs(30);

/// One process's visit at a node.
pub struct Visit {
    way: Way,
    me: Name,
    line: Line,
    token: u64,
    node: String,
}

/// One visitor, as its node tells of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VisitReport {
    /// The node that it is on.
    pub node: String,
    /// What is known of it there.
    pub visit: Told,
}

/// The way back to a visit, for whoever does not wait for it himself.
pub struct WayBack {
    way: Way,
    me: Name,
    token: u64,
}

impl WayBack {
    /// Makes the connection. [`Error::Down`] with a goodbye `Absent` or `Over` says that there is no such visit,
    /// and that nothing of it runs.
    pub fn go(self) -> Result<Visit, Error> {
        let Self { way, me, token } = self;
        let purpose = Purpose::Visit { entry: Entry::Return { visit: token } };
        let (line, welcome) = Line::dial_for(&way, &me, purpose, PATIENCE)?;
        Ok(Visit { way, me, line, token, node: welcome.node.to_string() })
    }
}

/// How a node is reached.
pub(crate) struct WayTo {
    way: Way,
    me: Name,
}

impl WayTo {
    pub(crate) fn begin(self, begin: Begin) -> Result<Visit, Error> {
        self.enter(Entry::Begin(begin))
    }

    /// The same for one of several of the same image.
    #[cfg(target_arch = "x86_64")]
    pub(crate) fn begin_chained(self, chained: Chained) -> Result<Visit, Error> {
        self.enter(Entry::Chained(chained))
    }

    fn enter(self, entry: Entry) -> Result<Visit, Error> {
        let Self { way, me } = self;
        let purpose = Purpose::Visit { entry };
        let (line, welcome) = Line::dial_for(&way, &me, purpose, PATIENCE)?;
        Ok(Visit { way, me, line, token: welcome.link, node: welcome.node.to_string() })
    }
}

impl Cluster {
    /// Opens a visit at the node of this name. Its pad waits for the image.
    pub fn visit(&self, node: &str, begin: Begin) -> Result<Visit, Error> {
        self.way_to(node)?.begin(begin)
    }

    /// All that is needed to open a visit at this node, also from a process that this one starts.
    pub(crate) fn way_to(&self, node: &str) -> Result<WayTo, Error> {
        let shared = self.driver();
        let until = Some(Instant::now() + PATIENCE);
        let found = shared.wait_for(until, |state| state.nodes.find_up(Some(node)));
        let absent = || Error::NoNode { node: node.to_owned() };
        let way = way(shared, found.ok_or_else(absent)?)?;
        let (_, me) = shared.state().nodes.credentials();
        Ok(WayTo { way, me })
    }

    /// Another connection for a visit that was begun with the same certificate; see [`Visit::token`].
    pub fn visit_again(&self, node: &str, token: u64) -> Result<Visit, Error> {
        let WayTo { way, me } = self.way_to(node)?;
        WayBack { way, me, token }.go()
    }

    /// The visitors of all nodes that this user may see.
    pub fn visits(&self, timeout: Duration) -> Vec<VisitReport> {
        let shared = self.driver();
        let until = Some(Instant::now() + timeout);
        shared.wait_for(until, |state| state.nodes.are_settled().then_some(()));
        let questions = shared.submit(|state| state.nodes.ask_visits());
        shared.wait_for(until, |state| {
            questions.iter().all(|question| state.nodes.is_answered(*question)).then_some(())
        });
        let mut state = shared.state();
        let mut reports = Vec::new();
        for question in questions {
            let answer = state.nodes.take_answer(question);
            let node = state.nodes.name_of(question.at);
            if let Some(Message::Visits(told)) = answer {
                let told = told.visits.into_iter();
                reports.extend(told.map(|visit| VisitReport { node: node.clone(), visit }));
            }
        }
        reports.sort_by(|one, other| {
            (&one.node, one.visit.number).cmp(&(&other.node, other.visit.number))
        });
        reports
    }
}

impl Visit {
    /// The node's name.
    pub fn node(&self) -> &str {
        &self.node
    }

    /// What another connection for this visit is greeted with. Of no use to whoever has not the same
    /// certificate.
    pub fn token(&self) -> u64 {
        self.token
    }

    /// Sends bytes of the image. `false`: the node has said something instead of taking them.
    pub fn pour(&mut self, bytes: &[u8]) -> Result<bool, Error> {
        self.pour_unless(bytes, &mut || false)
    }

    /// The same. `false` also where nobody wants them sent any more, which is asked again and again.
    pub fn pour_unless(
        &mut self,
        bytes: &[u8],
        is_unwanted: &mut dyn FnMut() -> bool,
    ) -> Result<bool, Error> {
        self.line.pour(bytes, STANDSTILL, is_unwanted)
    }

    /// Sends a message, or queues what the socket does not take.
    pub fn send(&mut self, message: &Message) -> Result<(), Error> {
        self.line.put(0, message);
        self.line.flush()
    }

    /// The next message, at most until then.
    pub fn next(&mut self, until: Time) -> Result<Option<Message>, Error> {
        if let Some((_, message)) = self.line.take()? {
            return Ok(Some(message));
        }
        // Even who does not want to wait is told what has come.
        self.line.wait(false, now())?;
        Ok(self.line.next(until)?.map(|(_, message)| message))
    }

    /// The next message with its channel, at most until then.
    pub(crate) fn next_on(&mut self, until: Time) -> Result<Option<(u64, Message)>, Error> {
        if let Some(next) = self.line.take()? {
            return Ok(Some(next));
        }
        // Even who does not want to wait is told what has come.
        self.line.wait(false, now())?;
        self.line.next(until)
    }

    /// Whether the socket has more already.
    pub(crate) fn has_more(&self) -> Result<bool, Error> {
        let ready = sys::socket::wait(&self.line.socket(), false, Duration::ZERO);
        let refused = |source| Error::Kernel { action: "wait at a socket", source };
        Ok(ready.map_err(refused)?.readable)
    }

    /// Sends a message on a channel, or queues what the socket does not take.
    pub(crate) fn send_on(&mut self, channel: u64, message: &Message) -> Result<(), Error> {
        self.line.put(channel, message);
        self.line.flush()
    }

    /// Queues a message.
    pub(crate) fn put_on(&mut self, channel: u64, message: &Message) {
        self.line.put(channel, message);
    }

    /// Waits until no more than so many bytes are queued; what comes meanwhile stays here. Fails where
    /// nothing moves for so long.
    pub(crate) fn drain(&mut self, queued: usize, standstill: Duration) -> Result<(), Error> {
        let (mut left, mut until) = (self.line.unsent(), after(standstill));
        while left > queued {
            self.line.flush()?;
            if self.line.unsent() < left {
                (left, until) = (self.line.unsent(), after(standstill));
                continue;
            }
            if now() >= until {
                let seconds = standstill.as_secs();
                return Err(Error::Silent { node: self.node.clone(), seconds });
            }
            self.line.wait(true, until)?;
        }
        Ok(())
    }

    /// Where to wait for more.
    pub fn socket(&self) -> Arc<OwnedFd> {
        self.line.socket()
    }

    /// Bytes that wait for the node.
    pub fn unsent(&self) -> usize {
        self.line.unsent()
    }

    /// When the connection is to be looked at even if nothing comes.
    pub fn poll_timeout(&self) -> Time {
        self.line.poll_timeout()
    }

    /// How to make the connection again, after it was lost.
    pub fn way_back(&self) -> WayBack {
        WayBack { way: self.way.clone(), me: self.me.clone(), token: self.token }
    }

    /// Makes the connection again.
    pub fn again(&mut self) -> Result<(), Error> {
        self.line.close();
        *self = self.way_back().go()?;
        Ok(())
    }

    /// Ends the connection.
    pub fn close(&mut self) {
        self.line.close();
    }
}

/// Whose process it is: what a source needs of it beside the connection. A copy has no original to hold.
pub trait Keeper {
    /// Why an original cannot be kept stopped.
    type Error;

    /// The latest connection, if there is one.
    fn visit(&mut self) -> Option<&mut Visit>;

    /// Makes another one.
    fn again(&mut self) -> Result<(), Error>;

    /// The original is to stay stopped from here.
    fn hold(&mut self) -> Result<(), Self::Error> {
        Ok(())
    }

    /// `WAKE` may have been sent.
    fn woke(&mut self) {}

    /// Whether nobody wants it to move any more.
    fn is_unwanted(&self) -> bool {
        false
    }
}

impl Keeper for Visit {
    type Error = Infallible;

    fn visit(&mut self) -> Option<&mut Visit> {
        Some(self)
    }

    fn again(&mut self) -> Result<(), Error> {
        Visit::again(self)
    }
}

/// Drives a source until it is known where its process is. `patience` is how long a node may take to build
/// what it has been sent.
pub fn settle<K: Keeper>(
    keeper: &mut K,
    source: &mut Source,
    patience: Duration,
) -> Result<Fate, K::Error> {
    let given_up = after(patience);
    loop {
        while let Some(effect) = source.poll_effect() {
            if let Err(error) = obey(keeper, source, effect)? {
                source.handle(now(), lost(&error));
            }
        }
        if let Some(fate) = source.fate() {
            return Ok(fate.clone());
        }
        if !source.is_in_doubt() && keeper.is_unwanted() {
            let why = "it was interrupted; start it again".to_owned();
            source.handle(now(), SourceEvent::GivenUp { why });
            continue;
        }
        let Some(visit) = keeper.visit() else {
            wait_for(source);
            source.handle(now(), SourceEvent::Tick);
            continue;
        };
        // Often enough to hear that nobody wants it.
        let event = match visit.next(source.poll_timeout().min(after(LOOK))) {
            Ok(Some(Message::Pong)) => continue,
            Ok(Some(message)) => SourceEvent::Message(message),
            Ok(None) if now() >= given_up && !source.is_in_doubt() => {
                let why = format!("nothing came for {} s; see `farcall ps`", patience.as_secs());
                SourceEvent::GivenUp { why }
            }
            Ok(None) => SourceEvent::Tick,
            Err(error) => {
                // The next try has its time; what is lost is lost at once.
                source.handle(now(), lost(&error));
                wait_for(source);
                SourceEvent::Tick
            }
        };
        source.handle(now(), event);
    }
}

/// How often it is looked whether anybody wants it still.
const LOOK: Duration = Duration::from_millis(200);

fn obey<K: Keeper>(
    keeper: &mut K,
    source: &mut Source,
    effect: SourceEffect,
) -> Result<Result<(), Error>, K::Error> {
    Ok(match effect {
        SourceEffect::Hold => {
            keeper.hold()?;
            Ok(())
        }
        SourceEffect::Send(message) => {
            let sent = keeper.visit().map_or(Ok(()), |visit| visit.send(&message));
            keeper.woke();
            sent
        }
        SourceEffect::Ask => {
            let asked = keeper.again();
            if asked.is_ok() {
                source.handle(now(), SourceEvent::Opened);
            }
            asked
        }
        SourceEffect::HangUp => {
            if let Some(visit) = keeper.visit() {
                visit.close();
            }
            Ok(())
        }
        // What becomes of the original is its keeper's.
        SourceEffect::GoOn | SourceEffect::End => Ok(()),
    })
}

/// Until it is time to ask again: there is no connection to wait at.
fn wait_for(source: &Source) {
    if source.fate().is_none() && source.is_in_doubt() {
        std::thread::park_timeout(source.poll_timeout().since(now()).into());
    }
}

/// The moment that so much later is.
pub fn after(span: Duration) -> Time {
    now() + Span::from(span)
}

/// What the loss of a connection means to a [`Source`].
pub fn lost(error: &Error) -> SourceEvent {
    use logic::link::Down;
    match error {
        Error::Down { source: Down::Goodbye(Goodbye::Absent { reason }), .. } => {
            SourceEvent::Absent { why: reason.clone() }
        }
        Error::Down { source: Down::Goodbye(Goodbye::Over { reason }), .. } => {
            SourceEvent::Over { why: reason.clone() }
        }
        _ => SourceEvent::Lost,
    }
}
