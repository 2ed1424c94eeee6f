//! Decides, for one client, which task goes to which node.
//!
//! ```text
//! submit -> queue of its program -> (a node with a credit, and the program ready there) -> done
//!                 ^                                   |
//!                 +---- taken back, node lost, worker lost: retried
//! ```
//!
//! Tasks bind late: one leaves the queue only on a node's credit. When the queue is empty and a node
//! has nothing to do, unstarted tasks are taken back from the node that has most of them.
//!
//! A task is retried only while its input is still here whole and none of its output was delivered
//! (so a stream is not); each attempt has a channel of its own, and what arrives on an old one is
//! dropped. A task that killed its worker `POISON_KILLS` times is not tried again.
//!
//! Elsewhere: connections and payloads (`client`), the node's half (`slots`).

mod balance;
mod passing;
mod jobs;
mod nodes;
mod seats;
mod spread;

use std::collections::VecDeque;
use std::sync::Arc;

use slab::Slab;
use wire::Message;
use wire::blob::Have;
use wire::limits::{PASS_ON_MIN, POISON_KILLS, PROGRAMS_MAX};
use wire::name::{Hash, Name, TaskName};
use wire::task::{Define, Program, Status, TakeBack, Times};
use wire::units::{Span, Time};

use crate::{LinkId, Payload};
pub use jobs::{JobKey, Spent};
use jobs::{Jobs, Passage};
use nodes::{Node, Offer, Stage, Standing};
use spread::Spread;

/// A task of this client: its place in the table. Reused once its outcome has been given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TaskId(pub u32);

/// A program of this client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProgramId(pub u32);

/// What a task may cost, and how often it may be tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Terms {
    /// How long one attempt may run; 0 is no limit.
    pub deadline: Span,
    /// Attempts beyond the first.
    pub retries: u32,
}

/// How long tasks wait for a node to appear when there is none at all.
const LONELY_MAX: Span = Span::from_secs(30);
/// How often an idle node looks for tasks to take over.
const TAKE_BACK_PERIOD: Span = Span::from_millis(10);

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    NodeUp {
        link: LinkId,
        name: Name,
        slots: u32,
    },
    /// It takes no more tasks.
    NodeLeaving {
        link: LinkId,
    },
    NodeDown {
        link: LinkId,
    },
    /// A message of a node; `Done` only once its payload is here.
    Message {
        link: LinkId,
        channel: u64,
        message: Message,
    },
    Done {
        link: LinkId,
        channel: u64,
        status: Status,
        ran: Span,
        output: Payload,
        times: Times,
    },
    Cancel {
        task: TaskId,
    },
    Tick,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    Send {
        link: LinkId,
        channel: u64,
        message: Message,
    },
    /// Send the task and its input.
    Run {
        link: LinkId,
        channel: u64,
        program: u32,
        attempt: u32,
        deadline: Span,
        input: Payload,
        name: TaskName,
    },
    /// Send the bytes of a program.
    Upload {
        link: LinkId,
        channel: u64,
        hash: Hash,
    },
    Ended {
        task: TaskId,
        outcome: Outcome,
    },
    /// An attempt failed, and there will be another. Nothing needs to be done.
    Retried {
        outcome: Outcome,
    },
}

/// How a task ended, at last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    pub end: End,
    pub attempt: u32,
    /// The node that had it last.
    pub node: Option<Arc<Name>>,
    pub ran: Span,
    pub name: TaskName,
    pub spent: Spent,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// The node says how.
    Status { status: Status, output: Payload },
    /// Its node was lost, and it may not be tried again.
    NodeLost,
    /// No node appeared.
    NoNode,
}

impl End {
    fn cancelled() -> Self {
        Self::Status { status: Status::Cancelled, output: Payload::empty() }
    }
}

/// A million of them may be queued: small numbers are kept small.
#[derive(Debug)]
struct Task {
    program: u32,
    input: Payload,
    deadline: Span,
    retries: u32,
    /// At most `ATTEMPTS_MAX`.
    attempt: u16,
    /// At most `POISON_KILLS`.
    kills: u8,
    /// Raised with every attempt: the upper half of the channel, so that an old answer is known.
    epoch: u32,
    place: Place,
    cancelled: bool,
    job: JobKey,
    /// In its job.
    number: u64,
    /// Since when it has been where it is.
    since: Time,
    /// How long it was here before this attempt was sent.
    queued: Span,
}

const _: () = assert!(size_of::<Task>() <= 104);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Queued,
    /// At a node, in this seat.
    At(LinkId, u32),
}

#[derive(Debug)]
struct Queue {
    program: Program,
    memory: u64,
    tasks: VecDeque<TaskId>,
    /// Why a node would not store it.
    refused: Option<String>,
    /// Nodes that would not, of those that take tasks.
    refusals: u32,
    /// How its bytes get to the nodes, if they are many.
    spread: Option<Spread>,
}

/// A node's place in a list. It counts only while the node has the same number: it may have gone, or
/// stand in the other list by now.
#[derive(Clone, Copy, Debug)]
struct Turn {
    link: LinkId,
    number: u64,
}

/// One client's tasks. After each call drain `poll_effect`, then sleep until `poll_timeout`.
#[derive(Debug)]
pub struct Dispatch {
    nodes: Vec<Option<Node>>,
    /// Nodes with a credit left, in turn.
    offers: VecDeque<Turn>,
    /// Nodes with a credit left that no waiting task can use: its program is not ready there.
    parked: VecDeque<Turn>,
    /// How many of them are to be looked at again, since a program has got tasks that had none.
    overlooked: usize,
    turns: u64,
    tasks: Slab<Task>,
    programs: Vec<Queue>,
    /// Programs with queued tasks, in order.
    waiting: Vec<usize>,
    queued: usize,
    /// Rises with every attempt sent.
    epoch: u32,
    /// Nodes that are up, and those of them that take tasks.
    up: u32,
    taking: u32,
    /// Tasks may have to fail because no node takes their program.
    refusal_due: bool,
    /// Since when there is no node at all.
    lonely: Option<Time>,
    next_take_back: Time,
    /// When somebody may have waited long enough for a program's bytes.
    spread_due: Time,
    jobs: Jobs,
    /// As of the last call.
    now: Time,
    effects: VecDeque<Effect>,
}

impl Dispatch {
    pub fn new(now: Time) -> Self {
        Self {
            nodes: Vec::new(),
            offers: VecDeque::new(),
            parked: VecDeque::new(),
            overlooked: 0,
            turns: 0,
            tasks: Slab::new(),
            programs: Vec::new(),
            waiting: Vec::new(),
            queued: 0,
            epoch: 0,
            up: 0,
            taking: 0,
            refusal_due: false,
            lonely: Some(now),
            next_take_back: Time::NEVER,
            spread_due: Time::NEVER,
            jobs: Jobs::new(),
            now,
            effects: VecDeque::new(),
        }
    }

    pub fn poll_effect(&mut self) -> Option<Effect> {
        self.effects.pop_front()
    }

    /// No effect is left to carry out.
    pub fn is_settled(&self) -> bool {
        self.effects.is_empty()
    }

    pub fn poll_timeout(&self) -> Time {
        let lonely = match self.lonely {
            Some(since) if self.queued > 0 => since + LONELY_MAX,
            Some(_) | None => Time::NEVER,
        };
        if self.refusal_due {
            return Time(0);
        }
        let due = if self.up > 0 { self.jobs.due } else { Time::NEVER };
        lonely.min(self.next_take_back).min(self.spread_due).min(due)
    }

    /// Tasks that have not ended.
    pub fn len(&self) -> usize {
        self.tasks.len()
    }

    pub fn is_empty(&self) -> bool {
        self.tasks.is_empty()
    }

    /// Makes a program known. Its bytes are the driver's; they are asked for by `Upload`.
    pub fn program(&mut self, program: Program, memory: u64) -> ProgramId {
        let same = |queue: &Queue| queue.program == program && queue.memory == memory;
        if let Some(at) = self.programs.iter().position(same) {
            return ProgramId(at as u32);
        }
        let (tasks, refused, refusals, spread) = (VecDeque::new(), None, 0, None);
        self.programs.push(Queue { program, memory, tasks, refused, refusals, spread });
        ProgramId(self.programs.len() as u32 - 1)
    }

    /// Says how many bytes a program has; from `PASS_ON_MIN` on, nodes pass them on to each other.
    pub fn weigh(&mut self, program: ProgramId, length: u64) {
        let spread = &mut self.programs[program.0 as usize].spread;
        if length >= PASS_ON_MIN && spread.is_none() {
            *spread = Some(Spread::new(length));
        }
    }

    /// Takes a task.
    pub fn submit(
        &mut self,
        now: Time,
        job: JobKey,
        program: ProgramId,
        input: Payload,
        terms: Terms,
    ) -> TaskId {
        self.now = now;
        let task = Task {
            job,
            number: self.jobs.submitted(now, job),
            since: now,
            queued: Span(0),
            program: program.0,
            input,
            deadline: terms.deadline,
            retries: terms.retries,
            attempt: 1,
            kills: 0,
            epoch: 0,
            place: Place::Queued,
            cancelled: false,
        };
        let id = TaskId(self.tasks.insert(task) as u32);
        // Where its program is refused it ends with the next tick and not here: its caller does not know
        // its name yet.
        self.enqueue(id, VecDeque::push_back);
        self.pump();
        id
    }

    pub fn handle(&mut self, now: Time, event: Event) {
        self.now = now;
        match event {
            Event::NodeUp { link, name, slots } => {
                self.node_down(now, link);
                self.lonely = None;
                let at = link.0 as usize;
                if self.nodes.len() <= at {
                    self.nodes.resize_with(at + 1, || None);
                }
                self.up += 1;
                self.taking += 1;
                self.nodes[at] = Some(Node::new(name, slots));
                self.jobs.tell_all(now);
            }
            Event::NodeLeaving { link } => {
                self.retire(link);
                self.refusal_due = true;
                self.spread_without(now, link);
                // Whatever it has not begun can begin elsewhere. The node waits for this, since it
                // also says that no more tasks come.
                self.ask_back(link, u32::MAX);
            }
            Event::NodeDown { link } => self.node_down(now, link),
            Event::Message { link, channel, message } => self.message(now, link, channel, message),
            Event::Done { link, channel, status, ran, output, times } => {
                self.done(link, channel, (status, output), ran, times);
            }
            Event::Cancel { task } => self.cancel(task),
            Event::Tick => self.tick(now),
        }
        if std::mem::take(&mut self.refusal_due) {
            self.fail_refused();
        }
        self.pump();
        let worth_balancing = self.queued == 0 && self.up > 1 && !self.tasks.is_empty();
        if worth_balancing && self.next_take_back == Time::NEVER {
            self.next_take_back = now + TAKE_BACK_PERIOD;
        }
    }

    fn node(&mut self, link: LinkId) -> Option<&mut Node> {
        self.nodes.get_mut(link.0 as usize)?.as_mut()
    }

    fn message(&mut self, now: Time, link: LinkId, channel: u64, message: Message) {
        match message {
            Message::Credit(credit) => {
                if let Some(node) = self.node(link) {
                    node.limit = node.limit.max(credit.limit);
                    if node.standing == Standing::Out {
                        self.offer(link);
                    }
                }
            }
            Message::Returned(returned) => {
                if let Some(node) = self.node(link) {
                    node.asked_back = false;
                    node.dry = returned.channels.is_empty();
                }
                for channel in returned.channels {
                    self.returned(link, channel);
                }
            }
            Message::Known(known) => {
                let program = channel as usize;
                if self.expects(link, program, &known.hash, Stage::Asked) {
                    if known.here {
                        self.define(link, program);
                        self.spread(now, program);
                    } else if let Some(spread) = &mut self.programs[program].spread {
                        spread.want(now, link);
                        self.stage(link, program, Stage::Coming);
                        self.spread(now, program);
                    } else {
                        self.upload(link, program, known.hash);
                    }
                } else if !known.here {
                    self.cleared_away(now, link, &known.hash);
                }
            }
            Message::Stored(stored) => {
                let program = channel as usize;
                if self.expects(link, program, &stored.hash, Stage::Uploading) {
                    match stored.refused {
                        None => self.define(link, program),
                        Some(reason) => self.refuse(link, program, reason),
                    }
                    self.spread(now, program);
                }
            }
            Message::Lent(lent) => self.lent(now, link, channel, lent),
            Message::Fetched(fetched) => self.fetched(now, link, channel as usize, fetched),
            // Everything else is the driver's, or nonsense that costs nothing.
            _ => {}
        }
    }

    // Programs.

    fn expects(&mut self, link: LinkId, program: usize, hash: &Hash, stage: Stage) -> bool {
        let named = self.programs.get(program).map(|queue| &queue.program);
        let fits = matches!(named, Some(Program::Core { library, .. }) if library == hash);
        fits && self.node(link).is_some_and(|node| node.stage(program) == stage)
    }

    fn stage(&mut self, link: LinkId, program: usize, stage: Stage) {
        if let Some(node) = self.node(link) {
            node.set_stage(program, stage);
        }
    }

    /// The node has the program's bytes: it gets its number.
    fn define(&mut self, link: LinkId, program: usize) {
        let Queue { program: what, memory, .. } = &self.programs[program];
        let (what, memory) = (what.clone(), *memory);
        let Some(node) = self.node(link) else { return };
        if node.defined == PROGRAMS_MAX {
            let reason = format!("{PROGRAMS_MAX} programs are defined there already");
            return self.refuse(link, program, reason);
        }
        let number = node.defined;
        node.defined += 1;
        node.set_stage(program, Stage::Ready(number));
        if let Some(spread) = &mut self.programs[program].spread {
            spread.has(link);
        }
        let message = Message::Define(Define { number, program: what, memory });
        self.effects.push_back(Effect::Send { link, channel: 0, message });
        self.offer(link);
    }

    fn refuse(&mut self, link: LinkId, program: usize, reason: String) {
        let Some(node) = self.node(link) else { return };
        let counts = !node.leaving && node.stage(program) != Stage::Refused;
        node.set_stage(program, Stage::Refused);
        self.programs[program].refusals += u32::from(counts);
        if let Some(spread) = &mut self.programs[program].spread {
            spread.refuses(link);
        }
        self.programs[program].refused = Some(reason);
        self.refusal_due = true;
    }

    /// A node takes no more tasks: what it refused does not count any more.
    fn retire(&mut self, link: LinkId) {
        let Some(node) = self.nodes.get_mut(link.0 as usize).and_then(Option::as_mut) else {
            return;
        };
        if !std::mem::replace(&mut node.leaving, true) {
            self.taking -= 1;
            for program in node.refused() {
                self.programs[program].refusals -= 1;
            }
        }
    }

    fn is_refused(&self, program: usize) -> bool {
        self.taking > 0 && self.programs[program].refusals == self.taking
    }

    /// Where every node has refused a program, its tasks fail with the reason.
    fn fail_refused(&mut self) {
        for program in 0..self.programs.len() {
            if !self.is_refused(program) {
                continue;
            }
            let Some(reason) = self.programs[program].refused.clone() else { continue };
            for id in self.take_queue(program) {
                let status = Status::Refused { reason: reason.clone() };
                let end = End::Status { status, output: Payload::empty() };
                self.end(id, end, None, Span(0), Times::default());
            }
        }
    }

    /// A node may be able to do something: it gets a turn.
    fn offer(&mut self, link: LinkId) {
        self.turns += 1;
        let number = self.turns;
        let Some(node) = self.node(link) else { return };
        if node.has_credit() && node.standing != Standing::Offers {
            (node.standing, node.turn) = (Standing::Offers, number);
            self.offers.push_back(Turn { link, number });
            forget_old(&self.nodes, &mut self.offers);
        }
    }

    // Tasks.

    fn enqueue(&mut self, id: TaskId, put: fn(&mut VecDeque<TaskId>, TaskId)) {
        let program = self.tasks[id.0 as usize].program as usize;
        let queue = &mut self.programs[program].tasks;
        if queue.is_empty() {
            let at = self.waiting.partition_point(|&other| other < program);
            self.waiting.insert(at, program);
            self.overlooked = self.parked.len();
        }
        put(queue, id);
        self.queued += 1;
        // It may have been on its way while the last node refused its program.
        self.refusal_due |= self.is_refused(program);
    }

    /// Empties a program's queue.
    fn take_queue(&mut self, program: usize) -> VecDeque<TaskId> {
        let tasks = std::mem::take(&mut self.programs[program].tasks);
        self.queued -= tasks.len();
        self.waiting.retain(|&other| other != program);
        tasks
    }

    /// Sends queued tasks on credits, one node after the other. Each step sends something, or takes
    /// a node out of the list: however many nodes there are, a task costs the same.
    fn pump(&mut self) {
        while self.queued > 0 {
            let Some(turn) = self.next_turn() else { return };
            let link = turn.link;
            let Some(node) = self.nodes[link.0 as usize].as_mut() else { return };
            if !node.has_credit() {
                node.standing = Standing::Out;
                continue;
            }
            match next_program(&self.waiting, &self.programs, node) {
                Offer::Run { program, number } => {
                    node.standing = Standing::Offers;
                    self.offers.push_back(turn);
                    self.send(link, program, number);
                }
                Offer::Prepare { program, hash } => {
                    node.standing = Standing::Offers;
                    self.offers.push_back(turn);
                    node.set_stage(program, Stage::Asked);
                    let message = Message::Have(Have { hash });
                    let channel = program as u64;
                    self.effects.push_back(Effect::Send { link, channel, message });
                }
                Offer::Nothing => {
                    node.standing = Standing::Parked;
                    self.parked.push_back(turn);
                    forget_old(&self.nodes, &mut self.parked);
                }
            }
        }
    }

    /// The next node that may be able to do something.
    fn next_turn(&mut self) -> Option<Turn> {
        while let Some(turn) = self.offers.pop_front() {
            if counts(&self.nodes, &turn) {
                return Some(turn);
            }
        }
        while self.overlooked > 0 {
            self.overlooked -= 1;
            let turn = self.parked.pop_front()?;
            if counts(&self.nodes, &turn) {
                return Some(turn);
            }
        }
        None
    }

    fn send(&mut self, link: LinkId, program: usize, number: u32) {
        let queue = &mut self.programs[program].tasks;
        let Some(id) = queue.pop_front() else { return };
        if queue.is_empty() {
            self.waiting.retain(|&other| other != program);
        }
        self.queued -= 1;
        // 0 is for channels that are not tasks.
        self.epoch = self.epoch.wrapping_add(1).max(1);
        let Some(node) = self.nodes.get_mut(link.0 as usize).and_then(Option::as_mut) else {
            return;
        };
        let task = &mut self.tasks[id.0 as usize];
        task.place = Place::At(link, node.tasks.take(id));
        task.epoch = self.epoch;
        node.sent += 1;
        node.dry = false;
        task.queued = Span(task.queued.0 + self.now.since(task.since).0);
        task.since = self.now;
        self.jobs.step(self.now, task.job, Passage::Sent);
        self.effects.push_back(Effect::Run {
            link,
            channel: channel_of(id, task.epoch),
            program: number,
            attempt: task.attempt.into(),
            deadline: task.deadline,
            input: task.input.clone(),
            name: self.jobs.name(task.job, task.number),
        });
        for (moved, seat) in node.tasks.sweep() {
            self.tasks[moved.0 as usize].place = Place::At(link, seat);
        }
    }

    /// Takes the task of a channel out of its node's list, if it is this attempt's.
    fn leave(&mut self, link: LinkId, channel: u64) -> Option<TaskId> {
        let (id, epoch) = (TaskId(channel as u32), (channel >> 32) as u32);
        let task = self.tasks.get(id.0 as usize)?;
        let Place::At(at, seat) = task.place else { return None };
        if at != link || task.epoch != epoch {
            return None;
        }
        let node = self.nodes.get_mut(link.0 as usize)?.as_mut()?;
        node.tasks.leave(seat);
        Some(id)
    }

    fn done(
        &mut self,
        link: LinkId,
        channel: u64,
        (status, output): (Status, Payload),
        ran: Span,
        times: Times,
    ) {
        let Some(id) = self.leave(link, channel) else { return };
        let program = self.tasks[id.0 as usize].program as usize;
        let Some(node) = self.node(link) else { return };
        node.learn(ran);
        if matches!(status, Status::Finished { .. }) {
            node.used(program);
        } else {
            // Where a worker died, tasks may have come back from it.
            node.dry = false;
        }
        let name = node.name.clone();
        let task = &mut self.tasks[id.0 as usize];
        let may_retry = match status {
            Status::Crashed { .. } | Status::Exited { .. } => {
                task.kills += 1;
                u32::from(task.kills) < POISON_KILLS
            }
            Status::WorkerLost { .. } => true,
            Status::Finished { .. }
            | Status::OutOfMemory { .. }
            | Status::TimeLimit { .. }
            | Status::Cancelled
            | Status::Refused { .. }
            | Status::Broken { .. } => false,
        };
        let end = End::Status { status, output };
        if may_retry && self.may_retry(id) {
            return self.retry(id, end, name, ran, times);
        }
        self.end(id, end, Some(name), ran, times);
    }

    /// Time at a node where it did not begin is time in the queue.
    fn requeue(&mut self, id: TaskId) {
        let task = &mut self.tasks[id.0 as usize];
        task.place = Place::Queued;
        task.queued = Span(task.queued.0 + self.now.since(task.since).0);
        task.since = self.now;
        self.jobs.step(self.now, task.job, Passage::Requeued);
        self.enqueue(id, VecDeque::push_front);
    }

    /// Never started over there: not an attempt.
    fn returned(&mut self, link: LinkId, channel: u64) {
        let Some(id) = self.leave(link, channel) else { return };
        if self.tasks[id.0 as usize].cancelled {
            return self.end(id, End::cancelled(), None, Span(0), Times::default());
        }
        self.requeue(id);
    }

    fn end(&mut self, id: TaskId, end: End, node: Option<Arc<Name>>, ran: Span, times: Times) {
        let success = matches!(&end, End::Status { status, .. } if status.is_success());
        let outcome = self.outcome(id, end, node, ran, times);
        let task = self.tasks.remove(id.0 as usize);
        self.job_ended(task.job, task.place == Place::Queued, success);
        self.effects.push_back(Effect::Ended { task: id, outcome });
    }

    fn cancel(&mut self, id: TaskId) {
        let Some(task) = self.tasks.get_mut(id.0 as usize) else { return };
        match task.place {
            Place::At(..) if task.cancelled => {}
            Place::At(link, _) => {
                task.cancelled = true;
                let channel = channel_of(id, task.epoch);
                let message = Message::Cancel;
                self.effects.push_back(Effect::Send { link, channel, message });
            }
            Place::Queued => {
                let program = task.program as usize;
                let queue = &mut self.programs[program].tasks;
                if let Some(at) = find(queue, id) {
                    queue.remove(at);
                    self.queued -= 1;
                }
                if queue.is_empty() {
                    self.waiting.retain(|&other| other != program);
                }
                self.end(id, End::cancelled(), None, Span(0), Times::default());
            }
        }
    }

    /// Cancels everything at once; cheaper than one by one.
    pub fn cancel_all(&mut self) {
        let ids: Vec<TaskId> = self.tasks.iter().map(|(id, _)| TaskId(id as u32)).collect();
        for program in std::mem::take(&mut self.waiting) {
            self.programs[program].tasks.clear();
        }
        self.queued = 0;
        for id in ids {
            let task = &self.tasks[id.0 as usize];
            match task.place {
                Place::At(..) => self.cancel(id),
                Place::Queued => {
                    self.end(id, End::cancelled(), None, Span(0), Times::default());
                }
            }
        }
    }

    // Nodes.

    fn node_down(&mut self, now: Time, link: LinkId) {
        self.retire(link);
        let Some(node) = self.nodes.get_mut(link.0 as usize).and_then(Option::take) else {
            return;
        };
        // Those that are left may all have refused what this one took.
        self.refusal_due = true;
        self.spread_without(now, link);
        self.up -= 1;
        if self.up == 0 {
            self.lonely = Some(now);
        }
        // The last first, since each goes to the front of its queue.
        for id in node.tasks.into_tasks().rev() {
            let (name, times) = (node.name.clone(), Times::default());
            if self.tasks[id.0 as usize].cancelled {
                self.end(id, End::cancelled(), Some(name), Span(0), times);
            } else if self.may_retry(id) {
                self.retry(id, End::NodeLost, name, Span(0), times);
            } else {
                self.end(id, End::NodeLost, Some(name), Span(0), times);
            }
        }
    }

    fn tick(&mut self, now: Time) {
        if let Some(since) = self.lonely
            && self.queued > 0
            && now >= since + LONELY_MAX
        {
            for program in 0..self.programs.len() {
                for id in self.take_queue(program) {
                    self.end(id, End::NoNode, None, Span(0), Times::default());
                }
            }
        }
        if now >= self.spread_due {
            self.spread_late(now);
        }
        self.tell_jobs(now);
        if now >= self.next_take_back {
            self.next_take_back = Time::NEVER;
            self.balance(now);
        }
    }

    fn ask_back(&mut self, link: LinkId, count: u32) {
        let Some(node) = self.node(link) else { return };
        node.asked_back = true;
        let message = Message::TakeBack(TakeBack { count });
        self.effects.push_back(Effect::Send { link, channel: 0, message });
    }
}

fn channel_of(id: TaskId, epoch: u32) -> u64 {
    u64::from(epoch) << 32 | u64::from(id.0)
}

fn counts(nodes: &[Option<Node>], turn: &Turn) -> bool {
    let node = nodes.get(turn.link.0 as usize).and_then(Option::as_ref);
    node.is_some_and(|node| node.turn == turn.number)
}

/// Turns that do not count any more go when they are half of all.
fn forget_old(nodes: &[Option<Node>], turns: &mut VecDeque<Turn>) {
    if turns.len() > 2 * nodes.len() {
        turns.retain(|turn| counts(nodes, turn));
    }
}

/// Where a task is in its queue. Those that are cancelled are mostly the first ones or the last.
fn find(queue: &VecDeque<TaskId>, id: TaskId) -> Option<usize> {
    let mut pairs = queue.iter().zip(queue.iter().rev()).enumerate();
    pairs.find_map(|(at, (&front, &back))| match (front == id, back == id) {
        (true, _) => Some(at),
        (_, true) => Some(queue.len() - 1 - at),
        _ => None,
    })
}

/// What a node with a credit can do: a task of a program that is ready there, or getting one ready.
/// Of the programs with tasks each has its turn.
fn next_program(waiting: &[usize], programs: &[Queue], node: &mut Node) -> Offer {
    let first = waiting.partition_point(|&program| program < node.next_program);
    for &program in waiting[first..].iter().chain(&waiting[..first]) {
        match node.stage(program) {
            Stage::Ready(number) => {
                node.next_program = program + 1;
                return Offer::Run { program, number };
            }
            Stage::Unknown => {
                let Program::Core { library, .. } = &programs[program].program;
                return Offer::Prepare { program, hash: *library };
            }
            Stage::Asked | Stage::Coming | Stage::Uploading | Stage::Refused => {}
        }
    }
    Offer::Nothing
}

#[cfg(test)]
mod tests;
