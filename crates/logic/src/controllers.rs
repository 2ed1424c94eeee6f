//! Decides what becomes of the requests of controllers: peers that speak the worker socket protocol
//! of version 1 (`wire::worker_v1`).
//!
//! ```text
//!  requests, in order --> queue: [answered][at slots ..][waits for credit, or for its core ..]
//!                           |
//!                           +--> answers, in the same order, whatever ended first
//! ```
//!
//! A controller is a user of the node like any other: its jobs are tasks, and go to `slots` on
//! credits. Its core is loaded by a worker that is bound to it, so that all jobs meet the same
//! one. A core replaces another only when all jobs before it are answered and the old one is gone;
//! one that cannot be loaded leaves none. What is read ahead has its bound, and nothing runs for a
//! peer that leaves its answers unread.
//!
//! Elsewhere: bytes and their order (`node`'s driver), workers and fairness (`slots`).

use std::collections::VecDeque;

use wire::limits::{AHEAD_MAX, PROGRAM_NAME_MAX, READ_AHEAD};
use wire::name::Hash;
use wire::task::{Program, Status};
use wire::units::Span;
use wire::worker_v1::VERSION;

use crate::slots::{Bound, Finished};
use crate::{BufferId, LinkId, Payload};

/// Jobs at `slots` before anything is known of them. It doubles with each small output.
const WINDOW: u32 = 8;
/// Jobs at `slots` while outputs are large: the next one is ready when one ends.
const WINDOW_LARGE: u32 = 2;

/// What all controllers of a node are held to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// Memory of a core in bytes; 0 is no limit.
    pub memory: u64,
    /// How long a job may run, and a core may load; 0 is no limit.
    pub time: Span,
}

/// What a controller asked for. `weight`: what it counts of `READ_AHEAD` until it is answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    pub id: u64,
    pub weight: u64,
    pub request: Request,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    Version(u32),
    /// The driver keeps the library under this binding's name until `Forget`.
    Core {
        name: String,
        hash: Hash,
        bound: Bound,
    },
    Job {
        input: Payload,
    },
    /// A version exchange that says no version.
    NoVersion {
        reason: String,
    },
    /// It cannot be understood or carried out, for this reason; the next one may be.
    Nonsense {
        reason: String,
    },
    /// It is not even read to its end.
    TooLong {
        reason: String,
    },
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    Asked(Asked),
    /// It has no more to say, and listens.
    HalfClosed,
    /// It leaves too many answers unread, or no longer.
    Stuffed(bool),
}

/// How a request is answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    Version { accepted: bool },
    Loaded,
    Result { code: i32, output: Payload },
    Error(String),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    Reply {
        link: LinkId,
        id: u64,
        answer: Answer,
    },
    /// There is room for more: look again at what it sent.
    Listen {
        link: LinkId,
    },
    /// Send what is queued, end our side, wait for its end, close.
    Finish {
        link: LinkId,
    },
    /// A library is not needed any more.
    Forget {
        bound: Bound,
    },
    // For `slots`.
    Bind {
        link: LinkId,
        bound: Bound,
        program: Program,
    },
    Unbind {
        link: LinkId,
    },
    Run {
        link: LinkId,
        channel: u64,
        input: Payload,
    },
    Release {
        buffer: BufferId,
    },
}

/// What the driver is to do with what a controller sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Appetite {
    /// Read it.
    Hungry,
    /// Leave it where it is until `Listen`.
    Full,
    /// Drop it: nothing of it matters any more.
    Done,
}

#[derive(Debug)]
struct Controller {
    stage: Stage,
    /// Requests that are not answered yet, in their order.
    queue: VecDeque<Entry>,
    /// How many at the front are answered, or at `slots`.
    begun: usize,
    core: Core,
    /// Jobs given to `slots`: the next one's channel.
    sent: u64,
    /// How many may be given, by credit.
    limit: u64,
    running: u32,
    window: u32,
    weight: u64,
    stuffed: bool,
    /// The driver was told to leave what comes where it is.
    waits: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Versions were not exchanged.
    New,
    Open,
    /// Nothing more is heard; what was asked is answered.
    Ending,
    Finished,
}

#[derive(Debug)]
struct Entry {
    id: u64,
    weight: u64,
    state: State,
}

#[derive(Debug)]
enum State {
    Core { program: Program, bound: Bound },
    Job { input: Payload },
    Running { channel: u64 },
    Answered(Answer),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Core {
    None,
    Loading { bound: Bound },
    Loaded { bound: Bound },
    Unloading { bound: Bound },
}

/// All controllers of a node, by their links. After each call drain `poll_effect`.
#[derive(Debug, Default)]
pub struct Controllers {
    table: Vec<Option<Controller>>,
    effects: VecDeque<Effect>,
}

impl Controllers {
    pub fn poll_effect(&mut self) -> Option<Effect> {
        self.effects.pop_front()
    }

    /// Whether every effect was drained.
    pub fn is_settled(&self) -> bool {
        self.effects.is_empty()
    }

    pub fn has(&self, link: LinkId) -> bool {
        matches!(self.table.get(link.0 as usize), Some(Some(_)))
    }

    /// Whether nobody waits for an answer.
    pub fn is_idle(&self) -> bool {
        let mut all = self.table.iter().flatten();
        all.all(|controller| controller.stage == Stage::Finished || controller.queue.is_empty())
    }

    pub fn link_up(&mut self, link: LinkId) {
        let at = link.0 as usize;
        if self.table.len() <= at {
            self.table.resize_with(at + 1, || None);
        }
        self.table[at] = Some(Controller {
            stage: Stage::New,
            queue: VecDeque::new(),
            begun: 0,
            core: Core::None,
            sent: 0,
            limit: 0,
            running: 0,
            window: WINDOW,
            weight: 0,
            stuffed: false,
            waits: false,
        });
    }

    /// The connection is gone; `slots` hears of it by itself, the driver drops its libraries. What was
    /// decided for it is not done any more: its number may be another's by then.
    pub fn link_down(&mut self, link: LinkId) {
        let Some(gone) = self.table.get_mut(link.0 as usize).and_then(Option::take) else { return };
        for effect in std::mem::take(&mut self.effects) {
            match effect {
                Effect::Reply { link: of, answer: Answer::Result { output, .. }, .. }
                    if of == link =>
                {
                    self.release(&output);
                }
                Effect::Run { link: of, input, .. } if of == link => self.release(&input),
                Effect::Reply { link: of, .. }
                | Effect::Listen { link: of }
                | Effect::Finish { link: of }
                | Effect::Bind { link: of, .. }
                | Effect::Unbind { link: of }
                    if of == link => {}
                other => self.effects.push_back(other),
            }
        }
        for entry in gone.queue {
            match entry.state {
                State::Job { input } => self.release(&input),
                State::Answered(Answer::Result { output, .. }) => self.release(&output),
                State::Answered(_) | State::Running { .. } | State::Core { .. } => {}
            }
        }
    }

    pub fn handle(&mut self, link: LinkId, event: Event) {
        let Some(Some(controller)) = self.table.get_mut(link.0 as usize) else {
            if let Event::Asked(Asked { request: Request::Job { input }, .. }) = event {
                self.release(&input);
            }
            return;
        };
        match event {
            Event::Asked(asked) => controller.take(asked, &mut self.effects),
            Event::HalfClosed => controller.end(),
            Event::Stuffed(stuffed) => controller.stuffed = stuffed,
        }
        self.advance(link);
    }

    /// Whether versions were exchanged: until then no payload is of use.
    pub fn is_open(&self, link: LinkId) -> bool {
        let controller = self.table.get(link.0 as usize).and_then(Option::as_ref);
        controller.is_some_and(|controller| controller.stage != Stage::New)
    }

    /// What to do with what a controller sends.
    pub fn appetite(&mut self, link: LinkId) -> Appetite {
        let Some(controller) = self.get_mut(link) else { return Appetite::Done };
        let appetite = controller.appetite();
        controller.waits = appetite == Appetite::Full;
        appetite
    }

    // What `slots` says.

    pub fn credit(&mut self, link: LinkId, limit: u64) {
        if let Some(controller) = self.get_mut(link) {
            controller.limit = limit;
            self.advance(link);
        }
    }

    /// A bound worker has loaded its core, or says why it cannot.
    pub fn bound(&mut self, link: LinkId, bound: Bound, result: Result<(), String>) {
        let Some(controller) = self.get_mut(link) else { return };
        if controller.core != (Core::Loading { bound }) {
            return;
        }
        // It was loaded when everything before it was answered.
        let Some(entry) = controller.queue.front_mut() else { return };
        match result {
            Ok(()) => {
                entry.state = State::Answered(Answer::Loaded);
                controller.core = Core::Loaded { bound };
            }
            Err(reason) => {
                entry.state = State::Answered(Answer::Error(reason));
                controller.core = Core::None;
                self.effects.extend([Effect::Unbind { link }, Effect::Forget { bound }]);
            }
        }
        self.advance(link);
    }

    /// A bound worker is gone, as was asked for.
    pub fn unbound(&mut self, link: LinkId, bound: Bound) {
        let Some(controller) = self.get_mut(link) else { return };
        if controller.core == (Core::Unloading { bound }) {
            controller.core = Core::None;
            self.effects.push_back(Effect::Forget { bound });
            self.advance(link);
        }
    }

    pub fn done(&mut self, link: LinkId, channel: u64, finished: Finished) {
        let Some(controller) = self.get_mut(link) else { return self.release(&finished.output) };
        let of_job = |entry: &&mut Entry| matches!(entry.state, State::Running { channel: c } if c == channel);
        let Some(entry) = controller.queue.iter_mut().find(of_job) else {
            return self.release(&finished.output);
        };
        controller.running -= 1;
        controller.window = match finished.output {
            Payload::Buffer { .. } => WINDOW_LARGE,
            Payload::Inline(_) | Payload::Stream => (controller.window * 2).min(AHEAD_MAX),
        };
        // Only a result has an output that is sent.
        let unsent = match (&finished.status, &finished.output) {
            (Status::Finished { .. }, _) => None,
            (_, Payload::Buffer { buffer, .. }) => Some(*buffer),
            (_, Payload::Inline(_) | Payload::Stream) => None,
        };
        entry.state = State::Answered(answer(finished));
        self.effects.extend(unsent.map(|buffer| Effect::Release { buffer }));
        self.advance(link);
    }

    /// The node stops: what has begun is finished, the rest is refused.
    pub fn leave(&mut self) {
        for at in 0..self.table.len() {
            let Some(controller) = &mut self.table[at] else { continue };
            controller.end();
            let loading = matches!(controller.core, Core::Loading { .. });
            let begun = controller.begun + usize::from(loading);
            for entry in controller.queue.iter_mut().skip(begun) {
                match &entry.state {
                    State::Job { input: Payload::Buffer { buffer, .. } } => {
                        self.effects.push_back(Effect::Release { buffer: *buffer });
                    }
                    State::Core { bound, .. } => {
                        self.effects.push_back(Effect::Forget { bound: *bound });
                    }
                    State::Job { .. } => {}
                    State::Running { .. } | State::Answered(_) => continue,
                }
                let stopping = "this node is stopping; try another one".to_owned();
                entry.state = State::Answered(Answer::Error(stopping));
            }
            self.advance(LinkId(at as u32));
        }
    }

    // What follows.

    fn get_mut(&mut self, link: LinkId) -> Option<&mut Controller> {
        self.table.get_mut(link.0 as usize)?.as_mut()
    }

    fn release(&mut self, payload: &Payload) {
        if let Payload::Buffer { buffer, .. } = *payload {
            self.effects.push_back(Effect::Release { buffer });
        }
    }

    /// Answers and begins whatever can be.
    fn advance(&mut self, link: LinkId) {
        let Some(Some(controller)) = self.table.get_mut(link.0 as usize) else { return };
        while controller.step(link, &mut self.effects) {}
        if controller.stage == Stage::Ending && controller.queue.is_empty() {
            controller.stage = Stage::Finished;
            if let Core::Loaded { bound } = controller.core {
                controller.core = Core::Unloading { bound };
                self.effects.push_back(Effect::Unbind { link });
            }
            self.effects.push_back(Effect::Finish { link });
        }
        if controller.waits && controller.appetite() != Appetite::Full {
            controller.waits = false;
            self.effects.push_back(Effect::Listen { link });
        }
    }
}

impl Controller {
    fn appetite(&self) -> Appetite {
        match self.stage {
            Stage::Ending | Stage::Finished => Appetite::Done,
            Stage::New | Stage::Open if self.stuffed || self.weight >= READ_AHEAD => Appetite::Full,
            Stage::New | Stage::Open => Appetite::Hungry,
        }
    }

    fn end(&mut self) {
        if matches!(self.stage, Stage::New | Stage::Open) {
            self.stage = Stage::Ending;
        }
    }

    /// Puts a request into its place.
    fn take(&mut self, asked: Asked, effects: &mut VecDeque<Effect>) {
        let Asked { id, weight, request } = asked;
        let is_new = self.stage == Stage::New;
        let first = || Answer::Error("version exchange required".to_owned());
        let state = match request {
            // The driver should not have asked.
            Request::Job { input: Payload::Buffer { buffer, .. } }
                if is_new || matches!(self.stage, Stage::Ending | Stage::Finished) =>
            {
                effects.push_back(Effect::Release { buffer });
                State::Answered(first())
            }
            Request::Core { bound, .. } if is_new => {
                effects.push_back(Effect::Forget { bound });
                State::Answered(first())
            }
            Request::Version(VERSION) => {
                if is_new {
                    self.stage = Stage::Open;
                }
                State::Answered(Answer::Version { accepted: true })
            }
            Request::Version(_) => {
                self.end();
                State::Answered(Answer::Version { accepted: false })
            }
            Request::TooLong { reason } => {
                self.end();
                State::Answered(Answer::Error(reason))
            }
            Request::Job { .. } | Request::Nonsense { .. } if is_new => State::Answered(first()),
            Request::Nonsense { reason } | Request::NoVersion { reason } => {
                State::Answered(Answer::Error(reason))
            }
            Request::Job { input } => State::Job { input },
            Request::Core { mut name, hash, bound } => {
                name.truncate(name.floor_char_boundary(PROGRAM_NAME_MAX));
                State::Core { program: Program::Core { library: hash, name }, bound }
            }
        };
        self.weight += weight;
        self.queue.push_back(Entry { id, weight, state });
    }

    /// One answer, or one request begun. `false`: there is nothing to be done now.
    fn step(&mut self, link: LinkId, effects: &mut VecDeque<Effect>) -> bool {
        if let Some(Entry { state: State::Answered(_), .. }) = self.queue.front()
            && let Some(Entry { id, weight, state: State::Answered(answer) }) =
                self.queue.pop_front()
        {
            self.begun = self.begun.saturating_sub(1);
            self.weight -= weight;
            effects.push_back(Effect::Reply { link, id, answer });
            return true;
        }
        let Some(entry) = self.queue.get_mut(self.begun) else { return false };
        match (&mut entry.state, self.core) {
            (State::Answered(_) | State::Running { .. }, _) => self.begun += 1,
            (State::Job { input }, Core::None) => {
                if let Payload::Buffer { buffer, .. } = *input {
                    effects.push_back(Effect::Release { buffer });
                }
                let none = "no compute core loaded".to_owned();
                entry.state = State::Answered(Answer::Error(none));
            }
            (State::Job { input }, Core::Loaded { .. }) => {
                let room = self.running < self.window && self.sent < self.limit;
                if !room || self.stuffed {
                    return false;
                }
                let (channel, input) = (self.sent, std::mem::replace(input, Payload::empty()));
                entry.state = State::Running { channel };
                effects.push_back(Effect::Run { link, channel, input });
                self.sent += 1;
                self.running += 1;
                self.begun += 1;
            }
            // Jobs before it are not answered yet.
            (State::Core { .. }, _) if self.begun > 0 => return false,
            (State::Core { .. }, Core::Loaded { bound }) => {
                self.core = Core::Unloading { bound };
                effects.push_back(Effect::Unbind { link });
            }
            (State::Core { program, bound }, Core::None) => {
                let (program, bound) = (program.clone(), *bound);
                self.core = Core::Loading { bound };
                effects.push_back(Effect::Bind { link, bound, program });
            }
            (_, Core::Loading { .. } | Core::Unloading { .. }) => return false,
        }
        true
    }
}

/// What is said of a job's end: only what the core itself says is a success.
fn answer(finished: Finished) -> Answer {
    let words = |what: String, stderr: &str| match stderr.trim_end() {
        "" => what,
        words => format!("{what}; its last words: {words}"),
    };
    Answer::Error(match finished.status {
        Status::Finished { code } => return Answer::Result { code, output: finished.output },
        Status::Crashed { signal, stderr } => {
            words(format!("compute core crashed: signal {signal}"), &stderr)
        }
        Status::Exited { code, stderr } => {
            words(format!("compute core exited: code {code}"), &stderr)
        }
        Status::OutOfMemory { peak, limit } => {
            format!("compute core ran out of memory: peak {peak} bytes, limit {limit} bytes")
        }
        Status::TimeLimit { limit } => format!("compute core timed out after {limit}"),
        Status::Cancelled => "the job was cancelled".to_owned(),
        Status::Refused { reason } => format!("compute core could not be loaded again: {reason}"),
        Status::Broken { reason } => format!("compute core broke its contract: {reason}"),
        Status::WorkerLost { reason } => format!("the job was lost: {reason}"),
    })
}

#[cfg(test)]
mod tests;
