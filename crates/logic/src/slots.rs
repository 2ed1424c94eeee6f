//! Shares a node's slots between its users, and decides which task goes to which worker.
//!
//! ```text
//!  user's tasks -> lane (one per user and program) -> worker (of one program) -> done
//!       ^                                                                          |
//!       +------------------ credits: how many tasks a user may have here <---------+
//! ```
//!
//! - *Fair*: the lane goes first whose user has had least worker time (start-time fair queueing).
//! - *Short tasks in batches*: a worker gets as many tasks ahead as it does in `AHEAD`, by the
//!   measured time of its program; a long one gets none ahead.
//! - *Late binding*: users get credits for what the node does in `PREFETCH`, not more.
//! - *Known culprit*: of a dead worker's tasks only the one that it was at is blamed; those it never
//!   started go to another worker, as if nothing had been.
//! - *Bound workers*: where a program's state matters from task to task, one worker is bound to one
//!   user's program, and stays for its sake (`bound`).
//!
//! Elsewhere: who gets a slot, and what (`feed`), workers as processes (`node` the crate), who may connect (`node` the module).

mod absent;
mod counters;
mod report;
mod watch;
mod start;
mod bound;
mod feed;
mod find;
mod hunger;
mod memory;
mod user;
mod worker;

use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap, HashMap, VecDeque};

use slab::Slab;
use wire::limits::{CREDITS_MAX, POISON_KILLS, PROGRAMS_MAX};
use wire::name::{Name, TaskName};
use wire::task::{Program, RunHead, Status, Times};
use wire::units::{Span, Time};

use crate::{BufferId, Exit, LinkId, Payload, WorkerId};
pub use bound::NotBound;
pub use counters::{Counters, Ending};
use feed::Needy;
use user::User;
use worker::{Life, Worker};

/// Work that a worker is given ahead of time, so that a batch outlasts a wake-up.
const AHEAD: Span = Span::from_micros(200);
/// Work that a user may have waiting at the node, so that a slot never waits for the network.
const PREFETCH: Span = Span::from_millis(4);
/// After this silence a worker with results held back is looked at.
const PEEK: Span = Span::from_millis(5);
/// How often the memory of a limited worker is measured, where the kernel keeps no limits.
const MEASURE: Span = Span::from_millis(20);
/// How long an idle worker is kept for its next task.
const IDLE: Span = Span::from_secs(30);
/// How long a program may take to load.
const LOADING: Span = Span::from_secs(30);
/// How often a task may find its worker dead before it began. Workers' own word is all that says
/// that it did not begin, so there is a bound.
const UNBEGUN_MAX: u32 = 16;

/// What a `Kill` ends a process with.
const SIGKILL: i32 = 9;

/// What workers have in common: programs are never shared between owners.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Class {
    pub owner: Name,
    pub program: Program,
    /// Bytes; 0 is no limit.
    pub memory: u64,
    /// Its tasks are streams: how long one takes says nothing of the next, so none is sent ahead.
    pub stream: bool,
    /// One worker and no more, for one user's one program: all its tasks meet the same one.
    pub bound: Option<Bound>,
}

/// Names the binding of a worker; never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Bound(pub u64);

/// How a task ended at its worker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finished {
    pub status: Status,
    pub ran: Span,
    pub output: Payload,
    /// From a worker `began` alone, by the clock of `Time`.
    pub times: Times,
}

impl Finished {
    pub(crate) fn cancelled() -> Self {
        let (status, output) = (Status::Cancelled, Payload::empty());
        Self { status, ran: Span(0), output, times: Times::default() }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    Done {
        link: LinkId,
        channel: u64,
        name: TaskName,
        attempt: u32,
        finished: Finished,
    },
    Credit {
        link: LinkId,
        limit: u64,
    },
    Start {
        worker: WorkerId,
        class: Class,
    },
    Execute {
        worker: WorkerId,
        sequence: u64,
        attempt: u32,
        input: Payload,
        link: LinkId,
        channel: u64,
    },
    /// End the process; `exited` follows.
    Kill {
        worker: WorkerId,
    },
    /// Let the process end in order, its program unloaded; `exited` follows.
    Dismiss {
        worker: WorkerId,
    },
    /// A bound worker has its program loaded, or why it cannot be.
    Bound {
        link: LinkId,
        bound: Bound,
        result: Result<(), String>,
    },
    /// A bound worker is gone, as was asked for.
    Unbound {
        link: LinkId,
        bound: Bound,
    },
    /// Read the progress page; results found there come as `done`, then `peeked`.
    Peek {
        worker: WorkerId,
    },
    /// Read the worker's peak memory; `measured` follows.
    Measure {
        worker: WorkerId,
    },
    /// Nobody needs the input any more.
    Release {
        buffer: BufferId,
    },
}

/// What is here of anyone: nothing, once all clients are gone and their workers have ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    pub users: usize,
    pub lanes: usize,
    pub classes: usize,
    pub workers: usize,
    pub tasks: usize,
    /// Payloads that wait for their task, or it for them.
    pub arrivals: usize,
}

/// A task that was sent without a credit, or for a program that was not defined.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Breach {
    #[error("a task without a credit")]
    NoCredit,
    #[error("a task of program {0}, which this link has not defined")]
    NoProgram(u32),
    #[error("more than {PROGRAMS_MAX} programs on one link")]
    TooManyPrograms,
}

#[derive(Debug)]
pub(crate) struct Task {
    lane: usize,
    /// Whose it is: links are numbered anew when a client has left, accounts are not.
    user: u64,
    link: LinkId,
    channel: u64,
    attempt: u32,
    deadline: Span,
    input: Payload,
    wanted: bool,
    /// Worker time that its user was charged in advance.
    charged: u64,
    /// Workers that died with it next in line.
    unbegun: u32,
    name: TaskName,
    /// When all of it was here.
    arrived: Time,
    times: Times,
}

/// One user's queue for one program.
#[derive(Debug)]
struct Lane {
    link: LinkId,
    class: usize,
    queue: VecDeque<Task>,
    /// While tasks wait: what it stands under in its class's `hungry`.
    key: Option<u64>,
}

/// A class with what was learnt of it.
#[derive(Debug)]
struct Known {
    class: Class,
    /// Smoothed time of a task; `None` until the first has ended.
    run: Option<Span>,
    workers: Vec<usize>,
    lanes: u32,
    /// Tasks of it that are here, waiting or at workers.
    tasks: u32,
    /// Those of them that wait.
    waiting: u32,
    /// Lanes with tasks waiting, by the worker time that their users had had when it was looked at
    /// last. It mostly grows, so the first is the least served once its number is renewed.
    hungry: BTreeSet<(u64, usize)>,
    /// What it stands under in `homeless`.
    homeless: Option<u64>,
    /// Worker time that the user whose task was assigned last had had by then.
    served: u64,
    /// Workers in a row that died before they were ready.
    stillborn: u32,
    /// Workers in a row that could not even be started, and when to try again.
    unstarted: u32,
    start_after: Time,
    /// How long it may take to load.
    loading: Span,
    /// Who waits for what becomes of its bound worker.
    wait: Wait,
}

/// What the user of a bound worker waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wait {
    Nothing,
    /// That it is loaded for the first time.
    Loaded(LinkId),
    /// That it is gone.
    Gone(LinkId),
}

impl Known {
    fn new(class: Class) -> Self {
        Self {
            class,
            run: None,
            workers: Vec::new(),
            lanes: 0,
            tasks: 0,
            waiting: 0,
            hungry: BTreeSet::new(),
            homeless: None,
            served: 0,
            stillborn: 0,
            unstarted: 0,
            start_after: Time(0),
            loading: LOADING,
            wait: Wait::Nothing,
        }
    }

    /// Tasks that fill `span` for one worker, at least one.
    fn fill(&self, span: Span, max: u32) -> u32 {
        let Some(run) = self.run.filter(|_| !self.class.stream) else { return 1 };
        u32::try_from(span.0 / run.0.max(200)).unwrap_or(max).clamp(1, max)
    }
}

/// A node's slots. After each batch of calls call `settle`, then drain `poll_effect`.
#[derive(Debug)]
pub struct Slots {
    size: u32,
    /// Slots that no task gets.
    visitors: u32,
    ahead_max: u32,
    users: Vec<Option<User>>,
    lanes: Slab<Lane>,
    classes: Slab<Known>,
    class_index: HashMap<Class, usize>,
    workers: Slab<Worker>,
    /// Workers that have a slot: not the doomed, nor those that are bound and load or are idle.
    alive: usize,
    /// Those that were idle when `feed` began.
    idle: Vec<usize>,
    /// Classes with workers, and the neediest lane of each, while `feed` runs; empty otherwise.
    housed: (Vec<usize>, BinaryHeap<Reverse<Needy>>),
    /// Lanes with tasks waiting.
    hungry: usize,
    /// Classes that have tasks waiting and no worker, by the number of their first lane.
    homeless: BTreeSet<(u64, usize)>,
    /// Classes with tasks here.
    wanting: usize,
    /// Users with tasks here.
    active: u32,
    /// Tasks here, of all users.
    tasks: u32,
    /// Accounts opened so far.
    opened: u64,
    /// Users whose credits may have to be renewed.
    touched: Vec<LinkId>,
    /// Virtual time: worker time that the least served active user has had.
    served: u64,
    /// Somebody waits for a slot in vain.
    crowded: bool,
    closed: bool,
    counters: Counters,
    /// The driver's kernel keeps the limits of memory, and tells.
    memory_is_limited: bool,
    /// Classes that wait for their next start, by when that is.
    paused: BTreeSet<(Time, usize)>,
    effects: VecDeque<Effect>,
}

impl Slots {
    pub fn new(size: u32) -> Self {
        Self {
            size: size.max(1),
            visitors: 0,
            ahead_max: wire::limits::AHEAD_MAX,
            users: Vec::new(),
            lanes: Slab::new(),
            classes: Slab::new(),
            class_index: HashMap::new(),
            workers: Slab::new(),
            alive: 0,
            idle: Vec::new(),
            housed: Default::default(),
            hungry: 0,
            homeless: BTreeSet::new(),
            wanting: 0,
            active: 0,
            tasks: 0,
            opened: 0,
            touched: Vec::new(),
            served: 0,
            crowded: false,
            closed: false,
            counters: Counters::default(),
            memory_is_limited: false,
            paused: BTreeSet::new(),
            effects: VecDeque::new(),
        }
    }

    /// So many slots are taken by what is no task.
    pub fn host(&mut self, visitors: u32) {
        self.visitors = visitors;
    }

    pub fn size(&self) -> u32 {
        self.size
    }

    pub fn poll_effect(&mut self) -> Option<Effect> {
        self.effects.pop_front()
    }

    // What users do.

    pub fn link_up(&mut self, link: LinkId, owner: Name) {
        let at = link.0 as usize;
        if self.users.len() <= at {
            self.users.resize_with(at + 1, || None);
        }
        self.opened += 1;
        self.users[at] = Some(User::new(self.opened, owner, self.served));
        // The others' shares change when it has tasks here, and are told when theirs end.
        self.touched.push(link);
    }

    pub fn link_down(&mut self, now: Time, link: LinkId) {
        let Some(user) = self.users.get_mut(link.0 as usize).and_then(Option::take) else { return };
        self.active -= u32::from(user.active > 0);
        self.tasks -= user.active;
        self.counters.dropped += u64::from(user.active);
        for lane in user.all_lanes() {
            let queue = std::mem::take(&mut self.lanes[lane].queue);
            self.took(lane, queue.len());
            let class = self.lanes.remove(lane).class;
            self.forget(class, queue.len());
            for task in queue {
                self.release(&task.input);
            }
            for worker in self.classes[class].workers.clone() {
                let of_lane = |task: &Task| task.user == user.id && task.lane == lane;
                let here = self.workers[worker].tasks.iter().filter(|task| of_lane(task)).count();
                self.forget(class, here);
                self.unwant(worker, of_lane);
            }
            self.classes[class].lanes -= 1;
            self.classes[class].wait = Wait::Nothing;
            self.dismiss_bound(now, class);
            self.retire_class(class);
        }
    }

    /// The number that the next program of the link gets.
    pub fn next_program(&self, link: LinkId) -> u32 {
        let user = self.users.get(link.0 as usize).and_then(Option::as_ref);
        user.map_or(0, |user| user.lanes.len() as u32)
    }

    /// Gives a program the next number on the link.
    pub fn define(&mut self, link: LinkId, program: Program, memory: u64) -> Result<(), Breach> {
        let Some(Some(user)) = self.users.get_mut(link.0 as usize) else { return Ok(()) };
        if user.lanes.len() >= PROGRAMS_MAX as usize {
            return Err(Breach::TooManyPrograms);
        }
        let owner = user.owner.clone();
        let class = Class { owner, program, memory, stream: false, bound: None };
        let lane = self.open_lane(link, class);
        if let Some(Some(user)) = self.users.get_mut(link.0 as usize) {
            user.lanes.push(lane);
        }
        Ok(())
    }

    fn open_lane(&mut self, link: LinkId, class: Class) -> usize {
        let class = *self
            .class_index
            .entry(class.clone())
            .or_insert_with(|| self.classes.insert(Known::new(class)));
        self.classes[class].lanes += 1;
        self.lanes.insert(Lane { link, class, queue: VecDeque::new(), key: None })
    }

    /// The lane for the streams of the program that `lane` is for.
    fn stream_lane(&mut self, link: LinkId, lane: usize) -> usize {
        let user = self.users.get(link.0 as usize).and_then(Option::as_ref);
        if let Some(known) = user.and_then(|user| user.streams.get(&lane)) {
            return *known;
        }
        let class = Class { stream: true, ..self.classes[self.lanes[lane].class].class.clone() };
        let opened = self.open_lane(link, class);
        if let Some(Some(user)) = self.users.get_mut(link.0 as usize) {
            user.streams.insert(lane, opened);
        }
        opened
    }

    /// Takes a task whose input is here, `transfer` after the task itself.
    pub fn run(
        &mut self,
        now: Time,
        link: LinkId,
        channel: u64,
        head: RunHead,
        input: Payload,
        transfer: Span,
    ) -> Result<(), Breach> {
        let lane = match self.admit(link, head.program) {
            Ok(Some(lane)) => lane,
            refused => {
                self.release(&input);
                return refused.map(|_| ());
            }
        };
        let lane = if input == Payload::Stream { self.stream_lane(link, lane) } else { lane };
        let Some(Some(user)) = self.users.get_mut(link.0 as usize) else { return Ok(()) };
        user.accepted += 1;
        user.active += 1;
        self.tasks += 1;
        self.counters.accepted += 1;
        if user.active == 1 {
            user.served = user.served.max(self.served);
            self.active += 1;
        }
        let user = user.id;
        let RunHead { attempt, deadline, name, .. } = head;
        let task = Task {
            lane,
            user,
            link,
            channel,
            attempt,
            deadline,
            input,
            wanted: true,
            charged: 0,
            unbegun: 0,
            name,
            arrived: now,
            times: Times { transfer, ..Times::default() },
        };
        let known = &mut self.classes[self.lanes[lane].class];
        self.wanting += usize::from(known.tasks == 0);
        known.tasks += 1;
        self.enqueue(task, VecDeque::push_back);
        Ok(())
    }

    /// The lane of a task that may come. `None`: its link is down.
    fn admit(&self, link: LinkId, program: u32) -> Result<Option<usize>, Breach> {
        let Some(Some(user)) = self.users.get(link.0 as usize) else { return Ok(None) };
        if user.accepted >= user.limit {
            return Err(Breach::NoCredit);
        }
        user.lanes.get(program as usize).copied().map(Some).ok_or(Breach::NoProgram(program))
    }

    /// A task used up its credit but was cancelled before its input had arrived.
    pub fn pass(&mut self, link: LinkId) {
        if let Some(Some(user)) = self.users.get_mut(link.0 as usize) {
            user.accepted += 1;
            self.touched.push(link);
        }
    }

    pub fn cancel(&mut self, link: LinkId, channel: u64) {
        let Some(Some(user)) = self.users.get(link.0 as usize) else { return };
        for lane in user.all_lanes() {
            let queue = &mut self.lanes[lane].queue;
            if let Some(at) = queue.iter().position(|task| task.channel == channel) {
                if let Some(task) = queue.remove(at) {
                    self.took(lane, 1);
                    self.end(task, Status::Cancelled, Span(0), Payload::empty());
                }
                return;
            }
            for worker in self.classes[self.lanes[lane].class].workers.clone() {
                self.unwant(worker, |task| task.link == link && task.channel == channel);
            }
        }
    }

    /// Gives back unstarted tasks, those that would start last first.
    pub fn take_back(&mut self, link: LinkId, count: u32) -> Vec<u64> {
        let Some(Some(user)) = self.users.get(link.0 as usize) else { return Vec::new() };
        let mut channels = Vec::new();
        let mut inputs = Vec::new();
        for lane in user.lanes.clone() {
            let before = channels.len();
            while channels.len() < count as usize {
                let Some(task) = self.lanes[lane].queue.pop_back() else { break };
                channels.push(task.channel);
                inputs.push(task.input);
            }
            let taken = channels.len() - before;
            self.forget(self.lanes[lane].class, taken);
            self.took(lane, taken);
        }
        let Some(Some(user)) = self.users.get_mut(link.0 as usize) else { return channels };
        user.active -= channels.len() as u32;
        self.tasks -= channels.len() as u32;
        self.counters.returned += channels.len() as u64;
        self.active -= u32::from(user.active == 0 && !channels.is_empty());
        self.touched.push(link);
        inputs.iter().for_each(|input| self.release(input));
        channels
    }

    // What workers do.

    /// A worker has loaded its program, or says why it cannot.
    pub fn ready(&mut self, now: Time, worker: WorkerId, result: Result<(), String>) {
        let Some(known) = self.workers.get_mut(worker.0 as usize) else { return };
        if known.life != Life::Starting {
            return;
        }
        let class = known.class;
        match result {
            Ok(()) => {
                known.life = Life::Ready;
                known.heard = now;
                self.classes[class].stillborn = 0;
                self.classes[class].unstarted = 0;
                self.loaded(class, Ok(()));
            }
            Err(reason) => {
                self.kill(worker.0 as usize, None);
                self.refuse(class, &reason);
            }
        }
    }

    /// A worker ended a task. Results that were seen before are passed over.
    pub fn done(&mut self, now: Time, worker: WorkerId, sequence: u64, finished: Finished) {
        let Some(known) = self.workers.get_mut(worker.0 as usize) else { return };
        if sequence < known.finished {
            // Peeked at before it was sent: its buffer went out with the first of the two.
            return;
        }
        if sequence > known.finished {
            // Peeked at before the ones sent ahead of it were read: it comes again, in its turn.
            return;
        }
        if known.life == Life::Starting {
            // Nonsense from a worker gone mad.
            self.release(&finished.output);
            return;
        }
        let Some(mut task) = known.tasks.pop_front() else { return };
        known.note_end(worker, &mut task, now, Time(finished.times.began.0), finished.ran);
        // Idle, a bound worker has no slot.
        let gives_up = known.is_idle() && self.classes[known.class].class.bound.is_some();
        self.alive -= usize::from(gives_up);
        known.finished += 1;
        known.heard = now;
        known.front_since = now;
        let front_unwanted = known.tasks.front().is_some_and(|front| !front.wanted);
        let class = &mut self.classes[known.class];
        class.run = Some(match class.run {
            None => finished.ran,
            Some(old) => Span((old.0 * 7 + finished.ran.0) / 8),
        });
        let Finished { status, ran, output, .. } = finished;
        if task.wanted {
            self.end(task, status, ran, output);
        } else {
            if !share_buffer(&task.input, &output) {
                self.release(&output);
            }
            self.end(task, Status::Cancelled, ran, Payload::empty());
        }
        if front_unwanted {
            self.kill(worker.0 as usize, Some(Status::Cancelled));
        }
    }

    /// The process is gone. `started`: how many tasks its progress page says it has begun.
    pub fn exited(&mut self, now: Time, worker: WorkerId, exit: Exit, started: u64, stderr: &str) {
        let at = worker.0 as usize;
        if !self.workers.contains(at) {
            return;
        }
        self.alive -= usize::from(self.takes_slot(&self.workers[at]));
        let mut ended = self.workers.remove(at);
        let tasks = std::mem::take(&mut ended.tasks);
        let Worker { life, class, finished, front_since, .. } = ended;
        let doom = ended.doom.take();
        self.classes[class].workers.retain(|&other| other != at);
        self.house(class);
        let ran = now.since(front_since);
        for (index, mut task) in tasks.into_iter().enumerate().rev() {
            let sequence = finished + index as u64;
            if sequence + 1 == started {
                ended.note_end(worker, &mut task, now, front_since, ran);
            }
            if !task.wanted {
                let ran = if sequence + 1 == started { ran } else { Span(0) };
                self.end(task, Status::Cancelled, ran, Payload::empty());
            } else if sequence + 1 == started {
                let status = match &doom {
                    // Killed or not, this is how it really ended.
                    Some(_) if exit != Exit::Signal(SIGKILL) => blame(exit, stderr),
                    None => blame(exit, stderr),
                    Some((of, status)) if *of == sequence => status.clone(),
                    Some(_) => Status::WorkerLost {
                        reason: "its worker was killed for the task before it".to_owned(),
                    },
                };
                self.end(task, status, ran, Payload::empty());
            } else if sequence < started {
                let reason = format!("its result was lost when the worker died ({exit:?})");
                self.end(task, Status::WorkerLost { reason }, Span(0), Payload::empty());
            } else if task.input == Payload::Stream {
                // What was sent to that worker already cannot be had again.
                let reason = format!("it died before the stream began ({exit:?})");
                self.end(task, Status::WorkerLost { reason }, Span(0), Payload::empty());
            } else if task.unbegun == UNBEGUN_MAX {
                let reason = format!("{UNBEGUN_MAX} workers died before it began ({exit:?})");
                self.end(task, Status::WorkerLost { reason }, Span(0), Payload::empty());
            } else {
                if let Some(Some(user)) = self.users.get_mut(task.link.0 as usize) {
                    user.served = user.served.saturating_sub(task.charged);
                }
                self.renew(task.lane);
                task.charged = 0;
                task.unbegun += u32::from(index == 0);
                self.enqueue(task, VecDeque::push_front);
            }
        }
        if life == Life::Starting
            && let Exit::OutOfMemory { peak, limit } = exit
        {
            // It would not be otherwise the next time.
            self.give_up(class, &Status::OutOfMemory { peak, limit });
        } else if life == Life::Starting {
            self.classes[class].stillborn += 1;
            if self.classes[class].class.bound.is_some() {
                // Who waits for a bound worker wants to know at once.
                self.refuse(class, &bound::died_loading(exit, stderr));
            } else if self.classes[class].stillborn >= POISON_KILLS {
                let reason = format!("{POISON_KILLS} workers died while loading it ({exit:?})");
                self.refuse(class, &reason);
            }
        }
        self.retire_class(class);
    }

    /// What the progress page said, after its results came as `done`.
    pub fn peeked(&mut self, now: Time, worker: WorkerId, started: u64, since: Time) {
        let at = worker.0 as usize;
        let Some(known) = self.workers.get_mut(at) else { return };
        known.heard = now;
        let Some(front) = known.tasks.front() else { return };
        // When it has begun later ones already, the front's result is on its way.
        let running = started == known.finished + 1 && since != Time(0);
        known.front_since = if running { since.min(now) } else { now };
        let limit = front.deadline;
        if limit.0 > 0 && now.since(known.front_since) >= limit {
            self.kill(at, Some(Status::TimeLimit { limit }));
        }
    }

    /// A worker said what it may not say.
    pub fn misbehaved(&mut self, worker: WorkerId) {
        if self.workers.contains(worker.0 as usize) {
            let reason = "its worker broke the protocol".to_owned();
            self.kill(worker.0 as usize, Some(Status::Broken { reason }));
        }
    }

    // What follows from it.

    /// Takes no new users' tasks: credits are not renewed any more.
    pub fn close(&mut self) {
        self.closed = true;
    }

    /// Ends a batch of calls: feeds the workers and renews the credits.
    pub fn settle(&mut self, now: Time) {
        self.feed(now);
        if self.closed {
            return;
        }
        let mut touched = std::mem::take(&mut self.touched);
        for link in touched.drain(..) {
            let target = self.credit_target(link);
            let Some(Some(user)) = self.users.get_mut(link.0 as usize) else { continue };
            let before = user.limit;
            if let Some(limit) = user.renew(target) {
                self.counters.credits += limit - before;
                self.effects.push_back(Effect::Credit { link, limit });
            }
        }
        self.touched = touched;
    }

    fn credit_target(&self, link: LinkId) -> u32 {
        let Some(Some(user)) = self.users.get(link.0 as usize) else { return 0 };
        let everyone = self.size.div_ceil(self.active.max(1));
        // A bound worker's user has no use for another slot.
        let share = if self.is_bound(user) { 1 } else { everyone };
        let fill = user.recent.map(|class| self.classes[class].fill(PREFETCH, CREDITS_MAX));
        share.saturating_mul(1 + fill.unwrap_or(1)).min(CREDITS_MAX)
    }

    /// Marks tasks at a worker as not wanted; one that may be running costs the worker.
    fn unwant(&mut self, at: usize, which: impl Fn(&Task) -> bool) {
        let tasks = &mut self.workers[at].tasks;
        let mut front = false;
        for (index, task) in tasks.iter_mut().enumerate().filter(|(_, task)| which(task)) {
            task.wanted = false;
            front |= index == 0;
        }
        if front {
            self.kill(at, Some(Status::Cancelled));
        }
    }

    fn kill(&mut self, at: usize, doom: Option<Status>) {
        let had_slot = self.takes_slot(&self.workers[at]);
        let worker = &mut self.workers[at];
        if worker.life != Life::Doomed {
            worker.life = Life::Doomed;
            self.alive -= usize::from(had_slot);
            worker.doom = doom.map(|status| (worker.finished, status));
            self.effects.push_back(Effect::Kill { worker: WorkerId(at as u32) });
        }
    }

    fn end(&mut self, task: Task, status: Status, ran: Span, output: Payload) {
        if !share_buffer(&task.input, &output) {
            self.release(&task.input);
        }
        let Task { link, channel, lane, user, charged, name, attempt, times, .. } = task;
        let account = self.users.get_mut(link.0 as usize).and_then(Option::as_mut);
        let Some(user) = account.filter(|account| account.id == user) else {
            self.release(&output);
            return;
        };
        user.active -= 1;
        self.tasks -= 1;
        self.active -= u32::from(user.active == 0);
        user.done += 1;
        self.counters.end(&status, ran);
        let class = self.lanes[lane].class;
        user.recent = Some(class);
        if self.touched.last() != Some(&link) {
            self.touched.push(link);
        }
        user.served = (user.served + ran.0).saturating_sub(charged);
        self.forget(class, 1);
        self.renew(lane);
        let finished = Finished { status, ran, output, times };
        self.effects.push_back(Effect::Done { link, channel, name, attempt, finished });
    }

    fn release(&mut self, payload: &Payload) {
        if let Payload::Buffer { buffer, .. } = *payload {
            self.effects.push_back(Effect::Release { buffer });
        }
    }

    /// Forgets a class that nobody defines and nobody runs. Its idle workers stay a while, for a
    /// client that comes back.
    fn retire_class(&mut self, class: usize) {
        let known = &self.classes[class];
        if known.lanes == 0 && known.workers.is_empty() {
            self.resume(class);
            let known = self.classes.remove(class);
            self.class_index.remove(&known.class);
            if let (Wait::Gone(link), Some(bound)) = (known.wait, known.class.bound) {
                self.effects.push_back(Effect::Unbound { link, bound });
            }
        }
    }

    /// Whether a node that leaves may go: no task is left, and no program is being unloaded.
    pub fn is_empty(&self) -> bool {
        let unloading = |(_, worker): (usize, &Worker)| worker.life == Life::Dismissed;
        self.tasks == 0 && !self.workers.iter().any(unloading)
    }
}

/// A result may lie where its input lay: then there is one buffer to let go of, not two.
fn share_buffer(input: &Payload, output: &Payload) -> bool {
    match (input, output) {
        (Payload::Buffer { buffer: a, .. }, Payload::Buffer { buffer: b, .. }) => a == b,
        (Payload::Inline(_) | Payload::Stream, _) | (_, Payload::Inline(_) | Payload::Stream) => {
            false
        }
    }
}

/// What a process's end says about the task that it was at.
fn blame(exit: Exit, stderr: &str) -> Status {
    let stderr = stderr.to_owned();
    match exit {
        Exit::Signal(signal) => Status::Crashed { signal, stderr },
        Exit::Code(code) => Status::Exited { code, stderr },
        Exit::OutOfMemory { peak, limit } => Status::OutOfMemory { peak, limit },
        Exit::HostOutOfMemory { peak, limit } => {
            Status::WorkerLost { reason: memory::want_on_host(peak, limit) }
        }
    }
}

#[cfg(test)]
mod tests;
