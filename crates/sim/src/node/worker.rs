//! A pretended worker: loads its program after a while, runs tasks in order, dies.
//!
//! Like a real one it counts in its progress page what it has begun, and holds finished results
//! back for a fuller batch. Its words reach the node through a pipe, and so does the news of its
//! end; the page can be read at any time.

use std::collections::VecDeque;

use bytes::Bytes;
use logic::Exit;
use wire::task::Status;
use wire::units::{Span, Time};
use wire::worker::HOLD_BACK;

use crate::judge::{output_of, task_of};
use crate::net::{Net, What};
use crate::plan::{Deed, Make};
use crate::trace::Line;

/// How long words take to the node, and tasks to the worker.
const PIPE: Span = Span::from_micros(8);
/// Results held back at most.
const HELD_MAX: usize = 8;

/// A result, before the node has a buffer for it.
#[derive(Clone, Debug)]
pub(super) struct Result {
    pub(super) sequence: u64,
    pub(super) status: Status,
    pub(super) ran: Span,
    pub(super) output: Bytes,
    pub(super) bulk: bool,
    pub(super) began: Time,
}

#[derive(Debug)]
pub(super) enum Word {
    Ready(std::result::Result<(), String>),
    Result(Result),
}

#[derive(Debug)]
struct Given {
    sequence: u64,
    attempt: u32,
    input: Bytes,
    from: Time,
}

#[derive(Debug)]
enum Phase {
    Loading,
    Idle,
    Running { given: Given, until: Time, then: Then },
    Dead,
}

#[derive(Clone, Copy, Debug)]
enum Then {
    Finish { code: i32 },
    Die(Exit),
}

#[derive(Debug)]
pub(super) struct Worker {
    node: usize,
    number: u32,
    pub(super) birth: u64,
    make: Make,
    phase: Phase,
    given: VecDeque<Given>,
    /// The progress page.
    pub(super) started: u64,
    pub(super) since: Time,
    held: Vec<Result>,
    flush: Time,
    /// In the pipe, readable from then on.
    words: VecDeque<(Time, Word)>,
    exit: Option<(Time, Exit)>,
    /// The node has decided to kill it.
    doomed: Option<Time>,
    /// Results that the node has taken.
    pub(super) taken: u64,
    peak: u64,
    pub(super) slowness: u64,
}

impl Worker {
    pub(super) fn start(
        net: &mut Net,
        node: usize,
        number: u32,
        make: Make,
        slowness: u64,
    ) -> Self {
        let birth = net.birth();
        let load = Span(Span::from_micros(300 + net.random.below(8000)).0 * slowness);
        net.after(load, What::Step { node, worker: number, birth });
        net.note(Line::Born { node, worker: number });
        Self {
            node,
            number,
            birth,
            make,
            phase: Phase::Loading,
            given: VecDeque::new(),
            started: 0,
            since: Time(0),
            held: Vec::new(),
            flush: Time::NEVER,
            words: VecDeque::new(),
            exit: None,
            doomed: None,
            taken: 0,
            peak: 1 << 20,
            slowness,
        }
    }

    pub(super) fn is_running(&self) -> bool {
        matches!(self.phase, Phase::Running { .. })
    }

    pub(super) fn peak(&self) -> u64 {
        self.peak
    }

    pub(super) fn give(&mut self, net: &mut Net, sequence: u64, attempt: u32, input: Bytes) {
        let from = net.now + PIPE;
        self.given.push_back(Given { sequence, attempt, input, from });
        self.step_at(net, from);
    }

    /// SIGKILL is on its way; the worker may get a little further.
    pub(super) fn kill(&mut self, net: &mut Net) {
        let at = net.now + Span(net.random.below(60_000));
        self.doomed = Some(self.doomed.map_or(at, |old| old.min(at)));
        net.note(Line::Killed { node: self.node, worker: self.number });
        self.step_at(net, at);
    }

    /// It dies of something else, now.
    pub(super) fn crash(&mut self, net: &mut Net, exit: Exit) {
        if !matches!(self.phase, Phase::Dead) {
            self.phase = Phase::Dead;
            let at = net.now + Span(net.random.below(50_000));
            self.exit = Some((at, exit));
            net.note(Line::Died { node: self.node, worker: self.number, started: self.started });
            self.listen_at(net, at);
        }
    }

    fn step_at(&self, net: &mut Net, at: Time) {
        net.at(at, What::Step { node: self.node, worker: self.number, birth: self.birth });
    }

    fn listen_at(&self, net: &mut Net, at: Time) {
        net.at(at, What::Listen { node: self.node, worker: self.number, birth: self.birth });
    }

    fn say(&mut self, net: &mut Net, word: Word) {
        let at = net.now + PIPE;
        self.words.push_back((at, word));
        self.listen_at(net, at);
    }

    pub(super) fn step(&mut self, net: &mut Net) {
        if self.doomed.is_some_and(|at| at <= net.now) {
            return self.crash(net, Exit::Signal(9));
        }
        match std::mem::replace(&mut self.phase, Phase::Idle) {
            Phase::Dead => self.phase = Phase::Dead,
            Phase::Loading => self.load(net),
            Phase::Idle => self.next(net),
            Phase::Running { given, until, then } if until > net.now => {
                self.phase = Phase::Running { given, until, then };
            }
            Phase::Running { given, then, .. } => match then {
                Then::Finish { code } => {
                    self.finish(net, &given, code);
                    self.next(net);
                }
                Then::Die(exit) => {
                    task_of(&given.input).into_iter().for_each(|t| net.judge.killed_its_worker(t));
                    self.crash(net, exit);
                }
            },
        }
        if self.flush <= net.now && !matches!(self.phase, Phase::Dead) {
            self.send_held(net);
        }
    }

    fn load(&mut self, net: &mut Net) {
        let stillborn = net.plan.stillborn;
        if net.random.per_mille(stillborn) {
            net.judge.excuses.unloadable = true;
            return self.crash(net, Exit::Signal(11));
        }
        net.note(Line::Ready { node: self.node, worker: self.number });
        let ready = match self.make {
            Make::Bad => Err("no such symbol".to_owned()),
            Make::Good | Make::Limited => Ok(()),
        };
        self.say(net, Word::Ready(ready));
    }

    fn next(&mut self, net: &mut Net) {
        let here = self.given.front().is_some_and(|given| given.from <= net.now);
        let Some(given) = self.given.pop_front_if(|_| here) else {
            self.since = Time(0);
            return self.send_held(net);
        };
        let Some(task) = task_of(&given.input) else {
            return net.judge.fail("a worker was given an input that nobody wrote".to_owned());
        };
        self.started += 1;
        self.since = net.now;
        net.note(Line::Begun {
            node: self.node,
            worker: self.number,
            task,
            attempt: given.attempt,
        });
        net.judge.begun(task, given.attempt);
        let Some(spec) = net.judge.spec(task) else { return };
        let crash = Then::Die(Exit::Signal(11));
        let (span, then) = match spec.deed {
            Deed::Work => (spec.time, Then::Finish { code: 0 }),
            Deed::Fail => (spec.time, Then::Finish { code: 7 }),
            Deed::Crash => (spec.time, crash),
            Deed::CrashOnce if given.attempt == 1 => (spec.time, crash),
            Deed::CrashOnce => (spec.time, Then::Finish { code: 0 }),
            Deed::Exit => (spec.time, Then::Die(Exit::Code(3))),
            Deed::Hang => (Span(u64::MAX), Then::Finish { code: 0 }),
            Deed::Leak => {
                self.peak = u64::MAX / 2;
                (Span(u64::MAX), Then::Finish { code: 0 })
            }
        };
        let until = net.now + Span(span.0.saturating_mul(self.slowness));
        self.phase = Phase::Running { given, until, then };
        if until != Time::NEVER {
            self.step_at(net, until);
        }
    }

    fn finish(&mut self, net: &mut Net, given: &Given, code: i32) {
        let began = self.since;
        let ran = net.now.since(began);
        self.since = Time(0);
        let bulk = task_of(&given.input).and_then(|task| net.judge.spec(task));
        self.held.push(Result {
            sequence: given.sequence,
            status: Status::Finished { code },
            ran,
            output: output_of(&given.input, given.attempt),
            bulk: bulk.is_some_and(|spec| spec.bulk),
            began,
        });
        if self.held.len() >= HELD_MAX || net.random.per_mille(200) {
            self.send_held(net);
        } else if self.flush == Time::NEVER {
            self.flush = net.now + HOLD_BACK;
            self.step_at(net, self.flush);
        }
    }

    fn send_held(&mut self, net: &mut Net) {
        self.flush = Time::NEVER;
        for result in std::mem::take(&mut self.held) {
            self.say(net, Word::Result(result));
        }
    }

    // The node's view.

    /// What has come through the pipe by now.
    pub(super) fn words(&mut self, now: Time) -> Vec<Word> {
        let mut words = Vec::new();
        while let Some((_, word)) = self.words.pop_front_if(|(at, _)| *at <= now) {
            words.push(word);
        }
        words
    }

    /// The results in the page: they will come through the pipe as well, if the worker lives.
    pub(super) fn page(&self) -> Vec<Result> {
        self.held.clone()
    }

    /// How it ended, once that is known; everything it ever said is readable then.
    pub(super) fn exit(&mut self, net: &mut Net) -> Option<Exit> {
        let (_, exit) = self.exit.filter(|(at, _)| *at <= net.now)?;
        self.words.iter_mut().for_each(|(at, _)| *at = net.now);
        let torn = net.plan.torn;
        if net.random.per_mille(torn) {
            self.held.clear();
        }
        net.judge.excuses.workers_died = true;
        Some(exit)
    }
}
