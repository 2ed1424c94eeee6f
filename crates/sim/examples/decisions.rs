//! Measures what the machines cost per task, without any I/O: `Dispatch` and `Node` talk directly.
//!
//! Prints nanoseconds per task for 10^4 and 10^6 tasks that wait at once, both sides together and
//! each alone, and how the larger number compares with the smaller.

#![forbid(unsafe_code)]
#![expect(clippy::print_stdout, reason = "an example prints")]

use std::collections::VecDeque;
use std::time::Instant;

use bytes::Bytes;
use logic::dispatch::{self, Dispatch, Terms};
use logic::node::{self, Node, Options, Peer};
use logic::slots::{self, Finished};
use logic::{LinkId, Payload};
use wire::Message;
use wire::hello::{Hello, Purpose, VERSION};
use wire::member::{Member, State};
use wire::name::{Hash, Name};
use wire::task::{Input, Output, Program, Run, RunHead, Status};
use wire::units::{Span, Time};

const LINK: LinkId = LinkId(0);
/// Events in one turn of a loop: what one read of a socket brings.
const BATCH: usize = 512;

fn main() {
    let rounds = |tasks| (0..5).map(move |_| run(tasks));
    let best = |tasks| rounds(tasks).min_by(|a, b| a.both().total_cmp(&b.both()));
    run(10_000);
    let (Some(few), Some(many)) = (best(10_000), best(1_000_000)) else { return };
    for (tasks, cost) in [("10^4", &few), ("10^6", &many)] {
        let Cost { client, node } = cost;
        println!("{tasks} tasks: {client:.0} ns at the client, {node:.0} ns at the node, per task");
    }
    println!("10^6 / 10^4: {:.2}", many.both() / few.both());
}

/// Nanoseconds per task.
struct Cost {
    client: f64,
    node: f64,
}

impl Cost {
    fn both(&self) -> f64 {
        self.client + self.node
    }
}

/// A client with so many tasks and a node with two workers, until all is done.
fn run(tasks: u32) -> Cost {
    let mut clock = Clock { now: Time(1), client: 0, node: 0 };
    let name: Name = "node".parse().expect("a name");
    let me = Member { name, life: 1, addresses: Vec::new(), slots: 2, state: State::Here };
    let options = Options { agent: String::new(), me, grace: Span(0) };
    let mut node = Node::new(clock.now, options);
    let mut dispatch = Dispatch::new(clock.now);
    let (library, name) = (Hash::of(b"core"), "core".to_owned());
    let program = dispatch.program(Program::Core { library, name }, 0);

    let mut to_node = VecDeque::from([
        node::Event::Accepted {
            link: LINK,
            peer: Peer::Client("me".parse().expect("a name")),
            token: 1,
        },
        from_client(0, Message::Version(VERSION)),
        from_client(
            0,
            Message::Hello(Hello {
                agent: String::new(),
                name: "me".parse().expect("a name"),
                purpose: Purpose::Client,
            }),
        ),
    ]);
    let mut to_client = VecDeque::new();

    let input = Payload::Inline(Bytes::from_static(b"input"));
    let terms = Terms { deadline: Span(0), retries: 0 };
    clock.client(|_| {
        (0..tasks).for_each(|_| {
            dispatch.submit(program, input.clone(), terms);
        });
    });
    let mut ended = 0;
    while ended < tasks {
        clock.now = clock.now + Span::from_micros(10);
        let mut effects = Vec::with_capacity(2 * BATCH);
        clock.node(|now| {
            to_node.drain(..to_node.len().min(BATCH)).for_each(|event| node.handle(now, event));
            node.settle(now);
            effects.extend(std::iter::from_fn(|| node.poll_effect()));
        });
        effects.into_iter().for_each(|effect| carry_out(effect, &mut to_node, &mut to_client));
        let mut effects = Vec::with_capacity(2 * BATCH);
        clock.client(|now| {
            to_client
                .drain(..to_client.len().min(BATCH))
                .for_each(|event| dispatch.handle(now, event));
            effects.extend(std::iter::from_fn(|| dispatch.poll_effect()));
        });
        for effect in effects {
            match effect {
                dispatch::Effect::Send { channel, message, .. } => {
                    to_node.push_back(from_client(channel, message));
                }
                dispatch::Effect::Run { channel, program, attempt, deadline, input, .. } => {
                    let Payload::Inline(inline) = input else { continue };
                    let head = RunHead { program, attempt, deadline, input: Input::Inline };
                    to_node.push_back(from_client(channel, Message::Run(Run { head, inline })));
                }
                dispatch::Effect::Upload { .. } => {}
                dispatch::Effect::Ended { .. } => ended += 1,
            }
        }
    }
    let per_task = |nanos: u128| nanos as f64 / f64::from(tasks);
    Cost { client: per_task(clock.client), node: per_task(clock.node) }
}

/// What a node's effects bring about, with workers that take no time.
fn carry_out(
    effect: node::Effect,
    to_node: &mut VecDeque<node::Event>,
    to_client: &mut VecDeque<dispatch::Event>,
) {
    match effect {
        node::Effect::Send { link, channel, message } => to_client.push_back(match message {
            Message::Welcome(welcome) => {
                dispatch::Event::NodeUp { link, name: welcome.node, slots: welcome.slots }
            }
            Message::Known(mut known) => {
                known.here = true;
                dispatch::Event::Message { link, channel, message: Message::Known(known) }
            }
            Message::Done(done) => {
                assert_eq!(done.head.output, Output::Inline);
                let (status, ran) = (done.head.status, done.head.ran);
                let output = Payload::Inline(done.inline);
                dispatch::Event::Done { link, channel, status, ran, output }
            }
            message => dispatch::Event::Message { link, channel, message },
        }),
        node::Effect::Worker(slots::Effect::Start { worker, .. }) => {
            to_node.push_back(node::Event::WorkerReady { worker, result: Ok(()) });
        }
        node::Effect::Worker(slots::Effect::Execute { worker, sequence, .. }) => {
            let (status, ran) = (Status::Finished { code: 0 }, Span(800));
            let finished = Finished { status, ran, output: Payload::empty() };
            to_node.push_back(node::Event::WorkerDone { worker, sequence, finished });
        }
        _ => {}
    }
}

fn from_client(channel: u64, message: Message) -> node::Event {
    node::Event::Message { link: LINK, channel, message }
}

/// Pretended time for the machines, and real time that they took.
struct Clock {
    now: Time,
    client: u128,
    node: u128,
}

impl Clock {
    fn client(&mut self, work: impl FnOnce(Time)) {
        let begun = Instant::now();
        work(self.now);
        self.client += begun.elapsed().as_nanos();
    }

    fn node(&mut self, work: impl FnOnce(Time)) {
        let begun = Instant::now();
        work(self.now);
        self.node += begun.elapsed().as_nanos();
    }
}
