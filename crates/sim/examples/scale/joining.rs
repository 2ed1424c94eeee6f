//! Nodes that join one after the other: what their news of each other costs.
//!
//! Real `Node`s, joined by links that lose nothing and take no time. Everybody learns of everybody,
//! so records of members grow with the square of the nodes whatever is done; messages need not.

use std::collections::{BTreeMap, VecDeque};

use bytes::BytesMut;
use logic::LinkId;
use logic::node::{Effect, Event, Node, Options, Peer};
use wire::Message;
use wire::member::{Member, State};
use wire::name::Name;
use wire::units::{Span, Time};

use crate::stopwatch::Draw;

/// Whom a newcomer joins.
#[derive(Clone, Copy)]
pub(crate) enum Shape {
    /// All the same first node.
    Star,
    /// Any of those that are there.
    Tree,
}

/// What crossed all links together.
pub(crate) struct Traffic {
    pub(crate) messages: u64,
    pub(crate) records: u64,
    pub(crate) bytes: u64,
    /// Bytes that the busiest node sent.
    pub(crate) busiest: u64,
}

struct World {
    now: Time,
    nodes: Vec<Node>,
    /// By node and link: who is at the other end, and what he calls the link.
    ends: BTreeMap<(usize, u32), (usize, u32)>,
    links: Vec<u32>,
    sent: Vec<u64>,
    queue: VecDeque<(usize, Event)>,
    traffic: Traffic,
}

/// So many nodes join, one each `every`.
pub(crate) fn run(count: usize, every: Span, shape: Shape) -> Traffic {
    let traffic = Traffic { messages: 0, records: 0, bytes: 0, busiest: 0 };
    let (nodes, ends, queue) = (Vec::new(), BTreeMap::new(), VecDeque::new());
    let (links, sent) = (Vec::new(), Vec::new());
    let mut world = World { now: Time(1), nodes, ends, links, sent, queue, traffic };
    let mut draw = Draw::new(count as u64);
    world.start();
    for number in 1..count {
        world.now = world.now + every;
        world.let_time_pass();
        let host = match shape {
            Shape::Star => 0,
            Shape::Tree => draw.below(number as u64) as usize,
        };
        world.start();
        world.join(number, host);
        world.run();
    }
    world.now = world.now + Span::from_secs(1);
    for _ in 0..count {
        world.let_time_pass();
        world.now = world.now + Span::from_millis(100);
        if world.nodes.iter().all(|node| node.members_known() == count) {
            break;
        }
    }
    let known = world.nodes.iter().map(Node::members_known).min();
    assert_eq!(known, Some(count), "somebody does not know everybody");
    world.traffic.busiest = world.sent.iter().copied().max().unwrap_or(0);
    world.traffic
}

fn name_of(number: usize) -> Name {
    format!("host-{number:05}").parse().expect("a name")
}

impl World {
    fn start(&mut self) {
        let number = self.nodes.len();
        let addresses =
            vec![format!("10.{}.{}.{}:4114", number >> 16, (number >> 8) & 255, number & 255)];
        let (name, life, state) = (name_of(number), 1_700_000_000, State::Here);
        let me = Member { name, life, addresses, slots: 16, state };
        let controllers = logic::controllers::Options::default();
        let options = Options { agent: "farcall".to_owned(), me, grace: Span(0), controllers };
        self.nodes.push(Node::new(self.now, options));
        self.links.push(0);
        self.sent.push(0);
    }

    fn join(&mut self, number: usize, host: usize) {
        let (own, his) = (self.links[number], self.links[host]);
        self.links[number] += 1;
        self.links[host] += 1;
        self.ends.insert((number, own), (host, his));
        self.ends.insert((host, his), (number, own));
        let peer = Peer::Node(name_of(number));
        let accepted = Event::Accepted { link: LinkId(his), peer, token: 0 };
        self.queue.push_back((host, accepted));
        self.queue.push_back((number, Event::Dialled { link: LinkId(own) }));
    }

    fn let_time_pass(&mut self) {
        for at in 0..self.nodes.len() {
            if self.nodes[at].poll_timeout() <= self.now {
                self.queue.push_back((at, Event::Tick));
            }
        }
        self.run();
    }

    fn run(&mut self) {
        while let Some((at, event)) = self.queue.pop_front() {
            self.nodes[at].handle(self.now, event);
            self.nodes[at].settle(self.now);
            while let Some(effect) = self.nodes[at].poll_effect() {
                let Effect::Send { link, channel, message } = effect else { continue };
                let Some(&(to, his)) = self.ends.get(&(at, link.0)) else { continue };
                self.count(at, &message);
                self.queue.push_back((to, Event::Heard { link: LinkId(his) }));
                let link = LinkId(his);
                self.queue.push_back((to, Event::Message { link, channel, message }));
            }
        }
    }

    fn count(&mut self, from: usize, message: &Message) {
        let Message::Members(news) = message else { return };
        let mut bytes = BytesMut::new();
        message.encode(0, &mut bytes);
        self.traffic.messages += 1;
        self.traffic.records += news.members.len() as u64;
        self.traffic.bytes += bytes.len() as u64;
        self.sent[from] += bytes.len() as u64;
    }
}
