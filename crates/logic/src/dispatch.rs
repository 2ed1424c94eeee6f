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

mod nodes;

use std::collections::VecDeque;

use slab::Slab;
use wire::Message;
use wire::blob::Have;
use wire::limits::{ATTEMPTS_MAX, POISON_KILLS, PROGRAMS_MAX};
use wire::name::{Hash, Name};
use wire::task::{Define, Program, Status, TakeBack};
use wire::units::{Span, Time};

use crate::{LinkId, Payload};
use nodes::{Node, Offer, Stage};

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
/// Work that is worth taking back from a busy node for an idle one.
const WORTH_TAKING: Span = Span::from_millis(2);
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
}

/// How a task ended, at last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    pub end: End,
    pub attempt: u32,
    /// The node that had it last.
    pub node: Option<Name>,
    pub ran: Span,
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

#[derive(Debug)]
struct Task {
    program: u32,
    input: Payload,
    terms: Terms,
    attempt: u32,
    kills: u32,
    /// Raised with every attempt: the upper half of the channel, so that an old answer is known.
    epoch: u32,
    place: Place,
    cancelled: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Queued,
    At(LinkId),
}

#[derive(Debug)]
struct Queue {
    program: Program,
    memory: u64,
    tasks: VecDeque<TaskId>,
    /// Why a node would not store it.
    refused: Option<String>,
}

/// One client's tasks. After each call drain `poll_effect`, then sleep until `poll_timeout`.
#[derive(Debug)]
pub struct Dispatch {
    nodes: Vec<Option<Node>>,
    /// Nodes with a credit left, in turn.
    offers: VecDeque<LinkId>,
    tasks: Slab<Task>,
    programs: Vec<Queue>,
    queued: usize,
    /// Rises with every attempt sent.
    epoch: u32,
    /// Nodes that are up.
    up: u32,
    /// Tasks may have to fail because no node takes their program.
    refusal_due: bool,
    /// Since when there is no node at all.
    lonely: Option<Time>,
    next_take_back: Time,
    effects: VecDeque<Effect>,
}

impl Dispatch {
    pub fn new(now: Time) -> Self {
        Self {
            nodes: Vec::new(),
            offers: VecDeque::new(),
            tasks: Slab::new(),
            programs: Vec::new(),
            queued: 0,
            epoch: 0,
            up: 0,
            refusal_due: false,
            lonely: Some(now),
            next_take_back: Time::NEVER,
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
        lonely.min(self.next_take_back)
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
        self.programs.push(Queue { program, memory, tasks: VecDeque::new(), refused: None });
        ProgramId(self.programs.len() as u32 - 1)
    }

    /// Takes a task.
    pub fn submit(&mut self, program: ProgramId, input: Payload, terms: Terms) -> TaskId {
        let task = Task {
            program: program.0,
            input,
            terms,
            attempt: 1,
            kills: 0,
            epoch: 0,
            place: Place::Queued,
            cancelled: false,
        };
        let id = TaskId(self.tasks.insert(task) as u32);
        self.programs[program.0 as usize].tasks.push_back(id);
        self.queued += 1;
        if self.is_refused(program.0 as usize) {
            // It ends with the next tick and not here: its caller does not know its name yet.
            self.refusal_due = true;
        }
        self.pump();
        id
    }

    pub fn handle(&mut self, now: Time, event: Event) {
        match event {
            Event::NodeUp { link, name, slots } => {
                self.lonely = None;
                let at = link.0 as usize;
                if self.nodes.len() <= at {
                    self.nodes.resize_with(at + 1, || None);
                }
                self.up += u32::from(self.nodes[at].is_none());
                self.nodes[at] = Some(Node::new(name, slots));
            }
            Event::NodeLeaving { link } => {
                if let Some(node) = self.node(link) {
                    node.leaving = true;
                }
                self.refusal_due = true;
                // Whatever it has not begun can begin elsewhere. The node waits for this, since it
                // also says that no more tasks come.
                self.ask_back(link, u32::MAX);
            }
            Event::NodeDown { link } => self.node_down(now, link),
            Event::Message { link, channel, message } => self.message(link, channel, message),
            Event::Done { link, channel, status, ran, output } => {
                self.done(link, channel, status, ran, output);
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

    fn message(&mut self, link: LinkId, channel: u64, message: Message) {
        match message {
            Message::Credit(credit) => {
                if let Some(node) = self.node(link) {
                    node.limit = node.limit.max(credit.limit);
                    if !node.offering && node.has_credit() {
                        node.offering = true;
                        self.offers.push_back(link);
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
                    } else {
                        self.stage(link, program, Stage::Uploading);
                        self.effects.push_back(Effect::Upload { link, channel, hash: known.hash });
                    }
                }
            }
            Message::Stored(stored) => {
                let program = channel as usize;
                if self.expects(link, program, &stored.hash, Stage::Uploading) {
                    match stored.refused {
                        None => self.define(link, program),
                        Some(reason) => self.refuse(link, program, reason),
                    }
                }
            }
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
        let message = Message::Define(Define { number, program: what, memory });
        self.effects.push_back(Effect::Send { link, channel: 0, message });
        self.offer_again(link);
    }

    fn refuse(&mut self, link: LinkId, program: usize, reason: String) {
        self.stage(link, program, Stage::Refused);
        self.programs[program].refused = Some(reason);
        self.refusal_due = true;
    }

    fn is_refused(&self, program: usize) -> bool {
        let mut nodes = self.nodes.iter().flatten().filter(|node| !node.leaving).peekable();
        self.programs[program].refused.is_some()
            && nodes.peek().is_some()
            && nodes.all(|node| node.stage(program) == Stage::Refused)
    }

    /// Where every node has refused a program, its tasks fail with the reason.
    fn fail_refused(&mut self) {
        for program in 0..self.programs.len() {
            if !self.is_refused(program) {
                continue;
            }
            let Some(reason) = self.programs[program].refused.clone() else { continue };
            for id in std::mem::take(&mut self.programs[program].tasks) {
                self.queued -= 1;
                let status = Status::Refused { reason: reason.clone() };
                let end = End::Status { status, output: Payload::empty() };
                self.end(id, end, None, Span(0));
            }
        }
    }

    fn offer_again(&mut self, link: LinkId) {
        let Some(node) = self.node(link) else { return };
        if !node.offering && node.has_credit() {
            node.offering = true;
            self.offers.push_back(link);
        }
    }

    // Tasks.

    /// Sends queued tasks on credits, one node after the other.
    fn pump(&mut self) {
        let mut idle_turns = 0;
        while self.queued > 0 && idle_turns < self.offers.len() {
            let Some(link) = self.offers.pop_front() else { return };
            let Some(node) = self.nodes.get_mut(link.0 as usize).and_then(Option::as_mut) else {
                continue;
            };
            if !node.has_credit() {
                node.offering = false;
                continue;
            }
            match next_program(&mut self.programs, node) {
                Offer::Run { program, number } => {
                    self.offers.push_back(link);
                    idle_turns = 0;
                    self.send(link, program, number);
                }
                Offer::Prepare { program, hash } => {
                    self.offers.push_back(link);
                    node.set_stage(program, Stage::Asked);
                    let message = Message::Have(Have { hash });
                    let channel = program as u64;
                    self.effects.push_back(Effect::Send { link, channel, message });
                }
                Offer::Nothing => {
                    self.offers.push_back(link);
                    idle_turns += 1;
                }
            }
        }
    }

    fn send(&mut self, link: LinkId, program: usize, number: u32) {
        let Some(id) = self.programs[program].tasks.pop_front() else { return };
        self.queued -= 1;
        // 0 is for channels that are not tasks.
        self.epoch = self.epoch.wrapping_add(1).max(1);
        let task = &mut self.tasks[id.0 as usize];
        task.place = Place::At(link);
        task.epoch = self.epoch;
        self.effects.push_back(Effect::Run {
            link,
            channel: channel_of(id, task.epoch),
            program: number,
            attempt: task.attempt,
            deadline: task.terms.deadline,
            input: task.input.clone(),
        });
        if let Some(node) = self.node(link) {
            node.sent += 1;
            node.dry = false;
            node.busy += 1;
        }
    }

    /// The task of a channel, if it is this attempt's.
    fn task_at(&mut self, link: LinkId, channel: u64) -> Option<TaskId> {
        let (id, epoch) = (TaskId(channel as u32), (channel >> 32) as u32);
        let task = self.tasks.get(id.0 as usize)?;
        (task.epoch == epoch && task.place == Place::At(link)).then_some(id)
    }

    fn done(&mut self, link: LinkId, channel: u64, status: Status, ran: Span, output: Payload) {
        let Some(id) = self.task_at(link, channel) else { return };
        let Some(node) = self.nodes.get_mut(link.0 as usize).and_then(Option::as_mut) else {
            return;
        };
        node.busy -= 1;
        node.learn(ran);
        // Where a worker died, tasks may have come back from it.
        node.dry &= matches!(status, Status::Finished { .. });
        let name = node.name.clone();
        let task = &mut self.tasks[id.0 as usize];
        let may_retry = match status {
            Status::Crashed { .. } | Status::Exited { .. } => {
                task.kills += 1;
                task.kills < POISON_KILLS
            }
            Status::WorkerLost { .. } => true,
            Status::Finished { .. }
            | Status::OutOfMemory { .. }
            | Status::TimeLimit { .. }
            | Status::Cancelled
            | Status::Refused { .. }
            | Status::Broken { .. } => false,
        };
        if may_retry && self.retry(id) {
            return;
        }
        self.end(id, End::Status { status, output }, Some(name), ran);
    }

    /// Queues another attempt, first in line, if the task may have one.
    fn retry(&mut self, id: TaskId) -> bool {
        let task = &mut self.tasks[id.0 as usize];
        if task.cancelled || task.attempt > task.terms.retries || task.attempt >= ATTEMPTS_MAX {
            return false;
        }
        task.attempt += 1;
        self.requeue(id);
        true
    }

    fn requeue(&mut self, id: TaskId) {
        let task = &mut self.tasks[id.0 as usize];
        task.place = Place::Queued;
        self.programs[task.program as usize].tasks.push_front(id);
        self.queued += 1;
    }

    /// Never started over there: not an attempt.
    fn returned(&mut self, link: LinkId, channel: u64) {
        let Some(id) = self.task_at(link, channel) else { return };
        if let Some(node) = self.node(link) {
            node.busy -= 1;
        }
        if self.tasks[id.0 as usize].cancelled {
            return self.end(id, End::cancelled(), None, Span(0));
        }
        self.requeue(id);
    }

    fn end(&mut self, id: TaskId, end: End, node: Option<Name>, ran: Span) {
        let task = self.tasks.remove(id.0 as usize);
        let outcome = Outcome { end, attempt: task.attempt, node, ran };
        self.effects.push_back(Effect::Ended { task: id, outcome });
    }

    fn cancel(&mut self, id: TaskId) {
        let Some(task) = self.tasks.get_mut(id.0 as usize) else { return };
        match task.place {
            Place::At(_) if task.cancelled => {}
            Place::At(link) => {
                task.cancelled = true;
                let channel = channel_of(id, task.epoch);
                let message = Message::Cancel;
                self.effects.push_back(Effect::Send { link, channel, message });
            }
            Place::Queued => {
                // Those that are cancelled together are mostly the last ones.
                let queue = &mut self.programs[task.program as usize].tasks;
                if let Some(at) = queue.iter().rposition(|&other| other == id) {
                    queue.remove(at);
                }
                self.queued -= 1;
                self.end(id, End::cancelled(), None, Span(0));
            }
        }
    }

    /// Cancels everything at once; cheaper than one by one.
    pub fn cancel_all(&mut self) {
        let ids: Vec<TaskId> = self.tasks.iter().map(|(id, _)| TaskId(id as u32)).collect();
        for queue in &mut self.programs {
            queue.tasks.clear();
        }
        self.queued = 0;
        for id in ids {
            let task = &self.tasks[id.0 as usize];
            match task.place {
                Place::At(_) => self.cancel(id),
                Place::Queued => {
                    self.end(id, End::cancelled(), None, Span(0));
                }
            }
        }
    }

    // Nodes.

    fn node_down(&mut self, now: Time, link: LinkId) {
        let Some(node) = self.nodes.get_mut(link.0 as usize).and_then(Option::take) else { return };
        // Those that are left may all have refused what this one took.
        self.refusal_due = true;
        self.offers.retain(|&other| other != link);
        self.up -= 1;
        if self.up == 0 {
            self.lonely = Some(now);
        }
        if node.busy == 0 {
            return;
        }
        let there = |(id, task): (usize, &Task)| {
            (task.place == Place::At(link)).then_some(TaskId(id as u32))
        };
        let there: Vec<TaskId> = self.tasks.iter().filter_map(there).collect();
        for id in there {
            if self.tasks[id.0 as usize].cancelled {
                self.end(id, End::cancelled(), Some(node.name.clone()), Span(0));
            } else if !self.retry(id) {
                self.end(id, End::NodeLost, Some(node.name.clone()), Span(0));
            }
        }
    }

    fn tick(&mut self, now: Time) {
        if let Some(since) = self.lonely
            && self.queued > 0
            && now >= since + LONELY_MAX
        {
            for program in 0..self.programs.len() {
                for id in std::mem::take(&mut self.programs[program].tasks) {
                    self.queued -= 1;
                    self.end(id, End::NoNode, None, Span(0));
                }
            }
        }
        if now >= self.next_take_back {
            self.next_take_back = Time::NEVER;
            self.balance(now);
        }
    }

    /// The queue is empty: an idle node gets half of what the fullest has not begun.
    fn balance(&mut self, now: Time) {
        if self.queued > 0 || self.tasks.is_empty() || self.up < 2 {
            return;
        }
        self.next_take_back = now + TAKE_BACK_PERIOD;
        let nodes = || self.nodes.iter().enumerate().filter_map(|(at, n)| Some((at, n.as_ref()?)));
        let idle = nodes().any(|(_, node)| node.busy < node.slots && node.has_credit());
        let fullest = nodes().filter(|(_, node)| !node.asked_back && !node.dry);
        let fullest = fullest.max_by_key(|(_, n)| n.backlog());
        let Some((at, node)) = fullest else { return };
        if idle && node.backlog() >= WORTH_TAKING {
            let waiting = node.busy.saturating_sub(node.slots);
            self.take_back(LinkId(at as u32), waiting.div_ceil(2));
        }
    }

    fn take_back(&mut self, link: LinkId, count: u32) {
        if self.node(link).is_some_and(|node| node.busy > 0 && !node.asked_back) {
            self.ask_back(link, count);
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

/// What a node with a credit can do: a task of a program that is ready there, or getting one ready.
fn next_program(programs: &mut [Queue], node: &mut Node) -> Offer {
    let count = programs.len();
    for turn in 0..count {
        let program = (node.next_program + turn) % count;
        if programs[program].tasks.is_empty() {
            continue;
        }
        match node.stage(program) {
            Stage::Ready(number) => {
                node.next_program = program + 1;
                return Offer::Run { program, number };
            }
            Stage::Unknown => {
                let Program::Core { library, .. } = &programs[program].program;
                return Offer::Prepare { program, hash: *library };
            }
            Stage::Asked | Stage::Uploading | Stage::Refused => {}
        }
    }
    Offer::Nothing
}

#[cfg(test)]
mod tests;
