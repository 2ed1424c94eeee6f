//! Who drives the sockets: whoever waits.
//!
//! ```text
//!  caller A: submit --write--> socket          (no thread in between)
//!  caller A: join ---poll---> read, decide, write ---> its result: hands over
//!  caller B: join ---waits--> is woken, drives on
//!  nobody waits: the background thread takes over after a while
//! ```
//!
//! One thread at a time is the *leader*: it polls, reads, lets the dispatcher decide and writes.
//! Another caller who waits sleeps until his result is there or the lead is free. A hand-over between
//! threads costs more than a task, so the background thread stays away while callers wait; it leads
//! when somebody awaits a future, when results come that nobody waits for, and for heartbeats.

use std::any::Any;
use std::ops::Deref;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::task::Waker;
use std::time::{Duration, Instant, SystemTime};

use logic::Payload;
use logic::dispatch::{Dispatch, Effect, Event, JobKey, ProgramId, TaskId, Terms};
use mio::{Events, Poll, Token};
use sys::clock::monotonic_nanoseconds;
use sys::spin::Spin;
use transport::{Credentials, DialTls, Fingerprint};
use wire::name::{JobId, Name};
use wire::task::Program;
use wire::units::Time;

use crate::copied::{self, Handing, Means, Words};
use crate::embedded::Embedded;
use crate::entries::Pages;
use crate::nodes::{Nodes, Target};
use crate::outcome::{COPIED, settle};
use crate::tickets::{GroupId, TicketId, Tickets};
use crate::{Error, Why};

const EVENTS: usize = 64;
/// No poll of a leader lasts longer, so that a time-out another thread brought in is not missed.
const POLL_MAX: Duration = Duration::from_millis(100);
/// The background thread looks this often whether results come that nobody waits for.
const LOOK: Duration = Duration::from_millis(10);
/// The same while no task is under way: heartbeats only.
const LOOK_IDLE: Duration = Duration::from_millis(1500);
/// What is made in a copy that comes back.
const NO_JOB: JobKey = JobKey(u32::MAX);
const NO_PROGRAM: ProgramId = ProgramId(u32::MAX);
const WAKER: Token = Token(usize::MAX >> 1);

pub(crate) struct Shared {
    state: Mutex<State>,
    /// The leader's; nobody else touches it.
    poll: Mutex<(Poll, Events, Spin)>,
    waker: mio::Waker,
    /// The lead is free, or results have come.
    turn: Condvar,
    /// The background thread has something to do.
    background: Condvar,
    /// Of the process that linked.
    generation: u32,
    /// Whose credentials these are.
    authority: Option<Fingerprint>,
    handing: Mutex<Handing>,
}

/// What every cluster, core, handle and stream of a client holds: when the last of them is gone, the
/// driver is closed.
pub(crate) struct Owner {
    shared: Arc<Shared>,
    /// In a copy of the process that linked: the driver that it uses instead, once there is one.
    anew: OnceLock<Arc<Self>>,
}

impl Owner {
    pub(crate) fn of(shared: Arc<Shared>) -> Self {
        Self { shared, anew: OnceLock::new() }
    }

    pub(crate) fn anew(&self) -> &OnceLock<Arc<Self>> {
        &self.anew
    }
}

impl Deref for Owner {
    type Target = Shared;
    fn deref(&self) -> &Shared {
        &self.shared
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        self.shared.close();
    }
}

pub(crate) struct State {
    pub(crate) dispatch: Dispatch,
    pub(crate) tickets: Tickets,
    pub(crate) nodes: Nodes,
    leading: bool,
    /// Callers who sleep until the lead is free.
    followers: u32,
    /// Futures that are awaited somewhere.
    awaited: u32,
    /// When somebody last led.
    led: Time,
    /// When a caller last asked for something.
    used: Time,
    closed: bool,
    /// This process is a copy of the one that linked: sockets, thread and nodes are that one's.
    is_copy: bool,
    /// And it is to come back: what has a place in the tables of before has none here, and the other way round.
    is_aside: bool,
    /// Why this copy has no links of its own, once it has tried to make some.
    unlinked: Option<String>,
    /// What happened and nobody has read yet, if anybody wants to.
    pub(crate) pages: Option<Pages>,
    /// Nodes on this machine that end with the cluster.
    local: Option<Embedded>,
    /// What ends with the cluster, and is nothing to this: the roads of copies.
    pub(crate) beside: Option<Box<dyn Any + Send>>,
}

/// Every driver of this process, for `hold_all`.
static ALL: Mutex<Vec<Weak<Shared>>> = Mutex::new(Vec::new());

fn all() -> MutexGuard<'static, Vec<Weak<Shared>>> {
    ALL.lock().unwrap_or_else(PoisonError::into_inner)
}

/// All drivers of this process, none of which changes meanwhile: a copy of the process that is made now has
/// them whole. Not to be held by one who uses a cluster.
pub(crate) fn hold_all<R>(held: impl FnOnce(&mut [Held<'_>]) -> R) -> R {
    let all = all();
    let drivers: Vec<Arc<Shared>> = all.iter().filter_map(Weak::upgrade).collect();
    let mut states: Vec<_> = drivers.iter().map(|driver| Held(driver.state())).collect();
    held(&mut states)
}

/// One of them.
pub(crate) struct Held<'a>(MutexGuard<'a, State>);

impl Held<'_> {
    /// This is a copy of its process: nothing of it may be used, and nothing that is asked of it may wait.
    /// Returns whom to wake once nothing is held.
    pub(crate) fn leave_behind(&mut self) -> Vec<Waker> {
        let state = &mut *self.0;
        (state.is_copy, state.closed, state.leading) = (true, true, false);
        (state.followers, state.awaited) = (0, 0);
        // Their nodes are not ours to end.
        std::mem::forget(state.local.take());
        std::mem::forget(state.beside.take());
        state.tickets.fail_all(&Why::Copied)
    }
}

/// What drivers are while their process is elsewhere, or what they are meanwhile: the same as in a copy of it.
pub(crate) struct Aside(Vec<(Arc<Shared>, State)>);

impl Aside {
    /// For all drivers of this process. To be dropped where it was made.
    pub(crate) fn prepare() -> std::io::Result<Self> {
        let drivers: Vec<Arc<Shared>> = all().iter().filter_map(Weak::upgrade).collect();
        let with_state = |driver: Arc<Shared>| {
            let nodes = driver.state().nodes.none()?;
            let mut state = State::new(nodes, None);
            (state.is_copy, state.closed) = (true, true);
            (state.is_aside, state.tickets) = (true, Tickets::aside());
            Ok((driver, state))
        };
        Ok(Self(drivers.into_iter().map(with_state).collect::<std::io::Result<_>>()?))
    }

    /// Puts one in the place of the other.
    pub(crate) fn swap(&mut self) {
        for (driver, state) in &mut self.0 {
            std::mem::swap(&mut *driver.state(), state);
        }
    }
}

pub(crate) fn now() -> Time {
    Time(monotonic_nanoseconds())
}

impl Shared {
    /// Begins to dial the targets.
    pub(crate) fn new(
        targets: Vec<Target>,
        credentials: Option<&Credentials>,
        means: Means,
        local: Option<Embedded>,
    ) -> Result<Arc<Self>, Error> {
        let tls = credentials.map(DialTls::new).transpose();
        let tls = tls.map_err(|source| Error::Credentials { source })?;
        let me = match credentials {
            Some(own) => own.name().clone(),
            None => "local".parse::<Name>().unwrap_or_else(|_| unreachable!("a constant name")),
        };
        let handing = Mutex::new(Handing::new(means, me.clone()));
        let kernel = |source| Error::Kernel { action: "make an event queue", source };
        let poll = Poll::new().map_err(kernel)?;
        let waker = mio::Waker::new(poll.registry(), WAKER).map_err(kernel)?;
        let registry = poll.registry().try_clone().map_err(kernel)?;
        let mut nodes = Nodes::new(registry, tls, me);
        for target in targets {
            nodes.add(now(), target);
        }
        let state = State::new(nodes, local);
        let shared = Arc::new(Self {
            state: Mutex::new(state),
            poll: Mutex::new((poll, Events::with_capacity(EVENTS), Spin::default())),
            waker,
            turn: Condvar::new(),
            background: Condvar::new(),
            generation: copied::generation(),
            authority: credentials.map(Credentials::authority),
            handing,
        });
        let weak = Arc::downgrade(&shared);
        let spawn = std::thread::Builder::new().name("farcall".into()).spawn(move || {
            while let Some(shared) = weak.upgrade() {
                if !shared.watch() {
                    return;
                }
            }
        });
        spawn.map_err(|source| Error::Kernel { action: "start a thread", source })?;
        let mut all = all();
        all.retain(|known| known.strong_count() > 0);
        all.push(Arc::downgrade(&shared));
        drop(all);
        Ok(shared)
    }

    /// The state, whatever became of a thread that held it.
    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the state and sends what follows from it, on this thread.
    pub(crate) fn submit<R>(&self, change: impl FnOnce(&mut State) -> R) -> R {
        let mut state = self.state();
        let result = change(&mut state);
        let now = now();
        let mut woken = Vec::new();
        state.settle(now, &mut woken);
        // After a long quiet the background thread sleeps deeply; it may be the only one to lead.
        if now.since(std::mem::replace(&mut state.used, now)) > LOOK_IDLE.into() {
            self.background.notify_one();
        }
        self.wake(state, woken);
        result
    }

    /// Wakes those whose futures are ready, without holding the lock.
    fn wake(&self, mut state: MutexGuard<'_, State>, woken: Vec<Waker>) {
        state.awaited = state.awaited.saturating_sub(woken.len() as u32);
        drop(state);
        woken.into_iter().for_each(Waker::wake);
    }

    /// Drives once without waiting, unless somebody drives already.
    pub(crate) fn poke(&self) {
        let state = self.state();
        if !state.leading && !state.is_copy {
            drop(self.lead(state, Duration::ZERO));
        }
    }

    /// Drives, or waits, until `done` finds something or it is too late.
    pub(crate) fn wait<R>(
        &self,
        until: Option<Instant>,
        mut done: impl FnMut(&mut Tickets) -> Option<R>,
    ) -> Option<R> {
        self.wait_for(until, |state| done(&mut state.tickets))
    }

    pub(crate) fn wait_for<R>(
        &self,
        until: Option<Instant>,
        mut done: impl FnMut(&mut State) -> Option<R>,
    ) -> Option<R> {
        let mut state = self.state();
        loop {
            if let Some(result) = done(&mut state) {
                if state.followers > 0 && !state.leading {
                    self.turn.notify_one();
                }
                return Some(result);
            }
            if state.is_copy {
                // Nothing comes any more; what is asked for now fails like what was.
                let why = state.why_copied();
                drop(state.tickets.fail_all(&why));
                return done(&mut state);
            }
            let left = until.map(|until| until.saturating_duration_since(Instant::now()));
            if left == Some(Duration::ZERO) {
                return None;
            }
            state = if state.leading {
                self.follow(state, left)
            } else {
                self.lead(state, left.unwrap_or(POLL_MAX))
            };
        }
    }

    fn follow<'a>(
        &'a self,
        mut state: MutexGuard<'a, State>,
        left: Option<Duration>,
    ) -> MutexGuard<'a, State> {
        state.followers += 1;
        if state.followers == 1 {
            // The background thread gives up the lead to one who waits.
            let _ = self.waker.wake();
        }
        let left = left.unwrap_or(POLL_MAX).min(POLL_MAX);
        let waited = self.turn.wait_timeout(state, left);
        let (mut state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        state.followers -= 1;
        state
    }

    /// One turn as the leader.
    fn lead<'a>(
        &'a self,
        mut state: MutexGuard<'a, State>,
        left: Duration,
    ) -> MutexGuard<'a, State> {
        state.leading = true;
        let wait = left.min(POLL_MAX).min(state.timeout(now()));
        drop(state);
        let mut poll = self.poll.lock().unwrap_or_else(PoisonError::into_inner);
        let (poll, events, spin) = &mut *poll;
        let polled = spin.wait(Some(wait), |timeout| {
            poll.poll(events, timeout)?;
            Ok((!events.is_empty()).then_some(()))
        });
        let mut state = self.state();
        let now = now();
        let mut woken = Vec::new();
        if polled.is_ok() {
            state.turn(now, events, &mut woken);
        }
        state.leading = false;
        state.led = now;
        if state.followers > 0 {
            self.turn.notify_all();
        }
        if !woken.is_empty() {
            self.wake(state, woken);
            state = self.state();
        }
        state
    }

    /// The background thread's round. `false`: the cluster is closed.
    fn watch(&self) -> bool {
        let mut state = self.state();
        if state.closed {
            return false;
        }
        let lately = now().since(state.used) <= LOOK_IDLE.into();
        if state.awaited == 0 || state.leading {
            let look = if lately || !state.dispatch.is_empty() { LOOK } else { LOOK_IDLE };
            let waited = self.background.wait_timeout(state, look);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        while !state.closed && !state.leading && state.followers == 0 {
            let neglected = now().since(state.led) >= LOOK.into();
            if state.awaited == 0 && !neglected {
                break;
            }
            let wait = if state.awaited > 0 { POLL_MAX } else { Duration::ZERO };
            state = self.lead(state, wait);
            if state.awaited == 0 {
                break;
            }
        }
        !state.closed
    }

    /// The result, or the promise to wake.
    pub(crate) fn redeem_or_wake(
        &self,
        ticket: TicketId,
        waker: &Waker,
    ) -> Option<crate::tickets::Result> {
        let mut state = self.state();
        if let Some(result) = state.tickets.redeem(ticket) {
            return Some(result);
        }
        if state.tickets.wake(ticket, waker.clone()) {
            state.awaited += 1;
        }
        self.background.notify_one();
        None
    }

    /// This process is a copy of the one that linked.
    pub(crate) fn is_copy(&self) -> bool {
        self.generation != copied::generation()
    }

    /// Why nothing can be asked of it, if this process is a copy of the one that linked.
    pub(crate) fn unlinked(&self) -> Option<String> {
        self.is_copy().then(|| self.state().why_copied().to_string())
    }

    /// The same without what it is a reason for.
    pub(crate) fn reason_unlinked(&self) -> String {
        self.state().unlinked.clone().unwrap_or_else(|| COPIED.to_owned())
    }

    /// This copy could not link by itself.
    pub(crate) fn stays_unlinked(&self, reason: String) {
        self.state().unlinked = Some(reason);
    }

    pub(crate) fn authority(&self) -> Option<Fingerprint> {
        self.authority
    }

    /// What a copy of this process is handed on for this cluster.
    pub(crate) fn hands_on(&self) -> Words {
        let mut handing = self.handing.lock().unwrap_or_else(PoisonError::into_inner);
        handing.words(SystemTime::now())
    }

    pub(crate) fn cancel(&self, ticket: TicketId) {
        self.submit(|state| {
            if let Some(task) = state.tickets.task(ticket) {
                state.dispatch.handle(now(), Event::Cancel { task });
            }
        });
    }

    /// Nobody will ask for this result.
    pub(crate) fn drop_claim(&self, ticket: TicketId) {
        let mut state = self.state();
        let awaited = state.tickets.is_awaited(ticket);
        state.awaited -= u32::from(awaited && state.awaited > 0);
        state.tickets.drop_claim(ticket);
    }

    /// Nobody waits for these any more: they are cancelled.
    pub(crate) fn abandon(&self, tickets: &[TicketId]) {
        self.submit(|state| {
            // The last ones first: they are found at the end of the queue.
            for &ticket in tickets.iter().rev() {
                if let Some(task) = state.tickets.drop_claim(ticket) {
                    state.dispatch.handle(now(), Event::Cancel { task });
                }
            }
        });
    }

    pub(crate) fn close_group(&self, group: GroupId) {
        self.submit(|state| {
            for task in state.tickets.close_group(group).into_iter().rev() {
                state.dispatch.handle(now(), Event::Cancel { task });
            }
        });
    }

    /// The last handle is gone.
    pub(crate) fn close(&self) {
        let mut state = self.state();
        state.closed = true;
        // Ended here and now: the background thread, which may hold the last reference, can be too
        // late for a program that ends.
        let local = state.local.take();
        let beside = state.beside.take();
        drop(state);
        drop(beside);
        drop(local);
        self.background.notify_all();
        let _ = self.waker.wake();
    }
}

impl State {
    fn new(nodes: Nodes, local: Option<Embedded>) -> Self {
        Self {
            dispatch: Dispatch::new(now()),
            tickets: Tickets::default(),
            nodes,
            leading: false,
            followers: 0,
            awaited: 0,
            led: Time(0),
            used: Time(0),
            closed: false,
            is_copy: false,
            is_aside: false,
            unlinked: None,
            pages: None,
            local,
            beside: None,
        }
    }

    /// Begins a job, which in a copy that comes back is none.
    pub(crate) fn open_job(&mut self, id: JobId, name: &str) -> JobKey {
        match self.is_aside {
            true => NO_JOB,
            false => self.dispatch.open_job(id, name.to_owned()),
        }
    }

    pub(crate) fn close_job(&mut self, job: JobKey) {
        if !self.is_aside && job != NO_JOB {
            self.dispatch.close_job(now(), job);
        }
    }

    /// A program's number, which in a copy that comes back is none.
    pub(crate) fn declare(&mut self, program: &Program, memory: u64) -> ProgramId {
        if self.is_aside {
            return NO_PROGRAM;
        }
        let Program::Core { library, .. } = program;
        let length = self.nodes.library_length(library);
        let id = self.dispatch.program(program.clone(), memory);
        self.dispatch.weigh(id, length);
        id
    }

    /// A new task; `None`: it would be a copy's that comes back, or of what such a one has made.
    pub(crate) fn submit(
        &mut self,
        job: JobKey,
        program: ProgramId,
        input: Payload,
        terms: Terms,
    ) -> Option<TaskId> {
        let is_here = !self.is_aside && job != NO_JOB && program != NO_PROGRAM;
        is_here.then(|| self.dispatch.submit(now(), job, program, input, terms))
    }

    /// Why nothing that is asked of it is done: it is a copy's.
    fn why_copied(&self) -> Why {
        match &self.unlinked {
            Some(reason) => Why::Unlinked { reason: reason.clone() },
            None => Why::Copied,
        }
    }

    fn timeout(&self, now: Time) -> Duration {
        if self.nodes.has_unread() {
            return Duration::ZERO;
        }
        self.nodes.poll_timeout().min(self.dispatch.poll_timeout()).since(now).into()
    }

    /// Reads what is ready, decides, writes.
    fn turn(&mut self, now: Time, events: &Events, woken: &mut Vec<Waker>) {
        self.nodes.read_unread(now, &mut self.dispatch);
        for event in events {
            if event.token() != WAKER {
                self.nodes.ready(now, event, &mut self.dispatch);
            }
        }
        if self.nodes.poll_timeout() <= now {
            self.nodes.tick(now, &mut self.dispatch);
        }
        if self.dispatch.poll_timeout() <= now {
            self.dispatch.handle(now, Event::Tick);
        }
        self.settle(now, woken);
    }

    /// Carries out what the dispatcher wants, then sends.
    fn settle(&mut self, now: Time, woken: &mut Vec<Waker>) {
        if self.is_copy {
            let why = self.why_copied();
            woken.extend(self.tickets.fail_all(&why));
            return;
        }
        loop {
            while let Some(effect) = self.dispatch.poll_effect() {
                match effect {
                    Effect::Ended { task, outcome } => {
                        if let Some(pages) = &mut self.pages {
                            pages.ended(now, &outcome, false);
                        }
                        woken.extend(self.tickets.ended(task, settle(outcome)));
                    }
                    Effect::Retried { outcome } => {
                        if let Some(pages) = &mut self.pages {
                            pages.ended(now, &outcome, true);
                        }
                    }
                    effect => self.nodes.carry_out(now, effect),
                }
            }
            self.keep_logs();
            // A link that fails at writing gives its tasks back, which has effects of its own.
            self.nodes.flush(now, &mut self.dispatch);
            if self.dispatch.is_settled() {
                return;
            }
        }
    }
}

impl State {
    /// What tasks have written to their standard error goes to whoever wants it.
    fn keep_logs(&mut self) {
        for (node, log, bytes) in self.nodes.logs.drain(..) {
            if let Some(pages) = &mut self.pages {
                pages.wrote(log, node.map(Arc::new), bytes);
            }
        }
    }
}
