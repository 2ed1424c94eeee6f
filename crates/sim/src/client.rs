//! A pretended client around the real `logic::dispatch::Dispatch`, with one real `Link` per node.
//!
//! It dials, introduces itself, carries messages and payloads, puts a result and its payload
//! together, and dials again after a while when a link is down. Planted bugs spoil what passes
//! through here.

use std::collections::BTreeMap;

use bytes::{Bytes, BytesMut};
use logic::dispatch::{Dispatch, Effect, Event, JobKey, Outcome, ProgramId, TaskId, Terms};
use logic::link::{self, Link, Pass};
use logic::{LinkId, Payload};
use wire::blob::Put;
use wire::frame::{self, Frame};
use wire::hello::{Goodbye, Hello, Purpose, Welcome};
use wire::limits::{CONTROL_BODY_MAX, PASS_ON_MIN};
use wire::member::State;
use wire::name::{Hash, JobId, Name};
use wire::task::{Done, Input, Output, PAYLOAD_HEAD, PayloadHead, Program, Run, RunHead};
use wire::units::{Span, Time};
use wire::{Kind, Message};

use crate::judge::{Spec, how, input_of};
use crate::net::{End, Net, Side, What};
use crate::node::{name, name_of, owner_name};
use crate::plan::{Bug, Deed, Make};
use crate::trace::Line;

/// How long after a link broke it is dialled again, at first and at last.
const BACKOFF: (Span, Span) = (Span::from_millis(50), Span::from_secs(4));

#[derive(Debug)]
struct Wire {
    connection: usize,
    manners: Link,
    input: BytesMut,
    output: BytesMut,
}

impl Wire {
    /// Once it is up, a bulk connection has no heartbeat of its own: that of control speaks for it.
    fn due(&self, is_bulk: bool) -> Time {
        if is_bulk && self.manners.is_up() { Time::NEVER } else { self.manners.poll_timeout() }
    }
}

/// A node that this client knows of.
#[derive(Debug)]
struct Target {
    name: Name,
    control: Option<Wire>,
    bulk: Option<Wire>,
    redial: Time,
    backoff: Span,
    leaving: bool,
    /// Payloads that wait for a bulk connection.
    outbox: Vec<(u64, Bytes)>,
    /// Results without their payload, and the other way round.
    dones: BTreeMap<u64, Done>,
    payloads: BTreeMap<u64, Bytes>,
}

#[derive(Debug)]
pub(crate) struct Client {
    at: usize,
    pub(crate) alive: bool,
    dispatch: Dispatch,
    job: JobKey,
    targets: Vec<Target>,
    programs: Vec<(ProgramId, Make, Hash, Bytes)>,
    /// Tasks by the table's place, which is used again: the judge's number, and whether large.
    tasks: BTreeMap<TaskId, u32>,
    wake: Time,
    pub(crate) to_submit: u64,
    bug: Spoiler,
}

/// What planted bugs remember.
#[derive(Debug, Default)]
struct Spoiler {
    credits: u64,
    returns: u64,
    dones: u64,
    /// The real channel of the latest attempt of a task.
    channels: BTreeMap<u32, u64>,
}

impl Client {
    pub(crate) fn new(net: &mut Net, at: usize, nodes: &[Name]) -> Self {
        let mut dispatch = Dispatch::new(net.now);
        let job = dispatch.open_job(JobId(at as u64), format!("job {at}"));
        let mut programs = Vec::new();
        for (index, make) in net.plan.makes.clone().into_iter().enumerate() {
            let bytes = Bytes::from(format!("program {index}, {make:?}"));
            let library = Hash::of(&bytes);
            let program = Program::Core { library, name: name_of(make).to_owned() };
            let memory = if make == Make::Limited { 64 << 20 } else { 0 };
            let program = dispatch.program(program, memory);
            if net.plan.large_programs {
                dispatch.weigh(program, PASS_ON_MIN + index as u64);
            }
            programs.push((program, make, library, bytes));
        }
        net.after(Span(0), What::Wake(End::Client(at)));
        let mut client = Self {
            at,
            alive: true,
            dispatch,
            job,
            targets: Vec::new(),
            programs,
            tasks: BTreeMap::new(),
            wake: Time::NEVER,
            to_submit: net.plan.tasks,
            bug: Spoiler::default(),
        };
        nodes.iter().for_each(|node| client.learn(net.now, node.clone()));
        client
    }

    pub(crate) fn learn(&mut self, now: Time, name: Name) {
        if self.targets.iter().any(|target| target.name == name) {
            return;
        }
        self.targets.push(Target {
            name,
            control: None,
            bulk: None,
            redial: now,
            backoff: BACKOFF.0,
            leaving: false,
            outbox: Vec::new(),
            dones: BTreeMap::new(),
            payloads: BTreeMap::new(),
        });
    }

    // What happens.

    /// Submits some of its tasks, and perhaps plans to cancel one.
    pub(crate) fn submit(&mut self, net: &mut Net) {
        let burst = (1 + net.random.below(40)).min(self.to_submit);
        self.to_submit -= burst;
        for _ in 0..burst {
            let program = net.random.index(self.programs.len());
            let make = self.programs[program].1;
            let deed = self.draw_deed(net, make);
            let (least, most) = (net.plan.run_min, net.plan.run_max);
            let time = net.random.span(least, most);
            let deadline = match deed {
                Deed::Hang => Span::from_millis(1 + net.random.below(200)),
                _ if net.random.per_mille(50) => Span(time.0 * 4 + 50_000_000),
                _ => Span(0),
            };
            let retries = (net.random.below(5) * net.random.below(2)) as u32;
            let bulks = net.plan.bulks;
            let bulk = net.random.per_mille(bulks);
            let terms = Terms { deadline, retries };
            let task = self.submit_one(
                net,
                program,
                Spec { client: self.at, deed, make, time, bulk, terms },
            );
            let cancels = net.plan.cancels;
            if net.random.per_mille(cancels) {
                let after = net.random.span(Span(1000), Span::from_millis(800));
                net.after(after, What::Cancel { client: self.at, task });
            }
        }
        if self.to_submit > 0 {
            let next = net.random.span(Span::from_micros(10), Span::from_secs(2));
            net.after(next, What::Submit { client: self.at });
        }
        self.settle(net);
    }

    /// Tasks that all take the same time and do nothing wrong.
    pub(crate) fn submit_plain(&mut self, net: &mut Net, count: u64, time: Span) {
        for _ in 0..count {
            let terms = Terms { deadline: Span(0), retries: 0 };
            let (deed, make) = (Deed::Work, Make::Good);
            self.submit_one(net, 0, Spec { client: self.at, deed, make, time, bulk: false, terms });
        }
        self.settle(net);
    }

    fn submit_one(&mut self, net: &mut Net, program: usize, spec: Spec) -> u32 {
        let terms = spec.terms;
        let task = net.judge.submitted(spec);
        let input = Payload::Inline(input_of(task));
        let id = self.dispatch.submit(net.now, self.job, self.programs[program].0, input, terms);
        if self.tasks.insert(id, task).is_some() {
            net.judge.fail(format!("{id:?} was given to a second task"));
        }
        net.note(Line::Submitted { client: self.at, task });
        task
    }

    fn draw_deed(&self, net: &mut Net, make: Make) -> Deed {
        let misdeeds = net.plan.misdeeds;
        if !net.random.per_mille(misdeeds) {
            return Deed::Work;
        }
        match net.random.below(6) {
            0 => Deed::Fail,
            1 => Deed::Crash,
            2 => Deed::CrashOnce,
            3 => Deed::Exit,
            4 => Deed::Hang,
            _ if make == Make::Limited => Deed::Leak,
            _ => Deed::Fail,
        }
    }

    pub(crate) fn cancel(&mut self, net: &mut Net, task: u32) {
        let Some((id, _)) = self.tasks.iter().find(|(_, known)| **known == task) else { return };
        net.note(Line::Cancelled { client: self.at, task });
        net.judge.cancelled(task);
        self.dispatch.handle(net.now, Event::Cancel { task: *id });
        self.settle(net);
    }

    pub(crate) fn hear(&mut self, net: &mut Net, connection: usize, bytes: &[u8]) {
        let Some((at, is_bulk)) = self.target_of(connection) else { return };
        let Some(wire) = self.wire(at, is_bulk) else { return };
        wire.input.extend_from_slice(bytes);
        wire.manners.heard(net.now);
        while let Some(wire) = self.wire(at, is_bulk) {
            match frame::take(&mut wire.input, CONTROL_BODY_MAX) {
                Ok(Some(frame)) => self.frame(net, at, is_bulk, frame),
                Ok(None) => break,
                Err(error) => return net.judge.fail(format!("client {}: {error}", self.at)),
            }
        }
        self.settle(net);
    }

    pub(crate) fn closed(&mut self, net: &mut Net, connection: usize) {
        let Some((at, is_bulk)) = self.target_of(connection) else { return };
        let target = &mut self.targets[at];
        // A node that leaves closes both after its last words, which come by two ways.
        match (target.leaving, is_bulk) {
            (true, true) if target.control.is_some() => target.bulk = None,
            (true, false) if target.bulk.is_some() => target.control = None,
            _ => self.drop_target(net, at),
        }
        self.settle(net);
    }

    pub(crate) fn wake(&mut self, net: &mut Net) {
        let now = net.now;
        for at in 0..self.targets.len() {
            if self.targets[at].redial <= now {
                self.dial(net, at);
            }
            for is_bulk in [false, true] {
                if let Some(wire) = self.wire(at, is_bulk)
                    && wire.due(is_bulk) <= now
                {
                    wire.manners.tick(now);
                    self.manners(net, at, is_bulk);
                }
            }
        }
        if self.dispatch.poll_timeout() <= now {
            self.dispatch.handle(now, Event::Tick);
        }
        self.settle(net);
    }

    /// It goes, and closes what it has open.
    pub(crate) fn go(&mut self, net: &mut Net) {
        self.alive = false;
        net.judge.client_died(self.at);
        net.close_all(End::Client(self.at));
    }

    // Links.

    fn target_of(&self, connection: usize) -> Option<(usize, bool)> {
        let is = |wire: &Option<Wire>| wire.as_ref().is_some_and(|w| w.connection == connection);
        self.targets.iter().enumerate().find_map(|(at, target)| {
            let (control, bulk) = (is(&target.control), is(&target.bulk));
            (control || bulk).then_some((at, bulk))
        })
    }

    fn wire(&mut self, at: usize, is_bulk: bool) -> Option<&mut Wire> {
        let target = &mut self.targets[at];
        if is_bulk { target.bulk.as_mut() } else { target.control.as_mut() }
    }

    fn open(&self, net: &mut Net, at: usize, purpose: Purpose) -> Option<Wire> {
        let connection = net.dial(End::Client(self.at), &self.targets[at].name)?;
        let hello = Hello { agent: "sim".to_owned(), name: owner_name(net, self.at), purpose };
        let manners = Link::dial(net.now, hello);
        Some(Wire { connection, manners, input: BytesMut::new(), output: BytesMut::new() })
    }

    fn dial(&mut self, net: &mut Net, at: usize) {
        self.targets[at].redial = Time::NEVER;
        self.targets[at].control = self.open(net, at, Purpose::Client);
        if self.targets[at].control.is_some() {
            self.manners(net, at, false);
        } else {
            self.retry(net.now, at);
        }
    }

    fn retry(&mut self, now: Time, at: usize) {
        let target = &mut self.targets[at];
        target.redial = now + target.backoff;
        target.backoff = Span(target.backoff.0 * 2).min(BACKOFF.1);
    }

    fn drop_target(&mut self, net: &mut Net, at: usize) {
        let target = &mut self.targets[at];
        for wire in [target.control.take(), target.bulk.take()].into_iter().flatten() {
            net.close(wire.connection, Side::Dialler);
        }
        target.leaving = false;
        target.outbox.clear();
        target.dones.clear();
        target.payloads.clear();
        self.retry(net.now, at);
        self.dispatch.handle(net.now, Event::NodeDown { link: LinkId(at as u32) });
    }

    fn manners(&mut self, net: &mut Net, at: usize, is_bulk: bool) {
        while let Some(effect) = self.wire(at, is_bulk).and_then(|w| w.manners.poll_effect()) {
            match effect {
                link::Effect::Send(message) => {
                    if let Some(wire) = self.wire(at, is_bulk) {
                        message.encode(0, &mut wire.output);
                    }
                }
                link::Effect::Greeted(_) => net.judge.fail("a client was greeted".to_owned()),
                link::Effect::Up(_) if is_bulk => {
                    for (channel, bytes) in std::mem::take(&mut self.targets[at].outbox) {
                        self.send_payload(at, channel, &bytes);
                    }
                }
                link::Effect::Up(welcome) => self.up(net, at, welcome),
                link::Effect::Down(why) => {
                    if let link::Down::Goodbye(Goodbye::Protocol { reason }) = &why {
                        net.judge.fail(format!("client {}: refused: {reason}", self.at));
                    }
                    self.drop_target(net, at);
                }
            }
        }
    }

    fn up(&mut self, net: &mut Net, at: usize, welcome: Welcome) {
        let link = LinkId(at as u32);
        self.targets[at].backoff = BACKOFF.0;
        self.targets[at].bulk = self.open(net, at, Purpose::Bulk { link: welcome.link });
        self.manners(net, at, true);
        let event = Event::NodeUp { link, name: welcome.node, slots: welcome.slots };
        self.dispatch.handle(net.now, event);
        if let Some(wire) = self.wire(at, false) {
            Message::MembersAsk.encode(0, &mut wire.output);
        }
    }

    // Messages.

    fn frame(&mut self, net: &mut Net, at: usize, is_bulk: bool, frame: Frame) {
        let (kind, channel, length) = (frame.kind, frame.channel, frame.body.len());
        net.note(Line::ToClient { client: self.at, node: at, kind, channel, length });
        if frame.kind == Kind::PAYLOAD {
            let bytes = frame.body.slice(PAYLOAD_HEAD..);
            match self.targets[at].dones.remove(&channel) {
                Some(done) => self.done(net, at, channel, done, bytes),
                None => {
                    self.targets[at].payloads.insert(channel, bytes);
                }
            }
            return;
        }
        let (channel, message) = match wire::decode(frame) {
            Ok(decoded) => decoded,
            Err(error) => return net.judge.fail(format!("client {}: {error}", self.at)),
        };
        let Some(wire) = self.wire(at, is_bulk) else { return };
        if wire.manners.message(net.now, &message) == Pass::Taken {
            return self.manners(net, at, is_bulk);
        }
        let link = LinkId(at as u32);
        match message {
            Message::Done(done) => match done.head.output {
                Output::Inline => {
                    let bytes = done.inline.clone();
                    self.done(net, at, channel, done, bytes);
                }
                Output::Bulk(_) => match self.targets[at].payloads.remove(&channel) {
                    Some(bytes) => self.done(net, at, channel, done, bytes),
                    None => {
                        self.targets[at].dones.insert(channel, done);
                    }
                },
                Output::Stream => net.judge.fail("nobody opened a stream".to_owned()),
            },
            Message::Members(news) => {
                for member in news.members {
                    if member.state == State::Here {
                        self.learn(net.now, member.name);
                    }
                }
            }
            Message::Goodbye(Goodbye::Leaving) => {
                self.targets[at].leaving = true;
                self.dispatch.handle(net.now, Event::NodeLeaving { link });
            }
            mut message => {
                self.spoil(net, &mut message);
                self.dispatch.handle(net.now, Event::Message { link, channel, message });
            }
        }
    }

    fn done(&mut self, net: &mut Net, at: usize, channel: u64, done: Done, bytes: Bytes) {
        let link = LinkId(at as u32);
        let channel = self.channel_in(net, channel);
        let output = Payload::Inline(bytes);
        let (status, ran, times) = (done.head.status, done.head.ran, done.head.times);
        let event = Event::Done { link, channel, status, ran, output, times };
        self.dispatch.handle(net.now, event.clone());
        self.bug.dones += 1;
        if net.has_bug(Bug::DeliverTwice) && self.bug.dones.is_multiple_of(16) {
            let other = self.bug.channels.values().find(|other| **other != channel);
            if let (Some(other), Event::Done { link, status, ran, output, .. }) = (other, event) {
                let event = Event::Done { link, channel: *other, status, ran, output, times };
                self.dispatch.handle(net.now, event);
            }
        }
    }

    /// What a node says of a task's time fits into the time that the task was away.
    fn check_times(&self, net: &mut Net, outcome: &Outcome) {
        let times = outcome.spent.times;
        let there = times.transfer.0.saturating_add(times.waited.0).saturating_add(outcome.ran.0);
        if there > outcome.spent.away.0 {
            net.judge.fail(format!("a task spent more time at its node than away: {outcome:?}"));
        }
        if outcome.name.job != JobId(self.at as u64) || outcome.name.task == 0 {
            net.judge.fail(format!("a task of another name: {outcome:?}"));
        }
    }

    fn send_payload(&mut self, at: usize, channel: u64, bytes: &Bytes) {
        match &mut self.targets[at].bulk {
            Some(wire) if wire.manners.is_up() => {
                let head = PayloadHead { total: bytes.len() as u64, offset: 0 };
                frame::put(&mut wire.output, Kind::PAYLOAD, channel, |body| {
                    body.extend_from_slice(&head.to_bytes());
                    body.extend_from_slice(bytes);
                });
            }
            Some(_) | None => self.targets[at].outbox.push((channel, bytes.clone())),
        }
    }

    // Effects.

    fn settle(&mut self, net: &mut Net) {
        while let Some(effect) = self.dispatch.poll_effect() {
            self.carry_out(net, effect);
        }
        for target in &mut self.targets {
            for wire in [&mut target.control, &mut target.bulk].into_iter().flatten() {
                net.send(wire.connection, Side::Dialler, wire.output.split().freeze());
            }
        }
        let due = |wire: &Option<Wire>, is_bulk| {
            wire.as_ref().map_or(Time::NEVER, |wire| wire.due(is_bulk))
        };
        let targets = self.targets.iter();
        let due = targets.map(|t| t.redial.min(due(&t.control, false)).min(due(&t.bulk, true)));
        let wake = self.dispatch.poll_timeout().min(due.min().unwrap_or(Time::NEVER));
        if self.alive && wake != Time::NEVER && wake != self.wake {
            self.wake = wake;
            net.at(wake, What::Wake(End::Client(self.at)));
        }
        if self.wake <= net.now {
            self.wake = Time::NEVER;
        }
    }

    fn carry_out(&mut self, net: &mut Net, effect: Effect) {
        match effect {
            Effect::Send { link, channel, message } => {
                let channel = match message {
                    Message::Cancel => self.channel_out(net, channel),
                    _ => channel,
                };
                if let Some(wire) = self.wire(link.0 as usize, false) {
                    message.encode(channel, &mut wire.output);
                }
            }
            Effect::Run { link, channel, program, attempt, deadline, input, name } => {
                let Payload::Inline(bytes) = input else { return };
                self.bug.channels.insert(channel as u32, channel);
                let channel = self.channel_out(net, channel);
                let at = link.0 as usize;
                let reuse = net.has_bug(Bug::ReuseAttempt) && attempt > 1;
                let attempt = if reuse { attempt - 1 } else { attempt };
                let task = crate::judge::task_of(&bytes);
                let spec = task.and_then(|task| net.judge.spec(task));
                let (input, inline) = if spec.is_some_and(|spec| spec.bulk) {
                    self.send_payload(at, channel, &bytes);
                    (Input::Bulk(bytes.len() as u64), Bytes::new())
                } else {
                    (Input::Inline, bytes)
                };
                let head = RunHead { program, attempt, deadline, input, name };
                if let Some(wire) = self.wire(at, false) {
                    Message::Run(Run { head, inline }).encode(channel, &mut wire.output);
                }
            }
            Effect::Upload { link, channel, hash } => {
                let Some((.., bytes)) =
                    self.programs.iter().find(|(_, _, known, _)| *known == hash)
                else {
                    return net.judge.fail("an upload of no program of ours".to_owned());
                };
                let (bytes, length) = (bytes.clone(), bytes.len() as u64);
                let at = link.0 as usize;
                // Large ones go by bulk; here either way is taken, by the client's number.
                let inline = if self.at.is_multiple_of(2) {
                    bytes
                } else {
                    self.send_payload(at, channel, &bytes);
                    Bytes::new()
                };
                if let Some(wire) = self.wire(at, false) {
                    Message::Put(Put { hash, length }, inline).encode(channel, &mut wire.output);
                }
            }
            Effect::Retried { outcome } => self.check_times(net, &outcome),
            Effect::Ended { task: id, outcome } => {
                self.check_times(net, &outcome);
                self.bug.channels.remove(&id.0);
                let Some(task) = self.tasks.remove(&id) else {
                    return net.judge.fail(format!("{id:?} ended, which is no task's"));
                };
                let (attempt, how) = (outcome.attempt, how(&outcome.end));
                net.note(Line::Ended { client: self.at, task, attempt, how });
                net.judge.ended(net.now, self.at, task, &outcome);
            }
        }
    }

    // Planted bugs.

    fn spoil(&mut self, net: &Net, message: &mut Message) {
        match message {
            Message::Credit(credit) if net.has_bug(Bug::LoseCredit) => {
                self.bug.credits += 1;
                credit.limit = credit.limit.saturating_sub(self.bug.credits / 4);
            }
            Message::Returned(returned) if net.has_bug(Bug::ForgetReturned) => {
                self.bug.returns += 1;
                returned.channels.pop();
            }
            _ => {}
        }
    }

    fn channel_out(&self, net: &Net, channel: u64) -> u64 {
        if net.has_bug(Bug::ReuseChannel) { channel & u64::from(u32::MAX) } else { channel }
    }

    fn channel_in(&self, net: &Net, channel: u64) -> u64 {
        if net.has_bug(Bug::ReuseChannel) {
            self.bug.channels.get(&(channel as u32)).copied().unwrap_or(channel)
        } else {
            channel
        }
    }
}

/// Where a node of the cluster is found.
pub(crate) fn node_called(number: usize) -> Name {
    name(&format!("node-{number}"))
}
