//! Who drives a region's one connection: whoever waits.
//!
//! ```text
//!  caller A: ask --write--> socket                 (no thread in between)
//!  caller A: waits ---poll---> read, decide --> its answer: hands over
//!  caller B: waits ---parked--> is woken when its own answer is there, or to lead
//!  nobody waits: the background thread, when a lease is to be renewed or cached pages verified
//! ```
//!
//! One thread at a time is the *leader*: it waits at the socket without the lock, then reads all that
//! came and wakes those whose answers are among it, nobody else. A thread that is alone with its region
//! pays one write, one wait and one read for an operation, and wakes nobody. The background thread
//! also makes the connection again when it is lost; callers wait for it then.
//!
//! Whoever leads where answers come soon looks at the socket for a while before it sleeps (`sys::spin`).

use std::collections::VecDeque;
use std::ops::Deref;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::Thread;
use std::time::Duration;

use logic::regions::copy::{Effect, Event, Outcome, Session, WatchId};
use sys::socket::{Readiness, wait};
use sys::spin::Spin;
use wire::name::Name;
use wire::region::{About, Answer, Attach, Durability, Refusal, SessionId};
use wire::units::{Span, Time};

use crate::error::{Error, chain};
use crate::line::{Line, Target, now};

/// How long a node may take to let us in.
const PATIENCE: Duration = Duration::from_secs(5);
/// The first pause before a lost home is dialled again; it doubles up to `PAUSE_MAX`.
const PAUSE: Span = Span::from_millis(20);
const PAUSE_MAX: Span = Span::from_secs(1);
/// No wait of a leader is longer, so that what another thread brought in is not missed.
const POLL_MAX: Span = Span::from_millis(250);
/// The background thread looks this often while requests are under way that nobody waits for.
const LOOK: Span = Span::from_millis(10);
/// For so long after the last of them.
const LOOK_FOR: Span = Span::from_secs(1);
/// It looks at least so often.
const LOOK_IDLE: Span = Span::from_secs(5);
/// Requests that nobody waits for yet leave together, up to so many bytes.
const GATHERED_MAX: usize = 32 * 1024;
/// Nodes in a row that may say that they do not have a region which others could take over.
const DENIALS_MAX: u32 = 5;

/// Knows where regions live.
pub trait Guide: Send + Sync {
    /// How to reach the home of a region now. `before` is where it was: it may still be there.
    fn home(&self, region: &Name, before: Option<&Target>) -> Result<Target, Error>;
}

/// A node that is known once and for all.
impl Guide for Target {
    fn home(&self, _region: &Name, _before: Option<&Target>) -> Result<Target, Error> {
        Ok(self.clone())
    }
}

pub(crate) struct Shared {
    state: Mutex<State>,
    /// The background thread has something to do.
    background: Condvar,
    me: Name,
    pub(crate) name: Name,
    /// As it was when it was opened.
    pub(crate) about: About,
}

pub(crate) struct State {
    pub(crate) session: Session,
    line: Option<Line>,
    target: Target,
    pub(crate) node: Arc<str>,
    leading: bool,
    spin: Spin,
    followers: VecDeque<Follower>,
    /// When somebody last led.
    led: Time,
    /// Until when there may be requests that nobody waits for.
    lazy_until: Time,
    /// When the background thread looks again by itself.
    background_until: Time,
    closed: bool,
    /// Who finds the home. Nobody when it is closed: what the guide keeps may end then.
    guide: Option<Arc<dyn Guide>>,
    /// Why the home is away.
    why: String,
    /// How often in a row a node said that the region is not there.
    denials: u32,
}

struct Follower {
    interest: Interest,
    thread: Thread,
}

/// What somebody waits for.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Interest {
    Request(u64),
    Watch(WatchId),
    /// That a watch is in force.
    Watching(WatchId),
    /// That more can be asked.
    Room,
    /// Only for time to pass.
    Nothing,
}

/// What every handle of a region holds: when the last is gone, the session is over.
pub(crate) struct Owner(Arc<Shared>);

impl Deref for Owner {
    type Target = Shared;
    fn deref(&self) -> &Shared {
        &self.0
    }
}

impl Owner {
    /// Opens a session on a region.
    pub(crate) fn open(guide: Arc<dyn Guide>, me: Name, name: Name) -> Result<Arc<Self>, Error> {
        Shared::open(guide, me, name).map(|shared| Arc::new(Self(shared)))
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        self.0.close();
    }
}

type Held<'a> = MutexGuard<'a, State>;

impl Shared {
    fn open(guide: Arc<dyn Guide>, me: Name, name: Name) -> Result<Arc<Self>, Error> {
        let target = guide.home(&name, None)?;
        let id = SessionId(transport::random_u64());
        let (mut line, welcome) = Line::dial(&target, &me, PATIENCE)?;
        let asked = now();
        let attach = Attach { region: name.clone(), session: id };
        let admission = line.attach(attach, PATIENCE)?;
        let node = welcome.node.to_string();
        let refused = |refusal| Error::refused(name.as_str(), &node, refusal);
        let admission = admission.map_err(refused)?;
        let about = admission.about.clone();
        let mut session = Session::new(asked, id);
        session.handle(now(), Event::Up { admission, asked });
        let state = State {
            session,
            line: Some(line),
            target,
            node: node.into(),
            leading: false,
            spin: Spin::default(),
            followers: VecDeque::new(),
            led: now(),
            lazy_until: Time(0),
            background_until: Time(0),
            closed: false,
            guide: Some(guide),
            why: String::new(),
            denials: 0,
        };
        let state = Mutex::new(state);
        let background = Condvar::new();
        let shared = Arc::new(Self { state, background, me, name, about });
        let weak = Arc::downgrade(&shared);
        let spawn = sys::thread::spawn("farcall-memory", move || {
            let mut pause = PAUSE;
            while let Some(shared) = weak.upgrade() {
                if !shared.round(&mut pause) {
                    return;
                }
            }
        });
        spawn.map_err(|source| Error::Kernel { action: "start a thread", source })?;
        Ok(shared)
    }

    /// The state, whatever became of a thread that held it.
    pub(crate) fn state(&self) -> Held<'_> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends what the session has to say. What the socket does not take soon is left to others.
    pub(crate) fn send<'a>(&'a self, mut state: Held<'a>) -> Held<'a> {
        state.settle();
        state.flush();
        if !state.is_blocked() {
            return state;
        }
        // Whoever leads may wait for bytes alone, for that long; after that he writes too.
        let until = now() + POLL_MAX;
        while state.leading && state.is_blocked() {
            let left = until.since(now());
            if left == Span(0) {
                break;
            }
            state = self.wait_for_writing(state, left);
        }
        // And nobody may wait at all.
        let at = now();
        state.lazy_until = at + LOOK_FOR;
        self.rouse(&mut state, at + LOOK);
        state
    }

    fn wait_for_writing<'a>(&'a self, state: Held<'a>, longest: Span) -> Held<'a> {
        let Some(socket) = state.line.as_ref().map(Line::socket) else { return state };
        drop(state);
        // What it says does not matter: the socket is tried.
        let _ = wait(&socket, true, longest.into());
        let mut state = self.state();
        state.flush();
        state
    }

    /// Queues what the session has to say; it leaves when somebody waits, when enough has gathered, or
    /// soon.
    pub(crate) fn send_soon<'a>(&'a self, mut state: Held<'a>, now: Time) -> Held<'a> {
        state.settle();
        state.lazy_until = now + LOOK_FOR;
        let unsent = state.line.as_ref().map_or(0, Line::unsent);
        if unsent >= GATHERED_MAX {
            state = self.send(state);
        }
        self.rouse(&mut state, now + LOOK);
        state
    }

    /// The background thread is needed by then.
    fn rouse(&self, state: &mut State, due: Time) {
        if due < state.background_until {
            state.background_until = due;
            self.background.notify_one();
        }
    }

    /// The background thread is needed when the session is.
    pub(crate) fn rouse_for_session(&self, state: &mut State) {
        let due = state.session.poll_timeout();
        self.rouse(state, due);
    }

    /// Waits until something more can be asked.
    pub(crate) fn room<'a>(&'a self, state: Held<'a>) -> Held<'a> {
        if state.session.has_room() && !state.is_blocked() {
            return state;
        }
        let has_room = |state: &mut State| {
            let has_room = state.session.has_room() && !state.is_blocked();
            (has_room || state.session.over().is_some()).then_some(())
        };
        self.wait(state, Interest::Room, Time::NEVER, has_room).0
    }

    /// Drives, or waits, until `done` finds something or it is too late.
    pub(crate) fn wait<'a, R>(
        &'a self,
        mut state: Held<'a>,
        interest: Interest,
        until: Time,
        mut done: impl FnMut(&mut State) -> Option<R>,
    ) -> (Held<'a>, Option<R>) {
        // Whoever waits for no time at all learns what has come all the same.
        let mut has_looked = false;
        loop {
            if let Some(result) = done(&mut state) {
                state.hand_over();
                return (state, Some(result));
            }
            let at = now();
            let must_follow = state.leading || state.line.is_none();
            if at >= until && (has_looked || must_follow) {
                state.hand_over();
                return (state, None);
            }
            has_looked = true;
            let longest = until.min(at + POLL_MAX);
            state = if must_follow {
                self.follow(state, interest, at, longest)
            } else {
                self.lead(state, at, longest)
            };
        }
    }

    /// Waits for the outcome of a request.
    pub(crate) fn outcome<'a>(&'a self, state: Held<'a>, number: u64) -> (Held<'a>, Outcome) {
        let (state, outcome) = self.outcome_by(state, number, Time::NEVER);
        // It waits for ever, so there is one.
        (state, outcome.unwrap_or(Outcome::Away))
    }

    /// The same, until it is too late: the request is abandoned then.
    pub(crate) fn outcome_by<'a>(
        &'a self,
        state: Held<'a>,
        number: u64,
        until: Time,
    ) -> (Held<'a>, Option<Outcome>) {
        let found = |state: &mut State| state.session.outcome(number);
        let (mut state, outcome) = self.wait(state, Interest::Request(number), until, found);
        if outcome.is_none() {
            state.session.abandon(now(), number);
            state = self.send(state);
        }
        (state, outcome)
    }

    /// Waits until the home is there, or it is too late: `Error::Away`.
    pub(crate) fn up_by(&self, until: Time) -> Result<(), Error> {
        let is_there = |state: &mut State| {
            (state.session.is_up() || state.session.over().is_some()).then_some(())
        };
        let (state, there) = self.wait(self.state(), Interest::Nothing, until, is_there);
        drop(state);
        there.ok_or_else(|| self.away())
    }

    /// Asks for something and waits for the answer.
    pub(crate) fn ask(
        &self,
        request: wire::region::Request,
        bytes: bytes::Bytes,
    ) -> Result<(Answer, bytes::Bytes), Error> {
        let mut state = self.room(self.state());
        let number = state.session.ask(now(), request, bytes);
        let state = self.send(state);
        let (state, outcome) = self.outcome(state, number);
        self.answered(&state, outcome)
    }

    /// The answer, or why there is none.
    pub(crate) fn answered(
        &self,
        state: &State,
        outcome: Outcome,
    ) -> Result<(Answer, bytes::Bytes), Error> {
        let (region, node) = (self.name.as_str(), &*state.node);
        let (region, node) = (region.to_owned(), node.to_owned());
        match outcome {
            Outcome::Answered(Answer::Refused(refusal), _) | Outcome::Over(refusal) => {
                Err(self.refused(&node, refusal))
            }
            Outcome::Answered(answer, bytes) => Ok((answer, bytes)),
            Outcome::Away => Err(Error::Away { region, node, why: state.why() }),
            Outcome::Unknown => Err(Error::Unknown { region, node, why: state.why() }),
        }
    }

    pub(crate) fn refused(&self, node: &str, refusal: Refusal) -> Error {
        match refusal {
            Refusal::NoSuchRegion => {
                let region = self.name.to_string();
                Error::Ended { region, node: node.to_owned() }
            }
            refusal => Error::refused(self.name.as_str(), node, refusal),
        }
    }

    /// What this client calls itself.
    pub(crate) fn me(&self) -> &Name {
        &self.me
    }

    /// How the home is reached.
    pub(crate) fn target(&self) -> Target {
        self.state().target.clone()
    }

    /// The home is away, for longer than is waited.
    pub(crate) fn away(&self) -> Error {
        let state = self.state();
        let (region, node) = (self.name.to_string(), state.node.to_string());
        Error::Away { region, node, why: state.why() }
    }

    /// The node answered something else than what was asked for.
    pub(crate) fn unexpected(&self, answer: &Answer) -> Error {
        let node = self.state().node.to_string();
        Error::Protocol { node, what: format!("an answer to another question: {answer:?}") }
    }

    fn follow<'a>(
        &'a self,
        mut state: Held<'a>,
        interest: Interest,
        at: Time,
        longest: Time,
    ) -> Held<'a> {
        if state.line.is_none() && state.session.poll_timeout() <= at {
            // The background thread may be dialling.
            state.session.handle(at, Event::Tick);
            state.settle();
            return state;
        }
        let mut longest = longest;
        match &state.line {
            Some(line) if line.unsent() > 0 && !line.is_blocked() => state.flush(),
            Some(_) => {}
            None => {
                self.rouse(&mut state, at);
                longest = longest.min(state.session.poll_timeout());
            }
        }
        let thread = std::thread::current();
        let own = thread.id();
        state.followers.push_back(Follower { interest, thread });
        drop(state);
        std::thread::park_timeout(longest.since(at).into());
        let mut state = self.state();
        state.followers.retain(|follower| follower.thread.id() != own);
        state
    }

    /// One turn as the leader.
    fn lead<'a>(&'a self, mut state: Held<'a>, at: Time, longest: Time) -> Held<'a> {
        let Some(line) = &mut state.line else { return state };
        let due = line.poll_timeout();
        let (unsent, socket) = (line.unsent(), line.socket());
        if unsent > 0 && !line.is_blocked() {
            state.flush();
        }
        let Some(line) = &state.line else { return state };
        let for_writing = line.is_blocked();
        let longest = longest.min(due).min(state.session.poll_timeout());
        state.leading = true;
        let mut spin = std::mem::take(&mut state.spin);
        drop(state);
        let ready = spin.wait(Some(longest.since(at).into()), |timeout| {
            // It always has a time.
            let ready = wait(&socket, for_writing, timeout.unwrap_or_default())?;
            Ok((ready != Readiness::default()).then_some(ready))
        });
        let mut state = self.state();
        // Before anything that might panic: nobody else would lead then.
        state.leading = false;
        let at = now();
        state.spin = spin;
        match ready {
            Ok(ready) => state.turn(at, ready.unwrap_or_default()),
            Err(source) => state.lost(Error::Kernel { action: "wait at a socket", source }),
        }
        state.led = at;
        state.wake();
        if state.line.is_none() {
            self.rouse(&mut state, at);
        }
        state
    }

    /// Ends the session: the home frees at once what it held.
    fn close(&self) {
        let mut state = self.state();
        let at = now();
        state.session.detach(at);
        state.settle();
        state.flush();
        if let Some(line) = &mut state.line {
            line.close();
        }
        state.closed = true;
        let guide = state.guide.take();
        self.background.notify_one();
        drop(state);
        // It may be the last that holds a cluster, which takes its time to end.
        drop(guide);
    }

    // The background thread.

    /// One round. `false`: the region is closed.
    fn round(&self, pause: &mut Span) -> bool {
        let mut state = self.state();
        if state.closed || state.session.over().is_some() {
            state.wake_all();
            if state.closed {
                return false;
            }
            state.background_until = Time::NEVER;
            drop(self.sleep(state, LOOK_IDLE));
            return true;
        }
        let at = now();
        let Some(line) = &state.line else {
            drop(self.come_back(state, pause));
            return true;
        };
        *pause = PAUSE;
        let lazy = if at < state.lazy_until { at.max(state.led) + LOOK } else { Time::NEVER };
        let mut due = line.poll_timeout().min(state.session.poll_timeout());
        let is_neglected = lazy != Time::NEVER && at.since(state.led) >= LOOK;
        let is_due = due <= at || is_neglected || state.session.is_probing();
        if state.leading {
            // The leader sees to it.
            due = due.max(at + LOOK);
        } else if is_due {
            let longest = if state.session.is_probing() { at + POLL_MAX } else { at };
            let state = self.lead(state, at, longest);
            if let Some(first) = state.followers.front() {
                first.thread.unpark();
            }
            return true;
        }
        let due = due.min(lazy).min(at + LOOK_IDLE);
        state.background_until = due;
        drop(self.sleep(state, due.since(at)));
        true
    }

    fn sleep<'a>(&'a self, state: Held<'a>, span: Span) -> Held<'a> {
        let waited = self.background.wait_timeout(state, span.into());
        waited.unwrap_or_else(PoisonError::into_inner).0
    }

    /// Makes the connection anew: where it was, or where the home is by now.
    fn come_back<'a>(&'a self, mut state: Held<'a>, pause: &mut Span) -> Held<'a> {
        // It is at work already: nobody needs to wake it.
        state.background_until = Time(0);
        let (before, id) = (state.target.clone(), state.session.id());
        let Some(guide) = state.guide.clone() else { return state };
        drop(state);
        let first = *pause == PAUSE;
        // The home has most likely not moved.
        let target = if first { Ok(before.clone()) } else { guide.home(&self.name, Some(&before)) };
        let result = target.and_then(|target| {
            let (mut line, welcome) = Line::dial(&target, &self.me, PATIENCE)?;
            let asked = now();
            let attach = Attach { region: self.name.clone(), session: id };
            Ok((line.attach(attach, PATIENCE)?, line, welcome, asked, target))
        });
        drop(guide);
        let mut state = self.state();
        if state.closed {
            return state;
        }
        let at = now();
        match result {
            Ok((Ok(admission), line, welcome, asked, target)) => {
                state.line = Some(line);
                state.node = welcome.node.to_string().into();
                state.target = target;
                state.why.clear();
                state.denials = 0;
                state.session.handle(at, Event::Up { admission, asked });
                state.settle();
                state.flush();
                state.wake_all();
                return state;
            }
            Ok((Err(refusal), _, welcome, ..)) => {
                let node = welcome.node.to_string();
                let moves = self.about.durability == Durability::Replicated;
                let denied = matches!(refusal, Refusal::NoSuchRegion);
                state.denials += u32::from(denied);
                let is_over = match refusal {
                    Refusal::NoSuchRegion => !moves || state.denials >= DENIALS_MAX,
                    Refusal::NotYours => true,
                    _ => false,
                };
                if is_over {
                    state.session.handle(at, Event::Refused(refusal));
                    state.settle();
                    state.wake_all();
                    return state;
                }
                state.why = chain(&Error::refused(self.name.as_str(), &node, refusal));
            }
            Err(error) => state.why = chain(&error),
        }
        if state.session.poll_timeout() <= at {
            state.session.handle(at, Event::Tick);
            state.settle();
        }
        state.wake_all();
        let span = *pause;
        *pause = Span((pause.0 * 2).min(PAUSE_MAX.0));
        self.sleep(state, span)
    }
}

impl State {
    /// The socket did not take all that was sent.
    fn is_blocked(&self) -> bool {
        self.line.as_ref().is_some_and(Line::is_blocked)
    }

    /// Why the home is away.
    fn why(&self) -> String {
        if self.why.is_empty() { "no answer".to_owned() } else { self.why.clone() }
    }

    /// Reads what came, lets the session decide, and sends what follows.
    fn turn(&mut self, at: Time, ready: Readiness) {
        if let Err(error) = self.read(at, ready) {
            self.lost(error);
        }
        if self.session.poll_timeout() <= at {
            self.session.handle(at, Event::Tick);
        }
        self.settle();
        if self.line.as_ref().is_some_and(|line| line.unsent() > 0) {
            self.flush();
        }
    }

    fn read(&mut self, at: Time, ready: Readiness) -> Result<(), Error> {
        let Some(line) = &mut self.line else { return Ok(()) };
        if ready.writable {
            line.flush()?;
        }
        if ready.readable {
            line.read(at)?;
            while let Some((channel, message)) = line.take()? {
                self.session.handle(at, Event::Message { channel, message });
            }
        }
        line.tick(at)
    }

    /// Carries out what the session wants, as far as the output.
    fn settle(&mut self) {
        while let Some(effect) = self.session.poll_effect() {
            match (effect, &mut self.line) {
                (Effect::Send { number, message }, Some(line)) => line.put(number, &message),
                (Effect::Send { .. }, None) => {}
                (Effect::HangUp, _) => {
                    self.why = "it does not answer".to_owned();
                    self.line = None;
                }
            }
        }
    }

    fn flush(&mut self) {
        if let Some(Err(error)) = self.line.as_mut().map(Line::flush) {
            self.lost(error);
        }
    }

    fn lost(&mut self, error: Error) {
        self.why = chain(&error);
        self.line = None;
        self.session.handle(now(), Event::Down);
    }

    fn is_due(&self, interest: Interest) -> bool {
        match interest {
            Interest::Request(number) => self.session.is_settled(number),
            Interest::Watch(id) => self.session.has_news(id),
            Interest::Watching(id) => self.session.is_watching(id) != Ok(false),
            Interest::Room => self.session.has_room(),
            Interest::Nothing => false,
        }
    }

    /// Wakes those whose answers are there.
    fn wake(&self) {
        for follower in &self.followers {
            if self.line.is_none() || self.is_due(follower.interest) {
                follower.thread.unpark();
            }
        }
    }

    fn wake_all(&self) {
        self.followers.iter().for_each(|follower| follower.thread.unpark());
    }

    /// Somebody leaves: another one leads.
    fn hand_over(&self) {
        if let (false, Some(follower)) = (self.leading, self.followers.front()) {
            follower.thread.unpark();
        }
    }
}
